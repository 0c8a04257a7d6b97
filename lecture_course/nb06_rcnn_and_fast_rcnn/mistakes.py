"""Wrong corrections and wrong crops that students of notebook 06 write, and what to say to each."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from lecture_course.engine.definitions import mistakes
from lecture_course.nb06_rcnn_and_fast_rcnn.regions import pool_region
from lecture_utils.detection.boxes import cxcywh_to_xyxy, decode, encode, xyxy_to_cxcywh

Correct = Callable[[Tensor, Tensor], Tensor]


def encoded(shift: Callable, growth: Callable) -> Correct:
    """Corrections by other formulas; each is given the centres and sizes of box and proposal, (n, 2)."""

    def wrong(boxes: Tensor, proposals: Tensor) -> Tensor:
        (place, size), (own_place, own_size) = (
            (x[:, :2], x[:, 2:]) for x in (xyxy_to_cxcywh(boxes), xyxy_to_cxcywh(proposals))
        )
        return torch.cat([shift(place, size, own_place, own_size), growth(size, own_size)], dim=1)

    return wrong


def right_shift(place: Tensor, size: Tensor, own_place: Tensor, own_size: Tensor) -> Tensor:
    return (place - own_place) / own_size


def right_growth(size: Tensor, own_size: Tensor) -> Tensor:
    return (size / own_size).log()


def corner_shift(place: Tensor, size: Tensor, own_place: Tensor, own_size: Tensor) -> Tensor:
    return ((place - size / 2) - (own_place - own_size / 2)) / own_size


def one_too_large(boxes: Tensor, proposals: Tensor) -> Tensor:
    extra = torch.tensor([0, 0, 1, 1])
    return encode(boxes + extra, proposals + extra)


def decoded(move: Callable, grow: Callable) -> Correct:
    """Boxes by other formulas for the centre, and for the size."""

    def wrong(deltas: Tensor, proposals: Tensor) -> Tensor:
        own = xyxy_to_cxcywh(proposals)
        place, size = own[:, :2], own[:, 2:]
        new_size = grow(size, deltas[:, 2:])
        return cxcywh_to_xyxy(torch.cat([move(place, size, deltas[:, :2], new_size), new_size], dim=1))

    return wrong


def right_move(place: Tensor, size: Tensor, shift: Tensor, new_size: Tensor) -> Tensor:
    return place + shift * size


def right_grow(size: Tensor, growth: Tensor) -> Tensor:
    return size * growth.exp()


def from_the_corner(deltas: Tensor, proposals: Tensor) -> Tensor:
    size = proposals[:, 2:] - proposals[:, :2]
    corner = proposals[:, :2] + deltas[:, :2] * size
    return torch.cat([corner, corner + size * deltas[:, 2:].exp()], dim=1)


def pooled(corners: Callable = torch.round, first: Callable = torch.floor, end: Callable = torch.ceil, more: int = 1):
    """RoI pooling by other roundings of the corners and of the parts' ends, and with `more` cells to a side."""

    def wrong(features: Tensor, box: Tensor, size: tuple[int, int]) -> Tensor:
        x0, y0, x1, y1 = corners(box)
        axes = []
        for low, high, number, length in ((y0, y1, size[0], features.shape[1]), (x0, x1, size[1], features.shape[2])):
            part, count = (high - low + more) / number, torch.arange(number)
            starts, ends = low + first(count * part), low + end((count + 1) * part)
            axes.append([(int(a), min(int(b), length)) for a, b in zip(starts, ends, strict=True)])
        rows = [[features[:, a:b, c:d].amax((1, 2)) for c, d in axes[1]] for a, b in axes[0]]
        return torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)

    return wrong


def cut_first(features: Tensor, box: Tensor, size: tuple[int, int]) -> Tensor:
    limit = torch.tensor([features.shape[2], features.shape[1]] * 2) - 1
    return pool_region(features, torch.minimum(box, limit), size)


def _region(features: Tensor, box: Tensor, more: int = 1) -> Tensor:
    x0, y0, x1, y1 = box.round().long().tolist()
    return features[:, y0 : y1 + more, x0 : x1 + more]


def read(weigh: Callable[[float, float], tuple[float, float]]) -> Callable[[Tensor, float, float], Tensor]:
    """Reading at a point by other weights: `weigh` takes the fractions of x and y to others."""

    def wrong(features: Tensor, x: float, y: float) -> Tensor:
        across, down = weigh(x % 1, y % 1)
        x0, y0 = int(x), int(y)
        x1, y1 = min(x0 + 1, features.shape[2] - 1), min(y0 + 1, features.shape[1] - 1)
        above = (1 - across) * features[:, y0, x0] + across * features[:, y0, x1]
        below = (1 - across) * features[:, y1, x0] + across * features[:, y1, x1]
        return (1 - down) * above + down * below

    return wrong


SIZES_SWAPPED = "dx is measured in widths of the proposal and dy in heights; you have exchanged the two."
ENCODE = mistakes(
    "The shifts are in pixels; divide dx by the proposal's width and dy by its height.",
    encoded(lambda place, size, own_place, own_size: place - own_place, right_growth),
    "The shifts are divided by the size of the box; divide by that of the proposal, which is known beforehand.",
    encoded(lambda place, size, own_place, own_size: (place - own_place) / size, right_growth),
    SIZES_SWAPPED,
    encoded(lambda place, size, own_place, own_size: (place - own_place) / own_size.flip(1), right_growth),
    "dx and dy move the upper left corner here; they should move the centre.",
    encoded(corner_shift, right_growth),
    "The signs of dx and dy are exchanged: from the proposal to the box, so box − proposal.",
    encoded(lambda *four: -right_shift(*four), right_growth),
    "dw and dh are the logarithms of these ratios.",
    encoded(right_shift, lambda size, own: size / own),
    "dw and dh are upside down: log(box / proposal), not log(proposal / box).",
    encoded(right_shift, lambda size, own: (own / size).log()),
    "The natural logarithm is meant, whose inverse is exp.",
    (
        encoded(right_shift, lambda size, own: (size / own).log2()),
        encoded(right_shift, lambda size, own: (size / own).log10()),
    ),
    "dw and dh hold the relative growth, (box − proposal) / proposal; the logarithm of the ratio is asked for.",
    encoded(right_shift, lambda size, own: (size - own) / own),
    "A width is x1 − x0; add no pixel to it.",
    one_too_large,
    "Box and proposal are exchanged: the first argument is where to go.",
    lambda boxes, proposals: encode(proposals, boxes),
    "The order is dx, dy, dw, dh.",
    lambda boxes, proposals: encode(boxes, proposals)[:, [1, 0, 3, 2]],
)
DECODE = mistakes(
    "The shifts are added as pixels; dx counts widths of the proposal, dy its heights.",
    decoded(lambda place, size, shift, new: place + shift, right_grow),
    "The shifts are measured in the new size; they count widths and heights of the proposal.",
    decoded(lambda place, size, shift, new: place + shift * new, right_grow),
    SIZES_SWAPPED,
    decoded(lambda place, size, shift, new: place + shift * size.flip(1), right_grow),
    "The centre goes the wrong way: add the shift.",
    decoded(lambda p, s, shift, n: p - shift * s, right_grow),
    "The size is multiplied by 1 + dw; dw is a logarithm, so multiply by exp(dw).",
    decoded(right_move, lambda size, growth: size * (1 + growth)),
    "The size is multiplied by dw itself; dw is a logarithm, so multiply by exp(dw).",
    decoded(right_move, lambda size, growth: size * growth),
    "exp(dw) is a factor: multiply the width by it, do not add it.",
    decoded(right_move, lambda size, growth: size + growth.exp()),
    "dw and dh are not used: the size does not change.",
    decoded(right_move, lambda size, growth: size),
    "These are centres and sizes; the last step is to corners: centre − size / 2 and centre + size / 2.",
    lambda deltas, proposals: xyxy_to_cxcywh(decode(deltas, proposals)),
    "The box grows from its upper left corner; it should grow around its centre.",
    from_the_corner,
)
POOL = mistakes(
    "The last row and column of the box are missing: from y0 to y1, both included, are y1 − y0 + 1 rows.",
    pooled(more=0),
    "The last row and column of the box are missing: a slice ends before its second number, so go to y1 + 1.",
    lambda features, box, size: F.adaptive_max_pool2d(_region(features, box, more=0), size),
    "This is the mean of each part; RoI pooling keeps its largest value.",
    lambda features, box, size: F.adaptive_avg_pool2d(_region(features, box), size),
    "This is one cell of each part; RoI pooling keeps the largest value of all its cells.",
    lambda features, box, size: F.interpolate(_region(features, box)[None], size)[0],
    "The parts share no cell; they begin at the floor of i · size / parts and end at the ceiling of (i + 1) · …",
    pooled(end=torch.floor),
    "The corners are rounded down here; round them to the nearest cell.",
    pooled(corners=torch.floor),
    "The box is cut to the map before it is divided; divide first, then cut each part.",
    cut_first,
    "x and y are exchanged: the box is (x0, y0, x1, y1), the map has rows first.",
    lambda features, box, size: pool_region(features, box[[1, 0, 3, 2]], size),
    "`size` is (height, width): so many parts down, so many across.",
    lambda features, box, size: pool_region(features, box, size[::-1]),
    "You pool the whole map; only the cells of the box count.",
    lambda features, box, size: F.adaptive_max_pool2d(features, size),
)
SAMPLE = mistakes(
    "This is the nearest cell; mix the four around the point.",
    read(lambda x, y: (round(x), round(y))),
    "This is the cell above and to the left; mix the four around the point.",
    read(lambda x, y: (0, 0)),
    "All four cells weigh alike here; the nearer one should weigh more.",
    read(lambda x, y: (0.5, 0.5)),
    "The weights are exchanged: the nearer a cell, the more it weighs.",
    read(lambda x, y: (1 - x, 1 - y)),
    "You mix along x, but not along y.",
    read(lambda x, y: (x, 0)),
    "You mix along y, but not along x.",
    read(lambda x, y: (0, y)),
    "x and y are exchanged: x counts columns, and in features[:, row, column] it comes last.",
    lambda features, x, y: read(lambda *fractions: fractions)(features.mT, x, y),
    "The fractions of x and y are exchanged in the weights.",
    read(lambda x, y: (y, x)),
)
