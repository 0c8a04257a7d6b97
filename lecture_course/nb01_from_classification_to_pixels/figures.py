"""The figures of notebook 01: classifying the pixel in the middle of a window, and computing all windows at once."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import ceil

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import PlaceHolderLayoutEngine
from matplotlib.patches import Rectangle
from torch import Tensor

from lecture_utils.cityscapes import CLASSES, IGNORE_INDEX, PALETTE, colour_labels
from lecture_utils.figures.overlays import draw_image, legend, to_pixels
from lecture_utils.figures.scores import MARKERS, answer_bars
from lecture_utils.figures.style import (
    CYCLE,
    DASHES,
    FAINT,
    INK,
    VERMILION,
    WIDTH,
    bare,
    course_look,
    image_axes,
    to_array,
)
from lecture_utils.tasks import photos

Pixel = tuple[int, int]  # row, column


def to_photo(x: Tensor) -> np.ndarray:
    """What a network of the city sees, (1, 3, H, W) around 0, as an image again, (H, W, 3) uint8."""
    return to_pixels(photos.to_photo(x[0].cpu()))


def mark(ax: Axes, place: Pixel, size: int, colour: str = "white") -> None:
    """Frame the square of `size` pixels around a place, in a colour on black, so that it shows on any ground."""
    row, column = place
    for edge, line in (("black", 3.6), (colour, 1.8)):
        ax.add_patch(Rectangle((column - size / 2, row - size / 2), size, size, fill=False, ec=edge, lw=line))


@course_look
def alone(pixels: Sequence[np.ndarray], *, title: str = "") -> Figure:
    """Draw single pixels, each of three numbers, as squares with the numbers 1, 2, 3, … above them."""
    fig, axes = image_axes(1, len(pixels), width=7, title=title)
    for number, (ax, pixel) in enumerate(zip(axes[0], pixels, strict=True), start=1):
        draw_image(ax, to_array(pixel, np.uint8).reshape(1, 1, 3))
        ax.set_title(f"pixel {number}: {', '.join(map(str, to_array(pixel).ravel()))}")
    return fig


@course_look
def in_context(
    large: np.ndarray, places: Mapping[str, Pixel], patches: Sequence[np.ndarray], *,
    side: int, size: tuple[int, int], title: str = "",
) -> Figure:  # fmt: skip
    """Draw an image with numbered places (name → row, column), and around each its patch (P, P, 3), two panels a row.

    The numbers of `places` are in pixels of an image of `size`, height and width, of which a patch has `side` a side,
    however large those that are drawn.
    """
    rows = ceil((1 + len(places)) / 2)
    fig, axes = image_axes(rows, 2, width=8, title=title)
    draw_image(axes.flat[0], large, size=size)
    axes.flat[0].set_title("where they are")
    for number, (row, col) in enumerate(places.values(), start=1):
        mark(axes.flat[0], (row, col), 3)
        axes.flat[0].annotate(
            str(number), (col + 2.5, row - 2.5), color="white", ha="left", va="bottom", weight="bold",
            bbox={"facecolor": INK, "edgecolor": "none", "pad": 1.5},
        )  # fmt: skip
    for ax, (number, (name, patch)) in zip(
        axes.flat[1:], enumerate(zip(places, patches, strict=True), start=1), strict=False
    ):
        draw_image(ax, patch, size=(side, side))
        mark(ax, (side // 2, side // 2), 1)
        ax.set_title(f"{number} is {name}")
    return fig


@course_look
def histograms(values: Mapping[str, np.ndarray], *, bins: np.ndarray, xlabel: str, title: str = "") -> Figure:
    """Draw filled step histograms over each other, one for each name, as the fraction of its own values per bin."""
    fig, ax = plt.subplots(figsize=(WIDTH, 3.8))
    for i, (name, numbers) in enumerate(values.items()):
        fractions = np.histogram(to_array(numbers), bins)[0] / len(numbers)
        colour = CYCLE[i % len(CYCLE)]
        ax.stairs(fractions, bins, fill=True, color=colour, alpha=0.3)
        ax.stairs(fractions, bins, color=colour, lw=2, ls=DASHES[i % len(DASHES)], label=name)
    ax.set(xlabel=xlabel, ylabel="fraction of the class's pixels", title=title, xlim=(bins[0], bins[-1]))
    ax.legend()
    return fig


@course_look
def confusion_map(confusion: np.ndarray, names: Sequence[str], *, title: str = "") -> Figure:
    """Draw a confusion matrix (K, K) of pixel counts as percentages of each true class, a row each.

    The diagonal, what is right, is framed. Classes that the truth does not hold are left out.
    """
    confusion, names = to_array(confusion, float), np.asarray(names)
    if confusion.shape != (len(names), len(names)):
        raise ValueError(f"confusion: got shape {confusion.shape}, expected {(len(names), len(names))}, one row a name")
    present = confusion.sum(1) > 0
    if not present.any():
        raise ValueError("confusion: got no pixel of any class, expected some")
    fractions = confusion[present][:, present] / confusion[present].sum(1, keepdims=True)
    names, count = names[present], int(present.sum())
    fig, ax = plt.subplots(figsize=(WIDTH, 1.8 + 0.36 * count))
    drawn = ax.imshow(100 * fractions, cmap="viridis", vmin=0, vmax=100, aspect="auto")
    fig.colorbar(drawn, ax=ax, label="percent of the true class (a row)", pad=0.02)
    for row, column in np.ndindex(count, count):
        percent = round(100 * fractions[row, column])
        if percent:
            ax.text(column, row, percent, ha="center", va="center", color=INK if percent > 55 else "white")
    for i in range(count):
        ax.add_patch(Rectangle((i - 0.5, i - 0.5), 1, 1, fill=False, ec="white", lw=2))
    ax.set_xticks(range(count), names, rotation=35, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(count), names)
    ax.set(xlabel="predicted class", ylabel="true class", title=title)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return fig


@course_look
def labelled_so_far(large: np.ndarray, patch: np.ndarray, labels: np.ndarray, done: int) -> Figure:
    """Draw the window at pixel number `done` (row by row, from 0), the labels up to it over the image, and its patch.

    large (h, w, 3), the image at any size; labels (H, W); patch (P, P, 3).
    """
    height, width = labels.shape
    if not 0 <= done < height * width:
        raise ValueError(f"done: got {done}, expected a pixel number from 0 to {height * width - 1}")
    pixel = np.arange(height * width).reshape(height, width)
    rows, columns = (np.arange(n) * side // n for n, side in zip(large.shape[:2], labels.shape, strict=True))
    passed = pixel[rows][:, columns] <= done
    painted = colour_labels(labels[rows][:, columns])
    place, size = divmod(done, width), patch.shape[0]
    fig = Figure(
        figsize=(8.2, 4.75), layout=PlaceHolderLayoutEngine(True, True)
    )  # places by hand and outside pyplot: fast, for many frames
    axes = [fig.add_axes(box) for box in ((0.005, 0.1, 0.485, 0.84), (0.51, 0.1, 0.485, 0.84))]
    draw_image(axes[0], np.where(passed[..., None], painted, large), size=labels.shape)
    mark(axes[0], place, size)
    axes[0].set_title(f"{done + 1:,} of {height * width:,} pixels labelled")
    draw_image(axes[1], patch)
    mark(axes[1], (size // 2, size // 2), 1)
    axes[1].set_title("patch → class")
    label = int(labels[place])
    axes[1].set_xlabel(
        CLASSES[label], color="white" if PALETTE[label].mean() < 128 else INK,
        fontsize=13, labelpad=10, bbox={"facecolor": PALETTE[label] / 255, "edgecolor": INK, "pad": 6},
    )  # fmt: skip
    return fig


@course_look
def window_answer(
    large: np.ndarray, place: Pixel, patch: np.ndarray, scores: Mapping[str, float], *,
    truth: str, size: tuple[int, int], view: int = 37,
) -> Figure:  # fmt: skip
    """Draw `view` pixels around `place` with the window, the patch (P, P, 3) in it, and the class probabilities.

    `place`, `view` and `size`, the height and width, are in the network's pixels, however large the image.
    """
    fig = Figure(figsize=(8.4, 3.5), layout=PlaceHolderLayoutEngine(True, True))  # as above: fast, for many frames
    axes = [
        fig.add_axes(box) for box in ((0.005, 0.06, 0.355, 0.85), (0.37, 0.06, 0.355, 0.85), (0.845, 0.15, 0.14, 0.76))
    ]
    side = patch.shape[0]
    draw_image(axes[0], large, size=size)
    axes[0].set_xlim(place[1] - view / 2, place[1] + view / 2)
    axes[0].set_ylim(place[0] + view / 2, place[0] - view / 2)
    mark(axes[0], place, side)
    axes[0].set_title("the window")
    draw_image(axes[1], patch)
    mark(axes[1], (side // 2, side // 2), 1)
    axes[1].set_title(f"what it sees: {side} × {side}")
    if truth not in scores:
        raise ValueError(f"truth: got {truth!r}, expected one of {', '.join(scores)}")
    answer_bars(axes[2], scores, truth)
    axes[2].set_title("what it predicts", x=0.2)
    return fig


@course_look
def context_curves(
    sizes: Sequence[int], patches: Mapping[str, Sequence[float]], unet: Mapping[str, float], *, title: str = ""
) -> Figure:
    """Draw the IoU of each class (name → one for each size of patch) as lines; that of the U-Net as dots apart.

    The dots stand side by side, in the order of the names, and the first line, thicker, lies over the others.
    """
    fig, ax = plt.subplots(figsize=(8, 4.2))
    last = len(sizes)
    for i, (name, values) in enumerate(patches.items()):
        style = {"color": CYCLE[i % len(CYCLE)], "marker": MARKERS[i % len(MARKERS)], "zorder": 3 - (i > 0)}
        ax.plot(range(last), to_array(values), ls=DASHES[i % len(DASHES)], lw=2 + (i == 0), label=name, **style)
        beside = last + 0.3 + 0.11 * (i - (len(patches) - 1) / 2)
        ax.plot([beside], [unet[name]], ls="", ms=9, label="_", **style)
    ax.axvline(last - 0.35, color=FAINT, lw=1)
    ax.set_xticks([*range(last), last + 0.3], [*map(str, sizes), "U-Net:\nanother network"])
    ax.set(xlim=(-0.3, last + 0.7), ylim=(-0.02, 1), title=title, ylabel="intersection over union")
    ax.set_xlabel("pixels a side of the patch", x=((last - 1) / 2 + 0.3) / (last + 1))  # below its own ticks
    ax.grid(axis="y")
    fig.legend(loc="outside right center")
    return fig


def shared(length: int, step: int, shift: int) -> int:
    """How many of a window's `length` values at stride `step` a window moved by `shift` pixels needs, too."""
    return max(0, length - shift // step) if shift % step == 0 else 0


@course_look
def dilation_diagram(values: Sequence[float], kernel: Sequence[float]) -> Figure:
    """Draw a 1-D pooling by 2 and a convolution: left for the windows at 0 and at 1, one by one, right in one pass.

    A window has twice as many values as the kernel. In one pass the pooling moves by one, and the kernel takes every
    second of its results.
    """
    taps = len(kernel)
    if len(values) != 2 * taps + 1:
        raise ValueError(f"values: got {len(values)}, expected {2 * taps + 1}, two windows for a kernel of {taps}")
    fig, (apart, once) = plt.subplots(1, 2, figsize=(8.4, 4.7))
    pooled = [max(pair) for pair in pairwise(values)]
    for start, (colour, x) in enumerate((("#A6D8F5", taps - 0.5), ("#FFD27F", taps + 0.5))):
        own = range(start, start + 2 * taps, 2)
        score = sum(weight * pooled[i] for weight, i in zip(kernel, own, strict=True))
        for ax, rows in ((apart, (4.4 * start, 4.4 * start + 1.5, 4.4 * start + 3)), (once, (1, 3.4, 6.4))):
            for i in range(start, start + 2 * taps) if ax is apart else range(len(values)):
                _cell(ax, i, rows[0], values[i], "#EEEEEE")
            at = x + (2 * start - 1) * (ax is once)
            for i in own:
                ax.plot([i, i + 0.5, i + 1], [rows[0] + 0.4, rows[1] - 0.4, rows[0] + 0.4], color=FAINT, lw=1, zorder=0)
                ax.plot([i + 0.5, at], [rows[1] + 0.4, rows[2] - 0.4], color=INK, lw=1.2, zorder=0, ls=DASHES[start])
                _cell(ax, i + 0.5, rows[1], pooled[i], colour)
            _cell(ax, at, rows[2], score, colour)
            if ax is apart or start == 0:
                for y, name in zip(rows, ("values", "max of 2", f"kernel {' '.join(map(str, kernel))}"), strict=True):
                    ax.text(-0.8, y, name, ha="right", va="center")
    apart.set_title("window by window: pooling by 2")
    once.set_title("one pass: pooling by 1, then dilation 2")
    for ax in (apart, once):
        ax.set(xlim=(-4, len(values) - 0.3), ylim=(8, -0.7))
    bare((apart, once))
    return fig


def _cell(ax: Axes, x: float, y: float, value: float, colour: str) -> None:
    ax.add_patch(Rectangle((x - 0.4, y - 0.4), 0.8, 0.8, fc=colour, ec=INK, lw=1))
    ax.text(x, y, f"{value:g}", ha="center", va="center", weight="bold")


@course_look
def limit_line(fig: Figure, value: float, text: str) -> Figure:
    """Draw a horizontal line at a limit, with its name above it, in a figure's last panel."""
    ax = fig.axes[-1]
    ax.axhline(value, color=VERMILION, lw=2, ls="--", label="_limit")
    ax.annotate(text, (0.02, value), xycoords=("axes fraction", "data"), xytext=(0, 3), textcoords="offset points",
                color=VERMILION, va="bottom", weight="bold")  # fmt: skip
    return fig


@course_look
def gallery(
    panels: Mapping[str, np.ndarray | Tensor], *, columns: int, size: tuple[int, int], title: str = "",
    width: float = WIDTH, grid: int = 0,
) -> Figure:  # fmt: skip
    """Draw images and label maps (H, W) of one scene, `columns` a row, with a legend of the classes.

    Images are (H, W, 3), or (3, H, W) as tensors. All have the coordinates of an image of `size`, height and width,
    whatever their own. With `grid`, lines lie over the label maps, this many pixels apart.
    """
    if not panels or columns < 1:
        raise ValueError(f"panels, columns: got {len(panels)} and {columns}, expected at least one of each")
    panels = {name: to_pixels(image) for name, image in panels.items()}
    fig, axes = image_axes(ceil(len(panels) / columns), columns, width=width, aspect=size[1] / size[0], title=title)
    for ax, (name, image) in zip(axes.flat, panels.items(), strict=False):
        draw_image(ax, image, size=size)
        ax.set_title(name)
        if grid and image.ndim == 2:
            for along, line in zip(size, (ax.axhline, ax.axvline), strict=True):
                for place in range(grid, along, grid):
                    line(place - 0.5, color="white", lw=1)
    legend(fig, *(image for image in panels.values() if image.ndim == 2))
    return fig


def at_edges(labels: Tensor) -> Tensor:
    """Which pixels of label maps (b, h, w) have a label and, beside, above or below, a pixel of another: bool."""
    edges = torch.zeros_like(labels, dtype=torch.bool)
    for axis in (1, 2):
        n = labels.shape[axis] - 1
        differ = labels.narrow(axis, 1, n) != labels.narrow(axis, 0, n)
        edges.narrow(axis, 1, n).logical_or_(differ)
        edges.narrow(axis, 0, n).logical_or_(differ)
    return edges & (labels != IGNORE_INDEX)
