"""The right answers of notebook 06 written out, the edits that make them wrong, and what each says to its author."""

from math import ceil, floor

import torch
import torch.nn.functional as F
from torch import Tensor

from lecture_course.engine.definitions import mistakes
from lecture_utils.detection.boxes import encode, xyxy_to_cxcywh
from lecture_utils.detection.roi import roi_pool

SIZES_SWAPPED = "dx is measured in widths of the proposal and dy in heights; you have exchanged the two."


def corrections(boxes: Tensor, proposals: Tensor) -> Tensor:
    box, own = xyxy_to_cxcywh(boxes), xyxy_to_cxcywh(proposals)
    shift = (box[:, :2] - own[:, :2]) / own[:, 2:]
    growth = (box[:, 2:] / own[:, 2:]).log()
    return torch.cat([shift, growth], dim=1)


ENCODE_MISTAKES = mistakes(
    corrections,
    {
        ") / own[:, 2:] → )": "The shifts are in pixels; divide dx by the proposal's width and dy by its height.",
        ") / own → ) / box": "The shifts are divided by the size of the box; divide by that of the proposal, which is "
        "known beforehand.",
        ") / own[:, 2:] → ) / own[:, [3, 2]]": SIZES_SWAPPED,
        "box[:, :2] - own[:, :2] → boxes[:, :2] - proposals[:, :2]": "dx and dy move the upper left corner here; they "
        "should move the centre.",
        "shift = → shift = -": "The signs of dx and dy are exchanged: from the proposal to the box, so box − proposal.",
        ".log() → ": "dw and dh are the logarithms of these ratios.",
        "growth = → growth = -": "dw and dh are upside down: log(box / proposal), not log(proposal / box).",
        ("log → log2", "log → log10"): "The natural logarithm is meant, whose inverse is exp.",
        ".log() → - 1": "dw and dh hold the relative growth, (box − proposal) / proposal; the logarithm of the ratio "
        "is asked for.",
        lambda *both: encode(*(x + torch.tensor([0, 0, 1, 1]) for x in both)): "A width is x1 − x0; add no pixel to "
        "it.",
        "box, own = → own, box =": "Box and proposal are exchanged: the first argument is where to go.",
        "dim=1) → dim=1)[:, [1, 0, 3, 2]]": "The order is dx, dy, dw, dh.",
    },
)


def corrected(deltas: Tensor, proposals: Tensor) -> Tensor:
    own = xyxy_to_cxcywh(proposals)
    place = own[:, :2] + deltas[:, :2] * own[:, 2:]
    size = own[:, 2:] * deltas[:, 2:].exp()
    return torch.cat([place - size / 2, place + size / 2], dim=1)


DECODE_MISTAKES = mistakes(
    corrected,
    {
        "deltas[:, :2] * own[:, 2:] → deltas[:, :2]": "The shifts are added as pixels; dx counts widths of the "
        "proposal, dy its heights.",
        "* own[:, 2:] → * own[:, 2:] * deltas[:, 2:].exp()": "The shifts are measured in the new size; they count "
        "widths and heights of the proposal.",
        "* own[:, 2:] → * own[:, [3, 2]]": SIZES_SWAPPED,
        "+ deltas → - deltas": "The centre goes the wrong way: add the shift.",
        "deltas[:, 2:].exp() → (1 + deltas[:, 2:])": "The size is multiplied by 1 + dw; dw is a logarithm, so multiply "
        "by exp(dw).",
        ".exp() → ": "The size is multiplied by dw itself; dw is a logarithm, so multiply by exp(dw).",
        "* deltas[:, 2:] → + deltas[:, 2:]": "exp(dw) is a factor: multiply the width by it, do not add it.",
        "* deltas[:, 2:].exp() → ": "dw and dh are not used: the size does not change.",
        "place - size / 2, place + size / 2 → place, size": "These are centres and sizes; the last step is to corners: "
        "centre − size / 2 and centre + size / 2.",
        "own[:, :2] → proposals[:, :2]; - size / 2 → ; size / 2 → size": "The box grows from its upper left corner; it "
        "should grow around its centre.",
    },
)


def pool_region(features: Tensor, box: Tensor, size: tuple[int, int]) -> Tensor:
    """RoI pooling of one box, in cells of the map: (c, h, w), (4,) → (c, *size)."""
    x0, y0, x1, y1 = box.round().int().tolist()
    rows, columns = y1 - y0 + 1, x1 - x0 + 1
    pooled = features.new_zeros(len(features), *size)
    for i in range(size[0]):
        for j in range(size[1]):
            a, b = floor(i * rows / size[0]), ceil((i + 1) * rows / size[0])
            c, d = floor(j * columns / size[1]), ceil((j + 1) * columns / size[1])
            pooled[:, i, j] = features[:, y0 + a : y0 + b, x0 + c : x0 + d].amax(dim=(1, 2))
    return pooled


def region(features: Tensor, box: Tensor, more: int = 1) -> Tensor:
    x0, y0, x1, y1 = box.round().int().tolist()
    return features[:, y0 : y1 + more, x0 : x1 + more]


ROI_POOL_MISTAKES = mistakes(
    pool_region,
    {
        "y0 + 1, x1 - x0 + 1 → y0, x1 - x0": "The last row and column of the box are missing: from y0 to y1, both "
        "included, are y1 − y0 + 1 rows.",
        lambda features, box, size: F.adaptive_max_pool2d(region(features, box, more=0), size): "The last row and "
        "column of the box are missing: a slice ends before its second number, so go to y1 + 1.",
        lambda features, box, size: F.adaptive_avg_pool2d(
            region(features, box), size
        ): "This is the mean of each part; RoI pooling keeps its largest value.",
        lambda features, box, size: F.interpolate(region(features, box)[None], size)[0]: "This is one cell of each "
        "part; RoI pooling keeps the largest value of all its cells.",
        "ceil → floor": "The parts share no cell; they begin at the floor of i · size / parts and end at the ceiling "
        "of (i + 1) · …",
        "round → floor": "The corners are rounded down here; round them to the nearest cell.",
        lambda features, box, size: F.adaptive_max_pool2d(region(features, box), size): "The box is cut to the map "
        "before it is divided; divide first, then cut each part.",
        lambda features, box, size: roi_pool(features[None], [box[None, [1, 0, 3, 2]]], size)[0]: "x and y are "
        "exchanged: the box is (x0, y0, x1, y1), the map has rows first.",
        lambda features, box, size: pool_region(features, box, size[::-1]): "`size` is (height, width): so many parts "
        "down, so many across.",
        lambda features, box, size: F.adaptive_max_pool2d(features, size): "You pool the whole map; only the cells of "
        "the box count.",
    },
)


def sample_at(features: Tensor, x: float, y: float) -> Tensor:
    """RoI align of a box without extent: the map (c, h, w), read at one point. A cell's middle is a whole number."""
    x0, y0 = int(x), int(y)
    x1, y1 = min(x0 + 1, features.shape[2] - 1), min(y0 + 1, features.shape[1] - 1)
    fx, fy = x - x0, y - y0
    above = (1 - fx) * features[:, y0, x0] + fx * features[:, y0, x1]
    below = (1 - fx) * features[:, y1, x0] + fx * features[:, y1, x1]
    return (1 - fy) * above + fy * below


BILINEAR_MISTAKES = mistakes(
    sample_at,
    {
        "x - x0, y - y0 → round(x - x0), round(y - y0)": "This is the nearest cell; mix the four around the point.",
        "x - x0, y - y0 → 0, 0": "This is the cell above and to the left; mix the four around the point.",
        "x - x0, y - y0 → 0.5, 0.5": "All four cells weigh alike here; the nearer one should weigh more.",
        "x - x0, y - y0 → 1 - x + x0, 1 - y + y0": "The weights are exchanged: the nearer a cell, the more it weighs.",
        "y - y0 → 0": "You mix along x, but not along y.",
        "x - x0 → 0": "You mix along y, but not along x.",
        "x: float, y: float → y: float, x: float": "x and y are exchanged: x counts columns, and in "
        "features[:, row, column] it comes last.",
        "fx, fy = → fy, fx =": "The fractions of x and y are exchanged in the weights.",
    },
)


def multi_task(scores: Tensor, deltas: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """The loss of n regions: (n, classes), (n, classes, 4), (n,), (n, 4) → one number, the mean over the regions."""
    classes = F.cross_entropy(scores, labels)
    positive = labels > 0
    own = deltas[positive, labels[positive]]
    return classes + F.smooth_l1_loss(own, targets[positive], reduction="sum") / len(labels)


LOSS_MISTAKES = mistakes(
    multi_task,
    {
        "labels > 0 → labels >= 0": "Background regions are in the loss of the deltas, too: [u ≥ 1] leaves them out.",
        "deltas[positive, labels[positive]] → deltas[positive, scores[positive].argmax(1)]": "These are those of "
        "the class with the highest score; take the deltas of the true class.",
        "deltas[positive, labels[positive]] → deltas[positive, 0]": "These are the deltas of class 0, the background; "
        "take those of each region's true class.",
        "deltas[positive, labels[positive]] → deltas[positive, labels[positive] - 1]": "Each region gets the deltas of "
        "the class before its own: class 0, the background, has a place among the deltas, too.",
        "deltas[positive, labels[positive]] → deltas[positive].mean(1)": "This mixes the deltas of all classes; only "
        "those of the true class count.",
        "/ len(labels) → / positive.sum().clamp(min=1)": "The loss of the deltas is divided by the positive regions; "
        "divide it by all regions, so that both parts are means over the same.",
        (
            "reduction='sum') / len(labels) → )",
            "/ len(labels) → / labels.shape[0] / 4",
        ): "smooth L1 is averaged over the four numbers, too: sum it over dx, dy, dw, dh, then take the mean over all "
        "regions.",
        "/ len(labels) → ": "The loss of the deltas is a sum over the regions; take the mean, as for the classes.",
        "F.smooth_l1_loss → F.l1_loss": "That is plain L1; smooth L1 is ½ x² where |x| < 1, and |x| − ½ elsewhere.",
        "F.smooth_l1_loss → F.mse_loss": "That is L2, which grows without bound with an outlier; smooth L1 is |x| − ½ "
        "from |x| = 1 on.",
        lambda scores, deltas, labels, targets: (
            multi_task(scores, deltas, labels, targets) + _half_a_square(deltas, labels, targets)
        ): "The ½ of ½ x² is missing where |x| < 1.",
        "F.cross_entropy(scores, labels) → F.cross_entropy(scores[labels > 0], labels[labels > 0])": "Only positive "
        "regions are classified; the background is a class to learn, too.",
        "F.cross_entropy(scores, labels) → F.cross_entropy(scores, labels, reduction='sum')": "The cross-entropy is a "
        "sum over the regions; take the mean.",
        "F.cross_entropy(scores, labels) → F.cross_entropy(scores.softmax(1), labels)": "F.cross_entropy takes the "
        "scores as they are; it has the softmax in it.",
        "F.cross_entropy(scores, labels) → F.nll_loss(scores, labels)": "The scores are no log-probabilities yet: "
        "F.cross_entropy takes them through log-softmax.",
        "classes + F → F": "The cross-entropy of the classes is missing.",
        "+ F.smooth_l1_loss(own, targets[positive], reduction='sum') / len(labels) → ": "The loss of the deltas is "
        "missing.",
    },
)


def _half_a_square(deltas: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    off = (deltas[torch.arange(len(labels)), labels] - targets).abs()
    return (0.5 * off**2)[(off < 1) & (labels > 0)[:, None]].sum() / len(labels)
