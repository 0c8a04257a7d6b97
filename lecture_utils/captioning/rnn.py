"""The encoder–decoder of slide 25: the whole image passes through one vector c.

As in Vinyals et al., "Show and tell: a neural image caption generator", CVPR 2015, but c goes into every step.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from lecture_utils.arguments import require_positive
from lecture_utils.captioning.grid import GridInput
from lecture_utils.captioning.steps import State, teacher_forced


class BottleneckRNN(nn.Module):
    """c = f_w(z), as long as `width`; h₀ from c; y_t = g_v(y_{t-1}, h_{t-1}, c), an LSTM (slide 25).

    f_w is an MLP on the whole grid, every point with its place; with `width` None, c is the mean of the points. The
    MLP's first layer has two steps, as all its weights at once would be 33 million for a `width` of 1024: `squeeze`
    numbers of each point, by the same weights everywhere, and from all of them `width` numbers.

    h₀ is c where c is as long as the LSTM's memory, `hidden`, and else a linear layer of it.
    """

    def __init__(
        self,
        vocab_size: int,
        features: int,
        grid: tuple[int, int],
        *,
        dim: int = 128,
        hidden: int = 192,
        width: int | None = 192,
        squeeze: int = 32,
    ):
        super().__init__()
        length = dim if width is None else width
        require_positive(vocab_size=vocab_size, hidden=hidden, width=length, squeeze=squeeze)
        self.grid = tuple(grid)
        self.encode_grid = GridInput(features, dim, grid)
        self.encode = Mean() if width is None else grid_mlp(dim, grid, squeeze, width)
        self.first_h = nn.Identity() if length == hidden else nn.Linear(length, hidden)
        self.embed = nn.Embedding(vocab_size, dim)
        self.lstm = nn.LSTMCell(dim + length, hidden)
        self.predict = nn.Linear(hidden, vocab_size)

    def forward(
        self, z: Float[Tensor, "b features h w"], captions: Int64[Tensor, "b t"], *, need_weights: bool = False
    ) -> tuple[Float[Tensor, "b t words"], Float[Tensor, "b 0 0 t h w"] | None]:
        return teacher_forced(self, z, captions, need_weights=need_weights)

    def start(self, z: Float[Tensor, "b features h w"]) -> State:
        c = self.encode(self.encode_grid(z))  # the bottleneck
        h = self.first_h(c)
        return c, h, torch.zeros_like(h)

    def step(
        self, state: State, words: Int64[Tensor, "b"], *, need_weights: bool = False
    ) -> tuple[Float[Tensor, "b words"], Float[Tensor, "b 0 0 h w"] | None, State]:
        c, h, cell = state
        h, cell = self.lstm(torch.cat([self.embed(words), c], dim=1), (h, cell))
        attention = h.new_zeros(len(h), 0, 0, *self.grid) if need_weights else None
        return self.predict(h), attention, (c, h, cell)


class Mean(nn.Module):
    """The mean of a set of points."""

    def forward(self, points: Float[Tensor, "b n d"]) -> Float[Tensor, "b d"]:
        return points.mean(1)


def grid_mlp(dim: int, grid: tuple[int, int], squeeze: int, width: int) -> nn.Sequential:
    """f_w as an MLP: points (b, n, dim) of a grid → c (b, width), numbers between -1 and 1.

    Normalised before each activation: thousands of inputs, all moved by a step of Adam, would saturate the tanh for
    good within the first steps, and c would be the same for every image.
    """
    all_points = squeeze * grid[0] * grid[1]
    return nn.Sequential(
        nn.Linear(dim, squeeze),
        nn.Flatten(),
        nn.Linear(all_points, width),
        nn.LayerNorm(width),
        nn.ReLU(),
        nn.Linear(width, width),
        nn.LayerNorm(width),
        nn.Tanh(),
    )
