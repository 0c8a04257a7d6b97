"""One vector, two heads: one class and one box an image (slide 14); or as many as there are slots (slide 15).

A box is learned as (x, y, w, h), its centre and size in normalized coordinates: four numbers between 0 and 1, whatever
the image's size.
"""

import torch.nn.functional as F
import torchvision
from jaxtyping import Float, Int64
from torch import Tensor, nn

from lecture_utils.arguments import check_shapes, require_positive
from lecture_utils.detection.backbone import ResidualBlock, convolution


class SingleObject(nn.Module):
    """A backbone that turns an image into one vector, a head that scores classes, and a head that gives one box.

    `backbone` maps images (b, c, h, w) to vectors (b, features). Class 0 is the background; no single object has it.
    """

    def __init__(self, backbone: nn.Module, features: int, num_classes: int):
        super().__init__()
        require_positive(features=features, num_classes=num_classes)
        self.backbone = backbone
        self.classes = nn.Linear(features, num_classes)
        self.box = nn.Linear(features, 4)
        start_at_zero(self.classes, self.box)

    def forward(self, images: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b classes"], Float[Tensor, "b 4"]]:
        """Scores (logits) of each class, and the box (x, y, w, h), normalized."""
        vector = _vector(self.backbone, images, self.box.in_features)  # b features
        return self.classes(vector).float(), self.box(vector).float()


class FixedSlots(nn.Module):
    """The same with `slots` classes and boxes an image, always that many: slide 15's first idea, and its failure.

    An empty slot is of class 0, the background. Objects beyond the last slot cannot be given.
    """

    def __init__(self, backbone: nn.Module, features: int, num_classes: int, *, slots: int = 8):
        super().__init__()
        require_positive(features=features, num_classes=num_classes, slots=slots)
        self.backbone, self.slots = backbone, slots
        self.classes = nn.Linear(features, slots * num_classes)
        self.box = nn.Linear(features, slots * 4)
        start_at_zero(self.classes, self.box)

    def forward(
        self, images: Float[Tensor, "b c h w"]
    ) -> tuple[Float[Tensor, "b slots classes"], Float[Tensor, "b slots 4"]]:
        """Scores of each class and a normalized box (x, y, w, h), for every slot."""
        vector = _vector(self.backbone, images, self.box.in_features)  # b features
        split = (self.slots, -1)
        return self.classes(vector).float().unflatten(1, split), self.box(vector).float().unflatten(1, split)


def _vector(backbone: nn.Module, images: Float[Tensor, "b c h w"], features: int) -> Float[Tensor, "b features"]:
    """What the backbone makes of images, which must be of the one size that the heads were made for."""
    vector = backbone(images)
    if vector.shape[1:] != (features,):
        size = " × ".join(map(str, images.shape[-2:]))
        raise ValueError(f"images: got {size} pixels, which become {vector.shape[1]} features, expected {features}")
    return vector


def start_at_zero(*heads: nn.Linear) -> None:
    """Let heads give zeros at first; from thousands of inputs, random weights would sum up to wild answers."""
    for head in heads:
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)


def alexnet(num_classes: int = 1000) -> SingleObject:
    """The slide's network: AlexNet up to its vector of 4096 numbers, then 4096 → classes and 4096 → 4.

    Images of 224 × 224, as AlexNet wants them (Krizhevsky, Sutskever and Hinton, NIPS 2012).
    """
    backbone = torchvision.models.alexnet(weights=None)
    backbone.classifier = backbone.classifier[:-1]  # all but the last layer, which is the head for classes
    return SingleObject(backbone, 4096, num_classes)


def city_backbone(base_channels: int = 16) -> nn.Sequential:
    """A small backbone for images of 128 × 128: residual blocks down to 64 channels of 8 × 8, laid out as 4096 numbers.

    Laid out, not averaged: an average over the map would no longer say where an object is.
    """
    require_positive(base_channels=base_channels)
    c = base_channels
    return nn.Sequential(
        convolution(3, c, stride=2), nn.ReLU(inplace=True),  # b c 64 64
        ResidualBlock(c, 2 * c, stride=2),  # b 2c 32 32
        ResidualBlock(2 * c, 4 * c, stride=2),  # b 4c 16 16
        ResidualBlock(4 * c, 64, stride=2),  # b 64 8 8
        nn.Flatten(),  # b 4096
    )  # fmt: skip


@check_shapes
def class_and_box_losses(
    scores: Float[Tensor, "b classes"],
    boxes: Float[Tensor, "b 4"],
    labels: Int64[Tensor, "b"],
    targets: Float[Tensor, "b 4"],
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """The two losses of slide 14, each the mean over the images: cross-entropy, and L2 of the box.

    L2 is the sum of the four squared differences; `boxes` and `targets` are (x, y, w, h) in shares.
    """
    return F.cross_entropy(scores, labels), (boxes - targets).square().sum(1).mean()


@check_shapes
def multi_task_loss(
    scores: Float[Tensor, "b classes"],
    boxes: Float[Tensor, "b 4"],
    labels: Int64[Tensor, "b"],
    targets: Float[Tensor, "b 4"],
    weight: float = 1.0,
) -> Float[Tensor, ""]:
    """What is trained: cross-entropy + weight · L2 (slide 14, where the weight is 1)."""
    classes, box = class_and_box_losses(scores, boxes, labels, targets)
    return classes + weight * box


@check_shapes
def slots_loss(
    scores: Float[Tensor, "b slots classes"],
    boxes: Float[Tensor, "b slots 4"],
    labels: Int64[Tensor, "b slots"],
    targets: Float[Tensor, "b slots 4"],
    weight: float = 1.0,
) -> Float[Tensor, ""]:
    """The same for fixed slots: every slot learns its class, 0 where it is empty, and the filled ones their box."""
    filled = labels > 0
    box = (boxes - targets)[filled].square().sum() / filled.sum().clamp(min=1)
    return F.cross_entropy(scores.flatten(0, 1), labels.flatten()) + weight * box


@check_shapes
def fill_slots(
    boxes: Float[Tensor, "n 4"], labels: Int64[Tensor, "n"], slots: int
) -> tuple[Float[Tensor, "slots 4"], Int64[Tensor, "slots"]]:
    """Put an image's objects into slots in the order in which they come; further ones are dropped, empty ones are 0."""
    n = min(len(boxes), slots)
    filled_boxes, filled_labels = boxes.new_zeros(slots, 4), labels.new_zeros(slots)
    filled_boxes[:n], filled_labels[:n] = boxes[:n], labels[:n]
    return filled_boxes, filled_labels
