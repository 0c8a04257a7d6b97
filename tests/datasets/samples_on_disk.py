"""Small data sets on disk, laid out like the real ones, for the tests of the readers."""

import json
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools import mask as run_lengths

from lecture_utils.cityscapes import CLASSES, IGNORE_INDEX, colour_labels

CATEGORIES = [{"id": 7, "name": "car"}, {"id": 3, "name": "person"}, {"id": 90, "name": "pole"}]


def blocks(rng: np.random.Generator, height: int, width: int, block: int = 8) -> np.ndarray:
    """A label map of square blocks, each of one class or ignored."""
    values = np.array([*range(len(CLASSES)), IGNORE_INDEX], dtype=np.uint8)
    coarse = rng.choice(values, size=(-(-height // block), -(-width // block)))
    return coarse.repeat(block, 0).repeat(block, 1)[:height, :width]


def write_pair(path: Path, photo: np.ndarray, labels: np.ndarray, **options) -> Path:
    """Write photo and painted labels side by side; the format follows the suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.hstack([photo, colour_labels(labels)])).save(path, **options)
    return path


def pair_folder(root: Path, numbers=(1, 2, 3), *, split="train", size=(24, 40), suffix=".png", seed=0):
    """Fill root/split with N.png pairs; return {N: (photo, labels)} as written."""
    rng = np.random.default_rng(seed)
    truth = {}
    for number in numbers:
        photo = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        truth[number] = photo, blocks(rng, *size)
        write_pair(root / split / f"{number}{suffix}", *truth[number])
    return truth


def ellipse(height: int, width: int, centre: tuple[float, float], radii: tuple[float, float]) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return ((y - centre[0]) / radii[0]) ** 2 + ((x - centre[1]) / radii[1]) ** 2 <= 1


def compressed(mask: np.ndarray) -> dict:
    runs = run_lengths.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": list(runs["size"]), "counts": runs["counts"].decode()}


def uncompressed(mask: np.ndarray) -> dict:
    flat = mask.T.ravel()
    edges = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff([0, *edges, flat.size]).tolist()
    return {"size": list(mask.shape), "counts": [0, *counts] if flat[0] else counts}


def box_of(mask: np.ndarray) -> list[float]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return [
        float(columns[0]),
        float(rows[0]),
        float(columns[-1] + 1 - columns[0]),
        float(rows[-1] + 1 - rows[0]),
    ]


def instance(number: int, image_id: int, category_id: int, segmentation, box, **more) -> dict:
    return {
        "id": number,
        "image_id": image_id,
        "category_id": category_id,
        "segmentation": segmentation,
        "bbox": box,
        "area": box[2] * box[3],
        "iscrowd": 0,
        **more,
    }


def coco_content() -> dict:
    """Three images: polygons and both run lengths and a crowd; nothing at all; one object and one degenerate box."""
    first, second = ellipse(37, 53, (10, 12), (7, 9)), ellipse(37, 53, (25, 30), (11, 20))
    third = ellipse(64, 21, (30, 8), (20, 6))
    polygons = [[2.0, 3.0, 30.5, 4.0, 17.0, 20.0], [40.0, 30.0, 50.0, 30.0, 50.0, 36.0, 40.0, 36.0]]
    return {
        "info": {},
        "licenses": [],
        "images": [
            {"id": 42, "file_name": "000000000042.jpg", "height": 64, "width": 21},
            {"id": 5, "file_name": "000000000005.jpg", "height": 37, "width": 53},
            {"id": 9, "file_name": "000000000009.jpg", "height": 30, "width": 31},
        ],
        "annotations": [
            instance(1, 5, 7, polygons, [2.0, 3.0, 48.0, 33.0]),
            instance(2, 5, 3, compressed(first), box_of(first)),
            instance(3, 5, 90, uncompressed(second), box_of(second)),
            instance(4, 5, 3, uncompressed(first | second), box_of(first | second), iscrowd=1),
            instance(5, 42, 3, compressed(third), box_of(third)),
            instance(6, 42, 7, [[1, 1, 5, 1, 5, 1]], [1.0, 1.0, 4.0, 0.0]),
        ],
        "categories": CATEGORIES,
    }


def caption_content() -> dict:
    content = coco_content()
    sentences = {5: ["A car, left of a person.", "Two people."], 42: ["Somebody – alone."], 9: []}
    pairs = [(image, text) for image, texts in sentences.items() for text in texts]
    content["annotations"] = [{"id": n, "image_id": i, "caption": text} for n, (i, text) in enumerate(pairs)]
    del content["categories"]
    return content


def coco_folder(root: Path, content: dict | None = None) -> tuple[Path, Path]:
    """Write train2017/ and annotations/ as COCO has them; return the folder of images and the instances' file."""
    content = coco_content() if content is None else content
    images, annotations = root / "train2017", root / "annotations"
    images.mkdir(parents=True, exist_ok=True)
    annotations.mkdir(exist_ok=True)
    rng = np.random.default_rng(1)
    for record in coco_content()["images"]:
        pixels = rng.integers(0, 256, (record["height"], record["width"], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(images / record["file_name"])
    (annotations / "instances_train2017.json").write_text(json.dumps(content))
    (annotations / "captions_train2017.json").write_text(json.dumps(caption_content()))
    return images, annotations / "instances_train2017.json"
