"""The scores of semantic segmentation, from one confusion matrix (Long, Shelhamer and Darrell 2015, section 5)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from lecture_utils.cityscapes import CLASSES, THIN_CLASSES


def segmentation_scores(
    confusion: ArrayLike, *, names: Sequence[str] = CLASSES, thin: Sequence[str] = THIN_CLASSES
) -> dict:
    """Pixel accuracy, intersection over union of each class, and its mean over all and over the thin classes.

    `confusion` is (K, K): row = class in the target, column = class predicted, entry = pixels (ignored ones left out),
    as torchmetrics' `MulticlassConfusionMatrix(K, ignore_index=255)` counts them. Returns `{"accuracy", "miou",
    "miou_thin", "iou": {name: value}}`, in 0 to 1. A class that the target does not contain has IoU nan and no part in
    a mean; pixels wrongly given to it count against the classes they were taken from. A mean over no class is nan.
    """
    confusion = np.asarray(confusion.cpu() if isinstance(confusion, Tensor) else confusion, dtype=np.float64)
    if confusion.shape != (len(names), len(names)):
        raise ValueError(f"confusion: got shape {confusion.shape}, expected {(len(names), len(names))}, one row a name")
    if not (confusion >= 0).all():
        raise ValueError("confusion: got a negative count or nan, expected numbers of pixels")
    if strangers := set(thin) - set(names):
        raise ValueError(f"thin: got {sorted(strangers)}, expected names among {list(names)}")

    hits = confusion.diagonal()
    target, predicted = confusion.sum(1), confusion.sum(0)
    present = target > 0
    union = target + predicted - hits
    iou = np.divide(hits, union, out=np.full(len(names), np.nan), where=present)
    is_thin = np.isin(names, thin)
    return {
        "accuracy": float(hits.sum() / target.sum()) if present.any() else float("nan"),
        "miou": _mean(iou[present]),
        "miou_thin": _mean(iou[present & is_thin]),
        "iou": {name: float(value) for name, value in zip(names, iou, strict=True)},
    }


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else float("nan")
