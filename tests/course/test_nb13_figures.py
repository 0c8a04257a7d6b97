import re

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from lecture_course.nb13_whats_next import figures as nb13
from lecture_course.nb13_whats_next import toy


def drawn(fig):
    """The image that a figure of rows holds, (H, W, 3), and where the names stand in it."""
    (ax,) = fig.axes
    (image,) = ax.get_images()
    return np.asarray(image.get_array()), ax


def test_rows_hold_their_images_in_order_with_white_between():
    plain = torch.tensor([[200, 30, 40], [10, 180, 60], [0, 90, 250]], dtype=torch.uint8)[..., None, None].expand(
        -1, -1, 4, 6
    )
    fig = nb13.in_rows({"above": plain, "below": plain.flip(0)}, above=["a", "b", "c"], title="Two rows")
    sheet, ax = drawn(fig)
    times = nb13.ENLARGED
    h, w, gap = 4 * times, 6 * times, 6 * times // 16
    assert sheet.shape == (2 * h + gap, 3 * w + 2 * gap, 3)
    for row, some in enumerate((plain, plain.flip(0))):
        for column, one in enumerate(some):
            cell = sheet[(h + gap) * row :, (w + gap) * column :][:h, :w]
            assert (cell == one[:, 0, 0].numpy()).all()  # no colour changes
    assert (sheet[h : h + gap] == 255).all()
    assert (sheet[:, w : w + gap] == 255).all()
    assert [label.get_text() for label in ax.get_yticklabels()] == ["above", "below"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["a", "b", "c"]
    assert fig.get_suptitle() == "Two rows"
    plt.close(fig)


@pytest.mark.parametrize(
    ("rows", "above", "problem"),
    [
        ({}, (), "rows: got {} images"),
        ({"a": torch.zeros(0, 3, 4, 4, dtype=torch.uint8)}, (), "rows: got {'a': 0}"),
        ({"a": torch.zeros(2, 3, 4, 4), "b": torch.zeros(1, 3, 4, 4)}, (), "as many in each row"),
        ({"a": torch.zeros(2, 3, 4, 4, dtype=torch.uint8)}, ["x"], "above: got 1 words, expected 2"),
    ],
)
def test_bad_rows_are_refused(rows, above, problem):
    with pytest.raises(ValueError, match=re.escape(problem)):
        nb13.in_rows(rows, above=above)


POINTS = np.array([[0.0, 0.0], [1.0, 0.5], [4.0, 4.0], [5.0, 7.0], [4.5, 5.0]])
CLUSTERS = np.array([0, 0, 1, 1, 1])


def test_clouds_show_each_cluster_in_its_colour_and_its_ellipse():
    covariance = np.array([[4.0, 0.0], [0.0, 0.25]])
    turned = np.array([[1.0, 0.9], [0.9, 1.0]])
    shapes = [((0.5, 0.25), covariance), ((4.5, 5.0), turned)]
    fig = nb13.clouds(
        {"one": (POINTS, CLUSTERS, shapes), "two": (POINTS, 1 - CLUSTERS, ())}, xlabel="x", ylabel="y", names=("a", "b")
    )
    left, right = fig.axes
    by_size = {len(dots.get_offsets()): dots.get_facecolor()[0] for dots in left.collections if len(dots.get_offsets())}
    swapped = {
        len(dots.get_offsets()): dots.get_facecolor()[0] for dots in right.collections if len(dots.get_offsets())
    }
    assert set(by_size) == {2, 3}
    np.testing.assert_array_equal(by_size[2], swapped[3])
    first, second = left.patches
    assert sorted((first.width, first.height)) == pytest.approx([2, 8])  # twice two deviations of 0.5 and of 2
    assert {round(first.angle) % 180, round(second.angle) % 180} == {0, 45}
    assert not right.patches
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["a", "b"]
    plt.close(fig)


def test_ellipses_hold_the_points_of_a_normal_distribution():
    """Two deviations hold 1 − exp(−2) of them, in whichever direction the cloud is long."""
    covariance = np.array([[2.0, -1.2], [-1.2, 1.0]])
    points = np.random.default_rng(0).multivariate_normal((3, -1), covariance, size=4000)
    fig = nb13.clouds({"": (points, np.zeros(4000, int), [((3, -1), covariance)])}, xlabel="x", ylabel="y")
    (ellipse,) = fig.axes[0].patches
    corners = ellipse.get_window_extent().corners()
    assert fig.axes[0].bbox.contains(*corners[0])  # the whole ellipse lies inside the axes
    assert fig.axes[0].bbox.contains(*corners[-1])
    inside = ellipse.get_path().contains_points(ellipse.get_patch_transform().inverted().transform(points))
    assert inside.mean() == pytest.approx(1 - np.exp(-2), abs=0.02)
    plt.close(fig)


def test_a_cluster_without_extent_is_a_cross_alone():
    crosses = [(point, np.zeros((2, 2))) for point in POINTS[:2]]
    fig = nb13.clouds({"": (POINTS, CLUSTERS, crosses)}, xlabel="x", ylabel="y")
    assert not fig.axes[0].patches
    assert [tuple(line.get_xydata()[0]) for line in fig.axes[0].get_lines()] == [tuple(point) for point in POINTS[:2]]
    plt.close(fig)


def test_points_without_a_cluster_are_refused():
    with pytest.raises(ValueError, match=r"panels\['two'\]: got points \(5, 2\), expected \(4, 2\)"):
        nb13.clouds({"two": (POINTS, CLUSTERS[:4], ())}, xlabel="x", ylabel="y")


def test_a_gan_in_the_plane_is_drawn_with_its_field_and_both_kinds_of_points():
    shot = toy.Snapshot(5, toy.paints(2, 400, seed=1), torch.linspace(0, 1, 48 * 48).view(48, 48))
    fig = nb13.fields({"plain": shot, "other": shot}, title="Step 5")
    left = fig.axes[0]
    (field,) = left.get_images()
    np.testing.assert_allclose(field.get_array(), shot.field)
    assert field.origin == "lower"
    assert "8 of 8" in left.get_title()
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["true", "generated"]
    plt.close(fig)


def test_particles_carry_the_path_behind_them():
    torch.manual_seed(0)
    net = toy.Denoiser(seeds=2)
    path = net.path(torch.randn(2, 7, 2), stops=5)
    fig = nb13.denoising(net, path, 5, tail=2)
    ax = fig.axes[0]
    assert len(ax.get_lines()) == 7
    assert all(len(line.get_xdata()) == 3 for line in ax.get_lines())
    ends = torch.cdist(path[-1][1][0], toy.middles()).argmin(1)
    assert [line.get_color() for line in ax.get_lines()] == [nb13._hue(int(end)) for end in ends]
    assert "no noise" in ax.get_title()
    plt.close(fig)
