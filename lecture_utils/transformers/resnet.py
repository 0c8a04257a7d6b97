"""A small residual network that gives one label an image: what ViT is held against (slide 32)."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from lecture_utils.arguments import require_channels, require_positive
from lecture_utils.detection.backbone import ResidualBlock, convolution


class ResNet(nn.Module):
    """Residual blocks, the mean of the last map, one linear layer: He et al., CVPR 2016, at city size.

    Each width is a stage of `depth` blocks, and each stage after the first halves height and width. The stem halves
    them once; there is no pooling after it, because the city's objects are small.
    """

    def __init__(self, *, num_classes: int, widths: Sequence[int] = (32, 64, 128), depth: int = 1, channels: int = 3):
        super().__init__()
        require_positive(num_classes=num_classes, depth=depth, channels=channels, stages=len(widths))
        self.channels = channels
        self.stem = nn.Sequential(convolution(channels, widths[0], stride=2), nn.ReLU(inplace=True))
        self.stages = nn.Sequential()
        for number, width in enumerate(widths):
            first = ResidualBlock(widths[max(number - 1, 0)], width, stride=2 if number else 1)
            self.stages.append(nn.Sequential(first, *(ResidualBlock(width, width) for _ in range(depth - 1))))
        self.head = nn.Linear(widths[-1], num_classes)

    def forward(self, image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b classes"]:
        """Scores (logits) of the classes; any size of image fits."""
        require_channels(image, self.channels)
        return self.head(self.stages(self.stem(image)).mean((2, 3)))
