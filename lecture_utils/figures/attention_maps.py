"""Where a captioner looked: maps of attention laid over the picture, a word at a time (slide 27)."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath
from torch import Tensor

from lecture_utils.figures.boxes import pale, simplified
from lecture_utils.figures.overlays import picture
from lecture_utils.figures.proposals import HEAT
from lecture_utils.figures.style import INK, VERMILION, WIDTH, bare, course_look, picture_axes

SHADES = 8  # of a map, so that two dozen panels weigh little
COLOURS = 64  # of the picture beside the maps, enough for coats and signs
SIZE = 11  # points of a caption
LINE = 1.5 * SIZE  # points from one of its lines to the next


def over_image(ax: Axes, image: Tensor | np.ndarray, map_: Float[Tensor, "h w"]) -> None:
    """Lay a map of attention, ≥ 0, over the picture in pale greys: the more orange, the more the model looked there.

    The h × w cells cover the picture, (3, H, W) or (H, W, 3) uint8, and are enlarged smoothly. The darkest orange is
    the map's own maximum: a word that looks everywhere alike is orange everywhere.
    """
    map_ = torch.as_tensor(map_).detach().cpu().float()
    if map_.ndim != 2 or 0 in map_.shape or not (map_ >= 0).all():
        raise ValueError(f"map_: got shape {tuple(map_.shape)}, from {_low(map_)}, expected (h, w), no value below 0")
    grey = np.repeat(pale(image).mean(2, keepdims=True).astype(np.uint8), 3, axis=2)  # a projector shows orange on it
    smooth = F.interpolate(map_[None, None], grey.shape[:2], mode="bicubic", align_corners=False)[0, 0].clamp(min=0)
    shades = (SHADES * smooth / smooth.max().clamp(min=1e-12)).round() / SHADES
    picture(ax, grey)
    ax.imshow(shades.numpy(), cmap=HEAT, vmin=0, vmax=1, interpolation="nearest")


def _low(map_: Tensor) -> str:
    return f"{map_.min():.2g}" if map_.numel() else "nothing"


@course_look
def word_strip(
    image: Tensor | np.ndarray,
    words: Sequence[str],
    maps: Float[Tensor, "t h w"],
    *,
    columns: int = 8,
    title: str = "",
) -> Figure:
    """Draw the picture, then a panel for each word with the map of where the model looked for it (slide 27).

    `maps` may go on after the last word (with that of `<end>`). Made for up to 24 words.
    """
    if maps.ndim != 3 or len(maps) < len(words):
        raise ValueError(f"maps: got shape {tuple(maps.shape)}, expected (t, h, w) with t at least {len(words)}")
    plain = simplified(image, COLOURS)
    rows, columns = -(-(1 + len(words)) // columns), min(columns, 1 + len(words))
    width = WIDTH * min(1, columns / 5)
    fig, axes = picture_axes(rows, columns, width=width, aspect=plain.shape[1] / plain.shape[0], title=title)
    fig.set_figheight(fig.get_figheight() + 0.12 * rows - (0 if title else 0.1))  # a line of words over each row
    picture(axes.flat[0], plain)
    for place, (ax, word) in enumerate(zip(axes.flat[1:], words, strict=False)):
        over_image(ax, image, maps[place])
        ax.set_title(word, size=SIZE, pad=3)
    for ax in axes.flat[1 + len(words) :]:
        ax.set_visible(False)
    return fig


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
    """Draw pictures, beside each the map of one word over it, below them the caption with that word underlined.

    As on slide 27. `captions` are lists of words, `words` the place of the underlined one in each, `maps` its maps.
    """
    counts = {"images": len(images), "captions": len(captions), "maps": len(maps), "words": len(words)}
    if len(set(counts.values())) != 1 or not len(images):
        raise ValueError(f"images: got {counts}, expected the same number of each, and at least one")
    columns = min(columns, len(images))
    width = width or WIDTH * min(1, max(0.5, columns / 3))
    plain = [simplified(image, COLOURS) for image in images]
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
        picture(left, plain[number])
        over_image(right, image, maps[number])
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
