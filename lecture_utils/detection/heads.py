"""The head that R-CNN, Fast R-CNN and Faster R-CNN share: which class is in a region, and the deltas of its box.

Slide 18; Girshick, "Fast R-CNN", ICCV 2015, sections 2.1 and 2.3.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torchvision.ops import batched_nms

from lecture_utils.arguments import check_shapes, require_positive
from lecture_utils.detection.boxes import box_iou, clip_boxes_to_image, decode, encode, remove_small_boxes
from lecture_utils.detection.matching import balanced_sample, match_boxes

WEIGHTS = (10.0, 10.0, 5.0, 5.0)  # of the deltas: brings them to about unit variance
Proposals = list[Tensor]


class RegionHead(nn.Module):
    """Two hidden layers over the features of a region, then a score per class and four deltas per class.

    Class 0 is the background. `output_size` is the height and the width of a region's feature map, as in RoI align.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        output_size: int = 7,
        hidden: int = 256,
        batch_size_per_image: int = 512,
        score_threshold: float = 0.05,
        nms_threshold: float = 0.5,
        max_detections: int = 100,
    ):
        super().__init__()
        require_positive(
            in_channels=in_channels,
            num_classes=num_classes,
            output_size=output_size,
            hidden=hidden,
            batch_size_per_image=batch_size_per_image,
            max_detections=max_detections,
        )
        self.output_size, self.num_classes = output_size, num_classes
        self.batch_size_per_image = batch_size_per_image
        self.score_threshold, self.nms_threshold, self.max_detections = score_threshold, nms_threshold, max_detections
        self.hidden = nn.Sequential(
            nn.Flatten(), nn.Linear(in_channels * output_size**2, hidden), nn.ReLU(inplace=True),
            nn.Linear(hidden, hidden), nn.ReLU(inplace=True),
        )  # fmt: skip
        self.classes = nn.Linear(hidden, num_classes)
        self.deltas = nn.Linear(hidden, 4 * num_classes)
        nn.init.normal_(self.classes.weight, std=0.01)
        nn.init.normal_(self.deltas.weight, std=0.001)
        nn.init.zeros_(self.classes.bias)
        nn.init.zeros_(self.deltas.bias)

    def forward(
        self,
        roi_features: Callable[[Proposals], Float[Tensor, "n c side side"]],
        proposals: Proposals,
        image_size: tuple[int, int],
        targets: list[dict] | None = None,
    ) -> list[dict] | dict[str, Tensor]:
        """Detections for each image, or with `targets` the two losses of the regions sampled for training.

        `roi_features(proposals)` gives the features of every proposal of every image, one after the other; here the
        three detectors differ. `proposals` holds (n, 4) boxes for each image, `targets` their `boxes` and `labels`.
        """
        if targets is None:
            scores, deltas = self.predict(roi_features(proposals))
            return self.postprocess_detections(scores, deltas, proposals, image_size)
        proposals, labels, boxes = self.sample_proposals(proposals, targets)
        scores, deltas = self.predict(roi_features(proposals))
        return region_losses(scores, deltas, torch.cat(proposals), torch.cat(labels), torch.cat(boxes))

    def predict(
        self, features: Float[Tensor, "n c side side"]
    ) -> tuple[Float[Tensor, "n classes"], Float[Tensor, "n classes 4"]]:
        """Score every class (logits) and give the deltas of the box for every class."""
        x = self.hidden(features)
        return self.classes(x).float(), self.deltas(x).float().unflatten(1, (self.num_classes, 4))

    def sample_proposals(
        self, proposals: Proposals, targets: list[dict]
    ) -> tuple[Proposals, list[Tensor], list[Tensor]]:
        """Sample regions to train on in each image, with their classes and boxes; at most a quarter shows an object.

        The objects' own boxes join the proposals, so that there is something to learn from at the start.
        """
        chosen, labels, boxes = [], [], []
        for candidates, target in zip(proposals, targets, strict=True):
            objects, names = target["boxes"].to(candidates), target["labels"].to(candidates.device)
            candidates = torch.cat([candidates, objects])
            matches = match_boxes(box_iou(objects, candidates), high=0.5, low=0.5)
            positive, negative = balanced_sample(matches, self.batch_size_per_image, 0.25)
            sampled = positive | negative
            candidates, matches = candidates[sampled], matches[sampled]
            # Background has no object: class 0 and, as its box, the region itself, which no loss looks at.
            label, box, found = torch.zeros_like(matches), candidates.clone(), matches >= 0
            label[found], box[found] = names[matches[found]], objects[matches[found]]
            chosen.append(candidates)
            labels.append(label)
            boxes.append(box)
        return chosen, labels, boxes

    def postprocess_detections(
        self,
        scores: Float[Tensor, "n classes"],
        deltas: Float[Tensor, "n classes 4"],
        proposals: Proposals,
        image_size: tuple[int, int],
    ) -> list[dict]:
        """Corrected boxes above the score threshold, after NMS within each class: `boxes`, `labels`, `scores`."""
        found = []
        counts = [len(boxes) for boxes in proposals]
        for boxes, score, delta in zip(proposals, scores.split(counts), deltas.split(counts), strict=True):
            boxes = decode(delta, boxes[:, None].expand_as(delta), WEIGHTS)
            boxes = clip_boxes_to_image(boxes, image_size)[:, 1:]  # n classes−1 4: the background has no box
            score = score.softmax(1)[:, 1:]
            region, label = (score > self.score_threshold).nonzero(as_tuple=True)
            boxes, score, label = boxes[region, label], score[region, label], label + 1
            solid = remove_small_boxes(boxes, 1e-2)
            boxes, score, label = boxes[solid], score[solid], label[solid]
            kept = batched_nms(boxes, score, label, self.nms_threshold)[: self.max_detections]
            found.append({"boxes": boxes[kept], "labels": label[kept], "scores": score[kept]})
        return found


@check_shapes
def region_losses(
    scores: Float[Tensor, "n classes"],
    deltas: Float[Tensor, "n classes 4"],
    proposals: Float[Tensor, "n 4"],
    labels: Int64[Tensor, "n"],
    boxes: Float[Tensor, "n 4"],
) -> dict[str, Tensor]:
    """Cross-entropy of the classes, and smooth L1 of the true class's deltas where there is an object.

    Both are divided by the number of regions, so that an object counts the same in every image.
    """
    number = max(1, len(labels))
    objects = labels > 0
    wanted = encode(boxes[objects], proposals[objects], WEIGHTS)
    given = deltas[objects, labels[objects]]
    return {
        "class": F.cross_entropy(scores, labels, reduction="sum") / number,
        "box deltas": F.smooth_l1_loss(given, wanted, beta=1.0, reduction="sum") / number,
    }
