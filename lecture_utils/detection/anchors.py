"""Anchors: boxes of fixed shapes at every point of a feature map (slides 21 and 22; Faster R-CNN, section 3.1).

The base anchors and the order over a map are those of torchvision's `AnchorGenerator`.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from lecture_utils.arguments import check_shapes


def base_anchors(sizes: Sequence[int | float], ratios: Sequence[int | float]) -> Float[Tensor, "k 4"]:
    """K = sizes × ratios boxes around the origin, in whole pixels, sizes varying fastest.

    A size is the square root of the area in pixels; a ratio is height / width, so 2 is tall and ½ is wide.
    """
    size, ratio = (torch.as_tensor(values, dtype=torch.float32) for values in (sizes, ratios))
    for name, values in (("sizes", size), ("ratios", ratio)):
        if values.ndim != 1 or not len(values) or not (values > 0).all():
            raise ValueError(f"{name}: got {values.tolist()}, expected a list of at least one number, all above 0")
    height = ratio.sqrt()
    w, h = ((1 / height)[:, None] * size).flatten(), (height[:, None] * size).flatten()
    return (torch.stack([-w, -h, w, h], dim=1) / 2).round()


@check_shapes
def grid_anchors(
    base: Float[Tensor, "k 4"], map_size: tuple[int, int], stride: int | tuple[int, int]
) -> Float[Tensor, "anchors 4"]:
    """The K base anchors at each of the h · w points, `stride` pixels apart, of a feature map (h, w): h·w·K anchors.

    Row by row, and the K anchors of a point beside each other. The first point sits at pixel (0, 0). `stride` may be
    two numbers, (vertical, horizontal), as where the map has 38 × 63 points for 600 × 1000 pixels; torchvision divides
    and rounds down, here to 15 and 15.
    """
    (height, width), (down, right) = map_size, (stride, stride) if isinstance(stride, int) else stride
    if min(height, width) < 0 or min(down, right) <= 0:
        raise ValueError(f"map_size, stride: got {map_size}, {stride}, expected sizes from 0 and strides above 0")
    y = torch.arange(height, device=base.device) * down
    x = torch.arange(width, device=base.device) * right
    y, x = torch.meshgrid(y, x, indexing="ij")
    points = torch.stack([x, y, x, y], dim=-1).reshape(-1, 1, 4)
    return (points + base).reshape(-1, 4)
