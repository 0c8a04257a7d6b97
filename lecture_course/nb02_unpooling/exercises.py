"""The exercises of notebook 02: unpooling by fixed rules, and by remembered positions (slides 8 and 9)."""

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


# What the mistakes below are edits of: right answers written out


def pool_by_unfolding(x: Tensor, kernel_size: int) -> tuple[Tensor, Tensor]:
    k, (height, width) = kernel_size, x.shape[2:]
    values, p = x.unfold(2, k, k).unfold(3, k, k).flatten(4).max(dim=4)
    row = k * torch.arange(height // k)[:, None] + p // k
    column = k * torch.arange(width // k) + p % k
    return values, row * width + column


def nails_without_positions(x: Tensor, indices: Tensor, output_size: tuple[int, int]) -> Tensor:
    nails = bed_of_nails(x, output_size[0] // x.shape[2])
    return F.pad(nails, (0, output_size[1] - nails.shape[3], 0, output_size[0] - nails.shape[2]))


PUZZLE_SIZE, PUZZLE_KERNEL, PUZZLE_STRIDE = (7, 10), 3, 2  # the prose of the notebook names these, too


def size_without_being_told() -> tuple[int, int]:
    pooled, _ = max_pool(torch.zeros(1, 1, *PUZZLE_SIZE), PUZZLE_KERNEL, PUZZLE_STRIDE)
    return unpooled_size(tuple(pooled.shape[2:]), PUZZLE_KERNEL, PUZZLE_STRIDE)


TILED = {
    lambda x, factor: x.repeat(1, 1, factor, factor): "You set whole maps beside each other (1 2 1 2); each value has "
    "a block of its own.",
}
NEAREST_UNPOOL_MISTAKES = mistakes(
    nearest_unpool,
    {
        **TILED,
        bed_of_nails: "This is the bed of nails: one pixel of each block. Fill the whole block.",
        lambda x, factor: F.interpolate(x, scale_factor=factor, mode="bilinear"): "These values lie between the "
        "neighbours (bilinear); copy the nearest one.",
        ".repeat_interleave(across, dim=3) → ": "The rows are repeated, the columns are not.",
        ".repeat_interleave(down, dim=2) → ": "The columns are repeated, the rows are not.",
    },
)
BED_OF_NAILS_MISTAKES = mistakes(
    bed_of_nails,
    {
        **TILED,
        nearest_unpool: "This is the nearest neighbour: each block is full. Leave all but one of its pixels 0.",
        "::down, ::across → :height, :width": "The nails stand together and the zeros behind them; each nail needs "
        "its own block.",
        "::down, ::across → down - 1::down, across - 1::across": "The nails stand in the lower right corner of their "
        "blocks; the slide has the upper left.",
        "::down, ::across → down // 2::down, across // 2::across": "The nails stand in the middle of their blocks; "
        "the slide has the upper left corner.",
        "height * down, width * across → (height - 1) * down + 1, (width - 1) * across + 1": "The zeros behind the "
        "last nail are missing: the last block is as large as the others.",
    },
)
MAX_POOL_MISTAKES = mistakes(
    pool_by_unfolding,
    {
        "(values → (F.avg_pool2d(x, k)": "This is average pooling: take the largest value of each window, not the "
        "mean.",
        "flatten(4) → flatten(4).flip(4); + p → + k - 1 - p": "Of several equal values you remember the last; the "
        "first one counts.",
        "row * width + column → p": "The positions count inside each window (0, 1, 2, 3); they must count through the "
        "whole map.",
        "row * width + column → column * height + row": "The positions count column by column; count along the rows: "
        "row · width + column.",
        "row * width → row * height": "row · height + column is right on square maps only: a row is as long as the "
        "map is wide.",
        "row * width → row * (width // k)": "The positions count along rows of the small map; they must count along "
        "those of the input.",
        "row * width → row * (width // k * k)": "Pixels that fill no window are dropped from the pooling, but the "
        "positions count them: a row is width long.",
        "+ p → + 0 * p": "These are the upper left corners of the windows, not the positions of the largest values.",
        "k * torch → torch": "Inside the window the positions are right, but window number i begins at row i · "
        "kernel_size, not at row i; columns alike.",
        "row = → row = height * torch.arange(len(x) * x.shape[1]).view(*x.shape[:2], 1, 1) +": "The positions go on "
        "counting from map to map; each channel of each image begins at 0.",
        "values, row * width + column → row * width + column, values": "The two results are in the wrong order: "
        "values first, then indices.",
        ", row * width + column → ": "The values alone are right; return the positions, too.",
        lambda x, kernel_size: F.max_pool2d(x, kernel_size, ceil_mode=True, return_indices=True): "The rest at the "
        "border is no full window; drop it.",
        lambda x, kernel_size: max_pool(x, kernel_size, stride=1): "Your windows overlap: the next one begins "
        "kernel_size pixels further on, not one.",
    },
)
MAX_UNPOOL_MISTAKES = mistakes(
    max_unpool,
    {
        lambda x, indices, output_size: F.interpolate(x, output_size): "Each value fills its block; it belongs at its "
        "one remembered position.",
        nails_without_positions: "This is the bed of nails: you do not use the remembered positions.",
        "scatter → scatter_add": "Where a position occurs twice you add the values; put one there, do not add.",
        "indices.flatten(2) → indices[:1, :1].expand_as(x).flatten(2)": "All maps use the positions of the first one; "
        "each channel of each image has its own.",
        "indices.flatten(2) → indices[:, :1].expand_as(x).flatten(2)": "All channels use the positions of the first "
        "one; each has its own.",
        "indices.flatten(2) → (indices % height * width + indices // height).flatten(2)": "Row and column are "
        "exchanged: row = position // width, column = position % width.",
        "x.flatten(2) → torch.ones_like(x).flatten(2)": "The places are right, but each holds 1; put the values of x "
        "there.",
    },
)

EXERCISES = (
    Exercise(
        "02.nearest_unpool",
        title="Enlarge by the nearest neighbour",
        minutes=5,
        difficulty=1,
        reference=nearest_unpool,
        cases=enlargements,
        mistakes=NEAREST_UNPOOL_MISTAKES,
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
        mistakes=BED_OF_NAILS_MISTAKES,
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
        mistakes=MAX_POOL_MISTAKES,
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
        mistakes=MAX_UNPOOL_MISTAKES,
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
