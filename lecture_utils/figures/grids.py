"""Small matrices as grids of cells with their numbers in them, side by side and joined by arrows (slides 8 to 11)."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle
from numpy.typing import ArrayLike

from lecture_utils.figures.style import (
    BLUE,
    FAINT,
    GREEN,
    INK,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    WIDTH,
    course_look,
    to_array,
)

Number = int | float
LARGEST_TEXT, SMALLEST_TEXT = 16, 6  # points
LARGEST_CELL = 0.62  # inches


def tint(colour: str, share: Number = 0.5) -> str:
    """A colour mixed with white; `share` (0 to 1) is what is left of the colour."""
    red, green, blue = (round(255 * (1 - share * (1 - part))) for part in to_rgb(colour))
    return f"#{red:02x}{green:02x}{blue:02x}"


# Nine fillings for the cells of a 3×3 kernel or of neighbouring windows; lightness differs, not the hue alone.
TINTS = (
    tint(SKY, 0.6), tint(ORANGE, 0.6), tint(GREEN, 0.55), tint(PURPLE, 0.6), tint(VERMILION, 0.85), tint(BLUE, 0.75),
    "#F0E442", tint(FAINT, 0.5), tint(SKY, 0.2),
)  # fmt: skip


@course_look
def grid_canvas(columns: Number, rows: Number, *, width: Number = WIDTH, title: str = "") -> tuple[Figure, Axes]:
    """A figure whose unit is a cell: x runs to the right over `columns` cells, y downwards over `rows`.

    No wider than `width` inches; cells are at most 0.62 inches large.
    """
    cell = min(width / columns, LARGEST_CELL)
    heading = 0.45 if title else 0.0
    size = columns * cell, rows * cell + heading
    fig, ax = plt.subplots(figsize=size, layout="none")
    ax.set_position((0, 0, 1, 1 - heading / size[1]))
    ax.set(xlim=(0, columns), ylim=(rows, 0), aspect="equal")
    ax.axis("off")
    if title:
        fig.suptitle(title, y=1 - 0.1 / size[1], va="top")
    return fig, ax


@course_look
def number_grid(
    ax: Axes,
    values: ArrayLike,
    *,
    at: tuple[Number, Number] = (0.0, 0.0),
    colours: Sequence[Sequence[str]] | np.ndarray | None = None,
    highlight: ArrayLike | None = None,
    title: str = "",
) -> None:
    """Draw a matrix (rows, columns) as cells of size 1 with their numbers, the upper left corner `at` (x, y).

    `ax` is a `grid_canvas`, or any axes whose y runs downwards and whose aspect is equal. `colours` (rows, columns)
    fills the cells, "" or None leaving one white; `highlight` (rows, columns) is True where a cell gets a thick frame
    and a bold number. Zeros in white cells are faint, nan is an empty cell. `title` stands above the grid.
    """
    values = to_array(values)
    if values.ndim != 2 or values.size == 0:
        raise ValueError(f"values: got shape {values.shape}, expected (rows, columns), each at least 1")
    fills = _like(values, "colours", np.full(values.shape, "") if colours is None else colours)
    bold = _like(values, "highlight", np.zeros(values.shape) if highlight is None else highlight).astype(bool)
    texts = [[format_number(value) for value in row] for row in values.tolist()]
    longest = max(len(text) for row in texts for text in row)
    size = min(LARGEST_TEXT, max(SMALLEST_TEXT, points_per_unit(ax) * min(0.45, 1.25 / max(longest, 1))))

    for row, column in np.ndindex(values.shape):
        x, y = at[0] + column, at[1] + row
        fill, framed = fills[row, column] or "white", bold[row, column]
        frame = {"ec": INK, "lw": 2.6, "zorder": 3} if framed else {"ec": FAINT, "lw": 0.8, "zorder": 2}
        ax.add_patch(Rectangle((x, y), 1, 1, fc=fill, **frame))
        faint = values[row, column] == 0 and not fills[row, column] and not framed
        ax.text(
            x + 0.5, y + 0.5, texts[row][column], size=size, ha="center", va="center_baseline", zorder=4,
            color=FAINT if faint else ink_on(fill), weight="bold" if framed else "normal",
        )  # fmt: skip
    if title:
        ax.text(at[0] + values.shape[1] / 2, at[1] - 0.2, title, size=13, ha="center", va="bottom", color=INK)


@course_look
def cell_arrow(
    ax: Axes, start: tuple[Number, Number], end: tuple[Number, Number], *, colour: str = INK, bend: Number = 0.0
):
    """An arrow from (x, y) to (x, y), in cells; `bend` curves it (0.3: clearly)."""
    style = {"arrowstyle": "-|>,head_length=6,head_width=3.5", "connectionstyle": f"arc3,rad={bend}"}
    ax.add_patch(FancyArrowPatch(start, end, color=colour, lw=2, shrinkA=0, shrinkB=0, zorder=5, **style))


@course_look
def grid_row(
    grids: Mapping[str, ArrayLike],
    *,
    colours: Mapping[str, ArrayLike] | None = None,
    highlight: Mapping[str, ArrayLike] | None = None,
    arrows: Sequence[str] = (),
    gap: Number = 2.0,
    title: str = "",
) -> Figure:
    """Draw matrices beside each other, each under its name, all cells of one size; `arrows` are the words between them.

    `colours` and `highlight` are name → what `number_grid` takes. `gap` is in cells. With `arrows`, one for each gap:
    an empty text leaves the gap empty.
    """
    matrices = {name: to_array(values) for name, values in grids.items()}
    if not matrices:
        raise ValueError("grids: got no matrix, expected at least one")
    if flat := [name for name, values in matrices.items() if values.ndim != 2]:
        raise ValueError(f"grids: got shape {matrices[flat[0]].shape} of {flat[0]!r}, expected (rows, columns)")
    if arrows and len(arrows) != len(matrices) - 1:
        raise ValueError(f"arrows: got {len(arrows)}, expected {len(matrices) - 1}, one between two grids")
    for argument, given in (("colours", colours), ("highlight", highlight)):
        if strangers := set(given or ()) - set(matrices):
            raise ValueError(f"{argument}: got {sorted(strangers)}, expected names among {list(matrices)}")
    rows = max(values.shape[0] for values in matrices.values())
    heading = 0.4 + 0.5 * max(1 + name.count("\n") for name in matrices)
    # The first and the last name may be wider than their grids; a letter takes about a fifth of a cell.
    left, right = (
        max(0.5, 0.5 + (0.2 * max(map(len, name.split("\n"))) - matrices[name].shape[1]) / 2)
        for name in (next(iter(matrices)), next(reversed(matrices)))
    )
    columns = left + sum(values.shape[1] + gap for values in matrices.values()) - gap + right
    fig, ax = grid_canvas(columns, rows + heading + 0.2, title=title)
    x = left
    for index, (name, values) in enumerate(matrices.items()):
        at = x, heading + (rows - values.shape[0]) / 2
        number_grid(
            ax, values, at=at, title=name, colours=(colours or {}).get(name), highlight=(highlight or {}).get(name)
        )
        x += values.shape[1]
        if index < len(arrows) and arrows[index]:
            y = heading + rows / 2
            cell_arrow(ax, (x + 0.2, y), (x + gap - 0.2, y), colour=FAINT)
            ax.text(x + gap / 2, y - 0.15, arrows[index], size=12, ha="center", va="bottom", color=INK)
        x += gap
    return fig


def format_number(value: Number) -> str:
    """A number as short as a cell wants it: whole, or with at most three digits; nan is empty."""
    value = float(value)
    if np.isnan(value):
        return ""
    if np.isinf(value):
        return "∞" if value > 0 else "−∞"
    text = str(int(value)) if value.is_integer() else f"{value:.3g}"
    return text.replace("-", "−")


def ink_on(fill: str) -> str:
    """Dark or white, whichever is easier to read on this colour."""
    red, green, blue = (part**2.2 for part in to_rgb(fill))  # the screen's brightness, nearly as WCAG 2 defines it
    return INK if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.213 else "white"


def points_per_unit(ax: Axes) -> float:
    """How many points (1/72 inch) a cell, or a pixel of an image, is wide on these axes."""
    ax.apply_aspect()
    (x0, _), (x1, _) = ax.transData.transform([(0, 0), (1, 0)])
    return abs(x1 - x0) * 72 / ax.figure.dpi


def _like(values: np.ndarray, argument: str, given: ArrayLike) -> np.ndarray:
    given = to_array(given)
    if given.shape != values.shape:
        raise ValueError(f"{argument}: got shape {given.shape}, expected {values.shape}, one for each value")
    return given


def count_colours(counts: ArrayLike) -> np.ndarray:
    """A shade of blue for each whole number: the darker the larger, "" for 0. The darkest is the largest, or 4."""
    counts = to_array(counts, int)
    most = max(4, counts.max())  # so that few are not dark where there are no more
    return np.array(["", *(tint(BLUE, 0.12 + 0.78 * n / most) for n in range(1, most + 1))])[counts]
