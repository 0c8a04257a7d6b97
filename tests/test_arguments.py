"""Checks of arguments: what passes, and what is refused with a sentence that names it."""

import inspect
import re

import numpy as np
import pytest
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lecture_utils.arguments import (
    check_shapes,
    pair,
    require_channels,
    require_one_of,
    require_positive,
    require_whole,
)


@pytest.mark.parametrize("shape", [(1, 3, 4, 5), (0, 3, 1, 1), (7, 3, 2, 9)])
def test_an_image_with_its_channels_passes(shape):
    require_channels(torch.zeros(shape), 3)


@pytest.mark.parametrize("shape", [(3, 4, 5), (1, 4, 5, 3), (1, 3, 0, 5), (1, 3, 4, 0), (1, 1, 3, 4, 5), (3,)])
def test_another_shape_is_refused(shape):
    message = f"image: got shape {shape}, expected (batch, 3, height, width)"
    with pytest.raises(ValueError, match=re.escape(message)):
        require_channels(torch.zeros(shape), 3)


def test_counts_from_one_on_pass():
    require_positive(layers=1, words=np.int64(99))
    require_positive()


def test_a_whole_number_becomes_pythons_own():
    assert type(require_whole("steps", np.int16(0), least=0)) is int
    with pytest.raises(ValueError, match="steps: got 4, expected a whole number of at least 5"):
        require_whole("steps", 4, least=5)


def test_a_count_beyond_its_bound_is_refused_without_its_digits():
    assert require_whole("steps", 9, most=9) == 9
    for number, shown in ((10, "10"), (10**5000, "a number of more than 20 digits")):
        with pytest.raises(ValueError, match=f"steps: got {shown}, expected a whole number of at most 9"):
            require_whole("steps", number, most=9)


@pytest.mark.parametrize("number", [0, -3, 2.5, 3.0, float("nan"), True, "3", None])
def test_a_count_below_one_is_refused_by_its_name(number):
    with pytest.raises(ValueError, match=f"words: got {number!r}, expected a whole number of at least 1"):
        require_positive(layers=4, words=number)


def test_one_of_the_choices_passes_and_nothing_else():
    require_one_of("kind", "soft", ("soft", "hard"))
    for value in ("Soft", None, 3):
        with pytest.raises(ValueError, match=f"kind: got {value!r}, expected one of 'soft', 'hard'"):
            require_one_of("kind", value, ("soft", "hard"))


@pytest.mark.parametrize(
    ("value", "both"),
    [(3, (3, 3)), ((1, 2), (1, 2)), ([2, 5], (2, 5)), (np.int64(4), (4, 4)), ((np.int8(1), 2), (1, 2))],
)
def test_one_number_counts_for_both_axes(value, both):
    result = pair("stride", value, least=1)
    assert result == both
    assert all(type(number) is int for number in result)


@pytest.mark.parametrize("value", [0, (1, 0), (1,), (1, 2, 3), 1.5, (1, 2.0), (), "ab", None])
def test_what_is_no_pair_is_refused(value):
    with pytest.raises(ValueError, match=r"stride: got .*expected a whole number of at least 1, or two"):
        pair("stride", value, least=1)


def test_the_least_may_be_zero():
    assert pair("padding", 0, least=0) == (0, 0)
    with pytest.raises(ValueError, match="padding: got -1, expected a whole number of at least 0"):
        pair("padding", -1, least=0)


@check_shapes
def paired(a: Float[Tensor, "n 4"], b: Float[Tensor, "*m n"] | None = None, *, mask: Bool[Tensor, "#n"] | None = None):
    """A function whose tensors must fit together."""
    return len(a)


def test_shapes_that_the_signature_allows_pass():
    assert paired(torch.zeros(3, 4)) == paired(torch.zeros(3, 4), torch.zeros(2, 5, 3), mask=torch.ones(1).bool()) == 3
    assert paired(a=torch.zeros(0, 4, dtype=torch.float16), b=torch.zeros(0)) == 0
    assert inspect.signature(paired) == inspect.signature(paired.__wrapped__)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.zeros(3, 5),), "a: got shape (3, 5), expected (n, 4)"),
        ((torch.zeros(4),), "a: got shape (4,), expected (n, 4)"),
        ((torch.zeros(3, 4).long(),), "a: got torch.int64, expected float numbers"),
        (([[1, 2, 3, 4]],), "a: got a list, expected a tensor (n, 4)"),
        ((None,), "a: got None, expected a tensor (n, 4)"),
        ((torch.zeros(3, 4), torch.zeros(2)), "b: got shape (2,), expected (*m, n), where a (n, 4) is (3, 4)"),
    ],
)
def test_shapes_that_it_rules_out_are_refused(arguments, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        paired(*arguments)


def test_an_argument_by_name_is_checked_as_well():
    with pytest.raises(ValueError, match=re.escape("mask: got shape (2,), expected (#n), where a (n, 4) is (3, 4)")):
        paired(torch.zeros(3, 4), mask=torch.ones(2).bool())
