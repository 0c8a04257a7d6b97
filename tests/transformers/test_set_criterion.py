"""The losses of set prediction against the authors' criterion, and what must hold of them."""

import pytest
import torch
from set_cases import a_batch
from transformers.loss.loss_for_object_detection import HungarianMatcher, ImageLoss

from lecture_utils.transformers.set_criterion import NO_OBJECT_WEIGHT, hungarian_loss, set_criterion

pytestmark = pytest.mark.slide("33")

CASES = {"several": [3, 1, 4], "one empty": [2, 0], "all empty": [0, 0], "more objects than queries": [9, 2]}


def authors_losses(logits, boxes, targets):
    """Their "no object" is the last class, ours class 0."""
    criterion = ImageLoss(HungarianMatcher(1, 5, 2), logits.shape[-1] - 1, NO_OBJECT_WEIGHT, ["labels", "boxes"])
    theirs = [{"class_labels": target["labels"] - 1, "boxes": target["boxes"]} for target in targets]
    found = criterion({"logits": logits.roll(-1, dims=-1), "pred_boxes": boxes}, theirs)
    return {"class": found["loss_ce"], "L1": found["loss_bbox"], "GIoU": found["loss_giou"]}


@pytest.mark.parametrize("counts", CASES.values(), ids=CASES)
def test_losses_are_those_of_the_authors_criterion(counts):
    logits, boxes, targets = a_batch(2, queries=7, classes=5, counts=counts)
    given, expected = set_criterion(logits, boxes, targets), authors_losses(logits, boxes, targets)
    assert given.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(given[name], value.float(), msg=name)


@pytest.mark.parametrize("counts", CASES.values(), ids=CASES)
def test_what_is_trained_sums_weighted_losses_over_the_layers(counts):
    layers = [a_batch(seed, queries=7, classes=5, counts=counts) for seed in range(3)]
    targets = layers[0][2]
    logits, boxes = (torch.stack([layer[i] for layer in layers]) for i in (0, 1))
    expected = 0
    for layer in zip(logits, boxes, strict=True):
        losses = authors_losses(*layer, targets)
        expected = expected + losses["class"] + 5 * losses["L1"] + 2 * losses["GIoU"]
    torch.testing.assert_close(hungarian_loss(logits, boxes, targets), expected.float())


def test_gradients_are_finite_and_reach_all_logits_but_only_matched_boxes():
    logits, boxes, targets = a_batch(0, queries=6, classes=4, counts=[2, 0])
    logits.requires_grad_()
    boxes.requires_grad_()
    losses = set_criterion(logits, boxes, targets)
    sum(losses.values()).backward()
    assert torch.isfinite(logits.grad).all()
    assert torch.isfinite(boxes.grad).all()
    assert (logits.grad != 0).all()
    assert (boxes.grad != 0).any(-1).sum(1).tolist() == [2, 0]


def test_order_of_queries_and_of_objects_does_not_matter():
    logits, boxes, (target,) = a_batch(4, queries=8, classes=5, counts=[4])
    mixed = {key: value.flip(0) for key, value in target.items()}
    queries = torch.tensor([5, 2, 7, 0, 1, 6, 3, 4])
    expected = set_criterion(logits, boxes, [target])
    for name, value in set_criterion(logits[:, queries], boxes[:, queries], [mixed]).items():
        torch.testing.assert_close(value, expected[name], msg=name)


def test_a_perfect_answer_costs_nothing():
    _, _, (target,) = a_batch(0, queries=5, classes=4, counts=[3])
    boxes = torch.cat([target["boxes"], torch.full((2, 4), 0.5)])[None]
    labels = torch.cat([target["labels"], torch.zeros(2, dtype=torch.int64)])
    logits = 50 * torch.nn.functional.one_hot(labels, 4)[None].float()
    for value in set_criterion(logits, boxes, [target]).values():
        assert value.item() == pytest.approx(0, abs=1e-5)


def test_empty_queries_count_a_tenth():
    """One query is matched and right, one empty and undecided between two classes."""
    logits = torch.tensor([[[-50.0, 50.0], [0.0, 0.0]]])
    target = {"labels": torch.tensor([1]), "boxes": torch.tensor([[0.5, 0.5, 0.2, 0.2]])}
    boxes = torch.tensor([[[0.5, 0.5, 0.2, 0.2], [0.1, 0.1, 0.1, 0.1]]])
    expected = 0.1 * torch.log(torch.tensor(2.0)) / 1.1
    torch.testing.assert_close(set_criterion(logits, boxes, [target])["class"], expected)


@pytest.mark.parametrize("precision", [torch.float64, torch.bfloat16])
def test_losses_in_other_precisions(precision):
    logits, boxes, targets = a_batch(2, queries=7, classes=5, counts=[3, 0])
    given = set_criterion(logits.to(precision), boxes.to(precision), targets)
    for name, value in set_criterion(logits, boxes, targets).items():
        assert given[name].dtype == precision
        torch.testing.assert_close(given[name].float(), value, atol=0.05, rtol=0.05)


def test_gradients():
    logits, boxes, targets = a_batch(4, queries=3, classes=4, counts=[2, 0])
    parts = logits.double().requires_grad_(), boxes.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda *its: tuple(set_criterion(*its, targets).values()), parts)


@pytest.mark.parametrize("label", [0, -1, 5])
def test_labels_that_are_no_things_are_refused(label):
    logits, boxes, targets = a_batch(2, queries=3, classes=5, counts=[2])
    targets[0]["labels"][1] = label
    with pytest.raises(ValueError, match=r"targets: got labels .*expected 1 to 4"):
        set_criterion(logits, boxes, targets)
