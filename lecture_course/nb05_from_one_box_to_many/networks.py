"""What the network of notebook 05 says about streets of the toy city."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from lecture_utils.datasets.single_objects import item_of
from lecture_utils.detection.boxes import box_iou, denormalize_boxes, normalize_boxes
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


def place_and_size(given: Float[Tensor, "n 4"], truth: Float[Tensor, "n 4"]) -> tuple[Tensor, dict[str, float]]:
    """By how many pixels normalized boxes `given` are off in x, y, w, h (n, 4), and what either half of that costs.

    `truth` has corners in pixels of 128 × 128. What it costs: the fraction of boxes with an IoU of 0.5 or more if they
    had the true centres, or the true sizes.
    """
    side = 128
    true = normalize_boxes(truth, side, side)
    mixed = {"true centres": (true[:, :2], given[:, 2:]), "true sizes": (given[:, :2], true[:, 2:])}
    corners = {name: denormalize_boxes(torch.cat(parts, 1), side, side) for name, parts in mixed.items()}
    fits = {name: (box_iou(truth, boxes).diagonal() >= 0.5).float().mean().item() for name, boxes in corners.items()}
    return side * (given - true).abs(), fits


def against_means(slots: Float[Tensor, "b k 4"], truths: Sequence[Float[Tensor, "n 4"]]) -> list[dict[str, float]]:
    """For each slot how far, in pixels, its centres are from the mean of its own objects' centres and from the objects.

    The normalized boxes of `slots` hold for each image an object each, in the order of its `truths`, whose corners are
    in pixels of 128 × 128; only streets that have an object for the slot count. Also the standard deviations of the
    answers and of the objects, both from left to right.
    """
    rows = []
    for k in range(slots.shape[1]):
        has = [i for i, boxes in enumerate(truths) if len(boxes) > k]
        if len(has) < 2:
            break
        wanted = 128 * normalize_boxes(torch.stack([truths[i][k] for i in has]).float(), 128, 128)[:, :2]
        given = 128 * slots[has, k, :2]
        far = [(given - to).norm(dim=1).mean().item() for to in (wanted.mean(0), wanted)]
        rows.append({
            "streets": len(has), "to the mean": far[0], "to the object": far[1],
            "deviation of answers": given[:, 0].std().item(), "deviation of objects": wanted[:, 0].std().item(),
        })  # fmt: skip
    return rows
