"""The encoder–decoder of slide 25, whose whole image passes through one vector c.

As Vinyals et al., "Show and tell: a neural image caption generator", CVPR 2015, but c goes into every step.
"""

import torch
from einops import rearrange
from jaxtyping import Float, Int64
from torch import Tensor, nn

from lecture_utils.arguments import require_positive
from lecture_utils.captioning.grid import GridInput
from lecture_utils.captioning.steps import State, teacher_forced


class BottleneckRNN(nn.Module):
    """c = f_w(z), an MLP on the whole grid; h₀ = c; y_t = g_v(y_{t-1}, h_{t-1}, c), an LSTM (slide 25).

    f_w sees every point of the grid with its place, and squeezes each to `squeeze` numbers first.
    """

    def __init__(
        self,
        vocab_size: int,
        features: int,
        grid: tuple[int, int],
        *,
        dim: int = 128,
        hidden: int = 192,
        squeeze: int = 8,
    ):
        super().__init__()
        require_positive(vocab_size=vocab_size, hidden=hidden, squeeze=squeeze)
        self.grid = tuple(grid)
        self.encode_grid = GridInput(features, dim, grid)
        self.squeeze = nn.Linear(dim, squeeze)
        self.encode = nn.Sequential(
            nn.Linear(squeeze * grid[0] * grid[1], hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.Tanh()
        )
        self.embed = nn.Embedding(vocab_size, dim)
        self.lstm = nn.LSTMCell(dim + hidden, hidden)
        self.predict = nn.Linear(hidden, vocab_size)

    def forward(
        self, z: Float[Tensor, "b features h w"], captions: Int64[Tensor, "b t"], *, need_weights: bool = False
    ) -> tuple[Float[Tensor, "b t words"], Float[Tensor, "b 0 0 t h w"] | None]:
        return teacher_forced(self, z, captions, need_weights=need_weights)

    def start(self, z: Float[Tensor, "b features h w"]) -> State:
        points = self.squeeze(self.encode_grid(z))
        c = self.encode(rearrange(points, "b n d -> b (n d)"))  # the bottleneck
        return c, c, torch.zeros_like(c)

    def step(
        self, state: State, words: Int64[Tensor, "b"], *, need_weights: bool = False
    ) -> tuple[Float[Tensor, "b words"], Float[Tensor, "b 0 0 h w"] | None, State]:
        c, h, cell = state
        h, cell = self.lstm(torch.cat([self.embed(words), c], dim=1), (h, cell))
        attention = h.new_zeros(len(h), 0, 0, *self.grid) if need_weights else None
        return self.predict(h), attention, (c, h, cell)
