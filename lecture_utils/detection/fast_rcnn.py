"""Fast R-CNN: one pass of the backbone over the image, then crop the features (slide 19; Girshick, ICCV 2015)."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor, nn
from torchvision.ops import roi_align, roi_pool  # what `roi`'s own functions compute, compiled

from lecture_utils.detection.heads import Proposals, RegionHead


class FastRCNN(nn.Module):
    """A backbone, then a head on the features of each proposal.

    `backbone` maps images to feature maps and knows its `stride`; `head` is a `RegionHead` for that many channels. The
    features are cropped by RoI align, or with `pooled` by RoI pooling, as in the paper.
    """

    def __init__(self, backbone: nn.Module, head: RegionHead, *, pooled: bool = False):
        super().__init__()
        self.backbone, self.head, self.pooled = backbone, head, pooled

    def forward(
        self, images: Float[Tensor, "b c h w"], proposals: Proposals, targets: list[dict] | None = None
    ) -> list[dict] | dict[str, Tensor]:
        """Detections for each image, or with `targets` the losses `class` and `box deltas`."""
        features = self.backbone(images)  # once an image
        crop = crop_features(
            features, output_size=self.head.output_size, stride=self.backbone.stride, pooled=self.pooled
        )
        return self.head(crop, proposals, images.shape[-2:], targets)


def crop_features(
    features: Float[Tensor, "b c h w"], *, output_size: int, stride: int, pooled: bool = False
) -> Callable[[Proposals], Float[Tensor, "n c side side"]]:
    """Give the function that crops proposals (in pixels of the image) out of feature maps: RoI align or pooling."""

    def crop(proposals: Proposals) -> Float[Tensor, "n c side side"]:
        if pooled:  # in float32, which on a CPU autocast sees to for RoI align alone
            return roi_pool(features.float(), proposals, output_size, spatial_scale=1 / stride)
        return roi_align(features, proposals, output_size, spatial_scale=1 / stride, sampling_ratio=2, aligned=True)

    return crop
