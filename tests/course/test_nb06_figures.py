"""RoI pooling and RoI align, drawn: the cells and points are those that torchvision reads."""

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle
from torchvision import ops

from lecture_course.nb06_rcnn_and_fast_rcnn.cells import PARTS, RESULT, roi_cells

BOXES = [((0, 0, 4, 4), (2, 2)), ((1.2, 2.4, 6.7, 6.1), (2, 3)), ((5, 1, 6, 7), (3, 1)), ((-3, 4, 3, 12), (2, 2))]


def features(height=8, width=9):
    values = torch.randperm(height * width, generator=torch.Generator().manual_seed(0))
    return values.float().reshape(height, width)


def cells(ax):
    """(x, y) of the upper left corner → fill of each cell."""
    squares = [p for p in ax.patches if isinstance(p, Rectangle) and p.get_fill() and p.get_width() == 1]
    return {tuple(np.round(p.get_xy(), 3)): to_hex(p.get_facecolor()) for p in squares}


def grid(ax, height, width):
    """The corner of each of the two maps."""
    left, top = min(cells(ax), key=sum)
    return (left, top), (left + width + 2, top)


@pytest.mark.slide("19")
@pytest.mark.parametrize(("box", "size"), BOXES)
def test_the_coloured_cells_are_those_that_pooling_reads(box, size):
    x = features()
    (ax,) = roi_cells(x, box, size).axes
    (left, top), _ = grid(ax, *x.shape)
    fills = cells(ax)
    coloured = np.array([[fills[left + c, top + r] != "#ffffff" for c in range(9)] for r in range(8)])
    # A cell is read where a large value put there comes out.
    read = np.zeros((8, 9), bool)
    for row, column in np.ndindex(8, 9):
        spot = torch.zeros(1, 1, 8, 9)
        spot[..., row, column] = 1
        read[row, column] = ops.roi_pool(spot, [torch.tensor([box]).float()], size).any()
    np.testing.assert_array_equal(coloured, read)


@pytest.mark.slide("19")
@pytest.mark.parametrize(("box", "size"), BOXES)
def test_the_framed_cells_are_the_maxima(box, size):
    x = features().requires_grad_()
    ops.roi_pool(x[None, None], [torch.tensor([box]).float()], size).sum().backward()
    (ax,) = roi_cells(x.detach(), box, size).axes
    (left, top), _ = grid(ax, *x.shape)
    bold = {tuple(np.round(np.subtract(t.get_position(), 0.5), 3)) for t in ax.texts if t.get_weight() == "bold"}
    assert bold == {(left + c, top + r) for r, c in x.grad.nonzero().tolist()}


@pytest.mark.slide("19")
@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize(("box", "size"), BOXES)
def test_the_points_read_what_align_averages(box, size, aligned):
    """On a map that counts rows and columns, the mean of a part's points is what RoI align gives."""
    y, x = torch.meshgrid(torch.arange(8.0), torch.arange(9.0), indexing="ij")
    inside = [max(0.0, box[0]), max(0.0, box[1]), min(8.0, box[2]), min(7.0, box[3])]  # no border in the way
    (ax,) = roi_cells(y, inside, size, sampling_ratio=2, aligned=aligned).axes
    _, (left, top) = grid(ax, 8, 9)
    given = ops.roi_align(torch.stack([x, y])[None], [torch.tensor([inside])], size, 1.0, 2, aligned)[0]
    points = [scattered.get_offsets() - np.array([left, top]) - 0.5 for scattered in ax.collections]
    assert len(points) == size[0] * size[1]
    means = np.array([part.clip(0, [8, 7]).mean(0) for part in points]).T.reshape(2, *size)
    np.testing.assert_allclose(means, given, atol=1e-4)


@pytest.mark.slide("19")
@pytest.mark.parametrize(("box", "size"), BOXES)
def test_the_numbers_below_are_torchvisions_in_the_colours_of_their_parts(box, size):
    x, scaled = features(), [torch.tensor([box]) * 4.0]
    (ax,) = roi_cells(x, scaled[0][0].tolist(), size, spatial_scale=1 / 4).axes
    pooled = ops.roi_pool(x[None, None], scaled, size, 1 / 4).flatten().tolist()
    averaged = ops.roi_align(x[None, None], scaled, size, 1 / 4, 2, True).flatten().tolist()
    below = grid(ax, *x.shape)[0][1] + len(x)
    made = [text.get_text() for text in ax.texts if text.get_position()[1] > below]
    assert made == [f"{value:.4g}".replace("-", "−") for value in pooled + averaged]
    results = [patch for patch in ax.patches if isinstance(patch, Rectangle) and patch.get_width() == RESULT]
    fills = [to_hex(patch.get_facecolor()) for patch in results if patch.get_y() > below]
    assert fills == [to_hex(colour) for colour in PARTS[: len(pooled)]] * 2


def test_the_box_is_drawn_where_it_is_on_both_maps():
    x, box = features(), (1.2, 2.4, 6.7, 6.1)
    (ax,) = roi_cells(x, box, title="A box").axes
    outlines = [
        patch.get_bbox().extents for patch in ax.patches if isinstance(patch, Rectangle) and not patch.get_fill()
    ]
    corners = grid(ax, *x.shape)
    np.testing.assert_allclose(outlines, [np.add(box, (*corner, *corner)) for corner in corners], atol=1e-5)


@pytest.mark.parametrize("shape", [(4,), (1, 4, 4), (0, 4)])
def test_a_map_has_rows_and_columns(shape):
    with pytest.raises((ValueError, TypeError), match=r"features: got shape \(|parameter"):
        roi_cells(torch.zeros(shape), (0, 0, 2, 2))
