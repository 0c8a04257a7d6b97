"""Windows on an image, and all of them at once: what the drawn artists hold is what was given or computed."""

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

from lecture_course.nb01_from_classification_to_pixels import figures as nb01
from lecture_utils import tasks
from lecture_utils.cityscapes import CLASSES, colour_labels
from lecture_utils.figures.style import GREEN, VERMILION


def image(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)


def frames(ax):
    """(column, row) of the centre and the side of each frame on an axes, one for its two lines."""
    boxes = [p for p in ax.patches if isinstance(p, Rectangle)]
    return {(p.get_x() + p.get_width() / 2, p.get_y() + p.get_height() / 2, p.get_width()) for p in boxes}


def drawn(ax):
    return np.asarray(ax.images[0].get_array())


def test_to_photo_undoes_what_the_networks_are_given():
    photo = torch.from_numpy(image(5, 7)).permute(2, 0, 1)
    mean, std = (torch.tensor(three)[:, None, None] for three in (tasks.MEAN, tasks.STD))
    assert np.array_equal(nb01.to_photo(((photo / 255 - mean) / std)[None]), image(5, 7))


@pytest.mark.slide("04")
def test_single_pixels_are_shown_with_their_numbers():
    fig = nb01.alone([np.uint8([1, 2, 3]), np.uint8([4, 5, 6])])
    assert [drawn(ax).ravel().tolist() for ax in fig.axes] == [[1, 2, 3], [4, 5, 6]]
    assert "4, 5, 6" in fig.axes[1].get_title()


@pytest.mark.slide("04")
def test_in_context_marks_each_place_and_shows_its_patch():
    places, patches = {"road": (3, 7), "car": (4, 8)}, [image(5, 5, 1), image(5, 5, 2)]
    street, *others = nb01.in_context(image(40, 60), places, patches, side=9, size=(20, 30)).axes
    assert {(x, y) for x, y, _ in frames(street)} == {(7, 3), (8, 4)}
    for ax, name, patch in zip(others, places, patches, strict=False):
        assert np.array_equal(drawn(ax), patch)
        assert name in ax.get_title()


@pytest.mark.slide("04")
def test_histograms_show_fractions_of_each_class():
    ax = nb01.histograms({"a": np.array([0.5, 1.5, 1.6, 2.5]), "b": torch.ones(3)}, bins=np.arange(4), xlabel="x").axes[
        0
    ]
    lines = {p.get_label(): p.get_data().values for p in ax.patches if not p.get_label().startswith("_")}
    assert lines["a"].tolist() == [0.25, 0.5, 0.25]
    assert lines["b"].tolist() == [0, 1, 0]


@pytest.mark.slide("05")
@pytest.mark.parametrize(("truth", "colour"), [("road", GREEN), ("car", VERMILION)])
def test_the_highest_bar_is_green_if_right_and_red_if_wrong(truth, colour):
    scores = {"road": 0.7, "car": 0.3}
    fig = nb01.window_answer(image(40, 60), (3, 12), image(7, 7), scores, truth=truth, size=(20, 30))
    assert frames(fig.axes[0]) == {(12, 3, 7)}
    assert frames(fig.axes[1]) == {(3, 3, 1)}
    bars = fig.axes[2]
    assert [bar.get_width() for bar in bars.patches] == [0.7, 0.3]
    assert to_hex(bars.patches[0].get_facecolor()).upper() == colour
    assert [label.get_text() for label in bars.get_yticklabels()] == [f"{n} ✓" if n == truth else n for n in scores]


def test_bars_refuse_a_truth_that_is_no_class():
    with pytest.raises(ValueError, match="truth: got 'cow'"):
        nb01.window_answer(image(9, 9), (4, 4), image(3, 3), {"car": 1.0}, truth="cow", size=(9, 9))


@pytest.mark.slide("05")
@pytest.mark.parametrize("done", [0, 13, 23])
def test_labels_so_far_are_those_before_the_window(done):
    labels, large = np.random.default_rng(1).integers(0, 11, (4, 6)), image(8, 12)
    fig = nb01.labelled_so_far(large, image(3, 3), labels, done)
    shown, painted, pixel = drawn(fig.axes[0])[::2, ::2], colour_labels(labels), np.arange(24).reshape(4, 6)
    assert np.array_equal(shown[pixel <= done], painted[pixel <= done])
    assert np.array_equal(shown[pixel > done], large[::2, ::2][pixel > done])
    row, column = divmod(done, 6)
    assert frames(fig.axes[0]) == {(column, row, 3)}
    assert fig.axes[1].get_xlabel().endswith(CLASSES[labels[row, column]])


@pytest.mark.parametrize("done", [-1, 24])
def test_labels_so_far_refuses_a_pixel_outside(done):
    with pytest.raises(ValueError, match="done: got"):
        nb01.labelled_so_far(image(4, 6), image(3, 3), np.zeros((4, 6), int), done)


def test_context_joins_the_patches_and_leaves_the_unet_apart():
    ax = nb01.context_curves([1, 5], {"car": [0.2, 0.1]}, {"car": 0.9}).axes[0]
    assert ax.xaxis.get_label().get_position()[0] == pytest.approx((0.5 + 0.3) / 3)  # below the middle of its ticks
    joined, apart = (line for line in ax.get_lines() if len(line.get_xdata()) < 3 and line.get_marker() == "o")
    assert joined.get_ydata().tolist() == [0.2, 0.1]
    assert list(apart.get_ydata()) == [0.9]
    assert apart.get_linestyle() == "None"


def test_the_dots_of_the_unet_stand_side_by_side_the_mean_on_top():
    lines = {"mean": [0.5, 0.6], "car": [0.5, 0.7], "pole": [0.1, 0.2]}
    ax = nb01.context_curves([1, 5], lines, dict.fromkeys(lines, 0.8)).axes[0]
    dots = [line for line in ax.get_lines() if len(line.get_xdata()) == 1]
    assert np.diff([dot.get_xdata()[0] for dot in dots]) == pytest.approx([0.11, 0.11])
    assert dots[0].get_zorder() > max(dot.get_zorder() for dot in dots[1:])


STAGES = {"window": (29, 1), "convolution": (26, 1), "pooling": (13, 2), "convolution 2": (10, 2), "pooling 2": (5, 4)}


@pytest.mark.slide("05", "06")
def test_both_halves_of_the_dilation_diagram_end_in_the_scores_of_torch():
    values, kernel = [3, 1, 4, 1, 5, 9, 2], [1, 2, 1]
    x = torch.tensor(values).float()[None, None]
    pooled = torch.nn.functional.max_pool1d(x, 2, stride=1)
    scores = torch.nn.functional.conv1d(pooled, torch.tensor(kernel).float()[None, None], dilation=2).ravel().tolist()
    for ax in nb01.dilation_diagram(values, kernel).axes:
        numbers = [float(text.get_text()) for text in ax.texts if text.get_text().isdigit()]
        assert [n for n in numbers if n > 9] == scores == [20, 23]


def test_dilation_diagram_refuses_another_number_of_values():
    with pytest.raises(ValueError, match="values: got 6, expected 7"):
        nb01.dilation_diagram([1] * 6, [1, 2, 1])


@pytest.mark.slide("06")
def test_a_limit_is_a_line_in_the_last_panel():
    fig = nb01.context_curves([1], {"car": [1]}, {"car": 1})
    nb01.limit_line(fig, 16, "16 GB")
    assert 16 in [line.get_ydata()[0] for line in fig.axes[-1].get_lines()]


@pytest.mark.slide("07")
def test_gallery_draws_all_panels_in_one_system_of_coordinates():
    labels = np.arange(9).reshape(3, 3)
    fig = nb01.gallery({"image": image(20, 20), "labels": labels}, columns=2, size=(96, 96), grid=32)
    assert [ax.get_title() for ax in fig.axes] == ["image", "labels"]
    assert all(tuple(ax.images[0].get_extent()) == (-0.5, 95.5, 95.5, -0.5) for ax in fig.axes)
    assert [len(ax.get_lines()) for ax in fig.axes] == [0, 4]
    assert len(fig.legends[0].get_texts()) == 9


def test_gallery_refuses_no_panel():
    with pytest.raises(ValueError, match="panels, columns: got 0"):
        nb01.gallery({}, columns=2, size=(9, 9))


def test_edges_are_pixels_beside_another_class():
    labels = torch.tensor([[[0, 0, 1], [0, 0, 1], [0, 0, 255]]])
    assert nb01.at_edges(labels).int().tolist() == [[[0, 1, 1], [0, 1, 1], [0, 1, 0]]]
