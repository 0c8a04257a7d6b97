"""What became of a bad input: refused in words that help, accepted in silence, or an error from inside."""

import contextlib
import io
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass

REFUSALS = (ValueError, FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError, ImportError)
# What Python and torch say of themselves, which tells a user nothing.
INTERNALS = re.compile(
    r"NoneType|object is not|not iterable|not subscriptable|unhashable|index out of range|out of bounds"
    r"|has no attribute|could not convert|invalid literal"
    r"|unsupported operand|not supported between|mat1|broadcast|size mismatch|expanded size"
    r"|\bmust be (?:real number|str|int)\b|keyword argument|positional argument"
    r"|Traceback|KeyError|IndexError|TypeError|too many values"
    r"|not enough values|Errno|n_clusters|n_samples|inhomogeneous|Expected \dD|Sizes of tensors|view size|0-dimensional"
)


@dataclass(frozen=True)
class Case:
    """A call with a bad input; `names` are the words of which the refusal must hold one."""

    family: str
    what: str
    call: Callable[[], object]
    names: tuple[str, ...] = ()


def judge(case: Case) -> str:
    """ "refused", "warned", "accepted", or "inside: …" and "mute: …" with the message that does not help."""
    said = io.StringIO()
    with (
        warnings.catch_warnings(record=True) as warned,
        contextlib.redirect_stderr(said),
        contextlib.redirect_stdout(said),
    ):
        warnings.simplefilter("always")
        try:
            result = case.call()
        except REFUSALS as problem:
            return _of_message(str(problem), type(problem).__name__, case)
        except SystemExit as stop:  # argparse's
            return "refused" if stop.code == 2 else f"inside: exit {stop.code}"
        except Exception as problem:
            return f"inside: {type(problem).__name__}: {str(problem)[:200]}"
    if isinstance(result, int) and result == 2:  # a command that refused, with one line
        return _of_message(said.getvalue().strip().splitlines()[-1], "exit 2", case)
    ours = [str(w.message) for w in warned if issubclass(w.category, UserWarning)]
    return "warned" if any(not case.names or any(n in w for n in case.names) for w in ours) else "accepted"


def _of_message(message: str, kind: str, case: Case) -> str:
    if INTERNALS.search(message) or not message.strip():
        return f"inside: {kind}: {message[:200]}"
    if case.names and not any(name in message for name in case.names):
        return f"mute: {kind}: {message[:200]}"
    return "refused"
