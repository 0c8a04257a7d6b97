"""DETR in the city: features of the detectors' own backbone, objects as a set, COCO's average precision."""

from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.data import Dataset
from torchvision.transforms.v2 import functional as transforms
from tqdm import tqdm

from lecture_utils import training
from lecture_utils.datasets import CocoInstances
from lecture_utils.datasets.memory import Kept
from lecture_utils.detection.backbone import Backbone
from lecture_utils.detection.scores import CocoScores
from lecture_utils.detection.single_object import normalize_boxes
from lecture_utils.runtime import Runtime
from lecture_utils.tasks.detection import WIDTH, collate, detection_data, encode, shipped_backbone
from lecture_utils.tasks.photos import photo_transforms
from lecture_utils.tasks.targets import require_targets
from lecture_utils.transformers.detr import detections
from lecture_utils.transformers.set_loss import set_loss


class SpaceToDepthBackbone(nn.Module):
    """A trained detector's backbone, frozen: each 2 × 2 points of its map become one, with four times as many features.

    Nothing is lost, and a transformer has a quarter of the points to look at, a point at every eighth pixel. Images
    must have multiples of 8 pixels.
    """

    def __init__(self, backbone: Backbone):
        super().__init__()
        self.backbone = backbone.requires_grad_(False)
        self.features = 4 * backbone.out_channels
        self.eval()

    def train(self, mode: bool = True) -> "SpaceToDepthBackbone":
        return super().train(False)  # its normalisation keeps the statistics of its own training

    @torch.no_grad()
    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b features h8 w8"]:
        if images.shape[2] % 8 or images.shape[3] % 8:
            raise ValueError(f"images: got {images.shape[2]} × {images.shape[3]} pixels, expected multiples of 8")
        return F.pixel_unshuffle(self.backbone(images), 2)


class FeatureDataset(Dataset):
    """Maps of features in place of images, with targets in pixels: `boxes` and `labels`.

    `encoder` turns each picture into its map once, when it is first asked for, and with `mirror` its mirror image too;
    chance then draws one of the two. They are kept on the CPU in half precision: 0.13 MB for each of the city's, so
    1 GB for 4,000 scenes and their mirror images. What does not fit into memory (see `Kept`) is encoded each time.
    `size` is that of the pictures, (height, width).
    """

    def __init__(self, pictures: CocoInstances, encoder: nn.Module, *, mirror: bool = False):
        self.pictures, self.encoder, self.mirror = pictures, encoder, mirror
        self.categories, self.size = pictures.categories, tuple(pictures[0][0].shape[-2:])
        self._kept = Kept()  # [(map, target), …] by index: as it is, and mirrored

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> tuple[Tensor, dict]:
        both = self._kept.get(index)
        if both is None:
            both = self._kept.keep(index, self._encode(*self.pictures[index]))
        z, target = both[int(torch.randint(2, ())) if self.mirror else 0]
        return z.float(), target

    def preload(self) -> "FeatureDataset":
        """Encode every picture now, as many as fit into memory; return the data set itself."""
        for index in tqdm(range(len(self)), desc="encoding", unit="picture", disable=len(self) < 1000):
            if self._kept.full:
                break
            self[index]
        return self

    @torch.no_grad()
    def _encode(self, image: Tensor, target: dict) -> list[tuple[Tensor, dict]]:
        seen = [(image, target)]
        if self.mirror:
            turned = target | {
                key: transforms.horizontal_flip(target[key]) for key in ("boxes", "crowds") if key in target
            }
            seen.append((transforms.horizontal_flip(image), turned))
        maps = encode(self.encoder, torch.stack([picture.as_subclass(Tensor) for picture, _ in seen])).half()
        return [(z, its) for z, (_, its) in zip(maps, seen, strict=True)]


def gridded_data(
    split: str, root: Path | str | None = None, *, size: int | None = None, device: str = "cpu"
) -> FeatureDataset:
    """A split as DETR takes it: features of the shipped Faster R-CNN's backbone, which learned on the training scenes.

    They are made on `device`.
    """
    pictures = detection_data(split, root, size=size)
    pictures.transforms = photo_transforms()  # without chance: pictures are encoded once, and both ways round
    return FeatureDataset(pictures, SpaceToDepthBackbone(shipped_backbone()).to(device), mirror=split == "train")


def normalize_targets(targets: list[dict], size: tuple[int, int]) -> list[dict]:
    """Targets as a set loss takes them: boxes as (x, y, w, h) in shares of a picture of `size` (height, width)."""
    return [{"labels": target["labels"], "boxes": normalize_boxes(target["boxes"], *size)} for target in targets]


def set_prediction_loss(dataset: FeatureDataset) -> Callable:
    """The set loss of all decoder layers; for `training.fit`."""
    require_targets(dataset, "an object")
    size = getattr(dataset, "dataset", dataset).size  # also where it is a `Subset`

    def loss(model: nn.Module, batch: tuple[Tensor, list[dict]]) -> Tensor:
        z, targets = batch
        found = model(z)
        return set_loss(found.logits, found.boxes, normalize_targets(targets, size))

    return loss


def score_sets(model: nn.Module, dataset: FeatureDataset, run: Runtime) -> dict:
    """COCO's mean average precision of what the last layer says, nothing suppressed; by size and by class."""
    predict = lambda model, batch: (detections(model(batch[0]), dataset.size), batch[1])  # noqa: E731
    metric = CocoScores(dataset.categories, scale=WIDTH / dataset.size[1])
    return training.evaluate_batches(model, dataset, metric, run=run, predict=predict, collate=collate)
