"""Where a folder holds what a command reads: the layouts that are known, and a word where it has another."""

import re
from pathlib import Path

from lecture_utils.datasets.flickr import Flickr8k
from lecture_utils.datasets.foreign import annotated, recognise
from lecture_utils.datasets.pairs import find_split, list_images

SPLITS = ("train", "val", "test")
PAGE = "handouts/own_data.md"
PAIRS, INSTANCES, CAPTIONS = "pairs", "instances", "captions"
_COCO = "{{split}}2017/ with annotations/{kind}_{{split}}2017.json (COCO; both may lie in coco/)"
_LAYOUTS = {
    PAIRS: ["{split}/1.jpg …, each a photograph beside its mask (Cityscapes pairs)"],
    INSTANCES: [_COCO.format(kind=INSTANCES)],
    CAPTIONS: [_COCO.format(kind=CAPTIONS), "Images/ with captions.txt (Flickr8k)"],
}
_SERVES = {
    PAIRS: "Cityscapes pairs, which are for segmentation",
    INSTANCES: "COCO with boxes, which is for detectors",
    CAPTIONS: "photographs with captions, which are for captioners",
}
_SHOWN, _LOOKED_AT = 6, 100


def folder(root: Path | str) -> Path:
    """`root`, which must be a folder that can be read and is not empty. Raises ValueError or FileNotFoundError."""
    root = Path(root)
    if root.is_file():
        packed = re.search(r"\.(zip|tar|tgz|gz|bz2|xz|7z|rar)$", root.name, re.IGNORECASE)
        mend = "unpack it and give that folder" if packed else "give the folder it lies in"
        raise ValueError(f"root: got the file {root}, expected a folder; {mend}")
    if not root.is_dir():
        raise FileNotFoundError(f"root: {root}: no such folder; see {PAGE} for what it should hold")
    try:
        empty = next(root.iterdir(), None) is None
    except PermissionError:
        raise ValueError(f"root: {root} may not be read by you; change its permissions, or copy it") from None
    if empty:
        raise FileNotFoundError(f"root: {root} is empty; see {PAGE} for what it should hold")
    return root


def pairs_root(root: Path | str, split: str) -> Path:
    """The folder to give to `CityscapesPairs`; FileNotFoundError that says what was looked for and what is there."""
    root = folder(root)
    if not _has_pairs(root, split):
        raise FileNotFoundError(explain(root, PAIRS, split))
    return root


def coco_files(root: Path | str, split: str, kind: str) -> tuple[Path, Path]:
    """The folder of photographs and the annotation file of a split, of `kind` "instances" or "captions"."""
    root = folder(root)
    found = _find_coco(root, split, kind)
    if found is None:
        raise FileNotFoundError(explain(root, kind, split))
    return found


def is_flickr8k(root: Path | str) -> bool:
    """Whether a folder is laid out as Kaggle's Flickr8k, or as half of it."""
    return (Path(root) / "captions.txt").exists() or (Path(root) / "Images").is_dir()


def splits(root: Path | str, kind: str) -> list[str]:
    """The splits that a folder holds in a layout of this kind: of "train", "val" and "test" those that are there."""
    root = Path(root)
    if kind == CAPTIONS and is_flickr8k(root):
        return [split for split in SPLITS if _has_flickr8k(root, split)]
    return [split for split in SPLITS if (_has_pairs(root, split) if kind == PAIRS else _find_coco(root, split, kind))]


def explain(root: Path, kind: str, split: str) -> str:
    """Why a folder cannot be read: what was looked for, what is there, what that looks like, and where to read on."""
    held = splits(root, kind)
    if held:
        mend = f"give --split {held[-1]}, or add it" if split != "train" else "add it: it is what is learned from"
        return f"split: {root} has no {split!r}, only {' and '.join(map(repr, held))}; {mend} ({PAGE} shows how)"
    # Any image in a folder "train" could be a pair, so there a layout of others comes first.
    nearby = [] if kind == PAIRS and annotated(root) else _nearby(root)
    if better := next((home for home in nearby if splits(home, kind)), None):
        return f"root: {root} does not hold the data itself; give --root {better}"
    wanted = ", or ".join(layout.format(split=split) for layout in _LAYOUTS[kind])
    names = [path.name + "/" * path.is_dir() for path in sorted(root.iterdir())]
    there = ", ".join(names[:_SHOWN]) + f" and {len(names) - _SHOWN} more" * (len(names) > _SHOWN)
    serves = [one for one in (INSTANCES, CAPTIONS) if splits(root, one)] or [PAIRS] * bool(splits(root, PAIRS))
    sure = serves and (serves != [PAIRS] or not annotated(root))  # see above
    known = _SERVES[serves[0]] if sure else recognise(root)
    looks = f". That looks like {known}" if known else ""
    return f"root: looked in {root} for {wanted}; found {there}{looks}. {PAGE} explains how to get there"


def _nearby(root: Path) -> list[Path]:
    """The folders inside `root` and above it, because people often name the neighbouring level."""
    inside = _folders(root)
    return [*inside, *(deeper for path in inside[:_SHOWN] for deeper in _folders(path)), *root.absolute().parents[:2]]


def _folders(home: Path) -> list[Path]:
    try:
        return sorted(path for path in home.iterdir() if path.is_dir())[:_LOOKED_AT]
    except OSError:
        return []


def _has_pairs(root: Path, split: str) -> bool:
    try:
        return bool(list_images(find_split(root, split)))
    except OSError:
        return False


def _has_flickr8k(root: Path, split: str) -> bool:
    try:
        return bool(len(Flickr8k(root, split)))
    except (OSError, ValueError):
        return False


def _find_coco(root: Path, split: str, kind: str) -> tuple[Path, Path] | None:
    for home in (root / "coco", root):
        images, annotations = home / f"{split}2017", home / f"annotations/{kind}_{split}2017.json"
        if images.is_dir() and annotations.is_file():
            return images, annotations
    return None
