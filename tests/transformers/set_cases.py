"""Random predictions and targets of a set, for the matcher and the losses."""

import torch


def some_boxes(rng, *shape):
    """Boxes (x, y, w, h) in shares of an image, some of them reaching over its border."""
    return torch.cat([torch.rand(*shape, 2, generator=rng), torch.rand(*shape, 2, generator=rng) * 0.5 + 0.01], -1)


def a_batch(seed, *, queries, classes, counts):
    rng = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(len(counts), queries, classes, generator=rng)
    targets = [{"labels": torch.randint(1, classes, (n,), generator=rng), "boxes": some_boxes(rng, n)} for n in counts]
    return logits, some_boxes(rng, len(counts), queries), targets
