"""Keep what a student's function writes out of the notebook: by Python, by native code and by other programs."""

import contextlib
import io
import os
import sys
from collections.abc import Iterator

PRINTED = 400  # characters kept of what a function prints


class Printed(io.TextIOBase):
    """Takes any amount of text and keeps its beginning."""

    def __init__(self) -> None:
        self.text = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.text += text[: max(0, PRINTED - len(self.text))]
        return len(text)

    def take(self) -> str:
        text, self.text = self.text, ""
        return text if len(text) < PRINTED else f"{text} …"


@contextlib.contextmanager
def redirected(printed: Printed) -> Iterator[None]:
    """Send to `printed` what Python writes, and nowhere what arrives at the descriptors 1 and 2 themselves.

    Python's streams of before are redirected, too: a handler of `logging` holds one, and so does whoever imported it.
    """
    with contextlib.ExitStack() as stack:
        flush()
        stack.enter_context(descriptors_closed())
        stack.callback(flush)
        for stream in _streams():
            stack.enter_context(_written_to(stream, printed))
        stack.enter_context(contextlib.redirect_stdout(printed))
        stack.enter_context(contextlib.redirect_stderr(printed))
        yield


def _streams() -> list:
    """Python's streams, those of now and those of its start, each once."""
    return list({id(stream): stream for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)}.values())


def flush() -> None:
    """Write what Python's streams still hold."""
    for stream in _streams():
        with contextlib.suppress(Exception):  # None where there is no console, or closed, or a stream of somebody's own
            stream.flush()


@contextlib.contextmanager
def _written_to(stream, printed: Printed) -> Iterator[None]:
    """Let `stream.write` be that of `printed`; of a stream in C it cannot be, and its descriptor is closed anyway."""
    own = getattr(stream, "__dict__", {}).get("write")
    try:
        stream.write = printed.write
    except AttributeError:
        yield
        return
    try:
        yield
    finally:
        if own is None:
            del stream.write
        else:
            stream.write = own


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:  # there is none under pythonw
        return False
    return True


@contextlib.contextmanager
def descriptors_closed() -> Iterator[None]:
    """Let the descriptors 1 and 2 of this process, and of the programs it starts, lead nowhere."""
    saved = {descriptor: os.dup(descriptor) for descriptor in [fd for fd in (1, 2) if _is_open(fd)]}
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        for descriptor in saved:
            os.dup2(nowhere, descriptor)
        yield
    finally:
        for descriptor, copy in saved.items():
            os.dup2(copy, descriptor)
            os.close(copy)
        os.close(nowhere)
