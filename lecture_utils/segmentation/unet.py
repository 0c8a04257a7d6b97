"""U-Net: encoder, decoder, and skip connections between them (Ronneberger, Fischer and Brox, MICCAI 2015; slide 12).

The configuration of the paper is `UNet(1, 2, padding="valid")`: 572×572 pixels in, 388×388 out, 31,030,658 parameters.
"""

from math import prod
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lecture_utils.arguments import require_channels, require_one_of, require_positive

Padding = Literal["same", "valid"]
Norm = Literal["batch"] | None


class UNet(nn.Module):
    """The U-Net of 2015 and its padded descendants.

    `padding="valid"` is the paper's: each 3×3 convolution takes a pixel off every side, the skips are cropped to match,
    and only sizes that every pooling halves exactly fit (188, 204, … for depth 4); any other raises a ValueError.
    `padding="same"` gives the output the height and width of the input, whatever they are.
    `norm="batch"` puts a batch normalisation between convolution and ReLU (Ioffe and Szegedy 2015); the paper has none.
    `skips=False` leaves out the skip connections and nothing else, to see what they contribute.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        base_channels: int = 64,
        depth: int = 4,
        padding: Padding = "same",
        norm: Norm = None,
        skips: bool = True,
    ):
        super().__init__()
        require_positive(in_channels=in_channels, num_classes=num_classes, base_channels=base_channels, depth=depth)
        require_one_of("padding", padding, ("same", "valid"))
        self.in_channels, self.depth, self.padding, self.skips = in_channels, depth, padding, skips

        widths = [base_channels * 2**level for level in range(depth)]  # 64 128 256 512
        inputs = [in_channels, *widths[:-1]]
        self.encoder = nn.ModuleList(double_conv(i, o, padding, norm) for i, o in zip(inputs, widths, strict=True))
        self.pool = nn.MaxPool2d(2)
        self.bottleneck = double_conv(widths[-1], 2 * widths[-1], padding, norm)  # 512 → 1024
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * width, width, 2, stride=2) for width in reversed(widths))
        self.join = CropAndConcat()
        joined = 2 if skips else 1  # times the channels that come from below
        self.decoder = nn.ModuleList(double_conv(joined * width, width, padding, norm) for width in reversed(widths))
        self.head = nn.Conv2d(base_channels, num_classes, 1)
        he_initialise(self)

    def forward(self, image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b classes h_out w_out"]:
        """Score every class at every pixel (logits). The comments give the paper's sizes for `image` b 1 572 572."""
        require_channels(image, self.in_channels)
        height, width = image.shape[-2:]
        x = self._fit(image)
        skips = []
        for block in self.encoder:
            x = block(x)  # b 64 568 568 · b 128 280 280 · b 256 136 136 · b 512 64 64
            skips.append(x)
            x = self.pool(x)  # b 64 284 284 · b 128 140 140 · b 256 68 68 · b 512 32 32
        x = self.bottleneck(x)  # b 1024 28 28
        for up, block in zip(self.up, self.decoder, strict=True):
            x = up(x)  # b 512 56 56 · b 256 104 104 · b 128 200 200 · b 64 392 392
            if self.skips:
                x = self.join(skips.pop(), x)  # twice the channels; crops of 4 · 16 · 40 · 88 pixels per side
            x = block(x)  # b 512 52 52 · b 256 100 100 · b 128 196 196 · b 64 388 388
        x = self.head(x)  # b 2 388 388
        return x if self.padding == "valid" else x[..., :height, :width]

    def _fit(self, image: Tensor) -> Tensor:
        """Pad to a multiple of 2**depth ("same", undone by the last crop), or insist on a size that fits ("valid")."""
        height, width = image.shape[-2:]
        step = 2**self.depth
        if self.padding == "same":
            beyond = (0, -width % step, 0, -height % step)  # left, right, top, bottom
            # Repeating the last row and column works from one pixel on; zeros would draw an edge that is not there.
            return F.pad(image, beyond, mode="replicate") if any(beyond) else image
        lost = 12 * step - 8  # between input and output, for depth 4 the paper's 572 − 388
        for axis, size in (("height", height), ("width", width)):
            over = (size + 4) % step
            if over or size <= lost:
                smallest = lost + step - (lost + 4) % step
                nearest = f"{size - over} and {size - over + step}" if size > smallest else f"{smallest}"
                raise ValueError(
                    f'image: got {axis} {size}, which does not fit padding="valid" with depth {self.depth}; '
                    f"the nearest that fits: {nearest} (sizes step by {step})"
                )
        return image


class CropAndConcat(nn.Module):
    """Cut the centre of the encoder's map to the decoder's size and put the two beside each other."""

    def forward(
        self, skip: Float[Tensor, "b c1 h1 w1"], x: Float[Tensor, "b c2 h2 w2"]
    ) -> Float[Tensor, "b c1+c2 h2 w2"]:
        (height, width), (h, w) = skip.shape[-2:], x.shape[-2:]
        top, left = (height - h) // 2, (width - w) // 2
        return torch.cat([skip[..., top : top + h, left : left + w], x], dim=1)


def double_conv(in_channels: int, out_channels: int, padding: Padding = "same", norm: Norm = None) -> nn.Sequential:
    """Twice a 3×3 convolution and a ReLU."""
    require_one_of("norm", norm, (None, "batch"))
    layers: list[nn.Module] = []
    for channels in (in_channels, out_channels):
        # A bias right before a batch normalisation would be subtracted again with the mean.
        layers.append(nn.Conv2d(channels, out_channels, 3, padding=int(padding == "same"), bias=norm != "batch"))
        if norm == "batch":
            layers.append(nn.BatchNorm2d(out_channels))
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


@torch.no_grad()
def he_initialise(model: nn.Module) -> None:
    """Draw weights from N(0, 2/N), N the incoming nodes of a neuron; zero the biases (U-Net paper, section 3)."""
    for conv in model.modules():
        if isinstance(conv, nn.Conv2d | nn.ConvTranspose2d):
            incoming = conv.in_channels * prod(conv.kernel_size)
            if conv.transposed:  # only one weight in stride² meets a given output pixel
                incoming /= prod(conv.stride)
            nn.init.normal_(conv.weight, std=(2 / incoming) ** 0.5)
            if conv.bias is not None:
                nn.init.zeros_(conv.bias)


def kaggle_unet(num_classes: int = 10) -> UNet:
    """The U-Net of the Kaggle tutorial on Cityscapes pairs: padded, normalised behind the ReLU, 3×3 throughout."""
    net = UNet(3, num_classes)
    net.encoder, net.decoder = (nn.ModuleList(map(_normalised, blocks)) for blocks in (net.encoder, net.decoder))
    net.bottleneck = _normalised(net.bottleneck)
    double = {"kernel_size": 3, "stride": 2, "padding": 1, "output_padding": 1}
    net.up = nn.ModuleList(nn.ConvTranspose2d(up.in_channels, up.out_channels, **double) for up in net.up)
    net.head = nn.Conv2d(net.head.in_channels, num_classes, 3, padding=1)
    he_initialise(net)
    return net


def _normalised(block: nn.Sequential) -> nn.Sequential:
    """A double convolution with a batch normalisation behind each ReLU."""
    first, relu, second, _ = block
    return nn.Sequential(
        first, relu, nn.BatchNorm2d(first.out_channels), second, relu, nn.BatchNorm2d(second.out_channels)
    )
