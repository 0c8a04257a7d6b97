"""Figures of notebook 02: their numbers and colours are those of pooling, unpooling and convolutions by torch."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle

from lecture_course.nb02_unpooling.figures import (
    OUTCOMES,
    REFERENCE,
    UNUSED,
    feature_maps,
    fractional_step,
    gradient_paths,
    marked,
    outcome_panels,
    remembered_position,
    window_tints,
    windows_seen,
    zero_insertion,
)
from lecture_utils.figures.grids import TINTS

X = torch.tensor([[1.0, 2], [3, 4]])
KERNEL = torch.arange(1.0, 10).view(3, 3)


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def words(fig):
    return [text.get_text() for text in fig.axes[0].texts]


def numbers(fig):
    return [float(text) for text in words(fig) if text.replace(".", "").isdigit()]


def fills(fig):
    return [patch.get_facecolor()[:3] for patch in fig.axes[0].patches if isinstance(patch, Rectangle)]


@pytest.mark.slide("09")
def test_a_window_is_followed_to_its_maximum_and_back():
    slide = torch.tensor([[1.0, 2, 6, 3], [3, 5, 2, 1], [1, 2, 2, 1], [7, 3, 4, 8]])
    fig = remembered_position(slide, X, (1, 0))
    assert words(fig)[-1] == "The 7 stands in row 3, column 0: index 3 · 4 + 0 = 12. The network's 3 goes there."


def test_windows_have_a_tint_each_and_the_rest_none():
    tints = window_tints(5, 4, 2)
    assert (tints[4] == "").all()
    assert tints[0, 0] == tints[1, 1] != tints[0, 2]


def test_feature_maps_are_drawn_on_one_scale_with_zeros_masked():
    first, second = torch.tensor([[0.0, 2], [1, 0]]), torch.tensor([[4.0, 0], [0, 0]])
    fig = feature_maps({"a": first, "b": second}, image=np.zeros((8, 8, 3), np.uint8))
    shown = [ax.get_images()[0] for ax in fig.axes[1:3]]
    assert [ax.get_title() for ax in fig.axes[:3]] == ["image", "a", "b"]
    for image, values in zip(shown, (first, second), strict=True):
        assert image.get_clim() == (0, 4)
        np.testing.assert_array_equal(np.ma.getmaskarray(image.get_array()), values == 0)
        np.testing.assert_array_equal(image.get_array().filled(0), values)
    assert fig.axes[0].get_images()[0].get_extent() == [-0.5, 1.5, 1.5, -0.5]  # the image in the map's coordinates


def test_a_part_is_framed_in_every_panel():
    fig = feature_maps({"a": torch.ones(8, 8)}, image=np.zeros((8, 8, 3), np.uint8), frame=(slice(1, 4), slice(2, 7)))
    for ax in fig.axes[:2]:
        [frame] = ax.patches
        assert frame.get_bbox().extents.tolist() == [1.5, 0.5, 6.5, 3.5]


@pytest.mark.parametrize("maps", [{}, {"a": np.zeros(3)}, {"a": -np.ones((2, 2))}])
def test_bad_feature_maps_are_refused(maps):
    with pytest.raises(ValueError, match=r"maps: got .* expected at least one map"):
        feature_maps(maps)


def test_each_outcome_has_its_colour():
    found, true = np.array([[True, True], [False, False]]), np.array([[True, False], [True, False]])
    image = np.full((2, 2, 3), 60, np.uint8)
    fig = outcome_panels(true, {"a": found, "b": true}, image)
    assert [ax.get_title() for ax in fig.axes] == ["strong in the feature map", "a", "b", ""]
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["strong before", *OUTCOMES]
    first, second, third = (ax.get_images()[0].get_array() for ax in fig.axes[:3])
    for place, colour in zip(((0, 0), (0, 1), (1, 0)), OUTCOMES.values(), strict=True):
        np.testing.assert_allclose(second[place] / 255, to_rgb(colour), atol=0.003)
    for drawn, colour in ((first, REFERENCE), (third, OUTCOMES["true positive"])):
        np.testing.assert_allclose(drawn[true] / 255, [to_rgb(colour)] * 2, atol=0.003)
    assert (second[1, 1] > 180).all()  # a dark image is nearly white beneath


def test_a_mask_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"colours: got a mask \(1, 2\), expected the image's \(2, 2\)"):
        marked(np.zeros((2, 2, 3), np.uint8), {REFERENCE: np.ones((1, 2))})


@pytest.mark.parametrize(("size", "kernel", "stride", "back"), [(5, 2, 2, 4), (7, 3, 2, 7), (6, 3, 2, 5), (6, 2, 3, 5)])
def test_windows_are_counted_and_what_none_sees_is_orange(size, kernel, stride, back):
    fig = windows_seen(size, kernel, stride)
    seen = np.zeros((size, size))
    for i in range(0, size - kernel + 1, stride):
        for j in range(0, size - kernel + 1, stride):
            seen[i : i + kernel, j : j + kernel] += 1
    shown = numbers(fig)
    np.testing.assert_array_equal(shown[: size * size], seen.flatten())
    np.testing.assert_array_equal(shown[-back * back :], seen[:back, :back].flatten())
    orange = [np.allclose(fill, to_rgb(TINTS[4])) for fill in fills(fig)]
    np.testing.assert_array_equal(orange[: size * size], seen.flatten() == 0)
    assert not any(orange[size * size : -back * back])  # no window of the pooled map
    blank = torch.zeros(1, 1, (size - kernel) // stride + 1, (size - kernel) // stride + 1)
    assert F.max_unpool2d(blank, blank.long(), kernel, stride).shape[-1] == back
    with pytest.raises(ValueError, match="kernel: got 3 on 2 pixels"):
        windows_seen(2, 3, 1)


def test_gradients_stand_above_what_they_become():
    arriving = torch.arange(1.0, 17).view(4, 4)
    used = torch.zeros(4, 4, dtype=torch.bool)
    used[::2, ::2] = True
    fig = gradient_paths(arriving, {"nails": (arriving[::2, ::2], used)}, title="t")
    assert numbers(fig) == [*range(1, 17), 1, 3, 9, 11]
    white = [fill == (1, 1, 1) for fill in fills(fig)[:16]]
    np.testing.assert_array_equal(white, ~used.flatten().numpy())
    grey = [text.get_color() == UNUSED for text in fig.axes[0].texts[:16]]
    np.testing.assert_array_equal(grey, white)


@pytest.mark.slide("08")
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_zero_insertion_and_a_flipped_kernel_are_the_transposed_convolution(stride, size):
    x, kernel = torch.randn(2, 1, 3, 4), torch.randn(1, 1, size, size)
    made = F.conv2d(zero_insertion(x, size, stride), kernel.flip(2, 3))
    torch.testing.assert_close(made, F.conv_transpose2d(x, kernel, stride=stride))


@pytest.mark.slide("08")
@pytest.mark.parametrize("at", [(0, 0), (2, 2), (3, 1), (4, 4)])
def test_a_step_shows_the_output_so_far_and_its_sum(at):
    fig = fractional_step(X, KERNEL, at)
    output = F.conv_transpose2d(X[None, None], KERNEL[None, None], stride=2)[0, 0]
    done = at[0] * 5 + at[1] + 1
    shown = numbers(fig)
    assert shown[:49] == zero_insertion(X[None, None], 3, 2).flatten().tolist()
    assert shown[49:58] == [9, 8, 7, 6, 5, 4, 3, 2, 1]
    assert shown[58:] == output.flatten()[:done].tolist()
    sentence = words(fig)[-1]
    assert sentence.startswith(f"Output, row {at[0]}, column {at[1]}: ")
    total, equals = sentence.split(": ")[1].split(" = ")
    pairs = [part.split(" · ") for part in total.split(" + ")]
    assert sum(int(a) * int(b) for a, b in pairs) == int(equals) == output[at]


def test_a_step_outside_the_output_is_refused():
    with pytest.raises(ValueError, match=r"at: got \(5, 0\), expected a position in the output, 5 × 5"):
        fractional_step(X, KERNEL, (5, 0))
