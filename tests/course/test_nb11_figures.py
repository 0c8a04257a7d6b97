"""Costs and queries as images: every number in its place, matched cells framed, shapes in their colours."""

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

from lecture_course.nb11_detr.figures import SHAPES, cost_matrix, found_by_query

pytestmark = pytest.mark.slide("33")


def test_every_cost_stands_in_its_cell_and_pairs_are_framed():
    cost = torch.tensor([[0.5, -1.0], [2.0, 3.0], [-0.26, -0.04]])
    fig = cost_matrix(cost, (torch.tensor([0, 2]), torch.tensor([1, 0])), ["car", "person"], title="costs")
    (ax,) = fig.axes
    written = {tuple(int(x) for x in text.get_position()): text.get_text() for text in ax.texts}
    assert written == {(0, 0): "0.5", (1, 0): "2.0", (2, 0): "−0.3", (0, 1): "−1.0", (1, 1): "3.0", (2, 1): "0.0"}
    frames = {tuple(patch.get_xy()) for patch in ax.patches if isinstance(patch, Rectangle)}
    assert frames == {(-0.5, 0.5), (1.5, -0.5)}
    assert [label.get_text() for label in ax.get_yticklabels()] == ["car", "person"]
    assert "query" in ax.get_xlabel()


def test_the_cheapest_cell_is_the_darkest():
    fig = cost_matrix(torch.tensor([[3.0], [1.0], [2.0]]), ([1], [0]), ["car"])
    (image,) = fig.axes[0].get_images()
    shades = np.asarray(image.get_array())
    assert shades.argmax() == 1
    assert shades.argmin() == 0
    fig = cost_matrix(torch.ones(2, 2), ([0, 1], [0, 1]), ["a", "b"])  # all alike: nothing to divide by
    assert np.isfinite(fig.axes[0].get_images()[0].get_array()).all()


def test_centres_are_coloured_by_shape():
    boxes = [[[0.5, 0.4, 0.1, 0.1], [0.2, 0.3, 0.4, 0.2], [0.7, 0.6, 0.2, 0.5]], [], [[0.1, 0.9, 0.2, 0.05]]]
    fig = found_by_query(boxes, columns=2, title="queries")
    shown = [ax for ax in fig.axes if ax.get_visible()]
    assert [ax.get_title() for ax in shown] == ["0: 3", "1: 0", "2: 1"]
    for ax, counts in zip(shown, ((1, 1, 1), (0, 0, 0), (1, 0, 0)), strict=True):
        assert [len(dots.get_offsets()) for dots in ax.collections] == list(counts)
        assert [to_hex(dots.get_facecolor()[0]) for dots in ax.collections] == [c.lower() for c in SHAPES.values()]
        low, high = ax.get_ylim()[::-1]
        assert low < 0 < 1 < high  # the image's upper border is at the top
        assert ax.yaxis_inverted()
    assert shown[0].collections[2].get_offsets().tolist() == [[0.7, 0.6]]  # the tall one
    assert [text.get_text() for text in fig.legends[0].get_texts()] == list(SHAPES)


def test_queries_may_have_found_nothing_but_must_be_there():
    fig = found_by_query([np.zeros((0, 4))] * 2)
    assert [ax.get_title() for ax in fig.axes] == ["0: 0", "1: 0"]
    with pytest.raises(ValueError, match="boxes: got no query"):
        found_by_query([])


@pytest.mark.parametrize("shape", [(3,), (3, 1), (0, 2)])
def test_a_cost_that_is_no_table_of_the_objects_is_refused(shape):
    with pytest.raises((ValueError, TypeError), match=r"cost: got shape|Type-check error"):  # jaxtyping's come first
        cost_matrix(torch.zeros(shape), ([], []), ["car", "person"])
