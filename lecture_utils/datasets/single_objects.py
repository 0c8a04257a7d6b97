"""Streets of the toy city with one object: what a network that gives one class and one box can learn from."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from random import Random

import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import tv_tensors
from torchvision.transforms.functional import resize
from tqdm import tqdm

from lecture_utils import toycity
from lecture_utils.datasets.reading import to_tensor
from lecture_utils.datasets.source import CROP_SIZE
from lecture_utils.toycity.describe import phrase
from lecture_utils.toycity.export import CATEGORIES
from lecture_utils.toycity.scene import Scene

STREET = 128  # pixels a side of a whole street
# An object crop shows so much of its street's side at least, and so many times the object's longer side.
SMALLEST, ROOM = 24 / STREET, 1.3


class SingleObjects(Dataset):
    """The first `scenes` streets of a split, each cleared of all its objects but one; painted here, kept in memory.

    Items are those of `CocoInstances` without masks: `tv_tensors.Image` (3, size, size) uint8 and a dict of `boxes`
    (1, 4), `labels` (1,) and `image_id`, the seed. Which object stays follows from the seed; a street that shows none
    is left out. `categories` begins with "background" at 0.
    """

    categories = ("background", *CATEGORIES)

    def __init__(
        self, split: str, scenes: int, *, size: int = 128, transforms: Callable | None = None, quiet: bool = True
    ):
        self.transforms = transforms
        self.items = [item_of(scene, size) for scene in single_object_scenes(split, scenes, quiet=quiet)]
        self.items = [item for item in self.items if len(item[1]["boxes"])]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[tv_tensors.Image, dict]:
        image, target = self.items[index]
        image, target = image.clone(), {**target, "boxes": target["boxes"].clone(), "labels": target["labels"].clone()}
        return (image, target) if self.transforms is None else self.transforms(image, target)


class LabelledObjects(Dataset):
    """The same objects, seen closer and named: `tv_tensors.Image` (3, size, size) uint8 and the number of a class.

    A street is painted at 128 × 128 and cut to a window of `size` pixels in which its object stands, anywhere; where
    follows from the seed. `classes` are phrases of object and colour, as "a red car" or "a person in a blue
    coat". `boxes` (n, 4) tell where in the windows the objects lie, for those who ask where a network looks.
    """

    classes = tuple(toycity.PHRASES.values())

    def __init__(
        self, split: str, scenes: int, *, size: int = 48, transforms: Callable | None = None, quiet: bool = True
    ):
        if not 1 <= size <= STREET:
            raise ValueError(f"size: got {size}, expected 1 to {STREET}, the pixels of a street")
        self.transforms = transforms
        self.images, labels, self.boxes = self.painted(split, scenes, size, quiet)
        self.labels = list(labels)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[tv_tensors.Image, int]:
        image = tv_tensors.Image(self.images[index].clone())
        return image if self.transforms is None else self.transforms(image), self.labels[index]

    @classmethod
    @lru_cache(maxsize=4)  # one training after the other asks for the same images
    def painted(cls, split: str, scenes: int, size: int, quiet: bool) -> tuple[Tensor, list[int], Tensor]:
        """The images, the numbers of their classes, and the boxes of their objects."""
        images, labels, boxes = [], [], []
        street = cls.street(size)
        for scene in single_object_scenes(split, scenes, quiet=quiet):
            rendering = toycity.render(scene, street)
            for obj in rendering.objects:  # one, or none where it is hidden
                rows, columns = cls.cut(obj.box, size, Random(scene.seed), street=street)
                scale = torch.tensor(size / (rows.stop - rows.start))
                images.append(resize(to_tensor(rendering.image[rows, columns]), [size, size], antialias=True))
                labels.append(cls.classes.index(phrase(obj)))
                boxes.append((torch.tensor(obj.box) - torch.tensor([columns.start, rows.start] * 2)) * scale)
        return torch.stack(images), labels, torch.stack(boxes).clamp(0, size)

    @staticmethod
    def street(size: int) -> int:
        """The pixels a side at which the street is painted."""
        return STREET

    @staticmethod
    def cut(box: Sequence[float], size: int, rng: Random, *, street: int = STREET) -> tuple[slice, slice]:
        """Which rows and columns of its street an image shows."""
        return window(box, size, street, rng)


class ObjectCrops(LabelledObjects):
    """The same objects in the middle of their images, as large as these allow: what is easier to draw.

    A square around an object, wider than it by some of the street beside it, is cut out and resized to `size` pixels.
    For crops larger than `CROP_SIZE` the street is painted twice as large.
    """

    @staticmethod
    def street(size: int) -> int:
        return STREET if size <= CROP_SIZE else 2 * STREET

    @staticmethod
    def cut(box: Sequence[float], size: int, rng: Random, *, street: int = STREET) -> tuple[slice, slice]:
        """A square around the box, moved into the street where it would reach beyond."""
        side = min(street, int(max(SMALLEST * street, ROOM * (box[2] - box[0]), ROOM * (box[3] - box[1]))))
        starts = (round((box[axis] + box[axis + 2] - side) / 2) for axis in (1, 0))
        return tuple(slice(start, start + side) for start in (min(max(0, start), street - side) for start in starts))


def window(box: Sequence[float], size: int, whole: int, rng: Random) -> tuple[slice, slice]:
    """Rows and columns of a window of `size` pixels that holds a box (x0, y0, x1, y1) of an image `whole` pixels wide.

    Where in the window the box lies is drawn evenly. A box that is too large for it fills it.
    """
    starts = []
    for first, last in ((box[1], box[3]), (box[0], box[2])):
        low, high = sorted((first, last - size))
        low, high = max(0, low), min(high, whole - size)
        starts.append(int(low + rng.random() * (high - low + 1)))
    return tuple(slice(start, start + size) for start in starts)


def single_object_scenes(split: str, scenes: int, *, quiet: bool = True) -> Iterator[Scene]:
    """The first `scenes` streets of a split, each with one of its objects only; which stays follows from the seed.

    Streets without objects are left out. The one object may still be hidden behind a tree.
    """
    for seed in tqdm(toycity.seeds(split, scenes), desc="single objects", unit=" scenes", disable=quiet):
        scene = toycity.sample_scene(seed)
        if scene.objects:
            yield keep(scene, [seed % len(scene.objects)])


def keep(scene: Scene, places: list[int]) -> Scene:
    """The same street with some of its objects only; `places` count in `scene.objects`, from far to near."""
    return replace(scene, objects=tuple(scene.objects[place] for place in sorted(places)))


def item_of(scene: Scene, size: int = 128) -> tuple[tv_tensors.Image, dict]:
    """A scene, painted, as a data set gives it: image and target."""
    rendering = toycity.render(scene, size)
    boxes = torch.tensor([obj.box for obj in rendering.objects]).reshape(-1, 4)
    labels = [CATEGORIES.index(obj.category) + 1 for obj in rendering.objects]
    return tv_tensors.Image(to_tensor(rendering.image)), {
        "boxes": tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=(size, size)),
        "labels": torch.tensor(labels, dtype=torch.int64),
        "image_id": scene.seed,
    }
