"""The figures of notebook 11: matching predictions with objects."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike
from torch import Tensor

from lecture_utils.figures.style import (
    BLUE,
    FAINT,
    GREEN,
    ORANGE,
    VERMILION,
    WIDTH,
    course_look,
    image_axes,
    to_array,
)
from lecture_utils.figures.transformers import DEPTH

SMALL = 0.02  # of an image's area; below that a box is called small
SHAPES = {"small": GREEN, "wide": VERMILION, "tall": BLUE}  # the paper's figure 7 has the same three kinds


@course_look
def cost_matrix(
    cost: Float[Tensor, "queries objects"],
    pairs: tuple[Sequence[int] | Tensor, Sequence[int] | Tensor],
    objects: Sequence[str],
    *,
    title: str = "",
) -> Figure:
    """Draw what each query would cost for each object, the cheaper the darker, and frame the matching.

    `pairs` are the matched queries and their objects, as `hungarian` gives them; `objects` are named. Queries that
    answer     for no object stay without a frame. A row for each object, because there are more queries.
    """
    table = to_array(cost, float).T
    if table.ndim != 2 or len(table) != len(objects) or not table.size:
        raise ValueError(f"cost: got shape {table.T.shape}, expected (queries, {len(objects)}), one column an object")
    rows, columns = table.shape
    fig, ax = plt.subplots(figsize=(WIDTH, 1.3 + 0.42 * rows + (0.3 if title else 0)))
    shades = (table.max() - table) / max(table.max() - table.min(), 1e-12)
    ax.imshow(shades, cmap=DEPTH, vmin=0, vmax=1.6, aspect="auto")  # no darker than dark numbers can be read on
    size = 10 if columns <= 20 else 8
    for (row, column), value in np.ndenumerate(table):
        text = f"{round(value, 1) + 0.0:.1f}".replace("-", "−")  # + 0: no −0.0
        ax.text(column, row, text, ha="center", va="center", size=size)
    for query, thing in zip(*pairs, strict=True):
        ax.add_patch(Rectangle((int(query) - 0.5, int(thing) - 0.5), 1, 1, fill=False, ec=ORANGE, lw=3))
    ax.set_xticks(range(columns), range(columns))
    ax.set_yticks(range(rows), objects)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set(title=title, xlabel="query (framed: matched with this object)")
    return fig


@course_look
def found_by_query(boxes: Sequence[ArrayLike], *, columns: int = 7, title: str = "") -> Figure:
    """Draw for each query the centres of the boxes it gave over many images, coloured by their shape.

    `boxes` are one (n, 4) a query, as (x, y, w, h) in shares of the image, n may be 0. As the paper's figure 7:
    green for small boxes, red for large ones wider than high, blue for the other large ones. Over each panel stand
    the query's number and how many boxes it gave.
    """
    boxes = [to_array(part, float).reshape(-1, 4) for part in boxes]
    if not boxes:
        raise ValueError("boxes: got no query, expected at least one")
    columns = min(columns, len(boxes))
    rows = -(-len(boxes) // columns)
    fig, axes = image_axes(rows, columns, width=WIDTH * max(0.4, columns / 7), title=title)
    fig.set_figheight(fig.get_figheight() + 0.25 * rows + 0.1)
    for query, (ax, part) in enumerate(zip(axes.flat, boxes, strict=False)):
        centres(ax, part)
        ax.set_title(f"{query}: {len(part)}", size=11)
    for ax in axes.flat[len(boxes) :]:
        ax.set_visible(False)
    dots = [plt.Line2D([], [], marker="o", ls="", color=colour, label=kind) for kind, colour in SHAPES.items()]
    fig.legend(handles=dots, loc="outside lower center", ncols=len(dots))
    return fig


def centres(ax: Axes, boxes: ArrayLike, *, size: int | float = 7) -> None:
    """Draw the centres of boxes (n, 4), as (x, y, w, h) in shares of an image, and a frame that is the image.

    `size` is the area of a dot, in square points; colours are those of `found_by_query`.
    """
    x, y, w, h = to_array(boxes, float).reshape(-1, 4).T
    kinds = {"small": w * h < SMALL, "wide": (w * h >= SMALL) & (w >= h), "tall": (w * h >= SMALL) & (w < h)}
    for kind, chosen in kinds.items():
        ax.scatter(x[chosen], y[chosen], s=size, color=SHAPES[kind], linewidths=0, alpha=0.7)
    ax.add_patch(Rectangle((0, 0), 1, 1, fill=False, ec=FAINT, lw=1))
    ax.set(xlim=(-0.02, 1.02), ylim=(1.02, -0.02), aspect="equal")
