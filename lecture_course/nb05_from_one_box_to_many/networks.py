"""What the network of notebook 05 says about streets of the toy city."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lecture_utils.datasets.single_objects import item_of
from lecture_utils.detection.boxes import denormalize_boxes
from lecture_utils.detection.single_object import SingleObject
from lecture_utils.tasks import photo_transforms
from lecture_utils.toycity import Scene


@torch.no_grad()
def one_box(model: SingleObject, scenes: Sequence[Scene], device: str) -> tuple[Tensor, Tensor, list[Tensor]]:
    """The label (scenes,) and box (scenes, 4) that a network gives for each scene, and the ground truth, each (n, 4).

    Boxes are in pixels of the 128 × 128 that the network sees. At least one scene.
    """
    images, targets = zip(*map(item_of, scenes), strict=True)
    batch = torch.stack([photo_transforms()(image).as_subclass(Tensor) for image in images])
    scores, boxes = (answer.cpu() for answer in model.eval()(batch.to(device)))
    return (
        scores.argmax(1),
        denormalize_boxes(boxes, *batch.shape[-2:]),
        [t["boxes"].as_subclass(Tensor) for t in targets],
    )
