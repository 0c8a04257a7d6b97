"""What an exercise consists of, and where the exercises of each notebook are defined."""

import ast
import importlib
import inspect
import pkgutil
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

COURSE = Path(__file__).parents[1]
# Notebook → the package that holds its EXERCISES, found by the number in its name.
PACKAGES = {name[2:4]: name for _, name, _ in pkgutil.iter_modules([str(COURSE)]) if name[:2] == "nb"}
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
    right: Callable | None = None  # what it is an edit of


def mistakes(right: Callable, table: Mapping[Any, str]) -> tuple[Mistake, ...]:
    """A table of what goes wrong → what to say: an edit of the source of `right`, or a function where no edit is short.

    An edit is "old → new", or several with "; " between them; "old → " leaves something out. A tuple gives several
    mistakes the same sentence. ValueError for what is neither, and for an edit that no longer finds its text.
    """
    each = [(one, says) for key, says in table.items() for one in (key if isinstance(key, tuple) else (key,))]
    for one, says in each:
        if not isinstance(says, str) or not (isinstance(one, str) or callable(one)):
            raise ValueError(f"mistakes: got {one!r}: {says!r}, expected an edit or a function, and a sentence")
    return tuple(Mistake(says, one if callable(one) else edited(right, one), right) for one, says in each)


def edited(function: Callable, edit: str) -> Callable:
    """`function` with its source changed, without its decorators: what checks an argument or result must not help."""
    source, space = _source(function), {"torch": torch, "F": F, **inspect.unwrap(function).__globals__}
    for old, arrow, new in (part.partition("→") for part in edit.split("; ")):
        if not arrow or not old.strip() or old.strip() not in source:
            raise ValueError(f"edit: got {edit!r}, expected “old → new”, where {old.strip()!r} occurs in\n{source}")
        source = source.replace(old.strip(), new.strip())
    exec(source, space)
    return space[function.__name__]


@cache
def _source(function: Callable) -> str:
    """The source of a function from its `def` line on, without docstring."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(function)))).body[0]
    tree.decorator_list, tree.returns = [], None
    tree.body = tree.body[ast.get_docstring(tree) is not None :]
    return ast.unparse(tree)


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
