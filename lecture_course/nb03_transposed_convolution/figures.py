"""The figures of notebook 03: stamps that overlap, kernels as heat maps, and what upsampling leaves in an image."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike
from torch import Tensor

from lecture_course.nb03_transposed_convolution.matrices import kernel_colours
from lecture_course.nb03_transposed_convolution.measurements import to_photo
from lecture_utils.figures.grids import cell_arrow, count_colours, grid_canvas, number_grid, tint
from lecture_utils.figures.overlays import draw_image
from lecture_utils.figures.style import (
    BLUE,
    FAINT,
    INK,
    ORANGE,
    WIDTH,
    bare,
    course_look,
    image_axes,
    to_array,
)
from lecture_utils.segmentation.transposed import coverage, stamp

CHOSEN = tint(ORANGE, 0.7)
BLUE_TINT = tint(BLUE, 0.35)


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
    """Draw how one value reaches its output pixels in a transposed convolution: value, times kernel, the sum so far.

    The values before `at` (row by row) have been sent already; the cells that this one adds to have the colours of the
    kernel. `room` (rows, columns) is kept for the output at least, so that figures of several strides are of one size.
    """
    values, kernel = to_array(values, float), to_array(kernel, float)
    (h, w), (kh, kw), (i, j) = values.shape, kernel.shape, at
    if not (0 <= i < h and 0 <= j < w):
        raise ValueError(f"at: got {at}, expected a position in {h}×{w} values")
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
        corner = (x + (wide - grid.shape[1]) / 2, middle - grid.shape[0] / 2)
        number_grid(ax, grid, at=corner, title=label, colours=colours)
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


@course_look
def zooms(planes: Mapping[str, Tensor], box: tuple[int, int, int, int], *, title: str = "") -> Figure:
    """Draw the same part of several photographs, two a row, each under its name.

    `planes` is name → (3, 1, h, w), see `to_photo`; `box` is top, left, height and width in pixels.
    """
    top, left, height, width = box
    rows = -(-len(planes) // 2)
    fig, axes = image_axes(rows, 2, aspect=width / height, title=title)
    fig.set_figheight(fig.get_figheight() + 0.3 * (rows - 1))
    for ax, (name, photo) in zip(axes.flat, planes.items(), strict=False):
        draw_image(ax, to_photo(photo)[top : top + height, left : left + width])
        ax.set_title(name)
    return fig


def heat_of_kernel(ax: Axes, kernel: ArrayLike, *, across: int, down: int, limit: float = 1.2):
    """Draw a kernel (k, k) in blue (negative), white (0) and red, its weights in hundredths; returns the image.

    The axes are `across` × `down` cells, so that kernels of several sizes have cells of one size. ±`limit` is darkest.
    """
    kernel = to_array(kernel, float)
    size = len(kernel)
    if kernel.shape != (size, size) or size > min(across, down):
        raise ValueError(f"kernel: got shape {kernel.shape}, expected a square of at most {min(across, down)}")
    shown = ax.imshow(kernel, cmap="RdBu_r", vmin=-limit, vmax=limit, extent=(0, size, size, 0))
    for (i, j), weight in np.ndenumerate(kernel):
        text = f"{round(100 * weight)}".replace("-", "−")
        colour = "white" if abs(weight) > 0.65 * limit else INK
        ax.text(j + 0.5, i + 0.5, text, size=10.5, ha="center", va="center", color=colour)
    beside, above = (across - size) / 2 + 0.1, (down - size) / 2 + 0.1
    ax.set(xlim=(-beside, size + beside), ylim=(size + above, -above), aspect="equal")
    bare([ax])
    ax.add_patch(Rectangle((0, 0), size, size, fc="none", ec=FAINT, lw=0.8))
    return shown


@course_look
def kernels_as_heat(kernels: Mapping[str, ArrayLike], *, title: str = "") -> Figure:
    """Draw kernels (k, k), name → weights, three a row, on one scale with its colour bar."""
    sizes = [len(kernel) for kernel in kernels.values()]
    down = [max(sizes[start : start + 3], default=2) for start in range(0, len(sizes) + 1, 3)]
    ratios = [rows + 0.2 for rows in down]
    height = sum(ratios) * WIDTH / 3.2 / max(sizes) + 0.5 * len(down) + 0.5
    fig, axes = plt.subplots(len(down), 3, figsize=(WIDTH, height), height_ratios=ratios)
    fig.suptitle(title)
    bare(axes.flat)
    for number, (ax, (name, kernel)) in enumerate(zip(axes.flat, kernels.items(), strict=False)):
        shown = heat_of_kernel(ax, kernel, across=max(sizes), down=down[number // 3])
        ax.set_title(name)
    bar = axes.flat[len(kernels)].inset_axes((0.1, 0.5, 0.8, 0.08))
    fig.colorbar(shown, cax=bar, orientation="horizontal", label="weight (cells: in hundredths)")
    return fig


@course_look
def kernel_and_photo(kernel: ArrayLike, photo: np.ndarray, *, names: tuple[str, str], title: str = "") -> Figure:
    """Draw a kernel (k, k) as heat and beside it a photograph (h, w, 3) that it enlarged."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(8, 3.6), width_ratios=(1, 1.35))
    fig.suptitle(title)
    heat_of_kernel(left, kernel, across=6, down=6)
    draw_image(right, photo)
    left.set_title(names[0])
    right.set_title(names[1])
    return fig


@course_look
def small_multiples(rows: Mapping[str, Tensor], *, title: str = "") -> Figure:
    """Draw several maps of each row, name → (n, h, w), each divided by its own root mean square, blue below 0."""
    columns = min(len(maps) for maps in rows.values())
    fig, axes = plt.subplots(len(rows), columns, figsize=(WIDTH, 0.9 + 1.75 * len(rows)), squeeze=False)
    fig.suptitle(title)
    bare(axes.flat)
    for panels, (name, maps) in zip(axes, rows.items(), strict=True):
        panels[0].set_ylabel(name, fontsize=12)
        for ax, values in zip(panels, maps.detach(), strict=False):
            scaled = to_array(values / values.square().mean().sqrt(), float)
            shown = ax.imshow(scaled, cmap="RdBu_r", vmin=-2.0, vmax=2.0, interpolation="nearest")
    fig.colorbar(shown, ax=axes, fraction=0.03, pad=0.01, label="value / root mean square")
    return fig


@course_look
def stamps_on_a_line(
    values: int, kernel_size: int, *, stride: int, padding: int, output_paddings: Sequence[int], title: str = ""
) -> Figure:
    """Draw the stamps of a transposed convolution along one axis, and the pixels kept for each output padding.

    A kept pixel is numbered from 1; one that padding cuts off is white. No output padding may exceed `padding`.
    """
    if max(output_paddings) > padding:
        raise ValueError(f"output_paddings: got {tuple(output_paddings)}, expected none above padding, {padding}")
    length = (values - 1) * stride + kernel_size
    fig, ax = grid_canvas(length + 8.6, 3.2 + 1.7 * len(output_paddings), title=title)
    left, levels = 5.4, -(-kernel_size // stride)  # stamps that overlap lie on different levels
    for i in range(values):
        corner = (left + i * stride, 0.2 + 1.0 * (i % levels))
        ax.add_patch(Rectangle(corner, kernel_size, 0.8, fc=tint(ORANGE, 0.6), ec=INK, lw=0.8))
        ax.text(corner[0] + kernel_size / 2, corner[1] + 0.4, f"value {i + 1}", size=11, ha="center", va="center")
    ax.text(left - 0.3, 0.1 + levels / 2, "stamps", size=12, ha="right", va="center")
    for number, extra in enumerate(output_paddings):
        y, kept = 1.2 + levels + 1.7 * number, length - 2 * padding + extra
        for i in range(length):
            inside = padding <= i < padding + kept
            look = {"fc": BLUE_TINT, "ec": INK, "lw": 0.8} if inside else {"fc": "white", "ec": FAINT, "ls": ":"}
            ax.add_patch(Rectangle((left + i, y), 1, 1, **look))
            if inside:
                ax.text(left + i + 0.5, y + 0.5, f"{i - padding + 1}", size=11, ha="center", va="center")
        ax.text(left - 0.3, y + 0.5, f"output padding {extra}", size=12, ha="right", va="center")
        ax.text(left + length + 0.3, y + 0.5, f"{kept} pixels", size=12, ha="left", va="center")
    return fig


def framed(ax: Axes, image: np.ndarray, box: tuple[int, int, int], colour: str = "white", **look) -> None:
    """Draw an image (h, w, 3) or a map (h, w) with a frame around `box`: top, left and side in pixels."""
    top, left, side = box
    ax.imshow(image, interpolation="nearest", **look)
    for line, width in ((INK, 4.5), (colour, 2.0)):
        ax.add_patch(Rectangle((left - 0.5, top - 0.5), side, side, fc="none", ec=line, lw=width))


@course_look
def gradient_panels(
    photo: np.ndarray,
    maps: Mapping[str, ArrayLike],
    groups: Sequence[float],
    *,
    box: tuple[int, int, int],
    title: str = "",
) -> Figure:
    """Draw a photograph (h, w, 3), a part of maps (h, w), and the means of four groups of pixels as numbers.

    `box` is the part: top, left and side; its values are drawn on a square-root scale, each map to its largest.
    `groups` are those of `even_and_odd`: even rows and columns, even and odd, odd and even, odd and odd.
    """
    fig, axes = image_axes(1, 2 + len(maps), title=title)
    (top, left, side), means = box, np.reshape(groups, (2, 2))
    framed(axes[0, 0], photo, box)
    axes[0, 0].set_title("the street")
    for ax, (name, values) in zip(axes[0, 1:], maps.items(), strict=False):
        part = to_array(values, float)[top : top + side, left : left + side]
        ax.imshow(part, cmap="viridis", norm=PowerNorm(0.5, 0, part.max()), interpolation="nearest")
        ax.set_title(name)
    last = axes[0, -1]
    last.imshow(means, cmap="viridis", norm=PowerNorm(0.5, 0, 1.2 * means.max()))
    for (i, j), mean in np.ndenumerate(means):
        last.text(j, i, f"{mean:.2f}", size=14, ha="center", va="center", color="white" if mean < 0.9 else INK)
    last.set(xticks=(0, 1), xticklabels=("even col.", "odd col."), yticks=(0, 1), title="four group means")
    last.set_yticklabels(("even rows", "odd rows"), rotation=90, va="center")
    last.tick_params(length=0)
    return fig


@course_look
def doubled_maps(
    photo: np.ndarray, rows: Sequence[Mapping[str, ArrayLike]], *, box: tuple[int, int, int], title: str = ""
) -> Figure:
    """Draw two rows of maps (h, w), name → map: `box` of each, beside the photograph and the first map of the last row.

    `photo` is (h, w, 3); `box` is top, left and side of the part, framed where the whole is shown. Each map is measured
    from its mean in its own standard deviations, so that all have one scale.
    """
    fig, axes = image_axes(2, 3, title=title)
    top, left, side = box
    look = {"cmap": "RdBu_r", "vmin": -2.0, "vmax": 2.0}
    framed(axes[0, 0], photo, box)
    axes[0, 0].set_title("the street")
    for panels, maps in zip(axes, rows, strict=True):
        for number, (name, values) in enumerate(maps.items()):
            values = to_array(values, float)
            scaled = (values - values.mean()) / values.std()
            if number == 0 and maps is rows[-1]:
                framed(panels[0], scaled, box, **look)
                panels[0].set_title(f"{name}: all of it")
            part = scaled[top : top + side, left : left + side]
            shown = panels[1 + number].imshow(part, interpolation="nearest", **look)
            panels[1 + number].set_title(name)
    fig.colorbar(shown, ax=axes, fraction=0.03, pad=0.01, label="standard deviations from the map's mean")
    return fig
