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
from lecture_utils.toycity.describe import HOURS, LIST, phrase
from lecture_utils.toycity.facts import facts, find_mentions

GROUPS = {"1 or 2": "1_2", "3 or 4": "3_4", "5 to 8": "5_more"}  # objects in the street, and their columns in a study
POINTING = {  # metrics of a captioner's card, and what they are in words
    "pointing": "colour and noun",
    "pointing_colour": "colour alone",
    "pointing_noun": "noun alone",
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

    `map_`: the maps of these two words, added; `there`: whether the image has such an object; `true`: whether all
    statements of the caption hold.
    """

    image: int
    words: list[str]
    text: str
    places: tuple[int, int]
    map_: Float[Tensor, "h w"]
    there: bool
    true: bool

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
            found.append(Example(image, words, named.text, places, maps[list(places)].sum(0), there, true))
    return found


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


def kind_of(caption: str) -> str:
    """Which of the `KINDS` a caption is of; "other" for a list, or one that the grammar does not know."""
    return next((kind for kind, mark in KINDS.items() if re.search(mark, caption)), "other")


def bleu_of_same_kind(one: Sequence[str], other: Sequence[str], references: Sequence[Sequence[str]]) -> tuple:
    """The number of images of which two captioners make sentences of the same kind, and the BLEU-4 of both on these."""
    same = [i for i, pair in enumerate(zip(one, other, strict=True)) if kind_of(pair[0]) == kind_of(pair[1])]
    return len(same), *(bleu([said[i] for i in same], [references[i] for i in same]) for said in (one, other))


def attended_in_pairs(named: Sequence[Example], data: CaptionDataset) -> dict[str, int]:
    """In captions that compare two objects, both there: which has most of the map of the one that is named first?"""
    found = dict.fromkeys(("itself", "the one named next", "another one"), 0)
    for first, second in pairwise(named):
        pair = first.image == second.image and first.there and second.there
        if pair and kind_of(" ".join(first.words)) == "two objects":
            best = attended_objects(first, data)[0][0]
            name = "itself" if best == first.text else "the one named next" if best == second.text else "another one"
            found[name] += 1
    return found


def by_noun(named: Sequence[Example], maps: Float[Tensor, "n t h w"], data: CaptionDataset) -> str:
    """A table of the objects that are there, by noun: how often the colour's and the noun's map is highest on one.

    `maps` are those of the captions, one for each word.
    """
    found: dict[str, list[tuple[bool, bool]]] = {}
    for one in named:
        truth = data.truth(one.image)[1]
        boxes = [obj.box for obj in truth.objects if phrase(obj) == one.text]
        on = torch.zeros(maps.shape[2:], dtype=torch.bool)
        for box in boxes:
            on |= points_in(box, truth.labels.shape, tuple(on.shape))
        if boxes:
            hits = tuple(bool(on.flatten()[maps[one.image, place].argmax()]) for place in one.places)
            found.setdefault(one.words[one.places[1]], []).append(hits)
    lines = ["in free captions   named   colour alone   noun alone"]
    for noun, hits in found.items():
        colour, of_noun = torch.tensor(hits).float().mean(0).tolist()
        lines.append(f"{noun:16} {len(hits):7} {colour:14.2f} {of_noun:12.2f}")
    return "\n".join(lines)


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


def words_found(captions: Sequence[str], references: Sequence[str]) -> float:
    """Which fraction of the captions' words their one reference has, synonyms understood: what METEOR begins with."""
    said, wanted = ([Counter(_plain(one).split()) for one in some] for some in (captions, references))
    found = sum((one & other).total() for one, other in zip(said, wanted, strict=True))
    return found / sum(one.total() for one in said)


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
