"""The windows on streets that ViT and ResNet learn from, as they are shown: the same scenes, painted larger."""

from collections.abc import Mapping, Sequence
from itertools import islice
from random import Random

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, UInt8
from PIL import Image
from torch import Tensor

from lecture_utils import toycity
from lecture_utils.datasets import CLASSIFICATION_SIZE, LabelledObjects
from lecture_utils.datasets.single_objects import STREET, single_object_scenes

FINER, SHOWN = 4, 384  # a street is painted so many times larger; pixels a side of a window as it is shown
BRIGHT = 110  # of 255: the mean of a window by daylight
KINDS = ("car", "person", "sign", "traffic light")
NAMES = tuple(name.removeprefix("a ").removeprefix("person in a ") for name in LabelledObjects.classes)  # "red coat"


def windows(split: str, scenes: int, numbers: Sequence[int]) -> dict[int, UInt8[np.ndarray, "h w 3"]]:
    """The images of `LabelledObjects(split, scenes)` with these numbers, 384 pixels a side in place of 48.

    ValueError for a number that the data set has not.
    """
    found = _of_each_object(split, scenes, set(numbers))
    if missing := set(numbers) - set(found):
        raise ValueError(
            f"numbers: got {sorted(missing)}, expected those of images of the first {scenes} {split} scenes"
        )
    return {number: found[number] for number in numbers}


def _of_each_object(split: str, scenes: int, wanted: set[int]) -> dict[int, UInt8[np.ndarray, "h w 3"]]:
    """The same, as far as there are any: the data set counts the scenes whose object can be seen."""
    visible = (
        (scene, obj) for scene in single_object_scenes(split, scenes) for obj in toycity.render(scene, STREET).objects
    )
    found = {}
    for number, (scene, obj) in enumerate(islice(visible, max(wanted, default=-1) + 1)):
        if number in wanted:
            rows, columns = LabelledObjects.cut(obj.box, CLASSIFICATION_SIZE, Random(scene.seed))
            area = tuple(slice(FINER * side.start, FINER * side.stop) for side in (rows, columns))
            large = Image.fromarray(toycity.render(scene, FINER * STREET).image[area])
            found[number] = np.asarray(large.resize((SHOWN, SHOWN), Image.Resampling.LANCZOS))
    return found


def kind_of(label: int) -> int:
    """The number in `KINDS` of a class's kind; a person is told by the coat."""
    (kind,) = (k for k, kind in enumerate(KINDS) if kind in LabelledObjects.classes[label])
    return kind


def first_bright_car(
    large: Mapping[int, UInt8[np.ndarray, "h w 3"]], labels: Sequence[int], right: Sequence[bool]
) -> int:
    """The first of the images that shows a car by daylight, classified correctly."""
    return next(i for i, one in large.items() if kind_of(labels[i]) == 0 and right[i] and one.mean() > BRIGHT)


def first_of_each_kind(labels: Sequence[int]) -> list[int]:
    """The number of the first image of each of `KINDS`."""
    kinds = [kind_of(label) for label in labels]
    return [kinds.index(kind) for kind in range(len(KINDS))]


def patches_on_objects(boxes: Float[Tensor, "n 4"], grid: tuple[int, int], patch: int) -> Bool[Tensor, "n h w"]:
    """Which patches, `patch` pixels a side, overlap the box (x0, y0, x1, y1) of each image's object."""
    x0, y0, x1, y1 = boxes[..., None].unbind(1)
    tops, lefts = (patch * torch.arange(side) for side in grid)
    down, across = ((low < start + patch) & (high > start) for low, high, start in ((y0, y1, tops), (x0, x1, lefts)))
    return down[:, :, None] & across[:, None]


def by_area(boxes: Float[Tensor, "n 4"], groups: int = 3) -> Int64[Tensor, "n"]:
    """To which of so many groups of nearly equal number an object belongs by the area of its box, the smallest 0."""
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return torch.bucketize(area, area.quantile(torch.arange(1, groups) / groups))


def centre_patch(box: Float[Tensor, "4"], patch: int) -> tuple[int, int]:
    """The (row, column) of the patch in which the middle of a box (x0, y0, x1, y1) lies."""
    x0, y0, x1, y1 = box.tolist()
    return int((y0 + y1) / 2 // patch), int((x0 + x1) / 2 // patch)
