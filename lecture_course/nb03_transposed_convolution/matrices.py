"""Convolution as a matrix product, drawn: notebook 03's matrices in the colours of the kernel's entries."""

from itertools import product

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

from lecture_utils.figures.grids import TINTS, cell_arrow, grid_canvas, number_grid, tint
from lecture_utils.figures.style import (
    FAINT,
    INK,
    WIDTH,
    bare,
    course_look,
    to_array,
)
from lecture_utils.segmentation.convolution_matrix import convolution_matrix


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
def row_at_work(kernel: ArrayLike, image: ArrayLike, at: tuple[int, int], *, title: str = "") -> Figure:
    """Draw C · x while one row of C computes the output pixel `at`, and the same as a kernel on the image.

    `kernel` (kh, kw), `image` (h, w). The row has the kernel's colours, and so have the pixels it reads, in the column
    x and in the image; output pixels that come later (row by row) are empty.
    """
    kernel, image = to_array(kernel, float), to_array(image, float)
    c = convolution_matrix(torch.tensor(kernel)[None, None], image.shape).numpy()
    (h, w), (kh, kw), (i, j) = image.shape, kernel.shape, at
    down, wide = h - kh + 1, w - kw + 1
    if not (0 <= i < down and 0 <= j < wide):
        raise ValueError(f"at: got {at}, expected a position in the {down}×{wide} output")
    now, tints = i * wide + j, kernel_colours((kh, kw))
    cells = entry_colours((kh, kw), (h, w))
    faded = np.array([[fill and tint(fill, 0.25) for fill in row] for row in cells], dtype=object)
    faded[now] = cells[now]
    reads = cells[now].reshape(h, w)
    outputs = np.where(np.arange(down * wide) <= now, c @ image.flatten(), np.nan)
    current = np.arange(down * wide) == now

    fig, ax = grid_canvas(h * w + 6.9, h * w + 1.4, title=title)
    number_grid(ax, c, at=(0.2, 1), title=f"C ({down * wide}×{h * w})", colours=faded)
    x, middle = 0.2 + h * w, 1 + down * wide / 2
    for sign, name, grid, colours, framed in (
        ("·", "x", image.reshape(-1, 1), reads.reshape(-1, 1), None),
        ("=", "C·x", outputs[:, None], None, current[:, None]),
    ):
        ax.text(x + 0.75, middle, sign, size=20, ha="center", va="center")
        number_grid(ax, grid, at=(x + 1.5, 1), title=name, colours=colours, highlight=framed)
        x += 2.5
    window = image[i : i + kh, j : j + kw]
    terms = [f"{weight:g}·{pixel:g}" for weight, pixel in zip(kernel.flat, window.flat, strict=True)]
    ax.text(0.2, 2.2 + down * wide, " + ".join(terms) + f" = {outputs[now]:g}", size=12.5, ha="left", va="center")
    y = 4.6 + down * wide
    number_grid(ax, kernel, at=(0.2, y + (h - kh) / 2), title="kernel", colours=tints)
    number_grid(ax, image, at=(kw + 1.7, y), title="x as an image", colours=reads)
    start = kw + w + 2.1
    cell_arrow(ax, (start, y + h / 2), (start + 2, y + h / 2), colour=FAINT)
    output, framed = outputs.reshape(down, wide), current.reshape(down, wide)
    number_grid(ax, output, at=(start + 2.6, y + (h - down) / 2), title="output", highlight=framed)
    return fig


@course_look
def kernel_positions(
    kernel_size: tuple[int, int], input_size: tuple[int, int], *, stride: int = 1, padding: int = 0, title: str = ""
) -> Figure:
    """Draw the positions of a kernel on an image with its padding, and beside it C, a row for each position.

    The kernel's colours are shown at its first position; every position has a ring in its upper left cell. There is
    room for h · w rows of C, those of a convolution that keeps the size: fewer rows are drawn up to twice as high, in
    the middle, and the columns are equally wide whatever the stride.
    """
    colours = entry_colours(kernel_size, input_size, stride=stride, padding=padding)
    h, w = input_size
    tops, lefts = (range(-padding, n + padding - k + 1, stride) for n, k in zip(input_size, kernel_size, strict=True))
    fig, (image, matrix) = plt.subplots(1, 2, figsize=(WIDTH, 4.95), width_ratios=(1, 1.25))
    margin = max(padding, 1) + 0.1
    if title:
        fig.suptitle(title)

    bare([image, matrix])
    image.set(xlim=(-margin, w + margin), ylim=(h + margin, -margin), aspect="equal")
    image.add_patch(Rectangle((-padding, -padding), w + 2 * padding, h + 2 * padding, fc="#F2F2F2", ec=FAINT, ls="--"))
    for y, x in product(range(h), range(w)):
        image.add_patch(Rectangle((x, y), 1, 1, fc="white", ec=FAINT, lw=0.8))
    for (i, j), colour in np.ndenumerate(kernel_colours(kernel_size)):
        image.add_patch(Rectangle((j - padding, i - padding), 1, 1, fc=colour, ec=INK, lw=0.8, alpha=0.9))
    corners = np.array([(left + 0.5, top + 0.5) for top, left in product(tops, lefts)])
    image.scatter(*corners.T, s=60, facecolor="white", edgecolor=INK, linewidth=1.6, zorder=4)
    image.set_title(f"input {h} × {w}, output {len(tops)} × {len(lefts)}")

    rows, room = colours.shape[0], max(h * w, colours.shape[0])
    tall = min(2.0, room / rows)
    image_of_matrix(matrix, colours, block=(len(lefts), w), tall=tall)
    spare = (room - rows * tall) / 2
    matrix.set_ylim(room - spare + 0.1, -spare - 0.1)
    matrix.set_title(f"C: {rows} × {h * w}, a row for each output pixel", y=1 - spare / (room + 0.2))
    return fig


def image_of_matrix(ax: Axes, colours: np.ndarray, *, block: tuple[int, int], tall: float = 1.0) -> None:
    """Draw a large coloured matrix without its numbers, and a darker line every `block` of (rows, columns).

    A cell is 1 wide and `tall` high.
    """
    fills = np.array([[to_rgb(fill or "white") for fill in row] for row in colours])
    rows, columns = colours.shape
    ax.imshow(fills, extent=(0, columns, rows * tall, 0), interpolation="nearest", aspect="equal")
    thin = 0.6 if rows < 40 else 0.3
    heights, high = np.arange(rows + 1) * tall, rows * tall
    ax.hlines(heights, 0, columns, color="#BBBBBB", lw=thin)
    ax.vlines(range(columns + 1), 0, high, color="#BBBBBB", lw=thin)
    ax.hlines(heights[:: block[0]], 0, columns, color=INK, lw=1.0)
    ax.vlines(range(0, columns + 1, block[1]), 0, high, color=INK, lw=1.0)
    ax.set(xlim=(-0.1, columns + 0.1), ylim=(high + 0.1, -0.1))
