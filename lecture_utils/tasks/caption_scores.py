"""Scores of captions: BLEU against the five sentences, facts against the scene, and where the model looked."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from lecture_utils.captioning.scores import bleu, points_in
from lecture_utils.runtime import Runtime
from lecture_utils.tasks.captioning import LIST, CaptionDataset, Said, say_all
from lecture_utils.toycity.describe import middle, phrase
from lecture_utils.toycity.facts import Mention, facts, find_mentions
from lecture_utils.toycity.render import VisibleObject

GROUPS = {"1_2": range(1, 3), "3_4": range(3, 5), "5_more": range(5, 100)}  # numbers of objects in a scene


def score_captions(model: nn.Module, data: CaptionDataset, run: Runtime) -> dict[str, float]:
    """BLEU-1 … 4 of what the model says freely; for the city also the facts of its lists, and pointing.

    `facts`: the mean share of true statements in the list of everything, all scenes or by number of objects;
    `facts_free`: the same of the free sentence; `bleu_4_1_2` …: the lists against the list there should be;
    `pointing` and what it is held against: see `pointing`.
    """
    said = say_all(model, data, run)
    references = [data.pictures.captions(index) for index in range(len(data))]
    free = [sentence for sentence, wanted in zip(said.free, references, strict=True) if wanted]  # COCO has some without
    scores = {f"bleu_{n}": bleu(free, list(filter(None, references)), n=n) for n in (1, 2, 3, 4)}
    if data.split is None:
        return scores
    return scores | score_lists(said, data) | pointing(said, data)


def score_lists(said: Said, data: CaptionDataset) -> dict[str, float]:
    """Facts of all sentences, and facts and BLEU-4 of the lists by the number of objects in the scene."""
    shares = torch.tensor([true_share(" ".join(words), data, index) for index, words in enumerate(said.lists)])
    free = torch.tensor([true_share(sentence, data, index) for index, sentence in enumerate(said.free)])
    objects = torch.tensor([len(data.truth(index)[1].objects) for index in range(len(data))])
    scores = {"facts": shares[objects > 0].mean().item(), "facts_free": free.mean().item()}
    for name, numbers in GROUPS.items():
        chosen = [index for index, number in enumerate(objects.tolist()) if number in numbers]
        scores[f"facts_{name}"] = shares[chosen].mean().item()
        lists = [_after_prompt(" ".join(said.lists[index])) for index in chosen]
        wanted = [[_after_prompt(one) for one in _lists(data, index)] for index in chosen]
        scores[f"bleu_4_{name}"] = bleu(lists, wanted)
    return scores


def true_share(sentence: str, data: CaptionDataset, index: int) -> float:
    """The share of true statements in a sentence about a picture of the city."""
    statements = facts(sentence, *data.truth(index))
    return sum(fact.holds for fact in statements) / len(statements)


def pointing(said: Said, data: CaptionDataset) -> dict[str, float]:
    """For how many objects that the lists name the model looked at that object most while it named it.

    `pointing`: the maps of the object's words, "red car" or "person in a blue coat", are added, and their highest point
    lies in the object's box or next to it. `pointing_colour`, `pointing_noun`: the map of that one word.
    `pointing_chance`: a random point; `pointing_shuffled`: the same places in the maps of another picture's list.
    Empty for a model without attention.
    """
    if said.maps is None:
        return {}
    hits = {
        name: [] for name in ("pointing", "pointing_colour", "pointing_noun", "pointing_chance", "pointing_shuffled")
    }
    for index, words in enumerate(said.lists):
        picture, maps = data.truth(index)[1], said.maps[index]
        others = said.maps[(index + 1) % len(said.maps)]
        for named, thing in named_objects(words, picture.objects):
            inside = points_in(thing.box, picture.labels.shape, tuple(maps.shape[1:]))
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
    for thing in sorted(seen, key=middle):
        waiting[phrase(thing)].append(thing)
    for mention in find_mentions(words):
        if waiting[mention.text]:
            yield mention, waiting[mention.text].pop(0)


def _highest_in(map_: Float[Tensor, "h w"], inside: Bool[Tensor, "h w"]) -> bool:
    return inside.flatten()[map_.argmax()].item()


def _lists(data: CaptionDataset, index: int) -> list[str]:
    return [caption for caption in data.pictures.captions(index) if caption.startswith(LIST)]


def _after_prompt(sentence: str) -> str:
    return sentence.removeprefix(LIST)
