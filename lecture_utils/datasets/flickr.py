"""Flickr8k as Kaggle has it: photographs in `Images`, sentences in `captions.txt` (Hodosh et al., JAIR 2013)."""

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from zlib import crc32

from torch.utils.data import Dataset
from torchvision import tv_tensors

from lecture_utils.datasets.reading import check_on_error, keep_readable, read_photo, resizing, to_tensor

HEADER = ["image", "caption"]
SPLITS = {"train": range(2, 10), "val": range(1, 2), "test": range(1)}  # tenths


class Flickr8k(Dataset):
    """Photographs with the sentences written about them, from a folder with `Images` and `captions.txt`.

    Items are those of `CocoCaptions`: `tv_tensors.Image` (3, H, W) uint8 and a list of str, by file name.
    `captions.txt` is a CSV file with the header `image,caption`, a line for each sentence; a comma within a sentence
    may stand in quotes or without.

    The folder names no splits: eight tenths of the photographs are "train", one "val" and one "test", by a checksum of
    the file name, so a photograph and all its sentences are always in the same one. Raises FileNotFoundError or
    ValueError that names the file; on_error="skip" leaves out bad photographs with one warning. With `size`, one number
    or (height, width), photographs are resized as they are read.
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
        self.resize = resizing(size)
        if not (self.root / "Images").is_dir():
            raise FileNotFoundError(
                f"{self.root / 'Images'}: no such folder; expected Flickr8k's Images and captions.txt"
            )
        self._captions = {
            name: captions
            for name, captions in sorted(read_captions(self.root / "captions.txt").items())
            if crc32(name.encode()) % 10 in SPLITS[split]
        }
        self.names = list(self._captions)
        if not self.names:
            raise ValueError(f"{self.root / 'captions.txt'}: no photograph of it falls into the split {split!r}")
        if on_error == "skip":
            self.names = keep_readable(self.names, self._read, source=self.root / "captions.txt")

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

    def _read(self, name: str) -> tuple[tv_tensors.Image, list[str]]:
        photo = read_photo(self.root / "Images" / name)
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
