"""What notebook 07 measures on many streets: recall and precision after NMS, recall by kind, AP by size, seconds."""

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor
from torch.utils.data import Dataset

from lecture_utils import training
from lecture_utils.detection import FasterRCNN
from lecture_utils.detection.boxes import box_iou, encode
from lecture_utils.detection.fast_rcnn import crop_features
from lecture_utils.detection.rpn import ProposalNetwork
from lecture_utils.detection.scores import CocoScores, ProposalRecall, apply_nms
from lecture_utils.runtime import Runtime

SIZE = "√area (pixels)"
DETECTORS = {"rcnn": "R-CNN", "fast_rcnn": "Fast R-CNN", "faster_rcnn": "Faster R-CNN"}
OWN = {"fast_rcnn": "searched", "faster_rcnn": "learned"}  # the proposals that a network was trained on


@torch.no_grad()
def detect(model: FasterRCNN, images: Sequence[Tensor], device: str | torch.device) -> list[dict]:
    """The detections of each image (3, h, w), one image at a time, on the CPU."""
    each = (model(image.as_subclass(Tensor)[None].to(device)) for image in images)
    return [{key: values.cpu() for key, values in one.items()} for (one,) in each]


def by_threshold(
    found: Sequence[dict], truths: Sequence[dict], thresholds: Sequence[float], *, score: float = 0.5
) -> dict[str, list[float]]:
    """Recall and precision after NMS of detections before it (`boxes`, `labels`, `scores` of each street).

    For each IoU threshold the fraction of objects that a detection of their class covers by half, and the number of
    these objects divided by that of the boxes that stay; detections below `score` do not count.
    """
    objects = sum(len(target["boxes"]) for target in truths)
    sure = [{key: values[one["scores"] >= score] for key, values in one.items()} for one in found]
    shares = {"recall": [], "precision": []}
    for threshold in thresholds:
        hits = number = 0
        for one, target in zip(apply_nms(sure, iou_threshold=threshold), truths, strict=True):
            same = target["labels"][:, None] == one["labels"]
            hits += int(((box_iou(target["boxes"], one["boxes"]) >= 0.5) & same).any(1).sum())
            number += len(one["boxes"])
        shares["recall"].append(hits / objects)
        shares["precision"].append(hits / max(1, number))
    return shares


def lost_and_extra(shares: Mapping[str, Sequence[float]], objects: int) -> dict[str, list[float]]:
    """Of `by_threshold`'s recall and precision the numbers: objects that are lost, and detections that are too many."""
    hits = [objects * recall for recall in shares["recall"]]
    extra = [hit / part - hit for hit, part in zip(hits, shares["precision"], strict=True)]
    return {f"objects lost, of {objects}": [objects - hit for hit in hits], "detections too many": extra}


def missed(found: Sequence[dict], truths: Sequence[dict], names: Sequence[str]) -> list[str]:
    """The objects that no detection covers by an IoU of 0.5: the class, and the box in whole pixels."""
    words = []
    for one, truth in zip(found, truths, strict=True):
        hit = (box_iou(truth["boxes"], one["boxes"]) >= 0.5).any(1)
        pairs = zip(truth["labels"][~hit], truth["boxes"][~hit].int().tolist(), strict=True)
        words += [f"{names[label]} at {tuple(box)}" for label, box in pairs]
    return words


def best_anywhere(truths: Sequence[Float[Tensor, "_ 4"]], shapes: Float[Tensor, "k 4"]) -> Float[Tensor, "objects"]:
    """The best IoU of each object with an anchor of one of the `shapes`, if there is one at every pixel."""
    sides, own = (boxes[:, 2:] - boxes[:, :2] for boxes in (torch.cat(list(truths)), shapes))
    inside = torch.minimum(sides[:, None], own).prod(-1)  # where one lies in the other, as far as it can
    return (inside / (sides.prod(1)[:, None] + own.prod(1) - inside)).amax(1)


def exchanged(rows: Sequence[Mapping], key: str) -> dict[tuple[str, str], list[float]]:
    """Of the study "proposals": (network, kind of proposals) → the `key` of each seed."""
    square = {(DETECTORS[model], kind): [] for model in OWN for kind in OWN.values()}
    for row in rows:
        square[DETECTORS[row["model"]], OWN[row.get("proposals_of", row["model"])]].append(row[key])
    return square


def gains(square: Mapping[tuple[str, str], Sequence[float]]) -> dict[str, float]:
    """What other proposals, another network, and both add to the mean of `exchanged`'s first pair."""
    first, proposals, network, both = (sum(values) / len(values) for values in square.values())
    return {"proposals": proposals - first, "network": network - first, "both": both - first}


@torch.no_grad()
def proposals(
    detector: FasterRCNN | ProposalNetwork, scenes: Dataset, device: str | torch.device, *, number: int | None = None
) -> list[Float[Tensor, "n 4"]]:
    """The proposals of a detector's RPN, best first, for each of the first scenes, by default of all; on the CPU."""
    network = ProposalNetwork(detector.backbone, detector.rpn)
    images = [scenes[i][0].as_subclass(Tensor) for i in range(number or len(scenes))]
    batches = (torch.stack(images[i : i + 8]).to(device) for i in range(0, len(images), 8))  # all of one size
    return [boxes.cpu() for batch in batches for boxes in network(batch)]


def rpn_losses(model: ProposalNetwork, images: Tensor, targets: list[dict]) -> dict[str, Tensor]:
    """The two losses of an RPN alone: no proposals are made, which no loss needs."""
    return model.rpn.losses(*model.rpn.predict(model.backbone(images)), targets)


def loss_without_deltas(
    anchors: Float[Tensor, "n 4"], truths: Sequence[Float[Tensor, "_ 4"]], matches: Sequence[Tensor], sampled: int
) -> float:
    """The mean loss of the deltas on streets with `truths`, if each were 0; `matches` are those of the anchors (n,)."""
    losses = []
    for truth, match in zip(truths, matches, strict=True):
        wanted = encode(truth[match[match >= 0]], anchors[match >= 0])
        losses.append(F.smooth_l1_loss(wanted, torch.zeros_like(wanted), reduction="sum", beta=1 / 9) / sampled)
    return torch.stack(losses).mean().item()


def losses_in_training(
    model: FasterRCNN | ProposalNetwork,
    examples: Dataset,
    run: Runtime,
    *,
    losses: Callable[..., dict[str, Tensor]] | None = None,
    **settings,
) -> dict[str, list[float]]:
    """Train a detector on the sum of its losses: name of a loss → one number for each step.

    `losses(model, images, targets)` gives them, by default the model itself; `settings` goes to `training.fit`.
    """
    course: dict[str, list[float]] = {}

    def loss(model: FasterRCNN | ProposalNetwork, batch: tuple[Tensor, list[dict]]) -> Tensor:
        each = losses(model, *batch) if losses else model(*batch)
        for name, value in each.items():
            course.setdefault(name, []).append(value.item())
        return sum(each.values())

    training.fit(model, examples, loss=loss, run=run, **settings)
    return course


def four_losses(model: FasterRCNN, examples: Dataset, run: Runtime, **settings) -> dict[str, list[float]]:
    """Train on all four losses: "RPN: objectness", …, "head: class", … → one number for each step.

    "head: positives that are proposals" is a fraction of the regions that the head may take for positive: proposals
    that cover an object by an IoU of 0.5, and the objects' own boxes, which join them.
    """
    shares = []

    def count(_rpn, given: tuple, answer: tuple) -> None:
        if len(given) < 3:  # no targets: not a step of training
            return
        truths = [target["boxes"] for target in given[2]]
        near = sum(int((box_iou(b.to(a), a) >= 0.5).any(0).sum()) for a, b in zip(answer[0], truths, strict=True))
        shares.append(near / max(1, near + sum(map(len, truths))))

    hook = model.rpn.register_forward_hook(count)
    try:
        course = losses_in_training(model, examples, run, **settings)
    finally:
        hook.remove()
    parts = ("RPN: ", "RPN: ", "head: ", "head: ")
    named = {part + name: values for part, (name, values) in zip(parts, course.items(), strict=True)}
    return named | {"head: positives that are proposals": shares}


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


def sizes_of(truths: Sequence[dict]) -> dict[str, Bool[Tensor, "objects"]]:
    """Which objects of all streets of 128 × 128 pixels are small, middling, large by √area in pixels: words → mask."""
    return kinds_of(truths)[SIZE]


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
        SIZE: {"below 8": side < 8, "8 to 16": (side >= 8) & (side < 16), "from 16": side >= 16},
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
def map_by_number(
    detector: FasterRCNN, scenes: Dataset, truths: Sequence[dict], numbers: Sequence[int], device: str | torch.device
) -> dict[str, float]:
    """How good the detections of the head are that gets only the first few of the RPN's proposals: "mAP with 10", ….

    On the first scenes, those of `truths`.
    """
    usual, scores = detector.rpn.post_nms_top_n, [CocoScores(scenes.categories) for _ in numbers]
    detector.rpn.post_nms_top_n = max(numbers)
    try:
        for i, target in enumerate(truths):
            image = scenes[i][0].as_subclass(Tensor)[None].to(device)
            features, size = detector.backbone(image), tuple(image.shape[-2:])
            (proposals,), _ = detector.rpn(features, size)
            crop = crop_features(features, output_size=detector.head.output_size, stride=detector.backbone.stride)
            classes, deltas = detector.head.predict(crop([proposals]))  # each region by itself: once for all numbers
            for n, score in zip(numbers, scores, strict=True):
                of = classes[:n], deltas[:n], [proposals[:n]]
                (found,) = detector.head.postprocess_detections(*of, size)
                score.update([{key: values.cpu() for key, values in found.items()}], [target])
    finally:
        detector.rpn.post_nms_top_n = usual
    return {f"mAP with {n}": score.compute()["map"] for n, score in zip(numbers, scores, strict=True)}


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
