"""One class and one box an image: streets with one object on them, and a fixed number of slots for whole streets."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.utils.data import Dataset

from lecture_utils import training
from lecture_utils.arguments import require_one_of
from lecture_utils.datasets import SINGLE_OBJECT_SCENES, SingleObjects
from lecture_utils.detection.boxes import box_iou, denormalize_boxes, normalize_boxes
from lecture_utils.detection.single_object import (
    FixedSlots,
    SingleObject,
    fill_slots,
    multi_task_loss,
    slots_loss,
)
from lecture_utils.runtime import Runtime
from lecture_utils.tasks.detection import DETECTION, collate
from lecture_utils.tasks.photos import photo_transforms
from lecture_utils.tasks.targets import require_targets
from lecture_utils.tasks.task import Task
from lecture_utils.transformers.matcher import hungarian

ORDERS = ("annotated", "left to right", "matched")
BOX_WEIGHT = 30.0  # squared normalized coordinates are small numbers beside a cross-entropy


def single_object_data(split: str, root: Path | str | None = None, *, size: int | None = None) -> SingleObjects:
    """A split of the streets with one object on them, as `SingleObject` takes them; they are painted, not read."""
    if root is not None:
        raise ValueError(f"root: got {root}, expected none: streets with one object are painted from seeds")
    if split not in SINGLE_OBJECT_SCENES:
        raise ValueError(f"split: got {split!r}, expected one of {', '.join(SINGLE_OBJECT_SCENES)}")
    transforms = photo_transforms(train=split == "train", size=size)
    return SingleObjects(split, SINGLE_OBJECT_SCENES[split], transforms=transforms, quiet=split != "train")


def single_object_loss(dataset: Dataset, *, weight: float = BOX_WEIGHT) -> Callable:
    """Cross-entropy + weight · L2 of the box (slide 14); for `training.fit`."""

    def loss(model: SingleObject, batch: tuple[Tensor, list[dict]]) -> Tensor:
        images, targets = batch
        return multi_task_loss(*model(images), *single_object_targets(images, targets), weight)

    return loss


def single_object_targets(images: Tensor, targets: list[dict]) -> tuple[Tensor, Tensor]:
    """The label (b,) and the box (b, 4), normalized, of the one object in each image."""
    boxes = torch.stack([target["boxes"][0] for target in targets])
    return torch.stack([target["labels"][0] for target in targets]), normalize_boxes(boxes, *images.shape[-2:])


def score_single_object(model: SingleObject, dataset: Dataset, run: Runtime) -> dict[str, float]:
    """Share of right classes, mean IoU of the box with the object's, and share of boxes with an IoU of 0.5 or more."""
    from torchmetrics.aggregation import CatMetric  # seconds, which only scoring needs

    def predict(model: SingleObject, batch: tuple[Tensor, list[dict]]) -> tuple[Tensor]:
        images, targets = batch
        (scores, boxes), (labels, truth) = model(images), single_object_targets(images, targets)
        overlap = [
            box_iou(a[None], b[None])[0, 0]
            for a, b in zip(denormalize_boxes(boxes), denormalize_boxes(truth), strict=True)
        ]
        overlap = torch.stack(overlap)
        return (torch.stack([scores.argmax(1) == labels, overlap, overlap >= 0.5], dim=1),)

    each = training.evaluate_batches(model, dataset, CatMetric(), run=run, predict=predict, collate=collate)
    return dict(zip(("accuracy", "box_iou", "box_recall"), each.mean(0).tolist(), strict=True))


def fixed_slots_loss(dataset: Dataset, *, order: str = "annotated") -> Callable:
    """The same for `FixedSlots`, whose slots the objects of an image fill in one of the `ORDERS`.

    "annotated" is the order of the file, "left to right" that of the boxes' centres; "matched" gives each object the
    slot that answers nearest to it already, one each, as DETR does.
    """
    require_targets(dataset, "an object")
    require_one_of("order", order, ORDERS)

    def loss(model: FixedSlots, batch: tuple[Tensor, list[dict]]) -> Tensor:
        images, targets = batch
        scores, boxes = model(images)
        objects = [(normalize_boxes(t["boxes"], *images.shape[-2:]), t["labels"]) for t in targets]
        if order == "matched":
            filled = [match_slots(*each, *its) for *each, its in zip(scores, boxes, objects, strict=True)]
        else:
            sort = from_left if order == "left to right" else lambda *its: its
            filled = [fill_slots(*sort(*its), model.slots) for its in objects]
        wanted, labels = (torch.stack(column) for column in zip(*filled, strict=True))
        return slots_loss(scores, boxes, labels, wanted, BOX_WEIGHT)

    return loss


def from_left(boxes: Float[Tensor, "n 4"], labels: Int64[Tensor, "n"]) -> tuple[Tensor, Tensor]:
    """An image's boxes (x, y, w, h) and labels, sorted by the centre's x."""
    order = boxes[:, 0].argsort()
    return boxes[order], labels[order]


@torch.no_grad()
def match_slots(
    scores: Float[Tensor, "slots classes"],
    boxes: Float[Tensor, "slots 4"],
    objects: Float[Tensor, "n 4"],
    labels: Int64[Tensor, "n"],
) -> tuple[Float[Tensor, "slots 4"], Int64[Tensor, "slots"]]:
    """Put an image's objects into the slots that answer nearest to them, each into one; the other slots are empty.

    The cost of a pair is weight · L2 of the boxes − the probability of the object's class.
    """
    cost = BOX_WEIGHT * torch.cdist(boxes, objects).square() - scores.softmax(-1)[:, labels]
    slots, chosen = hungarian(cost)
    filled_boxes, filled_labels = torch.zeros_like(boxes), labels.new_zeros(len(boxes))
    filled_boxes[slots], filled_labels[slots] = objects[chosen], labels[chosen]
    return filled_boxes, filled_labels


def score_slots(model: FixedSlots, dataset: Dataset, run: Runtime) -> dict[str, float]:
    """How well the boxes of filled slots cover the objects, by an IoU of 0.5.

    `recall` is the fraction of objects that some box covers, whatever its class; `named_recall` that of objects that a
    box of their class covers; `precision` the fraction of filled slots that are right, one for each such object.
    """
    from torchmetrics.aggregation import CatMetric  # seconds, which only scoring needs

    def predict(model: FixedSlots, batch: tuple[Tensor, list[dict]]) -> tuple[Tensor]:
        images, targets = batch
        return (torch.stack([count_found(*one) for one in zip(in_slots(model, images), targets, strict=True)]),)

    each = training.evaluate_batches(model, dataset, CatMetric(), run=run, predict=predict, collate=collate)
    covered, named, right, filled, objects = each.sum(0).tolist()
    return {"recall": covered / objects, "named_recall": named / objects, "precision": right / max(1, filled)}


def count_found(found: dict, target: dict) -> Float[Tensor, "5"]:
    """Of an image: objects that a box covers by half, those that one of their class covers, boxes that are right, all
    boxes, all objects.

    A second box of an object is a duplicate, and wrong; so is one box for two objects, but once.
    """
    covers = box_iou(target["boxes"], found["boxes"]) >= 0.5
    named = covers & (target["labels"][:, None] == found["labels"])
    objects, boxes = named.any(1).sum(), named.any(0).sum()
    counts = covers.any(1).sum(), objects, min(objects, boxes), covers.shape[1], len(covers)
    return torch.tensor([float(count) for count in counts], device=covers.device)


def in_slots(model: FixedSlots, images: Tensor) -> list[dict]:
    """What is in the slots of each image: `boxes` in pixels, `labels`, `scores`, and the number of each (`slots`).

    Those that say background are empty, and left out.
    """
    scores, normalized = model(images)
    boxes = denormalize_boxes(normalized, *images.shape[-2:])
    best, labels = scores.softmax(-1).max(-1)
    filled = [label.nonzero()[:, 0] for label in labels]  # background is 0
    return [
        {"boxes": box[slots], "labels": label[slots], "scores": score[slots], "slots": slots}
        for box, label, score, slots in zip(boxes, labels, best, filled, strict=True)
    ]


SINGLE_OBJECT = Task(
    single_object_data,
    single_object_loss,
    score_single_object,
    description=f"toy city: the objects of {SINGLE_OBJECT_SCENES['train']:,} training scenes, one each, at 128 × 128",
    collate=collate,
)
SLOTS = replace(DETECTION, make_loss=fixed_slots_loss, score=score_slots)
MATCHED_SLOTS = replace(SLOTS, make_loss=partial(fixed_slots_loss, order="matched"))
