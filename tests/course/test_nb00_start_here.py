"""Answers to the exercises of notebook 00, right and wrong, and their references against the package's scores."""

import numpy as np
import pytest
import torch

from lecture_course.nb00_start_here.exercises import class_iou, iou_cases, painted
from lecture_utils.cityscapes import CLASSES, IGNORE_INDEX, PALETTE
from lecture_utils.segmentation.scores import segmentation_scores


def softmax_by_hand(scores):
    powers = (scores - scores.amax(dim=1, keepdim=True)).exp()
    return powers / powers.sum(dim=1, keepdim=True)


def softmax_class_by_class(scores):
    result = torch.empty_like(scores)
    for b in range(scores.shape[0]):
        for y in range(scores.shape[2]):
            for x in range(scores.shape[3]):
                result[b, :, y, x] = torch.nn.functional.softmax(scores[b, :, y, x], dim=0)
    return result


def softmax_overflows(scores):
    return scores.exp() / scores.exp().sum(1, keepdim=True)


def softmax_of_the_batch(scores):
    return torch.softmax(scores, 0)


def softmax_of_the_row_by_hand(scores):
    return scores.exp() / scores.exp().sum(-1, keepdim=True)


def softmax_of_everything_by_hand(scores):
    return scores.exp() / scores.exp().sum()


def softmax_of_the_row(scores):
    return torch.softmax(scores, -1)


def softmax_of_everything(scores):
    return torch.exp(scores - scores.max()) / torch.exp(scores - scores.max()).sum()


def softmax_without_sum(scores):
    return scores.exp()


def softmax_in_place(scores):
    scores -= scores.amax(dim=1, keepdim=True)
    powers = scores.exp()
    return powers / powers.sum(dim=1, keepdim=True)


def softmax_for_numpy(scores):
    return softmax_by_hand(scores).numpy()


def softmax_without_keepdim(scores):
    powers = (scores - scores.amax(dim=1, keepdim=True)).exp()
    return powers / powers.sum(dim=1)


def softmax_of_the_last_image(scores):
    for image in scores:
        result = image.softmax(dim=0)
    return result


def softmax_unsaid(scores):
    scores.softmax(dim=1)


def paint_on_black(labels):
    painted = np.zeros((*labels.shape, 3), dtype=np.uint8)
    counted = labels != IGNORE_INDEX
    painted[counted] = PALETTE[labels[counted]]
    return painted


def paint_by_loop(labels):
    painted = np.zeros((labels.shape[0], labels.shape[1], 3), np.uint8)
    for index in range(len(CLASSES)):
        painted[labels == index] = PALETTE[index]
    return painted


def paint_by_index(labels):
    return PALETTE[labels]


def paint_modulo(labels):
    return PALETTE[labels % 19]


def paint_floats(labels):
    return paint_on_black(labels) / 255


def paint_channels_first(labels):
    return paint_on_black(labels).transpose(2, 0, 1)


def paint_swapped(labels):
    return paint_on_black(labels).transpose(1, 0, 2)


def paint_blue_first(labels):
    return paint_on_black(labels)[:, :, ::-1]


def paint_ints(labels):
    return paint_on_black(labels).astype(int)


def paint_into_the_labels(labels):
    painted = paint_on_black(labels)
    labels[labels == IGNORE_INDEX] = 0
    return painted


def paint_tensor(labels):
    return torch.from_numpy(paint_on_black(labels))


def paint_square(labels):
    side = labels.shape[0]
    painted = np.zeros((side, side, 3), np.uint8)
    for y in range(side):
        for x in range(side):
            if labels[y, x] != 255:
                painted[y, x] = PALETTE[labels[y, x]]
    return painted


def iou_by_filter(predicted, target, index):
    predicted, target = predicted[target != 255], target[target != 255]
    both = np.logical_and(predicted == index, target == index).sum()
    return both / ((predicted == index).sum() + (target == index).sum() - both)


def iou_by_loop(predicted, target, index):
    both = either = 0
    for p, t in zip(predicted.ravel(), target.ravel(), strict=True):
        if t != IGNORE_INDEX:
            both += p == index and t == index
            either += p == index or t == index
    return both / either


def iou_with_ignored(predicted, target, index):
    return ((predicted == index) & (target == index)).sum() / ((predicted == index) | (target == index)).sum()


def recall(predicted, target, index):
    return ((predicted == index) & (target == index)).sum() / (target == index).sum()


def precision(predicted, target, index):
    counted = target != 255
    return ((predicted == index) & (target == index)).sum() / ((predicted == index) & counted).sum()


def accuracy(predicted, target, index):
    counted = target != 255
    return ((predicted == index) == (target == index))[counted].mean()


def accuracy_of_all_classes(predicted, target, index):
    return (predicted == target).mean()


def agreement_over_union(predicted, target, index):
    counted = target != 255
    predicted, target = predicted[counted], target[counted]
    return (predicted == target).sum() / ((predicted == index) | (target == index)).sum()


def sum_for_union(predicted, target, index):
    predicted, target = predicted[target != 255], target[target != 255]
    return ((predicted == index) & (target == index)).sum() / ((predicted == index).sum() + (target == index).sum())


def percent(predicted, target, index):
    return 100 * iou_by_filter(predicted, target, index)


def of_class_one(predicted, target, index):
    return ((predicted == index) & (target == index)).sum()


def iou_map(predicted, target, index):
    return (predicted == index) & (target == index)


def one_minus_iou(predicted, target, index):
    return 1 - iou_by_filter(predicted, target, index)


RIGHT = {
    "00.class_probabilities": [softmax_by_hand, softmax_class_by_class],
    "00.label_maps": [(4, 96, 128), [4, 96, 128], torch.Size([4, 96, 128])],
    "00.colour_labels": [paint_on_black, paint_by_loop, painted],
    "00.class_iou": [iou_by_filter, iou_by_loop],
}
WRONG = {
    "00.class_probabilities": [
        (softmax_overflows, "subtract the largest"),
        (softmax_of_the_batch, "which axis holds the classes"),
        (softmax_of_the_row, "along a row"),
        (softmax_of_everything, "all numbers together"),
        (softmax_of_the_row_by_hand, "along a row"),
        (softmax_of_everything_by_hand, "all numbers together"),
        (softmax_without_sum, "dividing by their sum"),
        (softmax_in_place, "writes into its input"),
        (softmax_for_numpy, "NumPy array; expected is a tensor"),
        (softmax_without_keepdim, "only for a batch of one"),
        (softmax_of_the_last_image, "batch axis is lost"),
        (softmax_unsaid, "`return` missing"),
    ],
    "00.label_maps": [
        ((4, 3, 96, 128), "shape of the images"),
        ((4, 19, 96, 128), "shape of the scores"),
        ((4, 1, 96, 128), "removes that axis"),
        ((4, 128, 96), "height comes before width"),
        ((96, 128), "four images"),
        (4 * 96 * 128, "expected are 3 values"),
    ],
    "00.colour_labels": [
        (paint_by_index, "IndexError"),
        (paint_modulo, "must be black"),
        (paint_floats, "0 to 255"),
        (paint_channels_first, "matplotlib draws (H, W, 3)"),
        (paint_swapped, "axes 0 and 1 are swapped"),
        (paint_blue_first, "red and blue"),
        (paint_ints, "of type int64; expected is uint8"),
        (paint_into_the_labels, "writes into its input"),
        (paint_tensor, "returns a tensor; expected is a NumPy array"),
        (paint_square, "right only on square inputs"),
    ],
    "00.class_iou": [
        (iou_with_ignored, "target is 255 are counted"),
        (recall, "recall"),
        (precision, "precision"),
        (accuracy, "pixel accuracy"),
        (accuracy_of_all_classes, "looks at one class"),
        (agreement_over_union, "both are the class"),
        (sum_for_union, "twice"),
        (percent, "100 times too large"),
        (of_class_one, "intersection alone"),
        (iou_map, "single number"),
        (one_minus_iou, ""),
    ],
}


@pytest.mark.slide("03")
def test_the_score_of_one_class_is_that_of_all_classes_together():
    for case in iou_cases(torch.Generator().manual_seed(0)):
        predicted, target, index = case.args
        counted = target != IGNORE_INDEX
        confusion = np.zeros((len(CLASSES), len(CLASSES)))
        np.add.at(confusion, (target[counted], predicted[counted]), 1)
        assert class_iou(predicted, target, index) == segmentation_scores(confusion)["iou"][CLASSES[index]]
