"""Keep a submission's kernel away from everything but Python, by bubblewrap: Linux's containers without a service.

The kernel sees the system's programs, this Python, the course and the submission, all read-only, and an empty /tmp. It
sees no other submission, no gradebook, no home folder, no process, no variable of the teacher's, and no network.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
from functools import cache
from pathlib import Path

from lecture_utils import runtime

SYSTEM = ("/usr", "/bin", "/lib", "/lib32", "/lib64", "/sbin", "/etc/ld.so.cache", "/etc/fonts", "/etc/alternatives")
KEPT = ("PATH", "LANG", "LC_ALL", "OMP_NUM_THREADS", "NBGRADER_EXECUTION")  # variables, with all of the course's own


@cache
def available() -> bool:
    """Whether bubblewrap is here and may do its work."""
    if shutil.which("bwrap") is None:
        return False
    command = [*prefix(read=[], write=[]), sys.executable, "-c", "import torch"]
    return subprocess.run(command, capture_output=True, cwd="/").returncode == 0


def prefix(*, read: list[Path], write: list[Path]) -> list[str]:
    """What to put before a command so that it sees only these folders, besides Python and the course."""
    course = Path(__file__).resolve().parents[2]
    python = [sys.prefix, sys.base_prefix, *(sysconfig.get_paths()[kind] for kind in ("purelib", "platlib"))]
    data = runtime.data_root()
    seen = [*SYSTEM, *python, course / "lecture_utils", course / "lecture_course", course / "data", data, *read]
    words = ["bwrap", "--unshare-all", "--die-with-parent", "--uid", "65534", "--gid", "65534"]
    words += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]
    for place in seen:
        words += ["--ro-bind-try", str(place), str(place)]
    for place in write:
        words += ["--bind", str(place), str(place)]
    own = {name: value for name, value in os.environ.items() if name in KEPT or name.startswith("LECTURE_")}
    own |= {"HOME": "/tmp", "PYTHONPATH": str(course), "LECTURE_DATA": str(data) if data.is_dir() else "/tmp/data"}
    words.append("--clearenv")
    for name, value in own.items():
        words += ["--setenv", name, value]
    return words
