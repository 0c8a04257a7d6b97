"""Do the vectors of near positions resemble each other more than those of far ones? (slide 29)."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from lecture_utils.captioning import CaptionTransformer

Vectors = Float[Tensor, "n d"]


def sinusoids(n: int, d: int) -> Float[Tensor, "n d"]:
    """The fixed positions of Vaswani et al., section 3.5, the sines before the cosines."""
    angles = torch.arange(n)[:, None] / 10_000 ** (torch.arange(0, d, 2) / d)
    return torch.cat([angles.sin(), angles.cos()], 1)


def compared(model: CaptionTransformer, fresh: CaptionTransformer, *, words: int) -> dict[str, tuple[str, Vectors]]:
    """What is compared: name → what is numbered, and its vectors; of the words the first so many, no columns.

    Of the learned vectors what training has added to those of `fresh`, the same model as it was before its training.
    """
    (rows, _, said), before = vectors(model), vectors(fresh)
    return {
        "rows: added": ("row", rows - before[0]),
        "words: added": ("position of a word", (said - before[2])[:words]),
        "sines and cosines": ("position of a word", sinusoids(words, said.shape[1])),
    }


def vectors(model: CaptionTransformer) -> tuple[Vectors, Vectors, Vectors]:
    """The learned vectors of rows, of columns, and of the positions of words."""
    grid = model.encode_grid.places
    parts = grid.rows[:, :, 0].T, grid.columns[:, 0].T, model.pos_embed
    return tuple(part.detach().cpu() for part in parts)


def cosines(vectors: Vectors) -> Float[Tensor, "n n"]:
    """The cosine of each pair of vectors."""
    unit = F.normalize(vectors.detach().cpu().double(), dim=1)
    return unit @ unit.T


def by_distance(vectors: Vectors) -> list[float]:
    """The mean cosine of the pairs that are 1, 2, …, n - 1 positions apart."""
    table = cosines(vectors)
    return [table.diagonal(distance).mean().item() for distance in range(1, len(table))]


def neighbours(vectors: Vectors, *, shuffles: int = 2000) -> tuple[float, float]:
    """The mean cosine of vectors next to each other, and how often shuffled ones have as high a mean.

    That fraction is the p-value of a permutation test, the order itself counted as one of the shuffles.
    """
    table, n = cosines(vectors), len(vectors)
    generator = torch.Generator().manual_seed(0)
    orders = [torch.arange(n), *(torch.randperm(n, generator=generator) for _ in range(shuffles))]
    found = torch.stack([table[order[:-1], order[1:]].mean() for order in orders])
    return found[0].item(), (found >= found[0] - 1e-12).double().mean().item()
