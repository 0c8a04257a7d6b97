"""nbgrader with the course's exercises: marks for what is right, whatever else a submission does."""

import copy
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from lecture_course.engine import checking, definitions, grading

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
IN_C = "def class_iou(predicted, target, index):\n    return 10 ** 10 ** 10"
WRONG = {SOFTMAX: "def class_probabilities(scores):\n    print('?')\n    return scores", IOU: ENDLESS}
STUDENTS = {
    "solved": SOLVED,
    "stuck": SOLVED | {IOU: IN_C},
    "empty": STUBS,
}
# Student → answers, and what stands in the notebook's first cell besides.
NOISY = """
import logging, os, subprocess, sys, warnings
logging.basicConfig(level="INFO")
def noisy(answer):
    def function(*args):
        os.write(1, b"native"), os.write(2, b"native"), os.system("echo system >&2"), subprocess.run(["echo", "sub"])
        logging.warning("logged"), sys.__stderr__.write("said"), warnings.warn("warned")
        warnings.simplefilter("always"), warnings.warn("always")
        return answer(*args)
    return function
"""
NOISED = SOLVED | {SOFTMAX: f"{SOLVED[SOFTMAX]}\nclass_probabilities = noisy(class_probabilities)"}
REPLACES_CHECK = "check = lambda *anything: None"
FORGES = """
from IPython.display import display
def check(name, answer):
    print("marks: 100")
    display({"application/vnd.lecture-utils.answers": '{"list": []}'}, raw=True)
    return 100
"""
PATCHES = """
import torch
from lecture_course.engine import definitions, checking, grading, serialization, values
from lecture_course.nb00_start_here import exercises as start_here
values.same = values.close = lambda *a, **k: True
values.differing = torch.isclose = lambda a, b, **k: torch.zeros_like(a, dtype=bool)
torch.allclose = torch.equal = torch.Tensor.__eq__ = torch.Tensor.equal = lambda *a, **k: True
torch.testing.assert_close = lambda *a, **k: None
checking._judge_forked = checking.judge = lambda exercise, answer, seed=None: checking.Outcome(exercise, "correct", ())
grading.NotYet = grading.is_running = lambda *a: False
for exercise in start_here.EXERCISES:
    object.__setattr__(exercise, "reference", lambda *a, **k: 0)
"""
REWRITES_CELLS = """
get_ipython().input_transformers_cleanup.append(lambda lines: ["4"] if "check(" in "".join(lines) else lines)
"""
EQUAL_TO_ALL = """
import torch
class Equal(torch.Tensor):
    __eq__ = __ge__ = __le__ = lambda *a: True
    __ne__ = __bool__ = lambda *a: False
    __torch_function__ = classmethod(lambda cls, function, types, args=(), kwargs=None: Equal())
class Anything(float):
    __eq__ = lambda *a: True
    __hash__ = float.__hash__
"""
EQUAL = {
    SOFTMAX: "def class_probabilities(scores):\n    return scores.as_subclass(Equal)",
    IOU: "def class_iou(predicted, target, index):\n    return Anything()",
}
ENDS = {
    SOFTMAX: "def class_probabilities(scores):\n    raise SystemExit(0)",
    IOU: "def class_iou(predicted, target, index):\n    import os\n    os._exit(0)",
}
ENDS_KERNEL = {SOFTMAX: SOLVED[SOFTMAX], IOU: "import os\nos._exit(0)"}
MORE = {
    "noisy and pastes": (
        SOLVED | {SOFTMAX: SOLVED[SOFTMAX] + "\nclass_probabilities = noisy(class_probabilities)"},
        NOISY,
    ),
    "replaces": (WRONG, REPLACES_CHECK),
    "forges": (WRONG, FORGES),
    "patches": (EQUAL, EQUAL_TO_ALL + PATCHES),
    "rewrites": (WRONG, REWRITES_CELLS),
    "ends": (ENDS, "import sys\nsys.exit()"),
    "kernel": (ENDS_KERNEL, ""),
}


def check_of(name):
    return f'check("{name}", {name.partition(".")[2]})'


def stamped():
    """A notebook as the course has them: stubs, checks, other cells between."""
    cells = [new_code_cell("from lecture_course import check, progress"), new_markdown_cell("**Your turn.**")]
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
    assert checking.check("00.label_maps", (1, 2)).status == checking.NOT_YET
    monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")
    with pytest.raises(grading.NotYet, match="not yet"):
        checking.check("00.label_maps", (1, 2))
    with pytest.raises(grading.NotYet, match="not attempted"):
        checking.check("00.label_maps", ...)
    # The value of a check cell would be taken for its marks, and anything on stderr for a failure.
    assert checking.check("00.label_maps", answer) is None
    said = capsys.readouterr()
    assert "correct" in said.out
    assert not said.err


def test_inputs_are_fresh_while_grading(monkeypatch):
    monkeypatch.setattr(checking.forked, "available", lambda: False)  # the spy would see them in a copy of this process
    seen = []

    def spy(scores):
        seen.append(scores)
        return scores.softmax(1)

    def inputs():
        seen.clear()
        checking.check(SOFTMAX, spy)
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
            command, cwd=course, env=os.environ | environment, capture_output=True, text=True, timeout=900
        )
        assert done.returncode == 0, done.stderr[-3000:]

    nbgrader("generate_assignment", "00")
    students = {student: (cells, "") for student, cells in STUDENTS.items()} | MORE
    for student, (cells, first) in students.items():
        notebook = nbformat.read(course / "release" / "00" / "00_small.ipynb", as_version=4)
        for name, answer in cells.items():
            task, check = of(notebook, name)
            assert task.source == STUBS[name], "the student gets the function's first line and docstring"
            task.source = answer
            if student == "replaces":
                check.source = "pass  # locked: the instructor's line comes back"
        notebook.cells[0].source += f"\n{first}"
        if "pastes" in student:
            pasted = copy.deepcopy(of(notebook, IOU))
            for i, cell in enumerate(pasted):
                cell.id = f"copy-{i}"
            notebook.cells += pasted
        place = course / "submitted" / student / "00" / "00_small.ipynb"
        place.parent.mkdir(parents=True)
        nbformat.write(notebook, place)
    nbgrader("autograde", "00")

    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as book:
        return {entry.student.id: (entry.score, entry.max_score) for entry in book.assignment_submissions("00")}


FULL = ("solved", "noisy and pastes")
HALF = ("stuck", "kernel")
NONE = ("empty", "replaces", "forges", "patches", "rewrites", "ends")


@pytest.mark.timeout(1800)  # a kernel for each
@pytest.mark.parametrize(
    ("student", "share"), [(name, share) for share, names in ((1, FULL), (0.5, HALF), (0, NONE)) for name in names]
)
def test_marks(marks, student, share):
    total = sum(definitions.find(name).points for name in STUBS)
    assert marks[student] == (share * total, total)
