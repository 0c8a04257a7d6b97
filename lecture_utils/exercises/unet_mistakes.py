"""Wrong answers that students give to the exercises of notebook 04, so that each can be named."""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

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


def wraps_around(mask: np.ndarray) -> np.ndarray:
    return IDS[((mask[..., None, :] - COLOURS) ** 2).sum(-1).argmin(-1)]


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


def twice_softmax(scores: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    return F.cross_entropy(scores.softmax(1), labels, weights, ignore_index=IGNORE_INDEX)


def without_minus(scores: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    return -F.cross_entropy(scores, labels, weights, ignore_index=IGNORE_INDEX)


def without_logarithm(scores: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    return F.nll_loss(scores.softmax(1), labels, weights, ignore_index=IGNORE_INDEX)


def without_softmax(scores: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    return F.nll_loss(scores, labels, weights, ignore_index=IGNORE_INDEX)


def weights_scores(scores: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    return F.cross_entropy(scores * weights[:, None, None], labels, ignore_index=IGNORE_INDEX)


def image_by_image(scores: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    images = zip(scores, labels, strict=True)
    losses = [F.cross_entropy(s[None], y[None], weights, ignore_index=IGNORE_INDEX) for s, y in images]
    return torch.stack(losses).mean()


def ignored_as_road(scores: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    return F.cross_entropy(scores, labels.where(labels != IGNORE_INDEX, 0), weights)


def ignored_as_last(scores: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    return F.cross_entropy(scores, labels.clamp(max=scores.shape[1] - 1), weights)
