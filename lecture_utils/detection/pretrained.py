"""Torchvision's Faster R-CNN, trained on COCO's photographs, that takes and gives what the course's detectors do.

Two kinds, both on a ResNet-50 with a feature pyramid: version 1 after Ren et al. (NIPS 2015) and Lin et al. (CVPR
2017), version 2 trained as in Li et al., "Benchmarking detection transfer learning with vision transformers" (2021).
"""

from collections.abc import Sequence

import torch
from jaxtyping import UInt8
from torch import Tensor, nn
from torchvision.models.detection import (
    FasterRCNN,
    FasterRCNN_ResNet50_FPN_V2_Weights,
    FasterRCNN_ResNet50_FPN_Weights,
    fasterrcnn_resnet50_fpn_v2,
)
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.ops import FrozenBatchNorm2d

from lecture_utils.downloads import load_downloaded

WEIGHTS = {1: FasterRCNN_ResNet50_FPN_Weights.COCO_V1, 2: FasterRCNN_ResNet50_FPN_V2_Weights.COCO_V1}


class PretrainedFasterRCNN(nn.Module):
    """Photographs in, `boxes`, `labels` and `scores` out; `.categories` names the labels, the background at 0.

    COCO numbers its 80 categories up to 90, with gaps. Here they are 1 to 80 in the same order, as `CocoInstances`
    counts them, so that `CocoScores` can hold detections against any COCO annotations.
    """

    def __init__(self, network: nn.Module, categories: Sequence[str]):
        super().__init__()
        self.network = network
        known = [name for name in categories if name not in ("__background__", "N/A")]
        self.categories = ("background", *known)
        label_of = [1 + known.index(name) if name in known else 0 for name in categories]
        self.register_buffer("label_of", torch.tensor(label_of), persistent=False)

    @torch.no_grad()
    def forward(self, images: Sequence[UInt8[Tensor, "3 h w"]]) -> list[dict]:
        """Detections for each photograph, best first. Sizes may differ: the network resizes and normalises itself."""
        for image in images:
            if image.ndim != 3 or len(image) != 3 or image.dtype != torch.uint8:
                raise ValueError(f"images: got {image.dtype} {tuple(image.shape)}, expected torch.uint8 (3, h, w) each")
        device = self.label_of.device
        found = self.network.eval()([image.as_subclass(Tensor).to(device) / 255 for image in images])
        return [self.renumber(one) for one in found]

    def renumber(self, found: dict[str, Tensor]) -> dict[str, Tensor]:
        """Detections whose `labels` are torchvision's, counted as `.categories` does, without those of none."""
        labels = self.label_of[found["labels"]]
        kept = labels > 0
        return {"boxes": found["boxes"][kept], "labels": labels[kept], "scores": found["scores"][kept]}


def pretrained_faster_rcnn(
    version: int = 1, *, trained: bool = True, progress: bool = True, **settings
) -> PretrainedFasterRCNN:
    """Torchvision's detector with its weights (160 MB), which torch downloads at the first call and keeps.

    `settings` go to torchvision, as `min_size=400` (default 800 pixels on the short side; fewer are faster), or
    `box_score_thresh=0.5`. `trained=False` gives random weights, without a download. FileNotFoundError without a
    network: it names the file and its place, where one fetched elsewhere is found, too. ValueError for a damaged file.
    """
    if version not in WEIGHTS:
        raise ValueError(f"version: got {version!r}, expected 1 or 2")
    weights = WEIGHTS[version]
    categories = weights.meta["categories"]
    network = (_version_1 if version == 1 else _version_2)(len(categories), **settings)
    if trained:
        load_downloaded(network, weights, progress=progress)
    return PretrainedFasterRCNN(network, categories).eval()


def _version_1(num_classes: int, **settings) -> nn.Module:
    """As `fasterrcnn_resnet50_fpn` builds it with weights; without them its normalisations would be there to train."""
    network = FasterRCNN(resnet_fpn_backbone(backbone_name="resnet50", weights=None), num_classes, **settings)
    for layer in network.modules():
        if isinstance(layer, FrozenBatchNorm2d):
            layer.eps = 0.0  # as in the training of these weights
    return network


def _version_2(num_classes: int, **settings) -> nn.Module:
    return fasterrcnn_resnet50_fpn_v2(weights=None, weights_backbone=None, num_classes=num_classes, **settings)
