"""What a drawing of a network is made of: blocks for tensors, arrows for layers, and tinted areas (see `network`)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

# Inches.
LINE = 0.2  # a line of text
PAD = 0.04  # inside the frame of a table, above its first line and below its last
SHEET, STRIP = 0.07, 0.16  # from one feature map to the one behind it; the width of a vector
LETTER = 0.082  # room for one letter of a label
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
            return self.size, LINE * len(self.value) + 2 * PAD * isinstance(self.value, Table)
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
    inches beyond it. It starts `shift` inches to the right of the middle of its side.
    """

    start: Block
    end: Block
    kind: str = ""
    sides: tuple[str, str] | None = None
    dashed: bool = False
    bend: float | None = None
    shift: float = 0.0


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
