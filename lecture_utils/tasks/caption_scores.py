"""What a captioner says, and its scores: BLEU against five sentences, facts against the scene, and the attention."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from lecture_utils import training
from lecture_utils.captioning import decoding
from lecture_utils.captioning.scores import bleu, points_in
from lecture_utils.captioning.vocabulary import PAD, pad
from lecture_utils.runtime import Runtime
from lecture_utils.tasks.caption_dataset import CaptionDataset, collate_captions
from lecture_utils.toycity.describe import LIST, middle, phrase
from lecture_utils.toycity.facts import Mention, facts, find_mentions
from lecture_utils.toycity.render import VisibleObject

GROUPS = {"1_2": range(1, 3), "3_4": range(3, 5), "5_more": range(5, 100)}  # numbers of objects in a scene


@dataclass(frozen=True)
class Generated:
    """What a captioner says about each image of a data set: freely, and asked for the list of everything.

    `maps` (n, t, h, w): where it looked for each word of the list, summed over its layers and heads, zeros behind the
    end; None for a model without attention.
    """

    free: list[str]
    lists: list[list[str]]
    maps: Float[Tensor, "n t h w"] | None


def generate_all(model: nn.Module, data: CaptionDataset, run: Runtime) -> Generated:
    """Caption every image of a data set, word by word the likeliest."""
    from torchmetrics.aggregation import CatMetric  # seconds, which only scoring needs

    prompt = data.vocabulary.encode(LIST)[1:-1]

    def decode_batch(model: nn.Module, batch: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor]:
        indices, z, _ = batch
        free = decoding.greedy(model, z)
        lists = decoding.greedy(model, z, prefix=prompt, need_weights=True)
        maps = rearrange(lists.attention.float(), "b l k t h w -> b (l k) (h w) t").sum(1)
        looks = _widen(maps * (lists.words != PAD)[:, None]).flatten(1)
        return (torch.cat([indices[:, None], _widen(free.words), _widen(lists.words), looks], dim=1).float(),)

    rows = training.evaluate_batches(model, data, CatMetric(), run=run, predict=decode_batch, collate=collate_captions)
    rows = rows[rows[:, 0].argsort()].cpu()
    free, lists = rows[:, 1 : 1 + 2 * decoding.MAX_LENGTH].long().split(decoding.MAX_LENGTH, dim=1)
    maps = rearrange(rows[:, 1 + 2 * decoding.MAX_LENGTH :], "n (h w t) -> n t h w", h=model.grid[0], w=model.grid[1])
    words = data.vocabulary
    return Generated(
        [words.decode(row) for row in free], [words.to_tokens(row) for row in lists], maps if maps.any() else None
    )


def _widen(columns: Tensor) -> Tensor:
    """As many columns as the longest caption has words: batches of different lengths are joined."""
    return F.pad(columns, (0, decoding.MAX_LENGTH - columns.shape[-1]), value=PAD)


def score_captions(model: nn.Module, data: CaptionDataset, run: Runtime) -> dict[str, float]:
    """The loss of the next words; BLEU-1 … 4 of what the model says freely; for the city also facts, and pointing.

    `loss`: in nats, the right words before each being given;
    `facts`: the mean share of true statements in the list of everything, all scenes or by number of objects;
    `facts_free`: the same of the free sentence; `bleu_4_1_2` …: the lists against the list there should be;
    `pointing` and what it is held against: see `pointing`.
    """
    generated = generate_all(model, data, run)
    data = data.first(len(generated.free))  # a smoke run stops early
    references = [data.dataset.captions(index) for index in range(len(data))]
    free = [
        sentence for sentence, wanted in zip(generated.free, references, strict=True) if wanted
    ]  # COCO has some without
    scores = {"loss": next_word_loss(model, data, run)}
    scores |= {f"bleu_{n}": bleu(free, list(filter(None, references)), n=n) for n in (1, 2, 3, 4)}
    if data.split is None:
        return scores
    return scores | score_lists(generated, data) | pointing(generated, data)


def next_word_loss(model: nn.Module, data: CaptionDataset, run: Runtime) -> float:
    """The mean cross-entropy of the next word in all sentences about all images, as far as the model reads."""
    from torchmetrics.aggregation import MeanMetric  # seconds, which only scoring needs

    most = getattr(model, "max_length", None)

    def losses(model: nn.Module, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        z, captions = batch
        following = captions[:, 1 : most and most + 1]
        logits, _ = model(z, captions[:, : following.shape[1]])
        return F.cross_entropy(
            logits.flatten(0, 1).float(), following.flatten(), reduction="none"
        ), following.flatten() != PAD

    def every_caption(items: list[tuple[int, Tensor, list[list[int]]]]) -> tuple[Tensor, Tensor]:
        pairs = [(z, caption) for _, z, captions in items for caption in captions]
        return torch.stack([z for z, _ in pairs]), pad([caption for _, caption in pairs])

    return training.evaluate_batches(model, data, MeanMetric(), run=run, predict=losses, collate=every_caption).item()


def score_lists(generated: Generated, data: CaptionDataset) -> dict[str, float]:
    """Facts of all sentences, and facts and BLEU-4 of the lists by the number of objects in the scene."""
    shares = torch.tensor([true_share(" ".join(words), data, index) for index, words in enumerate(generated.lists)])
    free = torch.tensor([true_share(sentence, data, index) for index, sentence in enumerate(generated.free)])
    objects = torch.tensor([len(data.truth(index)[1].objects) for index in range(len(data))])
    scores = {"facts": shares[objects > 0].mean().item(), "facts_free": free.mean().item()}
    for name, numbers in GROUPS.items():
        chosen = [index for index, number in enumerate(objects.tolist()) if number in numbers]
        scores[f"facts_{name}"] = shares[chosen].mean().item()
        lists = [_after_prompt(" ".join(generated.lists[index])) for index in chosen]
        wanted = [[_after_prompt(one) for one in _lists(data, index)] for index in chosen]
        scores[f"bleu_4_{name}"] = bleu(lists, wanted)
    return scores


def true_share(sentence: str, data: CaptionDataset, index: int) -> float:
    """The share of true statements in a sentence about an image of the city."""
    statements = facts(sentence, *data.truth(index))
    return sum(fact.holds for fact in statements) / len(statements)


def pointing(generated: Generated, data: CaptionDataset) -> dict[str, float]:
    """For how many objects that the lists name the model looked at that object most while it named it.

    `pointing`: the maps of the object's words, "red car" or "person in a blue coat", are added, and their highest point
    lies in the object's box or next to it. `pointing_colour`, `pointing_noun`: the map of that one word.
    `pointing_chance`: a random point; `pointing_shuffled`: the same places in the maps of another image's list.
    Empty for a model without attention.
    """
    if generated.maps is None:
        return {}
    hits = {
        name: [] for name in ("pointing", "pointing_colour", "pointing_noun", "pointing_chance", "pointing_shuffled")
    }
    for index, words in enumerate(generated.lists):
        rendering, maps = data.truth(index)[1], generated.maps[index]
        others = generated.maps[(index + 1) % len(generated.maps)]
        for named, obj in named_objects(words, rendering.objects):
            inside = points_in(obj.box, rendering.labels.shape, tuple(maps.shape[1:]))
            phrase_words = slice(named.start + 1, named.stop)  # without its article
            hits["pointing"].append(_highest_in(maps[phrase_words].sum(0), inside))
            hits["pointing_colour"].append(_highest_in(maps[named.colour], inside))
            hits["pointing_noun"].append(_highest_in(maps[named.noun], inside))
            hits["pointing_chance"].append(inside.float().mean().item())
            if others[phrase_words].any():  # where the other list has ended, nobody looks
                hits["pointing_shuffled"].append(_highest_in(others[phrase_words].sum(0), inside))
    return {name: sum(each) / len(each) if each else float("nan") for name, each in hits.items()}


def named_objects(words: Sequence[str], seen: Sequence[VisibleObject]) -> Iterator[tuple[Mention, VisibleObject]]:
    """Each object a list names and that is there: the second "red car" is the second one from the left."""
    waiting = defaultdict(list)
    for obj in sorted(seen, key=middle):
        waiting[phrase(obj)].append(obj)
    for mention in find_mentions(words):
        if waiting[mention.text]:
            yield mention, waiting[mention.text].pop(0)


def _highest_in(map_: Float[Tensor, "h w"], inside: Bool[Tensor, "h w"]) -> bool:
    return inside.flatten()[map_.argmax()].item()


def _lists(data: CaptionDataset, index: int) -> list[str]:
    return [caption for caption in data.dataset.captions(index) if caption.startswith(LIST)]


def _after_prompt(sentence: str) -> str:
    return sentence.removeprefix(LIST)
