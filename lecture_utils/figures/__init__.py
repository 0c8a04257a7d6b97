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
from lecture_utils.figures.grids import TINTS, grid_row, remembered_position, window_tints
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
from lecture_utils.figures.whats_next import clouds, in_rows
from lecture_utils.figures.windows import labelled_so_far, mark, same_colour, window_answer
