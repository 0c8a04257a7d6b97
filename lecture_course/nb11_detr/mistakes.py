"""What goes wrong in the exercises of notebook 11: wrong functions, and what each of them says to its author."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from lecture_course.engine.definitions import mistakes
from lecture_utils.detection.boxes import area, clip, cxcywh_to_xyxy, giou, iou
from lecture_utils.transformers.matcher import assign


def scale(height: int, width: int) -> Tensor:
    return torch.tensor([width, height, width, height])


PIXELS = mistakes(
    "These are pixels, but still centre and size; asked for are the corners.",
    lambda boxes, height, width: boxes * scale(height, width),
    "x and y are the centre of the box, not its upper left corner.",
    lambda boxes, height, width: torch.cat([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1) * scale(height, width),
    "The box is twice as large as it should be: half of w lies on each side of x.",
    lambda boxes, height, width: (
        torch.cat([boxes[:, :2] - boxes[:, 2:], boxes[:, :2] + boxes[:, 2:]], 1) * scale(height, width)
    ),
    "Height and width are exchanged: x counts along the width.",
    lambda boxes, height, width: cxcywh_to_xyxy(boxes) * scale(width, height),
    "The box is cut to the picture; that is another step, and a box may reach beyond.",
    lambda boxes, height, width: clip(cxcywh_to_xyxy(boxes) * scale(height, width), height, width),
    "The corners are still shares; make them pixels.",
    lambda boxes, height, width: cxcywh_to_xyxy(boxes),
    "All four are multiplied by the width; y counts along the height.",
    lambda boxes, height, width: cxcywh_to_xyxy(boxes) * width,
    "The columns are out of order: x0, y0, x1, y1.",
    lambda boxes, height, width: (cxcywh_to_xyxy(boxes) * scale(height, width))[:, [0, 2, 1, 3]],
)


def overlapping(judge: Callable[..., Tensor], *, clamp: bool = True) -> Callable[[Tensor, Tensor], Tensor]:
    """What `judge` makes of intersection, union and hull, all (n,)."""

    def overlap(a: Tensor, b: Tensor) -> Tensor:
        sides = torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])
        shared = (sides.clamp(min=0) if clamp else sides).prod(1)
        hull = (torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])).prod(1)
        return judge(shared, area(a) + area(b) - shared, hull)

    return overlap


GIOU = mistakes(
    "That is IoU; what neither box covers of the hull is still to be taken off.",
    lambda a, b: iou(a, b).diagonal(),
    "Two boxes that are apart in both directions seem to share an area, because minus times minus is plus: a side "
    "of the intersection is at least 0.",
    overlapping(lambda shared, union, hull: shared / union - (hull - union) / hull, clamp=False),
    "What is not covered is divided by the union; it is a share of the hull.",
    overlapping(lambda shared, union, hull: shared / union - (hull - union) / union),
    "From the hull you take the intersection; what neither covers is the hull without the union.",
    overlapping(lambda shared, union, hull: shared / union - (hull - shared) / hull),
    "The share of the hull that is not covered is added; it counts against the boxes.",
    overlapping(lambda shared, union, hull: shared / union + (hull - union) / hull),
    "That is the loss, 1 − GIoU.",
    lambda a, b: 1 - giou(a, b).diagonal(),
    "That is the intersection over the hull.",
    overlapping(lambda shared, union, hull: shared / hull),
    "The sum of both areas counts what they share twice; the union is smaller by the intersection.",
    overlapping(lambda shared, union, hull: shared / (union + shared) - (hull - union - shared) / hull),
    "That compares each box of a with each of b; asked for are the pairs.",
    giou,
)


def costing(
    *,
    chance: Callable[[Tensor], Tensor] = lambda logits: logits.softmax(-1),
    apart: Callable[[Tensor], Tensor] = lambda differences: differences.abs().sum(-1),
    corners: Callable[[Tensor], Tensor] = cxcywh_to_xyxy,
    weights: tuple[int, int, int] = (-1, 5, -2),
) -> Callable[..., Tensor]:
    """The matching cost with another probability, another distance, other corners or other weights."""

    def cost(logits: Tensor, boxes: Tensor, labels: Tensor, truth: Tensor) -> Tensor:
        parts = (chance(logits)[:, labels], apart(boxes[:, None] - truth), giou(corners(boxes), corners(truth)))
        return sum(weight * part for weight, part in zip(weights, parts, strict=True))

    return cost


COST = mistakes(
    "That takes the logarithm of the probability, as the loss does; the cost takes the probability itself.",
    costing(chance=lambda logits: logits.log_softmax(-1)),
    "These are the logits; make them probabilities with a softmax.",
    costing(chance=lambda logits: logits),
    "A sigmoid judges each class alone; the probabilities of a query sum to 1, by a softmax.",
    costing(chance=lambda logits: logits.sigmoid()),
    "The softmax runs over the queries; it belongs to the classes of each query.",
    costing(chance=lambda logits: logits.softmax(0)),
    "A likely class must make it cheaper: the probability has a minus.",
    costing(weights=(1, 5, -2)),
    "A large overlap must make it cheaper: GIoU has a minus.",
    costing(weights=(-1, 5, 2)),
    "L1 and GIoU have weights, 5 and 2.",
    costing(weights=(-1, 1, -1)),
    "The weights 5 and 2 are exchanged: 5 is that of L1.",
    costing(weights=(-1, 2, -5)),
    "GIoU wants corners; these boxes are given by centre and size.",
    costing(corners=lambda boxes: boxes),
    "L1 is the sum over the four numbers of a box, not their mean.",
    costing(apart=lambda differences: differences.abs().mean(-1)),
    "The differences are squared; L1 takes their size.",
    costing(apart=lambda differences: differences.square().sum(-1)),
    "Rows are queries and columns objects; here it is the other way round.",
    lambda *parts: costing()(*parts).T,
)


def in_turn(cost: Tensor) -> Tensor:
    """Each object takes the cheapest query that is left."""
    left, chosen = cost.clone(), []
    for column in range(cost.shape[1]):
        chosen.append(int(left[:, column].argmin()))
        left[chosen[-1]] = torch.inf
    return torch.tensor(chosen, dtype=torch.int64)


def cheapest_pair_first(cost: Tensor) -> Tensor:
    left, chosen = cost.clone(), torch.zeros(cost.shape[1], dtype=torch.int64)
    for _ in range(cost.shape[1]):
        row, column = divmod(int(left.argmin()), cost.shape[1])
        chosen[column] = row
        left[row], left[:, column] = torch.inf, torch.inf
    return chosen


def of_objects(cost: Tensor) -> Tensor:
    queries, objects = assign(cost)
    return queries[objects.argsort()]


MATCH = mistakes(
    "Each object takes its cheapest query, so that two may have the same one; a query has one object at most.",
    lambda cost: cost.argmin(0) if cost.shape[1] else cost.new_zeros(0, dtype=torch.int64),
    "The objects choose one after the other. An early one may take the query that a later one needs more: "
    "the sum of all is to be least.",
    in_turn,
    "The cheapest pair comes first. That can leave an expensive one for the rest: the sum of all is to be least.",
    cheapest_pair_first,
    "That is the dearest matching.",
    lambda cost: of_objects(-cost),
    "That is an object for each matched query; asked for is a query for each object.",
    lambda cost: assign(cost)[1],
    "These are the right queries, but sorted; the first must be that of the first object.",
    lambda cost: assign(cost)[0],
    "The order of queries is taken as it is: object 0 gets query 0, and so on.",
    lambda cost: torch.arange(cost.shape[1]),
)


def each(logits: Tensor, wanted: Tensor) -> Tensor:
    return F.cross_entropy(logits, wanted, reduction="none")


def weighing(empty: float = 0.1, thing: float = 1.0) -> Callable[[Tensor], Tensor]:
    return lambda wanted: torch.where(wanted == 0, empty, thing)


def last_is_empty(logits: Tensor, wanted: Tensor) -> Tensor:
    weights = torch.ones(logits.shape[1])
    weights[-1] = 0.1
    return F.cross_entropy(logits, wanted, weights)


CLASS_LOSS = mistakes(
    "All queries count the same; the empty ones weigh 0.1.",
    lambda logits, wanted: each(logits, wanted).mean(),
    "The losses are weighted well, but then divided by the number of queries; divide by the sum of the weights.",
    lambda logits, wanted: (weighing()(wanted) * each(logits, wanted)).mean(),
    "The sum is not divided; a weighted mean is divided by the sum of the weights.",
    lambda logits, wanted: (weighing()(wanted) * each(logits, wanted)).sum(),
    "The sum is divided by the number of things; divide by the sum of the weights.",
    lambda logits, wanted: (weighing()(wanted) * each(logits, wanted)).sum() / (wanted > 0).sum().clamp(min=1),
    "The other way round: the empty queries weigh 0.1, the others 1.",
    lambda logits, wanted: (weighing(1.0, 0.1)(wanted) * each(logits, wanted)).sum() / weighing(1.0, 0.1)(wanted).sum(),
    "The empty queries are left out, so nothing teaches them to be empty; they weigh 0.1.",
    lambda logits, wanted: each(logits, wanted)[wanted > 0].sum() / (wanted > 0).sum().clamp(min=1),
    "“No object” is class 0, not the last one.",
    last_is_empty,
)
