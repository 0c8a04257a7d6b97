"""The streets of notebook 06: drawn for a reader, and painted and searched for a network to train on."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import tv_tensors

from lecture_utils import toycity
from lecture_utils.datasets.single_objects import item_of
from lecture_utils.detection.selective_search import selective_search, stored_proposals
from lecture_utils.toycity.export import CATEGORIES

LARGE = 512  # pixels a side


class SearchedStreets(Dataset):
    """The first `scenes` streets of a split that show an object, with Selective Search's proposals, kept in memory.

    Items are those of `ProposalDataset`: `tv_tensors.Image` (3, 128, 128) uint8 and a dict of `boxes` (n, 4), `labels`
    (n,) and `proposals` (m, 4) of the image as it is, stored for the first 128 training streets. `categories` begins
    with "background" at 0.
    """

    categories = ("background", *CATEGORIES)

    def __init__(self, split: str, scenes: int, *, transforms: Callable | None = None):
        self.transforms = transforms
        items = [item_of(toycity.sample_scene(seed)) for seed in toycity.seeds(split, scenes)]
        self.items = [(image, target) for image, target in items if len(target["boxes"])]
        with ThreadPoolExecutor() as pool:  # OpenCV works without Python's lock
            for (_, target), found in zip(
                self.items, pool.map(proposals_of, [image for image, _ in self.items]), strict=True
            ):
                target["proposals"] = found

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[tv_tensors.Image, dict]:
        image, target = self.items[index]
        item = (
            image.clone(),
            {key: value.clone() if isinstance(value, Tensor) else value for key, value in target.items()},
        )
        return item if self.transforms is None else self.transforms(*item)


def proposals_of(image: Tensor) -> tv_tensors.BoundingBoxes:
    """The proposals (n, 4) in an image (3, h, w) of bytes, stored or else searched.

    They are sorted: OpenCV's order is random, a training must not be.
    """
    pixels = image.permute(1, 2, 0).numpy()
    try:
        found = stored_proposals(pixels)
    except ValueError:
        found = selective_search(pixels)
    return tv_tensors.BoundingBoxes(torch.unique(found, dim=0), format="XYXY", canvas_size=tuple(image.shape[1:]))


def val_street(index: int) -> UInt8[np.ndarray, "512 512 3"]:
    """A validation scene as a reader sees it."""
    return toycity.render(_scene(index), LARGE).image


def by_day(index: int) -> bool:
    """Whether it is day in a validation scene."""
    return _scene(index).time == "day"


def _scene(index: int) -> toycity.Scene:
    return toycity.sample_scene(toycity.seeds("val", index + 1)[index])
