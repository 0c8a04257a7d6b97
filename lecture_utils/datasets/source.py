"""Where the images come from: Kaggle's real Cityscapes where it is attached, else the toy city, made on first use."""

from collections.abc import Callable, Mapping
from pathlib import Path

from filelock import FileLock

from lecture_utils import runtime, toycity
from lecture_utils.datasets.coco import CocoCaptions, CocoInstances
from lecture_utils.datasets.pairs import KAGGLE_SLUG, find_split, list_images

QUICK_SIZE, FULL_SIZE = 96, 256  # of the two profiles
QUICK_SCENES = {"train": 2000, "val": 200, "test": 500}
FULL_SCENES = {"train": 4000, "val": 200, "test": 500}
DETECTION_SIZE = 128  # so that the lowest objects, 4 % of the image, are five pixels high
DETECTION_SCENES = {"train": 4000, "val": 200, "test": 500}
SINGLE_OBJECT_SCENES = {"train": 6000, "val": 200, "test": 500}  # at DETECTION_SIZE
CLASSIFICATION_SIZE, CROP_SIZE, FULL_CROP_SIZE = 48, 32, 64  # windows of a street, and object crops of both profiles
CLASSIFICATION_SCENES = {"train": 8000, "val": 1000, "test": 1000}  # of both


def cityscapes_root(
    *, size: int = QUICK_SIZE, scenes: Mapping[str, int] | None = None, kaggle_input: Path | str | None = None
) -> tuple[Path, str]:
    """The folder to give to `CityscapesPairs`, and one line that says what is in it.

    The real pairs where Kaggle has mounted them below `kaggle_input` (`runtime.kaggle_folder`), else the toy city of
    `toy_city(size, scenes=scenes)`. The line names no path, so it may stand in a stored notebook.
    """
    real = kaggle_pairs(kaggle_input)
    if real is not None:
        found = {split: len(list_images(find_split(real, split))) for split in ("train", "val")}
        return real, f"Kaggle's {KAGGLE_SLUG}: {_list(found)} pairs"
    root, scenes = toy_city(size, scenes=scenes), scenes or scenes_at(size)
    return root, f"the toy city at {size} × {size} pixels: {_list(scenes)} scenes"


def kaggle_pairs(kaggle_input: Path | str | None = None) -> Path | None:
    """Kaggle's folder of real pairs, or None where it is not attached or holds no images."""
    root = runtime.kaggle_folder(KAGGLE_SLUG, kaggle_input)
    try:
        for split in ("train", "val") if root else ():
            list_images(find_split(root, split))
    except FileNotFoundError:
        return None
    return root


def kaggle_flickr8k(kaggle_input: Path | str | None = None) -> Path | None:
    """Kaggle's folder of Flickr8k, or None where it is not attached or not whole."""
    root = runtime.kaggle_folder("flickr8k", kaggle_input)
    return root if root and (root / "Images").is_dir() and (root / "captions.txt").is_file() else None


def scenes_at(size: int) -> dict[str, int]:
    """How many scenes of size × size pixels each split has, unless other numbers are asked for."""
    if size == FULL_SIZE and runtime.is_smoke():
        return dict.fromkeys(FULL_SCENES, runtime.SMOKE_SCENES)
    return FULL_SCENES if size == FULL_SIZE else QUICK_SCENES


def toy_city(
    size: int = QUICK_SIZE, *, scenes: Mapping[str, int] | None = None, root: Path | str | None = None
) -> Path:
    """The folder of the toy city of size × size pixels, with scenes[split] scenes in each split; made where missing.

    scenes defaults to `scenes_at(size)`, root to `city-{size}` in `runtime.data_root()`.

    A split that is damaged, half written, or of another
    size or number of scenes is made again. Several processes may ask at once: one makes it, the others wait.
    """
    toycity.refuse_in_a_starting_worker()  # or it would wait for its own parent's lock
    smoke = "-smoke" if scenes is None and size == FULL_SIZE and runtime.is_smoke() else ""
    root = runtime.data_root() / f"city-{size}{smoke}" if root is None else Path(root)
    scenes = scenes or scenes_at(size)

    def damaged() -> list[str]:
        return [split for split, count in scenes.items() if toycity.verify(root, split, scenes=count, size=size)]

    if not damaged():
        return root  # also where it lies on a disk that cannot be written to
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root / ".lock"):
        for split in damaged():
            toycity.export(root, split=split, scenes=scenes[split], size=size)
    return root


def city_instances(
    split: str, *, masks: bool = False, transforms: Callable | None = None, size: int | None = None
) -> CocoInstances:
    """The objects of the toy city at 128 × 128 pixels, "train" (4,000 scenes), "val" (200) or "test" (500).

    Only the split that is asked for is made, where it is missing. With `size`, images are resized; those of
    `FULL_SIZE` are rendered at that size, and are the ones that segmentation has, too. Items are those of
    `CocoInstances` without areas: the published scores tell small objects from large ones by their boxes.
    """
    how = {"masks": masks, "areas": False, "transforms": transforms, "size": size}
    return CocoInstances(*_city_coco(split, "instances", size), **how)


def city_captions(split: str, *, transforms: Callable | None = None, size: int | None = None) -> CocoCaptions:
    """The same scenes with the five sentences about each. Items are those of `CocoCaptions`."""
    return CocoCaptions(*_city_coco(split, "captions", size), transforms=transforms, size=size)


def _city_coco(split: str, what: str, size: int | None) -> tuple[Path, Path]:
    """The folder of photographs and the annotation file of a split of the toy city."""
    if split not in DETECTION_SCENES:
        raise ValueError(f"split: got {split!r}, expected one of {', '.join(DETECTION_SCENES)}")
    small = {"size": DETECTION_SIZE, "scenes": {split: DETECTION_SCENES[split]}}
    coco = toy_city(**({"size": FULL_SIZE} if size == FULL_SIZE else small)) / "coco"
    return coco / f"{split}2017", coco / f"annotations/{what}_{split}2017.json"


def _list(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {split}" for split, count in counts.items())
