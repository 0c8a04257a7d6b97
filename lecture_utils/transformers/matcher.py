"""Bipartite matching of queries and objects: the assignment of least cost (slide 33; DETR, ECCV 2020, section 3.1).

No anchor and no overlap decides it beforehand: each object is assigned one query, each query at most one object.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from lecture_utils.arguments import check_shapes
from lecture_utils.detection.boxes import cxcywh_to_xyxy, generalized_box_iou


@check_shapes
def matching_cost(
    logits: Float[Tensor, "queries classes"],
    boxes: Float[Tensor, "queries 4"],
    labels: Int64[Tensor, "objects"],
    truth: Float[Tensor, "objects 4"],
    *,
    class_cost: float = 1.0,
    l1_cost: float = 5.0,
    giou_cost: float = 2.0,
) -> Float[Tensor, "queries objects"]:
    """The cost of assigning each query to each object: −p(its class) + 5 · L1 of the boxes − 2 · GIoU.

    Boxes are (x, y, w, h), centre and size, normalized coordinates; `labels` index the classes. The weights are those
    of the paper's appendix A.4.
    """
    prob = logits.softmax(-1)[:, labels]
    l1 = torch.cdist(boxes, truth, p=1)
    giou = generalized_box_iou(cxcywh_to_xyxy(boxes), cxcywh_to_xyxy(truth))
    return -class_cost * prob + l1_cost * l1 - giou_cost * giou


def hungarian(cost: Float[Tensor, "queries objects"]) -> tuple[Int64[Tensor, "pairs"], Int64[Tensor, "pairs"]]:
    """The pairs (query, object) whose costs sum to the least, by ascending query: the Hungarian algorithm.

    As many pairs as there are objects, or queries where those are fewer; none without objects.
    """
    if cost.ndim != 2 or not torch.isfinite(cost).all():
        raise ValueError(f"cost: got shape {tuple(cost.shape)}, expected (queries, objects) and finite numbers")
    from scipy.optimize import linear_sum_assignment  # half a second, which only a set prediction needs

    queries, objects = linear_sum_assignment(cost.detach().cpu().double().numpy())
    return torch.from_numpy(queries).to(cost.device), torch.from_numpy(objects).to(cost.device)


@torch.no_grad()
@check_shapes
def hungarian_match(
    logits: Float[Tensor, "b queries classes"], boxes: Float[Tensor, "b queries 4"], targets: list[dict], **costs: float
) -> list[tuple[Int64[Tensor, "pairs"], Int64[Tensor, "pairs"]]]:
    """For each image the matched queries and their objects, both in the order of the queries.

    `targets` hold `labels` (n,) and `boxes` (n, 4), normalized; `costs` go to `matching_cost`.
    """
    precise = torch.promote_types(boxes.dtype, torch.float32)  # in half precision, costs that differ would be equal
    each = zip(logits.to(precise), boxes.to(precise), targets, strict=True)
    return [hungarian(matching_cost(one, its, t["labels"], t["boxes"].to(precise), **costs)) for one, its, t in each]
