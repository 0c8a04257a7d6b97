"""The sliding window: classify the patch around every pixel, one by one or all in one pass (slides 1, 5 and 6).

Farabet et al., "Learning hierarchical features for scene labeling", PAMI 2013; Pinheiro and Collobert, "Recurrent
convolutional neural networks for scene labeling", ICML 2014. The conversion to one pass is that of Giusti et al.,
"Fast image scanning with deep max-pooling convolutional neural networks", ICIP 2013; OverFeat (Sermanet et al., ICLR
2014) and FCN (Long et al., CVPR 2015, section 3) turn the linear layers into convolutions in the same way.
"""

from math import isqrt

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lecture_utils.arguments import check_shapes, require_channels, require_one_of, require_positive
from lecture_utils.segmentation.unet import Norm, he_initialise

KERNEL = 4  # even, as in Giusti's networks: so an odd patch is even before each pooling, and no row is dropped


class PatchClassifier(nn.Module):
    """Convolutions, then an MLP: the class of the pixel in the middle of a `patch` × `patch` square (slide 1).

    `depth` times a 4×4 convolution (valid), a ReLU and a 2×2 max pooling; then a hidden layer and a score a class.
    Softmax makes probabilities of the scores. Widths double from `base_channels`. A patch fits when each pooling
    halves it exactly: 5 for depth 1; 13 for depth 2; 29, 37, 45, … for depth 3; any other raises a ValueError.
    `norm="batch"` puts a batch normalisation between convolution and ReLU.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        patch: int = 29,
        depth: int = 3,
        base_channels: int = 16,
        hidden: int = 64,
        norm: Norm = None,
    ):
        super().__init__()
        require_positive(in_channels=in_channels, num_classes=num_classes, patch=patch, depth=depth)
        require_positive(base_channels=base_channels, hidden=hidden)
        require_one_of("norm", norm, (None, "batch"))
        self.in_channels, self.num_classes, self.patch = in_channels, num_classes, patch
        side = pooled_side(patch, depth)

        layers: list[nn.Module] = []
        channels = in_channels
        for width in [base_channels * 2**level for level in range(depth)]:  # 16 32 64
            layers.append(nn.Conv2d(channels, width, KERNEL, bias=norm is None))
            layers += [nn.BatchNorm2d(width)] if norm else []
            layers += [nn.ReLU(inplace=True), nn.MaxPool2d(2)]
            channels = width
        mlp = [nn.Flatten(), nn.Linear(channels * side**2, hidden), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers, *mlp, nn.Linear(hidden, num_classes))
        he_initialise(self)

    def forward(self, patches: Float[Tensor, "n c p p"]) -> Float[Tensor, "n classes"]:
        """Score every class for the centre pixel of each patch (logits)."""
        require_channels(patches, self.in_channels)
        if patches.shape[-2:] != (self.patch, self.patch):
            raise ValueError(f"patches: got shape {tuple(patches.shape)}, expected {self.patch} × {self.patch} pixels")
        return self.layers(patches)  # n 3 29 29 → n 16 13 13 → n 32 5 5 → n 64 1 1 → n 64 → n classes


def pooled_side(patch: int, depth: int) -> int:
    """The side of what `depth` times convolution and pooling leave of a patch; a ValueError where a half is left."""
    step = 2**depth
    side, rest = divmod(patch - (KERNEL - 1) * (step - 1), step)
    if rest or side < 1:
        smallest = KERNEL * step - (KERNEL - 1)
        raise ValueError(f"patch: got {patch}, expected {smallest}, {smallest + step}, … for depth {depth}")
    return side


@check_shapes
def patch_around(image: Float[Tensor, "b c h w"], row: int, column: int, size: int) -> Float[Tensor, "b c size size"]:
    """Cut the square of `size` × `size` pixels (odd) whose centre is the pixel (row, column).

    Pixels beyond the border are 0, the mean colour by which images are normalised. ValueError for an even size, and
    for a centre outside the image.
    """
    require_odd(size=size)
    height, width = image.shape[-2:]
    if not (0 <= row < height and 0 <= column < width):
        raise ValueError(f"row, column: got ({row}, {column}), expected a pixel of {height}×{width}")
    half = size // 2
    padded = F.pad(image, (half, half, half, half))  # left, right, top, bottom: the centre of pixel 0 moves to `half`
    return padded[..., row : row + size, column : column + size]


def slide(model: PatchClassifier, image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b classes h w"]:
    """Score every pixel by running `model` on the patch around it: the sliding window of slide 5, h·w runs an image.

    The border is padded with 0 as in `patch_around`. The patches of a row of pixels form a batch.
    """
    require_channels(image, model.in_channels)
    size, half = model.patch, model.patch // 2
    padded = F.pad(image, (half, half, half, half))
    windows = padded.unfold(2, size, 1).unfold(3, size, 1)  # b c h w size size: a view, nothing is copied yet
    scores = []
    for row in windows.unbind(2):
        patches = row.movedim(1, 2).flatten(0, 1)  # b·w c size size
        scores.append(model(patches).unflatten(0, row.shape[:3:2]))  # b w classes
    return torch.stack(scores, dim=1).movedim(-1, 1)


class FullyConvolutional(nn.Module):
    """A patch classifier slid over the whole image in one pass: the same scores, without computing anything twice.

    Neighbouring patches overlap, so nearly all of their feature maps are the same numbers. Three changes use that: a
    convolution runs over the whole image; a pooling moves by one pixel instead of `stride`, and all that follows it
    looks at every `stride`-th value (dilation, "à trous"), because those are the ones its patch would have kept; and a
    linear layer is a convolution whose kernel is as large as its input.

    `classifier` is held, not copied: both have the same parameters, and training one trains the other. In evaluation
    mode the scores are those of `slide`; in training mode a batch normalisation takes its statistics over the image
    and its padding instead of over the patches.
    `dense=False` leaves the strides in (Long et al. 2015, section 3.1): scores at each 2**depth-th pixel only.
    """

    def __init__(self, classifier: PatchClassifier, *, dense: bool = True):
        super().__init__()
        self.classifier, self.dense = classifier, dense
        self.in_channels = classifier.in_channels

    def forward(self, image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b classes h_out w_out"]:
        """Score every class at every pixel (logits); the border is padded with 0 as in `patch_around`."""
        require_channels(image, self.in_channels)
        half, dilation = self.classifier.patch // 2, 1
        x = F.pad(image, (half, half, half, half))
        for layer in self.classifier.layers:
            match layer:
                case nn.Conv2d():
                    x = F.conv2d(x, layer.weight, layer.bias, dilation=dilation)
                case nn.MaxPool2d() if self.dense:
                    x = F.max_pool2d(x, layer.kernel_size, stride=1, dilation=dilation)
                    dilation *= layer.stride
                case nn.Linear():
                    x = linear_everywhere(x, layer.weight, layer.bias, dilation=dilation)
                case nn.Flatten():
                    pass  # the convolution that follows reads the square as it is
                case _:
                    x = layer(x)  # ReLU and normalisation treat each value by itself
        return x


def fully_convolutional(model: PatchClassifier) -> FullyConvolutional:
    """Convert a patch classifier into a network that scores every pixel of an image in one pass, exactly."""
    return FullyConvolutional(model)


@check_shapes
def linear_everywhere(
    x: Float[Tensor, "b c h w"],
    weight: Float[Tensor, "out columns"],
    bias: Float[Tensor, "out"] | None = None,
    *,
    dilation: int = 1,
) -> Float[Tensor, "b out h_out w_out"]:
    """Apply a linear layer, made for flattened squares of c × side × side, to the square at every place of a map.

    It is a convolution: each row of the weight matrix, folded back to (c, side, side), is a kernel.
    """
    c = x.shape[1]
    side = isqrt(weight.shape[1] // c)
    if c * side**2 != weight.shape[1]:
        raise ValueError(f"weight: got {weight.shape[1]} columns, expected {c} channels times a square")
    return F.conv2d(x, weight.unflatten(1, (c, side, side)), bias, dilation=dilation)


def require_odd(**numbers: int) -> None:
    """Refuse a size without a middle."""
    for name, number in numbers.items():
        if number < 1 or number % 2 == 0:
            raise ValueError(f"{name}: got {number}, expected an odd number, so that there is a middle")
