"""What long queries do to a softmax that is not divided by √d (slide 28; Vaswani et al., section 3.2.1)."""

from typing import NamedTuple

import torch

LABELS = {"largest": "largest of 256 weights", "gradient": "gradient of a query's scores"}


class Spread(NamedTuple):
    """Of random queries: the standard deviation of scores, the mean of the largest weights, the gradient's size."""

    deviation: float
    largest: float
    gradient: float


def spread(d: int, scale: float = 1.0, n: int = 256) -> Spread:
    """Of n random queries and n keys of d numbers, all with a variance of 1, their scores times `scale`.

    The gradient is that of a random loss, normal with a variance of 1 at each weight, at the scores: its norm for each
    query, and the median over the queries.
    """
    generator = torch.Generator().manual_seed(d)
    queries, keys = torch.randn(2, n, d, generator=generator)
    scores = (queries @ keys.T * scale).requires_grad_()
    weights = scores.softmax(-1)
    (weights * torch.randn(n, n, generator=generator)).sum().backward()
    return Spread(scores.std().item(), weights.amax(-1).mean().item(), scores.grad.norm(dim=1).median().item())
