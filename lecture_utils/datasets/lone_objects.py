"""Streets of the toy city on which one thing stands: what a network that gives one class and one box can learn from."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch.utils.data import Dataset
from torchvision import tv_tensors
from tqdm import tqdm

from lecture_utils import toycity
from lecture_utils.datasets.reading import to_tensor
from lecture_utils.toycity.export import CATEGORIES
from lecture_utils.toycity.scene import Scene


class LoneObjects(Dataset):
    """The first `scenes` streets of a split, each cleared of all its things but one; painted here, kept in memory.

    Items are those of `CocoInstances` without masks: `tv_tensors.Image` (3, size, size) uint8 and a dict of `boxes`
    (1, 4), `labels` (1,) and `image_id`, the seed. Which thing stays follows from the seed; a street that shows none
    is left out. `categories` begins with "background" at 0.
    """

    categories = ("background", *CATEGORIES)

    def __init__(
        self, split: str, scenes: int, *, size: int = 128, transforms: Callable | None = None, quiet: bool = True
    ):
        self.transforms, self.items = transforms, []
        for seed in tqdm(toycity.seeds(split, scenes), desc="lone objects", unit=" scenes", disable=quiet):
            scene = toycity.sample_scene(seed)
            if not scene.things:
                continue
            item = item_of(keep(scene, [seed % len(scene.things)]), size)
            if len(item[1]["boxes"]):
                self.items.append(item)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[tv_tensors.Image, dict]:
        image, target = self.items[index]
        image, target = image.clone(), {**target, "boxes": target["boxes"].clone(), "labels": target["labels"].clone()}
        return (image, target) if self.transforms is None else self.transforms(image, target)

    def preload(self) -> "LoneObjects":
        """Nothing to do, they are in memory; for what expects it of a data set."""
        return self


def keep(scene: Scene, places: list[int]) -> Scene:
    """The same street with some of its things only; `places` count in `scene.things`, from far to near."""
    return replace(scene, things=tuple(scene.things[place] for place in sorted(places)))


def item_of(scene: Scene, size: int = 128) -> tuple[tv_tensors.Image, dict]:
    """A scene, painted, as a data set gives it: image and target."""
    picture = toycity.render(scene, size)
    boxes = torch.tensor([thing.box for thing in picture.objects]).reshape(-1, 4)
    labels = [CATEGORIES.index(thing.category) + 1 for thing in picture.objects]
    return tv_tensors.Image(to_tensor(picture.image)), {
        "boxes": tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=(size, size)),
        "labels": torch.tensor(labels, dtype=torch.int64),
        "image_id": scene.seed,
    }
