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
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.textpath import TextPath
from torch import Tensor

from lecture_utils.figures.attention_maps import SIZE, overlay_attention
from lecture_utils.figures.overlays import draw_image, to_pixels
from lecture_utils.figures.style import (
    FAINT,
    GREEN,
    INK,
    ORANGE,
    SKY,
    VERMILION,
    WIDTH,
    bare,
    course_look,
)


@course_look
def teacher_forcing(words: Sequence[str], *, title: str = "") -> Figure:
    """Draw how a caption is taught (slide 24): a row of words that go in, below a row of those that should come out.

    `words` are those of the caption with its `<start>` and `<end>`. Each arrow is one step of the model; grey arrows
    lead from step to step.
    """
    if len(words) < 2:
        raise ValueError(f"words: got {list(words)}, expected at least <start> and <end>")
    inputs, targets, steps = words[:-1], words[1:], len(words) - 1
    fig, ax = plt.subplots(figsize=(WIDTH, 2.3 + (0.35 if title else 0)))
    # As wide as the longest of the two words, so that nothing touches.
    width = [0.75 + 0.16 * max(len(a), len(b)) for a, b in zip(inputs, targets, strict=True)]
    left = np.cumsum([0.0, *width])
    ax.set(xlim=(-1.3, left[-1]), ylim=(-0.1, 3.1))
    bare([ax])
    ax.set_title(title)
    middles = (left[:-1] + left[1:]) / 2
    size = min(11, 72 * WIDTH / (left[-1] + 1.3) * 0.29)
    for x, w, given, wanted in zip(middles, width, inputs, targets, strict=True):
        _word_box(ax, x, 0.4, w, given, SKY, size)
        _word_box(ax, x, 2.6, w, wanted, ORANGE, size)
        _word_box(ax, x, 1.5, w, "", "#EEEEEE", size)
        for low, high in ((0.7, 1.22), (1.78, 2.3)):
            ax.add_patch(FancyArrowPatch((x, low), (x, high), arrowstyle="-|>", mutation_scale=9, color=INK, lw=1))
    for i in range(steps - 1):
        ends = (middles[i] + 0.5 * width[i] - 0.12, 1.5), (middles[i + 1] - 0.5 * width[i + 1] + 0.12, 1.5)
        ax.add_patch(
            FancyArrowPatch(*ends, arrowstyle="-|>", mutation_scale=8, shrinkA=0, shrinkB=0, color=FAINT, lw=1)
        )
    for y, text in ((0.4, "goes in"), (1.5, "model"), (2.6, "should\ncome out")):
        ax.text(-0.15, y, text, ha="right", va="center", size=11, color=INK)
    return fig


def _word_box(ax: plt.Axes, x: float, y: float, width: float, word: str, colour: str, size: float) -> None:
    shape = FancyBboxPatch(
        (x - width / 2 + 0.14, y - 0.24), width - 0.28, 0.48, boxstyle="round,pad=0,rounding_size=0.1"
    )
    shape.set(facecolor=colour, edgecolor="none", alpha=0.45)
    ax.add_patch(shape)
    ax.text(x, y, word, ha="center", va="center_baseline", size=size, color=INK)


@course_look
def fact_check(
    image: torch.Tensor | np.ndarray, captions: Mapping[str, Sequence], *, title: str = "", width: float = WIDTH
) -> Figure:
    """Draw an image and beside it captions with their statements, ✓ if they hold and ✗ if not (slide 26).

    `captions` is caption → its facts, each with `text` and `holds`, as `toycity.facts.facts` gives them.
    """
    if not captions:
        raise ValueError("captions: got no caption, expected at least one")
    lines = []
    for caption, facts in captions.items():
        lines += [(line, INK, "normal") for line in wrap(f"“{caption}”", 62)]
        lines += [
            (f"  {'✓' if fact.holds else '✗'} {fact.text}", GREEN if fact.holds else VERMILION, "bold")
            for fact in facts
        ]
        lines += [("", INK, "normal")]
    lines = lines[:-1]
    fig, (left, right) = plt.subplots(
        1, 2, figsize=(width, max(2.9, 0.24 * len(lines) + 0.2) + (0.35 if title else 0)), width_ratios=(1, 2.2)
    )
    if title:
        fig.suptitle(title)
    draw_image(left, image)
    left.set_anchor("N")
    right.set(xlim=(0, 1), ylim=(max(len(lines), 11.5), 0))
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
    words: Sequence[int],
    *,
    columns: int = 3,
    title: str = "",
    width: float | None = None,
) -> Figure:
    """Draw images, beside each the map of one word over it, below them the caption with that word underlined.

    As on slide 27. `captions` are lists of words, `words` the place of the underlined one in each, `maps` its maps.
    """
    counts = {"images": len(images), "captions": len(captions), "maps": len(maps), "words": len(words)}
    if len(set(counts.values())) != 1 or not len(images):
        raise ValueError(f"images: got {counts}, expected the same number of each, and at least one")
    columns = min(columns, len(images))
    width = width or WIDTH * min(1, max(0.5, columns / 3))
    plain = [to_pixels(image) for image in images]
    across = width / columns  # inches for a pair and its caption
    room = 72 * (across - 0.15)
    lines = [broken(caption, room, bold=word) for caption, word in zip(captions, words, strict=True)]
    rows = -(-len(images) // columns)
    aspect = plain[0].shape[1] / plain[0].shape[0]
    high, low = (across / 2 - 0.08) / aspect, LINE / 72 * max(map(len, lines)) + 0.05
    fig = plt.figure(figsize=(width, rows * (high + low + 0.08) + (0.45 if title else 0.1)))
    grid = fig.add_gridspec(2 * rows, 2 * columns, height_ratios=[high, low] * rows)
    if title:
        fig.suptitle(title)
    for number, image in enumerate(images):
        row, column = divmod(number, columns)
        left, right = (fig.add_subplot(grid[2 * row, 2 * column + side]) for side in (0, 1))
        draw_image(left, plain[number])
        overlay_attention(right, image, maps[number], most=max(float(map_.max()) for map_ in maps))
        _write(fig.add_subplot(grid[2 * row + 1, 2 * column : 2 * column + 2]), lines[number], words[number], room, low)
    return fig


def broken(words: Sequence[str], room: float, *, bold: int = -1) -> list[list[str]]:
    """A caption in lines of at most `room` points; a comma stays with its word, and the word at `bold` is wider."""
    lines, left = [[]], room
    for place, word in enumerate(words):
        needed = _width(word, place == bold)
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


def _write(ax: Axes, lines: Sequence[Sequence[str]], place: int, room: float, inches: float) -> None:
    """Write the lines of a caption from the top, centred, the word at `place` bold, coloured and underlined."""
    ax.set(xlim=(0, room), ylim=(72 * inches, 0))
    bare([ax])
    number = 0
    for row, line in enumerate(lines):
        chosen = [number + place_here == place for place_here in range(len(line))]
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
