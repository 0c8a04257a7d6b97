"""The region proposal network: at every point of a feature map, is there an object, and where exactly (slides 21, 22).

Ren et al., "Faster R-CNN: Towards real-time object detection with region proposal networks", NIPS 2015, section 3.1.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.ops import nms  # what boxes.nms computes, compiled

from lecture_utils.arguments import require_positive
from lecture_utils.detection.anchors import base_anchors, grid_anchors
from lecture_utils.detection.boxes import box_iou, clip_boxes_to_image, decode, encode, remove_small_boxes
from lecture_utils.detection.matching import balanced_sample, match_boxes


class RPN(nn.Module):
    """A 3×3 convolution, and from it for each of the K anchors of a point one objectness and four deltas.

    `stride` is the number of image pixels between two points of the feature map; with `conv_stride=2` the 3×3
    convolution visits only every second point of it in each direction, so anchors are twice as far apart. Sizes are in
    pixels, ratios are height / width.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        stride: int,
        sizes: Sequence[float] = (128, 256, 512),
        ratios: Sequence[float] = (0.5, 1, 2),
        conv_stride: int = 1,
        pre_nms_top_n: int = 2000,
        post_nms_top_n: int = 300,
        nms_threshold: float = 0.7,
        batch_size_per_image: int = 256,
    ):
        super().__init__()
        require_positive(in_channels=in_channels, stride=stride, conv_stride=conv_stride)
        require_positive(pre_nms_top_n=pre_nms_top_n, post_nms_top_n=post_nms_top_n)
        require_positive(batch_size_per_image=batch_size_per_image)
        self.register_buffer("base", base_anchors(sizes, ratios), persistent=False)
        self.anchor_stride = stride * conv_stride  # in image pixels
        self.pre_nms_top_n, self.post_nms_top_n, self.nms_threshold = pre_nms_top_n, post_nms_top_n, nms_threshold
        self.batch_size_per_image = batch_size_per_image
        self.conv = nn.Conv2d(in_channels, in_channels, 3, conv_stride, padding=1)
        self.objectness = nn.Conv2d(in_channels, len(self.base), 1)
        self.deltas = nn.Conv2d(in_channels, 4 * len(self.base), 1)
        for layer in (self.conv, self.objectness, self.deltas):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)

    def forward(
        self, features: Float[Tensor, "b c h w"], image_size: tuple[int, int], targets: list[dict] | None = None
    ) -> tuple[list[Float[Tensor, "n 4"]], dict[str, Tensor]]:
        """Propose boxes, best first, for each image of `image_size` (height, width); with `targets`, two losses too.

        `targets` hold `boxes` (objects, 4). No gradient flows through the proposals.
        """
        objectness, deltas, anchors = self.predict(features)
        boxes = decode(deltas.detach(), anchors.expand_as(deltas))
        proposals = [
            self.select(one, score, image_size)[0] for one, score in zip(boxes, objectness.detach(), strict=True)
        ]
        return proposals, {} if targets is None else self.losses(objectness, deltas, anchors, targets)

    def predict(
        self, features: Float[Tensor, "b c h w"]
    ) -> tuple[Float[Tensor, "b n"], Float[Tensor, "b n 4"], Float[Tensor, "n 4"]]:
        """Objectness (a logit) and deltas of each of the n = K·h·w anchors, and the anchors."""
        x = F.relu(self.conv(features))  # b c h w
        objectness = self.objectness(x).permute(0, 2, 3, 1).flatten(1)  # b K h w → b h w K → b n
        deltas = self.deltas(x).permute(0, 2, 3, 1).reshape(*objectness.shape, 4)  # b 4K h w → b n 4
        return objectness.float(), deltas.float(), grid_anchors(self.base, x.shape[-2:], self.anchor_stride)

    def select(
        self, boxes: Float[Tensor, "n 4"], objectness: Float[Tensor, "n"], image_size: tuple[int, int]
    ) -> tuple[Float[Tensor, "kept 4"], Float[Tensor, "kept"]]:
        """Sort by objectness, keep the first `pre_nms_top_n`, apply NMS, keep the first `post_nms_top_n` (slide 22).

        What is not finite is no proposal: a box of nan would suppress others, and half precision may overflow.
        """
        finite = objectness.isfinite() & boxes.isfinite().all(1)
        boxes, objectness = boxes[finite], objectness[finite]
        objectness, order = objectness.topk(min(self.pre_nms_top_n, len(objectness)))
        boxes = clip_boxes_to_image(boxes[order], image_size)
        solid = remove_small_boxes(boxes, 1e-3)
        boxes, objectness = boxes[solid], objectness[solid]
        kept = nms(boxes, objectness, self.nms_threshold)[: self.post_nms_top_n]
        return boxes[kept], objectness[kept]

    def losses(
        self,
        objectness: Float[Tensor, "b n"],
        deltas: Float[Tensor, "b n 4"],
        anchors: Float[Tensor, "n 4"],
        targets: list[dict],
    ) -> dict[str, Tensor]:
        """Binary cross-entropy of the sampled anchors' objectness, and smooth L1 of the positive ones' deltas."""
        wanted, truth, at_positive, at_sampled = [], [], [], []
        for target in targets:
            boxes = target["boxes"].to(anchors)
            matches = match_boxes(box_iou(boxes, anchors), high=0.7, low=0.3, allow_low_quality_matches=True)
            positive, negative = balanced_sample(matches, self.batch_size_per_image, 0.5)
            at_positive.append(positive)
            at_sampled.append(positive | negative)
            truth.append((matches >= 0).float())
            wanted.append(encode(boxes[matches[positive]], anchors[positive]))
        sampled, positive = torch.stack(at_sampled), torch.stack(at_positive)
        number = max(1, int(sampled.sum()))
        difference = F.smooth_l1_loss(deltas[positive], torch.cat(wanted), beta=1 / 9, reduction="sum")
        uncertain = F.binary_cross_entropy_with_logits(
            objectness[sampled], torch.stack(truth)[sampled], reduction="sum"
        )
        return {"objectness": uncertain / number, "anchor deltas": difference / number}


class ProposalNetwork(nn.Module):
    """A backbone and a region proposal network alone, without a head that would tell what is in the boxes."""

    def __init__(self, backbone: nn.Module, rpn: RPN):
        super().__init__()
        self.backbone, self.rpn = backbone, rpn

    def forward(
        self, images: Float[Tensor, "b c h w"], targets: list[dict] | None = None
    ) -> list[Float[Tensor, "n 4"]] | dict[str, Tensor]:
        """Proposals for each image, best first, or with `targets` the two losses."""
        proposals, losses = self.rpn(self.backbone(images), images.shape[-2:], targets)
        return proposals if targets is None else losses
