"""The figures of notebook 00: what their artists show is what they were given."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

from lecture_course.nb00_start_here.figures import (
    OBJECT_COLOURS,
    caption_parts,
    class_scores,
    five_tasks,
    images_and_maps,
    kernels_and_maps,
    label_window,
    left_to_right,
    one_class,
    probability_bars,
    softmax_charts,
    square_crop,
)
from lecture_utils.cityscapes import CLASSES, PALETTE

CAPTION = "from left to right a red sign, a white car and a person in a blue coat"


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def tasks(**changes):
    given = {
        "boxes": torch.tensor([[60.0, 40, 90, 60], [5, 10, 15, 20], [100, 30, 110, 70]]),
        "names": ["car", "traffic sign", "person"],
        "size": 128,
        "caption": CAPTION,
        "labels": np.full((96, 96), 13),
        "crop": torch.zeros(3, 48, 48, dtype=torch.uint8),
        "classes": {"a white car": 0.9, "a grey car": 0.1},
        "samples": torch.zeros(4, 3, 32, 32, dtype=torch.uint8),
        "sampled": 24,
        "rows": (0.2, 0.8),
    }
    return five_tasks(np.zeros((256, 256, 3), dtype=np.uint8), **{**given, **changes})


@pytest.mark.slide("02")
def test_the_parts_of_a_caption_are_the_caption_and_count_its_objects():
    parts = caption_parts(CAPTION)
    assert "".join(text for text, _ in parts) == CAPTION
    assert [text for text, number in parts if number is not None] == [
        "a red sign",
        "a white car",
        "a person in a blue coat",
    ]
    assert caption_parts("from left to right a red car") == [("from left to right ", None), ("a red car", 0)]
    with pytest.raises(ValueError, match="caption: got 'two cars'"):
        caption_parts("two cars")


@pytest.mark.slide("02")
def test_an_object_has_one_colour_as_box_and_as_word():
    fig = tasks()
    street, caption = fig.axes[:2]
    outlines = {patch.get_x() + 0.5: to_hex(patch.get_ec()) for patch in street.patches if not patch.get_fill()}
    assert outlines == {
        60.0: OBJECT_COLOURS[1].lower(),
        5.0: OBJECT_COLOURS[0].lower(),
        100.0: OBJECT_COLOURS[2].lower(),
    }
    chips = {text.get_text(): text.get_bbox_patch() for text in caption.texts}
    assert to_hex(chips["a red sign"].get_fc()) == outlines[5.0]
    assert to_hex(chips["a white car"].get_fc()) == outlines[60.0]
    assert chips["and"] is None
    names = {text.get_text() for text in street.texts}
    assert names == {"car", "traffic sign", "person"}


@pytest.mark.slide("02")
def test_five_tasks_shows_the_rows_asked_for_and_names_the_classes():
    fig = tasks()
    assert fig.axes[0].get_ylim() == (0.8 * 128 - 0.5, 0.2 * 128 - 0.5)
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["car"]
    with pytest.raises(ValueError, match="caption: names 2 objects, got 3 boxes"):
        tasks(caption="from left to right a red sign and a white car")


def test_the_words_of_a_long_caption_stay_on_the_figure():
    fig = tasks(
        caption="from left to right a person in a yellow coat, a person in a yellow coat and a red traffic light"
    )
    caption = fig.axes[1]
    whole = caption.get_window_extent()
    assert all(text.get_window_extent().x1 <= whole.x1 + 8 for text in caption.texts)
    assert len({text.get_position()[1] for text in caption.texts}) == 2


def test_boxes_are_ordered_by_their_middles():
    assert left_to_right(torch.tensor([[60.0, 0, 90, 1], [5, 0, 15, 1], [0, 0, 200, 1]])).tolist() == [1, 0, 2]


@pytest.mark.slide("01")
def test_a_square_crop_keeps_shapes_and_stays_inside():
    image = torch.zeros(3, 40, 60, dtype=torch.uint8)
    image[:, 10:30, 20:30] = 200  # twice as high as wide
    crop = square_crop(image, (20, 10, 30, 30), 40)
    assert crop.shape == (3, 40, 40)
    assert (crop[0, 20] > 100).sum() == 20  # half of the square's width
    corner = square_crop(torch.full((3, 40, 60), 7, dtype=torch.uint8), (50, 0, 60, 8), 16, room=2)
    assert (corner == 7).all()


@pytest.mark.slide("01")
def test_bars_have_the_lengths_of_the_probabilities():
    _, ax = plt.subplots()
    probability_bars(ax, {"car": 0.7, "person": 0.3}, truth="person")
    bars = [patch for patch in ax.patches if isinstance(patch, Rectangle)]
    assert [bar.get_width() for bar in bars] == [0.7, 0.3]
    assert [text.get_text() for text in ax.texts] == ["70%", "30%"]
    assert bars[0].get_fc() != bars[1].get_fc()


@pytest.mark.slide("01")
def test_softmax_charts_say_what_is_wrong():
    crops = [np.zeros((20, 10, 3), dtype=np.uint8)] * 2
    fig = softmax_charts(crops, [[0.9, 0.1], [0.2, 0.8]], [0, 0], ["car", "person"])
    assert [fig.axes[place].get_title(loc="left") for place in (1, 3)] == ["car", "person? No: car"]
    assert fig.axes[0].images[0].get_array().shape == (20, 10, 3)
    with pytest.raises(ValueError, match="probabilities: got shape"):
        softmax_charts(crops, [[0.9, 0.1]], [0, 0], ["car", "person"])


@pytest.mark.slide("01")
def test_each_kernel_stands_beside_its_map():
    kernels, maps = torch.randn(4, 3, 3, 3), torch.rand(4, 32, 32)
    fig = kernels_and_maps(torch.rand(3, 32, 32), kernels, maps)
    shown = [ax.images[0].get_array() for ax in fig.axes[1:9]]
    for place in range(4):
        assert np.allclose(shown[2 * place + 1], maps[place] / maps[place].max())
        assert shown[2 * place].shape == (3, 3, 3)
    limits = {ax.images[0].get_clim() for ax in fig.axes[2:9:2]}
    assert limits == {(0, 1)}  # one colour bar: fractions of each map's largest value
    with pytest.raises(ValueError, match="kernels: got 3"):
        kernels_and_maps(torch.rand(3, 32, 32), kernels[:3], maps)


@pytest.mark.slide("03")
def test_one_class_alone_keeps_its_colours():
    image = np.full((8, 8, 3), (10, 200, 30), dtype=np.uint8)
    labels = np.zeros((8, 8), dtype=np.uint8)
    labels[2:4, 5:7] = 13
    (ax,) = one_class(image, labels, "car").axes
    shown = ax.images[0].get_array()
    assert (shown[2:4, 5:7] == (10, 200, 30)).all()
    assert (shown[labels == 0] > 200).all()
    edges = np.array(ax.collections[0].get_segments())
    assert len(edges) == 8  # around 2 × 2 pixels
    assert edges.min((0, 1)).tolist() == [4.5, 1.5]
    assert edges.max((0, 1)).tolist() == [6.5, 3.5]
    with pytest.raises(ValueError, match="name: got 'house'"):
        one_class(image, labels, "house")


@pytest.mark.slide("03")
def test_a_window_shows_the_numbers_that_are_there():
    labels = np.arange(400).reshape(20, 20) % 19
    labels[3, 4] = 255
    whole, numbers = label_window(labels, 2, 3, side=5).axes
    lines = {}
    for text in numbers.texts:
        line = lines.setdefault(text.get_position()[1], [""] * 5)
        for place in range(5):
            line[place] += text.get_text()[4 * place : 4 * place + 4].strip()
    assert [lines[row] for row in range(5)] == labels[2:7, 3:8].astype(str).tolist()
    assert whole.patches[0].get_bbox().bounds == (2.5, 1.5, 5, 5)
    assert "255 ignored" in numbers.get_xlabel()
    with pytest.raises(ValueError, match="row, column: got 16, 3"):
        label_window(labels, 16, 3, side=5)


@pytest.mark.slide("03")
def test_the_scores_of_the_classes_are_sorted_by_their_share():
    fig = class_scores({"pole": 0.4, "road": 0.9}, {"pole": 0.1, "road": 0.9}, accuracy=0.95)
    (ax,) = fig.axes
    names = ["road (90.0% of the pixels)", "pole (10.0% of the pixels)"]
    assert [label.get_text() for label in ax.get_yticklabels()] == names
    assert [patch.get_width() for patch in ax.patches] == [0.9, 0.4]
    assert [line.get_xdata()[0] for line in ax.lines] == [pytest.approx(0.65), 0.95]


def test_images_stand_in_two_columns_over_the_legend():
    labels = np.array([[0, 13]])
    fig = images_and_maps({name: np.zeros((4, 4, 3), dtype=np.uint8) for name in "abc"}, [labels])
    assert [ax.get_title() for ax in fig.axes] == ["a", "b", "c", ""]
    assert not fig.axes[3].get_visible()
    assert [to_hex(patch.get_facecolor()) for patch in fig.legends[0].get_patches()] == [
        to_hex(PALETTE[CLASSES.index(name)] / 255) for name in ("road", "car")
    ]
