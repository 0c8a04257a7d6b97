"""The right answers of notebook 07 written out, the edits that make them wrong, and what each says to its author."""

from collections.abc import Sequence

import torch
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


def match_and_rescue(overlap: Tensor, high: float, low: float) -> Tensor:
    """What `match` gives the region proposal network."""
    if not len(overlap):
        return torch.full((overlap.shape[1],), BACKGROUND)
    best, nearest = overlap.max(0)
    matches = nearest.clone()
    matches[best < high] = IGNORED
    matches[best < low] = BACKGROUND
    for row in overlap:
        rescued = row == row.max()
        matches[rescued] = nearest[rescued]
    return matches


MATCH_MISTAKES = mistakes(
    match_and_rescue,
    {
        "matches[rescued] = nearest[rescued] → ": "No object is rescued: the best box of each one keeps it, however "
        "small the overlap.",
        "IGNORED → BACKGROUND": "Between the thresholds a box is neither: it gets −2, not −1.",
        "BACKGROUND → OTHER; IGNORED → BACKGROUND; OTHER → IGNORED": "−1 is for background, −2 for what lies between; "
        "you have them the other way round.",
        "best < high → best <= high": "An overlap of exactly `high` is enough.",
        "best < low → best <= low": "An overlap of exactly `low` is no background any more.",
        "row == row.max() → row.argmax()": "Of several boxes that overlap an object equally well you rescue the first; "
        "rescue them all.",
        "row in overlap → i, row in enumerate(overlap); nearest[rescued] → i": "A rescued box keeps the object that it "
        "overlaps most itself, not the one it was rescued for.",
        lambda overlap, high, low: overlap.argmax(1): "You give each object its best box; give each box its best "
        "object.",
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
