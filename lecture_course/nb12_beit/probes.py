"""Linear probes of notebook 12: what a linear classifier reads off frozen features, and off colours (slide 34)."""

from collections.abc import Mapping
from itertools import product
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from lecture_utils import tasks, toycity
from lecture_utils.cityscapes import IGNORE_INDEX
from lecture_utils.datasets import CityscapesPairs, toy_city
from lecture_utils.transformers import BEiT
from lecture_utils.transformers.visual_tokens import cut

KINDS = tuple(product(("day", "sunset", "night"), ("clear", "cloudy", "foggy")))
STRENGTHS = (0.1, 1.0, 10.0, 100.0)  # C of the logistic regression; the larger, the less it is held back


class Labelled(NamedTuple):
    """Streets as a network takes them, the number of each one's time of day and weather, and each patch's class."""

    images: Float[Tensor, "n 3 h w"]
    kinds: Int64[Tensor, "n"]
    classes: Int64[Tensor, "n patches"]


def labelled(split: str, number: int, *, patch: int = 8) -> Labelled:
    """The first streets of a split, without flips; the class of a patch is the commonest of its pixels."""
    pairs = CityscapesPairs(toy_city(), split, transforms=tasks.photo_transforms())
    scenes = [toycity.sample_scene(seed) for seed in toycity.seeds(split, number)]
    items = [pairs[index] for index in range(number)]
    maps = torch.stack([torch.as_tensor(np.asarray(labels)).long() for _, labels in items])
    pieces = maps.unfold(1, patch, patch).unfold(2, patch, patch).flatten(3).mode(-1).values
    kinds = torch.tensor([KINDS.index((scene.time, scene.weather)) for scene in scenes])
    return Labelled(torch.stack([image.as_subclass(Tensor) for image, _ in items]), kinds, pieces.flatten(1))


@torch.no_grad()
def features(backbone: BEiT, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n patches dim"]:
    """The tokens of all patches from a frozen backbone, nothing hidden, on the CPU."""
    device = next(backbone.parameters()).device
    return torch.cat([backbone(part.to(device))[0][:, 1:].cpu() for part in images.split(50)])


def colour_statistics(images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 12"]:
    """Mean and standard deviation of red, green and blue, in the upper and in the lower half of each image."""
    halves = images.tensor_split(2, dim=2)
    return torch.cat([part for half in halves for part in (half.mean((2, 3)), half.std((2, 3)))], dim=1)


def with_place(patches: Float[Tensor, "n patches d"], grid: tuple[int, int]) -> Float[Tensor, "n patches more"]:
    """Features of patches, and beside them one number for each row and each column of the grid: 1 where it stands."""
    place = torch.arange(grid[0] * grid[1])
    rows, columns = F.one_hot(place // grid[1], grid[0]), F.one_hot(place % grid[1], grid[1])
    return torch.cat([patches, torch.cat([rows, columns], 1).float().expand(len(patches), -1, -1)], dim=2)


def of_streets(streets: Labelled, tokens: Mapping[str, Tensor]) -> dict[str, Float[Tensor, "n d"]]:
    """What a probe of whole streets may read: colours alone, or the mean of the tokens of each network."""
    return {"12 colour statistics": colour_statistics(streets.images)} | {name: x.mean(1) for name, x in tokens.items()}


def of_patches(
    streets: Labelled, tokens: Mapping[str, Tensor], *, patch: int = 8
) -> dict[str, Float[Tensor, "n patches d"]]:
    """What a probe of patches may read: the pixels, or the token of each network; and each patch's row and column."""
    grid = tuple(side // patch for side in streets.images.shape[2:])
    read = {"its pixels": cut(streets.images, patch)} | dict(tokens)
    return {name: with_place(x, grid) for name, x in read.items()}


def probe(
    known: Mapping[str, Tensor],
    answers: Tensor,
    unseen: Mapping[str, Tensor],
    right: Tensor,
    *,
    draws: int,
    number: int = 60,
    tune: int = 200,
) -> dict[str, list[float]]:
    """The accuracy of a linear probe on each of several representations, for each draw of `number` labelled streets.

    `known` and `unseen` are representation → (streets, …, d), `answers` and `right` their labels (streets, …); a label
    that is ignored does not count. A draw is the next `number` streets; the last `tune` ones choose C of the logistic
    regression, the best over all draws, for each representation. Features are standardised. Too few streets are a
    ValueError.
    """
    if draws * number + tune > len(answers):
        raise ValueError(f"draws: got {draws} of {number}, and {tune} to tune on, of {len(answers)} streets")
    parts = [slice(at, at + number) for at in range(0, draws * number, number)]
    held, scores = slice(len(answers) - tune, None), {}
    for name, x in known.items():
        fitted = {strength: [_fitted(x[part], answers[part], strength) for part in parts] for strength in STRENGTHS}
        best = max(fitted.values(), key=lambda models: sum(_score(model, x[held], answers[held]) for model in models))
        scores[name] = [_score(model, unseen[name], right) for model in best]
    return scores


def _fitted(x: Tensor, y: Tensor, strength: float):
    from sklearn.linear_model import LogisticRegression  # half a second, which only a probe needs
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=3000, tol=1e-2))
    return model.fit(*_rows(x, y))


def _score(model, x: Tensor, y: Tensor) -> float:
    return float(model.score(*_rows(x, y)))


def _rows(x: Tensor, y: Tensor) -> tuple[np.ndarray, np.ndarray]:
    x, y = x.flatten(0, -2).numpy(), y.flatten().numpy()
    return x[y != IGNORE_INDEX], y[y != IGNORE_INDEX]
