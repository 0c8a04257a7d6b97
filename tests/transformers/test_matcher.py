"""The matching of queries and objects: against every permutation, against the authors' own, and on bad input."""

from itertools import permutations

import pytest
import torch
from set_cases import a_batch
from transformers.loss.loss_for_object_detection import HungarianMatcher

from lecture_utils.detection.boxes import generalized_box_iou
from lecture_utils.transformers import matcher
from lecture_utils.transformers.matcher import hungarian, hungarian_match, matching_cost

pytestmark = pytest.mark.slide("33")


def cheapest_by_trying(cost):
    """The least sum of all ways to give each object a query of its own; each query an object, if those are more."""
    queries, objects = cost.shape
    if queries < objects:
        return cheapest_by_trying(cost.T)
    return min(
        sum(cost[row, column] for column, row in enumerate(rows)) for rows in permutations(range(queries), objects)
    )


@pytest.mark.parametrize("seed", range(500))
def test_no_permutation_is_cheaper(seed):
    rng = torch.Generator().manual_seed(seed)
    queries, objects = torch.randint(1, 6, (), generator=rng).item(), torch.randint(0, 6, (), generator=rng).item()
    logits, boxes, (target,) = a_batch(seed, queries=queries, classes=4, counts=[objects])
    cost = matching_cost(logits[0], boxes[0], target["labels"], target["boxes"])
    rows, columns = hungarian(cost)
    assert len(rows) == len(columns) == min(queries, objects)
    assert len(set(rows.tolist())) == len(rows)
    assert len(set(columns.tolist())) == len(columns)
    assert cost[rows, columns].sum().item() == pytest.approx(float(cheapest_by_trying(cost)), abs=1e-4)


@pytest.mark.parametrize("counts", [[3], [4, 0, 1], [0, 0], [12, 2]])
def test_pairs_are_those_of_the_authors_matcher(counts):
    logits, boxes, targets = a_batch(1, queries=9, classes=6, counts=counts)
    reference = HungarianMatcher(class_cost=1, bbox_cost=5, giou_cost=2)
    theirs = [{"class_labels": target["labels"], "boxes": target["boxes"]} for target in targets]
    expected = reference({"logits": logits, "pred_boxes": boxes}, theirs)
    for (queries, objects), (rows, columns) in zip(hungarian_match(logits, boxes, targets), expected, strict=True):
        assert queries.tolist() == rows.tolist()
        assert objects.tolist() == columns.tolist()


def test_the_cost_by_hand():
    """One query with probability ½ for each of two classes; boxes side by side, a tenth of the image apart."""
    boxes, truth = torch.tensor([[0.25, 0.5, 0.5, 1.0]]), torch.tensor([[0.75, 0.5, 0.5, 1.0]])
    cost = matching_cost(torch.zeros(1, 2), boxes, torch.tensor([1]), truth)
    assert cost.item() == pytest.approx(-0.5 + 5 * 0.5 - 2 * 0.0)  # they touch: IoU 0, nothing of the hull uncovered


@pytest.mark.parametrize(
    ("a", "b", "value"),
    [
        ([0.0, 0, 1, 1], [3.0, 0, 4, 1], -0.5),
        ([0.0, 0, 1, 1], [2.0, 0, 3, 1], -1 / 3),
        ([0.2, 0.1, 0.9, 0.4], [0.2, 0.1, 0.9, 0.4], 1.0),
    ],
)
def test_giou_of_boxes_apart_and_of_one_with_itself(a, b, value):
    assert generalized_box_iou(torch.tensor([a]), torch.tensor([b])).item() == pytest.approx(value)


def test_order_of_objects_does_not_matter():
    logits, boxes, (target,) = a_batch(3, queries=8, classes=5, counts=[5])
    order = torch.tensor([3, 0, 4, 1, 2])
    turned = {key: value[order] for key, value in target.items()}
    ((queries, objects),) = hungarian_match(logits, boxes, [target])
    ((again, moved),) = hungarian_match(logits, boxes, [turned])
    assert queries.tolist() == again.tolist()
    assert objects.tolist() == order[moved].tolist()


def test_no_gradient_flows_through_a_matching(monkeypatch):
    logits, boxes, targets = a_batch(0, queries=4, classes=3, counts=[2, 1])
    seen = []
    monkeypatch.setattr(matcher, "hungarian", lambda cost: seen.append(cost) or hungarian(cost))
    hungarian_match(logits.requires_grad_(), boxes.requires_grad_(), targets)
    assert [cost.requires_grad for cost in seen] == [False, False]


def test_half_precision_is_matched_as_well():
    logits, boxes, targets = a_batch(5, queries=6, classes=4, counts=[3, 0])
    half = logits.bfloat16(), boxes.bfloat16()
    for pairs, expected in zip(
        hungarian_match(*half, targets), hungarian_match(*(x.float() for x in half), targets), strict=True
    ):
        assert torch.equal(pairs[0], expected[0])
        assert torch.equal(pairs[1], expected[1])


def test_costs_that_differ_in_the_last_digits_are_told_apart():
    cost = torch.tensor([[1e8 + 1, 1e8], [1e8, 1e8 + 3]], dtype=torch.float64)
    assert hungarian(cost)[1].tolist() == [1, 0]


def test_bad_costs_and_shapes_are_refused():
    with pytest.raises(ValueError, match="cost: got"):
        hungarian(torch.tensor([[1.0, float("nan")]]))
    with pytest.raises((ValueError, TypeError), match=r"cost: got|Type-check error"):  # jaxtyping's checks come first
        hungarian(torch.zeros(3))
    with pytest.raises((ValueError, TypeError), match=r"boxes: got shape \(2, 4\), expected|Type-check error"):
        matching_cost(torch.zeros(3, 5), torch.zeros(2, 4), torch.zeros(1, dtype=torch.int64), torch.zeros(1, 4))
