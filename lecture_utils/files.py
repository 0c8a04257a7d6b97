"""Files that are whole or not there at all, whatever happens to the process that writes them.

Knows neither torch nor any format: weights, studies, executed notebooks and the generated city are written with it.
"""

import errno
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows, where nobody can remove a file that another process has open
    fcntl = None

_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}


def write(path: str | os.PathLike, data: bytes) -> Path:
    """Write a whole file or nothing: under a temporary name beside it, onto the disk, then renamed.

    Folders are made as needed, and what killed writers of the same file left is removed. An `OSError` names the file
    and, where the disk is full, the bytes that are needed; what was there before is whole.
    """
    path = Path(path)
    with prepared(path, data) as temporary:
        os.replace(temporary, path)
    with suppress(OSError):  # the new name itself, where a folder can be opened (not on Windows)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    return path


@contextmanager
def prepared(path: Path, data: bytes) -> Iterator[Path]:
    """Give a temporary file beside `path` that holds the data, on the disk, to be renamed; removed unless it was."""
    with explained(path, len(data)):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_temporary(path)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
        with _create(temporary) as file:
            try:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                if fcntl is None:
                    file.close()  # or Windows would not rename it
                yield temporary
            finally:  # Ctrl-C as well
                if fcntl is None:
                    file.close()
                temporary.unlink(missing_ok=True)


@contextmanager
def explained(path: Path, needed: int) -> Iterator[None]:
    """Name the file, and where the disk is full the bytes that are needed, in what the system raises."""
    try:
        yield
    except OSError as problem:
        why = problem.strerror or str(problem)
        if problem.errno in _FULL:
            why = f"the disk is full: {needed:,} bytes are needed, {free_bytes(path):,} are free"
        kept = "what was there before is whole" if os.path.exists(path) else "nothing was written"
        kind = next(kind for kind in type(problem).__mro__ if kind.__module__ == "builtins")
        said = kind(f"{path}: cannot be written ({why}); {kept}")
        said.errno = problem.errno
        raise said from problem


def free_bytes(path: Path) -> int:
    """The room that is left in the folder `path`, or where it would be."""
    path = Path(path).absolute()
    return shutil.disk_usage(next(home for home in (path, *path.parents) if home.is_dir())).free


def require_folder(argument: str, path: Path) -> Path:
    """Refuse, in the name of the argument, a path at which neither a folder is nor one can be made."""
    there = next((place for place in (path, *path.absolute().parents) if os.path.lexists(place)), path)
    if not there.is_dir():
        what = "a file" if there.exists() else "a link to nothing"
        raise ValueError(
            f"{argument}: expected a folder, got {path}{'' if there == path else f', and {there}'} is {what}"
        )
    return path


def remove_temporary(path: str | os.PathLike) -> None:
    """Remove what killed writers of `path` left beside it under temporary names; a living one's stays."""
    path = Path(path)
    name = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]+\.tmp")
    for leftover in path.parent.glob(".*.tmp"):
        if name.fullmatch(leftover.name):
            with suppress(OSError):  # it is held, or has just been renamed
                _remove_unheld(leftover)


def _create(temporary: Path) -> BinaryIO:
    """Open a new file and hold it while it is open: the system lets go of what a dead process held."""
    while True:
        file = open(temporary, "xb")  # noqa: SIM115 – closed by the caller
        if fcntl is None:
            return file
        with suppress(OSError):  # a disk that knows no locks
            fcntl.flock(file, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):  # removed by somebody who found it before it was held
            if os.path.samestat(os.fstat(file.fileno()), os.stat(temporary)):
                return file
        file.close()


def _remove_unheld(leftover: Path) -> None:
    if fcntl is None:
        return leftover.unlink()
    with open(leftover, "r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        leftover.unlink()
