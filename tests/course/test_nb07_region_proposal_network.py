"""What students write for notebook 07: right in several ways, and wrong in many (`test_all.py` judges them)."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
from torchvision.models.detection._utils import Matcher
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import box_iou, sigmoid_focal_loss

from lecture_course.nb07_region_proposal_network.exercises import EXERCISES
from lecture_course.nb07_region_proposal_network.mistakes import two_losses
from lecture_utils.detection import RPN
from lecture_utils.detection.boxes import encode
from lecture_utils.detection.matching import match_boxes

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


def match_without_best(overlap, high, low):
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


def match_taking_the_first(overlap, high, low):
    matches = match_without_best(overlap, high, low)
    for row in overlap:
        j = row.argmax()
        matches[j] = overlap[:, j].argmax()
    return matches


def match_for_the_object(overlap, high, low):
    matches = match_without_best(overlap, high, low)
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


# 07.rpn_loss, right


def loss_by_hand(objectness, deltas, matches, sampled, wanted):
    number = max(1, sampled.sum().item())
    yes_no = moves = torch.tensor(0.0)
    for i in sampled.nonzero()[:, 0].tolist():
        yes_no = yes_no + F.softplus(-objectness[i] if matches[i] >= 0 else objectness[i])
        if matches[i] >= 0:
            error = (deltas[i] - wanted[i]).abs()
            moves = moves + torch.where(error < 1 / 9, 4.5 * error**2, error - 1 / 18).sum()
    return torch.stack([yes_no, moves]) / number


def loss_as_torchvision(objectness, deltas, matches, sampled, wanted):
    """`RegionProposalNetwork.compute_loss`, but for an image without sampled anchors, where it is nan."""
    positive, number = sampled & (matches >= 0), sampled.sum().clamp(min=1)
    moves = F.smooth_l1_loss(deltas[positive], wanted[positive], beta=1 / 9, reduction="sum") / number
    each = F.binary_cross_entropy_with_logits(objectness, (matches >= 0).to(objectness), reduction="none")
    return torch.stack([(each * sampled).sum() / number, moves])


def loss_by_huber(objectness, deltas, matches, sampled, wanted):
    labels, positive = (matches >= 0).float(), sampled & (matches >= 0)
    number = sampled.sum().clamp(min=1)
    moves = 9 * F.huber_loss(deltas[positive], wanted[positive], delta=1 / 9, reduction="sum")
    yes_no = sigmoid_focal_loss(objectness[sampled], labels[sampled], alpha=-1, gamma=0, reduction="sum")
    return torch.stack((yes_no, moves)) / number


# 07.rpn_loss, wrong


def loss_with(objectness, deltas, matches, sampled, wanted, *, of_moves=F.smooth_l1_loss, beta=1 / 9, by=None):
    positive, number = sampled & (matches >= 0), max(1, int(sampled.sum()))
    how = {} if beta is None else {"beta": beta}
    moves = of_moves(deltas[positive], wanted[positive], reduction="sum", **how) / (by or (lambda p: number))(positive)
    truth = (matches >= 0).float()[sampled]
    yes_no = F.binary_cross_entropy_with_logits(objectness[sampled], truth, reduction="sum") / number
    return torch.stack([yes_no, moves])


def loss_of_all_anchors(objectness, deltas, matches, sampled, wanted):
    number, moves = max(1, int(sampled.sum())), loss_by_hand(objectness, deltas, matches, sampled, wanted)[1]
    yes_no = F.binary_cross_entropy_with_logits(objectness, (matches >= 0).float(), reduction="sum") / number
    return torch.stack([yes_no, moves])


def loss_of_background_deltas(objectness, deltas, matches, sampled, wanted):
    moves = F.smooth_l1_loss(deltas[sampled], wanted[sampled], beta=1 / 9, reduction="sum")
    yes_no = loss_by_hand(objectness, deltas, matches, sampled, wanted)[0]
    return torch.stack([yes_no, moves / max(1, int(sampled.sum()))])


def loss_of_every_positive(objectness, deltas, matches, sampled, wanted):
    positive = matches >= 0
    moves = F.smooth_l1_loss(deltas[positive], wanted[positive], beta=1 / 9, reduction="sum")
    yes_no = loss_by_hand(objectness, deltas, matches, sampled, wanted)[0]
    return torch.stack([yes_no, moves / max(1, int(sampled.sum()))])


def loss_without_the_first_object(objectness, deltas, matches, sampled, wanted):
    return loss_by_hand(objectness, deltas, matches.where(matches != 0, -1), sampled, wanted)


def loss_with_beta_1(*given):
    return loss_with(*given, beta=1.0)


def loss_with_squares(*given):
    return loss_with(*given, of_moves=F.mse_loss, beta=None)


def loss_with_absolute_values(*given):
    return loss_with(*given, of_moves=F.l1_loss, beta=None)


def loss_by_positives(*given):
    return loss_with(*given, by=lambda positive: max(1, int(positive.sum())))


def loss_as_a_mean(*given):
    return loss_with(*given, by=lambda positive: max(1, 4 * int(positive.sum())))


def loss_by_all_anchors(objectness, deltas, matches, sampled, wanted):
    sums = loss_by_hand(objectness, deltas, matches, sampled, wanted) * max(1, int(sampled.sum()))
    return sums / len(matches)


def loss_as_sums(objectness, deltas, matches, sampled, wanted):
    return loss_by_hand(objectness, deltas, matches, sampled, wanted) * max(1, int(sampled.sum()))


def loss_with_two_sigmoids(objectness, *given):
    return loss_by_hand(objectness.sigmoid(), *given)


def loss_turned_round(*given):
    return loss_by_hand(*given).flip(0)


def loss_as_one_number(*given):
    return loss_by_hand(*given).sum()


def loss_of_probabilities(objectness, deltas, matches, sampled, wanted):
    """Right but for very sure answers, where the logarithm of a rounded probability is cut off."""
    chance, truth = objectness[sampled].sigmoid(), (matches >= 0).float()[sampled]
    yes_no = F.binary_cross_entropy(chance, truth, reduction="sum") / max(1, int(sampled.sum()))
    return torch.stack([yes_no, loss_by_hand(objectness, deltas, matches, sampled, wanted)[1]])


def loss_as_a_pair(*given):
    return tuple(loss_by_hand(*given))


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
    "07.grid_anchors": [over_by_loops, over_by_torchvision, over_by_cartesian_product],
    "07.match": [match_by_torchvision, match_by_where, match_one_by_one],
    "07.rpn_loss": [loss_by_hand, loss_as_torchvision, loss_by_huber],
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
    "07.match": [
        (match_without_best, "best match is missing"),
        (match_without_between, "ignored"),
        (match_numbers_swapped, "other way round"),
        (match_above_high, "exactly `high`"),
        (match_up_to_low, "exactly `low`"),
        (match_taking_the_first, "take them all"),
        (match_for_the_object, "overlaps most itself"),
        (match_the_wrong_way, "each box its best object"),
        (match_without_empty, ""),
        (match_without_thresholds, ""),
        (match_as_floats, "float32"),
    ],
    "07.rpn_loss": [
        (loss_of_all_anchors, "sampled anchors only"),
        (loss_of_background_deltas, "background has no box"),
        (loss_of_every_positive, "not sampled take no part"),
        (loss_without_the_first_object, "the first object"),
        (loss_with_beta_1, "beta = 1/9"),
        (loss_with_squares, "squared errors"),
        (loss_with_absolute_values, "absolute errors"),
        (loss_by_positives, "number of positive anchors"),
        (loss_as_a_mean, "the mean over the positive"),
        (loss_by_all_anchors, "number of all anchors"),
        (loss_as_sums, "these are sums"),
        (loss_with_two_sigmoids, "through a sigmoid"),
        (loss_turned_round, "wrong order"),
        (loss_as_one_number, "one number"),
        (loss_of_probabilities, ""),
        (loss_as_a_pair, ""),
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


def test_the_loss_of_the_exercise_is_that_of_the_network():
    torch.manual_seed(0)
    rpn = RPN(4, stride=8, sizes=(8, 16), ratios=(1, 2), batch_size_per_image=10_000)  # samples all it may
    target = {"boxes": torch.tensor([[3.0, 4, 20, 19], [30, 8, 40, 30]])}
    objectness, deltas, anchors = rpn.predict(torch.randn(1, 4, 5, 6))
    matches = match_boxes(box_iou(target["boxes"], anchors), high=0.7, low=0.3, allow_low_quality_matches=True)
    wanted = encode(target["boxes"][matches.clamp(min=0)], anchors)
    ours = two_losses(objectness[0], deltas[0], matches, matches > -2, wanted)
    losses = rpn.losses(objectness, deltas, anchors, [target])
    torch.testing.assert_close(ours, torch.stack([losses["objectness"], losses["anchor deltas"]]))
    assert (matches == -2).any()
    assert (matches >= 0).sum() > 1
