"""Photographs, label maps, predictions and scores beside and upon each other (slides 3, 12 and 13)."""

from collections.abc import Mapping, Sequence
from math import ceil

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from matplotlib.typing import ColorType
from torch import Tensor

from lecture_utils.cityscapes import CLASSES, IGNORE_COLOUR, IGNORE_INDEX, PALETTE, colour_labels
from lecture_utils.figures.style import (
    CYCLE,
    DASHES,
    INK,
    LABEL_MAP,
    WIDTH,
    bare,
    course_look,
    image_axes,
    to_array,
)


def to_pixels(image: Tensor | np.ndarray) -> np.ndarray:
    """What a reader gives, a tensor (3, H, W) uint8, as it is drawn: (H, W, 3). An array stays as it is."""
    return to_array(image.permute(1, 2, 0)) if isinstance(image, Tensor) and image.ndim == 3 else to_array(image)


def draw_image(ax: Axes, image: Tensor | np.ndarray, *, size: tuple[int, int] | None = None) -> None:
    """Draw a photograph, (3, H, W) or (H, W, 3), or a label map (H, W), pixel by pixel, without ticks.

    `size` is the height and width of the coordinates, by default the image's own: a street that a network sees at
    96 × 96 may be shown at 512 × 512, with the network's boxes on it.
    """
    image = to_pixels(image)
    if image.ndim not in (2, 3) or image.size == 0 or (image.ndim == 3 and image.shape[2] != 3):
        raise ValueError(f"image: got shape {image.shape}, expected (H, W, 3) for an image or (H, W) for a label map")
    height, width = size or image.shape[:2]
    shown, gid = (colour_labels(image), LABEL_MAP) if image.ndim == 2 else (image, None)
    # An image painted finer than its coordinates is a reader's, not a network's: no grain of its pixels is needed.
    how = "auto" if image.ndim == 3 and image.shape[0] > height else "nearest"
    ax.imshow(shown, interpolation=how, extent=(-0.5, width - 0.5, height - 0.5, -0.5), gid=gid)
    bare([ax])


def overlay(image: np.ndarray, labels: np.ndarray, alpha: float = 0.55) -> np.ndarray:
    """Lay the colours of a label map (H, W) over a photograph (H, W, 3) uint8: (H, W, 3) uint8.

    `alpha` is the share of the label's colour, 0 to 1. Ignored pixels keep the photograph.
    """
    image, labels = to_array(image), to_array(labels)
    if image.shape != (*labels.shape, 3):
        raise ValueError(
            f"labels: got shape {labels.shape} for an image {image.shape}, expected the same height and width"
        )
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha: got {alpha}, expected 0 to 1")
    mixed = (1 - alpha) * image + alpha * colour_labels(labels)
    return np.where(labels[..., None] == IGNORE_INDEX, image, np.rint(mixed)).astype(np.uint8)


def legend(fig: Figure, *label_maps: np.ndarray, columns: int = 6) -> None:
    """Name the colours of the classes in these label maps, below the figure, which grows by the room that takes."""
    present = np.unique(np.concatenate([np.unique(to_array(labels)) for labels in label_maps]))
    colours = {CLASSES[i]: to_hex(PALETTE[i] / 255) for i in present if i != IGNORE_INDEX}
    if IGNORE_INDEX in present:
        colours["ignored"] = to_hex(np.array(IGNORE_COLOUR) / 255)
    name_colours(fig, colours, columns=columns)


def name_colours(fig: Figure, colours: Mapping[str, ColorType], *, columns: int = 6) -> None:
    """Name colours below the figure, which grows by the room that takes."""
    if not colours:
        return
    swatches = [Patch(facecolor=colour, edgecolor=INK, linewidth=0.5, label=name) for name, colour in colours.items()]
    rows = ceil(len(swatches) / columns)
    fig.set_figheight(fig.get_figheight() + 0.1 + 0.25 * rows)
    fig.legend(
        handles=swatches,
        loc="outside lower center",
        ncols=ceil(len(swatches) / rows),
        handlelength=1.2,
        columnspacing=1.2,
    )


@course_look
def compare(columns: Mapping[str, Sequence[np.ndarray]], *, title: str = "", width: float = WIDTH) -> Figure:
    """Draw columns of images under their titles, one scene a row, and name the classes that occur.

    Each image is a photograph (H, W, 3) or a label map (H, W); every column holds the same number.
    """
    counts = {name: len(images) for name, images in columns.items()}
    if not counts or len(set(counts.values())) != 1 or 0 in counts.values():
        raise ValueError(f"columns: got {counts} images, expected as many in each column, and at least one")
    rows = next(iter(counts.values()))
    columns = {name: [to_array(image) for image in images] for name, images in columns.items()}
    first = next(iter(columns.values()))[0]
    fig, axes = image_axes(rows, len(columns), width=width, aspect=first.shape[1] / first.shape[0], title=title)
    for column, (name, images) in enumerate(columns.items()):
        axes[0, column].set_title(name)
        for row, image in enumerate(images):
            draw_image(axes[row, column], image)
    maps = [image for images in columns.values() for image in images if image.ndim == 2]
    if maps:
        legend(fig, *maps)
    return fig


def outline(labels: np.ndarray) -> np.ndarray:
    """The edges between pixels of different class, as segments (n, 2, 2) of (x, y) in image coordinates."""
    y, x = np.nonzero(labels[:, 1:] != labels[:, :-1])  # between (y, x) and (y, x + 1): a vertical edge at x + ½
    upright = np.stack([np.stack([x + 0.5, y - 0.5], 1), np.stack([x + 0.5, y + 0.5], 1)], 1)
    y, x = np.nonzero(labels[1:] != labels[:-1])
    level = np.stack([np.stack([x - 0.5, y + 0.5], 1), np.stack([x + 0.5, y + 0.5], 1)], 1)
    return np.concatenate([upright, level])


@course_look
def training_curve(history, *, title: str = "Training") -> Figure:
    """Draw the loss of each step, faint, and its running mean; beside it, the scores of the evaluations, if any.

    `history` is what `training.fit` returns: `losses`, one a step, and `metrics`, records `{"step", name: value, …}`.
    """
    if not history.losses:
        raise ValueError("history: got no losses, expected at least one step of training")
    fig, axes = plt.subplots(1, 2 if history.metrics else 1, figsize=(WIDTH, 3.6), squeeze=False)
    for ax in axes[0]:
        ax.set_xlabel("training step")
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        ax.grid()
    fig.suptitle(title)

    losses = np.array(history.losses)
    window = ceil(len(losses) / 20)
    mean = np.convolve(losses, np.full(window, 1 / window), mode="valid")
    axes[0, 0].plot(1 + np.arange(len(losses)), losses, color=CYCLE[0], alpha=0.3, linewidth=1, label="each step")
    axes[0, 0].plot(window + np.arange(len(mean)), mean, color=CYCLE[0], label=f"mean of {window}")
    axes[0, 0].set(ylabel="loss", ylim=(0, None))
    axes[0, 0].legend()
    if history.metrics:
        steps = [record["step"] for record in history.metrics]
        for i, name in enumerate(name for name in history.metrics[-1] if name != "step"):
            values = [record.get(name, np.nan) for record in history.metrics]
            style = {"color": CYCLE[i % len(CYCLE)], "linestyle": DASHES[i % len(DASHES)], "marker": "o"}
            axes[0, 1].plot(steps, values, label=name, **style)
        axes[0, 1].set(ylabel="score", ylim=(0, 1))
        axes[0, 1].legend(loc="lower right")
    return fig
