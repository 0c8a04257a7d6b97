"""Image captioning in the city: next words as the loss; BLEU and facts as scores."""

import warnings
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, Subset

from lecture_utils.captioning.attention import doubly_stochastic
from lecture_utils.captioning.steps import caption_loss
from lecture_utils.captioning.vocabulary import PAD
from lecture_utils.datasets.layouts import CAPTIONS as CAPTION_FILES
from lecture_utils.tasks.caption_dataset import CaptionDataset, caption_data, caption_pixels, collate_captions
from lecture_utils.tasks.caption_scores import score_captions
from lecture_utils.tasks.detection import COCO
from lecture_utils.tasks.targets import require_targets
from lecture_utils.tasks.task import Task

LOOK_EVERYWHERE = 0.001  # λ of the doubly stochastic term


def captioning_loss(dataset: Dataset) -> Callable:
    """Cross-entropy of the next words; for `training.fit`.

    A sentence that is longer than the model's `max_length` is learned up to there; one warning counts such sentences.
    """
    require_targets(dataset, "a caption")
    warned = False

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        nonlocal warned
        _, z, captions = batch
        if (most := getattr(getattr(model, "module", model), "max_length", None)) is not None:
            if not warned:
                _warn_of_long_captions(dataset, most)
                warned = True
            captions = captions[:, : most + 1]  # the model reads all but the last
        logits, _ = model(z, captions[:, :-1])
        return caption_loss(logits, captions)

    return loss


def _warn_of_long_captions(dataset: Dataset, most: int) -> None:
    """Say how many sentences have more words than a model has positions for: all that it reads begin with <start>."""
    data = dataset.dataset if isinstance(dataset, Subset) else dataset
    if not isinstance(data, CaptionDataset):
        return
    sentences = [sentence for index in range(len(data)) for sentence in data.dataset.captions(index)]
    words = [len(data.vocabulary.encode(sentence)) - 2 for sentence in sentences]  # without start and end
    if long := sum(number >= most for number in words):
        worst = sentences[words.index(max(words))]
        warnings.warn(
            f"captions: {data.dataset.sources[0][0]}: {long} of {len(words)} sentences are longer than "
            f"{most - 1} words, the most that max_length={most} of this model allows, and are learned up to there; "
            f"the longest has {max(words)} ({worst[:40]!r} …)",
            stacklevel=4,
        )


def attending_loss(dataset: Dataset, *, weight: float = LOOK_EVERYWHERE) -> Callable:
    """The same with the doubly stochastic term, equation (14) of Show, Attend and Tell."""
    require_targets(dataset, "a caption")

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        _, z, captions = batch
        logits, attention = model(z, captions[:, :-1], need_weights=True)
        return caption_loss(logits, captions) + weight * doubly_stochastic(attention, captions[:, 1:] != PAD)

    return loss


def example(size: int) -> tuple:
    """The city's features of one image and a caption of eighteen words, about as long as they are, to count costs."""
    return torch.empty(1, 256, size // 8, size // 8, device="meta"), torch.ones(1, 18, dtype=torch.int64, device="meta")


CAPTIONS = Task(
    caption_data,
    captioning_loss,
    score_captions,
    description=f"toy city: {COCO}, five captions each",
    collate=collate_captions,
    example=example,
    layout=CAPTION_FILES,
)
ATTENDING = replace(CAPTIONS, make_loss=attending_loss)
PIXEL_CAPTIONS = replace(CAPTIONS, data=caption_pixels)  # no CNN: the captioner sees the image itself
