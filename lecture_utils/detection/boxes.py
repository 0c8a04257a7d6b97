"""Boxes: overlap, regression deltas and non-maximum suppression, which every detector shares (slides 14 to 22).

A box is (x0, y0, x1, y1) in pixels, measured continuously: its width is x1 − x0, with no pixel added. Everything is
vectorised over boxes, works on none, and gives what `torchvision.ops` gives, but that the threshold of `nms` is rounded
to the overlaps' precision, so that 3/10 is 0.3. Half precision is computed in float32, where the area of a large box is
finite: areas and overlaps stay in it, as there, boxes and deltas come back in their own type. Shapes that are no
boxes, and whole numbers, are a ValueError.
"""

from math import log

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from lecture_utils.arguments import check_shapes

Number = int | float

# exp of more would make a box 62 times larger than its anchor and may overflow (Detectron's constant).
LARGEST_LOG = log(1000 / 16)


def xyxy_to_cxcywh(boxes: Float[Tensor, "*n 4"]) -> Float[Tensor, "*n 4"]:
    """Turn corners (x0, y0, x1, y1) into centre and size (x, y, w, h)."""
    _require_boxes(boxes=boxes)
    low, high = _full(boxes).split(2, dim=-1)
    return torch.cat([(low + high) / 2, high - low], dim=-1).to(boxes.dtype)


def cxcywh_to_xyxy(boxes: Float[Tensor, "*n 4"]) -> Float[Tensor, "*n 4"]:
    """Turn centre and size (x, y, w, h) into corners (x0, y0, x1, y1)."""
    _require_boxes(boxes=boxes)
    centre, size = _full(boxes).split(2, dim=-1)
    return torch.cat([centre - size / 2, centre + size / 2], dim=-1).to(boxes.dtype)


def box_area(boxes: Float[Tensor, "*n 4"]) -> Float[Tensor, "*n"]:
    """Width times height, in square pixels."""
    _require_boxes(boxes=boxes)
    boxes = _full(boxes)
    return (boxes[..., 2:] - boxes[..., :2]).prod(-1)


def box_iou(a: Float[Tensor, "n 4"], b: Float[Tensor, "m 4"]) -> Float[Tensor, "n m"]:
    """Intersection over union of every box of `a` with every box of `b`: 0 apart, 1 the same.

    Two boxes without area have no union; their IoU counts as 0.
    """
    intersection, union = _overlap(a, b)
    return intersection / _or_one(union)


def generalized_box_iou(a: Float[Tensor, "n 4"], b: Float[Tensor, "m 4"]) -> Float[Tensor, "n m"]:
    """Generalised IoU: also tells boxes that are far apart from boxes that nearly touch; −1 to 1.

    IoU minus the share of the smallest enclosing box that neither covers (Rezatofighi et al., CVPR 2019).
    """
    intersection, union = _overlap(a, b)
    a, b = _full(a), _full(b)
    low, high = torch.minimum(a[:, None, :2], b[:, :2]), torch.maximum(a[:, None, 2:], b[:, 2:])
    enclosing = (high - low).prod(-1)
    return intersection / _or_one(union) - (enclosing - union) / _or_one(enclosing)


def _overlap(a: Float[Tensor, "n 4"], b: Float[Tensor, "m 4"]) -> tuple[Float[Tensor, "n m"], Float[Tensor, "n m"]]:
    """Areas of intersection and union."""
    _require_boxes(2, a=a, b=b)
    a, b = _full(a), _full(b)
    low, high = torch.maximum(a[:, None, :2], b[:, :2]), torch.minimum(a[:, None, 2:], b[:, 2:])
    intersection = (high - low).clamp(min=0).prod(-1)
    return intersection, box_area(a)[:, None] + box_area(b) - intersection


def _full(boxes: Float[Tensor, "*n 4"]) -> Float[Tensor, "*n 4"]:
    """In float32 what has fewer digits: in float16 an area above 65,504 is infinite, and a side loses its decimals."""
    return boxes.float() if boxes.element_size() < 4 else boxes


def _or_one(area: Float[Tensor, "n m"]) -> Float[Tensor, "n m"]:
    """Areas to divide by, 1 instead of 0: what is divided is 0 there too, and so are its gradients."""
    return torch.where(area > 0, area, 1.0)


@check_shapes
def normalize_boxes(boxes: Float[Tensor, "*n 4"], height: float, width: float) -> Float[Tensor, "*n 4"]:
    """Corners in pixels as normalized (x, y, w, h), centre and size, for an image of `height` × `width` pixels."""
    return xyxy_to_cxcywh(boxes / boxes.new_tensor([width, height, width, height]))


@check_shapes
def denormalize_boxes(boxes: Float[Tensor, "*n 4"], height: float = 1, width: float = 1) -> Float[Tensor, "*n 4"]:
    """The inverse of `normalize_boxes`. A network may give a negative width or height; it counts as 0."""
    boxes = torch.cat([boxes[..., :2], boxes[..., 2:].clamp(min=0)], dim=-1)
    return cxcywh_to_xyxy(boxes) * boxes.new_tensor([width, height, width, height])


def encode(
    boxes: Float[Tensor, "n 4"], anchors: Float[Tensor, "n 4"], weights: tuple[Number, ...] = (1, 1, 1, 1)
) -> Float[Tensor, "n 4"]:
    """The deltas (dx, dy, dw, dh), slide 18's corrections, that turn each anchor into its box (R-CNN, appendix C).

    Shifts of the centre in anchor widths and heights, and logarithms of the ratios of sizes; each times its weight.
    A box or an anchor without width or height is a ValueError: no finite deltas lead there, or from there.
    """
    _require_boxes(2, boxes=boxes, anchors=anchors)
    if boxes.shape != anchors.shape:
        raise ValueError(f"boxes: got shape {tuple(boxes.shape)}, expected {tuple(anchors.shape)}, that of anchors")
    precision = torch.promote_types(boxes.dtype, anchors.dtype)
    target, anchor = xyxy_to_cxcywh(_full(boxes)), xyxy_to_cxcywh(_full(anchors))
    if not (torch.cat([target, anchor])[:, 2:] > 0).all():
        raise ValueError("boxes, anchors: got one of width or height 0 or less, expected each to have an area")
    shift = (target[:, :2] - anchor[:, :2]) / anchor[:, 2:]
    growth = torch.log(target[:, 2:] / anchor[:, 2:])
    return (torch.cat([shift, growth], dim=1) * target.new_tensor(weights)).to(precision)


def decode(
    deltas: Float[Tensor, "n *k 4"], anchors: Float[Tensor, "n *k 4"], weights: tuple[Number, ...] = (1, 1, 1, 1)
) -> Float[Tensor, "n *k 4"]:
    """Apply deltas to anchors: the inverse of `encode`. No side grows more than 62.5 times."""
    if deltas.shape != anchors.shape:
        raise ValueError(f"deltas: got shape {tuple(deltas.shape)}, expected {tuple(anchors.shape)}, that of anchors")
    _require_boxes(deltas=deltas, anchors=anchors)
    precision = torch.promote_types(deltas.dtype, anchors.dtype)
    deltas, anchor = _full(deltas), xyxy_to_cxcywh(_full(anchors))
    deltas = deltas / deltas.new_tensor(weights)
    centre = anchor[..., :2] + deltas[..., :2] * anchor[..., 2:]
    size = anchor[..., 2:] * torch.exp(deltas[..., 2:].clamp(max=LARGEST_LOG))
    return cxcywh_to_xyxy(torch.cat([centre, size], dim=-1)).to(precision)


def clip_boxes_to_image(boxes: Float[Tensor, "*n 4"], size: tuple[Number, Number]) -> Float[Tensor, "*n 4"]:
    """Cut boxes to an image of `size` (height, width) in pixels."""
    _require_boxes(boxes=boxes)
    height, width = size
    limit = boxes.new_tensor([width, height, width, height])
    return torch.minimum(boxes.clamp(min=0), limit)


def remove_small_boxes(boxes: Float[Tensor, "n 4"], min_size: Number) -> Int64[Tensor, "kept"]:
    """The indices of the boxes whose width and height are both at least `min_size` pixels."""
    _require_boxes(2, boxes=boxes)
    boxes = _full(boxes)
    return (boxes[:, 2:] - boxes[:, :2] >= min_size).all(1).nonzero()[:, 0]


def nms(boxes: Float[Tensor, "n 4"], scores: Float[Tensor, "n"], iou_threshold: Number) -> Int64[Tensor, "kept"]:
    """Non-maximum suppression: the indices of the boxes to keep, best first (slide 22).

    Take the best box, drop every other that overlaps it by more than `iou_threshold` (exactly as much may stay), and
    go on with the best of the rest. Equal scores keep their order. A box or score that is not finite, which compares
    with nothing, and a threshold outside 0 to 1 are a ValueError.
    """
    _require_boxes(2, boxes=boxes)
    if scores.shape != boxes.shape[:1]:
        raise ValueError(f"scores: got shape {tuple(scores.shape)}, expected ({len(boxes)},), one a box")
    require_finite(boxes=boxes, scores=scores)
    if not 0 <= iou_threshold <= 1:
        raise ValueError(f"iou_threshold: got {iou_threshold}, expected an IoU from 0 to 1")
    order = scores.argsort(descending=True, stable=True)
    boxes, kept = boxes[order], []
    while len(order):
        kept.append(order[0])
        stays = box_iou(boxes[:1], boxes[1:])[0] <= iou_threshold
        order, boxes = order[1:][stays], boxes[1:][stays]
    return torch.stack(kept) if kept else order


def _require_boxes(ndim: int | None = None, **tensors: Tensor) -> None:
    for name, boxes in tensors.items():
        if boxes.shape[-1:] != (4,) or (ndim or boxes.ndim) != boxes.ndim:
            expected = "(…, 4)" if ndim is None else "(n, 4)"
            raise ValueError(f"{name}: got shape {tuple(boxes.shape)}, expected {expected}")
        if not boxes.is_floating_point():  # weights and limits, which take the boxes' type, would be cut off
            raise ValueError(f"{name}: got {boxes.dtype}, expected numbers with decimals, as boxes.float()")


def require_finite(**tensors: Tensor) -> None:
    """Refuse rows (boxes, or their scores) with nan or infinity in them."""
    for name, values in tensors.items():
        broken = ~values.isfinite()
        if broken := int((broken.any(-1) if broken.ndim > 1 else broken).sum()):
            raise ValueError(f"{name}: got nan or infinity in {broken} of {len(values)}, expected finite numbers")
