"""What an exercise consists of, and where the exercises of each notebook are defined."""

import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import chain
from typing import Any

import torch

import lecture_course

# Notebook → the package that holds its EXERCISES, found by the number in its name.
PACKAGES = {name[2:4]: name for _, name, _ in pkgutil.iter_modules(lecture_course.__path__) if name[:2] == "nb"}
DIFFICULTIES = {1: "easy", 2: "medium", 3: "hard"}


@dataclass(frozen=True)
class Case:
    """One input: what the function is called with. `note` says in words what is special about it."""

    args: tuple
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class Mistake:
    """A wrong function of the reference's signature, and the sentence for a student whose answers are the same."""

    says: str
    function: Callable


def mistakes(*entries: str | Callable | tuple[Callable, ...]) -> tuple[Mistake, ...]:
    """A table of mistakes: a sentence, the wrong function it is for (or several), the next sentence, …"""
    says, wrong = entries[::2], [one if isinstance(one, tuple) else (one,) for one in entries[1::2]]
    in_turn = all(isinstance(sentence, str) for sentence in says) and all(map(callable, chain(*wrong)))
    if not in_turn or len(says) != len(wrong):
        raise ValueError(f"mistakes: got {entries}, expected a sentence and a function in turn")
    return tuple(Mistake(sentence, one) for sentence, some in zip(says, wrong, strict=True) for one in some)


@dataclass(frozen=True, kw_only=True)
class _Task:
    title: str
    minutes: int
    difficulty: int  # 1 easy, 2 medium, 3 hard
    hints: Sequence[str] = ()
    because: str = ""  # shown with a correct answer: what to take away

    def __post_init__(self) -> None:
        if self.difficulty not in DIFFICULTIES:
            raise ValueError(f"difficulty: got {self.difficulty!r}, expected one of {list(DIFFICULTIES)}")

    @property
    def points(self) -> int:
        """Marks under nbgrader."""
        return 2 * self.difficulty

    @property
    def effort(self) -> str:
        minutes = "1 minute" if self.minutes == 1 else f"{self.minutes} minutes"
        return f"{DIFFICULTIES[self.difficulty]}, about {minutes}"


@dataclass(frozen=True)
class Exercise(_Task):
    """A function to write. `reference` is the package's own; `cases(rng)` gives the inputs, smallest first.

    `rng` is a seeded `torch.Generator`: always the same inputs in a notebook, fresh ones under nbgrader. The student's
    function may take `seconds` for all cases together. `shown` is what `solution` shows where that is not `reference`.
    """

    name: str
    reference: Callable = field(kw_only=True)
    cases: Callable[[torch.Generator], Sequence[Case]] = field(kw_only=True)
    mistakes: Sequence[Mistake] = field(default=(), kw_only=True)
    seconds: float = field(default=5.0, kw_only=True)
    shown: Callable | None = field(default=None, kw_only=True)


@dataclass(frozen=True)
class Prediction(_Task):
    """A value to predict, a number, a shape or a word. `answer()` computes it, so that no notebook gives it away.

    `mistakes` are wrong answer → what is wrong, or what is wrong → a function of the answer that recognises it. A
    number with decimals may be off by the share `tolerance`.
    """

    name: str
    answer: Callable[[], Any] = field(kw_only=True)
    mistakes: Mapping[Any, Any] = field(default_factory=dict, kw_only=True)
    tolerance: float = field(default=0.01, kw_only=True)


def of_notebook(notebook: str) -> dict[str, Exercise | Prediction]:
    """The exercises of notebook "02" by name, in order; ValueError for a notebook that has none."""
    if notebook not in PACKAGES:
        raise ValueError(f"notebook: got {notebook!r}, expected one of {list(PACKAGES)}")
    module = importlib.import_module(f"lecture_course.{PACKAGES[notebook]}.exercises")
    return {exercise.name: exercise for exercise in module.EXERCISES}


def find(name: str) -> Exercise | Prediction:
    """The exercise of this name, as "02.max_unpool"; ValueError with the nearest names for one that does not exist."""
    notebook = str(name).partition(".")[0]
    known = of_notebook(notebook) if notebook in PACKAGES else {}
    if name in known:
        return known[name]
    names = list(known) or [other for number in PACKAGES for other in of_notebook(number)]
    near = get_close_matches(str(name), names, n=3, cutoff=0.3) or names[:3]
    raise ValueError(f"name: got {name!r}, expected an exercise of the course, perhaps {' or '.join(map(repr, near))}")
