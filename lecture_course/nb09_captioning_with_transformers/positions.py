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


def compared(model: CaptionTransformer, *, words: int) -> dict[str, tuple[str, Vectors]]:
    """What is compared: name → what is numbered, and its vectors; of the words the first so many."""
    embedded = model.encode_grid.places
    return {
        "rows of the image, learned": ("row", embedded.rows[:, :, 0].T),
        "columns of the image, learned": ("column", embedded.columns[:, 0].T),
        "words of the sentence, learned": ("position of a word", model.pos_embed[:words]),
        "sines and cosines, for comparison": ("position of a word", sinusoids(words, model.pos_embed.shape[1])),
    }


def cosines(vectors: Vectors) -> Float[Tensor, "n n"]:
    """The cosine of each pair of vectors."""
    unit = F.normalize(vectors.detach().cpu().double(), dim=1)
    return unit @ unit.T


def by_distance(vectors: Vectors) -> list[float]:
    """The mean cosine of the pairs that are 1, 2, …, n - 1 positions apart."""
    table = cosines(vectors)
    return [table.diagonal(distance).mean().item() for distance in range(1, len(table))]


def trend(vectors: Vectors, *, shuffles: int = 2000) -> tuple[float, float]:
    """The correlation of cosine and distance over all pairs, and how often shuffled positions have one as far from 0.

    That fraction is the p-value of a permutation test, the order itself counted as one of the shuffles.
    """
    table, n = cosines(vectors), len(vectors)
    above = torch.triu_indices(n, n, 1)
    distance = (above[1] - above[0]).double()
    generator = torch.Generator().manual_seed(0)
    orders = [torch.arange(n), *(torch.randperm(n, generator=generator) for _ in range(shuffles))]
    found = torch.stack([torch.corrcoef(torch.stack([table[o][:, o][*above], distance]))[0, 1] for o in orders])
    return found[0].item(), (found.abs() >= found[0].abs() - 1e-12).double().mean().item()
