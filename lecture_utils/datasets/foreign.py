"""Which layout of another tool a folder has: told by names in it, by how a file begins, or by how its folders lie."""

import re
from collections.abc import Sequence
from pathlib import Path

_IMAGE = re.compile(r"\.(jpe?g|png|bmp|webp|tiff?|gif)$", re.IGNORECASE)
_DEEP, _MOST, _PEEK = 4, 300, 8192  # folders in each other, names in each, bytes of a file

_BY_NAME = {
    "Cityscapes as published": r"(^|/)(leftImg8bit|gtFine|gtCoarse)/|_gtFine_(color|labelIds)\.png$",
    "Roboflow's export of COCO": r"(^|/)_annotations\.coco\.json$",
    "COCO of another year": r"(^|/)(train|val|test)20(1[0-689]|2\d)/|_(train|val|test)20(1[0-689]|2\d)\.json$",
    "Flickr30k": r"(^|/)(results(_20130124)?\.(csv|token)|flickr30k[^/]*)(/|$)",
    "Flickr8k as published": r"(^|/)(Flickr8k\.(lemma\.)?token\.txt|Flick(e)?r8k_Dataset/)",
    "YOLO": r"(^|/)(data|dataset)\.ya?ml$|(^|/)labels/(.*/)?[^/]+\.txt$|(^|/)(obj\.(names|data)|classes\.txt)$",
    "an imagefolder of Hugging Face": r"(^|/)metadata\.(jsonl|csv)$",
    "Open Images": r"annotations-bbox\.csv$",
    "KITTI": r"(^|/)(label_2|image_2)/",
    "Pascal VOC": r"(^|/)(VOCdevkit|JPEGImages|ImageSets)/",
    "a table or a file of records": r"\.(parquet|arrow|tfrecords?|lmdb|mdb|h5|hdf5|npz)$",
    "Supervisely": r"(^|/)ann/[^/]+\.(jpe?g|png)\.json$",
}
_BY_CONTENT = {
    "LabelMe": ("json", r'"(shapes|imagePath)"\s*:'),
    "the VGG Image Annotator": ("json", r'"(_via_img_metadata|regions|shape_attributes)"\s*:'),
    "Label Studio": ("json", r'"(completed_by|from_name|annotation_id)"\s*:'),
    "COCO with other names": ("json", r'"(images|annotations|categories)"\s*:\s*\['),
    "CVAT": ("xml", r"<annotations>"),
    "Pascal VOC": ("xml", r"<annotation\b"),
}
_ARCHIVE = re.compile(r"\.(zip|tar|tgz|gz|bz2|xz|7z|rar)$", re.IGNORECASE)
_MASKS = {"masks", "mask", "labels", "label", "annotations", "segmentation", "segmentationclass", "gt", "ground_truth"}
_SPLITS = {"train", "val", "valid", "validation", "test"}


def recognise(root: Path) -> str | None:
    """What a folder looks like, as in "that looks like …"; None for what is not known."""
    names = _walk(root)
    return annotated(root, names) or _by_folders(names)


def annotated(root: Path, names: Sequence[str] | None = None) -> str | None:
    """The same, but only for a layout that holds annotations of some kind."""
    names = _walk(root) if names is None else names
    for layout, pattern in _BY_NAME.items():
        if any(re.search(pattern, name, re.IGNORECASE) for name in names):
            return layout
    for suffix in ("json", "xml"):
        files = [root / name for name in names if name.lower().endswith(f".{suffix}")][:3]
        begins = [text for file in files if (text := _beginning(file))]
        for layout, (kind, pattern) in _BY_CONTENT.items():
            if kind == suffix and any(re.search(pattern, text) for text in begins):
                return layout
    if any(part.lower() in _MASKS for holder in _holders(names) for part in holder.parts):
        return "photographs and masks in folders of their own"
    return None


def _holders(names: Sequence[str]) -> set[Path]:
    return {Path(name).parent for name in names if _IMAGE.search(name)}


def _by_folders(names: Sequence[str]) -> str | None:
    """An archive, or images alone: in a folder for each class, or simply side by side."""
    if packed := [name for name in names if _ARCHIVE.search(name)]:
        return f"an archive that is still packed ({packed[0]})"
    holders = _holders(names)
    if not holders:
        return None
    classes = {holder.name for holder in holders if holder.parts} - _SPLITS
    if len(classes) > 1:
        return f"a folder for each class ({', '.join(sorted(classes)[:2])}, …), which has no labels for this task"
    return "photographs without labels"


def _walk(root: Path) -> list[str]:
    """The names of folders (with a slash behind) and files below `root`, as far as they tell a layout."""
    found, level = [], [root]
    for _ in range(_DEEP):
        here = [path for home in level[:_MOST] for path in _inside(home)]
        found += [path.relative_to(root).as_posix() + "/" * path.is_dir() for path in here]
        level = [path for path in here if path.is_dir()]
    return found


def _inside(home: Path) -> list[Path]:
    try:
        return sorted(path for path in home.iterdir() if not path.name.startswith((".", "__MACOSX")))[:_MOST]
    except OSError:
        return []


def _beginning(file: Path) -> str:
    try:
        with open(file, "rb") as content:
            return content.read(_PEEK).decode("utf-8", "replace")
    except OSError:
        return ""
