"""Show, Attend and Tell: a new look at the image for every word (slides 26 and 27).

Xu et al., "Show, attend and tell: neural image caption generation with visual attention", ICML 2015. The numbers in
brackets are the paper's equations.
"""

import torch
from einops import rearrange, reduce
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from lecture_utils.arguments import require_positive
from lecture_utils.captioning.grid import GridInput
from lecture_utils.captioning.steps import State, teacher_forced


class ShowAttendTell(nn.Module):
    """An LSTM with soft attention over the grid before each word; its points are the paper's annotation vectors a_i."""

    def __init__(
        self,
        vocab_size: int,
        features: int,
        grid: tuple[int, int],
        *,
        dim: int = 128,
        hidden: int = 192,
        attention_dim: int = 64,
    ):
        super().__init__()
        require_positive(vocab_size=vocab_size, hidden=hidden, attention_dim=attention_dim)
        self.grid = tuple(grid)
        self.encode_grid = GridInput(features, dim, grid)
        self.score = AdditiveScore(dim, hidden, attention_dim)
        self.gate = nn.Linear(hidden, 1)
        self.first_h, self.first_cell = (nn.Sequential(nn.Linear(dim, hidden), nn.Tanh()) for _ in range(2))
        self.embed = nn.Embedding(vocab_size, dim)
        self.lstm = nn.LSTMCell(2 * dim, hidden)
        self.from_h, self.from_context = nn.Linear(hidden, dim), nn.Linear(dim, dim)
        self.predict = nn.Linear(dim, vocab_size)

    def forward(
        self, z: Float[Tensor, "b features h w"], captions: Int64[Tensor, "b t"], *, need_weights: bool = False
    ) -> tuple[Float[Tensor, "b t words"], Float[Tensor, "b 1 1 t h w"] | None]:
        return teacher_forced(self, z, captions, need_weights=need_weights)

    def start(self, z: Float[Tensor, "b features h w"]) -> State:
        a = self.encode_grid(z)
        mean = a.mean(1)
        return a, self.score.prepare(a), self.first_h(mean), self.first_cell(mean)  # section 3.1.2

    def step(
        self, state: State, words: Int64[Tensor, "b"], *, need_weights: bool = False
    ) -> tuple[Float[Tensor, "b words"], Float[Tensor, "b 1 1 h w"] | None, State]:
        weights = self.attention_weights(state)
        logits, state = self.decode_step(state, words, weights)
        return logits, weights.view(-1, 1, 1, *self.grid) if need_weights else None, state

    def attention_weights(self, state: State) -> Float[Tensor, "b n"]:
        """How much each point of the grid matters for the next word, α: ≥ 0, sums to 1."""
        _, prepared, h, _ = state
        return self.score(prepared, h).softmax(1)  # (4), (5)

    def decode_step(
        self, state: State, words: Int64[Tensor, "b"], weights: Float[Tensor, "b n"]
    ) -> tuple[Float[Tensor, "b words"], State]:
        """The next word's logits for what is seen with these weights."""
        a, prepared, h, cell = state
        context = torch.einsum("bn,bnd->bd", weights, a)  # (13)
        context = torch.sigmoid(self.gate(h)) * context  # section 4.2.1: the gate β, one number
        y = self.embed(words)
        h, cell = self.lstm(torch.cat([y, context], dim=1), (h, cell))  # (1) to (3)
        logits = self.predict(y + self.from_h(h) + self.from_context(context))  # (7)
        return logits, (a, prepared, h, cell)


class UniformAttention(ShowAttendTell):
    """The same with every weight 1/L: each word gets the mean of the grid, and the score is never trained."""

    def attention_weights(self, state: State) -> Float[Tensor, "b n"]:
        _, prepared, _, _ = state
        return prepared.new_full(prepared.shape[:2], 1 / prepared.shape[1])


class AdditiveScore(nn.Module):
    """f_att of equation (4): how well point i fits what the decoder is about to say, e_i = v · tanh(W a_i + U h)."""

    def __init__(self, dim: int, hidden: int, inner: int):
        super().__init__()
        self.of_points, self.of_h = nn.Linear(dim, inner), nn.Linear(hidden, inner, bias=False)
        self.v = nn.Linear(inner, 1, bias=False)

    def prepare(self, a: Float[Tensor, "b n d"]) -> Float[Tensor, "b n inner"]:
        """W a_i, which is the same for every word."""
        return self.of_points(a)

    def forward(self, prepared: Float[Tensor, "b n inner"], h: Float[Tensor, "b hidden"]) -> Float[Tensor, "b n"]:
        return self.v(torch.tanh(prepared + self.of_h(h)[:, None])).squeeze(-1)


def doubly_stochastic(attention: Float[Tensor, "b 1 1 t h w"], mask: Bool[Tensor, "b t"]) -> Float[Tensor, ""]:
    """The term of equation (14): every point should get attention of about 1 in all, summed over the words.

    Σ_i (1 - Σ_t α_ti)², summed over the points i, averaged over the batch; `mask` is False for padded steps.
    """
    total = reduce(attention * rearrange(mask, "b t -> b 1 1 t 1 1"), "b l k t h w -> b (l k h w)", "sum")
    return ((1 - total) ** 2).sum(1).mean()
