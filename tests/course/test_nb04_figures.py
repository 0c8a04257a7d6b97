"""The U-Net's diagram: the numbers of the paper's figure, and no label upon another at any configuration."""

import itertools

import pytest
import torch
from matplotlib.patches import Rectangle

from lecture_course.nb04_unet.figures import unet_diagram
from lecture_utils.segmentation import UNet, kaggle_unet

CONFIGURATIONS = {
    "2015": (lambda: UNet(1, 2, padding="valid"), (572, 572)),
    "city": (lambda: UNet(3, 19, base_channels=16, norm="batch"), (96, 96)),
    "wide": (lambda: UNet(3, 19, base_channels=16), (256, 512)),
    "odd": (lambda: UNet(3, 19, base_channels=8, depth=3), (101, 200)),
    "shallow": (lambda: UNet(3, 2, base_channels=4, depth=1), (32, 32)),
    "two": (lambda: UNet(3, 2, base_channels=4, depth=2, padding="valid"), (80, 124)),
    "deep": (lambda: UNet(3, 2, base_channels=4, depth=5, padding="valid"), (380, 700)),
    "kaggle": (kaggle_unet, (256, 256)),
}


def draw(name):
    build, size = CONFIGURATIONS[name]
    with torch.device("meta"):
        model = build()
    fig = unet_diagram(model, size)
    fig.canvas.draw()
    return fig


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_no_label_lies_on_another_or_on_a_box_or_outside(name):
    fig = draw(name)
    [ax] = fig.axes
    texts = [text.get_window_extent() for text in ax.texts]
    boxes = [patch.get_window_extent() for patch in ax.patches if isinstance(patch, Rectangle)]
    page = fig.bbox.padded(1)
    for text in texts:
        assert page.x0 <= text.x0 < text.x1 <= page.x1
        assert page.y0 <= text.y0 < text.y1 <= page.y1
        assert not any(text.overlaps(box) for box in boxes)
    for one, other in itertools.combinations(texts, 2):
        assert not one.overlaps(other)
    assert min(text.get_fontsize() for text in ax.texts) >= 11


@pytest.mark.slide("12")
def test_the_numbers_are_those_of_the_papers_figure():
    fig = draw("2015")
    words = [text.get_text() for text in fig.axes[0].texts]
    for size in (572, 568, 280, 136, 64, 28, 52, 100, 196, 388):
        assert f"{size}²" in words
    assert [word for word in words if word.startswith("crop")] == ["crop 4", "crop 16", "crop 40", "crop 88"]
    assert words.count("1024") == 3  # two at the bottom, and the joined one above
    assert {"conv 3×3, ReLU", "max pool 2×2", "up-conv 2×2", "copy and crop (pixels a side)", "conv 1×1"} <= set(words)


def test_a_padded_net_copies_without_a_crop_and_says_so():
    words = [text.get_text() for text in draw("city").axes[0].texts]
    assert "copy" in words
    assert not any("crop" in word for word in words)


def test_what_follows_a_convolution_stands_in_its_order():
    assert "conv 3×3, batch norm, ReLU" in [text.get_text() for text in draw("city").axes[0].texts]
    assert "conv 3×3, ReLU, batch norm" in [text.get_text() for text in draw("kaggle").axes[0].texts]


def test_rectangles_and_padding_are_written_out():
    words = [text.get_text() for text in draw("odd").axes[0].texts]
    assert "104×\n200" in words
    assert "U-Net for 101×200 pixels, padded to 104×200" in words


def test_a_box_is_higher_for_a_larger_map_and_wider_for_more_channels():
    [ax] = draw("2015").axes
    plain = [patch for patch in ax.patches if isinstance(patch, Rectangle)]
    first, bottom = plain[1], max(plain, key=Rectangle.get_width)  # 64 channels of 570², 1024 of 30²
    assert first.get_height() > 2 * bottom.get_height()
    assert bottom.get_width() > 2 * first.get_width()


def test_a_size_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="570"):
        unet_diagram(UNet(1, 2, base_channels=2, padding="valid"), (570, 572))
