"""What is done alike for every model of a task: its data, its loss for `training.fit`, and its scores."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import nn
from torch.utils.data import Dataset

from lecture_utils.datasets import DETECTION_SCENES, DETECTION_SIZE, QUICK_SCENES, QUICK_SIZE
from lecture_utils.datasets.layouts import CAPTIONS as CAPTION_FILES
from lecture_utils.datasets.layouts import INSTANCES, PAIRS
from lecture_utils.runtime import Runtime
from lecture_utils.tasks.caption_scores import pointing, score_captions
from lecture_utils.tasks.captioning import (
    CITY_WORDS,
    attending_loss,
    caption_data,
    caption_pixels,
    captioning_loss,
    collate_captions,
    grid_encoder,
    hard_attention_loss,
    say_all,
)
from lecture_utils.tasks.classification import (
    CLASSIFICATION_SCENES,
    CLASSIFICATION_SIZE,
    city_resnet,
    classification_data,
    classification_loss,
    name_scores,
    score_names,
)
from lecture_utils.tasks.detection import (
    collate,
    detection_data,
    detection_loss,
    proposal_data,
    score_detection,
    score_proposals,
    selective_search_proposals,
)
from lecture_utils.tasks.generation import (
    CROP_SIZE,
    adversarial_loss,
    diffusion_loss,
    elbo_loss,
    evaluate_samples,
    generate_images,
    object_crop_data,
    reconstruction_loss,
    score_reconstruction,
    score_samples,
)
from lecture_utils.tasks.masked_images import PICTURES, learn_codebook, masked_data, masked_loss, score_masked
from lecture_utils.tasks.photos import MEAN, STD, photo_transforms
from lecture_utils.tasks.segmentation import (
    balanced_loss,
    class_weights,
    score_segmentation,
    segmentation_data,
    segmentation_loss,
)
from lecture_utils.tasks.set_prediction import gridded_data, normalize_targets, score_sets, set_prediction_loss
from lecture_utils.tasks.single_object import (
    SINGLE_OBJECT_SCENES,
    fixed_slots_loss,
    in_slots,
    score_single_object,
    score_slots,
    single_object_data,
    single_object_loss,
    single_object_targets,
)


@dataclass(frozen=True)
class Task:
    """What is done alike for every model of a kind: its data, its loss for `training.fit`, its scores."""

    data: Callable[..., Dataset]  # data(split, root, size=…), with a `preload`
    loss: Callable[[Dataset], Callable]  # made for the training data
    score: Callable[[nn.Module, Dataset, Runtime], dict]
    description: str  # the data, in words for the cards
    collate: Callable[[list], object] | None = None
    prepare: Callable[[nn.Module, Dataset], None] | None = None  # what a new model needs of its data beforehand
    layout: str | None = None  # how a `root` is laid out (`datasets.layouts`); None for what is painted, not read


QUICK = f"{QUICK_SCENES['train']:,} training scenes at {QUICK_SIZE} × {QUICK_SIZE}, read from their JPEG pairs"
COCO = f"{DETECTION_SCENES['train']:,} training scenes at {DETECTION_SIZE} × {DETECTION_SIZE}, read in COCO's layout"

SEGMENTATION = Task(
    segmentation_data,
    balanced_loss,
    score_segmentation,
    description=f"toy city, quick: {QUICK}",
    layout=PAIRS,
)
DETECTION = Task(
    detection_data,
    detection_loss,
    score_detection,
    description=f"toy city: {COCO}",
    collate=collate,
    layout=INSTANCES,
)
SELECTIVE_SEARCH = replace(DETECTION, data=proposal_data)  # the proposals are Selective Search's
PROPOSALS = replace(DETECTION, score=score_proposals)
SINGLE_OBJECT = Task(
    single_object_data,
    single_object_loss,
    score_single_object,
    description=f"toy city: the objects of {SINGLE_OBJECT_SCENES['train']:,} training scenes, one each, at 128 × 128",
    collate=collate,
)
CAPTIONS = Task(
    caption_data,
    captioning_loss,
    score_captions,
    description=f"toy city: {COCO}, five captions each",
    collate=collate_captions,
    layout=CAPTION_FILES,
)
ATTENDING = replace(CAPTIONS, loss=attending_loss)
PIXEL_CAPTIONS = replace(CAPTIONS, data=caption_pixels)  # no CNN: the captioner sees the image itself
CLASSIFICATION = Task(
    classification_data,
    classification_loss,
    score_names,
    description=f"toy city: one labelled object at {CLASSIFICATION_SIZE} × {CLASSIFICATION_SIZE}, from "
    f"{CLASSIFICATION_SCENES['train']:,} training scenes",
)
RECONSTRUCTION = Task(
    object_crop_data,
    reconstruction_loss,
    score_reconstruction,
    description=f"toy city: things of {CLASSIFICATION_SCENES['train']:,} training scenes, "
    f"each in a crop of {CROP_SIZE} × {CROP_SIZE}",
)
VARIATIONAL = replace(RECONSTRUCTION, loss=elbo_loss, score=score_samples)
ADVERSARIAL = replace(VARIATIONAL, loss=adversarial_loss)
DENOISING = replace(VARIATIONAL, loss=diffusion_loss)
MASKED_IMAGES = Task(
    masked_data,
    masked_loss,
    score_masked,
    description=f"toy city: {PICTURES:,} training scenes at {QUICK_SIZE} × {QUICK_SIZE}, without their labels",
    prepare=learn_codebook,
    layout=PAIRS,
)
SETS = Task(
    gridded_data,
    set_prediction_loss,
    score_sets,
    description=f"toy city: {COCO}, as features of faster_rcnn's backbone, and their mirror images",
    collate=collate,
    layout=INSTANCES,
)
SLOTS = replace(DETECTION, loss=fixed_slots_loss, score=score_slots)
