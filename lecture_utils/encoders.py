"""Trained CNNs that others learn on, frozen: the spatial features z of slide 25, and those of DETR."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torchvision import models

from lecture_utils.arguments import require_channels, require_one_of
from lecture_utils.detection.backbone import Backbone
from lecture_utils.downloads import load_downloaded

RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101")


class FrozenEncoder(nn.Module):
    """Feature maps `to_map(network, images)` of images (b, 3, h, w) whose sides are multiples of `multiple` pixels.

    Nothing is learned: no gradients, and always evaluation mode, so that a normalisation keeps its statistics.
    """

    def __init__(self, network: nn.Module, to_map: Callable, *, features: int, multiple: int = 1):
        super().__init__()
        self.network = network.requires_grad_(False)
        self.to_map, self.features, self.multiple = to_map, features, multiple
        self.eval()

    def train(self, mode: bool = True) -> "FrozenEncoder":
        return super().train(False)

    @torch.no_grad()
    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b features map_h map_w"]:
        require_channels(images, 3)
        height, width = images.shape[2:]
        if height % self.multiple or width % self.multiple:
            raise ValueError(f"images: got {height} × {width} pixels, expected multiples of {self.multiple}")
        return self.to_map(self.network, images)


def hypercolumn_encoder(backbone: Backbone) -> FrozenEncoder:
    """A detector's backbone as a grid with a point at every eighth pixel: what is there, and how it looks close by.

    The backbone's last map knows classes and places of objects, and little of their colours, which a detector can do
    without; its first map still holds them. Both are joined, as in Hariharan et al., "Hypercolumns for object
    segmentation and fine-grained localization", CVPR 2015.
    """
    to_map = lambda backbone, images: hypercolumns(*backbone.first_and_last(images))  # noqa: E731
    features = backbone.out_channels + 4 * backbone.laterals[0].in_channels
    return FrozenEncoder(backbone, to_map, features=features, multiple=16)


def hypercolumns(
    first: Float[Tensor, "b early h w"], last: Float[Tensor, "b features h w"]
) -> Float[Tensor, "b columns h2 w2"]:
    """A backbone's first and last map as one of half the size; no number of the first is lost."""
    return torch.cat([F.avg_pool2d(last, 2), F.pixel_unshuffle(first, 2)], dim=1)


def space_to_depth_encoder(backbone: Backbone) -> FrozenEncoder:
    """A detector's backbone of which each 2 × 2 points become one, with four times as many features.

    Nothing is lost, and a transformer has a quarter of the points to attend to, one at every eighth pixel.
    """
    to_map = lambda backbone, images: F.pixel_unshuffle(backbone(images), 2)  # noqa: E731
    return FrozenEncoder(backbone, to_map, features=4 * backbone.out_channels, multiple=8)


def last_map(resnet: models.ResNet) -> FrozenEncoder:
    """The last map of a ResNet of torchvision: 7 × 7 points for 224 × 224 pixels, as many captioners have it."""
    body = nn.Sequential(*list(resnet.children())[:-2])
    return FrozenEncoder(body, lambda body, images: body(images), features=resnet.fc.in_features)


def resnet_grid(name: str = "resnet50", *, trained: bool = True, progress: bool = True) -> FrozenEncoder:
    """The last map of a ResNet with ImageNet's weights, which torch downloads at the first call and keeps.

    `trained=False` gives random weights, without a download. FileNotFoundError without a network: it names the file and
    its place, where one fetched elsewhere is found, too.
    """
    require_one_of("name", name, RESNETS)
    resnet = models.get_model(name, weights=None)
    if trained:
        load_downloaded(resnet, models.get_model_weights(name).DEFAULT, progress=progress)
    return last_map(resnet)
