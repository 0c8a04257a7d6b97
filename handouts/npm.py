"""Files from npm's packages, for what the handouts show without a network."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path


class Missing(Exception):
    """npm, or what was asked of it, cannot be had; the message begins a sentence that says so."""


def files(package: str, members: Sequence[str]) -> list[bytes]:
    """The contents of files of a package, as "mathjax@3"; `Missing` where there is no npm, or no network."""
    npm = shutil.which("npm")
    if npm is None:
        raise Missing("No npm (apt-get install npm)")
    with tempfile.TemporaryDirectory() as folder:
        packed = subprocess.run([npm, "pack", package, "--silent"], cwd=folder, capture_output=True, text=True)
        if packed.returncode:
            raise Missing(f"npm could not fetch {package}")
        with tarfile.open(next(Path(folder).glob("*.tgz"))) as archive:
            return [archive.extractfile(f"package/{member}").read() for member in members]
