"""Switches of notebook 02 that are moved: they stay in their window, and labels are scored without ignored pixels."""

import pytest
import torch

from lecture_course.nb02_unpooling.switches import at_random, only, score_labels, ties, to_pixel
from lecture_utils import city_models
from lecture_utils.segmentation.unpooling import bed_of_nails, max_pool, max_unpool


@pytest.mark.slide("09")
def test_all_switches_to_the_upper_left_are_the_bed_of_nails():
    pooled, indices = max_pool(torch.randn(2, 3, 6, 8), 2)
    moved = to_pixel(0, 0)(indices, 8)
    torch.testing.assert_close(max_unpool(pooled, moved, (6, 8)), bed_of_nails(pooled, 2))


@pytest.mark.parametrize("pixel", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_each_switch_moves_to_the_same_pixel_of_its_window(pixel):
    _, indices = max_pool(torch.randn(2, 3, 6, 8), 2)
    moved = to_pixel(*pixel)(indices, 8)
    assert (moved // 8 % 2 == pixel[0]).all()
    assert (moved % 8 % 2 == pixel[1]).all()
    torch.testing.assert_close(moved // 16, indices // 16)
    torch.testing.assert_close(moved % 8 // 2, indices % 8 // 2)


def test_random_switches_stay_in_their_windows_and_follow_the_seed():
    _, indices = max_pool(torch.randn(4, 8, 16, 16), 2)
    moved = at_random(0)(indices, 16)
    torch.testing.assert_close(to_pixel(0, 0)(moved, 16), to_pixel(0, 0)(indices, 16))
    shares = torch.bincount((2 * (moved // 16 % 2) + moved % 2).flatten(), minlength=4) / moved.numel()
    torch.testing.assert_close(shares, torch.full((4,), 0.25), atol=0.05, rtol=0)
    assert torch.equal(moved, at_random(0)(indices, 16))
    assert not torch.equal(moved, at_random(1)(indices, 16))


@pytest.mark.parametrize("zeros", [True, False])
def test_only_some_windows_are_changed(zeros):
    maps = torch.randn(2, 3, 6, 8).relu() * (torch.rand(2, 3, 6, 8) < 0.3)
    pooled, indices = max_pool(maps, 2)
    moved = only(to_pixel(1, 1), zeros=zeros)(indices, 8, pooled)
    chosen = (pooled == 0) == zeros
    assert 0 < chosen.sum() < chosen.numel()
    assert torch.equal(moved[~chosen], indices[~chosen])
    assert torch.equal(moved[chosen], to_pixel(1, 1)(indices, 8)[chosen])


def test_windows_of_zeros_point_to_their_upper_left():
    maps = torch.zeros(1, 1, 4, 4)
    maps[0, 0, 0, 1], maps[0, 0, 2, 2] = 3, 1  # an upper right and an upper left; the other two windows hold zeros
    assert ties(*max_pool(maps, 2), 4) == (0.5, 0.75)


def test_a_pixel_outside_the_window_is_refused():
    with pytest.raises(ValueError, match="column: got 2, expected 0 or 1"):
        to_pixel(0, 2)


def test_labels_are_scored_without_ignored_pixels():
    truth = torch.tensor([[[0, 0, 13, 255]]])
    scores = score_labels({"right": torch.tensor([[[0, 0, 13, 5]]]), "road": torch.zeros_like(truth)}, truth)
    assert scores["right"]["accuracy"] == scores["right"]["miou"] == 1
    assert scores["road"]["accuracy"] == pytest.approx(2 / 3)
    assert scores["road"]["iou"]["car"] == 0
    with pytest.raises(ValueError, match=r"predicted: got .* expected the shape of truth"):
        score_labels({"short": truth[:, :, :2]}, truth)


@pytest.mark.parametrize("build", [city_models.BUILDERS, city_models.FULL_BUILDERS])
def test_the_deconvnet_of_the_course_keeps_3_x_3_positions(build):
    """The notebook's prose says so: its fc6, fc7 and fc6_mirrored have kernels of 1 × 1."""
    net = build["deconvnet"]()
    assert all(layer[0].kernel_size == (1, 1) for layer in (net.fc6, net.fc7, net.fc6_mirrored))
