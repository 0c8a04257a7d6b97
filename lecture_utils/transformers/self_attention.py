"""Attention, and the blocks of a transformer: Vaswani et al., "Attention is all you need", NeurIPS 2017.

One source for captioning, vision transformers and DETR. Every function that attends also returns its weights.
"""

import math

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from lecture_utils.arguments import check_shapes, require_channels, require_positive


@check_shapes
def attention(
    queries: Float[Tensor, "*b q d"],
    keys: Float[Tensor, "*b k d"],
    values: Float[Tensor, "*b k v"],
    mask: Bool[Tensor, "#*b #q k"] | None = None,
    *,
    scale: float | None = None,
    bias: Float[Tensor, "#*b q k"] | None = None,
) -> tuple[Float[Tensor, "*b q v"], Float[Tensor, "*b q k"]]:
    """Scaled dot-product attention (section 3.2.1): for each query a weighted mean of the values, and the weights.

    The weights softmax(queries · keysᵀ · scale + bias) of a query are ≥ 0 and sum to 1 over the keys; `scale` is 1/√d
    unless given, `bias` 0. Where `mask` is False, a query must not look: the weight is 0. A query that may look nowhere
    gets zeros.
    """
    scores = queries @ keys.transpose(-1, -2) * (queries.shape[-1] ** -0.5 if scale is None else scale)
    if bias is not None:
        scores = scores + bias
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    weights = scores.softmax(-1)
    if mask is not None:
        weights = weights.masked_fill(~mask.any(-1, keepdim=True), 0.0)  # softmax of nothing is nan
    return weights @ values, weights


def causal_mask(length: int, device: torch.device | str | None = None) -> Bool[Tensor, "t t"]:
    """Where a word may look: at itself and the words before it."""
    return torch.ones(length, length, dtype=torch.bool, device=device).tril()


class MultiHeadAttention(nn.Module):
    """Several attentions side by side, each on its own projections of `dim / heads` numbers (section 3.2.2).

    `key_bias=False` leaves out the bias of the keys, which moves all scores of a query alike and so changes nothing.
    """

    def __init__(self, dim: int, heads: int, *, key_bias: bool = True):
        super().__init__()
        require_positive(dim=dim, heads=heads)
        if dim % heads:
            raise ValueError(f"heads: got {heads}, expected a divisor of dim, {dim}")
        self.heads = heads
        self.query, self.key = nn.Linear(dim, dim), nn.Linear(dim, dim, bias=key_bias)
        self.value, self.out = nn.Linear(dim, dim), nn.Linear(dim, dim)

    @check_shapes
    def forward(
        self,
        x: Float[Tensor, "b q d"],
        memory: Float[Tensor, "b k d"] | None = None,
        mask: Bool[Tensor, "#b #q k"] | None = None,
        *,
        keys: Float[Tensor, "b k d"] | None = None,
        bias: Float[Tensor, "#b heads q k"] | None = None,
    ) -> tuple[Float[Tensor, "b q d"], Float[Tensor, "b heads q k"]]:
        """Let `x` look at `memory`, or at itself; `mask` is False where it must not. Returns the weights as well.

        `keys`, where given, is what the keys are made of in place of `memory`: DETR adds the places to them alone.
        """
        _require_features(x, self.query.in_features)
        memory = x if memory is None else memory
        keys = memory if keys is None else keys
        split = lambda y: rearrange(y, "b n (heads c) -> b heads n c", heads=self.heads)  # noqa: E731
        parts = split(self.query(x)), split(self.key(keys)), split(self.value(memory))
        mixed, weights = attention(*parts, None if mask is None else mask[:, None], bias=bias)
        return self.out(rearrange(mixed, "b heads n c -> b n (heads c)")), weights


class Block(nn.Module):
    """One layer of a transformer: look at yourself, then at the memory if there is one, then think for yourself.

    Normalised before each part, as in ViT ("pre-norm"), not after it as in 2017: it trains without a warm-up. With
    `layer_scale`, what a part adds is multiplied by one learned number for each feature, which begins there (Touvron
    et al., "Going deeper with image transformers", ICCV 2021, section 2).
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        hidden: int | None = None,
        cross: bool = False,
        dropout: float = 0.0,
        key_bias: bool = True,
        layer_scale: float | None = None,
    ):
        super().__init__()
        require_positive(dim=dim)
        self.norm_self, self.attend = nn.LayerNorm(dim, eps=1e-6), MultiHeadAttention(dim, heads, key_bias=key_bias)
        if cross:
            self.norm_cross = nn.LayerNorm(dim, eps=1e-6)
            self.attend_memory = MultiHeadAttention(dim, heads, key_bias=key_bias)
        self.norm_mlp, self.mlp = nn.LayerNorm(dim, eps=1e-6), mlp(dim, 4 * dim if hidden is None else hidden, dropout)
        self.cross, self.dropout = cross, nn.Dropout(dropout)
        parts = 3 if cross else 2
        scales = [1.0] * parts
        if layer_scale is not None:
            scales = nn.ParameterList(nn.Parameter(torch.full((dim,), layer_scale)) for _ in range(parts))
        self.scales = scales

    @check_shapes
    def forward(
        self,
        x: Float[Tensor, "b n d"],
        memory: Float[Tensor, "b k d"] | None = None,
        *,
        mask: Bool[Tensor, "#b #n n"] | None = None,
        bias: Float[Tensor, "#b heads n n"] | None = None,
    ) -> tuple[Float[Tensor, "b n d"], Float[Tensor, "b heads n k"]]:
        """The new `x`, and the weights with which it looked at the memory, or at itself where there is none.

        `mask` and `bias` are those of its look at itself.
        """
        if self.cross != (memory is not None):
            raise ValueError(f"memory: expected one {'for' if self.cross else 'only for'} a block with cross=True")
        _require_features(x, self.attend.query.in_features)
        looked, weights = self.attend(self.norm_self(x), mask=mask, bias=bias)
        x = x + self.dropout(self.scales[0] * looked)
        if memory is not None:
            looked, weights = self.attend_memory(self.norm_cross(x), memory)
            x = x + self.dropout(self.scales[1] * looked)
        return x + self.dropout(self.scales[-1] * self.mlp(self.norm_mlp(x))), weights


def _require_features(x: Tensor, dim: int) -> None:
    if x.shape[-1] != dim:
        raise ValueError(f"x: got shape {tuple(x.shape)}, expected (batch, tokens, {dim})")


def mlp(dim: int, hidden: int, dropout: float = 0.0, activation: type[nn.Module] = nn.GELU) -> nn.Sequential:
    """The two layers that each token goes through alone."""
    require_positive(dim=dim, hidden=hidden)
    return nn.Sequential(nn.Linear(dim, hidden), activation(), nn.Dropout(dropout), nn.Linear(hidden, dim))


class GridPositions(nn.Module):
    """Adds to each point of a grid what tells its place: one learned vector for its row, one for its column."""

    def __init__(self, dim: int, grid: tuple[int, int]):
        super().__init__()
        require_positive(dim=dim, height=grid[0], width=grid[1])
        # Half as large as normalised features: places that start near 0 are noticed late.
        self.rows = nn.Parameter(torch.randn(dim, grid[0], 1) * 0.5)
        self.columns = nn.Parameter(torch.randn(dim, 1, grid[1]) * 0.5)

    def forward(self, z: Float[Tensor, "b d h w"]) -> Float[Tensor, "b d h w"]:
        places = self.rows + self.columns
        if z.shape[1:] != places.shape:
            raise ValueError(f"z: got {tuple(z.shape)}, expected (b, {', '.join(map(str, places.shape))})")
        return z + places


class GridSelfAttention(nn.Module):
    """Self-attention between the points of a convolutional feature map (slide 28).

    Zhang et al., "Self-attention generative adversarial networks", ICML 2019, section 3: queries, keys and values are
    1×1 convolutions, the scores are not divided by √d, and the result is added times γ, which starts at 0, so a new
    block changes nothing yet.
    """

    def __init__(self, channels: int, *, reduction: int = 8):
        super().__init__()
        require_positive(channels=channels, reduction=reduction)
        inner = max(1, channels // reduction)
        self.channels = channels
        self.query, self.key = nn.Conv2d(channels, inner, 1), nn.Conv2d(channels, inner, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, "b hw hw"]]:
        """The new map, and from each point (row) to each point (column) the weights, which sum to 1 in a row."""
        require_channels(x, self.channels)
        flat = lambda y: rearrange(y, "b c h w -> b (h w) c")  # noqa: E731
        mixed, weights = attention(flat(self.query(x)), flat(self.key(x)), flat(self.value(x)), scale=1.0)
        return x + self.gamma * rearrange(mixed, "b (h w) c -> b c h w", h=x.shape[2]), weights
