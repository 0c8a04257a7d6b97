"""check in a copy of the process: what never returns, ends Python or writes past it hurts no notebook."""

import dataclasses
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
import warnings

import psutil
import pytest
import torch

from lecture_course import check
from lecture_course.engine import checking, forked, running
from tests.course.test_engine import EXERCISE, enlarge

copies = pytest.mark.skipif(not forked.available(), reason="only Linux can run a check in a copy of the process")


@pytest.fixture(autouse=True)
def course(monkeypatch):
    patient = dataclasses.replace(EXERCISE, name="00.patient", seconds=60)
    monkeypatch.setattr(checking, "find", {EXERCISE.name: EXERCISE, patient.name: patient}.__getitem__)
    monkeypatch.setattr(checking, "_statuses", {})


def checked(function, name=EXERCISE.name):
    return check(name, function)


def power(x, factor=2):
    return 10**10**10


def total(x, factor=2):
    y = range(10**13)
    return sum(y)


def backtracks(x, factor=2):
    return re.match("(a+)+$", "a" * 60 + "b")


@copies
@pytest.mark.parametrize(
    ("function", "line"),
    [(power, "return 10**10**10"), (total, "return sum(y)"), (backtracks, "return re.match(")],
)
def test_an_operation_in_c_that_never_returns_is_ended_and_its_line_named(function, line):
    start, before = time.perf_counter(), psutil.Process().children()
    outcome = checked(function)
    assert time.perf_counter() - start < EXERCISE.seconds + 2 * running.GRACE + 20  # a busy machine
    assert outcome.status == checking.NOT_YET
    assert "not done in 0.5 seconds" in outcome.lines[0]
    assert line in outcome.lines[0]
    assert psutil.Process().children() == before  # other tests of this process may have left theirs
    assert checked(enlarge).status == checking.CORRECT


def leaves(x, factor=2):
    os._exit(3)


def crashes(x, factor=2):
    signal.pthread_kill(threading.get_ident(), signal.SIGSEGV)  # as a fault of this thread's own


def takes_all_memory(x, factor=2):
    os.kill(os.getpid(), signal.SIGKILL)  # as the system does


@copies
@pytest.mark.parametrize(
    ("function", "says"),
    [(leaves, "exit status 3"), (crashes, "SIGSEGV"), (takes_all_memory, "did it take all the memory?")],
)
def test_what_ends_python_does_not_end_the_notebook(function, says):
    outcome = checked(function)
    assert outcome.status == checking.NOT_YET
    assert says in outcome.lines[0]


@copies
def test_a_function_that_forks_is_answered_once_and_leaves_no_process(tmp_path):
    def forks(x, factor=2):
        os.fork()
        (tmp_path / str(os.getpgrp())).touch()
        return enlarge(x, factor)

    assert checked(forks, "00.patient").status == checking.CORRECT
    (group,) = [int(path.name) for path in tmp_path.iterdir()]
    assert group != os.getpgrp()
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            break
        time.sleep(0.05)
    else:
        pytest.fail("a process was left behind")
    assert checked(lambda x, factor=2: x).status == checking.NOT_YET


@copies
def test_what_waits_for_nothing_is_judged_here(monkeypatch):
    """As it would for a library's threads, which a copy of the process lacks."""
    here = os.getpid()

    def waits(x, factor=2):
        if os.getpid() != here:
            time.sleep(3)
        return enlarge(x, factor)

    assert checked(waits).status == checking.CORRECT


def test_where_no_copy_can_be_made_it_runs_here(monkeypatch):
    seen = []
    monkeypatch.setattr(forked, "available", lambda: False)
    assert checked(lambda x, factor=2: seen.append(1) or enlarge(x, factor)).status == checking.CORRECT
    assert seen


@copies
def test_torch_works_in_a_copy_after_its_threads_worked_here():
    def works(x, factor=2):
        weight = torch.randn(64, 64, 3, 3, requires_grad=True)
        torch.nn.functional.conv2d(torch.randn(4, 64, 64, 64), weight).square().mean().backward()
        torch.randn(400, 400) @ torch.randn(400, 400)
        return enlarge(x, factor)

    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(4)
        for _ in range(3):
            works(torch.zeros(1, 1, 2, 2))
            assert checked(works, "00.patient").status == checking.CORRECT
    finally:
        torch.set_num_threads(threads)


def loud(x, factor=2):
    os.write(1, b"native"), os.write(2, b"native")
    os.system("echo system; echo system >&2")
    subprocess.run([sys.executable, "-c", "import sys; print('program'); print('program', file=sys.stderr)"])
    logging.getLogger("loud").warning("logged")
    sys.__stdout__.write("start"), sys.__stderr__.write("start")
    warnings.simplefilter("always")
    warnings.warn("a warning", stacklevel=1)
    print("kept")
    return enlarge(x, factor) + 1


@pytest.mark.parametrize("in_a_copy", [pytest.param(True, marks=copies), False])
def test_what_is_written_past_python_stays_out_of_the_notebook(monkeypatch, capfd, in_a_copy):
    monkeypatch.setattr(forked, "available", lambda: in_a_copy)
    handler = logging.StreamHandler()  # holds the stream of before
    monkeypatch.setattr(logging.getLogger("loud"), "handlers", [handler])
    print("before")
    os.write(2, b"before")
    outcome = checked(loud)
    os.write(2, b"after")
    print("after")
    assert "kept" in outcome.printed
    assert capfd.readouterr() == ("before\nafter\n", "beforeafter")


def test_a_closed_descriptor_stays_closed():
    """As under pythonw, which has no console."""
    script = (
        "import os\n"
        "from lecture_course.engine import output\n"
        "os.close(2)\n"
        "with output.redirected(output.Printed()): os.write(1, b'lost')\n"
        "try: os.write(2, b'x')\n"
        "except OSError: print('closed')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "closed\n"
