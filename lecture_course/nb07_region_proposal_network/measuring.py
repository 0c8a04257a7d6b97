"""What notebook 07 measures on many streets: recall and precision after NMS, recall by kind, AP by size, seconds."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.utils.data import Dataset

from lecture_utils import training
from lecture_utils.detection import FasterRCNN
from lecture_utils.detection.boxes import box_iou
from lecture_utils.detection.rpn import ProposalNetwork
from lecture_utils.detection.scores import CocoScores, ProposalRecall, apply_nms
from lecture_utils.runtime import Runtime


def by_threshold(
    found: Sequence[dict], truths: Sequence[dict], thresholds: Sequence[float], *, score: float = 0.5
) -> dict[str, list[float]]:
    """Of detections before NMS (`boxes`, `labels`, `scores` of each street): what is found, and right, after it.

    For each IoU threshold the fraction of objects that a detection of their class covers by half, and how many objects
    are found for each box that stays; detections below `score` do not count.
    """
    objects = sum(len(target["boxes"]) for target in truths)
    shares = {"objects found": [], "objects found per box": []}
    for threshold in thresholds:
        hits = number = 0
        for one, target in zip(apply_nms(list(found), iou_threshold=threshold), truths, strict=True):
            sure = one["scores"] >= score
            same = target["labels"][:, None] == one["labels"][sure]
            hits += int(((box_iou(target["boxes"], one["boxes"][sure]) >= 0.5) & same).any(1).sum())
            number += int(sure.sum())
        shares["objects found"].append(hits / objects)
        shares["objects found per box"].append(hits / max(1, number))
    return shares


def four_losses(model: FasterRCNN, examples: Dataset, run: Runtime, **settings) -> dict[str, list[float]]:
    """Train a detector on the sum of its four losses: name of a loss → one number for each step.

    `settings` goes to `training.fit`.
    """
    course: dict[str, list[float]] = {}

    def loss(model: FasterRCNN, batch: tuple[Tensor, list[dict]]) -> Tensor:
        losses = model(*batch)
        for name, value in losses.items():
            course.setdefault(name, []).append(value.item())
        return sum(losses.values())

    training.fit(model, examples, loss=loss, run=run, **settings)
    return course


@torch.no_grad()
def proposals_by_threshold(
    detector: FasterRCNN | ProposalNetwork,
    scenes: Dataset,
    thresholds: Sequence[float],
    device: str | torch.device,
    *,
    number: int = 50,
    kept: Sequence[int] = (10, 50, 300),
) -> dict[str, list[float]]:
    """Recall of the best few proposals on the first scenes, for each threshold of the RPN's own NMS."""
    usual, recalls = detector.rpn.nms_threshold, [ProposalRecall(kept) for _ in thresholds]
    try:
        for image, target in (scenes[i] for i in range(min(number, len(scenes)))):
            maps = detector.backbone(image.as_subclass(Tensor)[None].to(device))
            for detector.rpn.nms_threshold, recall in zip(thresholds, recalls, strict=True):
                (proposals,), _ = detector.rpn(maps, tuple(image.shape[-2:]))
                recall.update([proposals.cpu()], [{"boxes": target["boxes"].as_subclass(Tensor)}])
    finally:
        detector.rpn.nms_threshold = usual
    values = [recall.compute() for recall in recalls]
    return {f"the best {n}": [each[n] for each in values] for n in kept}


def covered(truths: Sequence[dict], proposals: Sequence[Float[Tensor, "n 4"]]) -> Bool[Tensor, "objects"]:
    """Which objects of all streets one of the street's proposals covers by an IoU of 0.5."""
    pairs = zip(truths, proposals, strict=True)
    return torch.cat([(box_iou(target["boxes"], boxes) >= 0.5).any(1) for target, boxes in pairs])


def kinds_of(truths: Sequence[dict]) -> dict[str, dict[str, Bool[Tensor, "objects"]]]:
    """Which objects of all streets of 128 × 128 pixels are wide or tall, and small or large: panel → kind → mask."""
    boxes = torch.cat([target["boxes"] for target in truths])
    sides = boxes[:, 2:] - boxes[:, :2]
    ratio, side = sides[:, 1] / sides[:, 0], sides.prod(1).sqrt()
    return {
        "shape (height / width)": {
            "wide": ratio < 0.75,
            "square": (ratio >= 0.75) & (ratio <= 1.5),
            "tall": ratio > 1.5,
        },
        "√area (pixels)": {"below 8": side < 8, "8 to 16": (side >= 8) & (side < 16), "from 16": side >= 16},
    }


def recall_by_number(
    proposed: Mapping[str, Sequence[Tensor]], truths: Sequence[dict], numbers: Sequence[int]
) -> dict[str, list[float]]:
    """Recall of the first few proposals on the first streets, those of `truths`, for each method and each number."""
    recalls = {name: ProposalRecall(numbers) for name in proposed}
    for name, recall in recalls.items():
        recall.update(list(proposed[name][: len(truths)]), list(truths))
    return {name: list(recall.compute().values()) for name, recall in recalls.items()}


@torch.no_grad()
def recall_and_map(
    detector: FasterRCNN, scenes: Dataset, truths: Sequence[dict], numbers: Sequence[int], device: str | torch.device
) -> dict[str, float]:
    """How good the first few of the RPN's proposals are, and the detections of the head that gets no others.

    On the first scenes, those of `truths`: "recall with 10" proposals, …, then "mAP with 10", ….
    """
    usual, maps = detector.rpn.post_nms_top_n, [CocoScores(scenes.categories) for _ in numbers]
    network, recall = ProposalNetwork(detector.backbone, detector.rpn), ProposalRecall(numbers)
    try:
        for i, target in enumerate(truths):
            image = scenes[i][0].as_subclass(Tensor)[None].to(device)
            recall.update([boxes.cpu() for boxes in network(image)], [target])
            for detector.rpn.post_nms_top_n, score in zip(numbers, maps, strict=True):
                (found,) = detector(image)
                score.update([{key: values.cpu() for key, values in found.items()}], [target])
            detector.rpn.post_nms_top_n = usual
    finally:
        detector.rpn.post_nms_top_n = usual
    values = {f"recall with {n}": value for n, value in recall.compute().items()}
    return values | {f"mAP with {n}": score.compute()["map"] for n, score in zip(numbers, maps, strict=True)}


def ap_by_size(
    found: Sequence[dict], truths: Sequence[dict], names: Sequence[str], *, scale: float
) -> dict[str, dict[str, tuple[float, int]]]:
    """COCO's AP of each class for each size, and how many objects that are: class → size → (AP, objects).

    `names` are those of the labels, the background first; all boxes are multiplied by `scale`. AP is nan of no object.
    """
    table = {}
    for label, name in enumerate(names[1:], start=1):
        score = CocoScores(names, scale=scale)
        mine, true = (
            [{key: values[one["labels"] == label] for key, values in one.items()} for one in given]
            for given in (found, truths)
        )
        score.update(mine, true)
        of_class = score.compute()
        boxes = scale * torch.cat([one["boxes"] for one in true])
        areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
        sizes = {"small": areas < 32**2, "medium": (areas >= 32**2) & (areas <= 96**2), "large": areas > 96**2}
        table[name] = {size: (of_class[f"map_{size}"], int(mask.sum())) for size, mask in sizes.items()}
    return table
