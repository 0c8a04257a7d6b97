"""How long a captioner takes to learn from a batch of sentences, and how many words it says per second (slide 29)."""

import time
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from lecture_utils.captioning import caption_loss, greedy
from lecture_utils.costs import timed

WORD = 5  # any word of the vocabulary
Predict = Callable[[Int64[Tensor, "b t"]], Float[Tensor, "b t words"]]


def seconds(function: Callable, *inputs: object, times: int = 3) -> float:
    """The least processor seconds of a few calls on one thread: what else runs on the machine does not count."""

    def used() -> float:
        start = time.process_time()
        function(*inputs)
        return time.process_time() - start

    return min(timed(used)[1] for _ in range(times))


def learning_seconds(predict: Predict, sentences: int, length: int) -> float:
    """Seconds of a forward and a backward pass for a batch of `sentences` of `length` words each.

    `predict` gives the logits of each word's successor.
    """
    captions = torch.full((sentences, length + 1), WORD)

    def learn() -> None:
        with torch.enable_grad():
            caption_loss(predict(captions[:, :-1]), captions).backward()

    return seconds(learn, times=6)  # the least of six: on a busy machine three are too few


def slope(lengths: Sequence[float], values: Sequence[float]) -> float:
    """What one more word costs: the slope of the line of least squares."""
    x, y = torch.tensor(lengths, dtype=torch.float64), torch.tensor(values, dtype=torch.float64)
    x = x - x.mean()
    return (x @ y / (x @ x)).item()


def said_per_second(model: nn.Module, z: Float[Tensor, "b features ..."]) -> float:
    """Words per second of greedy decoding, for a batch of images."""
    return greedy(model, z).words.numel() / seconds(greedy, model, z)
