"""The numbers of a training: what each may be, so that a slip is told before anything is read, trained or written."""

import json
import math
import os
from numbers import Real
from typing import Any

from lecture_utils.arguments import require_whole

MOST_STEPS = 10**9  # at a millisecond each, twelve days
MOST_ITEMS = 2**16  # in a batch: of the smallest pictures of the course, seven gigabytes
WORKERS_PER_CORE = 8
_NUMBERS = {  # what each number may be
    "lr": (lambda x: 0 < x < math.inf, "a positive number"),
    "weight_decay": (lambda x: 0 <= x < math.inf, "a number of at least 0"),
    "betas": (lambda x: 0 <= x < 1, "numbers from 0 to below 1"),
    "warmup": (lambda x: 0 <= x < 1, "a share of the steps from 0 to below 1"),
    "clip": (lambda x: x > 0, "a positive number, math.inf for none"),
    "max_seconds": (lambda x: x > 0, "a positive number or None"),
}


def require_settings(**given: Any) -> dict[str, Any]:
    """The numbers among the arguments of `fit`, as plain ones; `ValueError` for the first that cannot be meant."""
    most_workers = WORKERS_PER_CORE * (os.cpu_count() or 1)
    whole = {
        "steps": {"most": MOST_STEPS},
        "batch_size": {"most": MOST_ITEMS},
        "workers": {"least": 0, "most": most_workers},
        "evaluate_every": {},
        "checkpoint_every": {},
    }
    checked = {}
    for name, value in given.items():
        if name in whole:
            absent = name == "evaluate_every" and value is None
            checked[name] = None if absent else require_whole(name, value, **whole[name])
        elif name == "betas":
            checked[name] = _betas(value)
        elif name in _NUMBERS:
            checked[name] = math.inf if name == "max_seconds" and value is None else _number(name, value)
    return checked


def require_plain(metadata: Any) -> dict:
    """What a checkpoint will hold of it, so that a resumed training finds the same."""
    try:
        plain = json.loads(json.dumps(metadata))
    except (TypeError, ValueError) as problem:
        raise ValueError(f"metadata: expected what JSON can hold, got {metadata!r} ({problem})") from problem
    if not isinstance(plain, dict):
        raise ValueError(f"metadata: expected names and values, got {metadata!r}")
    return plain


def _betas(betas: Any) -> list[float]:
    if not isinstance(betas, tuple | list) or len(betas) != 2:
        raise ValueError(f"betas: expected two numbers from 0 to below 1, got {betas!r}")
    return [_number("betas", beta) for beta in betas]


def _number(argument: str, value: Any) -> float:
    accepts, expected = _NUMBERS[argument]
    if isinstance(value, bool) or not isinstance(value, Real) or not accepts(value):
        raise ValueError(f"{argument}: expected {expected}, got {value!r}")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{argument}: expected {expected}, got a whole number too large for one") from None
