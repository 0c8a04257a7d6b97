"""How a photograph becomes the numbers that a network takes."""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torchvision.transforms import v2

# The means and deviations of ImageNet's photographs, which pretrained networks expect too.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def photo_transforms(*, train: bool = False, size: int | None = None, flip: bool = True) -> v2.Compose:
    """Floats around 0 instead of bytes, and in training a flip every other time, of whatever belongs to the image.

    With `size`, everything is resized to size × size pixels first; without `flip` nothing is ever flipped.
    """
    resize = [] if size is None else [v2.Resize((size, size))]
    flips = [v2.RandomHorizontalFlip(0.5)] if train and flip else []
    return v2.Compose([*resize, *flips, v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)])


def to_photo(image: Float[Tensor, "*b 3 h w"]) -> UInt8[Tensor, "*b 3 h w"]:
    """The photograph that a network was given, in bytes again: `photo_transforms` undone."""
    mean, std = (torch.tensor(values, device=image.device)[:, None, None] for values in (MEAN, STD))
    return ((image.detach() * std + mean) * 255).round().clamp(0, 255).to(torch.uint8)
