"""What notebook 11 measures and matches, against COCO's code, brute force and cases counted by hand."""

from itertools import permutations

import pytest
import torch

from lecture_course.nb11_detr import drawings, matching, measuring
from lecture_utils import recipes, runtime
from lecture_utils.detection.scores import CocoScores
from lecture_utils.transformers import DETR, matching_cost, postprocess
from lecture_utils.transformers.detr import Predictions

pytestmark = [pytest.mark.slide("33"), pytest.mark.filterwarnings("ignore::DeprecationWarning:pycocotools")]


def three_images():
    """A car found twice and a person elsewhere; a person whose box says car; an empty street with a box."""
    car, person = [0.0, 0, 40, 20], [60.0, 10, 70, 40]
    truths = [
        {"boxes": torch.tensor([car, person]), "labels": torch.tensor([2, 1])},
        {"boxes": torch.tensor([person]), "labels": torch.tensor([1])},
        {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)},
    ]
    found = [
        ([[2.0, 0, 40, 20], car, [0, 60, 10, 90], person], [2, 2, 1, 1], [0.9, 0.8, 0.7, 0.4]),
        ([person], [2], [0.6]),
        ([car], [2], [0.3]),
    ]
    keys = ("boxes", "labels", "scores")
    return [dict(zip(keys, map(torch.tensor, one), strict=True)) for one in found], truths


def test_each_box_is_right_surplus_or_elsewhere():
    found, truths = three_images()
    judged = measuring.judge(found, truths, 3)
    assert judged.outcome.tolist() == [0, 1, 2, 0, 2, 2]
    assert judged.objects.tolist() == [[0, 1, 1], [0, 1, 0], [0, 0, 0]]
    expected = {"boxes": 4, "surplus": 1, "elsewhere": 2, "precision": 0.25, "recall": pytest.approx(1 / 3)}
    assert measuring.counts(judged) == expected
    assert measuring.counts(judged, score=0.35)["recall"] == pytest.approx(2 / 3)


def test_the_object_of_each_box_is_known():
    found, truths = three_images()
    judged = measuring.judge(found, truths, 3)
    assert judged.place.tolist() == [0, 1, 2, 3, 0, 0]
    assert judged.nearest.tolist() == [0, 0, -1, 1, -1, -1]
    pairs, better = measuring.surplus_pairs(judged, found, truths)
    assert (pairs, better) == ({(0, 1): 1}, 1)  # the second box is the car's own
    assert measuring.surplus_pairs(judged, found, truths, score=0.85) == ({}, 0)
    assert measuring.boxes_by_area(judged, truths, score=0.4, parts=3) == [1, 0, 2]  # two persons, the larger car


def test_precision_and_recall_of_all_boxes_down_to_each():
    score, recall, precision = measuring.precision_and_recall(measuring.judge(*three_images(), 3))
    assert score.tolist() == pytest.approx([0.9, 0.8, 0.7, 0.6, 0.4, 0.3])
    assert recall.tolist() == pytest.approx([1 / 3] * 4 + [2 / 3] * 2)
    assert precision.tolist() == pytest.approx([1, 1 / 2, 1 / 3, 1 / 4, 2 / 5, 2 / 6])


def test_what_nms_gains_is_told_for_each_threshold():
    found, truths = three_images()
    gained = measuring.gains_by_threshold(found, truths, (0.5, 1.0), measuring.resampled(3, 20))
    assert all((rows == 0).all() for rows in gained[1.0].values())  # no IoU is larger: nothing is suppressed
    head, *lines = measuring.gains_as_table(gained).split("\n")
    assert head.split()[:4] == ["NMS", "at", "IoU", "mAP"]
    assert lines[1].split()[:4] == ["1.0", "+0.000", "[+0.000,", "+0.000]"]
    judged = measuring.judge_all(found, truths, 3)
    above, names, row = measuring.scores_as_table(
        {"one": measuring.counts(judged[0]) | measuring.averages(judged)}
    ).split("\n")
    assert "at least 0.5" in above
    assert len(names) == len(row)


def test_boxes_are_exchanged_within_their_class_and_half():
    boxes = [torch.tensor([[0.1, 0.2, 1, 1], [0.2, 0.2, 1, 1]]), torch.tensor([[0.3, 0.5, 1, 1], [0.4, 0.5, 1, 1]])]
    own = measuring.own_area(boxes)[0].mean()
    apart = measuring.same_class_and_half(boxes, [torch.ones(2, dtype=torch.int64), torch.full((2,), 2)])
    assert apart.tolist() == pytest.approx([own.item()] * 100)  # each class has one query alone
    mixed = measuring.same_class_and_half(boxes, [torch.ones(2, dtype=torch.int64)] * 2)
    assert mixed.mean() > own


def test_boxes_beside_objects_may_lie_on_those_of_other_images():
    boxes = torch.tensor([[0.0, 0, 10, 10], [50, 50, 60, 60]])
    one = {"boxes": boxes, "labels": torch.tensor([1, 1]), "scores": torch.tensor([0.9, 0.8])}
    truths = [{"boxes": boxes[k : k + 1], "labels": torch.tensor([label])} for k, label in ((0, 1), (1, 1), (1, 2))]
    number, there, hits = measuring.strays(one, truths, 0, [[1], [2]])
    assert (number, there.tolist(), hits) == (1, [[50, 50, 60, 60]], [1, 0])


def test_areas_of_queries_and_how_far_the_next_is():
    boxes = [torch.tensor([[0.1, 0.2, 1, 1], [0.3, 0.2, 1, 1]]), torch.tensor([[0.2, 0.5, 1, 1], [0.2, 0.5, 1, 1]])]
    deviation, nearest = measuring.own_area(boxes)
    assert deviation.tolist() == pytest.approx([0.2 / 2**0.5 / 2, 0])
    assert nearest.tolist() == pytest.approx([0.3, 0.3])


def test_a_better_box_takes_the_object_that_it_overlaps_most():
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 12]])
    target = {"boxes": torch.tensor([[0.0, 0, 10, 12], [0, 0, 10, 10]]), "labels": torch.tensor([1, 1])}
    found = {"boxes": boxes, "labels": torch.tensor([1, 1]), "scores": torch.tensor([0.5, 0.9])}
    assert measuring.judge([found], [target], 2).outcome.tolist() == [0, 0]


@pytest.mark.parametrize("seed", [0, 1])
def test_map_is_that_of_coco(seed):
    rng = torch.Generator().manual_seed(seed)

    def boxes(number):
        corner, size = 80 * torch.rand(number, 2, generator=rng), 10 + 30 * torch.rand(number, 2, generator=rng)
        return torch.cat([corner, corner + size], 1)

    truths, found = [], []
    for _ in range(12):
        truth = boxes(4)
        near = torch.cat([truth + torch.randn(4, 4, generator=rng), truth + 2.0, boxes(3)])
        labels = torch.randint(1, 4, (4,), generator=rng)
        truths.append({"boxes": truth, "labels": labels})
        said = torch.cat([labels, labels, torch.randint(1, 4, (3,), generator=rng)])
        found.append({"boxes": near, "labels": said, "scores": torch.rand(11, generator=rng)})
    judged, metric = measuring.judge(found, truths, 4), CocoScores(("background", "a", "b", "c"))
    metric.update(found, truths)
    scores = metric.compute()
    assert measuring.map_50(judged).item() == pytest.approx(scores["map_50"], abs=1e-6)
    averages = measuring.averages(measuring.judge_all(found, truths, 4))
    wanted = {"mAP": scores["map"], "mAP@0.5": scores["map_50"], "mAP@0.75": scores["map_75"]}
    assert averages == pytest.approx(wanted, abs=1e-6)


def test_the_bootstrap_is_paired_and_its_first_row_is_the_images():
    found, truths = three_images()
    weights = measuring.resampled(3, 50)
    assert weights[0].tolist() == [1, 1, 1]
    assert weights.sum(1).tolist() == [3] * 51
    judged = measuring.judge_all(found, truths, 3)
    none = measuring.gains(measuring.scored(judged, weights), measuring.scored(judged, weights))
    assert all((rows == 0).all() for rows in none.values())
    without = [{key: value[[0, 2, 3]] for key, value in found[0].items()}, *found[1:]]
    after = measuring.scored(measuring.judge_all(without, truths, 3), weights)
    gained = measuring.gains(measuring.scored(judged, weights), after)["precision"]
    value, low, high = measuring.with_interval(gained)
    assert value == pytest.approx(1 / 3 - 1 / 4)
    assert low <= value <= high


def test_the_matching_grows_by_an_object_at_a_time_and_is_the_cheapest_each_time():
    cost = torch.rand(6, 4, generator=torch.Generator().manual_seed(3))
    steps = matching.hungarian_steps(cost)
    assert [len(step.queries) for step in steps] == [0, 1, 2, 3, 4]
    for number, step in enumerate(steps):
        ways = permutations(range(6), number)
        assert step.total == pytest.approx(min(sum(cost[q, k].item() for k, q in enumerate(way)) for way in ways))
    example = torch.tensor([[1.0, 2], [2, 8], [6, 7]])
    assert matching.hungarian_steps(example)[-1] == matching.Step([1, 0], {0: 0}, 4.0)
    assert matching.in_turn(example) == 8


def one_answer():
    rng = torch.Generator().manual_seed(0)
    logits, boxes = torch.randn(5, 3, generator=rng), 0.2 + 0.3 * torch.rand(5, 4, generator=rng)
    return logits, boxes, torch.tensor([1, 2]), 0.2 + 0.3 * torch.rand(2, 4, generator=rng)


def test_the_terms_sum_to_the_cost():
    terms = matching.cost_terms(*one_answer())
    torch.testing.assert_close(terms["cost"], matching_cost(*one_answer()))
    torch.testing.assert_close(terms["cost"], sum(value for name, value in terms.items() if name != "cost"))


def test_a_step_tells_who_takes_what_and_who_moves():
    logits, boxes, labels, truth = one_answer()
    terms = dict.fromkeys(matching.cost_terms(logits, boxes, labels, truth), torch.tensor([[1.0, 2], [2, 8], [6, 7]]))
    how = {"truth": truth, "names": ["car A", "car B"], "size": (100, 100), "table": "cost"}
    steps = [matching.matching_overlay(terms, boxes[:3], step=step, **how) for step in range(3)]
    assert steps[0].said == "3 queries, 2 objects, none matched."
    assert steps[1].said == "car A takes query 0, its cheapest. Sum 1.00."
    moves = "car B takes query 0, its cheapest; car A moves from 0 to 1. Sum 4.00; each in turn: 8.00."
    assert steps[2].said == moves
    assert steps[2].rows[1:3] == [
        ("matched in this step", "0", "1.00 ◆ ○", "2.00 ◆ ●"),
        ("matched in this step", "1", "2.00 ●", "8.00"),
    ]
    other = matching.matching_overlay(terms, boxes[:3], step=2, **how | {"table": "box: 5 · L1"})
    assert other.rows[1] == ("matched in this step", "0", "1.00 ○", "2.00 ●")  # only costs tell which is the cheapest
    assert {mark.kind for step in steps for mark in step.marks} <= set(matching.KINDS)


def test_changes_are_counted_from_look_to_look():
    looks = [[[1, 2], [3]], [[1, 3], [3]], [[1, 3], [4]]]
    assert measuring.changes(looks, range(2)) == pytest.approx([1 / 3, 1 / 3])
    assert measuring.changes(looks, [0]) == pytest.approx([1 / 2, 0])
    assert measuring.kept_to_the_end(looks, range(2)) == pytest.approx([1 / 3, 2 / 3, 1])
    _, boxes, _, truth = one_answer()
    shots = {0: matching.Snapshot(boxes, [0, 1]), 10: matching.Snapshot(boxes, [0, 3])}
    how = {"truth": truth, "names": ["a", "b"], "size": (100, 100)}
    assert "Before the first step" in matching.snapshot_overlay(shots, step=0, **how).said
    later = matching.snapshot_overlay(shots, step=10, **how)
    assert later.said == "1 of 2 objects have another query than 10 steps before."
    assert [row[0] for row in later.rows[1:]] == ["the same query as before", "another query"]
    first = matching.snapshot_overlay(shots, step=0, **how)
    assert {row[0] for row in first.rows[1:]} == {"before the first step"}


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return recipes.recipe("detr").build().eval()


def test_queries_are_matched_in_the_order_of_the_objects(model):
    boxes = torch.tensor([[0.2, 0.2, 0.1, 0.1], [0.8, 0.7, 0.2, 0.2]])
    logits = torch.zeros(1, 1, 3, 3)
    answer = Predictions(logits, torch.stack([boxes[1], boxes[0], boxes[0] + 0.3])[None, None], None)
    assert measuring.matched_queries(answer, [{"boxes": boxes, "labels": torch.tensor([1, 2])}]) == [[1, 0]]


def test_the_first_steps_of_a_longer_training(model):
    maps = [(torch.rand(256, 4, 4), {"boxes": torch.tensor([[0.5, 0.5, 0.2, 0.2]]), "labels": torch.tensor([1])})]
    seen = []

    def loss(model, batch):
        return model.queries.square().sum()

    how = {"loss": loss, "collate": lambda items: items[0][0], "quiet": True, "batch_size": 1, "lr": 1e-3}
    how |= {"run": runtime.setup(seed=0, quiet=True), "evaluate_every": 2, "evaluate": lambda m: seen.append(1) or {}}
    before = model.queries.detach().clone()
    assert measuring.first_steps(4, model, maps, steps=10, **how) is None
    assert len(seen) == 2
    assert (model.queries != before).any()
    assert not model.training  # left as it was found
    with pytest.raises(ValueError, match="number: got 3, expected a multiple of 2, at most 10"):
        measuring.first_steps(3, model, maps, steps=10, **how)


def test_batches_of_questions_give_one_answer(model):
    maps = [(torch.rand(256, 8, 8, generator=torch.Generator().manual_seed(i)), None) for i in range(5)]
    whole = measuring.ask(model, maps, range(5), "cpu")
    parts = measuring.ask(model, maps, range(5), "cpu", batch=2)
    assert whole.attention.shape == (5, 3, 4, 20, 8, 8)
    for a, b in zip(whole, parts, strict=True):
        torch.testing.assert_close(a, b)
    found = postprocess(whole, (64, 64))
    shares, uniform = measuring.attention_inside(found, whole.attention, 8, score=0.0)
    assert shares.shape == (100, 3)
    assert ((shares >= 0) & (shares <= 1 + 1e-5)).all()
    assert uniform.shape == (100,)


def test_points_inside_of_a_box_and_around_it():
    box = torch.tensor([8.0, 0, 24, 8])
    assert measuring.inside(box, (3, 4), 8).int().tolist() == [[0, 1, 1, 0], [0] * 4, [0] * 4]
    assert measuring.inside(box, (3, 4), 8, margin=8).int().tolist() == [[1] * 4, [1] * 4, [0] * 4]


@pytest.mark.parametrize("encoder_layers", [0, 2])
def test_the_drawing_shows_what_the_model_gives(encoder_layers):
    torch.manual_seed(1)
    sizes = {"queries": 6, "dim": 16, "heads": 2, "mlp_dim": 16, "decoder_layers": 2}
    model = DETR(8, 3, encoder_layers=encoder_layers, **sizes).eval()
    z = torch.rand(1, 8, 4, 5)
    with torch.no_grad():
        expected = model(z, need_weights=True)
    traced = drawings.trace(model, z)
    torch.testing.assert_close(traced.boxes, expected.boxes[-1, 0])
    torch.testing.assert_close(traced.logits, expected.logits[-1, 0])
    torch.testing.assert_close(traced.cross, expected.attention[0, -1].mean(0))
    large = torch.zeros(64, 80, 3, dtype=torch.uint8).numpy()
    blocks, arrows, bands, _ = drawings.detr_drawing(model, z, large, ("no object", "car", "person"), threshold=0.0)
    words = {block.name: block.words for block in blocks}
    assert words["features"] == "8 × 4 × 5"
    assert (words["object queries"], words["class"], words["boxes"]) == ("6 × 16", "6 × 3", "6 × 4")
    assert {arrow.kind for arrow in arrows} <= set(drawings.KINDS)
    assert sum(len(band.blocks) for band in bands) == len(blocks)
    with pytest.raises(ValueError, match="z, names: got 1 images, 2 names"):
        drawings.detr_drawing(model, z, large, ("no object", "car"))
