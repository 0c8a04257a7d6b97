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
from lecture_utils.detection.anchors import anchors_over, base_anchors
from lecture_utils.detection.boxes import clip, decode, encode, iou, large_enough
from lecture_utils.detection.matching import match, sample


class RPN(nn.Module):
    """A 3×3 convolution, and from it for each of the K anchors of a point one objectness and four corrections.

    `stride` is the number of image pixels between two points of the feature map; with `step=2` only every second
    point of it in each direction is looked at. Sizes are in pixels, ratios are height / width.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        stride: int,
        sizes: Sequence[float] = (128, 256, 512),
        ratios: Sequence[float] = (0.5, 1, 2),
        step: int = 1,
        candidates: int = 2000,
        proposals: int = 300,
        nms_threshold: float = 0.7,
        batch: int = 256,
    ):
        super().__init__()
        require_positive(in_channels=in_channels, stride=stride, step=step, batch=batch)
        require_positive(candidates=candidates, proposals=proposals)
        self.register_buffer("base", base_anchors(sizes, ratios), persistent=False)
        self.stride = stride * step
        self.candidates, self.number, self.nms_threshold, self.batch = candidates, proposals, nms_threshold, batch
        self.look = nn.Conv2d(in_channels, in_channels, 3, step, padding=1)
        self.objectness = nn.Conv2d(in_channels, len(self.base), 1)
        self.corrections = nn.Conv2d(in_channels, 4 * len(self.base), 1)
        for layer in (self.look, self.objectness, self.corrections):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)

    def forward(
        self, features: Float[Tensor, "b c h w"], image_size: tuple[int, int], targets: list[dict] | None = None
    ) -> tuple[list[Float[Tensor, "n 4"]], dict[str, Tensor]]:
        """Propose boxes, best first, for each image of `image_size` (height, width); with `targets`, two losses too.

        `targets` hold `boxes` (objects, 4). No gradient flows through the proposals.
        """
        objectness, corrections, anchors = self.predict(features)
        boxes = decode(corrections.detach(), anchors.expand_as(corrections))
        proposals = [
            self.select(one, score, image_size)[0] for one, score in zip(boxes, objectness.detach(), strict=True)
        ]
        return proposals, {} if targets is None else self.losses(objectness, corrections, anchors, targets)

    def predict(
        self, features: Float[Tensor, "b c h w"]
    ) -> tuple[Float[Tensor, "b n"], Float[Tensor, "b n 4"], Float[Tensor, "n 4"]]:
        """Objectness (a logit) and corrections of each of the n = K·h·w anchors, and the anchors."""
        x = F.relu(self.look(features))  # b c h w
        objectness = self.objectness(x).permute(0, 2, 3, 1).flatten(1)  # b K h w → b h w K → b n
        corrections = self.corrections(x).permute(0, 2, 3, 1).reshape(*objectness.shape, 4)  # b 4K h w → b n 4
        return objectness.float(), corrections.float(), anchors_over(self.base, x.shape[-2:], self.stride)

    def select(
        self, boxes: Float[Tensor, "n 4"], objectness: Float[Tensor, "n"], image_size: tuple[int, int]
    ) -> tuple[Float[Tensor, "kept 4"], Float[Tensor, "kept"]]:
        """Sort by objectness, keep the best `candidates`, suppress doubles, keep the best `proposals` (slide 22).

        What is not finite is no proposal: a box of nan would suppress others, and half precision may overflow.
        """
        finite = objectness.isfinite() & boxes.isfinite().all(1)
        boxes, objectness = boxes[finite], objectness[finite]
        objectness, order = objectness.topk(min(self.candidates, len(objectness)))
        boxes = clip(boxes[order], *image_size)
        solid = large_enough(boxes, 1e-3)
        boxes, objectness = boxes[solid], objectness[solid]
        kept = nms(boxes, objectness, self.nms_threshold)[: self.number]
        return boxes[kept], objectness[kept]

    def losses(
        self,
        objectness: Float[Tensor, "b n"],
        corrections: Float[Tensor, "b n 4"],
        anchors: Float[Tensor, "n 4"],
        targets: list[dict],
    ) -> dict[str, Tensor]:
        """Binary cross-entropy of the drawn anchors' objectness, and smooth L1 of the positive ones' corrections."""
        wanted, truth, at_positive, at_drawn = [], [], [], []
        for target in targets:
            boxes = target["boxes"].to(anchors)
            matches = match(iou(boxes, anchors), high=0.7, low=0.3, rescue=True)
            positive, negative = sample(matches, self.batch, 0.5)
            at_positive.append(positive)
            at_drawn.append(positive | negative)
            truth.append((matches >= 0).float())
            wanted.append(encode(boxes[matches[positive]], anchors[positive]))
        drawn, positive = torch.stack(at_drawn), torch.stack(at_positive)
        number = max(1, int(drawn.sum()))
        difference = F.smooth_l1_loss(corrections[positive], torch.cat(wanted), beta=1 / 9, reduction="sum")
        uncertain = F.binary_cross_entropy_with_logits(objectness[drawn], torch.stack(truth)[drawn], reduction="sum")
        return {"objectness": uncertain / number, "anchor corrections": difference / number}


class ProposalNetwork(nn.Module):
    """A trunk and a region proposal network alone, without a head that would tell what is in the boxes."""

    def __init__(self, trunk: nn.Module, rpn: RPN):
        super().__init__()
        self.trunk, self.rpn = trunk, rpn

    def forward(
        self, images: Float[Tensor, "b c h w"], targets: list[dict] | None = None
    ) -> list[Float[Tensor, "n 4"]] | dict[str, Tensor]:
        """Proposals for each image, best first, or with `targets` the two losses."""
        proposals, losses = self.rpn(self.trunk(images), images.shape[-2:], targets)
        return proposals if targets is None else losses
