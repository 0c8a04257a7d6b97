"""Semantic segmentation of the city: pairs of photograph and label map, cross-entropy, intersection over union."""

from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lecture_utils import training
from lecture_utils.cityscapes import CLASSES, IGNORE_INDEX
from lecture_utils.datasets import FULL_SIZE, QUICK_SCENES, QUICK_SIZE, CityscapesPairs, toy_city
from lecture_utils.datasets.layouts import PAIRS, pairs_root
from lecture_utils.runtime import Runtime
from lecture_utils.segmentation import segmentation_scores
from lecture_utils.tasks.photos import photo_transforms
from lecture_utils.tasks.task import Task


def segmentation_data(split: str, root: Path | str | None = None, *, size: int | None = None) -> CityscapesPairs:
    """A split of Cityscapes pairs as a network takes them; `root` is the quick toy city by default.

    The city of the full profile, at `FULL_SIZE`, is rendered at that size; for any other the quick one is resized.
    """
    transforms = photo_transforms(train=split == "train")
    if root is not None:
        root = pairs_root(root, split)
    elif size == FULL_SIZE:
        root = toy_city(FULL_SIZE)
    else:
        root = toy_city()
    return CityscapesPairs(root, split, transforms=transforms, size=size)


def class_weights(dataset: CityscapesPairs, *, power: float = 0.4) -> Tensor:
    """A weight for each class, larger for rarer ones: frequency to the power of -`power`, 1 for the average pixel.

    A softer form of the balancing of Eigen and Fergus (ICCV 2015, section 4.3.2). Classes that do not occur weigh 0.
    Raises `ValueError` when no pixel has a class.
    """
    counts = torch.zeros(256)
    for _, labels in dataset:
        counts += torch.bincount(labels.flatten(), minlength=256)
    counted = counts[: len(CLASSES)]
    if not counted.any():
        raise ValueError("dataset: got no pixel of any class, expected labels to learn from")
    share = counted / counted.sum()
    weights = torch.where(share > 0, share.clamp(min=1e-4) ** -power, 0.0)
    return weights / (weights * share).sum()


def balanced_loss(dataset: CityscapesPairs) -> Callable[[nn.Module, tuple[Tensor, Tensor]], Tensor]:
    """`segmentation_loss` with the `class_weights` of a data set."""
    return segmentation_loss(class_weights(dataset))


def segmentation_loss(weights: Tensor | None = None) -> Callable[[nn.Module, tuple[Tensor, Tensor]], Tensor]:
    """Cross-entropy of every pixel that is not ignored, weighted by its true class (slide 13); for `training.fit`."""

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        images, labels = batch
        scores = model(images)  # b classes h w
        balance = None if weights is None else weights.to(scores.device)
        return F.cross_entropy(scores.float(), labels.long(), weight=balance, ignore_index=IGNORE_INDEX)

    return loss


def score_segmentation(model: nn.Module, dataset: CityscapesPairs, run: Runtime) -> dict:
    """Accuracy, mean IoU and the IoU of each class, over all pixels of a data set."""
    from torchmetrics.classification import MulticlassConfusionMatrix  # seconds, which only scoring needs

    confusion = MulticlassConfusionMatrix(len(CLASSES), ignore_index=IGNORE_INDEX)
    predict = lambda model, batch: (model(batch[0]).argmax(1), batch[1].long())  # noqa: E731
    counts = training.evaluate_batches(model, dataset, confusion, run=run, predict=predict)
    return segmentation_scores(counts.cpu())


SEGMENTATION = Task(
    segmentation_data,
    balanced_loss,
    score_segmentation,
    description=f"toy city, quick: {QUICK_SCENES['train']:,} training scenes at {QUICK_SIZE} × {QUICK_SIZE}, read from "
    "their JPEG pairs",
    layout=PAIRS,
)
