"""Photographs, label maps, predictions and scores beside and upon each other (slides 3, 12 and 13)."""

from collections.abc import Mapping, Sequence
from math import ceil

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import MaxNLocator
from matplotlib.typing import ColorType

from lecture_utils.cityscapes import CLASSES, IGNORE_COLOUR, IGNORE_INDEX, PALETTE, THIN_CLASSES, colour_labels
from lecture_utils.figures.style import (
    CYCLE,
    DASHES,
    HATCHES,
    INK,
    WIDTH,
    bare,
    course_look,
    picture_axes,
    to_array,
)


def picture(ax: Axes, image: np.ndarray) -> None:
    """Draw a photograph (H, W, 3) or a label map (H, W), pixel by pixel, without ticks."""
    image = to_array(image)
    if image.ndim not in (2, 3) or image.size == 0 or (image.ndim == 3 and image.shape[2] != 3):
        raise ValueError(f"image: got shape {image.shape}, expected (H, W, 3) for a picture or (H, W) for a label map")
    ax.imshow(colour_labels(image) if image.ndim == 2 else image, interpolation="nearest")
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
    """Draw columns of pictures under their titles, one scene a row, and name the classes that occur.

    Each picture is a photograph (H, W, 3) or a label map (H, W); every column holds the same number.
    """
    counts = {name: len(pictures) for name, pictures in columns.items()}
    if not counts or len(set(counts.values())) != 1 or 0 in counts.values():
        raise ValueError(f"columns: got {counts} pictures, expected as many in each column, and at least one")
    rows = next(iter(counts.values()))
    columns = {name: [to_array(image) for image in pictures] for name, pictures in columns.items()}
    first = next(iter(columns.values()))[0]
    fig, axes = picture_axes(rows, len(columns), width=width, aspect=first.shape[1] / first.shape[0], title=title)
    for column, (name, pictures) in enumerate(columns.items()):
        axes[0, column].set_title(name)
        for row, image in enumerate(pictures):
            picture(axes[row, column], image)
    maps = [image for pictures in columns.values() for image in pictures if image.ndim == 2]
    if maps:
        legend(fig, *maps)
    return fig


@course_look
def boundaries_magnified(
    image: np.ndarray,
    maps: Mapping[str, np.ndarray],
    *,
    window: tuple[int, int, int, int] | None = None,
    title: str = "Boundaries, magnified",
) -> Figure:
    """Draw a photograph with a window in it, and that window of each label map enlarged, pixel by pixel.

    `maps` are name → (H, W), the truth first; its outlines are drawn over every map, so that a lost edge shows.
    `window` is (x0, y0, x1, y1) in pixels; by default the third of the picture with the most edges of thin classes.
    """
    image = to_array(image)
    maps = {name: to_array(labels) for name, labels in maps.items()}
    for name, labels in maps.items():
        if labels.shape != image.shape[:2]:
            raise ValueError(f"maps[{name!r}]: got shape {labels.shape}, expected {image.shape[:2]}, the photograph's")
    truth = next(iter(maps.values()))
    x0, y0, x1, y1 = window or busiest_window(truth)
    if not (0 <= x0 < x1 <= image.shape[1] and 0 <= y0 < y1 <= image.shape[0]):
        raise ValueError(
            f"window: got {(x0, y0, x1, y1)}, expected x0 < x1 and y0 < y1 inside {image.shape[:2]} (H, W)"
        )
    edges = outline(truth)

    fig, axes = picture_axes(1, 1 + len(maps), aspect=(x1 - x0) / (y1 - y0), title=title)
    picture(axes[0, 0], image)
    axes[0, 0].set_title("photograph")
    for colour, line in (("white", 3.6), (INK, 1.6)):
        axes[0, 0].add_patch(Rectangle((x0 - 0.5, y0 - 0.5), x1 - x0, y1 - y0, fill=False, ec=colour, lw=line))
    for ax, (name, labels) in zip(axes[0, 1:], maps.items(), strict=True):
        picture(ax, labels)
        ax.set(xlim=(x0 - 0.5, x1 - 0.5), ylim=(y1 - 0.5, y0 - 0.5), title=name)
        for colour, line in (("black", 1.8), ("white", 0.8)):
            ax.add_collection(LineCollection(edges, colors=colour, linewidths=line, capstyle="projecting"))
    legend(fig, *(labels[y0:y1, x0:x1] for labels in maps.values()))
    return fig


def outline(labels: np.ndarray) -> np.ndarray:
    """The edges between pixels of different class, as segments (n, 2, 2) of (x, y) in image coordinates."""
    y, x = np.nonzero(labels[:, 1:] != labels[:, :-1])  # between (y, x) and (y, x + 1): a vertical edge at x + ½
    upright = np.stack([np.stack([x + 0.5, y - 0.5], 1), np.stack([x + 0.5, y + 0.5], 1)], 1)
    y, x = np.nonzero(labels[1:] != labels[:-1])
    level = np.stack([np.stack([x - 0.5, y + 0.5], 1), np.stack([x + 0.5, y + 0.5], 1)], 1)
    return np.concatenate([upright, level])


def busiest_window(labels: np.ndarray, share: float = 1 / 3) -> tuple[int, int, int, int]:
    """The window (x0, y0, x1, y1), `share` of the picture wide and high, that holds the most edges of thin classes."""
    height, width = labels.shape
    h, w = max(1, round(height * share)), max(1, round(width * share))
    thin = np.isin(labels, [CLASSES.index(name) for name in THIN_CLASSES])
    busy = np.zeros((height + 1, width + 1))  # summed-area table: the sum over any window from its four corners
    edges = np.zeros(labels.shape)
    edges[:, 1:] += thin[:, 1:] != thin[:, :-1]
    edges[1:] += thin[1:] != thin[:-1]
    busy[1:, 1:] = edges.cumsum(0).cumsum(1)
    sums = busy[h:, w:] - busy[:-h, w:] - busy[h:, :-w] + busy[:-h, :-w]
    y0, x0 = (int(i) for i in np.unravel_index(sums.argmax(), sums.shape))
    return x0, y0, x0 + w, y0 + h


@course_look
def class_iou_bars(scores: Mapping[str, dict], *, title: str = "Intersection over union of each class") -> Figure:
    """Draw the IoU of each class as bars, one a model; `scores` are name → what `segmentation_scores` returns.

    Classes that no target contains are left out; the rest stand in the order of the first model's IoU.
    """
    if not scores:
        raise ValueError("scores: got no model, expected at least one")
    first = next(iter(scores.values()))["iou"]
    names = sorted((name for name, value in first.items() if not np.isnan(value)), key=first.get)
    size = 0.8 / len(scores)
    fig, ax = plt.subplots(figsize=(WIDTH, 1.4 + len(names) * (0.2 + 0.17 * len(scores))))
    at = np.arange(len(names))
    for i, (model, values) in enumerate(scores.items()):
        ax.barh(
            at + (len(scores) / 2 - i - 0.5) * size,
            [values["iou"][name] for name in names],
            height=size,
            color=CYCLE[i % len(CYCLE)],
            hatch=HATCHES[i % len(HATCHES)],
            edgecolor="white",
            linewidth=0.5,
            label=f"{model}: mean {values['miou']:.2f}",
        )
    ax.set_yticks(at, [f"{name} (thin)" if name in THIN_CLASSES else name for name in names])
    ax.set(xlim=(0, 1), xlabel="intersection over union", title=title)
    ax.grid(axis="x")
    fig.legend(loc="outside lower center", ncols=min(3, len(scores)))
    return fig


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
