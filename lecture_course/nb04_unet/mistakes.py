"""Wrong answers that students give to the exercises of notebook 04, so that each can be named."""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lecture_course.engine.definitions import mistakes
from lecture_utils.cityscapes import CLASSES, IGNORE_INDEX, PALETTE
from lecture_utils.segmentation.unet import CropAndConcat


def walk(*, down: int = 4, bottom: int = 4, up: int = 4, extra: int = 0) -> Callable[[int, int], int]:
    """The size at the end when each level takes off `down`, `bottom` or `up` pixels, and `extra` levels are walked."""

    def wrong(size: int, depth: int) -> int:
        for _ in range(depth + extra):
            size = (size - down) // 2
        size -= bottom
        for _ in range(depth + extra):
            size = 2 * size - up
        return size

    return wrong


def cropped(top: Callable[[int, int], int], left: Callable[[int, int], int]) -> Callable[[Tensor, Tensor], Tensor]:
    """Crop from a corner that `top` and `left` find from how many rows and columns are too many."""

    def wrong(skip: Tensor, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        rows, columns = skip.shape[-2] - height, skip.shape[-1] - width
        y, z = top(rows, columns), left(rows, columns)
        return torch.cat([skip[..., y : y + height, z : z + width], x], dim=1)

    return wrong


def joined(how: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    """The right crop, put together with x in a wrong way."""
    return lambda skip, x: how(CropAndConcat()(skip, x)[:, : skip.shape[1]], x)


def resized(skip: Tensor, x: Tensor, mode: str = "nearest") -> Tensor:
    return torch.cat([F.interpolate(skip, x.shape[-2:], mode=mode), x], dim=1)


def padded(skip: Tensor, x: Tensor) -> Tensor:
    rows, columns = (skip.shape[-2] - x.shape[-2]) // 2, (skip.shape[-1] - x.shape[-1]) // 2
    return torch.cat([skip, F.pad(x, (columns, columns, rows, rows))], dim=1)


COLOURS = np.concatenate([PALETTE, np.zeros((1, 3), np.uint8)])
IDS = np.array([*range(len(CLASSES)), IGNORE_INDEX], dtype=np.uint8)
NUMBERS = np.arange(len(IDS), dtype=np.uint8)


def by_distance(
    distance: Callable, *, colours: np.ndarray = COLOURS, ids: np.ndarray = IDS, choose: Callable = np.argmin
) -> Callable:
    """The class whose colour is nearest by a wrong `distance` of differences (…, colours, 3), or of wrong `colours`."""

    def wrong(mask: np.ndarray) -> np.ndarray:
        return ids[choose(distance(mask[..., None, :].astype(int) - colours.astype(int)), axis=-1)]

    return wrong


def squares(differences: np.ndarray) -> np.ndarray:
    return (differences**2).sum(-1)


def exact_colours(other: int) -> Callable[[np.ndarray], np.ndarray]:
    def wrong(mask: np.ndarray) -> np.ndarray:
        equal = (mask[..., None, :] == COLOURS).all(-1)
        return np.where(equal.any(-1), IDS[equal.argmax(-1)], np.uint8(other))

    return wrong


def from_logs(loss: Callable[[Tensor, Tensor, Tensor], Tensor], *, dim: int = 1) -> Callable:
    """A wrong mean of the pixels' losses: `loss` gets -log p and weight of each pixel, and which pixels count."""

    def wrong(scores: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
        counted = labels != IGNORE_INDEX
        index = labels.where(counted, 0)
        logs = -scores.log_softmax(dim).gather(1, index[:, None])[:, 0]
        return loss(logs, weights[index], counted)

    return wrong


def overflows(scores: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    powers = scores.exp()
    return F.nll_loss((powers / powers.sum(1, keepdim=True)).log(), labels, weights, ignore_index=IGNORE_INDEX)


def without_minus(scores: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    return -F.cross_entropy(scores, labels, weights, ignore_index=IGNORE_INDEX)


def image_by_image(scores: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    images = zip(scores, labels, strict=True)
    losses = [F.cross_entropy(s[None], y[None], weights, ignore_index=IGNORE_INDEX) for s, y in images]
    return torch.stack(losses).mean()


SIZES = mistakes(
    "The two convolutions at the bottom are missing.",
    walk(bottom=0),
    "On the way up there are two convolutions behind each doubling, too.",
    walk(up=0),
    "On the way down two convolutions stand before each halving, too.",
    walk(down=0),
    "Each level has two convolutions, and each takes off two pixels, one on either side: four in all.",
    walk(down=2, bottom=2, up=2),
    "Each level was walked once too often.",
    walk(extra=1),
    "One level is missing on either way.",
    walk(extra=-1),
    "That is the size with padding. These convolutions are valid.",
    lambda size, depth: size,
    "That is the size at the bottom of the U. The way up is still to come.",
    lambda size, depth: (walk()(size, depth) + 4 * (2**depth - 1)) // 2**depth,
    "As many pixels are lost whatever the depth? What a convolution loses far down is lost 2, 4, 8 times "
    "in pixels of the image.",
    lambda size, depth: size - 4 * (2 * depth + 1),
    "184 pixels are lost at depth 4 only.",
    lambda size, depth: size - 184,
)

COPIES = mistakes(
    "That is the top left corner of the copy. x belongs to its centre.",
    cropped(lambda r, c: 0, lambda r, c: 0),
    "That is the bottom right corner of the copy. x belongs to its centre.",
    cropped(lambda r, c: r, lambda r, c: c),
    "Height and width are confused: what is cut above depends on the heights, what is cut on the left on the widths.",
    cropped(lambda r, c: c // 2, lambda r, c: r // 2),
    "One number of pixels was cut above and on the left; heights and widths may differ by different numbers.",
    (
        cropped(lambda r, c: r // 2, lambda r, c: r // 2),
        cropped(lambda r, c: c // 2, lambda r, c: c // 2),
    ),
    "The channels of x come first here. The copy's come first.",
    joined(lambda a, b: torch.cat([b, a], 1)),
    "The two were added. A U-Net keeps both: channels beside channels.",
    joined(torch.add),
    "They were put one behind the other in the batch. Channels are axis 1.",
    joined(lambda a, b: torch.cat([a, b])),
    "They were put one below the other. Channels are axis 1.",
    joined(lambda a, b: torch.cat([a, b], 2)),
    "They were put side by side as pictures. Channels are axis 1.",
    joined(lambda a, b: torch.cat([a, b], 3)),
    "That is the cropped copy alone.",
    joined(lambda a, b: a),
    "The copy was shrunk to fit. Then its pixels no longer lie over those of x: cut it instead.",
    (
        resized,
        lambda skip, x: resized(skip, x, "bilinear"),
    ),
    "x was padded to the size of the copy. Here the copy is cut to the size of x.",
    padded,
)

LABELS = mistakes(
    "Numbers of type uint8 go from 0 to 255 and begin anew: 70 - 128 is 198, and the square of 16 is 0. "
    "Turn the mask into a larger type first, as mask.astype(int).",
    lambda mask: IDS[((mask[..., None, :] - COLOURS) ** 2).sum(-1).argmin(-1)],
    "Black has no row in PALETTE, and now counts as the darkest class. It means ignored: 255.",
    by_distance(squares, colours=PALETTE, ids=IDS[:-1]),
    "Black is a twentieth colour here, with number 19. Its label is IGNORE_INDEX, 255.",
    by_distance(squares, ids=NUMBERS),
    "That is the distance along the axes, |Δr| + |Δg| + |Δb|. Here it is the straight one: squares.",
    by_distance(lambda d: np.abs(d).sum(-1)),
    "That is the largest difference of the three. Here it is the straight distance: the sum of squares.",
    by_distance(lambda d: np.abs(d).max(-1)),
    "The differences were added with their signs, so they cancel.",
    (
        by_distance(lambda d: d.sum(-1)),
        by_distance(lambda d: np.abs(d.sum(-1))),
    ),
    "That is the class of the farthest colour.",
    by_distance(squares, choose=np.argmax),
    "Red and blue are swapped: that is OpenCV's order.",
    by_distance(squares, colours=COLOURS[:, ::-1]),
    "Only exact colours are recognised. JPEG has changed most of them a little.",
    (
        exact_colours(IGNORE_INDEX),
        exact_colours(0),
    ),
    "That is the nearest colour itself. Its class is asked for.",
    lambda mask: COLOURS[by_distance(squares, ids=NUMBERS)(mask)],
    "Those are the distances to all colours; argmin over the last axis names the nearest.",
    lambda mask: squares(mask[..., None, :].astype(int) - COLOURS.astype(int)),
)

LOSSES = mistakes(
    "exp(1000) is more than a float32 can hold, so the result is nan. Use log_softmax, or subtract the "
    "largest score first.",
    overflows,
    "The sum was divided by the number of pixels. The formula divides it by the sum of their weights.",
    from_logs(lambda logs, w, counted: (logs * w)[counted].mean()),
    "The sum was divided by the number of all pixels, the ignored ones too.",
    from_logs(lambda logs, w, counted: (logs * w)[counted].sum() / logs.numel()),
    "The weights are missing: every pixel counts alike.",
    from_logs(lambda logs, w, counted: logs[counted].mean()),
    "That is the sum. Divide it by the sum of the weights.",
    from_logs(lambda logs, w, counted: (logs * w)[counted].sum()),
    "The ignored pixels still count below the fraction line.",
    from_logs(lambda logs, w, counted: (logs * w)[counted].sum() / w.sum()),
    "The ignored pixels count as class 0, the road.",
    lambda scores, labels, weights: F.cross_entropy(scores, labels.where(labels != IGNORE_INDEX, 0), weights),
    "The ignored pixels count as the last class.",
    lambda scores, labels, weights: F.cross_entropy(scores, labels.clamp(max=scores.shape[1] - 1), weights),
    "The minus sign is missing: a loss falls when the probability rises.",
    without_minus,
    "The logarithm is missing: this is the mean probability, with a minus sign.",
    lambda scores, labels, weights: F.nll_loss(scores.softmax(1), labels, weights, ignore_index=IGNORE_INDEX),
    "The softmax is missing: these are scores, not logarithms of probabilities.",
    lambda scores, labels, weights: F.nll_loss(scores, labels, weights, ignore_index=IGNORE_INDEX),
    "The softmax was taken twice: F.cross_entropy takes the scores themselves.",
    lambda scores, labels, weights: F.cross_entropy(scores.softmax(1), labels, weights, ignore_index=IGNORE_INDEX),
    "The weights belong to the losses of the pixels, not to the scores.",
    lambda scores, labels, weights: F.cross_entropy(scores * weights[:, None, None], labels, ignore_index=IGNORE_INDEX),
    "Each image was averaged by itself. The formula has one sum over all pixels of the batch.",
    image_by_image,
    "That is the logarithm to base 2. The natural one is meant.",
    lambda scores, labels, weights: -without_minus(scores, labels, weights) / np.log(2),
    "That is one loss a pixel. Sum them, each times its weight, and divide by the sum of the weights.",
    lambda scores, labels, weights: F.cross_entropy(
        scores, labels, weights, ignore_index=IGNORE_INDEX, reduction="none"
    ),
    "The softmax runs over a wrong axis: the probabilities of one pixel add up to 1, over axis 1.",
    tuple(from_logs(lambda logs, w, at: (logs * w)[at].sum() / w[at].sum(), dim=dim) for dim in (0, 2, 3)),
)
