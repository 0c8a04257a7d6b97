"""Marks given outside the notebook: nbgrader's own process judges what was answered, not what a submission says of it.

A submission runs in its kernel and can change everything there, `check` and the course's own functions, too. All that
counts of it are the answers, as text, to inputs whose seed this process chose; they are compared with the course's
functions here. `coursework/nbgrader_config.py` puts `Judge` in the place of nbgrader's `Execute`.
"""

import os
import secrets
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

import torch
from jupyter_client.manager import KernelManager
from nbclient.exceptions import DeadKernelError
from nbformat import NotebookNode
from nbformat.v4 import new_output
from nbgrader.preprocessors import Execute, NbGraderPreprocessor
from nbgrader.utils import is_grade

from lecture_course.engine import checking, grading, sandbox, serialization, values
from lecture_course.engine.definitions import Exercise, Prediction, find
from lecture_course.engine.running import answers


class Untangle(NbGraderPreprocessor):
    """Take nbgrader's metadata from cells that it knows nothing of: copies that a student pasted, and foreign ones.

    nbgrader leaves such a cell's metadata without an id, takes that for an old format, and stops grading everybody.
    """

    def preprocess_cell(self, cell: NotebookNode, resources: dict, index: int) -> tuple[NotebookNode, dict]:
        if "grade_id" not in cell.metadata.get("nbgrader", {"grade_id": None}):
            del cell.metadata["nbgrader"]
        return cell, resources


class Judge(Execute):
    """Execute a submission as nbgrader does, and then replace what its check cells show by the judgement made here.

    Where bubblewrap is installed, the kernel sees its own submission only.
    """

    def create_kernel_manager(self) -> KernelManager:
        manager = super().create_kernel_manager()
        if not sandbox.available():
            self.log.warning("No sandbox (apt-get install bubblewrap): submissions run with all your rights.")
            return manager
        manager.transport = "ipc"  # through files, since there is no network
        manager.connection_file = str(self.sockets / "kernel.json")
        folder = Path(self.resources["metadata"]["path"]).resolve()
        inside = [*sandbox.prefix(read=[folder], write=[self.sockets]), "--chdir", str(folder)]
        kernel = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        manager.kernel_spec.argv = inside + kernel
        manager.kernel_spec.interrupt_mode = "message"  # a signal would end the sandbox
        return manager

    def preprocess(self, nb: NotebookNode, resources: dict, *arguments) -> tuple[NotebookNode, dict]:
        seed = secrets.randbits(32)
        with mock.patch.dict(os.environ, {grading.SEED: str(seed)}), TemporaryDirectory() as folder:
            self.sockets = Path(folder)
            try:
                nb, resources = super().preprocess(nb, resources, *arguments)
            except DeadKernelError:  # the cells after the one that ended it have answered nothing
                self.log.warning("A cell ended its kernel; the exercises after it get no marks.")
        for cell in nb.cells:
            name = grading.checked(cell.source) if cell.cell_type == "code" and is_grade(cell) else None
            if name is not None:
                judge_cell(cell, find(name), seed)
        return nb, resources


def judge_cell(cell: NotebookNode, exercise: Exercise | Prediction, seed: int) -> None:
    """Leave one output in a check cell that is correct and an error in any other, which nbgrader turns into marks."""
    texts = [output.data.get(grading.ANSWERS) for output in cell.outputs if "data" in output]
    given = [text for text in texts if isinstance(text, str)]
    outcome = judge(exercise, given[0] if len(given) == 1 else "", seed)
    if outcome.status == checking.CORRECT:
        cell.outputs = [new_output("display_data", data=outcome._repr_mimebundle_())]
        return
    said = [output for output in cell.outputs if output.output_type == "error"]
    error = {"ename": grading.NotYet.__name__, "evalue": str(outcome), "traceback": str(outcome).splitlines()}
    cell.outputs = said or [new_output("error", **error)]


def judge(exercise: Exercise | Prediction, text: str, seed: int) -> checking.Outcome:
    """The outcome for the answers in a record, which may be anything."""
    try:
        given = serialization.loads(text)
        if isinstance(exercise, Prediction):
            return checking.judge(exercise, given[0]["value"])
        cases = exercise.cases(torch.Generator().manual_seed(seed))
        expected = [call.value for call in answers(exercise.reference, cases)]
        right = len(given) == len(cases) and all(
            not answer["changed"] and values.same(value, answer["value"])
            for value, answer in zip(expected, given, strict=True)
        )
    except (ValueError, KeyError, TypeError, IndexError):  # no record, one of something else, or of an error
        right = False
    if not right:
        return checking.Outcome(exercise, checking.NOT_YET, ("The answers to this notebook's inputs are not right.",))
    return checking.Outcome(exercise, checking.CORRECT, (f"Right on {len(cases)} inputs.", exercise.because))
