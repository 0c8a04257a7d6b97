"""U-Net drawn from its own shapes, and step by step with the feature maps of a trained one."""

from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle
from torch import Tensor, nn

from lecture_utils.explorers import Explorer
from lecture_utils.figures.network import network_steps
from lecture_utils.figures.network_blocks import Arrow, Block, scaled
from lecture_utils.figures.style import (
    BLUE,
    FAINT,
    GREEN,
    INK,
    PURPLE,
    SKY,
    VERMILION,
    course_look,
)
from lecture_utils.segmentation.shapes import Shape, layer_outputs, tensor_shapes
from lecture_utils.segmentation.unet import UNet

# Inches on the figure.
TALLEST, SHORTEST = 1.15, 0.34  # boxes
WIDEST, THINNEST = 0.34, 0.07
PITCH = 0.56  # from one box to the next: room for the largest number
LABEL = 0.25  # height of a line of text
DROP = 0.26  # length of an arrow between two levels
KEY = 2.9  # width of the names of the arrows
COLOURS = {"conv": BLUE, "max pool": VERMILION, "up-conv": GREEN, "copy": FAINT, "last conv": PURPLE}


@dataclass
class Box:
    """One tensor on the figure: its shape, its level below the top, its column, and where it is drawn, in inches."""

    shape: Shape
    level: int
    column: int
    copied: int = 0  # channels that came over a skip connection
    crop: tuple[int, int] = (0, 0)  # pixels cut from each side of the copy: vertically, horizontally
    left: float = 0.0
    bottom: float = 0.0
    width: float = 0.0
    height: float = 0.0

    @property
    def middle(self) -> float:
        return self.left + self.width / 2

    @property
    def top(self) -> float:
        return self.bottom + self.height

    @property
    def size(self) -> str:
        """Height × width in words, on two lines when they differ, since the neighbours stand close."""
        _, height, width = self.shape
        return f"{height}²" if height == width else f"{height}×\n{width}"

    @property
    def text_bottom(self) -> float:
        """Where the size written below the box ends."""
        return self.bottom - LABEL * (1 + self.size.count("\n"))


@course_look
def unet_diagram(model: UNet, input_size: tuple[int, int], *, title: str = "") -> Figure:
    """Draw the U of `model` for an image of `input_size` (height, width): every box a tensor, every arrow a layer.

    A box is as high as its map is large and as wide as it has channels (both on a compressed scale), with the channels
    above and height × width below it. All numbers come from a run of the model. Raises what the model raises for a size
    that does not fit.
    """
    boxes, arrows = trace(model, input_size)
    size = arrange(boxes)
    fig, ax = plt.subplots(figsize=size, layout="none")
    ax.set_position((0, 0, 1, 1))
    ax.set(xlim=(0, size[0]), ylim=(0, size[1]), aspect="equal")
    ax.axis("off")
    for box in boxes:
        draw_box(ax, box)
    for kind, start, end in arrows:
        draw_arrow(ax, kind, start, end)
    key(ax, [kind for kind, _, _ in arrows], after_conv(model), right=size[0] - 0.15)
    given, padded = ("{}×{}".format(*pixels) for pixels in (input_size, boxes[0].shape[1:]))
    title = title or f"U-Net for {given} pixels" + (f", padded to {padded}" if padded != given else "")
    ax.text(size[0] / 2, size[1] - 0.12, title, size=15, ha="center", va="top")
    return fig


def trace(model: UNet, input_size: tuple[int, int]) -> tuple[list[Box], list[tuple[str, Box, Box]]]:
    """Turn the model's steps into boxes, each in its level and column, and arrows (kind, from, to)."""
    steps = tensor_shapes(model, *input_size)
    boxes = [Box(steps[0].inputs[0], level=0, column=0)]
    arrows, skips = [], []
    for step, following in zip(steps, [*steps[1:], None], strict=True):
        here = boxes[-1]
        if step.kind.startswith("conv"):
            new = Box(step.output, here.level, here.column + 1)
            arrows.append((step.kind if following else f"last {step.kind}", here, new))
        elif step.kind.startswith("max pool"):
            skips.append(here)
            new = Box(step.output, here.level + 1, here.column)
            arrows.append((step.kind, here, new))
        elif step.kind.startswith("up-conv"):
            rise = step.kind
            continue  # its output is drawn as the other half of the box that the copy joins
        else:
            skip, up = step.inputs
            crop = ((skip[1] - up[1]) // 2, (skip[2] - up[2]) // 2)
            new = Box(step.output, here.level - 1, here.column, copied=skip[0], crop=crop)
            arrows += [(rise, here, new), ("copy and crop" if any(crop) else "copy", skips.pop(), new)]
        boxes.append(new)
    return boxes, arrows


def arrange(boxes: list[Box]) -> tuple[float, float]:
    """Give each box its place and size in inches; returns the width and height of the figure."""
    most = max(box.shape[0] for box in boxes)
    largest = max(max(box.shape[1:]) for box in boxes)
    for box in boxes:
        channels, *sides = box.shape
        box.width = THINNEST + (WIDEST - THINNEST) * (channels / most) ** 0.5
        box.height = SHORTEST + (TALLEST - SHORTEST) * (sum(sides) / 2 / largest) ** 0.6
    bottom = 0.1
    for level in reversed(range(1 + max(box.level for box in boxes))):
        row = [box for box in boxes if box.level == level]
        bottom += LABEL * max(1 + box.size.count("\n") for box in row)
        for box in row:
            box.bottom = bottom
            box.left = 0.5 + box.column * PITCH - box.width / 2
        bottom += max(box.height for box in row) + LABEL + DROP
    width = 1.0 + boxes[-1].column * PITCH
    lowest = max(boxes, key=lambda box: (box.level, box.column))
    if lowest.left + lowest.width > width - KEY - 0.4:  # a shallow U leaves no free corner
        width += KEY
    return width, bottom - DROP + 0.35


def draw_box(ax: Axes, box: Box) -> None:
    """A box with its channels above and its size below; the copied channels are the pale, hatched part."""
    pale = box.width * box.copied / box.shape[0]
    place = {"ec": INK, "lw": 0.8}
    ax.add_patch(Rectangle((box.left + pale, box.bottom), box.width - pale, box.height, fc=SKY, **place))
    if pale:
        ax.add_patch(Rectangle((box.left, box.bottom), pale, box.height, fc="white", hatch="////", **place))
    text = {"ha": "center", "size": 11.5}
    ax.text(box.middle, box.top + 0.05, f"{box.shape[0]}", va="bottom", weight="bold", **text)
    ax.text(box.middle, box.bottom - 0.05, box.size, va="top", linespacing=1.0, **text)


def draw_arrow(ax: Axes, kind: str, start: Box, end: Box) -> None:
    """An arrow between two boxes: across for convolutions and copies, down or up between the levels."""
    if start.level == end.level:
        y = start.bottom + min(start.height, end.height) / 2
        tail, head = (start.left + start.width + 0.03, y), (end.left - 0.03, y)
    elif end.level > start.level:
        tail, head = (end.middle, start.text_bottom), (end.middle, end.top + LABEL)
    else:
        tail, head = (end.middle, start.top + LABEL), (end.middle, end.text_bottom)
    ax.add_patch(arrow(kind, tail, head))
    if any(end.crop) and kind.startswith("copy"):
        vertical, horizontal = end.crop
        pixels = f"{vertical}" if vertical == horizontal else f"{vertical}, {horizontal}"
        ax.text((tail[0] + head[0]) / 2, y + 0.05, f"crop {pixels}", ha="center", va="bottom", size=11.5)


def arrow(kind: str, tail: tuple[float, float], head: tuple[float, float]) -> FancyArrowPatch:
    colour = next(colour for name, colour in COLOURS.items() if kind.startswith(name))
    dash = (0, (4, 2)) if kind.startswith("copy") else "-"
    style = "-|>,head_length=5,head_width=3"
    return FancyArrowPatch(tail, head, arrowstyle=style, color=colour, lw=2, ls=dash, shrinkA=0, shrinkB=0)


def after_conv(model: UNet) -> str:
    """What follows each 3×3 convolution in `model`, in its order."""
    words = {nn.ReLU: "ReLU", nn.BatchNorm2d: "batch norm"}
    block = model.encoder[0]
    return ", ".join(words[type(layer)] for layer in block[1 : len(block) // 2])


def key(ax: Axes, kinds: list[str], after: str, *, right: float) -> None:
    """Name the arrows, in the free corner below the decoder."""
    more = {"conv": f", {after}", "copy and crop": " (pixels a side)"}
    for line, kind in enumerate(reversed(dict.fromkeys(kinds))):
        y = 0.3 + line * 0.27
        words = kind.removeprefix("last ") + next((end for start, end in more.items() if kind.startswith(start)), "")
        ax.add_patch(arrow(kind, (right - KEY, y), (right - KEY + 0.45, y)))
        ax.text(right - KEY + 0.55, y, words, va="center", size=11.5)


def feature_maps(model: UNet, image: Float[Tensor, "1 c h w"]) -> tuple[list[tuple[Tensor, Tensor]], Tensor]:
    """What flows through a U-Net: of each level, the finest first, (skip, decoder's result), and the bottom's result.

    Each is (c, h, w).
    """
    blocks = {f"encoder {level}": block for level, block in enumerate(model.encoder)}
    blocks |= {f"decoder {level}": block for level, block in enumerate(reversed(model.decoder))}
    found = layer_outputs(model, image, {**blocks, "bottom": model.bottleneck})
    levels = [tuple(found[f"{side} {level}"][0] for side in ("encoder", "decoder")) for level in range(model.depth)]
    return levels, found["bottom"][0]


SAYS = {
    "image": "The input: red, green and blue of each pixel.",
    "first": "Two convolutions at the full resolution: edges, wherever they come from. The skip connection keeps it.",
    "encoder": "Pooled: half as high and wide, then twice the channels. It sees further, knows less of where.",
    "bottom": "The smallest map: each value has the largest receptive field, and knows least of where things end.",
    "decoder": "Upsampled by 2 (up-convolution), joined with the encoder's map of this level, and convolved.",
    "last": "Back at the full resolution: what is there, from below, with the outlines of the encoder's first map.",
    "labels": "A 1 × 1 convolution scores the classes; each pixel takes the one with the highest score.",
}


def unet_drawing(model: UNet, image: Float[Tensor, "1 c h w"], large: np.ndarray) -> tuple[list[Block], list[Arrow]]:
    """The U of `model` at work on an `image`: the maps of each level, the skip connections between them, the labels.

    `large` (H, W, 3) uint8 is the same image as it is shown. A ValueError for a model without skip connections.
    """
    if not model.skips:
        raise ValueError("model: got a U-Net without skip connections, expected one with them")
    levels, bottom = feature_maps(model, image)
    with torch.no_grad():
        labels = model(image)[0].argmax(0).cpu().numpy()
    largest, depth = max(image.shape[-2:]), model.depth
    size = lambda values: scaled(values.shape, largest, size=1.05, power=0.32)  # noqa: E731

    blocks, arrows = [Block("image", large, (-2.2, 0), SAYS["image"], 1.05, tuple(image.shape[1:]))], []
    for level, (skip, _) in enumerate(levels):
        says = SAYS["encoder" if level else "first"]
        blocks.append(feature_block(f"encoder {level + 1}", skip, (level, level), says, size(skip)))
        kind, sides = ("pooling, convolutions", ("bottom", "left")) if level else ("convolutions", None)
        arrows.append(Arrow(blocks[-2], blocks[-1], kind, sides))
    encoded = blocks[1:]
    blocks.append(feature_block("bottleneck", bottom, (depth, depth), SAYS["bottom"], size(bottom)))
    arrows.append(Arrow(blocks[-2], blocks[-1], "pooling, convolutions", ("bottom", "left")))
    for level in reversed(range(depth)):
        decoded, place = levels[level][1], (2 * depth - level, level)
        says = SAYS["decoder" if level else "last"]
        blocks.append(feature_block(f"decoder {level + 1}", decoded, place, says, size(decoded)))
        arrows += [
            Arrow(blocks[-2], blocks[-1], "up-convolution", ("right", "bottom")),
            Arrow(encoded[level], blocks[-1], "skip connection", dashed=True),
        ]
    blocks.append(Block("label map", labels, (2 * depth + 2.2, 0), SAYS["labels"], 1.05))
    return blocks, [*arrows, Arrow(blocks[-2], blocks[-1], "1 × 1 convolution")]


def feature_block(name: str, maps: Float[Tensor, "c h w"], at: tuple[int, int], says: str, size: float) -> Block:
    """A block of feature maps in colours up to each one's 98th percentile, so that a few peaks do not darken it."""
    peak = maps.float().flatten(1).quantile(0.98, dim=1)
    return Block(name, maps, at, says, size, label="", scale=torch.minimum(maps, peak[:, None, None]))


def unet_steps(model: UNet, image: Float[Tensor, "1 c h w"], large: np.ndarray, *, kilobytes: int = 250) -> Explorer:
    """An explorer of `unet_drawing`: the whole U-Net, then a step for each of its parts."""
    about = "The U of a trained network at work: feature maps on the way down and up, and the skip connections across."
    drawing = unet_drawing(model, image, large)
    look = {"kilobytes": kilobytes, "gap": 0.08, "enlarge": True}
    return network_steps(*drawing, title="U-Net, step by step", about=about, **look)
