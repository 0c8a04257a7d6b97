"""What students write for notebook 05: right in several ways, and wrong in many (`test_all.py` judges them)."""

import pytest
import torch
import torch.nn.functional as F
from torchvision.ops import box_convert, box_iou

from lecture_course.nb05_from_one_box_to_many.exercises import LEFT, LEFT_FIRST, best_answer
from lecture_course.nb05_from_one_box_to_many.exercises import RIGHT as RIGHT_CAR

# 05.normalize_boxes, right


def shares_by_columns(boxes, height, width):
    x0, y0, x1, y1 = boxes.unbind(1)
    return torch.stack([(x0 + x1) / 2 / width, (y0 + y1) / 2 / height, (x1 - x0) / width, (y1 - y0) / height], dim=1)


def shares_by_torchvision(boxes, height, width):
    return box_convert(boxes, "xyxy", "cxcywh") / torch.tensor([width, height, width, height])


# 05.normalize_boxes, wrong


def shares_in_pixels(boxes, height, width):
    return box_convert(boxes, "xyxy", "cxcywh")


def shares_with_sides_swapped(boxes, height, width):
    return box_convert(boxes, "xyxy", "cxcywh") / torch.tensor([height, width, height, width])


def shares_of_the_corner(boxes, height, width):
    return box_convert(boxes, "xyxy", "xywh") / torch.tensor([width, height, width, height])


def shares_of_the_corners(boxes, height, width):
    return boxes / torch.tensor([width, height, width, height])


def shares_by_the_width_alone(boxes, height, width):
    return box_convert(boxes, "xyxy", "cxcywh") / width


def shares_with_half_sizes(boxes, height, width):
    centre = shares_by_torchvision(boxes, height, width)
    return torch.cat([centre[:, :2], centre[:, 2:] / 2], dim=1)


def shares_in_place(boxes, height, width):
    boxes /= torch.tensor([width, height, width, height])
    return box_convert(boxes, "xyxy", "cxcywh")


def shares_with_columns_as_rows(boxes, height, width):
    return shares_by_torchvision(boxes, height, width).T


def shares_of_the_first(boxes, height, width):
    return shares_by_torchvision(boxes, height, width)[:1]


def shares_with_sizes_before_the_place(boxes, height, width):
    return shares_by_torchvision(boxes, height, width)[:, [2, 3, 0, 1]]


# 05.iou, right


def iou_by_torchvision(a, b):
    return box_iou(a, b)


def iou_one_by_one(a, b):
    out = torch.zeros(len(a), len(b))
    for i, (ax0, ay0, ax1, ay1) in enumerate(a.tolist()):
        for j, (bx0, by0, bx1, by1) in enumerate(b.tolist()):
            w, h = max(0, min(ax1, bx1) - max(ax0, bx0)), max(0, min(ay1, by1) - max(ay0, by0))
            out[i, j] = w * h / ((ax1 - ax0) * (ay1 - ay0) + (bx1 - bx0) * (by1 - by0) - w * h)
    return out


# 05.iou, wrong


def common(a, b):
    x0, y0 = torch.maximum(a[:, None, 0], b[:, 0]), torch.maximum(a[:, None, 1], b[:, 1])
    x1, y1 = torch.minimum(a[:, None, 2], b[:, 2]), torch.minimum(a[:, None, 3], b[:, 3])
    return (x1 - x0).clamp(min=0) * (y1 - y0).clamp(min=0)


def size(boxes):
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def iou_without_clamp(a, b):
    x0, y0 = torch.maximum(a[:, None, 0], b[:, 0]), torch.maximum(a[:, None, 1], b[:, 1])
    x1, y1 = torch.minimum(a[:, None, 2], b[:, 2]), torch.minimum(a[:, None, 3], b[:, 3])
    shared = (x1 - x0) * (y1 - y0)
    return shared / (size(a)[:, None] + size(b) - shared)


def iou_clamped_after_the_product(a, b):
    x0, y0 = torch.maximum(a[:, None, 0], b[:, 0]), torch.maximum(a[:, None, 1], b[:, 1])
    x1, y1 = torch.minimum(a[:, None, 2], b[:, 2]), torch.minimum(a[:, None, 3], b[:, 3])
    shared = ((x1 - x0) * (y1 - y0)).clamp(min=0)
    return shared / (size(a)[:, None] + size(b) - shared)


def iou_without_union(a, b):
    return common(a, b)


def iou_over_the_sum(a, b):
    return common(a, b) / (size(a)[:, None] + size(b))


def iou_over_the_first(a, b):
    return common(a, b) / size(a)[:, None]


def iou_over_the_second(a, b):
    return common(a, b) / size(b)


def iou_over_the_smaller(a, b):
    return common(a, b) / torch.minimum(size(a)[:, None], size(b))


def iou_with_a_pixel_more(a, b):
    more = torch.tensor([0.0, 0, 1, 1])
    return box_iou(a + more, b + more)


def iou_turned(a, b):
    return box_iou(b, a)


def iou_of_pairs(a, b):
    return torch.stack([box_iou(x[None], y[None])[0, 0] for x, y in zip(a, b, strict=False)])


def iou_in_percent(a, b):
    return 100 * box_iou(a, b)


# 05.loss, right


def loss_by_hand(scores, boxes, labels, targets, weight):
    log = scores - scores.exp().sum(1, keepdim=True).log()
    each = [-log[i, label] + weight * ((boxes[i] - targets[i]) ** 2).sum() for i, label in enumerate(labels)]
    return sum(each) / len(each)


def loss_by_mse(scores, boxes, labels, targets, weight):
    return F.cross_entropy(scores, labels) + weight * 4 * F.mse_loss(boxes, targets)


# 05.loss, wrong


def loss_with_the_mean_of_four(scores, boxes, labels, targets, weight):
    return F.cross_entropy(scores, labels) + weight * F.mse_loss(boxes, targets)


def loss_with_the_weight_on_the_class(scores, boxes, labels, targets, weight):
    return weight * F.cross_entropy(scores, labels) + ((boxes - targets) ** 2).sum(1).mean()


def loss_without_weight(scores, boxes, labels, targets, weight):
    return F.cross_entropy(scores, labels) + ((boxes - targets) ** 2).sum(1).mean()


def loss_with_a_sum_over_images(scores, boxes, labels, targets, weight):
    return F.cross_entropy(scores, labels) + weight * ((boxes - targets) ** 2).sum()


def loss_with_l1(scores, boxes, labels, targets, weight):
    return F.cross_entropy(scores, labels) + weight * (boxes - targets).abs().sum(1).mean()


def loss_with_the_root(scores, boxes, labels, targets, weight):
    return F.cross_entropy(scores, labels) + weight * ((boxes - targets) ** 2).sum(1).sqrt().mean()


def loss_with_softmax_twice(scores, boxes, labels, targets, weight):
    return F.cross_entropy(scores.softmax(1), labels) + weight * ((boxes - targets) ** 2).sum(1).mean()


def loss_of_each_image(scores, boxes, labels, targets, weight):
    return F.cross_entropy(scores, labels, reduction="none") + weight * ((boxes - targets) ** 2).sum(1)


def loss_in_two_parts(scores, boxes, labels, targets, weight):
    return F.cross_entropy(scores, labels), weight * ((boxes - targets) ** 2).sum(1).mean()


# 05.crops, right


def count_by_loops(height, width):
    rows = sum(1 for first in range(height) for _ in range(first, height))
    return rows * sum(1 for first in range(width) for _ in range(first, width))


def count_by_sizes(height, width):
    return sum((height - h + 1) * (width - w + 1) for h in range(1, height + 1) for w in range(1, width + 1))


# 05.crops, wrong


def count_pixels(height, width):
    return height * width


def count_all_corners(height, width):
    return (height * width) ** 2


def count_without_single_rows(height, width):
    return height * (height - 1) // 2 * (width * (width - 1) // 2)


def count_added(height, width):
    return height * (height + 1) // 2 + width * (width + 1) // 2


def count_squares(height, width):
    return sum((height - s + 1) * (width - s + 1) for s in range(1, min(height, width) + 1))


def count_for_squares(height, width):
    return (height * (height + 1) // 2) ** 2


def count_of_whole_rows(height, width):
    return height * (height + 1) // 2 * width


RIGHT = {
    "05.normalize_boxes": [shares_by_columns, shares_by_torchvision],
    "05.iou": [iou_by_torchvision, iou_one_by_one],
    "05.loss": [loss_by_hand, loss_by_mse],
    "05.mean": [0.35, torch.tensor(0.35)],
    "05.crops": [count_by_loops, count_by_sizes],
}
WRONG = {
    "05.normalize_boxes": [
        (shares_in_pixels, "still pixels"),
        (shares_with_sides_swapped, "the other way round"),
        (shares_of_the_corner, "the box's middle, not its upper left corner"),
        (shares_of_the_corners, "corners as fractions"),
        (shares_by_the_width_alone, "only when height and width are equal"),
        (shares_with_half_sizes, "half of what they should be"),
        (shares_in_place, "writes into its input"),
        (shares_with_columns_as_rows, "swapped"),
        (shares_of_the_first, "only one of the batch"),
        (shares_with_sizes_before_the_place, "in other places"),
    ],
    "05.iou": [
        (iou_without_clamp, "lie apart"),
        (iou_clamped_after_the_product, "minus times minus"),
        (iou_without_union, "divide it by the union"),
        (iou_over_the_sum, "counts the common part twice"),
        (iou_over_the_first, "first box alone"),
        (iou_over_the_second, "second box alone"),
        (iou_over_the_smaller, "smaller of the two areas"),
        (iou_with_a_pixel_more, "without a pixel added"),
        (iou_turned, "swapped"),
        (iou_of_pairs, "axis 0 is lost"),
        (iou_in_percent, "100 times too large"),
    ],
    "05.loss": [
        (loss_with_the_mean_of_four, "mean over all numbers"),
        (loss_with_the_weight_on_the_class, "not to the class"),
        (loss_without_weight, "weight is not used"),
        (loss_with_a_sum_over_images, "summed over the images"),
        (loss_with_l1, "L1"),
        (loss_with_the_root, "root"),
        (loss_with_softmax_twice, "softmax"),
        (loss_of_each_image, "a single number"),
        (loss_in_two_parts, "a single number"),
    ],
    "05.mean": [
        (0.2, "the fourth time"),
        (0.8, "wrong three times"),
        (0.5, "equally often"),
        (0.65, "wrong way round"),
        (0.25, "fraction of one order"),
        (0.9, ""),
    ],
    "05.crops": [
        (count_pixels, "counts pixels"),
        (count_all_corners, "half of these are no boxes"),
        (count_without_single_rows, "one pixel high"),
        (count_added, "do not add"),
        (count_squares, "squares only"),
        (count_for_squares, "height and width are equal"),
        (count_of_whole_rows, ""),
    ],
}


@pytest.mark.slide("15")
def test_the_best_answer_is_the_mean_of_the_annotations():
    assert best_answer() == pytest.approx(LEFT_FIRST * LEFT + (1 - LEFT_FIRST) * RIGHT_CAR)
