"""R-CNN: warp each proposal to one size and run the whole backbone on it (slide 18; Girshick et al., CVPR 2014)."""

from jaxtyping import Float
from torch import Tensor, nn
from torchvision.ops import roi_align

from lecture_utils.detection.heads import Proposals, RegionHead


class RCNN(nn.Module):
    """The backbone runs once per proposal; its map is as large as Fast R-CNN's crops, so the head is the same."""

    def __init__(self, backbone: nn.Module, head: RegionHead):
        super().__init__()
        self.backbone, self.head = backbone, head

    def forward(
        self, images: Float[Tensor, "b c h w"], proposals: Proposals, targets: list[dict] | None = None
    ) -> list[dict] | dict[str, Tensor]:
        """Detections for each image, or with `targets` the losses `class` and `box deltas`."""

        def crop(proposals: Proposals) -> Float[Tensor, "n c side side"]:
            crops = warp(images, proposals, self.head.output_size * self.backbone.stride)
            return self.backbone(crops)  # once a proposal

        return self.head(crop, proposals, images.shape[-2:], targets)


def warp(images: Float[Tensor, "b c h w"], proposals: Proposals, output_size: int) -> Float[Tensor, "n c side side"]:
    """Cut every proposal out of its image and stretch it to a square of `output_size` pixels a side."""
    return roi_align(images, proposals, output_size, sampling_ratio=2, aligned=True)
