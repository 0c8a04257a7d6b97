"""The figures of notebook 01: classifying the pixel in the middle of a window."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from lecture_utils.cityscapes import colour_labels
from lecture_utils.figures.overlays import draw_image
from lecture_utils.figures.style import BLUE, INK, bare, course_look, to_array

Pixel = tuple[int, int]  # row, column


@course_look
def same_colour(image: np.ndarray, patches: Mapping[str, tuple[Pixel, np.ndarray]], *, title: str = "") -> Figure:
    """Draw a photograph (H, W, 3) with places marked on it; beside it each place's pixel alone, and in its patch.

    `patches` are name → ((row, column), patch (P, P, 3)), P odd: the pixel is the patch's middle.
    """
    fig = plt.figure(figsize=(8, 3.9))
    names = list(patches)
    grid = fig.add_gridspec(2, 1 + len(names), width_ratios=[2.1] + [1] * len(names))
    fig.suptitle(title)
    scene = fig.add_subplot(grid[:, 0])
    draw_image(scene, image)
    for column, name in enumerate(names, start=1):
        (row, col), patch = patches[name]
        middle = patch.shape[0] // 2
        mark(scene, (row, col), 5)
        scene.annotate(
            str(column), (col + 3.5, row - 3.5), color="white", ha="left", va="bottom", weight="bold",
            bbox={"facecolor": INK, "edgecolor": "none", "pad": 1.5},
        )  # fmt: skip
        alone, around = fig.add_subplot(grid[0, column]), fig.add_subplot(grid[1, column])
        draw_image(alone, patch[middle : middle + 1, middle : middle + 1])
        alone.set_title(f"{column}, alone")
        draw_image(around, patch)
        mark(around, (middle, middle), 1)
        around.set_title(f"{column}, {name}")
    return fig


@course_look
def window_answer(
    image: np.ndarray,
    patch: np.ndarray,
    place: Pixel,
    scores: Mapping[str, float],
    *,
    truth: str = "",
    title: str = "",
) -> Figure:
    """Draw a photograph with the window around `place`, the patch in it, and the probability of each class as a bar.

    image (H, W, 3), patch (P, P, 3) with P odd, `scores` name → 0 to 1. The bar of the class `truth` is named in bold.
    """
    fig, axes = plt.subplots(1, 3, figsize=(8, 3.2), width_ratios=[1.15, 1, 1])
    fig.suptitle(title)
    size = patch.shape[0]
    draw_image(axes[0], image)
    mark(axes[0], place, size)
    axes[0].set_title("the window")
    draw_image(axes[1], patch)
    mark(axes[1], (size // 2, size // 2), 1)
    axes[1].set_title(f"what it sees: {size} × {size}")
    names = list(scores)
    axes[2].barh(range(len(names)), list(scores.values()), color=BLUE)
    axes[2].set_yticks(range(len(names)), [f"{name} ✓" if name == truth else name for name in names])
    axes[2].set(xlim=(0, 1), xticks=(0, 0.5, 1), title="what it says")
    axes[2].set_xlabel("probability")
    axes[2].invert_yaxis()
    if truth in names:
        axes[2].get_yticklabels()[names.index(truth)].set_weight("bold")
    return fig


@course_look
def labelled_so_far(image: np.ndarray, patch: np.ndarray, labels: np.ndarray, done: int, *, title: str = "") -> Figure:
    """Draw the window at pixel number `done` (row by row, from 0), its patch, and the labels of the pixels before it.

    image (H, W, 3), patch (P, P, 3), labels (H, W); what is not labelled yet is white.
    """
    height, width = labels.shape
    if not 0 <= done < height * width:
        raise ValueError(f"done: got {done}, expected a pixel number from 0 to {height * width - 1}")
    fig, axes = plt.subplots(1, 3, figsize=(7.5, 3.0))
    fig.suptitle(title)
    place, size = divmod(done, width), patch.shape[0]
    draw_image(axes[0], image)
    mark(axes[0], place, size)
    axes[0].set_title("the window")
    draw_image(axes[1], patch)
    mark(axes[1], (size // 2, size // 2), 1)
    axes[1].set_title("the patch, its middle framed")
    so_far = colour_labels(labels)
    so_far.reshape(-1, 3)[done + 1 :] = 255
    draw_image(axes[2], so_far)
    axes[2].add_patch(Rectangle((-0.5, -0.5), width, height, fill=False, ec=INK, lw=1))
    axes[2].set_title(f"labels: {done + 1:,} of {height * width:,}")
    return fig


def mark(ax: Axes, place: Pixel, size: int) -> None:
    """Frame the square of `size` pixels around a place, in white on black, so that it shows on any ground."""
    row, column = place
    for colour, line in (("black", 3.2), ("white", 1.4)):
        ax.add_patch(
            Rectangle((column - size / 2, row - size / 2), size, size, fill=False, ec=colour, lw=line, clip_on=False)
        )
    bare([ax])


@course_look
def confusion_map(confusion: np.ndarray, names: Sequence[str], *, title: str = "") -> Figure:
    """Draw a confusion matrix (K, K) of pixel counts as shares of each true class, a row each, in percent.

    Classes that the truth does not hold are left out.
    """
    confusion, names = to_array(confusion, float), np.asarray(names)
    if confusion.shape != (len(names), len(names)):
        raise ValueError(f"confusion: got shape {confusion.shape}, expected {(len(names), len(names))}, one row a name")
    present = confusion.sum(1) > 0
    if not present.any():
        raise ValueError("confusion: got no pixel of any class, expected some")
    shares = confusion[present][:, present] / confusion[present].sum(1, keepdims=True)
    names, count = names[present], int(present.sum())
    fig, ax = plt.subplots(figsize=(8, 1.8 + 0.36 * count))
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for row, column in np.ndindex(count, count):
        percent = round(100 * shares[row, column])
        if percent:
            ax.text(column, row, percent, ha="center", va="center", color="white" if percent > 55 else INK)
    ax.set_xticks(range(count), names, rotation=35, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(count), names)
    ax.set(xlabel="predicted class (percent of the row)", ylabel="true class", title=title)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return fig
