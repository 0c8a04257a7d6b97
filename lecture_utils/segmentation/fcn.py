"""FCN: a classification network made fully convolutional (Long, Shelhamer and Darrell, CVPR 2015; slides 6, 7 and 12).

This is the idea of FCN-32s with the U-Net's encoder in place of VGG-16: score the coarsest map, enlarge it in one step.
Nothing of the finer maps reaches the output, so what is thinner than a stride of 2**depth pixels is lost.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lecture_utils.segmentation.unet import Norm, double_conv, he_initialise, require_channels, require_positive


class FCN(nn.Module):
    """An encoder, a score for each class on its coarse map, and a learned enlargement; no skip connections.

    `depth` poolings: the stride is 2**depth, 32 by default. The output has the height and width of the input.
    """

    def __init__(
        self, in_channels: int, num_classes: int, *, base_channels: int = 64, depth: int = 5, norm: Norm = None
    ):
        super().__init__()
        require_positive(in_channels=in_channels, num_classes=num_classes, base_channels=base_channels, depth=depth)
        self.in_channels = in_channels

        widths = [base_channels * 2**level for level in range(depth)]  # 64 128 256 512 1024
        inputs = [in_channels, *widths[:-1]]
        self.encoder = nn.ModuleList(double_conv(i, o, norm=norm) for i, o in zip(inputs, widths, strict=True))
        # Rounding up keeps the last odd row and column, so any size down to one pixel passes.
        self.pool = nn.MaxPool2d(2, ceil_mode=True)
        self.score = nn.Conv2d(widths[-1], num_classes, 1)
        he_initialise(self)
        self.enlarge = bilinear_upsampling(num_classes, stride=2**depth)

    def forward(self, image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b classes h w"]:
        """Score every class at every pixel (logits). The comments give the sizes for `image` b 3 224 224."""
        require_channels(image, self.in_channels)
        height, width = image.shape[-2:]
        x = image
        for block in self.encoder:
            x = block(x)  # b 64 224 224 · b 128 112 112 · b 256 56 56 · b 512 28 28 · b 1024 14 14
            x = self.pool(x)  # b 64 112 112 · b 128 56 56 · b 256 28 28 · b 512 14 14 · b 1024 7 7
        x = self.score(x)  # b classes 7 7
        x = self.enlarge(x)  # b classes 224 224
        return x[..., :height, :width]


def bilinear_upsampling(channels: int, *, stride: int) -> nn.ConvTranspose2d:
    """A transposed convolution that enlarges `stride` times, starts as bilinear interpolation and may learn better.

    Each channel is enlarged by itself (groups = channels). `stride` is even. Section 3.3 of the FCN paper.
    """
    if stride < 2 or stride % 2:
        raise ValueError(f"stride: got {stride}, expected an even number of pixels")
    layer = nn.ConvTranspose2d(channels, channels, 2 * stride, stride, stride // 2, groups=channels, bias=False)
    # A triangle sampled at the pixel centres: 1 at the middle of its source pixel, 0 at the middle of the next.
    offset = torch.arange(2 * stride) + 0.5 - stride
    triangle = 1 - offset.abs() / stride
    with torch.no_grad():
        layer.weight.copy_(torch.outer(triangle, triangle).expand_as(layer.weight))
    return layer
