"""BEiT: hide patches of an image, predict their words; then fine-tune (slide 34).

Bao, Dong, Piao and Wei, "BEiT: BERT pre-training of image transformers", ICLR 2022.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from lecture_utils.arguments import Pair, check_shapes, patch_grid, require_positive
from lecture_utils.transformers.relative_position import RelativePositionBias
from lecture_utils.transformers.self_attention import Block
from lecture_utils.transformers.visual_tokens import VisualTokens


class BEiT(nn.Module):
    """The transformer that is pre-trained and then fine-tuned; by default BEiT-B/16 of the paper.

    A ViT (slide 31) with three changes: keys have no bias, what a part of a block adds is scaled (`layer_scale`: 0.1,
    in BEiT-L 1e-5), and positions are no vectors added to the tokens but a bias on the scores, a table for each layer.
    The paper's text still adds learned vectors; its published code has the tables, and so have we. That code shares one
    among all layers in pre-training and copies it to each for fine-tuning; here each layer has its own from the start.
    """

    def __init__(
        self,
        image_size: Pair = 224,
        *,
        patch_size: int = 16,
        channels: int = 3,
        dim: int = 768,
        depth: int = 12,
        heads: int = 12,
        mlp_dim: int | None = None,
        layer_scale: float = 0.1,
    ):
        super().__init__()
        require_positive(patch_size=patch_size, channels=channels, dim=dim, depth=depth, heads=heads)
        self.grid, self.dim = patch_grid("image_size", image_size, patch_size), dim
        self.image_shape = channels, self.grid[0] * patch_size, self.grid[1] * patch_size
        self.patch_embed = nn.Conv2d(channels, dim, patch_size, stride=patch_size)
        self.class_token = nn.Parameter(torch.randn(dim) * 0.02)
        self.mask_token = nn.Parameter(torch.randn(dim) * 0.02)
        block = {"mlp_dim": mlp_dim, "key_bias": False, "layer_scale": layer_scale}
        self.blocks = nn.ModuleList(Block(dim, heads, **block) for _ in range(depth))
        self.biases = nn.ModuleList(RelativePositionBias(self.grid, heads) for _ in range(depth))

    def forward(
        self,
        image: Float[Tensor, "b c height width"],
        mask: Bool[Tensor, "b h w"] | None = None,
        *,
        need_weights: bool = False,
    ) -> tuple[Float[Tensor, "b n dim"], list[Float[Tensor, "b heads n n"]] | None]:
        """Tokens, n = 1 + h · w with the class token first; if needed, the weights of each layer's attention.

        Where `mask` is True, the learned mask token stands in place of the patch. No normalisation at the end: each
        head begins with its own.
        """
        if image.ndim != 4 or image.shape[1:] != self.image_shape:
            expected = ", ".join(map(str, self.image_shape))
            raise ValueError(f"image: got shape {tuple(image.shape)}, expected (batch, {expected})")
        x = rearrange(self.patch_embed(image), "b d h w -> b (h w) d")
        precision = x.dtype  # under autocast that of the scores, which a bias of more digits would make twice as wide
        if mask is not None:
            if mask.shape != (len(image), *self.grid) or mask.dtype != torch.bool:
                got, expected = f"{tuple(mask.shape)} of {mask.dtype}", (len(image), *self.grid)
                raise ValueError(f"mask: got {got}, expected {expected} of torch.bool")
            x = torch.where(mask.flatten(1)[..., None], self.mask_token.to(x.dtype), x)
        x = torch.cat([self.class_token.to(x.dtype).expand(len(x), 1, -1), x], dim=1)
        maps = []
        for block, bias in zip(self.blocks, self.biases, strict=True):
            x, weights = block(x, bias=bias().to(precision)[None], need_weights=need_weights)
            maps.append(weights)
        return x, maps if need_weights else None


class MaskedImageModel(nn.Module):
    """BEiT in pre-training: for each patch the logits of all words of the vocabulary (section 2.3)."""

    def __init__(self, backbone: BEiT, tokens: VisualTokens):
        super().__init__()
        if backbone.patch_embed.stride[0] != tokens.patch:
            raise ValueError(f"tokens: got words of {tokens.patch} pixels, expected {backbone.patch_embed.stride[0]}")
        self.backbone, self.tokens = backbone, tokens
        self.norm = nn.LayerNorm(backbone.dim, eps=1e-6)
        self.predict = nn.Linear(backbone.dim, len(tokens.codebook))

    def forward(
        self, image: Float[Tensor, "b c height width"], mask: Bool[Tensor, "b h w"]
    ) -> Float[Tensor, "b n words"]:
        x, _ = self.backbone(image, mask)
        return self.predict(self.norm(x[:, 1:]))

    @torch.no_grad()
    def complete(
        self, image: Float[Tensor, "b c height width"], mask: Bool[Tensor, "b h w"]
    ) -> tuple[Int64[Tensor, "b n"], Float[Tensor, "b c height width"]]:
        """The likeliest word of each patch, and the image with the codes of these words where it is hidden."""
        words = self(image, mask).argmax(-1)
        patch = self.tokens.patch
        hidden = mask.repeat_interleave(patch, 1).repeat_interleave(patch, 2)[:, None]
        return words, torch.where(hidden, self.tokens.decode(words, self.backbone.grid), image)


@check_shapes
def masked_token_loss(
    logits: Float[Tensor, "b n words"], truth: Int64[Tensor, "b n"], mask: Bool[Tensor, "b h w"]
) -> Float[Tensor, ""]:
    """Mean cross-entropy of the hidden patches' words; what is visible does not count. 0 where nothing is hidden."""
    hidden = mask.flatten(1)
    if hidden.shape != truth.shape:
        shapes = ", ".join(str(tuple(x.shape)) for x in (logits, truth, mask))
        raise ValueError(f"logits, truth, mask: got {shapes}, expected (b, h · w, words), (b, h · w), (b, h, w)")
    if not hidden.any():
        return logits.sum() * 0
    return F.cross_entropy(logits[hidden].float(), truth[hidden])


class BEiTClassifier(nn.Module):
    """Fine-tuning for classification: the mean of the patches' tokens, normalised, to the classes (section 2.6)."""

    def __init__(self, backbone: BEiT, num_classes: int):
        super().__init__()
        require_positive(num_classes=num_classes)
        self.backbone = backbone
        self.norm = nn.LayerNorm(backbone.dim, eps=1e-6)
        self.predict = nn.Linear(backbone.dim, num_classes)

    def forward(self, image: Float[Tensor, "b c height width"]) -> Float[Tensor, "b classes"]:
        x, _ = self.backbone(image)
        return self.predict(self.norm(x[:, 1:].mean(1)))


class BEiTSegmenter(nn.Module):
    """Fine-tuning for segmentation: deconvolutions enlarge the grid of tokens to the size of the image (section 2.6).

    Each doubles the size, and from the second on halves the features down to 16; `width` is what the first one makes.
    `patch` must be a power of two.
    """

    def __init__(self, backbone: BEiT, num_classes: int, *, width: int = 256):
        super().__init__()
        require_positive(num_classes=num_classes, width=width)
        patch = backbone.patch_embed.stride[0]
        doublings = patch.bit_length() - 1
        if patch != 2**doublings:
            raise ValueError(f"backbone: got patches of {patch} pixels, expected a power of two")
        self.backbone = backbone
        self.norm = nn.LayerNorm(backbone.dim, eps=1e-6)
        widths = [backbone.dim, *(max(16, width >> level) for level in range(doublings))]
        double = lambda i, o: nn.Sequential(nn.ConvTranspose2d(i, o, 4, stride=2, padding=1), nn.GELU())  # noqa: E731
        self.enlarge = nn.Sequential(*(double(i, o) for i, o in pairwise(widths)))
        self.predict = nn.Conv2d(widths[-1], num_classes, 1)

    def forward(self, image: Float[Tensor, "b c height width"]) -> Float[Tensor, "b classes height width"]:
        x, _ = self.backbone(image)
        x = rearrange(self.norm(x[:, 1:]), "b (h w) d -> b d h w", h=self.backbone.grid[0])
        return self.predict(self.enlarge(x))


def start_from_pretrained(model: nn.Module, pretrained: nn.Module) -> None:
    """Begin fine-tuning: take over the transformer of a pre-trained model; the new head stays as it is."""
    model.backbone.load_state_dict(pretrained.backbone.state_dict())
