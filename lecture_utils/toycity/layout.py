"""Where the files of a split lie below a folder, and which of those that lie there the course made."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

from lecture_utils import files

SPLITS = {"train": 0, "val": 10_000_000, "test": 20_000_000}  # the first seed of each
SPLIT_SCENES = 10_000_000


def folders(split: str) -> tuple[str, str]:
    return f"cityscapes_data/{split}", f"coco/{split}2017"


def annotation_files(split: str) -> tuple[str, str]:
    return f"coco/annotations/instances_{split}2017.json", f"coco/annotations/captions_{split}2017.json"


def mark(split: str) -> str:
    """The file that says: this split was made by the course, of at most so many scenes, and may be made again."""
    return f".toy-city-{split}"


def refuse_strangers(out: Path, split: str) -> None:
    """Raise ValueError where the split's files would take the place of others that the course did not make."""
    files.require_folder("out", out)
    places = [*folders(split), *annotation_files(split), f"manifest_{split}.json"]
    there = [out / name for name in places if os.path.lexists(out / name)]
    strangers = [out / name for name in ("cityscapes_data", "coco", "coco/annotations") if (out / name).is_file()]
    if (out / mark(split)).is_file():
        is_own = _own_photographs(out, split)
        strangers += [path for path in there if not _is_own_kind(path)]
        for folder in (path for path in there if path.is_dir()):
            strangers += sorted(path for path in folder.iterdir() if not is_own(path))
    else:
        strangers += there
    if strangers:
        first = ", ".join(map(str, strangers[:3])) + (f" and {len(strangers) - 3} more" if len(strangers) > 3 else "")
        said = "is there already and is no toy city; move it"
        if len(strangers) > 1:
            said = "are there already and are no toy city; move them"
        raise ValueError(f"out: {first} {said}, or choose another folder")


def _is_own_kind(path: Path) -> bool:
    """Whether a folder is a folder, and annotations are none that a labelling tool wrote over the course's."""
    if path.is_symlink() or path.is_dir() == bool(path.suffix):
        return False
    if path.is_dir() or path.name.startswith("manifest"):
        return True
    with open(path, "rb") as file:
        head = file.read(200)
    return b"toy city" in head or not head.lstrip().startswith((b"{", b"["))  # torn ones are the course's


def _own_photographs(out: Path, split: str) -> Callable[[Path], bool]:
    """What tells the photographs of a split that the course made: the manifest names them.

    A run that was killed while it moved its files leaves no manifest, but in the mark the number of its scenes.
    """
    known, most = made(out, split)

    def is_own(path: Path) -> bool:
        if path.name in (".DS_Store", "Thumbs.db", "desktop.ini"):
            return True  # nobody's: the system puts them there
        if known is not None:
            return path.relative_to(out).as_posix() in known
        number = re.fullmatch(r"0*([1-9]\d{0,7})\.jpg", path.name)
        return number is not None and int(number[1]) <= most

    return is_own


def made(out: Path, split: str) -> tuple[set[str] | None, int]:
    """The files that the manifest names, None without a whole one, and the number of scenes there may be."""
    told = (out / mark(split)).read_text(errors="replace") if (out / mark(split)).is_file() else "0"
    most = int(told) if told.isdecimal() and len(told) < 9 else 0  # the mark of an earlier version is empty
    try:
        manifest = json.loads((out / f"manifest_{split}.json").read_text())
        known, scenes = set(manifest["files"]), manifest["scenes"]
        return (known if len(known) == 2 * scenes + len(annotation_files(split)) else None), max(most, scenes)
    except (OSError, ValueError, KeyError, TypeError):
        return None, most
