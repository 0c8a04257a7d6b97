"""The figures of notebook 11: matching predictions with objects, what NMS gains, what each query finds."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from jaxtyping import Float, UInt8
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.typing import ColorType
from numpy.typing import ArrayLike
from torch import Tensor

from lecture_course.nb05_from_one_box_to_many.figures import SLOTS
from lecture_utils.detection.boxes import box_iou, generalized_box_iou
from lecture_utils.figures.boxes import TRUTH, class_colour, draw_boxes, fade
from lecture_utils.figures.grids import ink_on
from lecture_utils.figures.overlays import draw_image, name_colours
from lecture_utils.figures.scores import curves
from lecture_utils.figures.style import (
    BLUE,
    FAINT,
    INK,
    ORANGE,
    SKY,
    VERMILION,
    WIDTH,
    bare,
    course_look,
    image_axes,
    to_array,
)
from lecture_utils.figures.transformers import DEPTH
from lecture_utils.toycity import Scene, render

WIDE = 10.8  # inches of twenty panels
STREET = 128  # pixels a side of the streets that the detectors see


@course_look
def cost_matrix(
    cost: Float[Tensor, "queries objects"],
    pairs: tuple[Sequence[int] | Tensor, Sequence[int] | Tensor],
    objects: Sequence[str],
    *,
    title: str = "",
) -> Figure:
    """Draw what each query would cost for each object, the cheaper the darker, most of all the cheap ones; frame pairs.

    `pairs` are the matched queries and their objects, as `hungarian` gives them; `objects` are named. Queries
    that are matched with none have no frame. A row for each object, because there are more queries.
    """
    table = to_array(cost, float).T
    if table.ndim != 2 or len(table) != len(objects) or not table.size:
        raise ValueError(f"cost: got shape {table.T.shape}, expected (queries, {len(objects)}), one column an object")
    rows, columns = table.shape
    fig, ax = plt.subplots(figsize=(WIDTH, 1.3 + 0.42 * rows + (0.3 if title else 0)))
    shades = ((table.max() - table) / max(table.max() - table.min(), 1e-12)) ** 3
    ax.imshow(shades, cmap=DEPTH, vmin=0, vmax=1, aspect="auto")
    size = 10 if columns <= 20 else 8
    for (row, column), value in np.ndenumerate(table):
        text = f"{round(value, 1) + 0.0:.1f}".replace("-", "−")  # + 0: no −0.0
        ink = ink_on(to_hex(DEPTH(shades[row, column])))
        ax.text(column, row, text, ha="center", va="center", size=size, color=ink)
    for query, one in zip(*pairs, strict=True):
        ax.add_patch(Rectangle((int(query) - 0.5, int(one) - 0.5), 1, 1, fill=False, ec=ORANGE, lw=3))
    ax.set_xticks(range(columns), range(columns))
    ax.set_yticks(range(rows), objects)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set(title=title, xlabel="query (framed: matched with this object)")
    return fig


@course_look
def by_object(
    scene: Scene,
    truth: Float[Tensor, "objects 4"],
    found: Mapping[str, Float[Tensor, "n 4"]],
    names: Sequence[str],
    *,
    enlarged: Sequence[int],
) -> tuple[Figure, dict[str, list[int]]]:
    """Draw a street with named objects and the boxes of the first of `found`; beside it some objects `enlarged`.

    A column for each name of `found`, each box in the colour of the object that it overlaps most; all boxes are for
    128 × 128 pixels. Beside the figure, how many boxes each object has: name → number by object.
    """
    nearest = {name: box_iou(boxes, truth).argmax(1).tolist() for name, boxes in found.items()}
    counts = {name: [each.count(k) for k in range(len(truth))] for name, each in nearest.items()}
    image, (first, *_) = render(scene, 512).image, found
    fig = plt.figure(figsize=(WIDE, 5.6))
    grid = fig.add_gridspec(len(enlarged), 1 + len(found), width_ratios=(2, *[1] * len(found)))
    panels = [(fig.add_subplot(grid[:, 0]), first, None)]
    panels += [
        (fig.add_subplot(grid[row, column]), name, k)
        for row, k in enumerate(enlarged)
        for column, name in enumerate(found, 1)
    ]
    bare(ax for ax, *_ in panels)
    for ax, name, only in panels:
        draw_image(ax, image, size=(STREET, STREET))
        if only is None:
            draw_boxes(ax, truth, names=names, colours=TRUTH)
        for box, k in zip(found[name].tolist(), nearest[name], strict=True):
            if only in (None, k):
                ax.add_patch(frame(box, SLOTS[k % len(SLOTS)]))
        number = len(found[name]) if only is None else counts[name][only]
        who = "" if only is None else f"{names[only]}, "
        ax.set_title(f"{who}{name}: {number} box{'es' * (number != 1)}", size=12)
        if only is not None:
            half = 0.7 * (truth[only, 2:] - truth[only, :2]).max().item()
            x, y = (truth[only, :2] + truth[only, 2:]).div(2).clamp(half, STREET - half).tolist()
            ax.set(xlim=(x - half - 0.5, x + half - 0.5), ylim=(y + half - 0.5, y - half - 0.5))
    return fig, counts


def frame(box: Sequence[float], colour: ColorType) -> Rectangle:
    """The outline of a box in pixels, so thin that many can be told apart."""
    x0, y0, x1, y1 = box
    return Rectangle((x0 - 0.5, y0 - 0.5), x1 - x0, y1 - y0, fill=False, ec=colour, lw=1.2, zorder=3)


@course_look
def found_by_query(
    boxes: Sequence[ArrayLike],
    classes: Sequence[ArrayLike],
    names: Sequence[str],
    street: UInt8[np.ndarray, "H W 3"],
    *,
    columns: int = 5,
    title: str = "",
) -> Figure:
    """Draw for each query the centres of the boxes it gave over many images, in the colours of their classes.

    `boxes` are one (n, 4) a query, as normalized (x, y, w, h), n may be 0; `classes` (n,) are numbers into `names`, of
    which number 0 is no object; `street` lies faintly behind them. The larger the box, the larger the dot. Over each
    panel stand the query's number and how many boxes it gave.
    """
    boxes = [to_array(part, float).reshape(-1, 4) for part in boxes]
    classes = [to_array(part, int).reshape(-1) for part in classes]
    if not boxes or [len(part) for part in boxes] != [len(part) for part in classes]:
        raise ValueError(
            f"boxes, classes: got {len(boxes)}, {len(classes)} queries, expected one or more, a class a box"
        )
    columns = min(columns, len(boxes))
    rows = -(-len(boxes) // columns)
    fig, axes = image_axes(rows, columns, width=WIDE * max(0.4, columns / 5), title=title)
    fig.set_figheight(fig.get_figheight() + 0.25 * rows + 0.1)
    for query, (ax, part, labels) in enumerate(zip(axes.flat, boxes, classes, strict=False)):
        ax.imshow(fade(street), extent=(0, 1, 1, 0), interpolation="antialiased", alpha=0.55)
        x, y, w, h = part.T
        colours = [class_colour(label) for label in labels]
        ax.scatter(x, y, s=14 + 400 * w * h, color=colours, ec=INK, linewidths=0.4)
        ax.set(xlim=(0, 1), ylim=(1, 0), aspect="equal")
        ax.set_title(f"query {query}: {len(part)}", size=12)
    for ax in axes.flat[len(boxes) :]:
        ax.set_visible(False)
    name_colours(fig, {name: class_colour(k) for k, name in enumerate(names) if k})
    return fig


@course_look
def matching_changes(steps: Sequence[int], panels: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """Draw which share of the objects has another query than at the step before; `panels` are title → name → shares."""
    ticks = [step if step % 50 == 0 else "" for step in steps]
    fig = curves(steps, panels, xlabel="training step", ticks=ticks, limits=dict.fromkeys(panels, (-0.03, 0.9)))
    fig.suptitle("Share of the objects with another query than ten steps before")
    for ax in fig.axes:
        ax.set(title=ax.get_ylabel(), ylabel="")
    return fig


@course_look
def sliding_box(shown: Sequence[float], away: Sequence[float], *, title: str = "") -> Figure:
    """Draw a box that slides away from an equal one, with the smallest box around both, and below IoU and GIoU.

    `shown` are the positions that are drawn, in widths of the box, `away` those of the curves. One scale for all.
    """
    fig = plt.figure(figsize=(WIDTH, 5.6))
    fig.suptitle(title)
    above, below = fig.subfigures(2, 1, height_ratios=(1, 1.9))
    sketches = above.subplots(1, len(shown), width_ratios=[1.4 + x for x in shown])
    fixed = torch.tensor([[0.0, 0, 1, 1]])
    for ax, x in zip(np.atleast_1d(sketches), shown, strict=True):
        moved = fixed + torch.tensor([x, 0, x, 0])
        iou, giou = box_iou(fixed, moved).item(), generalized_box_iou(fixed, moved).item()
        look = {"ec": FAINT, "ls": "--", "lw": 1.5, "zorder": 1}
        ax.add_patch(Rectangle((0, 0), 1 + x, 1, fc="#EEEEEE", hatch="///", **look))
        for left, colour in ((0, INK), (x, ORANGE)):
            ax.add_patch(Rectangle((left, 0), 1, 1, fc="white", ec="none", zorder=1.1))
            ax.add_patch(Rectangle((left, 0), 1, 1, fill=False, ec=colour, lw=2.5, zorder=3))
        if x < 1:
            ax.add_patch(Rectangle((x, 0), 1 - x, 1, fc=SKY, ec="none", alpha=0.6, zorder=2))
        ax.set(xlim=(-0.2, 1.2 + x), ylim=(1.12, -0.12), aspect="equal")
        ax.set_title(f"IoU {iou:.2f}\nGIoU {giou:.2f}".replace("-", "−"), size=11)
        ax.axis("off")
    ax, moved = below.subplots(), fixed + torch.tensor(list(away))[:, None] * torch.tensor([1.0, 0, 1, 0])
    for name, values, colour, dashes in (
        ("IoU", box_iou(moved, fixed), BLUE, "-"),
        ("GIoU", generalized_box_iou(moved, fixed), VERMILION, "--"),
    ):
        ax.plot(away, values[:, 0].tolist(), color=colour, ls=dashes, label=name)
    ax.plot(shown, [0] * len(shown), "|", color=FAINT, ms=12, label="drawn above")
    ax.set(xlabel="slid away, in widths of the box", ylim=(-1, 1.05))
    ax.grid()
    ax.legend()
    return fig


@course_look
def precision_recall(
    lines: Mapping[str, tuple[Tensor, Tensor, Tensor]], marked: Sequence[float], *, title: str = ""
) -> Figure:
    """Draw precision over recall, a line for each name → (scores, recalls, precisions), and mark some scores."""
    fig, ax = plt.subplots(figsize=(8, 4.4))
    for (name, parts), colour, dashes, marker in zip(lines.items(), (BLUE, VERMILION), ("-", "--"), "os", strict=True):
        scores, recall, precision = map(to_array, parts)
        ax.plot(recall, precision, color=colour, ls=dashes, label=name)
        for least in marked:
            last = (scores >= least).sum() - 1
            ax.plot(recall[last], precision[last], marker, color=colour, ms=8)
            down = name != next(iter(lines))
            ax.annotate(
                f"{least:g}", (recall[last], precision[last]), (-8, -14) if not down else (8, 5), color=colour,
                textcoords="offset points", size=11, ha="right" if not down else "left",
            )  # fmt: skip
    ax.set(xlabel="recall", ylabel="precision", title=title, xlim=(0.6, 0.96), ylim=(0.5, 1.01))
    ax.grid()
    ax.legend(loc="lower left", title="marked: boxes with at least this score")
    return fig


@course_look
def scores(columns: Mapping[str, Mapping[str, float]], *, title: str = "") -> Figure:
    """Draw scores as dots, a line for each: model → name of the score → value from 0 to 1. Of two equal ones one number
    is written."""
    names = list(next(iter(columns.values())))
    fig, ax = plt.subplots(figsize=(8, 1.3 + 0.36 * len(names)))
    looks = ({"s": 110, "fc": "none", "ec": VERMILION, "lw": 2.5, "marker": "o"}, {"s": 55, "fc": BLUE, "marker": "s"})
    for (model, values), look in zip(columns.items(), looks, strict=True):
        ax.scatter(values.values(), range(len(names)), label=model, zorder=3, **look)
    for row, name in enumerate(names):
        both = sorted({values[name] for values in columns.values()})
        for value, at in zip(both, (-1, 1), strict=False):
            text, side = f"{value:.3f}", "right" if at < 0 else "left"
            ax.annotate(text, (value, row), (12 * at, 0), va="center", ha=side, size=11, textcoords="offset points")
    ax.set_yticks(range(len(names)), names)
    ax.tick_params(axis="y", length=0)
    ax.set(xlim=(0, 0.8), ylim=(len(names) - 0.5, -0.5), title=title)
    ax.grid(axis="x")
    fig.legend(loc="outside lower center", ncols=2)
    return fig


@course_look
def gains(
    layers: Sequence[int], panels: Mapping[str, Sequence[tuple[float, float, float]]], *, title: str = ""
) -> Figure:
    """Draw what NMS gains after each layer, with a bar over the middle 95 % of the bootstrap, a panel for each score.

    `panels` are name → for each layer the gain and the ends of its interval, two panels a row.
    """
    lines = -(-len(panels) // 2)
    fig, axes = plt.subplots(lines, 2, figsize=(8, 0.7 + 2.1 * lines), squeeze=False, sharex=True)
    fig.suptitle(title)
    for ax, (name, rows) in zip(axes.flat, panels.items(), strict=False):
        middle, low, high = np.array(rows).T
        ax.errorbar(layers, middle, [middle - low, high - middle], fmt="o", color=BLUE, ms=8, capsize=6)
        ax.axhline(0, color=INK, lw=1.5)
        ax.set(title=name, xlim=(min(layers) - 0.5, max(layers) + 0.5))
        bottom, top = min(0, low.min()), max(0, high.max())
        ax.set_ylim(bottom - 0.1 * (top - bottom) * (bottom < 0), top + 0.1 * (top - bottom))
        ax.set_xticks(layers)
        ax.grid(axis="y")
    for ax in axes[-1]:
        ax.set_xlabel("after decoder layer")
    return fig
