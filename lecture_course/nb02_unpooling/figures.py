"""The figures of notebook 02: pooling windows and the maxima they remember."""

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from lecture_utils.figures.grids import TINTS, cell_arrow, format_number, grid_canvas, number_grid
from lecture_utils.figures.style import (
    course_look,
)
from lecture_utils.segmentation.unpooling import max_pool, max_unpool


def window_tints(height: int, width: int, window: int = 2) -> np.ndarray:
    """A tint for each cell (height, width), the same for all of one `window` × `window`; "" beyond the last window."""
    rows, columns = np.arange(height) // window, np.arange(width) // window
    number = rows[:, None] * (width // window) + columns
    inside = (rows < height // window)[:, None] & (columns < width // window)
    return np.where(inside, np.array(TINTS)[number % len(TINTS)], "")


@course_look
def remembered_position(x: ArrayLike, small: ArrayLike, window: tuple[int, int], *, kernel_size: int = 2) -> Figure:
    """Follow one window through slide 9: its largest value, the position remembered, the value that is put there.

    `x` is the map that is pooled, `small` what the rest of the network made of it, `window` (row, column) in `small`.
    """
    x, small = torch.as_tensor(x).cpu().float(), torch.as_tensor(small).cpu().float()
    pooled, indices = (out[0, 0] for out in max_pool(x[None, None], kernel_size))
    unpooled = max_unpool(small[None, None], indices[None, None], x.shape)[0, 0]
    (height, width), position = x.shape, int(indices[window])
    winner = divmod(position, width)
    fill = window_tints(height, width, kernel_size)[winner]
    steps = {
        "input": (x, winner),
        "max pooled": (pooled, window),
        "from the network": (small, window),
        "max unpooled": (unpooled, winner),
    }
    gap = 2.0
    columns = 1 + sum(values.shape[1] + gap for values, _ in steps.values()) - gap
    fig, ax = grid_canvas(columns, height + 2.3)
    left, ends = 0.5, []
    for name, (values, cell) in steps.items():
        top = 1 + (height - values.shape[0]) / 2
        chosen = np.zeros(values.shape, bool)
        chosen[cell] = True
        coloured = chosen.copy()
        if name == "input":
            y, x = (kernel_size * number for number in window)
            coloured[y : y + kernel_size, x : x + kernel_size] = True
        number_grid(ax, values, at=(left, top), colours=np.where(coloured, fill, ""), highlight=chosen, title=name)
        ends.append((left, left + values.shape[1], top + cell[0] + 0.5))
        left += values.shape[1] + gap
    for (_, x0, y0), (x1, _, y1) in (ends[:2], ends[2:]):
        cell_arrow(ax, (x0 + 0.2, y0), (x1 - 0.2, y1))
    place = f"row {winner[0]}, column {winner[1]}: position {winner[0]} · {width} + {winner[1]} = {position}"
    largest, given = format_number(pooled[window].item()), format_number(small[window].item())
    words = f"The {largest} stands in {place}. The network's {given} goes there."
    ax.text(columns / 2, height + 1.75, words, size=13, ha="center", va="center")
    return fig
