"""What notebook 03 measures: photographs as grey planes, and even against odd pixels in a trained network."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torchvision import tv_tensors

from lecture_utils import toycity
from lecture_utils.figures.style import to_array
from lecture_utils.segmentation import UNet
from lecture_utils.segmentation.shapes import layer_outputs
from lecture_utils.tasks.photos import photo_transforms
from lecture_utils.toycity import Scene


def to_planes(images: Sequence[np.ndarray], size: int) -> Tensor:
    """The middle `size` × `size` pixels of photographs (H, W, 3), each colour a grey image: (3n, 1, size, size)."""
    middles = []
    for image in images:
        if image.ndim != 3 or image.shape[2] != 3 or min(image.shape[:2]) < size:
            raise ValueError(f"images: got shape {image.shape}, expected (H, W, 3) of at least {size} pixels a side")
        top, left = (image.shape[0] - size) // 2, (image.shape[1] - size) // 2
        middles.append(torch.tensor(image[top : top + size, left : left + size]).permute(2, 0, 1))
    return torch.cat(middles)[:, None] / 255


def to_photo(planes: Tensor) -> np.ndarray:
    """Three planes (3, 1, h, w) of values from 0 to 1 as a photograph again, (h, w, 3) uint8."""
    if planes.shape[:2] != (3, 1):
        raise ValueError(f"planes: got shape {tuple(planes.shape)}, expected (3, 1, height, width)")
    return to_array((planes.detach()[:, 0].permute(1, 2, 0).clamp(0, 1) * 255).round().byte())


def even_and_odd(maps: Tensor) -> Tensor:
    """The means of maps (…, h, w) over even rows and columns, even and odd, odd and even, odd and odd: (…, 4)."""
    groups = [maps[..., row::2, column::2].mean((-2, -1)) for row in (0, 1) for column in (0, 1)]
    return torch.stack(groups, -1)


def checkerboard(maps: Tensor) -> Tensor:
    """The deviation of the means of a map's four groups of pixels over that of all its pixels: (…, h, w) → (…).

    1 for a pattern that only even and odd rows and columns make, near 0 for noise, 0 for a constant map.
    """
    return (even_and_odd(maps).std(-1, correction=0) / maps.std((-2, -1), correction=0)).nan_to_num()


def unevenness(weight: Tensor) -> float:
    """The `deviation` of a constant that kernels (1, n, k, k) double with stride 2."""
    return deviation(F.conv_transpose2d(torch.ones(1, 1, 12, 12).to(weight), weight, stride=2))


def deviation(maps: Tensor) -> float:
    """The deviation of maps (…, h, w) from their means over their root mean square: inside, both over all maps.

    √¾ is expected of constants doubled by independent weights around 0, whatever the kernel.
    """
    inside = maps[..., 4:-4, 4:-4]
    return (inside.var((-2, -1), correction=0).mean() / inside.square().mean()).sqrt().item()


def render_batch(scenes: Sequence[Scene], size: int) -> Float[Tensor, "b 3 size size"]:
    """Scenes as a network takes them, floats around 0."""
    renderings = [torch.from_numpy(toycity.render(scene, size).image).permute(2, 0, 1) for scene in scenes]
    return torch.stack([photo_transforms()(tv_tensors.Image(image)) for image in renderings]).as_subclass(Tensor)


def last_doubling(unet: UNet, images: Float[Tensor, "b 3 h w"]) -> dict[str, Tensor]:
    """What the last transposed convolution of a U-Net makes of images, and the two convolutions after it.

    "up" and "after", each (b, channels, h, w).
    """
    return layer_outputs(unet, images, {"up": unet.up[-1], "after": unet.decoder[-1]})
