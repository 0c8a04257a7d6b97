"""Answers as text: what is read is what was written, and anything else is a ValueError."""

import json

import numpy as np
import pytest
import torch

from lecture_course.engine import definitions, running, serialization, values
from lecture_course.engine.definitions import Exercise

EXERCISES = [one for number in definitions.PACKAGES for one in definitions.of_notebook(number).values()]


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.name)
def test_every_answer_of_the_course_comes_back(exercise):
    if isinstance(exercise, Exercise):
        calls = running.answers(exercise.reference, exercise.cases(torch.Generator().manual_seed(3)))
        expected = [call.value for call in calls]
        given = [answer["value"] for answer in serialization.loads(serialization.dump_calls(calls))]
    else:
        expected, given = exercise.answer(), serialization.loads(serialization.dumps(exercise.answer()))
    assert values.same(expected, given)


@pytest.mark.parametrize(
    "value",
    [
        None, True, 3, -(10**6000), 0.5, float("inf"), 2 + 3j, "ä", (1, [2.0, {"a": (None,)}]), {3: {}},
        np.arange(6).reshape(2, 3)[:, ::2], np.zeros((0, 3), dtype=np.uint8), np.ones(2) > 0, torch.eye(3).T[:2],
        torch.zeros(0, 2), torch.eye(2)[:1, 0], torch.tensor(3), torch.tensor([True]),
        np.float32(2), torch.ones(2, dtype=torch.bfloat16),
        torch.tensor([1 + 2j]).conj(), torch.eye(2).to_sparse(), torch.ones(2, requires_grad=True),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_values_come_back(value):
    again = serialization.loads(serialization.dumps(value))
    assert values.same(value, again)
    assert type(again) in (type(None), bool, int, float, complex, str, tuple, list, dict, np.ndarray, torch.Tensor)


class Equal(float):
    def __eq__(self, other):
        return True

    __hash__ = float.__hash__


def test_what_is_equal_to_all_is_only_a_number():
    assert not values.same(3.0, serialization.loads(serialization.dumps(Equal(2))))
    for value in (object(), print, {1, 2}, torch.nn.Identity(), np.zeros(2, dtype=object)):
        assert isinstance(serialization.loads(serialization.dumps(value)), serialization.Other)


@pytest.mark.parametrize(
    "text",
    [
        "", "no JSON", "[" * 10**5, '{"int": 3}', '{"int": "x"}', '{"a": 1}',
        '{"tensor": "float", "shape": [], "bytes": ""}', '{"tensor": "torch.float32", "shape": "x", "bytes": ""}',
        '{"tensor": "torch.float32", "shape": [1000000000], "bytes": "AAAA"}', '{"dict": [[{"list": []}, 1]]}',
        '{"array": "O", "shape": [1], "bytes": "AAAAAAAAAAA="}',
        '{"complex": [1]}', '{"dict": 3}', json.dumps({"array": "<f4", "shape": [2], "bytes": "AAAA"}),
    ],
    ids=lambda text: text[:30],
)  # fmt: skip
def test_anything_else_is_refused(text):
    with pytest.raises(ValueError, match="record: got"):
        serialization.loads(text)
