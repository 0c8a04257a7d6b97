"""What notebook 08 measures: channels that fire at a class, attention by object, models by the number of objects."""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lecture_utils import recipes, studies
from lecture_utils.captioning.decoding import Captions
from lecture_utils.captioning.scores import bleu, points_in
from lecture_utils.cityscapes import CLASSES
from lecture_utils.tasks.caption_dataset import CaptionDataset
from lecture_utils.tasks.caption_scores import GROUPS as TASK_GROUPS
from lecture_utils.tasks.caption_scores import true_share
from lecture_utils.toycity.describe import HOURS, LIST, PHRASES, middle, phrase
from lecture_utils.toycity.facts import facts, find_mentions
from lecture_utils.toycity.sample import CAR_COLOURS, COAT_COLOURS

GROUPS = {"1 or 2": "1_2", "3 or 4": "3_4", "5 to 8": "5_more"}  # objects in the street, and their columns in a study
POINTING = {  # metrics of a captioner's card, and what they are in words
    "pointing": "colour and noun",
    "pointing_shuffled": "shuffled: maps of another image",
    "pointing_chance": "a random point",
}
SPLITS = {"500 test streets": "test", "500 training streets": "train"}
NAMES = {  # of the study's models
    "bottleneck_mean": "mean of the points",
    "bottleneck_rnn": "MLP, 192 numbers",
    "bottleneck_1024": "MLP, 1,024 numbers",
    "show_attend_tell": "attention",
}


def auc(values: Float[Tensor, "channels n"], positive: Tensor) -> Float[Tensor, "channels"]:
    """How well each channel tells the positive points, (n,) bool, from the others: the area under the ROC curve.

    The probability that a positive point has a larger value than another one; of equal values half the time.
    """
    if not positive.any() or positive.all():
        raise ValueError(f"positive: got {int(positive.sum())} of {len(positive)} points, expected some and not all")
    order = values.contiguous().sort(1).values
    inside = values[:, positive].contiguous()
    low, high = (torch.searchsorted(order, inside, right=right) for right in (False, True))
    ranks = (low + high).double().sum(1) / 2 + inside.shape[1] / 2
    n, m = inside.shape[1], values.shape[1] - inside.shape[1]
    return ((ranks - n * (n + 1) / 2) / (n * m)).float()


def best_channels(
    z: Float[Tensor, "b channels h w"], labels: Int[Tensor, "b H W"], classes: Mapping[str, int]
) -> dict[str, tuple[int, float]]:
    """For each class the channel that tells its points best from all others: its number, and the area under the ROC."""
    values, of_points, found = z.transpose(0, 1).flatten(1), _classes_of_points(z, labels), {}
    for name, train_id in classes.items():
        areas = auc(values, of_points == train_id)
        found[name] = int(areas.argmax()), float(areas.max())
    return found


def linear_readout(
    z: Float[Tensor, "b channels h w"], labels: Int[Tensor, "b H W"], train_id: int, of: Float[Tensor, "channels h w"]
) -> tuple[Float[Tensor, "h w"], float]:
    """A class read from all channels together: its scores in the grid `of`, and the area under the ROC where unseen.

    Least squares, with a little weight decay, on the first half of the images; the area is that of the second half.
    """
    points, means, spreads = _standardised(z.transpose(0, 1).flatten(1).T)
    weights, area = _least_squares(points, _classes_of_points(z, labels) == train_id, len(points) // 2)
    return ((of.flatten(1).T - means) / spreads @ weights).view(of.shape[1:]), area


def class_maps(
    z: Float[Tensor, "b channels h w"], labels: Int[Tensor, "b H W"], names: Sequence[str], of: Tensor
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Of the grid `of` (channels, h, w) the best channel for each class, and all channels for the first; the areas.

    The maps' names say which and how well (`auc`); the areas are by class, that of all channels under "all".
    """
    best = best_channels(z, labels, {name: CLASSES.index(name) for name in names})
    maps = {f"channel {k}: {name} ({area:.2f})": of[k] for name, (k, area) in best.items()}
    scores, area = linear_readout(z, labels, CLASSES.index(names[0]), of)
    maps[f"all {len(of)} channels: {names[0]} ({area:.2f})"] = scores.clamp(min=0)
    return maps, {name: found for name, (_, found) in best.items()} | {"all": area}


def colour_readout(z: Float[Tensor, "b channels h w"], data: CaptionDataset) -> dict[str, float]:
    """How well points on cars of one colour are told from those on other cars, by all channels together (`auc`).

    The cars of the first images of a data set, whose grids are `z`; as in `linear_readout`, half of the images each.
    """
    points, colours, half = [], [], 0
    for image, grid in enumerate(z):
        half = len(colours) if image == len(z) // 2 else half
        truth, side = data.truth(image)[1], data.truth(image)[1].labels.shape[0] // grid.shape[1]
        cells = torch.from_numpy(truth.instances).long().unfold(0, side, side).unfold(1, side, side)
        of_cells = cells.flatten(2).mode(-1).values
        for number, car in enumerate(truth.objects, start=1):
            if car.category == "car":
                points.append(grid[:, of_cells == number].T)
                colours += [car.colour] * len(points[-1])
    every = _standardised(torch.cat(points))[0]
    is_of = {colour: torch.tensor([one == colour for one in colours]) for colour in sorted(set(colours))}
    return {colour: _least_squares(every, positive, half)[1] for colour, positive in is_of.items()}


def _standardised(points: Float[Tensor, "n channels"]) -> tuple[Tensor, Tensor, Tensor]:
    means, spreads = points.mean(0), points.std(0) + 1e-6
    return (points - means) / spreads, means, spreads


def _least_squares(points: Float[Tensor, "n channels"], positive: Tensor, half: int) -> tuple[Tensor, float]:
    """Weights for the channels, fitted with a little decay to the first `half` points, and the `auc` of the others."""
    seen, wanted = points[:half], positive[:half].float()
    decay = 0.01 * half * torch.eye(points.shape[1])
    weights = torch.linalg.solve(seen.T @ seen + decay, seen.T @ (wanted - wanted.mean()))
    return weights, auc((points[half:] @ weights)[None], positive[half:]).item()


PROBED = {  # what is asked of a street: a name -> of its objects, each (category, colour), the answers to be averaged
    "a car": [lambda some: any(kind == "car" for kind, _ in some)],
    "a person": [lambda some: any(kind == "person" for kind, _ in some)],
    "a traffic sign": [lambda some: any(kind == "traffic sign" for kind, _ in some)],
    "a traffic light": [lambda some: any(kind == "traffic light" for kind, _ in some)],
    "two cars or more": [lambda some: sum(kind == "car" for kind, _ in some) > 1],
    "four objects or more": [lambda some: len(some) > 3],
    "a red car, a blue car, …": [lambda some, c=c: ("car", c) in some for c in CAR_COLOURS],
    "a red coat, a blue coat, …": [lambda some, c=c: ("person", c) in some for c in COAT_COLOURS],
}


def probe(
    fitted: tuple[Float[Tensor, "n d"], CaptionDataset], scored: tuple[Float[Tensor, "m d"], CaptionDataset]
) -> dict[str, float]:
    """What a linear layer reads from a vector of each street: the area under the ROC (`auc`) for each of `PROBED`.

    Least squares on the first pair, scored on the second; the weight decay counts as much as the data (with less of it
    the areas were smaller).
    """
    x, means, spreads = _standardised(fitted[0])
    inverse, unseen = torch.linalg.inv(x.T @ x + len(x) * torch.eye(x.shape[1])), (scored[0] - means) / spreads
    seen, wanted = (
        [[(obj.category, obj.colour) for obj in data.truth(i)[1].objects] for i in range(len(vectors))]
        for vectors, data in (fitted, scored)
    )
    found = {}
    for name, questions in PROBED.items():
        areas = []
        for asked in questions:
            y, there = (torch.tensor([asked(some) for some in every]) for every in (seen, wanted))
            weights = inverse @ (x.T @ (y.float() - y.float().mean()))
            areas.append(auc((unseen @ weights)[None], there).item())
        found[name] = sum(areas) / len(areas)
    return found


def _classes_of_points(z: Tensor, labels: Tensor) -> Tensor:
    """The class, for each point of the grids in a row, that fills most of its cell of the label maps."""
    _, _, h, w = z.shape
    high, wide = labels.shape[1] // h, labels.shape[2] // w
    return labels.unfold(1, high, high).unfold(2, wide, wide).flatten(3).mode(-1).values.flatten()


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
    """`truth_by_kind` of each model's captions and, by another street, of chance: a table, and those over chance."""
    kinds = (*dict.fromkeys(SETTING.values()), "objects")
    lines, over = [f"{'':34}" + "".join(f"{kind:>12}" for kind in kinds)], {}
    for name, some in captions.items():
        own, other = (truth_by_kind(some, data, shift=shift) for shift in (0, 1))
        for what, held in (("", own), (" (of another street)", other)):
            lines.append(f"{name + what:34}" + "".join(f"{held[kind]:12.2f}" for kind in kinds))
        lines.append(f"  {dict(Counter(map(kind_of, some)))}")
        over[name] = {kind: own[kind] - other[kind] for kind in kinds}
    return "\n".join(lines), over


def attended_objects(example: Example, data: CaptionDataset) -> list[tuple[str, float]]:
    """The shares of an example's map that lie on the objects of its image, the largest first; equal ones are added."""
    truth = data.truth(example.image)[1]
    boxes = [obj.box for obj in truth.objects]
    (shares,) = shares_of_objects(example.map_[None] / example.map_.sum(), boxes, truth.labels.shape)
    found: Counter = Counter()
    for obj, share in zip(truth.objects, shares.tolist(), strict=False):  # the last share is that of no object
        found[phrase(obj)] += share
    return found.most_common()


# What a sentence of the city's grammar tells, and words by which to know it; in this order.
KINDS = {
    "two objects": " is to the | is behind | is in front of ",
    "setting": "street with|an empty street|nobody",
    "counts": " on a street ",
    "one object": "^a ",
}


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


def kind_of(caption: str) -> str:
    """Which of the `KINDS` a caption is of; "other" for a list, or one that the grammar does not know."""
    return next((kind for kind, mark in KINDS.items() if re.search(mark, caption)), "other")


def caption_table(captions: Mapping[str, Sequence[str]], data: CaptionDataset) -> tuple[str, dict[str, float]]:
    """BLEU-4, true statements, length and kinds of some captions of all images: a table, and BLEU-4."""
    references = [data.dataset.captions(index) for index in range(len(data))]
    kinds = ("setting", "two objects", "one object", "counts")
    lines, scores = [f"{'':22} BLEU-4    true   words   " + "   ".join(kinds)], {}
    for name, some in captions.items():
        scores[name], counts = bleu(some, references), Counter(map(kind_of, some))
        length = sum(len(one.split()) for one in some) / len(some)
        line = f"{name:22} {scores[name]:6.3f} {true_statements(some, data):7.3f} {length:7.1f}   "
        lines.append(line + "   ".join(f"{counts[kind]:{len(kind)}}" for kind in kinds))
    return "\n".join(lines), scores


def bleu_of_same_kind(one: Sequence[str], other: Sequence[str], references: Sequence[Sequence[str]]) -> tuple:
    """The number of images of which two captioners make sentences of the same kind, and the BLEU-4 of both on these."""
    same = [i for i, pair in enumerate(zip(one, other, strict=True)) if kind_of(pair[0]) == kind_of(pair[1])]
    return len(same), *(bleu([said[i] for i in same], [references[i] for i in same]) for said in (one, other))


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


def true_statements(captions: Sequence[str], data: CaptionDataset, images: Sequence[int] | None = None) -> float:
    """The mean share of true statements in captions of `images`, by default the first ones; synonyms are understood."""
    read = [_plain(caption) for caption in captions]
    images = range(len(read)) if images is None else images
    return sum(true_share(one, data, image) for one, image in zip(read, images, strict=True)) / len(read)


def first_pairs(named: Sequence[Example], number: int) -> list[Example]:
    """The first true captions that name two objects, each for another first one, as examples of that."""
    chosen: dict[str, Example] = {}
    for first, second in pairwise(named):
        if first.image == second.image and first.true and first.places < second.places and first.name not in chosen:
            chosen[first.name] = first
    return list(chosen.values())[:number]


def by_objects(rows: Sequence[Mapping], model: str, split: str, metric: str = "facts") -> list[list[float]]:
    """A metric of the study `bottleneck` for each seed of a model, by the number of objects (`GROUPS`)."""
    chosen = [row for row in rows if row["model"] == model and row.get("split", "test") == split]
    return [[row[f"{metric}_{group}"] for group in GROUPS.values()] for row in chosen]


def chance_by_objects(data: CaptionDataset) -> list[float]:
    """What true lists come to on other streets, by the number of objects (`GROUPS`): on the next with as many."""
    images: dict[int, list[int]] = {}
    for image in range(len(data)):
        images.setdefault(len(data.truth(image)[1].objects), []).append(image)
    shares = {name: [] for name in TASK_GROUPS}
    for number, some in images.items():
        for image, other in zip(some, some[1:] + some[:1], strict=True) if number and len(some) > 1 else ():
            (name,) = [name for name, numbers in TASK_GROUPS.items() if number in numbers]
            (listed,) = [one for one in data.dataset.captions(image) if one.startswith(LIST)]
            shares[name].append(true_share(listed, data, other))
    return [sum(some) / len(some) for some in shares.values()]


def panels_by_objects(rows: Sequence[Mapping], metric: str = "facts") -> dict[str, dict[str, list[list[float]]]]:
    """What `figures.by_objects` draws of the study: a panel for each split with a line for each model that has rows."""
    panels = {
        name: {shown: by_objects(rows, model, split, metric) for model, shown in NAMES.items()}
        for name, split in SPLITS.items()
    }
    return {
        name: kept for name, lines in panels.items() if (kept := {key: runs for key, runs in lines.items() if runs})
    }


def budgets(rows: Sequence[Mapping]) -> list[dict]:
    """Of each model of the study its steps, learning rate, parameters, and the mean seconds of its trainings."""
    found = []
    for recipe in studies.STUDIES["bottleneck"].models:
        chosen = recipes.recipe(recipe)
        seconds = [row["seconds"] for row in rows if row["model"] == chosen.name and row.get("split", "test") == "test"]
        parameters = sum(weights.numel() for weights in chosen.build().parameters())
        about = {"model": NAMES[chosen.name], "steps": chosen.options.steps, "rate": chosen.options.lr}
        found.append(
            about | {"parameters": parameters, "seconds": sum(seconds) / max(1, len(seconds)), "runs": len(seconds)}
        )
    return found


def budget_table(rows: Sequence[Mapping]) -> str:
    """The `budgets` as a table."""
    lines = [f"{'':20}  steps  learning rate  parameters  trainings"]
    for one in budgets(rows):
        numbers = f"{one['steps']:7,} {one['rate']:14g} {one['parameters']:11,}"
        lines.append(f"{one['model']:20}{numbers} {one['runs']:10}")
    return "\n".join(lines)


def objects_table(panels: Mapping[str, Mapping], chance: Mapping[str, Sequence[float]]) -> str:
    """`panels_by_objects` as a table, means over the trainings, with chance below; columns are the `GROUPS`."""
    lines = [f"{'':20}" + "".join(f"{name:>24}" for name in panels)]
    lines.append(f"{'objects':20}" + "".join(f"{group:>8}" for _ in panels for group in GROUPS))
    for model in NAMES.values():
        means = [torch.tensor(panel[model]).mean(0).tolist() for panel in panels.values()]
        lines.append(f"{model:20}" + "".join(f"{share:8.2f}" for some in means for share in some))
    lines.append(f"{'chance':20}" + "".join(f"{share:8.2f}" for name in panels for share in chance[name]))
    return "\n".join(lines)


def gains(lines: Mapping[str, Sequence[Sequence[float]]], chance: Sequence[float]) -> dict[str, list[float]]:
    """Which fraction of attention's gain over chance each vector keeps, by the number of objects.

    `lines` are those of one panel of `panels_by_objects`; the means over the trainings count.
    """
    over = {name: torch.tensor(runs).mean(0) - torch.tensor(chance) for name, runs in lines.items()}
    most = over.pop("attention")
    return {name: (gain / most).tolist() for name, gain in over.items()}


def best_rates(rows: Sequence[Mapping]) -> dict[str, float]:
    """Of each model of the study `bottleneck_rates` the learning rate with the least loss on validation scenes.

    Its rows name the models as "bottleneck_rnn_0.001".
    """
    best: dict[str, tuple[float, float]] = {}
    for row in rows:
        model, rate = row["model"].rsplit("_", 1)
        best[model] = min(best.get(model, (float("inf"), 0.0)), (row["loss"], float(rate)))
    return {model: rate for model, (_, rate) in best.items()}
