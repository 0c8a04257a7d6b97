"""What the learned positions of a captioner look like, and what they are for (slide 29)."""

import copy
from collections import Counter
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from lecture_utils.captioning import CaptionTransformer, greedy
from lecture_utils.tasks.caption_dataset import CaptionDataset
from lecture_utils.tasks.caption_scores import named_objects
from lecture_utils.toycity.describe import LIST, middle, phrase

Vectors = Float[Tensor, "n d"]


def sinusoids(n: int, d: int) -> Float[Tensor, "n d"]:
    """The fixed positions of Vaswani et al., section 3.5, the sines before the cosines."""
    angles = torch.arange(n)[:, None] / 10_000 ** (torch.arange(0, d, 2) / d)
    return torch.cat([angles.sin(), angles.cos()], 1)


def vectors(model: CaptionTransformer) -> dict[str, Vectors]:
    """The learned vectors of rows, of columns, and of the positions of words."""
    grid = model.encode_grid.places
    parts = {"rows": grid.rows[:, :, 0].T, "columns": grid.columns[:, 0].T, "words": model.pos_embed}
    return {name: part.detach().cpu() for name, part in parts.items()}


def cosines(vectors: Vectors) -> Float[Tensor, "n n"]:
    """The cosine of each pair of vectors."""
    unit = F.normalize(vectors.detach().cpu().double(), dim=1)
    return unit @ unit.T


def mean_cosines(vectors: Vectors) -> tuple[float, float]:
    """The mean cosine of vectors next to each other, and of all pairs."""
    table = cosines(vectors)
    return table.diagonal(1).mean().item(), table[torch.ones_like(table).triu(1) > 0].mean().item()


def mirrored(model: CaptionTransformer) -> CaptionTransformer:
    """A copy whose leftmost points get the vector that the rightmost had, and so on."""
    other = copy.deepcopy(model)
    columns = other.encode_grid.places.columns
    with torch.no_grad():
        columns.copy_(columns.flip(-1))
    return other


def in_order(
    model: CaptionTransformer, z: Float[Tensor, "n features h w"], data: CaptionDataset
) -> tuple[int, int, int]:
    """What a captioner lists of the first n images: objects named rightly, pairs of these, and how many are in order.

    Pairs are neighbours in a list, of objects that the street has once; in order if the second stands further right.
    """
    prefix, named, pairs, right = data.vocabulary.encode(LIST)[1:-1], 0, 0, 0
    for index, numbers in enumerate(greedy(model, z, prefix=prefix).words):
        objects = data.truth(index)[1].objects
        found = [obj for _, obj in named_objects(data.vocabulary.to_tokens(numbers), objects)]
        there = Counter(map(phrase, objects))
        places = [middle(obj) for obj in found if there[phrase(obj)] == 1]
        named += len(found)
        pairs += max(0, len(places) - 1)
        right += sum(first < second for first, second in pairwise(places))
    return named, pairs, right
