"""The VAE's loss against torch.distributions, and the way its gradient takes past the dice."""

import math

import pytest
import torch
from torch import distributions, nn
from torch.distributions import Normal

from lecture_utils.generative import VAE, kl_divergence, negative_elbo

pytestmark = pytest.mark.slide("37")


@pytest.fixture
def dice():
    return torch.Generator().manual_seed(0)


class Told(nn.Module):
    """An encoder that says the same mean and log-variance of every image."""

    def __init__(self, mean, log_variance):
        super().__init__()
        self.code = nn.Parameter(torch.tensor([*mean, *log_variance]))

    def forward(self, image):
        return self.code.expand(len(image), -1)


def told(mean, log_variance):
    """A VAE with this encoder, whose decoder gives back the code."""
    model = VAE(latent=len(mean), size=8)
    model.encoder, model.decoder = Told(mean, log_variance), nn.Identity()
    return model


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (7, 32)])
def test_divergence_is_that_of_torch(dice, shape):
    mean, log_variance = torch.randn(2, *shape, generator=dice, dtype=torch.float64)
    theirs = distributions.kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(kl_divergence(mean, log_variance), theirs)


def test_divergence_is_0_for_the_normal_distribution_alone(dice):
    assert not kl_divergence(torch.zeros(2, 4), torch.zeros(2, 4)).any()
    assert (kl_divergence(*torch.randn(2, 50, 3, generator=dice)) > 0).all()


@pytest.mark.parametrize("noise", [0.3, 1.0, 2.5])
def test_the_negative_elbo_is_that_of_its_densities(dice, noise):
    """Up to a constant, the normalisation of p(x | z)."""
    image, drawn = torch.randn(2, 4, 3, 5, 7, generator=dice, dtype=torch.float64)
    mean, log_variance = torch.randn(2, 4, 6, generator=dice, dtype=torch.float64)
    likelihood = Normal(drawn, noise).log_prob(image).flatten(1).sum(1)
    price = distributions.kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(0.0, 1.0)).sum(1)
    constant = 3 * 5 * 7 * math.log(noise * math.sqrt(2 * math.pi))
    expected = (price - likelihood).mean() - constant
    torch.testing.assert_close(negative_elbo(image, drawn, mean, log_variance, noise=noise), expected)


def test_the_negative_elbo_by_hand():
    image, drawn = torch.zeros(1, 1, 1, 2), torch.tensor([[[[1.0, 2.0]]]])
    mean, log_variance = torch.tensor([[3.0]]), torch.tensor([[0.0]])
    assert negative_elbo(image, drawn, mean, log_variance).item() == 5 / 2 + 9 / 2
    assert negative_elbo(image, drawn, mean, log_variance, noise=0.5).item() == 5 / 0.5 + 9 / 2


@pytest.mark.parametrize("noise", [0, -1.0])
def test_pixels_without_noise_are_refused(noise):
    with pytest.raises(ValueError, match=f"noise: got {noise}, expected a standard deviation above 0"):
        negative_elbo(*torch.zeros(2, 1, 1, 2, 2), *torch.zeros(2, 1, 3), noise=noise)


def test_codes_have_the_mean_and_the_variance_that_the_encoder_says():
    model = told([1.0, -2.0, 0.0], [0.0, math.log(4.0), math.log(0.25)])
    torch.manual_seed(0)
    code, mean, log_variance = model(torch.zeros(20_000, 3, 8, 8))
    assert mean[0].tolist() == [1.0, -2.0, 0.0]
    assert log_variance[0].exp().tolist() == pytest.approx([1.0, 4.0, 0.25])
    torch.testing.assert_close(code.mean(0), mean[0], atol=0.05, rtol=0)
    torch.testing.assert_close(code.std(0), torch.tensor([1.0, 2.0, 0.5]), rtol=0.02, atol=0)


def test_the_gradient_passes_through_the_dice():
    """z = μ + σ ε: ∂z/∂μ is 1, and ∂z/∂log σ² is σ ε / 2."""
    model = told([0.5, -0.5], [0.4, -1.0])
    torch.manual_seed(3)
    code, mean, log_variance = model(torch.zeros(1, 3, 8, 8))
    by_mean, by_variance = torch.autograd.grad(code.sum(), (mean, log_variance))
    torch.manual_seed(3)
    dirt = torch.randn(1, 2)
    torch.testing.assert_close(by_mean, torch.ones(1, 2))
    torch.testing.assert_close(by_variance, 0.5 * (0.5 * log_variance).exp() * dirt)
    torch.testing.assert_close(code, mean + (0.5 * log_variance).exp() * dirt)


@pytest.mark.parametrize(("size", "channels"), [(8, 1), (24, 3)])
def test_shapes(size, channels):
    model = VAE(latent=5, size=size, channels=channels)
    drawn, mean, log_variance = model(torch.randn(2, channels, size, size))
    assert drawn.shape == (2, channels, size, size)
    assert mean.shape == log_variance.shape == (2, 5)
    assert not torch.equal(mean, log_variance)


def test_samples_are_decoded_normal_codes():
    model = told([0.0] * 4, [0.0] * 4)
    codes = model.sample(20_000, generator=torch.Generator().manual_seed(0))
    assert not codes.requires_grad
    assert codes.mean(0).abs().max() < 0.05
    torch.testing.assert_close(codes.T.cov(), torch.eye(4), atol=0.05, rtol=0)


def test_samples_are_those_of_their_generator():
    model = VAE(latent=4, size=8).eval()
    one, same, other = (model.sample(3, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert one.shape == (3, 3, 8, 8)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
