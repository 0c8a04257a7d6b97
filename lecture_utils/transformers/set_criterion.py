"""The set prediction loss: match, then train each query for its object, or for no object (slide 33; DETR, section 3.1).

Two functions for what is `SetCriterion` in the authors' code. They take predictions and targets and know no model.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from lecture_utils.arguments import check_shapes
from lecture_utils.detection.boxes import cxcywh_to_xyxy, generalized_box_iou
from lecture_utils.transformers.matcher import hungarian_match

NO_OBJECT = 0  # its class; the other detectors call it the background
NO_OBJECT_WEIGHT = 0.1  # their `eos_coef`: most queries have no object, and must not outvote the others


@check_shapes
def set_criterion(
    logits: Float[Tensor, "b queries classes"],
    boxes: Float[Tensor, "b queries 4"],
    targets: list[dict],
    *,
    no_object_weight: float = NO_OBJECT_WEIGHT,
    **costs: float,
) -> dict[str, Float[Tensor, ""]]:
    """The three losses of one decoder layer, unweighted: `class`, `L1` and `GIoU`.

    Cross-entropy over all queries, the unmatched ones being of class 0 with a small weight; L1 and 1 − GIoU of the
    matched boxes, summed and divided by the number of objects in the batch. `targets` hold `labels` (n,), from 1 on,
    and `boxes` (n, 4) as (x, y, w, h), normalized; n may be 0. `costs` go to `hungarian_match`.
    """
    for target in targets:
        if not ((target["labels"] > NO_OBJECT) & (target["labels"] < logits.shape[-1])).all():
            raise ValueError(f"targets: got labels {target['labels'].tolist()}, expected 1 to {logits.shape[-1] - 1}")
    pairs = hungarian_match(logits, boxes, targets, **costs)
    wanted = torch.zeros(logits.shape[:2], dtype=torch.int64, device=logits.device)
    for row, (queries, objects), target in zip(wanted, pairs, targets, strict=True):
        row[queries] = target["labels"][objects]
    weights = logits.new_ones(logits.shape[-1])
    weights[NO_OBJECT] = no_object_weight
    given = torch.cat([its[queries] for its, (queries, _) in zip(boxes, pairs, strict=True)])
    truth = torch.cat([target["boxes"][objects] for (_, objects), target in zip(pairs, targets, strict=True)]).to(given)
    number = max(1, sum(len(target["labels"]) for target in targets))
    giou = generalized_box_iou(cxcywh_to_xyxy(given), cxcywh_to_xyxy(truth)).diagonal()
    return {
        "class": F.cross_entropy(logits.transpose(1, 2), wanted, weights),
        "L1": (given - truth).abs().sum() / number,
        "GIoU": (1 - giou).sum().to(given) / number,
    }


@check_shapes
def hungarian_loss(
    logits: Float[Tensor, "layers b queries classes"],
    boxes: Float[Tensor, "layers b queries 4"],
    targets: list[dict],
    *,
    class_cost: float = 1.0,
    l1_cost: float = 5.0,
    giou_cost: float = 2.0,
) -> Float[Tensor, ""]:
    """What is minimised: class + 5 · L1 + 2 · GIoU, summed over the decoder's layers, each matched by itself.

    The three weigh the parts of the matching cost and of the loss alike, as in the paper. The losses of all layers but
    the last are its "auxiliary decoding losses".
    """
    costs = {"class_cost": class_cost, "l1_cost": l1_cost, "giou_cost": giou_cost}
    layers = [set_criterion(*layer, targets, **costs) for layer in zip(logits, boxes, strict=True)]
    return sum(class_cost * one["class"] + l1_cost * one["L1"] + giou_cost * one["GIoU"] for one in layers)
