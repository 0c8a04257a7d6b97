"""The figures of notebook 08: teacher forcing, a checked caption and a gallery of attention."""

from collections.abc import Mapping, Sequence
from textwrap import wrap

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Rectangle
from matplotlib.textpath import TextPath
from PIL import Image, ImageFilter
from torch import Tensor

from lecture_course.nb08_show_attend_and_tell.pointing import Example
from lecture_utils import toycity
from lecture_utils.figures.attention_maps import SIZE
from lecture_utils.figures.overlays import draw_image, outline, to_pixels
from lecture_utils.figures.style import (
    BLUE,
    FAINT,
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
from lecture_utils.tasks.caption_dataset import CaptionDataset

TEXT = 10.5  # points of the smaller labels


@course_look
def fact_check(
    image: torch.Tensor | np.ndarray, captions: Mapping[str, Sequence], *, title: str = "", width: float = WIDTH
) -> Figure:
    """Draw an image and beside it captions with their statements, ✓ if they hold and ✗ if not (slide 25).

    `captions` is caption → its facts, each with `text` and `holds`, as `toycity.facts.facts` gives them.
    """
    if not captions:
        raise ValueError("captions: got no caption, expected at least one")
    lines = []
    for caption, facts in captions.items():
        lines += [(line, INK, "normal") for line in wrap(f"“{caption}”", 44)]
        lines += [
            (f"  {'✓' if fact.holds else '✗'} {fact.text}", GREEN if fact.holds else VERMILION, "bold")
            for fact in facts
        ]
        lines += [("", INK, "normal")]
    lines = lines[:-1]
    fig, (left, right) = plt.subplots(
        1, 2, figsize=(width, max(4.4, 0.24 * len(lines) + 0.2) + (0.35 if title else 0)), width_ratios=(1, 1.08)
    )
    if title:
        fig.suptitle(title)
    draw_image(left, image)
    left.set_anchor("N")
    right.set(xlim=(0, 1), ylim=(max(len(lines), 18), 0))
    bare([right])
    for row, (text, colour, weight) in enumerate(lines):
        right.text(0, row + 0.5, text, size=11, va="center_baseline", color=colour, weight=weight)
    return fig


LINE = 1.5 * SIZE  # points from one of its lines to the next


@course_look
def gallery(
    images: Sequence[Tensor | np.ndarray],
    captions: Sequence[Sequence[str]],
    maps: Sequence[Float[Tensor, "h w"]],
    words: Sequence[Sequence[int]],
    *,
    boxes: Sequence[Sequence[Sequence[float]]] | None = None,
    columns: int = 2,
    title: str = "",
    width: float = WIDTH,
) -> Figure:
    """Draw images, where the model looked in white lines, above their captions with some words underlined (slide 27).

    `captions` are lists of words, `words` the places of the underlined ones, one or more for each, and `maps` their
    maps, each on a scale of its own (`contours`); a dot marks its highest point. `boxes` (x0, y0, x1, y1) in pixels of
    the image, any number for each, are drawn in the colour of the underlined words.
    """
    boxes = boxes or [[] for _ in images]
    counts = {"images": len(images), "captions": len(captions), "maps": len(maps)}
    counts |= {"words": len(words), "boxes": len(boxes)}
    if len(set(counts.values())) != 1 or not len(images):
        raise ValueError(f"images: got {counts}, expected the same number of each, and at least one")
    columns = min(columns, len(images))
    plain = [to_pixels(image) for image in images]
    across = width / columns  # inches for an image and its caption
    room = 72 * (across - 0.15)
    lines = [broken(caption, room, bold=some) for caption, some in zip(captions, words, strict=True)]
    rows = -(-len(images) // columns)
    aspect = plain[0].shape[1] / plain[0].shape[0]
    high, low = (across - 0.12) / aspect, LINE / 72 * max(map(len, lines)) + 0.1
    fig = plt.figure(figsize=(width, rows * (high + low + 0.05) + (0.45 if title else 0.1)))
    grid = fig.add_gridspec(2 * rows, columns, height_ratios=[high, low] * rows)
    if title:
        fig.suptitle(title)
    for number, image in enumerate(plain):
        row, column = divmod(number, columns)
        above, below = (fig.add_subplot(grid[2 * row + part, column]) for part in (0, 1))
        draw_image(above, image)
        above.images[0].set_interpolation("antialiased")  # its pixels are not those of the page
        contours(above, maps[number], plain[number].shape[:2])
        _mark(above, maps[number], boxes[number], plain[number].shape[:2])
        _write(below, lines[number], words[number], room, low)
    return fig


def smoothed(image: Tensor | np.ndarray, radius: float = 1.2) -> np.ndarray:
    """An image without its finest grain, which nobody sees where it is drawn small, and which takes up most room."""
    return np.asarray(Image.fromarray(to_pixels(image)).filter(ImageFilter.GaussianBlur(radius)))


def contours(
    ax: Axes, map_: Float[Tensor, "h w"], size: tuple[int, int], levels: Sequence[float] | None = None
) -> None:
    """Draw lines over an image of `size` that enclose where a map is above each of `levels`, from thin to bold.

    Without levels: above a quarter and half of its largest. The image keeps its colours, which a veil would change.
    """
    values = torch.as_tensor(map_).detach().cpu().float()[None, None]
    smooth = F.interpolate(values, size, mode="bicubic", align_corners=False)[0, 0]
    most = smooth.max().item()
    levels = most * np.array([0.25, 0.5]) if levels is None else np.array(levels)
    widths = np.linspace(1.2, 2.6, len(levels))
    if some := np.count_nonzero(levels < most):
        ax.contour(smooth.numpy(), levels[:some], colors=INK, linewidths=1.8 + widths[:some])
        ax.contour(smooth.numpy(), levels[:some], colors="white", linewidths=widths[:some])


def _mark(ax: Axes, map_: Tensor, boxes: Sequence[Sequence[float]], size: tuple[int, int]) -> None:
    """A dot at the highest point of a map over an image of `size`, and a frame for each box; both with a white edge."""
    row, column = divmod(int(map_.argmax()), map_.shape[1])
    y, x = ((k + 0.5) * side / n - 0.5 for k, side, n in zip((row, column), size, map_.shape, strict=True))
    for x0, y0, x1, y1 in boxes:
        for colour, lw in (("white", 3.2), (VERMILION, 1.6)):
            ax.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, ec=colour, lw=lw))
    ax.plot(x, y, "o", ms=7, mfc=VERMILION, mec="white", mew=1.5)


def gallery_of(chosen: Sequence[Example], data: CaptionDataset, *, title: str) -> Figure:
    """The `gallery` of some examples, their streets painted large, the finest grain smoothed away.

    Framed is the object that the underlined words name, if it is there.
    """
    truths = [data.truth(one.image)[1] for one in chosen]
    larger = 512 / truths[0].labels.shape[0]
    boxes = [[[larger * side for side in one.box]] if one.box is not None else [] for one in chosen]
    images = [smoothed(toycity.render(data.truth(one.image)[0], 512).image) for one in chosen]
    parts = zip(*[(one.words, one.map_, one.places) for one in chosen], strict=True)
    return gallery(images, *parts, boxes=boxes, title=title)


def broken(words: Sequence[str], room: float, *, bold: Sequence[int] = ()) -> list[list[str]]:
    """A caption in lines of at most `room` points; a comma stays with its word, and the words at `bold` are wider."""
    lines, left = [[]], room
    for place, word in enumerate(words):
        needed = _width(word, place in bold)
        if needed > left and word != "," and lines[-1]:
            lines.append([])
            left = room
        lines[-1].append(word)
        left -= needed
    return lines


def _width(word: str, bold: bool) -> float:
    """Of a word and the space before it, in points; a comma has none."""
    font = FontProperties(family="DejaVu Sans", size=SIZE, weight="bold" if bold else "normal")
    return float(TextPath((0, 0), word, prop=font).get_extents().width) + _space(word)


def _space(word: str) -> float:
    return 0.1 * SIZE if word == "," else 0.42 * SIZE


def _write(ax: Axes, lines: Sequence[Sequence[str]], places: Sequence[int], room: float, inches: float) -> None:
    """Write the lines of a caption from the top, centred, the words at `places` bold, coloured and underlined."""
    ax.set(xlim=(0, room), ylim=(72 * inches, 0))
    bare([ax])
    number = 0
    for row, line in enumerate(lines):
        chosen = [number + place in places for place in range(len(line))]
        widths = [_width(word, bold) for word, bold in zip(line, chosen, strict=True)]
        x, y = (room - sum(widths)) / 2, (row + 0.75) * LINE
        for word, bold, width in zip(line, chosen, widths, strict=True):
            left, right = x + _space(word), x + width
            weight, colour = ("bold", VERMILION) if bold else ("normal", INK)
            middle = (left + right) / 2
            ax.text(middle, y, word, size=SIZE, ha="center", va="baseline", weight=weight, color=colour)
            if bold:
                ax.plot([left, right], [y + 0.25 * SIZE] * 2, color=VERMILION, linewidth=1.5)
            x = right
        number += len(line)


@course_look
def alignment(
    image: Tensor | np.ndarray,
    words: Sequence[str],
    shares: Float[np.ndarray, "words n+1"],
    boxes: Sequence,
    *,
    title: str,
) -> Figure:
    """Draw a table: which share of each word's attention went to which object, and, in its last column, elsewhere.

    `boxes` (x0, y0, x1, y1), in pixels of the image, are those of the n objects, which stand above their columns.
    """
    pixels, columns, most = to_pixels(image), len(boxes) + 1, float(np.max(shares))
    fig = plt.figure(figsize=(WIDTH, 1.35 + 0.33 * len(words) + 0.4))
    fig.suptitle(title)
    grid = fig.add_gridspec(2, columns + 1, height_ratios=(1.0, 0.33 * len(words)), width_ratios=[1] * columns + [0.15])
    table = fig.add_subplot(grid[1, :-1])
    shown = table.imshow(shares, cmap="viridis", vmin=0, vmax=most, aspect="auto")
    for row, line in enumerate(shares):
        for column, share in enumerate(line):
            ink = INK if share > 0.6 * most else "white"
            table.text(column, row, f"{share:.2f}", ha="center", va="center", size=TEXT, color=ink)
    table.set_yticks(range(len(words)), words)
    table.set_xticks([])
    table.tick_params(length=0)
    table.spines[:].set_visible(False)
    for column, box in enumerate(boxes):
        above = fig.add_subplot(grid[0, column])
        draw_image(above, crop(pixels, box))
    label = fig.add_subplot(grid[0, columns - 1])
    bare([label])
    label.text(0.5, 0.5, "elsewhere", ha="center", va="center", size=TEXT + 1, transform=label.transAxes)
    bar = fig.colorbar(shown, cax=fig.add_subplot(grid[1, -1]), label="share of the word's attention")
    bar.outline.set_visible(False)
    return fig


def crop(pixels: np.ndarray, box: Sequence[float]) -> np.ndarray:
    """A square around a box (x0, y0, x1, y1) with a little of what is around it, kept inside the image."""
    x0, y0, x1, y1 = box
    side = int(min(1.3 * max(x1 - x0, y1 - y0), *pixels.shape[:2]))
    corners = [
        int(np.clip((a + b - side) / 2, 0, whole - side))
        for a, b, whole in ((y0, y1, pixels.shape[0]), (x0, x1, pixels.shape[1]))
    ]
    return pixels[corners[0] : corners[0] + side, corners[1] : corners[1] + side]


@course_look
def channels(
    image: Tensor | np.ndarray,
    maps: Mapping[str, Float[Tensor, "h w"]],
    masks: Sequence[np.ndarray],
    *,
    title: str = "",
    columns: int = 3,
    width: float = WIDTH,
    bar: str = "",
) -> Figure:
    """Draw the image, and feature maps under their names, each on a scale of its own from 0 to its largest value.

    `bar`: what the last map's values are, for a colour bar beside it.
    Red lines are the borders between the values of a mask (H, W), one for each map: where what it should show is.
    """
    rows = -(-(1 + len(maps)) // columns)
    fig, axes = image_axes(rows, columns, title=title, width=width)
    fig.set_figheight(fig.get_figheight() + 0.15 * rows)
    draw_image(axes.flat[0], smoothed(image))
    axes.flat[0].images[0].set_interpolation("antialiased")
    axes.flat[0].set_title("the street", size=TEXT + 1.5)
    for ax, (name, map_), mask in zip(axes.flat[1:], maps.items(), masks, strict=False):
        high, wide = mask.shape
        area = (-0.5, wide - 0.5, high - 0.5, -0.5)
        shown = ax.imshow(to_array(map_), cmap="viridis", vmin=0, interpolation="nearest", extent=area)
        ax.add_collection(LineCollection(outline(mask), colors="#FF3B30", linewidths=1.3))
        ax.set_title(name, size=TEXT + 1.5)
    for ax in axes.flat[1 + len(maps) :]:
        ax.remove()
    if bar:
        fig.colorbar(shown, ax=axes.flat[len(maps)], label=bar, shrink=0.8).outline.set_visible(False)
    return fig


@course_look
def learning(losses: Sequence[float], untaught: float, kinds: Sequence[str], *, title: str) -> Figure:
    """Draw the loss of every training step, and as a dashed line that of a model which knows nothing.

    `kinds` are the steps' kinds of sentences, each drawn as dots of its own.
    """
    if len(kinds) != len(losses):
        raise ValueError(f"kinds: got {len(kinds)}, expected one for each of the {len(losses)} losses")
    fig, ax = plt.subplots(figsize=(WIDTH, 3.6))
    ax.plot(range(1, len(losses) + 1), to_array(losses), color="#BBBBBB", lw=1, zorder=1)
    looks = zip(sorted(set(kinds)), (BLUE, ORANGE, GREEN, PURPLE, VERMILION), "os^Dv", strict=False)
    for kind, colour, marker in looks:
        steps = [step for step, one in enumerate(kinds) if one == kind]
        look = {"s": 22, "c": colour, "marker": marker, "label": kind}
        ax.scatter([step + 1 for step in steps], [losses[step] for step in steps], **look)
    ax.legend(title="sentences of the batch", loc="upper right", bbox_to_anchor=(1, 0.93), fontsize=11)
    ax.axhline(untaught, color=FAINT, ls="--", lw=1.2)
    ax.text(0.68 * len(losses), untaught - 0.08, "all words equally likely", ha="right", va="top", color=INK, size=11)
    ticks = np.linspace(0, len(losses), 5).round().astype(int)
    ax.set(xlabel="training step", ylabel="loss", xticks=ticks, ylim=(0, None), title=title)
    ax.grid(axis="y")
    return fig


@course_look
def by_objects(
    groups: Sequence[str],
    panels: Mapping[str, Mapping[str, Sequence[Sequence[float]]]],
    chance: Sequence[Sequence[float]],
    *,
    title: str,
) -> Figure:
    """Draw the true statements by the number of objects, a panel for each split; every training is a dot.

    `panels` are split → model → one row of values over the `groups` for each training, `chance` a row for each panel.
    """
    fig, axes = plt.subplots(1, len(panels), figsize=(WIDTH, 3.7), sharey=True, squeeze=False)
    fig.suptitle(title)
    places = np.arange(len(groups))
    for ax, (name, lines), blind in zip(axes[0], panels.items(), chance, strict=True):
        colours = dict(zip(lines, (BLUE, ORANGE, GREEN, PURPLE, VERMILION, SKY), strict=False)) | {"chance": FAINT}
        every = {model: to_array(runs, float) for model, runs in lines.items()} | {"chance": to_array([blind], float)}
        for model, runs in every.items():
            look = {"color": colours[model], "ls": ":" if model == "chance" else "-", "lw": 2}
            ax.plot(places, runs.mean(0), **look)
            if model != "chance":
                ax.scatter(np.tile(places, len(runs)), runs.ravel(), s=16, color=colours[model], zorder=3)
        ax.set_title(name, size=12)
        ax.set(xlabel="objects in the street", xlim=(-0.2, len(groups) - 0.8), ylim=(0, 0.9))
        ax.set_xticks(places, groups)
        ax.grid(axis="y")
    axes[0, 0].set_ylabel("true statements")
    # Names beside the ends of the last panel's lines, so far apart that they can be read.
    ends = sorted((runs[:, -1].mean(), model) for model, runs in every.items())
    heights = [end for end, _ in ends]
    for i in range(1, len(heights)):
        heights[i] = max(heights[i], heights[i - 1] + 0.075)
    for height, (end, model) in zip(heights, ends, strict=True):
        ax.annotate(
            model,
            (places[-1] + 0.03, end),
            (places[-1] + 0.28, height),
            size=11,
            va="center",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colours[model], "lw": 1.6, "relpos": (0, 0.5), "shrinkB": 0},
        )
    return fig
