"""The exercises of notebook 04: the U-Net's sizes, copies, labels and loss (slides 12 and 13)."""

import numpy as np
import torch
from torch import Generator

from lecture_course.engine.definitions import Case, Exercise, Prediction
from lecture_course.nb04_unet.mistakes import (
    CROP_AND_CONCAT_MISTAKES,
    NEAREST_CLASS_MISTAKES,
    OUTPUT_SIZE_MISTAKES,
    PIXEL_LOSS_MISTAKES,
    crop_and_concat,
    nearest_class,
    output_size,
    pixel_loss,
)
from lecture_utils.cityscapes import CLASSES, IGNORE_INDEX, PALETTE
from lecture_utils.segmentation.unet import CropAndConcat, UNet


def parameters_of_the_first_up_conv() -> int:
    """The weights and biases of the layer that follows the bottom of the published U-Net."""
    return sum(parameter.numel() for parameter in UNet(1, 2).up[0].parameters())


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
        mistakes=OUTPUT_SIZE_MISTAKES,
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
        mistakes=CROP_AND_CONCAT_MISTAKES,
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
        mistakes=NEAREST_CLASS_MISTAKES,
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
        mistakes=PIXEL_LOSS_MISTAKES,
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
