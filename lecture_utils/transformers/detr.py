"""DETR: a transformer that gives the objects of an image as a set, without anchors and without NMS (slide 33).

Carion et al., "End-to-end object detection with transformers", ECCV 2020.
"""

import math
from contextlib import nullcontext
from typing import NamedTuple

import torch
import torchvision
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

from lecture_utils.arguments import require_channels, require_positive, require_whole
from lecture_utils.detection.boxes import clip_boxes_to_image, denormalize_boxes
from lecture_utils.transformers.self_attention import MultiHeadAttention, mlp


class Predictions(NamedTuple):
    """What DETR predicts after each layer of its decoder, and the attention of its queries, if that was asked for."""

    logits: Float[Tensor, "layers b queries classes"]  # class 0: no object
    boxes: Float[Tensor, "layers b queries 4"]  # (x, y, w, h), centre and size, normalized coordinates
    attention: Float[Tensor, "b layers heads queries h w"] | None  # ≥ 0, sums to 1 over the map


class EncoderLayer(nn.Module):
    """Self-attention of the feature map's points; position embeddings are added to queries and keys, not to values.

    Normalised after each part ("post-norm"), as in 2017 and in the paper.
    """

    def __init__(self, dim: int, heads: int, mlp_dim: int, dropout: float = 0.1):
        super().__init__()
        self.attend, self.norm_self = MultiHeadAttention(dim, heads), nn.LayerNorm(dim)
        self.mlp, self.norm_mlp = mlp(dim, mlp_dim, dropout, nn.ReLU), nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Float[Tensor, "b n d"], pos_embed: Float[Tensor, "n d"], *, need_weights: bool = False
    ) -> tuple[Float[Tensor, "b n d"], Float[Tensor, "b heads n n"] | None]:
        attended, weights = self.attend(x + pos_embed, x, keys=x + pos_embed, need_weights=need_weights)
        x = self.norm_self(x + self.dropout(attended))
        return self.norm_mlp(x + self.dropout(self.mlp(x))), weights


class DecoderLayer(nn.Module):
    """The queries attend to one another, and then to the image.

    `queries` are learned and added again in each layer, as positions are: they are what tells one query from another.
    """

    def __init__(self, dim: int, heads: int, mlp_dim: int, dropout: float = 0.1):
        super().__init__()
        self.attend, self.norm_self = MultiHeadAttention(dim, heads), nn.LayerNorm(dim)
        self.attend_memory, self.norm_cross = MultiHeadAttention(dim, heads), nn.LayerNorm(dim)
        self.mlp, self.norm_mlp = mlp(dim, mlp_dim, dropout, nn.ReLU), nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        x: Float[Tensor, "b q d"],
        queries: Float[Tensor, "q d"],
        memory: Float[Tensor, "b n d"],
        pos_embed: Float[Tensor, "n d"],
        *,
        need_weights: bool = False,
    ) -> tuple[Float[Tensor, "b q d"], Float[Tensor, "b heads q n"] | None]:
        attended, _ = self.attend(x + queries, x, keys=x + queries)  # x alone makes the values, here; below, memory
        x = self.norm_self(x + self.dropout(attended))
        attended, weights = self.attend_memory(x + queries, memory, keys=memory + pos_embed, need_weights=need_weights)
        x = self.norm_cross(x + self.dropout(attended))
        return self.norm_mlp(x + self.dropout(self.mlp(x))), weights


class DETR(nn.Module):
    """Backbone, encoder, decoder with object queries; a class and a box from each query (the paper's figure 10).

    `backbone` maps images to maps of `features` channels; without one, the model takes such maps. `num_classes` counts
    class 0, "no object", which the authors' own weights have last. Their code also drops some of the attention weights
    in training, and pads images of different sizes; here the images of a batch have one size.
    """

    def __init__(
        self,
        features: int,
        num_classes: int,
        *,
        backbone: nn.Module | None = None,
        queries: int = 100,
        dim: int = 256,
        heads: int = 8,
        mlp_dim: int = 2048,
        encoder_layers: int = 6,
        decoder_layers: int = 6,
        dropout: float = 0.1,
    ):
        super().__init__()
        require_positive(
            features=features, num_classes=num_classes, queries=queries, dim=dim, heads=heads, mlp_dim=mlp_dim
        )
        require_positive(decoder_layers=decoder_layers)
        require_whole("encoder_layers", encoder_layers, least=0)
        if dim % 4:
            raise ValueError(f"dim: got {dim}, expected a multiple of 4, half of it for rows and half for columns")
        self.features, self.dim = features, dim
        sizes = (dim, heads, mlp_dim, dropout)
        self.encoder = nn.ModuleList(EncoderLayer(*sizes) for _ in range(encoder_layers))
        self.decoder = nn.ModuleList(DecoderLayer(*sizes) for _ in range(decoder_layers))
        self.norm = nn.LayerNorm(dim)
        for parameter in self.parameters():
            if parameter.ndim > 1:
                nn.init.xavier_uniform_(parameter)
        self.backbone = backbone or nn.Identity()
        self.project = nn.Conv2d(features, dim, 1)
        self.queries = nn.Parameter(torch.randn(queries, dim))
        self.classes = nn.Linear(dim, num_classes)
        self.box = nn.Sequential(
            nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, 4),
        )  # fmt: skip

    @classmethod
    def paper(cls, num_classes: int = 92) -> "DETR":
        """The paper's DETR with ResNet-50: 41,524,768 parameters, of which 41,302,368 are trained; random weights."""
        return cls(2048, num_classes, backbone=resnet50())

    def forward(self, images: Float[Tensor, "b c h w"], *, need_weights: bool = False) -> Predictions:
        """Classes and boxes of all queries, after each layer of the decoder; attention with `need_weights`."""
        memory, pos_embed, (height, _) = self.encode(images)
        x = torch.zeros_like(self.queries).expand(len(memory), -1, -1)
        states, maps = [], []
        for layer in self.decoder:
            x, weights = layer(x, self.queries, memory, pos_embed, need_weights=need_weights)
            states.append(self.norm(x))
            maps.append(weights)
        attention = torch.stack(maps, dim=1).unflatten(-1, (height, -1)) if need_weights else None
        x = torch.stack(states)  # layers b q d
        with full_precision(x):  # in half precision a box would jump by half a pixel
            x = x.to(self.queries.dtype)
            return Predictions(self.classes(x), self.box(x).sigmoid(), attention)

    def encode(
        self, images: Float[Tensor, "b c h w"]
    ) -> tuple[Float[Tensor, "b n d"], Float[Tensor, "n d"], tuple[int, int]]:
        """The encoded points of the map, their position embeddings, and the map's (height, width)."""
        z = self.backbone(images)
        require_channels(z, self.features)
        height, width = z.shape[-2:]
        pos_embed = rearrange(sine_position_embedding(height, width, self.dim, device=z.device), "d h w -> (h w) d")
        pos_embed = pos_embed.to(self.queries.dtype)
        x = rearrange(self.project(z), "b d h w -> b (h w) d")
        for layer in self.encoder:
            x, _ = layer(x, pos_embed)
        return x, pos_embed, (height, width)


def full_precision(x: Tensor) -> torch.autocast | nullcontext:
    """Autocast switched off where there is one: a tensor on "meta" has none."""
    return nullcontext() if x.is_meta else torch.autocast(x.device.type, enabled=False)


def sine_position_embedding(
    height: int, width: int, dim: int, *, temperature: float = 10_000.0, device: torch.device | str | None = None
) -> Float[Tensor, "dim h w"]:
    """Where each point of a map is, as sines and cosines of `dim / 4` wavelengths; nothing is learned.

    The first half of the channels tells the row, the second the column, each sine followed by its cosine. Rows and
    columns count from 1 and are stretched to 2π at the last one, so maps of any size cover the same range.
    """
    require_positive(height=height, width=width)
    if dim < 4 or dim % 4:
        raise ValueError(f"dim: got {dim}, expected a multiple of 4")
    lengths = temperature ** (torch.arange(dim // 4, device=device) * 4 / dim)

    def waves(count: int) -> Float[Tensor, "half n"]:
        at = torch.arange(1, count + 1, device=device) / (count + 1e-6) * 2 * math.pi
        angles = at / lengths[:, None]
        return rearrange([angles.sin(), angles.cos()], "two f n -> (f two) n")

    rows, columns = waves(height)[:, :, None], waves(width)[:, None]
    return torch.cat([rows.expand(-1, -1, width), columns.expand(-1, height, -1)])


def postprocess(predictions: Predictions, image_size: tuple[int, int], *, layer: int = -1) -> list[dict]:
    """Boxes in pixels (x0, y0, x1, y1), `labels` and `scores`, one a query and in their order, for each image.

    An empty query is given its likeliest class of object, with that class's low score; what is counted as found is
    for a threshold to decide (section 4, technical details). Nothing is suppressed.
    """
    scores, labels = predictions.logits[layer].softmax(-1)[..., 1:].max(-1)
    boxes = clip_boxes_to_image(denormalize_boxes(predictions.boxes[layer], *image_size), image_size)
    return [
        {"boxes": box, "labels": label + 1, "scores": score}
        for box, label, score in zip(boxes, labels, scores, strict=True)
    ]


def resnet50() -> nn.Sequential:
    """ResNet-50 up to its last map, 2048 channels at a 32nd of the size, as DETR trains it: random weights.

    Made to be loaded with ImageNet's weights: its normalisation keeps their statistics and scales, and the stem and the
    first stage learn nothing.
    """
    net = torchvision.models.resnet50(weights=None, norm_layer=FrozenBatchNorm2d)
    body = nn.Sequential(*list(net.children())[:-2])
    body[:5].requires_grad_(False)
    return body
