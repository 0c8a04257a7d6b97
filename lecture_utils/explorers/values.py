"""A slider or a menu: its label and the values it runs through."""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any


def as_text(value: Any) -> str:
    """A value as the reader sees it: numbers to four digits, truth as yes or no, words as they are."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, Real) and not isinstance(value, Integral) else str(value)


@dataclass(frozen=True)
class Slider:
    """One slider: its label, the values it runs through, and the few of them that a page without a kernel shows.

    `values` are numbers or words, in the order of the slider. `frames` are those drawn in advance (default: all),
    `start` is the one shown first (default: the first of the frames), which a page without scripts keeps. Values are
    told apart by what the reader sees of them, so `0.1 + 0.2` is found as `0.3`. Bad ones are a ValueError.
    """

    label: str
    values: Sequence
    frames: Sequence | None = None
    start: Any = None

    def __post_init__(self):
        if not isinstance(self.label, str) or not self.label.strip():
            raise ValueError(f"label: got {self.label!r}, expected a name for the slider, with its unit")
        if isinstance(self.values, str) or not hasattr(self.values, "__len__") or len(self.values) == 0:
            raise ValueError(f"values: got {self.values!r} for {self.label!r}, expected a sequence of numbers or words")
        values = list(self.values)
        texts = [as_text(value) for value in values]
        if len(set(texts)) < len(texts):
            raise ValueError(f"values: got {', '.join(texts)} for {self.label!r}, expected each of them once")
        drawn = [self._position(value, "frames") for value in (values if self.frames is None else self.frames)]
        if not drawn or drawn != sorted(set(drawn)):
            raise ValueError(f"frames: got {self.frames!r} for {self.label!r}, expected some of the values, in order")
        start = drawn[0] if self.start is None else self._position(self.start, "start")
        if start not in drawn:
            raise ValueError(f"start: got {self.start!r} for {self.label!r}, expected a value that is among the frames")
        # From now on frames and start are the very values, whatever looked like them.
        settled = {"values": values, "frames": [values[place] for place in drawn], "start": values[start]}
        for name, value in settled.items():
            object.__setattr__(self, name, value)

    def _position(self, value: Any, argument: str) -> int:
        texts = [as_text(each) for each in self.values]
        if as_text(value) not in texts:
            raise ValueError(f"{argument}: got {value!r} for {self.label!r}, expected one of {', '.join(texts)}")
        return texts.index(as_text(value))


@dataclass(frozen=True)
class Menu(Slider):
    """The same as a drop-down list: for words in no order, as classes of objects."""
