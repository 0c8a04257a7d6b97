"""The toys, components, clusters and the pad of notebook 13."""

import json
import math
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.cluster import KMeans

from lecture_course.nb13_whats_next import clustering, components, latent_pad, settling, toy
from lecture_utils.generative import VAE


@pytest.fixture
def dice():
    return torch.Generator().manual_seed(0)


def losses(players, real):
    fake = players.generate(real.shape[1])
    discriminator = F.softplus(-players.score(real)) + F.softplus(players.score(fake.detach()))
    return discriminator.mean((1, 2)).sum(), F.softplus(-players.score(fake)).mean((1, 2)).sum()


def denoising_loss(net, clean):
    step, noise = torch.randint(toy.STEPS, clean.shape[:2]), torch.randn_like(clean)
    signal, sigma = net.scales(step)
    target = noise if net.target == "noise" else signal * noise - sigma * clean
    return (net(signal * clean + sigma * noise, step) - target).square().mean((1, 2)).sum()


@pytest.mark.slide("37")
def test_true_samples_cover_all_paints_and_a_single_paint_one():
    assert toy.covered(toy.paints(3, 2000, seed=0)).tolist() == [8, 8, 8]
    assert toy.covered(toy.middles()[2] + torch.zeros(1, 100, 2)).tolist() == [1]
    assert toy.covered(torch.zeros(1, 100, 2)).tolist() == [0]


@pytest.mark.slide("37")
def test_an_even_ring_covers_all_paints_but_half_of_it_lies_between_them():
    ring, true = toy.ring(2000), toy.paints(3, 2000, seed=0)
    assert toy.covered(ring).tolist() == [8]
    # Chords of 3 deviations to both sides of each middle.
    arc = 8 * 4 * math.asin(3 * toy.DEVIATION / (2 * toy.RADIUS)) / (2 * math.pi)
    assert toy.on_paints(ring).item() == pytest.approx(arc, abs=0.01)
    assert (toy.on_paints(true) - (1 - math.exp(-4.5))).abs().max() < 0.01
    assert toy.on_paints(torch.zeros(1, 5, 2)).item() == 0
    *_, near, last = toy.report({"none": torch.zeros(2, 5, 2)}).splitlines()
    assert toy.report({"none": torch.zeros(2, 5, 2)}).splitlines()[1].split() == ["none", "0", "0", "0.00", "0.00"]
    assert near.split()[-2:] == ["8", "0.54"]
    assert last.split()[-1] == "0.99"


@pytest.mark.slide("37")
def test_each_seed_has_a_network_of_its_own(dice):
    net, x = toy.Networks(2, 3, seeds=4), torch.randn(4, 5, 2, generator=dice)
    for k in range(4):
        y = x[k]
        for layer, (weight, bias) in enumerate(zip(net.weights, net.biases, strict=True)):
            y = (F.leaky_relu(y, 0.2) if layer else y) @ weight[k] + bias[k]
        torch.testing.assert_close(net(x)[k], y)


@pytest.mark.slide("37")
def test_a_gan_is_trained_as_often_as_asked_and_repeated_exactly():
    first, again = (toy.train_gan(losses, steps=6, every=2, seeds=2, statistics=True, penalty=1.0) for _ in range(2))
    assert [shot.step for shot in first] == [0, 2, 4, 6]
    assert torch.equal(first[-1].samples, again[-1].samples)
    assert not torch.equal(first[0].samples, first[-1].samples)
    assert first[-1].field.shape == (toy.CELLS, toy.CELLS)


@pytest.mark.slide("37")
@pytest.mark.parametrize("target", ["velocity", "noise"])
def test_both_targets_lead_to_the_same_clean_point(dice, target):
    """A network that predicts its target exactly gives back point and noise."""
    net = toy.Denoiser(target, seeds=1)
    clean, noise = torch.randn(2, 1, 6, 2, generator=dice)
    step = torch.tensor([[0, 10, 30, 50, 70, 90]])
    signal, sigma = net.scales(step)
    net.forward = lambda noisy, step: noise if target == "noise" else signal * noise - sigma * clean
    found = net.parts(signal * clean + sigma * noise, step)
    torch.testing.assert_close(found, (clean, noise), atol=1e-4, rtol=1e-4)


@pytest.mark.slide("37")
def test_a_denoiser_learns_and_its_path_ends_in_samples():
    net = toy.train_diffusion(denoising_loss, steps=1000, seeds=2)
    path = net.path(torch.randn(2, 500, 2, generator=torch.Generator().manual_seed(1)), stops=30)
    assert [step for step, _ in path][-1] == -1
    assert len(path) == 31
    before, after = ((x.norm(dim=2) - toy.RADIUS).abs().mean() for x in (path[0][1], path[-1][1]))  # from the circle
    assert after < 0.5 * before
    errors = toy.clean_errors(net, count=500)
    assert errors.shape == (2, toy.STEPS)
    assert (errors[:, 5] < errors[:, 95]).all()


@pytest.mark.slide("38")
def test_the_shipped_components_explain_more_of_new_images_than_those_of_a_few(dice):
    stored = components.load()
    assert stored.directions.shape == (components.COMPONENTS, 3072)
    torch.testing.assert_close(stored.directions @ stored.directions.T, torch.eye(32), atol=1e-5, rtol=0)
    assert (stored.deviations.diff() < 0).all()
    assert 0.7 < (stored.deviations.square().sum() / stored.total).item() < 0.8


@pytest.mark.slide("38")
def test_a_reconstruction_is_a_projection(dice):
    images = torch.randn(50, 3, 4, 4, generator=dice)
    fitted = components.fit(images)
    once = fitted.reconstruct(images, 5)
    torch.testing.assert_close(fitted.reconstruct(once, 5), once, atol=1e-4, rtol=1e-4)
    assert (fitted.reconstruct(images, 20) - images).norm() < (once - images).norm()


@pytest.mark.slide("36")
def test_agreement_finds_clusters_that_are_there_and_none_by_chance(dice):
    truth = np.repeat(["a", "b", "c"], 40)
    far = torch.randn(120, 20, generator=dice) + 8 * torch.repeat_interleave(torch.eye(3, 20), 40, 0)
    assert min(clustering.agreement(far, truth)) > 0.95
    assert clustering.probe(far, truth) > 0.95
    assert abs(clustering.by_chance(truth)) < 0.05
    row = clustering.table({"far": far}, truth, truth)["far"]
    assert row[:2] == row[2:4]


def test_clusters_are_painted_in_their_mean_colour():
    photo = np.arange(24, dtype=float).reshape(2, 4, 3)
    painted = clustering.painted(photo, np.array([0, 0, 2, 2, 0, 0, 2, 2]))
    np.testing.assert_allclose(painted[0, 0], photo.reshape(-1, 3)[[0, 1, 4, 5]].mean(0))
    np.testing.assert_allclose(painted[1, 3], photo.reshape(-1, 3)[[2, 3, 6, 7]].mean(0))


def test_clusters_of_nearly_one_colour_are_kept_apart_by_a_white_line():
    photo = np.full((2, 4, 3), 0.5)
    photo[:, 2:] += 0.02
    painted = clustering.painted(photo, np.array([0, 0, 1, 1, 0, 0, 1, 1]))
    np.testing.assert_allclose(painted[:, 1], 1)
    np.testing.assert_allclose(painted[:, [0, 2, 3]], photo[:, [0, 2, 3]])


@pytest.mark.slide("37")
def test_a_path_that_does_not_move_is_settled_at_once(dice):
    last, other = torch.randn(2, 6, 3, 32, 32, generator=dice)
    found = settling.settled([(other, other), (other, last), (last, last)], (0, 1))
    assert found[1] == pytest.approx({"light": 1, "kind": 1, "colour": 1, "edges": 1}, abs=1e-5)
    assert abs(found[0]["edges"]) < 0.1


@pytest.fixture
def pad():
    torch.manual_seed(0)
    vae = VAE(latent=2, size=16, widths=(4, 4)).eval()
    decoded, lines = latent_pad.decode_grid(vae.decoder, columns=5, rows=3)
    images = ((decoded.clamp(-1, 1) + 1) * 127).to(torch.uint8)
    return latent_pad.LatentPad(images, lines, {"car": torch.zeros(2, 2), "person": torch.tensor([[2.0, 2.0]])})


@pytest.mark.slide("37")
def test_the_pad_starts_at_the_code_of_zeros_and_names_the_nearest_crop(pad):
    assert pad.start == (1, 2)
    assert "z = (0.00, 0.00), nearest crop: car" in repr(pad)
    kinds = pad.nearest_kinds()
    assert len(kinds) == 15
    assert kinds[4] == "person"  # above, on the right
    assert kinds[14] == "car"


@pytest.mark.slide("37")
def test_the_pads_page_holds_all_codes_and_needs_nothing_else(pad):
    page = pad._repr_mimebundle_()["text/html"]
    data = json.loads(re.search(r"const data = (\{.*?\}), svg", page)[1])
    assert data["grid"] == [3, 5]
    assert data["across"] == pytest.approx([-2.2, -1.1, 0, 1.1, 2.2])
    assert data["down"] == pytest.approx([2.2, 0, -2.2])
    assert "http" not in page.replace("http://www.w3.org", "")
    assert page.count("<circle") == 3


def test_a_pad_refuses_lines_that_do_not_fit(pad):
    with pytest.raises(ValueError, match=r"lines: got \(3, 5\) for \(3, 5\)"):
        latent_pad.LatentPad(torch.zeros(3, 5, 3, 8, 8, dtype=torch.uint8), pad.lines[::-1], pad.codes)


def test_over_streets_tells_what_each_street_gives():
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(3, 3, 6, 8, generator=generator)
    labels = torch.randint(0, 3, (3, 6, 8), dtype=torch.uint8, generator=generator)
    streets = list(zip(images, labels, strict=True))
    found = clustering.over_streets(streets, (0, 2), 3)
    assert list(found) == ["k-means", "Gaussian mixture"]
    each = []
    for image, truth in (streets[0], streets[2]):
        _, known, pixels = clustering.pixels_of(image, truth)
        each.append(clustering.with_labels(known, KMeans(3, n_init=1, random_state=0).fit_predict(pixels)))
    assert found["k-means"] == pytest.approx(each)
