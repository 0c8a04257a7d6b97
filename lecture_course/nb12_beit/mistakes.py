"""What goes wrong in the exercises of notebook 12: wrong functions, and what each of them says to its author."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from lecture_course.engine.definitions import mistakes

Sides = tuple[float, float]


def block_of(
    sides: Callable[[float, float], Sides],
    whole: Callable[[float], int] = round,
    clip: Callable[[int, int], int] = lambda side, most: min(max(side, 1), most),
) -> Callable[..., tuple[int, int]]:
    """A block with another way to its sides, to whole numbers, or into the grid."""

    def shape(area: float, aspect: float, grid: tuple[int, int]) -> tuple[int, int]:
        return tuple(clip(whole(side), most) for side, most in zip(sides(area, aspect), grid, strict=True))

    return shape


def right_sides(area: float, aspect: float) -> Sides:
    return math.sqrt(area * aspect), math.sqrt(area / aspect)


def width_of_the_rounded_height(area: float, aspect: float, grid: tuple[int, int]) -> tuple[int, int]:
    height = min(max(round(math.sqrt(area * aspect)), 1), grid[0])
    return height, min(max(round(area / height), 1), grid[1])


BLOCKS = mistakes(
    "The width comes from the height that was rounded already: round both at the end.",
    width_of_the_rounded_height,
    "Height and width are exchanged: the aspect is height / width, and the height comes first.",
    block_of(lambda area, aspect: right_sides(area, aspect)[::-1]),
    "The aspect is not under the root: then height · width is the area, but height / width is the aspect squared.",
    block_of(lambda area, aspect: (math.sqrt(area) * aspect, math.sqrt(area) / aspect)),
    "The root is missing: area · aspect is the height squared.",
    block_of(lambda a, r: (a * r, a / r)),
    "Both sides are the root of the area: the aspect is not used.",
    block_of(lambda area, aspect: (math.sqrt(area), math.sqrt(area))),
    "Round to the nearest whole number; yours are rounded down.",
    block_of(right_sides, math.floor),
    "Round to the nearest whole number; yours are rounded up.",
    block_of(right_sides, math.ceil),
    "A block may be larger than the grid: cut each side to the grid's.",
    block_of(right_sides, clip=lambda side, most: max(side, 1)),
    "A small block may vanish: each side is at least one patch.",
    block_of(right_sides, clip=lambda side, most: min(side, most)),
    "The grid is (height, width); its sides are exchanged.",
    lambda area, aspect, grid: block_of(right_sides)(area, aspect, grid[::-1]),
    "Right sides, but no whole numbers: a patch is hidden or it is not.",
    block_of(right_sides, whole=lambda side: side),
)


def apart(patches: Tensor, codebook: Tensor) -> Tensor:
    return (patches[:, None] - codebook).square().sum(-1)


CODES = mistakes(
    "That is the farthest code: take the argmin.",
    lambda x, c: apart(x, c).argmax(-1),
    "For each code the nearest patch; asked for is the nearest code of each patch.",
    lambda x, c: apart(x, c).argmin(0),
    "The largest dot product is not the least distance: long codes win. Subtract half of |c|² from it.",
    lambda x, c: (x @ c.T).argmax(-1),
    "That is the code of the same direction (cosine); how bright a patch is counts, too.",
    lambda x, c: (F.normalize(x, dim=-1) @ F.normalize(c, dim=-1).T).argmax(-1),
    "Differences of both signs cancel out in your sum; square them first.",
    lambda x, c: (x[:, None] - c).sum(-1).abs().argmin(-1),
    "The argmin runs over the numbers of a patch; sum over these first.",
    lambda x, c: (x[:, None] - c).square().sum(1).argmin(-1),
    "These are the distances; asked for is the number of the nearest code.",
    lambda x, c: apart(x, c).amin(-1),
    "These are the nearest codes themselves; asked for are their numbers.",
    lambda x, c: c[apart(x, c).argmin(-1)],
    "The factor 2 is missing in |x|² − 2x·c + |c|².",
    lambda x, c: (c.square().sum(-1) - x @ c.T).argmin(-1),
    "You sum the absolute differences; the distance squares them.",
    lambda x, c: (x[:, None] - c).abs().sum(-1).argmin(-1),
)


def each(logits: Tensor, words: Tensor) -> Tensor:
    """The cross-entropy of every patch, (b, n)."""
    return F.cross_entropy(logits.transpose(1, 2), words, reduction="none")


LOSSES = mistakes(
    "That is the loss of all patches; only the hidden ones count.",
    lambda y, t, m: each(y, t).mean(),
    "That is the loss of the visible patches; the mask is True where one is hidden.",
    lambda y, t, m: each(y, t)[~m].mean(),
    "The visible ones count as 0, but they are still divided by: divide by the number of the hidden ones.",
    lambda y, t, m: (each(y, t) * m).mean(),
    "That is a sum; the loss is the mean over the hidden patches.",
    lambda y, t, m: each(y, t)[m].sum(),
    "A mean for each picture, then the mean of these: pictures with few hidden patches count too much.",
    lambda y, t, m: ((each(y, t) * m).sum(1) / m.sum(1).clamp(min=1)).mean(),
    "The logits of visible patches are set to 0, and then they count as a guess among all words. Leave them out.",
    lambda y, t, m: each(y * m[..., None], t).mean(),
    "Those are probabilities, not their logarithms.",
    lambda y, t, m: -y.softmax(-1).gather(-1, t[..., None])[..., 0][m].mean(),
    "The softmax is taken twice: F.cross_entropy takes the logits as they are.",
    lambda y, t, m: each(y.softmax(-1), t)[m].mean(),
    "One loss for each hidden patch; asked for is their mean.",
    lambda y, t, m: each(y, t)[m],
)


def steps(height: int, width: int) -> tuple[Tensor, Tensor]:
    """Rows and columns of patch i less those of patch j, twice (h · w, h · w)."""
    place = torch.arange(height * width)
    rows, columns = place // width, place % width
    return rows[:, None] - rows, columns[:, None] - columns


def index_of(count: Callable[[Tensor, Tensor, int, int], Tensor]) -> Callable[[int, int], Tensor]:
    return lambda height, width: count(*steps(height, width), height, width)


INDICES = mistakes(
    "The other way round: it is the place of i less that of j.",
    index_of(lambda down, across, h, w: (h - 1 - down) * (2 * w - 1) + w - 1 - across),
    "A row of the table has 2 · width − 1 steps, not width: yours counts along the sequence, where different steps "
    "have one number.",
    index_of(lambda down, across, h, w: (down + h - 1) * w + across + w - 1),
    "A row of the table has 2 · width − 1 steps; you have taken the height.",
    index_of(lambda down, across, h, w: (down + h - 1) * (2 * h - 1) + across + w - 1),
    "A row of the table has 2 · width − 1 steps, from −(width − 1) to width − 1: 2 · width is one too many.",
    index_of(lambda down, across, h, w: (down + h - 1) * 2 * w + across + w - 1),
    "The steps are not moved to begin at 0: the smallest is −(height − 1), −(width − 1).",
    index_of(lambda down, across, h, w: down * (2 * w - 1) + across),
    "To the left and to the right are not the same: keep the sign of a step.",
    index_of(lambda down, across, h, w: down.abs() * w + across.abs()),
    "Column after column; count along the rows.",
    index_of(lambda down, across, h, w: (across + w - 1) * (2 * h - 1) + down + h - 1),
    "Rows and columns are exchanged: patch i stands in row i // width, column i % width.",
    lambda height, width: index_of(lambda down, across, h, w: (down + w - 1) * (2 * h - 1) + across + h - 1)(
        width, height
    ),
    "One number for each pair; pairs that lie alike must have the same.",
    lambda height, width: torch.arange((height * width) ** 2).view(height * width, -1),
)
