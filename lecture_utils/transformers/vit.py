"""The vision transformer: Dosovitskiy et al., "An image is worth 16x16 words", ICLR 2021 (slide 31).

The paper's model exactly. Torchvision's weights, made with it, load into it and give torchvision's outputs.
"""

import re

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models import VisionTransformer, WeightsEnum, get_model

from lecture_utils.arguments import Pair, check_shapes, patch_grid, require_channels, require_one_of, require_positive
from lecture_utils.downloads import load_downloaded
from lecture_utils.transformers.self_attention import Block

# Table 1 of the paper; the number after the slash is the side of a patch in pixels.
PAPER = {
    "B/16": {"patch_size": 16, "dim": 768, "depth": 12, "heads": 12},
    "B/32": {"patch_size": 32, "dim": 768, "depth": 12, "heads": 12},
    "L/16": {"patch_size": 16, "dim": 1024, "depth": 24, "heads": 16},
    "L/32": {"patch_size": 32, "dim": 1024, "depth": 24, "heads": 16},
    "H/14": {"patch_size": 14, "dim": 1280, "depth": 32, "heads": 16},
}


class ViT(nn.Module):
    """Patches as tokens, one more token that stands for the class, and a transformer encoder (figure 1 of the paper).

    `image_size` is the (height, width) in pixels of the images it is made for, or one number for both; `mlp_dim` the
    width of the MLPs, 4 · dim unless given.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        image_size: Pair,
        patch_size: int,
        dim: int,
        depth: int,
        heads: int,
        mlp_dim: int | None = None,
        channels: int = 3,
        dropout: float = 0.0,
    ):
        super().__init__()
        require_positive(
            num_classes=num_classes, patch_size=patch_size, dim=dim, depth=depth, heads=heads, channels=channels
        )
        self.patch_size, self.channels = patch_size, channels
        self.grid = patch_grid("image_size", image_size, patch_size)
        self.patch_embed = nn.Conv2d(channels, dim, patch_size, stride=patch_size)
        self.class_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.randn(1, 1 + self.grid[0] * self.grid[1], dim) * 0.02)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(Block(dim, heads, mlp_dim=mlp_dim, dropout=dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.head = nn.Linear(dim, num_classes)

    @classmethod
    def paper(cls, name: str, *, num_classes: int = 1000, image_size: Pair = 224, **changes) -> "ViT":
        """One of the paper's models, "B/16", "B/32", "L/16", "L/32" or "H/14" (table 1), with random weights."""
        require_one_of("name", name, tuple(PAPER))
        return cls(num_classes=num_classes, image_size=image_size, **PAPER[name] | changes)

    @classmethod
    def from_torchvision(cls, source: VisionTransformer | WeightsEnum, *, progress: bool = True) -> "ViT":
        """Torchvision's model as one of these, with its weights, in evaluation mode.

        `source` is such a model, or weights as `ViT_B_16_Weights.IMAGENET1K_V1`, which torch downloads at the first
        call and keeps (330 MB). FileNotFoundError without a network names the file and its place. ValueError for a
        model with parts that the paper's has not: convolutions as its stem, or two layers as its head.
        """
        if isinstance(source, WeightsEnum):
            # From vit_b_16's weights to "vit_b_16"; those at 384 or 512 pixels say so.
            name = type(source).__name__.removesuffix("_Weights").lower()
            if not name.startswith("vit_"):
                raise ValueError(f"source: got {source}, expected weights of torchvision's VisionTransformer")
            size = source.meta["min_size"][0]
            weights, source = source, get_model(name, weights=None, image_size=size)
            load_downloaded(source, weights, progress=progress)
        return _from_torchvision(cls, source)

    def forward(self, image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b classes"]:
        """Scores (logits) of the classes, read from the class token alone (equation 4)."""
        tokens, _ = self.encode(image)
        return self.head(tokens[:, 0])

    def encode(
        self, image: Float[Tensor, "b c h w"], *, need_weights: bool = False
    ) -> tuple[Float[Tensor, "b n d"], Float[Tensor, "b layers heads n n"] | None]:
        """The encoded tokens, the class token first and then the patches row by row; the attention weights if needed.

        The image's sides must be multiples of the patch. Where it has another grid than the model was made for, the
        position embeddings are resized.
        """
        x = self.embed(image)
        maps = []
        for block in self.blocks:
            x, weights = block(x, need_weights=need_weights)
            maps.append(weights)
        return self.norm(x), torch.stack(maps, dim=1) if need_weights else None

    def embed(self, image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b n d"]:
        """Patch embedding: projected patches, the class token before them, position embeddings added (equation 1)."""
        require_channels(image, self.channels)
        grid = patch_grid("image", tuple(image.shape[2:]), self.patch_size)
        patches = rearrange(self.patch_embed(image), "b d h w -> b (h w) d")
        tokens = torch.cat([self.class_token.expand(len(image), -1, -1), patches], dim=1)
        return self.dropout(tokens + resize_pos_embed(self.pos_embed, self.grid, grid))

    @torch.no_grad()
    def attention_maps(self, image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b layers heads n n"]:
        """From each token (row) to each token (column) the weights of every head of every layer; rows sum to 1."""
        return self.encode(image, need_weights=True)[1]


@check_shapes
def resize_pos_embed(
    pos_embed: Float[Tensor, "1 n d"], before: tuple[int, int], after: tuple[int, int]
) -> Float[Tensor, "1 m d"]:
    """Position embeddings of a grid, (height, width) in patches, for a finer or coarser one (section 3.2).

    The class token has no place in the grid and keeps its own; the others are interpolated, bicubic with the corners
    kept, as torchvision does it.
    """
    if pos_embed.ndim != 3 or pos_embed.shape[1] != 1 + before[0] * before[1]:
        raise ValueError(f"pos_embed: got {tuple(pos_embed.shape)}, expected (1, 1 + {before[0]} · {before[1]}, d)")
    if before == tuple(after):
        return pos_embed
    first, rest = pos_embed[:, :1], pos_embed[:, 1:]
    rest = rearrange(rest, "b (h w) d -> b d h w", h=before[0])
    rest = F.interpolate(rest, size=tuple(after), mode="bicubic", align_corners=True)
    return torch.cat([first, rearrange(rest, "b d h w -> b (h w) d")], dim=1)


def position_similarity(pos_embed: Float[Tensor, "1 n d"], grid: tuple[int, int]) -> Float[Tensor, "h w h w"]:
    """Cosine of the angle between the position embeddings of any two patches; the class token's is left out.

    `grid` is the (height, width) whose patches they number row after row.
    """
    if pos_embed.shape[1] != 1 + grid[0] * grid[1]:
        raise ValueError(f"pos_embed: got {tuple(pos_embed.shape)}, expected (1, 1 + {grid[0]} · {grid[1]}, d)")
    vectors = F.normalize(pos_embed[0, 1:].detach().cpu().float(), dim=1)
    return (vectors @ vectors.T).reshape(*grid, *grid)


def rollout(maps: Float[Tensor, "b layers heads n n"]) -> Float[Tensor, "b n n"]:
    """How much of each token (column) has reached each token of the last layer (row); rows sum to 1.

    Abnar and Zuidema, "Quantifying attention flow in transformers", ACL 2020, section 3: heads are averaged, half of a
    token is what the residual connection kept of itself, and the layers are multiplied.
    """
    if maps.ndim != 5 or maps.shape[-1] != maps.shape[-2] or not maps.shape[1]:
        raise ValueError(f"maps: got {tuple(maps.shape)}, expected (b, layers, heads, n, n), at least one layer")
    identity = torch.eye(maps.shape[-1], dtype=maps.dtype, device=maps.device)
    flow = identity.expand(len(maps), -1, -1)
    for weights in maps.mean(2).unbind(1):
        flow = (0.5 * weights + 0.5 * identity) @ flow
    return flow


def class_token_attention(flow: Float[Tensor, "b n n"], grid: tuple[int, int]) -> Float[Tensor, "b h w"]:
    """How much of each patch is in the class token, as maps: the first row of a rollout, or of attention weights."""
    return flow[:, 0, 1:].cpu().unflatten(-1, grid)


def _from_torchvision(cls: type[ViT], source: VisionTransformer) -> ViT:
    if not isinstance(source, VisionTransformer):
        raise ValueError(f"source: got {type(source).__name__}, expected torchvision's VisionTransformer or weights")
    if not isinstance(source.conv_proj, nn.Conv2d) or source.representation_size is not None:
        raise ValueError("source: got a convolutional stem or a representation_size, expected the paper's model")
    layers, head = source.encoder.layers, getattr(source.heads, "head", None)
    if not isinstance(head, nn.Linear) or not len(layers):
        raise ValueError("source: got a model without layers or without heads.head, expected the paper's model")
    norms = {module.eps for module in source.modules() if isinstance(module, nn.LayerNorm)}
    if norms != {1e-6} or not isinstance(layers[0].mlp[1], nn.GELU):
        raise ValueError(f"source: got norms with eps {norms} or no GELU, expected the paper's model, 1e-6 and GELU")
    model = cls(
        num_classes=head.out_features, image_size=source.image_size, patch_size=source.patch_size,
        dim=source.hidden_dim, depth=len(layers), heads=layers[0].num_heads, mlp_dim=source.mlp_dim,
        channels=source.conv_proj.in_channels, dropout=source.dropout,
    )  # fmt: skip
    weights = {}
    for theirs, value in source.state_dict().items():
        ours = theirs
        for pattern, name in _NAMES.items():
            ours = re.sub(pattern, name, ours)
        if ".in_proj_" in ours:  # one matrix for queries, keys and values
            for part, third in zip(("query", "key", "value"), value.chunk(3), strict=True):
                weights[ours.replace("in_proj_", f"{part}.")] = third
        else:
            weights[ours] = value
    model.load_state_dict(weights)
    return model.to(head.weight).eval()


_NAMES = {  # torchvision's names of parameters → ours
    r"^conv_proj": "patch_embed",
    r"^encoder\.pos_embedding": "pos_embed",
    r"^encoder\.ln": "norm",
    r"^encoder\.layers\.encoder_layer_(\d+)": r"blocks.\1",
    r"\.ln_1": ".norm_self",
    r"\.ln_2": ".norm_mlp",
    r"\.self_attention\.out_proj": ".attend.out",
    r"\.self_attention": ".attend",
    r"^heads\.head": "head",
}
