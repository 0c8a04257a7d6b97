"""Image captioning in the city: next words as the loss; BLEU and facts as scores."""

from collections.abc import Callable
from dataclasses import replace

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
    data, checked = dataset.dataset if isinstance(dataset, Subset) else dataset, []

    def check(model: nn.Module) -> None:
        most = getattr(model, "max_length", None)
        if most is None or checked or not isinstance(data, CaptionDataset):
            return
        checked.append(True)
        sentences = [sentence for index in range(len(data)) for sentence in data.dataset.captions(index)]
        words = [len(data.vocabulary.encode(sentence)) - 2 for sentence in sentences]  # without start and end
        long = sum(number >= most for number in words)  # what the model reads has the start, and no end
        if long:
            worst = sentences[words.index(max(words))]
            raise ValueError(
                f"captions: {data.dataset.sources[0][0]}: {long} of {len(words)} sentences are longer than "
                f"{most - 1} words, the most that max_length={most} of this model allows; the longest has {max(words)} "
                f"({worst[:40]!r} …): shorten them, or leave them out"
            )

    return check


def attending_loss(dataset: Dataset, *, weight: float = LOOK_EVERYWHERE) -> Callable:
    """The same with the doubly stochastic term, equation (14) of Show, Attend and Tell."""
    require_targets(dataset, "a caption")

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        _, z, captions = batch
        logits, attention = model(z, captions[:, :-1], need_weights=True)
        return caption_loss(logits, captions) + weight * doubly_stochastic(attention, captions[:, 1:] != PAD)

    return loss


CAPTIONS = Task(
    caption_data,
    captioning_loss,
    score_captions,
    description=f"toy city: {COCO}, five captions each",
    collate=collate_captions,
    layout=CAPTION_FILES,
)
ATTENDING = replace(CAPTIONS, make_loss=attending_loss)
PIXEL_CAPTIONS = replace(CAPTIONS, data=caption_pixels)  # no CNN: the captioner sees the image itself
