"""FCN-32s, FCN-16s and FCN-8s as published: VGG-16 made fully convolutional (Long et al., CVPR 2015, section 4).

VGG-16 is Simonyan and Zisserman, ICLR 2015, configuration D; its convolutions are DeconvNet's, too.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lecture_utils.arguments import require_channels, require_one_of, require_positive
from lecture_utils.segmentation.fcn import bilinear_upsampling, zero_score
from lecture_utils.segmentation.unet import he_initialise


class VGG16FCN(nn.Module):
    """The networks of the FCN paper, at any width: 134 to 136 million parameters for 21 classes at the published 64.

    `stride` 32, 16 or 8 is how far the last step enlarges; the finer strides add the scores of one or two finer maps.
    Around the image lie 100 black pixels, so that even a small one fills the 7×7 window of what was a linear layer.
    They move the maps against each other: hence the offsets, by which the authors cut them to match.
    The output has the height and width of the input.
    """

    def __init__(self, in_channels: int = 3, num_classes: int = 21, *, base_channels: int = 64, stride: int = 32):
        super().__init__()
        require_positive(in_channels=in_channels, num_classes=num_classes, base_channels=base_channels)
        require_one_of("stride", stride, (32, 16, 8))
        self.in_channels, self.stride = in_channels, stride

        blocks = vgg16_widths(in_channels, base_channels)
        deepest, linear = blocks[-1][-1], 64 * base_channels  # 512, 4096
        self.encoder = nn.ModuleList(conv_block(widths) for widths in blocks)
        self.pool = nn.MaxPool2d(2, ceil_mode=True)
        self.fc6 = conv_block([deepest, linear], kernel=7, padding=0).append(nn.Dropout(0.5))
        self.fc7 = conv_block([linear, linear], kernel=1, padding=0).append(nn.Dropout(0.5))
        he_initialise(self)
        self.score = zero_score(linear, num_classes)
        finer = {32: [], 16: [3], 8: [3, 2]}[stride]  # blocks whose pooled maps are scored, too
        self.skips = nn.ModuleList(zero_score(blocks[i][-1], num_classes) for i in finer)
        self.doublings = nn.ModuleList(bilinear_upsampling(num_classes, stride=2, full=True) for _ in finer)
        self.enlarge = bilinear_upsampling(num_classes, stride=stride, full=True)

    def forward(self, image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b classes h w"]:
        """Score every class at every pixel (logits). The comments give sizes for `image` b 3 500 500 and stride 8."""
        require_channels(image, self.in_channels)
        height, width = image.shape[-2:]
        x = F.pad(image, [99] * 4)  # b 3 698 698; the first convolution pads the hundredth
        maps = []
        for block in self.encoder:
            x = block(x)  # b 64 698 698 · b 128 349 349 · b 256 175 175 · b 512 88 88 · b 512 44 44
            x = self.pool(x)  # b 64 349 349 · b 128 175 175 · b 256 88 88 · b 512 44 44 · b 512 22 22
            maps.append(x)
        x = self.fc6(x)  # b 4096 16 16
        x = self.fc7(x)  # b 4096 16 16
        x = self.score(x)  # b classes 16 16
        for double, skip, finer, offset in zip(self.doublings, self.skips, maps[-2::-1], (5, 9), strict=False):
            x = double(x)  # b classes 34 34 · b classes 70 70
            x = x + crop(skip(finer), offset, x.shape[-2:])
        x = self.enlarge(x)  # b classes 568 568
        return crop(x, {32: 19, 16: 27, 8: 31}[self.stride], (height, width))

    @torch.no_grad()
    def load_vgg16(self, weights: Mapping[str, Tensor]) -> None:
        """Take over a trained classifier, `torchvision.models.vgg16(...).state_dict()`, up to its last layer.

        A linear layer that reads a whole 512×7×7 map is a 7×7 convolution that fits there once; its weights need only
        another shape. Section 3.1. Raises ValueError, nothing changed, for the weights of another network or width.
        """
        own = [parameter for part in (self.encoder, self.fc6, self.fc7) for parameter in part.parameters()]
        given = list(weights.values())[:-2]  # without the scores of the 1000 classes, weight and bias
        if [value.numel() for value in given] != [parameter.numel() for parameter in own]:
            raise ValueError(f"weights: got {len(weights)} tensors that are not those of a VGG-16 of this width")
        for parameter, value in zip(own, given, strict=True):
            parameter.copy_(value.reshape(parameter.shape))


def vgg16_widths(in_channels: int, base_channels: int = 64) -> list[list[int]]:
    """The widths through the five blocks of VGG-16: 3 64 64 · 64 128 128 · 128 256 256 256 · 256 512 512 512 · ..."""
    outputs = [base_channels * factor for factor in (1, 2, 4, 8, 8)]
    inputs = [in_channels, *outputs[:-1]]
    return [[i] + [o] * count for i, o, count in zip(inputs, outputs, (2, 2, 3, 3, 3), strict=True)]


def conv_block(
    widths: Sequence[int],
    *,
    kernel: int = 3,
    padding: int = 1,
    batch_norm: bool = False,
    layer: type[nn.Conv2d] | type[nn.ConvTranspose2d] = nn.Conv2d,
) -> nn.Sequential:
    """From each width to the next a convolution (or a transposed one), with a batch normalisation if asked, a ReLU."""
    layers: list[nn.Module] = []
    for i, o in pairwise(widths):
        layers.append(layer(i, o, kernel, padding=padding))
        layers += [nn.BatchNorm2d(o)] if batch_norm else []
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


def crop(x: Float[Tensor, "b c h1 w1"], offset: int, size: Sequence[int]) -> Float[Tensor, "b c h2 w2"]:
    """Cut out `size` pixels, beginning `offset` from the top and from the left."""
    height, width = size
    return x[..., offset : offset + height, offset : offset + width]
