"""Data, loss and scores of single objects and of fixed slots."""

from itertools import combinations, permutations

import pytest
import torch
from torch import nn

from lecture_utils import runtime, tasks
from lecture_utils.datasets import SingleObjects
from lecture_utils.detection.boxes import normalize_boxes
from lecture_utils.detection.single_object import multi_task_loss, slots_loss

RUN = runtime.Runtime("laptop", "cpu", "fp32", "quick", 0, "")


class Fixed(nn.Module):
    """A network that gives the same scores and boxes, whatever it sees."""

    def __init__(self, scores, boxes):
        super().__init__()
        self.scores, self.boxes, self.slots = scores, boxes, boxes.shape[-2] if boxes.ndim == 3 else 1

    def forward(self, images):
        return self.scores.expand(len(images), *self.scores.shape[1:]), self.boxes.expand(
            len(images), *self.boxes.shape[1:]
        )


def item(boxes, labels, size=(60, 100)):
    return torch.zeros(3, *size), {
        "boxes": torch.tensor(boxes).float().view(-1, 4),
        "labels": torch.tensor(labels, dtype=torch.int64),
    }


def test_scores_count_classes_and_overlaps():
    """One street of three is named rightly; boxes overlap by 1, by a half and not at all."""
    data = [item([[0, 0, 50, 30]], [2]), item([[0, 0, 100, 30]], [1]), item([[60, 40, 90, 55]], [3])]
    model = Fixed(torch.tensor([[0.0, 0, 5, 0]]), torch.tensor([[0.25, 0.25, 0.5, 0.5]]))
    scores = tasks.score_single_object(model, data, RUN)
    assert scores == {
        "accuracy": pytest.approx(1 / 3), "box_iou": pytest.approx(0.5), "box_recall": pytest.approx(2 / 3)
    }  # fmt: skip


def test_the_loss_takes_shares_of_height_and_width():
    images, targets = tasks.collate([item([[0, 0, 50, 30]], [2]), item([[20, 30, 40, 60]], [1])])
    scores, boxes = torch.randn(1, 4), torch.rand(1, 4)
    truth = torch.cat([normalize_boxes(target["boxes"], 60, 100) for target in targets])
    expected = multi_task_loss(scores.expand(2, 4), boxes.expand(2, 4), torch.tensor([2, 1]), truth, 7.0)
    assert torch.allclose(tasks.single_object_loss(None, weight=7.0)(Fixed(scores, boxes), (images, targets)), expected)


def test_slots_are_filled_in_the_order_of_the_annotations():
    images, targets = tasks.collate([item([[0, 0, 50, 30], [20, 30, 40, 60]], [2, 1]), item([], [])])
    scores, boxes = torch.randn(1, 3, 4), torch.rand(1, 3, 4)
    truth = torch.zeros(2, 3, 4)
    truth[0, :2] = normalize_boxes(targets[0]["boxes"], 60, 100)
    labels = torch.tensor([[2, 1, 0], [0, 0, 0]])
    expected = slots_loss(scores.expand(2, 3, 4), boxes.expand(2, 3, 4), labels, truth, tasks.single_object.BOX_WEIGHT)
    assert torch.allclose(tasks.single_object.fixed_slots_loss(None)(Fixed(scores, boxes), (images, targets)), expected)


@pytest.mark.slide("15")
def test_slots_are_filled_from_left_to_right():
    images, targets = tasks.collate([item([[60, 0, 90, 30], [0, 30, 95, 60], [10, 0, 20, 30]], [3, 2, 1])])
    scores, boxes = torch.randn(1, 3, 4), torch.rand(1, 3, 4)
    truth = normalize_boxes(targets[0]["boxes"], 60, 100)[[2, 1, 0]][None]  # centres at 15, 47.5 and 75
    expected = slots_loss(scores, boxes, torch.tensor([[1, 2, 3]]), truth, tasks.single_object.BOX_WEIGHT)
    loss = tasks.single_object.fixed_slots_loss(None, order="left to right")
    assert torch.allclose(loss(Fixed(scores, boxes), (images, targets)), expected)


@pytest.mark.slide("15")
def test_matched_slots_are_the_nearest_of_all_assignments():
    """Against every assignment of two or three objects to three slots; more objects than slots, and none."""
    torch.manual_seed(0)
    weight = tasks.single_object.BOX_WEIGHT
    for n in (0, 1, 2, 3, 5):
        scores, boxes = torch.randn(3, 4), torch.rand(3, 4)
        objects, labels = torch.rand(n, 4), torch.randint(1, 4, (n,))
        filled, classes = tasks.single_object.match_slots(scores, boxes, objects, labels)

        def cost(slot, k, scores=scores, boxes=boxes, objects=objects, labels=labels):
            l2 = (boxes[slot] - objects[k]).square().sum()
            return (weight * l2 - scores[slot].softmax(0)[labels[k]]).item()

        pairs = min(
            (list(zip(slots, chosen, strict=True))
             for chosen in combinations(range(n), min(n, 3)) for slots in permutations(range(3), min(n, 3))),
            key=lambda pairs: sum(cost(slot, k) for slot, k in pairs),
        )  # fmt: skip
        expected, names = torch.zeros(3, 4), torch.zeros(3, dtype=torch.int64)
        for slot, k in pairs:
            expected[slot], names[slot] = objects[k], labels[k]
        assert torch.equal(filled, expected)
        assert torch.equal(classes, names)


def test_matched_slots_learn_what_they_nearly_say():
    images, targets = tasks.collate([item([[0, 0, 50, 30], [50, 30, 100, 60]], [1, 2])])
    truth = normalize_boxes(targets[0]["boxes"], 60, 100)
    scores = 50 * torch.eye(3)[[2, 0, 1]][None]  # the first slot says the second object, the last one the first
    boxes = torch.stack([truth[1], torch.rand(4), truth[0]])[None]
    batch = images, targets
    assert tasks.single_object.fixed_slots_loss(None, order="matched")(Fixed(scores, boxes), batch).item() < 1e-6
    assert tasks.single_object.fixed_slots_loss(None)(Fixed(scores, boxes), batch).item() > 1


def test_an_unknown_order_is_refused():
    with pytest.raises(
        ValueError, match="order: got 'random', expected one of 'annotated', 'left to right', 'matched'"
    ):
        tasks.single_object.fixed_slots_loss(None, order="random")


def test_empty_slots_find_nothing():
    data = [item([[0, 0, 50, 30], [50, 30, 100, 60], [0, 30, 50, 60]], [1, 1, 1])]
    boxes = torch.tensor([[[0.25, 0.25, 0.5, 0.5], [0.75, 0.75, 0.5, 0.5]]])
    scores = torch.tensor([[[0.0, 5], [5, 0]]])  # the second slot holds a right box, but is empty
    model = Fixed(scores, boxes)
    (found,) = tasks.in_slots(model, torch.zeros(1, 3, 60, 100))
    assert found["boxes"].tolist() == [[0, 0, 50, 30]]
    assert (found["labels"].tolist(), found["slots"].tolist()) == ([1], [0])
    third = pytest.approx(1 / 3)
    assert tasks.single_object.score_slots(model, data, RUN) == {"recall": third, "named_recall": third, "precision": 1}


@pytest.mark.slide("15")
def test_a_duplicate_and_a_wrong_class_are_no_right_slots():
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 40, 40], [60, 60, 70, 70]])
    found = {"boxes": boxes, "labels": torch.tensor([1, 1, 1, 2])}
    target = {"boxes": boxes[[0, 2]], "labels": torch.tensor([1, 2])}
    assert tasks.single_object.count_found(found, target).tolist() == [2, 1, 1, 4, 2]
    none = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    assert tasks.single_object.count_found(none, target).tolist() == [0, 0, 0, 0, 2]
    assert tasks.single_object.count_found(found, none).tolist() == [0, 0, 0, 4, 0]


def test_lone_data_is_painted_for_each_split(monkeypatch):
    monkeypatch.setattr(tasks.single_object, "SINGLE_OBJECT_SCENES", {"train": 4, "val": 3, "test": 2})
    data = tasks.single_object_data("val")
    assert isinstance(data, SingleObjects)
    assert data[0][0].dtype == torch.float32
    with pytest.raises(ValueError, match="root: got x, expected none"):
        tasks.single_object_data("val", "x")
    with pytest.raises(ValueError, match="split: got 'dev', expected one of train, val, test"):
        tasks.single_object_data("dev")
