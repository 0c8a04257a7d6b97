"""What is done alike for every model of a task: its data, its loss for `training.fit`, its scores; a module a task.

Here are the functions that notebooks call.
"""

from lecture_utils.tasks.caption_dataset import caption_data, caption_pixels, collate_captions, grid_encoder
from lecture_utils.tasks.caption_scores import generate_all
from lecture_utils.tasks.captioning import captioning_loss
from lecture_utils.tasks.classification import classification_data, classification_loss
from lecture_utils.tasks.detection import collate, detection_data, proposal_data
from lecture_utils.tasks.generation import diffusion_loss, evaluate_samples, generate_images, object_crop_data
from lecture_utils.tasks.masked_images import masked_data, masked_loss
from lecture_utils.tasks.photos import MEAN, STD, photo_transforms
from lecture_utils.tasks.segmentation import class_weights, score_segmentation, segmentation_data, segmentation_loss
from lecture_utils.tasks.set_prediction import gridded_data, normalize_targets, set_prediction_loss
from lecture_utils.tasks.single_object import (
    in_slots,
    score_single_object,
    single_object_data,
    single_object_loss,
    single_object_targets,
)
