"""Regions: each crop under its number, boxes where they belong, bars as long as the scores, and what titles say."""

import numpy as np
import pytest
import torch

from lecture_course.nb06_rcnn_and_fast_rcnn import charts
from lecture_course.nb06_rcnn_and_fast_rcnn import figures as nb06


def image(height, width, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 255, (3, height, width), dtype=np.uint8))


def corners(ax):
    """(x0, y0, x1, y1) of every unfilled rectangle, in pixels."""
    found = [patch for patch in ax.patches if not patch.get_fill()]
    return [tuple(np.add(patch.get_bbox().extents, 0.5).round(3).tolist()) for patch in found]


def drawn(ax):
    return np.asarray(ax.images[0].get_array())


@pytest.mark.slide("18")
@pytest.mark.parametrize("number", [1, 3, 8, 9])
def test_each_crop_stands_under_its_number_and_size(number):
    boxes = torch.tensor([[3.0, 4, 12, 20]]).repeat(number, 1) + torch.arange(number)[:, None]
    crops = [image(7, 7, seed) for seed in range(number)]
    fig = nb06.warped(image(40, 60), boxes, crops)
    scene, *others = fig.axes
    assert corners(scene) == [tuple(box) for box in boxes.tolist()]
    assert [text.get_text() for text in scene.texts] == [str(i + 1) for i in range(number)]
    assert [ax.get_title() for ax in others] == [f"{i + 1}: 9 × 16 pixels" for i in range(number)]
    fig.canvas.draw()
    assert all(ax.get_window_extent().width >= 200 / 80 * fig.dpi for ax in others)
    for ax, crop in zip(others, crops, strict=True):
        assert np.array_equal(drawn(ax), crop.permute(1, 2, 0))


def test_as_many_crops_as_boxes():
    for boxes, crops in ((0, []), (2, [image(7, 7)])):
        with pytest.raises(ValueError, match="boxes, crops: got"):
            nb06.warped(image(20, 30), torch.zeros(boxes, 4), crops)


@pytest.mark.slide("18")
def test_bars_are_the_probabilities_and_the_truth_has_a_tick():
    scores = {"background": 0.2, "car": 0.7, "person": 0.1}
    fig = nb06.region_answer(image(7, 7, 1), scores, truth="car")
    crop, bars = fig.axes
    assert np.array_equal(drawn(crop), image(7, 7, 1).permute(1, 2, 0))
    assert [patch.get_width() for patch in bars.patches] == list(scores.values())
    assert [label.get_text() for label in bars.get_yticklabels()] == ["background", "car ✓", "person"]
    ballot = nb06.region_answer(image(7, 7, 1), scores, answered=False, truth="car")
    assert [label.get_text() for label in ballot.axes[1].get_yticklabels()] == list(scores)
    assert [patch.get_width() for patch in ballot.axes[1].patches] == [0, 0, 0]
    assert all(a.get_position().bounds == b.get_position().bounds for a, b in zip(fig.axes, ballot.axes, strict=True))


LARGE = np.zeros((512, 512, 3), np.uint8)
TRUTH = torch.tensor([[10.0, 20, 50, 60], [80, 30, 100, 90]])
PROPOSALS = torch.tensor([[12.0, 20, 50, 60], [80, 40, 100, 90], [30, 20, 70, 60], [0, 100, 20, 120]])


def test_proposals_are_parted_by_their_overlap():
    left, right = nb06.proposals_and_objects(LARGE, TRUTH, PROPOSALS).axes
    assert [ax.get_title() for ax in (left, right)] == ["4 of the 4 proposals", "2 with an IoU of 0.5 or more"]
    assert corners(left) == list(map(tuple, PROPOSALS.tolist()))
    assert corners(right) == list(map(tuple, [*PROPOSALS[:2].tolist(), *TRUTH.tolist()]))  # the truth on top
    few, _ = nb06.proposals_and_objects(LARGE, TRUTH, PROPOSALS, shown=2).axes
    assert few.get_title() == "2 of the 4 proposals, one in 2"
    assert corners(few) == list(map(tuple, PROPOSALS[::2].tolist()))


def test_each_object_is_seen_close_up_with_both_overlaps():
    before, after = PROPOSALS[:2], TRUTH.clone()
    fig = nb06.zoomed_deltas(LARGE, before, after, TRUTH, ["car", "person"])
    assert [ax.get_title() for ax in fig.axes] == ["car: IoU 0.95 → 1.00", "person: IoU 0.83 → 1.00"]
    for ax, box in zip(fig.axes, TRUTH.tolist(), strict=True):
        assert corners(ax)[0] == tuple(box)
        (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
        assert left < box[0] - 0.5 < box[2] - 0.5 < right
        assert top < box[1] - 0.5 < box[3] - 0.5 < bottom


def test_points_above_the_diagonal_are_those_that_grew():
    fig = charts.overlaps_before_and_after(torch.tensor([0.5, 0.9, 0.7]), torch.tensor([0.6, 0.8, 0.9]))
    grew, shrank = (scattered.get_offsets().tolist() for scattered in fig.axes[0].collections)
    np.testing.assert_allclose(grew, [[0.5, 0.6], [0.7, 0.9]])
    np.testing.assert_allclose(shrank, [[0.9, 0.8]])
    changes = fig.axes[1]
    assert [label.get_text() for label in changes.get_xticklabels()] == [
        "0.5–0.6\n(1)", "0.6–0.7\n(0)", "0.7–0.8\n(1)", "0.8–0.9\n(0)", "0.9–1.0\n(1)",
    ]  # fmt: skip
    medians = [line.get_ydata()[0] for line in changes.get_lines() if line.get_linewidth() == 2]
    np.testing.assert_allclose(medians, [0.2, np.nan, 2 / 3, np.nan, -1], rtol=1e-4)  # of what was missing to 1


def test_a_pixel_is_counted_once_for_each_region():
    fig, given = nb06.regions_over_pixels(LARGE, torch.tensor([[0.0, 0, 64, 128], [0, 0, 128, 64]]), TRUTH, side=28)
    street, over, _, sizes = fig.axes
    counts = np.asarray(over.images[0].get_array())
    assert corners(street) == corners(over) == list(map(tuple, TRUTH.tolist()))
    assert counts[:64, :64].tolist() == np.full((64, 64), 2).tolist()
    assert counts[64:, 64:].max() == 0
    assert np.array_equal(counts, given)
    assert given.mean() == 1
    heights = [bar.get_height() for bar in sizes.patches]
    assert heights[int(8192**0.5) // 4] == sum(heights) == 2


def test_maps_share_a_scale_and_an_object_stands_in_the_grid_of_their_cells():
    features = torch.rand(5, 32, 32) * torch.tensor([1.0, 2, 3, 4, 5])[:, None, None]
    fig = nb06.feature_maps(LARGE, features, TRUTH, {1: 4, 0: 1}, ["car", "person"])
    close, first, second, *_ = fig.axes
    assert [ax.get_title() for ax in (first, second)] == [
        "channel 4, chosen for the person", "channel 1, chosen for the car",
    ]  # fmt: skip
    assert corners(close) == [tuple(TRUTH[1].tolist())]
    assert sorted({line.get_xdata()[0] + 0.5 for line in close.get_lines()} - {0.5}) == list(range(0, 129, 4))
    for ax, channel in ((first, 4), (second, 1)):
        (shown,) = ax.images  # opaque, with nothing below
        np.testing.assert_allclose(shown.get_array(), features[channel])
        assert shown.get_alpha() is None
        assert shown.get_clim() == (0, pytest.approx(features[[4, 1]].max().item()))
        assert [text.get_text() for text in ax.texts] == ["car", "person"]


def test_a_street_upside_down_has_its_boxes_upside_down():
    features = torch.rand(2, 32, 32)
    *_, last, _ = nb06.feature_maps(LARGE, features, TRUTH, {1: 0, 0: 1}, ["car", "person"], turned=-features).axes
    assert last.get_title() == "channel 1, the street upside down"
    np.testing.assert_allclose(last.images[0].get_array(), -features[1])
    assert corners(last) == [(10, 68, 50, 108), (80, 38, 100, 98)]


def test_scores_are_sorted_by_score_and_bars_are_as_long_as_theirs():
    every = {"map_50": 1, "map_75": 0}
    rows = {"a": [every | {"map": 0.2}, every | {"map": 0.4}], "b": [every | {"map": 0.9}]}
    assert charts.score_panels(rows)["mAP"] == {"a": [0.2, 0.4], "b": [0.9]}
    (ax,) = charts.bars_of_crops({"align": 0.6, "x": 0.5, "pool": 0.1, "other": 0.2}).axes
    assert [bar.get_width() for bar in ax.patches] == [0.6, 0.5, 0.1, 0.2]


def test_proposals_are_counted_and_those_sampled_drawn():
    sampled = torch.tensor([True, False, True, False])
    bars, *streets = charts.sampled_proposals(LARGE, TRUTH, PROPOSALS, sampled).axes
    assert [text.get_text().split()[0] for text in bars.texts] == [*"211110"]  # all, then those sampled
    for street, of in zip(streets, PROPOSALS[[0, 2]], strict=True):  # the positive one, and the negative one
        assert set(corners(street)) == set(map(tuple, [of.tolist(), *TRUTH.tolist()]))


def test_detections_above_the_threshold_have_class_and_score():
    found = {"boxes": PROPOSALS, "labels": torch.tensor([1, 2, 1, 1]), "scores": torch.tensor([0.9, 0.5, 0.4, 0.1])}
    target = {"boxes": TRUTH, "labels": torch.tensor([1, 2])}
    (ax,) = nb06.detected(LARGE, target, {"a detector": found}, ["background", "car", "person"]).axes
    assert [text.get_text() for text in ax.texts] == ["1", "2"]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["1 car 0.90", "2 person 0.50"]
    assert corners(ax) == list(map(tuple, [*TRUTH.tolist(), *PROPOSALS[:2].tolist()]))


def test_curves_and_seconds_are_those_given():
    shifts = torch.arange(5.0)
    (ax,) = charts.follow(shifts, {"left": {"a": shifts, "b": 2 * shifts}}).axes
    assert [line.get_ydata().tolist() for line in ax.get_lines()] == [[0, 1, 2, 3, 4], [0, 2, 4, 6, 8]]
    left, right = charts.multi_task_losses(range(20, 0, -1), range(20), ({"a": 3}, {"b": 4}), points=2).axes
    assert left.get_lines()[0].get_xydata().tolist() == [[1, 20], [5.5, 15.5], [15.5, 5.5]]
    assert right.get_lines()[1].get_ydata() == [4, 4]
    assert left.get_ylim()[0] == right.get_ylim()[0] == 0
    (ax,) = charts.seconds_of_parts({"search": {"here": 0.1}, "network": {"here": 2.0, "reported": 47.0}}).axes
    assert ax.get_xscale() == "log"
    here, reported = (scattered.get_offsets().tolist() for scattered in ax.collections)
    assert here == [[0.1, 0], [2.0, 1]]
    assert reported == [[47.0, 1]]
    assert [text.get_text() for text in ax.texts] == ["0.1 s", "2 s", "47 s"]
