"""The U-Net's diagram: the numbers of the paper's figure, and no label upon another at any configuration."""

import itertools

import numpy as np
import pytest
import torch
from matplotlib.patches import Rectangle

from lecture_course.nb04_unet.figures import iou_by_class, named_areas, overlap_tile, pixel_answer, two_by_two
from lecture_course.nb04_unet.networks import feature_maps, unet_diagram, unet_drawing
from lecture_utils.figures.network import draw_network
from lecture_utils.figures.network_blocks import steps_of
from lecture_utils.segmentation import UNet, kaggle_unet
from tests.figures.test_network import require_legible

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


@pytest.mark.slide("13")
def test_classes_of_a_photograph_have_a_colour_and_a_name():
    photo = torch.randint(0, 256, (3, 10, 14), dtype=torch.uint8)
    labels = torch.zeros(10, 14, dtype=torch.uint8)
    labels[2:5, 3:9], labels[7, 1] = 2, 1
    fig = named_areas(photo, labels, ("background", "dog", "cat"))
    plain, painted = (np.asarray(ax.images[0].get_array()) for ax in fig.axes)
    assert np.array_equal(plain, photo.permute(1, 2, 0))
    assert np.array_equal((painted != plain).any(axis=2), labels.numpy() > 0)
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["dog", "cat"]
    assert not named_areas(photo, torch.zeros_like(labels), ("background",)).legends
    for bad in (labels[:9], labels + 1):
        with pytest.raises(ValueError, match=r"labels: got \(\d+, 14\) up to \d, expected \(10, 14\) below 3"):
            named_areas(photo, bad, ("background", "dog", "cat"))


@pytest.mark.slide("12")
def test_a_tile_sees_a_border_more_and_the_image_is_mirrored():
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    (ax,) = overlap_tile(image, tile=8, border=5).axes
    wide = np.asarray(ax.images[0].get_array())
    assert wide.shape == (30, 40, 3)
    assert np.array_equal(wide[5:25, 5:35], image)
    assert np.array_equal(wide[5:25, 4], image[:, 1])  # the first pixel beyond the edge is the second before it
    boxes = {patch.get_label(): patch.get_bbox().bounds for patch in ax.patches}
    del boxes[""]  # the dark halos
    assert sorted(boxes.values()) == [(-0.5, -0.5, 18, 18), (4.5, 4.5, 8, 8), (4.5, 4.5, 30, 20)]
    for bad in ({"tile": 8, "border": 20}, {"tile": 0, "border": 5}):
        with pytest.raises(ValueError, match="tile, border: got"):
            overlap_tile(image, **bad)


def test_an_answer_names_the_five_likeliest_classes_at_a_pixel():
    probabilities = torch.zeros(19, 6, 8)
    probabilities[[0, 2, 13, 5, 7], 4, 1] = torch.tensor([0.1, 0.2, 0.4, 0.25, 0.05])
    left, right = pixel_answer(np.zeros((60, 80, 3), np.uint8), probabilities, (4, 1), 2).axes
    assert [text.get_text() for text in right.get_yticklabels()] == [
        "car",
        "pole",
        "building ✓",
        "road",
        "traffic sign",
    ]
    assert [bar.get_width() for bar in right.patches] == pytest.approx([0.4, 0.25, 0.2, 0.1, 0.05])
    assert (left.lines[0].get_xdata()[0], left.lines[0].get_ydata()[0]) == (1, 4)
    assert tuple(left.images[0].get_extent()) == (-0.5, 7.5, 5.5, -0.5)


@pytest.mark.slide("12")
def test_the_maps_are_those_that_the_net_joins_and_makes():
    model = UNet(3, 5, base_channels=4, depth=2).eval()
    image = torch.randn(1, 3, 16, 24)
    maps, bottom = feature_maps(model, image)
    assert [(tuple(skip.shape), tuple(made.shape)) for skip, made in maps] == [
        ((4, 16, 24), (4, 16, 24)), ((8, 8, 12), (8, 8, 12)),
    ]  # fmt: skip
    assert bottom.shape == (16, 4, 6)
    with torch.no_grad():
        torch.testing.assert_close(maps[0][0], model.encoder[0](image)[0])
        torch.testing.assert_close(model.head(maps[0][1][None]), model(image))
    assert not any(module._forward_hooks for module in model.modules())


def test_two_by_two_wants_four():
    labels = np.zeros((4, 6), np.uint8)
    fig = two_by_two(dict.fromkeys("abcd", labels))
    assert [ax.get_title() for ax in fig.axes] == list("abcd")
    with pytest.raises(ValueError, match="panels: got 3, expected four"):
        two_by_two(dict.fromkeys("abc", labels))


@pytest.mark.slide("12")
@pytest.mark.parametrize("depth", [1, 3, 4])
def test_the_u_holds_the_models_own_maps_and_can_be_stepped_through(depth):
    model = UNet(3, 5, base_channels=4, depth=depth).eval()
    image = torch.randn(1, 3, 57, 90)
    blocks, arrows = unet_drawing(model, image, np.zeros((114, 180, 3), np.uint8))
    maps, bottom = feature_maps(model, image)
    found = {block.name: block for block in blocks}
    for level, (skip, decoded) in enumerate(maps, start=1):
        assert torch.equal(found[f"encoder {level}"].value, skip)
        assert torch.equal(found[f"decoder {level}"].value, decoded)
    assert torch.equal(found["bottleneck"].value, bottom)
    assert np.array_equal(found["label map"].value, model(image)[0].argmax(0))
    skips = [(arrow.start.name, arrow.end.name) for arrow in arrows if arrow.kind == "skip connection"]
    assert sorted(skips) == [(f"encoder {level}", f"decoder {level}") for level in range(1, depth + 1)]
    assert len(steps_of(blocks)) == 2 * depth + 3
    for highlight in (None, *range(2 * depth + 3)):
        require_legible(draw_network(blocks, arrows, highlight=highlight, about="The U.", gap=0.08))


def test_a_unet_without_skips_is_refused():
    with pytest.raises(ValueError, match="without skip connections"):
        unet_drawing(
            UNet(3, 5, base_channels=2, skips=False), torch.zeros(1, 3, 32, 32), np.zeros((32, 32, 3), np.uint8)
        )


@pytest.mark.slide("12")
def test_a_table_of_iou_leaves_out_what_is_absent():
    rows = {"none": {"road": 0.9, "train": float("nan"), "pole": 0.5}, "all": {"road": 0.4, "train": 0.0, "pole": 0.0}}
    fig = iou_by_class(rows)
    ax = fig.axes[0]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["road", "pole"]
    assert np.allclose(ax.images[0].get_array(), [[0.9, 0.5], [0.4, 0.0]])
    assert [text.get_text() for text in ax.texts] == ["0.90", "0.50", "0.40", "0.00"]
    with pytest.raises(ValueError, match="rows: got none"):
        iou_by_class({})
