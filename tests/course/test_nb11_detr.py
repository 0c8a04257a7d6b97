"""Right and wrong answers to the exercises of notebook 11; `test_all.py` judges them."""

from itertools import permutations

import pytest
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torchvision.ops import box_convert, clip_boxes_to_image, generalized_box_iou

from lecture_course.engine.definitions import Exercise
from lecture_course.nb11_detr.exercises import EXERCISES, class_loss
from lecture_utils.transformers.set_criterion import set_criterion

# 11.to_pixels, right


def pixels_by_columns(boxes, height, width):
    x, y, w, h = boxes.unbind(-1)
    return torch.stack([(x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height], -1)


def pixels_by_torchvision(boxes, height, width):
    return box_convert(boxes, "cxcywh", "xyxy") * torch.tensor([width, height, width, height])


# 11.to_pixels, wrong


def pixels_within(boxes, height, width):
    corners = pixels_by_torchvision(boxes, height, width)
    return clip_boxes_to_image(corners, (height, width))


def pixels_of_centres(boxes, height, width):
    return boxes * torch.tensor([width, height, width, height])


def pixels_from_corners(boxes, height, width):
    return box_convert(boxes, "xywh", "xyxy") * torch.tensor([width, height, width, height])


def pixels_twice(boxes, height, width):
    x, y, w, h = boxes.unbind(-1)
    return torch.stack([(x - w) * width, (y - h) * height, (x + w) * width, (y + h) * height], -1)


def pixels_exchanged(boxes, height, width):
    return pixels_by_columns(boxes, width, height)


def pixels_of_shares(boxes, height, width):
    return pixels_by_columns(boxes, 1, 1)


def pixels_by_width(boxes, height, width):
    return pixels_by_columns(boxes, width, width)


def pixels_with_sizes(boxes, height, width):
    return box_convert(pixels_by_columns(boxes, height, width), "xyxy", "xywh")


# 11.giou, right


def giou_by_torchvision(a, b):
    return generalized_box_iou(a, b).diagonal()


def giou_by_hand(a, b):
    low, high = torch.maximum(a[:, :2], b[:, :2]), torch.minimum(a[:, 2:], b[:, 2:])
    shared = (high - low).clamp(min=0).prod(1)
    union = (a[:, 2:] - a[:, :2]).prod(1) + (b[:, 2:] - b[:, :2]).prod(1) - shared
    hull = (torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])).prod(1)
    return shared / union + union / hull - 1


# 11.giou, wrong


def parts(a, b, least=0):
    low, high = torch.maximum(a[:, :2], b[:, :2]), torch.minimum(a[:, 2:], b[:, 2:])
    shared = (high - low).clamp(min=least).prod(1)
    union = (a[:, 2:] - a[:, :2]).prod(1) + (b[:, 2:] - b[:, :2]).prod(1) - shared
    return shared, union, (torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])).prod(1)


def giou_plain(a, b):
    shared, union, _ = parts(a, b)
    return shared / union


def giou_unclamped(a, b):
    shared, union, hull = parts(a, b, least=-1e9)
    return shared / union - (hull - union) / hull


def giou_by_union(a, b):
    shared, union, hull = parts(a, b)
    return shared / union - (hull - union) / union


def giou_without_shared(a, b):
    shared, union, hull = parts(a, b)
    return shared / union - (hull - shared) / hull


def giou_plus(a, b):
    shared, union, hull = parts(a, b)
    return shared / union + (hull - union) / hull


def giou_as_a_loss(a, b):
    return 1 - giou_by_hand(a, b)


def giou_of_all(a, b):
    return generalized_box_iou(a, b)


def giou_mean(a, b):
    return giou_by_hand(a, b).mean()


# 11.cost, right


def cost_by_torchvision(logits, boxes, labels, truth):
    overlap = generalized_box_iou(box_convert(boxes, "cxcywh", "xyxy"), box_convert(truth, "cxcywh", "xyxy"))
    return 5 * torch.cdist(boxes, truth, p=1) - logits.softmax(-1)[:, labels] - 2 * overlap


def cost_by_loops(logits, boxes, labels, truth):
    table = torch.zeros(len(boxes), len(truth))
    for i in range(len(boxes)):
        for j in range(len(truth)):
            pair = [box_convert(box[None], "cxcywh", "xyxy") for box in (boxes[i], truth[j])]
            table[i, j] = 5 * (boxes[i] - truth[j]).abs().sum() - logits[i].softmax(0)[labels[j]]
            table[i, j] -= 2 * generalized_box_iou(*pair)[0, 0]
    return table


# 11.cost, wrong


def cost_of(chance, boxes, labels, truth, weights=(-1, 5, -2), convert=True):
    corners = (lambda x: box_convert(x, "cxcywh", "xyxy")) if convert else (lambda x: x)
    overlap = (
        torch.stack([torch.stack([one_giou(a, b) for b in corners(truth)]) for a in corners(boxes)])
        if len(truth)
        else torch.zeros(len(boxes), 0)
    )
    return weights[0] * chance[:, labels] + weights[1] * torch.cdist(boxes, truth, p=1) + weights[2] * overlap


def one_giou(a, b):
    shared, union, hull = parts(a[None], b[None])
    return (shared / union - (hull - union) / hull)[0]


def cost_of_logarithms(logits, boxes, labels, truth):
    return cost_of(logits.log_softmax(-1), boxes, labels, truth)


def cost_of_logits(logits, boxes, labels, truth):
    return cost_of(logits, boxes, labels, truth)


def cost_of_sigmoids(logits, boxes, labels, truth):
    return cost_of(logits.sigmoid(), boxes, labels, truth)


def cost_plus_chance(logits, boxes, labels, truth):
    return cost_of(logits.softmax(-1), boxes, labels, truth, (1, 5, -2))


def cost_plus_overlap(logits, boxes, labels, truth):
    return cost_of(logits.softmax(-1), boxes, labels, truth, (-1, 5, 2))


def cost_without_weights(logits, boxes, labels, truth):
    return cost_of(logits.softmax(-1), boxes, labels, truth, (-1, 1, -1))


def cost_exchanged(logits, boxes, labels, truth):
    return cost_of(logits.softmax(-1), boxes, labels, truth, (-1, 2, -5))


def cost_turned(logits, boxes, labels, truth):
    return cost_by_torchvision(logits, boxes, labels, truth).T


def cost_of_squares(logits, boxes, labels, truth):
    squares = (boxes[:, None] - truth).square().sum(-1)
    return cost_by_torchvision(logits, boxes, labels, truth) + 5 * (squares - torch.cdist(boxes, truth, p=1))


def cost_of_means(logits, boxes, labels, truth):
    return cost_by_torchvision(logits, boxes, labels, truth) - 3.75 * torch.cdist(boxes, truth, p=1)


# 11.match, right


def match_by_trying(cost):
    queries, objects = cost.shape
    ways = permutations(range(queries), objects)
    return torch.tensor(min(ways, key=lambda rows: cost[list(rows), range(objects)].sum()), dtype=torch.int64)


def match_by_scipy(cost):
    _, queries = linear_sum_assignment(cost.T.numpy())
    return torch.from_numpy(queries)


# 11.match, wrong


def match_argmin(cost):
    return cost.argmin(dim=0)


def match_one_by_one(cost):
    taken = []
    for column in cost.T:
        taken.append(min((row for row in range(len(column)) if row not in taken), key=lambda row: column[row].item()))
    return torch.tensor(taken, dtype=torch.int64)


def match_by_cheapest_pairs(cost):
    found = {}
    for place in cost.flatten().argsort().tolist():
        row, column = divmod(place, cost.shape[1])
        if column not in found and row not in found.values():
            found[column] = row
    return torch.tensor([found[column] for column in range(cost.shape[1])], dtype=torch.int64)


def match_dearest(cost):
    return match_by_scipy(-cost)


def match_rows(cost):
    return torch.from_numpy(linear_sum_assignment(cost.numpy())[0])


def match_columns(cost):
    return torch.from_numpy(linear_sum_assignment(cost.numpy())[1])


def match_in_order(cost):
    return torch.arange(cost.shape[1])


def match_to_pairs(cost):
    return linear_sum_assignment(cost.numpy())


# 11.class_loss, right


def class_loss_by_torch(logits, wanted):
    return F.cross_entropy(logits, wanted, torch.tensor([0.1] + [1.0] * (logits.shape[1] - 1)))


def class_loss_by_hand(logits, wanted):
    each = -logits.log_softmax(-1).gather(1, wanted[:, None])[:, 0]
    weights = 1 - 0.9 * (wanted == 0)
    return (weights * each).sum() / weights.sum()


# 11.class_loss, wrong


def class_loss_unweighted(logits, wanted):
    return F.cross_entropy(logits, wanted)


def class_loss_by_number(logits, wanted):
    weight = torch.ones(logits.shape[1])
    weight[0] = 0.1
    return F.cross_entropy(logits, wanted, weight, reduction="none").mean()


def class_loss_sum(logits, wanted):
    weight = torch.ones(logits.shape[1])
    weight[0] = 0.1
    return F.cross_entropy(logits, wanted, weight, reduction="sum")


def class_loss_exchanged(logits, wanted):
    weight = torch.full((logits.shape[1],), 0.1)
    weight[0] = 1.0
    return F.cross_entropy(logits, wanted, weight)


def class_loss_of_things(logits, wanted):
    if (wanted == 0).all():
        return torch.tensor(0.0)
    return F.cross_entropy(logits, wanted, ignore_index=0)


def class_loss_last(logits, wanted):
    return F.cross_entropy(logits, wanted, torch.tensor([1.0] * (logits.shape[1] - 1) + [0.1]))


def class_loss_of_each(logits, wanted):
    return F.cross_entropy(logits, wanted, reduction="none")


RIGHT = {
    "11.to_pixels": [pixels_by_columns, pixels_by_torchvision],
    "11.giou": [giou_by_torchvision, giou_by_hand],
    "11.cost": [cost_by_torchvision, cost_by_loops],
    "11.match": [match_by_trying, match_by_scipy],
    "11.class_loss": [class_loss_by_torch, class_loss_by_hand],
    "11.empty": [0.5706, 9.3 / 16.3],
}

WRONG = {
    "11.to_pixels": [
        (pixels_of_centres, "still centre and size"),
        (pixels_within, "cut to the image"),
        (pixels_from_corners, "not its upper left corner"),
        (pixels_twice, "twice as large"),
        (pixels_exchanged, "exchanged"),
        (pixels_of_shares, "still normalized"),
        (pixels_by_width, "along the height"),
        (pixels_with_sizes, ""),
    ],
    "11.giou": [
        (giou_plain, "That is IoU"),
        (giou_unclamped, "at least 0"),
        (giou_by_union, "a share of the hull"),
        (giou_without_shared, "without the union"),
        (giou_plus, "counts against"),
        (giou_as_a_loss, "the loss"),
        (giou_of_all, "the pairs"),
        (giou_mean, "axis 0 is lost"),
    ],
    "11.cost": [
        (cost_of_logarithms, "logarithm"),
        (cost_of_logits, "softmax"),
        (cost_of_sigmoids, "sigmoid"),
        (cost_plus_chance, "probability has a minus"),
        (cost_plus_overlap, "GIoU has a minus"),
        (cost_without_weights, "have weights"),
        (cost_exchanged, "5 is that of L1"),
        (cost_turned, "other way round"),
        (cost_of_squares, "squared"),
        (cost_of_means, "not their mean"),
    ],
    "11.match": [
        (match_argmin, "two may have the same"),
        (match_one_by_one, "one after the other"),
        (match_by_cheapest_pairs, "cheapest pair comes first"),
        (match_dearest, "most expensive"),
        (match_rows, "sorted"),
        (match_columns, "an object for each"),
        (match_in_order, "as it is"),
        (match_to_pairs, "2 values"),
    ],
    "11.class_loss": [
        (class_loss_unweighted, "count the same"),
        (class_loss_by_number, "number of queries"),
        (class_loss_sum, "not divided"),
        (class_loss_exchanged, "other way round"),
        (class_loss_of_things, "left out"),
        (class_loss_last, "not the last"),
        (class_loss_of_each, "single number"),
    ],
    "11.empty": [
        (0.93, "a tenth"),
        (0.1, "one of them"),
        (0.4295, "of the seven"),
        (0.5882, "have an object"),
        (0.3, ""),
    ],
}


@pytest.mark.slide("33")
def test_every_exercise_has_right_and_wrong_answers():
    for exercise in EXERCISES:
        assert len(RIGHT[exercise.name]) >= 2
        assert len(WRONG[exercise.name]) >= (5 if isinstance(exercise, Exercise) else 3)


@pytest.mark.slide("33")
def test_the_class_loss_is_that_of_the_set():
    logits, target = torch.randn(1, 6, 4), {"labels": torch.tensor([2, 1]), "boxes": torch.rand(2, 4)}
    boxes = torch.rand(1, 6, 4)
    boxes[0, 3:5] = target["boxes"]
    logits[0, 3:5, [2, 1]] += 20  # so these two are matched, in this order
    wanted = torch.tensor([0, 0, 0, 2, 1, 0])
    torch.testing.assert_close(class_loss(logits[0], wanted), set_criterion(logits, boxes, [target])["class"])
