"""The exercises of notebook 04: the U-Net's sizes, copies, labels and loss (slides 12 and 13)."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from lecture_utils.cityscapes import CLASSES, IGNORE_INDEX, PALETTE
from lecture_utils.datasets.pairs import nearest_class
from lecture_utils.exercises.definitions import Case, Exercise, Mistake, Prediction, mistakes
from lecture_utils.exercises.unet_mistakes import (
    COLOURS,
    IDS,
    NUMBERS,
    by_distance,
    cropped,
    exact_colours,
    from_logs,
    ignored_as_last,
    ignored_as_road,
    image_by_image,
    joined,
    overflows,
    padded,
    resized,
    squares,
    twice_softmax,
    walk,
    weights_scores,
    without_logarithm,
    without_minus,
    without_softmax,
    wraps_around,
)
from lecture_utils.segmentation.unet import CropAndConcat, UNet

# What is asked for


def parameters_of_the_first_up_conv() -> int:
    """The weights and biases of the layer that follows the bottom of the published U-Net."""
    return sum(parameter.numel() for parameter in UNet(1, 2).up[0].parameters())


def output_size(size: int, depth: int) -> int:
    """The side of the label map that a U-Net of valid convolutions, halving `depth` times, makes of `size` × `size`."""
    for _ in range(depth):  # down
        size = size - 2 - 2  # each valid 3×3 convolution takes a pixel off every side
        size = size // 2
    size = size - 2 - 2  # at the bottom
    for _ in range(depth):  # up
        size = 2 * size
        size = size - 2 - 2
    return size


def crop_and_concat(skip: Tensor, x: Tensor) -> Tensor:
    """Cut the centre of a copy to the size of x and put the two beside each other, the copy's channels first."""
    return CropAndConcat()(skip, x)


def pixel_loss(scores: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """The weighted cross-entropy of all pixels that are not ignored: (b, k, h, w), (b, h, w), (k,) → one number."""
    return F.cross_entropy(scores, labels, weight=weights, ignore_index=IGNORE_INDEX)


# Inputs


def sizes(rng: Generator) -> list[Case]:
    def case(depth: int, note: str) -> Case:
        smallest = next(s for s in range(1, 1000) if (s + 4) % 2**depth == 0 and output_size(s, depth) > 0)
        return Case((smallest + 2**depth * int(torch.randint(1, 40, (), generator=rng)), depth), note=note)

    fixed = [Case((18, 1), note="one halving"), Case((572, 4), note="the paper's")]
    return [*fixed, *(case(depth, f"depth {depth}") for depth in (1, 2, 3, 4, 5))]


def copies(rng: Generator) -> list[Case]:
    def case(batch: int, channels: tuple[int, int], copy: tuple[int, int], x: tuple[int, int], note: str) -> Case:
        whole = [
            torch.randint(-9, 10, (batch, c, *size), generator=rng).float()
            for c, size in zip(channels, (copy, x), strict=True)
        ]
        return Case(tuple(whole), note=note)

    return [
        case(1, (1, 1), (4, 4), (2, 2), "one channel, a pixel off every side"),
        case(1, (1, 1), (3, 4), (3, 4), "nothing to crop"),
        case(1, (1, 1), (2, 5), (2, 3), "only the width differs"),
        case(1, (1, 1), (8, 5), (2, 3), "more to crop above and below than left and right"),
        case(1, (2, 3), (7, 9), (3, 5), "two and three channels, odd sizes"),
        case(3, (2, 2), (6, 10), (4, 4), "a batch of three"),
    ]


def masks(rng: Generator) -> list[Case]:
    def noisy(*shape: int, noise: int, black: float = 0.0) -> np.ndarray:
        labels = torch.randint(len(CLASSES), shape, generator=rng).numpy()
        shift = torch.randint(-noise, noise + 1, (*shape, 3), generator=rng).numpy()
        mask = np.clip(PALETTE[labels].astype(int) + shift, 0, 255).astype(np.uint8)
        mask[torch.rand(shape, generator=rng).numpy() < black] = 0
        return mask

    every = np.concatenate([PALETTE, np.zeros((1, 3), np.uint8)])[None]
    return [
        Case((every,), note="every official colour, and black"),
        Case((noisy(2, 3, noise=6),), note="2 × 3 pixels, blurred a little"),
        Case((noisy(5, 4, noise=25, black=0.3),), note="blurred, and black here and there"),
        Case((torch.randint(256, (9, 31, 3), generator=rng).numpy().astype(np.uint8),), note="any colours"),
    ]


def scored_pixels(rng: Generator) -> list[Case]:
    def case(*shape: int, ignored: int = 0, shift: float = 0, weighted: bool = True, note: str) -> Case:
        batch, classes, height, width = shape
        labels = torch.randint(classes, (batch, height, width), generator=rng)
        labels.view(-1)[torch.randperm(labels.numel(), generator=rng)[:ignored]] = IGNORE_INDEX
        weights = 0.25 + 4 * torch.rand(classes, generator=rng)
        scores = 2 * torch.randn(*shape, generator=rng) + shift
        return Case((scores, labels, weights if weighted else torch.ones(classes)), note=note)

    return [
        case(1, 2, 1, 2, weighted=False, note="two pixels, two classes, all weights 1"),
        case(1, 2, 1, 3, note="two classes of different weight"),
        case(1, 3, 2, 3, ignored=2, weighted=False, note="two pixels are ignored, all weights 1"),
        case(1, 3, 3, 3, ignored=3, note="as many classes as rows as columns"),
        case(3, 4, 5, 7, ignored=30, note="a batch of three, 5 × 7 pixels"),
        case(2, 3, 2, 3, ignored=1, shift=1000, note="scores near 1000"),
    ]


EXERCISES = (
    Prediction(
        "04.up_conv",
        title="How many parameters has an up-convolution",
        minutes=3,
        difficulty=1,
        answer=parameters_of_the_first_up_conv,
        tolerance=0,
        mistakes={
            1024 * 512 * 4: "Nearly: those are the weights. Each output channel has a bias, too.",
            1024 * 512 * 4 + 1024: "Nearly: there is one bias for each output channel, not for each input channel.",
            1024 * 512 * 9 + 512: "That is a 3 × 3 kernel. The up-convolution's is 2 × 2, one weight for each pixel of "
            "the doubled map that an input pixel feeds.",
            1024 * 512 * 9: "That is a 3 × 3 kernel, without biases. The up-convolution's is 2 × 2.",
            1024 * 512 + 512: "That is a 1 × 1 kernel. How many output pixels does each input pixel feed?",
            1024 * 512: "That is a 1 × 1 kernel, without biases. How many output pixels does each input pixel feed?",
            512 * 4 + 512: "Each of the 512 output channels looks at all input channels, not at one.",
            1024 * 1024 * 4 + 1024: "This layer also halves the channels: see the numbers above the boxes.",
            512 * 512 * 4 + 512: "512 channels come out. How many go in? See the numbers above the boxes.",
            1024 * 512 * 28 * 28: "A convolution's weights are the same at every place: the map's size has no part.",
        },
        hints=(
            "As in a convolution there is a small kernel for each pair of input and output channel. Which channels are "
            "on either side of the first green arrow?",
            "A kernel of 2 × 2 for each of the 1024 × 512 pairs. And then?",
        ),
        because="Nearly a fifteenth of the whole network sits in this one layer: at the bottom the maps are small, and "
        "the channels many.",
    ),
    Exercise(
        "04.output_size",
        title="The size of the label map",
        minutes=10,
        difficulty=2,
        reference=output_size,
        cases=sizes,
        mistakes=mistakes(
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
            lambda size, depth: (output_size(size, depth) + 4 * (2**depth - 1)) // 2**depth,
            "As many pixels are lost whatever the depth? What a convolution loses far down is lost 2, 4, 8 times "
            "in pixels of the image.",
            lambda size, depth: size - 4 * (2 * depth + 1),
            "184 pixels are lost at depth 4 only.",
            lambda size, depth: size - 184,
        ),
        hints=(
            "Follow one number through the U. What do two valid 3 × 3 convolutions make of a side of n pixels?",
            "Down, `depth` times: minus 4, then half. At the bottom: minus 4.",
            "Up, `depth` times: double, then minus 4.",
        ),
        because="Written as one formula it is size - 12 · 2^depth + 8: a loss far down counts 2^depth times.",
    ),
    Exercise(
        "04.crop_and_concat",
        title="Crop a copy and lay it beside",
        minutes=10,
        difficulty=2,
        reference=crop_and_concat,
        shown=CropAndConcat,
        cases=copies,
        mistakes=mistakes(
            "That is the top left corner of the copy. x belongs to its centre.",
            cropped(lambda r, c: 0, lambda r, c: 0),
            "That is the bottom right corner of the copy. x belongs to its centre.",
            cropped(lambda r, c: r, lambda r, c: c),
            "Height and width are confused: what is cut above depends on the heights, what is cut on the left on "
            "the widths.",
            cropped(lambda r, c: c // 2, lambda r, c: r // 2),
            "One number of pixels was cut above and on the left; heights and widths may differ by different numbers.",
            cropped(lambda r, c: r // 2, lambda r, c: r // 2),
            "One number of pixels was cut above and on the left; heights and widths may differ by different numbers.",
            cropped(lambda r, c: c // 2, lambda r, c: c // 2),
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
            resized,
            "The copy was shrunk to fit. Then its pixels no longer lie over those of x: cut it instead.",
            lambda skip, x: resized(skip, x, "bilinear"),
            "x was padded to the size of the copy. Here the copy is cut to the size of x.",
            padded,
        ),
        hints=(
            "How many rows has the copy more than x? Half of them go above, half below.",
            "top = (skip.shape[2] - x.shape[2]) // 2. The crop ends at top + x.shape[2], not at -top: where top is 0, "
            "[0:-0] is empty. The same for the columns.",
            "torch.cat([…, x], dim=1) lays channels beside channels.",
        ),
        because="The crop loses nothing that the output could use: valid convolutions label the centre only.",
    ),
    Exercise(
        "04.nearest_class",
        title="From colours to classes",
        minutes=15,
        difficulty=2,
        reference=nearest_class,
        cases=masks,
        mistakes=mistakes(
            "Numbers of type uint8 go from 0 to 255 and begin anew: 70 - 128 is 198, and the square of 16 is 0. "
            "Turn the mask into a larger type first, as mask.astype(int).",
            wraps_around,
            "Black has no row in PALETTE, and now counts as the darkest class. It means ignored: 255.",
            by_distance(squares, colours=PALETTE, ids=IDS[:-1]),
            "Black is a twentieth colour here, with number 19. Its label is IGNORE_INDEX, 255.",
            by_distance(squares, ids=NUMBERS),
            "That is the distance along the axes, |Δr| + |Δg| + |Δb|. Here it is the straight one: squares.",
            by_distance(lambda d: np.abs(d).sum(-1)),
            "That is the largest difference of the three. Here it is the straight distance: the sum of squares.",
            by_distance(lambda d: np.abs(d).max(-1)),
            "The differences were added with their signs, so they cancel.",
            by_distance(lambda d: d.sum(-1)),
            "The differences were added with their signs, so they cancel.",
            by_distance(lambda d: np.abs(d.sum(-1))),
            "That is the class of the farthest colour.",
            by_distance(squares, choose=np.argmax),
            "Red and blue are swapped: that is OpenCV's order.",
            by_distance(squares, colours=COLOURS[:, ::-1]),
            "Only exact colours are recognised. JPEG has changed most of them a little.",
            exact_colours(IGNORE_INDEX),
            "Only exact colours are recognised. JPEG has changed most of them a little.",
            exact_colours(0),
            "That is the nearest colour itself. Its class is asked for.",
            lambda mask: COLOURS[by_distance(squares, ids=NUMBERS)(mask)],
            "Those are the distances to all colours; argmin over the last axis names the nearest.",
            lambda mask: squares(mask[..., None, :].astype(int) - COLOURS.astype(int)),
        ),
        hints=(
            "mask[:, :, None, :] is (H, W, 1, 3), and PALETTE is (19, 3). What shape has their difference?",
            "Sum the squares over the last axis, and take argmin over the colours. Mind the type: uint8 cannot hold a "
            "negative number.",
            "Black: add (0, 0, 0) as a twentieth colour, and in the end turn label 19 into IGNORE_INDEX.",
        ),
        because="Colours that JPEG has blurred a little find their class again, whatever program drew the mask.",
    ),
    Exercise(
        "04.pixel_loss",
        title="The loss, written out",
        minutes=20,
        difficulty=3,
        reference=pixel_loss,
        cases=scored_pixels,
        mistakes=(
            *mistakes(
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
                ignored_as_road,
                "The ignored pixels count as the last class.",
                ignored_as_last,
                "The minus sign is missing: a loss falls when the probability rises.",
                without_minus,
                "The logarithm is missing: this is the mean probability, with a minus sign.",
                without_logarithm,
                "The softmax is missing: these are scores, not logarithms of probabilities.",
                without_softmax,
                "The softmax was taken twice: F.cross_entropy takes the scores themselves.",
                twice_softmax,
                "The weights belong to the losses of the pixels, not to the scores.",
                weights_scores,
                "Each image was averaged by itself. The formula has one sum over all pixels of the batch.",
                image_by_image,
                "That is the logarithm to base 2. The natural one is meant.",
                lambda scores, labels, weights: pixel_loss(scores, labels, weights) / np.log(2),
                "That is one loss a pixel. Sum them, each times its weight, and divide by the sum of the weights.",
                lambda scores, labels, weights: F.cross_entropy(
                    scores, labels, weights, ignore_index=IGNORE_INDEX, reduction="none"
                ),
            ),
            *(
                Mistake(
                    "The softmax runs over a wrong axis: the probabilities of one pixel add up to 1, over axis 1.",
                    from_logs(lambda logs, w, counted: (logs * w)[counted].sum() / w[counted].sum(), dim=dim),
                )
                for dim in (0, 2, 3)
            ),
        ),
        hints=(
            "Begin with the pixels that count, labels != IGNORE_INDEX. scores.movedim(1, -1)[counted] has their scores "
            "as rows (n, k), and labels[counted] their classes (n,).",
            "log_softmax(dim=1) gives the logarithms of all probabilities; from row i take the entry of its class: "
            "logs[torch.arange(n), classes].",
            "weights[classes] is a weight for each pixel. Then sum, sum, divide, and change the sign.",
        ),
        because="Dividing by the sum of the weights keeps the loss of one size, however rare the classes of a batch.",
    ),
)
