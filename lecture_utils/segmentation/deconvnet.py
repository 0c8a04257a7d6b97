"""DeconvNet: what pooling forgets is remembered, and undone on the way up (Noh, Hong and Han, ICCV 2015; slides 7, 9).

VGG-16 leads down to a single vector, and its mirror image leads up again: unpooling in place of pooling, transposed
convolutions in place of convolutions. The published configuration is `DeconvNet(3, 21)` on 224×224 pixels.
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lecture_utils.arguments import require_channels, require_positive
from lecture_utils.segmentation.unet import he_initialise
from lecture_utils.segmentation.unpooling import max_unpool
from lecture_utils.segmentation.vgg16 import conv_block, vgg16_widths


class DeconvNet(nn.Module):
    """An encoder, its mirror image, and between the two nothing but the switches: which pixel won each pooling.

    `bottleneck` is the side of the square that VGG-16's first linear layer reads of its coarsest map: 7 is the whole
    map of 224 pixels, 3 that of 96, and with 1 each place of the map keeps a vector of its own. Larger images pass as
    well, smaller ones down to 32 · (bottleneck − 1) + 1 pixels a side; below that a ValueError. The output has the
    height and width of the input. Every layer but the last is normalised over the batch: train with two images or more.
    """

    def __init__(self, in_channels: int, num_classes: int, *, base_channels: int = 64, bottleneck: int = 7):
        super().__init__()
        require_positive(in_channels=in_channels, num_classes=num_classes, base_channels=base_channels)
        require_positive(bottleneck=bottleneck)
        self.in_channels, self.smallest = in_channels, 32 * (bottleneck - 1) + 1

        blocks = vgg16_widths(in_channels, base_channels)
        mirrored = [widths[::-1] for widths in reversed(blocks)]
        mirrored[-1][-1] = base_channels  # the last block ends in features, which are then scored
        deepest, linear = blocks[-1][-1], 64 * base_channels  # 512, 4096
        whole_map = {"kernel": bottleneck, "padding": 0, "batch_norm": True}
        self.encoder = nn.ModuleList(conv_block(widths, batch_norm=True) for widths in blocks)
        self.fc6 = conv_block([deepest, linear], **whole_map)
        self.fc7 = conv_block([linear, linear], kernel=1, padding=0, batch_norm=True)
        self.fc6_mirrored = conv_block([linear, deepest], **whole_map, layer=nn.ConvTranspose2d)
        self.decoder = nn.ModuleList(
            conv_block(widths, batch_norm=True, layer=nn.ConvTranspose2d) for widths in mirrored
        )
        self.score = nn.Conv2d(base_channels, num_classes, 1)
        he_initialise(self)

    def forward(self, image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b classes h w"]:
        """Score every class at every pixel (logits). The comments give the paper's sizes for `image` b 3 224 224."""
        require_channels(image, self.in_channels)
        if min(image.shape[-2:]) < self.smallest:
            height, width = image.shape[-2:]
            raise ValueError(f"image: got {height}×{width} pixels, expected at least {self.smallest} a side")
        x = image
        switches = []
        for block in self.encoder:
            x = block(x)  # b 64 224 224 · b 128 112 112 · b 256 56 56 · b 512 28 28 · b 512 14 14
            size = x.shape[-2:]
            # Rounding up keeps the last odd row and column; the size says how many there were.
            x, indices = F.max_pool2d(x, 2, ceil_mode=True, return_indices=True)
            switches.append((indices, size))  # b 64 112 112 · b 128 56 56 · b 256 28 28 · b 512 14 14 · b 512 7 7
        x = self.fc6(x)  # b 4096 1 1
        x = self.fc7(x)  # b 4096 1 1
        x = self.fc6_mirrored(x)  # b 512 7 7
        for block in self.decoder:
            x = max_unpool(x, *switches.pop())  # b 512 14 14 · b 512 28 28 · b 256 56 56 · b 128 112 112 · b 64 224 224
            x = block(x)  # b 512 14 14 · b 256 28 28 · b 128 56 56 · b 64 112 112 · b 64 224 224
        return self.score(x)  # b classes 224 224
