"""Faster R-CNN: the network makes the proposals itself (slide 20; Ren et al., NIPS 2015)."""

from jaxtyping import Float
from torch import Tensor, nn

from lecture_utils.detection.fast_rcnn import crop_features
from lecture_utils.detection.heads import RegionHead
from lecture_utils.detection.rpn import RPN


class FasterRCNN(nn.Module):
    """One backbone, a region proposal network on its features, and Fast R-CNN's head on the proposals."""

    def __init__(self, backbone: nn.Module, rpn: RPN, head: RegionHead):
        super().__init__()
        self.backbone, self.rpn, self.head = backbone, rpn, head

    def forward(
        self, images: Float[Tensor, "b c h w"], targets: list[dict] | None = None
    ) -> list[dict] | dict[str, Tensor]:
        """Detections for each image, or with `targets` the four losses (slide 20), whose sum is trained."""
        features = self.backbone(images)
        size = images.shape[-2:]
        proposals, losses = self.rpn(features, size, targets)
        crop = crop_features(features, output_size=self.head.output_size, stride=self.backbone.stride)
        found = self.head(crop, proposals, size, targets)
        return found if targets is None else losses | found
