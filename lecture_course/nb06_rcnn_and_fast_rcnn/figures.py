"""The streets of notebook 06: proposals, warped regions, deltas, maps and detections; its charts are in `charts`.

Streets are shown larger than the networks see them: `large` is an image (H, W, 3) uint8, and boxes (x0, y0, x1, y1) are
in pixels of the `STREET` × `STREET` image that a network gets.
"""

from collections.abc import Mapping, Sequence
from math import ceil

import matplotlib.pyplot as plt
import numpy as np
import torch
from jaxtyping import Float, UInt8, UInt16
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Patch
from torch import Tensor

from lecture_course.nb06_rcnn_and_fast_rcnn.measuring import verdicts
from lecture_utils.detection.boxes import box_iou
from lecture_utils.figures.boxes import TRUTH, draw_boxes, zoom
from lecture_utils.figures.overlays import draw_image, name_colours
from lecture_utils.figures.scores import answer_bars
from lecture_utils.figures.style import (
    CYCLE,
    GREEN,
    INK,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    WIDTH,
    bare,
    course_look,
    image_axes,
    to_array,
)

VERDICTS = {"right": GREEN, "duplicate": PURPLE, "false": VERMILION}
STREET = 128  # pixels a side, for a network
WIDE = 10.8  # inches of a figure with large crops
SIZE = (STREET, STREET)
Large = UInt8[np.ndarray, "H W 3"]


@course_look
def proposals_and_objects(
    large: Large,
    truth: Float[Tensor, "n 4"],
    proposals: Float[Tensor, "m 4"],
    *,
    iou: float = 0.5,
    shown: int = 110,
    title: str = "",
) -> Figure:
    """Draw proposals on a street, at most `shown`, and beside them all that overlap an object by `iou` or more."""
    good = (box_iou(truth, proposals) >= iou).any(0)
    every = ceil(len(proposals) / shown)
    some = torch.arange(len(proposals))[::every]
    fig, axes = image_axes(1, 2, title=title)
    for ax in axes.flat:
        draw_image(ax, large, size=SIZE)
    draw_boxes(axes[0, 0], proposals[some], colours=SKY)
    axes[0, 0].set_title(f"{len(some)} of the {len(proposals)} proposals" + f", one in {every}" * (every > 1))
    draw_boxes(axes[0, 1], proposals[good], colours=GREEN)
    draw_boxes(axes[0, 1], truth, colours=TRUTH)
    axes[0, 1].set_title(f"{int(good.sum())} with an IoU of {iou:g} or more")
    name_colours(fig, {"ground truth": TRUTH, "proposal": SKY, "proposal that overlaps an object well": GREEN})
    return fig


@course_look
def warped(
    image: Tensor | np.ndarray,
    boxes: Float[Tensor, "n 4"],
    crops: Sequence[Tensor | np.ndarray],
    *,
    title: str = "",
    size: tuple[int, int] | None = None,
) -> Figure:
    """Draw numbered boxes on an image and, around it, large, what was cut out of each, all of one size.

    The first four stand at the right of the image, the others in rows of four below it. Images are (3, H, W) or
    (H, W, 3), uint8. `size` is the height and width of the boxes' coordinates, by default the image's own.
    """
    if not len(boxes) == len(crops) >= 1:
        raise ValueError(f"boxes, crops: got {len(boxes)} and {len(crops)}, expected as many of each, at least one")
    rows = max(2, ceil((len(crops) + 4) / 4))
    fig = plt.figure(figsize=(WIDE, 0.65 + rows * (WIDE / 4 + 0.22)))
    fig.suptitle(title)
    grid = fig.add_gridspec(rows, 4)
    scene = fig.add_subplot(grid[:2, :2])
    draw_image(scene, image, size=size)
    colours = [(*CYCLE, "#F0E442", TRUTH)[i % 8] for i in range(len(boxes))]
    sides = (boxes[:, 2:] - boxes[:, :2]).round().int().tolist()
    draw_boxes(scene, boxes, names=[str(i + 1) for i in range(len(boxes))], colours=colours)
    cells = [(i, j) for i in range(rows) for j in range(4) if i > 1 or j > 1]
    for number, (crop, (width, height), cell) in enumerate(zip(crops, sides, cells, strict=False), start=1):
        ax = fig.add_subplot(grid[cell])
        draw_image(ax, crop)
        ax.set_title(f"{number}: {width} × {height} pixels")
    return fig


@course_look
def region_answer(
    crop: Tensor | np.ndarray, scores: Mapping[str, float], *, answered: bool = True, truth: str = "", title: str = ""
) -> Figure:
    """Draw what was cut out of an image, and the probability of each class as a bar; that of `truth` bears a tick.

    As long as it is not `answered`, only the names of the classes stand beside the crop, all in the same places.
    """
    fig, (seen, bars) = plt.subplots(1, 2, figsize=(8, 3.6))
    fig.set_layout_engine("none")
    seen.set_position((0.01, 0.02, 0.37, 0.82))
    bars.set_position((0.58, 0.16, 0.39, 0.68))
    fig.suptitle(title)
    draw_image(seen, crop)
    seen.set_title("what the network sees")
    answer_bars(bars, scores if answered else dict.fromkeys(scores, 0.0), truth if answered else "")
    bars.set_title("what it takes it for" if answered else "which of these is it?")
    return fig


@course_look
def zoomed_deltas(
    large: Large,
    before: Float[Tensor, "n 4"],
    after: Float[Tensor, "n 4"],
    truth: Float[Tensor, "n 4"],
    names: Sequence[str],
    *,
    title: str = "",
) -> Figure:
    """Draw each object close up with its ground truth, a proposal, and what the deltas make of that, and both IoUs."""
    fig, axes = image_axes(ceil(len(truth) / 3), 3, title=title, aspect=0.94)
    overlaps = [box_iou(truth, boxes.to(truth)).diag().tolist() for boxes in (before, after)]
    for k, (ax, old, new) in enumerate(zip(axes.flat, *overlaps, strict=False)):
        draw_image(ax, large, size=SIZE)
        close_up(ax, torch.stack([before[k].to(truth), after[k].to(truth), truth[k]]))
        draw_boxes(ax, truth[k : k + 1], colours=TRUTH)
        draw_boxes(ax, before[k : k + 1], colours=SKY, dashed=True)
        draw_boxes(ax, after[k : k + 1], colours=ORANGE)
        ax.set_title(f"{names[k]}: IoU {old:.2f} → {new:.2f}")
    for ax in axes.flat[len(truth) :]:
        ax.remove()
    name_colours(fig, {"ground truth": TRUTH, "proposal (dashed)": SKY, "after its four deltas": ORANGE})
    return fig


@course_look
def regions_over_pixels(
    large: Large, proposals: Float[Tensor, "n 4"], truth: Float[Tensor, "m 4"], *, side: int, title: str = ""
) -> tuple[Figure, UInt16[np.ndarray, "h w"]]:
    """Draw a street and in how many proposals each pixel lies, and how large the proposals are; give those numbers.

    The objects, `truth`, are framed on both. `side` is that of the square to which each proposal is warped, in pixels.
    """
    counts = np.zeros(SIZE, np.uint16)
    for x0, y0, x1, y1 in to_array(proposals).round().astype(int).tolist():
        counts[max(0, y0) : y1, max(0, x0) : x1] += 1
    fig = plt.figure(figsize=(WIDTH, 7.9))
    fig.suptitle(title)
    grid = fig.add_gridspec(2, 2, height_ratios=[1, 0.36])
    street, over = (fig.add_subplot(grid[0, k]) for k in (0, 1))
    draw_image(street, large, size=SIZE)
    shade = draw_map(over, counts, top=counts.max())
    for ax, name in ((street, "the street"), (over, "regions over each pixel")):
        draw_boxes(ax, truth, colours=TRUTH)
        ax.set_title(name)
    where = {"location": "bottom", "shrink": 0.6, "aspect": 35, "pad": 0.02}
    fig.colorbar(shade, ax=[street, over], label="regions that contain the pixel", **where)
    sizes = fig.add_subplot(grid[1, :])
    lengths = to_array((proposals[:, 2:] - proposals[:, :2]).prod(1).sqrt())
    sizes.hist(lengths, bins=range(0, STREET + 1, 4), color=SKY, edgecolor="white")
    sizes.axvline(side, color=INK, ls="--", label=f"warped to {side} × {side}")
    sizes.set(xlabel="square root of a region's area (pixels)", ylabel="regions", xlim=(0, STREET))
    sizes.legend()
    return fig, counts


def draw_map(ax: Axes, values: Float[np.ndarray, "h w"], *, top: float) -> AxesImage:
    """Draw a map of numbers from 0 to `top` over the area of a street, a colour for each number and nothing below."""
    bare([ax])
    area = (-0.5, STREET - 0.5, STREET - 0.5, -0.5)
    return ax.imshow(values, cmap="viridis", vmin=0, vmax=top, interpolation="nearest", extent=area)


def close_up(ax: Axes, boxes: Float[Tensor, "n 4"]) -> None:
    """Show the part of a street around boxes, with an eighth of their width or height as margin."""
    sides = boxes[:, 2:].amax(0) - boxes[:, :2].amin(0)
    zoom(ax, boxes, size=SIZE, margin=0.12 * sides.max().item())


@course_look
def feature_maps(
    large: Large,
    features: Float[Tensor, "c h w"],
    boxes: Float[Tensor, "n 4"],
    channels: Mapping[int, int],
    names: Sequence[str],
    *,
    turned: Float[Tensor, "c h w"] | None = None,
    title: str = "",
) -> Figure:
    """Draw an object of a street close up in the grid of a feature map's cells, and channels of the map.

    `channels` are number of a box → channel that is chosen for it; the first box is the object close up. `names` are
    those of the boxes. The channels, with all boxes on them and their own in orange, share one scale. `turned` are the
    features of the street upside down, of which the last channel is drawn, too.
    """
    fig, axes = image_axes(ceil((1 + len(channels) + (turned is not None)) / 2), 2, title=title)
    close, *others = axes.flat
    near, cell = next(iter(channels)), STREET / features.shape[-1]
    draw_image(close, large, size=SIZE)
    for line in np.arange(0, STREET + 1, cell) - 0.5:  # a cell's edge lies between two pixels
        close.axvline(line, color="white", lw=1, alpha=0.7)
        close.axhline(line, color="white", lw=1, alpha=0.7)
    close_up(close, boxes[near : near + 1])
    draw_boxes(close, boxes[near : near + 1], colours=ORANGE)
    close.set_title(f"the {names[near]}, in cells of {cell:g} × {cell:g} pixels")
    shown = [
        (features[channel], boxes, own, f"channel {channel}, chosen for the {names[own]}")
        for own, channel in channels.items()
    ]
    if turned is not None:
        own, channel = [*channels.items()][-1]
        flipped = boxes[:, [0, 3, 2, 1]] * boxes.new_tensor([1, -1, 1, -1]) + boxes.new_tensor([0, STREET, 0, STREET])
        shown.append((turned[channel], flipped, own, f"channel {channel}, the street upside down"))
    top = max(max(float(values.max()) for values, *_ in shown), 1e-9)
    for ax, (values, framed, own, name) in zip(others, shown, strict=False):
        ax.set_title(name)
        shade = draw_map(ax, to_array(values, float), top=top)
        colours = [ORANGE if i == own else TRUTH for i in range(len(boxes))]
        draw_boxes(ax, framed, names=names, colours=colours)
    fig.set_figheight(fig.get_figheight() + 0.6)
    fig.colorbar(shade, ax=axes, label="activation", location="bottom", shrink=0.6, aspect=35, pad=0.02)
    return fig


@course_look
def detected(
    large: Large,
    target: Mapping[str, Tensor],
    found: Mapping[str, Mapping[str, Tensor]],
    names: Sequence[str],
    *,
    threshold: float = 0.5,
    most: int | None = None,
    view: Float[Tensor, "k 4"] | None = None,
    title: str = "",
) -> Figure:
    """Draw the detections that score `threshold` or more on a street, a panel for each of `found`; white the truth.

    Their colour tells whether they are right, duplicates or false (`measuring.verdicts`). Those shown are numbered by
    descending score, the first `most` alone, and named below their panel, or beside it where there is only one; with
    `most` that one stays in its place, however many are found.
    `target` has the `boxes` and `labels` of the objects, `found` is title → dict of `boxes`, `labels` and `scores`;
    `names` are the classes by label. With `view`, only the part of the street around these boxes is shown, and what
    reaches into it.
    """
    every = {name: verdicts(one, target, threshold=threshold)[0] for name, one in found.items()}
    said = {name: words[:most] for name, words in every.items()}
    alone, longest = len(found) == 1, max(map(len, said.values()))
    place = (
        {"loc": "upper left", "bbox_to_anchor": (1, 1)}
        if alone
        else {"loc": "upper center", "bbox_to_anchor": (0.5, 0), "ncols": 2}
    )
    fig, axes = image_axes(1, len(found), aspect=1.33 if alone else 1, title=title)
    fig.set_figheight(fig.get_figheight() + (0.3 if alone else 0.2 + 0.22 * ceil(longest / 2)))
    for ax, (name, one) in zip(axes.flat, found.items(), strict=True):
        order = one["scores"].argsort(descending=True, stable=True)[: len(said[name])]
        draw_image(ax, large, size=SIZE)
        if view is not None:
            close_up(ax, view)
        seen = [each for each in zip(order.tolist(), said[name], strict=True) if within(ax, one["boxes"][each[0]])]
        told = [(*each, number) for number, each in enumerate(seen, start=1)]
        draw_boxes(ax, target["boxes"][[within(ax, box) for box in target["boxes"]]], colours=TRUTH)
        colours, numbers = [VERDICTS[word] for _, word, _ in told], [str(number) for _, _, number in told]
        draw_boxes(ax, one["boxes"][[i for i, *_ in told]], names=numbers, colours=colours)
        ax.set_title(name)
        swatches = [
            Patch(fc=VERDICTS[word], ec=INK, lw=0.5, label=f"{n} {names[one['labels'][i]]} {one['scores'][i]:.2f}")
            for i, word, n in told
        ]
        legend = ax.legend(handles=swatches, handlelength=1, columnspacing=1.2, labelspacing=0.35, **place)
        if alone and most:
            legend.set_title(f"{len(told)} of {len(every[name])} detections")
            fig.set_layout_engine("none")
            fig.set_figheight(7.2)
            ax.set_position((0.01, 0.06, 0.71, 0.888))
    name_colours(fig, {"ground truth": TRUTH} | VERDICTS)
    return fig


def within(ax: Axes, box: Float[Tensor, "4"]) -> bool:
    """Whether a box reaches into the part of an image that axes show."""
    (left, right), (top, bottom) = sorted(ax.get_xlim()), sorted(ax.get_ylim())
    return bool(box[0] < right and box[2] > left and box[1] < bottom and box[3] > top)
