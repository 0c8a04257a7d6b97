"""Flickr8k as Kaggle has it: photographs in `Images`, sentences in `captions.txt` (Hodosh et al., JAIR 2013)."""

import csv
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from zlib import crc32

from torch.utils.data import Dataset
from torchvision import tv_tensors

from lecture_utils.datasets.inventory import Inventory
from lecture_utils.datasets.reading import (
    check_on_error,
    enough_for,
    inside,
    keep_readable,
    read_photo,
    resizing,
    to_tensor,
)

HEADER = ["image", "caption"]
SPLITS = {"train": range(2, 10), "val": range(1, 2), "test": range(1)}  # tenths


class Flickr8k(Dataset):
    """Photographs with the sentences written about them, from a folder with `Images` and `captions.txt`.

    Items are those of `CocoCaptions`: `tv_tensors.Image` (3, H, W) uint8 and a list of str, by file name.
    `captions.txt` is a CSV file with the header `image,caption`, a line for each sentence; a comma within a sentence
    may stand in quotes or without.

    The folder names no splits: eight tenths of the photographs are "train", one "val" and one "test", by a checksum of
    the file name, so a photograph and all its sentences are always in the same one. `inventory` counts what the folder
    holds. Raises FileNotFoundError or ValueError that names the file: at opening for photographs that are not there or
    not in `Images` and for blank sentences, else when their turn comes; on_error="skip" leaves out bad photographs with
    one warning. With `size`, one number or (height, width), photographs are resized as they are read.
    """

    def __init__(
        self,
        root: Path | str,
        split: str,
        *,
        transforms: Callable | None = None,
        on_error: str = "raise",
        size: int | tuple[int, int] | None = None,
    ) -> None:
        check_on_error(on_error)
        if split not in SPLITS:
            raise ValueError(f"split: got {split!r}, expected one of {', '.join(SPLITS)}")
        self.root, self.split, self.transforms = Path(root), split, transforms
        self.resize, self._least = resizing(size), enough_for(size)
        if not (self.root / "Images").is_dir():
            raise FileNotFoundError(
                f"{self.root / 'Images'}: no such folder; expected Flickr8k's Images and captions.txt"
            )
        file = self.root / "captions.txt"
        everything = read_captions(file)
        self._captions = {
            name: captions
            for name, captions in sorted(everything.items())
            if crc32(name.encode()) % 10 in SPLITS[split]
        }
        self.names = list(self._captions)
        if not self.names:
            raise ValueError(f"{file}: no photograph of it falls into the split {split!r}")
        there = set(os.listdir(self.root / "Images"))
        self._problems = {name: found for name in self.names if (found := self._problem(name, there))}
        sentences = sum(map(len, self._captions.values()))
        counts = {"photographs": len(self.names), "sentences": sentences, "photographs of all splits": len(everything)}
        self.inventory = Inventory(file, counts | {"photographs without a sentence": len(there - everything.keys())})
        if on_error == "raise":
            self.inventory.refuse_problems(list(self._problems.values()))
        else:
            self.names = keep_readable(self.names, self._read, source=file)
            self.inventory.counts["skipped"] = len(self._captions) - len(self.names)

    def _problem(self, name: str, there: set[str]) -> str | None:
        """Why a photograph cannot be used, as far as can be told without decoding it."""
        try:
            path = self.root / "Images" / inside(name)
        except ValueError as problem:
            return str(problem)
        if not all(map(str.strip, self._captions[name])):
            return f"{name}: got an empty caption, expected a sentence"
        return None if name in there or path.exists() else f"{path}: no such file"

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[tv_tensors.Image, list[str]]:
        image, captions = self._read(self.names[index])
        return (image, captions) if self.transforms is None else self.transforms(image, captions)

    @property
    def sources(self) -> tuple[list[Path], list[Path]]:
        """The file of the sentences, and the photographs."""
        return [self.root / "captions.txt"], [self.root / "Images" / name for name in self.names]

    def captions(self, index: int) -> list[str]:
        """The sentences alone, without decoding the photograph."""
        return list(self._captions[self.names[index]])

    def target_count(self, index: int) -> int:
        """How many sentences a photograph has."""
        return len(self._captions[self.names[index]])

    def _read(self, name: str) -> tuple[tv_tensors.Image, list[str]]:
        if name in self._problems:
            raise ValueError(self._problems[name])
        photo = read_photo(self.root / "Images" / inside(name), least=self._least)
        return self.resize(tv_tensors.Image(to_tensor(photo)), list(self._captions[name]))


def read_captions(file: Path) -> dict[str, list[str]]:
    """The sentences of each file name, in the file's order."""
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such file; expected Flickr8k's Images and captions.txt")
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            return _sentences(csv.reader(lines))
    except (ValueError, csv.Error) as problem:
        raise ValueError(f"{file}: {problem}") from problem


def _sentences(rows: Iterator[list[str]]) -> dict[str, list[str]]:
    if (header := next(rows, [])) != HEADER:
        raise ValueError(f"got the header {','.join(header)!r}, expected {','.join(HEADER)!r}")
    found: dict[str, list[str]] = {}
    for row in filter(None, rows):
        caption = ",".join(row[1:]).strip()  # a comma may stand without quotes
        if len(row) < 2 or not row[0] or "\n" in caption:  # a quote that does not end swallows the lines behind it
            raise ValueError(f"line {rows.line_num}: got {str(row)[:80]}, expected image,caption")
        found.setdefault(row[0], []).append(caption)
    return found
