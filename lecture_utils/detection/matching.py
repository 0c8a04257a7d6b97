"""Which box is assigned to which object, and which take part in a training step (slide 21).

Faster R-CNN, section 3.1.2; as torchvision's `Matcher` and `BalancedPositiveNegativeSampler`.
"""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from lecture_utils.arguments import check_shapes

BACKGROUND, IGNORED = -1, -2


@check_shapes
def match_boxes(
    overlap: Float[Tensor, "objects boxes"],
    *,
    high: int | float,
    low: int | float,
    allow_low_quality_matches: bool = False,
) -> Int64[Tensor, "boxes"]:
    """Give each box the object it overlaps most: its index from an IoU of `high` on, else −1 (background) or −2.

    Below `low` a box is background (−1); between the two it is ignored and takes no part in training (−2). With
    `allow_low_quality_matches`, the boxes that overlap some object best of all are positive however small the overlap
    is, for the object that they overlap most. That leaves few objects without: those that no box touches, and those
    whose best boxes overlap another object still more. An image without objects has background only.
    """
    if not 0 <= low <= high:
        raise ValueError(f"low, high: got {low}, {high}, expected 0 ≤ low ≤ high")
    objects, boxes = overlap.shape
    if objects == 0:
        return overlap.new_full((boxes,), BACKGROUND, dtype=torch.int64)
    best, nearest = overlap.max(0)
    matches = nearest.masked_fill(best < high, IGNORED).masked_fill(best < low, BACKGROUND)
    if allow_low_quality_matches and boxes:
        # Without the second condition an object that no box touches would make all of them positive.
        rescued = ((overlap == overlap.amax(1, keepdim=True)) & (overlap > 0)).any(0)
        matches = torch.where(rescued, nearest, matches)
    return matches


@check_shapes
def balanced_sample(
    matches: Int64[Tensor, "boxes"], number: int, positive_fraction: int | float
) -> tuple[Bool[Tensor, "boxes"], Bool[Tensor, "boxes"]]:
    """Sample at most `number` boxes for a training step: masks of the positive and of the negative ones sampled.

    At most `positive_fraction` of them are positive (matches from 0 on); background fills the rest, if there is enough.
    """
    if number < 0 or not 0 <= positive_fraction <= 1:
        raise ValueError(f"number, positive_fraction: got {number}, {positive_fraction}, expected 0 or more and 0 to 1")
    positive, negative = matches >= 0, matches == BACKGROUND
    count = min(int(number * positive_fraction), int(positive.sum()))
    return _choose(positive, count), _choose(negative, min(number - count, int(negative.sum())))


def _choose(candidates: Bool[Tensor, "boxes"], number: int) -> Bool[Tensor, "boxes"]:
    """Choose `number` of the candidates at random."""
    chosen = torch.zeros_like(candidates)
    places = candidates.nonzero()[:, 0]
    chosen[places[torch.randperm(len(places), device=places.device)[:number]]] = True
    return chosen
