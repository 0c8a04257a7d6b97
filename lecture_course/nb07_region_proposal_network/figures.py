"""The figures of notebook 07: anchors, their objectness, and the way from all boxes to the proposals."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from matplotlib import pyplot as plt
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PolyCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor
from torchvision import tv_tensors

from lecture_utils.detection.anchors import base_anchors, grid_anchors
from lecture_utils.detection.boxes import box_iou, clip_boxes_to_image
from lecture_utils.figures.boxes import centres, draw_boxes, one_image
from lecture_utils.figures.overlays import draw_image, name_colours, to_pixels
from lecture_utils.figures.style import (
    BLUE,
    CYCLE,
    GREEN,
    INK,
    ORANGE,
    VERMILION,
    WIDTH,
    course_look,
    image_axes,
    to_array,
)
from lecture_utils.toycity import Scene, render

Box = tuple[float, float, float, float]


@course_look
def anchors_on(
    image: torch.Tensor | np.ndarray,
    anchors: Float[torch.Tensor, "anchors 4"],
    map_size: tuple[int, int],
    *,
    names: Sequence[str] = (),
    margin: int | float | None = None,
    title: str = "",
    width: int | float = 6.0,
) -> Figure:
    """Draw the points of a feature map on the image, and the K anchors of one of them (slides 21 and 22).

    `anchors` are those of `grid_anchors` a map of `map_size` (height, width); the point is the middle one. `names`, one
    for each of the K anchors, stand below with their colours; equal names share one. Anchors may reach beyond the
    image: the figure shows as much around it, or `margin` pixels (below 0: so much less than the image).
    """
    anchors, image = to_array(anchors, float), to_pixels(image)
    rows, columns = map_size
    k = len(anchors) // max(1, rows * columns)
    if anchors.ndim != 2 or anchors.shape[1] != 4 or k < 1 or len(anchors) != rows * columns * k:
        raise ValueError(f"anchors: got shape {anchors.shape}, expected ({rows} · {columns} · K, 4)")
    if names and len(names) != k:
        raise ValueError(f"names: got {len(names)}, expected {k}, one for each anchor of a point")
    row, column = rows // 2, columns // 2
    mine = anchors.reshape(rows, columns, k, 4)[row, column]
    if margin is None:
        view = np.minimum(0, mine[:, :2].min(0) - 2), np.maximum(image.shape[1::-1], mine[:, 2:].max(0) + 2)
    else:
        view = np.full(2, -margin), np.array(image.shape[1::-1]) + margin
    fig, ax = one_image(image, title=title, width=width, view=view)
    points = centres(anchors.reshape(-1, k, 4)[:, 0])
    beneath = {"zorder": 0.5, "clip_on": (margin or 0) < 0}  # the boxes
    ax.scatter(*points.T, s=11, c="white", edgecolors=INK, linewidths=0.6, **beneath)
    groups = {name: CYCLE[i % len(CYCLE)] for i, name in enumerate(dict.fromkeys(names))}
    draw_boxes(ax, mine, colours=[groups[name] for name in names] or ORANGE)
    ax.scatter(*points[row * columns + column], s=60, c=VERMILION, edgecolors="white", linewidths=1.2, zorder=4)
    if groups:
        name_colours(fig, groups)
    return fig


@course_look
def one_shape(
    image: Tensor | np.ndarray, objects: Float[Tensor, "n 4"], size: int | float, ratio: int | float, stride: int
) -> Figure:
    """Draw one shape of anchor over an image, and which objects (n, 4) some anchor overlaps by half: these in green.

    `size` is √area and `stride` the distance of two points, in pixels; `ratio` is height / width.
    """
    pixels = to_pixels(image)
    points = pixels.shape[0] // stride, pixels.shape[1] // stride
    anchors = grid_anchors(base_anchors([size], [ratio]), points, stride)
    objects = torch.from_numpy(to_array(objects, np.float32))
    best = box_iou(objects, anchors).amax(dim=1)
    near = best >= 0.5
    title = f"{len(anchors):,} anchors; {near.sum()} of {len(best)} objects"
    fig = anchors_on(pixels, anchors, points, margin=1, title=title, width=4.5)
    draw_boxes(fig.axes[0], objects[near], scores=best[near], colours=GREEN)
    draw_boxes(fig.axes[0], objects[~near], scores=best[~near], colours=BLUE, dashed=True)
    return fig


def large_street(scene: Scene) -> tuple[np.ndarray, list[tuple[str, Box]], tv_tensors.Image]:
    """A street of the slide's size: an image (480, 640, 3), the class and box of each object on it, and a small image.

    The city is painted square, at 512 × 512 pixels at most: this is the middle of it, enlarged by a quarter. The small
    image, (3, 120, 160), is the same as a network takes it that learned on streets of 128 × 128.
    """
    rendering = render(scene, 512)
    middle = Image.fromarray(rendering.image[64:448]).resize((640, 480), Image.Resampling.BICUBIC)
    boxes = torch.tensor([thing.box for thing in rendering.objects]).reshape(-1, 4) - torch.tensor([0.0, 64, 0, 64])
    boxes = clip_boxes_to_image(boxes * 1.25, (480, 640)).tolist()
    objects = [(thing.category, tuple(box)) for thing, box in zip(rendering.objects, boxes, strict=True)]
    small = torch.from_numpy(np.array(middle.reduce(4))).permute(2, 0, 1)
    return np.array(middle), objects, tv_tensors.Image(small)


@course_look
def selection(
    image: Tensor | np.ndarray,
    stages: Mapping[str, tuple[Float[Tensor, "n 4"], Float[Tensor, "n"]]],
    *,
    minimum: float = 0.0,
    columns: int = 2,
    title: str = "",
) -> Figure:
    """Draw the boxes (n, 4) of each stage on the image, coloured by their objectness (n,), 0 to 1, the highest on top.

    The boxes are in pixels of the image; those with an objectness below `minimum` are counted, not drawn. No stage is a
    ValueError.
    """
    if not stages:
        raise ValueError("stages: got none, expected at least one, name → (boxes, objectness)")
    pixels, columns = to_pixels(image), min(columns, len(stages))
    fig, axes = image_axes(-(-len(stages) // columns), columns, aspect=pixels.shape[1] / pixels.shape[0], title=title)
    colours = ScalarMappable(Normalize(0, 1), "viridis")
    for ax, (name, (boxes, objectness)) in zip(axes.flat, stages.items(), strict=False):
        draw_image(ax, pixels)
        boxes, objectness = to_array(boxes, float) - 0.5, to_array(objectness, float)
        order = objectness.argsort()[(objectness < minimum).sum() :]  # the highest are drawn last
        x0, y0, x1, y1 = boxes[order].T
        corners = np.stack([np.stack([x0, x1, x1, x0], 1), np.stack([y0, y0, y1, y1], 1)], 2)
        line = 0.6 if len(order) > 500 else 1.1
        edges = colours.to_rgba(objectness[order])
        edges[:, 3] = 0.25 + 0.75 * objectness[order]  # so that the many of low objectness do not hide the others
        ax.add_collection(PolyCollection(corners, facecolors="none", edgecolors=edges, linewidths=line))
        ax.set_title(f"{name}: {len(order)} of {len(boxes)}" if minimum else name)
    for ax in axes.flat[len(stages) :]:
        ax.remove()
    fig.set_figheight(fig.get_figheight() + 0.7)
    below = {"location": "bottom", "shrink": 0.5, "aspect": 30, "pad": 0.02}
    label = f"objectness (boxes from {minimum:g} on)" if minimum else "objectness"
    bar = fig.colorbar(colours, ax=list(axes.flat[: len(stages)]), label=label, **below)
    bar.outline.set_visible(False)
    return fig


@course_look
def rpn_losses(
    losses: Mapping[str, Sequence[float]], lines: Mapping[str, Mapping[str, float]], *, title: str = ""
) -> Figure:
    """Draw losses, name → one number for each step, against the step on a logarithmic axis, a panel for each.

    The first step stands alone, each further point is a mean over the steps since the one before it, which become
    more and more. `lines` are dashed: name of the loss → text → height.
    """
    fig, axes = plt.subplots(1, len(losses), figsize=(WIDTH, 3.6), squeeze=False)
    fig.suptitle(title)
    for ax, (name, values) in zip(axes[0], losses.items(), strict=True):
        steps = len(values)
        ends = sorted({min(steps, round(1.5**k)) for k in range(40)})
        means = [np.mean(values[low:high]) for low, high in zip([0, *ends], ends, strict=False)]
        ax.plot(ends, means, "o-", color=BLUE, ms=5)
        for text, height in lines.get(name, {}).items():
            ax.axhline(height, color=VERMILION, linestyle="--", linewidth=1.2)
            x, side = (0.98, "right") if 2 * height > max(means) else (0.02, "left")  # where a falling curve is not
            place = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "ha": side}
            ax.annotate(text, (x, height), (0, 4), color=VERMILION, size=11, **place)
        ticks = [tick for tick in (1, 3, 10, 30, 100, 300, 1000, 3000) if tick <= steps]
        ax.set(xscale="log", xlabel="training step", ylabel=name, ylim=(0, 1.12 * max(means)))
        ax.set_xticks(ticks, ticks)
        ax.minorticks_off()
        ax.grid()
    return fig
