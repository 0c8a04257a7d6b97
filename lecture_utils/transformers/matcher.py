"""Which query answers for which object: the assignment that costs least (slide 33; DETR, ECCV 2020, section 3.1).

No anchor and no overlap decides it beforehand: each object gets one query, each query at most one object.
"""

import torch
from jaxtyping import Float, Int64
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from lecture_utils.arguments import check_shapes
from lecture_utils.detection.boxes import cxcywh_to_xyxy, giou

# What probability, corners and overlap count for, in the cost as in the loss (the paper's appendix A.4).
CLASS, L1, GIOU = 1.0, 5.0, 2.0


@check_shapes
def matching_cost(
    logits: Float[Tensor, "queries classes"],
    boxes: Float[Tensor, "queries 4"],
    labels: Int64[Tensor, "objects"],
    truth: Float[Tensor, "objects 4"],
) -> Float[Tensor, "queries objects"]:
    """What it costs to let a query answer for an object: −p(its class) + 5 · L1 of the boxes − 2 · GIoU.

    Boxes are (x, y, w, h), centre and size, in shares of the picture; `labels` index the classes.
    """
    chance = logits.softmax(-1)[:, labels]
    apart = torch.cdist(boxes, truth, p=1)
    return -CLASS * chance + L1 * apart - GIOU * giou(cxcywh_to_xyxy(boxes), cxcywh_to_xyxy(truth))


def assign(cost: Float[Tensor, "queries objects"]) -> tuple[Int64[Tensor, "pairs"], Int64[Tensor, "pairs"]]:
    """The pairs (query, object) whose costs sum to the least, by ascending query: the Hungarian algorithm.

    As many pairs as there are objects, or queries where those are fewer; none without objects.
    """
    if cost.ndim != 2 or not torch.isfinite(cost).all():
        raise ValueError(f"cost: got shape {tuple(cost.shape)}, expected (queries, objects) and finite numbers")
    queries, objects = linear_sum_assignment(cost.detach().cpu().double().numpy())
    return torch.from_numpy(queries).to(cost.device), torch.from_numpy(objects).to(cost.device)


@torch.no_grad()
@check_shapes
def match(
    logits: Float[Tensor, "b queries classes"], boxes: Float[Tensor, "b queries 4"], targets: list[dict]
) -> list[tuple[Int64[Tensor, "pairs"], Int64[Tensor, "pairs"]]]:
    """For each image the matched queries and their objects; `targets` hold `labels` (n,) and `boxes` (n, 4), shares."""
    precise = torch.promote_types(boxes.dtype, torch.float32)  # in half precision, costs that differ would be equal
    each = zip(logits.to(precise), boxes.to(precise), targets, strict=True)
    return [assign(matching_cost(one, its, t["labels"], t["boxes"].to(precise))) for one, its, t in each]
