"""The naive classifier: each pixel alone, without a look at its neighbours (slide 4)."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lecture_utils.arguments import require_channels, require_positive
from lecture_utils.segmentation.unet import he_initialise


class PixelClassifier(nn.Module):
    """A multilayer perceptron on the colour of one pixel, slid over the image as 1×1 convolutions.

    `depth` hidden layers of `hidden` units. What it cannot tell apart by colour it cannot tell apart at all.
    """

    def __init__(self, in_channels: int, num_classes: int, *, hidden: int = 64, depth: int = 3):
        super().__init__()
        require_positive(in_channels=in_channels, num_classes=num_classes, hidden=hidden, depth=depth)
        self.in_channels = in_channels
        layers: list[nn.Module] = []
        for channels in [in_channels] + [hidden] * (depth - 1):
            layers += [nn.Conv2d(channels, hidden, 1), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(hidden, num_classes, 1))
        he_initialise(self)

    def forward(self, image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b classes h w"]:
        """Score every class at every pixel (logits)."""
        require_channels(image, self.in_channels)
        return self.layers(image)


def colour_ceiling(colours: Int[Tensor, "n"], labels: Int[Tensor, "n"], *, ignore_index: int = 255) -> float:
    """The largest share of these pixels that any classifier of the colour alone can label right.

    To one colour it can give only one label, and the best is the one that most pixels of this colour have. `colours`
    are numbers that name a colour each; pixels labelled `ignore_index` do not count. Without any other it is nan.
    """
    counted = labels != ignore_index
    _, colour = colours[counted].unique(return_inverse=True)
    names, label = labels[counted].unique(return_inverse=True)
    if not len(names):
        return float("nan")
    pixels = torch.bincount(colour * len(names) + label, minlength=int(colour.max() + 1) * len(names))
    commonest = pixels.unflatten(0, (-1, len(names))).amax(1)  # of each colour, the pixels of its commonest label
    return (commonest.sum() / counted.sum()).item()
