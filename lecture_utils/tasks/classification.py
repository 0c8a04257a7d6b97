"""One label an image: streets with one thing on them, named with its colour; cross-entropy, accuracy."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Int64
from torch import Tensor, nn
from torch.utils.data import Dataset
from torchmetrics.classification import MulticlassConfusionMatrix

from lecture_utils import toycity, training
from lecture_utils.datasets import LabelledObjects
from lecture_utils.runtime import Runtime
from lecture_utils.tasks.photos import photo_transforms
from lecture_utils.transformers.resnet import ResNet

CLASSIFICATION_SCENES = {"train": 8000, "val": 1000, "test": 1000}
CLASSIFICATION_SIZE = 48  # pixels a side


def classification_data(
    split: str,
    root: Path | str | None = None,
    *,
    size: int | None = None,
    kind: type[LabelledObjects] = LabelledObjects,
) -> LabelledObjects:
    """A split of the streets with one named thing on them; they are painted, not read."""
    if root is not None:
        raise ValueError(f"root: got {root}, expected none: streets with one thing are painted from seeds")
    if split not in CLASSIFICATION_SCENES:
        raise ValueError(f"split: got {split!r}, expected one of {', '.join(CLASSIFICATION_SCENES)}")
    transforms, train = photo_transforms(train=split == "train"), split == "train"
    return kind(
        split, CLASSIFICATION_SCENES[split], size=size or CLASSIFICATION_SIZE, transforms=transforms, quiet=not train
    )


def city_resnet() -> ResNet:
    """The classifier of these streets, still untrained; "resnet" are its shipped weights."""
    return ResNet(classes=len(LabelledObjects.classes), widths=(12, 24, 48), depth=2)


def classification_loss(dataset: Dataset) -> Callable[[nn.Module, tuple[Tensor, Tensor]], Tensor]:
    """Cross-entropy of the class; for `training.fit`."""
    return lambda model, batch: F.cross_entropy(model(batch[0]).float(), batch[1])


def score_names(model: nn.Module, dataset: Dataset, run: Runtime) -> dict:
    """The share of things named rightly, of which the kind is right, and the colour; and of each class by itself."""
    predict = lambda model, batch: (model(batch[0]).argmax(1), batch[1])  # noqa: E731
    confusion = MulticlassConfusionMatrix(len(LabelledObjects.classes))
    return name_scores(training.evaluate_batches(model, dataset, confusion, run=run, predict=predict).cpu())


def name_scores(counts: Int64[Tensor, "classes classes"]) -> dict:
    """The scores of `score_names` from a confusion matrix: rows are true classes, columns predicted ones."""
    kinds, colours = zip(*toycity.PHRASES, strict=True)
    scores = {"accuracy": _share(counts, LabelledObjects.classes)}
    scores |= {"kind_accuracy": _share(counts, kinds), "colour_accuracy": _share(counts, colours)}
    recall = counts.diag() / counts.sum(1)  # nan for a class that no image shows
    return {**scores, "recall": dict(zip(LabelledObjects.classes, recall.tolist(), strict=True))}


def _share(counts: Tensor, words: Sequence[str]) -> float:
    """The share of images whose true and predicted class have the same word."""
    same = torch.tensor([[a == b for b in words] for a in words])
    return (counts[same].sum() / counts.sum()).item()
