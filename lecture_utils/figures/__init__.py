"""Figures: images, boxes, grids, attention maps, curves and scores, in one look."""

from lecture_utils.figures.attention_maps import attention_bar, overlay_attention, word_strip
from lecture_utils.figures.boxes import (
    class_colour,
    corrected,
    draw_boxes,
    draw_detections,
    fade,
    masked_patches,
)
from lecture_utils.figures.grids import TINTS, count_colours, grid_row
from lecture_utils.figures.overlays import compare, draw_image, legend, overlay, to_pixels, training_curve
from lecture_utils.figures.scores import curves, loss_curves, over_seeds, seconds_per_image, seed_dots
from lecture_utils.figures.style import image_axes, show
from lecture_utils.figures.transformers import draw_attention_from, patches_apart, receptive_field
