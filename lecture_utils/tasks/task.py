"""What a task is: the data, the loss and the scores that all models of a kind share."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.data import Dataset

from lecture_utils.runtime import Runtime


def image_alone(size: int) -> tuple:
    """An image of size × size pixels that has a shape but no content: what most models are counted with."""
    return (torch.empty(1, 3, size, size, device="meta"),)


@dataclass(frozen=True)
class Task:
    """What is done alike for every model of a kind; each module here ends with its tasks, below their functions."""

    data: Callable[..., Dataset]  # data(split, root, size=…)
    make_loss: Callable[[Dataset], Callable]  # made for the training data, for `training.fit`
    score: Callable[[nn.Module, Dataset, Runtime], dict]
    description: str  # the data, in words for the cards
    collate: Callable[[list], object] | None = None
    prepare: Callable[[nn.Module, Dataset], None] | None = None  # what a new model needs of its data beforehand
    example: Callable[[int], tuple] = image_alone  # example(size): a model's inputs in a training step, to count costs
    layout: str | None = None  # how a `root` is laid out (`datasets.layouts`); None for what is painted, not read
