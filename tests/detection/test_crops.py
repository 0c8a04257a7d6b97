"""The counts of slide 16 against enumeration, one crop after the other."""

import re
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lecture_utils.detection.crops import all_boxes, count_boxes, count_crops, window_sizes

sides = st.integers(1, 9)


@pytest.mark.slide("16")
@given(height=sides, width=sides)
def test_all_boxes_are_as_many_as_the_formula_says(height, width):
    boxes = list(all_boxes(height, width))
    corners = product(range(height + 1), range(height + 1), range(width + 1), range(width + 1))
    assert set(boxes) == {(x0, y0, x1, y1) for y0, y1, x0, x1 in corners if y0 < y1 and x0 < x1}
    assert len(boxes) == len(set(boxes)) == count_boxes(height, width)


@pytest.mark.slide("16")
@given(
    height=st.integers(1, 14),
    width=st.integers(1, 14),
    scales=st.lists(st.floats(0.3, 12), min_size=1, max_size=3),
    aspects=st.lists(st.sampled_from([0.25, 0.5, 1, 2, 3]), min_size=1, max_size=3),
    stride=st.integers(1, 5),
)
def test_crops_are_as_many_as_windows_that_fit(height, width, scales, aspects, stride):
    windows = 0
    for scale, aspect in product(scales, aspects):
        h, w = max(1, round(scale * aspect**0.5)), max(1, round(scale / aspect**0.5))
        windows += sum(y + h <= height and x + w <= width for y in range(0, 99, stride) for x in range(0, 99, stride))
    assert count_crops(height, width, scales, aspects, stride=stride) == windows


@pytest.mark.slide("16")
def test_a_real_size():
    assert count_boxes(480, 640) == (480 * 481 // 2) * (640 * 641 // 2) == 23_679_052_800
    assert count_boxes(1, 1) == 1
    assert count_boxes(2, 3) == 18


def test_windows_keep_their_area_and_their_aspect():
    assert window_sizes([100], [0.25, 1, 4]) == [(50, 200), (100, 100), (200, 50)]
    assert window_sizes([32, 64], [1]) == [(32, 32), (64, 64)]
    assert window_sizes([0.2], [1]) == [(1, 1)]  # at least a pixel


def test_a_window_larger_than_the_picture_fits_nowhere():
    assert count_crops(10, 30, [20], [1]) == 0
    assert count_crops(10, 30, [10], [1], stride=7) == 3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: count_boxes(0, 3), "height: got 0, expected a whole number of at least 1"),
        (lambda: list(all_boxes(3, -1)), "width: got -1, expected a whole number of at least 1"),
        (lambda: count_crops(5, 5, [2], [1], stride=0), "stride: got 0, expected a whole number of at least 1"),
        (lambda: count_crops(5, 5, [], [1]), "scales: got [], expected at least one number, all above 0"),
        (lambda: count_crops(5, 5, [2], [0]), "aspects: got [0], expected at least one number, all above 0"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        call()
