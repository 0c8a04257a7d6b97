"""How many words a captioner learns from, and says, per second on one core (slide 29)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lecture_utils.captioning import caption_loss, greedy
from lecture_utils.costs import seconds

WORD = 5  # any word of the vocabulary


def learned_per_second(model: nn.Module, z: Float[Tensor, "b features ..."], length: int) -> float:
    """Words per second of forward and backward passes, for a batch of sentences of `length` words."""
    captions = torch.full((len(z), length + 1), WORD, device=z.device)

    def learn() -> None:
        with torch.enable_grad():
            caption_loss(model(z, captions[:, :-1])[0], captions).backward()
        model.zero_grad()

    return len(z) * length / seconds(learn)


def said_per_second(model: nn.Module, z: Float[Tensor, "b features ..."]) -> float:
    """Words per second of greedy decoding, for a batch of images."""
    return greedy(model, z).words.numel() / seconds(greedy, model, z)
