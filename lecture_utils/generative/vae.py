"""Variational auto-encoder: codes that fill a normal distribution, so that new ones can be drawn from it (slide 37).

Kingma and Welling, "Auto-encoding variational Bayes", ICLR 2014. Equation numbers are those of the paper.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lecture_utils.generative.autoencoder import WIDTHS, decoder, encoder, require_image


class VAE(nn.Module):
    """Image → mean and log-variance of its code → a code drawn from there → image."""

    def __init__(self, *, latent: int, size: int, channels: int = 3, widths: Sequence[int] = WIDTHS):
        super().__init__()
        self.latent, self.channels, self.size = latent, channels, size
        self.encoder = encoder(2 * latent, size=size, channels=channels, widths=widths)
        self.decoder = decoder(latent, size=size, channels=channels, widths=widths)

    def encode(self, image: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b d"], Float[Tensor, "b d"]]:
        """Mean μ and log-variance log σ² of q(z | x): each number of the code has a normal distribution of its own."""
        require_image(image, self.channels, self.size)
        mean, log_variance = self.encoder(image).float().chunk(2, dim=1)
        return mean, log_variance

    def forward(
        self, image: Float[Tensor, "b c h w"]
    ) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, "b d"], Float[Tensor, "b d"]]:
        """An image drawn again, and the mean and log-variance of its code."""
        mean, log_variance = self.encode(image)
        # z = μ + σ ε: the sampling is outside of the network, and the gradient passes (section 2.4).
        code = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
        return self.decoder(code), mean, log_variance

    @torch.no_grad()
    def sample(self, count: int, *, generator: torch.Generator | None = None) -> Float[Tensor, "b c h w"]:
        """New images: codes from the normal distribution that all codes were pulled towards, decoded."""
        code = torch.randn(count, self.latent, generator=generator)
        return self.decoder(code.to(next(self.parameters()).device))


def negative_elbo(
    image: Float[Tensor, "b c h w"],
    drawn: Float[Tensor, "b c h w"],
    mean: Float[Tensor, "b d"],
    log_variance: Float[Tensor, "b d"],
    *,
    noise: float = 1.0,
) -> Float[Tensor, ""]:
    """What the VAE minimises (equation 10), an average over images: squared error / (2 `noise`²) + divergence.

    `noise` is the standard deviation that p(x | z) has at every pixel; the smaller, the more a code must tell.
    """
    if noise <= 0:
        raise ValueError(f"noise: got {noise}, expected a standard deviation above 0")
    error = (drawn.float() - image).square().flatten(1).sum(1)
    return (error / (2 * noise**2) + kl_divergence(mean, log_variance)).mean()


def kl_divergence(mean: Float[Tensor, "b d"], log_variance: Float[Tensor, "b d"]) -> Float[Tensor, " b"]:
    """Kullback–Leibler divergence of N(mean, exp(log_variance)) from N(0, 1), in nats (appendix B)."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)
