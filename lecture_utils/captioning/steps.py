"""What every captioner does, so that one loss, one search and one figure serve them all.

    model(z, captions)      → logits (b, t, words), attention (b, layers, heads, t, h, w) or None
    model.start(z)          → state, a tuple of tensors whose first axis is the batch
    model.step(state, word) → logits (b, words), attention (b, layers, heads, h, w) or None, the next state

`captions` begin with `<start>`, and the logits at place t are those of the word that follows it: they must depend on
the captions up to t alone. `attention` says where on the grid of z the model looked for that word: ≥ 0, sums to 1 over
the grid for each head of each layer. A model without attention has no layers: (b, 0, 0, t, h, w). It is None unless
`need_weights=True` asks the model or the step for it.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from lecture_utils.captioning.vocabulary import PAD

State = tuple[Tensor, ...]


def teacher_forced(
    model: nn.Module, z: Float[Tensor, "b features h w"], captions: Int64[Tensor, "b t"], *, need_weights: bool = False
) -> tuple[Float[Tensor, "b t words"], Float[Tensor, "b layers heads t h w"] | None]:
    """Step through known captions: each word is followed by the right one, not the model's ("teacher forcing")."""
    require_captions(z, captions)
    state = model.start(z)
    logits, maps = [], []
    for words in captions.T:
        scores, attention, state = model.step(state, words, need_weights=need_weights)
        logits.append(scores)
        maps.append(attention)
    return torch.stack(logits, dim=1), torch.stack(maps, dim=3) if need_weights else None


def caption_loss(logits: Float[Tensor, "b t words"], captions: Int64[Tensor, "b t_and_1"]) -> Float[Tensor, ""]:
    """Mean cross-entropy of the next words; padding does not count.

    `logits` are the model's for `captions[:, :-1]`: those at place t are held against the word at place t + 1.
    """
    if captions.ndim != 2:
        raise ValueError(f"captions: got shape {tuple(captions.shape)}, expected (b, t + 1)")
    b, t = captions.shape[0], captions.shape[1] - 1
    if logits.ndim != 3 or logits.shape[:2] != (b, t):
        raise ValueError(f"logits: got shape {tuple(logits.shape)}, expected ({b}, {t}, words) for captions[:, :-1]")
    return F.cross_entropy(logits.flatten(0, 1), captions[:, 1:].flatten(), ignore_index=PAD)


def require_captions(z: Tensor, captions: Tensor) -> None:
    """Refuse captions that are not whole numbers (b, t), one for each image and t ≥ 1."""
    if captions.ndim != 2 or captions.dtype != torch.int64 or len(captions) != len(z) or captions.shape[1] < 1:
        got = f"{tuple(captions.shape)} of {captions.dtype}"
        raise ValueError(f"captions: got {got}, expected ({len(z)}, t) of torch.int64, t at least 1")
