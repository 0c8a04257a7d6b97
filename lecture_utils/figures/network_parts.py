"""One block and one arrow of a drawing of a network, on axes whose unit is an inch (see `network`)."""

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, Rectangle
from matplotlib.path import Path
from torch import Tensor

from lecture_utils.cityscapes import colour_labels
from lecture_utils.figures.network_blocks import LETTER, LINE, PAD, SHEET, Arrow, Block, Table
from lecture_utils.figures.style import BLUE, FAINT, INK, SKY, VERMILION, to_array

TEXT = 10.5  # points of the labels, 11.7 pixels on the page
GREY = 0.62  # how much of their colour words keep that are pale
OUTER = 0.13  # inches that an arrow swings out that leaves and enters on one side


def area_of(block: Block, x: float, y: float) -> tuple[float, float, float, float]:
    """What a block takes up with its words: left, top, right, bottom."""
    (_, height), across = block.sides, block.room / 2
    top = y - height / 2 - block.behind - LINE * bool(block.label)
    return x - across, top, x + across, y + height / 2 + LINE * block.below


def draw_block(ax: Axes, block: Block, centre: tuple[float, float], *, strength: float, framed: bool) -> None:
    (x, y), (width, height) = centre, block.sides
    left, top = x - width / 2, y - height / 2
    edge = {"ec": VERMILION if framed else _faded(INK, strength), "lw": 2.2 if framed else 0.8}
    ink = INK if strength == 1 else _faded(INK, GREY)
    if isinstance(block.value, Table):
        sheets = _rows(ax, block, left, top, edge, ink)
    elif isinstance(block.value, Mapping):
        sheets = _bars(ax, block, left, top, strength, ink)
    else:
        sheets = sheets_of(block)
    for k, rgb in reversed(list(enumerate(sheets))):
        dx = SHEET * k
        area = (left + dx, left + dx + width, top + height - dx, top - dx)
        pixels = np.rint(255 - strength * 255 * (1 - rgb)).astype(np.uint8)
        ax.imshow(pixels, extent=area, interpolation="nearest", zorder=2 - 0.1 * k)
        ax.add_patch(Rectangle((left + dx, top - dx), width, height, fill=False, zorder=2.05 - 0.1 * k, **edge))
    for x0, y0, x1, y1, colour in block.marks:
        h, w = block.shape[-2:]
        corner, sides = (left + x0 / w * width, top + y0 / h * height), ((x1 - x0) / w * width, (y1 - y0) / h * height)
        for line, shade in ((3.4, "black"), (1.8, colour)):
            frame = {"fill": False, "lw": line, "ec": _faded(shade, strength), "zorder": 3}
            ax.add_patch(Rectangle(corner, *sides, gid="mark", **frame))
    if block.label:
        ax.text(x, top - block.behind - 0.05, block.label, ha="center", va="bottom", size=TEXT, color=ink, zorder=4)
    if block.below:
        look = {"size": TEXT, "weight": "bold", "color": ink, "zorder": 4}
        ax.text(x, top + height + 0.05, block.words, ha="center", va="top", **look)


def sheets_of(block: Block) -> list[np.ndarray]:
    """What is drawn of a value, the foremost first, each (h, w, 3) from 0 to 1."""
    value = block.value
    if isinstance(value, Tensor) and value.is_meta:
        return [np.broadcast_to(mpl.colors.to_rgb(SKY), (1, 1, 3))] * (min(3, len(value)) if value.ndim == 3 else 1)
    value = to_array(value)
    if value.ndim == 3 and value.shape[2] == 3 and value.dtype == np.uint8:
        return [value / 255]
    if value.ndim == 2 and np.issubdtype(value.dtype, np.integer):
        return [colour_labels(value) / 255]
    maps = value.reshape(-1, 1)[None] if value.ndim == 1 else value.reshape(-1, *value.shape[-2:])
    scale = maps if block.scale is None else to_array(block.scale)
    strongest = scale.reshape(len(scale), -1).var(1).argsort(kind="stable")[::-1][:3]
    spans = [scale if scale[0].size == 1 else scale[channel] for channel in strongest]  # a single value has no scale
    return [
        mpl.colormaps["viridis"](mpl.colors.Normalize(span.min(), span.max())(maps[channel]))[..., :3]
        for channel, span in zip(strongest, spans, strict=True)
    ]


def _bars(ax: Axes, block: Block, left: float, top: float, strength: float, ink: object) -> list:
    """A line for each class: its name in `ink`, and a bar as long as its probability; a bracket."""
    best, start = max(block.value, key=block.value.get), LETTER * max(map(len, block.value)) + 0.08
    for row, (name, probability) in enumerate(block.value.items()):
        middle, colour = top + LINE * (row + 0.5), BLUE if name == best else FAINT
        ax.text(left + start - 0.08, middle, name, ha="right", va="center", size=TEXT, color=ink)
        full = block.size - start
        ax.add_patch(Rectangle((left + start, middle - 0.08), full, 0.16, fc=_faded("#EEEEEE", strength), zorder=1.5))
        bar = Rectangle((left + start, middle - 0.08), full * probability, 0.16, fc=_faded(colour, strength), gid="bar")
        ax.add_patch(bar).set_zorder(2)
    right, bottom = left + block.size, top + LINE * len(block.value)
    xs, ys = (right, right + 0.04, right + 0.04, right), (top + 0.04, top + 0.04, bottom - 0.04, bottom - 0.04)
    ax.plot(xs, ys, color=_faded(FAINT, strength), lw=1)  # what follows takes all of them
    return []


def _rows(ax: Axes, block: Block, left: float, top: float, edge: Mapping, ink: object) -> list:
    """A frame, and a line for each entry of a table: its name, its number at the right."""
    width, height = block.sides
    ax.add_patch(Rectangle((left, top), width, height, fc="white", **edge))
    for row, (name, number) in enumerate(block.value.items()):
        middle = top + PAD + LINE * (row + 0.5)
        ax.text(left + 0.07, middle, name, va="center", size=TEXT, color=ink, zorder=4)
        ax.text(left + width - 0.07, middle, number, va="center", ha="right", size=TEXT, color=ink, zorder=4)
    return []


def sides_of(arrow: Arrow) -> tuple[tuple[Block, Block], tuple[str, str]]:
    """Where an arrow leaves and enters: along its row if both blocks stand in one, else up or down."""
    (x0, y0), (x1, y1) = arrow.start.at, arrow.end.at
    across, down = ("right", "left") if x1 > x0 else ("left", "right"), ("bottom", "top")
    return (arrow.start, arrow.end), arrow.sides or (across if y0 == y1 else down if y1 > y0 else down[::-1])


def anchor_of(block: Block, centre: tuple[float, float], side: str) -> tuple[float, float]:
    (x, y), (width, height) = centre, block.sides
    return {
        "left": (x - width / 2 - 0.05, y),
        "right": (x + width / 2 + block.behind + 0.05, y),
        "top": (x, y - height / 2 - block.behind - LINE * bool(block.label) - 0.06),
        "bottom": (x, y + height / 2 + 0.04 + LINE * block.below),
    }[side]


def path_of(
    ends: Sequence[tuple[float, float]],
    sides: tuple[str, str],
    *,
    colour: str,
    strength: float = 1,
    dashed: bool = False,
    bend: float | None = None,
) -> FancyArrowPatch:
    """An arrow of level and upright pieces."""
    (x0, y0), (x1, y1) = ends
    level = [side in ("left", "right") for side in sides]
    if sides[0] == sides[1]:
        sign, far = (-1, min) if sides[0] in ("left", "top") else (1, max)
        turn = [far(*pair) + sign * OUTER if bend is None else pair[1] + sign * bend for pair in ((x0, x1), (y0, y1))]
        between = [(turn[0], y) for y in (y0, y1)] if level[0] else [(x, turn[1]) for x in (x0, x1)]
    elif level[0] != level[1]:
        between = [(x1, y0) if level[0] else (x0, y1)]
    elif level[0]:
        between = [((x0 + x1) / 2, y0), ((x0 + x1) / 2, y1)] if abs(y0 - y1) > 1e-6 else []
    else:
        turn = (y0 + y1) / 2 if bend is None else y1 + (bend if y1 < y0 else -bend)
        between = [(x0, turn), (x1, turn)] if abs(x0 - x1) > 1e-6 else []
    look = {"color": _faded(colour, strength), "lw": 2, "ls": (0, (4, 2)) if dashed else "-", "capstyle": "butt"}
    layer = 0.9 + 0.1 * strength - 0.01 * dashed  # what is pale or dashed hides nothing
    style = "-|>,head_length=5,head_width=3"
    return FancyArrowPatch(path=Path([ends[0], *between, ends[1]]), arrowstyle=style, zorder=layer, **look)


def _faded(colour: str, strength: float) -> tuple[float, ...]:
    return tuple(1 - strength * (1 - part) for part in mpl.colors.to_rgb(colour))
