"""What notebook 11 measures: boxes right, surplus and elsewhere, what NMS gains, how a matching changes, attention."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.utils.data import Dataset

from lecture_utils.detection import FasterRCNN
from lecture_utils.detection.boxes import box_iou
from lecture_utils.transformers.detr import DETR, Predictions
from lecture_utils.transformers.matcher import hungarian_match

RIGHT, SURPLUS, ELSEWHERE = range(3)
RECALLS = torch.from_numpy(np.linspace(0, 1, 101))  # at which COCO reads the precision; torch rounds some differently


class Judged(NamedTuple):
    """All detections of some images, one after the other, and how many objects of each class the images have."""

    image: Int64[Tensor, "n"]
    label: Int64[Tensor, "n"]
    score: Float[Tensor, "n"]
    outcome: Int64[Tensor, "n"]  # RIGHT, SURPLUS (its object has been found) or ELSEWHERE
    objects: Int64[Tensor, "images classes"]  # class 0, no object, has none


def judge(found: Sequence[dict], targets: Sequence[dict], classes: int, *, threshold: float = 0.5) -> Judged:
    """Judge the detections of each image as COCO does, by descending score.

    A detection takes the object of its class that it overlaps most, of those that are left, if their IoU is at least
    `threshold`. Where it overlaps only objects that have been taken, it is surplus; where it overlaps none, elsewhere.
    """
    parts, objects = [], torch.zeros(len(targets), classes, dtype=torch.int64)
    for image, (one, target) in enumerate(zip(found, targets, strict=True)):
        objects[image] = torch.bincount(target["labels"], minlength=classes)
        order = one["scores"].argsort(descending=True, stable=True)
        labels = one["labels"][order]
        overlap = box_iou(one["boxes"][order], target["boxes"])
        near = (overlap >= threshold) & (labels[:, None] == target["labels"])
        outcome, free = torch.full_like(labels, ELSEWHERE), torch.ones(len(target["labels"]), dtype=torch.bool)
        for row in near.any(1).nonzero()[:, 0].tolist():
            left = near[row] & free
            outcome[row] = RIGHT if left.any() else SURPLUS
            if left.any():
                free[overlap[row].where(left, -1).argmax()] = False
        parts.append((torch.full_like(labels, image), labels, one["scores"][order], outcome))
    return Judged(*map(torch.cat, zip(*parts, strict=True)), objects)


def counts(judged: Judged, *, score: float = 0.5) -> dict[str, float]:
    """Of the boxes with at least this score: how many, how many surplus and elsewhere, precision and recall."""
    sure = judged.score >= score
    boxes, right, surplus, elsewhere = (
        int(sure.sum()), *(int((judged.outcome[sure] == kind).sum()) for kind in (RIGHT, SURPLUS, ELSEWHERE))
    )  # fmt: skip
    shares = {"precision": right / max(1, boxes), "recall": right / int(judged.objects.sum())}
    return {"boxes": boxes, "surplus": surplus, "elsewhere": elsewhere} | shares


def map_50(judged: Judged, weights: Float[Tensor, "draws images"] | None = None) -> Float[Tensor, "draws"]:
    """COCO's mAP at the IoU of `judge`, where image i counts `weights[:, i]` times; by default once, in one draw.

    The mean over the classes of which there are objects. COCO takes the best 100 detections of an image at most.
    """
    if weights is None:
        weights = torch.ones(1, len(judged.objects))
    weights, each = weights.double(), []
    for label in range(1, judged.objects.shape[1]):
        mine = (judged.label == label).nonzero()[:, 0]
        mine = mine[judged.score[mine].argsort(descending=True, stable=True)]
        counted = weights[:, judged.image[mine]]
        right = (counted * (judged.outcome[mine] == RIGHT)).cumsum(1)
        recall = right / (weights @ judged.objects[:, label].double()).clamp(min=1)[:, None]
        precision = right / counted.cumsum(1).clamp(min=1)
        highest = precision.flip(1).cummax(1).values.flip(1)
        padded = torch.cat([highest, highest.new_zeros(len(highest), 1)], 1)  # no such recall: 0
        at = torch.searchsorted(recall, RECALLS.expand(len(recall), -1).contiguous())
        each.append(padded.gather(1, at).mean(1))
    return torch.stack(each).mean(0)


def precision_at(judged: Judged, weights: Float[Tensor, "draws images"], *, score: float = 0.5) -> Tensor:
    """Precision of the boxes with at least this score, (draws,), where image i counts `weights[:, i]` times."""
    counted = weights.double()[:, judged.image] * (judged.score >= score)
    return (counted * (judged.outcome == RIGHT)).sum(1) / counted.sum(1).clamp(min=1)


SCORES = {"mAP@0.5": map_50, "precision": precision_at}


def resampled(images: int, draws: int = 1000, *, seed: int = 0) -> Float[Tensor, "rows images"]:
    """How often each image counts: in row 0 once, in the others as in a sample of as many, drawn with replacement."""
    chosen = torch.randint(images, (draws, images), generator=torch.Generator().manual_seed(seed))
    return torch.cat(
        [torch.ones(1, images), torch.zeros(draws, images).scatter_add_(1, chosen, torch.ones(draws, images))]
    )


def gains(before: Judged, after: Judged, weights: Float[Tensor, "rows images"]) -> dict[str, Float[Tensor, "rows"]]:
    """By how much each score is higher `after`, on the images themselves and on each bootstrap sample of them.

    Both sides are scored on the same samples: a paired bootstrap over images.
    """
    return {name: score(after, weights) - score(before, weights) for name, score in SCORES.items()}


def with_interval(rows: Float[Tensor, "rows"]) -> tuple[float, float, float]:
    """What was measured on the images, and the ends of the middle 95 % of the bootstrap samples."""
    low, high = rows[1:].double().quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return rows[0].item(), low, high


@torch.no_grad()
def unsuppressed(faster: FasterRCNN, images: Dataset, indices: Sequence[int], device: str | torch.device) -> list[dict]:
    """The detections of Faster R-CNN before its last NMS, on the CPU; the model is left as it was."""
    head, found = faster.head, []
    usual = head.nms_threshold, head.max_detections
    head.nms_threshold, head.max_detections = 1.0, 1000  # no IoU is larger: nothing is suppressed
    try:
        for index in indices:
            (one,) = faster(images[index][0].as_subclass(Tensor)[None].to(device))
            found.append({key: values.cpu() for key, values in one.items()})
    finally:
        head.nms_threshold, head.max_detections = usual
    return found


@torch.no_grad()
def ask(
    model: DETR, scenes: Dataset, indices: Sequence[int], device: str | torch.device, *, batch: int = 50
) -> Predictions:
    """What a DETR answers for some items of a data set, with its attention, on the CPU; `batch` of them at a time."""
    indices, parts = list(indices), []
    for first in range(0, len(indices), batch):
        z = torch.stack([scenes[i][0].as_subclass(Tensor) for i in indices[first : first + batch]])
        parts.append([part.cpu() for part in model(z.to(device), need_weights=True)])
    logits, boxes, attention = zip(*parts, strict=True)
    return Predictions(torch.cat(logits, 1), torch.cat(boxes, 1), torch.cat(attention))


def matched_queries(answer: Predictions, targets: Sequence[dict]) -> list[list[int]]:
    """The query of each object of each image, in the order of the objects, by the last layer's answers."""
    pairs = hungarian_match(answer.logits[-1], answer.boxes[-1], list(targets))
    return [queries[objects.argsort()].tolist() for queries, objects in pairs]


def changes(matched: Sequence[Sequence[Sequence[int]]], images: Sequence[int]) -> list[float]:
    """From each look at a training to the next, the share of the objects that another query is matched with.

    `matched` holds for each look, image and object its query; the objects of some of the `images` count.
    """
    queries = torch.tensor([[query for image in images for query in look[image]] for look in matched])
    return (queries[1:] != queries[:-1]).double().mean(1).tolist()


def inside(box: Float[Tensor, "4"], grid: tuple[int, int], stride: int, *, margin: float = 0.0) -> Tensor:
    """Which points of a map (height, width), `stride` pixels apart, lie in a box, or `margin` pixels around it."""
    rows, columns = ((torch.arange(side) + 0.5) * stride for side in grid)
    x0, y0, x1, y1 = (box + margin * torch.tensor([-1.0, -1, 1, 1])).tolist()
    return ((rows >= y0) & (rows <= y1))[:, None] & (columns >= x0) & (columns <= x1)


def attention_inside(
    found: Sequence[dict], attention: Float[Tensor, "b layers heads queries h w"], stride: int, *, score: float = 0.5
) -> tuple[Float[Tensor, "boxes layers"], Float[Tensor, "boxes"]]:
    """For each box with at least this score: which share of its query's attention falls into it or within one point of
    it, layer by layer (the mean of the heads), and what uniform weights would put there."""
    shares, uniform = [], []
    for one, maps in zip(found, attention.mean(2), strict=True):
        for query in (one["scores"] >= score).nonzero()[:, 0].tolist():
            near = inside(one["boxes"][query], maps.shape[-2:], stride, margin=stride)
            shares.append(maps[:, query, near].sum(-1))
            uniform.append(near.float().mean())
    return torch.stack(shares), torch.stack(uniform)
