"""Region proposals as pictures: objectness, suppression step by step, seconds an image (slides 21 to 23)."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from jaxtyping import Float
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from torch import Tensor

from lecture_utils.detection.boxes import iou
from lecture_utils.figures.boxes import draw_boxes, pale
from lecture_utils.figures.overlays import picture
from lecture_utils.figures.style import (
    BLUE,
    CYCLE,
    FAINT,
    HATCHES,
    ORANGE,
    VERMILION,
    WIDTH,
    course_look,
    picture_axes,
    to_array,
)

HEAT = LinearSegmentedColormap.from_list("heat", [(*to_rgb(VERMILION), 0.0), (*to_rgb(VERMILION), 0.9)])


@course_look
def objectness_maps(
    image: Tensor | np.ndarray, maps: Mapping[str, Float[Tensor, "h w"]], *, columns: int = 3, title: str = ""
) -> Figure:
    """Draw maps of objectness, 0 to 1, over a pale picture: the more orange, the surer the anchor of this shape."""
    grey = pale(image)
    height, width = grey.shape[:2]
    rows = -(-len(maps) // columns)
    fig, axes = picture_axes(rows, columns, width=min(WIDTH, 2.0 * columns), aspect=width / height, title=title)
    for ax, (name, values) in zip(axes.flat, maps.items(), strict=False):
        picture(ax, grey)
        h, w = values.shape
        down, across = height / h, width / w
        # A point stands in the middle of its cell; the first one lies at pixel (0, 0).
        extent = (-across / 2 - 0.5, width - across / 2 - 0.5, height - down / 2 - 0.5, -down / 2 - 0.5)
        ax.imshow(to_array(values), cmap=HEAT, vmin=0, vmax=1, extent=extent, interpolation="nearest")
        ax.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
        ax.set_title(name)
    for ax in axes.flat[len(maps) :]:
        ax.set_visible(False)
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
        overlap = iou(boxes[left[:1]], boxes[left[1:]])[0]
        dropped = overlap > threshold
        panels.append((kept, left[:1], left[1:][dropped], overlap[dropped], left[1:][~dropped]))
        kept = torch.cat([kept, left[:1]])
        left = left[1:][~dropped]
    grey = pale(image)
    rows = -(-len(panels) // columns)
    aspect = grey.shape[1] / grey.shape[0]
    fig, axes = picture_axes(rows, min(columns, len(panels)), aspect=aspect)
    for step, (ax, (kept, best, gone, overlap, rest)) in enumerate(zip(axes.flat, panels, strict=False), 1):
        picture(ax, grey)
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


@course_look
def seconds_an_image(panels: Mapping[str, Mapping[str, Sequence[float]]], parts: Sequence[str]) -> Figure:
    """Draw bars of seconds, a panel for each of `panels`: name → system → seconds of each of the `parts`, stacked."""
    fig, axes = plt.subplots(1, len(panels), figsize=(WIDTH, 3.4), squeeze=False)
    for ax, (title, systems) in zip(axes[0], panels.items(), strict=True):
        names = list(systems)
        start = np.zeros(len(names))
        for part, colour, hatch in zip(range(len(parts)), CYCLE, HATCHES, strict=False):
            length = np.array([systems[name][part] for name in names], dtype=float)
            bar = ax.barh(names, length, left=start, color=colour, hatch=hatch, edgecolor="white", label=parts[part])
            start = start + length
        ax.bar_label(bar, labels=[f" {seconds:.2g} s" for seconds in start])
        ax.set(title=title, xlabel="seconds an image", xlim=(0, 1.25 * start.max()))
        ax.invert_yaxis()
    handles, labels = axes[0, 0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=len(parts))
    return fig
