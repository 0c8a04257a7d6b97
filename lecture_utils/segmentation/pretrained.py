"""Torchvision's FCN-ResNet50, trained on COCO's photographs, for photographs of the reader's own.

The design of Long et al. (CVPR 2015) on a ResNet-50 whose last two stages are dilated, so that its scores are an eighth
of the image's size; they are enlarged bilinearly. Its 21 classes are those of Pascal VOC, the background first.
"""

import torch
from jaxtyping import UInt8
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torchvision.models.segmentation import FCN_ResNet50_Weights, fcn_resnet50

from lecture_utils.downloads import load_downloaded

WEIGHTS = FCN_ResNet50_Weights.COCO_WITH_VOC_LABELS_V1


class PretrainedFCN(nn.Module):
    """A photograph in, its label map out; `.categories` names the labels."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network, self.prepare = network, WEIGHTS.transforms()
        self.categories = tuple(name.strip("_") for name in WEIGHTS.meta["categories"])

    @torch.no_grad()
    def forward(self, image: UInt8[Tensor, "3 h w"]) -> UInt8[Tensor, "h w"]:
        """The class of every pixel. The network sees the photograph with 520 pixels on its short side."""
        if image.ndim != 3 or len(image) != 3 or image.dtype != torch.uint8:
            raise ValueError(f"image: got {image.dtype} {tuple(image.shape)}, expected torch.uint8 (3, h, w)")
        device = next(self.parameters()).device
        scores = self.network.eval()(self.prepare(image.as_subclass(Tensor).to(device))[None])["out"]
        return interpolate(scores, image.shape[1:], mode="bilinear").argmax(dim=1)[0].byte()


def pretrained_fcn(*, trained: bool = True, progress: bool = True) -> PretrainedFCN:
    """Torchvision's network with its weights (135 MB), which torch downloads at the first call and keeps.

    `trained=False` gives random weights, without a download. FileNotFoundError without a network: it names the file and
    its place, where one fetched elsewhere is found, too. ValueError for a damaged file.
    """
    classes = len(WEIGHTS.meta["categories"])
    network = fcn_resnet50(weights=None, weights_backbone=None, num_classes=classes, aux_loss=True)
    if trained:
        load_downloaded(network, WEIGHTS, progress=progress)
    return PretrainedFCN(network).eval()
