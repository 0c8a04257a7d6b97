"""Captioning with transformers: on the features of a CNN (slide 29), and without any convolution (slide 30)."""

import torch
from einops import rearrange
from einops.layers.torch import Rearrange
from jaxtyping import Float, Int64
from torch import Tensor, nn

from lecture_utils.arguments import require_positive
from lecture_utils.captioning.grid import GridInput
from lecture_utils.captioning.steps import State, require_captions
from lecture_utils.transformers.self_attention import Block, causal_mask


class CaptionTransformer(nn.Module):
    """c = T_w(z), a transformer encoder on the points of the grid; a decoder that looks back at words and at c.

    `longest` is the number of words, `<start>` and `<end>` counted, for which there are learned positions.
    """

    def __init__(
        self,
        words: int,
        features: int,
        grid: tuple[int, int],
        *,
        dim: int = 96,
        heads: int = 4,
        encoder_layers: int = 2,
        decoder_layers: int = 2,
        hidden: int | None = None,
        longest: int = 64,
        dropout: float = 0.1,
    ):
        super().__init__()
        require_positive(words=words, encoder_layers=encoder_layers, decoder_layers=decoder_layers, longest=longest)
        self.grid, self.longest = tuple(grid), longest
        self.look = GridInput(features, dim, grid)
        sizes = {"dim": dim, "heads": heads, "hidden": 2 * dim if hidden is None else hidden, "dropout": dropout}
        self.encoder = nn.ModuleList(Block(**sizes) for _ in range(encoder_layers))
        self.encoder_norm = nn.LayerNorm(dim, eps=1e-6)
        self.embed = nn.Embedding(words, dim)
        self.positions = nn.Parameter(torch.randn(longest, dim) * 0.02)
        self.decoder = nn.ModuleList(Block(**sizes, cross=True) for _ in range(decoder_layers))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.predict = nn.Linear(dim, words)

    def forward(
        self, z: Float[Tensor, "b features ..."], captions: Int64[Tensor, "b t"]
    ) -> tuple[Float[Tensor, "b t words"], Float[Tensor, "b layers heads t h w"]]:
        require_captions(z, captions)
        return self.decode(self.encode(z), captions)

    def encode(self, z: Float[Tensor, "b features h w"]) -> Float[Tensor, "b hw d"]:
        """c = T_w(z): the points of the grid after they have looked at one another."""
        x = self.look(z)
        for block in self.encoder:
            x, _ = block(x)
        return self.encoder_norm(x)

    def decode(
        self, c: Float[Tensor, "b hw d"], captions: Int64[Tensor, "b t"]
    ) -> tuple[Float[Tensor, "b t words"], Float[Tensor, "b layers heads t h w"]]:
        """The logits of each word's successor; no word sees a later one."""
        length = captions.shape[1]
        if length > self.longest:
            raise ValueError(f"captions: got {length} words, expected at most longest={self.longest}")
        x = self.embed(captions) + self.positions[:length]
        mask = causal_mask(length, x.device)[None]
        maps = []
        for block in self.decoder:
            x, weights = block(x, c, mask=mask)
            maps.append(weights)
        attention = rearrange(torch.stack(maps, dim=1), "b l k t (h w) -> b l k t h w", h=self.grid[0])
        return self.predict(self.norm(x)), attention

    def start(self, z: Float[Tensor, "b features ..."]) -> State:
        c = self.encode(z)
        return c, torch.zeros(len(c), 0, dtype=torch.int64, device=c.device)

    def step(
        self, state: State, words: Int64[Tensor, "b"]
    ) -> tuple[Float[Tensor, "b words"], Float[Tensor, "b layers heads h w"], State]:
        """Read the caption so far once more, with `words` at its end: simple, and short captions allow it."""
        c, before = state
        captions = torch.cat([before, words[:, None]], dim=1)
        logits, attention = self.decode(c, captions)
        return logits[:, -1], attention[:, :, :, -1], (c, captions)


class OnlyTransformers(CaptionTransformer):
    """The same without a CNN: z are the pixels of the image's patches, in a row (slide 30)."""

    def __init__(self, words: int, size: tuple[int, int], *, patch: int = 8, channels: int = 3, **sizes):
        require_positive(patch=patch, channels=channels)
        if size[0] % patch or size[1] % patch:
            raise ValueError(f"patch: got {patch}, expected a divisor of the image's {size[0]} × {size[1]} pixels")
        super().__init__(words, channels * patch * patch, (size[0] // patch, size[1] // patch), **sizes)
        self.image = (channels, *size)
        self.cut = Rearrange("b c (h p) (w q) -> b (c p q) h w", p=patch, q=patch)

    def encode(self, image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b hw d"]:
        if image.ndim != 4 or image.shape[1:] != self.image:
            expected = ", ".join(map(str, self.image))
            raise ValueError(f"image: got shape {tuple(image.shape)}, expected (batch, {expected})")
        return super().encode(self.cut(image))
