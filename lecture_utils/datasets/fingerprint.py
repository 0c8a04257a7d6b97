"""Which data a training saw: a checksum of each of its files, so that corrected labels are told from the old ones."""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from zlib import crc32

from torch.utils.data import Dataset

NAMED = 5000  # as many files are told apart by name, so that a checkpoint stays small; more count together
WHOLE = 2**30  # bytes of photographs that are read to the last; of more, three pieces of each file
_PIECE = 2**16
_SHOWN = 3


def fingerprint(data: Dataset, *, labels: bool = True) -> dict[str, str] | None:
    """Size and checksum of each file that a data set reads, by its name; None for what is painted, not read.

    Times do not count: a copied folder is the same data. Files that hold labels are read whole, photographs too unless
    they are above `WHOLE` bytes together. Above `NAMED` photographs there is one entry for each of their folders.
    """
    reader = reader_of(data)
    if reader is None:
        return None
    annotations, photographs = reader.sources
    root = os.path.commonpath([path.parent for path in (*annotations, *photographs)])
    whole = sum(path.stat().st_size for path in photographs if path.is_file()) <= WHOLE
    found = _digests(annotations, root, whole=True) if labels else {}
    seen = _digests(photographs, root, whole=whole)
    return found | (seen if len(seen) <= NAMED else _together(seen))


def reader_of(data: Dataset) -> Dataset | None:
    """The reader of files inside a data set, however wrapped; None where nothing is read."""
    while data is not None and not hasattr(data, "sources"):
        inner = (getattr(data, name, None) for name in ("dataset", "pairs"))
        data = next((one for one in inner if one is not None), None)
    return data


def difference(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """What differs between two fingerprints, in words: "2 files differ (a, b), 1 is new (c)"; "" for nothing."""
    kinds = {
        ("file differs", "files differ"): [name for name in now if name in before and before[name] != now[name]],
        ("is new", "are new"): [name for name in now if name not in before],
        ("is gone", "are gone"): [name for name in before if name not in now],
    }
    told = [f"{len(names)} {kind[len(names) > 1]} ({_first(names)})" for kind, names in kinds.items() if names]
    return ", ".join(told)


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")


def _digests(files: Sequence[Path], root: str, *, whole: bool) -> dict[str, str]:
    names = [Path(os.path.relpath(file, root)).as_posix() for file in files]
    with ThreadPoolExecutor() as pool:
        return dict(zip(names, pool.map(lambda file: _digest(file, whole), files), strict=True))


def _digest(file: Path, whole: bool) -> str:
    try:
        size, check = file.stat().st_size, 0
        with open(file, "rb") as content:
            for start in range(0, size, _PIECE) if whole else sorted({0, size // 2, max(0, size - _PIECE)}):
                content.seek(start)
                check = crc32(content.read(_PIECE), check)
    except OSError:
        return "cannot be read"  # whoever needs the file will say so
    return f"{size} bytes, {check:08x}"


def _together(digests: Mapping[str, str]) -> dict[str, str]:
    folders: dict[str, list[str]] = {}
    for name in sorted(digests):
        folders.setdefault(name.rpartition("/")[0], []).append(f"{name} {digests[name]}")
    checks = {name: crc32("\n".join(lines).encode()) for name, lines in folders.items()}
    return {f"{name}/*": f"{len(folders[name])} files, {check:08x}" for name, check in checks.items()}
