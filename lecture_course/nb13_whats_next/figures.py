"""The figures of notebook 13: point clouds and rows of samples."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse
from numpy.typing import ArrayLike
from PIL import Image
from torch import Tensor

from lecture_utils.figures.overlays import draw_image
from lecture_utils.figures.scores import MARKERS
from lecture_utils.figures.style import CYCLE, WIDTH, course_look, to_array

Moments = tuple[ArrayLike, ArrayLike]  # a mean (2,) and a covariance (2, 2)
FORMS = MARKERS + "*Xph<>"  # so that a dozen clusters differ by more than their colour
CONTOUR = 2  # standard deviations


@course_look
def in_rows(
    rows: Mapping[str, UInt8[Tensor, "n 3 h w"]],
    *,
    above: Sequence[str] = (),
    title: str = "",
    width: float = WIDTH,
) -> Figure:
    """Draw a row of images for each name, which stands to its left; `above` are words over the columns.

    They share 64 colours, which the eye hardly notices and the size of a notebook does.
    """
    counts = {name: len(pictures) for name, pictures in rows.items()}
    columns = max(counts.values(), default=0)
    if not columns or min(counts.values()) < columns:
        raise ValueError(f"rows: got {counts} images, expected as many in each row, and at least one")
    if above and len(above) != columns:
        raise ValueError(f"above: got {len(above)} words, expected {columns}, one a column")
    n, _, h, w = next(iter(rows.values())).shape
    gap = max(1, w // 16)
    sheet = np.full((len(rows), h + gap, n, w + gap, 3), 255, np.uint8)
    for line, pictures in zip(sheet, rows.values(), strict=True):
        line[:h, :, :w] = to_array(pictures.permute(2, 0, 3, 1))
    sheet = sheet.reshape(len(rows) * (h + gap), n * (w + gap), 3)[:-gap, :-gap]
    room = 0.25 + 0.1 * max(map(len, rows))  # inches for the names
    height = (width - room) * sheet.shape[0] / sheet.shape[1] + 0.15 + (0.4 if title else 0) + (0.3 if above else 0)
    fig, ax = plt.subplots(figsize=(width, height))  # one image, because many axes take their time
    fig.suptitle(title)
    # Maximum coverage keeps the rare colours, as of traffic lights, which the median cut turns to grey.
    few = Image.fromarray(sheet).quantize(64, Image.Quantize.MAXCOVERAGE, kmeans=3, dither=Image.Dither.NONE)
    draw_image(ax, np.asarray(few.convert("RGB")))
    ax.set_yticks([row * (h + gap) + h / 2 for row in range(len(rows))], rows)
    ax.set_xticks([column * (w + gap) + w / 2 for column in range(len(above))], above)
    ax.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
    return fig


@course_look
def clouds(
    panels: Mapping[str, tuple[ArrayLike, ArrayLike, Sequence[Moments]]],
    *,
    xlabel: str,
    ylabel: str,
    names: Sequence[str] = (),
    title: str = "",
) -> Figure:
    """Draw points in the plane, coloured by cluster, a panel for each name; all panels on the same axes.

    A panel is (points (n, 2), clusters (n,) whole numbers, moments): of each cluster a mean and a covariance, drawn as
    a cross and as the ellipse at 2 standard deviations, or the cross alone where all covariances are 0. `names` are
    those of the clusters, for a legend.
    """
    fig, axes = plt.subplots(1, len(panels), figsize=(WIDTH, 3.6), squeeze=False, sharex=True, sharey=True)
    fig.suptitle(title)
    for ax, (name, (points, clusters, moments)) in zip(axes[0], panels.items(), strict=True):
        points, clusters = to_array(points), to_array(clusters)
        if points.shape != (len(clusters), 2):
            raise ValueError(f"panels[{name!r}]: got points {points.shape}, expected ({len(clusters)}, 2)")
        extent = {cluster: np.ptp(points[clusters == cluster], axis=0).prod() for cluster in np.unique(clusters)}
        for cluster in sorted(extent, key=extent.get, reverse=True):  # the small ones on top
            style = {"color": _colour(cluster), "marker": FORMS[cluster % len(FORMS)]}
            ax.scatter(*points[clusters == cluster].T, s=8, linewidths=0, **style)
        for cluster, (mean, covariance) in enumerate(moments):
            _contour(ax, to_array(mean), to_array(covariance), _colour(cluster))
        ax.set(title=name, xlabel=xlabel)
    axes[0, 0].set_ylabel(ylabel)
    if names:
        handles = [
            ax.scatter([], [], s=30, color=_colour(i), marker=FORMS[i], label=text) for i, text in enumerate(names)
        ]
        fig.legend(handles=handles, loc="outside lower center", ncols=len(names))
    return fig


def _contour(ax: Axes, mean: np.ndarray, covariance: np.ndarray, colour: str) -> None:
    ax.plot(*mean, marker="P", color=colour, markeredgecolor="white", markersize=9, zorder=3)
    spread, axes = np.linalg.eigh(covariance)
    if spread.max() <= 0:
        return
    height, width = 2 * CONTOUR * np.sqrt(spread.clip(0))
    angle = np.degrees(np.arctan2(*axes[::-1, 1]))
    ax.add_patch(Ellipse(mean, width, height, angle=angle, fill=False, edgecolor=colour, linewidth=2.4))


def _colour(cluster: int) -> str:
    return CYCLE[cluster % len(CYCLE)]
