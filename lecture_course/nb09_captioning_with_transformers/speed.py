"""How long a captioner takes to learn from a batch of sentences, and how many words it says per second (slide 29)."""

import time
from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from lecture_utils.captioning import BottleneckRNN, CaptionTransformer, ShowAttendTell, caption_loss, greedy
from lecture_utils.captioning.grid import GridInput
from lecture_utils.costs import timed
from lecture_utils.transformers import attention

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


@torch.no_grad()
def said_per_second(model: nn.Module, z: Float[Tensor, "b features ..."]) -> tuple[float, float]:
    """Words per second of greedy decoding for a batch of images, with what is done once per image, and without."""
    words, whole, once = greedy(model, z).words.numel(), seconds(greedy, model, z), seconds(model.start, z)
    return words / whole, words / (whole - once)


def work_table(slopes: Mapping[str, float], said: Mapping[str, tuple[float, float]]) -> str:
    """What one more word costs each model in training, the last of the `slopes` being 1, and `said_per_second`."""
    lines = [f"{'':24}one more word in training    words said per second        encoder not counted"]
    for name, slope in slopes.items():
        numbers = "".join(f"{number:27,.0f}" for number in said.get(name, ()))
        lines.append(f"{name:24}{slope / list(slopes.values())[-1]:25.1f}{numbers}")
    return "\n".join(lines)


def captioners(vocab_size: int, features: int, grid: tuple[int, int], width: int = 96) -> dict[str, nn.Module]:
    """Untrained captioners of one width; seconds do not depend on what a model has learned."""
    sizes, torso = (vocab_size, features, grid), {"dim": width, "hidden": width}
    by_dot_product = ShowAttendTell(*sizes, **torso, attention_dim=width)
    by_dot_product.score = DotScore(width)
    models = {
        "LSTM with attention": ShowAttendTell(*sizes, **torso, attention_dim=width),
        "… by dot products": by_dot_product,
        "… once, for all words": AttendsOnce(*sizes, width),
        "LSTM alone": BottleneckRNN(*sizes, **torso, width=width),
        "transformer": CaptionTransformer(*sizes, dim=width, max_length=128),
    }
    return {name: model.eval() for name, model in models.items()}


class DotScore(nn.Module):
    """W a_i · U h in place of `AdditiveScore`."""

    def __init__(self, dim: int):
        super().__init__()
        self.of_points, self.of_h = nn.Linear(dim, dim), nn.Linear(dim, dim, bias=False)

    def prepare(self, a: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        return self.of_points(a)

    def forward(self, prepared: Float[Tensor, "b n d"], h: Float[Tensor, "b d"]) -> Float[Tensor, "b n"]:
        # Not a product of matrices: in the backward pass that is the slower one, for its inner dimension is 1.
        return (prepared * self.of_h(h)[:, None]).sum(-1)


class AttendsOnce(nn.Module):
    """An LSTM that reads words alone; behind it all its states attend to the grid in one product, by `DotScore`'s."""

    def __init__(self, vocab_size: int, features: int, grid: tuple[int, int], dim: int):
        super().__init__()
        self.encode_grid, self.score = GridInput(features, dim, grid), DotScore(dim)
        self.embed, self.lstm = nn.Embedding(vocab_size, dim), nn.LSTMCell(dim, dim)
        self.predict = nn.Linear(2 * dim, vocab_size)

    def forward(
        self, z: Float[Tensor, "b features h w"], captions: Int64[Tensor, "b t"]
    ) -> tuple[Float[Tensor, "b t words"], None]:
        a, state, states = self.encode_grid(z), None, []
        for words in self.embed(captions).unbind(1):
            state = self.lstm(words, state)
            states.append(state[0])
        h = torch.stack(states, 1)
        mixed, _ = attention(self.score.of_h(h), self.score.prepare(a), a, scale=1.0)
        return self.predict(torch.cat([h, mixed], 2)), None
