"""Photographs before two detectors: torchvision's pretrained Faster R-CNN, taken apart, and one of the toy city.

Of the first the backbone, the anchors and the layers are torchvision's; what stands between them, decode and NMS, is
what notebook 07 taught.
"""

from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from skimage.data import coffee
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms.v2.functional import resize

from lecture_utils.datasets import read_photo
from lecture_utils.detection import FasterRCNN
from lecture_utils.detection.boxes import clip_boxes_to_image, decode, nms, remove_small_boxes
from lecture_utils.detection.heads import WEIGHTS
from lecture_utils.detection.pretrained import PretrainedFasterRCNN
from lecture_utils.detection.scores import apply_nms
from lecture_utils.tasks import photo_transforms


def read(path: str | Path | None) -> UInt8[Tensor, "3 h w"]:
    """A photograph of yours, or, without a path, the cup of coffee that comes with scikit-image."""
    return torch.from_numpy(read_photo(path) if path else coffee()).permute(2, 0, 1)


@torch.no_grad()
def detect(detector: PretrainedFasterRCNN, photo: UInt8[Tensor, "3 h w"]) -> dict[str, Tensor]:
    """The detections of a photograph, `boxes`, `labels` and `scores`, best first, as the detector itself gives them."""
    network = detector.network.eval()
    images, _ = network.transform([photo.to(detector.label_of.device) / 255])  # resized and normalised
    (size,) = images.image_sizes
    features = network.backbone(images.tensors)  # five maps, the finest first
    found = classify(network, features, propose(network, images, features), size)
    scale = photo.shape[1] / size[0], photo.shape[2] / size[1]
    found["boxes"] = found["boxes"] * found["boxes"].new_tensor([scale[1], scale[0]] * 2)
    return detector.renumber(found)


def propose(network, images, features: dict[str, Tensor]) -> Float[Tensor, "n 4"]:
    """Proposals: decode, sort, NMS, for each feature map by itself, and the best of them all."""
    rpn, maps = network.rpn, list(features.values())
    (anchors,) = rpn.anchor_generator(images, maps)
    boxes, scores = [], []
    for objectness, deltas in zip(*rpn.head(maps), strict=True):
        k, height, width = objectness.shape[1:]
        score = objectness[0].permute(1, 2, 0).flatten()  # K h w → h w K
        delta = deltas[0].view(k, 4, height, width).permute(2, 3, 0, 1).reshape(-1, 4)
        here, anchors = anchors[: len(score)], anchors[len(score) :]
        score, order = score.topk(min(rpn.pre_nms_top_n(), len(score)))
        box = clip_boxes_to_image(decode(delta[order], here[order]), images.image_sizes[0])
        solid = remove_small_boxes(box, rpn.min_size)
        kept = solid[nms(box[solid], score[solid], rpn.nms_thresh)]
        boxes.append(box[kept])
        scores.append(score[kept])
    best = torch.cat(scores).argsort(descending=True, stable=True)[: rpn.post_nms_top_n()]
    return torch.cat(boxes)[best]


def classify(network, features: dict[str, Tensor], proposals: Tensor, size: tuple[int, int]) -> dict[str, Tensor]:
    """Detections: the classes of the proposals, their boxes decoded once more, NMS within each class."""
    heads = network.roi_heads
    scores, deltas = heads.box_predictor(heads.box_head(heads.box_roi_pool(features, [proposals], [size])))
    deltas, scores = deltas.unflatten(1, (-1, 4)), scores.softmax(1)
    boxes = clip_boxes_to_image(decode(deltas, proposals[:, None].expand_as(deltas), WEIGHTS), size)
    region, label = (scores[:, 1:] > heads.score_thresh).nonzero(as_tuple=True)  # 0 is the background
    found = {"boxes": boxes[region, label + 1], "labels": label + 1, "scores": scores[region, label + 1]}
    solid = remove_small_boxes(found["boxes"], 1e-2)
    (found,) = apply_nms([{key: values[solid] for key, values in found.items()}], iou_threshold=heads.nms_thresh)
    return {key: values[: heads.detections_per_img] for key, values in found.items()}


@torch.no_grad()
def in_the_city(detector: FasterRCNN, photo: UInt8[Tensor, "3 h w"], *, side: int = 128) -> dict[str, Tensor]:
    """What a detector of the toy city finds in a photograph, reduced so that its shorter side has `side` pixels."""
    small = resize(tv_tensors.Image(photo), [side], antialias=True)
    device = next(detector.parameters()).device
    (found,) = detector(photo_transforms()(small).as_subclass(Tensor)[None].to(device))
    scale = [long / short for long, short in zip(photo.shape[:0:-1], small.shape[:0:-1], strict=True)]
    found["boxes"] = found["boxes"] * found["boxes"].new_tensor(scale * 2)
    return found
