"""Which points lie on objects, what a captioner lists, and which heads point at what it names (slides 28 and 29)."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from lecture_utils import checkpoints, recipes
from lecture_utils.captioning import greedy, points_in
from lecture_utils.tasks.caption_dataset import CaptionDataset
from lecture_utils.tasks.caption_scores import named_objects, true_share
from lecture_utils.toycity.describe import LIST
from lecture_utils.toycity.facts import find_mentions

SIZE = (128, 128)  # pixels of the streets, height and width
SMALL = ("a", "in", "and", ",")
Box = tuple[float, float, float, float]


def untrained(name: str) -> nn.Module:
    """A shipped model as it was before its training: built from the seed of its card."""
    torch.manual_seed(checkpoints.card(name)["seed"])
    return recipes.recipe(name).build().eval()


def on_objects(
    data: CaptionDataset, index: int, grid: tuple[int, int], *, category: str | None = None
) -> Bool[Tensor, "hw"]:
    """Which points of the grid lie on an object of a scene, if given of one category; none where there is none."""
    objects = [obj for obj in data.truth(index)[1].objects if category in (None, obj.category)]
    inside = [points_in(obj.box, SIZE, grid, tolerance=0).flatten() for obj in objects]
    return torch.stack(inside).any(0) if inside else torch.zeros(grid[0] * grid[1], dtype=torch.bool)


@torch.no_grad()
def weight_on(
    objects: Bool[Tensor, "b hw"], layers: Iterable[nn.Module], points: Float[Tensor, "b hw d"]
) -> list[float]:
    """For each of some layers of self-attention the part of all points' weight that falls on the objects of images."""
    found = []
    for layer in layers:
        points, weights = layer(points, need_weights=True)
        found.append((weights.cpu() * objects[:, None, None]).sum(-1).mean().item())
    return found


def list_objects(
    model: nn.Module, z: Float[Tensor, "1 features ..."], data: CaptionDataset, index: int
) -> tuple[list[str], Float[Tensor, "layers heads t h w"], list[Box | None]]:
    """What a captioner lists "from left to right", a word each; its maps, and the box of the object that it names.

    The map of a word is that of the step which chose it. Words that name no object of the scene have no box.
    """
    prefix = data.vocabulary.encode(LIST)[1:-1]
    said = greedy(model, z, prefix=prefix, need_weights=True)
    words, skip = data.vocabulary.to_tokens(said.words[0]), len(prefix)
    boxes: list[Box | None] = [None] * len(words)
    for mention, obj in named_objects(words, data.truth(index)[1].objects):
        phrase = range(mention.start + 1, mention.stop)  # without its article
        boxes[phrase.start : phrase.stop] = [obj.box] * len(phrase)
    return words[skip:], said.attention[0, :, :, skip : len(words)].cpu(), boxes[skip:]


def pointing_heads(
    model: nn.Module,
    z: Float[Tensor, "b features ..."],
    data: CaptionDataset,
    scenes: Sequence[int],
    *,
    maps_of_next: bool = False,
    colour_only: bool = False,
) -> Float[Tensor, "objects heads"]:
    """For each object that a list names rightly, which heads point at it: layer by layer, at last all of them together.

    The maps of the object's words are added, head by head, or only that of its colour is taken; 1 where the highest
    point lies in its box or next to it. With `maps_of_next`, the maps are those of the next image's list at the same
    places.
    """
    prefix = data.vocabulary.encode(LIST)[1:-1]
    said, hits = greedy(model, z, prefix=prefix, need_weights=True), []
    attention = said.attention.roll(-1, 0) if maps_of_next else said.attention
    for index, numbers, maps in zip(scenes, said.words, attention.cpu(), strict=True):
        hits += _hits(data, index, numbers, maps, model.grid, colour_only)
    return torch.stack(hits)


def _hits(
    data: CaptionDataset,
    index: int,
    numbers: Int64[Tensor, "t"],
    maps: Float[Tensor, "layers heads t h w"],
    grid: tuple,
    colour_only: bool,
) -> list[Float[Tensor, "heads"]]:
    found = []
    for mention, obj in named_objects(data.vocabulary.to_tokens(numbers), data.truth(index)[1].objects):
        of = slice(mention.colour, mention.colour + 1) if colour_only else slice(mention.start + 1, mention.stop)
        each = maps[:, :, of].sum(2).flatten(0, 1).flatten(1)
        highest = torch.cat([each, each.sum(0, keepdim=True)]).argmax(1)
        found.append(points_in(obj.box, SIZE, grid).flatten()[highest].float())
    return found


def together_against_best(hits: Float[Tensor, "objects heads"]) -> tuple[int, int]:
    """At how many objects only the last column points, and at how many only the best of the others."""
    gained = hits[:, -1] - hits[:, hits[:, :-1].mean(0).argmax()]
    return (gained > 0).sum().item(), (gained < 0).sum().item()


def effective_points(maps: Float[Tensor, "*n h w"]) -> Float[Tensor, "*n"]:
    """Over how many points a map spreads, the exponential of its entropy: 1 for one point, h · w if all are alike."""
    weights = maps.flatten(-2)
    return torch.special.entr(weights).sum(-1).exp()


def sharpness(
    model: nn.Module, z: Float[Tensor, "b features ..."], data: CaptionDataset
) -> dict[str, Float[Tensor, "layers heads"]]:
    """Kind of word → the effective number of points of each head's maps for it, the mean over the lists of all images.

    Kinds are colours, nouns, `light` (behind `traffic`), and the small words `a`, `in`, `and` and the comma.
    """
    prefix, found = data.vocabulary.encode(LIST)[1:-1], defaultdict(list)
    said = greedy(model, z, prefix=prefix, need_weights=True)
    for numbers, maps in zip(said.words, said.attention.cpu(), strict=True):
        points = effective_points(maps)  # (layers, heads, t)
        words = data.vocabulary.to_tokens(numbers)
        for mention in find_mentions(words):
            found["colour"].append(points[..., mention.colour])
            noun = mention.noun - (words[mention.noun] == "light")
            found["noun (“traffic” of a light)"].append(points[..., noun])
            if noun < mention.noun:
                found["“light” after “traffic”"].append(points[..., mention.noun])
        for place, word in enumerate(words[len(prefix) :], len(prefix)):
            if word in SMALL:
                found["“a”, “in”, “and”, comma"].append(points[..., place])
    return {kind: torch.stack(each).mean(0) for kind, each in found.items()}


def lists_of_another(data: CaptionDataset, number: int) -> list[float]:
    """The share of true statements in the true list of another street with as many objects, for each with objects.

    Of the first `number` streets; another is the next of them that shows as many. A street without such a one is left
    out.
    """
    alike = defaultdict(list)
    for index in range(number):
        alike[len(data.truth(index)[1].objects)].append(index)
    shares = []
    for objects, indices in alike.items():
        if objects and len(indices) > 1:
            for index, other in zip(indices, [*indices[1:], indices[0]], strict=True):
                true_list = next(one for one in data.dataset.captions(other) if one.startswith(LIST))
                shares.append(true_share(true_list, data, index))
    return shares


def commonest_setting(data: CaptionDataset, number: int) -> str:
    """The commonest of the sentences about the setting, the last of a street's five, of the first streets."""
    return Counter(data.dataset.captions(index)[-1] for index in range(number)).most_common(1)[0][0]


def on_boxes(maps: Float[Tensor, "t h w"], boxes: Sequence[Box | None]) -> list[bool | None]:
    """Whether the highest point of each map touches its box; None where there is no box."""
    return [
        None if box is None else points_in(box, SIZE, tuple(map_.shape), tolerance=0).flatten()[map_.argmax()].item()
        for map_, box in zip(maps, boxes, strict=True)
    ]
