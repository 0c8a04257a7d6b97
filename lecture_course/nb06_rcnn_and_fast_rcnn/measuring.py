"""What notebook 06 measures on many streets: overlaps before and after the deltas, what is found, and seconds."""

import time
from collections.abc import Mapping, Sequence
from statistics import median

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

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


@torch.no_grad()
def seconds_of(model: nn.Module, photos: Sequence[Tensor], searched: Sequence[Tensor]) -> list[float]:
    """Seconds of a forward pass for each image, on one thread, after one that is not counted."""
    threads, spent = torch.get_num_threads(), []
    torch.set_num_threads(1)
    for photo, boxes in zip([photos[0], *photos], [searched[0], *searched], strict=True):
        start = time.perf_counter()
        model(photo, [boxes])
        spent.append(time.perf_counter() - start)
    torch.set_num_threads(threads)
    return spent[1:]


def median_seconds(model: nn.Module, photo: Tensor, boxes: Tensor, *, times: int = 3) -> float:
    """Seconds of a forward pass on one thread, the median of `times`, after one that is not counted."""
    return median(seconds_of(model, [photo] * times, [boxes] * times))


def end_of_line(x: Sequence[float], y: Sequence[float]) -> float:
    """Where the straight line that fits best (least squares) ends at the last x; one disturbed value counts little."""
    slope, start = np.polyfit(x, y, deg=1)
    return float(start + slope * x[-1])
