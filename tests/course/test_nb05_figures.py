"""The figures of notebook 05: streets with boxes, the levels of a grouping, and what proposals reach."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex

from lecture_course.nb05_from_one_box_to_many.figures import (
    beside_mean_box,
    covered,
    grouping,
    in_slots,
    recall_curves,
    slots_drawing,
    streets,
)
from lecture_utils import toycity
from lecture_utils.datasets.single_objects import keep
from lecture_utils.detection.boxes import normalize_boxes
from lecture_utils.figures.style import GREEN, SKY, VERMILION

SCENE = toycity.sample_scene(10_000_045)
TRUTH = torch.tensor([obj.box for obj in toycity.render(SCENE, 128).objects])


def outlines(ax):
    """The colour and the box of each rectangle that is drawn, in pixels, without the halos below them."""
    boxes = {}
    for patch in ax.patches:
        (x, y), width, height = patch.get_xy(), patch.get_width(), patch.get_height()
        box = tuple(round(value + 0.5, 3) for value in (x, y, x + width, y + height))
        boxes[box] = to_hex(patch.get_edgecolor())
    return boxes


def rounded(boxes):
    return [tuple(round(value, 3) for value in box) for box in boxes.tolist()]


def test_streets_show_the_ground_truth_and_what_was_found():
    found = [torch.tensor([[1.0, 2, 30, 40]]), torch.zeros(0, 4)]
    fig = streets([SCENE, keep(SCENE, [0])], found, titles=["first", "second"])
    first, second = fig.axes
    assert set(outlines(first)) == {*rounded(TRUTH), (1, 2, 30, 40)}
    assert len(outlines(second)) == 1
    assert [ax.get_title() for ax in fig.axes] == ["first", "second"]
    assert first.images[0].get_array().shape == (512, 512, 3)
    assert tuple(first.images[0].get_extent()) == (-0.5, 127.5, 127.5, -0.5)
    assert len(streets([SCENE] * 3).axes) == 3  # no empty panel
    plt.close("all")


def test_streets_want_an_answer_a_scene():
    with pytest.raises(ValueError, match="found: got 1, expected 2, one a scene"):
        streets([SCENE, SCENE], [TRUTH])
    with pytest.raises(ValueError, match="titles: got 1, expected 2"):
        streets([SCENE, SCENE], titles=["one"])


def test_a_grouping_tints_and_frames_what_was_joined_last():
    before = np.array([[0, 0, 1, 1, 2], [0, 0, 1, 1, 2], [0, 0, 1, 1, 2]])
    labels = np.where(before == 1, 0, before)
    photo = np.full((6, 10, 3), 100, np.uint8)
    fig = grouping(photo, labels, before, "2 regions")
    (ax,) = fig.axes
    assert list(outlines(ax)) == [(0, 0, 4, 3)]
    shown = np.asarray(ax.images[0].get_array())
    assert (shown[0, 0] != 100).any()
    assert (shown[:, -1] == 100).all()
    assert ax.figure.get_suptitle() == "2 regions"
    assert not grouping(photo, before, before, "nothing joined").axes[0].patches
    plt.close("all")


def test_objects_are_covered_or_missed():
    near, far = TRUTH[:1] + torch.tensor([0.0, 1, 0, 1]), torch.tensor([[0.0, 0, 2, 2]])
    proposals = torch.cat([far, near])
    fig = covered(SCENE, proposals)
    left, right = fig.axes
    assert set(outlines(left).values()) == {to_hex(SKY)}
    assert sorted(outlines(right).values()) == sorted(map(to_hex, [GREEN, SKY, *[VERMILION] * (len(TRUTH) - 1)]))
    assert fig.get_suptitle() == f"2 proposals: 1 of {len(TRUTH)} objects covered"
    plt.close("all")


@pytest.mark.slide("17")
def test_a_curve_of_recall_ends_with_all_its_proposals():
    lines = {"few": ([10, 30, 45.5], [0.1, 0.2, 0.3]), "many": ([10, 100, 310], [0.05, 0.6, 0.8])}
    (ax,) = recall_curves(lines).axes
    ends = [line.get_xydata().tolist() for line in ax.get_lines()[1::2]]
    assert ends == [[[45.5, 0.3]], [[310, 0.8]]]
    assert [text.get_text() for text in ax.texts] == ["all 46: 0.30", "all 310: 0.80"]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["10", "30", "100", "300"]


@pytest.mark.slide("15")
def test_a_slot_has_one_number_and_one_colour_on_all_streets():
    scenes = [toycity.sample_scene(seed) for seed in (0, 1)]
    given = [
        {"boxes": torch.tensor([[8.0, 8, 40, 40], [60, 60, 90, 90]]), "slots": torch.tensor([0, 7])},
        {"boxes": torch.tensor([[30.0, 30, 60, 60]]), "slots": torch.tensor([7])},
    ]
    first, second = in_slots(scenes, given).axes
    assert [[text.get_text() for text in ax.texts] for ax in (first, second)] == [["1", "8"], ["8"]]
    assert to_hex(first.patches[-1].get_facecolor()) == to_hex(second.patches[-1].get_facecolor())


@pytest.mark.slide("15")
def test_slots_say_how_many_objects_they_found():
    given = [{"boxes": torch.cat([TRUTH[:1], TRUTH[:1]]).float(), "slots": torch.tensor([0, 1])}]
    (ax,) = in_slots([SCENE], given).axes
    assert ax.get_title() == f"1 of {len(TRUTH)} objects found"
    assert sum(patch.get_fill() and patch.get_alpha() == 0.35 for patch in ax.patches) == 2
    ends = np.array([line.get_xydata() for line in ax.lines])
    assert ends == pytest.approx(np.tile(TRUTH[0].reshape(2, 2).float().mean(0) - 0.5, (2, 2, 1)))


@pytest.mark.slide("15")
def test_a_slot_is_drawn_with_what_it_was_asked_for():
    scores, boxes = torch.eye(3)[[1, 0]], torch.tensor([[0.5, 0.25, -0.5, 1], [0, 0, 0, 0]])
    fig = slots_drawing(torch.rand(400), scores, boxes, torch.tensor([2]), ("background", "car", "sign"), SCENE)
    words = [text.get_text() for text in fig.axes[0].texts]
    assert {*map(str, range(1, len(TRUTH) + 1))} <= set(words)
    assert {"slot 1: car", " 0.50  0.25 \u20120.50  1.00".replace(" ", "\u2007"), "slot 2: background"} <= set(words)
    assert words[words.index("slot 1") + 1] == "sign"
    assert words[words.index("slot 2") + 1] == "background"
    plt.close("all")


@pytest.mark.slide("14")
def test_a_box_beside_the_mean_box_has_its_iou_above():
    scene, true = keep(SCENE, [0]), TRUTH[0].float()
    given = torch.cat([normalize_boxes(true[None], 128, 128), torch.tensor([[1.5, 0.5, -0.1, 0.2], [0, 0, 0, 0]])])
    drawn = beside_mean_box([scene] * 3, given, ["car", "person", "sign"], torch.tensor([1.0, 2, 30, 40])).axes
    first = [ax.get_title().split("\n")[0] for ax in drawn]
    assert first == ["car, IoU 1.00", "person, no area", "sign, no area"]
    assert drawn[1].get_title().endswith("(1.50, 0.50, −0.10, 0.20)")
    assert [len(ax.texts) for ax in drawn] == [0, 1, 0]  # an arrow, for a centre outside
    assert [len(ax.lines) for ax in drawn] == [0, 0, 1]  # a dot
    plt.close("all")
