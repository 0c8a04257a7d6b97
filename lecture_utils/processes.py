"""Processes that end as they should: workers with the process that started them, a run at a signal and not before."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait
from typing import Any


def end_with_parent(*_: Any) -> None:
    """To be called first in a worker process: it then ends when the one that started it does, however that was killed.

    A worker that waits for work would otherwise wait for ever, and keep what it inherited, as a lock, from others.
    """
    # Ctrl-C reaches every process of a terminal; the main one ends its step first and then closes its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_after, args=(multiprocessing.parent_process().sentinel,), daemon=True).start()


def _end_after(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)


@contextmanager
def note_stop_signals() -> Iterator[list[int]]:
    """Note Ctrl-C and SIGTERM in a list instead of obeying, for a checkpoint before the end; obey the second.

    Only the main thread can; another sees an empty list.
    """
    noted: list[int] = []

    def note(number: int, frame: Any) -> None:
        if noted:
            raise KeyboardInterrupt
        noted.append(number)

    with _handled(note, signal.SIGINT, signal.SIGTERM):
        yield noted


@contextmanager
def interrupt_when_terminated() -> Iterator[None]:
    """Take SIGTERM as Ctrl-C is taken, so that what is half done is cleared away. Only the main thread can."""

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    with _handled(interrupt, signal.SIGTERM):
        yield


@contextmanager
def _handled(handler: Any, *numbers: int) -> Iterator[None]:
    """Handle these signals, but for those that are ignored, and put the handlers back that were there."""
    watched = numbers if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.getsignal(number) for number in watched}
    before = {number: found for number, found in before.items() if found is not signal.SIG_IGN}
    for number in before:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, found in before.items():
            signal.signal(number, found or signal.SIG_DFL)
