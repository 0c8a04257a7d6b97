"""The options of a training, checked, so that a slip is told before anything is read, trained or written."""

import math
import os
from dataclasses import asdict, dataclass
from numbers import Real
from typing import Any

from lecture_utils.arguments import require_whole

MOST_STEPS = 10**9  # at a millisecond each, twelve days
MOST_ITEMS = 2**16  # in a batch: of the smallest images of the course, seven gigabytes
WORKERS_PER_CORE = 8
_NUMBERS = {  # what each number may be
    "lr": (lambda x: 0 < x < math.inf, "a positive number"),
    "weight_decay": (lambda x: 0 <= x < math.inf, "a number of at least 0"),
    "betas": (lambda x: 0 <= x < 1, "numbers from 0 to below 1"),
    "warmup": (lambda x: 0 <= x < 1, "a fraction of the steps from 0 to below 1"),
    "clip": (lambda x: x > 0, "a positive number, math.inf for none"),
    "max_seconds": (lambda x: x > 0, "a positive number or None"),
}
_PASSING = ("evaluate_every", "checkpoint_every", "workers")  # what changes no weight, and may differ on resuming


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """How `training.fit` trains. Raises `ValueError` for the first option that cannot be meant."""

    steps: int
    batch_size: int = 16  # items a step, in each process
    lr: float = 3e-3  # at its highest, after the warm-up
    weight_decay: float = 1e-2
    betas: tuple[float, float] = (0.9, 0.999)  # of AdamW
    warmup: float = 0.1  # a fraction of the steps
    clip: float = 1.0  # the norm that the gradient may have; math.inf for any
    max_seconds: float | None = None  # ends the training early, with a schedule that follows the clock
    evaluate_every: int | None = None  # steps; None for the end alone
    checkpoint_every: int = 100
    workers: int = 0  # processes that load the data beside this one

    def __post_init__(self) -> None:
        most = {"steps": MOST_STEPS, "batch_size": MOST_ITEMS, "workers": WORKERS_PER_CORE * (os.cpu_count() or 1)}
        for name in ("steps", "batch_size", "workers", "checkpoint_every", "evaluate_every"):
            if (number := getattr(self, name)) is not None or name != "evaluate_every":
                self._set(name, require_whole(name, number, least=int(name != "workers"), most=most.get(name)))
        for name in ("lr", "weight_decay", "warmup", "clip"):
            self._set(name, _number(name, getattr(self, name)))
        if self.max_seconds is not None:
            self._set("max_seconds", _number("max_seconds", self.max_seconds))
        if not isinstance(self.betas, tuple | list) or len(self.betas) != 2:
            raise ValueError(f"betas: expected two numbers from 0 to below 1, got {self.betas!r}")
        self._set("betas", tuple(_number("betas", beta) for beta in self.betas))

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)  # as plain numbers, whatever library they came from

    def resume_options(self) -> dict[str, Any]:
        """The options that a checkpoint is about, as JSON gives them back."""
        kept = {name: value for name, value in asdict(self).items() if name not in _PASSING}
        return kept | {"betas": list(self.betas)}


def _number(name: str, value: Any) -> float:
    accepts, expected = _NUMBERS[name]
    if isinstance(value, bool) or not isinstance(value, Real) or not accepts(value):
        raise ValueError(f"{name}: expected {expected}, got {value!r}")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{name}: expected {expected}, got a whole number too large for one") from None
