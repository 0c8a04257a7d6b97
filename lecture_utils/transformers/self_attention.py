"""Attention, and the blocks of a transformer: Vaswani et al., "Attention is all you need", NeurIPS 2017.

One source for captioning, vision transformers and DETR. The function `attention` is the formula, and returns its
weights as well. The models compute weights only where `need_weights=True` asks for them: those of all heads, kept for
the gradient, take nearly as much memory as all else.
"""

import math

import torch
import torch.nn.functional as F
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
    unless given, `bias` 0. Where `mask` is False, a query must not attend: the weight is 0. A query that may attend
    to nothing gets zeros.
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
    """True where a word may attend: to itself and the words before it."""
    return torch.ones(length, length, dtype=torch.bool, device=device).tril()


def attention_from(
    weights: Float[Tensor, "b heads hw hw"], at: tuple[int, int], grid: tuple[int, int]
) -> Float[Tensor, "b heads h w"]:
    """The attention of one point of a grid: its row of the weights between all points, set back into the grid.

    `at` is the point's (row, column), `grid` the (height, width) whose points the weights number row after row.
    """
    (row, column), (height, width) = at, grid
    if weights.shape[-2:] != (height * width, height * width):
        raise ValueError(f"weights: got shape {tuple(weights.shape)}, expected (b, heads, {height * width} twice)")
    if not (0 <= row < height and 0 <= column < width):
        raise ValueError(f"at: got {at}, expected a row below {height} and a column below {width}")
    return weights[..., row * width + column, :].cpu().unflatten(-1, grid)


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
        is_causal: bool = False,
        need_weights: bool = False,
    ) -> tuple[Float[Tensor, "b q d"], Float[Tensor, "b heads q k"] | None]:
        """Attention of `x` to `memory`, or to itself; `mask` is False where it must not attend. Weights if needed.

        `keys`, where given, is what the keys are made of in place of `memory`: DETR adds the position embeddings to
        them alone. `is_causal` stands for the mask `causal_mask`.
        """
        _require_features(x, self.query.in_features)
        state = self.keys_and_values(x if memory is None else memory, keys)
        return self.attend_to(x, *state, mask, bias=bias, is_causal=is_causal, need_weights=need_weights)

    def keys_and_values(
        self, memory: Float[Tensor, "b k d"], keys: Float[Tensor, "b k d"] | None = None
    ) -> tuple[Float[Tensor, "b heads k c"], Float[Tensor, "b heads k c"]]:
        """Projected keys and values, split into heads; they can be kept for further queries (a KV cache)."""
        return self._split(self.key(memory if keys is None else keys)), self._split(self.value(memory))

    def attend_to(
        self,
        x: Float[Tensor, "b q d"],
        keys: Float[Tensor, "b heads k c"],
        values: Float[Tensor, "b heads k c"],
        mask: Bool[Tensor, "#b #q k"] | None = None,
        *,
        bias: Float[Tensor, "#b heads q k"] | None = None,
        is_causal: bool = False,
        need_weights: bool = False,
    ) -> tuple[Float[Tensor, "b q d"], Float[Tensor, "b heads q k"] | None]:
        """Attention of `x` to projected keys and values."""
        if is_causal and not (mask is None and bias is None):
            raise ValueError("is_causal: got True and a mask or a bias, expected one of them")
        parts, weights = (self._split(self.query(x)), keys, values), None
        mask = None if mask is None else mask[:, None]
        if need_weights:
            mixed, weights = attention(*parts, causal_mask(x.shape[1], x.device) if is_causal else mask, bias=bias)
        else:
            mixed = _attend(*parts, mask, bias=bias, is_causal=is_causal)
        return self.out(rearrange(mixed, "b heads n c -> b n (heads c)")), weights

    def _split(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b heads n c"]:
        return rearrange(x, "b n (heads c) -> b heads n c", heads=self.heads)


def _attend(
    queries: Float[Tensor, "b heads q c"],
    keys: Float[Tensor, "b heads k c"],
    values: Float[Tensor, "b heads k c"],
    mask: Bool[Tensor, "#b 1 #q k"] | None,
    *,
    bias: Float[Tensor, "#b heads q k"] | None,
    is_causal: bool,
) -> Float[Tensor, "b heads q c"]:
    """The same as `attention`, by torch, which keeps no weights."""
    if not queries.numel():
        return queries  # for no head at all PyTorch 2.10 divides by 0, and Python dies
    if bias is not None and mask is not None:  # torch takes one of them
        mask = bias.masked_fill(~mask, -math.inf)
    attn_mask = bias if mask is None else mask
    return F.scaled_dot_product_attention(queries, keys, values, attn_mask=attn_mask, is_causal=is_causal)


class Block(nn.Module):
    """One layer of a transformer: self-attention, cross-attention to a memory if there is one, a position-wise MLP.

    Normalised before each part, as in ViT ("pre-norm"), not after it as in 2017: it trains without a warm-up. With
    `layer_scale`, what a part adds is multiplied by one learned number for each feature, which begins there (Touvron
    et al., "Going deeper with image transformers", ICCV 2021, section 2).
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        mlp_dim: int | None = None,
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
        self.norm_mlp, self.mlp = (
            nn.LayerNorm(dim, eps=1e-6),
            mlp(dim, 4 * dim if mlp_dim is None else mlp_dim, dropout),
        )
        self.cross, self.dropout = cross, nn.Dropout(dropout)
        scales = [] if layer_scale is None else [torch.full((dim,), layer_scale) for _ in range(3 if cross else 2)]
        self.scales = nn.ParameterList(scales)

    @check_shapes
    def forward(
        self,
        x: Float[Tensor, "b n d"],
        memory: Float[Tensor, "b k d"] | None = None,
        *,
        mask: Bool[Tensor, "#b #n n"] | None = None,
        bias: Float[Tensor, "#b heads n n"] | None = None,
        is_causal: bool = False,
        need_weights: bool = False,
    ) -> tuple[Float[Tensor, "b n d"], Float[Tensor, "b heads n k"] | None]:
        """The new `x`; if needed, the weights of its attention to the memory, or to itself where there is none.

        `mask`, `bias` and `is_causal` are those of the self-attention.
        """
        if self.cross != (memory is not None):
            raise ValueError(f"memory: expected one {'for' if self.cross else 'only for'} a block with cross=True")
        _require_features(x, self.attend.query.in_features)
        need_self, need_cross = need_weights and not self.cross, need_weights
        masks = {"mask": mask, "bias": bias, "is_causal": is_causal}
        attended, weights = self.attend(self.norm_self(x), **masks, need_weights=need_self)
        x = self._add(0, x, attended)
        if memory is not None:
            attended, weights = self.attend_memory(self.norm_cross(x), memory, need_weights=need_cross)
            x = self._add(1, x, attended)
        return self._add(-1, x, self.mlp(self.norm_mlp(x))), weights

    def start(self, memory: Float[Tensor, "b k d"]) -> tuple[Float[Tensor, "b heads _ c"], ...]:
        """The state of `step`: keys and values of the words read, none yet, and of the memory."""
        # In one piece, for every step reads all of them.
        keys, values = (part.contiguous() for part in self.attend_memory.keys_and_values(memory))
        return keys[:, :, :0], values[:, :, :0], keys, values

    def step(
        self, x: Float[Tensor, "b 1 d"], state: tuple[Float[Tensor, "b heads _ c"], ...], *, need_weights: bool = False
    ) -> tuple[Float[Tensor, "b 1 d"], Float[Tensor, "b heads 1 k"] | None, tuple[Float[Tensor, "b heads _ c"], ...]]:
        """What `forward` with `is_causal` gives for the last word, from the state that those before it have left."""
        *before, keys, values = state
        normed = self.norm_self(x)
        now = self.attend.keys_and_values(normed)
        read = [torch.cat(parts, dim=2) for parts in zip(before, now, strict=True)]
        x = self._add(0, x, self.attend.attend_to(normed, *read)[0])
        attended, weights = self.attend_memory.attend_to(self.norm_cross(x), keys, values, need_weights=need_weights)
        x = self._add(1, x, attended)
        return self._add(-1, x, self.mlp(self.norm_mlp(x))), weights, (*read, keys, values)

    def _add(self, part: int, x: Float[Tensor, "b n d"], more: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        return x + self.dropout(self.scales[part] * more if len(self.scales) else more)


def _require_features(x: Tensor, dim: int) -> None:
    if x.shape[-1] != dim:
        raise ValueError(f"x: got shape {tuple(x.shape)}, expected (batch, tokens, {dim})")


def mlp(dim: int, mlp_dim: int, dropout: float = 0.0, activation: type[nn.Module] = nn.GELU) -> nn.Sequential:
    """The two layers of the position-wise MLP."""
    require_positive(dim=dim, mlp_dim=mlp_dim)
    return nn.Sequential(nn.Linear(dim, mlp_dim), activation(), nn.Dropout(dropout), nn.Linear(mlp_dim, dim))


class GridPositions(nn.Module):
    """Learned position embedding of a grid: adds one vector for the row and one for the column of each point."""

    def __init__(self, dim: int, grid: tuple[int, int]):
        super().__init__()
        require_positive(dim=dim, height=grid[0], width=grid[1])
        # Half as large as normalised features: embeddings that start near 0 are noticed late.
        self.rows = nn.Parameter(torch.randn(dim, grid[0], 1) * 0.5)
        self.columns = nn.Parameter(torch.randn(dim, 1, grid[1]) * 0.5)

    def forward(self, z: Float[Tensor, "b d h w"]) -> Float[Tensor, "b d h w"]:
        pos_embed = self.rows + self.columns
        if z.shape[1:] != pos_embed.shape:
            raise ValueError(f"z: got {tuple(z.shape)}, expected (b, {', '.join(map(str, pos_embed.shape))})")
        return z + pos_embed


class GridSelfAttention(nn.Module):
    """Self-attention between the points of a convolutional feature map (slide 28).

    Zhang et al., "Self-attention generative adversarial networks", ICML 2019, section 3: queries, keys and values are
    1×1 convolutions to C / `reduction` channels, the scores are not divided by √d, a fourth 1×1 convolution brings the
    mixed values back to C channels, and the result is added times γ, which starts at 0, so a new block changes nothing
    yet. None has a bias. The authors' own code gives the values C / 2 channels and takes the largest of each 2×2 keys
    and values; here it is as the paper says.
    """

    def __init__(self, channels: int, *, reduction: int = 8):
        super().__init__()
        require_positive(channels=channels, reduction=reduction)
        inner = max(1, channels // reduction)
        self.channels = channels
        self.query, self.key, self.value = (nn.Conv2d(channels, inner, 1, bias=False) for _ in range(3))
        self.out = nn.Conv2d(inner, channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, "b hw hw"]]:
        """The new map, and from each point (row) to each point (column) the weights, which sum to 1 in a row."""
        require_channels(x, self.channels)
        flat = lambda y: rearrange(y, "b c h w -> b (h w) c")  # noqa: E731
        mixed, weights = attention(flat(self.query(x)), flat(self.key(x)), flat(self.value(x)), scale=1.0)
        return x + self.gamma * self.out(rearrange(mixed, "b (h w) c -> b c h w", h=x.shape[2])), weights
