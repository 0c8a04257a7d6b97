"""The right answers of notebook 07 written out, the edits that make them wrong, and what each says to its author."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from lecture_course.engine.definitions import mistakes
from lecture_utils.detection.boxes import box_area, box_iou
from lecture_utils.detection.matching import BACKGROUND, IGNORED


def at_one_point(sizes: Sequence[float], ratios: Sequence[float]) -> Tensor:
    sides = [(size / ratio**0.5, size * ratio**0.5) for ratio in ratios for size in sizes]
    return torch.tensor([[-w / 2, -h / 2, w / 2, h / 2] for w, h in sides]).round()


BASE_ANCHORS_MISTAKES = mistakes(
    at_one_point,
    {
        "for w, h → for h, w": "Width and height are exchanged: a ratio is height / width, so 2 is tall.",
        (
            "size / ratio ** 0.5 → size; ** 0.5 → ",
            "size * ratio ** 0.5 → size; ** 0.5 → ",
        ): "The area changes with the ratio: one of the sides stays, but size² must be the area of all shapes.",
        "** 0.5 → ": "height / width is now the square of the ratio: take the ratio's root for both sides.",
        "-w / 2, -h / 2 → 0, 0; round() → round() * 2": "The boxes begin at the origin; it should be their centre.",
        "round() → round() * 2": "The boxes are twice as wide and high: half a width lies on each side of the centre.",
        "for ratio in ratios for size in sizes → for size in sizes for ratio in ratios": "The sizes must vary fastest: "
        "all sizes of the first ratio, then all of the second.",
        ".round() → ": "Round to whole pixels at the end.",
    },
)


def over_a_map(base: Tensor, map_size: tuple[int, int], stride: int) -> Tensor:
    rows, columns = map_size
    points = [(j * stride, i * stride) for i in range(rows) for j in range(columns)]
    return torch.cat([base + torch.tensor([x, y, x, y]) for x, y in points])


GRID_ANCHORS_MISTAKES = mistakes(
    over_a_map,
    {
        "for i in range(rows) for j in range(columns) → for j in range(columns) for i in range(rows)": "Column by "
        "column; go along the rows, as a book is read.",
        "cat → stack; points]) → points], 1).flatten(0, 1)": "The K anchors of one point must stand together, then "
        "those of the next.",
        "* stride → * stride + stride / 2": "The first point sits at pixel (0, 0), not in the middle of its cell.",
        "rows, columns = → columns, rows =": "The map size is (height, width), rows first.",
        "[x, y, x, y] → [y, x, y, x]": "The row moves x and the column y; a box is (x0, y0, x1, y1), so the column "
        "moves x.",
        "* stride → ": "Two points are `stride` pixels apart, not one.",
        "[x, y, x, y] → [x, y, 0, 0]": "Only x0 and y0 move; x1 and y1 have to move with them.",
    },
)


def match_with_best(overlap: Tensor, high: float, low: float) -> Tensor:
    """What `match` gives the region proposal network."""
    if not len(overlap):
        return torch.full((overlap.shape[1],), BACKGROUND)
    best, nearest = overlap.max(0)
    matches = nearest.clone()
    matches[best < high] = IGNORED
    matches[best < low] = BACKGROUND
    for row in overlap:
        at_best = row == row.max()
        matches[at_best] = nearest[at_best]
    return matches


MATCH_MISTAKES = mistakes(
    match_with_best,
    {
        "matches[at_best] = nearest[at_best] → ": "The best match is missing: the best box of each object is "
        "positive, however small the overlap.",
        "IGNORED → BACKGROUND": "Between the thresholds a box is ignored: it gets −2, not −1.",
        "BACKGROUND → OTHER; IGNORED → BACKGROUND; OTHER → IGNORED": "−1 is for background, −2 for what lies between; "
        "you have them the other way round.",
        "best < high → best <= high": "An overlap of exactly `high` is enough.",
        "best < low → best <= low": "An overlap of exactly `low` is no background any more.",
        "row == row.max() → row.argmax()": "Of several boxes that overlap an object best, equally well, you take the "
        "first; take them all.",
        "row in overlap → i, row in enumerate(overlap); nearest[at_best] → i": "A best match keeps the object that it "
        "overlaps most itself, not the one it is the best of.",
        lambda overlap, high, low: overlap.argmax(1): "You give each object its best box; give each box its best "
        "object.",
    },
)


def two_losses(objectness: Tensor, deltas: Tensor, matches: Tensor, sampled: Tensor, wanted: Tensor) -> Tensor:
    """The losses of `RPN.losses` for one image."""
    truth = (matches >= 0).float()
    positive = sampled & (matches >= 0)
    number = max(1, int(sampled.sum()))
    yes_no = F.binary_cross_entropy_with_logits(objectness[sampled], truth[sampled], reduction="sum")
    moves = F.smooth_l1_loss(deltas[positive], wanted[positive], beta=1 / 9, reduction="sum")
    return torch.stack([yes_no, moves]) / number


RPN_LOSS_MISTAKES = mistakes(
    two_losses,
    {
        "objectness[sampled], truth[sampled] → objectness, truth": "Objectness is learned on the sampled anchors only; "
        "yours counts every anchor, the ignored ones too.",
        "positive = sampled & (matches >= 0) → positive = sampled": "Background has no box to be moved to: the deltas "
        "of positive anchors only.",
        "positive = sampled & (matches >= 0) → positive = matches >= 0": "Positive anchors that were not sampled take "
        "no part in the deltas' loss either.",
        ("matches >= 0 → matches > 0", "positive = sampled & (matches >= 0) → positive = sampled & (matches > 0)"): "0 "
        "is the first object: a match of 0 is positive.",
        "beta=1 / 9, → ": "F.smooth_l1_loss is quadratic up to an error of 1 if it is not told otherwise; here up to "
        "beta = 1/9.",
        "smooth_l1_loss → mse_loss; beta=1 / 9, → ": "Your deltas have squared errors (L2); smooth L1 grows only "
        "linearly beyond 1/9.",
        "smooth_l1_loss → l1_loss; beta=1 / 9, → ": "Your deltas have absolute errors (L1); smooth L1 is quadratic "
        "below 1/9.",
        "smooth_l1_loss → huber_loss; beta → delta": "F.huber_loss is beta times smooth L1: nine times too small.",
        "torch.stack([yes_no, moves]) / number → torch.stack([yes_no / number, moves / max(1, int(positive.sum()))])": (
            "You divide the deltas' loss by the number of positive anchors; both losses are divided by the number of "
            "sampled ones, so that an image with few objects counts less."
        ),
        "torch.stack([yes_no, moves]) / number → torch.stack([yes_no / number, moves / max(1, 4 * int(positive.sum()))"
        "])": "You take the mean over the positive anchors' four deltas; sum them, and divide by the number of sampled "
        "anchors.",
        "torch.stack([yes_no, moves]) / number → torch.stack([yes_no, moves]) / len(matches)": "You divide by the "
        "number of all anchors; divide by the number of sampled ones.",
        "/ number → ": "These are sums; divide both by the number of sampled anchors.",
        "objectness[sampled] → objectness[sampled].sigmoid()": "binary_cross_entropy_with_logits takes the logits as "
        "they are; yours went through a sigmoid before.",
        "[yes_no, moves] → [moves, yes_no]": "The right losses in the wrong order: objectness first.",
        "torch.stack([yes_no, moves]) / number → (yes_no + moves) / number": "That is their sum, one number; give the "
        "two, objectness first.",
    },
)


def kept_boxes(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    order, kept = scores.argsort(descending=True).tolist(), []
    for i in order:
        if (box_iou(boxes[[i]], boxes[kept])[0] <= iou_threshold).all():
            kept.append(i)
    return torch.tensor(kept, dtype=torch.int64)


def of_the_smaller(a: Tensor, b: Tensor) -> Tensor:
    """Overlap as a share of the smaller box."""
    sides = torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])
    return sides.clamp(min=0).prod(1) / torch.minimum(box_area(a), box_area(b))


NMS_MISTAKES = mistakes(
    kept_boxes,
    {
        "<= → <": "An overlap of exactly the threshold may stay; drop what is above it.",
        "boxes[kept] → boxes[scores > scores[i]]": "A box that has been dropped must not drop others any more: in the "
        "chain the third one stays.",
        "boxes[kept] → boxes[kept[:1]]": "Only the best box of all drops others; go on with the best of those that are "
        "left.",
        "descending=True → ": "The worst boxes come first; sort by descending score.",
        "tensor(kept → tensor(sorted(kept)": "The right boxes, but in the order of their indices; the best one comes "
        "first.",
        "tensor(kept → tensor(order": "Nothing is dropped; this is the order by score.",
        "torch.tensor(kept, dtype=torch.int64) → boxes[kept]": "These are the boxes; give their indices.",
        "tensor(kept → tensor([order.index(i) for i in kept]": "These are places in the sorted order; the indices must "
        "be those of the boxes as they came.",
        "kept, dtype=torch.int64 → [i in kept for i in range(len(boxes))], dtype=torch.bool": "A mask has lost which "
        "box is best; give indices, best first.",
        "box_iou(boxes[[i]], boxes[kept])[0] → of_the_smaller(boxes[[i]], boxes[kept])": "You compare the overlap with "
        "the smaller box; IoU divides by the union.",
    },
)
