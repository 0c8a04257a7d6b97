"""Unpooling beside the slides' numbers, torch's own operators on hundreds of random inputs, and gradcheck."""

# Where the tests run with jaxtyping's checks on, its TypeError comes before the functions' own ValueError.

import contextlib
import random
import re

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck

from lecture_utils.segmentation.unpooling import bed_of_nails, max_pool, max_unpool, nearest_unpool, unpooled_size

SLIDE_INPUT = torch.tensor([[1.0, 2, 6, 3], [3, 5, 2, 1], [1, 2, 2, 1], [7, 3, 4, 8]])[None, None]
SLIDE_SMALL = torch.tensor([[1.0, 2], [3, 4]])[None, None]
CONFIGURATIONS = 200


def equal(ours, expected):
    torch.testing.assert_close(ours, expected, rtol=0, atol=0)


def random_map(dice, seed, *, least=(1, 1)):
    """A map of random batch (0 included), channels, height ≠ width; every third one whole-numbered, so full of ties."""
    generator = torch.Generator().manual_seed(seed)
    height, width = dice.randint(least[0], 13), dice.randint(least[1], 13)
    x = torch.randn(dice.randint(0, 3), dice.randint(1, 4), height, width, generator=generator)
    return x.round() if seed % 3 == 0 else x


def random_factor(dice):
    return dice.choice([dice.randint(1, 4), (dice.randint(1, 4), dice.randint(1, 4))])


def random_pooling(dice, seed):
    """An input and a pooling that fits it: numbers or pairs, stride ≠ kernel too."""
    kernel = dice.randint(1, 4), dice.randint(1, 4)
    padding = dice.randint(0, kernel[0] // 2), dice.randint(0, kernel[1] // 2)
    stride = dice.choice([None, (dice.randint(1, 4), dice.randint(1, 4)), dice.randint(1, 4)])
    if dice.random() < 0.3:
        kernel, padding = kernel[0], padding[0]
        return random_map(dice, seed, least=(kernel, kernel)), (kernel, stride, padding)
    return random_map(dice, seed, least=kernel), (kernel, stride, padding)


def both(value):
    return value if isinstance(value, tuple) else (value, value)


# Slide 8


@pytest.mark.slide("08")
def test_nearest_neighbour_of_the_slide():
    expected = [[1.0, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]]
    assert nearest_unpool(SLIDE_SMALL).squeeze().tolist() == expected


@pytest.mark.slide("08")
def test_bed_of_nails_of_the_slide():
    expected = [[1.0, 0, 2, 0], [0, 0, 0, 0], [3, 0, 4, 0], [0, 0, 0, 0]]
    assert bed_of_nails(SLIDE_SMALL).squeeze().tolist() == expected


@pytest.mark.slide("08")
@pytest.mark.parametrize("seed", range(CONFIGURATIONS))
def test_nearest_is_torchs_interpolation(seed):
    dice = random.Random(seed)
    x, factor = random_map(dice, seed), random_factor(dice)
    down, across = both(factor)
    expected = F.interpolate(x, scale_factor=(float(down), float(across)), mode="nearest")
    equal(nearest_unpool(x, factor), expected)


@pytest.mark.slide("08")
@pytest.mark.parametrize("seed", range(CONFIGURATIONS))
def test_bed_of_nails_is_a_transposed_convolution_with_a_one_hot_kernel(seed):
    dice = random.Random(seed)
    x, factor = random_map(dice, seed), random_factor(dice)
    one_hot = torch.zeros(x.shape[1], 1, *both(factor))
    one_hot[..., 0, 0] = 1
    expected = F.conv_transpose2d(x, one_hot, stride=both(factor), groups=x.shape[1])
    equal(bed_of_nails(x, factor), expected)


@pytest.mark.slide("08")
@pytest.mark.parametrize("unpool", [nearest_unpool, bed_of_nails])
@pytest.mark.parametrize("factor", [1, 2, (3, 1)])
def test_gradients_of_slide_8(unpool, factor):
    x = torch.randn(2, 3, 3, 2, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda x: unpool(x, factor), x)


def test_gradient_of_nearest_counts_copies_and_that_of_nails_is_one():
    for unpool, weight in ((nearest_unpool, 6.0), (bed_of_nails, 1.0)):
        x = torch.randn(1, 2, 3, 4, requires_grad=True)
        unpool(x, (2, 3)).sum().backward()
        equal(x.grad, torch.full_like(x, weight))


# Slide 9


@pytest.mark.slide("09")
def test_max_pooling_of_the_slide():
    values, indices = max_pool(SLIDE_INPUT)
    assert values.squeeze().tolist() == [[5, 6], [7, 8]]
    assert indices.squeeze().tolist() == [[5, 2], [12, 15]]


@pytest.mark.slide("09")
def test_max_unpooling_of_the_slide():
    _, indices = max_pool(SLIDE_INPUT)
    expected = [[0, 0, 2, 0], [0, 1, 0, 0], [0, 0, 0, 0], [3, 0, 0, 4]]
    assert max_unpool(SLIDE_SMALL, indices, (4, 4)).squeeze().tolist() == expected


@pytest.mark.slide("09")
@pytest.mark.parametrize("seed", range(CONFIGURATIONS))
def test_max_pool_is_torchs(seed):
    x, pooling = random_pooling(random.Random(seed), seed)
    expected, positions = F.max_pool2d(x, *pooling, return_indices=True)
    values, indices = max_pool(x, *pooling)
    equal(values, expected)
    equal(indices, positions)


@pytest.mark.slide("09")
@pytest.mark.parametrize("seed", range(CONFIGURATIONS))
def test_max_unpool_is_torchs(seed):
    dice = random.Random(seed)
    x, pooling = random_pooling(dice, seed)
    size = x.shape[2:]
    values, indices = F.max_pool2d(x, *pooling, return_indices=True)
    if indices.flatten(2).sort().values.diff().all():  # no position twice: any values will do, as in a network
        values = torch.randn(values.shape, generator=torch.Generator().manual_seed(seed))
    expected = torch.nn.MaxUnpool2d(*pooling)(values, indices, output_size=size)
    equal(max_unpool(values, indices, size), expected)


def test_the_random_poolings_are_of_every_kind():
    odd, overlapping, gaps, padded, empty = 0, 0, 0, 0, 0
    for seed in range(CONFIGURATIONS):
        x, pooling = random_pooling(random.Random(seed), seed)
        pooled = F.max_pool2d(torch.zeros(1, 1, *x.shape[2:]), *pooling).shape[2:]
        kernel, stride, padding = pooling
        steps = both(kernel if stride is None else stride)
        odd += unpooled_size(pooled, *pooling) != tuple(x.shape[2:])
        overlapping += any(s < k for s, k in zip(steps, both(kernel), strict=True))
        gaps += any(s > k for s, k in zip(steps, both(kernel), strict=True))
        padded += max(both(padding)) > 0
        empty += len(x) == 0
    assert min(odd, overlapping, gaps, padded) >= 50
    assert empty >= 30


@pytest.mark.slide("09")
@pytest.mark.parametrize("pooling", [(2, None, 0), (3, 2, 1), ((2, 3), (3, 2), (0, 1))])
def test_gradients_of_slide_9(pooling):
    # Steps between the values far larger than gradcheck's, so that no maximum changes place.
    x = torch.randperm(2 * 2 * 5 * 6).double().view(2, 2, 5, 6).requires_grad_()
    assert gradcheck(lambda x: max_pool(x, *pooling)[0], x)

    _, indices = max_pool(torch.randperm(2 * 2 * 5 * 6).double().view(2, 2, 5, 6), 2)
    values = torch.randn(indices.shape, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda values: max_unpool(values, indices, (5, 6)), values)


def test_pooling_what_was_unpooled_gives_it_back_when_it_is_positive():
    generator = torch.Generator().manual_seed(0)
    _, indices = max_pool(torch.randn(2, 3, 9, 8, generator=generator), 2)
    values = torch.rand(indices.shape, generator=generator) + 0.1
    again, positions = max_pool(max_unpool(values, indices, (9, 8)), 2)
    equal(again, values)
    equal(positions, indices)


@pytest.mark.slide("09")
def test_odd_sizes_need_the_output_size():
    x = torch.arange(25.0).view(1, 1, 5, 5)
    values, indices = max_pool(x, 2)
    assert unpooled_size((2, 2), 2) == (4, 4)
    with pytest.raises(RuntimeError):
        F.max_unpool2d(values, indices, 2)
    with pytest.raises(ValueError, match=re.escape("indices: got positions 6 to 18, expected 0 to 15 on a map of 4×4")):
        max_unpool(values, indices, unpooled_size((2, 2), 2))
    assert max_unpool(values, indices, (5, 5)).shape == x.shape


@pytest.mark.parametrize("seed", range(0, CONFIGURATIONS, 4))
def test_unpooled_size_is_torchs_default_and_the_smallest(seed):
    x, pooling = random_pooling(random.Random(seed), seed)
    pooled = F.max_pool2d(torch.zeros(1, 1, *x.shape[2:]), *pooling).shape[2:]
    height, width = unpooled_size(pooled, *pooling)
    blank = torch.zeros(1, 1, *pooled)
    assert F.max_unpool2d(blank, blank.long(), *pooling).shape[2:] == (height, width)
    assert F.max_pool2d(torch.zeros(1, 1, height, width), *pooling).shape[2:] == pooled
    for smaller in ((height - 1, width), (height, width - 1)):
        if min(smaller) > 0:
            with contextlib.suppress(RuntimeError):  # torch finds no room for a single window
                assert F.max_pool2d(torch.zeros(1, 1, *smaller), *pooling).shape[2:] != pooled


def test_of_equal_values_the_first_counts():
    _, indices = max_pool(torch.zeros(1, 1, 4, 6), (2, 3))
    assert indices.squeeze().tolist() == [[0, 3], [12, 15]]


@pytest.mark.parametrize("value", [float("-inf"), -1e30])
def test_padding_never_wins(value):
    x = torch.full((1, 1, 4, 5), value)
    values, indices = max_pool(x, 3, 2, 1)
    expected, positions = F.max_pool2d(x, 3, 2, 1, return_indices=True)
    equal(values, expected)
    equal(indices, positions)


def test_nan_comes_through_as_in_torch():
    x = torch.randn(1, 1, 4, 4)
    x[..., 1, 2] = float("nan")
    values, indices = max_pool(x, 2)
    assert values.isnan().squeeze().tolist() == [[False, True], [False, False]]
    assert indices[0, 0, 0, 1] == 6


def test_shapes_without_data():
    x = torch.empty(2, 3, 9, 7, device="meta")
    values, indices = max_pool(x, 2)
    assert (
        max_unpool(values, indices, (9, 7)).shape == nearest_unpool(x, 1).shape == bed_of_nails(x, 1).shape == x.shape
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_the_type_of_the_numbers_stays(dtype):
    x = torch.arange(24.0).view(1, 1, 4, 6).to(dtype)
    values, indices = max_pool(x, 2)
    unpooled = max_unpool(values, indices, (4, 6))
    assert {nearest_unpool(x).dtype, bed_of_nails(x).dtype, values.dtype, unpooled.dtype} == {dtype}
    assert indices.dtype == torch.int64


def test_nothing_changes_its_input():
    x = torch.randn(1, 2, 4, 4)
    before = x.clone()
    values, indices = max_pool(x, 2)
    kept = values.clone(), indices.clone()
    for out in (nearest_unpool(x, 1), bed_of_nails(x, 1), max_unpool(values, indices, (4, 4))):
        out.zero_()  # nor does its output share memory with it
    equal(values, kept[0])
    equal(indices, kept[1])
    values.zero_()
    equal(x, before)


X = torch.zeros(1, 1, 4, 4)
SMALL, POSITIONS = max_pool(X, 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nearest_unpool(X, 0), "factor: got 0"),
        (lambda: nearest_unpool(X, 1.5), "factor: got 1.5"),
        (lambda: nearest_unpool(X[0]), "x: got torch.float32 (1, 4, 4)"),
        (lambda: bed_of_nails(X, (2, 2, 2)), "factor: got (2, 2, 2)"),
        (lambda: bed_of_nails(X.long()), "x: got torch.int64"),
        (lambda: max_pool(X, 0), "kernel_size: got 0"),
        (lambda: max_pool(X, 2, 0), "stride: got 0"),
        (lambda: max_pool(X, 2, 2, -1), "padding: got -1"),
        (lambda: max_pool(X, 3, 2, 2), "padding: got 2, expected at most half of kernel_size 3"),
        (lambda: max_pool(X, 5), "x: got 4×4 pixels, expected room for a window of 5×5"),
        (lambda: max_pool(X.long(), 2), "x: got torch.int64"),
        (lambda: max_unpool(SMALL, POSITIONS[..., :1], (4, 4)), "indices: got torch.int64 (1, 1, 2, 1)"),
        (lambda: max_unpool(SMALL, POSITIONS.int(), (4, 4)), "indices: got torch.int32 (1, 1, 2, 2)"),
        (lambda: max_unpool(SMALL, POSITIONS - 1, (4, 4)), "indices: got positions -1 to 9"),
        (lambda: max_unpool(SMALL, POSITIONS, (4, 4, 4)), "output_size: got (4, 4, 4)"),
        (lambda: unpooled_size((0, 2)), "pooled_size: got (0, 2)"),
    ],
)
def test_bad_input_is_refused_in_words(call, message):
    with pytest.raises((ValueError, TypeError), match=f"^{re.escape(message)}|jaxtyping|parameter"):
        call()
