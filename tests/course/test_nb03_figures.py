"""Figures of the convolution matrix: the numbers and colours they show are those of torch's own convolutions."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from matplotlib.colors import to_hex, to_rgb
from matplotlib.patches import Rectangle

from lecture_course.nb03_transposed_convolution.figures import (
    doubled_maps,
    gradient_panels,
    heat_of_kernel,
    kernel_and_photo,
    kernels_as_heat,
    one_to_many,
    overlap,
    small_multiples,
    stamps_on_a_line,
    zooms,
)
from lecture_course.nb03_transposed_convolution.matrices import (
    entry_colours,
    image_of_matrix,
    kernel_colours,
    kernel_positions,
    matrix_product,
    row_at_work,
)
from lecture_course.nb03_transposed_convolution.measurements import (
    checkerboard,
    deviation,
    even_and_odd,
    last_doubling,
    render_batch,
    to_photo,
    to_planes,
    unevenness,
)
from lecture_utils import toycity
from lecture_utils.figures import to_pixels
from lecture_utils.figures.grids import TINTS, count_colours, points_per_unit
from lecture_utils.segmentation import UNet
from lecture_utils.tasks import photos

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
    places, matrix = kernel_positions((3, 2), (5, 4), stride=stride, padding=padding).axes
    height, width = F.conv2d(torch.zeros(1, 1, 5, 4), torch.zeros(1, 1, 3, 2), stride=stride, padding=padding).shape[2:]
    assert places.get_title() == f"input 5 × 4, output {height} × {width}"
    dots = places.collections[0].get_offsets()
    assert len(dots) == height * width
    assert dots[0].tolist() == [0.5 - padding, 0.5 - padding]
    assert np.ptp(dots[:, 1]) == (height - 1) * stride
    assert matrix.get_title() == f"C: {height * width} × 20, a row for each output pixel"
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


@pytest.mark.slide("10")
@pytest.mark.parametrize("at", [(0, 0), (1, 0), (1, 1)])
def test_a_row_at_work_reads_the_pixels_it_colours(at):
    image = np.arange(16.0).reshape(4, 4)
    [ax] = row_at_work(KERNEL, image, at).axes
    expected = F.conv2d(torch.tensor(image)[None, None], torch.tensor(KERNEL)[None, None])[0, 0]
    texts = [text.get_text() for text in ax.texts]
    assert any(text.endswith(f"= {expected[at]:g}") for text in texts)
    done = expected.flatten()[: at[0] * 2 + at[1] + 1].tolist()
    assert numbers(ax)[80 : 80 + len(done)] == done  # after the 64 of C and the 16 of x; later ones are empty
    pixels = np.array(fills(ax)[-20:-4]).reshape(4, 4)  # before the output
    tints = [to_hex(colour) for colour in kernel_colours((3, 3)).flat]
    assert pixels[at[0] : at[0] + 3, at[1] : at[1] + 3].flatten().tolist() == tints
    assert (pixels != "#ffffff").sum() == 9


def test_a_row_at_work_must_be_there():
    with pytest.raises(ValueError, match=r"at: got \(2, 0\), expected a position in the 2×2 output"):
        row_at_work(KERNEL, np.ones((4, 4)), (2, 0))


def test_columns_of_the_matrix_keep_their_width_and_few_rows_are_high():
    sides = set()
    for stride, padding in ((1, 0), (2, 1), (3, 0)):
        matrix = kernel_positions((3, 3), (5, 5), stride=stride, padding=padding).axes[1]
        matrix.figure.draw_without_rendering()
        sides.add(round(points_per_unit(matrix), 2))
        right, bottom = matrix.images[0].get_extent()[1:3]
        assert right == 25
        assert bottom / matrix.images[0].get_array().shape[0] == 2
        assert sum(matrix.get_ylim()) == pytest.approx(bottom)  # in the middle
    assert len(sides) == 1


def test_photographs_become_planes_and_photographs_again():
    photo = np.random.default_rng(0).integers(0, 256, (8, 10, 3), dtype=np.uint8)
    planes = to_planes([photo, photo], 6)
    assert planes.shape == (6, 1, 6, 6)
    np.testing.assert_array_equal(to_photo(planes[:3]), photo[1:7, 2:8])
    with pytest.raises(ValueError, match="images: got shape"):
        to_planes([photo], 9)
    with pytest.raises(ValueError, match="planes: got shape"):
        to_photo(planes)


def test_zooms_show_one_part_of_each():
    planes = {name: torch.rand(3, 1, 9, 9) for name in "abc"}
    axes = zooms(planes, (2, 3, 4, 5)).axes
    assert [ax.get_title() for ax in axes] == ["a", "b", "c", ""]
    np.testing.assert_array_equal(axes[1].images[0].get_array(), to_photo(planes["b"])[2:6, 3:8])


def test_kernels_are_drawn_on_one_scale_around_0():
    kernels = {"one": torch.eye(2), "two": -torch.ones(3, 3), "three": torch.zeros(6, 6)}
    axes = kernels_as_heat(kernels).axes
    for ax, kernel in zip(axes, kernels.values(), strict=False):
        [shown] = ax.images
        np.testing.assert_allclose(shown.get_array(), kernel)
        assert shown.norm.vmin == -shown.norm.vmax
        assert [text.get_text() for text in ax.texts] == [f"{100 * w:.0f}".replace("-", "−") for w in kernel.flatten()]
    with pytest.raises(ValueError, match="kernel: got shape"):
        heat_of_kernel(plt.gca(), np.ones((2, 3)), across=6, down=6)


def test_a_kernel_stands_beside_what_it_enlarged():
    photo = np.full((4, 6, 3), 7, np.uint8)
    left, right = kernel_and_photo(np.eye(4), photo, names=("k", "p")).axes
    assert (left.get_title(), right.get_title()) == ("k", "p")
    np.testing.assert_array_equal(right.images[0].get_array(), photo)


def test_small_multiples_are_drawn_over_their_root_mean_square():
    rows = {"a": torch.randn(3, 4, 4), "b": 7 * torch.ones(2, 4, 4)}
    axes = [ax for ax in small_multiples(rows).axes if ax.images and len(ax.images[0].get_array()) == 4]
    assert [ax.get_ylabel() for ax in axes] == ["a", "", "b", ""]
    np.testing.assert_allclose(axes[3].images[0].get_array(), 1)
    scaled = rows["a"][1] / rows["a"][1].square().mean().sqrt()
    np.testing.assert_allclose(axes[1].images[0].get_array(), scaled, rtol=1e-5)


@pytest.mark.slide("11")
def test_output_padding_keeps_pixels_at_the_end():
    line = {"stride": 3, "padding": 2}
    [ax] = stamps_on_a_line(6, 5, **line, output_paddings=(0, 1, 2)).axes
    words = [text.get_text() for text in ax.texts]
    assert [text for text in words if text.endswith("pixels")] == ["16 pixels", "17 pixels", "18 pixels"]
    for extra in (0, 1, 2):
        size = F.conv_transpose1d(torch.ones(1, 1, 6), torch.ones(1, 1, 5), output_padding=extra, **line).shape[-1]
        assert f"{size} pixels" in words
    assert numbers(ax) == [*range(1, 17), *range(1, 18), *range(1, 19)]
    with pytest.raises(ValueError, match=r"output_paddings: got \(3,\), expected none above padding, 2"):
        stamps_on_a_line(6, 5, **line, output_paddings=(3,))


def test_gradients_are_drawn_in_the_frame_and_their_groups_where_they_lie():
    photo, maps = np.zeros((9, 9, 3), np.uint8), {"m": torch.rand(9, 9), "n": torch.rand(9, 9)}
    axes = gradient_panels(photo, maps, [0.1, 0.2, 0.3, 1.4], box=(2, 3, 4)).axes
    assert [ax.get_title() for ax in axes] == ["the street", "m", "n", "four group means"]
    assert [patch.get_bbox().bounds for patch in axes[0].patches] == [(2.5, 1.5, 4, 4)] * 2
    np.testing.assert_allclose(axes[2].images[0].get_array(), maps["n"][2:6, 3:7])
    assert axes[3].images[0].get_array().tolist() == [[0.1, 0.2], [0.3, 1.4]]
    assert [text.get_text() for text in axes[3].texts] == ["0.10", "0.20", "0.30", "1.40"]


def test_a_checkerboard_is_measured():
    board = torch.tensor([[1.0, 2], [3, 4]]).repeat(8, 8)
    assert checkerboard(board).item() == pytest.approx(1)
    assert checkerboard(torch.randn(64, 64)).item() < 0.1
    assert checkerboard(torch.ones(2, 3, 4, 4)).tolist() == [[0] * 3] * 2
    assert deviation(torch.ones(3, 12, 12)) == 0
    assert deviation(board - board.mean()) == pytest.approx(1)
    assert unevenness(torch.ones(1, 1, 4, 4)) == 0 < unevenness(torch.ones(1, 1, 3, 3))
    torch.manual_seed(0)
    for size in (3, 4):
        assert unevenness(torch.randn(1, 4000, size, size)) == pytest.approx(0.75**0.5, abs=0.02)


def test_doubled_maps_share_one_scale_and_one_frame():
    photo, maps = np.zeros((9, 9, 3), np.uint8), {name: 5 + 3 * torch.rand(9, 9) for name in "abcd"}
    rows = [{name: maps[name] for name in "ab"}, {name: maps[name] for name in "cd"}]
    axes = doubled_maps(photo, rows, box=(2, 3, 4)).axes
    titles = [ax.get_title() for ax in axes]
    assert titles[:6] == ["the street", "a", "b", "c: all of it", "c", "d"]
    scaled = ((maps["d"] - maps["d"].mean()) / maps["d"].std(correction=0)).numpy()
    np.testing.assert_allclose(axes[5].images[0].get_array(), scaled[2:6, 3:7], rtol=1e-4)
    assert axes[3].images[0].get_array().shape == (9, 9)
    assert {ax.images[0].get_clim() for ax in axes[1:6]} == {(-2, 2)}
    assert len(axes[0].patches) == len(axes[3].patches) == 2


def test_even_and_odd_pixels_are_told_apart():
    board = torch.tensor([[1.0, 2], [3, 4]]).repeat(3, 5)
    assert even_and_odd(board).tolist() == [1, 2, 3, 4]
    assert even_and_odd(board.expand(2, 7, 6, 10)).shape == (2, 7, 4)


def test_the_last_doubling_of_a_unet_is_caught():
    unet = UNet(3, 2, base_channels=4, depth=2, norm="batch").eval()
    images = torch.rand(2, 3, 16, 16)
    maps = last_doubling(unet, images)
    assert {name: tuple(x.shape) for name, x in maps.items()} == {"up": (2, 4, 16, 16), "after": (2, 4, 16, 16)}
    torch.testing.assert_close(unet.head(maps["after"]), unet(images))
    assert not unet.up[-1]._forward_hooks


def test_scenes_become_a_batch():
    scene = toycity.sample_scene(3)
    batch = render_batch([scene, scene], 64)
    assert batch.shape == (2, 3, 64, 64)
    assert np.array_equal(to_pixels(photos.to_photo(batch[1])), toycity.render(scene, 64).image)
