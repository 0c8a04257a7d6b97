"""Pictures: overlays, scores and diagrams, in one look."""

from lecture_utils.figures.grids import TINTS, cell_arrow, grid_canvas, grid_row, number_grid
from lecture_utils.figures.network import unet_diagram
from lecture_utils.figures.overlays import (
    boundaries_magnified,
    class_iou_bars,
    compare,
    legend,
    overlay,
    picture,
    training_curve,
)
from lecture_utils.figures.style import picture_axes, show

__all__ = [
    "TINTS",
    "boundaries_magnified",
    "cell_arrow",
    "class_iou_bars",
    "compare",
    "grid_canvas",
    "grid_row",
    "legend",
    "number_grid",
    "overlay",
    "picture",
    "picture_axes",
    "show",
    "training_curve",
    "unet_diagram",
]
