"""Object detection in the city: scenes with boxes, the detectors' own losses, COCO's average precision."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from zlib import crc32

import torch
from filelock import FileLock
from torch import Tensor, nn
from torch.utils.data import Dataset
from torchvision import tv_tensors
from tqdm import tqdm

from lecture_utils import checkpoints, runtime, training
from lecture_utils.datasets import CocoInstances, city_instances
from lecture_utils.detection.scores import CocoScores, Recall
from lecture_utils.detection.selective_search import selective_search
from lecture_utils.detection.trunk import Trunk
from lecture_utils.runtime import Runtime
from lecture_utils.tasks.photos import photo_transforms
from lecture_utils.tasks.targets import require_targets
from lecture_utils.toycity.export import CATEGORIES

WIDTH = 512  # the sizes "small" to "large" are told as if scenes were about as wide as COCO's photographs
SEARCH_ENLARGE = 2  # Selective Search takes no region below about a hundred pixels
NUMBERS = (10, 50, 100, 300)


def detection_data(split: str, root: Path | str | None = None, *, size: int | None = None) -> CocoInstances:
    """A split as a detector takes it: of the toy city at 128 × 128, or of `root`, a folder in COCO's layout.

    `root` may also be a folder that holds the layout in `coco/`, as those do that `data` writes.
    """
    transforms = photo_transforms(train=split == "train", size=size)
    if root is None:
        return city_instances(split, transforms=transforms)
    coco = Path(root) / "coco" if (Path(root) / "coco").is_dir() else Path(root)
    annotations = coco / f"annotations/instances_{split}2017.json"
    data = CocoInstances(coco / f"{split}2017", annotations, masks=False, transforms=transforms)
    if not set(data.categories[1:]) <= set(CATEGORIES):
        raise ValueError(f"root: got the categories {data.categories[1:]}, expected the detectors' {CATEGORIES}")
    return data.relabel(("background", *CATEGORIES))


def shipped_trunk() -> Trunk:
    """The trunk of the shipped Faster R-CNN, which learned on the training scenes."""
    return checkpoints.load_part(Trunk(base_channels=24, out_channels=64), "faster_rcnn", "trunk.")


def proposal_data(split: str, root: Path | str | None = None, *, size: int | None = None) -> "WithProposals":
    """The same, and in each target the `proposals` of Selective Search, which are computed once and kept on disk."""
    plain = detection_data(split, root)
    transforms, plain.transforms = photo_transforms(train=split == "train", size=size), None
    return WithProposals(plain, searched(plain), transforms)


class WithProposals(Dataset):
    """Images with targets that hold `proposals` (n, 4) beside `boxes` and `labels`."""

    def __init__(self, dataset: CocoInstances, proposals: Sequence[Tensor], transforms=None):
        self.dataset, self.proposals, self.transforms = dataset, proposals, transforms
        self.categories = dataset.categories

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Tensor, dict]:
        image, target = self.dataset[index]
        size = tuple(image.shape[-2:])
        target["proposals"] = tv_tensors.BoundingBoxes(self.proposals[index], format="XYXY", canvas_size=size)
        return (image, target) if self.transforms is None else self.transforms(image, target)

    def preload(self) -> "WithProposals":
        self.dataset.preload()
        return self


def searched(dataset: CocoInstances) -> list[Tensor]:
    """Selective Search's proposals (n, 4) for every image of a data set without transforms.

    They are kept in `proposals_….safetensors` beside the annotations, or in the course's own data folder where nothing
    can be written there, and searched anew when the annotations are others.
    """
    beside = dataset.annotations.with_name(dataset.annotations.stem.replace("instances", "proposals") + ".safetensors")
    content = crc32(dataset.annotations.read_bytes())
    wanted = {"annotations": content, "images": dataset.ids, "enlarge": SEARCH_ENLARGE}
    elsewhere = runtime.data_root() / f"{beside.stem}-{content:08x}.safetensors"
    file = beside if beside.exists() or os.access(beside.parent, os.W_OK) else elsewhere
    if (found := _kept(file, wanted)) is not None:
        return found
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(file.with_suffix(".lock")):
        if (found := _kept(file, wanted)) is None:  # nor has another process made it meanwhile
            found = _search_all(dataset)
            counts = torch.tensor([len(boxes) for boxes in found])
            checkpoints.save(file, {"boxes": torch.cat(found), "counts": counts}, wanted)
    return found


def _kept(file: Path, wanted: dict) -> list[Tensor] | None:
    """The proposals of each image in a file, if it is there and of the wanted images."""
    if not file.exists():
        return None
    tensors, made_for = checkpoints.read(file, mend="delete it to search anew")
    return list(tensors["boxes"].split(tensors["counts"].tolist())) if made_for == wanted else None


def _search_all(dataset: CocoInstances) -> list[Tensor]:
    def search(index: int) -> Tensor:
        image, _ = dataset[index]
        boxes = selective_search(image.permute(1, 2, 0).numpy(), enlarge=SEARCH_ENLARGE)
        return torch.unique(boxes, dim=0)  # sorted: OpenCV's order is random, and a training must be repeatable

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # OpenCV works without Python's lock
        return list(tqdm(pool.map(search, range(len(dataset))), total=len(dataset), desc="Selective Search"))


def collate(items: list[tuple[Tensor, dict]]) -> tuple[Tensor, list[dict]]:
    """A batch of images of one size, and a list of their targets as plain tensors."""
    keys = ("boxes", "labels", "proposals", "extent", "crowds", "crowd_labels")
    if len(sizes := {tuple(image.shape[1:]) for image, _ in items}) > 1:
        raise ValueError(f"images: got the sizes {sorted(sizes)} in one batch, expected one; resize them with size")
    images = torch.stack([image.as_subclass(Tensor) for image, _ in items])
    return images, [{key: target[key].as_subclass(Tensor) for key in keys if key in target} for _, target in items]


def detection_loss(dataset: Dataset):
    """The sum of a detector's losses (slide 20); for `training.fit`."""
    require_targets(dataset, "an object")

    def loss(model: nn.Module, batch: tuple[Tensor, list[dict]]) -> Tensor:
        images, targets = batch
        return sum(model(*inputs(images, targets), targets).values())

    return loss


def inputs(images: Tensor, targets: list[dict]) -> tuple:
    """What a detector is given beside the targets: the images, and the proposals where it makes none itself."""
    given = [target["proposals"] for target in targets if "proposals" in target]
    return (images, given) if given else (images,)


def score_detection(model: nn.Module, dataset: CocoInstances | WithProposals, run: Runtime) -> dict:
    """COCO's mean average precision, by size and by class."""
    predict = lambda model, batch: (model(*inputs(*batch)), batch[1])  # noqa: E731
    metric = CocoScores(dataset.categories, enlarge=WIDTH / dataset[0][0].shape[-1])
    return training.evaluate_batches(model, dataset, metric, run=run, predict=predict, collate=collate)


def score_proposals(model: nn.Module, dataset: CocoInstances, run: Runtime) -> dict:
    """Recall of the best 10, 50, 100 and 300 proposals at IoU 0.5."""
    predict = lambda model, batch: (model(batch[0]), batch[1])  # noqa: E731
    shares = training.evaluate_batches(model, dataset, Recall(NUMBERS), run=run, predict=predict, collate=collate)
    return {f"recall_{number}": share for number, share in shares.items()}
