"""Image captioning in the city: grids of features and sentences, next words as the loss, BLEU and facts as scores."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.data import Dataset
from torchmetrics.aggregation import CatMetric
from tqdm import tqdm

from lecture_utils import toycity, training
from lecture_utils.captioning import decoding
from lecture_utils.captioning.attention import ShowAttendTell, doubly_stochastic, moved, reinforce_loss
from lecture_utils.captioning.encoder import BackboneGrid, resnet_grid
from lecture_utils.captioning.steps import caption_loss
from lecture_utils.captioning.vocabulary import PAD, Vocabulary, pad
from lecture_utils.datasets import DETECTION_SIZE, CocoCaptions, Flickr8k, city_captions
from lecture_utils.datasets.layouts import CAPTIONS, coco_files, folder, is_flickr8k
from lecture_utils.datasets.memory import Kept
from lecture_utils.runtime import Runtime
from lecture_utils.tasks.detection import encode, shipped_backbone
from lecture_utils.tasks.photos import photo_transforms
from lecture_utils.tasks.targets import require_targets
from lecture_utils.toycity.describe import LIST

CITY_WORDS = Vocabulary(toycity.WORDS)
LOOK_EVERYWHERE = 0.001  # λ of the doubly stochastic term


def city_encoder() -> BackboneGrid:
    """The backbone of the shipped Faster R-CNN as an encoder: 256 features at 16 × 16 points of a 128 × 128 picture."""
    return BackboneGrid(shipped_backbone())


def grid_encoder(name: str = "city", *, device: str = "cpu") -> nn.Module:
    """The CNN whose features z all captioners share: "city", or "resnet50" and its like where torch can load them."""
    return (city_encoder() if name == "city" else resnet_grid(name)).to(device)


def caption_pictures(split: str, root: Path | str | None = None, *, size: int | None = None):
    """Photographs and sentences: the toy city, or `root` in COCO's or Flickr8k's layout, resized to `size`."""
    if root is None:
        return city_captions(split, transforms=photo_transforms(), size=size)
    how = {"transforms": photo_transforms(), "size": size or DETECTION_SIZE}  # photographs have all sizes, batches one
    if is_flickr8k(folder(root)):
        return Flickr8k(root, split, **how)
    return CocoCaptions(*coco_files(root, split, CAPTIONS), **how)


class CaptionDataset(Dataset):
    """Items for a captioner: its index, what the captioner looks at, and the numbers of its captions.

    `encoder` turns images into grids, once each and on its own device, which are kept on the CPU in half precision, as
    many as fit into memory (see `Kept`); None leaves the images as they are.
    """

    def __init__(self, pictures, encoder: nn.Module | None, vocabulary: Vocabulary, *, split: str | None = None):
        self.pictures, self.encoder, self.vocabulary, self.split = pictures, encoder, vocabulary, split
        self._kept = Kept()  # grids by index
        self._truths: dict[int, tuple[toycity.Scene, toycity.Picture]] = {}

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> tuple[int, Tensor, list[list[int]]]:
        if index not in self._kept and not self._kept.full:
            self.preload()
        z = self._kept[index] if index in self._kept else self.grids([index])[0].half()
        captions = self.pictures.captions(index) or [""]
        return index, z.float(), [self.vocabulary.encode(caption) for caption in captions]

    def preload(self) -> "CaptionDataset":
        """Encode every picture now, as many as fit into memory; return the data set itself."""
        batches = [range(first, min(first + 32, len(self))) for first in range(0, len(self), 32)]
        batches = [batch for batch in batches if not all(index in self._kept for index in batch)]
        for batch in tqdm(batches, desc="encoding", unit="batch", disable=len(batches) < 40):
            if self._kept.full:
                break
            for index, z in zip(batch, self.grids(batch).half(), strict=True):
                self._kept.keep(index, z.clone())
        return self

    @torch.no_grad()
    def grids(self, indices: Sequence[int]) -> Float[Tensor, "b features h w"]:
        """What a captioner looks at for some of the pictures, encoded now; on the CPU, as all items."""
        images = torch.stack([self.pictures[index][0].as_subclass(Tensor) for index in indices])
        return images if self.encoder is None else encode(self.encoder, images)

    def truth(self, index: int) -> tuple[toycity.Scene, toycity.Picture]:
        """The scene of a picture and how it was painted; ValueError for pictures that are not of the city."""
        if self.split is None:
            raise ValueError("truth: only pictures of the toy city have a scene that sentences can be held against")
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
    pictures = caption_pictures(split, root, size=size)
    return CaptionDataset(pictures, encoder, CITY_WORDS, split=split if root is None else None)


def collate_captions(items: list[tuple[int, Tensor, list[list[int]]]]) -> tuple[Tensor, Tensor, Tensor]:
    """Indices (b,), grids (b, features, h, w), and for each picture one caption (b, t), padded at its end.

    Chance draws which: the first of each picture, or the second … In the city those are of one kind and of about one
    length, so a batch holds little padding and is done in half the time.
    """
    indices, grids, captions = zip(*items, strict=True)
    drawn = random.randrange(max(map(len, captions)))
    return torch.tensor(indices), torch.stack(grids), pad([of_one[drawn % len(of_one)] for of_one in captions])


def captioning_loss(dataset: Dataset) -> Callable:
    """Cross-entropy of the next words; for `training.fit`."""
    require_targets(dataset, "a caption")

    check = _length_check(dataset)

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        check(model)
        _, z, captions = batch
        logits, _ = model(z, captions[:, :-1])
        return caption_loss(logits, captions)

    return loss


def _length_check(dataset: Dataset) -> Callable[[nn.Module], None]:
    """What refuses, before a model's first step, sentences longer than the model has positions for."""
    data, checked = getattr(dataset, "dataset", dataset), []  # also where it is a `Subset`

    def check(model: nn.Module) -> None:
        most = getattr(getattr(model, "module", model), "longest", None)
        if most is None or checked or not isinstance(data, CaptionDataset):
            return
        checked.append(True)
        sentences = [sentence for index in range(len(data)) for sentence in data.pictures.captions(index)]
        words = [len(data.vocabulary.encode(sentence)) - 2 for sentence in sentences]  # without start and end
        long = sum(number >= most for number in words)  # what the model reads has the start, and no end
        if long:
            worst = sentences[words.index(max(words))]
            raise ValueError(
                f"captions: {data.pictures.sources[0][0]}: {long} of {len(words)} sentences are longer than "
                f"{most - 1} words, the most that longest={most} of this model allows; the longest has {max(words)} "
                f"({worst[:40]!r} …): shorten them, or leave them out"
            )

    return check


def attending_loss(dataset: Dataset, *, weight: float = LOOK_EVERYWHERE) -> Callable:
    """The same with the doubly stochastic term, equation (14) of Show, Attend and Tell."""
    require_targets(dataset, "a caption")

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        _, z, captions = batch
        logits, attention = model(z, captions[:, :-1])
        return caption_loss(logits, captions) + weight * doubly_stochastic(attention, captions[:, 1:] != PAD)

    return loss


def hard_attention_loss(dataset: Dataset) -> Callable:
    """The loss for hard attention, with a baseline that follows the rewards, equations (11) and (12)."""
    require_targets(dataset, "a caption")
    baseline = 0.0

    def loss(model: ShowAttendTell, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        nonlocal baseline
        _, z, captions = batch
        value, foretold = reinforce_loss(model, z, captions, baseline=baseline)
        baseline = moved(baseline, foretold.item())
        return value

    return loss


@dataclass(frozen=True)
class Said:
    """What a captioner says about each picture of a data set: freely, and asked for the list of everything.

    `maps` (n, t, h, w): where it looked for each word of the list, summed over its layers and heads, zeros behind the
    end; None for a model without attention.
    """

    free: list[str]
    lists: list[list[str]]
    maps: Float[Tensor, "n t h w"] | None


def say_all(model: nn.Module, data: CaptionDataset, run: Runtime) -> Said:
    """Caption every picture of a data set, word by word the likeliest."""
    prompt = data.vocabulary.encode(LIST)[1:-1]

    def say(model: nn.Module, batch: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor]:
        indices, z, _ = batch
        free, lists = decoding.greedy(model, z), decoding.greedy(model, z, prefix=prompt)
        maps = rearrange(lists.attention.float(), "b l k t h w -> b (l k) (h w) t").sum(1)
        looks = _widen(maps * (lists.words != PAD)[:, None]).flatten(1)
        return (torch.cat([indices[:, None], _widen(free.words), _widen(lists.words), looks], dim=1).float(),)

    rows = training.evaluate_batches(model, data, CatMetric(), run=run, predict=say, collate=collate_captions)
    rows = rows[rows[:, 0].argsort()].cpu()
    free, lists = rows[:, 1 : 1 + 2 * decoding.LONGEST].long().split(decoding.LONGEST, dim=1)
    maps = rearrange(rows[:, 1 + 2 * decoding.LONGEST :], "n (h w t) -> n t h w", h=model.grid[0], w=model.grid[1])
    words = data.vocabulary
    return Said([words.decode(row) for row in free], [words.spell(row) for row in lists], maps if maps.any() else None)


def _widen(columns: Tensor) -> Tensor:
    """As many columns as the longest caption has words: batches of different lengths are joined."""
    return F.pad(columns, (0, decoding.LONGEST - columns.shape[-1]), value=PAD)
