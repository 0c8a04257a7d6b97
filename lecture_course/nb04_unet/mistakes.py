"""The right answers of notebook 04 written out, the edits that make them wrong, and what each says to its author."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lecture_course.engine.definitions import mistakes
from lecture_utils.cityscapes import IGNORE_INDEX, PALETTE


def output_size(size: int, depth: int) -> int:
    """The side of the label map that a U-Net of valid convolutions, halving `depth` times, makes of `size` × `size`."""
    for _ in range(depth):  # down: each of two valid 3×3 convolutions takes a pixel off every side
        size = (size - 4) // 2
    size = size - 4  # at the bottom
    for _ in range(depth):  # up
        size = 2 * size - 4
    return size


OUTPUT_SIZE_MISTAKES = mistakes(
    output_size,
    {
        "size = size - 4 → ": "The two convolutions at the bottom are missing.",
        "2 * size - 4 → 2 * size": "On the way up there are two convolutions behind each doubling, too.",
        "(size - 4) // 2 → size // 2": "On the way down two convolutions stand before each halving, too.",
        "- 4 → - 2": "Each level has two convolutions, and each takes off two pixels, one on either side: four in all.",
        "range(depth) → range(depth + 1)": "Each level was walked once too often.",
        "range(depth) → range(depth - 1)": "One level is missing on either way.",
        lambda size, depth: size: "That is the size with padding. These convolutions are valid.",
        "2 * size - 4 → size": "That is the size at the bottom of the U. The way up is still to come.",
        "// 2 → ; 2 * → ": "As many pixels are lost whatever the depth? What a convolution loses far down is lost 2, "
        "4, 8 times in pixels of the image.",
        lambda size, depth: size - 184: "184 pixels are lost at depth 4 only.",
    },
)


def crop_and_concat(skip: Tensor, x: Tensor) -> Tensor:
    """Cut the centre of a copy to the size of x and put the two beside each other, the copy's channels first."""
    height, width = x.shape[2:]
    top, left = (skip.shape[2] - height) // 2, (skip.shape[3] - width) // 2
    return torch.cat([skip[:, :, top : top + height, left : left + width], x], dim=1)


CROP_AND_CONCAT_MISTAKES = mistakes(
    crop_and_concat,
    {
        "// 2 → * 0": "That is the top left corner of the copy. x belongs to its centre.",
        "// 2 → ": "That is the bottom right corner of the copy. x belongs to its centre.",
        "top, left = → left, top =": "Height and width are confused: what is cut above depends on the heights, what is "
        "cut on the left on the widths.",
        (
            "skip.shape[3] - width → skip.shape[2] - height",
            "skip.shape[2] - height → skip.shape[3] - width",
        ): "One number of pixels was cut above and on the left; heights and widths may differ by different numbers.",
        "cat([ → cat([x, ; , x] → ]": "The channels of x come first here. The copy's come first.",
        "torch.cat → sum; , dim=1 → ": "The two were added. A U-Net keeps both: channels beside channels.",
        "dim=1 → dim=0": "They were put one behind the other in the batch. Channels are axis 1.",
        "dim=1 → dim=2": "They were put one below the other. Channels are axis 1.",
        "dim=1 → dim=3": "They were put side by side as images. Channels are axis 1.",
        ", x] → ]": "That is the cropped copy alone.",
        (
            lambda skip, x: torch.cat([F.interpolate(skip, x.shape[2:]), x], dim=1),
            lambda skip, x: torch.cat([F.interpolate(skip, x.shape[2:], mode="bilinear"), x], dim=1),
        ): "The copy was shrunk to fit. Then its pixels no longer lie over those of x: cut it instead.",
        "skip[:, :, top:top + height, left:left + width], x → skip, F.pad(x, (left, left, top, top))": "x was padded "
        "to the size of the copy. Here the copy is cut to the size of x.",
    },
)


def nearest_class(mask: np.ndarray) -> np.ndarray:
    """The label of the nearest official colour, black being ignored: mask (h, w, 3) uint8 gives (h, w) uint8."""
    colours = np.concatenate([PALETTE, np.zeros((1, 3), np.uint8)])
    distances = np.square(mask[:, :, None].astype(int) - colours).sum(-1)
    labels = distances.argmin(-1).astype(np.uint8)
    labels[labels == len(PALETTE)] = IGNORE_INDEX
    return labels


NEAREST_CLASS_MISTAKES = mistakes(
    nearest_class,
    {
        ".astype(int) → ": "Numbers of type uint8 go from 0 to 255 and begin anew: 70 - 128 is 198, and the square of "
        "16 is 0. Turn the mask into a larger type first, as mask.astype(int).",
        "np.concatenate([PALETTE, np.zeros((1, 3), np.uint8)]) → PALETTE": "Black has no row in PALETTE, and now "
        "counts as the darkest class. It means ignored: 255.",
        "IGNORE_INDEX → len(PALETTE)": "Black is a twentieth colour here, with number 19. Its label is IGNORE_INDEX, "
        "255.",
        "square → abs": "That is the distance along the axes, |Δr| + |Δg| + |Δb|. Here it is the straight one: "
        "squares.",
        "sum → max": "That is the largest difference of the three. Here it is the straight distance: the sum of "
        "squares.",
        (
            "np.square → ",
            "np.square → ; sum(-1) → sum(-1) ** 2",
        ): "The differences were added with their signs, so they cancel.",
        "argmin → argmax": "That is the class of the farthest colour.",
        "- colours → - colours[:, ::-1]": "Red and blue are swapped: that is OpenCV's order.",
        (
            "distances.argmin(-1) → np.where(distances.min(-1) > 0, len(PALETTE), distances.argmin(-1))",
            "distances.argmin(-1) → np.where(distances.min(-1) > 0, 0, distances.argmin(-1))",
        ): "Only exact colours are recognised. JPEG has changed most of them a little.",
        "return labels → return colours[distances.argmin(-1)]": "That is the nearest colour itself. Its class is asked "
        "for.",
        "return labels → return distances": "Those are the distances to all colours; argmin over the last axis names "
        "the nearest.",
    },
)


def pixel_loss(scores: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """The weighted cross-entropy of all pixels that are not ignored: (b, k, h, w), (b, h, w), (k,) → one number."""
    counted = labels != IGNORE_INDEX
    logs = scores.log_softmax(1).movedim(1, -1)[counted]
    classes = labels[counted]
    losses = -logs[torch.arange(len(classes)), classes]
    each = weights[classes]
    return (each * losses).sum() / each.sum()


PIXEL_LOSS_MISTAKES = mistakes(
    pixel_loss,
    {
        "scores.log_softmax(1) → (scores.exp() / scores.exp().sum(1, True)).log()": "exp(1000) is more than a float32 "
        "can hold, so the result is nan. Use log_softmax, or subtract the largest score first.",
        "/ each.sum() → / len(each)": "The sum was divided by the number of pixels. The formula divides it by the sum "
        "of their weights.",
        "/ each.sum() → / labels.numel()": "The sum was divided by the number of all pixels, the ignored ones too.",
        "weights[classes] → torch.ones(len(classes))": "The weights are missing: every pixel counts alike.",
        "/ each.sum() → ": "That is the sum. Divide it by the sum of the weights.",
        "/ each.sum() → / weights[labels * counted].sum()": "The ignored pixels still count below the fraction line.",
        "!= IGNORE_INDEX → >= 0; labels[counted] → labels[counted] % IGNORE_INDEX": "The ignored pixels count as class "
        "0, the road.",
        "!= IGNORE_INDEX → >= 0; labels[counted] → labels[counted].clamp(max=scores.shape[1] - 1)": "The ignored "
        "pixels count as the last class.",
        "-logs → logs": "The minus sign is missing: a loss falls when the probability rises.",
        "log_softmax → softmax": "The logarithm is missing: this is the mean probability, with a minus sign.",
        ".log_softmax(1) → ": "The softmax is missing: these are scores, not logarithms of probabilities.",
        "log_softmax → softmax(1).log_softmax": "The softmax was taken twice: F.cross_entropy takes the scores "
        "themselves.",
        "scores.log → (scores * weights[:, None, None]).log; weights[classes] → torch.ones(len(classes))": "The "
        "weights belong to the losses of the pixels, not to the scores.",
        lambda scores, labels, weights: torch.stack(
            [pixel_loss(*image, weights) for image in zip(scores.split(1), labels.split(1), strict=True)]
        ).mean(): "Each image was averaged by itself. The formula has one sum over all pixels of the batch.",
        "log_softmax(1) → softmax(1).log2()": "That is the logarithm to base 2. The natural one is meant.",
        "(each * losses).sum() / each.sum() → torch.zeros(labels.shape).masked_scatter(counted, each * losses)": "That "
        "is one loss a pixel. Sum them, each times its weight, and divide by the sum of the weights.",
        (
            "log_softmax(1) → log_softmax(0)",
            "log_softmax(1) → log_softmax(2)",
            "log_softmax(1) → log_softmax(3)",
        ): "The softmax runs over a wrong axis: the probabilities of one pixel add up to 1, over axis 1.",
    },
)
