"""What notebook 06 measures on many streets: overlaps before and after the deltas, what is found, and seconds."""

from collections.abc import Callable, Mapping, Sequence
from math import log
from statistics import median

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn.functional import max_pool2d, smooth_l1_loss
from torchvision.ops import roi_align, roi_pool

from lecture_utils.costs import costs, seconds, timed
from lecture_utils.datasets import CocoInstances
from lecture_utils.detection import RCNN, FastRCNN
from lecture_utils.detection.boxes import box_iou, decode
from lecture_utils.detection.fast_rcnn import crop_features
from lecture_utils.detection.heads import WEIGHTS
from lecture_utils.detection.rcnn import warp
from lecture_utils.detection.scores import CocoScores
from lecture_utils.detection.selective_search import stored_proposals, timed_search
from lecture_utils.figures.overlays import to_pixels
from lecture_utils.tasks import photo_transforms
from lecture_utils.tasks.detection import WIDTH

Answers = Sequence[tuple[Float[Tensor, "n classes"], Float[Tensor, "n classes 4"]]]  # of each image, on the CPU


@torch.no_grad()
def answers_of(model: RCNN, photos: Sequence[Tensor], searched: Sequence[Tensor]) -> Answers:
    """R-CNN's scores and deltas of every proposal (n, 4) of each image; `photos` are (1, 3, h, w), on its device."""
    crops = (
        warp(photo, [boxes.to(photo)], model.head.output_size * model.backbone.stride)
        for photo, boxes in zip(photos, searched, strict=True)
    )
    told = [model.head.predict(model.backbone(one)) for one in crops]
    return [(scores.cpu(), deltas.cpu()) for scores, deltas in told]


def with_and_without_deltas(
    model: RCNN, answers: Answers, searched: Sequence[Tensor], size: tuple[int, int] = (128, 128)
) -> dict[str, list[dict[str, Tensor]]]:
    """The detections in images of this `size` (height, width) that the answers make: of proposals as they are, and of
    those that are moved by their deltas."""
    finish = model.head.postprocess_detections
    return {
        name: [
            finish(scores, deltas * by, [boxes], size)[0]
            for (scores, deltas), boxes in zip(answers, searched, strict=True)
        ]
        for name, by in {"without deltas": 0, "with deltas": 1}.items()
    }


def searched_streets(
    streets: CocoInstances, number: int, device: str | torch.device
) -> tuple[list[Tensor], list[dict[str, Tensor]], dict[int, list[Tensor]], dict[int, list[float]]]:
    """The first streets as a network gets them, (1, 3, h, w), their targets, proposals at 1× and 2×, and seconds.

    On every third street the proposals are searched now, and the seconds of each search noted; the others are stored.
    """
    photos, targets, searched, took = [], [], {1: [], 2: []}, {1: [], 2: []}
    for i in range(number):
        image, target = streets[i]
        photos.append(photo_transforms()(image).as_subclass(Tensor)[None].to(device))
        targets.append({key: target[key].as_subclass(Tensor) for key in ("boxes", "labels")})
        for scale, of_street in searched.items():
            boxes = stored_proposals(to_pixels(image), scale=scale)
            if i % 3 == 0:
                seconds_taken, boxes = timed_search(to_pixels(image), scale=scale)
                took[scale].append(seconds_taken)
            of_street.append(boxes.unique(dim=0))
    return photos, targets, searched, took


def average_precision(
    found: Sequence[Mapping[str, Tensor]], targets: Sequence[Mapping[str, Tensor]], names: Sequence
) -> dict[str, float]:
    """The AP50, mAP and AP75 of detections; `names` are the classes by label."""
    score = CocoScores(names)
    score.update(list(found), list(targets))
    all_scores = score.compute()
    return {name: all_scores[key] for name, key in {"AP50": "map_50", "mAP": "map", "AP75": "map_75"}.items()}


def overlaps_of(
    answers: Answers, targets: Sequence[Mapping[str, Tensor]], searched: Sequence[Tensor]
) -> dict[str, Tensor]:
    """The IoU of proposals with their objects `before` and `after` R-CNN's deltas, one number for each.

    Those that overlap an object by one half or more count, each with the object it overlaps most. The deltas are those
    of the most probable class, `said`, and mean nothing where that is 0, the background. `label` is the true class,
    `best` whether the proposal is the one that overlaps some object most.
    """
    every = []
    for (scores, deltas), target, boxes in zip(answers, targets, searched, strict=True):
        overlap = box_iou(target["boxes"], boxes)
        values, nearest = overlap.max(dim=0)
        said = scores.argmax(dim=1)
        moved = decode(deltas[torch.arange(len(boxes)), said], boxes, WEIGHTS)
        of = {
            "before": values,
            "after": box_iou(target["boxes"], moved)[nearest, torch.arange(len(boxes))],
            "best": torch.zeros(len(boxes), dtype=torch.bool).index_fill(0, overlap.argmax(dim=1), True),
            "label": target["labels"][nearest],
            "said": said,
        }
        every.append({key: numbers[values >= 0.5] for key, numbers in of.items()})
    return {key: torch.cat([of[key] for of in every]) for key in every[0]}


@torch.no_grad()
def detect(model: nn.Module, photos: Sequence[Tensor], searched: Sequence[Tensor]) -> list[dict[str, Tensor]]:
    """The detections of each image on the CPU; `photos` are (1, 3, h, w), where the model is, with proposals (m, 4)."""
    found = [model(photo, [boxes.to(photo)])[0] for photo, boxes in zip(photos, searched, strict=True)]
    return [{key: values.cpu() for key, values in one.items()} for one in found]


def crops_apart(side: int, stride: int) -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    """Ways to crop, from RoI align to RoI pooling, with one difference at a time: name → function.

    Each makes (n, c, side, side) of a map (1, c, h, w) and boxes (n, 4), in pixels of the image, of which a cell of the
    map has `stride` a side.
    """

    def grown(boxes: Tensor, pixels: int) -> Tensor:
        return boxes + pixels * boxes.new_tensor([0.0, 0.0, 1.0, 1.0])

    def align(maps: Tensor, boxes: Tensor) -> Tensor:
        return roi_align(maps, [boxes], side, 1 / stride, sampling_ratio=2, aligned=True)

    def largest(maps: Tensor, boxes: Tensor) -> Tensor:  # of the same four points in each part
        return max_pool2d(roi_align(maps, [boxes], 2 * side, 1 / stride, sampling_ratio=1, aligned=True), 2)

    def pool(maps: Tensor, boxes: Tensor) -> Tensor:
        return roi_pool(maps, [boxes], side, 1 / stride)

    return {
        "RoI align": align,
        "the maximum, not the mean": largest,
        "corners rounded to cells": lambda maps, boxes: align(maps, (boxes / stride + 0.5).floor() * stride),
        "one cell more": lambda maps, boxes: align(maps, grown(boxes, stride)),
        "all three: RoI pooling": pool,
        "RoI pooling of x1 − 1, y1 − 1": lambda maps, boxes: pool(maps, grown(boxes, -1)),
    }


@torch.no_grad()
def map_by_crop(model: FastRCNN, streets: CocoInstances, number: int, device: str | torch.device) -> dict[str, float]:
    """The mAP of one detector's weights with each of `crops_apart`, on the first streets and their stored proposals."""
    crops = crops_apart(model.head.output_size, model.backbone.stride)
    scores = {name: CocoScores(streets.categories, scale=WIDTH / streets[0][0].shape[-1]) for name in crops}
    for image, target in (streets[i] for i in range(number)):
        photo = photo_transforms()(image).as_subclass(Tensor)[None].to(device)
        maps, boxes = model.backbone(photo), stored_proposals(to_pixels(image), scale=2).to(photo)
        for name, crop in crops.items():
            answers = model.head.predict(crop(maps, boxes))
            (found,) = model.head.postprocess_detections(*answers, [boxes], photo.shape[-2:])
            scores[name].update([{key: values.cpu() for key, values in found.items()}], [target])
    return {name: score.compute()["map"] for name, score in scores.items()}


def best_overlaps(targets: Sequence[Mapping[str, Tensor]], searched: Sequence[Tensor]) -> Float[Tensor, "n"]:
    """For each object of all images, the IoU with the proposal that overlaps it most."""
    pairs = zip(targets, searched, strict=True)
    return torch.cat([box_iou(target["boxes"], boxes).amax(dim=1) for target, boxes in pairs])


def verdicts(
    found: Mapping[str, Tensor], target: Mapping[str, Tensor], *, threshold: float = 0.5
) -> tuple[list[str], Bool[Tensor, "n"]]:
    """Whether each detection is "right", a "duplicate" or "false", by descending score, and which objects are found.

    Detections with a score of `threshold` or more count. One is right if it overlaps an object of its class by that IoU
    or more that no better one has taken; where all such objects are taken it is a duplicate.
    """
    sure, taken, said = _sure(found, threshold), torch.zeros(len(target["boxes"]), dtype=torch.bool), []
    overlap = box_iou(target["boxes"], sure["boxes"]) * _same(target, sure, threshold)
    for k in sure["scores"].argsort(descending=True, stable=True).tolist():
        free = overlap[:, k].masked_fill(taken, 0)
        if free.any():
            taken[free.argmax()] = True
        said.append("right" if free.any() else "duplicate" if overlap[:, k].any() else "false")
    return said, taken


def all_found(
    found: Sequence[Mapping[str, Tensor]], targets: Sequence[Mapping[str, Tensor]], *, threshold: float = 0.5
) -> tuple[Bool[Tensor, "n"], dict[str, int]]:
    """Which objects of all images are found, and how many detections are duplicates or otherwise false: `verdicts`."""
    each = [verdicts(one, target, threshold=threshold) for one, target in zip(found, targets, strict=True)]
    said = [word for words, _ in each for word in words]
    return torch.cat([taken for _, taken in each]), {word: said.count(word) for word in ("duplicate", "false")}


def by_size(
    found: Mapping[str, Bool[Tensor, "n"]], targets: Sequence[Mapping[str, Tensor]], limits: tuple[float, float]
) -> dict[str, dict[str, int]]:
    """How many objects there are and are found, for three sizes: the square root of the area, parted by `limits`."""
    sides = torch.cat([(one["boxes"][:, 2:] - one["boxes"][:, :2]).prod(dim=1).sqrt() for one in targets])
    low, high = limits
    sizes = {
        f"below {low}": sides < low,
        f"{low} to {high}": (sides >= low) & (sides < high),
        f"from {high}": sides >= high,
    }
    return {
        size: {"objects": int(k.sum())} | {name: int(of[k].sum()) for name, of in found.items()}
        for size, k in sizes.items()
    }


def differ(one: Mapping[str, Tensor], other: Mapping[str, Tensor], *, threshold: float = 0.5) -> Float[Tensor, "n 4"]:
    """The detections that score `threshold` or more that one of the two has and the other has not."""
    one, other = _sure(one, threshold), _sure(other, threshold)
    same = _same(one, other, threshold)
    return torch.cat([one["boxes"][~same.any(dim=1)], other["boxes"][~same.any(dim=0)]])


def _sure(found: Mapping[str, Tensor], threshold: float) -> dict[str, Tensor]:
    keep = found["scores"] >= threshold
    return {key: values[keep] for key, values in found.items()}


def _same(a: Mapping[str, Tensor], b: Mapping[str, Tensor], threshold: float) -> Bool[Tensor, "n m"]:
    """Which boxes of a and of b are of one class and overlap by `threshold` or more."""
    return (box_iou(a["boxes"], b["boxes"]) >= threshold) & (a["labels"][:, None] == b["labels"])


def crop_multiply_adds(model: RCNN | FastRCNN, regions: int) -> int:
    """Multiply–adds of cutting out regions, counted by hand: 4 points of each number, each mixed of 4 neighbours."""
    channels, side = model.backbone.out_channels, model.head.output_size
    if isinstance(model, RCNN):
        channels, side = model.backbone.in_channels, side * model.backbone.stride
    return regions * channels * side**2 * 4 * 4


def costs_by_number(
    nets: Mapping[str, nn.Module], street: Float[Tensor, "1 3 h w"], proposals: Float[Tensor, "n 4"], counts: Sequence
) -> dict[str, dict[str, list[float]]]:
    """What a pass with the first few proposals costs, one number for each count: unit → name of the net → costs."""
    spent = {"billion multiply–adds": {}, "seconds": {}}
    for name, net in nets.items():
        given = [(net, street, [proposals[:n]]) for n in counts]
        counted = [costs(*one).multiply_adds + crop_multiply_adds(net, n) for one, n in zip(given, counts, strict=True)]
        spent["billion multiply–adds"][name] = [count / 1e9 for count in counted]
        spent["seconds"][name] = [seconds(*one, warm_up=1) for one in given]
    return spent


@torch.no_grad()
def parts_of(
    rcnn: RCNN, fast: FastRCNN, street: Float[Tensor, "1 3 h w"], proposals: Float[Tensor, "n 4"]
) -> dict[str, tuple[float, float]]:
    """Seconds and billion multiply–adds of the parts of both detectors up to the deltas."""
    head, number = fast.head, len(proposals)
    crop = crop_features(fast.backbone(street), output_size=head.output_size, stride=fast.backbone.stride)

    def cut(boxes: Sequence[Tensor]) -> Tensor:
        return warp(street, boxes, rcnn.head.output_size * rcnn.backbone.stride)

    outputs = nn.Linear(head.classes.in_features, 5 * head.num_classes)  # a score and four deltas a class
    parts = {  # what is run, on what, and its multiply–adds where they are not counted as it runs
        "Fast R-CNN: backbone": (fast.backbone, street, 0),
        "Fast R-CNN: RoI align": (crop, [proposals], crop_multiply_adds(fast, number)),
        "R-CNN: warp": (cut, [proposals], crop_multiply_adds(rcnn, number)),
        "R-CNN: backbone": (rcnn.backbone, cut([proposals]), 0),
        "either: head": (nn.Sequential(head.hidden, outputs), crop([proposals]), 0),
    }
    return {
        name: (seconds(part, given, warm_up=1), (by_hand or costs(part, given).multiply_adds) / 1e9)
        for name, (part, given, by_hand) in parts.items()
    }


def seconds_of(model: nn.Module, photos: Sequence[Tensor], searched: Sequence[Tensor]) -> list[float]:
    """Seconds of a forward pass for each image, on one thread, after one that is not counted."""
    timed(model, photos[0], [searched[0]])
    return [seconds(model, photo, [boxes], times=1) for photo, boxes in zip(photos, searched, strict=True)]


def with_the_search(
    search: Mapping[int, Sequence[float]], networks: Mapping[str, Mapping[int, Sequence[float]]]
) -> tuple[dict[str, float], dict[str, float]]:
    """The search's fraction of search and network, a median over images, and the seconds of both together at 2×.

    `search` and each of the `networks` are scale → seconds of each image; the scales are 1 and 2. The fractions are
    those of every network at both scales, the seconds sums of medians.
    """
    fractions = {
        f"{name} at {scale}×": median(a / (a + b) for a, b in zip(search[scale], took[scale], strict=True))
        for name, took in networks.items()
        for scale in (1, 2)
    }
    return fractions, {name: median(search[2]) + median(took[2]) for name, took in networks.items()}


def contrast(features: Float[Tensor, "c h w"], box: Float[Tensor, "4"]) -> Float[Tensor, "c"]:
    """How much higher each channel is in the cells that a box touches than elsewhere, in its standard deviations.

    The box (x0, y0, x1, y1) is in cells; it leaves some of the map free.
    """
    (x0, y0), (x1, y1) = box[:2].floor().int().tolist(), box[2:].ceil().int().tolist()
    inside = torch.zeros(features.shape[1:], dtype=torch.bool, device=features.device)
    inside[y0:y1, x0:x1] = True
    apart = features[:, inside].mean(dim=1) - features[:, ~inside].mean(dim=1)
    return apart / features.std(dim=(1, 2)).clamp(min=1e-6)


def constant_losses(
    labels: Int64[Tensor, "n"], wanted: Float[Tensor, "m 4"], *, classes: int
) -> tuple[dict[str, float], dict[str, float]]:
    """Both losses, per region, of a head that gives all regions the same: untrained, and the best that it can give.

    `labels` are the true classes of all regions, 0 the background, and `wanted` the deltas that lead to the ground
    truth, of the regions with an object alone, in the same order. The best scores give each class its frequency; the
    best deltas, four for each class, are searched in steps of a hundredth.
    """
    often, steps, least = labels.bincount(minlength=classes) / len(labels), torch.arange(-2, 2, 0.01), 0.0
    for label in labels[labels > 0].unique():
        away = steps[:, None, None] - wanted[labels[labels > 0] == label]  # (steps, regions, 4)
        least += smooth_l1_loss(away, torch.zeros_like(away), reduction="none").sum(dim=1).amin(dim=0).sum().item()
    still = smooth_l1_loss(wanted, torch.zeros_like(wanted), reduction="sum").item() / len(labels)
    return (
        {
            f"all scores equal: log {classes}": log(classes),
            "each class as often as it is": torch.special.entr(often).sum().item(),
        },
        {"deltas of 0": still, "the best constant deltas": least / len(labels)},
    )


def end_of_line(x: Sequence[float], y: Sequence[float]) -> float:
    """Where the straight line that fits best (least squares) ends at the last x; one disturbed value counts little."""
    slope, start = np.polyfit(x, y, deg=1)
    return float(start + slope * x[-1])
