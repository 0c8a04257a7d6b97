"""The figures of notebook 08: teacher forcing, a checked caption and a gallery of attention."""

from collections.abc import Mapping, Sequence
from textwrap import wrap

import matplotlib.pyplot as plt
import numpy as np
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath
from torch import Tensor

from lecture_course.nb08_show_attend_and_tell.measuring import Example
from lecture_utils import toycity
from lecture_utils.figures.attention_maps import SIZE, overlay_attention
from lecture_utils.figures.overlays import draw_image, to_pixels
from lecture_utils.figures.style import (
    GREEN,
    INK,
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
    columns: int = 2,
    title: str = "",
    width: float = WIDTH,
) -> Figure:
    """Draw images under a map each, bright where the model looked, above their captions with some words underlined.

    As on slide 27. `captions` are lists of words, `words` the places of the underlined ones, one or more for each, and
    `maps` their maps, each on a scale of its own.
    """
    counts = {"images": len(images), "captions": len(captions), "maps": len(maps), "words": len(words)}
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
        overlay_attention(above, image, maps[number], glow=True)
        _write(below, lines[number], words[number], room, low)
    return fig


def gallery_of(chosen: Sequence[Example], data: CaptionDataset, *, title: str) -> Figure:
    """The `gallery` of some examples, their streets painted large."""
    images = [toycity.render(data.truth(one.image)[0], 512).image for one in chosen]
    parts = zip(*[(one.words, one.map_, one.places) for one in chosen], strict=True)
    return gallery(images, *parts, title=title)


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
    image: Tensor | np.ndarray, maps: Mapping[str, Float[Tensor, "h w"]], *, title: str = "", columns: int = 3
) -> Figure:
    """Draw the image, and feature maps under their names, each on a scale of its own from 0 to its largest value."""
    pixels = to_pixels(image)
    rows = -(-(1 + len(maps)) // columns)
    fig, axes = image_axes(rows, columns, title=title)
    fig.set_figheight(fig.get_figheight() + 0.15 * rows)
    draw_image(axes.flat[0], pixels)
    axes.flat[0].set_title("the street", size=TEXT + 1.5)
    for ax, (name, map_) in zip(axes.flat[1:], maps.items(), strict=False):
        ax.imshow(to_array(map_), cmap="viridis", vmin=0, interpolation="nearest")
        ax.set_title(name, size=TEXT + 1.5)
    for ax in axes.flat[1 + len(maps) :]:
        ax.remove()
    return fig
