"""One label an image: streets with one object on them, named with its colour; cross-entropy, accuracy."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Int64
from torch import Tensor, nn
from torch.utils.data import Dataset

from lecture_utils import toycity, training
from lecture_utils.datasets import CLASSIFICATION_SCENES, CLASSIFICATION_SIZE, LabelledObjects
from lecture_utils.runtime import Runtime
from lecture_utils.tasks.photos import photo_transforms
from lecture_utils.tasks.task import Task


def classification_data(
    split: str,
    root: Path | str | None = None,
    *,
    size: int | None = None,
    kind: type[LabelledObjects] = LabelledObjects,
    flip: bool = True,
    scenes: int | None = None,
) -> LabelledObjects:
    """A split of the streets with one named object on them; they are painted, not read.

    Training images are flipped every other time, unless `flip` is False. `scenes` is for fewer than there are.
    """
    if root is not None:
        raise ValueError(f"root: got {root}, expected none: streets with one object are painted from seeds")
    if split not in CLASSIFICATION_SCENES:
        raise ValueError(f"split: got {split!r}, expected one of {', '.join(CLASSIFICATION_SCENES)}")
    train, size = split == "train", size or CLASSIFICATION_SIZE
    transforms = photo_transforms(train=train, flip=flip)
    scenes = scenes or CLASSIFICATION_SCENES[split]
    return kind(split, scenes, size=size, transforms=transforms, quiet=not train)


def classification_loss(dataset: Dataset) -> Callable[[nn.Module, tuple[Tensor, Tensor]], Tensor]:
    """Cross-entropy of the class; for `training.fit`."""
    return lambda model, batch: F.cross_entropy(model(batch[0]).float(), batch[1])


def score_classification(model: nn.Module, dataset: Dataset, run: Runtime) -> dict:
    """The share of objects named rightly, of which the kind is right, and the colour; and of each class by itself."""
    from torchmetrics.classification import MulticlassConfusionMatrix  # seconds, which only scoring needs

    predict = lambda model, batch: (model(batch[0]).argmax(1), batch[1])  # noqa: E731
    confusion = MulticlassConfusionMatrix(len(LabelledObjects.classes))
    return classification_scores(training.evaluate_batches(model, dataset, confusion, run=run, predict=predict).cpu())


def classification_scores(counts: Int64[Tensor, "classes classes"]) -> dict:
    """The scores of `score_classification` from a confusion matrix: rows are true classes, columns predicted ones."""
    kinds, colours = zip(*toycity.PHRASES, strict=True)
    scores = {"accuracy": _share(counts, LabelledObjects.classes)}
    scores |= {"kind_accuracy": _share(counts, kinds), "colour_accuracy": _share(counts, colours)}
    recall = counts.diag() / counts.sum(1)  # nan for a class that no image shows
    return {**scores, "recall": dict(zip(LabelledObjects.classes, recall.tolist(), strict=True))}


def _share(counts: Tensor, words: Sequence[str]) -> float:
    """The share of images whose true and predicted class have the same word."""
    same = torch.tensor([[a == b for b in words] for a in words])
    return (counts[same].sum() / counts.sum()).item()


CLASSIFICATION = Task(
    classification_data,
    classification_loss,
    score_classification,
    description=f"toy city: one labelled object at {CLASSIFICATION_SIZE} × {CLASSIFICATION_SIZE}, from "
    f"{CLASSIFICATION_SCENES['train']:,} training scenes",
)
