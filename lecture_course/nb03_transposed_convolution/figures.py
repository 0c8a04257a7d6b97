"""The figures of notebook 03: convolution and its transpose as matrices."""

from itertools import product

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

from lecture_utils.figures.grids import TINTS, cell_arrow, count_colours, grid_canvas, number_grid, tint
from lecture_utils.figures.style import FAINT, INK, ORANGE, WIDTH, bare, course_look, to_array
from lecture_utils.segmentation.convolution_matrix import convolution_matrix
from lecture_utils.segmentation.transposed import coverage, stamp

CHOSEN = tint(ORANGE, 0.7)


def kernel_colours(kernel_size: tuple[int, int]) -> np.ndarray:
    """A colour for each entry of a kernel, (kh, kw); they repeat after nine."""
    return np.resize(TINTS, kernel_size)


def entry_colours(kernel_size: tuple[int, int], input_size: tuple[int, int], **options) -> np.ndarray:
    """The cells of the convolution matrix, each in the colour of the kernel entry it holds, "" where it holds none.

    `options` are those of `convolution_matrix`. The transpose of the colours are the colours of Cᵀ.
    """
    # The matrix of a kernel whose entries are their own numbers tells which entry stands where.
    numbers = torch.arange(1.0, 1 + kernel_size[0] * kernel_size[1]).reshape(1, 1, *kernel_size)
    entries = convolution_matrix(numbers, input_size, **options).long().numpy()
    return np.array(["", *kernel_colours(kernel_size).flat])[entries]


@course_look
def matrix_product(
    matrix: ArrayLike,
    image: ArrayLike,
    output_size: tuple[int, int],
    *,
    colours: ArrayLike | None = None,
    names: tuple[str, str] = ("C", "x"),
    width: float = WIDTH,
    title: str = "",
) -> Figure:
    """Draw matrix · column = column, and the result set back into a grid of `output_size`, with every number.

    `image` (h, w) is shown as the column the matrix takes. `colours` are those of the matrix, see `entry_colours`;
    `names` are the letters of matrix and column.
    """
    matrix, image = to_array(matrix), to_array(image)
    if matrix.ndim != 2 or matrix.shape != (np.prod(output_size), image.size):
        raise ValueError(
            f"matrix: got shape {matrix.shape}, expected {(int(np.prod(output_size)), image.size)}, output × image"
        )
    result = matrix @ image.flatten()
    parts = (  # what stands before a grid and the room for it, the grid's title, the grid
        ("", 0.5, f"{names[0]} ({matrix.shape[0]}×{matrix.shape[1]})", matrix),
        ("·", 1.4, names[1], image.reshape(-1, 1)),
        ("=", 1.4, "·".join(names), result.reshape(-1, 1)),
        ("→", 2.6, "reshaped", result.reshape(output_size)),
    )
    rows = max(grid.shape[0] for *_, grid in parts)
    columns = sum(room + grid.shape[1] for _, room, _, grid in parts)
    fig, ax = grid_canvas(columns + 0.8, rows + 1.2, width=width, title=title)
    x, middle = 0.0, 1.0 + rows / 2
    for sign, room, label, grid in parts:
        if sign == "→":
            cell_arrow(ax, (x + 0.5, middle), (x + room - 0.5, middle), colour=FAINT)
        else:
            ax.text(x + room / 2, middle, sign, size=22, ha="center", va="center")
        x += room
        at = (x, middle - grid.shape[0] / 2)
        number_grid(ax, grid, at=at, title=label, colours=colours if grid is matrix else None)
        x += grid.shape[1]
    return fig


@course_look
def matrix_of_places(
    kernel_size: tuple[int, int], input_size: tuple[int, int], *, stride: int = 1, padding: int = 0, title: str = ""
) -> Figure:
    """Draw the places of a kernel on an image with its padding, and beside it C, a row for each place.

    The kernel's colours are shown at the first place; every place has a dot at its upper left corner.
    """
    colours = entry_colours(kernel_size, input_size, stride=stride, padding=padding)
    h, w = input_size
    tops, lefts = (range(-padding, n + padding - k + 1, stride) for n, k in zip(input_size, kernel_size, strict=True))
    fig, (places, matrix) = plt.subplots(1, 2, figsize=(WIDTH, 4.4), width_ratios=(1, 1.6))
    if title:
        fig.suptitle(title)

    bare([places, matrix])
    places.set(xlim=(-2.3, w + 2.3), ylim=(h + 2.3, -2.3), aspect="equal")
    places.add_patch(Rectangle((-padding, -padding), w + 2 * padding, h + 2 * padding, fc="#F2F2F2", ec=FAINT, ls="--"))
    for y, x in product(range(h), range(w)):
        places.add_patch(Rectangle((x, y), 1, 1, fc="white", ec=FAINT, lw=0.8))
    for (i, j), colour in np.ndenumerate(kernel_colours(kernel_size)):
        places.add_patch(Rectangle((j - padding, i - padding), 1, 1, fc=colour, ec=INK, lw=0.8, alpha=0.9))
    corners = np.array([(left + 0.5, top + 0.5) for top, left in product(tops, lefts)])
    places.scatter(*corners.T, s=28, color=INK, zorder=4)
    places.set_title(f"{len(tops)} × {len(lefts)} places")

    image_of_matrix(matrix, colours, block=(len(lefts), w))
    matrix.set_title(f"C: {colours.shape[0]} × {colours.shape[1]}")
    matrix.set_xlabel(f"{h} × {w} input pixels")
    matrix.set_ylabel("a row for each place")
    return fig


def image_of_matrix(ax: Axes, colours: np.ndarray, *, block: tuple[int, int]) -> None:
    """Draw a large coloured matrix without its numbers, and a darker line every `block` of (rows, columns)."""
    fills = np.array([[to_rgb(fill or "white") for fill in row] for row in colours])
    rows, columns = colours.shape
    ax.imshow(fills, extent=(0, columns, rows, 0), interpolation="nearest", aspect="equal")
    thin = 0.6 if rows < 40 else 0.3
    ax.hlines(range(rows + 1), 0, columns, color="#BBBBBB", lw=thin)
    ax.vlines(range(columns + 1), 0, rows, color="#BBBBBB", lw=thin)
    ax.hlines(range(0, rows + 1, block[0]), 0, columns, color=INK, lw=1.0)
    ax.vlines(range(0, columns + 1, block[1]), 0, rows, color=INK, lw=1.0)
    ax.set(xlim=(-0.1, columns + 0.1), ylim=(rows + 0.1, -0.1))


@course_look
def one_to_many(
    values: ArrayLike,
    kernel: ArrayLike,
    *,
    at: tuple[int, int],
    stride: int = 1,
    room: tuple[int, int] = (0, 0),
    title: str = "",
) -> Figure:
    """Draw how one value reaches its places in a transposed convolution: the value, times the kernel, the sum so far.

    The values before `at` (row by row) have been sent already; the cells that this one adds to have the colours of the
    kernel. `room` (rows, columns) is kept for the output at least, so that figures of several strides are of one size.
    """
    values, kernel = to_array(values, float), to_array(kernel, float)
    (h, w), (kh, kw), (i, j) = values.shape, kernel.shape, at
    if not (0 <= i < h and 0 <= j < w):
        raise ValueError(f"at: got {at}, expected a place in {h}×{w} values")
    sent = np.where(np.arange(values.size).reshape(h, w) <= i * w + j, values, 0)
    output = stamp(torch.tensor(sent), torch.tensor(kernel), stride).numpy()
    chosen, reached = np.full(values.shape, "", dtype=object), np.full(output.shape, "", dtype=object)
    chosen[at] = CHOSEN
    reached[i * stride : i * stride + kh, j * stride : j * stride + kw] = kernel_colours((kh, kw))

    rows, columns = np.maximum(output.shape, room)
    fig, ax = grid_canvas(w + kw + columns + 7.0, max(h, kh, rows) + 1.2, title=title)
    x, middle = 0.7, 1.0 + max(h, kh, rows) / 2
    parts = (
        ("times the kernel", "values", values, chosen, w),
        ("add", f"{values[at]:g} · kernel", values[at] * kernel, kernel_colours((kh, kw)), kw),
        ("", "the sum so far", output, reached, columns),
    )
    for arrow, label, grid, colours, wide in parts:
        place = (x + (wide - grid.shape[1]) / 2, middle - grid.shape[0] / 2)
        number_grid(ax, grid, at=place, title=label, colours=colours)
        x += wide
        if arrow:
            cell_arrow(ax, (x + 0.5, middle), (x + 2.3, middle), colour=FAINT)
            ax.text(x + 1.4, middle - 0.2, arrow, size=11, ha="center", va="bottom")
        x += 2.8
    return fig


@course_look
def overlap(kernel_size: int, stride: int, *, values: int = 4, title: str = "") -> Figure:
    """Draw where stamps of a transposed convolution overlap: along one axis, and how many meet on each pixel of both.

    `values` are sent along each axis. After the figures of Odena, Dumoulin and Olah (2016).
    """
    counts = coverage(values, kernel_size, stride=stride).numpy().astype(int)
    size = len(counts)
    fig, (along, both) = plt.subplots(1, 2, figsize=(WIDTH, 4.4), width_ratios=(1.2, 1), layout="none")
    # Fixed margins, because the size of a cell, known only then, decides that of its number.
    fig.subplots_adjust(left=0.01, right=0.99, bottom=0.01, top=0.83 if title else 0.92, wspace=0.05)
    fig.suptitle(title)
    bare([along, both])
    along.set(xlim=(-0.1, size + 0.1), ylim=(values + 1.6, -0.1), aspect="equal", title="along one axis")
    both.set(xlim=(-0.1, size + 0.1), ylim=(size + 0.1, -0.1), aspect="equal", title="on both axes")
    for i in range(values):
        along.add_patch(Rectangle((i * stride, i + 0.1), kernel_size, 0.8, fc=tint(ORANGE, 0.6), ec=INK, lw=0.8))
        along.text(i * stride + kernel_size / 2, i + 0.5, f"value {i + 1}", size=10, ha="center", va="center")
    # The first row of pixels is reached by the first row of values alone: it is one axis.
    number_grid(along, counts[:1], at=(0, values + 0.4), colours=count_colours(counts)[:1])
    number_grid(both, counts, colours=count_colours(counts))
    return fig
