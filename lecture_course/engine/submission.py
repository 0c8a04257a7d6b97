"""What in a student's notebook would hinder its grading: cells copied, deleted, renamed or written over."""

from collections import Counter
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from lecture_course.engine import grading
from lecture_course.engine.definitions import PACKAGES, of_notebook


def faults(path: Path) -> list[str]:
    """One line for each thing to mend in the notebook at `path`, with its cell's number; ValueError for no notebook.

    Cells are counted from 1, text cells too, from the top.
    """
    try:
        notebook = nbformat.from_dict(nbformat.reader.reads(path.read_text(encoding="utf-8")))
        cells = [(number, cell) for number, cell in enumerate(notebook.cells, 1)]
    except (ValueError, TypeError, KeyError, AttributeError, nbformat.reader.NotJSONError) as error:
        raise ValueError(f"{path}: expected a notebook of Jupyter's (format 4), got something else") from error
    known = _known(cells, path)
    places: dict[str, list[int]] = {}
    found = []
    for number, cell in cells:
        identity = _identity(cell)
        if identity is None:
            continue
        places.setdefault(identity, []).append(number)
        if identity not in known:
            found.append(f"{_where(number, cell)}: `{identity}` is none of this notebook's exercises; delete the cell")
        elif fault := _fault(identity, cell):
            found.append(f"{_where(number, cell)}: {fault}")
    for identity, numbers in places.items():
        if len(numbers) > 1:
            found.append(
                f"cells {', '.join(map(str, numbers[:-1]))} and {numbers[-1]} are copies of `{identity}`; keep one, "
                "and delete the others"
            )
    missing = [identity for identity in known if identity not in places]
    found += [f"no cell is `{identity}`: copy your answer into a fresh notebook of the course" for identity in missing]
    return found


def _known(cells: list[tuple[int, NotebookNode]], path: Path) -> list[str]:
    """The ids that nbgrader knows of the notebook, whose number is that of most of its ids, or of its file."""
    numbers = Counter(identity.partition("-")[0] for _, cell in cells if (identity := _identity(cell)))
    number = next((number for number, _ in numbers.most_common() if number in PACKAGES), path.name[:2])
    if number not in PACKAGES:
        raise ValueError(f"{path}: expected a notebook of the course, got one without an exercise")
    names = [name.replace(".", "-") for name in of_notebook(number)]
    return [identity for name in names for identity in (name, f"{name}-check")]


def _identity(cell: NotebookNode) -> str | None:
    marks = cell.metadata.get("nbgrader")
    return str(marks.get("grade_id", "")) if isinstance(marks, dict) else None


def _where(number: int, cell: NotebookNode) -> str:
    return f"cell {number} ({cell.source.partition(chr(10))[0][:50]})"


def _fault(identity: str, cell: NotebookNode) -> str | None:
    if cell.cell_type != "code":
        return "it was turned into text; make it a code cell again"
    name = identity.removesuffix("-check").replace("-", ".", 1)
    if identity.endswith("-check") and grading.checked(cell.source) != name:
        return f'it was changed, and is to hold nothing but `check("{name}", …)`'
    return None
