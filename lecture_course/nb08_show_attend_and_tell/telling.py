"""What captions of notebook 08 say and how much of it is true; BLEU, and what it makes of an error."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lecture_utils.captioning.scores import bleu, clipped_matches, rouge_l
from lecture_utils.captioning.vocabulary import Vocabulary, split_words
from lecture_utils.tasks.caption_dataset import CaptionDataset
from lecture_utils.tasks.caption_scores import true_share
from lecture_utils.toycity.describe import HOURS, PHRASES
from lecture_utils.toycity.facts import facts

OF_PHRASE = {text: kind for kind, text in PHRASES.items()}  # "a red car" -> ("car", "red")
SETTING = {f"{sky} weather": "weather" for sky in ("clear", "cloudy", "foggy")}
SETTING |= {words: "time of day" for words in HOURS.values()}
SETTING |= {trees: "trees" for trees in ("with trees", "without trees")}


def truth_by_kind(captions: Sequence[str], data: CaptionDataset, *, shift: int = 0) -> dict[str, float]:
    """The share of true statements in captions of the first images of a data set: weather, time, trees, and objects.

    With a `shift` each caption is held against another of these images, so many places further: what chance gives.
    """
    held: dict[str, list[bool]] = {kind: [] for kind in (*SETTING.values(), "objects")}
    for image, caption in enumerate(captions):
        for fact in facts(caption, *data.truth((image + shift) % len(captions))):
            held[SETTING.get(fact.text, "objects")].append(fact.holds)
    return {kind: sum(some) / len(some) for kind, some in held.items() if some}


def truth_table(captions: Mapping[str, Sequence[str]], data: CaptionDataset) -> tuple[str, dict[str, dict[str, float]]]:
    """`truth_by_kind` of each model's captions and, by another street, of chance: a table, and those over chance.

    Beside them how many sentences are of which kind (`kind_of`).
    """
    kinds, sentences = (*dict.fromkeys(SETTING.values()), "objects"), ("setting", "two objects", "one object")
    head = "".join(f"{kind:>{len(kind) + 3}}" for kind in kinds) + "   | sentences:"
    lines, over = [f"{'':21}" + head + "".join(f"{kind:>{len(kind) + 2}}" for kind in sentences)], {}
    for name, some in captions.items():
        own, other = (truth_by_kind(some, data, shift=shift) for shift in (0, 1))
        counts = Counter(map(kind_of, some))
        for what, held in ((name, own), ("  of another street", other)):
            lines.append(f"{what:21}" + "".join(f"{held[kind]:{len(kind) + 3}.2f}" for kind in kinds) + "   |")
        lines[-2] += " " * 11 + "".join(f"{counts[kind]:{len(kind) + 2}}" for kind in sentences)
        over[name] = {kind: own[kind] - other[kind] for kind in kinds}
    return "\n".join(lines), over


# What a sentence of the city's grammar tells, and words by which to know it; in this order.
KINDS = {
    "two objects": " is to the | is behind | is in front of ",
    "setting": "street with|an empty street|nobody",
    "counts": " on a street ",
    "one object": "^a ",
}


def kind_of(caption: str) -> str:
    """Which of the `KINDS` a caption is of; "other" for a list, or one that the grammar does not know."""
    return next((kind for kind, mark in KINDS.items() if re.search(mark, caption)), "other")


def noting(loss: Callable, vocabulary: Vocabulary) -> tuple[Callable, list[str]]:
    """A loss for `training.fit` that notes of each batch the kind of its sentences; and the list of these kinds."""
    kinds: list[str] = []

    def noted(model: nn.Module, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        kind = kind_of(vocabulary.decode(batch[2][0].tolist()))
        kinds.append("list" if kind == "other" else kind)
        return loss(model, batch)

    return noted, kinds


def mean_of_kinds(losses: Iterable[tuple[str, float]]) -> tuple[str, dict[str, float]]:
    """The mean loss of each kind of sentences, of pairs of kind and loss: as a line, and by kind."""
    found: dict[str, list[float]] = {}
    for kind, loss in losses:
        found.setdefault(kind, []).append(loss)
    means = {kind: sum(some) / len(some) for kind, some in found.items()}
    return ", ".join(f"{kind} {mean:.1f}" for kind, mean in means.items()), means


def caption_table(captions: Mapping[str, Sequence[str]], data: CaptionDataset) -> tuple[str, dict[str, float]]:
    """BLEU-4, ROUGE-L, true statements, length and kinds of some captions of all images: a table, and BLEU-4."""
    references = [data.dataset.captions(index) for index in range(len(data))]
    kinds = ("setting", "two objects", "one object", "counts")
    lines, scores = [f"{'':22} BLEU-4   ROUGE-L   true   words   " + "   ".join(kinds)], {}
    for name, some in captions.items():
        scores[name], common = bleu(some, references), rouge_l(some, references)
        length, counts = sum(len(one.split()) for one in some) / len(some), Counter(map(kind_of, some))
        line = f"{name:22} {scores[name]:6.3f} {common:9.3f} {true_statements(some, data):6.3f} {length:7.1f}   "
        lines.append(line + "   ".join(f"{counts[kind]:{len(kind)}}" for kind in kinds))
    return "\n".join(lines), scores


def same_kind(one: Sequence[str], other: Sequence[str]) -> dict[str, list[int]]:
    """The images by how alike two captioners' sentences are: the very same one, of the same kind, of another kind."""
    groups: dict[str, list[int]] = {"word for word the same": [], "of the same kind": [], "of another kind": []}
    for image, (a, b) in enumerate(zip(one, other, strict=True)):
        alike = (
            "word for word the same" if a == b else f"of {'the same' if kind_of(a) == kind_of(b) else 'another'} kind"
        )
        groups[alike].append(image)
    return groups


def groups_table(groups: Mapping[str, Sequence[int]], captions: Mapping[str, Sequence[str]], data: CaptionDataset):
    """BLEU-4 and the true statements of some captions on groups of images: a table, and both, by group and captions."""
    lines, found = [f"{'sentences':24}streets" + "".join(f"{name:>24}" for name in captions)], {}
    for group, images in groups.items():
        if not images:
            continue
        references = [data.dataset.captions(image) for image in images]
        chosen = {name: [said[image] for image in images] for name, said in captions.items()}
        found[group] = {
            name: (bleu(some, references), true_statements(some, data, images)) for name, some in chosen.items()
        }
        cells = [f"BLEU {score:.3f} true {true:.3f}" for score, true in found[group].values()]
        lines.append(f"{group:24}{len(images):7}" + "".join(f"{cell:>24}" for cell in cells))
    return "\n".join(lines), found


def pair_table(captions: Mapping[str, Sequence[str]], data: CaptionDataset) -> str:
    """`groups_table` of two captioners by how alike their sentences are, and the range of `true_gain`."""
    one, other = captions.values()
    table, _ = groups_table(same_kind(one, other), captions, data)
    return table + "\ngain in true, middle 95 %: {:.3f} to {:.3f}".format(*true_gain(one, other, data))


def gain_table(attention: Sequence[str], vector: Sequence[str], data: CaptionDataset) -> str:
    """BLEU-4 and the true statements of both, where their sentences are of the same kind, and of the next street's.

    The last are those of attention; below, the fraction of attention's gain over them that one vector has.
    """
    word_for_word, of_kind, _ = same_kind(attention, vector).values()
    images, captions = sorted(word_for_word + of_kind), (attention, vector, [*attention[1:], attention[0]])
    names = ("attention", "one vector c", "the next street's")
    table, found = groups_table({"of the same kind": images}, dict(zip(names, captions, strict=True)), data)
    pairs = zip(*found["of the same kind"].values(), strict=True)
    score, true = ((some - floor) / (most - floor) for most, some, floor in pairs)
    return (
        f"{table}\none vector has of attention's gain over the next street's: {score:.2f} in BLEU-4, {true:.2f} in true"
    )


def true_gain(one: Sequence[str], other: Sequence[str], data: CaptionDataset) -> tuple[float, float]:
    """By how much more of `other` is true than of `one`: as in `bleu_gain`, the middle 95 %."""
    gains = torch.tensor(
        [
            true_share(b, data, image) - true_share(a, data, image)
            for image, (a, b) in enumerate(zip(one, other, strict=True))
        ]
    )
    draws = torch.randint(len(gains), (1000, len(gains)), generator=torch.Generator().manual_seed(0))
    low, high = gains[draws].mean(1).quantile(torch.tensor([0.025, 0.975])).tolist()
    return low, high


def bleu_gain(one: Sequence[str], other: Sequence[str], references: Sequence[Sequence[str]]) -> tuple[float, float]:
    """By how much BLEU-4 of `other` is above that of `one`: the middle 95 % if images are drawn again (bootstrap).

    A thousand times as many images as there are, with replacement.
    """
    draws = torch.randint(len(one), (1000, len(one)), generator=torch.Generator().manual_seed(0))
    first, second = (_bleu_of_sums(_counts(said, references)[draws].sum(1)) for said in (one, other))
    low, high = (second - first).quantile(torch.tensor([0.025, 0.975])).tolist()
    return low, high


def _counts(captions: Sequence[str], references: Sequence[Sequence[str]]) -> Float[Tensor, "n 10"]:
    """Of each caption its clipped matches and n-grams for n = 1 … 4, its length, and that of the nearest reference."""
    rows = []
    for caption, some in zip(captions, references, strict=True):
        words, wanted = split_words(caption), [split_words(one) for one in some]
        pairs = [clipped_matches(words, wanted, n) for n in (1, 2, 3, 4)]
        nearest = min(map(len, wanted), key=lambda length: (abs(length - len(words)), length))
        rows.append([*(found for found, _ in pairs), *(number for _, number in pairs), len(words), nearest])
    return torch.tensor(rows).float()


def _bleu_of_sums(sums: Float[Tensor, "k 10"]) -> Float[Tensor, "k"]:
    means = (sums[:, :4] / sums[:, 4:8]).log().mean(1).exp()
    return means * (1 - sums[:, 9] / sums[:, 8]).clamp(max=0).exp()


SYNONYMS = {
    "red": "scarlet",
    "blue": "azure",
    "green": "emerald",
    "yellow": "golden",
    "white": "snowy",
    "black": "ebony",
    "grey": "gray",
}


def with_synonym(sentence: str) -> str:
    """The sentence with another word for its first colour, as true as before."""
    return _with_colour(sentence, SYNONYMS.get)


def with_wrong_colour(sentence: str, n: int) -> str:
    """The sentence with another colour for its first one; `n` chooses which of the six."""
    colours = list(SYNONYMS)
    return _with_colour(sentence, lambda colour: colours[(colours.index(colour) + 1 + n % 6) % 7])


def versions_of(sentences: Sequence[str]) -> dict[str, list[str]]:
    """The sentences as they are, with a synonym and with a wrong colour."""
    false = [with_wrong_colour(one, n) for n, one in enumerate(sentences)]
    return {"true": [*sentences], "synonym": [with_synonym(one) for one in sentences], "wrong colour": false}


def _with_colour(sentence: str, new: Callable[[str], str]) -> str:
    words = sentence.split()
    place = next((place for place, word in enumerate(words) if word in SYNONYMS), None)
    if place is None:
        raise ValueError(f"sentence: got {sentence!r}, expected one that names a colour")
    words[place] = new(words[place])
    return " ".join(words)


def _plain(caption: str) -> str:
    colours = {synonym: colour for colour, synonym in SYNONYMS.items()}
    return " ".join(colours.get(word, word) for word in caption.split())


def false_before_true(data: CaptionDataset, which: int = 2) -> tuple[str, list[int]]:
    """BLEU-4 with all five references of one of them, with a synonym, and with a wrong colour; of sentences with one.

    A line, and in how many images the false sentence has more than the true one with the synonym, and less.
    """
    images = [i for i in range(len(data)) if SYNONYMS.keys() & set(data.dataset.captions(i)[which].split())]
    every = [data.dataset.captions(image) for image in images]
    true = [with_synonym(references[which]) for references in every]
    false = [with_wrong_colour(references[which], n) for n, references in enumerate(every)]
    pairs = [[bleu([one], [some]) for one in two] for *two, some in zip(true, false, every, strict=True)]
    more, less = (sum(b > a for a, b in pairs), sum(b < a for a, b in pairs))
    line = f"synonym {bleu(true, every):.3f}, wrong colour {bleu(false, every):.3f}; of {len(images)} sentences"
    return f"{line} the wrong colour has more in {more}, less in {less}", [more, less]


def true_statements(captions: Sequence[str], data: CaptionDataset, images: Sequence[int] | None = None) -> float:
    """The mean share of true statements in captions of `images`, by default the first ones; synonyms are understood."""
    read = [_plain(caption) for caption in captions]
    images = range(len(read)) if images is None else images
    return sum(true_share(one, data, image) for one, image in zip(read, images, strict=True)) / len(read)
