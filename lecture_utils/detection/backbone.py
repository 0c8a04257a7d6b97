"""The backbone that all detectors of the course share: residual blocks on the way down, one feature map on the way up.

He et al., "Deep residual learning for image recognition", CVPR 2016; Lin et al., "Feature pyramid networks for object
detection", CVPR 2017, of which only the finest map is kept: the smallest objects of the city are five pixels wide.
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lecture_utils.arguments import require_channels, require_positive


class Backbone(nn.Module):
    """Features at every fourth pixel, made of what is seen at every 4th, 8th and 16th.

    Any image size fits, and the map has ceil(h / 4) × ceil(w / 4) points of `out_channels` features; only the batch
    normalisation refuses to train on a single image of 16 × 16 pixels or less.
    """

    stride = 4

    def __init__(self, in_channels: int = 3, *, base_channels: int = 32, out_channels: int = 64):
        super().__init__()
        require_positive(in_channels=in_channels, base_channels=base_channels, out_channels=out_channels)
        self.in_channels, self.out_channels = in_channels, out_channels
        widths = [base_channels * 2, base_channels * 4, base_channels * 6]  # 64 128 192
        self.stem = nn.Sequential(convolution(in_channels, base_channels, stride=2), nn.ReLU(inplace=True))
        self.stages = nn.ModuleList(
            nn.Sequential(ResidualBlock(before, width, stride=2), ResidualBlock(width, width))
            for before, width in zip([base_channels, *widths], widths, strict=False)
        )
        self.laterals = nn.ModuleList(nn.Conv2d(width, out_channels, 1) for width in widths)
        self.smooth = nn.Sequential(convolution(out_channels, out_channels), nn.ReLU(inplace=True))

    def forward(self, image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b features h4 w4"]:
        """Turn images into feature maps. The comments give sizes for `image` b 3 128 128."""
        return self.first_and_last(image)[1]

    def first_and_last(
        self, image: Float[Tensor, "b c h w"]
    ) -> tuple[Float[Tensor, "b early h4 w4"], Float[Tensor, "b features h4 w4"]]:
        """The map of the first stage, which still sees colours and edges, and the one that `forward` gives."""
        require_channels(image, self.in_channels)
        x = self.stem(image)  # b 32 64 64
        maps = []
        for stage in self.stages:
            x = stage(x)  # b 64 32 32 · b 128 16 16 · b 192 8 8
            maps.append(x)
        merged = self.laterals[-1](maps[-1])  # b 64 8 8
        for lateral, finer in zip(self.laterals[-2::-1], maps[-2::-1], strict=True):
            enlarged = F.interpolate(merged, size=finer.shape[-2:], mode="nearest")
            merged = enlarged + lateral(finer)  # b 64 16 16 · b 64 32 32
        return maps[0], self.smooth(merged)


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions, and a way around them that only adapts size and channels."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1):
        super().__init__()
        self.first = convolution(in_channels, out_channels, stride=stride)
        self.second = convolution(out_channels, out_channels)
        same = in_channels == out_channels and stride == 1
        self.around = nn.Identity() if same else convolution(in_channels, out_channels, kernel=1, stride=stride)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b out h2 w2"]:
        return F.relu(self.second(F.relu(self.first(x))) + self.around(x))


def convolution(in_channels: int, out_channels: int, *, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """A padded convolution and its batch normalisation."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(out_channels)
    )
