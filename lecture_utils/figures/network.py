"""Drawings of networks, made of what a real forward pass gave, that can be stepped through part by part.

A tracer (one for each architecture, beside its notebook) runs the model, and makes a `Block` of each tensor that is to
be seen and an `Arrow` of each layer between two. `draw_network` draws them, `network_steps` steps through them.
"""

import textwrap
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import PlaceHolderLayoutEngine
from matplotlib.patches import FancyArrowPatch, Rectangle
from matplotlib.path import Path
from torch import Tensor

from lecture_utils.cityscapes import CLASSES, IGNORE_INDEX, PALETTE, colour_labels
from lecture_utils.explorers import Explorer, Slider
from lecture_utils.figures.style import BLUE, CYCLE, FAINT, INK, SKY, VERMILION, WIDTH, course_look, to_array

# Inches, but for the strength.
LINE, MARGIN, GAP = 0.2, 0.12, 0.3  # a line of text; around the drawing; between two rows
SHEET, STRIP = 0.07, 0.16  # from one feature map to the one behind it; the width of a vector
TEXT, LETTER = 10.5, 0.082  # points of the labels (11.7 pixels on the page); room for one letter
BOLD, PLAIN = 0.112, 0.096  # room for one letter of the headline and of the sentence
LETTERS = 96  # in a line of the sentence
ALONE, PAIR = 3.2, 2.6  # the longer side of an enlarged block, 256 pixels on the page, and of each of two, 208
COLOURS = 192  # in a frame: its words and lines are drawn again for each step
HINT = 24  # pixels a side, about, of an image that is pale
PALE = 0.22  # how much of its colour a part keeps while another is highlighted
OUTER, SWING = 0.13, 0.26  # how far an arrow swings out that leaves and enters on one side; the room it takes above
Mark = tuple[float, float, float, float, str]  # x0, y0, x1, y1 and a colour


class Table(dict[str, str]):
    """Name → number in words: a block's value that is written out, where another mapping is drawn as bars."""


@dataclass(eq=False)
class Block:
    """One tensor of the drawing: what it holds, its place in the grid (column, row), and what is to be said about it.

    `value`, of one image, is drawn according to its kind: feature maps (c, h, w), the three channels that vary most; a
    vector (n,); an image (h, w, 3) uint8; a label map (h, w) of whole numbers; class → probability; or a `Table`. A
    tensor on the meta device is an empty box. `shape` is written below, by default the value's own, unless `caption`
    says something else. `size` is the longer side in inches. `marks` are frames in pixels of `shape`. A block without a
    sentence belongs to the step of the one before. Columns may be fractions; so may rows, for a block that stands
    between two. Maps that are to be compared take one `scale`: feature maps that choose the channels and their colours
    for all of them.
    """

    name: str
    value: Tensor | np.ndarray | Mapping[str, float]
    at: tuple[float, float]
    says: str = ""
    size: float = 1.2
    shape: tuple[int, ...] | None = None
    marks: Sequence[Mark] = ()
    label: str | None = None  # what stands above it, where that is not the name
    scale: Tensor | None = None  # (c, h, w) of any size; by default the value itself
    caption: str | None = None  # what is told as its shape, where that is not `shape`; bars have none below otherwise

    def __post_init__(self):
        if isinstance(self.value, Mapping):
            self.shape = self.shape or (len(self.value),)
        elif self.value.ndim not in (1, 2, 3) or 0 in self.value.shape:
            got = f"got shape {tuple(self.value.shape)} for {self.name!r}"
            raise ValueError(f"value: {got}, expected (n,), (h, w), (c, h, w) or (h, w, 3), without the batch")
        self.shape = tuple(self.shape or self.value.shape)
        self.label = self.name if self.label is None else self.label

    @property
    def sides(self) -> tuple[float, float]:
        """Width and height in inches."""
        if isinstance(self.value, Mapping):
            return self.size, LINE * len(self.value)
        if len(self.shape) == 1:
            return STRIP, self.size
        height, width = self.shape[-2:]
        return self.size * width / max(height, width), self.size * height / max(height, width)

    @property
    def room(self) -> float:
        """The width in inches, with the labels."""
        return max(self.sides[0] + 2 * self.behind, LETTER * max(len(self.label), len(self.words)))

    @property
    def behind(self) -> float:
        """How far the feature maps behind the first one reach beyond it, in inches."""
        stacked = isinstance(self.value, Tensor) and self.value.ndim == 3
        return SHEET * (min(3, len(self.value)) - 1) if stacked else 0.0

    @property
    def words(self) -> str:
        return " × ".join(map(str, self.shape)) if self.caption is None else self.caption

    @property
    def below(self) -> bool:
        """Whether the shape is written below."""
        return bool(self.words) and (self.caption is not None or not isinstance(self.value, Mapping))


@dataclass(eq=False)
class Arrow:
    """A layer that makes `end` of `start`. `sides`, where it leaves and enters: "right", "left", "top" or "bottom".

    Between a bottom and a top it turns half way, or `bend` inches before its end; with twice the same side, so many
    inches beyond it.
    """

    start: Block
    end: Block
    kind: str = ""
    sides: tuple[str, str] | None = None
    dashed: bool = False
    bend: float | None = None


@dataclass(eq=False)
class Band:
    """A tinted area behind blocks that belong together; those of one name have one colour and one place in the key."""

    name: str
    blocks: Sequence[Block]
    colour: str


def steps_of(blocks: Sequence[Block]) -> list[list[Block]]:
    """The blocks that are highlighted together, step by step: one with a sentence and those without that follow it."""
    steps: list[list[Block]] = []
    for block in blocks:
        if block.says:
            steps.append([block])
        elif steps:
            steps[-1].append(block)
    return steps


def scaled(shape: Sequence[int], largest: int, *, size: float = 1.2, power: float = 0.35) -> float:
    """The inches of a map's longer side, `size` for the `largest` and less, on a compressed scale, for smaller ones."""
    return size * (max(shape[-2:]) / largest) ** power


@course_look
def draw_network(
    blocks: Sequence[Block],
    arrows: Sequence[Arrow] = (),
    *,
    highlight: int | None = None,
    about: str = "",
    gap: float = GAP,
    enlarge: bool = False,
    bands: Sequence[Band] = (),
    kinds: Mapping[str, str] | None = None,
) -> Figure:
    """Draw blocks and arrows, as wide as the page, and below them a sentence.

    `highlight` is the number of a step (`steps_of`): its blocks and the arrows into them keep their colours, all others
    are pale and without shapes and numbers, and below stand its layers, shapes and sentence. Without it all is in
    colour, and below stand the kinds of arrows and the sentence `about`. `gap` is the room between two rows, in inches.
    `kinds` are the colours of kinds of arrows that are to be the same in several drawings. The areas of `bands` are
    named below in every step.

    With `enlarge` the highlighted block is drawn a second time, large, below the others, and the words beside it, with
    the names of a label map's colours: of a step of several blocks the first and the last, without a step the last.
    """
    steps = steps_of(blocks)
    if not blocks:
        raise ValueError("blocks: got none, expected at least one")
    if highlight is not None and not 0 <= highlight < len(steps):
        raise ValueError(f"highlight: got {highlight}, expected 0 to {len(steps) - 1}, a step")
    for arrow in arrows:
        if arrow.start not in blocks or arrow.end not in blocks:
            raise ValueError(f"arrows: got {arrow.start.name!r} → {arrow.end.name!r}, expected two of the blocks")
    shown = blocks if highlight is None else steps[highlight]
    swung = {b for arrow in arrows if arrow.sides == ("top", "top") for b in (arrow.start, arrow.end)}
    centres, height = _places(blocks, gap, swung)
    named = dict.fromkeys(arrow.kind for arrow in arrows if arrow.kind)
    large = [_enlarged(step) for step in (*steps, blocks[-1:])] if enlarge else []
    below = _height(large) if enlarge else 0.98 + (0.38 if named else 0)
    key = 0.3 if bands else 0
    fig = Figure(
        figsize=(WIDTH, height + key + below), layout=PlaceHolderLayoutEngine(True, True)
    )  # outside pyplot: fast
    ax = fig.add_axes((0, 0, 1, 1))
    colours = {kind: CYCLE[i % len(CYCLE)] for i, kind in enumerate(named)} | (kinds or {}) | {"": FAINT}
    _draw_bands(ax, bands, centres, swung, height + 0.12)
    height += key
    for arrow in arrows:
        ends = [_anchor(block, centres[block], side) for block, side in zip(*_sides(arrow), strict=True)]
        strength = 1 if highlight is None or arrow.end in shown else PALE
        look = {"colour": colours[arrow.kind], "strength": strength, "dashed": arrow.dashed, "bend": arrow.bend}
        ax.add_patch(_path(ends, _sides(arrow)[1], **look))
    for block in blocks:
        full = block in shown
        _draw_block(ax, block, centres[block], strength=1 if full else PALE, framed=full and highlight is not None)
    ax.set(xlim=(0, WIDTH), ylim=(height + below, 0), aspect="equal")
    ax.axis("off")
    head, said = ("", about) if highlight is None else (_headline(shown, arrows), shown[0].says)
    if enlarge:
        key = [] if highlight is not None else arrows
        blocks = large[-1 if highlight is None else highlight]
        _draw_enlarged(ax, blocks, height + 0.1, [head, said], key, colours)
        return fig
    if highlight is None:
        _key(ax, arrows, colours, height + 0.12)
    top = height + below - 0.94
    said = textwrap.wrap(said, LETTERS)
    if len(said) > 2:
        raise ValueError(f"says, about: got {len(said)} lines, expected at most 2 of {LETTERS} letters: {said[0]}…")
    ax.text(MARGIN + 0.1, top, head, va="top", size=max(TEXT, 12 * 80 / max(80, len(head))), weight="bold")
    ax.text(MARGIN + 0.1, top + 0.27, "\n".join(said), va="top", size=12, linespacing=1.25)
    return fig


def network_steps(
    blocks: Sequence[Block],
    arrows: Sequence[Arrow] = (),
    *,
    title: str,
    about: str,
    kilobytes: int = 250,
    gap: float = GAP,
    enlarge: bool = False,
    bands: Sequence[Band] = (),
    kinds: Mapping[str, str] | None = None,
) -> Explorer:
    """An explorer of the drawing: the whole network, then a step for each part, with play and step buttons.

    `about` is the sentence below the whole one, and its alternative text; the others are those of `draw_network`.
    """
    steps = steps_of(blocks)
    names = ["all", *(step[0].name for step in steps)]
    if len(names) < 2 or len(set(names)) < len(names):
        raise ValueError(f"blocks: got steps {', '.join(names[1:])}, expected at least one, each of another name")

    def draw(part: str) -> Figure:
        step = names.index(part) - 1 if part != "all" else None
        look = {"gap": gap, "enlarge": enlarge, "bands": bands, "kinds": kinds}
        return draw_network(blocks, arrows, highlight=step, about=about, **look)

    def alt(part: str) -> str:
        return about if part == "all" else f"{part} is highlighted. {steps[names.index(part) - 1][0].says}"

    part = Slider("part", names)
    return Explorer(draw, title=title, alt=alt, part=part, play="part", kilobytes=kilobytes, colours=COLOURS)


def _places(
    blocks: Sequence[Block], gap: float, swung: AbstractSet[Block] = frozenset()
) -> tuple[dict[Block, tuple[float, float]], float]:
    """The centre of each block in inches, from the top left corner, and the height of the drawing.

    Above the blocks of `swung` an arrow passes.
    """
    columns = [block.at[0] for block in blocks]
    first, last = min(columns), max(columns)
    left, right = (MARGIN + max(b.room for b in blocks if b.at[0] == column) / 2 for column in (first, last))
    pitch = (WIDTH - left - right) / (last - first or 1)
    rows, middles, y = sorted({b.at[1] for b in blocks if b.at[1] == int(b.at[1])}), [], 0.05
    for row in rows:
        inside = [b for b in blocks if b.at[1] == row]
        above = max(b.sides[1] / 2 + b.behind + LINE * bool(b.label) + SWING * (b in swung) for b in inside)
        middles.append(y + above)
        y += above + max(b.sides[1] / 2 for b in inside) + LINE + gap
    if not rows:
        raise ValueError("blocks: got no whole row, expected one at least")
    place = {b: (left + pitch * (b.at[0] - first), float(np.interp(b.at[1], rows, middles))) for b in blocks}
    return place, y - gap + 0.1


def _enlarged(step: Sequence[Block]) -> list[Block]:
    """The first and the last block of a step that are maps or vectors, large, or its only one."""
    some = [block for block in step if not isinstance(block.value, Mapping)]
    some = [some[0], some[-1]] if len(some) > 1 else some
    return [replace(block, size=ALONE if len(some) == 1 else PAIR) for block in some]


def _height(large: Sequence[Sequence[Block]]) -> float:
    """The inches below the drawing that the largest of the enlarged blocks take, with their words."""
    return max((b.sides[1] + b.behind for blocks in large for b in blocks), default=1.0) + 2 * LINE + 0.3


def _draw_enlarged(
    ax: Axes, large: Sequence[Block], top: float, words: Sequence[str], key: Sequence[Arrow], colours: Mapping[str, str]
) -> None:
    """The enlarged blocks, and to their right the headline and the sentence, the key and the classes."""
    bottom, left, top = ax.get_ylim()[0], MARGIN + 0.1, top + LINE
    for block in large:
        width, height = block.sides
        before = max(width, block.room - 2 * block.behind) / 2
        _draw_block(ax, block, (left + before, top + block.behind + height / 2), strength=1, framed=False)
        left += 2 * before + block.behind + 0.25
    y, room = top, WIDTH - left - MARGIN
    for text, letter, line, weight in zip(words, (BOLD, PLAIN), (0.23, 0.22), ("bold", "normal"), strict=True):
        lines = textwrap.wrap(text.replace(" × ", "\xa0×\xa0"), int(room / letter))  # a shape stays on one line
        ax.text(left, y, "\n".join(lines), va="top", size=12, weight=weight, linespacing=1.25)
        y += line * len(lines) + 0.1 * bool(lines)
    y = _key(ax, key, colours, y + 0.12, left) if key else y
    y = _classes(ax, [block.value for block in large], left, y + 0.1)
    if y > bottom + 0.05:
        raise ValueError(f"says, about: got {y - bottom:.1f} inches too many, expected a shorter text: {words[1]}")


def _classes(ax: Axes, values: Sequence, left: float, y: float) -> float:
    """Name the colours of the label maps among the values, in columns; the height below them."""
    maps = [to_array(value) for value in values if value.ndim == 2 and not isinstance(value, Tensor)]
    present = [i for i in np.unique(np.concatenate([m.ravel() for m in maps])) if i != IGNORE_INDEX] if maps else []
    pitch = 0.4 + LETTER * max((len(CLASSES[i]) for i in present), default=0)
    columns = max(1, int((WIDTH - left) / pitch))
    for n, i in enumerate(present):
        x, middle = left + pitch * (n % columns), y + (LINE + 0.06) * (n // columns + 0.5)
        swatch = Rectangle((x, middle - 0.08), 0.22, 0.16, fc=PALETTE[i] / 255, ec=INK, lw=0.5, gid="class")
        ax.add_patch(swatch)
        ax.text(x + 0.3, middle, CLASSES[i], va="center", size=TEXT)
    return y + (LINE + 0.06) * -(-len(present) // columns)


def _key(ax: Axes, arrows: Sequence[Arrow], colours: Mapping[str, str], y: float, left: float = MARGIN + 0.1) -> float:
    """Name the kinds of arrows on a line, or on as many as it takes; the height below them."""
    x = left
    for kind, dashed in {arrow.kind: arrow.dashed for arrow in arrows if arrow.kind}.items():
        if x > left and x + 0.48 + LETTER * len(kind) > WIDTH:
            x, y = left, y + LINE + 0.05
        ax.add_patch(_path([(x, y), (x + 0.4, y)], ("right", "left"), colour=colours[kind], dashed=dashed))
        ax.text(x + 0.48, y, kind, va="center", size=TEXT)
        x += 0.68 + LETTER * len(kind)
    return y + LINE


def _draw_bands(
    ax: Axes, bands: Sequence[Band], centres: Mapping[Block, tuple[float, float]], swung: AbstractSet[Block], y: float
) -> None:
    """Tint the areas of the bands, and name them on a line."""
    x, named = MARGIN + 0.1, set()
    for band in bands:
        areas = np.array([_area(block, *centres[block]) for block in band.blocks])
        areas[:, 1] -= [SWING * (block in swung) for block in band.blocks]
        left, top = areas[:, :2].min(0) - 0.08
        right, bottom = areas[:, 2:].max(0) + 0.08
        look = {"fc": band.colour, "ec": "none", "zorder": 0}
        ax.add_patch(Rectangle((left, top), right - left, bottom - top, gid="band", **look))
        if band.name and band.name not in named:
            ax.add_patch(Rectangle((x, y - 0.08), 0.4, 0.16, **look))
            ax.text(x + 0.48, y, band.name, va="center", size=TEXT)
            x += 0.68 + LETTER * len(band.name)
            named.add(band.name)


def _area(block: Block, x: float, y: float) -> tuple[float, float, float, float]:
    """What a block takes up with its words: left, top, right, bottom."""
    (_, height), across = block.sides, block.room / 2
    top = y - height / 2 - block.behind - LINE * bool(block.label)
    return x - across, top, x + across, y + height / 2 + LINE * block.below


def _draw_block(ax: Axes, block: Block, centre: tuple[float, float], *, strength: float, framed: bool) -> None:
    (x, y), (width, height) = centre, block.sides
    left, top = x - width / 2, y - height / 2
    edge = {"ec": VERMILION if framed else _faded(INK, strength), "lw": 2.2 if framed else 0.8}
    ink = INK if strength == 1 else FAINT
    if isinstance(block.value, Table):
        sheets = _rows(ax, block, left, top, edge, written=strength == 1)
    elif isinstance(block.value, Mapping):
        sheets = _bars(ax, block, left, top, strength, ink if strength == 1 or block.label else "")
    else:
        sheets = _sheets(block)
    for k, rgb in reversed(list(enumerate(sheets))):
        dx = SHEET * k
        area = (left + dx, left + dx + width, top + height - dx, top - dx)
        pixels = _pale(rgb, strength, first=k == 0) if strength < 1 else np.rint(255 * rgb).astype(np.uint8)
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
    if strength == 1 and block.below:
        ax.text(x, top + height + 0.05, block.words, ha="center", va="top", size=TEXT, weight="bold", zorder=4)


def _sheets(block: Block) -> list[np.ndarray]:
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


def _pale(rgb: np.ndarray, strength: float, *, first: bool) -> np.ndarray:
    """An image that is only hinted at, in few pixels and colours, because it takes up room in every frame."""
    across, down = (max(1, side // HINT) for side in rgb.shape[1::-1])
    rgb = rgb[::down, ::across] if first else rgb.mean((0, 1), keepdims=True)
    return (255 - 8 * np.rint(strength * 255 * (1 - rgb) / 8)).astype(np.uint8)


def _bars(ax: Axes, block: Block, left: float, top: float, strength: float, ink: str) -> list:
    """A line for each class: its name, in `ink` if there is one, and a bar as long as its probability."""
    best, start = max(block.value, key=block.value.get), LETTER * max(map(len, block.value)) + 0.08
    for row, (name, probability) in enumerate(block.value.items()):
        middle, colour = top + LINE * (row + 0.5), BLUE if name == best else FAINT
        if ink:
            ax.text(left + start - 0.08, middle, name, ha="right", va="center", size=TEXT, color=ink)
        full = block.size - start
        ax.add_patch(Rectangle((left + start, middle - 0.08), full, 0.16, fc=_faded("#EEEEEE", strength), zorder=1.5))
        bar = Rectangle((left + start, middle - 0.08), full * probability, 0.16, fc=_faded(colour, strength), gid="bar")
        ax.add_patch(bar).set_zorder(2)
    return []


def _rows(ax: Axes, block: Block, left: float, top: float, edge: Mapping, *, written: bool) -> list:
    """A frame, and if it is to be `written` a line for each entry of a table: its name, its number at the right."""
    width, height = block.sides
    ax.add_patch(Rectangle((left, top), width, height, fc="white", **edge))
    for row, (name, number) in enumerate(block.value.items() if written else ()):
        middle = top + LINE * (row + 0.5)
        ax.text(left + 0.07, middle, name, va="center", size=TEXT, zorder=4)
        ax.text(left + width - 0.07, middle, number, va="center", ha="right", size=TEXT, zorder=4)
    return []


def _sides(arrow: Arrow) -> tuple[tuple[Block, Block], tuple[str, str]]:
    """Where an arrow leaves and enters: along its row if both blocks stand in one, else up or down."""
    (x0, y0), (x1, y1) = arrow.start.at, arrow.end.at
    across, down = ("right", "left") if x1 > x0 else ("left", "right"), ("bottom", "top")
    return (arrow.start, arrow.end), arrow.sides or (across if y0 == y1 else down if y1 > y0 else down[::-1])


def _anchor(block: Block, centre: tuple[float, float], side: str) -> tuple[float, float]:
    (x, y), (width, height) = centre, block.sides
    return {
        "left": (x - width / 2 - 0.05, y),
        "right": (x + width / 2 + block.behind + 0.05, y),
        "top": (x, y - height / 2 - block.behind - LINE * bool(block.label) - 0.06),
        "bottom": (x, y + height / 2 + 0.04 + LINE * block.below),
    }[side]


def _path(
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


def _headline(shown: Sequence[Block], arrows: Sequence[Arrow]) -> str:
    """The name of a step, the layers that lead to its first block, and the shapes before that and of the last block."""
    into = [arrow for arrow in arrows if arrow.end is shown[0]]
    kinds = ", ".join(dict.fromkeys(arrow.kind for arrow in into if arrow.kind))
    before = " and ".join(dict.fromkeys(arrow.start.words for arrow in into))
    made = f"{before}  →  {shown[-1].words}" if before else shown[-1].words
    return f"{shown[0].name}{f' ({kinds})' if kinds else ''}:  {made}"


def _faded(colour: str, strength: float) -> tuple[float, ...]:
    return tuple(1 - strength * (1 - part) for part in mpl.colors.to_rgb(colour))
