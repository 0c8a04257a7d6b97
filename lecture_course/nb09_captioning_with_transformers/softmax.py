"""What long queries do to a softmax that is not divided by √d (slide 28; Vaswani et al., section 3.2.1)."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class Spread(NamedTuple):
    """Of n random queries: the standard deviation of scores, the mean of the largest weights, and gradients' norms."""

    deviation: float
    largest: float
    gradients: Float[Tensor, "n"]  # the norm of the gradient at the scores of each query


def spread(d: int, scale: float = 1.0, n: int = 256) -> Spread:
    """Of n random queries and n keys of d numbers, all with a variance of 1, their scores times `scale`.

    The gradients are those of a random loss, normal with a variance of 1 at each weight, at the scores that go into the
    softmax.
    """
    generator = torch.Generator().manual_seed(d)
    queries, keys = torch.randn(2, n, d, generator=generator)
    scores = (queries @ keys.T * scale).requires_grad_()
    weights = scores.softmax(-1)
    (weights * torch.randn(n, n, generator=generator)).sum().backward()
    return Spread(scores.std().item(), weights.amax(-1).mean().item(), scores.grad.norm(dim=1))


def starved(plain: Spread, divided: Spread) -> float:
    """The fraction of queries that get next to nothing at their scores without the division.

    Next to nothing is less than a hundredth of what the median query gets with it.
    """
    return (plain.gradients < divided.gradients.median() / 100).float().mean().item()
