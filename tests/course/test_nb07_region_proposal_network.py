"""What students write for notebook 07: right in several ways, and wrong in many (`test_all.py` judges them)."""

import math

import numpy as np
import pytest
import torch
import torchvision
from torchvision.models.detection._utils import Matcher
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import box_iou

from lecture_course.nb07_region_proposal_network.exercises import EXERCISES

# 07.base_anchors, right


def base_by_loops(sizes, ratios):
    boxes = []
    for ratio in ratios:
        for size in sizes:
            h = size * math.sqrt(ratio)
            w = size / math.sqrt(ratio)
            boxes.append([-w / 2, -h / 2, w / 2, h / 2])
    return torch.tensor(boxes).round()


def base_by_torchvision(sizes, ratios):
    return AnchorGenerator.generate_anchors(None, list(sizes), list(ratios))


def base_by_broadcasting(sizes, ratios):
    size = torch.tensor(sizes, dtype=torch.float32)
    ratio = torch.tensor(ratios, dtype=torch.float32)[:, None]
    w, h = size / ratio.sqrt(), size * ratio.sqrt()
    return torch.stack([-w, -h, w, h], dim=-1).div(2).round().reshape(-1, 4)


# 07.base_anchors, wrong


def base_turned(sizes, ratios):
    return base_by_loops(sizes, [1 / ratio for ratio in ratios])


def base_of_one_width(sizes, ratios):
    return torch.tensor([[-s / 2, -s * r / 2, s / 2, s * r / 2] for r in ratios for s in sizes]).round()


def base_of_one_height(sizes, ratios):
    return torch.tensor([[-s / r / 2, -s / 2, s / r / 2, s / 2] for r in ratios for s in sizes]).round()


def base_without_roots(sizes, ratios):
    return torch.tensor([[-s / r / 2, -s * r / 2, s / r / 2, s * r / 2] for r in ratios for s in sizes]).round()


def base_at_the_origin(sizes, ratios):
    return torch.tensor([[0, 0, 2 * x1, 2 * y1] for _, _, x1, y1 in base_by_loops(sizes, ratios).tolist()])


def base_twice_as_large(sizes, ratios):
    return base_by_loops(sizes, ratios) * 2


def base_sizes_outside(sizes, ratios):
    return torch.cat([base_by_loops([size], ratios) for size in sizes])


def base_with_fractions(sizes, ratios):
    h = [s * math.sqrt(r) for r in ratios for s in sizes]
    w = [s / math.sqrt(r) for r in ratios for s in sizes]
    return torch.tensor([[-a / 2, -b / 2, a / 2, b / 2] for a, b in zip(w, h, strict=True)])


def base_as_list(sizes, ratios):
    return base_by_loops(sizes, ratios).tolist()


def base_of_whole_numbers(sizes, ratios):
    return base_by_loops(sizes, ratios).int()


def base_of_pairs(sizes, ratios):
    return base_by_loops([s for s, _ in zip(sizes, ratios)], ratios[:1])  # noqa: B905


# 07.grid_anchors, right


def over_by_loops(base, map_size, stride):
    boxes = []
    for i in range(map_size[0]):
        for j in range(map_size[1]):
            for box in base:
                boxes.append(box + torch.tensor([j, i, j, i]) * stride)
    return torch.stack(boxes)


def over_by_torchvision(base, map_size, stride):
    generator = AnchorGenerator()
    generator.cell_anchors = [base]
    return generator.grid_anchors([list(map_size)], [[torch.tensor(stride), torch.tensor(stride)]])[0]


def over_by_cartesian_product(base, map_size, stride):
    y, x = torch.cartesian_prod(torch.arange(map_size[0]), torch.arange(map_size[1])).T * stride
    points = torch.stack([x, y, x, y], 1)
    return (points[:, None] + base[None]).flatten(0, 1)


# 07.grid_anchors, wrong


def over_by_columns(base, map_size, stride):
    return torch.stack(
        [
            box + torch.tensor([j, i, j, i]) * stride
            for j in range(map_size[1])
            for i in range(map_size[0])
            for box in base
        ]
    )


def over_shape_by_shape(base, map_size, stride):
    return torch.cat([over_by_loops(box[None], map_size, stride) for box in base])


def over_middles(base, map_size, stride):
    return over_by_loops(base, map_size, stride) + stride / 2


def over_width_first(base, map_size, stride):
    return over_by_loops(base, (map_size[1], map_size[0]), stride)


def over_rows_as_x(base, map_size, stride):
    return torch.stack(
        [
            box + torch.tensor([i, j, i, j]) * stride
            for i in range(map_size[0])
            for j in range(map_size[1])
            for box in base
        ]
    )


def over_without_stride(base, map_size, stride):
    return over_by_loops(base, map_size, 1)


def over_moving_one_corner(base, map_size, stride):
    return torch.stack(
        [
            box + torch.tensor([j, i, 0, 0]) * stride
            for i in range(map_size[0])
            for j in range(map_size[1])
            for box in base
        ]
    )


def over_as_a_map(base, map_size, stride):
    return over_by_loops(base, map_size, stride).view(*map_size, len(base), 4)


def over_the_first_shape(base, map_size, stride):
    return over_by_loops(base[:1], map_size, stride)


def over_a_square(base, map_size, stride):
    return over_by_loops(base, (map_size[0], map_size[0]), stride)


def over_in_place(base, map_size, stride):
    anchors = over_by_loops(base, map_size, stride)
    base += stride
    return anchors


# 07.match, right


def match_by_torchvision(overlap, high, low):
    if not len(overlap):
        return torch.full((overlap.shape[1],), -1)
    return Matcher(high, low, allow_low_quality_matches=True)(overlap)


def match_by_where(overlap, high, low):
    if len(overlap) == 0:
        return torch.full((overlap.shape[1],), -1)
    best, nearest = overlap.max(dim=0)
    result = torch.where(best >= high, nearest, torch.where(best < low, -1, -2))
    for row in overlap:
        chosen = row == row.max()
        result[chosen] = nearest[chosen]
    return result


def match_one_by_one(overlap, high, low):
    objects, boxes = overlap.shape
    result = torch.zeros(boxes, dtype=torch.int64)
    for j in range(boxes):
        column = overlap[:, j]
        if objects == 0 or column.max() < low:
            result[j] = -1
        elif column.max() < high:
            result[j] = -2
        else:
            result[j] = column.argmax()
        if any(overlap[i, j] == overlap[i].max() for i in range(objects)):
            result[j] = column.argmax()
    return result


# 07.match, wrong


def match_without_rescue(overlap, high, low):
    if not len(overlap):
        return torch.full((overlap.shape[1],), -1)
    return Matcher(high, low, allow_low_quality_matches=False)(overlap)


def match_without_between(overlap, high, low):
    return match_by_where(overlap, high, high)


def match_numbers_swapped(overlap, high, low):
    matches = match_by_where(overlap, high, low)
    return matches.where(matches >= 0, -3 - matches)


def match_above_high(overlap, high, low):
    return match_by_where(overlap, high + 1e-6, low)


def match_up_to_low(overlap, high, low):
    return match_by_where(overlap, high, low + 1e-6)


def match_rescuing_the_first(overlap, high, low):
    matches = match_without_rescue(overlap, high, low)
    for row in overlap:
        j = row.argmax()
        matches[j] = overlap[:, j].argmax()
    return matches


def match_rescuing_for(overlap, high, low):
    matches = match_without_rescue(overlap, high, low)
    for i, row in enumerate(overlap):
        matches[row == row.max()] = i
    return matches


def match_the_wrong_way(overlap, high, low):
    return overlap.argmax(dim=1)


def match_without_empty(overlap, high, low):
    nearest = overlap.max(dim=0).indices
    return nearest


def match_without_thresholds(overlap, high, low):
    return overlap.argmax(0) if len(overlap) else torch.full((overlap.shape[1],), -1)


def match_as_floats(overlap, high, low):
    return match_by_where(overlap, high, low).float()


# 07.nms, right


def nms_by_torchvision(boxes, scores, threshold):
    return torchvision.ops.nms(boxes, scores, threshold)


def nms_by_a_table(boxes, scores, threshold):
    order = scores.argsort(descending=True)
    overlap = box_iou(boxes[order], boxes[order])
    alive = torch.ones(len(boxes), dtype=torch.bool)
    for i in range(len(order)):
        if alive[i]:
            alive[i + 1 :] &= overlap[i, i + 1 :] <= threshold
    return order[alive]


def nms_by_lists(boxes, scores, threshold):
    left = sorted(range(len(scores)), key=lambda i: -scores[i].item())
    kept = []
    while left:
        best = left.pop(0)
        kept.append(best)
        left = [i for i in left if box_iou(boxes[[best]], boxes[[i]]).item() <= threshold]
    return torch.tensor(kept, dtype=torch.int64)


# 07.nms, wrong


def nms_below_the_threshold(boxes, scores, threshold):
    return nms_by_lists(boxes, scores, threshold - 1e-7)


def nms_all_at_once(boxes, scores, threshold):
    order = scores.argsort(descending=True)
    overlap = box_iou(boxes[order], boxes[order])
    kept = [i for i in range(len(order)) if not (overlap[:i, i] > threshold).any()]
    return order[kept]


def nms_once(boxes, scores, threshold):
    if not len(boxes):
        return torch.zeros(0, dtype=torch.int64)
    order = scores.argsort(descending=True)
    rest = order[1:]
    return torch.cat([order[:1], rest[box_iou(boxes[order[:1]], boxes[rest])[0] <= threshold]])


def nms_worst_first(boxes, scores, threshold):
    return torchvision.ops.nms(boxes, 1 - scores, threshold)


def nms_in_order_of_index(boxes, scores, threshold):
    return torchvision.ops.nms(boxes, scores, threshold).sort().values


def nms_keeping_all(boxes, scores, threshold):
    return scores.argsort(descending=True)


def nms_giving_boxes(boxes, scores, threshold):
    return boxes[torchvision.ops.nms(boxes, scores, threshold)]


def nms_places(boxes, scores, threshold):
    order = scores.argsort(descending=True)
    return torchvision.ops.nms(boxes[order], scores[order], threshold)


def nms_mask(boxes, scores, threshold):
    mask = torch.zeros(len(boxes), dtype=torch.bool)
    mask[torchvision.ops.nms(boxes, scores, threshold)] = True
    return mask


def nms_as_list(boxes, scores, threshold):
    return nms_by_lists(boxes, scores, threshold).tolist()


def nms_without_empty(boxes, scores, threshold):
    return torch.stack([*nms_by_lists(boxes, scores, threshold)])


def nms_by_half(boxes, scores, threshold):
    return nms_by_lists(boxes, scores, 0.5)


def nms_with_pixels_counted(boxes, scores, threshold):
    """The convention of integer pixels, a width of x1 − x0 + 1."""
    return nms_by_lists(boxes + torch.tensor([0.0, 0, 1, 1]), scores, threshold)


def nms_as_array(boxes, scores, threshold):
    return np.array(nms_by_lists(boxes, scores, threshold))


RIGHT = {
    "07.base_anchors": [base_by_loops, base_by_torchvision, base_by_broadcasting],
    "07.count": [14_400, 14_400.0],
    "07.grid_anchors": [over_by_loops, over_by_torchvision, over_by_cartesian_product],
    "07.channels": [(9, 36), [9, 36]],
    "07.match": [match_by_torchvision, match_by_where, match_one_by_one],
    "07.nms": [nms_by_torchvision, nms_by_a_table, nms_by_lists],
}

WRONG = {
    "07.base_anchors": [
        (base_turned, "height / width"),
        (base_of_one_width, "area"),
        (base_of_one_height, "area"),
        (base_without_roots, "root"),
        (base_at_the_origin, "begin at the origin"),
        (base_twice_as_large, "twice as wide"),
        (base_sizes_outside, "sizes must vary fastest"),
        (base_with_fractions, "round"),
        (base_as_list, "tensor"),
        (base_of_whole_numbers, "int32"),
        (base_of_pairs, ""),
    ],
    "07.count": [
        (1200, "number of points"),
        (3_686_400, "feature map"),
        (10_800, "nine anchors"),
        (8400, "every size"),
        (57_600, "count the boxes"),
        (14_401, ""),
    ],
    "07.grid_anchors": [
        (over_by_columns, "column by column"),
        (over_shape_by_shape, "stand together"),
        (over_middles, "pixel (0, 0)"),
        (over_width_first, "(height, width)"),
        (over_rows_as_x, "the column moves x"),
        (over_without_stride, "`stride` pixels apart"),
        (over_moving_one_corner, "x1 and y1"),
        (over_as_a_map, "another shape"),
        (over_the_first_shape, ""),
        (over_a_square, ""),
        (over_in_place, "writes into its input"),
    ],
    "07.channels": [
        ((1, 4), "nine"),
        ((18, 36), "two scores"),
        ((36, 9), "objectness first"),
        ((9, 4), "of its own"),
        ((9, 9), "four numbers"),
        ((2700, 10800), "at one point"),
        (45, ""),
    ],
    "07.match": [
        (match_without_rescue, "no object is rescued"),
        (match_without_between, "neither"),
        (match_numbers_swapped, "other way round"),
        (match_above_high, "exactly `high`"),
        (match_up_to_low, "exactly `low`"),
        (match_rescuing_the_first, "rescue them all"),
        (match_rescuing_for, "overlaps most itself"),
        (match_the_wrong_way, "each box its best object"),
        (match_without_empty, ""),
        (match_without_thresholds, ""),
        (match_as_floats, "float32"),
    ],
    "07.nms": [
        (nms_below_the_threshold, "exactly the threshold"),
        (nms_all_at_once, "must not drop others"),
        (nms_once, "only the best box"),
        (nms_worst_first, "worst boxes come first"),
        (nms_in_order_of_index, "order of their indices"),
        (nms_keeping_all, "nothing is dropped"),
        (nms_giving_boxes, "give their indices"),
        (nms_places, "places in the sorted order"),
        (nms_mask, "mask"),
        (nms_as_list, "tensor"),
        (nms_without_empty, "RuntimeError"),
        (nms_by_half, "threshold"),
        (nms_with_pixels_counted, ""),
        (nms_as_array, "array"),
    ],
}


@pytest.mark.slide("21")
@pytest.mark.slide("22")
def test_every_exercise_has_right_and_wrong_answers():
    for exercise in EXERCISES:
        assert len(RIGHT[exercise.name]) >= 2
        assert len(WRONG[exercise.name]) >= 5
