"""Regions of interest: features of one size from boxes of any size (slide 19).

RoI pooling: Girshick, "Fast R-CNN", ICCV 2015, section 2.1. RoI align: He et al., "Mask R-CNN", ICCV 2017, section 3.
Both give what `torchvision.ops.roi_pool` and `roi_align` give. `boxes` hold (x0, y0, x1, y1) in pixels of the image, as
a list with the (n, 4) boxes of each image or as one (n, 5) tensor whose first column says which image of the batch;
`spatial_scale` takes them to the feature map (¼ where the backbone has stride 4). Zero boxes are fine.
"""

from collections.abc import Sequence
from functools import reduce

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from lecture_utils.arguments import Pair, pair

Boxes = Tensor | Sequence[Tensor]


def roi_pool(
    features: Float[Tensor, "b c h w"], boxes: Boxes, output_size: Pair, spatial_scale: int | float = 1.0
) -> Float[Tensor, "n c h_out w_out"]:
    """Round each box to whole cells of the map, divide these into parts, take their maxima.

    `output_size` is the number of parts (height, width). Every box gets at least one cell. Parts share cells where
    these do not divide evenly; a part beyond the map gives 0. Equal maxima share the gradient, which torchvision gives
    to the first.
    """
    image, corners = by_image(features, boxes)
    (down, across), (height, width) = pair("output_size", output_size, least=1), features.shape[2:]
    x0, y0, x1, y1 = (corners * spatial_scale).unbind(1)
    rows = pooled_cells(y0, y1, down, height)[:, :, None, :, None]
    columns = pooled_cells(x0, x1, across, width)[:, None, :, None, :]
    cells = ((image.view(-1, 1, 1, 1, 1) * height + rows) * width + columns).clamp(min=0).flatten(3)
    flat = features.permute(0, 2, 3, 1).flatten(0, 2).contiguous()  # a row of channels for each cell of each map
    # The first cell of every part, then the second, …: what is held at a time is as large as the output.
    pooled = reduce(torch.maximum, (flat[cell] for cell in cells.unbind(3)))  # n h_out w_out c
    empty = ((rows < 0) | (columns < 0)).flatten(3)[..., :1]
    return pooled.masked_fill(empty, 0).permute(0, 3, 1, 2)


def pooled_cells(
    low: Float[Tensor, "n"], high: Float[Tensor, "n"], number: int, length: int
) -> Int64[Tensor, "n number cells"]:
    """The rows, or the columns, of each of the `number` parts into which RoI pooling divides `low` to `high`.

    `length` is that of the map. Shorter parts repeat their last cell, which changes no maximum; −1 is a part without.
    """
    low, high = ((edge.abs() + 0.5).floor() * edge.sign() for edge in (low, high))  # halves away from 0, as C rounds
    part = (high - low + 1).clamp(min=1)[:, None] / number
    i = torch.arange(number, device=low.device)
    first = (low[:, None] + (i * part).floor()).clamp(0, length).long()
    end = (low[:, None] + ((i + 1) * part).ceil()).clamp(0, length).long()
    longest = max((end - first).flatten().tolist(), default=1)
    cells = first[..., None] + torch.arange(max(1, longest), device=low.device)
    return torch.where(first < end, end - 1, -1)[..., None].minimum(cells)


def roi_align(
    features: Float[Tensor, "b c h w"],
    boxes: Boxes,
    output_size: Pair,
    spatial_scale: int | float = 1.0,
    sampling_ratio: int = -1,
    aligned: bool = False,
) -> Float[Tensor, "n c h_out w_out"]:
    """Divide each box, unrounded, into parts, and average what is read at points in each one.

    `output_size` is the number of parts (height, width). A part has `sampling_ratio` × `sampling_ratio` points, read by
    bilinear interpolation; with 0 or less, as many as it is cells high and wide, rounded up. With `aligned` a feature
    stands in the middle of its cell, half a cell from the corner; without, in the corner, as in the first
    implementations, and what is smaller than a cell grows to one.

    Reading and averaging are linear: a part is a weighted sum of cells. The weights are the same for all columns of a
    map, so first sums of whole rows are taken, and then, in these, sums of columns.
    """
    image, corners = by_image(features, boxes)
    (down, across), (_, channels, height, width) = pair("output_size", output_size, least=1), features.shape
    x0, y0, x1, y1 = (corners * spatial_scale).unbind(1)
    rows, row_weights = cells_to_read(sample_points(y0, y1, down, sampling_ratio, aligned), height)
    columns, column_weights = cells_to_read(sample_points(x0, x1, across, sampling_ratio, aligned), width)
    maps = features.permute(0, 2, 3, 1).flatten(2).flatten(0, 1)  # b·h w·c
    bands = weighted_sums(maps, image[:, None, None] * height + rows, row_weights)  # n down w·c
    bands = bands.view(bands.shape[0] * down * width, channels)
    first = torch.arange(0, len(bands), width, device=bands.device).view(len(image), down, 1, 1)  # cell of each band
    columns, column_weights = first + columns[:, None], column_weights[:, None].expand(-1, down, -1, -1)
    return weighted_sums(bands, columns, column_weights).permute(0, 3, 1, 2)


def sample_points(
    low: Float[Tensor, "n"], high: Float[Tensor, "n"], number: int, sampling_ratio: int = -1, aligned: bool = False
) -> Float[Tensor, "n number points"]:
    """Where RoI align reads along one axis: points evenly spread over each of the `number` parts of `low` to `high`.

    A point at 2 reads the feature of cell 2. nan fills up boxes that have fewer points than the largest one.
    """
    low, high = (low - 0.5, high - 0.5) if aligned else (low, high)
    extent = high - low if aligned else (high - low).clamp(min=1)
    low, part = low[:, None, None], extent[:, None, None] / number
    count = part.ceil().clamp(min=0) if sampling_ratio <= 0 else torch.full_like(part, sampling_ratio)
    i = torch.arange(number, device=part.device)[:, None]
    k = torch.arange(int(max([1, *count.flatten().tolist()])), device=part.device)
    points = low + i * part + (k + 0.5) * part / count.clamp(min=1)
    return points.masked_fill(k >= count, float("nan"))


def cells_to_read(
    points: Float[Tensor, "n number points"], length: int
) -> tuple[Int64[Tensor, "n number cells"], Float[Tensor, "n number cells"]]:
    """The cells among `length` that each part reads, and their weights: points are interpolated linearly and averaged.

    Up to one cell beyond the ends the nearest cell counts; what is read further out is 0, a cell of weight 0.
    """
    inside, number = (points >= -1) & (points <= length), (~points.isnan()).sum(2, keepdim=True).clamp(min=1)
    points = points.nan_to_num().clamp(0, length - 1)
    before = points.floor()
    weights = torch.stack([1 - (points - before), points - before], dim=-1) * (inside / number)[..., None]
    cells = torch.stack([before, (before + 1).clamp(max=length - 1)], dim=-1).long()
    return cells.flatten(2), weights.flatten(2)


def weighted_sums(
    table: Float[Tensor, "rows d"], rows: Int64[Tensor, "*n k"], weights: Float[Tensor, "*n k"]
) -> Float[Tensor, "*n d"]:
    """Of each k rows of a table, by their numbers, the weighted sum."""
    bags, weights = rows.flatten(0, -2), weights.to(table).flatten(0, -2)
    return F.embedding_bag(bags, table, per_sample_weights=weights, mode="sum").view(*rows.shape[:-1], table.shape[1])


def by_image(features: Float[Tensor, "b c h w"], boxes: Boxes) -> tuple[Int64[Tensor, "n"], Float[Tensor, "n 4"]]:
    """Which image of the batch each box is in, and its corners."""
    if features.ndim != 4 or 0 in features.shape[2:]:
        raise ValueError(f"features: got shape {tuple(features.shape)}, expected (batch, channels, height, width)")
    batch = len(features)
    if isinstance(boxes, Tensor):
        if boxes.ndim != 2 or boxes.shape[1] != 5:
            raise ValueError(
                f"boxes: got shape {tuple(boxes.shape)}, expected (n, 5), the image's number before each box, "
                "or a list with the (n, 4) boxes of each image"
            )
        image = boxes[:, 0].long()
        if len(image) and not 0 <= image.min() <= image.max() < batch:
            raise ValueError(f"boxes: got images {image.min()} to {image.max()}, expected 0 to {batch - 1}")
        return image, boxes[:, 1:]
    shapes = [tuple(one.shape) for one in boxes]
    if len(boxes) != batch or any(len(shape) != 2 or shape[1] != 4 for shape in shapes):
        raise ValueError(f"boxes: got shapes {shapes}, expected (n, 4) for each of the {batch} images")
    image = torch.arange(batch).repeat_interleave(torch.tensor([len(one) for one in boxes], dtype=torch.int64))
    return image.to(features.device), torch.cat([*boxes, features.new_zeros(0, 4)])
