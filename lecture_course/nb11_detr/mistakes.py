"""The right answers of notebook 11 written out, the edits that make them wrong, and what each says to its author."""

import torch
import torch.nn.functional as F
from torch import Tensor

from lecture_course.engine.definitions import mistakes
from lecture_utils.detection.boxes import box_area, clip_boxes_to_image, cxcywh_to_xyxy, generalized_box_iou
from lecture_utils.transformers.matcher import hungarian


def to_pixels(boxes: Tensor, height: int, width: int) -> Tensor:
    """(x, y, w, h), normalized → (x0, y0, x1, y1) in pixels."""
    scale = torch.tensor([width, height, width, height])
    low, high = boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2
    return torch.cat([low, high], 1) * scale


TO_PIXELS_MISTAKES = mistakes(
    to_pixels,
    {
        "torch.cat([low, high], 1) → boxes": "These are pixels, but still centre and size; asked for are the corners.",
        "boxes[:, 2:] / 2, → 0, ; + boxes[:, 2:] / 2 → + boxes[:, 2:]": "x and y are the centre of the box, not its "
        "upper left corner.",
        "/ 2 → ": "The box is twice as large as it should be: half of w lies on each side of x.",
        "[width, height, width, height] → [height, width, height, width]": "Height and width are exchanged: x counts "
        "along the width.",
        lambda boxes, height, width: clip_boxes_to_image(to_pixels(boxes, height, width), (height, width)): "The box "
        "is cut to the image; that is another step, and a box may reach beyond.",
        "* scale → ": "The corners are still normalized; make them pixels.",
        "* scale → * width": "All four are multiplied by the width; y counts along the height.",
        "* scale → * scale)[:, [0, 2, 1, 3]]; torch.cat → (torch.cat": "The columns are out of order: x0, y0, x1, y1.",
    },
)


def giou_of_pairs(a: Tensor, b: Tensor) -> Tensor:
    """GIoU of the first box of `a` with the first of `b`, of the second with the second, …"""
    sides = torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])
    hull = (torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])).prod(1)
    shared = sides.clamp(min=0).prod(1)
    union = box_area(a) + box_area(b) - shared
    return shared / union - (hull - union) / hull


GIOU_MISTAKES = mistakes(
    giou_of_pairs,
    {
        "- (hull - union) / hull → ": "That is IoU; what neither box covers of the hull is still to be taken off.",
        ".clamp(min=0) → ": "Two boxes that are apart in both directions seem to share an area, because minus times "
        "minus is plus: a side of the intersection is at least 0.",
        ") / hull → ) / union": "What is not covered is divided by the union; it is a share of the hull.",
        "hull - union → hull - shared": "From the hull you take the intersection; what neither covers is the hull "
        "without the union.",
        "- (hull → + (hull": "The share of the hull that is not covered is added; it counts against the boxes.",
        "return shared / union - → return 1 - shared / union +": "That is the loss, 1 − GIoU.",
        "shared / union - (hull - union) → shared": "That is the intersection over the hull.",
        "box_area(b) - shared → box_area(b)": "The sum of both areas counts what they share twice; the union is "
        "smaller by the intersection.",
        generalized_box_iou: "That compares each box of a with each of b; asked for are the pairs.",
    },
)


def cost_of_pairs(logits: Tensor, boxes: Tensor, labels: Tensor, truth: Tensor) -> Tensor:
    prob = logits.softmax(-1)[:, labels]
    l1 = (boxes[:, None] - truth).abs().sum(-1)
    return -prob + 5 * l1 - 2 * generalized_box_iou(cxcywh_to_xyxy(boxes), cxcywh_to_xyxy(truth))


COST_MISTAKES = mistakes(
    cost_of_pairs,
    {
        "softmax → log_softmax": "That takes the logarithm of the probability, as the loss does; the cost takes the "
        "probability itself.",
        ".softmax(-1) → ": "These are the logits; make them probabilities with a softmax.",
        "softmax(-1) → sigmoid()": "A sigmoid judges each class alone; the probabilities of a query sum to 1, by a "
        "softmax.",
        "softmax(-1) → softmax(0)": "The softmax runs over the queries; it belongs to the classes of each query.",
        "-prob → prob": "A likely class must make it cheaper: the probability has a minus.",
        "- 2 * → + 2 *": "A large overlap must make it cheaper: GIoU has a minus.",
        "5 * → ; 2 * → ": "L1 and GIoU have weights, 5 and 2.",
        "2 * → 9 *; 5 * → 2 *; 9 * → 5 *": "The weights 5 and 2 are exchanged: 5 is that of L1.",
        "cxcywh_to_xyxy → ": "GIoU wants corners; these boxes are given by centre and size.",
        "sum(-1) → mean(-1)": "L1 is the sum over the four numbers of a box, not their mean.",
        "abs() → square()": "The differences are squared; L1 takes their size.",
        lambda *inputs: (
            cost_of_pairs(*inputs).T
        ): "Rows are queries and columns objects; here it is the other way round.",
    },
)


def cheapest(cost: Tensor) -> Tensor:
    """For each object (column) its query (row) in the matching that costs least."""
    queries, objects = hungarian(cost)
    return queries[objects.argsort()]


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


MATCH_MISTAKES = mistakes(
    cheapest,
    {
        lambda cost: cost.argmin(0) if cost.shape[1] else cost.new_zeros(0, dtype=torch.int64): "Each object takes its "
        "cheapest query, so that two may have the same one; a query has one object at most.",
        in_turn: "The objects choose one after the other. An early one may take the query that a later one needs more: "
        "the sum of all is to be least.",
        cheapest_pair_first: "The cheapest pair comes first. That can leave an expensive one for the rest: the sum of "
        "all is to be least.",
        "(cost) → (-cost)": "That is the most expensive matching.",
        "queries[objects.argsort()] → objects": "That is an object for each matched query; asked for is a query for "
        "each object.",
        "[objects.argsort()] → ": "These are the right queries, but sorted; the first must be that of object 0.",
        "queries[objects.argsort()] → objects.sort()[0]": "The order of queries is taken as it is: object 0 gets query "
        "0, and so on.",
    },
)


def class_loss(logits: Tensor, wanted: Tensor) -> Tensor:
    """Cross-entropy with a weight of 0.1 for class 0, divided by the sum of the weights."""
    weights = torch.where(wanted == 0, 0.1, 1.0)
    each = F.cross_entropy(logits, wanted, reduction="none")
    return (weights * each).sum() / weights.sum()


CLASS_LOSS_MISTAKES = mistakes(
    class_loss,
    {
        "0.1, → 1.0, ": "All queries count the same; those without an object weigh 0.1.",
        "weights.sum() → len(wanted)": "The losses are weighted well, but then divided by the number of queries; "
        "divide by the sum of the weights.",
        "/ weights.sum() → ": "The sum is not divided; a weighted mean is divided by the sum of the weights.",
        "weights.sum() → (wanted > 0).sum().clamp(min=1)": "The sum is divided by the number of objects; divide by the "
        "sum of the weights.",
        "0.1, 1.0 → 1.0, 0.1": "The other way round: the queries without an object weigh 0.1, the others 1.",
        "0.1 → 0.0; weights.sum() → weights.sum().clamp(min=1)": "The queries without an object are left out, so "
        "nothing teaches them “no object”; they weigh 0.1.",
        "wanted == 0 → wanted == logits.shape[1] - 1": "“No object” is class 0, not the last one.",
    },
)
