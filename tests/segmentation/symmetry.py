"""A test that a network puts its scores where the pixels are, and not beside them."""

import torch
from torch import nn


@torch.no_grad()
def assert_follows_mirroring(model, *, height, width):
    """With kernels that are their own mirror images, a mirrored image must have mirrored scores.

    It would not if a map were cut or padded a pixel too far to one side. The size must be one at which no pooling
    rounds, because rounding up adds its half window on one side only.
    """
    torch.manual_seed(0)
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            layer.weight.normal_(std=(4 / layer.weight[0].numel()) ** 0.5)
            layer.weight.copy_((layer.weight + layer.weight.flip(3)) / 2)
            layer.weight.copy_((layer.weight + layer.weight.flip(2)) / 2)
    model = model.double().eval()
    image = torch.randn(2, model.in_channels, height, width, dtype=torch.float64)
    scores = model(image)
    assert scores.std() > 1e-3
    for axis in (2, 3):
        assert not torch.allclose(scores.flip(axis), scores)
        torch.testing.assert_close(model(image.flip(axis)), scores.flip(axis))
