"""Captioning with transformers: on the features of a CNN (slide 29), and without any convolution (slide 30)."""

import torch
from einops.layers.torch import Rearrange
from jaxtyping import Float, Int64
from torch import Tensor, nn

from lecture_utils.arguments import Pair, patch_grid, require_positive
from lecture_utils.captioning.grid import GridInput
from lecture_utils.captioning.steps import State, require_captions
from lecture_utils.transformers.self_attention import Block


class CaptionTransformer(nn.Module):
    """c = T_w(z), a transformer encoder on the points of the grid; a decoder that attends to earlier words and to c.

    `max_length` is the number of words, `<start>` and `<end>` counted, for which there are learned positions.
    """

    is_causal = True  # no word sees a later one; notebook 09 shows what happens otherwise

    def __init__(
        self,
        vocab_size: int,
        features: int,
        grid: tuple[int, int],
        *,
        dim: int = 96,
        heads: int = 4,
        encoder_layers: int = 2,
        decoder_layers: int = 2,
        mlp_dim: int | None = None,
        max_length: int = 64,
        dropout: float = 0.1,
    ):
        super().__init__()
        require_positive(
            vocab_size=vocab_size, encoder_layers=encoder_layers, decoder_layers=decoder_layers, max_length=max_length
        )
        self.grid, self.max_length = tuple(grid), max_length
        self.encode_grid = GridInput(features, dim, grid)
        sizes = {"dim": dim, "heads": heads, "mlp_dim": 2 * dim if mlp_dim is None else mlp_dim, "dropout": dropout}
        self.encoder = nn.ModuleList(Block(**sizes) for _ in range(encoder_layers))
        self.encoder_norm = nn.LayerNorm(dim, eps=1e-6)
        self.embed = nn.Embedding(vocab_size, dim)
        self.pos_embed = nn.Parameter(torch.randn(max_length, dim) * 0.02)
        self.decoder = nn.ModuleList(Block(**sizes, cross=True) for _ in range(decoder_layers))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.predict = nn.Linear(dim, vocab_size)

    def forward(
        self, z: Float[Tensor, "b features ..."], captions: Int64[Tensor, "b t"], *, need_weights: bool = False
    ) -> tuple[Float[Tensor, "b t words"], Float[Tensor, "b layers heads t h w"] | None]:
        require_captions(z, captions)
        return self.decode(self.encode(z), captions, need_weights=need_weights)

    def encode(self, z: Float[Tensor, "b features h w"]) -> Float[Tensor, "b hw d"]:
        """c = T_w(z): the encoded points of the grid."""
        x = self.encode_grid(z)
        for block in self.encoder:
            x, _ = block(x)
        return self.encoder_norm(x)

    def decode(
        self, c: Float[Tensor, "b hw d"], captions: Int64[Tensor, "b t"], *, need_weights: bool = False
    ) -> tuple[Float[Tensor, "b t words"], Float[Tensor, "b layers heads t h w"] | None]:
        """The logits of each word's successor; no word sees a later one."""
        x, maps = self._placed(captions), []
        for block in self.decoder:
            x, weights = block(x, c, is_causal=self.is_causal, need_weights=need_weights)
            maps.append(weights)
        attention = torch.stack(maps, dim=1).unflatten(-1, self.grid) if need_weights else None
        return self.predict(self.norm(x)), attention

    def start(self, z: Float[Tensor, "b features ..."]) -> State:
        """Keys and values of each layer of the decoder, (b, heads, n, d / heads): of no words yet, and of c."""
        c = self.encode(z)
        return tuple(part for block in self.decoder for part in block.start(c))

    def step(
        self, state: State, words: Int64[Tensor, "b"], *, need_weights: bool = False
    ) -> tuple[Float[Tensor, "b words"], Float[Tensor, "b layers heads h w"] | None, State]:
        """Read one more word. Those before it do not see it, so their keys and values stay as they are."""
        x, maps, read = self._placed(words[:, None], state[0].shape[2]), [], ()
        size = len(state) // len(self.decoder)
        for layer, block in enumerate(self.decoder):
            x, weights, after = block.step(x, state[size * layer : size * (layer + 1)], need_weights=need_weights)
            maps.append(weights)
            read += after
        attention = torch.stack(maps, dim=1).squeeze(-2).unflatten(-1, self.grid) if need_weights else None
        return self.predict(self.norm(x)).squeeze(1), attention, read

    def _placed(self, words: Int64[Tensor, "b t"], first: int = 0) -> Float[Tensor, "b t d"]:
        """Words as vectors, each with that of its position."""
        length = first + words.shape[1]
        if length > self.max_length:
            raise ValueError(f"captions: got {length} words, expected at most max_length={self.max_length}")
        return self.embed(words) + self.pos_embed[first:length]


class ViTCaptioner(CaptionTransformer):
    """The same without a CNN: z are the pixels of the image's patches, in a row (slide 30)."""

    def __init__(self, vocab_size: int, image_size: Pair, *, patch_size: int = 8, channels: int = 3, **sizes):
        grid = patch_grid("image_size", image_size, patch_size)
        require_positive(channels=channels)
        super().__init__(vocab_size, channels * patch_size**2, grid, **sizes)
        self.image_shape = channels, grid[0] * patch_size, grid[1] * patch_size
        self.cut = Rearrange("b c (h p) (w q) -> b (c p q) h w", p=patch_size, q=patch_size)

    def encode(self, image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b hw d"]:
        if image.ndim != 4 or image.shape[1:] != self.image_shape:
            expected = ", ".join(map(str, self.image_shape))
            raise ValueError(f"image: got shape {tuple(image.shape)}, expected (batch, {expected})")
        return super().encode(self.cut(image))
