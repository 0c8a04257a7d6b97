"""Run something in a copy of this process, which can be ended whatever it does, also within one operation in C.

The copy is made by fork, so it has the notebook's functions and data at once and its end hurts nothing here. Only Linux
has a fork that bears torch's threads: on macOS and Windows there is none.
"""

import contextlib
import faulthandler
import multiprocessing
import os
import pickle
import re
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from lecture_course.engine import output

LONGEST = 600.0  # seconds after which a copy that neither answers nor ends is ended


@dataclass(frozen=True)
class Ended:
    """What came of a copy of this process that gave no answer: it ended itself, or was ended within one operation."""

    status: int  # its exit status; the negative number of a signal that ended it
    within: list[tuple[str, int]]  # file and line of each call in which it was ended, the innermost first


class Failed(Exception):
    """The copy could not be made, or what ran in it raised: an error of ours."""


def available() -> bool:
    """Whether this system can run something in a copy of the process."""
    return sys.platform == "linux"


def run(work: Callable[[], Any], *, seconds: float) -> Any:
    """What `work()` returns, which must be picklable, or `Ended`; Failed where it raises.

    The copy is ended when no Python can run in it for `seconds`, because one operation in C never returns.
    """
    reader, writer = multiprocessing.Pipe(duplex=False)
    output.flush()  # or the copy would write it a second time
    with tempfile.TemporaryFile() as trace:
        pid = _fork()
        if pid == 0:
            _work(work, writer, trace, seconds)  # and never returns
        with contextlib.suppress(OSError):
            os.setpgid(pid, pid)  # as the copy does: whoever is first
        writer.close()
        try:
            if not reader.poll(LONGEST):
                raise Failed(f"no answer in {LONGEST:g} seconds")
            value, failed = pickle.loads(reader.recv_bytes())
            if failed:
                raise Failed(value)
            return value
        except EOFError:  # it ended without an answer
            pass
        finally:  # also when the student interrupts the kernel
            reader.close()
            status = _end(pid)
        trace.seek(0)
        calls = re.findall(r'File "(.*)", line (\d+) in', trace.read().decode(errors="replace"))
        return Ended(os.waitstatus_to_exitcode(status), [(name, int(line)) for name, line in calls])


def _fork() -> int:
    try:
        with warnings.catch_warnings():
            # Python 3.12 warns that threads of the parent may hold locks; what needs one is found idle by its caller.
            warnings.simplefilter("ignore", DeprecationWarning)
            return os.fork()
    except OSError as error:
        raise Failed(str(error)) from error


def _work(work: Callable[[], Any], writer: Connection, trace: Any, seconds: float) -> None:
    """Work and answer in the copy; ends it."""
    pid = os.getpid()
    try:
        os.setpgid(0, 0)  # a group of its own, which ends with all that the student's function starts
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        with output.descriptors_closed():
            # A thread of its own has no team of OpenMP's threads, which the copy lacks and would wait for.
            worker = threading.Thread(target=_answer, args=(work, writer, pid), daemon=True)
            worker.start()
            while worker.is_alive():
                # Its clock runs without Python; each turn of this loop winds it up again.
                faulthandler.dump_traceback_later(seconds, exit=True, file=trace)
                worker.join(0.1)
    finally:
        os._exit(0)


def _answer(work: Callable[[], Any], writer: Connection, pid: int) -> None:
    try:
        answer = pickle.dumps((work(), False))
    except BaseException as error:
        answer = pickle.dumps((repr(error), True))
    if os.getpid() == pid:  # and not a process that the student's function forked
        writer.send_bytes(answer)
    os._exit(0)


def _end(pid: int) -> int:
    """End the copy and what it started, unless it has just ended, and tell how it did."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    try:
        return os.waitpid(pid, 0)[1]
    except ChildProcessError:  # who ignores SIGCHLD is told of no end
        return 0
