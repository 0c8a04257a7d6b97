"""The detectors' own arithmetic beside torchvision's compiled one, on the same boxes: `make bench` groups the pairs.

Threads are what the process has; `OMP_NUM_THREADS=1` compares the two on one core.
"""

import pytest
import torch
from torchvision import ops
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList

from lecture_utils.detection.anchors import base_anchors, grid_anchors
from lecture_utils.detection.boxes import box_iou, nms
from lecture_utils.detection.roi import roi_align, roi_pool

SIZES, RATIOS = (8.0, 16.0, 32.0), (0.5, 1.0, 2.0)
MAP, STRIDE, SIDE = (32, 32), 4, 7


def proposals(number, side=128.0):
    """Boxes as a region proposal network gives them: in heaps, about 40 of them, and some anywhere."""
    generator = torch.Generator().manual_seed(0)
    low, size = (torch.rand(number, 2, generator=generator) for _ in range(2))
    boxes = torch.cat([low * (side - 20), low * (side - 20) + 4 + size * 40], 1)
    heaps = boxes[torch.randint(40, (number,), generator=generator)] + torch.randn(number, 4, generator=generator) * 2
    heaps[:, 2:] = torch.maximum(heaps[:, 2:], heaps[:, :2] + 1)
    return torch.where(torch.arange(number)[:, None] % 5 > 0, heaps, boxes).clamp(0, side)


def torchvision_anchors():
    images = ImageList(torch.zeros(1, 3, MAP[0] * STRIDE, MAP[1] * STRIDE), [(MAP[0] * STRIDE, MAP[1] * STRIDE)])
    features, generator = [torch.zeros(1, 1, *MAP)], AnchorGenerator((SIZES,), (RATIOS,))
    return lambda: generator(images, features)[0]


def pairs():
    """name → (ours, torchvision's), without arguments."""
    boxes, regions = proposals(2000), [proposals(300)]
    scores, features = torch.rand(2000, generator=torch.Generator().manual_seed(1)), torch.randn(1, 64, *MAP)
    pool = features, regions, SIDE, 1 / STRIDE
    base = base_anchors(SIZES, RATIOS)  # made once, as torchvision's are
    return {
        "IoU, 2000 by 2000 boxes": (lambda: box_iou(boxes, boxes), lambda: ops.box_iou(boxes, boxes)),
        "NMS at 0.7, 2000 boxes": (lambda: nms(boxes, scores, 0.7), lambda: ops.nms(boxes, scores, 0.7)),
        "NMS at 0.3, 2000 boxes": (lambda: nms(boxes, scores, 0.3), lambda: ops.nms(boxes, scores, 0.3)),
        "RoI pooling, 300 boxes": (lambda: roi_pool(*pool), lambda: ops.roi_pool(*pool)),
        "RoI align, 300 boxes, 2 points": (lambda: roi_align(*pool, 2, True), lambda: ops.roi_align(*pool, 2, True)),
        "RoI align, 300 boxes, adaptive": (lambda: roi_align(*pool, -1, True), lambda: ops.roi_align(*pool, -1, True)),
        "anchors, 9 at 32 by 32 points": (
            lambda: grid_anchors(base, MAP, STRIDE),
            torchvision_anchors(),
        ),
    }


PAIRS = pairs()


@pytest.mark.parametrize("whose", ["ours", "torchvision"])
@pytest.mark.parametrize("name", PAIRS)
def test_detection(benchmark, name, whose):
    benchmark.group = name
    ours, theirs = PAIRS[name]
    with torch.inference_mode():
        result = benchmark(ours if whose == "ours" else theirs)
        torch.testing.assert_close(result, theirs(), rtol=1e-5, atol=1e-5)
