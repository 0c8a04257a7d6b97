"""Figures of the convolution matrix: the numbers and colours they show are those of torch's own convolutions."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from matplotlib.colors import to_hex, to_rgb
from matplotlib.patches import Rectangle

from lecture_course.nb03_transposed_convolution.figures import (
    entry_colours,
    image_of_matrix,
    kernel_colours,
    matrix_of_places,
    matrix_product,
    one_to_many,
    overlap,
)
from lecture_utils.figures.grids import TINTS, count_colours

KERNEL = np.array([[1.0, 4, 1], [1, 4, 3], [3, 3, 1]])


def numbers(ax):
    """The numbers in the cells, in the order in which they were drawn."""
    texts = [text.get_text() for text in ax.texts]
    return [float(text) for text in texts if text.replace(".", "").isdigit()]


def fills(ax):
    return [to_hex(patch.get_facecolor()) for patch in ax.patches if isinstance(patch, Rectangle)]


@pytest.mark.slide("10")
@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (2, 1), ((1, 2), (0, 2))])
def test_each_entry_of_the_kernel_has_its_colour(stride, padding):
    colours = entry_colours((2, 3), (4, 5), stride=stride, padding=padding)
    x = torch.randn(1, 1, 4, 5)
    for index, colour in enumerate(kernel_colours((2, 3)).flat):
        # The cells of one colour are the matrix of a kernel that is 1 at this entry and 0 elsewhere.
        kernel = torch.zeros(6)
        kernel[index] = 1
        expected = F.conv2d(x, kernel.reshape(1, 1, 2, 3), stride=stride, padding=padding).flatten()
        torch.testing.assert_close(torch.tensor(colours == colour, dtype=torch.float32) @ x.flatten(), expected)
    assert len(set(kernel_colours((3, 3)).flat)) == 9


@pytest.mark.slide("10")
def test_product_shows_matrix_column_product_and_grid():
    matrix, image = np.arange(6.0).reshape(2, 3), np.array([[1.0, 2, 3]])
    [ax] = matrix_product(matrix, image, (1, 2), colours=[["#ff0000"] * 3, [""] * 3]).axes
    assert numbers(ax) == [0, 1, 2, 3, 4, 5, 1, 2, 3, 8, 26, 8, 26]
    assert fills(ax)[:6] == ["#ff0000"] * 3 + ["#ffffff"] * 3
    assert {"C (2×3)", "x", "C·x", "reshaped", "·", "="} <= {text.get_text() for text in ax.texts}


@pytest.mark.parametrize(("image", "output"), [(np.zeros((2, 2)), (1, 2)), (np.zeros((1, 3)), (2, 2))])
def test_product_refuses_what_does_not_fit(image, output):
    with pytest.raises(ValueError, match="matrix: got shape"):
        matrix_product(np.zeros((2, 3)), image, output)


@pytest.mark.slide("10")
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("padding", [0, 1, 2])
def test_places_are_the_rows_of_the_matrix(stride, padding):
    places, matrix = matrix_of_places((3, 2), (5, 4), stride=stride, padding=padding).axes
    height, width = F.conv2d(torch.zeros(1, 1, 5, 4), torch.zeros(1, 1, 3, 2), stride=stride, padding=padding).shape[2:]
    assert places.get_title() == f"{height} × {width} places"
    dots = places.collections[0].get_offsets()
    assert len(dots) == height * width
    assert dots[0].tolist() == [0.5 - padding, 0.5 - padding]
    assert matrix.get_title() == f"C: {height * width} × 20"
    assert matrix.images[0].get_array().shape == (height * width, 20, 3)


def test_image_of_a_matrix_is_coloured_cell_by_cell():
    _, ax = plt.subplots()
    image_of_matrix(ax, np.array([["", TINTS[0]], [TINTS[4], ""], ["", ""]]), block=(1, 2))
    expected = [[(1, 1, 1), to_rgb(TINTS[0])], [to_rgb(TINTS[4]), (1, 1, 1)], [(1, 1, 1), (1, 1, 1)]]
    np.testing.assert_allclose(ax.images[0].get_array(), expected)


@pytest.mark.slide("11")
@pytest.mark.parametrize("stride", [1, 2])
def test_one_value_adds_to_nine_cells(stride):
    values = np.array([[5.0, 6], [7, 8]])
    [ax] = one_to_many(values, KERNEL, at=(1, 0), stride=stride).axes
    sent = torch.tensor([[5.0, 6], [7, 0]])
    output = F.conv_transpose2d(sent[None, None], torch.tensor(KERNEL[None, None]).float(), stride=stride)[0, 0]
    assert numbers(ax) == [*values.flat, *(7 * KERNEL).flat, *output.flatten().tolist()]
    coloured = np.array(fills(ax)[13:]).reshape(output.shape) != "#ffffff"
    assert coloured.sum() == 9
    assert coloured[stride : stride + 3, :3].all()


def test_one_value_keeps_room_for_larger_strides():
    sizes = [
        tuple(one_to_many(np.ones((2, 2)), KERNEL, at=(0, 0), stride=stride, room=(5, 5)).get_size_inches())
        for stride in (1, 2)
    ]
    assert sizes[0] == sizes[1]


def test_one_value_must_be_there():
    with pytest.raises(ValueError, match=r"at: got \(2, 0\)"):
        one_to_many(np.ones((2, 2)), KERNEL, at=(2, 0))


@pytest.mark.slide("11")
@pytest.mark.parametrize(("kernel_size", "stride"), [(3, 2), (4, 2), (2, 3), (5, 1)])
def test_overlap_shows_stamps_and_counts(kernel_size, stride):
    along, both = overlap(kernel_size, stride, values=3).axes
    stamps = [patch for patch in along.patches if patch.get_height() == 0.8]
    assert [(patch.get_x(), patch.get_width()) for patch in stamps] == [(i * stride, kernel_size) for i in range(3)]
    ones = torch.ones(1, 1, 3, 3), torch.ones(1, 1, kernel_size, kernel_size)
    counts = F.conv_transpose2d(*ones, stride=stride)[0, 0]
    assert numbers(both) == counts.flatten().tolist()
    assert numbers(along) == counts[0].tolist()


def test_more_is_darker():
    shades = count_colours([[0, 1], [2, 4]])
    assert shades[0, 0] == ""
    lightness = [sum(to_rgb(shade)) for shade in shades.flat[1:]]
    assert lightness == sorted(lightness, reverse=True)
    assert len(set(lightness)) == 3
    assert count_colours([[0]]).tolist() == [[""]]
