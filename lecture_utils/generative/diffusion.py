"""Diffusion: images drowned in noise step by step, and a U-Net that learns to take the noise out again (slide 37).

Ho, Jain and Abbeel, "Denoising diffusion probabilistic models" (DDPM), NeurIPS 2020, with the noise schedule of Nichol
and Dhariwal, "Improved denoising diffusion probabilistic models", ICML 2021, and the sampler of Song, Meng and Ermon,
"Denoising diffusion implicit models" (DDIM), ICLR 2021. Equation numbers are those of the first and the last.
"""

import copy
import math
from collections.abc import Iterator
from functools import partial
from itertools import pairwise

import torch
import torch.nn.functional as F
from einops import repeat
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from lecture_utils.arguments import check_shapes, require_channels, require_positive
from lecture_utils.segmentation.unet import UNet

EMBEDDING = 8  # maps that tell the step
CPU_BATCH = 32  # images that go through the net at once in sampling on a CPU: larger maps cost it new memory each time


class Diffusion(nn.Module):
    """A U-Net that is given a noisy image and its step, and says what in it is noise.

    Images have mean 0 and deviation 1, or about so. The U-Net is the course's own (slide 12); it learns of the step by
    constant maps beside the image.
    """

    def __init__(self, *, size: int, steps: int = 1000, channels: int = 3, base_channels: int = 16, depth: int = 3):
        super().__init__()
        require_positive(size=size, steps=steps, channels=channels)
        self.size, self.channels, self.steps = size, channels, steps
        self.unet = UNet(channels + EMBEDDING, channels, base_channels=base_channels, depth=depth, norm="batch")
        self.register_buffer("alpha_bar", cosine_alpha_bar(steps), persistent=False)

    def forward(self, noisy: Float[Tensor, "b c h w"], step: Int64[Tensor, " b"]) -> Float[Tensor, "b c h w"]:
        """v-prediction: the velocity of images after `step` + 1 steps, from which `predict_x0_and_noise` follow."""
        require_channels(noisy, self.channels)
        told = repeat(timestep_embedding(step / self.steps), "b c -> b c h w", h=noisy.shape[2], w=noisy.shape[3])
        return self.unet(torch.cat([noisy, told], dim=1))

    @torch.no_grad()
    def trajectory(
        self, count: int, *, num_inference_steps: int = 50, eta: float = 1.0, generator: torch.Generator | None = None
    ) -> Iterator[tuple[Float[Tensor, "b c h w"], Float[Tensor, "b c h w"]]]:
        """From noise to new images in `num_inference_steps`: at each, the noisy images and the clean ones predicted.

        The last pair holds the new images twice. `eta` is η of DDIM (equation 16): 0 samples noise once, at the
        beginning; 1 at each step, as DDPM does.
        """
        require_positive(count=count)
        if not 0 <= eta <= 1:
            raise ValueError(f"eta: got {eta}, expected 0 to 1")
        steps = timesteps(self.steps, num_inference_steps)
        noise_like = partial(torch.randn, (count, self.channels, self.size, self.size), generator=generator)
        noisy = noise_like().to(self.alpha_bar.device)
        # In training mode a batch normalisation sees the whole batch, and learns from it.
        net = self if self.training else sampling_copy(self)
        batch = CPU_BATCH if noisy.device.type == "cpu" and not self.training else count
        for step, following in zip(steps, [*steps[1:], None], strict=True):
            alpha_bar = self.alpha_bar[step].expand(count)
            parts = noisy.split(batch)
            v = torch.cat([net(part, torch.full((len(part),), step, device=part.device)) for part in parts]).float()
            clean, noise = predict_x0_and_noise(noisy, v, alpha_bar)
            yield noisy, clean
            if following is not None:
                then = self.alpha_bar[following].expand(count)
                # Equations 12 and 16: a part of the noise is sampled again, and its variance stays.
                fresh = eta**2 * (1 - alpha_bar / then) / (1 - alpha_bar)
                if eta:
                    noise = add_noise(noise, noise_like().to(noise.device), 1 - fresh)
                noisy = add_noise(clean, noise, then)
        yield clean, clean

    def sample(
        self, count: int, *, num_inference_steps: int = 50, eta: float = 1.0, generator: torch.Generator | None = None
    ) -> Float[Tensor, "b c h w"]:
        """New images: those with which `trajectory` ends."""
        *_, (images, _) = self.trajectory(count, num_inference_steps=num_inference_steps, eta=eta, generator=generator)
        return images


def sampling_copy(model: Diffusion) -> Diffusion:
    """A copy that predicts the same, up to rounding, in less time: in evaluation mode, and for one step at a time.

    Each batch normalisation, there a fixed scale and shift, goes into the convolution before it; the maps that tell the
    step are convolved once; and the layout is channels last, but on Apple's GPUs.
    """
    model = copy.deepcopy(model)
    for block in [module for module in model.modules() if isinstance(module, nn.Sequential)]:
        for i, (conv, norm) in enumerate(pairwise([*block])):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                block[i], block[i + 1] = fuse_conv_bn_eval(conv, norm), nn.Identity()
    model.unet.encoder[0][0] = SharedMaps(model.unet.encoder[0][0], own=model.channels)
    on_apple = model.alpha_bar.device.type == "mps"
    return model if on_apple else model.to(memory_format=torch.channels_last)


class SharedMaps(nn.Module):
    """A convolution of `own` channels of each image and of others that all images share, which are convolved once."""

    def __init__(self, conv: nn.Conv2d, *, own: int):
        super().__init__()
        self.own, self.padding = own, conv.padding
        parts = conv.weight.tensor_split([own], dim=1)
        self.weight, self.shared = (nn.Parameter(part, requires_grad=False) for part in parts)
        self.bias = conv.bias

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b out h w"]:
        shared = F.conv2d(x[:1, self.own :], self.shared, self.bias, padding=self.padding)
        return F.conv2d(x[:, : self.own], self.weight, padding=self.padding) + shared


@check_shapes
def add_noise(
    image: Float[Tensor, "b c h w"], noise: Float[Tensor, "b c h w"], alpha_bar: Float[Tensor, " b"]
) -> Float[Tensor, "b c h w"]:
    """An image after many steps at once (DDPM, equation 4): √ᾱ x + √(1 − ᾱ) ε; `alpha_bar` is ᾱ of each image."""
    signal, sigma = _roots(alpha_bar)
    return signal * image + sigma * noise


@check_shapes
def velocity(
    image: Float[Tensor, "b c h w"], noise: Float[Tensor, "b c h w"], alpha_bar: Float[Tensor, " b"]
) -> Float[Tensor, "b c h w"]:
    """What the net predicts: √ᾱ ε − √(1 − ᾱ) x: the noise where little is, minus the image where all is noise.

    Salimans and Ho, "Progressive distillation for fast sampling of diffusion models", ICLR 2022, section 4.
    """
    signal, sigma = _roots(alpha_bar)
    return signal * noise - sigma * image


@check_shapes
def predict_x0_and_noise(
    noisy: Float[Tensor, "b c h w"], velocity: Float[Tensor, "b c h w"], alpha_bar: Float[Tensor, " b"]
) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, "b c h w"]]:
    """The two parts of noisy images: `add_noise` and `velocity` solved for image and noise."""
    signal, sigma = _roots(alpha_bar)
    return signal * noisy - sigma * velocity, sigma * noisy + signal * velocity


def _roots(alpha_bar: Tensor) -> tuple[Tensor, Tensor]:
    alpha_bar = alpha_bar[:, None, None, None]
    return alpha_bar.sqrt(), (1 - alpha_bar).sqrt()


def denoising_loss(model: nn.Module, image: Float[Tensor, "b c h w"]) -> Float[Tensor, ""]:
    """The squared error of the velocity, at a step sampled for each image (DDPM, algorithm 1, there of the noise)."""
    step = torch.randint(model.steps, (len(image),), device=image.device)
    noise, alpha_bar = torch.randn_like(image), model.alpha_bar[step]
    return F.mse_loss(model(add_noise(image, noise, alpha_bar), step).float(), velocity(image, noise, alpha_bar))


def cosine_alpha_bar(steps: int, *, offset: float = 0.008) -> Float[Tensor, " steps"]:
    """ᾱ after each step: the share of an image's variance that is still there, a cosine from nearly 1 to nearly 0.

    Nichol and Dhariwal, equation 17; a step takes away 99.9 % at most.
    """
    f = torch.cos((torch.arange(steps + 1, dtype=torch.float64) / steps + offset) / (1 + offset) * math.pi / 2) ** 2
    return (f[1:] / f[:-1]).clamp(min=0.001).cumprod(0).float()


def timesteps(steps: int, num_inference_steps: int) -> list[int]:
    """The steps at which a sampler stops, from the last one down to 0, evenly spread."""
    if not 2 <= num_inference_steps <= steps:
        raise ValueError(f"num_inference_steps: got {num_inference_steps}, expected 2 to {steps}, the number of steps")
    return torch.linspace(steps - 1, 0, num_inference_steps).round().long().tolist()


@check_shapes
def timestep_embedding(time: Float[Tensor, " b"]) -> Float[Tensor, "b waves"]:
    """A time from 0 to 1 as sines and cosines of slow and of fast waves: the further apart, the easier to tell."""
    angles = time[:, None] * math.pi * 2 ** torch.arange(EMBEDDING // 2, device=time.device)
    return torch.cat([angles.sin(), angles.cos()], dim=1)
