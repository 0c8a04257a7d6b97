"""What students write for notebook 02: right in several ways, and wrong in many (`test_all.py` judges them)."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from einops import rearrange, repeat

from lecture_course.nb02_unpooling.exercises import EXERCISES

# 02.nearest_unpool, right


def nearest_by_indexing(x, factor):
    rows = torch.arange(x.shape[2] * factor) // factor
    columns = torch.arange(x.shape[3] * factor) // factor
    return x[:, :, rows][:, :, :, columns]


def nearest_by_einops(x, factor):
    return repeat(x, "b c h w -> b c (h down) (w across)", down=factor, across=factor)


def nearest_by_kronecker(x, factor):
    return torch.kron(x, torch.ones(1, 1, factor, factor))


def nearest_by_slices(x, factor):
    out = torch.empty(x.shape[0], x.shape[1], x.shape[2] * factor, x.shape[3] * factor)
    for i in range(factor):
        for j in range(factor):
            out[:, :, i::factor, j::factor] = x
    return out


# 02.nearest_unpool, wrong


def nearest_tiled(x, factor):
    return torch.cat([torch.cat([x] * factor, dim=2)] * factor, dim=3)


def nearest_corner_only(x, factor):
    out = torch.zeros(*x.shape[:2], x.shape[2] * factor, x.shape[3] * factor)
    out[:, :, ::factor, ::factor] = x
    return out


def nearest_smoothed(x, factor):
    return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)


def nearest_rows_forgotten(x, factor):
    return x.repeat_interleave(factor, dim=3)


def nearest_wrong_axes(x, factor):
    return x.repeat_interleave(factor, dim=1).repeat_interleave(factor, dim=2)


def nearest_always_two(x, factor):
    return x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)


def nearest_height_for_width(x, factor):
    at = torch.arange(x.shape[2] * factor) // factor
    return x[:, :, at][:, :, :, at.clamp(max=x.shape[3] - 1)]


def nearest_of_the_first_image(x, factor):
    return nearest_by_indexing(x[:1], factor)


def nearest_as_array(x, factor):
    return x.numpy().repeat(factor, axis=2).repeat(factor, axis=3)


def nearest_transposed(x, factor):
    return nearest_by_indexing(x, factor).transpose(2, 3)


def nearest_as_integers(x, factor):
    return nearest_by_indexing(x, factor).long()


# 02.bed_of_nails, right


def nails_by_kronecker(x, factor):
    nail = torch.zeros(1, 1, factor, factor)
    nail[..., 0, 0] = 1
    return torch.kron(x, nail)


def nails_by_transposed_convolution(x, factor):
    kernel = torch.zeros(x.shape[1], 1, factor, factor)
    kernel[:, :, 0, 0] = 1
    return F.conv_transpose2d(x, kernel, stride=factor, groups=x.shape[1])


def nails_by_padding(x, factor):
    deep = F.pad(x[..., None, None], (0, factor - 1, 0, factor - 1))
    return rearrange(deep, "b c h w i j -> b c (h i) (w j)")


# 02.bed_of_nails, wrong


def nails_in_the_last_corner(x, factor):
    out = torch.zeros(*x.shape[:2], x.shape[2] * factor, x.shape[3] * factor)
    out[:, :, factor - 1 :: factor, factor - 1 :: factor] = x
    return out


def nails_in_the_middle(x, factor):
    out = torch.zeros(*x.shape[:2], x.shape[2] * factor, x.shape[3] * factor)
    out[:, :, factor // 2 :: factor, factor // 2 :: factor] = x
    return out


def nails_cut_off(x, factor):
    out = torch.zeros(*x.shape[:2], (x.shape[2] - 1) * factor + 1, (x.shape[3] - 1) * factor + 1)
    out[:, :, ::factor, ::factor] = x
    return out


def nails_side_by_side(x, factor):
    out = torch.zeros(*x.shape[:2], x.shape[2] * factor, x.shape[3] * factor)
    out[:, :, : x.shape[2], : x.shape[3]] = x
    return out


def nails_with_factor_forgotten(x, factor):
    return nails_by_kronecker(x, 2)


def nails_without_return(x, factor):
    out = torch.zeros(*x.shape[:2], x.shape[2] * factor, x.shape[3] * factor)
    out[:, :, ::factor, ::factor] = x


def nails_in_the_first_channel(x, factor):
    out = torch.zeros(*x.shape[:2], x.shape[2] * factor, x.shape[3] * factor)
    out[:, 0, ::factor, ::factor] = x[:, 0]
    return out


def nails_on_ones(x, factor):
    out = torch.ones(*x.shape[:2], x.shape[2] * factor, x.shape[3] * factor)
    out[:, :, ::factor, ::factor] = x
    return out


# 02.max_pool, right


def pool_by_unfolding(x, kernel_size):
    k, (height, width) = kernel_size, x.shape[2:]
    values, p = x.unfold(2, k, k).unfold(3, k, k).flatten(4).max(dim=4)
    h_out, w_out = height // k, width // k
    row = k * torch.arange(h_out)[:, None] + p // k
    return values, row * width + k * torch.arange(w_out) + p % k


def pool_by_torch(x, kernel_size):
    return F.max_pool2d(x, kernel_size, return_indices=True)


def pool_window_by_window(x, kernel_size):
    k, (b, c, height, width) = kernel_size, x.shape
    values = torch.zeros(b, c, height // k, width // k)
    indices = torch.zeros(values.shape, dtype=torch.int64)
    for row in range(height // k):
        for column in range(width // k):
            window = x[:, :, row * k : (row + 1) * k, column * k : (column + 1) * k].flatten(2)
            values[:, :, row, column], p = window.max(dim=2)
            indices[:, :, row, column] = (row * k + p // k) * width + column * k + p % k
    return values, indices


# 02.max_pool, wrong


def pool_the_mean(x, kernel_size):
    return F.avg_pool2d(x, kernel_size), pool_by_torch(x, kernel_size)[1]


def pool_with_window_positions(x, kernel_size):
    k = kernel_size
    return x.unfold(2, k, k).unfold(3, k, k).flatten(4).max(dim=4)[:]


def pool_with_height_for_width(x, kernel_size):
    values, indices = pool_by_torch(x, kernel_size)
    return values, indices // x.shape[3] * x.shape[2] + indices % x.shape[3]


def pool_with_rows_of_the_small_map(x, kernel_size):
    values, indices = pool_by_torch(x, kernel_size)
    return values, indices // x.shape[3] * values.shape[3] + indices % x.shape[3]


def pool_column_by_column(x, kernel_size):
    values, indices = pool_by_torch(x, kernel_size)
    return values, (indices % x.shape[3]) * x.shape[2] + indices // x.shape[3]


def pool_with_the_rest(x, kernel_size):
    return F.max_pool2d(x, kernel_size, return_indices=True, ceil_mode=True)


def pool_with_stride_one(x, kernel_size):
    return F.max_pool2d(x, kernel_size, 1, return_indices=True)


def pool_without_positions(x, kernel_size):
    return F.max_pool2d(x, kernel_size)


def pool_in_the_wrong_order(x, kernel_size):
    return pool_by_torch(x, kernel_size)[::-1]


def pool_with_the_last_of_equals(x, kernel_size):
    k, width = kernel_size, x.shape[3]
    windows = x.unfold(2, k, k).unfold(3, k, k).flatten(4)
    values = windows.amax(4)
    p = ((windows == values[..., None]) * torch.arange(k * k)).amax(4)
    row = k * torch.arange(values.shape[2])[:, None] + p // k
    return values, row * width + k * torch.arange(values.shape[3]) + p % k


def pool_counting_through_the_batch(x, kernel_size):
    values, indices = pool_by_torch(x, kernel_size)
    b, c, height, width = x.shape
    return values, indices + height * width * torch.arange(b * c).view(b, c, 1, 1)


def pool_always_two(x, kernel_size):
    return pool_by_torch(x, 2)


def pool_starting_at_zero(x, kernel_size):
    """A running maximum that begins at 0 never sees a negative value."""
    values, indices = pool_by_torch(x, kernel_size)
    return values.clamp(min=0), indices


def pool_with_float_positions(x, kernel_size):
    values, indices = pool_by_torch(x, kernel_size)
    return values, indices.float()


# 02.max_unpool, right


def unpool_by_scatter(x, indices, output_size):
    height, width = output_size
    flat = torch.zeros(x.shape[0], x.shape[1], height * width)
    flat.scatter_(2, indices.flatten(2), x.flatten(2))
    return flat.view(x.shape[0], x.shape[1], height, width)


def unpool_by_rows_and_columns(x, indices, output_size):
    out = torch.zeros(*x.shape[:2], *output_size)
    b, c = torch.arange(x.shape[0])[:, None, None, None], torch.arange(x.shape[1])[:, None, None]
    out[b, c, indices // output_size[1], indices % output_size[1]] = x
    return out


def unpool_one_by_one(x, indices, output_size):
    out = np.zeros((*x.shape[:2], output_size[0] * output_size[1]), np.float32)
    for b, c, row, column in np.ndindex(*x.shape):
        out[b, c, indices[b, c, row, column]] = x[b, c, row, column]
    return torch.from_numpy(out.reshape(*x.shape[:2], *output_size))


# 02.max_unpool, wrong


def unpool_added(x, indices, output_size):
    flat = torch.zeros(*x.shape[:2], output_size[0] * output_size[1])
    return flat.scatter_add(2, indices.flatten(2), x.flatten(2)).view(*x.shape[:2], *output_size)


def unpool_blocks(x, indices, output_size):
    return F.interpolate(x, size=output_size, mode="nearest")


def unpool_nails(x, indices, output_size):
    out = torch.zeros(*x.shape[:2], *output_size)
    factor = output_size[0] // x.shape[2]
    out[:, :, : x.shape[2] * factor : factor, : x.shape[3] * factor : factor] = x
    return out


def unpool_by_the_first_channel(x, indices, output_size):
    flat = torch.zeros(*x.shape[:2], output_size[0] * output_size[1])
    for b in range(len(x)):
        flat[b, :, indices[b, 0].flatten()] = x[b].flatten(1)
    return flat.view(*x.shape[:2], *output_size)


def unpool_by_the_first_map(x, indices, output_size):
    flat = torch.zeros(*x.shape[:2], output_size[0] * output_size[1])
    flat[:, :, indices[0, 0].flatten()] = x.flatten(2)
    return flat.view(*x.shape[:2], *output_size)


def unpool_dividing_by_the_height(x, indices, output_size):
    out = torch.zeros(*x.shape[:2], *output_size)
    b, c = torch.arange(x.shape[0])[:, None, None, None], torch.arange(x.shape[1])[:, None, None]
    out[b, c, indices // output_size[0], indices % output_size[0]] = x
    return out


def unpool_with_row_and_column_exchanged(x, indices, output_size):
    out = torch.zeros(*x.shape[:2], *output_size)
    b, c = torch.arange(x.shape[0])[:, None, None, None], torch.arange(x.shape[1])[:, None, None]
    out[b, c, indices % output_size[1], indices // output_size[1]] = x
    return out


def unpool_flat(x, indices, output_size):
    return unpool_by_scatter(x, indices, output_size).flatten(2)


def unpool_without_the_sign(x, indices, output_size):
    return unpool_by_scatter(x, indices, output_size).abs()


def unpool_ones(x, indices, output_size):
    return unpool_by_scatter(torch.ones_like(x), indices, output_size)


def unpool_always_double(x, indices, output_size):
    return unpool_by_scatter(x, indices, (2 * x.shape[2], 2 * x.shape[3]))


def unpool_by_torch_without_the_size(x, indices, output_size):
    return F.max_unpool2d(x, indices, 2)


def pool_with_windows_one_apart(x, kernel_size):
    k, (h_out, w_out) = kernel_size, (side // kernel_size for side in x.shape[2:])
    values, p = x.unfold(2, k, k).unfold(3, k, k).flatten(4).max(dim=4)
    return values, (torch.arange(h_out)[:, None] + p // k) * x.shape[3] + torch.arange(w_out) + p % k


def unpool_to_a_guessed_size(x, indices, output_size):
    return F.max_unpool2d(x, indices, 2)


RIGHT = {
    "02.nearest_unpool": [nearest_by_indexing, nearest_by_einops, nearest_by_kronecker, nearest_by_slices],
    "02.bed_of_nails": [nails_by_kronecker, nails_by_transposed_convolution, nails_by_padding],
    "02.max_pool": [pool_by_unfolding, pool_by_torch, pool_window_by_window],
    "02.max_unpool": [unpool_by_scatter, unpool_by_rows_and_columns, unpool_one_by_one],
    "02.size": [(7, 9), [7, 9], torch.Size((7, 9))],
}

WRONG = {
    "02.nearest_unpool": [
        (nearest_tiled, "beside each other"),
        (nearest_corner_only, "bed of nails"),
        (nearest_smoothed, "bilinear"),
        (nearest_rows_forgotten, "rows are not"),
        (nearest_wrong_axes, ""),
        (nearest_always_two, "factor"),
        (nearest_height_for_width, "shape"),
        (nearest_of_the_first_image, "shape"),
        (nearest_as_array, "array"),
        (nearest_transposed, "swapped"),
        (nearest_as_integers, "int64"),
    ],
    "02.bed_of_nails": [
        (nearest_by_indexing, "nearest neighbour"),
        (nails_in_the_last_corner, "lower right"),
        (nails_in_the_middle, "middle"),
        (nails_cut_off, "behind the last nail"),
        (nails_side_by_side, "stand together"),
        (nearest_tiled, "beside each other"),
        (nails_with_factor_forgotten, "factor"),
        (nails_without_return, "return"),
        (nails_in_the_first_channel, "channel"),
        (nails_on_ones, ""),
    ],
    "02.max_pool": [
        (pool_with_windows_one_apart, "begins at row i · kernel_size"),
        (pool_the_mean, "average pooling"),
        (pool_with_window_positions, "inside each window"),
        (pool_with_height_for_width, "row · height"),
        (pool_with_rows_of_the_small_map, "small map"),
        (pool_column_by_column, "column by column"),
        (pool_with_the_rest, "no full window"),
        (pool_with_stride_one, "overlap"),
        (pool_without_positions, "return the positions"),
        (pool_in_the_wrong_order, "wrong order"),
        (pool_with_the_last_of_equals, "the first one counts"),
        (pool_counting_through_the_batch, "from map to map"),
        (pool_always_two, "kernel_size"),
        (pool_starting_at_zero, "negative"),
        (pool_with_float_positions, "float32"),
    ],
    "02.max_unpool": [
        (unpool_to_a_guessed_size, "one entry too short"),
        (unpool_added, "do not add"),
        (unpool_blocks, "fills its block"),
        (unpool_nails, "bed of nails"),
        (unpool_by_the_first_channel, "All channels"),
        (unpool_by_the_first_map, "All maps"),
        (unpool_dividing_by_the_height, "IndexError"),
        (unpool_with_row_and_column_exchanged, "IndexError"),
        (unpool_flat, ""),
        (unpool_ones, "each holds 1"),
        (unpool_without_the_sign, ""),
        (unpool_always_double, ""),
        (unpool_by_torch_without_the_size, ""),
    ],
    "02.size": [
        ((7, 10), "before the pooling"),
        ((3, 4), "after the pooling"),
        ((6, 8), "overlap by one"),
        ((9, 12), "three times"),
        ((9, 7), "height first"),
        ((8, 10), ""),
        (63, ""),
    ],
}


@pytest.mark.slide("09")
def test_every_exercise_has_right_and_wrong_answers():
    for exercise in EXERCISES:
        assert len(RIGHT[exercise.name]) >= 2
        assert len(WRONG[exercise.name]) >= 5


def test_every_mistake_is_one_and_each_is_another():
    """A sentence whose function were right, or equal to one before it, could never be shown."""
    rng = torch.Generator().manual_seed(1)
    for exercise in EXERCISES[:-1]:
        cases = exercise.cases(rng)
        seen = [_answers(exercise.reference, cases)]
        for mistake in exercise.mistakes:
            answers = _answers(mistake.function, cases)
            assert answers not in seen, mistake.says
            seen.append(answers)


def _answers(function, cases):
    answers = [function(*case.args) for case in cases]
    return [[x.tolist() for x in answer] if isinstance(answer, tuple) else answer.tolist() for answer in answers]
