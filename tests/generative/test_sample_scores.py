"""Scores of samples against scipy's matrix root, torchmetrics, closed forms and loops."""

import math
import re

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torchmetrics.image.fid import _compute_fid

from lecture_utils.generative import frechet_distance, precision_and_recall

pytestmark = pytest.mark.slide("37")


@pytest.fixture
def dice():
    return torch.Generator().manual_seed(0)


def moments(features):
    features = features.double().numpy()
    return features.mean(0), np.atleast_2d(np.cov(features.T))


@pytest.mark.parametrize(("n", "m", "d"), [(50, 80, 1), (200, 90, 7), (12, 9, 5)])
def test_frechet_distance_is_that_of_scipy_and_torchmetrics(dice, n, m, d):
    first = torch.randn(n, d, generator=dice) @ torch.randn(d, d, generator=dice)
    second = torch.randn(m, d, generator=dice) @ torch.randn(d, d, generator=dice) + 1
    (mean1, cov1), (mean2, cov2) = moments(first), moments(second)
    root = sqrtm(cov1 @ cov2)
    by_scipy = ((mean1 - mean2) ** 2).sum() + np.trace(cov1 + cov2 - 2 * root.real)
    assert frechet_distance(first, second) == pytest.approx(by_scipy, rel=1e-6)
    theirs = _compute_fid(*map(torch.from_numpy, (mean1, cov1, mean2, cov2))).item()
    assert frechet_distance(first, second) == pytest.approx(theirs, rel=1e-6)


def test_the_distance_to_itself_is_0_and_both_ways_it_is_the_same(dice):
    first, second = torch.randn(60, 4, generator=dice), 2 * torch.randn(40, 4, generator=dice)
    assert frechet_distance(first, first) == 0
    assert frechet_distance(first, second) == pytest.approx(frechet_distance(second, first))


def test_the_distance_of_fewer_images_than_numbers(dice):
    """Covariances without full rank, whose product has eigenvalues that rounding makes negative."""
    few, fewer = torch.randn(6, 20, generator=dice), torch.randn(4, 20, generator=dice)
    (mean1, cov1), (mean2, cov2) = moments(few), moments(fewer)
    half = np.linalg.cholesky(cov1 + 1e-12 * np.eye(20))
    shared = np.sqrt(np.linalg.eigvalsh(half.T @ cov2 @ half).clip(0)).sum()
    expected = ((mean1 - mean2) ** 2).sum() + np.trace(cov1 + cov2) - 2 * shared
    assert frechet_distance(few, fewer) == pytest.approx(expected, rel=1e-4)
    assert frechet_distance(few, few) == 0


@pytest.mark.parametrize("kind", ["usual", "few", "flat", "ill-conditioned", "far from 0", "tiny", "all alike"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
def test_equal_moments_are_0_apart(dice, kind, dtype):
    """Also in another order, and mirrored through the mean: other samples with the same mean and covariance."""
    cloud = torch.randn(5 if kind == "few" else 200, 12, generator=dice, dtype=torch.float64)
    if kind == "flat":
        cloud[:, 6:] = cloud[:, :6] @ torch.randn(6, 6, generator=dice, dtype=torch.float64)
    if kind == "ill-conditioned":
        cloud = cloud * torch.logspace(0, -9, 12, dtype=torch.float64)
    if kind == "all alike":
        cloud = cloud[:1].repeat(9, 1)
    cloud = (cloud * (1e-3 if kind == "tiny" else 1) + (3e4 if kind == "far from 0" else 0)).to(dtype)
    mirrored = 2 * cloud.double().mean(0) - cloud.double()
    for other in (cloud, cloud[torch.randperm(len(cloud), generator=dice)], mirrored):
        assert frechet_distance(cloud, other) == 0
        assert frechet_distance(other, cloud) == 0


def test_a_small_distance_keeps_its_digits(dice):
    """Spread a little more along one axis: (σ₁ − σ₂)², which a difference of traces cannot tell from 0."""
    cloud = torch.randn(300, 5, generator=dice, dtype=torch.float64)
    cloud = torch.linalg.qr(cloud - cloud.mean(0)).Q * 299**0.5  # exactly the unit covariance
    stretched = cloud.clone()
    stretched[:, 2] *= 1 + 1e-7
    assert frechet_distance(cloud, stretched) == pytest.approx(1e-14, rel=1e-5)


@pytest.mark.parametrize(("n", "m", "d"), [(3, 2, 9), (40, 4, 12), (500, 8, 30), (7, 300, 30)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_singular_covariances_are_those_of_a_root_by_eigenvalues(dice, n, m, d, dtype):
    first = torch.randn(n, d, generator=dice).to(dtype)
    second = (torch.randn(m, d, generator=dice) @ torch.randn(d, d, generator=dice) + 1).to(dtype)
    (mean1, cov1), (mean2, cov2) = moments(first), moments(second)
    values, vectors = np.linalg.eigh(cov1)
    half = vectors * np.sqrt(values.clip(0)) @ vectors.T
    shared = np.sqrt(np.linalg.eigvalsh(half @ cov2 @ half).clip(0)).sum()
    expected = ((mean1 - mean2) ** 2).sum() + np.trace(cov1 + cov2) - 2 * shared
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_features_that_are_not_finite_are_refused(broken):
    bad = torch.zeros(9, 4)
    bad[2:4, 1] = broken
    for score in (frechet_distance, precision_and_recall):
        for pair in ((bad, torch.zeros(9, 4)), (torch.zeros(9, 4), bad)):
            with pytest.raises(ValueError, match="features: got nan or infinity in 2 of 9, expected finite numbers"):
                score(*pair)


def test_the_distance_between_gaussians_has_a_closed_form(dice):
    """Along one axis it is (μ₁ − μ₂)² + (σ₁ − σ₂)²; a shift alone is its squared length."""
    features = torch.randn(500, 1, generator=dice, dtype=torch.float64)
    features = (features - features.mean()) / features.std()
    assert frechet_distance(features, 3 + 4 * features) == pytest.approx(3**2 + (4 - 1) ** 2)
    cloud = torch.randn(100, 3, generator=dice, dtype=torch.float64)
    assert frechet_distance(cloud, cloud + torch.tensor([1.0, 2.0, -2.0])) == pytest.approx(9)


def test_a_small_shift_far_from_0_is_not_lost(dice):
    first, second = 3e4 + torch.randn(999, 3, generator=dice), 3e4 + torch.randn(500, 3, generator=dice)
    moved = ((first.double().mean(0) - second.double().mean(0)) ** 2).sum()
    centred = (cloud.double() - cloud.double().mean(0) for cloud in (first, second))
    assert frechet_distance(first, second) == pytest.approx(frechet_distance(*centred) + moved.item(), rel=1e-6)


def manifold_share(asked, cloud, neighbours):
    """Equations 1 to 3 in loops."""
    inside = 0
    for point in asked.tolist():
        for centre in cloud.tolist():
            radius = sorted(math.dist(centre, other) for other in cloud.tolist())[neighbours]
            if math.dist(point, centre) <= radius:
                inside += 1
                break
    return inside / len(asked)


@pytest.mark.parametrize(("n", "m", "d", "neighbours"), [(12, 9, 2, 3), (8, 15, 3, 1), (6, 5, 1, 4)])
def test_precision_and_recall_are_those_of_loops(dice, n, m, d, neighbours):
    real = torch.randn(n, d, generator=dice, dtype=torch.float64)
    drawn = 0.5 + torch.randn(m, d, generator=dice, dtype=torch.float64)
    precision, recall = precision_and_recall(real, drawn, neighbours=neighbours)
    assert precision == pytest.approx(manifold_share(drawn, real, neighbours))
    assert recall == pytest.approx(manifold_share(real, drawn, neighbours))
    assert {precision, recall} != {0.0, 1.0}


def test_neighbours_far_from_0_are_told_apart(dice):
    real, drawn = 2000 + torch.randn(60, 3, generator=dice), 2000.5 + torch.randn(70, 3, generator=dice)
    expected = manifold_share(drawn, real, 2), manifold_share(real, drawn, 2)
    assert precision_and_recall(real, drawn, neighbours=2) == pytest.approx(expected)


def test_three_neighbours_count_where_nothing_is_said(dice):
    real, drawn = torch.randn(30, 2, generator=dice), 1 + torch.randn(30, 2, generator=dice)
    assert precision_and_recall(real, drawn) == precision_and_recall(real, drawn, neighbours=3)
    assert precision_and_recall(real, drawn) != precision_and_recall(real, drawn, neighbours=1)


def test_one_drawing_again_and_again_is_precise_and_covers_nothing(dice):
    real = torch.randn(40, 3, generator=dice)
    precision, recall = precision_and_recall(real, real[:1].expand(20, 3))
    assert precision == 1
    assert recall == pytest.approx(1 / 40)  # it covers itself


def test_everything_and_noise_besides_covers_all_and_is_half_precise(dice):
    real = torch.randn(40, 3, generator=dice)
    assert precision_and_recall(real, torch.cat([real, real + 1000])) == (0.5, 1.0)


@pytest.mark.parametrize("shape", [(1, 4), (0, 4), (5,), (5, 2, 2)])
def test_features_that_are_no_cloud_are_refused(shape):
    message = re.escape(f"features: got shape {shape}, expected (images, numbers), two images or more")
    for score in (frechet_distance, precision_and_recall):
        with pytest.raises(ValueError, match=message):
            score(torch.zeros(shape), torch.zeros(9, 4))
        with pytest.raises(ValueError, match=message):
            score(torch.zeros(9, 4), torch.zeros(shape))


def test_features_of_two_kinds_are_refused():
    for score in (frechet_distance, precision_and_recall):
        with pytest.raises(ValueError, match=r"features: got 4 and 5 numbers an image, expected as many"):
            score(torch.zeros(9, 4), torch.zeros(9, 5))


@pytest.mark.parametrize("neighbours", [0, 5, -1])
def test_neighbours_that_there_are_not_are_refused(neighbours):
    with pytest.raises(ValueError, match=f"neighbours: got {neighbours}, expected 1 to 4, fewer than there are images"):
        precision_and_recall(torch.zeros(5, 2), torch.zeros(9, 2), neighbours=neighbours)
