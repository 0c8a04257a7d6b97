"""Where the captioner of notebook 08 looks: attention by object, at what it names, and at what is not there."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lecture_course.nb08_show_attend_and_tell.telling import OF_PHRASE, kind_of
from lecture_utils.captioning.decoding import Captions
from lecture_utils.captioning.scores import points_in
from lecture_utils.captioning.vocabulary import PAD, START
from lecture_utils.tasks.caption_dataset import CaptionDataset
from lecture_utils.tasks.caption_scores import Generated, named_objects, pointing
from lecture_utils.toycity.describe import LIST, middle, phrase
from lecture_utils.toycity.facts import Mention, facts, find_mentions

POINTING = {  # metrics of a captioner's card, and what they are in words
    "pointing": "all its words",
    "pointing_colour": "its colour",
    "pointing_shuffled": "shuffled: maps of another image",
    "pointing_chance": "a random point",
}


def shares_of_objects(
    maps: Float[Tensor, "t h w"], boxes: Sequence[Sequence[float]], size: tuple[int, int]
) -> Float[Tensor, "t n_and_1"]:
    """Which share of each map lies on which object, those of the last column on none.

    `boxes` (x0, y0, x1, y1) are pixels of an image of `size`. A point counts for an object if it lies in its box or
    next to it (`points_in`); if for several, for the one whose centre is nearest, in widths and heights of its box.
    """
    grid = tuple(maps.shape[1:])
    ys, xs = ((torch.arange(n) + 0.5) * side / n for n, side in zip(grid, size, strict=True))
    far = torch.full((len(boxes), *grid), torch.inf)
    for k, box in enumerate(boxes):
        x0, y0, x1, y1 = box
        off = ((ys - (y0 + y1) / 2) / (y1 - y0)).abs()[:, None] + ((xs - (x0 + x1) / 2) / (x1 - x0)).abs()
        far[k] = torch.where(points_in(box, size, grid), off, torch.inf)
    nearest = torch.where(far.isinf().all(0), len(boxes), far.argmin(0))
    return torch.stack([(maps * (nearest == k)).sum((1, 2)) for k in range(len(boxes) + 1)], dim=1)


@dataclass(frozen=True)
class Example:
    """An object that a caption names: the image's number, the caption's words, and where it names the object.

    `places`: the words whose maps count, all of its phrase but the article ("red car", "person in a blue coat");
    `maps` (t, h, w): those of all words of the caption, zero behind its end, and `others` those of the next image's;
    `there`: whether the image has such an object; `true`: whether all statements of the caption hold; `box`: of the
    one object that is meant (x0, y0, x1, y1), None where that is not known.
    """

    image: int
    words: list[str]
    named: Mention
    places: tuple[int, ...]
    maps: Float[Tensor, "t h w"]
    others: Float[Tensor, "t h w"]
    there: bool
    true: bool
    box: Sequence[float] | None

    @property
    def text(self) -> str:
        return self.named.text

    @property
    def kind(self) -> int:
        """The place of the word that decides what kind of object it is: of a traffic light that is `traffic`."""
        return self.named.noun - (self.words[self.named.noun] == "light")

    @property
    def map_(self) -> Float[Tensor, "h w"]:
        return self.maps[list(self.places)].sum(0)


def examples(said: Captions, data: CaptionDataset) -> list[Example]:
    """Each object that the captions of the first images of a data set name; `said` with their attention.

    A list means the objects from left to right (`named_objects`); any other sentence the only one of that name.
    """
    found = []
    every = said.attention[:, 0, 0].cpu() * (said.words.cpu() != PAD)[..., None, None]
    for image, (numbers, maps) in enumerate(zip(said.words, every, strict=True)):
        words, truth = data.vocabulary.to_tokens(numbers), data.truth(image)
        caption, seen = " ".join(words), Counter(map(phrase, truth[1].objects))
        true = all(fact.holds for fact in facts(caption, *truth))
        meant = {named.start: obj.box for named, obj in named_objects(words, truth[1].objects)}
        for named in find_mentions(words):
            alone = caption.startswith(LIST) or seen[named.text] == 1
            there = named.start in meant if caption.startswith(LIST) else seen[named.text] > 0
            places, box = tuple(range(named.start + 1, named.stop)), meant.get(named.start) if alone else None
            others = every[(image + 1) % len(every)]
            found.append(Example(image, words, named, places, maps, others, there, true, box))
    return found


def attended_objects(example: Example, data: CaptionDataset) -> list[tuple[str, float]]:
    """The shares of an example's map that lie on the objects of its image, the largest first; equal ones are added."""
    truth = data.truth(example.image)[1]
    boxes = [obj.box for obj in truth.objects]
    (shares,) = shares_of_objects(example.map_[None] / example.map_.sum(), boxes, truth.labels.shape)
    found: Counter = Counter()
    for obj, share in zip(truth.objects, shares.tolist(), strict=False):  # the last share is that of no object
        found[phrase(obj)] += share
    return found.most_common()


def diagonals(said: Captions, data: CaptionDataset, number: int) -> dict[int, bool]:
    """The images with so many objects whose list has no error: does each colour attend most to its own object?

    `said` with the lists' attention; of objects that lists name from left to right.
    """
    found = {}
    for image, (numbers, maps) in enumerate(zip(said.words, said.attention[:, 0, 0].cpu(), strict=True)):
        words, (scene, truth) = data.vocabulary.to_tokens(numbers), data.truth(image)
        if len(truth.objects) == number and all(fact.holds for fact in facts(" ".join(words), scene, truth)):
            boxes = [obj.box for obj in sorted(truth.objects, key=middle)]
            shares = shares_of_objects(maps[: len(words)], boxes, truth.labels.shape)
            of_colours = shares[[named.colour for named in find_mentions(words)]]
            found[image] = of_colours.argmax(1).tolist() == list(range(number))
    return found


def by_sentence(*captions: Sequence[Example]) -> dict[str, list[Example]]:
    """Examples by the kind of their caption; lists also by the object, comparisons by which of the two."""
    found: dict[str, list[Example]] = {}
    for named in captions:
        for before, one in pairwise([None, *named]):
            kind = kind_of(" ".join(one.words))
            names = [kind]
            if kind == "other":
                names = ["list", f"list: {OF_PHRASE[one.text][0]}"]
            elif kind == "two objects":
                second = before is not None and before.image == one.image
                names = [f"comparison, {'second' if second else 'first'} object"]
            for name in names:
                found.setdefault(name, []).append(one)
    return found


def points_at(map_: Float[Tensor, "h w"], example: Example, data: CaptionDataset) -> bool:
    """Whether a map is highest in, or next to, the box of the object that is meant (pointing accuracy)."""
    inside = points_in(example.box, data.truth(example.image)[1].labels.shape, tuple(map_.shape))
    return bool(inside.flatten()[map_.argmax()])


def pointing_table(groups: Mapping[str, Sequence[Example]], data: CaptionDataset) -> tuple[str, dict[str, list[float]]]:
    """Pointing accuracy of the objects that are there, a row for each group: a table, and its numbers.

    By the maps of all words of the phrase added, of its colour, and of its noun, as `caption_scores.pointing` counts;
    of the word that decides its `kind`; and by the same places in the next image's caption, where it has not ended,
    all of them and the colour's alone.
    """
    head = ("named, there", "all its words", "colour", "kind", "noun", "shuffled", "shuffled colour")
    lines, numbers = [" " * 27 + "".join(f"{name:>{len(name) + 3}}" for name in head)], {}
    for name, some in groups.items():
        there = [one for one in some if one.box is not None]
        hits = []
        for one in there:
            other = one.others[list(one.places)].sum(0)
            maps = one.map_, one.maps[one.named.colour], one.maps[one.kind], one.maps[one.named.noun]
            maps += other, one.others[one.named.colour]
            hits.append([float(points_at(map_, one, data)) if map_.any() else math.nan for map_ in maps])
        numbers[name] = torch.tensor(hits).nanmean(0).tolist()
        cells = [f"{len(there)}", *(f"{share:.2f}" for share in numbers[name])]
        lines.append(f"{name:27}" + "".join(f"{cell:>{len(a) + 3}}" for cell, a in zip(cells, head, strict=True)))
    return "\n".join(lines), numbers


PROBABILITIES = {"below 0.5": 0.0, "0.5 to 0.9": 0.5, "0.9 to 0.99": 0.9, "above": 0.99}  # where each bin begins


@torch.no_grad()
def by_probability(
    model: nn.Module, grids: Float[Tensor, "b features h w"], said: Captions, data: CaptionDataset
) -> tuple[str, dict[str, list[float]]]:
    """Pointing accuracy of the words for the colour and the kind, by the probability that each was said with: a table.

    `said` are the model's captions of these grids, with their attention; in brackets how many words there are.
    """
    before = torch.cat([torch.full_like(said.words[:, :1], START), said.words[:, :-1]], 1)
    logits = torch.cat([model(*pair)[0] for pair in zip(grids.split(50), before.split(50), strict=True)])
    chances = logits.float().softmax(2).gather(2, said.words[..., None])[..., 0].cpu()
    lines, found = [f"{'probability':14}" + "".join(f"{name:>16}" for name in PROBABILITIES)], {}
    starts = torch.tensor([*PROBABILITIES.values()])
    for name in ("colour", "kind"):
        bins: list[list[bool]] = [[] for _ in PROBABILITIES]
        for one in examples(said, data):
            if one.box is not None:
                place = one.named.colour if name == "colour" else one.kind
                which = int((starts <= chances[one.image, place]).sum()) - 1
                bins[which].append(points_at(one.maps[place], one, data))
        found[name] = [sum(some) / len(some) if some else math.nan for some in bins]
        cells = [f"{hits:.2f} ({len(some)})" for hits, some in zip(found[name], bins, strict=True)]
        lines.append(f"{name:14}" + "".join(f"{cell:>16}" for cell in cells))
    return "\n".join(lines), found


def of_package(lists: Captions, data: CaptionDataset) -> dict[str, float]:
    """The metrics `pointing` … of the package for the lists of the first images of a data set, as for a card."""
    words = [data.vocabulary.to_tokens(numbers) for numbers in lists.words]
    maps = lists.attention[:, 0, 0].cpu() * (lists.words.cpu() != PAD)[..., None, None]
    return pointing(Generated([], words, maps), data)


def as_counted(numbers: Sequence[float], lists: Captions, data: CaptionDataset) -> bool:
    """Whether the numbers of `pointing_table` for lists are those of the package's own function."""
    counted, names = of_package(lists, data), ("pointing", "pointing_colour", "pointing_noun", "pointing_shuffled")
    return all(
        math.isclose(numbers[k], counted[name], abs_tol=1e-3) for k, name in zip((0, 1, 3, 4), names, strict=True)
    )


def elsewhere(wrong: Sequence[str], right: Sequence[str]) -> int:
    """In how many captions the word that is not that of the right caption is one of its other words."""
    pairs = [(a.split(), b.split()) for a, b in zip(wrong, right, strict=True)]
    return sum(any(x != y and x in b for x, y in zip(a, b, strict=True)) for a, b in pairs)


def hallucinated(named: Sequence[Example], data: CaptionDataset) -> tuple[str, list[bool]]:
    """What is attended to while objects are named: a table, and whether their colour may be taken from elsewhere.

    That is: whether a tenth or more of the attention is on objects of another kind that have the named colour; only
    where the image has such objects.
    """
    head = f"{'named, not there':25} {'most attention':31} {'no object':11} its colour, on another kind of object"
    lines, taken = [head], []
    for one in named:
        category, colour = OF_PHRASE[one.text]
        ranking = attended_objects(one, data)
        alike = [(share, name) for name, share in ranking if OF_PHRASE[name][1] == colour]
        alike = [(share, name) for share, name in alike if OF_PHRASE[name][0] != category]
        first, most = ranking[0]
        cell = "none in the street"
        if alike:
            taken.append(alike[0][0] >= 0.1)
            cell = f"{alike[0][0]:.2f} {alike[0][1]}"
        none = 1 - sum(share for _, share in ranking)
        lines.append(f"{one.text:25} {f'{most:.2f} {first}':31} {none:<11.2f} {cell}")
    return "\n".join(lines), taken


def of_right_lists(named: Sequence[Example], number: int) -> list[Example]:
    """The first lists without an error that name two objects or more, each as one object's colour alone.

    Of each list the first object whose phrase was not yet taken; a list that has none is passed over.
    """
    chosen: dict[str, Example] = {}
    for image in dict.fromkeys(one.image for one in named):
        some = [one for one in named if one.image == image]
        fresh = [one for one in some if one.text not in chosen]
        if len(some) > 1 and some[0].true and fresh:
            chosen[fresh[0].text] = replace(fresh[0], places=(fresh[0].named.colour,))
    return list(chosen.values())[:number]
