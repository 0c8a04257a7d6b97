"""The exercises of notebook 00: probabilities, label maps and their score (slides 1 to 3)."""

import numpy as np
import torch
from torch import Tensor

from lecture_course.engine.definitions import Case, Exercise, Prediction, mistakes
from lecture_utils.cityscapes import CLASSES, IGNORE_COLOUR, IGNORE_INDEX, PALETTE, colour_labels


def class_probabilities(scores: Tensor) -> Tensor:
    """Turn the scores of K classes into probabilities, pixel by pixel: (B, K, H, W) → (B, K, H, W)."""
    largest = scores.amax(dim=1, keepdim=True)
    powers = (scores - largest).exp()  # the largest is exp(0) = 1, so none overflows
    return powers / powers.sum(dim=1, keepdim=True)


def score_cases(rng: torch.Generator) -> list[Case]:
    def scores(*shape: int) -> Tensor:
        return 3 * torch.randn(*shape, generator=rng)

    return [
        Case((scores(1, 2, 1, 3),), note="two classes, one row of three pixels"),
        Case((scores(1, 3, 2, 2),), note="three classes, 2 × 2 pixels"),
        Case((scores(2, 4, 3, 5),), note="four classes, 3 × 5 pixels, batch of 2"),
        Case((scores(3, 3, 3, 3),), note="as many images as classes as rows"),
        Case((scores(1, 3, 1, 2) + 1000,), note="scores near 1000"),
    ]


def shape_of_label_maps() -> tuple[int, ...]:
    """The label maps that belong to the scores of 4 images: the best of 19 classes for each of 96 × 128 pixels."""
    scores = torch.zeros(4, len(CLASSES), 96, 128)
    return tuple(scores.argmax(dim=1).shape)


def label_map_cases(rng: torch.Generator) -> list[Case]:
    def labels(height: int, width: int, ignored: int = 0) -> np.ndarray:
        drawn = torch.randint(len(CLASSES), (height, width), generator=rng).numpy().astype(np.uint8)
        drawn.flat[torch.randperm(drawn.size, generator=rng)[:ignored].numpy()] = IGNORE_INDEX
        return drawn

    return [
        Case((labels(1, 2),), note="two pixels"),
        Case((labels(2, 2, ignored=1),), note="one pixel is ignored"),
        Case((labels(3, 5),), note="3 × 5"),
        Case((labels(6, 4, ignored=5),), note="6 × 4, five pixels ignored"),
    ]


def painted(labels: np.ndarray) -> np.ndarray:
    """A label map (H, W) of classes 0 to 18 or IGNORE_INDEX as an image (H, W, 3) of type uint8."""
    image = np.zeros((*labels.shape, 3), dtype=np.uint8)
    counted = labels != IGNORE_INDEX
    image[counted] = PALETTE[labels[counted]]
    return image


def class_iou(predicted: np.ndarray, target: np.ndarray, index: int) -> float:
    """Intersection over union of one class in two label maps (H, W); pixels whose target is 255 do not count."""
    counted = target != IGNORE_INDEX
    is_predicted, is_true = (predicted == index)[counted], (target == index)[counted]
    both, either = is_predicted & is_true, is_predicted | is_true
    return float(both.sum() / either.sum())


def iou_cases(rng: torch.Generator) -> list[Case]:
    def case(height: int, width: int, classes: int, ignored: int, note: str) -> Case:
        predicted = torch.randint(classes, (height, width), generator=rng).numpy()
        target = np.where(torch.rand(height, width, generator=rng).numpy() < 0.6, predicted, (predicted + 1) % classes)
        # A pixel that is ignored, predicted as the class asked for, and one that really is of the class.
        predicted.flat[:ignored] = 1
        target.flat[:ignored] = IGNORE_INDEX
        predicted.flat[-3:], target.flat[-3:] = (1, 0, 1), (0, 1, 1)
        return Case((predicted, target, 1), note=note)

    return [
        case(2, 3, classes=2, ignored=0, note="2 × 3, every pixel counts"),
        case(3, 3, classes=2, ignored=2, note="two pixels are ignored"),
        case(4, 7, classes=4, ignored=3, note="4 × 7, four classes, three pixels ignored"),
        case(6, 5, classes=3, ignored=9, note="6 × 5, three classes, nine pixels ignored"),
    ]


EXERCISES = (
    Exercise(
        "00.class_probabilities",
        title="Softmax for every pixel",
        minutes=10,
        difficulty=2,
        reference=class_probabilities,
        cases=score_cases,
        mistakes=mistakes(
            class_probabilities,
            {
                ("dim=1 → dim=0", "- largest → ; dim=1 → dim=0"): "Here the probabilities of a batch add up to 1. "
                "Which axis holds the classes? The first, axis 0, counts the images.",
                ("dim=1 → dim=3", "- largest → ; dim=1 → dim=3"): "Here the numbers along a row of pixels add up to "
                "1. Every pixel needs probabilities of its own: the sum runs over the classes, axis 1.",
                ("dim=1 → dim=2", "- largest → ; dim=1 → dim=2"): "Here the numbers along a column of pixels add up "
                "to 1. The sum must run over the classes, axis 1.",
                ("dim=1 → dim=(1, 2, 3)", "- largest → ; dim=1 → dim=(1, 2, 3)"): "Here all numbers of an image add "
                "up to 1. Every pixel needs probabilities of its own: the sum runs over the classes only, axis 1.",
                ("dim=1 → dim=(0, 1, 2, 3)", "- largest → ; dim=1 → dim=(0, 1, 2, 3)"): "Here all numbers together "
                "add up to 1. Every pixel needs probabilities of its own: the sum runs over the classes only, axis 1.",
                torch.exp: "These are the exponentials. They are positive; dividing by their sum is still to come.",
                "(scores - largest).exp() → scores": "These add up to 1, but they are shares of the scores "
                "themselves, and some are negative. Take the exponential first.",
                torch.sigmoid: "That is the sigmoid, which treats each class alone: the sum is not 1.",
                "(scores - largest).exp() → (scores == largest).float()": "This names the best class with certainty. "
                "Softmax leaves the others their share.",
                "- largest → ": "exp(1000) is more than a float32 can hold, so the result holds nan. Softmax does not "
                "change when every score of a pixel shrinks by the same amount: subtract the largest one first.",
            },
        ),
        hints=(
            "The exponential of a score is positive, whatever the score. What must it be divided by?",
            "The scores of one pixel are scores[b, :, y, x]: the sum runs over axis 1. With keepdim=True it stays an "
            "axis of size one, so that the division fits.",
            "exp of 1000 is infinite. Subtract scores.amax(dim=1, keepdim=True) first: the result is the same.",
        ),
        because="The sum over axis 1 is 1 at every pixel. Segmentation is classification, once per pixel.",
    ),
    Prediction(
        "00.label_maps",
        title="The shape of a batch of label maps",
        minutes=2,
        difficulty=1,
        answer=shape_of_label_maps,
        mistakes={
            (4, 3, 96, 128): "That is the shape of the images. A label map holds no colours, but one number per pixel.",
            (4, 19, 96, 128): "That is the shape of the scores. Naming the best of the 19 leaves one number per pixel.",
            (4, 1, 96, 128): "Close: argmax over an axis removes that axis, so no 1 is left in its place.",
            (96, 128): "That is one label map. There are four images.",
            (4, 128, 96): "Height comes before width, as in a matrix: rows first.",
            (96, 128, 4): "PyTorch counts the images in the first axis.",
            (
                4,
                96,
                128,
                19,
            ): "That would be the scores, classes last. The best of them is one number per pixel.",
            (4, 96, 128, 3): "Those are colour images. A label map holds one number per pixel.",
            (4, 19): "That is one score per class and image, as in classification. Here every pixel has its own.",
        },
        hints=(
            "Every pixel of every image gets one whole number. How many axes does it take to name a pixel of a batch?",
            "argmax over an axis removes that axis: which of the four axes of the scores is gone?",
        ),
        because="The axis of the classes is gone: argmax puts one whole number in the place of 19 scores.",
    ),
    Exercise(
        "00.colour_labels",
        title="Paint a label map",
        minutes=10,
        difficulty=2,
        reference=colour_labels,
        shown=painted,  # the package's own looks every byte up in a table, and checks its input
        cases=label_map_cases,
        mistakes=mistakes(
            painted,
            {
                lambda labels: PALETTE[labels % len(PALETTE)]: "The ignored pixels must be black.",
                "np.zeros → 255 + np.zeros": "The ignored pixels must be black; here they are white.",
                "np.zeros → PALETTE[-1] + np.zeros": "The ignored pixels got the colour of the last class: as an "
                "index, 255 was cut down to 18.",
                "np.zeros → PALETTE[0] + np.zeros": "The ignored pixels got the colour of the road: class 0 is a "
                "class like any other.",
                "return image → return image[..., ::-1]": "Red and blue are swapped: that is OpenCV's order. "
                "Matplotlib's is red, green, blue.",
                "return image → return image / 255": "The colours go from 0 to 1 here; an image of type uint8 "
                "holds 0 to 255.",
                "return image → return np.moveaxis(image, -1, 0)": "The colours stand in the first axis, as "
                "PyTorch has it. Matplotlib draws (H, W, 3).",
            },
        ),
        hints=(
            "PALETTE is an array (19, 3): row 0 is the colour of class 0. What is PALETTE[labels], for a whole array?",
            "255 is no row of PALETTE. Begin with a black image, np.zeros((*labels.shape, 3), dtype=np.uint8), and "
            "paint only the pixels that count.",
            "painted[counted] = PALETTE[labels[counted]], where counted = labels != IGNORE_INDEX.",
        ),
        because=f"The ignore index {IGNORE_INDEX} is no class, so it needs a case of its own: here {IGNORE_COLOUR}.",
    ),
    Exercise(
        "00.class_iou",
        title="Score one class",
        minutes=10,
        difficulty=2,
        reference=class_iou,
        cases=iou_cases,
        mistakes=mistakes(
            class_iou,
            {
                "[counted] → ": "Pixels whose target is 255 are counted. Whatever is predicted there is neither right "
                "nor wrong.",
                "either.sum() → counted.sum()": "That is the share of all pixels, not of the union: everything that "
                "is another class in both maps dilutes the score.",
                "is_predicted & is_true → is_predicted == is_true; either.sum() → counted.sum()": "That is the pixel "
                "accuracy of this class against the rest: agreeing that a pixel is something else must not count.",
                "either.sum() → is_true.sum()": "That is the recall, intersection over target. Pixels wrongly given "
                "to the class must count, too.",
                "either.sum() → is_predicted.sum()": "That is the precision, intersection over prediction. Pixels "
                "that were missed must count, too.",
                "either.sum() → (is_predicted.sum() + is_true.sum())": "The union counts the pixels of the "
                "intersection twice: subtract them once.",
                "both.sum() / either.sum() → 2 * both.sum() / (is_predicted.sum() + is_true.sum())": "That is the "
                "Dice score: the intersection twice over the sum of both. IoU divides by the union.",
                "is_predicted & is_true → (predicted == target)[counted]; either.sum() → counted.sum()": "That is the "
                "pixel accuracy over all classes. IoU looks at one class: pixels that are another class in both maps "
                "do not count.",
                "is_predicted & is_true → predicted == target; either.sum() → target.size": "That is the pixel "
                "accuracy over all classes, with the ignored pixels. IoU looks at one class.",
                "is_predicted & is_true → (predicted == target)[counted]": "The numerator counts every pixel on which "
                "the maps agree. Count those where both are the class.",
                "/ either.sum() → ": "That is the intersection alone; divide by the union.",
            },
        ),
        hints=(
            "Make two maps of booleans: where the class is predicted, where it is true. How do you join them?",
            "`&` gives the intersection and `|` the union; .sum() counts the True in a map. Put brackets around each "
            "comparison, (predicted == index) & (target == index), because & binds more tightly than ==.",
            "Before counting, keep only the pixels with target != IGNORE_INDEX, in both maps.",
        ),
        because="By hand it was a quarter: one right pixel, four in the union. A class can score 0 while 99 % of the "
        "pixels are right, which is why this course reports IoU.",
    ),
)
