"""The exercises of notebook 02: unpooling by fixed rules, and by remembered positions (slides 8 and 9)."""

import itertools
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from lecture_course.engine.definitions import Case, Exercise, Prediction, mistakes
from lecture_utils.segmentation.unpooling import bed_of_nails, max_pool, max_unpool, nearest_unpool, unpooled_size

SLIDE_SMALL = torch.tensor([[1.0, 2], [3, 4]])[None, None]
SLIDE_INPUT = torch.tensor([[1.0, 2, 6, 3], [3, 5, 2, 1], [1, 2, 2, 1], [7, 3, 4, 8]])[None, None]


def whole_numbers(rng: Generator, *shape: int, least: int = -9) -> Tensor:
    """Numbers that are easy to read on a card, `least` to 9."""
    return torch.randint(least, 10, shape, generator=rng).float()


def enlargements(rng: Generator) -> list[Case]:
    return [
        Case((SLIDE_SMALL, 2), note="the slide's 2×2 map"),
        Case((whole_numbers(rng, 1, 1, 1, 2), 3), note="factor 3"),
        Case((whole_numbers(rng, 1, 1, 2, 3), 2), note="a map that is not square"),
        Case((whole_numbers(rng, 1, 2, 3, 2), 2), note="two channels"),
        Case((torch.randn(3, 2, 5, 4, generator=rng), 4), note="a batch of three"),
        Case((torch.randn(2, 3, 4, 3, generator=rng), 1), note="factor 1 changes nothing"),
    ]


def poolings(rng: Generator) -> list[Case]:
    return [
        Case((SLIDE_INPUT, 2), note="the slide's 4×4 map"),
        Case((whole_numbers(rng, 1, 1, 4, 6), 2), note="a map that is not square"),
        Case((-whole_numbers(rng, 1, 1, 4, 4, least=1), 2), note="negative values only"),
        Case((torch.ones(1, 1, 4, 4), 2), note="equal values: the first one counts"),
        Case((whole_numbers(rng, 1, 1, 5, 7), 2), note="odd sizes: what does not fill a window is dropped"),
        Case((whole_numbers(rng, 2, 3, 6, 9), 3), note="windows of 3×3, batch of two, three channels"),
        Case((torch.randn(3, 2, 7, 4, generator=rng), 2), note="numbers with decimals"),
    ]


def unpoolings(rng: Generator) -> list[Case]:
    def case(x: Tensor, kernel: int, note: str, sign: int = 1) -> Case:
        values, indices = max_pool(x, kernel)
        network = sign * whole_numbers(rng, *values.shape, least=1)  # another map, as behind "the rest of the network"
        return Case((network, indices, tuple(x.shape[2:])), note=note)

    overlapping = torch.randn(1, 1, 5, 7, generator=rng)
    overlapping[..., 2, 2] = 9  # the largest of four windows
    return [
        Case((SLIDE_SMALL, max_pool(SLIDE_INPUT)[1], (4, 4)), note="the slide's 2×2 map"),
        case(torch.randn(1, 1, 2, 6, generator=rng), 2, "a map that is not square"),
        case(torch.randn(1, 1, 5, 5, generator=rng), 2, "an odd size"),
        case(torch.randn(1, 1, 4, 6, generator=rng), 2, "negative values, as a network may give", sign=-1),
        case(torch.randn(1, 2, 4, 4, generator=rng), 2, "two channels, each with positions of its own"),
        case(torch.randn(3, 2, 7, 9, generator=rng), 3, "a batch of three, windows of 3×3"),
        Case((*max_pool(overlapping, 3, 2), (5, 7)), note="overlapping windows may remember one position twice"),
    ]


# Wrong functions


def nails_at(offset: Callable[[int], int]) -> Callable[[Tensor, int], Tensor]:
    """A bed of nails that stand `offset(factor)` pixels lower and further right in their blocks."""
    return lambda x, factor: bed_of_nails(x, factor).roll((offset(factor), offset(factor)), (2, 3))


def last_of_equals(x: Tensor, kernel_size: int) -> tuple[Tensor, Tensor]:
    height, width = (size // kernel_size * kernel_size for size in x.shape[2:])
    values, indices = max_pool(x[:, :, :height, :width].flip(2, 3), kernel_size)
    row, column = height - 1 - indices // width, width - 1 - indices % width
    return values.flip(2, 3), (row * x.shape[3] + column).flip(2, 3)


def positions(rule: Callable[..., Tensor]) -> Callable[[Tensor, int], tuple[Tensor, Tensor]]:
    """Max pooling with positions by another `rule(row, column, height, width, kernel_size)`."""

    def pool(x: Tensor, kernel_size: int) -> tuple[Tensor, Tensor]:
        values, indices = max_pool(x, kernel_size)
        height, width = x.shape[2:]
        return values, rule(indices // width, indices % width, height, width, kernel_size)

    return pool


def counted_through_the_batch(x: Tensor, kernel_size: int) -> tuple[Tensor, Tensor]:
    values, indices = max_pool(x, kernel_size)
    first = torch.arange(x.shape[0] * x.shape[1]) * x.shape[2] * x.shape[3]
    return values, indices + first.view(*x.shape[:2], 1, 1)


def nails_without_positions(x: Tensor, indices: Tensor, output_size: tuple[int, int]) -> Tensor:
    out, factor = x.new_zeros(*x.shape[:2], *output_size), output_size[0] // x.shape[2]
    for row, column in itertools.product(range(x.shape[2]), range(x.shape[3])):
        out[:, :, row * factor, column * factor] = x[:, :, row, column]
    return out


def added(x: Tensor, indices: Tensor, output_size: tuple[int, int]) -> Tensor:
    flat = x.new_zeros(*x.shape[:2], output_size[0] * output_size[1])
    return flat.scatter_add(2, indices.flatten(2), x.flatten(2)).unflatten(2, output_size)


def misread(rule: Callable[..., Tensor]) -> Callable[[Tensor, Tensor, tuple[int, int]], Tensor]:
    """Max unpooling that takes `rule(position, height, width)` for the position."""

    def unpool(x: Tensor, indices: Tensor, output_size: tuple[int, int]) -> Tensor:
        return max_unpool(x, rule(indices, *output_size) % (output_size[0] * output_size[1]), output_size)

    return unpool


PUZZLE_SIZE, PUZZLE_KERNEL, PUZZLE_STRIDE = (7, 10), 3, 2  # the prose of the notebook names these, too


def size_without_being_told() -> tuple[int, int]:
    pooled, _ = max_pool(torch.zeros(1, 1, *PUZZLE_SIZE), PUZZLE_KERNEL, PUZZLE_STRIDE)
    return unpooled_size(tuple(pooled.shape[2:]), PUZZLE_KERNEL, PUZZLE_STRIDE)


TILED = (
    "You set whole maps beside each other (1 2 1 2); each value has a block of its own.",
    lambda x, factor: x.repeat(1, 1, factor, factor),
)

ENLARGE = mistakes(
    *TILED,
    "This is the bed of nails: one pixel of each block. Fill the whole block.",
    bed_of_nails,
    "These values lie between the neighbours (bilinear); copy the nearest one.",
    lambda x, factor: F.interpolate(x, scale_factor=factor, mode="bilinear"),
    "The rows are repeated, the columns are not.",
    lambda x, factor: nearest_unpool(x, (factor, 1)),
    "The columns are repeated, the rows are not.",
    lambda x, factor: nearest_unpool(x, (1, factor)),
)
NAIL = mistakes(
    *TILED,
    "This is the nearest neighbour: each block is full. Leave all but one of its pixels 0.",
    nearest_unpool,
    "The nails stand together and the zeros behind them; each nail needs its own block.",
    lambda x, factor: F.pad(x, (0, x.shape[3] * (factor - 1), 0, x.shape[2] * (factor - 1))),
    "The nails stand in the lower right corner of their blocks; the slide has the upper left.",
    nails_at(lambda factor: factor - 1),
    "The nails stand in the middle of their blocks; the slide has the upper left corner.",
    nails_at(lambda factor: factor // 2),
    "The zeros behind the last nail are missing: the last block is as large as the others.",
    lambda x, factor: bed_of_nails(x, factor)[:, :, : (x.shape[2] - 1) * factor + 1, : (x.shape[3] - 1) * factor + 1],
)
POOL = mistakes(
    "This is average pooling: take the largest value of each window, not the mean.",
    lambda x, kernel_size: (F.avg_pool2d(x, kernel_size), max_pool(x, kernel_size)[1]),
    "Of several equal values you remember the last; the first one counts.",
    last_of_equals,
    "The positions count inside each window (0, 1, 2, 3); they must count through the whole map.",
    positions(lambda row, column, height, width, k: row % k * k + column % k),
    "The positions count column by column; count along the rows: row · width + column.",
    positions(lambda row, column, height, width, k: column * height + row),
    "row · height + column is right on square maps only: a row is as long as the map is wide.",
    positions(lambda row, column, height, width, k: row * height + column),
    "The positions count along rows of the small map; they must count along those of the input.",
    positions(lambda row, column, height, width, k: row * (width // k) + column),
    "Pixels that fill no window are dropped from the pooling, but the positions count them: a row is width long.",
    positions(lambda row, column, height, width, k: row * (width // k * k) + column),
    "These are the upper left corners of the windows, not the positions of the largest values.",
    positions(lambda row, column, height, width, k: (row - row % k) * width + column - column % k),
    "Inside the window the positions are right, but window number i begins at row i · kernel_size, not at row i; "
    "columns alike.",
    positions(lambda row, column, height, width, k: (row // k + row % k) * width + column // k + column % k),
    "The positions go on counting from map to map; each channel of each image begins at 0.",
    counted_through_the_batch,
    "The two results are in the wrong order: values first, then indices.",
    lambda x, kernel_size: max_pool(x, kernel_size)[::-1],
    "The values alone are right; return the positions, too.",
    lambda x, kernel_size: max_pool(x, kernel_size)[0],
    "The rest at the border is no full window; drop it.",
    lambda x, kernel_size: F.max_pool2d(x, kernel_size, ceil_mode=True, return_indices=True),
    "Your windows overlap: the next one begins kernel_size pixels further on, not one.",
    lambda x, kernel_size: max_pool(x, kernel_size, stride=1),
)
PUT_BACK = mistakes(
    "Each value fills its block; it belongs at its one remembered position.",
    lambda x, indices, output_size: F.interpolate(x, output_size),
    "This is the bed of nails: you do not use the remembered positions.",
    nails_without_positions,
    "Where a position occurs twice you add the values; put one there, do not add.",
    added,
    "All maps use the positions of the first one; each channel of each image has its own.",
    misread(lambda position, height, width: position[:1, :1].expand_as(position)),
    "All channels use the positions of the first one; each has its own.",
    misread(lambda position, height, width: position[:, :1].expand_as(position)),
    "Row and column are exchanged: row = position // width, column = position % width.",
    misread(lambda position, height, width: position % height * width + position // height),
    "The places are right, but each holds 1; put the values of x there.",
    lambda x, indices, output_size: max_unpool(torch.ones_like(x), indices, output_size),
)

EXERCISES = (
    Exercise(
        "02.nearest_unpool",
        title="Enlarge by the nearest neighbour",
        minutes=5,
        difficulty=1,
        reference=nearest_unpool,
        cases=enlargements,
        mistakes=ENLARGE,
        hints=(
            "Which row of x does row 3 of the output copy, for factor 2? And row 2?",
            "Row i of the output is row i // factor of x. A tensor takes a tensor of row numbers: x[:, :, rows].",
            "rows = torch.arange(height * factor) // factor, columns alike; then x[:, :, rows][:, :, :, columns].",
        ),
        because="Every output pixel copies the input pixel that lies nearest: row i // factor, column j // factor.",
    ),
    Exercise(
        "02.bed_of_nails",
        title="Lay a bed of nails",
        minutes=5,
        difficulty=1,
        reference=bed_of_nails,
        cases=enlargements,
        mistakes=NAIL,
        hints=(
            "Begin with zeros of the output's size: x.new_zeros(batch, channels, height * factor, width * factor).",
            "A slice may have a step: [::3] is every third element.",
            "out[:, :, ::factor, ::factor] = x",
        ),
        because="One slice with a step says it all. The same slice, read instead of written, takes every nail back.",
    ),
    Exercise(
        "02.max_pool",
        title="Pool, and remember where",
        minutes=20,
        difficulty=3,
        reference=max_pool,
        cases=poolings,
        mistakes=POOL,
        hints=(
            "Do it for one window first, on paper: its largest pixel has a row and a column inside the window. Which "
            "row and column of the map are these? And which flat position? Loops over all windows are fine.",
            "Without loops: bring the pixels of each window onto axes of their own. "
            "x.unfold(2, k, k).unfold(3, k, k) is b c h_out w_out k k.",
            "flatten(4) makes one axis of the last two, and max(dim=4) then gives the values and, inside each window, "
            "the position p.",
            "Row inside the window: p // k. Row in the map: that plus k times the row of windows. Columns: p % k.",
            "indices = (k * torch.arange(h_out)[:, None] + p // k) * width + k * torch.arange(w_out) + p % k",
        ),
        because="One whole number a window is all that has to be remembered, and it is enough to go back.",
    ),
    Exercise(
        "02.max_unpool",
        title="Put the values back",
        minutes=15,
        difficulty=2,
        reference=max_unpool,
        cases=unpoolings,
        mistakes=PUT_BACK,
        hints=(
            "Begin with zeros, as for the nails. With height and width on one axis, a position is simply an index.",
            "Tensor.scatter(dim, index, src) puts src at index along dim; x.flatten(2) has the pixels on axis 2.",
            "zeros.scatter(2, indices.flatten(2), x.flatten(2)), then unflatten(2, output_size) for the two axes.",
        ),
        because="No arithmetic with rows and columns is left: on one axis a flat position is an index.",
    ),
    Prediction(
        "02.size",
        title="The size that comes back",
        minutes=3,
        difficulty=2,
        answer=size_without_being_told,
        mistakes={
            PUZZLE_SIZE: "That is the size before the pooling; what filled no window has left no trace.",
            (3, 4): "That is the size after the pooling; now go back up.",
            (6, 8): "Twice the pooled size forgets that windows of 3 with stride 2 overlap by one.",
            (9, 12): "Three times the pooled size forgets that the windows overlap.",
            (9, 7): "Height first, then width.",
        },
        hints=(
            "How many windows of 3 fit into 10 columns, if each begins 2 further on? Which columns do they cover?",
            "n windows cover (n − 1) · stride + kernel pixels.",
        ),
        because="3 windows cover 7 rows, 4 windows cover 9 columns; the tenth column is seen by none, so it is lost.",
    ),
)
