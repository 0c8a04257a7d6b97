"""What the images of notebook 07 show, read off their artists."""

import numpy as np
import pytest
import torch
import torchvision
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgba
from matplotlib.patches import Rectangle

from lecture_course.nb05_from_one_box_to_many import figures as nb05
from lecture_course.nb07_region_proposal_network import figures as nb07
from lecture_course.nb07_region_proposal_network import measuring, steps
from lecture_course.nb07_region_proposal_network.figures import large_street, rpn_losses
from lecture_utils import city_models, runtime, toycity
from lecture_utils.detection.boxes import encode
from lecture_utils.figures import seconds_per_image
from lecture_utils.figures.style import ORANGE, SKY, VERMILION

STREET = toycity.sample_scene(10_000_497)


@pytest.fixture(autouse=True)
def close_figures():
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


def outlines(ax, colour):
    """The boxes drawn in this colour, (n, 4), in pixels of the image."""
    found = [p for p in ax.patches if isinstance(p, Rectangle) and p.get_edgecolor() == to_rgba(colour)]
    corners = [(p.get_x(), p.get_y(), p.get_x() + p.get_width(), p.get_y() + p.get_height()) for p in found]
    return torch.tensor(corners, dtype=torch.float32).reshape(-1, 4) + 0.5


def crowd(number=25, side=60):
    low = torch.rand(number, 2) * side
    return torch.cat([low, low + 15 + torch.rand(number, 2) * 45], 1), torch.rand(number)


@pytest.mark.slide("21")
def test_objects_that_an_anchor_overlaps_by_half_are_marked():
    objects = torch.tensor([[0.0, 0, 30, 30], [10, 20, 100, 26]])  # one like an anchor of 32 pixels, one like none
    shown = steps.one_shape((64, 128), objects, ["square", "flat"], 32, 1, 16)
    assert shown.said == "32 anchors overlap 1 of 2 objects by half."
    assert shown.dots == 16
    assert [row[:2] for row in shown.rows[1:]] == [("overlapped by half", "square"), ("not overlapped by half", "flat")]
    boxes = {mark.kind: mark.box for mark in shown.marks}
    assert boxes["overlapped by half"] == objects[0].tolist()
    assert boxes["not overlapped by half"] == objects[1].tolist()
    assert boxes["its best anchor"] == [0, 0, 32, 32]  # around the point (16, 16)
    assert boxes["the anchor of one point"] == [64 - 16, 32 - 16, 64 + 16, 32 + 16]


@pytest.mark.slide("21")
def test_the_large_street_has_the_size_of_the_slide():
    image, objects, small = large_street(STREET)
    assert image.shape == (480, 640, 3)
    assert small.shape == (3, 120, 160)
    assert len(objects) == len(toycity.render(STREET, 512).objects)
    boxes = torch.tensor([box for _, box in objects])
    assert boxes.min() >= 0
    assert (boxes <= torch.tensor([640.0, 480, 640, 480])).all()
    assert np.abs(image[2::4, 2::4].astype(int) - small.permute(1, 2, 0).numpy()).mean() < 12


@pytest.mark.slide("22")
def test_what_a_box_drops_has_its_colour():
    boxes, scores = crowd(20)
    fig = nb07.suppressed(np.zeros((40, 48, 3), np.uint8), boxes, scores, 0.5, "NMS")
    before, after = fig.axes
    groups = steps.suppress(boxes, scores, 0.5)
    outlines = [[patch for patch in ax.patches if not patch.get_fill()] for ax in (before, after)]
    assert [len(each) for each in outlines] == [20, len(groups)]
    kept = [outline.get_edgecolor() for outline in outlines[1]]
    of = dict(zip(scores.argsort().tolist(), [outline.get_edgecolor() for outline in outlines[0]], strict=True))
    for taken, colour in zip(groups, kept, strict=True):
        assert {of[i] for i in (taken.kept, *taken.dropped)} == {colour}
    assert after.get_title() == f"after NMS at 0.5: the best {len(groups)}"
    few, _ = nb07.suppressed(np.zeros((40, 48, 3), np.uint8), boxes, scores, 0.5, "NMS", first=7).axes
    assert len([patch for patch in few.patches if not patch.get_fill()]) == 7


def test_no_box_to_suppress_is_refused():
    with pytest.raises(ValueError, match="boxes: got none"):
        nb07.suppressed(np.zeros((4, 4, 3), np.uint8), torch.zeros(0, 4), torch.zeros(0), 0.5, "")


def test_the_four_losses_of_a_step_are_written_down():
    model, run = city_models.build("faster_rcnn"), runtime.setup(quiet=True)
    item = torch.rand(3, 64, 64), {"boxes": torch.tensor([[8.0, 8, 40, 40]]), "labels": torch.tensor([2])}
    collate = lambda items: (torch.stack([image for image, _ in items]), [target for _, target in items])  # noqa: E731
    how = {"steps": 2, "batch_size": 2, "lr": 1e-3, "collate": collate, "quiet": True}
    course, levels = measuring.four_losses(model, [item] * 4, run, **how)
    *losses, near, each = course
    assert losses == ["RPN: objectness", "RPN: anchor deltas", "head: class", "head: box deltas"]
    assert {len(values) for values in course.values()} == {2}
    assert all(0 <= share < 1 for share in course[near])  # of an object its own box is positive, too
    assert [np.isnan(loss) for loss in course[each]] == [share == 0 for share in course[near]]
    assert 0 < levels["head: class"]["the best constant answer"] < np.log(5)


def test_the_head_loses_as_much_as_in_the_detector_itself(monkeypatch):
    model, run = city_models.build("faster_rcnn"), runtime.setup(quiet=True)
    item = torch.rand(3, 64, 64), {"boxes": torch.tensor([[8.0, 8, 40, 40]]), "labels": torch.tensor([2])}
    images, targets = torch.stack([item[0]] * 2), [item[1]] * 2
    monkeypatch.setattr(measuring.training, "fit", lambda model, examples, loss, run: loss(model, (images, targets)))
    torch.manual_seed(0)
    course, _ = measuring.four_losses(model, [item], run)
    torch.manual_seed(0)
    assert [value for (value,) in list(course.values())[:4]] == pytest.approx(
        [value.item() for value in model(images, targets).values()], rel=1e-4
    )


@pytest.mark.slide("22")
@pytest.mark.parametrize("threshold", [0.2, 0.5])
def test_the_steps_are_those_of_suppression(threshold):
    torch.manual_seed(0)
    boxes, scores = crowd()
    kept = torchvision.ops.nms(boxes, scores, threshold)
    done = steps.suppress(boxes, scores, threshold)
    assert [taken.kept for taken in done] == kept.tolist()
    dropped = [i for taken in done for i in taken.dropped]
    assert sorted([*dropped, *kept.tolist()]) == list(range(len(boxes)))
    for taken in done:
        for i, overlap in taken.dropped.items():
            assert overlap == pytest.approx(torchvision.ops.box_iou(boxes[[taken.kept]], boxes[[i]]).item())
            assert overlap > threshold


@pytest.mark.slide("22")
def test_a_step_shows_what_is_kept_and_what_is_dropped():
    torch.manual_seed(1)
    boxes, scores = crowd(12)
    truth = torch.tensor([[0.0, 0, 4, 4], boxes[scores.argmax()].tolist()])  # no box covers the first
    taken = steps.suppress(boxes, scores, 0.3)
    of = lambda shown, kind: [mark.box for mark in shown.marks if mark.kind == kind]  # noqa: E731
    for step in range(len(taken) + 2):
        shown = steps.suppression(boxes, scores, 0.3, step, truth=truth, size=(128, 128))
        now = taken[step - 1] if 0 < step <= len(taken) else None
        assert [row[1] for row in shown.rows[1:]] == [str(k) for k in range(1, 13)]
        assert [float(row[2]) for row in shown.rows[1:]] == pytest.approx(
            sorted(scores.tolist(), reverse=True), abs=6e-4
        )
        assert of(shown, "kept now") == ([boxes[now.kept].tolist()] if now else [])
        assert len(of(shown, "dropped now")) == (len(now.dropped) if now else 0)
        assert sum(row[3].startswith("dropped") for row in shown.rows[1:]) == sum(len(t.dropped) for t in taken[:step])
    assert shown.said == f"{len(taken)} boxes left; 1 of 2 objects found."
    assert of(shown, "object without a box") == [[0, 0, 4, 4]]


@pytest.mark.slide("22")
def test_a_second_box_of_an_object_is_a_duplicate():
    truth = torch.tensor([[0.0, 0, 40, 40]])
    boxes, scores = torch.tensor([[0.0, 0, 40, 40], [0, 0, 40, 26]]), torch.tensor([0.9, 0.8])  # an IoU of 0.65
    shown = steps.suppression(boxes, scores, 0.7, 3, truth=truth, size=(128, 128))
    assert [mark.kind for mark in shown.marks] == ["object", "kept before", "duplicate"]
    assert shown.rows[2] == ("duplicate", "2", "0.800", "kept: a duplicate")
    assert steps.suppression(boxes, scores, 0.5, 1, truth=truth, size=(128, 128)).said == (
        "Keep box 1, the best that is left; it drops box 2."
    )


def test_a_number_stays_at_its_box_in_each_step():
    torch.manual_seed(2)
    boxes, scores = crowd(12)
    shown = [steps.suppression(boxes, scores, 0.5, step, truth=boxes[:1], size=(128, 128)) for step in range(4)]
    places = [{mark.words: mark.at for mark in one.marks if mark.words} for one in shown]
    assert all(place.items() <= places[0].items() for place in places)


def test_suppression_of_nothing_is_refused():
    with pytest.raises(ValueError, match="boxes: got none"):
        steps.suppression(torch.zeros(0, 4), torch.zeros(0), 0.5, 0, truth=torch.zeros(0, 4), size=(128, 128))


def test_of_a_street_the_two_objects_that_overlap_most_keep_their_boxes():
    objects = torch.tensor([[60.0, 60, 90, 90], [0, 0, 40, 40], [10, 0, 50, 40], [0, 0, 40, 40]])
    truth = {"boxes": objects, "labels": torch.tensor([2, 2, 2, 1])}
    found = {"boxes": objects[[0, 1, 2, 2, 3]], "labels": torch.tensor([2, 2, 2, 2, 1])}
    found["scores"] = torch.tensor([0.9, 0.8, 0.7, 0.4, 0.9])  # the fourth is too low, the fifth of another class
    two = steps.overlapping(found, truth, 2)
    assert two.boxes.tolist() == two.truth.tolist() == objects[1:3].tolist()
    assert two.scores.tolist() == pytest.approx([0.8, 0.7])
    view, seen = steps.seen_close(STREET, two)
    torch.testing.assert_close(seen.truth + view.corner, two.truth)
    with pytest.raises(ValueError, match="truth: got 1 objects of label 1"):
        steps.overlapping(found, truth, 1)


def test_a_close_up_is_the_part_of_the_street_around_boxes():
    boxes = torch.tensor([[2.0, 30, 40, 52], [20, 28, 50, 50]])
    view = steps.close_up(STREET, boxes)
    (height, width), (x, y, *_) = view.size, view.corner.tolist()
    assert x <= 2 and x + width >= 50 and y <= 28 and y + height >= 52  # noqa: PT018
    top, left, bottom, right = (round(16 * side) for side in (y, x, y + height, x + width))
    assert (view.image == toycity.render_close(STREET)[top:bottom, left:right]).all()


def judged(verdicts):
    box = torch.tensor([20.0, 20, 40, 50])
    return [steps.Judged(STREET, box, box[None], 0.9 - k / 100, 0.8, one) for k, one in enumerate(verdicts)]


@pytest.mark.slide("20")
def test_the_area_under_the_growing_curve_is_the_interpolated_precision():
    listed = judged([True, False, True, True, False])
    fig = steps.growing_curve(listed, 4, 5, threshold=0.75)
    street, rows, curve = fig.axes
    assert "true positive" in street.get_title()
    assert [text.get_text()[-2:] for text in rows.texts] == ["TP", "FP", "TP", "TP"]
    line = curve.get_lines()[0]
    assert np.allclose(line.get_xdata(), [0.2, 0.2, 0.4, 0.6])
    assert np.allclose(line.get_ydata(), [1, 1 / 2, 2 / 3, 3 / 4])
    (area,) = [artist for artist in curve.collections if isinstance(artist, PolyCollection)]
    x, y = area.get_paths()[0].vertices.T
    shoelace = abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2
    assert shoelace == pytest.approx(0.2 * 1 + 0.4 * 0.75)


@pytest.mark.parametrize(("number", "objects"), [(0, 3), (4, 3), (2, 0)])
def test_a_curve_of_no_detection_or_object_is_refused(number, objects):
    with pytest.raises(ValueError, match="number, objects: got"):
        steps.growing_curve(judged([True, False, True]), number, objects, threshold=0.5)


def test_a_higher_threshold_keeps_more_boxes():
    truth = {"boxes": torch.tensor([[0.0, 0, 10, 10], [4, 0, 14, 10]]), "labels": torch.tensor([1, 1])}
    boxes = torch.tensor([[0.0, 0, 10, 10], [4, 0, 14, 10], [0, 0, 10, 9], [50, 50, 60, 60]])
    found = {"boxes": boxes, "labels": torch.tensor([1, 1, 1, 2]), "scores": torch.tensor([0.9, 0.8, 0.7, 0.2])}
    shares = measuring.by_threshold([found], [truth], (0.3, 0.5, 0.95))  # the objects overlap by 3/7
    assert shares == {
        "recall": [0.5, 1.0, 1.0],
        "precision": [1.0, 1.0, pytest.approx(2 / 3)],
        "objects lost": [1, 0, 0],
        "no box before NMS": [0, 0, 0],
        "lost to NMS": [1, 0, 0],
        "duplicates": [0, 0, 1],
        "false positives": [0, 0, 0],
        "errors in all": [1, 0, 1],
    }
    (beside,) = measuring.beside_others([truth])
    assert len(beside["boxes"]) == 2
    other = {"boxes": truth["boxes"], "labels": torch.tensor([1, 2])}  # neighbours, but not of a class
    assert not len(measuring.beside_others([other])[0]["boxes"])
    wrong = measuring.by_threshold([found], [other], [0.5])
    assert (wrong["no box before NMS"], wrong["false positives"]) == ([1], [1])


def test_a_street_without_objects_or_detections_has_no_errors():
    nothing = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64), "scores": torch.zeros(0)}
    one = {"boxes": torch.tensor([[0.0, 0, 9, 9]]), "labels": torch.tensor([1]), "scores": torch.tensor([0.9])}
    shares = measuring.by_threshold([one, nothing], [nothing, one], [0.5])
    assert (shares["false positives"], shares["no box before NMS"], shares["errors in all"]) == ([1], [1], [2])
    assert measuring.missed([one, nothing, one], [nothing, one, one]) == {1: [0]}


@pytest.mark.parametrize(("won", "lost", "chance"), [(1, 0, 1.0), (3, 3, 1.0), (5, 0, 2 / 32), (1, 4, 12 / 32)])
def test_coins_fall_as_unevenly(won, lost, chance):
    assert measuring.sign_test(won, lost) == pytest.approx(chance)


def test_the_last_recall_is_that_of_all_proposals():
    truth = {"boxes": torch.tensor([[0.0, 0, 9, 9], [20, 20, 40, 40]])}
    boxes = torch.cat([torch.tensor([[0.0, 0, 9, 9]]), torch.full((11, 4), 50.0), truth["boxes"][1:]])
    assert measuring.recall_by_number({"a": [boxes]}, [truth], [1, 10, 300]) == {"a": ([1, 10, 13], [0.5, 0.5, 1.0])}


def test_the_example_has_three_positive_anchors_of_each_kind():
    street = next(one for one in map(toycity.sample_scene, toycity.seeds("val", 20)) if one.time == "day")
    both, iou = torch.tensor([0, 0, 0, 1, 1, 1, -1]), torch.tensor([0, 0, 0, -2, -1, -1, -1])
    assert measuring.example_street([both, iou], [both, both], [street] * 2) == 1
    with pytest.raises(ValueError, match="streets: got none by day"):
        measuring.example_street([both], [both], [street])


@pytest.mark.parametrize("hits", [0, 7, 20])
def test_an_interval_holds_its_share(hits):
    low, high = nb05.interval(hits, 20)
    assert -1e-9 <= low <= hits / 20 <= high <= 1 + 1e-9
    assert nb05.interval(hits * 10, 200)[1] - nb05.interval(hits * 10, 200)[0] < high - low


def test_recall_by_kind_has_a_dot_for_each_model_and_kind():
    panels = {"shape": {"a": {"wide": (3, 4), "tall": (0, 5)}, "b": {"wide": (4, 4), "tall": (2, 5)}}}
    fig = nb07.recall_by_kind(panels)
    dots = [container.lines[0].get_ydata().tolist() for container in fig.axes[0].containers]
    assert dots == [[0.75, 0.0], [1.0, 0.4]]
    assert [label.get_text() for label in fig.axes[0].get_xticklabels()] == ["wide\n(4)", "tall\n(5)"]


@pytest.mark.slide("23")
def test_the_stopwatch_adds_the_parts():
    panels = {"here": {"one": (2.0, 1.5), "two": (0.1, 0.25)}, "there": {"one": (1.0, 9.0)}}
    fig = nb07.stopwatch(panels)
    for ax, systems in zip(fig.axes, panels.values(), strict=True):
        assert ax.get_xscale() == "log"
        assert [label.get_text() for label in ax.get_yticklabels()] == list(systems)
        together = ax.collections[-1].get_offsets()[:, 0]
        assert together.tolist() == pytest.approx([sum(parts) for parts in systems.values()])


@pytest.mark.slide("23")
def test_bars_are_as_long_as_their_parts_together():
    panels = {"here": {"one": (2.0, 1.5), "two": (0.0, 0.25)}, "there": {"one": (1.0, 9.0)}}
    fig = seconds_per_image(panels, ("proposals", "network"))
    for ax, systems in zip(fig.axes, panels.values(), strict=True):
        assert [label.get_text() for label in ax.get_yticklabels()] == list(systems)
        ends = [bar.get_x() + bar.get_width() for bar in ax.containers[1]]
        assert ends == pytest.approx([sum(parts) for parts in systems.values()])
        assert [text.get_text().strip() for text in ax.texts] == [f"{end:.2g} s" for end in ends]
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["proposals", "network"]


@pytest.mark.slide("21")
def test_the_first_loss_stands_alone_and_later_ones_are_means():
    values = [8.0, 4.0, 2.0, 2.0, 1.0, 1.0, 1.0, 1.0]
    fig = rpn_losses({"objectness": values}, {"objectness": {"ln 2": 0.69}}, span=2)
    curve, line = fig.axes[0].get_lines()
    assert curve.get_xdata()[0] == 1
    assert curve.get_ydata()[0] == 8
    assert curve.get_xdata()[-1] == len(values)
    widths = np.diff(curve.get_xdata(), prepend=0)
    assert np.dot(widths, curve.get_ydata()) == pytest.approx(sum(values))
    assert set(line.get_ydata()) == {0.69}


@pytest.mark.slide("21")
def test_means_over_equal_spans():
    (ax,) = rpn_losses({"deltas": [*range(1, 10), float("nan")]}, {}, span=5).axes
    (curve,) = ax.get_lines()
    assert (curve.get_xdata().tolist(), curve.get_ydata().tolist()) == ([1, 5, 10], [1, 3.5, 7.5])  # 2 to 5, 6 to 9
    assert "means of 5" in curve.get_label()


@pytest.mark.slide("22")
def test_proposals_that_cover_an_object_are_green():
    box = toycity.render(STREET, 128).objects[-1].box
    found = torch.tensor([box, (0.0, 0, 3, 3)])
    fig = nb07.learned_proposals([STREET], [found])
    truth = nb05.true_boxes(STREET)
    place = (truth[:, 0] + truth[:, 2]).argsort().tolist().index(len(truth) - 1)  # of the last object, from the left
    torch.testing.assert_close(outlines(fig.axes[0], nb07.OF_OBJECTS[place]), found[:1])
    torch.testing.assert_close(outlines(fig.axes[0], ORANGE), found[1:])
    assert fig.axes[0].get_title() == f"1 of 2 cover an object; 1 of {len(truth)} objects covered"


def test_found_and_false_detections_are_counted():
    objects = toycity.render(STREET, 128).objects
    truth = {"boxes": torch.tensor([one.box for one in objects]), "labels": torch.ones(len(objects), dtype=torch.int64)}
    found = {"boxes": truth["boxes"][[0, 0]], "labels": torch.tensor([1, 2])}  # the second of a wrong class
    found["scores"] = torch.tensor([0.6, 0.9])
    fig = nb07.detections([STREET], [found], [truth], names=("background", "person", "car"))
    hits = (torchvision.ops.box_iou(truth["boxes"], truth["boxes"][:1]) >= 0.5).sum()
    street, words = fig.axes
    assert street.get_title() == f"{hits} of {len(objects)} objects found, 1 false"
    assert [text.get_text() for text in words.texts] == ["1  car 0.90", "2  person 0.60", "object"]


def test_a_close_up_of_a_missed_object_has_it_in_the_middle():
    box = torch.tensor([[60.0, 60, 70, 68]])
    fig = nb07.missed_close([STREET], [{"boxes": box + 2}], {0: box})
    (ax,) = fig.axes
    shown = outlines(ax, VERMILION)[0]
    assert (shown[0] + shown[2]).item() / 2 - 0.5 == pytest.approx(sum(ax.get_xlim()) / 2, abs=0.6)
    torch.testing.assert_close(outlines(ax, SKY)[0], shown + 2)


def test_the_anchors_of_a_point_lie_around_it():
    shapes = torch.tensor([[-4.0, -8, 4, 8], [-8, -4, 8, 4]])
    (ax,) = nb07.objects_and_shapes(STREET, shapes, (40, 88)).axes
    torch.testing.assert_close(outlines(ax, ORANGE), shapes + torch.tensor([40.0, 88, 40, 88]))
    assert len(ax.texts) == len(nb05.true_boxes(STREET))


def test_a_number_that_leaves_the_panel_is_written_at_its_edge():
    errors = {"objects lost": [3, 2], "no box before NMS": [1, 1], "false positives": [4, 5], "duplicates": [0, 1234]}
    left, right = nb07.threshold_curves([0.5, 0.9], errors | {"recall": [0.9, 0.9]}, {"the best 10": [0.9, 0.8]}).axes
    assert [text.get_text() for text in left.texts] == ["duplicates at 0.9: 1,234"]
    assert len(left.get_lines()) == 4
    assert len(right.get_lines()) == 1


def test_a_method_has_one_colour_in_each_panel():
    line = [10, 50], [0.85, 0.9]
    fig = nb07.recall_panels({"all": {"a": line, "b": ([10], [0.1])}, "close": {"b": line, "a": line}})
    colours = [{line.get_label(): line.get_color() for line in ax.get_lines()} for ax in fig.axes]
    assert colours[0] == colours[1]
    assert [ax.get_ylim()[0] for ax in fig.axes] == [0, 0.8]


def test_an_exchange_says_what_each_change_brings():
    values = {("A", "old"): [0.1, 0.3], ("A", "new"): [0.4], ("B", "old"): [0.2], ("B", "new"): [0.9]}
    fig = nb07.exchange({"mAP": values}, {"mAP": measuring.gains(values)})
    words = [text.get_text() for text in fig.axes[0].texts]
    assert {"0.200", "0.100–0.300", "0.900", "+0.200", "+0.000", "+0.700", "+0.500"} <= set(words)


def test_without_deltas_the_loss_is_that_of_zeros():
    anchors = torch.tensor([[0.0, 0, 10, 10], [5, 5, 25, 15], [0, 0, 30, 30]])
    truths = [torch.tensor([[1.0, 0, 13, 12]]), torch.zeros(0, 4)]
    matches = [torch.tensor([0, -1, -2]), torch.tensor([-1, -1, -1])]
    wanted = encode(truths[0], anchors[:1])
    loss = torch.nn.functional.smooth_l1_loss(torch.zeros(1, 4), wanted, reduction="sum", beta=1 / 9).item()
    assert measuring.loss_without_deltas(anchors, truths, matches, 128) == pytest.approx(loss / 128 / 2)


def test_the_head_gets_the_first_proposals_only():
    model, truth = city_models.build("faster_rcnn").eval(), {"boxes": torch.tensor([[8.0, 8, 40, 40]])}
    truth["labels"] = torch.tensor([2])
    scenes = SingleImage()
    values = measuring.map_by_number(model, scenes, [truth], (5, 20), "cpu")
    assert list(values) == ["mAP with 5", "mAP with 20", "mAP with all"]
    assert model.rpn.post_nms_top_n == city_models.build("faster_rcnn").rpn.post_nms_top_n
    (boxes,) = measuring.proposals(model, scenes, "cpu")
    assert len(boxes) <= model.rpn.post_nms_top_n


class SingleImage:
    """A data set of one image."""

    categories = ("background", "person", "car", "traffic sign", "traffic light")

    def __len__(self):
        return 1

    def __getitem__(self, index):
        torch.manual_seed(0)
        return torch.rand(3, 64, 64), {}


def test_objects_have_one_shape_and_one_size():
    boxes = torch.tensor([[0.0, 0, 20, 10], [0, 0, 6, 6], [0, 0, 10, 20]])
    kinds = measuring.kinds_of([{"boxes": boxes[:1]}, {"boxes": boxes[1:]}])
    for masks in kinds.values():
        assert torch.stack(list(masks.values())).sum(0).tolist() == [1, 1, 1]
    shape, size = kinds.values()
    assert (shape["wide"].tolist(), shape["tall"].tolist()) == ([True, False, False], [False, False, True])
    assert size["below 8"].tolist() == [False, True, False]


@pytest.mark.slide("20")
def test_average_precision_of_a_class_and_size_counts_only_these():
    boxes = torch.tensor([[0.0, 0, 10, 10], [20, 20, 60, 60], [0, 50, 12, 64]])
    truth = {"boxes": boxes, "labels": torch.tensor([1, 1, 2])}
    found = {"boxes": boxes[1:], "labels": torch.tensor([1, 2]), "scores": torch.tensor([0.9, 0.8])}
    table = measuring.ap_by_size([found], [truth], ("background", "person", "car"), scale=1)
    assert table["person"]["small"] == (pytest.approx(0), 1)
    assert table["person"]["medium"] == (pytest.approx(1), 1)
    assert np.isnan(table["person"]["large"][0])
    assert table["car"]["small"] == (pytest.approx(1), 1)
