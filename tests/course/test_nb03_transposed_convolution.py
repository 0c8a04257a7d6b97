"""What students write for notebook 03: right in several ways, and wrong in many (`test_all.py` judges them)."""

import numpy as np
import torch
import torch.nn.functional as F

from lecture_utils.segmentation.convolution_matrix import convolution_matrix

# 03.row, right


def row_by_padding(kernel, input_size, at):
    (i, j), (kh, kw), (h, w) = at, kernel.shape, input_size
    return F.pad(kernel, (j, w - kw - j, i, h - kh - i)).reshape(-1)


def row_by_loops(kernel, input_size, at):
    row = torch.zeros(input_size[0] * input_size[1])
    for a in range(kernel.shape[0]):
        for b in range(kernel.shape[1]):
            row[(at[0] + a) * input_size[1] + at[1] + b] = kernel[a, b]
    return row


def row_of_the_matrix(kernel, input_size, at):
    places = input_size[1] - kernel.shape[1] + 1
    return convolution_matrix(kernel[None, None], input_size)[at[0] * places + at[1]]


# 03.row, wrong


def row_still_a_picture(kernel, input_size, at):
    image = torch.zeros(*input_size)
    image[at[0] : at[0] + kernel.shape[0], at[1] : at[1] + kernel.shape[1]] = kernel
    return image


def row_flipped(kernel, input_size, at):
    return row_by_padding(torch.flip(kernel, (0, 1)), input_size, at)


def row_column_by_column(kernel, input_size, at):
    return row_still_a_picture(kernel, input_size, at).T.reshape(-1)


def row_one_after_another(kernel, input_size, at):
    row = torch.zeros(input_size[0] * input_size[1])
    flat = kernel.flatten()
    for n in range(len(flat)):
        place = at[0] * input_size[1] + at[1] + n
        if place < len(row):
            row[place] = flat[n]
    return row


def row_transposed_kernel(kernel, input_size, at):
    row = torch.zeros(input_size[0] * input_size[1])
    for a in range(kernel.shape[0]):
        for b in range(kernel.shape[1]):
            row[(at[0] + b) * input_size[1] + at[1] + a] = kernel[a, b]
    return row


def row_wrong_width(kernel, input_size, at):
    row = torch.zeros(input_size[0] * input_size[1])
    for a in range(kernel.shape[0]):
        for b in range(kernel.shape[1]):
            row[(at[0] + a) * input_size[0] + at[1] + b] = kernel[a, b]
    return row


def row_always_first(kernel, input_size, at):
    return row_by_padding(kernel, input_size, (0, 0))


def row_whole_numbers(kernel, input_size, at):
    return row_by_padding(kernel, input_size, at).long()


def row_as_matrix(kernel, input_size, at):
    return row_by_padding(kernel, input_size, at)[None]


# 03.stamp, right


def stamp_by_torch(x, kernel, stride=1):
    return F.conv_transpose2d(x[None, None], kernel[None, None], stride=stride)[0, 0]


def stamp_by_kernel_entries(x, kernel, stride=1):
    (h, w), (kh, kw) = x.shape, kernel.shape
    out = torch.zeros((h - 1) * stride + kh, (w - 1) * stride + kw)
    for a in range(kh):
        for b in range(kw):
            out[a : a + (h - 1) * stride + 1 : stride, b : b + (w - 1) * stride + 1 : stride] += x * kernel[a, b]
    return out


def stamp_by_matrix(x, kernel, stride=1):
    (h, w), (kh, kw) = x.shape, kernel.shape
    size = ((h - 1) * stride + kh, (w - 1) * stride + kw)
    return (convolution_matrix(kernel[None, None], size, stride=stride).T @ x.flatten()).reshape(size)


# 03.stamp, wrong


def stamp_overwrites(x, kernel, stride=1):
    (h, w), (kh, kw) = x.shape, kernel.shape
    out = torch.zeros((h - 1) * stride + kh, (w - 1) * stride + kw)
    for i in range(h):
        for j in range(w):
            out[i * stride : i * stride + kh, j * stride : j * stride + kw] = x[i, j] * kernel
    return out


def stamp_ignores_stride(x, kernel, stride=1):
    return stamp_by_torch(x, kernel, 1)


def stamp_flips(x, kernel, stride=1):
    return stamp_by_torch(x, kernel.flip((0, 1)), stride)


def stamp_too_small(x, kernel, stride=1):
    return stamp_by_torch(x, kernel, stride)[: x.shape[0] * stride, : x.shape[1] * stride]


def stamp_tiles(x, kernel, stride=1):
    return torch.kron(x, kernel)


def stamp_averages(x, kernel, stride=1):
    ones = stamp_by_torch(torch.ones_like(x), torch.ones_like(kernel), stride)
    return stamp_by_torch(x, kernel, stride) / torch.where(ones == 0, 1, ones)


def stamp_rows_only(x, kernel, stride=1):
    (h, w), (kh, kw) = x.shape, kernel.shape
    out = torch.zeros((h - 1) * stride + kh, (w - 1) * stride + kw)
    for i in range(h):
        for j in range(w):
            out[i : i + kh, j * stride : j * stride + kw] += x[i, j] * kernel
    return out


def stamp_empties_the_input(x, kernel, stride=1):
    result = stamp_by_torch(x.clone(), kernel, stride)
    x.zero_()
    return result


def stamp_strided_size(x, kernel, stride=1):
    (h, w), (kh, kw) = x.shape, kernel.shape
    out = torch.zeros(h * stride + kh - 1, w * stride + kw - 1)
    for i in range(h):
        for j in range(w):
            out[i * stride : i * stride + kh, j * stride : j * stride + kw] += x[i, j] * kernel
    return out


def stamp_convolves(x, kernel, stride=1):
    return F.conv2d(x[None, None], kernel[None, None], stride=stride, padding=kernel.shape[0] - 1)[0, 0]


# 03.size, right


def size_by_formula(size, kernel_size, stride=1, padding=0, output_padding=0, dilation=1):
    return (size - 1) * stride - 2 * padding + dilation * (kernel_size - 1) + output_padding + 1


def size_by_torch(size, kernel_size, stride=1, padding=0, output_padding=0, dilation=1):
    x, kernel = torch.zeros(1, 1, size), torch.zeros(1, 1, kernel_size)
    return F.conv_transpose1d(x, kernel, None, stride, padding, output_padding, 1, dilation).shape[-1]


# 03.size, wrong


def size_doubles(size, kernel_size, stride=1, padding=0, output_padding=0, dilation=1):
    return stride * size


def size_of_convolution(size, kernel_size, stride=1, padding=0, output_padding=0, dilation=1):
    return 1 + (size + 2 * padding - dilation * (kernel_size - 1) - 1) // stride


def size_one_step_more(size, kernel_size, stride=1, padding=0, output_padding=0, dilation=1):
    return size_by_formula(size + 1, kernel_size, stride, padding, output_padding, dilation)


def size_one_padding(size, kernel_size, stride=1, padding=0, output_padding=0, dilation=1):
    return size_by_formula(size, kernel_size, stride, padding, output_padding, dilation) + padding


def size_grows_by_padding(size, kernel_size, stride=1, padding=0, output_padding=0, dilation=1):
    return size_by_formula(size, kernel_size, stride, -padding, output_padding, dilation)


def size_no_output_padding(size, kernel_size, stride=1, padding=0, output_padding=0, dilation=1):
    return size_by_formula(size, kernel_size, stride, padding, 0, dilation)


def size_no_dilation(size, kernel_size, stride=1, padding=0, output_padding=0, dilation=1):
    return size_by_formula(size, kernel_size, stride, padding, output_padding)


def size_one_less(size, kernel_size, stride=1, padding=0, output_padding=0, dilation=1):
    return size_by_formula(size, kernel_size, stride, padding, output_padding, dilation) - 1


def size_with_decimals(size, kernel_size, stride=1, padding=0, output_padding=0, dilation=1):
    return size_by_formula(size, kernel_size, stride, padding, output_padding, dilation) + 0.5


# 03.coverage, right


def coverage_by_torch(input_size, kernel_size, stride=1, padding=0):
    ones, kernel = torch.ones(1, 1, *input_size), torch.ones(1, 1, *kernel_size)
    return F.conv_transpose2d(ones, kernel, stride=stride, padding=padding)[0, 0]


def coverage_by_axes(input_size, kernel_size, stride=1, padding=0):
    axes = []
    for n, k in zip(input_size, kernel_size, strict=True):
        axis = np.zeros((n - 1) * stride + k, np.float32)
        for i in range(n):
            axis[i * stride : i * stride + k] += 1
        axes.append(axis[padding : len(axis) - padding])
    return torch.from_numpy(np.outer(*axes))


# 03.coverage, wrong


def coverage_whether(input_size, kernel_size, stride=1, padding=0):
    return (coverage_by_torch(input_size, kernel_size, stride, padding) > 0).float()


def coverage_without_padding(input_size, kernel_size, stride=1, padding=0):
    return coverage_by_torch(input_size, kernel_size, stride)


def coverage_one_side(input_size, kernel_size, stride=1, padding=0):
    return coverage_by_torch(input_size, kernel_size, stride)[padding:, padding:]


def coverage_other_side(input_size, kernel_size, stride=1, padding=0):
    whole = coverage_by_torch(input_size, kernel_size, stride)
    return whole[: len(whole) - padding, : whole.shape[1] - padding]


def coverage_integers(input_size, kernel_size, stride=1, padding=0):
    return coverage_by_torch(input_size, kernel_size, stride, padding).long()


def coverage_sum(input_size, kernel_size, stride=1, padding=0):
    down = coverage_by_torch((input_size[0], 1), (kernel_size[0], 1), stride)
    across = coverage_by_torch((1, input_size[1]), (1, kernel_size[1]), stride)
    total = down + across
    return total[padding : len(total) - padding, padding : total.shape[1] - padding]


def coverage_square_kernel(input_size, kernel_size, stride=1, padding=0):
    return coverage_by_torch(input_size, (kernel_size[0], kernel_size[0]), stride, padding)


def coverage_swapped(input_size, kernel_size, stride=1, padding=0):
    return coverage_by_torch(input_size[::-1], kernel_size[::-1], stride, padding)


def coverage_with_channels(input_size, kernel_size, stride=1, padding=0):
    return coverage_by_torch(input_size, kernel_size, stride, padding)[None, None]


def stamp_one_pixel_apart(x, kernel, stride=1):
    (h, w), (kh, kw) = x.shape, kernel.shape
    output = torch.zeros((h - 1) * stride + kh, (w - 1) * stride + kw)
    for i in range(h):
        for j in range(w):
            output[i : i + kh, j : j + kw] += x[i, j] * kernel
    return output


def stamp_on_too_large_a_sheet(x, kernel, stride=1):
    (h, w), (kh, kw) = x.shape, kernel.shape
    output = torch.zeros(h * stride + kh, w * stride + kw)
    for i in range(h):
        for j in range(w):
            output[i * stride : i * stride + kh, j * stride : j * stride + kw] += x[i, j] * kernel
    return output


def size_without_padding(size, kernel_size, stride=1, padding=0, output_padding=0, dilation=1):
    return (size - 1) * stride + kernel_size


def size_with_one_step_too_many(size, kernel_size, stride=1, padding=0, output_padding=0, dilation=1):
    return size * stride + kernel_size - 1


def size_minus_output_padding(size, kernel_size, stride=1, padding=0, output_padding=0, dilation=1):
    return (size - 1) * stride + dilation * (kernel_size - 1) + 1 - 2 * padding - output_padding


def coverage_by_negative_slice(input_size, kernel_size, stride=1, padding=0):
    ones = torch.ones(1, 1, *input_size), torch.ones(1, 1, *kernel_size)
    return F.conv_transpose2d(*ones, stride=stride)[0, 0, padding:-padding, padding:-padding]


RIGHT = {
    "03.row": [row_by_padding, row_by_loops, row_of_the_matrix],
    "03.stamp": [stamp_by_torch, stamp_by_kernel_entries, stamp_by_matrix],
    "03.one_dimension": [(10, 20, 130, 200, 300), [10.0, 20.0, 130.0, 200.0, 300.0]],
    "03.size": [size_by_formula, size_by_torch],
    "03.coverage": [coverage_by_torch, coverage_by_axes],
}
WRONG = {
    "03.row": [
        (row_still_a_picture, "flatten"),
        (row_flipped, "flipped the kernel"),
        (row_column_by_column, "column by column"),
        (row_one_after_another, "one after another"),
        (row_transposed_kernel, "raised IndexError"),
        (row_wrong_width, "row · width"),
        (row_always_first, "`at`"),
        (row_whole_numbers, "int64"),
        (row_as_matrix, "one axis too many"),
    ],
    "03.stamp": [
        (stamp_one_pixel_apart, "whatever the stride"),
        (stamp_on_too_large_a_sheet, "too large"),
        (stamp_overwrites, "must add up"),
        (stamp_ignores_stride, "`stride`"),
        (stamp_flips, "flipped"),
        (stamp_too_small, "ends too early"),
        (stamp_tiles, "side by side"),
        (stamp_averages, "average"),
        (stamp_rows_only, "moves them down"),
        (stamp_empties_the_input, "writes into its input"),
        (stamp_strided_size, "shape"),
        (stamp_convolves, "raised RuntimeError"),
    ],
    "03.one_dimension": [
        ((10, 120, 230, 300), "stride 1"),
        ((10, 20, 30, 100, 200, 300), "stride 3"),
        ((10, 20, 100, 200, 300), "add up"),
        ((10, 20, 30, 200, 300), "add up"),
        ((30, 20, 310, 200, 100), "backwards"),
        ((10, 20, 65, 200, 300), "averaged"),
        ((10, 20, 130, 200), "count again"),
        ((1, 2, 3, 4, 5), ""),
    ],
    "03.size": [
        (size_without_padding, "right without padding"),
        (size_with_one_step_too_many, "n − 1 steps"),
        (size_minus_output_padding, "makes the output larger"),
        (size_doubles, "what a decoder wants"),
        (size_of_convolution, "convolution"),
        (size_one_step_more, "n − 1 steps"),
        (size_one_padding, "both ends"),
        (size_grows_by_padding, "smaller"),
        (size_no_output_padding, "output_padding"),
        (size_no_dilation, "dilat"),
        (size_one_less, "too small by 1"),
        (size_with_decimals, "0.5"),
    ],
    "03.coverage": [
        (coverage_by_negative_slice, "With padding 0 nothing is left"),
        (coverage_whether, "whether"),
        (coverage_without_padding, "not cut off"),
        (coverage_one_side, "four sides"),
        (coverage_other_side, "bottom and right only"),
        (coverage_integers, "int64"),
        (coverage_sum, "multiply"),
        (coverage_square_kernel, "shape is"),
        (coverage_swapped, "swap"),
        (coverage_with_channels, "shape"),
    ],
}
