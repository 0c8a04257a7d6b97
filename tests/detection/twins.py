"""Torchvision's networks with the weights of ours, to hold one against the other."""

from collections import OrderedDict

import torch
from torch import nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.ops import MultiScaleRoIAlign, roi_align


def torchvision_rpn(ours, sizes, ratios):
    """Torchvision's region proposal network with our weights and settings; `forward_rpn` calls it."""
    head = RPNHead(ours.conv.in_channels, len(ours.base))
    for theirs, own in ((head.conv[0][0], ours.conv), (head.cls_logits, ours.objectness)):
        theirs.load_state_dict(own.state_dict())
    head.bbox_pred.load_state_dict(ours.deltas.state_dict())
    before = dict.fromkeys(("training", "testing"), ours.pre_nms_top_n)
    after = dict.fromkeys(("training", "testing"), ours.post_nms_top_n)
    generator = AnchorGenerator((tuple(sizes),), (tuple(ratios),))
    return RegionProposalNetwork(
        generator, head, 0.7, 0.3, ours.batch_size_per_image, 0.5, before, after, ours.nms_threshold
    )


def forward_rpn(rpn, features, image_size, targets=None):
    """(proposals, losses) of torchvision's network; it gives losses in training mode only."""
    images = torch.zeros(len(features), 3, *image_size)
    rpn.train(targets is not None)
    return rpn(ImageList(images, [tuple(image_size)] * len(images)), {"0": features}, targets)


def torchvision_faster_rcnn(ours, sizes, ratios):
    """Torchvision's Faster R-CNN around our backbone, with our weights, on images as they are.

    Its RoI align is set to `aligned=True`, as ours is; by itself torchvision keeps the older half-pixel shift.
    """
    head = ours.head
    hidden = head.hidden[1].out_features
    box_head = TwoMLPHead(ours.backbone.out_channels * head.output_size**2, hidden)
    predictor = FastRCNNPredictor(hidden, head.num_classes)
    pairs = (
        (box_head.fc6, head.hidden[1]),
        (box_head.fc7, head.hidden[3]),
        (predictor.cls_score, head.classes),
        (predictor.bbox_pred, head.deltas),
    )
    for theirs, own in pairs:
        theirs.load_state_dict(own.state_dict())
    twin = FasterRCNN(
        Features(ours.backbone),
        rpn_anchor_generator=AnchorGenerator((tuple(sizes),), (tuple(ratios),)),
        box_roi_pool=Aligned(head.output_size, ours.backbone.stride),
        box_head=box_head,
        box_predictor=predictor,
        box_batch_size_per_image=head.batch_size_per_image,
        box_score_thresh=head.score_threshold,
        box_nms_thresh=head.nms_threshold,
        box_detections_per_img=head.max_detections,
    )
    twin.rpn = torchvision_rpn(ours.rpn, sizes, ratios)
    twin.transform = Unchanged()
    return twin


class Features(nn.Module):
    """A backbone as torchvision takes one: named maps, and their channels."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone, self.out_channels = backbone, backbone.out_channels

    def forward(self, images):
        return OrderedDict([("0", self.backbone(images))])


class Aligned(MultiScaleRoIAlign):
    def __init__(self, output_size, stride):
        super().__init__(["0"], output_size, sampling_ratio=2)
        self.stride = stride

    def forward(self, x, boxes, image_shapes):
        return roi_align(x["0"], boxes, self.output_size, 1 / self.stride, 2, aligned=True)


class Unchanged(nn.Module):
    """In place of torchvision's resizing and normalising of images."""

    def forward(self, images, targets=None):
        return ImageList(torch.stack(list(images)), [tuple(image.shape[-2:]) for image in images]), targets

    def postprocess(self, result, image_shapes, original_image_sizes):
        return result
