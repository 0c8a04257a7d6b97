"""The spatial features z of slide 25, taken from a CNN that was trained for something else and is kept as it is."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torchvision import models

from lecture_utils.arguments import require_channels
from lecture_utils.detection.backbone import Backbone
from lecture_utils.downloads import load_downloaded

RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101")


class BackboneGrid(nn.Module):
    """A grid with a point at every eighth pixel, from a detector's backbone: what is there, and how it looks close by.

    The backbone's last map knows kinds and places of objects, and little of their colours, which a detector can do
    without; its first map still holds them. Both are joined, as in Hariharan et al., "Hypercolumns for object
    segmentation and fine-grained localization", CVPR 2015. No gradient flows back into the backbone.
    """

    def __init__(self, backbone: Backbone):
        super().__init__()
        self.backbone = backbone.requires_grad_(False)
        self.features = backbone.out_channels + 4 * backbone.laterals[0].in_channels
        self.eval()

    def train(self, mode: bool = True) -> "BackboneGrid":
        return super().train(False)  # its normalisation keeps the statistics of its own training

    @torch.no_grad()
    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b features h8 w8"]:
        """Turn images into grids; h and w must be multiples of 16."""
        require_channels(image, 3)
        if image.shape[2] % 16 or image.shape[3] % 16:
            raise ValueError(f"image: got {tuple(image.shape[2:])} pixels, expected multiples of 16")
        first, last = self.backbone.first_and_last(image)
        return torch.cat([F.avg_pool2d(last, 2), F.pixel_unshuffle(first, 2)], dim=1)


class ResNetGrid(nn.Module):
    """The last map of a ResNet of torchvision: 7 × 7 points for 224 × 224 pixels, as many captioners have it."""

    def __init__(self, resnet: models.ResNet):
        super().__init__()
        self.features = resnet.fc.in_features
        self.body = nn.Sequential(*list(resnet.children())[:-2]).requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> "ResNetGrid":
        return super().train(False)

    @torch.no_grad()
    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b features h32 w32"]:
        require_channels(image, 3)
        return self.body(image)


def resnet_grid(name: str = "resnet50", *, trained: bool = True, progress: bool = True) -> ResNetGrid:
    """A ResNet with ImageNet's weights, which torch downloads at the first call and keeps.

    `trained=False` gives random weights, without a download. FileNotFoundError without a network: it names the file and
    its place, where one fetched elsewhere is found, too.
    """
    if name not in RESNETS:
        raise ValueError(f"name: got {name!r}, expected one of {', '.join(RESNETS)}")
    resnet = models.get_model(name, weights=None)
    if trained:
        load_downloaded(resnet, models.get_model_weights(name).DEFAULT, progress=progress)
    return ResNetGrid(resnet)
