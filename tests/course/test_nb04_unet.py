"""Answers to the exercises of notebook 04, right and wrong, and their references against the real network."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from lecture_course.nb04_unet.exercises import EXERCISES, output_size, pixel_loss, scored_pixels, sizes
from lecture_utils.cityscapes import IGNORE_INDEX, PALETTE
from lecture_utils.segmentation import UNet, tensor_shapes

COLOURS = np.vstack([PALETTE, [[0, 0, 0]]])


# --- parameters: 1024 · 512 · 2 · 2 weights, 512 biases

PARAMETERS = 2_097_664


# --- output_size


def size_by_formula(size, depth):
    return size - 12 * 2**depth + 8


def size_by_recursion(size, depth):
    return size - 4 if depth == 0 else 2 * size_by_recursion((size - 4) // 2, depth - 1) - 4


def size_by_running(size, depth):
    net = UNet(1, 1, base_channels=1, depth=depth, padding="valid")
    return tensor_shapes(net, size, size)[-1].output[1]


def size_one_pixel(size, depth):
    for _ in range(depth):
        size = (size - 2) // 2
    size -= 2
    for _ in range(depth):
        size = size * 2 - 2
    return size


def size_without_bottom(size, depth):
    for _ in range(depth):
        size = (size - 4) // 2
    for _ in range(depth):
        size = size * 2 - 4
    return size


def size_down_only(size, depth):
    for _ in range(depth):
        size = (size - 4) // 2
    return size - 4


def size_of_depth_four(size, depth):
    return output_size(size, 4)


def size_in_floats(size, depth):
    for _ in range(depth):
        size = (size - 4) / 2
    return None if size < 0 else print(size)


def size_halves_first(size, depth):
    for _ in range(depth):
        size = size // 2 - 4
    size -= 4
    for _ in range(depth):
        size = (size - 4) * 2
    return size


# --- crop_and_concat


def crop_by_narrow(skip, x):
    for dim in (2, 3):
        extra = skip.shape[dim] - x.shape[dim]
        skip = skip.narrow(dim, extra // 2, x.shape[dim])
    return torch.cat((skip, x), 1)


def crop_by_padding(skip, x):
    rows, columns = skip.shape[2] - x.shape[2], skip.shape[3] - x.shape[3]
    cropped = F.pad(skip, (-(columns // 2), -(columns - columns // 2), -(rows // 2), -(rows - rows // 2)))
    return torch.cat([cropped, x], dim=-3)


def crop_by_minus(skip, x):
    dy, dx = (skip.shape[2] - x.shape[2]) // 2, (skip.shape[3] - x.shape[3]) // 2
    return torch.cat([skip[:, :, dy:-dy, dx:-dx], x], 1)


def crop_the_corner(skip, x):
    return torch.cat([skip[:, :, : x.shape[2], : x.shape[3]], x], 1)


def crop_and_add(skip, x):
    return crop_by_narrow(skip, x)[:, : skip.shape[1]] + x


def crop_after(skip, x):
    both = crop_by_narrow(skip, x)
    return torch.cat([both[:, skip.shape[1] :], both[:, : skip.shape[1]]], 1)


def crop_in_the_batch(skip, x):
    both = crop_by_narrow(skip, x)
    return torch.cat([both[:, : skip.shape[1]], x], 0)


def shrink(skip, x):
    return torch.cat([F.interpolate(skip, size=x.shape[2:]), x], 1)


def pad_up(skip, x):
    dy, dx = (skip.shape[2] - x.shape[2]) // 2, (skip.shape[3] - x.shape[3]) // 2
    return torch.cat([skip, F.pad(x, [dx, dx, dy, dy])], 1)


def no_crop(skip, x):
    return torch.cat([skip, x], dim=1)


def square_crop(skip, x):
    d = (skip.shape[2] - x.shape[2]) // 2
    return torch.cat([skip[:, :, d : d + x.shape[2], d : d + x.shape[3]], x], 1)


# --- nearest_class


def nearest_by_broadcasting(mask):
    distances = ((mask[:, :, None].astype(int) - COLOURS) ** 2).sum(-1)
    labels = distances.argmin(-1)
    labels[labels == len(PALETTE)] = IGNORE_INDEX
    return labels.astype(np.uint8)


def nearest_by_loop(mask):
    best = np.full(mask.shape[:2], np.inf)
    labels = np.zeros(mask.shape[:2], dtype=np.uint8)
    for index, colour in [*enumerate(PALETTE), (IGNORE_INDEX, np.zeros(3))]:
        distance = np.linalg.norm(mask - colour.astype(float), axis=2)
        nearer = distance < best
        labels[nearer], best[nearer] = index, distance[nearer]
    return labels


def nearest_by_torch(mask):
    distances = torch.cdist(
        torch.tensor(mask).double().reshape(-1, 3),
        torch.tensor(COLOURS).double(),
        compute_mode="donot_use_mm_for_euclid_dist",
    )
    ids = np.append(np.arange(len(PALETTE)), IGNORE_INDEX).astype(np.uint8)
    return ids[distances.argmin(1).numpy()].reshape(mask.shape[:2])


def nearest_in_bytes(mask):
    labels = ((mask[:, :, None] - COLOURS.astype(np.uint8)) ** 2).sum(-1).argmin(-1)
    return np.where(labels == 19, IGNORE_INDEX, labels).astype(np.uint8)


def nearest_without_black(mask):
    return ((mask[:, :, None].astype(int) - PALETTE) ** 2).sum(-1).argmin(-1).astype(np.uint8)


def nearest_nineteen(mask):
    return ((mask[:, :, None].astype(int) - COLOURS) ** 2).sum(-1).argmin(-1).astype(np.uint8)


def nearest_by_blocks(mask):
    labels = np.abs(mask[:, :, None].astype(int) - COLOURS).sum(-1).argmin(-1)
    return np.where(labels == 19, IGNORE_INDEX, labels).astype(np.uint8)


def nearest_of_swapped(mask):
    return nearest_by_broadcasting(mask[:, :, ::-1])


def nearest_exact(mask):
    labels = np.full(mask.shape[:2], IGNORE_INDEX, dtype=np.uint8)
    for index, colour in enumerate(PALETTE):
        labels[(mask == colour).all(-1)] = index
    return labels


def nearest_as_integers(mask):
    return nearest_by_broadcasting(mask).astype(np.float64)


def nearest_transposed(mask):
    return nearest_by_broadcasting(mask).T


# --- pixel_loss


def loss_by_rows(scores, labels, weights):
    counted = labels != IGNORE_INDEX
    rows, classes = scores.movedim(1, -1)[counted], labels[counted]
    logs = rows.log_softmax(dim=1)[torch.arange(len(rows)), classes]
    return -(weights[classes] * logs).sum() / weights[classes].sum()


def loss_by_loop(scores, labels, weights):
    above = below = 0.0
    for b, y, x in (labels != IGNORE_INDEX).nonzero().tolist():
        row = scores[b, :, y, x].double()
        log = row[labels[b, y, x]] - row.max() - (row - row.max()).exp().sum().log()
        weight = weights[labels[b, y, x]].double()
        above, below = above - weight * log, below + weight
    return (above / below).float()


def loss_mean(scores, labels, weights):
    return F.cross_entropy(scores, labels, weights, ignore_index=IGNORE_INDEX, reduction="none")[
        labels != IGNORE_INDEX
    ].mean()


def loss_torch_mean(scores, labels, weights):
    return F.cross_entropy(scores, labels, weights, ignore_index=IGNORE_INDEX, reduction="none").mean()


def loss_unweighted(scores, labels, weights):
    return F.cross_entropy(scores, labels, ignore_index=IGNORE_INDEX)


def loss_sum(scores, labels, weights):
    return F.cross_entropy(scores, labels, weights, ignore_index=IGNORE_INDEX, reduction="sum")


def loss_not_ignoring(scores, labels, weights):
    return F.cross_entropy(scores, labels, weights)


def loss_overflowing(scores, labels, weights):
    counted = labels != IGNORE_INDEX
    rows, classes = scores.movedim(1, -1)[counted], labels[counted]
    p = (rows.exp() / rows.exp().sum(1, keepdim=True))[torch.arange(len(rows)), classes]
    return -(weights[classes] * p.log()).sum() / weights[classes].sum()


def loss_positive(scores, labels, weights):
    return -loss_by_rows(scores, labels, weights)


def loss_softmax_twice(scores, labels, weights):
    return F.cross_entropy(scores.softmax(dim=1), labels, weights, ignore_index=IGNORE_INDEX)


def loss_per_image(scores, labels, weights):
    return sum(loss_by_rows(s[None], y[None], weights) for s, y in zip(scores, labels, strict=True)) / len(scores)


def loss_as_number(scores, labels, weights):
    return "about one"


def loss_in_place(scores, labels, weights):
    scores -= scores.amax(1, keepdim=True)
    return loss_by_rows(scores, labels, weights)


RIGHT = {
    "04.up_conv": [PARAMETERS, np.int64(PARAMETERS), torch.tensor(PARAMETERS)],
    "04.output_size": [size_by_formula, size_by_recursion, size_by_running],
    "04.crop_and_concat": [crop_by_narrow, crop_by_padding],
    "04.nearest_class": [nearest_by_broadcasting, nearest_by_loop, nearest_by_torch],
    "04.pixel_loss": [loss_by_rows, loss_by_loop],
}
WRONG = {
    "04.up_conv": [
        (PARAMETERS - 512, "bias"),
        (1024 * 512 * 4 + 1024, "one bias for each output channel"),
        (1024 * 512 * 9 + 512, "3 × 3"),
        (1024 * 512 + 512, "1 × 1"),
        (512 * 512 * 4 + 512, "How many go in"),
        (2_000_000, ""),
        ("many", "str"),
    ],
    "04.output_size": [
        (size_one_pixel, "one on either side"),
        (size_without_bottom, "bottom"),
        (size_down_only, "way up"),
        (size_of_depth_four, "depth"),
        (size_in_floats, "None"),
        (size_halves_first, ""),
        (lambda size, depth: size, "padding"),
        (lambda size, depth: size - 184, "depth 4 only"),
        (lambda size, depth: size - 4 * (2 * depth + 1), "whatever the depth"),
        (lambda size: size, "def"),
    ],
    "04.crop_and_concat": [
        (crop_by_minus, "Expected size 0"),
        (crop_the_corner, "top left"),
        (crop_and_add, "added"),
        (crop_after, "come first"),
        (crop_in_the_batch, "axis 1"),
        (shrink, "shrunk"),
        (pad_up, "padded"),
        (no_crop, "RuntimeError"),
        (square_crop, "heights and widths"),
        (lambda skip, x: crop_by_narrow(skip, x)[:, : skip.shape[1]], "alone"),
        (lambda skip, x: crop_by_narrow(skip, x)[:1], "batch"),
    ],
    "04.nearest_class": [
        (nearest_in_bytes, "uint8"),
        (nearest_without_black, "Black"),
        (nearest_nineteen, "19"),
        (nearest_by_blocks, "along the axes"),
        (nearest_of_swapped, "OpenCV"),
        (nearest_exact, "Only exact"),
        (nearest_as_integers, "float"),
        (nearest_transposed, "swapped"),
        (lambda mask: PALETTE[nearest_without_black(mask)], ""),
        (lambda mask: torch.tensor(nearest_by_loop(mask)), "tensor"),
    ],
    "04.pixel_loss": [
        (loss_mean, "sum of their weights"),
        (loss_torch_mean, "ignored ones too"),
        (loss_unweighted, "weights are missing"),
        (loss_sum, "Divide"),
        (loss_not_ignoring, "IndexError"),
        (loss_overflowing, "log_softmax"),
        (loss_positive, "minus"),
        (loss_softmax_twice, "twice"),
        (loss_per_image, "by itself"),
        (loss_as_number, "str"),
        (loss_in_place, "writes into its input"),
    ],
}


@pytest.mark.slide("12")
@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5])
def test_the_size_is_that_of_the_real_network(depth):
    for case in sizes(torch.Generator().manual_seed(depth)):
        size, depth = case.args
        assert output_size(size, depth) == size_by_running(size, depth) == size_by_formula(size, depth)


def test_the_prediction_is_the_published_layers():
    assert EXERCISES[0].answer() == PARAMETERS


@pytest.mark.slide("13")
def test_the_loss_is_the_formula_in_double_precision():
    for case in scored_pixels(torch.Generator().manual_seed(0)):
        scores, labels, weights = case.args
        above = below = 0.0
        for b, y, x in np.argwhere(labels.numpy() != IGNORE_INDEX):
            row = scores[b, :, y, x].double().numpy()
            p = np.exp(row - row.max()) / np.exp(row - row.max()).sum()
            weight = float(weights[labels[b, y, x]])
            above, below = above - weight * math.log(p[labels[b, y, x]]), below + weight
        assert pixel_loss(scores, labels, weights).item() == pytest.approx(above / below, rel=1e-5)
