"""Linear probes of notebook 12: what a linear classifier reads off frozen features, and off colours (slide 34)."""

from collections.abc import Mapping
from functools import partial
from itertools import product
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from lecture_utils import tasks, toycity
from lecture_utils.cityscapes import IGNORE_INDEX
from lecture_utils.datasets import CityscapesPairs, toy_city
from lecture_utils.tasks.masked_images import GRID, MOST, nearest_visible
from lecture_utils.tasks.photos import to_photo
from lecture_utils.transformers import MaskedImageModel, blockwise_mask
from lecture_utils.transformers.visual_tokens import VisualTokens, cut

PATCH = 8  # pixels of a patch's side
BINS = 8  # of the histogram of a colour
KINDS = tuple(product(("day", "sunset", "night"), ("clear", "cloudy", "foggy")))
STRENGTHS = (0.1, 1.0, 10.0)  # C of the logistic regression; the larger, the less it is held back
TASKS = ("light and weather", "class of a patch", "class of a hidden patch")
MASKS = ("single patches", "single patches, placed as blocks are", "blocks")


class Labelled(NamedTuple):
    """Streets as a network takes them, a mask of each, the number of its light and weather, each patch's class."""

    images: Float[Tensor, "n 3 h w"]
    masks: Bool[Tensor, "n rows columns"]
    kinds: Int64[Tensor, "n"]
    classes: Int64[Tensor, "n patches"]

    @property
    def answers(self) -> dict[str, Int64[Tensor, "n ..."]]:
        """Task → what a probe has to tell; of a patch that is not hidden, the third task ignores the class."""
        hidden = self.classes.masked_fill(~self.masks.flatten(1), IGNORE_INDEX)
        return dict(zip(TASKS, (self.kinds, self.classes, hidden), strict=True))


def labelled(split: str, number: int) -> Labelled:
    """The first streets of a split, without flips; the class of a patch is the commonest of its pixels."""
    pairs, seeds = CityscapesPairs(toy_city(), split, transforms=tasks.photo_transforms()), toycity.seeds(split, number)
    scenes = [toycity.sample_scene(seed) for seed in seeds]
    items = [pairs[index] for index in range(number)]
    maps = torch.stack([torch.as_tensor(np.asarray(labels)).long() for _, labels in items])
    pieces = maps.unfold(1, PATCH, PATCH).unfold(2, PATCH, PATCH).flatten(3).mode(-1).values
    kinds = torch.tensor([KINDS.index((scene.time, scene.weather)) for scene in scenes])
    masks = [blockwise_mask(GRID, MOST, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    images = torch.stack([image.as_subclass(Tensor) for image, _ in items])
    return Labelled(images, torch.stack(masks), kinds, pieces.flatten(1))


def representations(
    streets: Labelled, nets: Mapping[str, MaskedImageModel], visual_tokens: VisualTokens
) -> dict[str, dict[str, Float[Tensor, "n ... d"]]]:
    """Task → what a probe may read by its name: something simple, or the frozen features of each of the `nets`.

    A whole street is read as statistics and histograms of its colours, as counts of its `visual_tokens`, or as the
    mean of its features. A patch is read with its row and column; of a hidden one, simple readers see what is
    visible around it, and a network's features are those of its mask token; of the last, also of the nearest visible.
    """
    images, masks = streets.images, streets.masks
    of = {name: features(net, images) for name, net in nets.items()}
    colours = patch_colours(images)
    simple = {
        "12 colour statistics": colour_statistics(images),
        "colour histograms": colour_histograms(images),
        "visual-token counts": counts(visual_tokens, images),
    }
    seen = {"its pixels": cut(images, PATCH), "with 5 × 5 colours": torch.cat([cut(images, PATCH), around(colours)], 2)}
    nearest = nearest_visible(masks.flatten(1))[..., None]
    visible = (~masks).float()[:, None]
    hidden = {
        "row and column": images.new_zeros(len(images), masks[0].numel(), 0),
        "nearest visible patch": colours.flatten(2).mT.gather(1, nearest.expand(-1, -1, colours.shape[1])),
        "visible 5 × 5 colours": around(torch.cat([colours * visible, visible], 1)),
    }
    masked = {name: features(net, images, masks) for name, net in nets.items()}
    last = masked[list(nets)[-1]]
    hidden |= {"its nearest visible token": last.gather(1, nearest.expand(-1, -1, last.shape[2]))} | masked
    readers = (
        simple | {name: x.mean(1) for name, x in of.items()},
        {name: with_place(x) for name, x in (seen | of).items()},
        {name: with_place(x) for name, x in hidden.items()},
    )
    return dict(zip(TASKS, readers, strict=True))


def masks_of(kind: str, percent: int, number: int, *, seed: int) -> Bool[Tensor, "number rows columns"]:
    """So many masks of one of `MASKS`, which hide about `percent` of the patches, all kinds equally many.

    Single patches are sampled anywhere, or with the frequencies with which these blocks hide each place.
    """
    if kind not in MASKS:
        raise ValueError(f"kind: got {kind!r}, expected one of {', '.join(MASKS)}")
    dice, most = torch.Generator().manual_seed(seed), round(percent * GRID[0] * GRID[1] / 100)
    blocks = torch.stack([blockwise_mask(GRID, most, generator=dice) for _ in range(number)])
    if kind == "blocks":
        return blocks
    often = blocks.float().mean(0).flatten() + 0.001 if kind == MASKS[1] else torch.ones(blocks[0].numel())
    masks = torch.zeros_like(blocks).flatten(1)
    for mask, hidden in zip(masks, blocks.sum((1, 2)).tolist(), strict=True):
        mask[torch.multinomial(often, hidden, generator=dice)] = True
    return masks.view_as(blocks)


@torch.no_grad()
def features(
    net: MaskedImageModel, images: Float[Tensor, "n 3 h w"], masks: Bool[Tensor, "n rows columns"] | None = None
) -> Float[Tensor, "n patches dim"]:
    """The tokens of all patches from a frozen backbone, on the CPU; nothing is hidden by default."""
    device, parts = next(net.parameters()).device, images.split(50)
    masked = [None] * len(parts) if masks is None else masks.to(device).split(50)
    pairs = zip(parts, masked, strict=True)
    return torch.cat([net.backbone(part.to(device), mask)[0][:, 1:].cpu() for part, mask in pairs])


def colour_statistics(images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 12"]:
    """Mean and standard deviation of red, green and blue, in the upper and in the lower half of each image."""
    halves = images.tensor_split(2, dim=2)
    return torch.cat([part for half in halves for part in (half.mean((2, 3)), half.std((2, 3)))], dim=1)


def colour_histograms(images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 48"]:
    """Shares of eight levels of red, green and blue, in the upper and in the lower half of each image."""
    levels = to_photo(images).long() * BINS // 256
    halves = [half.flatten(2) for half in levels.tensor_split(2, dim=2)]
    return torch.cat([F.one_hot(half, BINS).float().mean(2).flatten(1) for half in halves], dim=1)


def counts(tokens: VisualTokens, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n words"]:
    """How often each visual token occurs in each image: no network takes part."""
    found = tokens(images.to(tokens.codebook.device)).cpu()
    return F.one_hot(found, len(tokens.codebook)).sum(1).float()


def patch_colours(images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 6 rows columns"]:
    """Mean and standard deviation of red, green and blue of each patch."""
    mean = F.avg_pool2d(images, PATCH)
    return torch.cat([mean, (F.avg_pool2d(images.square(), PATCH) - mean.square()).clamp(min=0).sqrt()], dim=1)


def around(maps: Float[Tensor, "n d rows columns"]) -> Float[Tensor, "n patches more"]:
    """What stands in the 5 × 5 patches around each patch, itself included; 0 beyond the image."""
    return F.unfold(F.pad(maps, (2, 2, 2, 2)), 5).mT


def with_place(patches: Float[Tensor, "n patches d"], grid: tuple[int, int] = GRID) -> Float[Tensor, "n patches more"]:
    """Features of patches, and beside them one number for each row and each column of the grid: 1 where it stands."""
    place = torch.arange(grid[0] * grid[1])
    rows, columns = F.one_hot(place // grid[1], grid[0]), F.one_hot(place % grid[1], grid[1])
    return torch.cat([patches, torch.cat([rows, columns], 1).float().expand(len(patches), -1, -1)], dim=2)


def probe(
    known: Mapping[str, Tensor],
    answers: Tensor,
    unseen: Mapping[str, Tensor],
    right: Tensor,
    *,
    draws: int,
    number: int = 60,
    folds: int = 3,
    neurons: int = 0,
) -> dict[str, list[float]]:
    """The accuracy of a linear probe on each of several representations, for each draw of `number` labelled streets.

    With `neurons` it is a probe with a hidden layer of so many, and no choice of how far it is held back.

    `known` and `unseen` are representation → (streets, …, d), `answers` and `right` their labels (streets, …); a label
    that is ignored does not count. A draw is the next `number` streets. How far the probe is held back, C of a logistic
    regression, is chosen within it, by cross-validation over `folds` parts of its streets; then it learns from all of
    them. Features are standardised. Too few streets are a ValueError.
    """
    if draws * number > len(answers):
        raise ValueError(f"draws: got {draws} of {number}, of {len(answers)} streets")
    parts, scores = [slice(at, at + number) for at in range(0, draws * number, number)], {}
    for name, x in known.items():
        fit = partial(_mlp, neurons=neurons) if neurons else partial(_tuned, folds=folds)
        models = (fit(x[part], answers[part]) for part in parts)
        scores[name] = [_score(model, unseen[name], right) for model in models]
    return scores


def compared(scores: Mapping[str, list[float]], name: str = "pre-trained network") -> dict[str, float]:
    """The mean of each representation in percent, and in how many draws `name` is ahead of the best beside it."""
    others = zip(*(values for other, values in scores.items() if other != name), strict=True)
    ahead = sum(ours > max(draw) for ours, draw in zip(scores[name], others, strict=True))
    return {each: 100 * sum(values) / len(values) for each, values in scores.items()} | {"draws ahead": ahead}


def _tuned(x: Tensor, y: Tensor, folds: int):
    """The model with the C whose summed accuracy over the folds is best, the smallest of several."""
    held = [torch.arange(len(x)) % folds == fold for fold in range(folds)]
    of = {c: sum(_score(_fitted(x[~part], y[~part], c), x[part], y[part]) for part in held) for c in STRENGTHS}
    return _fitted(x, y, max(of, key=of.get))


def _fitted(x: Tensor, y: Tensor, strength: float):
    from sklearn.linear_model import LogisticRegression  # half a second, which only a probe needs

    return _standardised(LogisticRegression(C=strength, max_iter=3000, tol=1e-2), x, y)


def _mlp(x: Tensor, y: Tensor, neurons: int):
    """A probe with a hidden layer, trained until a tenth of the patches, held out, is told no better."""
    from sklearn.neural_network import MLPClassifier

    return _standardised(MLPClassifier((neurons,), alpha=1.0, early_stopping=True, random_state=0), x, y)


def _standardised(model, x: Tensor, y: Tensor):
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), model).fit(*_rows(x, y))


def _score(model, x: Tensor, y: Tensor) -> float:
    return float(model.score(*_rows(x, y)))


def _rows(x: Tensor, y: Tensor) -> tuple[np.ndarray, np.ndarray]:
    x, y = x.flatten(0, -2).numpy(), y.flatten().numpy()
    return x[y != IGNORE_INDEX], y[y != IGNORE_INDEX]
