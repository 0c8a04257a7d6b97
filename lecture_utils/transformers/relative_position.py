"""Relative position bias: added to the attention scores, by how far two patches lie apart, not where (slide 34)."""

import torch
from einops import rearrange
from jaxtyping import Float, Int64
from torch import Tensor, nn

from lecture_utils.arguments import require_positive


class RelativePositionBias(nn.Module):
    """One learned number for each head and each offset from one patch to another, to be added to the scores.

    A table of (2H − 1)(2W − 1) + 3 rows, all 0 at first: the last three are for the class token attending to
    patches, for patches attending to it, and for itself. As in the published code of BEiT, after Liu et al., "Swin
    transformer", ICCV 2021.
    """

    def __init__(self, grid: tuple[int, int], heads: int):
        super().__init__()
        require_positive(height=grid[0], width=grid[1], heads=heads)
        steps = (2 * grid[0] - 1) * (2 * grid[1] - 1)
        self.table = nn.Parameter(torch.zeros(steps + 3, heads))
        self.register_buffer("index", relative_position_index(grid), persistent=False)

    def forward(self) -> Float[Tensor, "heads n n"]:
        """For each head from each token (row) to each token (column), the class token first."""
        return rearrange(self.table[self.index], "i j heads -> heads i j")


def relative_position_index(grid: tuple[int, int]) -> Int64[Tensor, "n n"]:
    """Which row of the table is for token i attending to token j; n = 1 + H · W, the class token first.

    Patches of a grid (H, W) are numbered row after row. The offset, (row, column) of the query i less that
    of the key j, is counted as they are: row (H − 1 + rows)(2W − 1) + (W − 1 + columns) of the table.
    """
    height, width = grid
    place = torch.arange(height * width)
    rows, columns = place // width, place % width
    down, across = rows[:, None] - rows + height - 1, columns[:, None] - columns + width - 1
    steps = (2 * height - 1) * (2 * width - 1)
    index = torch.empty(1 + height * width, 1 + height * width, dtype=torch.int64)
    index[1:, 1:] = down * (2 * width - 1) + across
    index[0, 1:], index[1:, 0], index[0, 0] = steps, steps + 1, steps + 2
    return index


def bias_by_step(table: Float[Tensor, "entries heads"], grid: tuple[int, int]) -> Float[Tensor, "heads rows columns"]:
    """The relative position bias of each offset, as a map (2H − 1, 2W − 1) for each head.

    In the middle the patch itself; above it what is for patches that lie above, to the right for those to the right.
    """
    height, width = grid
    steps = (2 * height - 1) * (2 * width - 1)
    if table.ndim != 2 or len(table) != steps + 3:
        raise ValueError(
            f"table: got shape {tuple(table.shape)}, expected ({steps + 3}, heads) for a grid {tuple(grid)}"
        )
    maps = table[:steps].detach().cpu().unflatten(0, (2 * height - 1, 2 * width - 1)).permute(2, 0, 1)
    return maps.flip(1, 2)  # the table counts the index of the query less that of the key
