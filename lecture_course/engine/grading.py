"""Exercises as nbgrader's: which cells carry marks, and whether a notebook is being graded right now."""

import ast
import os
import secrets
from collections.abc import Mapping
from typing import Any

from lecture_course.engine.definitions import Exercise, Prediction, find

# What a check shows while nbgrader grades: the answers, from which `marking` gives the marks outside the notebook.
ANSWERS = "application/vnd.lecture-utils.answers"
SEED = "LECTURE_GRADING_SEED"


class NotYet(AssertionError):
    """Under nbgrader: the check of an answer that is wrong or missing, which costs the cell its marks."""


def is_running() -> bool:
    """Whether nbgrader grades or validates this notebook; it tells its kernels so in the environment."""
    return os.environ.get("NBGRADER_EXECUTION") in ("autograde", "validate")


def is_judged() -> bool:
    """Whether `marking` waits for the answers, to give marks itself."""
    return SEED in os.environ


def seed() -> int:
    """The seed of a graded notebook's inputs: the one that `marking` gave, or a new one."""
    return int(os.environ[SEED]) if is_judged() else secrets.randbits(32)


def checked(source: str) -> str | None:
    """The name in a check cell's only line, `check("02.max_unpool", max_unpool)`; None for any other cell."""
    try:
        match ast.parse(source).body:
            case [ast.Expr(ast.Call(ast.Name("check"), [ast.Constant(str() as name), _], []))]:
                return name
    except SyntaxError:  # a magic of IPython
        pass
    return None


def stamp(notebook: Mapping[str, Any]) -> None:
    """Write nbgrader's metadata to the exercise and check cells of a notebook, and remove it from all others.

    An exercise cell is tagged `exercise`, and the next code cell checks it; ValueError otherwise, and for a name that
    stands in no definitions.
    """
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for cell in notebook["cells"]:
        cell["metadata"].pop("nbgrader", None)
    for cell, following in zip(cells, [*cells[1:], None], strict=True):
        if "exercise" not in cell["metadata"].get("tags", []):
            continue
        name = checked(following["source"]) if following else None
        if name is None:
            first = cell["source"].partition("\n")[0]
            raise ValueError(f'exercise: got no `check("…", …)` alone in the cell after {first!r}, expected one')
        task, mark = marks(find(name))
        cell["metadata"]["nbgrader"], following["metadata"]["nbgrader"] = task, mark


def marks(exercise: Exercise | Prediction) -> tuple[dict, dict]:
    """nbgrader's metadata of an exercise cell, which students write, and of its locked check cell."""
    identity = exercise.name.replace(".", "-")
    common = {"schema_version": 3, "task": False}
    task = {**common, "grade_id": identity, "grade": False, "locked": False, "solution": True}
    check = {**common, "grade_id": f"{identity}-check", "grade": True, "locked": True, "solution": False}
    return task, {**check, "points": exercise.points}
