"""Readers of on-disk formats: Cityscapes pairs, COCO instances and captions, Flickr8k; and where their files come from.

The toy city is exported in the formats of the real data sets, so the real ones go through the same readers.
"""

from lecture_utils.datasets.coco import CocoCaptions, CocoInstances
from lecture_utils.datasets.flickr import Flickr8k
from lecture_utils.datasets.masks import mask_labels, nearest_class
from lecture_utils.datasets.pairs import CityscapesPairs, read_pair, split_pair
from lecture_utils.datasets.reading import read_photo
from lecture_utils.datasets.single_objects import LabelledObjects, ObjectCrops, SingleObjects
from lecture_utils.datasets.source import (
    CLASSIFICATION_SCENES,
    CLASSIFICATION_SIZE,
    CROP_SIZE,
    DETECTION_SCENES,
    DETECTION_SIZE,
    FULL_CROP_SIZE,
    FULL_SCENES,
    FULL_SIZE,
    QUICK_SCENES,
    QUICK_SIZE,
    SINGLE_OBJECT_SCENES,
    city_captions,
    city_instances,
    cityscapes_root,
    kaggle_flickr8k,
    kaggle_pairs,
    toy_city,
)
