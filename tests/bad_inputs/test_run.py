"""A small share of the ten thousand bad inputs, the right ones among which nothing may be refused, and the judge."""

import warnings

import pytest
from bad_commands import right_commands
from bad_files import right_files
from bad_models import right_models
from bad_tensors import CALLS, right_tensors
from judge import Case, judge
from run import FINE, make

from lecture_utils.detection.boxes import box_iou

# jaxtyping's checks, where a run has them on, come before the functions' own words.
pytestmark = pytest.mark.skipif(
    hasattr(box_iou, "__wrapped__") and "beartype" in repr(box_iou), reason="type checks are on"
)


@pytest.mark.parametrize("number", range(200))
def test_a_bad_input_is_refused_in_words_that_name_it(number, tmp_path):
    case = make(number, tmp_path)
    assert judge(case) in FINE, case.what


@pytest.mark.parametrize("case", [*right_tensors(), *right_models()], ids=lambda case: case.what)
def test_right_tensors_and_models_pass(case):
    assert judge(case) == "accepted"


def test_right_files_and_commands_pass(tmp_path):
    for case in [*right_files(tmp_path / "files"), *right_commands(tmp_path / "commands")]:
        assert judge(case) in ("accepted", "warned"), case.what  # COCO's sample has a box without area


def test_each_call_of_a_tensor_function_names_its_arguments():
    assert all(arguments() for arguments in CALLS.values())


def raise_(problem):
    raise problem


@pytest.mark.parametrize(
    ("call", "verdict"),
    [
        (lambda: 3, "accepted"),
        (lambda: raise_(ValueError("boxes: got 3, expected 4")), "refused"),
        (lambda: raise_(ValueError("got 3, expected 4")), "mute"),
        (lambda: raise_(ValueError("boxes: 'NoneType' object is not iterable")), "inside"),
        (lambda: raise_(RuntimeError("boxes: mat1 and mat2")), "inside"),
        (lambda: raise_(SystemExit(2)), "refused"),
        (lambda: warnings.warn("boxes: left 3 out", stacklevel=1), "warned"),
        (lambda: warnings.warn("something else", stacklevel=1), "accepted"),
    ],
)
def test_the_judge_tells_them_apart(call, verdict):
    assert judge(Case("", "", call, names=("boxes",))).split(":")[0] == verdict
