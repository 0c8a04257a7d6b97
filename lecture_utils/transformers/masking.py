"""Which patches are hidden: whole blocks (Bao et al., "BEiT", ICLR 2022, section 2.3 and algorithm 1; slide 34)."""

import math

import torch
from jaxtyping import Bool
from torch import Tensor

from lecture_utils.arguments import require_positive

ATTEMPTS = 10  # blocks that may be refused one after the other before a mask is left as it is
LEAST_SHARE = 0.75  # of `most`: a mask that hides less goes on with smaller blocks


def blockwise_mask(
    grid: tuple[int, int],
    most: int,
    *,
    min_num_patches: int = 16,
    max_num_patches: int | None = None,
    aspect: float = 0.3,
    generator: torch.Generator | None = None,
) -> Bool[Tensor, "h w"]:
    """Hide blocks of a grid of patches, one upon the other, until `most` patches are hidden or hardly fewer.

    A block has about `min_num_patches` to `max_num_patches`, by default as many as may still be hidden, and is about
    `aspect` to 1 / `aspect` times as high as wide: sides are whole numbers, and the grid cuts what is larger, where the
    published code draws again. The paper hides about 40 % of 14 × 14 patches; its code says `most=75`, which is 38 %.
    As there, a block that hides nothing new or more than may still be hidden is refused, so `most` is never passed, and
    not always reached. On a small grid blocks of 16 patches are refused again and again: where less than three quarters
    of `most` are hidden then, blocks become half as large, and half again. Single patches are blocks of
    `min_num_patches=max_num_patches=1` and `aspect=1`.
    """
    require_positive(height=grid[0], width=grid[1], min_num_patches=min_num_patches)
    if not 0 <= most <= grid[0] * grid[1]:
        raise ValueError(f"most: got {most}, expected 0 to {grid[0] * grid[1]}, the patches of a grid {tuple(grid)}")
    if max_num_patches is not None and max_num_patches < min_num_patches:
        raise ValueError(f"max_num_patches: got {max_num_patches}, expected at least min_num_patches={min_num_patches}")
    if not 0 < aspect <= 1:
        raise ValueError(f"aspect: got {aspect}, expected above 0 and at most 1")
    mask = torch.zeros(grid, dtype=torch.bool)
    refused, scale = 0, 1.0
    while (left := most - int(mask.sum())) > 0:
        if refused == ATTEMPTS:
            if most - left >= LEAST_SHARE * most:
                break
            refused, scale = 0, scale / 2
        areas = scale * min_num_patches, scale * min(left, max_num_patches or left)
        block = mask[random_block(grid, areas, aspect, generator)]
        new = block.numel() - int(block.sum())
        if 0 < new <= left:
            block[:] = True  # a view: the mask changes
            refused = 0
        else:
            refused += 1
    return mask


def random_block(
    grid: tuple[int, int], areas: tuple[float, float], aspect: float, generator: torch.Generator | None = None
) -> tuple[slice, slice]:
    """Rows and columns of one block: area, logarithm of the aspect and place are drawn evenly."""
    size, shape, down, across = torch.rand(4, generator=generator).tolist()
    area = areas[0] + size * (areas[1] - areas[0])
    height, width = block_shape(area, aspect ** (1 - 2 * shape), grid)
    top, left = int(down * (grid[0] - height + 1)), int(across * (grid[1] - width + 1))
    return slice(top, top + height), slice(left, left + width)


def block_shape(area: float, aspect: float, grid: tuple[int, int]) -> tuple[int, int]:
    """Height and width, in whole patches, of a block of about `area` patches, height / width = `aspect`.

    At least one patch, and no larger than the grid (height, width) in which it must lie.
    """
    height, width = math.sqrt(area * aspect), math.sqrt(area / aspect)
    return tuple(min(max(round(side), 1), most) for side, most in zip((height, width), grid, strict=True))
