"""What the trained DeconvNet labels when the switches of its max unpooling point elsewhere, and how right that is."""

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Int64
from torch import Tensor
from torchmetrics.functional.classification import multiclass_confusion_matrix

from lecture_utils.cityscapes import CLASSES, IGNORE_INDEX
from lecture_utils.segmentation.scores import segmentation_scores

# Indices (b, c, h, w), the width they count on, and the maxima (b, c, h, w) they belong to → indices.
Change = Callable[[Tensor, int, Tensor | None], Tensor]


def to_pixel(row: int | Tensor, column: int | Tensor) -> Change:
    """Move each switch to pixel (row, column) of its 2 × 2 window; tensors (b, c, h, w) give a pixel for each."""
    for name, side in (("row", row), ("column", column)):
        if not ((torch.as_tensor(side) == 0) | (torch.as_tensor(side) == 1)).all():
            raise ValueError(f"{name}: got {side}, expected 0 or 1, as a window has two")

    def change(indices: Tensor, width: int, pooled: Tensor | None = None) -> Tensor:
        return (indices // width // 2 * 2 + row) * width + indices % width // 2 * 2 + column

    return change


def at_random(seed: int) -> Change:
    """Move each switch to a random pixel of its 2 × 2 window; the pixels are the same on every device."""
    generator = torch.Generator().manual_seed(seed)

    def change(indices: Tensor, width: int, pooled: Tensor | None = None) -> Tensor:
        row, column = torch.randint(2, (2, *indices.shape), generator=generator).to(indices.device)
        return to_pixel(row, column)(indices, width)

    return change


def ties(pooled: Tensor, indices: Tensor, width: int) -> tuple[float, float]:
    """The fraction of windows whose maximum is 0, and of all switches that point to the upper left of their window."""
    first = to_pixel(0, 0)(indices, width) == indices
    return (pooled == 0).float().mean().item(), first.float().mean().item()


def only(change: Change, *, zeros: bool) -> Change:
    """`change` for the windows whose maximum is 0, behind a ReLU windows of zeros, or for all but these."""
    return lambda indices, width, pooled: torch.where((pooled == 0) == zeros, change(indices, width, pooled), indices)


def score_labels(predicted: Mapping[str, Int64[Tensor, "b h w"]], truth: Tensor) -> dict[str, dict]:
    """The `segmentation_scores` of each name's label maps against `truth` (b, h, w), ignored pixels left out."""
    if strangers := {name: tuple(labels.shape) for name, labels in predicted.items() if labels.shape != truth.shape}:
        raise ValueError(f"predicted: got {strangers}, expected the shape of truth, {tuple(truth.shape)}")
    options = {"num_classes": len(CLASSES), "ignore_index": IGNORE_INDEX}
    counts = {name: multiclass_confusion_matrix(labels, truth, **options) for name, labels in predicted.items()}
    return {name: segmentation_scores(count) for name, count in counts.items()}
