"""A COCO annotation file, looked through: its records by image, and all that is wrong or odd about them."""

import gc
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lecture_utils.datasets import schema, segmentations
from lecture_utils.datasets.inventory import Inventory, shown
from lecture_utils.datasets.reading import make_command
from lecture_utils.datasets.schema import id_in, label_of, validate

Key = int | str  # an image's id
Row = tuple[Key, int, dict]  # an annotation: its image, its place in the file, the record


@dataclass
class Index:
    """Images by id, and the records of each: objects or captions, and crowds.

    `problems` says of an image why it cannot be used. Its keys are ids; of a record whose image is not known, the
    section and the place in it. `names` are those of the categories, by ascending id.
    """

    inventory: Inventory
    images: dict[Key, dict] = field(default_factory=dict)
    records: dict[Key, list[dict]] = field(default_factory=lambda: defaultdict(list))
    crowds: dict[Key, list[dict]] = field(default_factory=lambda: defaultdict(list))
    names: dict[Key, str] = field(default_factory=dict)
    problems: dict[Hashable, str] = field(default_factory=dict)

    def ids(self) -> list[Hashable]:
        """The images in their order, numbers before texts, and then what belongs to no image that is known."""
        keys = {*self.images, *self.problems}
        return sorted(keys, key=lambda key: (isinstance(key, tuple), isinstance(key, str), key))

    def guard(self, read: Callable[[Hashable], object]) -> Callable[[Hashable], None]:
        """The same function, refusing the images that have a problem."""

        def whole(key: Hashable) -> None:
            if key in self.problems:
                raise ValueError(self.problems[key])
            read(key)

        return whole


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Millions of new records are no garbage: looking for some among them takes a third of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@_without_garbage_collection()
def read_captions(images: Path, file: Path, *, on_error: str) -> Index:
    """Look through a `captions_*.json`; on_error="raise" refuses what cannot be used."""
    content, index = _open(images, file)
    for image, _, caption in _annotations(content, index, schema.CaptionRecord, "caption"):
        index.records[image].append(caption)
    if on_error == "raise":
        index.inventory.refuse_problems(list(index.problems.values()))
    without = [f"image {shown(key)}" for key in index.images if not (key in index.records or key in index.problems)]
    counts = {"images": len(index.images), "captions": sum(map(len, index.records.values()))}
    index.inventory.counts = counts | {"images without a caption": len(without)}
    index.inventory.add("images without a caption", without, "a captioner learns to say nothing about them")
    return index


@_without_garbage_collection()
def read_instances(images: Path, file: Path, *, masks: bool, on_error: str) -> Index:
    """The same for an `instances_*.json`, with its segmentations where `masks` are wanted."""
    content, index = _open(images, file)
    _read_categories(content, index)
    rows = list(_annotations(content, index, schema.InstanceRecord if masks else schema.BoxRecord, "bbox"))
    for image, place, found in rows:
        if found["category_id"] not in index.names:
            text = f"got category_id {shown(found['category_id'])}, that 'categories' does not list"
            index.problems.setdefault(image, f"{label_of('annotations', place, found)}: {text}")
    _leave_out_categories(content, index, {found["category_id"] for _, _, found in rows})
    _sort_objects(rows, index)
    if masks:
        _check_segmentations(rows, index)
    if on_error == "raise":
        index.inventory.refuse_problems(list(index.problems.values()))
    return index


def _open(images: Path, file: Path) -> tuple[dict, Index]:
    """The content of an annotation file, and an index with its images."""
    split = next((name for name in ("val", "test") if name in file.stem), "train")
    for path, exists in ((images, images.is_dir()), (file, file.is_file())):
        if not exists:
            kind = "file" if path is file else "folder"
            raise FileNotFoundError(f"{path}: no such {kind}. Make it with `{make_command('CITY', split)}`")
    content = schema.read_json(file)
    index = Index(Inventory(file))
    _read_images(schema.section(content, "images", file), index)
    if not index.images and not index.problems:
        raise ValueError(f"{file}: the list 'images' is empty")
    _find_missing(images, index)
    return content, index


def _read_images(raw: list, index: Index) -> None:
    alike, first = [], {}
    for place, record in enumerate(raw):
        label, number = label_of("images", place, record), id_in(record)
        key = ("images", place) if number is None else number
        image, problem = validate(schema.ImageRecord, record, label)
        if key not in first:
            first[key] = place
            if problem:
                index.problems[key] = problem
            else:
                index.images[key] = image
        elif record == raw[first[key]]:
            alike.append(label)
        else:
            index.problems.setdefault(key, f"{label}: got an id that images[{first[key]}] has, expected another")
    index.inventory.add("images listed twice alike", alike, "each is read once")
    shared = Counter(record["file_name"] for record in index.images.values())
    same = [f"{name}, {times} times" for name, times in shared.items() if times > 1]
    mend = "the objects of one are missing in the others: join them"
    index.inventory.add("files that several images name", same, mend)


def _find_missing(folder: Path, index: Index) -> None:
    """Mark the images without a file. Listing each folder once is cheap, also for a hundred thousand."""
    split = {record["file_name"]: record["file_name"].rpartition("/") for record in index.images.values()}
    there = {parent: _list(folder / parent) for parent in {parent for parent, _, _ in split.values()}}
    for number, record in index.images.items():
        parent, _, name = split[record["file_name"]]
        path = folder / record["file_name"]
        if name not in there[parent] and not path.exists():
            index.problems.setdefault(number, f"{path}: no such file")


def _list(folder: Path) -> set[str]:
    try:
        return set(os.listdir(folder))
    except OSError:
        return set()


def _annotations(content: dict, index: Index, kind: type, key: str) -> Iterator[Row]:
    """The annotations of listed images, whole ones alone; what is wrong with the others goes to the index.

    A file is of another kind if none of them has the `key`.
    """
    inventory, raw = index.inventory, schema.section(content, "annotations", index.inventory.source)
    if not any(isinstance(record, dict) and key in record for record in raw):
        cases = [f"{label_of('annotations', place, record)} lacks {key!r}" for place, record in enumerate(raw)]
        inventory.refuse("annotations of another kind", cases, "give the file that has them")
    unlisted, repeated, first = [], [], {}
    for place, record in enumerate(raw):
        image = id_in(record, "image_id")
        if image is not None and image not in index.images and image not in index.problems:
            unlisted.append(f"{label_of('annotations', place, record)} of image {shown(image)}")
            continue
        number = id_in(record)
        if number is not None and first.setdefault(number, place) != place:
            repeated.append(label_of("annotations", place, record))
            if record == raw[first[number]]:
                continue  # one object, written twice
        found, problem = validate(kind, record, "")
        if not problem:
            yield image, place, found
        else:
            key = ("annotations", place) if image is None else image
            index.problems.setdefault(key, label_of("annotations", place, record) + problem)
    mend = "compare image_id with the ids of 'images'"
    if len(unlisted) == len(raw):  # nothing is left
        inventory.refuse("annotations, all of images that are not listed", unlisted, mend)
    inventory.add("annotations of images that are not listed, left out", unlisted, mend)
    inventory.add("ids that several annotations have", repeated, "number them from 1; those that are alike count once")


def _read_categories(content: dict, index: Index) -> None:
    file, names = index.inventory.source, {}
    for place, record in enumerate(schema.section(content, "categories", file)):
        label = label_of("categories", place, record)
        category, problem = validate(schema.CategoryRecord, record, label)
        if problem:
            raise ValueError(f"{file}: {problem}")
        if names.setdefault(category["id"], category["name"]) != category["name"]:
            raise ValueError(f"{file}: {label}: got the id of {shown(names[category['id']])}, expected another")
    index.names = dict(sorted(names.items(), key=lambda item: (isinstance(item[0], str), item[0])))
    same = [f"{name}, {times} times" for name, times in Counter(index.names.values()).items() if times > 1]
    index.inventory.add("names that several categories have", same, "they are one class here")


def _leave_out_categories(content: dict, index: Index, used: set[Key]) -> None:
    """Leave out what export tools list beside the classes and no object has: a root above them, a background."""
    listed = [(record["name"], record.get("supercategory")) for record in content["categories"]]
    parents = {str(parent) for _, parent in listed}
    roots = {str(name) for name, parent in listed if parent in (None, "", "none")}
    for number, name in list(index.names.items()):
        if number not in used and (name in parents & roots or name.strip("_").lower() == "background"):
            del index.names[number]
            index.inventory.counts["categories left out"] = index.inventory.counts.get("categories left out", 0) + 1
        elif name == "background":
            raise ValueError(f"{index.inventory.source}: got objects of a category 'background', expected another name")
    index.inventory.counts["categories"] = len(set(index.names.values()))


def _sort_objects(rows: list[Row], index: Index) -> None:
    """Put objects and crowds to their images, all but those that have no area within them, and count."""
    inventory, rows = index.inventory, [row for row in rows if row[0] in index.images]
    boxes = np.array([found["bbox"] for _, _, found in rows], dtype=np.float64).reshape(-1, 4)
    sizes = [(index.images[image]["width"], index.images[image]["height"]) for image, _, _ in rows]
    sizes = np.array(sizes, dtype=np.float64).reshape(-1, 2)
    _refuse_other_boxes(rows, boxes, sizes, inventory)
    low, high = boxes[:, :2], boxes[:, :2] + boxes[:, 2:]
    solid = (np.float32(low.clip(0, sizes)) < np.float32(high.clip(0, sizes))).all(1)
    for (image, _, found), keep in zip(rows, solid.tolist(), strict=True):
        if keep:
            (index.crowds if found.get("iscrowd") else index.records)[image].append(found)
    beyond = ((low < -1) | (high > sizes + 1)).any(1)
    objects, crowds = (sum(map(len, found.values())) for found in (index.records, index.crowds))
    empty = sum(number not in index.records for number in index.images)
    counts = {"images": len(index.images), "images without objects": empty, "objects": objects, "crowds": crowds}
    inventory.counts = counts | {"boxes left out": int((~solid).sum())} | inventory.counts
    mend = "expected bbox [x, y, width, height] in pixels"
    inventory.add("objects without an area within their image, left out", _boxes(rows, ~solid), mend)
    if beyond.sum() > len(rows) / 10:
        inventory.add("boxes that reach beyond their image, cut to it", _boxes(rows, beyond), mend)
    negative = np.array([(found.get("area") or 0) < 0 for _, _, found in rows], dtype=bool) & solid
    inventory.add("areas below 0, taken from the boxes", _boxes(rows, negative), "areas tell small from large objects")
    if not objects:
        what = f"all {crowds:,} objects are marked as crowds" if crowds else "no image has an object"
        inventory.findings.append(f"{what}: nothing to learn from or to find; single objects have iscrowd 0")


def _refuse_other_boxes(rows: list[Row], boxes: np.ndarray, sizes: np.ndarray, inventory: Inventory) -> None:
    """Refuse boxes that make sense only as something else: normalized coordinates, or two corners."""
    if len(rows) and ((boxes >= 0) & (boxes <= 1)).all() and (boxes % 1 != 0).any():
        mend = "expected pixels: multiply by width and height"
        inventory.refuse("boxes in normalized coordinates", _boxes(rows, boxes[:, 0] <= 1), mend)
    first, second = boxes[:, :2], boxes[:, 2:]
    corners = ((second > first) & (first >= -1) & (second <= sizes + 1)).all(1)
    outside = corners & (first + second > sizes + 1).any(1)
    if len(rows) and corners.mean() >= 0.99 and outside.mean() >= 0.25:
        what, mend = "boxes that look like [x0, y0, x1, y1]", "expected [x, y, width, height]: subtract x0 and y0"
        tell = inventory.refuse if outside.sum() >= 3 else inventory.add  # one or two may be so by chance
        tell(what, _boxes(rows, outside), mend)


def _boxes(rows: list[Row], chosen: np.ndarray) -> list[str]:
    """How a message names some of the boxes."""
    places = (rows[at] for at in np.flatnonzero(chosen))
    return [f"{label_of('annotations', place, found)} with bbox {shown(found['bbox'])}" for _, place, found in places]


def _check_segmentations(rows: list[Row], index: Index) -> None:
    """Bring the segmentations of the objects that are kept into the form that can be decoded."""
    kept = {id(found) for of_one in index.records.values() for found in of_one}
    polygons, largest = [], 0.0
    for image, place, found in rows:
        if id(found) not in kept:
            continue
        size = index.images[image]
        try:
            shape = found["segmentation"] = segmentations.check(found["segmentation"], size["height"], size["width"])
        except ValueError as error:
            text = f"cannot decode its segmentation: {error}; with masks=False it is not needed"
            index.problems.setdefault(image, f"{label_of('annotations', place, found)}: {text}")
            continue
        if isinstance(shape, list):
            largest = max(largest, *map(max, shape))
            polygons.append(found)
    if 0 < largest <= 1:
        cases = [f"annotation {shown(found['id'])}" for found in polygons]
        index.inventory.refuse("polygons in normalized coordinates", cases, "expected pixels; or open with masks=False")
