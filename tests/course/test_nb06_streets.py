"""The streets that notebook 06 trains on, and what it measures on streets."""

import numpy as np
import pytest
import torch

from lecture_course.nb06_rcnn_and_fast_rcnn import measuring
from lecture_course.nb06_rcnn_and_fast_rcnn.streets import SearchedStreets, by_day, proposals_of, val_street
from lecture_utils import city_models, tasks, toycity
from lecture_utils.datasets import city_instances
from lecture_utils.detection import selective_search as module
from lecture_utils.detection.boxes import box_iou

NUMBER = 3


@pytest.fixture(scope="module")
def streets():
    return SearchedStreets("train", NUMBER)


def test_items_are_those_of_a_detector(streets):
    for index, seed in enumerate(toycity.seeds("train", NUMBER)):
        image, target = streets[index]
        rendering = toycity.render(toycity.sample_scene(seed), 128)
        assert np.array_equal(image.permute(1, 2, 0), rendering.image)
        assert target["boxes"].tolist() == [list(obj.box) for obj in rendering.objects]
        assert [streets.categories[label] for label in target["labels"]] == [o.category for o in rendering.objects]
        assert target["proposals"].shape[1:] == (4,)
    images, targets = tasks.collate([streets[0], streets[1]])
    assert images.shape == (2, 3, 128, 128)
    assert len(targets[1]["proposals"]) > 50


def test_flipping_one_item_leaves_the_next_as_it_is(streets):
    before = streets[0][1]["proposals"].clone()
    streets[0][1]["proposals"].mul_(0)
    assert torch.equal(streets[0][1]["proposals"], before)


def test_stored_proposals_are_those_that_a_search_finds(streets, monkeypatch):
    """`handouts/proposals.py` stored those of the notebook's streets, which need no OpenCV; others are searched."""
    for index in range(NUMBER):
        image, target = streets[index]
        assert torch.equal(target["proposals"], module.selective_search(image.permute(1, 2, 0).numpy()).unique(dim=0))
    elsewhere, _ = SearchedStreets("test", 1)[0]
    assert len(proposals_of(elsewhere)) > 20
    monkeypatch.setattr(module, "_missing", lambda: "OpenCV is not installed here")
    assert len(SearchedStreets("train", 128)) > 100


def test_a_large_street_is_the_small_one():
    large, seeds = val_street(5), toycity.seeds("val", 7)
    assert large.shape == (512, 512, 3)
    reduced = large.reshape(128, 4, 128, 4, 3).mean((1, 3))
    same, other = (toycity.render(toycity.sample_scene(seeds[i]), 128).image for i in (5, 6))
    assert 4 * np.abs(reduced - same).mean() < np.abs(reduced - other).mean()


TARGET = {"boxes": torch.tensor([[0.0, 0, 10, 10], [20, 20, 40, 40]]), "labels": torch.tensor([1, 2])}
FOUND = {  # right; too unsure; of another class; elsewhere
    "boxes": torch.tensor([[0.0, 0, 10, 8], [20, 20, 40, 40], [20, 20, 40, 40], [60, 60, 70, 70]]),
    "labels": torch.tensor([1, 2, 1, 1]),
    "scores": torch.tensor([0.5, 0.49, 0.9, 0.8]),
}
NOTHING = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64), "scores": torch.zeros(0)}


def test_found_objects_and_false_positives_are_counted():
    right, false = measuring.all_found([FOUND, NOTHING, FOUND], [TARGET, TARGET, NOTHING])
    assert right.tolist() == [True, False, False, False]
    assert false == {"duplicate": 0, "false": 2 + 0 + 3}
    assert measuring.all_found([FOUND], [TARGET], threshold=0.4)[0].tolist() == [True, True]


def test_a_second_box_of_an_object_is_a_duplicate():
    boxes = torch.tensor([[0.0, 0, 10, 9], [0, 0, 10, 10], [20, 20, 40, 40], [60, 60, 70, 70]])
    found = {"boxes": boxes, "labels": torch.tensor([1, 1, 2, 2]), "scores": torch.tensor([0.6, 0.9, 0.8, 0.7])}
    said, taken = measuring.verdicts(found, TARGET)
    assert said == ["right", "right", "false", "duplicate"]  # by score, not as they come
    assert taken.tolist() == [True, True]


def test_two_objects_under_two_boxes_are_both_found():
    near = {"boxes": torch.tensor([[0.0, 0, 10, 10], [2, 0, 12, 10]]), "labels": torch.tensor([1, 1])}
    found = {"boxes": near["boxes"][[0, 0]], "labels": torch.tensor([1, 1]), "scores": torch.tensor([0.9, 0.8])}
    said, taken = measuring.verdicts(found, near)
    assert said == ["right", "right"]  # the second covers the other by 0.67
    assert taken.all()


def test_crops_lead_from_align_to_pooling_one_difference_at_a_time():
    crops, maps = measuring.crops_apart(2, 4), torch.arange(64.0).reshape(1, 1, 8, 8)
    box = torch.tensor([[5.0, 4, 13, 12]])  # 1.25 to 3.25 cells across, 1 to 3 down
    made = {name: crop(maps, box)[0, 0] for name, crop in crops.items()}
    assert len(made) == 6
    assert torch.equal(made["RoI align"], made["corners rounded to cells"] + 0.25)
    assert (made["the maximum, not the mean"] > made["RoI align"]).all()
    torch.testing.assert_close(made["all three: RoI pooling"], torch.tensor([[18.0, 19], [26, 27]]))
    pixel_less = crops["all three: RoI pooling"](maps, torch.tensor([[5.0, 4, 12, 11]]))[0, 0]
    assert torch.equal(made["RoI pooling of x1 − 1, y1 − 1"], pixel_less)
    grown = crops["RoI align"](maps, torch.tensor([[5.0, 4, 17, 16]]))[0, 0]
    assert torch.equal(made["one cell more"], grown)


def test_objects_are_counted_by_their_size():
    assert measuring.by_size({"one": torch.tensor([True, False])}, [TARGET], (5, 20)) == {
        "below 5": {"objects": 0, "one": 0},
        "5 to 20": {"objects": 1, "one": 1},
        "from 20": {"objects": 1, "one": 0},
    }


def test_detectors_differ_by_what_only_one_has():
    assert len(measuring.differ(FOUND, FOUND)) == 0
    assert len(measuring.differ(FOUND, NOTHING)) == len(measuring.differ(NOTHING, FOUND)) == 3
    moved = {**FOUND, "boxes": FOUND["boxes"] + torch.tensor([[0.0], [0], [0], [100]])}
    assert len(measuring.differ(FOUND, moved)) == 2


def test_streets_come_with_searched_proposals_and_seconds():
    streets = city_instances("val")
    photos, targets, searched, took = measuring.searched_streets(streets, 4, "cpu")
    assert [photo.shape for photo in photos] == [(1, 3, 128, 128)] * 4
    assert torch.equal(targets[3]["boxes"], streets[3][1]["boxes"])
    assert [len(times) for times in took.values()] == [2, 2]  # of the first and of the fourth
    assert all(torch.equal(of, of.unique(dim=0)) for of in searched[1] + searched[2])
    assert sum(map(len, searched[1])) < sum(map(len, searched[2]))


def test_each_object_has_the_overlap_of_its_best_proposal():
    proposals = [torch.tensor([[0.0, 0, 10, 9], [0, 0, 10, 5]]), torch.tensor([[0.0, 0, 1, 1]])]
    assert measuring.best_overlaps([TARGET, TARGET], proposals).tolist() == pytest.approx([0.9, 0, 0.01, 0])


def test_overlaps_before_and_after_are_of_the_same_proposals():
    model = city_models.BUILDERS["rcnn"]().eval()
    torch.nn.init.zeros_(model.head.deltas.weight)  # no deltas: nothing moves
    target = {"boxes": torch.tensor([[10.0, 10, 50, 60], [70, 70, 100, 90]]), "labels": torch.tensor([2, 1])}
    proposals = torch.tensor([[12.0, 10, 50, 62], [0, 0, 5, 5], [70, 72, 100, 90], [10, 10, 50, 58]])
    answers = measuring.answers_of(model, [torch.randn(1, 3, 128, 128)], [proposals])
    of = measuring.overlaps_of(answers, [target], [proposals])
    assert torch.equal(of["before"], box_iou(target["boxes"], proposals).amax(0)[[0, 2, 3]])
    assert of["best"].tolist() == [False, True, True]
    assert of["label"].tolist() == [2, 1, 2]
    assert torch.equal(of["said"], answers[0][0].argmax(1)[[0, 2, 3]])
    torch.testing.assert_close(of["after"], of["before"])


def test_without_deltas_detections_are_proposals():
    model, photo = city_models.BUILDERS["rcnn"]().eval(), torch.randn(1, 3, 128, 128)
    model.head.score_threshold = 0.1
    torch.nn.init.normal_(model.head.deltas.weight, std=0.1)
    proposals = torch.tensor([[10.0, 10, 50, 60], [70, 70, 100, 90]])
    answers = measuring.answers_of(model, [photo], [proposals])
    (still,), (moved,) = measuring.with_and_without_deltas(model, answers, [proposals]).values()
    with torch.no_grad():
        (whole,) = model(photo, [proposals])
    torch.testing.assert_close(moved, whole)
    assert len(still["boxes"])
    assert all(box in proposals.tolist() for box in still["boxes"].tolist())
    target = {"boxes": still["boxes"][:1], "labels": still["labels"][:1]}
    scores = measuring.average_precision([{key: of[:1] for key, of in still.items()}], [target], "abcde")
    assert scores == pytest.approx({"AP50": 1, "mAP": 1, "AP75": 1})


def test_seconds_are_those_of_each_image(monkeypatch):
    clock, seen = iter([0, 9, 10, 11, 20, 25]), []  # the first pass, of 9 seconds, does not count
    monkeypatch.setattr("lecture_utils.costs.time.perf_counter", lambda: next(clock))
    model = lambda photo, boxes: seen.append((photo, boxes))  # noqa: E731
    assert measuring.seconds_of(model, ["a", "b"], ["1", "2"]) == [1, 5]
    assert seen == [("a", ["1"]), ("a", ["1"]), ("b", ["2"])]


def test_the_search_is_set_against_each_network():
    fractions, wholes = measuring.with_the_search({1: [1.0, 3], 2: [2.0, 2]}, {"fast": {1: [1.0, 1], 2: [0.5, 1.5]}})
    assert fractions == pytest.approx({"fast at 1×": 0.625, "fast at 2×": (0.8 + 4 / 7) / 2})
    assert wholes == {"fast": 3}


def test_crops_cost_four_neighbours_of_four_points():
    fast, rcnn = (city_models.BUILDERS[name]() for name in ("fast_rcnn", "rcnn"))
    assert measuring.crop_multiply_adds(fast, 10) == 10 * 64 * 7 * 7 * 16
    assert measuring.crop_multiply_adds(rcnn, 10) == 10 * 3 * 28 * 28 * 16


def test_a_channel_stands_out_where_it_is_high_in_the_box_alone():
    features = torch.zeros(3, 8, 8)
    features[0, 2:4, 1:3] = 1.0  # in the box
    features[1] = 1.0  # everywhere
    features[2, 6:] = 1.0  # elsewhere
    apart = measuring.contrast(features, torch.tensor([1.25, 2, 2.75, 3.5]))
    assert apart.argmax() == 0
    assert apart[0] == pytest.approx(1 / features[0].std().item())
    assert apart[1] == 0
    assert apart[2] < 0


def test_the_best_constant_answers_are_those_that_training_finds():
    torch.manual_seed(0)
    labels = torch.tensor([0] * 60 + [1] * 15 + [2] * 5)
    wanted = torch.randn(20, 4) + 0.5 * labels[labels > 0][:, None]
    of_class, of_box = measuring.constant_losses(labels, wanted, classes=4)
    scores, deltas = torch.zeros(4, requires_grad=True), torch.zeros(4, 4, requires_grad=True)
    optimizer, untrained = torch.optim.Adam([scores, deltas], lr=0.03), None
    for _ in range(600):
        parts = (
            torch.nn.functional.cross_entropy(scores.expand(80, 4), labels),
            torch.nn.functional.smooth_l1_loss(deltas[labels[labels > 0]], wanted, reduction="sum") / 80,
        )
        untrained = untrained or [part.item() for part in parts]
        optimizer.zero_grad()
        sum(parts).backward()
        optimizer.step()
    for levels, start, end in zip((of_class, of_box), untrained, parts, strict=True):
        assert list(levels.values()) == pytest.approx([start, end.item()], rel=5e-3)


def test_a_line_ends_where_its_points_lead():
    assert measuring.end_of_line([1, 100, 300], [3, 201, 601]) == pytest.approx(601)
    assert measuring.end_of_line([0, 1, 2, 3], [0, 1, 2, 7]) == pytest.approx(5.8)


def test_it_is_day_or_not():
    times = [toycity.sample_scene(seed).time for seed in toycity.seeds("val", 9)]
    assert [by_day(i) for i in range(9)] == [time == "day" for time in times]
    assert len(set(times)) > 1
