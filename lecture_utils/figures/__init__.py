"""Pictures: overlays, scores and diagrams, in one look."""

from lecture_utils.figures.grids import (
    TINTS,
    cell_arrow,
    grid_canvas,
    grid_row,
    number_grid,
    remembered_position,
    window_tints,
)
from lecture_utils.figures.matrices import (
    count_colours,
    entry_colours,
    kernel_colours,
    matrix_of_places,
    matrix_product,
    one_to_many,
    overlap,
)
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
from lecture_utils.figures.scores import confusion_map, curves
from lecture_utils.figures.style import picture_axes, show
from lecture_utils.figures.windows import labelled_so_far, mark, same_colour, window_answer

__all__ = [
    "TINTS",
    "boundaries_magnified",
    "cell_arrow",
    "class_iou_bars",
    "compare",
    "confusion_map",
    "count_colours",
    "curves",
    "entry_colours",
    "grid_canvas",
    "grid_row",
    "kernel_colours",
    "labelled_so_far",
    "legend",
    "mark",
    "matrix_of_places",
    "matrix_product",
    "number_grid",
    "one_to_many",
    "overlap",
    "overlay",
    "picture",
    "picture_axes",
    "remembered_position",
    "same_colour",
    "show",
    "training_curve",
    "unet_diagram",
    "window_answer",
    "window_tints",
]
