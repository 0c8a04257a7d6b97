"""How each model that comes with the course is built, trained on the city and scored: one entry for each checkpoint.

`python -m lecture_utils train NAME` and `evaluate NAME` run exactly this.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics.classification import MulticlassConfusionMatrix
from torchvision.transforms import v2

from lecture_utils import checkpoints, training
from lecture_utils.cityscapes import CLASSES, IGNORE_INDEX
from lecture_utils.datasets import CityscapesPairs, toy_city
from lecture_utils.runtime import Runtime
from lecture_utils.segmentation import FCN, DeconvNet, PixelClassifier, UNet, segmentation_scores
from lecture_utils.segmentation.fcn import start_from
from lecture_utils.segmentation.sliding_window import PatchClassifier, fully_convolutional

# The means and deviations of ImageNet's photographs, which pretrained networks expect too.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Recipe:
    """A city-sized model and the training that made its checkpoint."""

    build: Callable[[], nn.Module]
    steps: int
    lr: float = 1e-2
    batch_size: int = 8
    start: str | None = None  # the shipped model whose weights the training begins with


def patch_recipe(patch: int, *, depth: int) -> Recipe:
    """A classifier of patches, trained in one pass over each image; two images hold 18,432 patches."""
    size = {"patch": patch, "depth": depth, "base_channels": 8, "norm": "batch"}
    return Recipe(lambda: fully_convolutional(PatchClassifier(3, len(CLASSES), **size)), steps=4000, batch_size=2)


# Eight channels at full resolution: a step takes a tenth of a second on two cores, so a student can watch it learn.
RECIPES = {
    "unet": Recipe(lambda: UNet(3, len(CLASSES), base_channels=8, depth=4, norm="batch"), steps=6000),
    # FCN-32s on the U-Net's own encoder, all five blocks of it, so that the two differ in the way up alone.
    "fcn": Recipe(lambda: FCN(3, len(CLASSES), base_channels=8, depth=5, norm="batch"), steps=6000),
    # As in the paper, the finer nets continue the coarser ones, in smaller steps.
    "fcn16s": Recipe(
        lambda: FCN(3, len(CLASSES), base_channels=8, stride=16, norm="batch"), steps=3000, lr=3e-3, start="fcn"
    ),
    "fcn8s": Recipe(
        lambda: FCN(3, len(CLASSES), base_channels=8, stride=8, norm="batch"), steps=3000, lr=3e-3, start="fcn16s"
    ),
    # Published, all 7 × 7 places end in one vector; here each of the 3 × 3 keeps its own, and the net learns faster.
    "deconvnet": Recipe(lambda: DeconvNet(3, len(CLASSES), base_channels=8, bottleneck=1), steps=6000, lr=3e-3),
    "pixel": Recipe(lambda: PixelClassifier(3, len(CLASSES)), steps=1500),
    # The sliding window with 29, 13 and 5 pixels a side, between the single pixel and the U-Net.
    "patch": patch_recipe(29, depth=3),
    "patch13": patch_recipe(13, depth=2),
    "patch5": patch_recipe(5, depth=1),
}


def recipe(name: str) -> Recipe:
    """The recipe of a shipped model."""
    if name not in RECIPES:
        raise ValueError(f"name: got {name!r}, expected one of {', '.join(RECIPES)}")
    return RECIPES[name]


def load(name: str, checkpoint: Path | str | None = None) -> nn.Module:
    """A model with its trained weights, the shipped ones or those of a `checkpoint` that `train` wrote.

    Ready to predict: in evaluation mode, float32, on the CPU.
    """
    model = recipe(name).build()
    if checkpoint is None:
        return checkpoints.load_weights(model, name).eval()
    tensors, _ = checkpoints.read(checkpoint, mend="name a file that `train` wrote")
    weights = {key.removeprefix("model."): value for key, value in tensors.items() if key.startswith("model.")}
    checkpoints.load_state(model, weights, checkpoint)
    return model.eval()


def photo_transforms(*, train: bool = False) -> v2.Compose:
    """What turns a stored pair into numbers: floats around 0, and in training a flip every other time."""
    flip = [v2.RandomHorizontalFlip(0.5)] if train else []
    return v2.Compose([*flip, v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)])


def segmentation_data(split: str, root: Path | str | None = None, *, size: int | None = None) -> CityscapesPairs:
    """A split of Cityscapes pairs as a network takes them; `root` is the quick toy city by default."""
    transforms = photo_transforms(train=split == "train")
    return CityscapesPairs(toy_city() if root is None else root, split, transforms=transforms, size=size)


def class_weights(dataset: CityscapesPairs, *, power: float = 0.4) -> Tensor:
    """A weight for each class, larger for rarer ones: frequency to the power of -`power`, 1 for the average pixel.

    A softer form of the balancing of Eigen and Fergus (ICCV 2015, section 4.3.2). Classes that do not occur weigh 0.
    """
    counts = torch.zeros(256)
    for _, labels in dataset:
        counts += torch.bincount(labels.flatten(), minlength=256)
    share = counts[: len(CLASSES)] / counts[: len(CLASSES)].sum()
    weights = torch.where(share > 0, share.clamp(min=1e-4) ** -power, 0.0)
    return weights / (weights * share).sum()


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
    confusion = MulticlassConfusionMatrix(len(CLASSES), ignore_index=IGNORE_INDEX)
    predict = lambda model, batch: (model(batch[0]).argmax(1), batch[1].long())  # noqa: E731
    counts = training.evaluate_batches(model, dataset, confusion, run=run, predict=predict)
    return segmentation_scores(counts.cpu())


def train(name: str, run: Runtime, *, root: Path | str | None = None, size: int | None = None, **changes) -> tuple:
    """Train a model by its recipe; returns (model, history). `changes` goes to `training.fit` in place of its own."""
    chosen = recipe(name)
    model = chosen.build()
    if chosen.start:
        start_from(model, load(chosen.start))
    settings = {"steps": chosen.steps, "lr": chosen.lr, "batch_size": chosen.batch_size, **changes}
    data = segmentation_data("train", root, size=size).preload()
    loss = segmentation_loss(class_weights(data))
    return model, training.fit(model, data, loss=loss, run=run, **settings)


def evaluate(
    model: nn.Module, run: Runtime, *, root: Path | str | None = None, size: int | None = None, split: str = "test"
) -> tuple[int, dict]:
    """Score a model on the unseen scenes of the city (or of `root`); returns (number of scenes, scores)."""
    data = segmentation_data(split, root, size=size)
    return len(data), score_segmentation(model, data, run)
