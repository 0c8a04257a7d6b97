"""What long queries do to a softmax that is not divided by √d (slide 28; Vaswani et al., section 3.2.1)."""

from typing import NamedTuple

import torch

LABELS = {"largest": "largest of 256 weights", "gradient": "gradient at the softmax", "query": "gradient at a query"}


class Spread(NamedTuple):
    """Of random queries: the standard deviation of scores, the mean of the largest weights, the gradients' sizes."""

    deviation: float
    largest: float
    gradient: float  # at what goes into the softmax
    query: float


def spread(d: int, scale: float = 1.0, n: int = 256) -> Spread:
    """Of n random queries and n keys of d numbers, all with a variance of 1, their scores times `scale`.

    The gradients are those of a random loss, normal with a variance of 1 at each weight, at the scores that go into the
    softmax and at the queries: their norm for each query, and the median over the queries.
    """
    generator = torch.Generator().manual_seed(d)
    queries, keys = torch.randn(2, n, d, generator=generator)
    scores = queries.requires_grad_() @ keys.T * scale
    scores.retain_grad()
    weights = scores.softmax(-1)
    (weights * torch.randn(n, n, generator=generator)).sum().backward()
    sizes = (of.grad.norm(dim=1).median().item() for of in (scores, queries))
    return Spread(scores.std().item(), weights.amax(-1).mean().item(), *sizes)
