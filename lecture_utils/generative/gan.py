"""Generative adversarial network: one net generates images, another tells them from real ones (slide 37).

Goodfellow et al., "Generative adversarial nets", NeurIPS 2014; the gradient penalty is R1 of Mescheder, Geiger and
Nowozin, "Which training methods for GANs do actually converge?", ICML 2018.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from lecture_utils.generative.autoencoder import WIDTHS, decoder, encoder, require_image


class GAN(nn.Module):
    """A generator, code → image, and a discriminator, image → one score, positive for "a photograph"."""

    def __init__(
        self,
        *,
        latent: int,
        size: int,
        channels: int = 3,
        widths: Sequence[int] = WIDTHS,
        discriminator_widths: Sequence[int] = WIDTHS,
    ):
        super().__init__()
        self.latent, self.channels, self.size = latent, channels, size
        self.generator = decoder(latent, size=size, channels=channels, widths=widths)
        self.discriminator = encoder(1, size=size, channels=channels, widths=discriminator_widths)

    def forward(self, photograph: Float[Tensor, "b c h w"], *, penalty: float = 1.0) -> dict[str, Float[Tensor, ""]]:
        """The losses of both players in one batch: {"discriminator", "generator"}; their sum can be minimised.

        Each loss has gradients for its own player alone: to the discriminator a drawing is a constant, and to the
        generator the discriminator's weights are. `penalty` weighs R1, the squared gradient of the score by the pixels
        of photographs, halved.
        """
        require_image(photograph, self.channels, self.size)
        photograph = photograph.detach().requires_grad_(torch.is_grad_enabled())
        code = torch.randn(len(photograph), self.latent, device=photograph.device)
        drawing = self.generator(code)

        real, fake = self.discriminator(photograph), self.discriminator(drawing.detach())
        discriminator = (F.softplus(-real) + F.softplus(fake)).mean()  # −log D(x) − log(1 − D(G(z)))
        if photograph.requires_grad:
            discriminator = discriminator + penalty / 2 * gradient_penalty(real, photograph)

        constant = {name: weight.detach() for name, weight in self.discriminator.named_parameters()}
        fooled = functional_call(self.discriminator, constant, drawing)
        return {"discriminator": discriminator, "generator": F.softplus(-fooled).mean()}  # −log D(G(z)), section 3

    @torch.no_grad()
    def sample(self, count: int, *, generator: torch.Generator | None = None) -> Float[Tensor, "b c h w"]:
        """New images, from codes of the normal distribution."""
        code = torch.randn(count, self.latent, generator=generator)
        return self.generator(code.to(next(self.parameters()).device))


def gradient_penalty(score: Float[Tensor, "b 1"], image: Float[Tensor, "b c h w"]) -> Float[Tensor, ""]:
    """The squared norm of the gradient of each score by its image, averaged (R1)."""
    (gradient,) = torch.autograd.grad(score.sum(), image, create_graph=True)
    return gradient.float().square().flatten(1).sum(1).mean()
