"""Anchors beside torchvision's AnchorGenerator, on maps with H ≠ W and strides that do not divide."""

import random
import re

import pytest
import torch
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList

from lecture_utils.detection.anchors import base_anchors, grid_anchors

SIZES, RATIOS = (128, 256, 512), (0.5, 1, 2)


def torchvision_anchors(sizes, ratios, image_size, map_size):
    generator = AnchorGenerator((tuple(sizes),), (tuple(ratios),))
    images = ImageList(torch.zeros(1, 3, *image_size), [tuple(image_size)])
    (anchors,) = generator(images, [torch.zeros(1, 1, *map_size)])
    return anchors


def equal(ours, expected):
    torch.testing.assert_close(ours, expected, rtol=0, atol=0)


@pytest.mark.slide("21")
def test_the_nine_anchors_of_the_paper():
    assert base_anchors(SIZES, RATIOS).tolist() == [
        [-91, -45, 91, 45], [-181, -91, 181, 91], [-362, -181, 362, 181],
        [-64, -64, 64, 64], [-128, -128, 128, 128], [-256, -256, 256, 256],
        [-45, -91, 45, 91], [-91, -181, 91, 181], [-181, -362, 181, 362],
    ]  # fmt: skip


@pytest.mark.slide("21")
@pytest.mark.parametrize("seed", range(200))
def test_anchors_are_torchvisions(seed):
    dice = random.Random(seed)
    sizes = [dice.uniform(2, 300) for _ in range(dice.randint(1, 4))]
    ratios = [dice.uniform(0.2, 5) for _ in range(dice.randint(1, 4))]
    height, width = dice.randint(1, 20), dice.randint(1, 20)
    # An image that is no multiple of its map: torchvision's stride is the quotient, rounded down.
    image = height * dice.randint(1, 20) + dice.randrange(height), width * dice.randint(1, 20) + dice.randrange(width)
    stride = image[0] // height, image[1] // width
    ours = grid_anchors(base_anchors(sizes, ratios), (height, width), stride)
    equal(ours, torchvision_anchors(sizes, ratios, image, (height, width)))


@pytest.mark.slide("21")
def test_an_image_that_the_map_does_not_divide():
    image, points = (600, 1000), (38, 63)
    anchors = grid_anchors(base_anchors(SIZES, RATIOS), points, (600 // 38, 1000 // 63))
    assert (600 // 38, 1000 // 63) == (15, 15)
    equal(anchors, torchvision_anchors(SIZES, RATIOS, image, points))


@pytest.mark.slide("21")
def test_the_slides_map_and_the_papers_number():
    base = base_anchors(SIZES, RATIOS)
    assert len(grid_anchors(base, (15, 20), 32)) == 9 * 20 * 15  # a 640 × 480 image and its 20 × 15 map
    assert len(grid_anchors(base, (800 // 16, 800 // 16), 16)) == 22_500


@pytest.mark.slide("21")
def test_anchors_stand_row_by_row_with_those_of_a_point_together():
    base = base_anchors((8,), (0.5, 2))
    anchors = grid_anchors(base, (2, 3), (10, 100)).reshape(2, 3, 2, 4)
    for row in range(2):
        for column in range(3):
            shift = torch.tensor([100.0 * column, 10 * row] * 2)
            equal(anchors[row, column], base + shift)


@pytest.mark.slide("22")
def test_the_area_stays_and_the_ratio_is_height_to_width():
    anchors = base_anchors((100, 200), (0.25, 1, 4)).reshape(3, 2, 4)
    w, h = (anchors[..., 2:] - anchors[..., :2]).unbind(-1)
    torch.testing.assert_close(h / w, torch.tensor([0.25, 1, 4])[:, None].expand(3, 2))
    torch.testing.assert_close((w * h).sqrt(), torch.tensor([100.0, 200]).expand(3, 2))


def test_a_map_without_points_has_no_anchors():
    assert grid_anchors(base_anchors((8,), (1,)), (0, 5), 4).shape == (0, 4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: base_anchors((), (1,)), "sizes: got [], expected a list of at least one number, all above 0"),
        (lambda: base_anchors(8, (1,)), "sizes: got 8.0, expected a list"),
        (lambda: base_anchors((8,), (1, 0)), "ratios: got [1.0, 0.0]"),
        (lambda: base_anchors((8,), 1), "ratios: got 1.0"),
        (lambda: grid_anchors(torch.zeros(1, 4), (2, 3), 0), "map_size, stride: got (2, 3), 0"),
        (lambda: grid_anchors(torch.zeros(1, 4), (-1, 3), 4), "map_size, stride: got (-1, 3), 4"),
    ],
)
def test_bad_input_is_refused_in_words(call, message):
    with pytest.raises((ValueError, TypeError), match=f"^{re.escape(message)}|jaxtyping|parameter"):
        call()
