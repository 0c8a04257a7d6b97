"""The figures of notebook 07: anchors, objectness and non-maximum suppression."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from lecture_utils.detection.boxes import box_iou
from lecture_utils.figures.attention_maps import attention_bar
from lecture_utils.figures.boxes import centres, draw_boxes, fade, one_image
from lecture_utils.figures.overlays import draw_image, name_colours, to_pixels
from lecture_utils.figures.style import (
    BLUE,
    CYCLE,
    FAINT,
    INK,
    ORANGE,
    VERMILION,
    WIDTH,
    course_look,
    image_axes,
    to_array,
)


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
def objectness_maps(
    image: Tensor | np.ndarray, maps: Mapping[str, Float[Tensor, "h w"]], *, columns: int = 3, title: str = ""
) -> Figure:
    """Draw maps of objectness, 0 to 1, over the image: the brighter, the surer the anchor of this shape."""
    pixels = to_pixels(image)
    height, width = pixels.shape[:2]
    rows = -(-len(maps) // columns)
    fig, axes = image_axes(rows, columns, width=min(WIDTH, 2.0 * columns), aspect=width / height, title=title)
    for ax, (name, values) in zip(axes.flat, maps.items(), strict=False):
        draw_image(ax, pixels)
        h, w = values.shape
        down, across = height / h, width / w
        # A point stands in the middle of its cell; the first one lies at pixel (0, 0).
        extent = (-across / 2 - 0.5, width - across / 2 - 0.5, height - down / 2 - 0.5, -down / 2 - 0.5)
        how = {"cmap": "viridis", "vmin": 0, "vmax": 1, "alpha": 0.55}
        shown = ax.imshow(to_array(values), extent=extent, interpolation="nearest", **how)
        ax.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
        ax.set_title(name)
    for ax in axes.flat[len(maps) :]:
        ax.set_visible(False)
    attention_bar(shown, axes, label="objectness")
    return fig


@course_look
def nms_steps(
    image: Tensor | np.ndarray,
    boxes: Float[Tensor, "n 4"],
    scores: Float[Tensor, "n"],
    threshold: float,
    *,
    steps: int = 4,
    columns: int = 4,
) -> Figure:
    """Draw non-maximum suppression step by step, a panel each: the box that is taken, and those that it drops.

    Orange is the next best box (n scores of any scale, the highest first), dashed what it drops, blue what was kept
    before, grey what is left. Without boxes there is no step to draw: a ValueError.
    """
    if not len(boxes):
        raise ValueError("boxes: got none, expected at least one")
    boxes, scores = boxes.cpu(), scores.cpu()
    left, panels = scores.argsort(descending=True), []
    kept = left[:0]
    while len(left) and len(panels) < steps:
        overlap = box_iou(boxes[left[:1]], boxes[left[1:]])[0]
        dropped = overlap > threshold
        panels.append((kept, left[:1], left[1:][dropped], overlap[dropped], left[1:][~dropped]))
        kept = torch.cat([kept, left[:1]])
        left = left[1:][~dropped]
    grey = fade(image)
    rows = -(-len(panels) // columns)
    aspect = grey.shape[1] / grey.shape[0]
    fig, axes = image_axes(rows, min(columns, len(panels)), aspect=aspect)
    for step, (ax, (kept, best, gone, overlap, rest)) in enumerate(zip(axes.flat, panels, strict=False), 1):
        draw_image(ax, grey)
        draw_boxes(ax, boxes[rest], colours=FAINT)
        draw_boxes(ax, boxes[kept], colours=BLUE)
        draw_boxes(ax, boxes[gone], colours=VERMILION, dashed=True)
        draw_boxes(ax, boxes[best], colours=ORANGE)
        said = f"drops {len(gone)}\nIoU {overlap.min():.2f} to {overlap.max():.2f}" if len(gone) > 1 else "drops none\n"
        said = f"drops 1\nIoU {overlap[0]:.2f}" if len(gone) == 1 else said
        ax.set_title(f"{step}. {said}", size=11)
    for ax in axes.flat[len(panels) :]:
        ax.set_visible(False)
    return fig
