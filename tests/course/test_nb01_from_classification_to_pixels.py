"""What students write for notebook 01: right in several ways, and wrong in many (`test_all.py` judges them)."""

from collections import Counter, defaultdict

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from lecture_course.nb01_from_classification_to_pixels.exercises import EXERCISES

# 01.colour_ceiling, right


def ceiling_by_loop(colours, labels):
    colours, labels = colours[labels != 255], labels[labels != 255]
    right = 0
    for colour in colours.unique():
        right += labels[colours == colour].bincount().max()
    return right / len(labels)


def ceiling_by_counters(colours, labels):
    counts = defaultdict(Counter)
    for colour, label in zip(colours.tolist(), labels.tolist(), strict=True):
        if label != 255:
            counts[colour][label] += 1
    return sum(max(c.values()) for c in counts.values()) / sum(sum(c.values()) for c in counts.values())


def ceiling_by_table(colours, labels):
    counted = labels != 255
    table = torch.zeros(colours.max() + 1, 256)
    table.index_put_((colours[counted], labels[counted]), torch.ones(counted.sum()), accumulate=True)
    return (table.max(dim=1).values.sum() / table.sum()).item()


# 01.colour_ceiling, wrong


def ceiling_of_the_commonest(colours, labels):
    labels = labels[labels != 255]
    return (labels.bincount().max() / len(labels)).item()


def ceiling_mean(colours, labels):
    colours, labels = colours[labels != 255], labels[labels != 255]
    shares = []
    for colour in colours.unique():
        mine = labels[colours == colour]
        shares.append(mine.bincount().max() / len(mine))
    return torch.stack(shares).mean().item()


def ceiling_of_all(colours, labels):
    right = 0
    for colour in colours.unique():
        mine = labels[(colours == colour) & (labels != 255)]
        right += mine.bincount().max().item() if len(mine) else 0
    return right / len(labels)


def ceiling_with_ignored(colours, labels):
    return sum(labels[colours == c].bincount().max().item() for c in colours.unique()) / len(labels)


def ceiling_swapped(colours, labels):
    colours, labels = colours[labels != 255], labels[labels != 255]
    return sum(colours[labels == k].bincount().max().item() for k in labels.unique()) / len(labels)


def ceiling_as_percent(colours, labels):
    return 100 * ceiling_by_counters(colours, labels)


def ceiling_as_count(colours, labels):
    return int(ceiling_by_counters(colours, labels) * (labels != 255).sum().item())


# 01.patch_around, right


def patch_by_padding(image, row, column, size):
    half = size // 2
    padded = F.pad(image, (half, half, half, half))
    return padded[:, :, row : row + size, column : column + size]


def patch_by_copying(image, row, column, size):
    patch = torch.zeros(*image.shape[:2], size, size)
    for i in range(size):
        for j in range(size):
            y, x = row + i - size // 2, column + j - size // 2
            if 0 <= y < image.shape[2] and 0 <= x < image.shape[3]:
                patch[:, :, i, j] = image[:, :, y, x]
    return patch


def patch_by_numpy(image, row, column, size):
    half = size // 2
    padded = np.pad(image.numpy(), ((0, 0), (0, 0), (half, half), (half, half)))
    return torch.from_numpy(padded[..., row : row + size, column : column + size].copy())


# 01.patch_around, wrong


def patch_moved_inside(image, row, column, size):
    top = min(max(row - size // 2, 0), max(image.shape[2] - size, 0))
    left = min(max(column - size // 2, 0), max(image.shape[3] - size, 0))
    return image[:, :, top : top + size, left : left + size]


def patch_cut_off(image, row, column, size):
    half = size // 2
    return image[:, :, max(row - half, 0) : row + half + 1, max(column - half, 0) : column + half + 1]


def patch_with_negative_indices(image, row, column, size):
    half = size // 2
    return image[:, :, row - half : row + half + 1, column - half : column + half + 1]


def patch_repeating_the_edge(image, row, column, size):
    half = size // 2
    padded = F.pad(image, (half, half, half, half), mode="replicate")
    return padded[:, :, row : row + size, column : column + size]


def patch_off_by_one(image, row, column, size):
    half = size // 2
    padded = F.pad(image, (half, half + 1, half, half + 1))
    return padded[:, :, row + 1 : row + 1 + size, column + 1 : column + 1 + size]


def patch_not_centred(image, row, column, size):
    return F.pad(image, (0, size, 0, size))[:, :, row : row + size, column : column + size]


def patch_swapped(image, row, column, size):
    half = size // 2
    padded = F.pad(image, (half, half, half, half))
    return padded[:, :, column : column + size, row : row + size]


def patch_of_the_first_image(image, row, column, size):
    return patch_by_padding(image[:1], row, column, size)


def patch_padding_one_axis(image, row, column, size):
    half = size // 2
    return F.pad(image, (half, half))[:, :, row : row + size, column : column + size]


def patch_blanks_the_image(image, row, column, size):
    patch = patch_by_padding(image, row, column, size)
    image[:, :, row, column] = 0
    return patch


def patch_padding_too_far(image, row, column, size):
    return F.pad(image, (size, size, size, size))[:, :, row : row + size, column : column + size]


# 01.linear_everywhere, right


def linear_by_convolution(x, weight, bias):
    side = int((weight.shape[1] // x.shape[1]) ** 0.5)
    return F.conv2d(x, weight.reshape(len(weight), x.shape[1], side, side), bias)


def linear_by_unfold(x, weight, bias):
    side = round((weight.shape[1] / x.shape[1]) ** 0.5)
    columns = F.unfold(x, side)
    scores = torch.einsum("of,bfn->bon", weight, columns) + bias[:, None]
    return scores.reshape(len(x), len(weight), x.shape[2] - side + 1, x.shape[3] - side + 1)


def linear_by_loops(x, weight, bias):
    side = round((weight.shape[1] / x.shape[1]) ** 0.5)
    height, width = x.shape[2] - side + 1, x.shape[3] - side + 1
    scores = torch.zeros(len(x), len(weight), height, width)
    for i in range(height):
        for j in range(width):
            square = x[:, :, i : i + side, j : j + side].flatten(1)
            scores[:, :, i, j] = F.linear(square, weight, bias)
    return scores


# 01.linear_everywhere, wrong


def linear_channels_last(x, weight, bias):
    c = x.shape[1]
    side = round((weight.shape[1] / c) ** 0.5)
    return F.conv2d(x, weight.reshape(-1, side, side, c).permute(0, 3, 1, 2), bias)


def linear_beside_each_other(x, weight, bias):
    side = round((weight.shape[1] / x.shape[1]) ** 0.5)
    return F.conv2d(x, weight.reshape(len(weight), -1, side, side), bias, stride=side)


def linear_without_bias(x, weight, bias):
    side = round((weight.shape[1] / x.shape[1]) ** 0.5)
    return F.conv2d(x, weight.reshape(len(weight), -1, side, side))


def linear_padded(x, weight, bias):
    side = round((weight.shape[1] / x.shape[1]) ** 0.5)
    return F.conv2d(x, weight.reshape(len(weight), -1, side, side), bias, padding="same")


def linear_flipped(x, weight, bias):
    side = round((weight.shape[1] / x.shape[1]) ** 0.5)
    return F.conv2d(x, weight.reshape(len(weight), -1, side, side).flip(2, 3), bias)


def linear_kernel_transposed(x, weight, bias):
    side = round((weight.shape[1] / x.shape[1]) ** 0.5)
    return F.conv2d(x, weight.reshape(len(weight), -1, side, side).transpose(2, 3), bias)


def linear_of_the_first_square(x, weight, bias):
    side = round((weight.shape[1] / x.shape[1]) ** 0.5)
    return F.linear(x[:, :, :side, :side].flatten(1), weight, bias)


def linear_for_whole_maps(x, weight, bias):
    return F.linear(x.flatten(1), weight, bias)


# 01.conv_multiply_adds, right


def work_by_product(in_channels, out_channels, kernel, height, width):
    return in_channels * kernel * kernel * out_channels * height * width


def work_by_counting(in_channels, out_channels, kernel, height, width):
    one_value = sum(kernel for _ in range(kernel)) * in_channels
    return one_value * (out_channels * height * width)


def work_from_the_weights(in_channels, out_channels, kernel, height, width):
    weight = torch.empty(out_channels, in_channels, kernel, kernel, device="meta")
    return weight.numel() * height * width


# 01.conv_multiply_adds, wrong


def work_of_a_line(in_channels, out_channels, kernel, height, width):
    return in_channels * out_channels * kernel * height * width


def work_in_flops(in_channels, out_channels, kernel, height, width):
    return 2 * in_channels * out_channels * kernel**2 * height * width


def work_for_one_input(in_channels, out_channels, kernel, height, width):
    return out_channels * kernel**2 * height * width


def work_for_one_output(in_channels, out_channels, kernel, height, width):
    return in_channels * kernel**2 * height * width


def work_as_weights(in_channels, out_channels, kernel, height, width):
    return in_channels * out_channels * kernel**2


def work_without_the_border(in_channels, out_channels, kernel, height, width):
    return in_channels * out_channels * kernel**2 * (height - kernel + 1) * (width - kernel + 1)


def work_on_a_square(in_channels, out_channels, kernel, height, width):
    return in_channels * out_channels * kernel**2 * height**2


def work_of_sums(in_channels, out_channels, kernel, height, width):
    return (in_channels + out_channels) * kernel**2 * height * width


RIGHT = {
    "01.colour_ceiling": [ceiling_by_loop, ceiling_by_counters, ceiling_by_table],
    "01.patch_around": [patch_by_padding, patch_by_copying, patch_by_numpy],
    "01.patches": [6384, np.int64(6384), torch.tensor(128**2 - 100**2)],
    "01.linear_everywhere": [linear_by_convolution, linear_by_unfold, linear_by_loops],
    "01.conv_multiply_adds": [work_by_product, work_by_counting, work_from_the_weights],
    "01.coarsest": [(12, 16), [12, 16], torch.Size([12, 16])],
}
WRONG = {
    "01.colour_ceiling": [
        (ceiling_of_the_commonest, "commonest label of all"),
        (ceiling_mean, "average over the colours"),
        (ceiling_of_all, "divide by all pixels"),
        (ceiling_with_ignored, "take 255 for a label"),
        (ceiling_swapped, "swapped"),
        (ceiling_as_percent, "100"),
        (ceiling_as_count, ""),
    ],
    "01.patch_around": [
        (patch_moved_inside, "move the window back"),
        (patch_cut_off, "cut off"),
        (patch_with_negative_indices, "nothing is padded"),
        (patch_repeating_the_edge, "repeat the last pixel"),
        (patch_off_by_one, "one pixel too far down"),
        (patch_not_centred, "in its middle"),
        (patch_swapped, "swapped"),
        (patch_of_the_first_image, "batch"),
        (patch_padding_one_axis, "shape"),
        (patch_blanks_the_image, "writes into its input"),
        (patch_padding_too_far, ""),
    ],
    "01.patches": [
        (128 * 128, "all patches"),
        (100 * 100, "inside the image"),
        (2 * 14 * 128 + 2 * 14 * 128, "corners twice"),
        (128**2 - (128 - 30) ** 2, "neither half"),
        (128**2 - (128 - 29) ** 2, "29 + 1"),
        (508, "border itself"),
        (841, "pixels a patch"),
    ],
    "01.linear_everywhere": [
        (linear_channels_last, "another order"),
        (linear_beside_each_other, "side by side"),
        (linear_without_bias, "bias is missing"),
        (linear_padded, "padded the map"),
        (linear_flipped, "half a turn"),
        (linear_kernel_transposed, "rows and columns of each kernel"),
        (linear_of_the_first_square, "first square only"),
        (linear_for_whole_maps, "raised RuntimeError"),
    ],
    "01.conv_multiply_adds": [
        (work_of_a_line, "k × k places"),
        (work_in_flops, "FLOPs"),
        (work_for_one_input, "all input channels"),
        (work_for_one_output, "one output channel"),
        (work_as_weights, "the weights"),
        (work_without_the_border, "border off again"),
        (work_on_a_square, "square"),
        (work_of_sums, ""),
    ],
    "01.coarsest": [
        ((16, 12), "height comes first"),
        ((11, 15), "rounded down"),
        ((12, 15), "width down"),
        ((24, 32), "four poolings"),
        ((75, 100), "not by 5"),
        ((38, 50), "not by 10"),
        (32, "stride"),
        (192, "how high"),
    ],
}


@pytest.mark.slide("07")
def test_five_poolings_leave_192_positions():
    answers = {exercise.name: exercise.answer() for exercise in EXERCISES if hasattr(exercise, "answer")}
    assert answers == {"01.patches": 128**2 - 100**2, "01.coarsest": (12, 16)}
