"""Windows on an image: the frames stand around the right pixels, and what is not labelled yet is white."""

import numpy as np
import pytest
from matplotlib.patches import Rectangle

from lecture_course.nb01_from_classification_to_pixels import figures as nb01
from lecture_utils.cityscapes import colour_labels


def image(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)


def frames(ax):
    """(column, row) of the centre and the side of each frame on an axes, one for its two lines."""
    boxes = [p for p in ax.patches if isinstance(p, Rectangle)]
    return {(p.get_x() + p.get_width() / 2, p.get_y() + p.get_height() / 2, p.get_width()) for p in boxes}


def drawn(ax):
    return np.asarray(ax.images[0].get_array())


@pytest.mark.slide("04")
def test_same_colour_shows_each_place_alone_and_in_its_patch():
    scene, patches = image(20, 30), {name: ((row, 7), image(5, 5, row)) for row, name in enumerate(("road", "car"))}
    fig = nb01.same_colour(scene, patches)
    first, *others = fig.axes
    assert np.array_equal(drawn(first), scene)
    assert {(x, y) for x, y, _ in frames(first)} == {(7, 0), (7, 1)}
    for (alone, around), ((_, patch), name) in zip(
        zip(others[::2], others[1::2], strict=True), zip(patches.values(), patches, strict=True), strict=True
    ):
        assert np.array_equal(drawn(alone), patch[2:3, 2:3])
        assert np.array_equal(drawn(around), patch)
        assert name in around.get_title()


@pytest.mark.slide("05")
def test_window_answer_frames_the_window_and_marks_the_truth():
    fig = nb01.window_answer(image(20, 30), image(7, 7), (3, 12), {"road": 0.7, "car": 0.3}, truth="car")
    assert frames(fig.axes[0]) == {(12, 3, 7)}
    assert frames(fig.axes[1]) == {(3, 3, 1)}
    bars = fig.axes[2]
    assert [bar.get_width() for bar in bars.patches] == [0.7, 0.3]
    assert [label.get_text() for label in bars.get_yticklabels()] == ["road", "car ✓"]


@pytest.mark.slide("05")
@pytest.mark.parametrize("done", [0, 13, 23])
def test_labels_so_far_are_those_before_the_window(done):
    labels = np.random.default_rng(1).integers(0, 11, (4, 6))
    fig = nb01.labelled_so_far(image(4, 6), image(3, 3), labels, done)
    shown, painted = drawn(fig.axes[2]).reshape(-1, 3), colour_labels(labels).reshape(-1, 3)
    assert np.array_equal(shown[: done + 1], painted[: done + 1])
    assert (shown[done + 1 :] == 255).all()
    row, column = divmod(done, 6)
    assert frames(fig.axes[0]) == {(column, row, 3)}


@pytest.mark.parametrize("done", [-1, 24])
def test_labels_so_far_refuses_a_pixel_outside(done):
    with pytest.raises(ValueError, match="done: got"):
        nb01.labelled_so_far(image(4, 6), image(3, 3), np.zeros((4, 6), int), done)
