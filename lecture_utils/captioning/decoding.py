"""From probabilities to a sentence: the likeliest word each time, a beam of the best beginnings, or dice."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from lecture_utils.arguments import require_whole
from lecture_utils.captioning.steps import State
from lecture_utils.captioning.vocabulary import END, PAD, START, UNKNOWN

MAX_LENGTH = 60
NEVER_GENERATED = (PAD, START, UNKNOWN)


@dataclass(frozen=True)
class Captions:
    """What a captioner said about a batch of images.

    `words` (b, t): without `<start>`, with `<end>` where one was reached within `max_length` words, then `<pad>`;
    `attention` (b, layers, heads, t, h, w): where the model attended for each word, with `need_weights=True`;
    `log_probability` (b,): of the words that were not given in `prefix`, summed.
    """

    words: Int64[Tensor, "b t"]
    attention: Float[Tensor, "b layers heads t h w"] | None
    log_probability: Float[Tensor, "b"]


def greedy(
    model: nn.Module,
    z: Float[Tensor, "b ..."],
    *,
    prefix: Sequence[int] = (),
    max_length: int = MAX_LENGTH,
    need_weights: bool = False,
) -> Captions:
    """The likeliest word each time. `prefix` holds the numbers of words with which every caption must begin."""
    return _generate(model, z, lambda scores: scores.argmax(1), prefix, max_length, need_weights)


def sample(
    model: nn.Module,
    z: Float[Tensor, "b ..."],
    *,
    temperature: float = 1.0,
    prefix: Sequence[int] = (),
    max_length: int = MAX_LENGTH,
    generator: torch.Generator | None = None,
    need_weights: bool = False,
) -> Captions:
    """Draw each word from softmax(logits / temperature): below 1 the likely words gain, above 1 the others.

    With a `generator` they are drawn on its device, wherever the model is; the same seed then says the same everywhere.
    """
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature: got {temperature}, expected a positive number")

    def draw(scores: Tensor) -> Tensor:
        probabilities = (scores.float() / temperature).softmax(1)
        if generator is not None:
            probabilities = probabilities.to(generator.device)
        return torch.multinomial(probabilities, 1, generator=generator).squeeze(1).to(scores.device)

    return _generate(model, z, draw, prefix, max_length, need_weights)


@torch.no_grad()
def _generate(
    model: nn.Module, z: Tensor, choose: Callable, prefix: Sequence[int], max_length: int, need_weights: bool
) -> Captions:
    prefix = _check(prefix, max_length)
    state, words = model.start(z), _first(z)
    ended, total = torch.zeros_like(words, dtype=torch.bool), torch.zeros(len(words), device=z.device)
    said, maps = [], []
    for place in range(max_length):
        logits, attention, state = model.step(state, words, need_weights=need_weights)
        scores = _log_probabilities(logits)
        given = place < len(prefix)
        words = _given(prefix[place], logits, words) if given else choose(scores).masked_fill(ended, PAD)
        if not given:
            total += scores.gather(1, words[:, None]).squeeze(1).masked_fill(ended, 0.0)
        said.append(words)
        maps.append(attention)
        ended |= words == END
        if ended.all():
            break
    return Captions(torch.stack(said, dim=1), torch.stack(maps, dim=3) if need_weights else None, total)


@torch.no_grad()
def beam_search(
    model: nn.Module,
    z: Float[Tensor, "b ..."],
    *,
    beam_size: int = 3,
    length_penalty: float = 1.0,
    prefix: Sequence[int] = (),
    max_length: int = MAX_LENGTH,
    need_weights: bool = False,
) -> Captions:
    """Keep the `beam_size` best hypotheses at every word; return the best caption of each image.

    They are ranked by their summed log-probability divided by (number of words)^length_penalty: with 0, every further
    word costs, and short captions win. Words of the prefix do not count. A beam of 1 is `greedy`.
    """
    prefix = _check(prefix, max_length)
    require_whole("beam_size", beam_size)
    if not 0 <= length_penalty < math.inf:
        raise ValueError(f"length_penalty: got {length_penalty}, expected a number of at least 0")
    images, rows = len(z), torch.arange(len(z), device=z.device)[:, None]
    state, words = _repeat(model.start(z), beam_size), _first(z).repeat_interleave(beam_size)
    # At first all beams of an image are alike: only one of them may go on.
    total = torch.full((images, beam_size), -math.inf, device=z.device)
    total[:, 0] = 0.0
    length = torch.zeros(images, beam_size, device=z.device)
    said = torch.zeros(images, beam_size, 0, dtype=torch.int64, device=z.device)
    ended, maps = torch.zeros_like(total, dtype=torch.bool), None
    for place in range(max_length):
        logits, attention, state = model.step(state, words, need_weights=need_weights)
        if place < len(prefix):
            parent = torch.arange(beam_size, device=z.device).expand(images, beam_size)
            words = _given(prefix[place], logits, parent)
        else:
            scores = _log_probabilities(logits).unflatten(0, (images, beam_size))
            scores = torch.where(ended[..., None], _only_padding(scores), scores)
            totals = total[..., None] + scores
            lengths = (length + ~ended)[..., None].expand_as(totals)
            # Stable, so that of equals the first is taken, as argmax does.
            ranked = (totals / lengths**length_penalty).flatten(1).sort(descending=True, stable=True)
            best = ranked.indices[:, :beam_size]
            parent, words = best // scores.shape[-1], best % scores.shape[-1]
            total, length = totals.flatten(1)[rows, best], lengths.flatten(1)[rows, best]
        ended = ended[rows, parent] | (words == END)
        said = torch.cat([said[rows, parent], words[..., None]], dim=2)
        parents = (rows * beam_size + parent).flatten()
        if need_weights:
            attention = attention[:, :, :, None]
            maps = (attention if maps is None else torch.cat([maps, attention], dim=3))[parents]
        state = tuple(part[parents] for part in state)
        words = words.flatten()
        if (ended | total.isneginf()).all():
            break
    best = (total / length.clamp(min=1) ** length_penalty).argmax(1)
    every = rows.squeeze(1)
    maps = maps.unflatten(0, (images, beam_size))[every, best] if need_weights else None
    return Captions(said[every, best], maps, total[every, best])


def _check(prefix: Sequence[int], max_length: int) -> list[int]:
    prefix = [int(word) for word in prefix]
    require_whole("max_length", max_length, least=max(1, len(prefix)))
    if bad := [word for word in prefix if word < 0 or word in (PAD, START, END)]:
        raise ValueError(f"prefix: got {bad}, expected numbers of words, without <start> and <end>")
    return prefix


def _given(word: int, logits: Tensor, like: Int64[Tensor, "*b"]) -> Int64[Tensor, "*b"]:
    """A word of the prefix, for everyone."""
    if word >= logits.shape[1]:
        raise ValueError(f"prefix: got {word}, expected numbers of words, below {logits.shape[1]}")
    return torch.full_like(like, word)


def _first(z: Tensor) -> Int64[Tensor, "b"]:
    return torch.full((len(z),), START, dtype=torch.int64, device=z.device)


def _log_probabilities(logits: Float[Tensor, "b words"]) -> Float[Tensor, "b words"]:
    """Of the words that may be said: a caption holds no padding, no second start and nothing unknown."""
    logits = logits.float().index_fill(1, torch.tensor(NEVER_GENERATED, device=logits.device), -math.inf)
    return logits.log_softmax(1)


def _only_padding(scores: Tensor) -> Tensor:
    """A caption that has ended goes on with padding alone, at no cost."""
    padding = torch.full_like(scores, -math.inf)
    padding[..., PAD] = 0.0
    return padding


def _repeat(state: State, times: int) -> State:
    return tuple(part.repeat_interleave(times, dim=0) for part in state)
