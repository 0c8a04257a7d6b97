"""What students write for notebook 06: right in several ways, and wrong in many (`test_all.py` judges them)."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
from torchvision.models.detection._utils import BoxCoder

from lecture_course.engine.definitions import Exercise
from lecture_course.nb06_rcnn_and_fast_rcnn.exercises import EXERCISES, pool_region, sample_at
from lecture_utils.detection.boxes import decode
from lecture_utils.detection.heads import WEIGHTS, region_losses

# 06.encode, right


def encode_by_columns(boxes, proposals):
    x0, y0, x1, y1 = boxes.unbind(1)
    a0, b0, a1, b1 = proposals.unbind(1)
    width, height = a1 - a0, b1 - b0
    dx = ((x0 + x1) / 2 - (a0 + a1) / 2) / width
    dy = ((y0 + y1) / 2 - (b0 + b1) / 2) / height
    return torch.stack([dx, dy, torch.log((x1 - x0) / width), torch.log((y1 - y0) / height)], dim=1)


def encode_one_by_one(boxes, proposals):
    rows = []
    for (x0, y0, x1, y1), (a0, b0, a1, b1) in zip(boxes.tolist(), proposals.tolist(), strict=True):
        w, h = a1 - a0, b1 - b0
        shift = [(x0 + x1 - a0 - a1) / 2 / w, (y0 + y1 - b0 - b1) / 2 / h]
        rows.append([*shift, math.log((x1 - x0) / w), math.log((y1 - y0) / h)])
    return torch.tensor(rows).reshape(-1, 4)


def encode_by_torchvision(boxes, proposals):
    return BoxCoder((1.0, 1.0, 1.0, 1.0)).encode_single(boxes, proposals)


# 06.encode, wrong


def parts_of(boxes):
    x0, y0, x1, y1 = boxes.unbind(1)
    return (x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0


def encode_pixels(boxes, proposals):
    (x, y, w, h), (a, b, v, u) = parts_of(boxes), parts_of(proposals)
    return torch.stack([x - a, y - b, torch.log(w / v), torch.log(h / u)], dim=1)


def encode_by_the_box(boxes, proposals):
    (x, y, w, h), (a, b, v, u) = parts_of(boxes), parts_of(proposals)
    return torch.stack([(x - a) / w, (y - b) / h, torch.log(w / v), torch.log(h / u)], dim=1)


def encode_swapped_sizes(boxes, proposals):
    (x, y, w, h), (a, b, v, u) = parts_of(boxes), parts_of(proposals)
    return torch.stack([(x - a) / u, (y - b) / v, torch.log(w / v), torch.log(h / u)], dim=1)


def encode_corners(boxes, proposals):
    size, own = boxes[:, 2:] - boxes[:, :2], proposals[:, 2:] - proposals[:, :2]
    return torch.cat([(boxes[:, :2] - proposals[:, :2]) / own, torch.log(size / own)], dim=1)


def encode_ratios(boxes, proposals):
    return torch.cat([encode_by_columns(boxes, proposals)[:, :2], encode_by_columns(boxes, proposals)[:, 2:].exp()], 1)


def encode_upside_down(boxes, proposals):
    return encode_by_columns(boxes, proposals) * torch.tensor([1, 1, -1, -1])


def encode_backwards(boxes, proposals):
    return encode_by_columns(boxes, proposals) * torch.tensor([-1, -1, 1, 1])


def encode_log2(boxes, proposals):
    return encode_by_columns(boxes, proposals) / torch.tensor([1, 1, math.log(2), math.log(2)])


def encode_growth(boxes, proposals):
    (x, y, w, h), (a, b, v, u) = parts_of(boxes), parts_of(proposals)
    return torch.stack([(x - a) / v, (y - b) / u, (w - v) / v, (h - u) / u], dim=1)


def encode_with_a_pixel_more(boxes, proposals):
    x0, y0, x1, y1 = boxes.unbind(1)
    a0, b0, a1, b1 = proposals.unbind(1)
    w, h, v, u = x1 - x0 + 1, y1 - y0 + 1, a1 - a0 + 1, b1 - b0 + 1
    dx, dy = (x0 + w / 2 - a0 - v / 2) / v, (y0 + h / 2 - b0 - u / 2) / u
    return torch.stack([dx, dy, torch.log(w / v), torch.log(h / u)], dim=1)


def encode_exchanged(boxes, proposals):
    return encode_by_columns(proposals, boxes)


def encode_rows_first(boxes, proposals):
    return encode_by_columns(boxes, proposals)[:, [1, 0, 3, 2]]


def encode_transposed(boxes, proposals):
    return encode_by_columns(boxes, proposals).T


def encode_the_first(boxes, proposals):
    return encode_by_columns(boxes[:1], proposals[:1]).expand_as(boxes).clone()


def encode_in_place(boxes, proposals):
    result = encode_by_columns(boxes, proposals)
    boxes[:, 2:] -= boxes[:, :2]
    return result


# 06.decode, right


def decode_by_columns(deltas, proposals):
    dx, dy, dw, dh = deltas.unbind(1)
    a, b, v, u = parts_of(proposals)
    x, y, w, h = a + dx * v, b + dy * u, v * dw.exp(), u * dh.exp()
    return torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], dim=1)


def decode_one_by_one(deltas, proposals):
    out = torch.empty_like(proposals)
    for i, (dx, dy, dw, dh) in enumerate(deltas.tolist()):
        a0, b0, a1, b1 = proposals[i].tolist()
        width, height = (a1 - a0) * math.exp(dw), (b1 - b0) * math.exp(dh)
        left = (a0 + a1) / 2 + dx * (a1 - a0) - width / 2
        top = (b0 + b1) / 2 + dy * (b1 - b0) - height / 2
        out[i] = torch.tensor([left, top, left + width, top + height])
    return out


# 06.decode, wrong


def decode_pixels(deltas, proposals):
    dx, dy, dw, dh = deltas.unbind(1)
    a, b, v, u = parts_of(proposals)
    x, y, w, h = a + dx, b + dy, v * dw.exp(), u * dh.exp()
    return torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], dim=1)


def decode_in_the_new_size(deltas, proposals):
    dx, dy, dw, dh = deltas.unbind(1)
    a, b, v, u = parts_of(proposals)
    w, h = v * dw.exp(), u * dh.exp()
    x, y = a + dx * w, b + dy * h
    return torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], dim=1)


def decode_swapped_sizes(deltas, proposals):
    dx, dy, dw, dh = deltas.unbind(1)
    a, b, v, u = parts_of(proposals)
    x, y, w, h = a + dx * u, b + dy * v, v * dw.exp(), u * dh.exp()
    return torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], dim=1)


def decode_the_wrong_way(deltas, proposals):
    return decode_by_columns(deltas * torch.tensor([-1, -1, 1, 1]), proposals)


def decode_linearly(deltas, proposals):
    return decode_by_columns(torch.cat([deltas[:, :2], (1 + deltas[:, 2:]).log()], dim=1), proposals)


def decode_by_the_number_itself(deltas, proposals):
    dx, dy, dw, dh = deltas.unbind(1)
    a, b, v, u = parts_of(proposals)
    x, y, w, h = a + dx * v, b + dy * u, v * dw, u * dh
    return torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], dim=1)


def decode_adding(deltas, proposals):
    dx, dy, dw, dh = deltas.unbind(1)
    a, b, v, u = parts_of(proposals)
    x, y, w, h = a + dx * v, b + dy * u, v + dw.exp(), u + dh.exp()
    return torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], dim=1)


def decode_without_sizes(deltas, proposals):
    return decode_by_columns(deltas * torch.tensor([1, 1, 0, 0]), proposals)


def decode_to_centres(deltas, proposals):
    return torch.stack(parts_of(decode_by_columns(deltas, proposals)), dim=1)


def decode_from_the_corner(deltas, proposals):
    dx, dy, dw, dh = deltas.unbind(1)
    _, _, v, u = parts_of(proposals)
    left, top = proposals[:, 0] + dx * v, proposals[:, 1] + dy * u
    return torch.stack([left, top, left + v * dw.exp(), top + u * dh.exp()], dim=1)


def decode_whole_pixels(deltas, proposals):
    return decode_by_columns(deltas, proposals).round()


def decode_nothing(deltas, proposals):
    decode_by_columns(deltas, proposals)


# 06.roi_pool, right


def pool_by_loops(features, box, size):
    x0, y0, x1, y1 = (int(edge) for edge in box.round())
    rows, columns = y1 - y0 + 1, x1 - x0 + 1
    out = torch.zeros(len(features), *size)
    for i in range(size[0]):
        for j in range(size[1]):
            a, b = y0 + math.floor(i * rows / size[0]), y0 + math.ceil((i + 1) * rows / size[0])
            c, d = x0 + math.floor(j * columns / size[1]), x0 + math.ceil((j + 1) * columns / size[1])
            out[:, i, j] = features[:, a:b, c:d].amax(dim=(1, 2))
    return out


def pool_by_torchvision(features, box, size):
    return torchvision.ops.roi_pool(features[None], [box[None]], size)[0]


def pool_by_adapting(features, box, size):
    """Cells beyond the map, which are no maximum, keep the parts where they are."""
    x0, y0, x1, y1 = (int(edge) for edge in box.round())
    wide = F.pad(features, (0, max(0, x1 + 1 - features.shape[2]), 0, max(0, y1 + 1 - features.shape[1])), value=-1e9)
    return F.adaptive_max_pool2d(wide[:, y0 : y1 + 1, x0 : x1 + 1], size)


# 06.roi_pool, wrong


def pool_without_the_last(features, box, size):
    x0, y0, x1, y1 = (int(edge) for edge in box.round())
    return F.adaptive_max_pool2d(features[:, y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)], size)


def pool_the_mean(features, box, size):
    x0, y0, x1, y1 = (int(edge) for edge in box.round())
    return F.adaptive_avg_pool2d(features[:, y0 : y1 + 1, x0 : x1 + 1], size)


def pool_cut_first(features, box, size):
    x0, y0, x1, y1 = (int(edge) for edge in box.round())
    return F.adaptive_max_pool2d(features[:, y0 : y1 + 1, x0 : x1 + 1], size)


def pool_rounded_down(features, box, size):
    return pool_by_loops(features, box.floor(), size)


def pool_by_columns_first(features, box, size):
    return pool_by_torchvision(features, box[[1, 0, 3, 2]], size)


def pool_to_the_other_size(features, box, size):
    return pool_by_torchvision(features, box, (size[1], size[0]))


def pool_everything(features, box, size):
    return F.adaptive_max_pool2d(features, size)


def pool_with_a_batch(features, box, size):
    return torchvision.ops.roi_pool(features[None], [box[None]], size)


def pool_the_first_channel(features, box, size):
    return pool_by_torchvision(features[:1], box, size).expand(len(features), *size).clone()


def pool_two_by_two(features, box, size):
    return pool_by_torchvision(features, box, (2, 2))


def pool_without_rounding(features, box, size):
    x0, y0, x1, y1 = box
    return features[:, y0:y1, x0:x1].amax()


# 06.bilinear, right


def sample_by_weights(features, x, y):
    x0, y0 = min(int(x), features.shape[2] - 2), min(int(y), features.shape[1] - 2)
    fx, fy = x - x0, y - y0
    cells = features[:, y0 : y0 + 2, x0 : x0 + 2]
    weights = torch.tensor([[(1 - fy) * (1 - fx), (1 - fy) * fx], [fy * (1 - fx), fy * fx]])
    return (cells * weights).sum(dim=(1, 2))


def sample_by_tents(features, x, y):
    """Every cell of the map, weighed by how near it is."""
    across = (1 - (torch.arange(features.shape[2]) - x).abs()).clamp(min=0)
    down = (1 - (torch.arange(features.shape[1]) - y).abs()).clamp(min=0)
    return torch.einsum("chw,h,w->c", features, down, across)


def sample_by_grid(features, x, y):
    height, width = features.shape[1:]
    at = torch.tensor([2 * x / (width - 1) - 1, 2 * y / (height - 1) - 1]).view(1, 1, 1, 2)
    return F.grid_sample(features[None], at, align_corners=True, padding_mode="border")[0, :, 0, 0]


# 06.bilinear, wrong


def around(features, x, y):
    x0, y0 = int(x), int(y)
    x1, y1 = min(x0 + 1, features.shape[2] - 1), min(y0 + 1, features.shape[1] - 1)
    return features[:, y0, x0], features[:, y0, x1], features[:, y1, x0], features[:, y1, x1], x - x0, y - y0


def sample_nearest(features, x, y):
    return features[:, round(y), round(x)]


def sample_upper_left(features, x, y):
    return features[:, int(y), int(x)]


def sample_mean(features, x, y):
    a, b, c, d, *_ = around(features, x, y)
    return (a + b + c + d) / 4


def sample_exchanged_weights(features, x, y):
    a, b, c, d, fx, fy = around(features, x, y)
    return fy * (fx * a + (1 - fx) * b) + (1 - fy) * (fx * c + (1 - fx) * d)


def sample_along_x(features, x, y):
    a, b, _, _, fx, _ = around(features, x, y)
    return (1 - fx) * a + fx * b


def sample_along_y(features, x, y):
    a, _, c, _, _, fy = around(features, x, y)
    return (1 - fy) * a + fy * c


def sample_rows_for_columns(features, x, y):
    x0, y0 = int(x), int(y)
    x1, y1 = min(x0 + 1, features.shape[1] - 1), min(y0 + 1, features.shape[2] - 1)
    fx, fy = x - x0, y - y0
    top = (1 - fx) * features[:, x0, y0] + fx * features[:, x1, y0]
    return (1 - fy) * top + fy * ((1 - fx) * features[:, x0, y1] + fx * features[:, x1, y1])


def sample_beyond_the_end(features, x, y):
    x0, y0 = int(x), int(y)
    fx, fy = x - x0, y - y0
    above = (1 - fx) * features[:, y0, x0] + fx * features[:, y0, x0 + 1]
    below = (1 - fx) * features[:, y0 + 1, x0] + fx * features[:, y0 + 1, x0 + 1]
    return (1 - fy) * above + fy * below


def sample_one_channel(features, x, y):
    return sample_by_weights(features, x, y)[0]


def sample_fractions_exchanged(features, x, y):
    a, b, c, d, fx, fy = around(features, x, y)
    return (1 - fx) * ((1 - fy) * a + fy * b) + fx * ((1 - fy) * c + fy * d)


# 06.loss, right


def loss_written_out(scores, deltas, labels, targets):
    """Equations 1 to 3 of Fast R-CNN, a region at a time."""
    total = 0.0
    for p, t, u, v in zip(scores.softmax(1), deltas, labels.tolist(), targets, strict=True):
        total = total - p[u].log()
        if u >= 1:
            x = (t[u] - v).abs()
            total = total + torch.where(x < 1, 0.5 * x**2, x - 0.5).sum()
    return total / len(labels)


def loss_by_the_package(scores, deltas, labels, targets):
    """`region_losses` takes boxes: the targets, decoded from some proposal, which for background stays as it is."""
    proposals = torch.tensor([[40.0, 30, 70, 80]]).repeat(len(labels), 1)
    return sum(region_losses(scores, deltas, proposals, labels, decode(targets, proposals, WEIGHTS)).values())


def loss_with_a_mask(scores, deltas, labels, targets):
    own = deltas[torch.arange(len(labels)), labels]
    each = F.smooth_l1_loss(own, targets, reduction="none").sum(1) * (labels > 0)
    return F.cross_entropy(scores, labels) + each.mean()


# 06.loss, wrong


def loss_of_background_boxes(scores, deltas, labels, targets):
    own = deltas[torch.arange(len(labels)), labels]
    return F.cross_entropy(scores, labels) + F.smooth_l1_loss(own, targets, reduction="none").sum(1).mean()


def loss_of_the_best_class(scores, deltas, labels, targets):
    own = deltas[torch.arange(len(labels)), scores.argmax(1)]
    each = F.smooth_l1_loss(own, targets, reduction="none").sum(1) * (labels > 0)
    return F.cross_entropy(scores, labels) + each.mean()


def loss_per_positive(scores, deltas, labels, targets):
    positive = labels > 0
    own = deltas[positive, labels[positive]]
    box = F.smooth_l1_loss(own, targets[positive], reduction="none").sum(1).sum() / max(1, int(positive.sum()))
    return F.cross_entropy(scores, labels) + box


def loss_of_means(scores, deltas, labels, targets):
    own = deltas[torch.arange(len(labels)), labels]
    each = F.smooth_l1_loss(own, targets, reduction="none").mean(1) * (labels > 0)
    return F.cross_entropy(scores, labels) + each.mean()


def loss_by_l1(scores, deltas, labels, targets):
    own = deltas[torch.arange(len(labels)), labels]
    return F.cross_entropy(scores, labels) + ((own - targets).abs().sum(1) * (labels > 0)).mean()


def loss_by_l2(scores, deltas, labels, targets):
    own = deltas[torch.arange(len(labels)), labels]
    return F.cross_entropy(scores, labels) + ((own - targets).square().sum(1) * (labels > 0)).mean()


def loss_without_the_half(scores, deltas, labels, targets):
    x = (deltas[torch.arange(len(labels)), labels] - targets).abs()
    each = torch.where(x < 1, x**2, x - 0.5).sum(1) * (labels > 0)
    return F.cross_entropy(scores, labels) + each.mean()


def loss_after_softmax(scores, deltas, labels, targets):
    return loss_with_a_mask(scores.softmax(1), deltas, labels, targets)


def loss_of_the_classes(scores, deltas, labels, targets):
    return F.cross_entropy(scores, labels)


def loss_of_the_boxes(scores, deltas, labels, targets):
    return loss_with_a_mask(scores, deltas, labels, targets) - F.cross_entropy(scores, labels)


def loss_of_two_parts(scores, deltas, labels, targets):
    return F.cross_entropy(scores, labels), loss_of_the_boxes(scores, deltas, labels, targets)


RIGHT = {
    "06.encode": [encode_by_columns, encode_one_by_one, encode_by_torchvision],
    "06.decode": [decode_by_columns, decode_one_by_one],
    "06.roi_pool": [pool_by_loops, pool_by_torchvision, pool_by_adapting],
    "06.bilinear": [sample_by_weights, sample_by_tents, sample_by_grid],
    "06.loss": [loss_written_out, loss_by_the_package, loss_with_a_mask],
}

WRONG = {
    "06.encode": [
        (encode_pixels, "in pixels"),
        (encode_by_the_box, "size of the box"),
        (encode_swapped_sizes, "exchanged the two"),
        (encode_corners, "upper left corner"),
        (encode_ratios, "logarithms of these ratios"),
        (encode_upside_down, "upside down"),
        (encode_backwards, "signs of dx and dy"),
        (encode_log2, "natural logarithm"),
        (encode_growth, "relative growth"),
        (encode_with_a_pixel_more, "add no pixel"),
        (encode_exchanged, "exchanged: the first"),
        (encode_rows_first, "order is dx, dy, dw, dh"),
        (encode_transposed, "swapped"),
        (encode_the_first, "the first of a batch"),
        (encode_in_place, "writes into its input"),
    ],
    "06.decode": [
        (decode_pixels, "added as pixels"),
        (decode_in_the_new_size, "in the new size"),
        (decode_swapped_sizes, "exchanged the two"),
        (decode_the_wrong_way, "wrong way"),
        (decode_linearly, "multiplied by 1 + dw"),
        (decode_by_the_number_itself, "by dw itself"),
        (decode_adding, "do not add it"),
        (decode_without_sizes, "size does not change"),
        (decode_to_centres, "last step is to corners"),
        (decode_from_the_corner, "around its centre"),
        (decode_whole_pixels, "rounded"),
        (decode_nothing, "return"),
    ],
    "06.roi_pool": [
        (pool_without_the_last, "last row and column"),
        (pool_the_mean, "mean of each part"),
        (pool_cut_first, "cut to the map"),
        (pool_rounded_down, "rounded down"),
        (pool_by_columns_first, "x and y are exchanged"),
        (pool_to_the_other_size, "height, width"),
        (pool_everything, "whole map"),
        (pool_with_a_batch, "shape"),
        (pool_the_first_channel, "channel"),
        (pool_two_by_two, "ignores `size`"),
        (pool_without_rounding, "TypeError"),
    ],
    "06.bilinear": [
        (sample_nearest, "nearest cell"),
        (sample_upper_left, "above and to the left"),
        (sample_mean, "weigh alike"),
        (sample_exchanged_weights, "exchanged: the nearer"),
        (sample_along_x, "not along y"),
        (sample_along_y, "not along x"),
        (sample_rows_for_columns, "x counts columns"),
        (sample_beyond_the_end, "IndexError"),
        (sample_one_channel, "axis 0 is lost"),
        (sample_fractions_exchanged, "fractions of x and y"),
    ],
    "06.loss": [
        (loss_of_background_boxes, "Background regions"),
        (loss_of_the_best_class, "highest score"),
        (loss_per_positive, "by the positive regions"),
        (loss_of_means, "averaged over the four numbers"),
        (loss_by_l1, "plain L1"),
        (loss_by_l2, "That is L2"),
        (loss_without_the_half, "½ of ½ x²"),
        (loss_after_softmax, "has the softmax in it"),
        (loss_of_the_classes, "loss of the deltas is missing"),
        (loss_of_the_boxes, "cross-entropy of the classes is missing"),
        (loss_of_two_parts, ""),
    ],
}


@pytest.mark.slide("18")
@pytest.mark.slide("19")
def test_every_exercise_has_right_and_wrong_answers():
    for exercise in EXERCISES:
        assert len(RIGHT[exercise.name]) >= 2
        assert len(WRONG[exercise.name]) >= 5


def test_every_mistake_is_one_and_each_is_another():
    """A sentence whose function were right, or equal to one before it, could never be shown."""
    for exercise in EXERCISES:
        if not isinstance(exercise, Exercise):
            continue
        cases = exercise.cases(torch.Generator().manual_seed(1))
        seen = [_answers(exercise.reference, cases)]
        for mistake in exercise.mistakes:
            answers = _answers(mistake.function, cases)
            assert answers not in seen, mistake.says
            seen.append(answers)


def test_a_cell_read_in_its_middle_is_its_value():
    """The references of the exercises, against torch and numpy."""
    features = torch.randn(2, 5, 7)
    for y, x in np.ndindex(5, 7):
        torch.testing.assert_close(sample_at(features, float(x), float(y)), features[:, y, x])
    whole = torch.tensor([0.0, 0, 6, 4])
    torch.testing.assert_close(pool_region(features, whole, (2, 3)), F.adaptive_max_pool2d(features, (2, 3)))


def _answers(function, cases):
    found = []
    for case in cases:
        try:
            found.append(np.asarray(function(*case.args)).round(4).tolist())
        except (IndexError, RuntimeError):  # the engine passes over a mistake that fails
            found.append("fails")
    return found
