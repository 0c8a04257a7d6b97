"""Auto-encoder: an image squeezed into a few numbers, the code z, and drawn again from them (slide 38).

Hinton and Salakhutdinov, "Reducing the dimensionality of data with neural networks", Science 2006. Its two halves, an
encoder and a decoder of convolutions, are also those of the VAE and of the GAN: what differs is what they learn from.
"""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from lecture_utils.arguments import require_positive

WIDTHS = (16, 32, 64)  # channels at a half, a quarter and an eighth of the image's size


class AutoEncoder(nn.Module):
    """Image → code of `latent` numbers → image; trained to give back what it was shown.

    Images are (batch, `channels`, `size`, `size`), and `size` is a multiple of 2 ** len(widths).
    """

    def __init__(self, *, latent: int, size: int, channels: int = 3, widths: Sequence[int] = WIDTHS):
        super().__init__()
        self.latent, self.channels, self.size = latent, channels, size
        self.encoder = encoder(latent, size=size, channels=channels, widths=widths)
        self.decoder = decoder(latent, size=size, channels=channels, widths=widths)

    def forward(self, image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        require_image(image, self.channels, self.size)
        return self.decoder(self.encoder(image))


class LinearAutoEncoder(nn.Module):
    """Two matrices and nothing between them: at its best it spans the same subspace as PCA.

    Baldi and Hornik, "Neural networks and principal component analysis", Neural Networks 1989. Vectors are
    (batch, `inputs`), centred: there is no bias.
    """

    def __init__(self, inputs: int, *, latent: int):
        super().__init__()
        require_positive(inputs=inputs, latent=latent)
        self.encoder = nn.Linear(inputs, latent, bias=False)
        self.decoder = nn.Linear(latent, inputs, bias=False)

    def forward(self, vector: Float[Tensor, "b inputs"]) -> Float[Tensor, "b inputs"]:
        return self.decoder(self.encoder(vector))


def encoder(outputs: int, *, size: int, channels: int = 3, widths: Sequence[int] = WIDTHS) -> nn.Sequential:
    """Images → vectors of `outputs` numbers: convolutions with stride 2, and one linear layer."""
    side = smallest_side(outputs, size, channels, widths)
    layers: list[nn.Module] = []
    for before, width in zip([channels, *widths], widths, strict=False):
        layers += [nn.Conv2d(before, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(widths[-1] * side * side, outputs))


def decoder(inputs: int, *, size: int, channels: int = 3, widths: Sequence[int] = WIDTHS) -> nn.Sequential:
    """Vectors of `inputs` numbers → images: a linear layer, then enlarged and convolved until the size is reached.

    Enlarging by nearest neighbour leaves no checkerboard, as a transposed convolution does (slide 11).
    """
    side = smallest_side(inputs, size, channels, widths)
    layers = [nn.Linear(inputs, widths[-1] * side * side), nn.Unflatten(1, (widths[-1], side, side))]
    for before, width in zip(widths[::-1], [*widths[-2::-1], widths[0]], strict=True):
        layers += [nn.BatchNorm2d(before), nn.LeakyReLU(0.2), nn.Upsample(scale_factor=2)]
        layers += [nn.Conv2d(before, width, 3, padding=1, bias=False)]
    return nn.Sequential(*layers, nn.BatchNorm2d(width), nn.LeakyReLU(0.2), nn.Conv2d(width, channels, 3, padding=1))


def smallest_side(code: int, size: int, channels: int, widths: Sequence[int]) -> int:
    """Height and width of the smallest map, where the code begins; refuses sizes that are not halved exactly."""
    require_positive(latent=code, channels=channels, widths=len(widths), **{"every width": min(widths, default=1)})
    step = 2 ** len(widths)
    if not isinstance(size, int) or isinstance(size, bool) or size < step or size % step:
        raise ValueError(
            f"size: got {size!r}, expected a multiple of {step}, because {len(widths)} layers halve it each"
        )
    return size // step


def require_image(image: Tensor, channels: int, size: int) -> None:
    """Refuse an image that is not (batch, `channels`, `size`, `size`), even one with as many pixels."""
    if image.shape[1:] != (channels, size, size):
        raise ValueError(f"image: got shape {tuple(image.shape)}, expected (batch, {channels}, {size}, {size})")
