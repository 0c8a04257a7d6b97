"""The naive classifier: each pixel alone, without a look at its neighbours (slide 4)."""

from jaxtyping import Float
from torch import Tensor, nn

from lecture_utils.segmentation.unet import he_initialise, require_channels, require_positive


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
