"""Feature maps in place of images: what captioners and DETR learn from, encoded once by a frozen network."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.data import Dataset
from torchvision.transforms.v2 import functional as transforms
from tqdm import tqdm

from lecture_utils.arguments import require_whole
from lecture_utils.datasets.memory import MemoryCache

BLOCK = 16  # images that are encoded together


class FeatureDataset(Dataset):
    """The items (image, target) of a data set with maps (features, h, w) for images; `encoder` None leaves the images.

    An image is encoded when it is first asked for, with its neighbours, or by `preload`; with `mirror` its mirror image
    too, and one of the two is then drawn at random. Maps are kept on the CPU in half precision, as many as fit into
    memory (see `MemoryCache`): 0.13 MB for each of the city's, so 1 GB for 4,000 scenes and their mirror images.
    """

    def __init__(self, dataset: Dataset, encoder: nn.Module | None, *, mirror: bool = False):
        self.dataset, self.encoder, self.mirror = dataset, encoder, mirror
        self._length = len(dataset)
        self._kept = MemoryCache()  # [(map, target), …] by index: as it is, and mirrored

    @property
    def categories(self) -> tuple[str, ...]:
        return self.dataset.categories

    @property
    def size(self) -> tuple[int, int]:
        """The (height, width) in pixels of the images behind the maps."""
        return tuple(self.dataset[0][0].shape[-2:])

    def __len__(self) -> int:
        return self._length

    def first(self, number: int) -> "FeatureDataset":
        """The first `number` items alone, with the maps that are kept already."""
        part = copy.copy(self)
        part._length = len(range(len(self))[: require_whole("number", number, least=1)])
        return part

    def __getitem__(self, index: int) -> tuple[Float[Tensor, "features h w"], Any]:
        index = range(len(self))[index]
        if index not in self._kept and not self._kept.full:
            self._fill(index - index % BLOCK)
        turned = bool(torch.randint(2, ())) if self.mirror else False
        z, target = self._kept[index][turned] if index in self._kept else self._encode_one(index, turned)
        return z.float(), target

    def preload(self) -> "FeatureDataset":
        """Encode every image now, as many as fit into memory; return the data set itself."""
        for first in tqdm(range(0, len(self), BLOCK), desc="encoding", unit="batch", disable=len(self) < 1000):
            if not self._kept.full:
                self._fill(first)
        return self

    def grids(self, indices: Sequence[int]) -> Float[Tensor, "b features h w"]:
        """The maps of some of the images, encoded now, in full precision; on the CPU, as all items."""
        return self._maps([self.dataset[index][0] for index in indices])

    def _fill(self, first: int) -> None:
        block = [index for index in range(first, min(first + BLOCK, len(self))) if index not in self._kept]
        for index, both in zip(block, self._encode(block), strict=True):
            self._kept.keep(index, both)

    def _encode(self, indices: Sequence[int]) -> list[list[tuple[Tensor, Any]]]:
        """For each image its map and its target, and, with `mirror`, those of its mirror image."""
        seen = [[self.dataset[index]] for index in indices]
        if self.mirror:
            seen = [[item, _mirrored(*item)] for (item,) in seen]
        maps = iter(self._maps([image for both in seen for image, _ in both]).half())
        return [[(next(maps).clone(), target) for _, target in both] for both in seen]

    def _encode_one(self, index: int, turned: bool) -> tuple[Tensor, Any]:
        """The map and the target of an image for which there was no room, as it is or mirrored."""
        image, target = _mirrored(*self.dataset[index]) if turned else self.dataset[index]
        return self._maps([image]).half()[0], target

    @torch.no_grad()
    def _maps(self, images: Sequence[Tensor]) -> Tensor:
        images = torch.stack([image.as_subclass(Tensor) for image in images]) if images else torch.empty(0)
        return images if self.encoder is None or not len(images) else encode(self.encoder, images)


def encode(encoder: nn.Module, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b features map_h map_w"]:
    """What an encoder makes of images on its own device; on the CPU, as all that data sets give."""
    return encoder(images.to(next(encoder.parameters(), images).device)).cpu()


def _mirrored(image: Tensor, target: dict) -> tuple[Tensor, dict]:
    boxes = {key: transforms.horizontal_flip(target[key]) for key in ("boxes", "crowds") if key in target}
    return transforms.horizontal_flip(image), target | boxes
