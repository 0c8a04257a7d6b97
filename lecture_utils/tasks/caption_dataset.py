"""What captioners learn from: maps of features, or images, and the sentences about them."""

import random
from pathlib import Path

import torch
from torch import Tensor, nn

from lecture_utils import toycity
from lecture_utils.captioning.vocabulary import Vocabulary, pad
from lecture_utils.city_models import CITY_WORDS
from lecture_utils.datasets import DETECTION_SIZE, CocoCaptions, Flickr8k, city_captions
from lecture_utils.datasets.layouts import CAPTIONS, coco_files, folder, is_flickr8k
from lecture_utils.encoders import FrozenEncoder, hypercolumn_encoder, resnet_grid
from lecture_utils.tasks.detection import shipped_backbone
from lecture_utils.tasks.features import FeatureDataset
from lecture_utils.tasks.photos import photo_transforms


def grid_encoder(name: str = "city", *, device: str = "cpu") -> FrozenEncoder:
    """The CNN whose features z all captioners share: "resnet50" and its like where torch can load them, or "city".

    That is the backbone of the shipped Faster R-CNN: 256 features at 16 × 16 points of a 128 × 128 image.
    """
    return (hypercolumn_encoder(shipped_backbone()) if name == "city" else resnet_grid(name)).to(device)


def caption_images(split: str, root: Path | str | None = None, *, size: int | None = None):
    """Photographs and sentences: the toy city, or `root` in COCO's or Flickr8k's layout, resized to `size`."""
    if root is None:
        return city_captions(split, transforms=photo_transforms(), size=size)
    how = {"transforms": photo_transforms(), "size": size or DETECTION_SIZE}  # photographs have all sizes, batches one
    if is_flickr8k(folder(root)):
        return Flickr8k(root, split, **how)
    return CocoCaptions(*coco_files(root, split, CAPTIONS), **how)


class CaptionDataset(FeatureDataset):
    """Items for a captioner: the index of an image, the map it attends to, and the numbers of the image's captions."""

    def __init__(self, dataset, encoder: nn.Module | None, vocabulary: Vocabulary, *, split: str | None = None):
        super().__init__(dataset, encoder)
        self.vocabulary, self.split = vocabulary, split
        self._truths: dict[int, tuple[toycity.Scene, toycity.Rendering]] = {}

    def __getitem__(self, index: int) -> tuple[int, Tensor, list[list[int]]]:
        z, _ = super().__getitem__(index)
        return index, z, [self.vocabulary.encode(caption) for caption in self.dataset.captions(index) or [""]]

    def truth(self, index: int) -> tuple[toycity.Scene, toycity.Rendering]:
        """The scene of an image and how it was painted; ValueError for images that are not of the city."""
        if self.split is None:
            raise ValueError("truth: only images of the toy city have a scene that sentences can be held against")
        if index not in self._truths:
            scene = toycity.sample_scene(toycity.seeds(self.split, len(self))[index])
            self._truths[index] = scene, toycity.render(scene, DETECTION_SIZE)
        return self._truths[index]


def caption_data(
    split: str, root: Path | str | None = None, *, size: int | None = None, device: str = "cpu"
) -> CaptionDataset:
    """A split as the captioners take it: the features of the city's own backbone, made on `device`, and sentences."""
    return _captioned(split, root, size, grid_encoder(device=device))


def caption_pixels(split: str, root: Path | str | None = None, *, size: int | None = None) -> CaptionDataset:
    """The same for a captioner that does without a CNN: images, and sentences."""
    return _captioned(split, root, size, None)


def _captioned(split: str, root: Path | str | None, size: int | None, encoder: nn.Module | None) -> CaptionDataset:
    dataset = caption_images(split, root, size=size)
    return CaptionDataset(dataset, encoder, CITY_WORDS, split=split if root is None else None)


def collate_captions(items: list[tuple[int, Tensor, list[list[int]]]]) -> tuple[Tensor, Tensor, Tensor]:
    """Indices (b,), grids (b, features, h, w), and for each image one caption (b, t), padded at its end.

    Chance draws which: the first of each image, or the second … In the city those are of one kind and of about one
    length, so a batch holds little padding and is done in half the time.
    """
    indices, grids, captions = zip(*items, strict=True)
    drawn = random.randrange(max(map(len, captions)))
    return torch.tensor(indices), torch.stack(grids), pad([of_one[drawn % len(of_one)] for of_one in captions])
