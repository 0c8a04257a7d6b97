"""RoI pooling and RoI align: torchvision's numbers and gradients on hundreds of random maps, and the pins."""

import random
import re

import pytest
import torch
from torch.autograd import gradcheck
from torchvision import ops

from lecture_utils.detection.roi import cells_to_read, pooled_cells, roi_align, roi_pool, sample_points, weighted_sums

CONFIGURATIONS = 200
COUNTING = torch.arange(64.0).view(1, 1, 8, 8)
BOX = torch.tensor([[0.0, 0, 0, 4, 4]])


def random_regions(seed):
    """A map with height ≠ width, boxes inside and beyond it (every tenth time none), the parts, the scale.

    Boxes are rows or a list in turn; some have no area; every third set lies on halves of cells, to be rounded.
    """
    dice, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    batch, height, width = dice.randint(1, 3), dice.randint(1, 14), dice.randint(1, 14)
    features = torch.randn(batch, dice.randint(1, 3), height, width, generator=generator)
    number, scale = 0 if seed % 10 == 0 else dice.randint(1, 12), dice.choice([1, 0.5, 0.25, 1 / 16, 0.3])
    extent = torch.tensor([width, height]) / scale
    low = (torch.rand(number, 2, generator=generator) * 1.6 - 0.4) * extent
    size = torch.rand(number, 2, generator=generator) * extent * dice.choice([0.1, 0.6, 1.2])
    size[torch.rand(number, generator=generator) < 0.15] = 0
    boxes = torch.cat([low, low + size], 1)
    if seed % 3 == 0:
        boxes = (boxes * scale * 2).round() / 2 / scale
    image = torch.randint(batch, (number,), generator=generator)
    rows = torch.cat([image[:, None].float(), boxes], 1)
    regions = [boxes[image == i] for i in range(batch)] if seed % 2 else rows
    parts = dice.choice([1, 2, 7, (dice.randint(1, 5), dice.randint(1, 5))])
    return features, regions, parts, scale


def close(ours, expected):
    assert ours.shape == expected.shape
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.slide("19")
@pytest.mark.parametrize("seed", range(CONFIGURATIONS))
def test_roi_pool_is_torchvisions(seed):
    features, regions, size, scale = random_regions(seed)
    expected = ops.roi_pool(features, regions, size, scale)
    torch.testing.assert_close(roi_pool(features, regions, size, scale), expected, rtol=0, atol=0)


@pytest.mark.slide("19")
@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("seed", range(CONFIGURATIONS))
def test_roi_align_is_torchvisions(seed, aligned):
    features, regions, size, scale = random_regions(seed)
    sampling_ratio = (2, 0, -1, 1, 3)[seed % 5]
    expected = ops.roi_align(features, regions, size, scale, sampling_ratio, aligned)
    close(roi_align(features, regions, size, scale, sampling_ratio, aligned), expected)


@pytest.mark.slide("19")
@pytest.mark.parametrize("seed", range(0, CONFIGURATIONS, 5))
def test_gradients_are_torchvisions(seed):
    features, regions, size, scale = random_regions(seed)
    for ours, theirs, more in ((roi_pool, ops.roi_pool, ()), (roi_align, ops.roi_align, (-1, True))):
        gradients = []
        for function in (ours, theirs):
            x = features.clone().requires_grad_()
            out = function(x, regions, size, scale, *more)
            weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(seed))
            (out * weights).sum().backward()
            gradients.append(x.grad)
        close(*gradients)


def test_the_random_cases_are_of_every_kind():
    empty = beyond = flat = lists = oblong = shared = 0
    for seed in range(CONFIGURATIONS):
        features, regions, _, scale = random_regions(seed)
        lists += isinstance(regions, list)
        boxes = (torch.cat(regions) if isinstance(regions, list) else regions[:, 1:]) * scale
        height, width = features.shape[2:]
        empty += not len(boxes)
        oblong += height != width
        shared += len(features) > 1
        flat += bool((boxes[:, 2:] == boxes[:, :2]).any())
        beyond += bool(((boxes[:, 2:] < 0) | (boxes[:, :2] > torch.tensor([width, height]))).any())
    assert empty == 20
    assert lists == 100
    assert min(oblong, shared) > 100
    assert min(flat, beyond) > 50


@pytest.mark.slide("19")
@pytest.mark.parametrize("function", [roi_pool, ops.roi_pool])
def test_pooling_takes_a_row_and_a_column_too_many(function):
    """A box of 4 × 4 cells becomes 5 × 5, because both rounded ends count."""
    assert function(COUNTING, BOX, 2).squeeze().tolist() == [[18, 20], [34, 36]]


@pytest.mark.slide("19")
@pytest.mark.parametrize("function", [roi_align, ops.roi_align])
def test_align_reads_half_a_cell_too_far_unless_aligned(function):
    assert function(COUNTING, BOX, 2, sampling_ratio=2).squeeze().tolist() == [[9, 11], [25, 27]]
    aligned = function(COUNTING, BOX, 2, sampling_ratio=2, aligned=True)
    assert aligned.squeeze().tolist() == [[4.5, 6.5], [20.5, 22.5]]
    # These are the means of the four cells of each quarter: what the box covers, exactly.
    torch.testing.assert_close(aligned, torch.nn.functional.avg_pool2d(COUNTING[..., :4, :4], 2))


@pytest.mark.slide("19")
@pytest.mark.parametrize("size", [1, 2, 7, (3, 5)])
def test_both_are_differentiable(size):
    # Distances between the values far larger than gradcheck's steps, so that no maximum changes place.
    features = torch.randperm(2 * 2 * 5 * 6).double().view(2, 2, 5, 6).requires_grad_()
    boxes = torch.tensor([[0, 0.3, 0.2, 4.1, 3.6], [1, -2, 1, 3, 9], [0, 2.2, 2.1, 2.2, 2.1]], dtype=torch.float64)
    assert gradcheck(lambda x: roi_pool(x, boxes, size), features)
    for ratio, aligned in ((2, False), (2, True), (-1, True)):
        assert gradcheck(lambda x, r=ratio, a=aligned: roi_align(x, boxes, size, 0.9, r, a), features)


@pytest.mark.slide("19")
def test_align_has_a_gradient_for_the_box_which_pooling_has_not():
    features = torch.randn(1, 2, 6, 7, dtype=torch.float64)
    corners = torch.tensor([[0.33, 1.27, 4.41, 5.13]], dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda x: roi_align(features, [x], 3, 1.0, 2, True), corners)
    assert not roi_pool(features, [corners], 3).requires_grad


@pytest.mark.parametrize("aligned", [False, True])
def test_boxes_of_no_area_and_boxes_far_away_give_numbers(aligned):
    boxes = torch.tensor([[0, 3, 3, 3, 3], [0, -1e6, -1e6, -1e6, -1e6], [0, 1e6, 0, 1e7, 4], [0, 5, 5, 1, 1]])
    for out in (roi_pool(COUNTING, boxes, 3), roi_align(COUNTING, boxes, 3, 1.0, 2, aligned)):
        assert out.isfinite().all()
        assert not out[1:3].any()
    corners = torch.tensor([[3.0, 3, 3, 3]], requires_grad=True)
    roi_align(COUNTING, [corners], 3, aligned=aligned).sum().backward()
    assert corners.grad.isfinite().all()


@pytest.mark.parametrize("boxes", [torch.zeros(0, 5), [torch.zeros(0, 4)] * 2])
def test_no_boxes_give_no_regions_but_a_gradient_of_zero(boxes):
    for function in (roi_pool, roi_align):
        features = torch.randn(2, 3, 4, 5, requires_grad=True)
        out = function(features, boxes, (2, 3))
        assert out.shape == (0, 3, 2, 3)
        out.sum().backward()
        assert not features.grad.any()
    assert roi_pool(torch.zeros(0, 3, 4, 5), [], 2).shape == roi_align(torch.zeros(0, 3, 4, 5), [], 2).shape


def test_cells_and_points_of_one_edge():
    edge = torch.tensor([0.0]), torch.tensor([4.0])
    assert pooled_cells(*edge, 2, 8).tolist() == [[[0, 1, 2], [2, 3, 4]]]
    assert pooled_cells(*edge, 2, 4).tolist() == [[[0, 1, 2], [2, 3, 3]]]  # cut to the map; the last one repeated
    assert pooled_cells(torch.tensor([9.0]), torch.tensor([9.0]), 1, 8).tolist() == [[[-1]]]
    assert pooled_cells(torch.tensor([0.5]), torch.tensor([2.5]), 1, 8).tolist() == [[[1, 2, 3]]]  # halves go up
    assert sample_points(*edge, 2, 2, False).tolist() == [[[0.5, 1.5], [2.5, 3.5]]]
    assert sample_points(*edge, 2, 2, True).tolist() == [[[0, 1], [2, 3]]]
    both = torch.tensor([0.0, 0]), torch.tensor([6.0, 2])
    more = sample_points(*both, 2, -1, True)
    assert more.shape == (2, 2, 3)
    assert more[1].isnan().tolist() == [[False, True, True]] * 2


def reader(points, length):
    """What is read of each cell, as a matrix."""
    return weighted_sums(torch.eye(length), *cells_to_read(points, length))


def test_reading_interpolates_between_two_cells_and_averages():
    points = torch.tensor([[[1.25], [-0.5], [3.5], [-1.5]], [[0.0], [1.0], [2.0], [3.0]]])
    expected = [[[0, 0.75, 0.25, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]], torch.eye(4).tolist()]
    assert reader(points, 4).tolist() == expected
    twice = torch.tensor([[[0.0, 1.0], [2.0, float("nan")]]])
    assert reader(twice, 3).tolist() == [[[0.5, 0.5, 0], [0, 0, 1]]]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_the_type_of_the_features_stays(dtype):
    for function in (roi_pool, roi_align):
        assert function(COUNTING.to(dtype), BOX, 2).dtype == dtype


MAP = torch.zeros(2, 1, 4, 4)


@pytest.mark.parametrize("function", [roi_pool, roi_align])
@pytest.mark.parametrize(
    ("features", "boxes", "size", "message"),
    [
        (MAP[0], BOX, 2, "features: got shape (1, 4, 4), expected (batch, channels, height, width)"),
        (MAP, BOX[:, 1:], 2, "boxes: got shape (1, 4), expected (n, 5)"),
        (MAP, BOX + 2, 2, "boxes: got images 2 to 2, expected 0 to 1"),
        (MAP, BOX - 1, 2, "boxes: got images -1 to -1"),
        (MAP, [BOX[:, 1:]], 2, "boxes: got shapes [(1, 4)], expected (n, 4) for each of the 2 images"),
        (MAP, [BOX, BOX], 2, "boxes: got shapes [(1, 5), (1, 5)]"),
        (MAP, BOX, 0, "output_size: got 0"),
        (MAP, BOX, (2, 2, 2), "output_size: got (2, 2, 2)"),
    ],
)
def test_bad_input_is_refused_in_words(function, features, boxes, size, message):
    with pytest.raises((ValueError, TypeError), match=f"^{re.escape(message)}|jaxtyping|parameter"):
        function(features, boxes, size)
