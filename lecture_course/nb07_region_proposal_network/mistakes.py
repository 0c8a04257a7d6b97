"""Wrong anchors, matches and suppressions that students of notebook 07 write, and what to say to each."""

from collections.abc import Callable

import torch
from torch import Tensor

from lecture_course.engine.definitions import mistakes
from lecture_utils.detection.anchors import base_anchors, grid_anchors
from lecture_utils.detection.boxes import area, iou, nms
from lecture_utils.detection.matching import BACKGROUND, IGNORED, match


def anchors_by(shape: Callable[[float, float], tuple[float, float]]) -> Callable[..., Tensor]:
    """Base anchors whose width and height are `shape(size, ratio)`."""

    def make(sizes, ratios) -> Tensor:
        sides = [shape(size, ratio) for ratio in ratios for size in sizes]
        return torch.tensor([[-w / 2, -h / 2, w / 2, h / 2] for w, h in sides]).round()

    return make


def of(change: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    """The right base anchors, changed."""
    return lambda sizes, ratios: change(base_anchors(sizes, ratios))


def not_rounded(sizes, ratios) -> Tensor:
    sides = [(size / ratio**0.5, size * ratio**0.5) for ratio in ratios for size in sizes]
    return torch.tensor([[-w / 2, -h / 2, w / 2, h / 2] for w, h in sides])


def regrouped(order: tuple[int, ...]) -> Callable[..., Tensor]:
    """The anchors over a map in another order of rows (0), columns (1) and shapes (2)."""

    def place(base, map_size, stride) -> Tensor:
        return grid_anchors(base, map_size, stride).view(*map_size, -1, 4).permute(*order, 3).reshape(-1, 4)

    return place


def moved(base: Tensor, map_size: tuple[int, int], stride: int) -> Tensor:
    return grid_anchors(base, map_size, stride) + stride / 2


def y_before_x(base: Tensor, map_size: tuple[int, int], stride: int) -> Tensor:
    zero = torch.zeros(1, 4)
    return (grid_anchors(zero, map_size, stride)[:, None, [1, 0, 3, 2]] + base).reshape(-1, 4)


def from_one_corner(base: Tensor, map_size: tuple[int, int], stride: int) -> Tensor:
    """Only (x0, y0) moves from point to point."""
    anchors = grid_anchors(base, map_size, stride).view(-1, len(base), 4).clone()
    anchors[..., 2:] = base[:, 2:]
    return anchors.reshape(-1, 4)


def matched_by(high: Callable = torch.ge, low: Callable = torch.lt, between: int = IGNORED) -> Callable[..., Tensor]:
    """Matching with other comparisons at the thresholds, or another number between them."""

    def assign(overlap, high_at, low_at) -> Tensor:
        right = match(overlap, high=high_at, low=low_at, allow_low_quality_matches=True)
        if not len(overlap):
            return right
        best, nearest = overlap.max(0)
        matches = torch.full_like(nearest, between)
        matches[low(best, low_at)] = BACKGROUND
        matches[high(best, high_at)] = nearest[high(best, high_at)]
        rescued = (overlap == overlap.amax(1, keepdim=True)).any(0)
        return torch.where(rescued, nearest, matches)

    return lambda overlap, high, low: assign(overlap, high, low)


def rescued_by_first(overlap: Tensor, high: float, low: float) -> Tensor:
    """Of several equally good boxes only the first is rescued."""
    matches = match(overlap, high=high, low=low)
    if len(overlap):
        first = overlap.argmax(1)
        matches[first] = overlap.argmax(0)[first]
    return matches


def rescued_for_its_object(overlap: Tensor, high: float, low: float) -> Tensor:
    """A rescued box gets the object it was rescued for."""
    matches = match(overlap, high=high, low=low)
    for i, row in enumerate(overlap):
        matches[row == row.max()] = i
    return matches


def no_number_for_background(overlap: Tensor, high: float, low: float) -> Tensor:
    matches = match(overlap, high=high, low=low, allow_low_quality_matches=True)
    return torch.where(matches == IGNORED, BACKGROUND, torch.where(matches == BACKGROUND, IGNORED, matches))


def strict(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    return nms(boxes, scores, threshold - 1e-6)


def dropped_ones_count(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """A box falls if any better one overlaps it, also one that has fallen itself."""
    order = scores.argsort(descending=True)
    overlap = iou(boxes[order], boxes[order]).triu(1)
    return order[(overlap <= threshold).all(0)]


def one_round(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """Only the best box of all drops others."""
    order = scores.argsort(descending=True)
    stays = iou(boxes[order[:1]], boxes[order])[0] <= threshold if len(order) else order.bool()
    stays[:1] = True
    return order[stays]


def of_the_smaller(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """Overlap as a share of the smaller box."""
    order, kept = scores.argsort(descending=True).tolist(), []
    for i in order:
        low = torch.maximum(boxes[i, :2], boxes[kept, :2])
        high = torch.minimum(boxes[i, 2:], boxes[kept, 2:])
        shared = (high - low).clamp(min=0).prod(1)
        if (shared / torch.minimum(area(boxes[i]), area(boxes[kept])) <= threshold).all():
            kept.append(i)
    return torch.tensor(kept, dtype=torch.int64)


def places_in_the_order(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    order = scores.argsort(descending=True)
    return nms(boxes[order], scores[order], threshold)


def mask_of_kept(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    mask = torch.zeros(len(boxes), dtype=torch.bool)
    mask[nms(boxes, scores, threshold)] = True
    return mask


# What the exercises say of them

SHAPES = mistakes(
    "Width and height are exchanged: a ratio is height / width, so 2 is tall.",
    anchors_by(lambda size, ratio: (size * ratio**0.5, size / ratio**0.5)),
    "The area changes with the ratio: one of the sides stays, but size² must be the area of all shapes.",
    (
        anchors_by(lambda size, ratio: (size, size * ratio)),
        anchors_by(lambda size, ratio: (size / ratio, size)),
    ),
    "height / width is now the square of the ratio: take the ratio's root for both sides.",
    anchors_by(lambda size, ratio: (size / ratio, size * ratio)),
    "The boxes begin at the origin; it should be their centre.",
    of(lambda x: torch.cat([0 * x[:, :2], x[:, 2:] - x[:, :2]], 1)),
    "The boxes are twice as wide and high: half a width lies on each side of the centre.",
    of(lambda x: 2 * x),
    "The sizes must vary fastest: all sizes of the first ratio, then all of the second.",
    lambda sizes, ratios: base_anchors(sizes, ratios).view(len(ratios), len(sizes), 4).transpose(0, 1).reshape(-1, 4),
    "Round to whole pixels at the end.",
    not_rounded,
)
PLACES = mistakes(
    "Column by column; go along the rows, as a book is read.",
    regrouped((1, 0, 2)),
    "The K anchors of one point must stand together, then those of the next.",
    regrouped((2, 0, 1)),
    "The first point sits at pixel (0, 0), not in the middle of its cell.",
    moved,
    "The map size is (height, width), rows first.",
    lambda base, size, stride: grid_anchors(base, size[::-1], stride),
    "The row moves x and the column y; a box is (x0, y0, x1, y1), so the column moves x.",
    y_before_x,
    "Two points are `stride` pixels apart, not one.",
    lambda base, size, stride: grid_anchors(base, size, 1),
    "Only x0 and y0 move; x1 and y1 have to move with them.",
    from_one_corner,
)
ANSWERS = mistakes(
    "No object is rescued: the best box of each one keeps it, however small the overlap.",
    lambda overlap, high, low: match(overlap, high=high, low=low),
    "Between the thresholds a box is neither: it gets −2, not −1.",
    matched_by(between=BACKGROUND),
    "−1 is for background, −2 for what lies between; you have them the other way round.",
    no_number_for_background,
    "An overlap of exactly `high` is enough.",
    matched_by(high=torch.gt),
    "An overlap of exactly `low` is no background any more.",
    matched_by(low=torch.le),
    "Of several boxes that overlap an object equally well you rescue the first; rescue them all.",
    rescued_by_first,
    "A rescued box keeps the object that it overlaps most itself, not the one it was rescued for.",
    rescued_for_its_object,
    "You give each object its best box; give each box its best object.",
    lambda overlap, high, low: overlap.argmax(1),
)
KEPT = mistakes(
    "An overlap of exactly the threshold may stay; drop what is above it.",
    strict,
    "A box that has been dropped must not drop others any more: in the chain the third one stays.",
    dropped_ones_count,
    "Only the best box of all drops others; go on with the best of those that are left.",
    one_round,
    "The worst boxes come first; sort by descending score.",
    lambda boxes, scores, threshold: nms(boxes, -scores, threshold),
    "The right boxes, but in the order of their indices; the best one comes first.",
    lambda boxes, scores, threshold: nms(boxes, scores, threshold).sort()[0],
    "Nothing is dropped; this is the order by score.",
    lambda boxes, scores, threshold: scores.argsort(descending=True),
    "These are the boxes; give their indices.",
    lambda boxes, scores, threshold: boxes[nms(boxes, scores, threshold)],
    "These are places in the sorted order; the indices must be those of the boxes as they came.",
    places_in_the_order,
    "A mask has lost which box is best; give indices, best first.",
    mask_of_kept,
    "You compare the overlap with the smaller box; IoU divides by the union.",
    of_the_smaller,
)
