"""COCO's instances and captions (Lin et al., ECCV 2014), for detection and captioning.

pycocotools reads the annotations and decodes the masks; here they become torchvision `tv_tensors`.
"""

import contextlib
import io
import json
from collections.abc import Callable, Sequence
from math import inf
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from pycocotools import mask as run_lengths
from pycocotools.coco import COCO
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import tv_tensors

from lecture_utils.datasets.memory import Kept
from lecture_utils.datasets.reading import (
    check_on_error,
    keep_readable,
    make_command,
    read_photo,
    resizing,
    to_tensor,
    warn_of_stored_pixels,
)

_IMAGE_KEYS = ("id", "file_name", "height", "width")
_BOX_KEYS = ("id", "image_id", "category_id", "bbox")
_INSTANCE_KEYS = (*_BOX_KEYS, "segmentation")
_CAPTION_KEYS = ("id", "image_id", "caption")


class CocoInstances(Dataset):
    """Photographs with the boxes, labels and masks of their objects, from a folder and an `instances_*.json`.

    Items: `tv_tensors.Image` (3, H, W) uint8 and a dict of
    `boxes`: BoundingBoxes (n, 4) float32, XYXY in pixels, cut to the image; `labels`: (n,) int64;
    `masks`: Mask (n, H, W) bool; `image_id`: int. An image without objects has n = 0. Order: by image id.
    Labels are 1 … K and index `.categories`, the names after "background" at 0: the file's by ascending id (COCO's own
    ids have gaps). Boxes without area are dropped, crowds left out.
    masks=False leaves the masks undecoded and out of the items, for detectors, which need boxes only.

    `transforms(image, target)` from torchvision's v2 moves image, boxes and masks together.
    A bad image or annotation raises ValueError or FileNotFoundError naming it when its turn comes; on_error="skip"
    reads everything at once and leaves the bad images out with one warning. Nothing is kept in memory, unless
    `preload()` asks for it. With `size`, one number or (height, width), items are resized as they are read.
    """

    def __init__(
        self,
        images: Path | str,
        annotations: Path | str,
        *,
        transforms: Callable | None = None,
        on_error: str = "raise",
        masks: bool = True,
        size: int | tuple[int, int] | None = None,
    ) -> None:
        check_on_error(on_error)
        self.images = Path(images)
        self.annotations = Path(annotations)
        self.transforms = transforms
        self.size, self.resize = size, resizing(size)
        self.masks = masks
        keys = _INSTANCE_KEYS if masks else _BOX_KEYS
        self._coco = _index(self.images, self.annotations, keys, extra={"categories": ("id", "name")})
        self.categories, self._label_of = _labels(self._coco, self.annotations)
        self.ids = sorted(self._coco.imgs)
        self._kept = Kept()  # (image, target) by image id
        sizes = {self.images / one["file_name"]: (one["width"], one["height"]) for one in self._coco.imgs.values()}
        warn_of_stored_pixels(sizes, source=self.annotations)
        if on_error == "skip":
            self.ids = keep_readable(self.ids, self._read, source=self.annotations)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> tuple[tv_tensors.Image, dict]:
        number = self.ids[index]
        image, target = self._copy(number) if number in self._kept else self._read(number)
        return (image, target) if self.transforms is None else self.transforms(image, target)

    @property
    def sources(self) -> tuple[list[Path], list[Path]]:
        """The annotation file, and the photographs."""
        return [self.annotations], [self.images / self._coco.imgs[number]["file_name"] for number in self.ids]

    @property
    def sizes(self) -> dict[str, tuple[int, int]]:
        """(height, width) of each photograph as the annotations have it, by its name; it may yet be resized."""
        records = (self._coco.imgs[number] for number in self.ids)
        return {record["file_name"]: (record["height"], record["width"]) for record in records}

    def preload(self) -> "CocoInstances":
        """Decode every image now and keep it, as many as fit (see `Kept`); return the data set itself."""
        self._kept.fill(self.ids, self._read, about=self.images.name)
        return self

    def _copy(self, image_id: int) -> tuple[tv_tensors.Image, dict]:
        """What was kept, copied: a transform that works in place must not change what later epochs see."""
        image, target = self._kept[image_id]
        copies = {key: value.clone() if isinstance(value, Tensor) else value for key, value in target.items()}
        return image.clone(), copies

    def _read(self, image_id: int) -> tuple[tv_tensors.Image, dict]:
        image = _photo(self.images, self._coco.imgs[image_id], coordinates=True)
        try:
            return self.resize(image, self._target(image_id, tuple(image.shape[-2:])))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{self.annotations}: image {image_id}: {error}") from error

    def _target(self, image_id: int, canvas: tuple[int, int]) -> dict:
        objects = [found for found in self._coco.imgToAnns[image_id] if not found.get("iscrowd", 0)]
        boxes = _corners(objects, canvas)
        solid = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        objects = [found for found, keep in zip(objects, solid.tolist(), strict=True) if keep]
        target = {
            "boxes": tv_tensors.BoundingBoxes(boxes[solid], format="XYXY", canvas_size=canvas),
            "labels": torch.tensor([self._label_of[found["category_id"]] for found in objects], dtype=torch.int64),
            "image_id": image_id,
        }
        if self.masks:
            masks = np.stack([_mask(found, canvas) for found in objects]) if objects else np.zeros((0, *canvas), bool)
            target["masks"] = tv_tensors.Mask(torch.from_numpy(masks))
        return target


class CocoCaptions(Dataset):
    """Photographs with the sentences written about them, from a folder and a `captions_*.json`.

    Items: `tv_tensors.Image` (3, H, W) uint8 and a list of str (empty where an image has no caption), in the order
    of the image ids. Transforms, `size`, errors and `on_error` are those of `CocoInstances`.
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
        check_on_error(on_error)
        self.images = Path(images)
        self.annotations = Path(annotations)
        self.transforms = transforms
        self.resize = resizing(size)
        self._coco = _index(self.images, self.annotations, _CAPTION_KEYS)
        self.ids = sorted(self._coco.imgs)
        if on_error == "skip":
            self.ids = keep_readable(self.ids, self._read, source=self.annotations)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> tuple[tv_tensors.Image, list[str]]:
        image, captions = self._read(self.ids[index])
        return (image, captions) if self.transforms is None else self.transforms(image, captions)

    @property
    def sources(self) -> tuple[list[Path], list[Path]]:
        """The annotation file, and the photographs."""
        return [self.annotations], [self.images / self._coco.imgs[number]["file_name"] for number in self.ids]

    def captions(self, index: int) -> list[str]:
        """The sentences alone, without decoding the photograph."""
        return [found["caption"] for found in self._coco.imgToAnns[self.ids[index]]]

    def _read(self, image_id: int) -> tuple[tv_tensors.Image, list[str]]:
        captions = [found["caption"] for found in self._coco.imgToAnns[image_id]]
        return self.resize(_photo(self.images, self._coco.imgs[image_id], coordinates=False), captions)


def _index(images: Path, annotations: Path, keys: Sequence[str], extra: dict | None = None) -> COCO:
    """Load an annotation file, check that it has what the readers use, and index it."""
    split = next((name for name in ("val", "test") if name in annotations.stem), "train")
    for path, exists in ((images, images.is_dir()), (annotations, annotations.is_file())):
        if not exists:
            kind = "file" if path is annotations else "folder"
            raise FileNotFoundError(f"{path}: no such {kind}. Make it with `{make_command('CITY', split)}`")
    try:
        content = json.loads(annotations.read_bytes())
    except ValueError as error:
        raise ValueError(f"{annotations}: not valid JSON ({error})") from error
    for section, required in {"images": _IMAGE_KEYS, "annotations": keys, **(extra or {})}.items():
        _check_section(content, section, required, annotations)
    kinds = {type(image["id"]).__name__ for image in content["images"]}
    if len(kinds) > 1:
        raise ValueError(f"{annotations}: got ids of 'images' of types {', '.join(sorted(kinds))}, expected one type")
    coco = COCO()
    coco.dataset = content
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        coco.createIndex()
    return coco


def _check_section(content: object, section: str, keys: Sequence[str], file: Path) -> None:
    records = content.get(section) if isinstance(content, dict) else None
    if not isinstance(records, list):
        raise ValueError(f"{file}: got no list {section!r}, expected COCO's layout")
    if section == "images" and not records:
        raise ValueError(f"{file}: the list 'images' is empty")
    for position, record in enumerate(records):
        lacking = [key for key in keys if not isinstance(record, dict) or key not in record]
        if lacking:
            raise ValueError(f"{file}: {section}[{position}] lacks {', '.join(map(repr, lacking))}")


def _labels(coco: COCO, file: Path) -> tuple[tuple[str, ...], dict[int, int]]:
    """Names by label, "background" first, and the label of each category id."""
    name_of = {number: category["name"] for number, category in sorted(coco.cats.items())}
    strangers = {found["category_id"] for found in coco.anns.values()} - set(name_of)
    if strangers:
        raise ValueError(f"{file}: annotations name category ids {sorted(strangers)} that 'categories' does not list")
    names = list(dict.fromkeys(name_of.values()))
    return ("background", *names), {number: 1 + names.index(name) for number, name in name_of.items()}


def _photo(folder: Path, record: dict, *, coordinates: bool) -> tv_tensors.Image:
    """Read an image as viewers show it, and compare its size with its record."""
    size = (record["width"], record["height"])
    return tv_tensors.Image(to_tensor(read_photo(folder / record["file_name"], size=size, coordinates=coordinates)))


def _corners(objects: list[dict], canvas: tuple[int, int]) -> Float[Tensor, "n 4"]:
    """COCO's (x, y, width, height) as (x0, y0, x1, y1), cut to the image."""
    for found in objects:
        box = found["bbox"]
        if not (
            isinstance(box, list)
            and len(box) == 4
            and all(isinstance(side, int | float) and abs(side) < inf for side in box)
        ):
            raise ValueError(f"annotation {found['id']}: got bbox {box}, expected [x, y, width, height]")
    boxes = torch.tensor([found["bbox"] for found in objects], dtype=torch.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    height, width = canvas
    return torch.minimum(boxes.clamp(min=0), torch.tensor([width, height, width, height], dtype=torch.float32))


def _mask(found: dict, canvas: tuple[int, int]) -> np.ndarray:
    """Decode one segmentation, polygons or run lengths, to (H, W) bool."""
    shape = found["segmentation"]
    try:
        if isinstance(shape, list):
            return _fill(shape, canvas)
        if tuple(shape["size"]) != canvas:
            raise ValueError(f"run lengths of size {shape['size']}, expected {list(canvas)}")
        mask = run_lengths.decode(_compressed(shape, canvas))
        return mask.astype(bool)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"annotation {found['id']}: cannot decode its segmentation: {error}") from error


def _compressed(shape: dict, canvas: tuple[int, int]) -> dict:
    """The run lengths as pycocotools' compressed ones, having checked that they cover the image.

    It leaves the pixels behind the last run undefined, so runs that end too early would give a random mask.
    """
    if isinstance(shape["counts"], list):
        whole = sum(shape["counts"]) == canvas[0] * canvas[1]
        shape = run_lengths.frPyObjects(shape, *canvas)
    else:
        counts = shape["counts"].encode() if isinstance(shape["counts"], str) else shape["counts"]
        whole = run_lengths.encode(run_lengths.decode(shape))["counts"] == counts
    if not whole:
        raise ValueError("run lengths that do not cover the image")
    return shape


def _fill(polygons: list, canvas: tuple[int, int]) -> np.ndarray:
    if not polygons or not all(len(polygon) >= 6 and len(polygon) % 2 == 0 for polygon in polygons):
        raise ValueError("expected polygons [x0, y0, x1, y1, x2, y2, …] of three points at least")
    return run_lengths.decode(run_lengths.merge(run_lengths.frPyObjects(polygons, *canvas))).astype(bool)
