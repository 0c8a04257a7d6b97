"""The figures of notebook 02: pooling windows, the maxima they remember, and feature maps of a network brought back."""

from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

from lecture_utils.figures.attention_maps import attention_bar
from lecture_utils.figures.boxes import fade
from lecture_utils.figures.grids import (
    TINTS,
    cell_arrow,
    count_colours,
    format_number,
    grid_canvas,
    grid_row,
    number_grid,
)
from lecture_utils.figures.overlays import draw_image, name_colours
from lecture_utils.figures.style import BLUE, FAINT, GREEN, INK, VERMILION, WIDTH, course_look, image_axes, to_array
from lecture_utils.segmentation.unpooling import bed_of_nails, max_pool, max_unpool, unpooled_size

EMPTY = "#BBBBBB"  # a value that is exactly 0
LIGHT_TO_DARK = mpl.colors.ListedColormap(mpl.colormaps["YlGnBu"](np.linspace(0.25, 1, 256)), "light to dark")
HERE = "#D9E6F2"  # cells of the step that is shown
OUTCOMES = {"true positive": BLUE, "false positive": VERMILION, "false negative": INK}
REFERENCE = GREEN  # what is looked for
UNUSED = "#AAAAAA"  # a number that goes nowhere


def window_tints(height: int, width: int, window: int = 2) -> np.ndarray:
    """A tint for each cell (height, width), the same for all of one `window` × `window`; "" beyond the last window."""
    rows, columns = np.arange(height) // window, np.arange(width) // window
    number = rows[:, None] * (width // window) + columns
    inside = (rows < height // window)[:, None] & (columns < width // window)
    return np.where(inside, np.array(TINTS)[number % len(TINTS)], "")


@course_look
def remembered_position(x: ArrayLike, small: ArrayLike, window: tuple[int, int], *, kernel_size: int = 2) -> Figure:
    """Follow one window through slide 9: its largest value, its index, the value that is put there.

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
    place = f"row {winner[0]}, column {winner[1]}: index {winner[0]} · {width} + {winner[1]} = {position}"
    largest, given = format_number(pooled[window].item()), format_number(small[window].item())
    words = f"The {largest} stands in {place}. The network's {given} goes there."
    ax.text(columns / 2, height + 1.75, words, size=13, ha="center", va="center")
    return fig


@course_look
def feature_maps(
    maps: Mapping[str, ArrayLike],
    *,
    image: ArrayLike | None = None,
    most: float | None = None,
    frame: tuple[slice, slice] | None = None,
    title: str = "",
    width: float = WIDTH,
) -> Figure:
    """Draw maps (h, w) of values not below 0 beside each other, light to dark, on one scale; exactly 0 is grey.

    `image` (H, W, 3), of any size, stands first, under the name "image". `most` is the end of the scale, by default
    the largest value. `frame` (rows, columns) is a part that is framed in every panel.
    """
    maps = {name: to_array(values) for name, values in maps.items()}
    if not maps or any(values.ndim != 2 or (values < 0).any() for values in maps.values()):
        shapes = {name: values.shape for name, values in maps.items()}
        raise ValueError(f"maps: got {shapes}, expected at least one map (h, w), with no value below 0")
    most = max(values.max() for values in maps.values()) if most is None else most
    colours = LIGHT_TO_DARK.with_extremes(bad=EMPTY)
    fig, axes = image_axes(1, len(maps) + (image is not None), width=width, title=title)
    panels = axes[0]
    if image is not None:
        draw_image(panels[0], image, size=next(iter(maps.values())).shape)
        panels[0].set_title("image")
        panels = panels[1:]
    for ax, (name, values) in zip(panels, maps.items(), strict=True):
        shown = ax.imshow(np.ma.masked_equal(values, 0), cmap=colours, vmin=0, vmax=most, interpolation="nearest")
        ax.set_title(name)
    if frame is not None:
        (top, bottom), (left, right) = ((part.start - 0.5, part.stop - 0.5) for part in frame)
        for ax in axes[0]:
            ax.add_patch(Rectangle((left, top), right - left, bottom - top, fc="none", ec=VERMILION, lw=2))
    fig.set_figheight(0.93 * fig.get_figheight())  # the bar takes from the width
    attention_bar(shown, axes, label="activation (grey: exactly 0)")
    return fig


def marked(image: ArrayLike, colours: Mapping[str, ArrayLike]) -> np.ndarray:
    """An image (h, w, 3) uint8, nearly white, with the pixels of each mask, colour → (h, w), in its colour."""
    image = fade(fade(image))
    for colour, mask in colours.items():
        mask = to_array(mask, bool)
        if mask.shape != image.shape[:2]:
            raise ValueError(f"colours: got a mask {mask.shape}, expected the image's {image.shape[:2]}")
        image[mask] = np.rint(255 * np.array(mpl.colors.to_rgb(colour)))
    return image


@course_look
def outcome_panels(true: ArrayLike, found: Mapping[str, ArrayLike], image: ArrayLike, *, title: str = "") -> Figure:
    """Draw which pixels are strong, `true` (h, w), and how those that each rule finds compare, two panels a row.

    `found` is rule → (h, w); what is found and true is a true positive. `image` (h, w, 3) uint8 lies beneath.
    """
    true = to_array(true, bool)
    panels = {"strong in the feature map": {REFERENCE: true}}
    for rule, here in found.items():
        here = to_array(here, bool)
        panels[rule] = dict(zip(OUTCOMES.values(), (here & true, here & ~true, true & ~here), strict=True))
    fig, axes = image_axes(-(-len(panels) // 2), 2, title=title)
    for ax, (name, colours) in zip(axes.flat, panels.items(), strict=False):
        draw_image(ax, marked(image, colours))
        ax.set_title(name)
    name_colours(fig, {"strong before": REFERENCE, **OUTCOMES})
    return fig


@course_look
def windows_seen(size: int, kernel: int, stride: int) -> Figure:
    """Which pixels of a `size` × `size` map a pooling sees, and the map that unpooling makes without `output_size`.

    The number in a cell is how many windows see it, and in the pooled map the number of the window; what no window
    sees is orange, and nothing else is.
    """
    n = (size - kernel) // stride + 1  # windows along each side
    if n < 1:
        raise ValueError(f"kernel: got {kernel} on {size} pixels, expected one that fits")
    back = unpooled_size((n, n), kernel, stride)[0]
    seen = F.fold(torch.ones(1, kernel**2, n**2), (size, size), kernel, stride=stride)[0, 0].numpy()
    input_, pooled, output = (
        f"input\n{size} × {size}",
        f"pooled\n{n} × {n}",
        f"unpooled, no output_size\n{back} × {back}",
    )
    grids = {input_: seen, pooled: 1 + np.arange(n * n).reshape(n, n), output: seen[:back, :back]}
    colours = {name: np.where(grids[name] == 0, TINTS[4], count_colours(grids[name])) for name in (input_, output)}
    return grid_row(grids, colours=colours, arrows=("max\npooling", "max\nunpooling"), gap=3)


@course_look
def gradient_paths(arriving: ArrayLike, rules: Mapping[str, tuple[ArrayLike, ArrayLike]], *, title: str = "") -> Figure:
    """Draw, for each rule, the gradient that arrives at the output (above) and what reaches the input (below).

    `rules` is name → (the input's gradient (h, w), where the output was copied from an input value (H, W)); cells that
    pass nothing on are white, their numbers grey.
    """
    arriving = to_array(arriving)
    height, width = arriving.shape
    gap = 1.6
    fig, ax = grid_canvas(len(rules) * (width + gap) + 1.4, 2 * height + 2.0, title=title)
    for index, (name, (gradient, used)) in enumerate(rules.items()):
        gradient, used, left = to_array(gradient), to_array(used, bool), 2.4 + index * (width + gap)
        h, w = gradient.shape
        tints = window_tints(height, width, height // h)
        before = len(ax.texts)
        number_grid(ax, arriving, at=(left, 0.9), colours=np.where(used, tints, ""), highlight=used, title=name)
        for text, passes in zip(ax.texts[before:], used.flatten(), strict=False):  # the title comes last
            text.set_color(INK if passes else UNUSED)
        inner, below = left + (width - w) / 2, height + 3.1
        number_grid(ax, gradient, at=(inner, below), colours=window_tints(h, w, 1))
        cell_arrow(ax, (left + width / 2, height + 1.1), (left + width / 2, below - 0.15))
    for y, words in ((0.9 + height / 2, "gradient\nat the\noutput"), (height + 3.1 + h / 2, "gradient\nat the\ninput")):
        ax.text(1.1, y, words, size=12, ha="center", va="center", color=INK)
    return fig


def zero_insertion(x: torch.Tensor, kernel_size: int, stride: int) -> torch.Tensor:
    """Zeros between the values of x (b, c, h, w) and around them: what a kernel slides over, one pixel at a time."""
    behind = kernel_size - stride  # the last nail has stride − 1 zeros behind it already
    return F.pad(bed_of_nails(x, stride), (kernel_size - 1, behind, kernel_size - 1, behind))


@course_look
def fractional_step(x: ArrayLike, kernel: ArrayLike, at: tuple[int, int], *, stride: int = 2) -> Figure:
    """One step of a transposed convolution as zero insertion and a convolution: the kernel, flipped, at one position.

    `x` (h, w) is the input, `kernel` (k, k), `at` the output's (row, column) that is computed; those before it, row by
    row, have their numbers already.
    """
    x, kernel = torch.as_tensor(x).float(), torch.as_tensor(kernel).float()
    k = len(kernel)
    wide = zero_insertion(x[None, None], k, stride)[0, 0]
    flipped = kernel.flip(0, 1)
    output = F.conv2d(wide[None, None], flipped[None, None])[0, 0]
    (row, column), (rows, columns) = at, output.shape
    if not (0 <= row < rows and 0 <= column < columns):
        raise ValueError(f"at: got {at}, expected a position in the output, {rows} × {columns}")
    under = np.zeros(wide.shape, bool)
    under[row : row + k, column : column + k] = True
    number = zero_insertion(1 + torch.arange(x.numel()).view(1, 1, *x.shape).float(), k, stride)[0, 0].long().numpy()
    tints = np.array(["", *np.resize(TINTS[:4], x.numel())])[number]  # of the input's values
    factors, hit = wide[row : row + k, column : column + k], number[row : row + k, column : column + k] > 0
    place = np.arange(rows * columns).reshape(rows, columns) - (row * columns + column)  # 0 is here, below 0 is done

    gap = 2.0
    high, broad = wide.shape
    fig, ax = grid_canvas(broad + k + columns + 2 * gap + 1, high + 2.5, width=7.5)  # 30 CSS pixels a cell
    grids = {
        "zeros inserted": (wide, np.where(under & (tints == ""), HERE, tints), under),
        "flipped kernel": (flipped, np.where(hit, tints[row : row + k, column : column + k], ""), hit),
        "output": (np.where(place <= 0, output, np.nan), np.where(place == 0, HERE, ""), place == 0),
    }
    left = 0.5
    for name, (values, fill, framed) in grids.items():
        top = 1 + (high - values.shape[0]) / 2
        number_grid(ax, values, at=(left, top), colours=fill, highlight=framed, title=name)
        left += values.shape[1] + gap
        if name != "output":
            cell_arrow(ax, (left - gap + 0.2, 1 + high / 2), (left - 0.2, 1 + high / 2), colour=FAINT)
            words = "multiply" if name == "zeros inserted" else "add"
            ax.text(left - gap / 2, 0.85 + high / 2, words, size=12, ha="center", va="bottom", color=INK)
    pairs = [(a, b) for a, b, here in zip(factors.flatten(), flipped.flatten(), hit.flatten(), strict=True) if here]
    total = " + ".join(f"{format_number(a)} · {format_number(b)}" for a, b in pairs) or "zeros only"
    words = f"Output, row {row}, column {column}: {total} = {format_number(output[row, column])}"
    ax.text(ax.get_xlim()[1] / 2, high + 1.75, words, size=14, ha="center", va="center", color=INK)
    return fig
