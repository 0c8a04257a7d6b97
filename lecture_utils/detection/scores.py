"""How good boxes are: COCO's average precision, and the share of objects that proposals reach (slides 17, 20 and 22).

Lin et al., "Microsoft COCO: Common objects in context", ECCV 2014. The numbers are torchmetrics' and pycocotools'.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.detection import MeanAveragePrecision
from torchvision.ops import nms  # what boxes.nms computes, compiled

from lecture_utils.detection.boxes import box_iou, require_finite

KEYS = ("map", "map_50", "map_75", "map_small", "map_medium", "map_large")


class CocoScores(MeanAveragePrecision):
    """Mean average precision, fed with detections and targets batch by batch; `compute()` gives a plain dictionary.

    `names` are those of the labels, the background first. The dictionary: `map` (mean over classes and over IoU
    thresholds 0.5, 0.55 … 0.95), `map_50`, `map_75`, and by size `map_small`, `map_medium`, `map_large`; `ap` has the
    average precision of each class by name; nan where there is nothing to find. COCO calls an object small below 32²
    pixels of annotated area, else of its box, and large above 96²; `scale` multiplies all boxes first, so that a
    small image counts as a large one.
    """

    def __init__(self, names: Sequence[str], *, scale: float = 1.0):
        # COCO's own thresholds: torchmetrics rounds them to float32, so that a recall of exactly 0.3 misses its 0.3.
        overlaps, recalls = np.linspace(0.5, 0.95, 10).tolist(), np.linspace(0, 1, 101).tolist()
        super().__init__(iou_thresholds=overlaps, rec_thresholds=recalls, class_metrics=True)
        self.names, self.scale = tuple(names), scale

    def update(self, found: list[dict], targets: list[dict]) -> None:
        """Add the detections (`boxes`, `labels`, `scores`) and targets (`boxes`, `labels`) of some images.

        Targets may hold the annotated area as a share of the box's, `extent`, and `crowds` with their `crowd_labels`: a
        detection that matches no object but lies in a crowd of its class does not count, as COCO has it. torchmetrics'
        own `area` and `iscrowd` will do, too.
        """
        super().update([self._large(one) for one in found], [self._truth(one) for one in targets])

    def compute(self) -> dict:
        result = super().compute()
        # Before any update there is no class, and torchmetrics leaves their scores out.
        classes, each = (result.get(key, torch.zeros(0)).reshape(-1).tolist() for key in ("classes", "map_per_class"))
        of_label = dict(zip(classes, each, strict=True))
        scores = {key: _known(result[key].item()) for key in KEYS}
        return scores | {"ap": {name: _known(of_label.get(i, -1)) for i, name in enumerate(self.names) if i}}

    def _truth(self, target: dict) -> dict:
        """A target as torchmetrics takes it, the crowds behind the objects; an area of 0 stands for that of the box."""
        crowds = {"boxes": target.get("crowds", target["boxes"][:0])}
        crowds["labels"] = target.get("crowd_labels", target["labels"][:0])
        truth, crowds = self._large(target), self._large(crowds)
        area = target.get("area", torch.zeros_like(truth["boxes"][:, 0])) * self.scale**2
        crowd = target.get("iscrowd", torch.zeros_like(truth["labels"]))
        if "extent" in target:
            whole = (truth["boxes"][:, 2:] - truth["boxes"][:, :2]).prod(1)
            # A hundredth of a pixel: in float32, an area of exactly 32² may come back as a little less.
            area = ((whole * target["extent"] * 100).round() / 100).clamp(min=0.01)
        return {key: torch.cat([truth[key], crowds[key]]) for key in crowds} | {
            "area": torch.cat([area, torch.zeros_like(crowds["boxes"][:, 0])]),
            "iscrowd": torch.cat([crowd, torch.ones_like(crowds["labels"])]),
        }

    def _large(self, boxes: dict) -> dict:
        here = {key: boxes[key].to(self.device) for key in ("boxes", "labels", "scores") if key in boxes}
        return here | {"boxes": here["boxes"].float() * self.scale}


class ProposalRecall(Metric):
    """Recall of the first n proposals, for each n of `numbers`: the share of objects covered by `threshold` IoU.

    `compute()` gives {n: share}; nan where there was no object.
    """

    def __init__(self, numbers: Sequence[int], *, threshold: float = 0.5):
        super().__init__()
        self.numbers, self.threshold = tuple(numbers), threshold
        self.add_state("reached", torch.zeros(len(self.numbers), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("objects", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, proposals: list[Tensor], targets: list[dict]) -> None:
        """Add the proposals (n, 4) of some images, best first, and their targets' `boxes`."""
        for boxes, target in zip(proposals, targets, strict=True):
            boxes = boxes.to(self.device)
            overlap = box_iou(target["boxes"].to(boxes), boxes)
            self.objects += len(overlap)
            for i, number in enumerate(self.numbers):
                self.reached[i] += (overlap[:, :number] >= self.threshold).any(1).sum()

    def compute(self) -> dict[int, float]:
        shares = (self.reached / self.objects).tolist() if self.objects else [float("nan")] * len(self.numbers)
        return dict(zip(self.numbers, shares, strict=True))


def apply_nms(found: list[dict], *, iou_threshold: float = 0.5) -> list[dict]:
    """The same detections after non-maximum suppression within each class, best first.

    Boxes may lie beyond the border; one or a score that is not finite is a ValueError.
    """
    kept = [_best_of_each_class(one["boxes"], one["scores"], one["labels"], iou_threshold) for one in found]
    return [{key: values[keep] for key, values in one.items()} for one, keep in zip(found, kept, strict=True)]


def _best_of_each_class(boxes: Tensor, scores: Tensor, labels: Tensor, iou_threshold: float) -> Tensor:
    """Indices, by descending score. torchvision's batched_nms would move classes apart by the largest coordinate, and
    what lies left of or above the image into the class before it."""
    require_finite(boxes=boxes, scores=scores)
    keep = torch.zeros_like(labels, dtype=torch.bool)
    for label in labels.unique():
        ours = (labels == label).nonzero()[:, 0]
        keep[ours[nms(boxes[ours], scores[ours], iou_threshold)]] = True
    kept = keep.nonzero()[:, 0]
    return kept[scores[kept].argsort(descending=True, stable=True)]


def _known(value: float) -> float:
    """What COCO marks with −1, nothing to score, is nan here."""
    return float("nan") if value < 0 else value
