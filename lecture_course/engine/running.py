"""Run a student's function on inputs so that nothing it does can hurt the notebook: not even never coming back."""

import contextlib
import ctypes
import inspect
import random
import sys
import threading
import time
import traceback
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from lecture_course.engine import values
from lecture_course.engine.definitions import Case
from lecture_course.engine.output import Printed, redirected

PATIENCE = 5.0  # seconds in which a deep recursion can return from all its calls
GRACE = 1.0  # seconds in which a function out of time is asked to stop before it is left behind


class OutOfTime(BaseException):
    """Raised inside a function whose time is up; no Exception, so that `except Exception` does not catch it."""


@dataclass
class Call:
    """What came of one call: a value or an error, and what the function did besides."""

    value: Any = None
    error: BaseException | None = None
    line: str = ""  # where the error arose: "line 3: return x[5]"
    printed: str = ""
    changed: bool = False  # it wrote into its input


@dataclass
class _Watch:
    """What the thread that waits and the thread that works tell each other."""

    time_is_up: bool = False
    inside: bool = False  # the student's function is running, and not our own code around it


def run(function: Callable, cases: Sequence[Case], *, seconds: float) -> list[Call]:
    """Call `function` on each case, in its own thread, for at most `seconds` in all; it cannot make this raise.

    The inputs are copies. Random state, default type, recursion limit and output streams are left as they were; a
    thread has a gradient mode of its own. A loop in Python is stopped when the time is up. What cannot be stopped,
    a `sleep` for instance, is left behind in its thread and its results are ignored.
    """
    calls: list[Call] = []
    printed, watch, limit = Printed(), _Watch(), sys.getrecursionlimit()

    def work() -> None:
        for number, case in enumerate(cases):
            if watch.time_is_up:
                return
            calls.append(call(function, case, printed=printed, watch=watch, seed=number))

    with _left_as_found(), redirected(printed):
        worker = threading.Thread(target=work, daemon=True)
        worker.start()
        try:
            worker.join(seconds)
        finally:  # also when the student interrupts the kernel
            _stop(worker, watch)
            _put_back(limit, worker)
    done = calls[: len(cases)]
    missing = len(cases) - len(done)
    return done + [Call(error=OutOfTime(), printed=printed.take() if not i else "") for i in range(missing)]


def call(
    function: Callable, case: Case, *, printed: Printed | None = None, watch: _Watch | None = None, seed: int = 0
) -> Call:
    """Call `function` once on copies of the case's input; whatever it raises is kept in the result."""
    printed, watch = printed or Printed(), watch or _Watch()
    args, kwargs = values.copy(tuple(case.args)), values.copy(dict(case.kwargs))
    # Not torch.manual_seed, which would also seed the GPU that the notebook may be training on.
    torch.default_generator.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    random.seed(seed)
    result = Call()
    try:
        watch.inside = True
        result.value = function(*args, **kwargs)
        watch.inside = False
    except BaseException as error:
        watch.inside = False
        result.line = _line(error, function)
        result.error = error.with_traceback(None)  # which would keep all of the function's tensors alive
    result.printed = printed.take()
    result.changed = not values.same([*case.args, *case.kwargs.values()], [*args, *kwargs.values()])
    return result


def _line(error: BaseException, function: Callable) -> str:
    """The student's own line in the traceback, the last one in the file or cell where the function stands."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if code is not None and frame.filename == code.co_filename]
    return f"line {own[-1].lineno}: {own[-1].line}" if own and own[-1].line else ""


def _stop(worker: threading.Thread, watch: _Watch) -> None:
    """Raise OutOfTime in a thread until it ends, or for as long as GRACE."""
    watch.time_is_up = True
    interval, complain = sys.getswitchinterval(), sys.unraisablehook
    end = time.perf_counter() + GRACE
    try:
        # The exception also arrives where none can be passed on, in a callback of the garbage collector for instance.
        # That is no news; what takes it must not be Python, where the next one would arrive.
        sys.unraisablehook = deque(maxlen=0).append
        # Threads take turns often, so that the exception also arrives in the handler of a loop that catches it.
        sys.setswitchinterval(1e-5)
        while worker.is_alive() and time.perf_counter() < end:
            if watch.inside:
                _throw(worker, ctypes.py_object(OutOfTime))
            time.sleep(1e-4)
    finally:
        sys.setswitchinterval(interval)
        _throw(worker, None)  # takes back one that has not arrived
        sys.unraisablehook = complain


def _throw(worker: threading.Thread, error: ctypes.py_object | None) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(worker.ident), error)


def _put_back(limit: int, worker: threading.Thread) -> None:
    """Put back the recursion limit; but Python ends where it falls far below the depth of a thread that still calls."""
    if sys.getrecursionlimit() == limit:
        return
    worker.join(PATIENCE)
    if worker.is_alive():
        threading.Thread(target=_put_back_later, args=(limit, worker), daemon=True).start()
    else:
        sys.setrecursionlimit(limit)


def _put_back_later(limit: int, worker: threading.Thread) -> None:
    worker.join()
    sys.setrecursionlimit(limit)


def answers(function: Callable, cases: Sequence[Case]) -> list[Call]:
    """Call a function of the course on each case, without thread and time limit; an error is an answer, too."""
    with _left_as_found():
        return [call(function, case) for case in cases]


@contextlib.contextmanager
def _left_as_found() -> Iterator[None]:
    """Put back the global state that a student's function may change."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    dtype = torch.get_default_dtype()
    try:
        with torch.random.fork_rng(devices=()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
        torch.set_default_dtype(dtype)
