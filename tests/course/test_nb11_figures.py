"""Costs and queries as images: every number in its place, matched cells framed, shapes in their colours."""

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

from lecture_course.nb11_detr.figures import (
    by_object,
    cost_matrix,
    found_by_query,
    gains,
    matching_changes,
    precision_recall,
    scores,
    sliding_box,
)
from lecture_utils import toycity
from lecture_utils.figures.boxes import class_colour

pytestmark = pytest.mark.slide("33")
STREET = np.full((16, 16, 3), 200, np.uint8)


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


def test_centres_have_the_colours_of_their_classes():
    boxes = [[[0.5, 0.4, 0.1, 0.1], [0.2, 0.3, 0.4, 0.2], [0.7, 0.6, 0.2, 0.5]], [], [[0.1, 0.9, 0.2, 0.05]]]
    fig = found_by_query(boxes, [[1, 2, 2], [], [1]], ["none", "person", "car"], STREET, columns=2, title="queries")
    shown = [ax for ax in fig.axes if ax.get_visible()]
    assert [ax.get_title() for ax in shown] == ["query 0: 3", "query 1: 0", "query 2: 1"]
    assert [len(ax.collections[0].get_offsets()) for ax in shown] == [3, 0, 1]
    colours = [to_hex(colour) for colour in shown[0].collections[0].get_facecolor()]
    assert colours == [to_hex(class_colour(label)) for label in (1, 2, 2)]
    for ax in shown:
        low, high = ax.get_ylim()[::-1]
        assert (low, high) == (0, 1)  # the image's upper border is at the top
    assert shown[0].collections[0].get_offsets().tolist()[2] == [0.7, 0.6]
    small, large, _ = shown[0].collections[0].get_sizes()
    assert small < large
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["person", "car"]


def test_queries_may_have_found_nothing_but_must_be_there():
    fig = found_by_query([np.zeros((0, 4))] * 2, [np.zeros(0)] * 2, ["none"], STREET)
    assert [ax.get_title() for ax in fig.axes] == ["query 0: 0", "query 1: 0"]
    for boxes, classes in (([], []), ([np.zeros((1, 4))], [np.zeros(0)])):
        with pytest.raises(ValueError, match="boxes, classes: got"):
            found_by_query(boxes, classes, ["none"], STREET)


def test_changes_of_the_matching_have_a_panel_each():
    fig = matching_changes([10, 50], {"rate stays": {"a": [0.8, 0.5]}, "rate falls": {"a": [0.8, 0.1]}})
    assert [ax.get_title() for ax in fig.axes] == ["rate stays", "rate falls"]
    assert [tick.get_text() for tick in fig.axes[0].get_xticklabels()] == ["", "50"]


@pytest.mark.parametrize("shape", [(3,), (3, 1), (0, 2)])
def test_a_cost_that_is_no_table_of_the_objects_is_refused(shape):
    with pytest.raises((ValueError, TypeError), match=r"cost: got shape|Type-check error"):  # jaxtyping's come first
        cost_matrix(torch.zeros(shape), ([], []), ["car", "person"])


def test_boxes_are_counted_by_the_object_they_overlap_most():
    truth, boxes = (
        torch.tensor([[0.0, 0, 20, 20], [60, 60, 90, 90]]),
        torch.tensor([[1.0, 0, 20, 20], [60, 61, 90, 90]]),
    )
    found = {"before": boxes[[0, 0, 1]], "after": boxes[1:]}
    fig, counts = by_object(toycity.sample_scene(3), truth, found, ["car A", "person B"], enlarged=(0, 1))
    assert counts == {"before": [2, 1], "after": [0, 1]}
    titles = ["before: 3 boxes", "car A, before: 2 boxes", "car A, after: 0 boxes"]
    titles += ["person B, before: 1 box", "person B, after: 1 box"]
    assert [ax.get_title() for ax in fig.axes] == titles
    frames = [len([patch for patch in ax.patches if patch.get_linewidth() == 1.2]) for ax in fig.axes]
    assert frames == [3, 2, 0, 1, 1]
    assert {"car A", "person B"} <= {text.get_text() for text in fig.axes[0].texts}


def test_a_box_slides_on_one_scale():
    fig = sliding_box((0, 0.5, 2), [0.0, 1, 2, 3], title="away")
    *sketches, curves = fig.axes
    assert [ax.get_title() for ax in sketches] == ["IoU 1.00\nGIoU 1.00", "IoU 0.33\nGIoU 0.33", "IoU 0.00\nGIoU −0.33"]
    assert all(ax.get_aspect() == 1 for ax in sketches)
    lines = {line.get_label(): line.get_ydata() for line in curves.get_lines()}
    assert list(lines["IoU"]) == [1, 0, 0, 0]
    assert lines["GIoU"][-1] == pytest.approx(-0.5)


def test_gains_have_their_intervals():
    fig = gains((1, 2), {"gain": [(0.2, 0.1, 0.3), (0.1, -0.05, 0.2)], "harm": [(-0.2, -0.3, -0.1)] * 2})
    ax, harm = fig.axes
    assert (ax.get_title(), harm.get_title()) == ("gain", "harm")
    assert harm.get_ylim()[0] < -0.3
    assert harm.get_ylim()[1] > 0
    assert ax.get_ylim()[0] < -0.05
    assert ax.get_ylim()[1] > 0.3
    assert ax.get_xlabel() == "after decoder layer"


def test_precision_over_recall_marks_the_last_box_of_each_score():
    parts = torch.tensor([0.95, 0.8, 0.6]), torch.tensor([0.3, 0.6, 0.6]), torch.tensor([1, 1, 2 / 3])
    fig = precision_recall({"as it is": parts, "after": parts}, (0.5, 0.9))
    (ax,) = fig.axes
    lines = ax.get_lines()
    assert [line.get_label() for line in lines if not line.get_label().startswith("_")] == ["as it is", "after"]
    marks = [(float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in lines if len(line.get_xdata()) == 1]
    assert np.array(marks[:2]) == pytest.approx(np.array([[0.6, 2 / 3], [0.3, 1.0]]))
    assert [text.get_text() for text in ax.texts] == ["0.5", "0.9"] * 2


def test_every_score_has_its_number():
    fig = scores({"DETR": {"mAP": 0.5, "small": 0.25}, "other": {"mAP": 0.75, "small": 0.125}}, title="two")
    (ax,) = fig.axes
    assert sorted(text.get_text() for text in ax.texts) == ["0.125", "0.250", "0.500", "0.750"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["mAP", "small"]
    assert ax.yaxis_inverted()  # the first is at the top
