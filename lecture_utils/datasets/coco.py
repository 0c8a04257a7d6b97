"""COCO's instances and captions (Lin et al., ECCV 2014), for detection and captioning.

The annotations are looked through at opening; pycocotools decodes the masks; here they become torchvision `tv_tensors`.
"""

from collections.abc import Callable, Hashable, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import tv_tensors

from lecture_utils.datasets.memory import MemoryCache
from lecture_utils.datasets.reading import (
    check_on_error,
    enough_for,
    keep_readable,
    read_photo,
    resizing,
    to_tensor,
    warn_of_stored_pixels,
)


class CocoInstances(Dataset):
    """Photographs with the boxes, labels and masks of their objects, from a folder and an `instances_*.json`.

    Items: `tv_tensors.Image` (3, H, W) uint8 and a dict of
    `boxes`: BoundingBoxes (n, 4) float32, XYXY in pixels, cut to the image; `labels`: (n,) int64;
    `masks`: Mask (n, H, W) bool; `image_id`: int, or str where ids are texts. An image without objects has n = 0.
    Order: by image id. masks=False leaves the masks undecoded and out of the items, for detectors, which need no masks.
    `extent`: (n,) float32, the annotated area divided by the box's, by which scores tell small from large objects,
    whatever size an image is resized to; areas=False leaves it out, and boxes alone count.
    Crowds are no objects to learn from, but scores ignore what is found in them: where the file has some, items hold
    `crowds`: BoundingBoxes (m, 4), and `crowd_labels`: (m,) int64, too.
    Labels are 1 … K and index `.categories`, the names after "background" at 0: the file's by ascending id (COCO's own
    ids have gaps), without the root category of export tools.

    The file is looked through at opening. What is left out (boxes without area, annotations of images that are not
    listed …), coerced or looks wrong is counted in `.inventory` and told in one warning. A record that cannot be used
    raises ValueError, a missing file FileNotFoundError, naming the first three; an image that cannot be decoded raises
    when its turn comes. on_error="skip" reads everything at once and leaves the images with such faults out with one
    warning. Nothing is kept in memory, unless `preload()` asks for it. With `size`, one number or (height, width),
    items are resized as they are read.

    `transforms(image, target)` from torchvision's v2 moves image, boxes, crowds and masks together.
    """

    def __init__(
        self,
        images: Path | str,
        annotations: Path | str,
        *,
        transforms: Callable | None = None,
        on_error: str = "raise",
        masks: bool = True,
        areas: bool = True,
        size: int | tuple[int, int] | None = None,
    ) -> None:
        from lecture_utils.datasets import coco_index  # with pydantic: half a second, which only its files need

        check_on_error(on_error)
        self.images = Path(images)
        self.annotations = Path(annotations)
        self.transforms = transforms
        self.size, self.resize, self._least = size, resizing(size), enough_for(size)
        self.masks, self.areas = masks, areas
        self._index = coco_index.read_instances(self.images, self.annotations, masks=masks, on_error=on_error)
        self.inventory = self._index.inventory
        names = tuple(dict.fromkeys(self._index.names.values()))
        self.relabel(("background", *names))
        self.ids = self._index.ids()
        self.inventory.warn()
        stated = {self.images / one["file_name"]: (one["width"], one["height"]) for one in self._index.images.values()}
        warn_of_stored_pixels(stated, source=self.annotations)
        if on_error == "skip":
            listed = self.ids
            self.ids = keep_readable(listed, self._index.guard(self._read), source=self.annotations)
            self.inventory.counts["skipped"] = len(listed) - len(self.ids)
        self._kept = MemoryCache()  # (image, target) by image id

    def relabel(self, categories: Sequence[str]) -> "CocoInstances":
        """Number the categories in another order, as another split or a detector has them; return the data set itself.

        `categories` begins with "background" and holds all of this data set's.
        """
        names = self._index.names
        if list(categories[:1]) != ["background"] or (strange := set(names.values()) - set(categories)):
            came = f"none of {sorted(strange)}" if list(categories[:1]) == ["background"] else list(categories)
            raise ValueError(f"categories: got {came}, expected 'background' and then all of {list(names.values())}")
        self.categories = tuple(categories)
        self._label_of = {number: self.categories.index(name) for number, name in names.items()}
        return self

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> tuple[tv_tensors.Image, dict]:
        number = self.ids[index]
        image, target = self._copy(number) if number in self._kept else self._read(number)
        return (image, target) if self.transforms is None else self.transforms(image, target)

    @property
    def sources(self) -> tuple[list[Path], list[Path]]:
        """The annotation file, and the photographs."""
        return [self.annotations], [self.images / self._index.images[key]["file_name"] for key in self.ids]

    @property
    def sizes(self) -> dict[str, tuple[int, int]]:
        """(height, width) of each photograph as the annotations have it, by its name; it may yet be resized."""
        records = (self._index.images[key] for key in self.ids)
        return {record["file_name"]: (record["height"], record["width"]) for record in records}

    def target_count(self, index: int) -> int:
        """How many objects an image has, without decoding it."""
        return len(self._index.records.get(self.ids[index], ()))

    def preload(self) -> "CocoInstances":
        """Decode every image now and keep it, as many as fit (see `MemoryCache`); return the data set itself."""
        self._kept.fill(self.ids, self._read, description=self.images.name)
        return self

    def _copy(self, image_id: Hashable) -> tuple[tv_tensors.Image, dict]:
        """What was kept, copied: a transform that works in place must not change what later epochs see."""
        image, target = self._kept[image_id]
        copies = {key: value.clone() if isinstance(value, Tensor) else value for key, value in target.items()}
        return image.clone(), copies

    def _read(self, image_id: Hashable) -> tuple[tv_tensors.Image, dict]:
        record = self._index.images[image_id]
        image = _photo(self.images, record, coordinates=True, least=self._least)
        return self.resize(image, self._target(image_id, (record["height"], record["width"])))

    def _target(self, image_id: Hashable, canvas: tuple[int, int]) -> dict:
        objects, crowds = (found.get(image_id, []) for found in (self._index.records, self._index.crowds))
        target = {"boxes": _boxes(objects, canvas), "labels": self._labels(objects), "image_id": image_id}
        if self.areas:
            target["extent"] = _extent(objects, target["boxes"])
        if self._index.crowds:
            target |= {"crowds": _boxes(crowds, canvas), "crowd_labels": self._labels(crowds)}
        if self.masks:
            from lecture_utils.datasets import segmentations

            masks = [segmentations.decode(found["segmentation"], *canvas) for found in objects]
            masks = np.stack(masks) if masks else np.zeros((0, *canvas), bool)
            target["masks"] = tv_tensors.Mask(torch.from_numpy(masks))
        return target

    def _labels(self, objects: list[dict]) -> Tensor:
        return torch.tensor([self._label_of[found["category_id"]] for found in objects], dtype=torch.int64)


class CocoCaptions(Dataset):
    """Photographs with the sentences written about them, from a folder and a `captions_*.json`.

    Items: `tv_tensors.Image` (3, H, W) uint8 and a list of str (empty where an image has no caption), in the order
    of the image ids. Transforms, `size`, inventory, errors and `on_error` are those of
    `CocoInstances`.
    """

    def __init__(
        self,
        images: Path | str,
        annotations: Path | str,
        *,
        transforms: Callable | None = None,
        on_error: str = "raise",
        size: int | tuple[int, int] | None = None,
    ) -> None:
        from lecture_utils.datasets import coco_index

        check_on_error(on_error)
        self.images = Path(images)
        self.annotations = Path(annotations)
        self.transforms = transforms
        self.resize, self._least = resizing(size), enough_for(size)
        self._index = coco_index.read_captions(self.images, self.annotations, on_error=on_error)
        self.inventory = self._index.inventory
        self.ids = self._index.ids()
        self.inventory.warn()
        if on_error == "skip":
            listed = self.ids
            self.ids = keep_readable(listed, self._index.guard(self._read), source=self.annotations)
            self.inventory.counts["skipped"] = len(listed) - len(self.ids)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> tuple[tv_tensors.Image, list[str]]:
        image, captions = self._read(self.ids[index])
        return (image, captions) if self.transforms is None else self.transforms(image, captions)

    @property
    def sources(self) -> tuple[list[Path], list[Path]]:
        """The annotation file, and the photographs."""
        return [self.annotations], [self.images / self._index.images[key]["file_name"] for key in self.ids]

    def captions(self, index: int) -> list[str]:
        """The sentences alone, without decoding the photograph."""
        return self._captions(self.ids[index])

    def target_count(self, index: int) -> int:
        """How many sentences an image has."""
        return len(self.captions(index))

    def _captions(self, image_id: Hashable) -> list[str]:
        return [found["caption"] for found in self._index.records.get(image_id, ())]

    def _read(self, image_id: Hashable) -> tuple[tv_tensors.Image, list[str]]:
        photo = _photo(self.images, self._index.images[image_id], coordinates=False, least=self._least)
        return self.resize(photo, self._captions(image_id))


def _photo(folder: Path, record: dict, *, coordinates: bool, least: int | None) -> tv_tensors.Image:
    """Read an image as viewers show it, and compare its size with its record."""
    how = {"size": (record["width"], record["height"]), "coordinates": coordinates, "least": least}
    return tv_tensors.Image(to_tensor(read_photo(folder / record["file_name"], **how)))


def _boxes(objects: list[dict], canvas: tuple[int, int]) -> Float[Tensor, "n 4"]:
    """COCO's (x, y, width, height) as (x0, y0, x1, y1), cut to the image."""
    boxes = torch.tensor([found["bbox"] for found in objects], dtype=torch.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    height, width = canvas
    boxes = boxes.clamp(min=0).minimum(torch.tensor([width, height, width, height])).float()
    return tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=canvas)


def _extent(objects: list[dict], boxes: Float[Tensor, "n 4"]) -> Float[Tensor, "n"]:
    """The annotated area of each object divided by that of its box; 1 where none is annotated."""
    annotated = [found.get("area") for found in objects]
    whole = (boxes[:, 2:] - boxes[:, :2]).as_subclass(Tensor).double().prod(1)
    known = torch.tensor([area is not None and area >= 0 for area in annotated], dtype=torch.bool)
    areas = torch.tensor([area or 0 for area in annotated], dtype=torch.float64)
    return torch.where(known, areas / whole, 1).float()
