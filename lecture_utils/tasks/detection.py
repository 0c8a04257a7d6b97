"""Object detection in the city: scenes with boxes, the detectors' own losses, COCO's average precision."""

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from zlib import crc32

import torch
from filelock import FileLock
from torch import Tensor, nn
from torch.utils.data import Dataset
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as transforms_of
from tqdm import tqdm

from lecture_utils import checkpoints, city_models, runtime, training
from lecture_utils.datasets import DETECTION_SCENES, DETECTION_SIZE, CocoInstances, city_instances
from lecture_utils.datasets.fingerprint import fingerprint
from lecture_utils.datasets.layouts import INSTANCES, coco_files
from lecture_utils.detection.backbone import Backbone
from lecture_utils.detection.selective_search import selective_search
from lecture_utils.runtime import Runtime
from lecture_utils.tasks.photos import photo_transforms
from lecture_utils.tasks.targets import require_targets
from lecture_utils.tasks.task import Task
from lecture_utils.toycity.export import CATEGORIES

WIDTH = 512  # the sizes "small" to "large" are told as if scenes were about as wide as COCO's photographs
SEARCH_SCALE = 2  # Selective Search takes no region below about a hundred pixels, …
SEARCHED_SIDE = SEARCH_SCALE * DETECTION_SIZE  # … and minutes for a photograph of a phone: so large it searches all
PART = 32  # images whose proposals are kept together while others are still searched
NUMBERS = (10, 50, 100, 300)


def detection_data(split: str, root: Path | str | None = None, *, size: int | None = None) -> CocoInstances:
    """A split as a detector takes it: of the toy city at 128 × 128, or of `root`, a folder in COCO's layout.

    The city of the full profile, at `FULL_SIZE`, is rendered at that size; for any other the small one is resized.
    `root` may also be a folder that holds the layout in `coco/`, as those do that `data` writes.
    """
    how = {"transforms": photo_transforms(train=split == "train"), "size": size}
    if root is None:
        return city_instances(split, **how)
    data = CocoInstances(*coco_files(root, split, INSTANCES), masks=False, **how)
    if not set(data.categories[1:]) <= set(CATEGORIES):
        raise ValueError(f"root: got the categories {data.categories[1:]}, expected the detectors' {CATEGORIES}")
    return data.relabel(("background", *CATEGORIES))


def shipped_backbone() -> Backbone:
    """The backbone of the shipped Faster R-CNN, which learned on the training scenes."""
    return checkpoints.load_part(city_models.backbone(), "faster_rcnn", "backbone.")


def proposal_data(split: str, root: Path | str | None = None, *, size: int | None = None) -> "ProposalDataset":
    """The same, and in each target the `proposals` of Selective Search.

    They are searched when the first is asked for, or by `preload`, and kept on disk.
    """
    plain = detection_data(split, root, size=size)
    transforms, plain.transforms = plain.transforms, None
    return ProposalDataset(plain, transforms)


class ProposalDataset(Dataset):
    """Images with targets that hold `proposals` (n, 4) beside `boxes` and `labels`."""

    def __init__(self, dataset: CocoInstances, transforms=None):
        self.dataset, self.transforms = dataset, transforms
        self.categories = dataset.categories

    @cached_property
    def proposals(self) -> list[Tensor]:
        return selective_search_proposals(self.dataset)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Tensor, dict]:
        image, target = self.dataset[index]
        size = tuple(image.shape[-2:])
        target["proposals"] = tv_tensors.BoundingBoxes(self.proposals[index], format="XYXY", canvas_size=size)
        return (image, target) if self.transforms is None else self.transforms(image, target)

    def preload(self) -> "ProposalDataset":
        self.dataset.preload()
        self.proposals  # noqa: B018 – searched now
        return self


def selective_search_proposals(dataset: CocoInstances) -> list[Tensor]:
    """Selective Search's proposals (n, 4) for every image of a data set without transforms, at the size it is read.

    They are kept in `proposals_….safetensors` beside the annotations, or in the course's own data folder where nothing
    can be written there, and searched anew when the images are others. A search that was stopped goes on where it was.
    """
    stem = dataset.annotations.stem.replace("instances", "proposals") + (f"_{dataset.size}" if dataset.size else "")
    beside = dataset.annotations.with_name(f"{stem}.safetensors")
    wanted = {"images": dataset.ids, **_of_what(dataset)}
    elsewhere = runtime.data_root() / f"{stem}-{_key(wanted)}.safetensors"
    file = beside if beside.exists() or os.access(beside.parent, os.W_OK) else elsewhere
    if (found := _kept(file, wanted)) is not None:
        return found
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(file.with_suffix(".lock")):
        if (found := _kept(file, wanted)) is None:  # nor has another process made it meanwhile
            parts = file.with_suffix(".parts")
            found = _search_all(dataset, parts, _key(wanted))
            _keep(file, found, wanted)
            shutil.rmtree(parts, ignore_errors=True)
    return found


def _of_what(dataset: CocoInstances) -> dict:
    """What makes proposals those of a data set and a size. The toy city's have been known by its annotations."""
    if dataset.size is None and set(dataset.sizes.values()) == {(DETECTION_SIZE, DETECTION_SIZE)}:
        return {"annotations": crc32(dataset.annotations.read_bytes()), "enlarge": SEARCH_SCALE}
    return {"photographs": _key(fingerprint(dataset, labels=False)), "size": dataset.size, "side": SEARCHED_SIDE}


def _key(content: object) -> str:
    return f"{crc32(json.dumps(content).encode()):08x}"


def _keep(file: Path, boxes: list[Tensor], made_for: dict) -> None:
    counts = torch.tensor([len(some) for some in boxes])
    checkpoints.save(file, {"boxes": torch.cat(boxes), "counts": counts}, made_for)


def _kept(file: Path, wanted: dict) -> list[Tensor] | None:
    """The proposals of each image in a file, if it is there and of the wanted images."""
    if not file.exists():
        return None
    tensors, made_for = checkpoints.read(file, mend="delete it to search anew")
    return list(tensors["boxes"].split(tensors["counts"].tolist())) if made_for == wanted else None


def _search_all(dataset: CocoInstances, parts: Path, key: str) -> list[Tensor]:
    """Search image after image, and keep every `PART` of them in a file below `parts`."""
    starts = range(0, len(dataset), PART)
    found = {start: _kept(parts / f"{start:07}.safetensors", {"of": key, "start": start}) for start in starts}
    found = {start: boxes for start, boxes in found.items() if boxes is not None}
    done = sum(map(len, found.values()))
    bar = tqdm(total=len(dataset), initial=done, desc="Selective Search", unit="image")
    with bar, ThreadPoolExecutor(os.cpu_count()) as pool:  # OpenCV works without Python's lock
        for start in [start for start in starts if start not in found]:
            images = range(start, min(start + PART, len(dataset)))
            found[start] = []
            for boxes in pool.map(lambda index: search(dataset[index][0]), images):
                found[start].append(boxes)
                bar.update()
            _keep(parts / f"{start:07}.safetensors", found[start], {"of": key, "start": start})
    return [boxes for start in starts for boxes in found[start]]


def search(image: Tensor) -> Tensor:
    """Selective Search's proposals (n, 4) in an image (3, h, w) of bytes, sorted.

    It looks at about `SEARCHED_SIDE` pixels, as it does in the toy city: smaller images are enlarged, larger ones
    reduced, because the time it takes grows faster than the pixels.
    """
    height, width = image.shape[1:]
    scale = SEARCHED_SIDE / max(height, width)
    if scale < 1:
        reduced = [max(8, round(side * scale)) for side in (height, width)]
        image = transforms_of.resize(image, reduced, antialias=True)
    boxes = selective_search(image.permute(1, 2, 0).numpy(), scale=max(1, round(scale)))
    if scale < 1:
        boxes = boxes * torch.tensor([width / image.shape[2], height / image.shape[1]] * 2)
    return torch.unique(boxes, dim=0)  # sorted: OpenCV's order is random, and a training must be repeatable


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


def example(size: int) -> tuple:
    """A detector's inputs in a training step, for `Task.example`: an image of noise, a target with one object.

    What is not there has no shape to count: so this image lies on the CPU, and regions are really sampled in it.
    """
    target = {"boxes": torch.tensor([[size / 4, size / 4, size / 2, size / 2]]), "labels": torch.tensor([1])}
    return torch.randn(1, 3, size, size), [target]


def example_with_proposals(size: int) -> tuple:
    """The same for what is given its proposals: a grid of boxes, more than any head samples."""
    images, targets = example(size)
    corners = torch.cartesian_prod(*[torch.arange(20) * size / 40] * 2)
    return images, [torch.cat([corners, corners + size / 4], dim=1)], targets


def score_detection(model: nn.Module, dataset: CocoInstances | ProposalDataset, run: Runtime) -> dict:
    """COCO's mean average precision, by size and by class."""
    from lecture_utils.detection.scores import CocoScores  # with torchmetrics: seconds, which only scoring needs

    predict = lambda model, batch: (model(*inputs(*batch)), batch[1])  # noqa: E731
    metric = CocoScores(dataset.categories, scale=WIDTH / dataset[0][0].shape[-1])
    return training.evaluate_batches(model, dataset, metric, run=run, predict=predict, collate=collate)


def score_proposals(model: nn.Module, dataset: CocoInstances, run: Runtime) -> dict:
    """Recall of the best 10, 50, 100 and 300 proposals at IoU 0.5."""
    from lecture_utils.detection.scores import ProposalRecall  # with torchmetrics: seconds, which only scoring needs

    predict = lambda model, batch: (model(batch[0]), batch[1])  # noqa: E731
    shares = training.evaluate_batches(
        model, dataset, ProposalRecall(NUMBERS), run=run, predict=predict, collate=collate
    )
    return {f"recall_{number}": share for number, share in shares.items()}


COCO = f"{DETECTION_SCENES['train']:,} training scenes at {DETECTION_SIZE} × {DETECTION_SIZE}, read in COCO's layout"
DETECTION = Task(
    detection_data,
    detection_loss,
    score_detection,
    description=f"toy city: {COCO}",
    collate=collate,
    example=example,
    layout=INSTANCES,
)
SELECTIVE_SEARCH = replace(DETECTION, data=proposal_data, example=example_with_proposals)
PROPOSALS = replace(DETECTION, score=score_proposals)
