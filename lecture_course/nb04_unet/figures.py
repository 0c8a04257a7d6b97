"""The figures of notebook 04: outlines, tiles, the IoU of each class, and what is said of one pixel."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from lecture_utils.cityscapes import CLASSES, THIN_CLASSES
from lecture_utils.figures.grids import ink_on
from lecture_utils.figures.overlays import draw_image, legend, name_colours, outline, to_pixels
from lecture_utils.figures.scores import MARKERS, answer_bars
from lecture_utils.figures.style import (
    CYCLE,
    FAINT,
    INK,
    ORANGE,
    SKY,
    WIDTH,
    course_look,
    image_axes,
    to_array,
)


@course_look
def boundaries_magnified(
    image: Tensor | np.ndarray,
    maps: Mapping[str, np.ndarray],
    *,
    window: tuple[int, int, int, int] | None = None,
    title: str = "Boundaries, magnified",
) -> Figure:
    """Draw a photograph with a window in it, and that window of each label map enlarged, pixel by pixel.

    `maps` are name → (H, W), the ground truth first; its outlines are drawn over every map, so that a lost edge shows.
    The photograph may be larger. `window` is (x0, y0, x1, y1) in the maps' pixels; by default the third of the image
    with the most edges of thin classes.
    """
    maps = {name: to_array(labels) for name, labels in maps.items()}
    truth = next(iter(maps.values()))
    for name, labels in maps.items():
        if labels.shape != truth.shape:
            raise ValueError(f"maps[{name!r}]: got shape {labels.shape}, expected {truth.shape}, the first one's")
    x0, y0, x1, y1 = window or busiest_window(truth)
    if not (0 <= x0 < x1 <= truth.shape[1] and 0 <= y0 < y1 <= truth.shape[0]):
        raise ValueError(f"window: got {(x0, y0, x1, y1)}, expected x0 < x1 and y0 < y1 inside {truth.shape} (H, W)")
    edges = outline(truth)

    columns = 2 if len(maps) > 2 else 1 + len(maps)
    fig, axes = image_axes(-(-(1 + len(maps)) // columns), columns, aspect=(x1 - x0) / (y1 - y0), title=title)
    photo, *others = axes.flat
    draw_image(photo, image, size=truth.shape)
    photo.set_title("photograph")
    for colour, line in (("white", 3.6), (INK, 1.6)):
        photo.add_patch(Rectangle((x0 - 0.5, y0 - 0.5), x1 - x0, y1 - y0, fill=False, ec=colour, lw=line))
    for ax, (name, labels) in zip(others, maps.items(), strict=False):
        draw_image(ax, labels)
        ax.set(xlim=(x0 - 0.5, x1 - 0.5), ylim=(y1 - 0.5, y0 - 0.5), title=name)
        for colour, line in (("black", 1.8), ("white", 0.8)):
            ax.add_collection(LineCollection(edges, colors=colour, linewidths=line, capstyle="projecting"))
    for ax in others[len(maps) :]:
        ax.set_visible(False)
    legend(fig, *(labels[y0:y1, x0:x1] for labels in maps.values()))
    return fig


def busiest_window(labels: np.ndarray, share: float = 1 / 3) -> tuple[int, int, int, int]:
    """The window (x0, y0, x1, y1), `share` of the image wide and high, that holds the most edges of thin classes."""
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
def class_iou_dots(scores: Mapping[str, dict], *, title: str = "Intersection over union of each class") -> Figure:
    """Draw the IoU of each class, a row a class and a dot a model; `scores` are name → `segmentation_scores`' result.

    Classes that no target contains are left out; the rest stand in the order of the first model's IoU.
    """
    if not scores:
        raise ValueError("scores: got no model, expected at least one")
    first = next(iter(scores.values()))["iou"]
    names = sorted((name for name, value in first.items() if not np.isnan(value)), key=first.get)
    values = np.array([[score["iou"][name] for name in names] for score in scores.values()])
    fig, ax = plt.subplots(figsize=(WIDTH, 1.4 + 0.34 * len(names)))
    ax.hlines(range(len(names)), values.min(0), values.max(0), color=FAINT, lw=1)
    for i, (model, score) in enumerate(scores.items()):
        dot = {"color": CYCLE[i % len(CYCLE)], "marker": MARKERS[i % len(MARKERS)], "ms": 9, "ls": "none"}
        ax.plot(values[i], range(len(names)), label=f"{model}: mean {score['miou']:.2f}", **dot)
    ax.set_yticks(range(len(names)), [f"{name} (thin)" if name in THIN_CLASSES else name for name in names])
    ax.set(xlim=(-0.02, 1), xlabel="intersection over union", title=title)
    ax.grid(axis="x")
    fig.legend(loc="outside lower center", ncols=min(3, len(scores)))
    return fig


@course_look
def iou_by_class(rows: Mapping[str, Mapping[str, float]], *, title: str = "") -> Figure:
    """Draw the IoU of each class, a column a class, in the rows `rows`: name → class → IoU.

    Classes that are absent (nan) are left out; a ValueError without rows.
    """
    if not rows:
        raise ValueError("rows: got none, expected at least one")
    names = [name for name, value in next(iter(rows.values())).items() if not np.isnan(value)]
    values = np.array([[row[name] for name in names] for row in rows.values()])
    fig, ax = plt.subplots(figsize=(WIDTH, 1.9 + 0.42 * len(rows)))
    shown = ax.imshow(values, cmap="viridis", vmin=0, vmax=1, aspect="auto")
    for (y, x), value in np.ndenumerate(values):
        ax.text(x, y, f"{value:.2f}", size=11, ha="center", va="center", color=ink_on(to_hex(shown.to_rgba(value))))
    ax.set_xticks(range(len(names)), names, rotation=35, ha="right")
    ax.set_yticks(range(len(rows)), rows)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    fig.colorbar(shown, ax=ax, label="IoU", pad=0.02)
    fig.suptitle(title)
    return fig


@course_look
def named_areas(image: UInt8[Tensor, "3 h w"], labels: UInt8[Tensor, "h w"], names: Sequence[str]) -> Figure:
    """Draw a photograph, and beside it the same with a colour over each class of `labels` but 0, the background.

    `names` are those of the classes, which have their colours below. ValueError where sizes or names do not fit.
    """
    labels = to_array(labels)
    if labels.shape != tuple(image.shape[1:]) or labels.max() >= len(names):
        got = f"{labels.shape} up to {labels.max()}"
        raise ValueError(f"labels: got {got}, expected {tuple(image.shape[1:])} below {len(names)}, the names")
    present = [index for index in np.unique(labels) if index]
    colours = {names[index]: CYCLE[place % len(CYCLE)] for place, index in enumerate(present)}
    painted = to_pixels(image).astype(float)
    for index in present:
        where = labels == index
        painted[where] = 0.45 * painted[where] + 0.55 * 255 * np.array(to_rgb(colours[names[index]]))
    fig, axes = image_axes(1, 2, aspect=labels.shape[1] / labels.shape[0])
    for ax, shown, title in zip(axes[0], (image, painted.astype(np.uint8)), ("photograph", "classes"), strict=True):
        draw_image(ax, shown)
        ax.set_title(title)
    name_colours(fig, colours)
    return fig


@course_look
def overlap_tile(image: np.ndarray, *, tile: int, border: int, title: str = "") -> Figure:
    """Draw an image (H, W, 3), mirrored beyond its edges, with one tile of labels and what the network sees for it.

    As figure 2 of the paper: `tile` is the side of the label map, `border` what valid convolutions take from each side.
    """
    image = to_array(image)
    if not 0 < border < min(image.shape[:2]) or not 0 < tile <= min(image.shape[:2]):
        raise ValueError(f"tile, border: got {tile}, {border}, expected 1 up to the image's {image.shape[:2]} pixels")
    wide = np.pad(image, ((border, border), (border, border), (0, 0)), mode="reflect")
    fig, axes = image_axes(1, 1, width=5.5, aspect=wide.shape[1] / wide.shape[0], title=title)
    ax = axes[0, 0]
    draw_image(ax, wide)
    height, width = image.shape[:2]
    squares = (
        (border, border, width, height, "white", ":", "the image itself; beyond it, its mirror image"),
        (border, border, tile, tile, ORANGE, "-", "labels of one tile"),
        (0, 0, tile + 2 * border, tile + 2 * border, SKY, "--", "what the network sees for them"),
    )
    for x, y, w, h, colour, dash, name in squares:
        ax.add_patch(Rectangle((x - 0.5, y - 0.5), w, h, fill=False, ec=INK, lw=4))
        ax.add_patch(Rectangle((x - 0.5, y - 0.5), w, h, fill=False, ec=colour, lw=2.2, ls=dash, label=name))
    fig.legend(loc="outside lower center", ncols=1, facecolor="#AAAAAA", frameon=True)
    return fig


@course_look
def pixel_answer(image: np.ndarray, probabilities: Float[Tensor, "k h w"], at: tuple[int, int], truth: int) -> Figure:
    """Draw an image with one pixel of the network's map marked, `at` (row, column), and its likeliest five classes."""
    (row, column), (height, width) = at, probabilities.shape[1:]
    fig, (left, right) = plt.subplots(1, 2, figsize=(7.6, 3.7), width_ratios=(1, 0.85))
    draw_image(left, image, size=(height, width))
    for colour, size in ((INK, 15), ("white", 11)):
        left.plot(column, row, marker="s", ms=size, mfc="none", mec=colour, mew=2)
    best = probabilities[:, row, column].detach().cpu().topk(5)
    shown = dict(zip((CLASSES[k] for k in best.indices.tolist()), best.values.tolist(), strict=True))
    answer_bars(right, shown, CLASSES[truth])
    right.set_title("the network (✓ = ground truth)")
    left.set_title(f"row {row}, column {column}")
    return fig


@course_look
def two_by_two(panels: Mapping[str, np.ndarray], *, title: str = "") -> Figure:
    """Draw four images, photographs (H, W, 3) or label maps (H, W), under their names, large; name their classes."""
    if len(panels) != 4:
        raise ValueError(f"panels: got {len(panels)}, expected four")
    panels = {name: to_array(image) for name, image in panels.items()}
    first = next(iter(panels.values()))
    fig, axes = image_axes(2, 2, width=8, aspect=first.shape[1] / first.shape[0], title=title)
    for ax, (name, image) in zip(axes.flat, panels.items(), strict=True):
        draw_image(ax, image)
        ax.set_title(name)
    legend(fig, *(image for image in panels.values() if image.ndim == 2))
    return fig
