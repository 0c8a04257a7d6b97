"""Drawings of networks, made of what a real forward pass gave, that can be stepped through part by part.

A tracer (one for each architecture, beside its notebook) runs the model, and makes a `Block` of each tensor that is to
be seen and an `Arrow` of each layer between two (`network_blocks`). `draw_network` draws them with `network_parts`,
`network_steps` steps through them.
"""

import textwrap
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import PlaceHolderLayoutEngine
from matplotlib.patches import Rectangle
from torch import Tensor

from lecture_utils.cityscapes import CLASSES, IGNORE_INDEX, PALETTE
from lecture_utils.explorers import Explorer, Slider
from lecture_utils.figures.network_blocks import LETTER, LINE, Arrow, Band, Block, steps_of
from lecture_utils.figures.network_parts import GREY, TEXT, anchor_of, area_of, draw_block, path_of, sides_of
from lecture_utils.figures.style import CYCLE, FAINT, INK, WIDTH, course_look, to_array

# Inches, but for the strength.
MARGIN, GAP = 0.12, 0.3  # around the drawing; between two rows
BOLD, PLAIN = 0.112, 0.096  # room for one letter of the headline and of the sentence
LETTERS = 96  # in a line of the sentence
ALONE, PAIR = 3.2, 2.6  # the longer side of an enlarged block, 256 pixels on the page, and of each of two, 208
COLOURS = 192  # in a frame: its words and lines are drawn again for each step
PALE = 0.3  # how much of its colour a part keeps while another is highlighted
SWING = 0.26  # the room that an arrow takes above a block which leaves and enters there


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
    width: float = WIDTH,
    pale: float = PALE,
) -> Figure:
    """Draw blocks and arrows, `width` inches wide, by default as the page, and below them a sentence.

    `highlight` is the number of a step (`steps_of`): its blocks and the arrows into them keep their colours, all others
    are pale, `pale` of their colours, and their words grey, and below stand its layers, shapes and sentence.
    Without it all is in colour, and below stand the kinds of arrows and the sentence `about`. `gap` is the room between
    two rows, in inches. `kinds` are the colours of kinds of arrows that are to be the same in several drawings. The
    areas of `bands` are named below in every step.

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
    centres, height = _places(blocks, gap, swung, width, top=0.12 if bands else 0.05)
    named = dict.fromkeys(arrow.kind for arrow in arrows if arrow.kind)
    large = [_enlarged(step) for step in (*steps, blocks[-1:])] if enlarge else []
    below = _height(large) if enlarge else 0.98 + (0.38 if named else 0)
    key = 0.3 if bands else 0
    fig = Figure(
        figsize=(width, height + key + below), layout=PlaceHolderLayoutEngine(True, True)
    )  # outside pyplot: fast
    ax = fig.add_axes((0, 0, 1, 1))
    colours = {kind: CYCLE[i % len(CYCLE)] for i, kind in enumerate(named)} | (kinds or {}) | {"": FAINT}
    _draw_bands(ax, bands, centres, swung, height + 0.12)
    height += key
    for arrow in arrows:
        ends = [anchor_of(block, centres[block], side) for block, side in zip(*sides_of(arrow), strict=True)]
        ends[0] = (ends[0][0] + arrow.shift, ends[0][1])
        strength = 1 if highlight is None or arrow.end in shown else pale
        look = {"colour": colours[arrow.kind], "strength": strength, "dashed": arrow.dashed, "bend": arrow.bend}
        ax.add_patch(path_of(ends, sides_of(arrow)[1], **look))
    for block in blocks:
        full = block in shown
        draw_block(ax, block, centres[block], strength=1 if full else pale, framed=full and highlight is not None)
    ax.set(xlim=(0, width), ylim=(height + below, 0), aspect="equal")
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
    width: float = WIDTH,
    pale: float = PALE,
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
        look = {"gap": gap, "enlarge": enlarge, "bands": bands, "kinds": kinds, "width": width, "pale": pale}
        return draw_network(blocks, arrows, highlight=step, about=about, **look)

    def alt(part: str) -> str:
        return about if part == "all" else f"{part} is highlighted. {steps[names.index(part) - 1][0].says}"

    part = Slider("part", names)
    look = {"kilobytes": kilobytes, "colours": COLOURS, "faded": (pale, GREY)}
    return Explorer(draw, title=title, alt=alt, part=part, play="part", **look)


def _places(
    blocks: Sequence[Block],
    gap: float,
    swung: AbstractSet[Block] = frozenset(),
    width: float = WIDTH,
    *,
    top: float = 0.05,
) -> tuple[dict[Block, tuple[float, float]], float]:
    """The centre of each block in inches, from the top left corner, and the height of the drawing.

    Above the blocks of `swung` an arrow passes; above all of them are `top` inches.
    """
    columns = [block.at[0] for block in blocks]
    first, last = min(columns), max(columns)
    left, right = (MARGIN + max(b.room for b in blocks if b.at[0] == column) / 2 for column in (first, last))
    pitch = (width - left - right) / (last - first or 1)
    rows, middles, y = sorted({b.at[1] for b in blocks if b.at[1] == int(b.at[1])}), [], top
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
        draw_block(ax, block, (left + before, top + block.behind + height / 2), strength=1, framed=False)
        left += 2 * before + block.behind + 0.25
    y, room = top, ax.get_xlim()[1] - left - MARGIN
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
    columns = max(1, int((ax.get_xlim()[1] - left) / pitch))
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
        if x > left and x + 0.48 + LETTER * len(kind) > ax.get_xlim()[1]:
            x, y = left, y + LINE + 0.05
        ax.add_patch(path_of([(x, y), (x + 0.4, y)], ("right", "left"), colour=colours[kind], dashed=dashed))
        ax.text(x + 0.48, y, kind, va="center", size=TEXT)
        x += 0.68 + LETTER * len(kind)
    return y + LINE


def _draw_bands(
    ax: Axes, bands: Sequence[Band], centres: Mapping[Block, tuple[float, float]], swung: AbstractSet[Block], y: float
) -> None:
    """Tint the areas of the bands, and name them on a line."""
    x, named = MARGIN + 0.1, set()
    for band in bands:
        areas = np.array([area_of(block, *centres[block]) for block in band.blocks])
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


def _headline(shown: Sequence[Block], arrows: Sequence[Arrow]) -> str:
    """The name of a step, the layers that lead to its first block, and the shapes before that and of its last.

    Before it, single numbers have their names, for all have one shape. What has no shape in words is left out, and so
    is a layer of the step's own name.
    """
    name, into = shown[0].name, [arrow for arrow in arrows if arrow.end is shown[0]]
    kinds = ", ".join(dict.fromkeys(arrow.kind for arrow in into if arrow.kind not in ("", name)))
    starts = [arrow.start for arrow in into]
    before = " and ".join(dict.fromkeys(s.name if s.words == "1" else s.words for s in starts if s.words))
    after = next((block.words for block in reversed(shown) if block.words), "")
    return f"{name}{f' ({kinds})' if kinds else ''}:  {'  →  '.join(filter(None, (before, after)))}"
