"""What hinders the grading of a submission is found, with the number of its cell, by `doctor NOTEBOOK`."""

import copy
from pathlib import Path

import nbformat
import pytest

from lecture_course import __main__
from lecture_course.engine.submission import faults

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
UNPOOLING = NOTEBOOKS / "02_unpooling.ipynb"


@pytest.fixture
def submit(tmp_path):
    """Store notebook 02 after `change` was made to its cells by their grade_id; gives the path."""

    def made(change):
        notebook = nbformat.read(UNPOOLING, as_version=4)
        change(notebook.cells, {cell.metadata.get("nbgrader", {}).get("grade_id"): cell for cell in notebook.cells})
        nbformat.write(notebook, tmp_path / "mine.ipynb")
        return tmp_path / "mine.ipynb"

    return made


def cell_number(grade_id):
    """The number of a cell as a reader counts them, from 1."""
    cells = nbformat.read(UNPOOLING, as_version=4).cells
    return 1 + next(i for i, cell in enumerate(cells) if cell.metadata.get("nbgrader", {}).get("grade_id") == grade_id)


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_the_courses_notebooks_have_no_fault(path):
    assert faults(path) == []


def test_a_pasted_copy_is_found_with_the_numbers_of_its_cells(submit):
    def paste(cells, by_id):
        for place, name in ((10, "first"), (len(cells) + 1, "second")):
            cells.insert(place, copy.deepcopy(by_id["02-max_pool"]))
            cells[place].id = name

    (fault,) = faults(submit(paste))
    last = len(nbformat.read(UNPOOLING, as_version=4).cells) + 2
    assert fault.startswith(f"cells 11, {cell_number('02-max_pool') + 1} and {last} are copies of `02-max_pool`")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda cells, by_id: cells.remove(by_id["02-max_pool-check"]), "no cell is `02-max_pool-check`"),
        (lambda cells, by_id: by_id["02-size"].metadata.pop("nbgrader"), "no cell is `02-size`"),
        (lambda cells, by_id: by_id["02-size"].metadata.nbgrader.update(grade_id="02-sice"), "`02-sice` is none of"),
        (lambda cells, by_id: by_id["02-size"].metadata.update(nbgrader={}), "`` is none of"),
        (
            lambda cells, by_id: by_id["02-size-check"].update(source="check('02.siz', size)"),
            f"cell {cell_number('02-size-check')} (check('02.siz'",
        ),
        (lambda cells, by_id: by_id["02-size-check"].update(source="!pip list"), "it was changed"),
        (lambda cells, by_id: by_id["02-size"].update(cell_type="markdown"), "turned into text"),
    ],
)
def test_what_was_done_to_a_cell_is_named(submit, change, says):
    assert any(says in fault for fault in faults(submit(change)))


def test_the_command_lists_them(submit, capsys):
    pasted = submit(lambda cells, by_id: by_id["02-max_pool"].metadata.nbgrader.update(grade_id="02-size"))
    assert __main__.main(["inspect", str(pasted)]) == 1
    copies = sorted(map(cell_number, ("02-max_pool", "02-size")))
    assert f"mine.ipynb: cells {copies[0]} and {copies[1]} are copies of `02-size`" in capsys.readouterr().out
    assert __main__.main(["inspect", str(UNPOOLING)]) == 0
    assert "02_unpooling.ipynb: nothing hinders its grading" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["", "{}", "[]", "no notebook", '{"cells": 3, "nbformat": 4, "nbformat_minor": 5}'])
def test_what_is_no_notebook_of_the_course_is_said(tmp_path, capsys, text):
    (tmp_path / "a.ipynb").write_text(text)
    assert __main__.main(["inspect", str(tmp_path / "a.ipynb")]) == 2
    assert "a.ipynb: expected a notebook" in capsys.readouterr().err
    assert __main__.main(["inspect", str(tmp_path / "none.ipynb")]) == 2
