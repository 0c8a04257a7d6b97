"""The image of two boxes tells the areas it shows."""

import matplotlib.pyplot as plt
import pytest

from lecture_course.nb05_from_one_box_to_many.figures import two_boxes


@pytest.mark.parametrize(
    ("a", "b", "words", "common"),
    [
        ((0, 0, 40, 30), (20, 0, 60, 30), "intersection 600, union 1,800", (20, 0, 20, 30)),
        ((5, 5, 10, 25), (30, 40, 50, 60), "intersection 0, union 500", (30, 40, 0, 0)),  # apart, in both directions
        ((0, 0, 9, 8), (2, 3, 4, 7), "intersection 8, union 72", (2, 3, 2, 4)),
    ],
)
def test_it_fills_and_names_what_both_cover(a, b, words, common):
    fig = two_boxes(a, b, title="IoU")
    (ax,) = fig.axes
    (legend,) = fig.legends
    assert legend.get_title().get_text() == f"{words} square pixels"
    filled, first, second = ax.patches
    assert (*filled.get_xy(), filled.get_width(), filled.get_height()) == common
    for patch, box in ((first, a), (second, b)):
        assert (*patch.get_xy(), patch.get_width(), patch.get_height()) == (*box[:2], box[2] - box[0], box[3] - box[1])
    assert ax.yaxis_inverted()  # y grows downwards, as in an image
    assert ax.get_title() == "IoU"
    plt.close(fig)


@pytest.mark.parametrize("box", [(0, 0, 4), (3, 0, 2, 5), [[0, 0, 1, 1]]])
def test_bad_boxes_are_named(box):
    with pytest.raises(ValueError, match=r"b: got .* expected one box \(x0, y0, x1, y1\)"):
        two_boxes((0, 0, 1, 1), box)
