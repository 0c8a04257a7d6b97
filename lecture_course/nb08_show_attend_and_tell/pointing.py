"""Where the captioner of notebook 08 looks: attention by object, at what it names, and at what is not there."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from lecture_course.nb08_show_attend_and_tell.telling import OF_PHRASE, kind_of
from lecture_utils.captioning.decoding import Captions
from lecture_utils.captioning.scores import points_in
from lecture_utils.tasks.caption_dataset import CaptionDataset
from lecture_utils.toycity.describe import middle, phrase
from lecture_utils.toycity.facts import facts, find_mentions

POINTING = {  # metrics of a captioner's card, and what they are in words
    "pointing": "colour and noun",
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
    """An object that a caption names: the image's number, the caption, its phrase, and the places of colour and noun.

    `parts`: the maps of these two words, `map_` both added; `there`: whether the image has such an object; `true`:
    whether all statements of the caption hold.
    """

    image: int
    words: list[str]
    text: str
    places: tuple[int, int]
    parts: Float[Tensor, "2 h w"]
    there: bool
    true: bool

    @property
    def map_(self) -> Float[Tensor, "h w"]:
        return self.parts.sum(0)

    @property
    def name(self) -> str:
        """Its colour and its noun."""
        return " ".join(self.words[place] for place in self.places)


def examples(said: Captions, data: CaptionDataset) -> list[Example]:
    """Each object that the captions of the first images of a data set name; `said` with their attention."""
    found = []
    for image, (numbers, maps) in enumerate(zip(said.words, said.attention[:, 0, 0].cpu(), strict=True)):
        words, truth = data.vocabulary.to_tokens(numbers), data.truth(image)
        true = all(fact.holds for fact in facts(" ".join(words), *truth))
        for named in find_mentions(words):
            there = any(phrase(obj) == named.text for obj in truth[1].objects)
            places = (named.colour, named.noun)
            found.append(Example(image, words, named.text, places, maps[list(places)], there, true))
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
    """Whether a map is highest in, or next to, the box of an object that the example names (pointing accuracy)."""
    truth, on = data.truth(example.image)[1], torch.zeros(map_.shape, dtype=torch.bool)
    for obj in truth.objects:
        if phrase(obj) == example.text:
            on |= points_in(obj.box, truth.labels.shape, tuple(on.shape))
    return bool(on.flatten()[map_.argmax()])


def pointing_table(groups: Mapping[str, Sequence[Example]], data: CaptionDataset) -> tuple[str, dict[str, list[float]]]:
    """Pointing accuracy of the objects that are there, a row for each group: a table, and its numbers.

    By the maps of colour and noun added, of each alone, and by that of the group's next object in another image.
    """
    head = ("named, there", "colour and noun", "colour", "noun", "shuffled")
    lines, numbers = [" " * 27 + "".join(f"{name:>{len(name) + 3}}" for name in head)], {}
    for name, some in groups.items():
        there = [one for one in some if one.there]
        hits = []
        for number, one in enumerate(there):
            after = there[number + 1 :] + there[:number]
            other = next((later for later in after if later.image != one.image), one)
            maps = one.map_, *one.parts, other.map_
            hits.append([points_at(map_, one, data) for map_ in maps])
        numbers[name] = torch.tensor(hits).float().mean(0).tolist()
        cells = [f"{len(there)}", *(f"{share:.2f}" for share in numbers[name])]
        lines.append(f"{name:27}" + "".join(f"{cell:>{len(a) + 3}}" for cell, a in zip(cells, head, strict=True)))
    return "\n".join(lines), numbers


def elsewhere(wrong: Sequence[str], right: Sequence[str]) -> int:
    """In how many captions the word that is not that of the right caption is one of its other words."""
    pairs = [(a.split(), b.split()) for a, b in zip(wrong, right, strict=True)]
    return sum(any(x != y and x in b for x, y in zip(a, b, strict=True)) for a, b in pairs)


def hallucinated(wrong: Sequence[Example], data: CaptionDataset) -> tuple[str, list[bool]]:
    """What is attended to at objects that are not there: a table, and for each whether its colour was taken elsewhere.

    That is: whether a tenth or more of its attention is on objects of another kind that have the named colour.
    """
    lines, taken = [f"{'named, not there':25} {'most attention':30} its colour, on another kind of object"], []
    for one in wrong:
        category, colour = OF_PHRASE[one.text]
        ranking = attended_objects(one, data)
        alike = [(share, name) for name, share in ranking if OF_PHRASE[name][1] == colour]
        alike = [(share, name) for share, name in alike if OF_PHRASE[name][0] != category and share >= 0.1]
        taken.append(bool(alike))
        first, most = ranking[0]
        cells = f"{most:.2f} {first}", f"{alike[0][0]:.2f} {alike[0][1]}" if alike else "-"
        lines.append(f"{one.text:25} {cells[0]:30} {cells[1]}")
    return "\n".join(lines), taken


def first_pairs(named: Sequence[Example], number: int) -> list[Example]:
    """The first true captions that name two objects, each for another first one, as examples of that."""
    chosen: dict[str, Example] = {}
    for first, second in pairwise(named):
        if first.image == second.image and first.true and first.places < second.places and first.name not in chosen:
            chosen[first.name] = first
    return list(chosen.values())[:number]
