"""Masked image modelling of the city: images without labels, masks, a codebook by k-means, and what is guessed."""

from collections.abc import Callable
from pathlib import Path

import torch
from jaxtyping import Bool, Int64
from torch import Tensor
from torch.utils.data import Dataset

from lecture_utils import runtime, training
from lecture_utils.datasets import QUICK_SIZE, CityscapesPairs, toy_city
from lecture_utils.datasets.layouts import PAIRS, pairs_root
from lecture_utils.runtime import Runtime
from lecture_utils.tasks.photos import photo_transforms
from lecture_utils.tasks.task import Task
from lecture_utils.transformers.beit import MaskedImageModel, masked_token_loss
from lecture_utils.transformers.masking import blockwise_mask
from lecture_utils.transformers.visual_tokens import cut

PATCH = 8
GRID = QUICK_SIZE // PATCH, QUICK_SIZE // PATCH  # 12 × 12 patches
MOST = 55  # hidden patches of these 144: the same 38 % as the paper's 75 of 196
PRETRAINING_SCENES = 8000  # to learn from: four times as many as there are with labels, whose images are among them
CODEBOOK_PATCHES = 200_000


class MaskedImages(Dataset):
    """Items are a photograph as a network takes it, and which of its patches are hidden.

    With `fixed`, an image is hidden in the same places each time, as a test wants it; else chance decides anew.
    """

    def __init__(self, pairs: CityscapesPairs, *, fixed: bool):
        self.pairs, self.fixed = pairs, fixed

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[Tensor, Bool[Tensor, "h w"]]:
        image = self.pairs[index][0].as_subclass(Tensor)
        return image, blockwise_mask(GRID, MOST, generator=torch.Generator().manual_seed(index) if self.fixed else None)

    def preload(self) -> "MaskedImages":
        """Decode every image now; return the data set itself."""
        self.pairs.preload()
        return self


def masked_data(split: str, root: Path | str | None = None, *, size: int | None = None) -> MaskedImages:
    """The images of a split of Cityscapes pairs, without their label maps; `root` is the toy city by default.

    To learn from there are 8,000 of its scenes, to be scored on the quick set's. They are resized to 96 × 96.
    """
    city = pretraining_root if split == "train" else toy_city
    root = city() if root is None else pairs_root(root, split)
    transforms = photo_transforms(train=split == "train")
    pairs = CityscapesPairs(root, split, transforms=transforms, size=size or QUICK_SIZE, check_masks=False)
    return MaskedImages(pairs, fixed=split != "train")


def pretraining_root() -> Path:
    """The folder of the images that need no labels, made where it is missing."""
    return toy_city(scenes={"train": PRETRAINING_SCENES}, root=runtime.data_root() / f"city-{QUICK_SIZE}-images")


def learn_codebook(model: MaskedImageModel, data: MaskedImages) -> None:
    """Give a model its visual tokens: the centres of a clustering of patches, drawn from all images alike."""
    tokens = model.tokens
    model.tokens.set_codebook(codebook(data, len(tokens.codebook), patch=tokens.patch))


def codebook(
    data: Dataset, words: int, *, patch: int = PATCH, patches: int = CODEBOOK_PATCHES, seed: int = 0
) -> Tensor:
    """The centres (words, d) that k-means finds among patches of images (c, h, w), which come first in the items.

    Sculley, "Web-scale k-means clustering", WWW 2010: it looks at a small batch at a time.
    """
    from sklearn.cluster import MiniBatchKMeans  # half a second, which only a codebook needs

    generator = torch.Generator().manual_seed(seed)
    of_each = -(-patches // len(data))
    drawn = []
    for index in range(len(data)):
        (all_,) = cut(data[index][0][None], patch)
        drawn.append(all_[torch.randperm(len(all_), generator=generator)[:of_each]])
    drawn = torch.cat(drawn)
    if len(drawn) < words:
        raise ValueError(
            f"data: got {len(drawn)} patches of {patch} × {patch} pixels in {len(data)} images, expected at least "
            f"{words}, one for each visual token; give more images"
        )
    means = MiniBatchKMeans(words, random_state=seed, n_init=1, batch_size=4096, max_no_improvement=50)
    return torch.from_numpy(means.fit(drawn.numpy()).cluster_centers_).float()


def masked_loss(dataset: Dataset) -> Callable[[MaskedImageModel, tuple[Tensor, Tensor]], Tensor]:
    """Cross-entropy of the words of the hidden patches; for `training.fit`."""

    def loss(model: MaskedImageModel, batch: tuple[Tensor, Tensor]) -> Tensor:
        images, mask = batch
        return masked_token_loss(model(images, mask), model.tokens(images), mask)

    return loss


def score_masked(model: MaskedImageModel, dataset: MaskedImages, run: Runtime) -> dict[str, float]:
    """The share of hidden patches whose word the model finds, and what simple guesses reach on the same patches.

    `accuracy_majority`: the commonest word of all; `accuracy_place`: the commonest one at that place; both counted on
    the very scenes that are scored, which favours them; `accuracy_neighbour`: the word of the nearest visible patch.
    """
    from torchmetrics.aggregation import CatMetric  # seconds, which only scoring needs

    predict = lambda model, batch: (  # noqa: E731
        torch.stack([model(*batch).argmax(-1), model.tokens(batch[0]), batch[1].flatten(1).long()], dim=1),
    )
    guessed, truth, hidden = (
        training.evaluate_batches(model, dataset, CatMetric(), run=run, predict=predict).long().cpu().unbind(1)
    )
    guesses = {"accuracy": guessed} | baselines(truth, hidden.bool())
    return {name: (words == truth)[hidden.bool()].float().mean().item() for name, words in guesses.items()}


def baselines(truth: Int64[Tensor, "b n"], hidden: Bool[Tensor, "b n"]) -> dict[str, Int64[Tensor, "b n"]]:
    """What one may guess for hidden patches without a network; see `score_masked`."""
    places = torch.stack(
        [
            truth[hidden[:, at], at].mode().values if hidden[:, at].any() else truth[0, at]
            for at in range(truth.shape[1])
        ]
    )
    return {
        "accuracy_majority": truth[hidden].mode().values.expand_as(truth),
        "accuracy_place": places.expand_as(truth),
        "accuracy_neighbour": truth.gather(1, nearest_visible(hidden)),
    }


def nearest_visible(hidden: Bool[Tensor, "b n"], grid: tuple[int, int] = GRID) -> Int64[Tensor, "b n"]:
    """For each patch of a grid the nearest one that is not hidden, the first of several; itself where it is visible."""
    place = torch.arange(grid[0] * grid[1], device=hidden.device)
    points = torch.stack([place // grid[1], place % grid[1]], dim=1).float()
    apart = torch.cdist(points, points).expand(len(hidden), -1, -1)
    return apart.masked_fill(hidden[:, None], torch.inf).argmin(-1)


MASKED_IMAGES = Task(
    masked_data,
    masked_loss,
    score_masked,
    description=f"toy city: {PRETRAINING_SCENES:,} training scenes at {QUICK_SIZE} × {QUICK_SIZE}, "
    "without their labels",
    prepare=learn_codebook,
    layout=PAIRS,
)
