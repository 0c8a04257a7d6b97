"""Pictures: overlays, scores and diagrams, in one look."""

from lecture_utils.figures.attention_maps import gallery, over_image, word_strip
from lecture_utils.figures.beit import as_words, bias_by_step, bias_maps, codebook, covered, published
from lecture_utils.figures.boxes import (
    anchors_on,
    class_colour,
    corrected,
    detections,
    draw_boxes,
    pale,
    photograph,
    simplified,
)
from lecture_utils.figures.captions import over_seeds, teacher_forcing, ticked
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
from lecture_utils.figures.proposals import nms_steps, objectness_maps, seconds_an_image
from lecture_utils.figures.roi import roi_cells
from lecture_utils.figures.scores import confusion_map, curves
from lecture_utils.figures.sets import centres, cost_matrix, found_by_query
from lecture_utils.figures.style import picture_axes, show
from lecture_utils.figures.transformers import layers_by_heads, looking_from, patches_apart, reached, word_by_word
from lecture_utils.figures.two_boxes import two_boxes
from lecture_utils.figures.vit import (
    of_the_class_token,
    one_similarity,
    position_similarity,
    seen_in,
    similarity_grid,
)
from lecture_utils.figures.warped_regions import region_answer, warped
from lecture_utils.figures.windows import labelled_so_far, mark, same_colour, window_answer

__all__ = [
    "TINTS",
    "anchors_on",
    "as_words",
    "bias_by_step",
    "bias_maps",
    "boundaries_magnified",
    "cell_arrow",
    "centres",
    "class_colour",
    "class_iou_bars",
    "codebook",
    "compare",
    "confusion_map",
    "corrected",
    "cost_matrix",
    "count_colours",
    "covered",
    "curves",
    "detections",
    "draw_boxes",
    "entry_colours",
    "found_by_query",
    "gallery",
    "grid_canvas",
    "grid_row",
    "kernel_colours",
    "labelled_so_far",
    "layers_by_heads",
    "legend",
    "looking_from",
    "mark",
    "matrix_of_places",
    "matrix_product",
    "nms_steps",
    "number_grid",
    "objectness_maps",
    "of_the_class_token",
    "one_similarity",
    "one_to_many",
    "over_image",
    "over_seeds",
    "overlap",
    "overlay",
    "pale",
    "patches_apart",
    "photograph",
    "picture",
    "picture_axes",
    "position_similarity",
    "published",
    "reached",
    "region_answer",
    "remembered_position",
    "roi_cells",
    "same_colour",
    "seconds_an_image",
    "seen_in",
    "show",
    "similarity_grid",
    "simplified",
    "teacher_forcing",
    "ticked",
    "training_curve",
    "two_boxes",
    "unet_diagram",
    "warped",
    "window_answer",
    "window_tints",
    "word_by_word",
    "word_strip",
]
