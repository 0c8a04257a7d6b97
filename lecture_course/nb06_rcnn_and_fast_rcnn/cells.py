"""What RoI pooling and RoI align read from a feature map, drawn cell by cell (slide 19)."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from lecture_course.nb06_rcnn_and_fast_rcnn.figures import WIDE
from lecture_utils.detection.roi import pooled_cells, roi_align, roi_pool, sample_points
from lecture_utils.figures.grids import TINTS, cell_arrow, format_number, grid_canvas, number_grid, points_per_unit
from lecture_utils.figures.style import FAINT, INK, VERMILION, course_look

PARTS = TINTS[:4] + TINTS[6:]  # the light ones, on which the box shows
TEXT, RESULT = 14, 1.6  # points of a number; cells that a number takes which a rule has made


@course_look
def roi_cells(
    features: Float[torch.Tensor, "h w"],
    box: Sequence[int | float],
    size: tuple[int, int] = (2, 2),
    *,
    spatial_scale: int | float = 1.0,
    sampling_ratio: int = 2,
    aligned: bool = True,
    title: str = "",
) -> Figure:
    """What RoI pooling and RoI align read from one box of a feature map, and the numbers they make of it.

    Left the cells to which pooling rounds the box, a colour a part, each one's maximum framed; a cell of two parts has
    a mixture of their colours. Right the points where align reads; a number stands for its whole cell, most exactly for
    the middle, and is printed above it only to leave the points free. `box` (x0, y0, x1, y1), framed in orange, is
    in pixels of the image, `size` (height, width) the numbers to make. Made for maps of up to ten cells a side.
    """
    features, region = torch.as_tensor(features, dtype=torch.float32).cpu(), torch.tensor([[0.0, *box]])
    if features.ndim != 2 or 0 in features.shape:
        raise ValueError(f"features: got shape {tuple(features.shape)}, expected (height, width)")
    (height, width), gap, top = features.shape, 2.0, 1.0
    maps, corners = features[None, None], region[:, 1:] * spatial_scale
    made = {
        "RoI pooling": roi_pool(maps, region, size, spatial_scale)[0, 0],
        "RoI align": roi_align(maps, region, size, spatial_scale, sampling_ratio, aligned)[0, 0],
    }
    fig, ax = grid_canvas(2 * width + gap + 1, top + height + size[0] + 1.8, width=WIDE, title=title)
    for (name, values), left in zip(made.items(), (0.5, 0.5 + width + gap), strict=True):
        if name == "RoI pooling":
            colours, maxima = pooled_parts(features, corners, size)
            number_grid(ax, features, at=(left, top), colours=colours, highlight=maxima, title=name)
        else:
            number_grid(ax, torch.full_like(features, torch.nan), at=(left, top), title=name)
            _numbers_at_the_top(ax, features, at=(left, top))
            _points(ax, corners, size, sampling_ratio, aligned, at=(left, top))
        x0, y0, x1, y1 = corners[0].tolist()
        outline = Rectangle((left + x0, top + y0), x1 - x0, y1 - y0, fill=False, ec=VERMILION, lw=2.4, zorder=3.5)
        outline.set_path_effects([withStroke(linewidth=4.4, foreground="white")])
        ax.add_patch(outline)
        middle, below = left + width / 2, top + height
        cell_arrow(ax, (middle, below + 0.2), (middle, below + 1.2))
        _result(ax, values, at=(middle - size[1] * RESULT / 2, below + 1.4))
    return fig


def _result(ax: Axes, values: Float[torch.Tensor, "h w"], *, at: tuple[float, float]) -> None:
    """The numbers that a rule makes, in wider cells, so that those with decimals are as large as the others."""
    for number, ((row, column), value) in enumerate(np.ndenumerate(values.numpy())):
        x, y, colour = at[0] + column * RESULT, at[1] + row, PARTS[number % len(PARTS)]
        ax.add_patch(Rectangle((x, y), RESULT, 1, fc=colour, ec=FAINT, lw=0.8, zorder=2))
        look = {"size": TEXT, "ha": "center", "va": "center_baseline", "color": INK, "zorder": 4}
        ax.text(x + RESULT / 2, y + 0.5, f"{value:.4g}".replace("-", "−"), **look)


def pooled_parts(
    features: Float[torch.Tensor, "h w"], corners: Float[torch.Tensor, "1 4"], size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Each cell's colour, by the parts of RoI pooling that it is in ("" for none), and whether it is one's maximum."""
    (height, width), (x0, y0, x1, y1) = features.shape, corners.T
    rows, columns = pooled_cells(y0, y1, size[0], height)[0], pooled_cells(x0, x1, size[1], width)[0]
    members, maxima = np.empty(features.shape, object), np.zeros(features.shape, bool)
    for part in np.ndindex(*size):
        colour = to_rgb(PARTS[np.ravel_multi_index(part, size) % len(PARTS)])
        cells = [(int(y), int(x)) for y in rows[part[0]].unique() for x in columns[part[1]].unique() if min(y, x) >= 0]
        for cell in cells:
            members[cell] = [*(members[cell] or ()), colour]
        if cells:
            maxima[max(cells, key=lambda cell: features[cell])] = True
    colours = np.array([to_hex(np.mean(cell, axis=0)) if cell else "" for cell in members.flat])
    return colours.reshape(features.shape), maxima


def _numbers_at_the_top(ax: Axes, features: torch.Tensor, *, at: tuple[float, float]) -> None:
    texts = {cell: format_number(float(value)) for cell, value in np.ndenumerate(features.numpy())}
    size = min(TEXT, points_per_unit(ax) * min(0.42, 1.1 / max(map(len, texts.values()))))
    for (row, column), text in texts.items():
        # Before the points, on a white halo, so that none covers a number.
        number = ax.text(at[0] + column + 0.5, at[1] + row + 0.08, text, size=size, ha="center", va="top", zorder=8)
        number.set(color=INK, path_effects=[withStroke(linewidth=2.5, foreground="white")])


def _points(ax: Axes, corners: torch.Tensor, size: tuple[int, int], ratio: int, aligned: bool, *, at) -> None:
    """A point at 2 reads the feature of cell 2, which stands in that cell's middle: half a cell further."""
    x0, y0, x1, y1 = corners.T
    rows = sample_points(y0, y1, size[0], ratio, aligned)[0] + at[1] + 0.5
    columns = sample_points(x0, x1, size[1], ratio, aligned)[0] + at[0] + 0.5
    for row, column in np.ndindex(*size):
        y, x = (grid.flatten() for grid in torch.meshgrid(rows[row], columns[column], indexing="ij"))
        colour = PARTS[(row * size[1] + column) % len(PARTS)]
        ax.scatter(x, y, s=0.022 * points_per_unit(ax) ** 2, c=colour, edgecolors=INK, linewidths=1.2, zorder=7)
