"""What notebook 06 measures on many streets: overlaps before and after the deltas, what is found, and seconds."""

from collections.abc import Mapping, Sequence
from math import log

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn.functional import smooth_l1_loss

from lecture_utils.costs import seconds, timed
from lecture_utils.detection import RCNN
from lecture_utils.detection.boxes import box_iou, decode
from lecture_utils.detection.heads import WEIGHTS
from lecture_utils.detection.rcnn import warp


@torch.no_grad()
def overlaps_of(
    model: RCNN, photos: Sequence[Tensor], targets: Sequence[Mapping[str, Tensor]], searched: Sequence[Tensor]
) -> tuple[Float[Tensor, "n"], Float[Tensor, "n"], Bool[Tensor, "n"]]:
    """The IoU of proposals with their objects before and after R-CNN's deltas for the true class; which are best.

    `photos` are (1, 3, h, w), where the model is; `targets` have `boxes` and `labels`, and `searched` the proposals
    (m, 4) of each. Those that overlap an object by one half or more count, each with the object it overlaps most.
    The best are those that overlap some object most of all.
    """
    before, after, best = [], [], []
    for photo, target, boxes in zip(photos, targets, searched, strict=True):
        overlap = box_iou(target["boxes"], boxes)
        values, nearest = overlap.max(dim=0)
        first = torch.zeros(len(boxes), dtype=torch.bool).index_fill(0, overlap.argmax(dim=1), True)
        best.append(first[values >= 0.5])
        boxes, nearest = boxes[values >= 0.5], nearest[values >= 0.5]
        crops = warp(photo, [boxes.to(photo)], model.head.output_size * model.backbone.stride)
        deltas = model.head.predict(model.backbone(crops))[1].to(boxes)
        moved = decode(deltas[torch.arange(len(boxes)), target["labels"][nearest]], boxes, WEIGHTS)
        before.append(values[values >= 0.5])
        after.append(box_iou(target["boxes"][nearest], moved).diag())
    return torch.cat(before), torch.cat(after), torch.cat(best)


@torch.no_grad()
def detect(model: nn.Module, photos: Sequence[Tensor], searched: Sequence[Tensor]) -> list[dict[str, Tensor]]:
    """The detections of each image on the CPU; `photos` are (1, 3, h, w), where the model is, with proposals (m, 4)."""
    found = [model(photo, [boxes.to(photo)])[0] for photo, boxes in zip(photos, searched, strict=True)]
    return [{key: values.cpu() for key, values in one.items()} for one in found]


def best_overlaps(targets: Sequence[Mapping[str, Tensor]], searched: Sequence[Tensor]) -> Float[Tensor, "n"]:
    """For each object of all images, the IoU with the proposal that overlaps it most."""
    pairs = zip(targets, searched, strict=True)
    return torch.cat([box_iou(target["boxes"], boxes).amax(dim=1) for target, boxes in pairs])


def all_found(
    found: Sequence[Mapping[str, Tensor]], targets: Sequence[Mapping[str, Tensor]], *, threshold: float = 0.5
) -> tuple[Bool[Tensor, "n"], int]:
    """Which objects of all images are found, and how many detections are false positives.

    Detections with a score of `threshold` or more count; one is right with an object of its class at that IoU.
    """
    pairs = zip(found, targets, strict=True)
    right = [_same(target, _sure(one, threshold), threshold) for one, target in pairs]
    return torch.cat([one.any(dim=1) for one in right]), sum(int((~one.any(dim=0)).sum()) for one in right)


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


def differ(one: Mapping[str, Tensor], other: Mapping[str, Tensor], *, threshold: float = 0.5) -> int:
    """How many detections that score `threshold` or more the one has and the other has not, or the other way round."""
    same = _same(_sure(one, threshold), _sure(other, threshold), threshold)
    return int((~same.any(dim=1)).sum() + (~same.any(dim=0)).sum())


def _sure(found: Mapping[str, Tensor], threshold: float) -> dict[str, Tensor]:
    keep = found["scores"] >= threshold
    return {key: values[keep] for key, values in found.items()}


def _same(a: Mapping[str, Tensor], b: Mapping[str, Tensor], threshold: float) -> Bool[Tensor, "n m"]:
    """Which boxes of a and of b are of one class and overlap by `threshold` or more."""
    return (box_iou(a["boxes"], b["boxes"]) >= threshold) & (a["labels"][:, None] == b["labels"])


def seconds_of(model: nn.Module, photos: Sequence[Tensor], searched: Sequence[Tensor]) -> list[float]:
    """Seconds of a forward pass for each image, on one thread, after one that is not counted."""
    timed(model, photos[0], [searched[0]])
    return [seconds(model, photo, [boxes], times=1) for photo, boxes in zip(photos, searched, strict=True)]


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
