"""DETR in the city: features of the detectors' own backbone, objects as a set, COCO's average precision."""

from collections.abc import Callable
from pathlib import Path

from torch import Tensor, nn
from torch.utils.data import Dataset, Subset

from lecture_utils import training
from lecture_utils.datasets.layouts import INSTANCES
from lecture_utils.detection.boxes import normalize_boxes
from lecture_utils.encoders import space_to_depth_encoder
from lecture_utils.runtime import Runtime
from lecture_utils.tasks.detection import COCO, WIDTH, collate, detection_data, shipped_backbone
from lecture_utils.tasks.features import FeatureDataset
from lecture_utils.tasks.photos import photo_transforms
from lecture_utils.tasks.targets import require_targets
from lecture_utils.tasks.task import Task
from lecture_utils.transformers.detr import postprocess
from lecture_utils.transformers.set_criterion import hungarian_loss


def gridded_data(
    split: str, root: Path | str | None = None, *, size: int | None = None, device: str = "cpu"
) -> FeatureDataset:
    """A split as DETR takes it: features of the shipped Faster R-CNN's backbone, which learned on the training scenes.

    They are made on `device`.
    """
    dataset = detection_data(split, root, size=size)
    dataset.transforms = photo_transforms()  # without chance: images are encoded once, and both ways round
    return FeatureDataset(dataset, space_to_depth_encoder(shipped_backbone()).to(device), mirror=split == "train")


def normalize_targets(targets: list[dict], size: tuple[int, int]) -> list[dict]:
    """Targets as `set_criterion` takes them: boxes as normalized (x, y, w, h); `size` is (height, width)."""
    return [{"labels": target["labels"], "boxes": normalize_boxes(target["boxes"], *size)} for target in targets]


def set_prediction_loss(dataset: Dataset) -> Callable:
    """The Hungarian loss of all decoder layers; for `training.fit`.

    `dataset` gives maps of features, or images of one size to a DETR that has its backbone inside.
    """
    require_targets(dataset, "an object")
    whole = dataset.dataset if isinstance(dataset, Subset) else dataset
    size = whole.size if isinstance(whole, FeatureDataset) else tuple(whole[0][0].shape[-2:])

    def loss(model: nn.Module, batch: tuple[Tensor, list[dict]]) -> Tensor:
        z, targets = batch
        found = model(z)
        return hungarian_loss(found.logits, found.boxes, normalize_targets(targets, size))

    return loss


def score_sets(model: nn.Module, dataset: FeatureDataset, run: Runtime) -> dict:
    """COCO's mean average precision of what the last layer says, nothing suppressed; by size and by class."""
    from lecture_utils.detection.scores import CocoScores  # with torchmetrics: seconds, which only scoring needs

    size = dataset.size
    predict = lambda model, batch: (postprocess(model(batch[0]), size), batch[1])  # noqa: E731
    metric = CocoScores(dataset.categories, scale=WIDTH / size[1])
    return training.evaluate_batches(model, dataset, metric, run=run, predict=predict, collate=collate)


SETS = Task(
    gridded_data,
    set_prediction_loss,
    score_sets,
    description=f"toy city: {COCO}, as features of faster_rcnn's backbone, and their mirror images",
    collate=collate,
    layout=INSTANCES,
)
