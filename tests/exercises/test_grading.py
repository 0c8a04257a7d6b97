"""nbgrader with the course's exercises: a solved, a half-solved and an empty submission get full, half and no marks."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from lecture_utils.exercises import definitions, engine, grading

COURSEWORK = Path(__file__).resolve().parents[2] / "coursework"
SOFTMAX = "00.class_probabilities"
IOU = "00.class_iou"

STUBS = {
    SOFTMAX: 'def class_probabilities(scores):\n    """(B, K, H, W) to (B, K, H, W)."""\n    ...  # your code here',
    IOU: "def class_iou(predicted, target, index):\n    ...  # your code here",
}
SOLVED = {
    SOFTMAX: "def class_probabilities(scores):\n    return scores.softmax(1)",
    IOU: (
        "def class_iou(predicted, target, index):"
        "\n    predicted, target = predicted[target != 255], target[target != 255]"
        "\n    both = (predicted == index) & (target == index)"
        "\n    return both.sum() / ((predicted == index) | (target == index)).sum()"
    ),
}
ENDLESS = "def class_iou(predicted, target, index):\n    while True:\n        pass"
STUDENTS = {
    "solved": SOLVED,
    "half": SOLVED | {IOU: ENDLESS},
    "empty": STUBS,
    "wrong": {SOFTMAX: "def class_probabilities(scores):\n    print('?')\n    return scores", IOU: ENDLESS},
}


def check_of(name):
    return f'check("{name}", {name.partition(".")[2]})'


def stamped():
    """A notebook as the course has them: stubs, checks, other cells between."""
    cells = [new_code_cell("from lecture_utils.exercises import check, progress"), new_markdown_cell("**Your turn.**")]
    for name, stub in STUBS.items():
        cells += [new_code_cell(stub, metadata={"tags": ["exercise", "slide-03"]}), new_code_cell(check_of(name))]
    cells.append(new_code_cell('progress("00")'))
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = new_notebook(cells=cells, metadata={"kernelspec": kernel})
    grading.stamp(notebook)
    return notebook


def of(notebook, name):
    """The exercise and the check cell of an exercise."""
    identity = name.replace(".", "-")
    cells = {cell.metadata.get("nbgrader", {}).get("grade_id"): cell for cell in notebook.cells}
    return cells[identity], cells[f"{identity}-check"]


def test_exercise_and_check_cells_are_stamped_and_no_others():
    from nbgrader.nbgraderformat import MetadataValidator

    notebook = stamped()
    MetadataValidator().validate_nb(notebook)
    marked = [cell for cell in notebook.cells if "nbgrader" in cell.metadata]
    assert len(marked) == 2 * len(STUBS)
    for name in STUBS:
        task, check = of(notebook, name)
        assert (task.metadata.nbgrader.solution, task.metadata.nbgrader.locked) == (True, False)
        assert (check.metadata.nbgrader.grade, check.metadata.nbgrader.locked) == (True, True)
        assert check.metadata.nbgrader.points == definitions.find(name).points > 0
        assert check.source == check_of(name)
    before = nbformat.writes(notebook)
    notebook.cells[0].metadata.nbgrader = {"grade_id": "old"}
    grading.stamp(notebook)
    assert nbformat.writes(notebook) == before


def test_an_exercise_cell_without_its_check_is_refused():
    for broken in ("x = check('00.class_iou', class_iou)", "hint('00.class_iou')", "%time 1"):
        notebook = stamped()
        notebook.cells[3].source = broken
        with pytest.raises(ValueError, match="exercise: got no `check"):
            grading.stamp(notebook)
    notebook = stamped()
    notebook.cells[3].source = "check('00.class_io', class_iou)"
    with pytest.raises(ValueError, match=r"00\.class_iou"):
        grading.stamp(notebook)


def test_while_grading_a_check_raises_unless_correct(monkeypatch, capsys):
    pytest.importorskip("IPython")
    answer = definitions.find("00.label_maps").answer()
    assert engine.check("00.label_maps", (1, 2)).status == engine.NOT_YET
    monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")
    with pytest.raises(grading.NotYet, match="not yet"):
        engine.check("00.label_maps", (1, 2))
    with pytest.raises(grading.NotYet, match="not attempted"):
        engine.check("00.label_maps", ...)
    # The value of a check cell would be taken for its marks, and anything on stderr for a failure.
    assert engine.check("00.label_maps", answer) is None
    said = capsys.readouterr()
    assert "correct" in said.out
    assert not said.err


def test_inputs_are_fresh_while_grading(monkeypatch):
    seen = []

    def spy(scores):
        seen.append(scores)
        return scores.softmax(1)

    def inputs():
        seen.clear()
        engine.check(SOFTMAX, spy)
        return [x.sum().item() for x in seen]

    assert inputs() == inputs()
    monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")
    assert inputs() != inputs()


@pytest.fixture(scope="module")
def marks(tmp_path_factory):
    """student → (marks, most marks), by nbgrader itself in a process of its own, with the course's configuration."""
    pytest.importorskip("nbgrader", reason="pip install nbgrader")
    course = tmp_path_factory.mktemp("course")
    shutil.copy(COURSEWORK / "nbgrader_config.py", course)
    source = course / "source" / "00" / "00_small.ipynb"
    source.parent.mkdir(parents=True)
    nbformat.write(stamped(), source)
    # Nobody's own settings, and the programs of this interpreter: nbgrader calls one of them, alembic.
    environment = {
        name: str(course / "home") for name in ("HOME", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR")
    }
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    def nbgrader(*arguments):
        command = [sys.executable, "-m", "nbgrader", *arguments]
        done = subprocess.run(
            command, cwd=course, env=os.environ | environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr[-3000:]

    nbgrader("generate_assignment", "00")
    for student, cells in STUDENTS.items():
        notebook = nbformat.read(course / "release" / "00" / "00_small.ipynb", as_version=4)
        for name, answer in cells.items():
            task, check = of(notebook, name)
            assert task.source == STUBS[name], "the student gets the function's first line and docstring"
            task.source = answer
            if student == "wrong":
                check.source = "pass  # locked: the instructor's line comes back"
        place = course / "submitted" / student / "00" / "00_small.ipynb"
        place.parent.mkdir(parents=True)
        nbformat.write(notebook, place)
    nbgrader("autograde", "00")

    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as book:
        return {entry.student.id: (entry.score, entry.max_score) for entry in book.assignment_submissions("00")}


@pytest.mark.parametrize(("student", "share"), [("solved", 1), ("half", 0.5), ("empty", 0), ("wrong", 0)])
def test_marks(marks, student, share):
    total = sum(definitions.find(name).points for name in STUBS)
    assert marks[student] == (share * total, total)
