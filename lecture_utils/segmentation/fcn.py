"""FCN: a classification network made fully convolutional (Long, Shelhamer and Darrell, CVPR 2015; slides 6, 7 and 12).

These are FCN-32s, FCN-16s and FCN-8s with the U-Net's encoder, at any width; `vgg16.py` has them as published.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lecture_utils.arguments import require_channels, require_one_of, require_positive
from lecture_utils.segmentation.unet import Norm, double_conv, he_initialise


class FCN(nn.Module):
    """An encoder, a score for each class on its coarse map, and a learned enlargement to the size of the input.

    `depth` poolings make a map 2**depth times smaller than the image, 32 times by default. `stride` is how far the last
    step enlarges. By default it is the whole way, FCN-32s: nothing of the finer maps reaches the output, so what is
    thinner than the stride is lost. With stride 16 the scores are first doubled in size, and those of the map at stride
    16 are added (FCN-16s); with stride 8 the same is done once more (FCN-8s); and so on down to 2. Section 4.2.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        base_channels: int = 64,
        depth: int = 5,
        stride: int | None = None,
        norm: Norm = None,
    ):
        super().__init__()
        require_positive(in_channels=in_channels, num_classes=num_classes, base_channels=base_channels, depth=depth)
        strides = [2 ** (level + 1) for level in range(depth)]  # 2 4 8 16 32
        stride = strides[-1] if stride is None else stride
        require_one_of("stride", stride, tuple(strides))
        self.in_channels = in_channels

        widths = [base_channels * 2**level for level in range(depth)]  # 64 128 256 512 1024
        inputs = [in_channels, *widths[:-1]]
        self.encoder = nn.ModuleList(double_conv(i, o, norm=norm) for i, o in zip(inputs, widths, strict=True))
        # Rounding up keeps the last odd row and column, so any size down to one pixel passes.
        self.pool = nn.MaxPool2d(2, ceil_mode=True)
        self.score = nn.Conv2d(widths[-1], num_classes, 1)
        he_initialise(self)
        finer = [width for width, s in zip(widths, strides, strict=True) if stride <= s < strides[-1]]
        self.skips = nn.ModuleList(zero_score(width, num_classes) for width in reversed(finer))
        self.doublings = nn.ModuleList(bilinear_upsampling(num_classes, stride=2) for _ in finer)
        self.enlarge = bilinear_upsampling(num_classes, stride=stride)

    def forward(self, image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b classes h w"]:
        """Score every class at every pixel (logits). The comments give sizes for `image` b 3 224 224 and stride 8."""
        require_channels(image, self.in_channels)
        height, width = image.shape[-2:]
        x = image
        maps = []
        for block in self.encoder:
            x = block(x)  # b 64 224 224 · b 128 112 112 · b 256 56 56 · b 512 28 28 · b 1024 14 14
            x = self.pool(x)  # b 64 112 112 · b 128 56 56 · b 256 28 28 · b 512 14 14 · b 1024 7 7
            maps.append(x)
        x = self.score(x)  # b classes 7 7
        for double, skip, finer in zip(self.doublings, self.skips, maps[-2::-1], strict=False):
            h, w = finer.shape[-2:]
            x = double(x)[..., :h, :w]  # b classes 14 14 · b classes 28 28
            x = x + skip(finer)
        x = self.enlarge(x)  # b classes 224 224
        return x[..., :height, :width]


def start_from(finer: nn.Module, coarser: nn.Module) -> None:
    """Take over what an FCN of a larger stride has learnt; the new skips are zero, so at first they add nothing.

    Only the last enlargement begins anew, as interpolation. Section 4.2 trains FCN-16s from FCN-32s and FCN-8s from
    FCN-16s in this way. Raises ValueError, nothing changed, for networks that differ in more than their stride.
    """
    own = finer.state_dict()
    learnt = {name: value for name, value in coarser.state_dict().items() if not name.startswith("enlarge.")}
    if other := [name for name, value in learnt.items() if name not in own or own[name].shape != value.shape]:
        raise ValueError(f"coarser: got a net with another {other[0]}, expected one that differs by a larger stride")
    finer.load_state_dict(own | learnt)


def zero_score(in_channels: int, num_classes: int) -> nn.Conv2d:
    """A 1×1 convolution that scores each class with 0 until it has learnt better."""
    score = nn.Conv2d(in_channels, num_classes, 1)
    nn.init.zeros_(score.weight)
    nn.init.zeros_(score.bias)
    return score


class Enlarge(nn.ConvTranspose2d):
    """A transposed convolution in the precision of its weights, under autocast too.

    On a CPU, bf16 has no fast kernel for one with groups: FCN-32s would take ten times as long.
    """

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h_out w_out"]:
        device = x.device.type
        if not torch.amp.is_autocast_available(device):  # the meta device
            return super().forward(x)
        with torch.autocast(device, enabled=False):
            return super().forward(x.to(self.weight.dtype))


def bilinear_upsampling(channels: int, *, stride: int, full: bool = False) -> nn.ConvTranspose2d:
    """A transposed convolution that enlarges `stride` times, starts as bilinear interpolation and may learn better.

    `stride` is even. Each channel is enlarged by itself and the output is exactly `stride` times larger. The `full` one
    of the published networks starts like that, but has weights between all channels and keeps the rim of stride / 2
    pixels on each side. Section 3.3 of the FCN paper.
    """
    if stride < 2 or stride % 2:
        raise ValueError(f"stride: got {stride}, expected an even number of pixels")
    groups, rim = (1, 0) if full else (channels, stride // 2)
    layer = Enlarge(channels, channels, 2 * stride, stride, rim, groups=groups, bias=False)
    # A triangle sampled at the pixel centres: 1 at the middle of its source pixel, 0 at the middle of the next.
    offset = torch.arange(2 * stride) + 0.5 - stride
    triangle = 1 - offset.abs() / stride
    connected = torch.eye(channels) if full else torch.ones(channels, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.einsum("oi,h,w->oihw", connected, triangle, triangle))
    return layer
