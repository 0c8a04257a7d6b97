"""How long a captioner takes to learn from a batch of sentences, and how many words it says per second (slide 29)."""

import time
from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from lecture_utils.captioning import BottleneckRNN, CaptionTransformer, ShowAttendTell, caption_loss, greedy
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


def learning_seconds(predict: Predict, sentences: int, length: int, *, times: int = 2) -> float:
    """Seconds of a forward and a backward pass for a batch of `sentences` of `length` words, the least of `times`.

    `predict` gives the logits of each word's successor.
    """
    captions = torch.full((sentences, length + 1), WORD)

    def learn() -> None:
        with torch.enable_grad():
            caption_loss(predict(captions[:, :-1]), captions).backward()

    return seconds(learn, times=times)


def repeated(predict: Predict, sentences: int, lengths: Sequence[int], *, repeats: int = 3) -> list[list[float]]:
    """Milliseconds of `learning_seconds` for each length, several times over: how far repeats lie apart."""
    return [[1000 * learning_seconds(predict, sentences, n) for n in lengths] for _ in range(repeats)]


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


def work_table(slopes: Mapping[str, Sequence[float]], said: Mapping[str, tuple[float, float]]) -> str:
    """What one more word costs each model in training: mean and range of repeats; beside it `said_per_second`.

    The unit is the mean of the last of the `slopes`.
    """
    *_, last = slopes.values()
    unit = sum(last) / len(last)
    lines = [f"{'':24}one more word in training     words said per second    encoder not counted"]
    lines += [f"{'':24}(the decoder of the transformer: 1)"]
    for name, each in slopes.items():
        cost = f"{sum(each) / len(each) / unit:.1f} ({min(each) / unit:.1f} to {max(each) / unit:.1f})"
        numbers = "".join(f"{number:{wide},.0f}" for number, wide in zip(said.get(name, ()), (26, 23), strict=False))
        lines.append(f"{name:24}{cost:>25}{numbers}")
    return "\n".join(lines)


def captioners(vocab_size: int, features: int, grid: tuple[int, int], width: int = 96) -> dict[str, nn.Module]:
    """Untrained captioners of one width; seconds do not depend on what a model has learned."""
    sizes, torso = (vocab_size, features, grid), {"dim": width, "hidden": width}
    by_dot_product, once = (ShowAttendTell(*sizes, **torso, attention_dim=width) for _ in range(2))
    by_dot_product.score, once.score = DotScore(width), DotScore(width)
    models = {
        "LSTM with attention": ShowAttendTell(*sizes, **torso, attention_dim=width),
        "… by dot products": by_dot_product,
        "… once, for all words": AttendsOnce(once),
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
    """The LSTM of `ShowAttendTell` with all its layers, but it reads the mean point, and all its states attend at once.

    The scores are dot products. Only what goes into the LSTM beside a word is another vector than there.
    """

    def __init__(self, attending: ShowAttendTell):
        super().__init__()
        self.attending = attending

    def forward(
        self, z: Float[Tensor, "b features h w"], captions: Int64[Tensor, "b t"]
    ) -> tuple[Float[Tensor, "b t words"], None]:
        of, y = self.attending, self.attending.embed(captions)
        a, keys, h, cell = of.start(z)
        mean, states = a.mean(1), [h]
        for words in y.unbind(1):
            h, cell = of.lstm(torch.cat([words, mean], 1), (h, cell))
            states.append(h)
        h = torch.stack(states, 1)
        context, _ = attention(of.score.of_h(h[:, :-1]), keys, a, scale=1.0)
        context = torch.sigmoid(of.gate(h[:, :-1])) * context
        return of.predict(y + of.from_h(h[:, 1:]) + of.from_context(context)), None
