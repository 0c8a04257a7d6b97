"""What notebook 11 measures: boxes right, surplus and elsewhere, what NMS gains, how a matching changes, attention."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.utils.data import Dataset

from lecture_utils import training
from lecture_utils.detection import FasterRCNN
from lecture_utils.detection.boxes import box_iou
from lecture_utils.detection.scores import apply_nms
from lecture_utils.transformers.detr import DETR, Predictions
from lecture_utils.transformers.matcher import hungarian_match

RIGHT, SURPLUS, ELSEWHERE = range(3)
OVERLAPS = np.linspace(0.5, 0.95, 10).tolist()  # the IoUs over which COCO's mAP is a mean
RECALLS = torch.from_numpy(np.linspace(0, 1, 101))  # at which COCO reads the precision; torch rounds some differently


class Judged(NamedTuple):
    """All detections of some images, one after the other, and how many objects of each class the images have."""

    image: Int64[Tensor, "n"]
    label: Int64[Tensor, "n"]
    score: Float[Tensor, "n"]
    outcome: Int64[Tensor, "n"]  # RIGHT, SURPLUS (its object has been found) or ELSEWHERE
    place: Int64[Tensor, "n"]  # in the image's list of detections, for a DETR its query
    nearest: Int64[Tensor, "n"]  # the object that it takes or, where it takes none, overlaps most
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
        nearest = torch.full_like(labels, -1)
        for row in near.any(1).nonzero()[:, 0].tolist():
            left = near[row] & free
            outcome[row] = RIGHT if left.any() else SURPLUS
            nearest[row] = overlap[row].where(left if left.any() else near[row], -1).argmax()
            free[nearest[row]] = False
        parts.append((torch.full_like(labels, image), labels, one["scores"][order], outcome, order, nearest))
    return Judged(*map(torch.cat, zip(*parts, strict=True)), objects)


def judge_all(found: Sequence[dict], targets: Sequence[dict], classes: int) -> list[Judged]:
    """What `judge` says at each of COCO's ten IoUs, from 0.5 to 0.95."""
    return [judge(found, targets, classes, threshold=overlap) for overlap in OVERLAPS]


def counts(judged: Judged, *, score: float = 0.5) -> dict[str, float]:
    """Of the boxes with at least this score: how many, how many surplus and elsewhere, precision and recall."""
    sure = judged.score >= score
    boxes, right, surplus, elsewhere = (
        int(sure.sum()), *(int((judged.outcome[sure] == kind).sum()) for kind in (RIGHT, SURPLUS, ELSEWHERE))
    )  # fmt: skip
    shares = {"precision": right / max(1, boxes), "recall": right / int(judged.objects.sum())}
    return {"boxes": boxes, "surplus": surplus, "elsewhere": elsewhere} | shares


def precision_and_recall(judged: Judged) -> tuple[Float[Tensor, "n"], Float[Tensor, "n"], Float[Tensor, "n"]]:
    """Score, recall and precision of all boxes down to each one, by descending score, whatever their class."""
    score, order = judged.score.sort(descending=True, stable=True)
    right = (judged.outcome[order] == RIGHT).double().cumsum(0)
    return score, right / judged.objects.sum(), right / torch.arange(1, len(score) + 1)


def boxes_by_area(judged: Judged, targets: Sequence[dict], *, score: float = 0.5, parts: int = 4) -> list[float]:
    """How many boxes with at least this score an object has, its own and surplus ones: the mean of each quarter of the
    objects, by area, the smallest first."""
    areas = torch.cat([(one["boxes"][:, 2:] - one["boxes"][:, :2]).prod(1) for one in targets])
    near = (judged.outcome != ELSEWHERE) & (judged.score >= score)
    first = judged.objects.sum(1).cumsum(0) - judged.objects.sum(1)  # of each image
    number = torch.bincount(first[judged.image[near]] + judged.nearest[near], minlength=len(areas)).double()
    return [number[part].mean().item() for part in areas.argsort(stable=True).chunk(parts)]


def surplus_pairs(
    judged: Judged, found: Sequence[dict], targets: Sequence[dict], *, score: float = 0.5
) -> tuple[Counter[tuple[int, int]], int]:
    """Of each surplus box with at least this score: which two queries say the same object, the lower number first; and
    how many surplus boxes have a higher IoU with that object than the box that takes it, whose score is higher.
    """
    rows = zip(*(part.tolist() for part in judged[:-1]), strict=True)
    holder, pairs, better = {}, Counter(), 0
    for image, _, sure, outcome, query, nearest in rows:  # of an image by descending score
        if outcome == RIGHT:
            holder[image, nearest] = query
        elif outcome == SURPLUS and sure >= score:
            first = holder[image, nearest]
            pairs[tuple(sorted((query, first)))] += 1
            overlap = box_iou(found[image]["boxes"][[first, query]], targets[image]["boxes"][nearest][None])[:, 0]
            better += int(overlap[1] > overlap[0])
    return pairs, better


def own_area(boxes: Sequence[Float[Tensor, "n 4"]]) -> tuple[Float[Tensor, "queries"], Float[Tensor, "queries"]]:
    """Of the normalized boxes of each query: the standard deviation of their centres, and how far its mean centre lies
    from the nearest one of another query."""
    means = torch.stack([its[:, :2].mean(0) for its in boxes])
    apart = torch.cdist(means, means).fill_diagonal_(torch.inf)
    return torch.stack([its[:, :2].std(0).mean() for its in boxes]), apart.amin(1)


def same_class_and_half(
    boxes: Sequence[Float[Tensor, "n 4"]], classes: Sequence[Int64[Tensor, "n"]], *, shuffles: int = 100, seed: int = 0
) -> Float[Tensor, "shuffles"]:
    """The mean of `own_area`'s deviations, where each box of a query is replaced by a random one of all queries.

    The other box has the same class and lies in the same half of the image, left or right; each is used once. So this
    is what class and side alone would give.
    """
    everything, sizes = torch.cat(list(boxes)), [len(its) for its in boxes]
    group = 2 * torch.cat(list(classes)) + (everything[:, 0] >= 0.5)
    rng, deviations = torch.Generator().manual_seed(seed), []
    for _ in range(shuffles):
        shuffled = everything.clone()
        for one in group.unique():
            mine = (group == one).nonzero()[:, 0]
            shuffled[mine] = everything[mine[torch.randperm(len(mine), generator=rng)]]
        deviations.append(own_area(shuffled.split(sizes))[0].mean())
    return torch.stack(deviations)


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


def mean_map(judged: Sequence[Judged], weights: Float[Tensor, "draws images"] | None = None) -> Float[Tensor, "draws"]:
    """COCO's mAP, the mean of `map_50` over the IoUs of `judge_all`."""
    return torch.stack([map_50(one, weights) for one in judged]).mean(0)


def averages(judged: Sequence[Judged]) -> dict[str, float]:
    """COCO's mAP, mAP@0.5 and mAP@0.75, of what `judge_all` gives."""
    each = {"mAP": mean_map(judged), "mAP@0.5": map_50(judged[0]), "mAP@0.75": map_50(judged[5])}
    return {name: value.item() for name, value in each.items()}


# Beside mAP, at an IoU of 0.5.
SCORES = {"mAP@0.5": map_50, "precision": precision_at, "precision at 0.9": partial(precision_at, score=0.9)}


def resampled(images: int, draws: int = 1000, *, seed: int = 0) -> Float[Tensor, "rows images"]:
    """How often each image counts: in row 0 once, in the others as in a sample of as many, drawn with replacement."""
    chosen = torch.randint(images, (draws, images), generator=torch.Generator().manual_seed(seed))
    return torch.cat(
        [torch.ones(1, images), torch.zeros(draws, images).scatter_add_(1, chosen, torch.ones(draws, images))]
    )


def scored(judged: Sequence[Judged], weights: Float[Tensor, "rows images"]) -> dict[str, Float[Tensor, "rows"]]:
    """Each score of what `judge_all` gives, on the images themselves and on each bootstrap sample of them."""
    return {"mAP": mean_map(judged, weights)} | {name: score(judged[0], weights) for name, score in SCORES.items()}


def gains(
    before: Mapping[str, Float[Tensor, "rows"]], after: Mapping[str, Float[Tensor, "rows"]]
) -> dict[str, Float[Tensor, "rows"]]:
    """By how much each score of `scored` is higher `after`; on the same samples that is a paired bootstrap."""
    return {name: after[name] - before[name] for name in before}


def gains_by_threshold(
    found: Sequence[dict], targets: Sequence[dict], thresholds: Sequence[float], weights: Float[Tensor, "rows images"]
) -> dict[float, dict[str, Float[Tensor, "rows"]]]:
    """What NMS gains in each score: the threshold of NMS → `gains`."""
    classes = int(torch.cat([target["labels"] for target in targets]).max()) + 1
    before, gained = scored(judge_all(found, targets, classes), weights), {}
    for threshold in thresholds:
        after = judge_all(apply_nms(list(found), iou_threshold=threshold), targets, classes)
        gained[threshold] = gains(before, scored(after, weights))
    return gained


def gains_as_table(gained: Mapping[float, Mapping[str, Float[Tensor, "rows"]]]) -> str:
    """A line for each threshold of NMS: what it gains in each score, and the middle 95 % of the bootstrap samples."""
    lines = ["NMS at IoU" + "".join(f"{name:>25}" for name in next(iter(gained.values())))]
    for threshold, scores in gained.items():
        words = ["{:+.3f} [{:+.3f}, {:+.3f}]".format(*with_interval(rows)) for rows in scores.values()]
        lines.append(f"{threshold:<10}" + "".join(f"{word:>25}" for word in words).replace("-", "−"))
    return "\n".join(lines)


def scores_as_table(scores: Mapping[str, Mapping[str, float]]) -> str:
    """A line for each model: `counts` of the boxes with a score of 0.5 or more, then `averages` over all boxes."""
    columns = list(next(iter(scores.values())))
    number = sum(not name.startswith("mAP") for name in columns)
    sure, every = " boxes with a score of at least 0.5 ", " all boxes "
    head = f"{'':28}{sure:─^{10 * number - 2}}  {every:─^{10 * (len(columns) - number) - 2}}"
    lines = [head, f"{'':26}" + "".join(f"{name:>10}"[-10:] for name in columns)]
    for name, row in scores.items():
        lines.append(f"{name:26}" + "".join(f"{x:10,}" if isinstance(x, int) else f"{x:10.3f}" for x in row.values()))
    return "\n".join(lines)


def strays(
    one: dict, targets: Sequence[dict], own: int, groups: Sequence[Sequence[int]], *, score: float = 0.5
) -> tuple[int, Float[Tensor, "objects 4"], list[int]]:
    """Of the boxes of image `own` with at least this score that overlap none of its objects: how many there are, on
    which objects of the first group of images some lie, and on how many objects of each group.

    A box lies on an object of its class from an IoU of 0.5 on.
    """
    classes = int(torch.cat([target["labels"] for target in targets]).max()) + 1
    judged = judge([one], [targets[own]], classes)
    stray, hits = (judged.outcome == ELSEWHERE) & (judged.score >= score), []
    for group in groups:
        others = {key: torch.cat([targets[j][key] for j in group]) for key in ("boxes", "labels")}
        nearest = judge([one], [others], classes).nearest
        hits.append(others["boxes"][nearest[stray & (nearest >= 0)].unique()])
    return int(stray.sum()), hits[0], list(map(len, hits))


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


def kept_to_the_end(matched: Sequence[Sequence[Sequence[int]]], images: Sequence[int]) -> list[float]:
    """At each look at a training, the share of the objects that have the query already which they have at the end.

    `matched` and `images` are those of `changes`.
    """
    queries = torch.tensor([[query for image in images for query in look[image]] for look in matched])
    return (queries == queries[-1]).double().mean(1).tolist()


class _EnoughError(Exception):
    """The steps that were wanted are made."""


def first_steps(
    number: int, *parts: object, steps: int, evaluate: Callable[[nn.Module], dict], evaluate_every: int, **how: object
) -> None:
    """The first `number` steps of a `training.fit` that is planned for `steps`: its learning rate falls by that plan.

    `number` must be a multiple of `evaluate_every`; the other arguments are those of `fit`.
    """
    if number % evaluate_every or not 0 < number <= steps:
        raise ValueError(f"number: got {number}, expected a multiple of {evaluate_every}, at most {steps}")
    calls = iter(range(number // evaluate_every - 1, -1, -1))

    def until_then(model: nn.Module) -> dict:
        said = evaluate(model)
        if next(calls) == 0:
            raise _EnoughError
        return said

    with suppress(_EnoughError):
        training.fit(*parts, steps=steps, evaluate=until_then, evaluate_every=evaluate_every, **how)


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
