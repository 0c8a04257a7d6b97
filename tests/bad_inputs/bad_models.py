"""Models built with a number that is none, and models given an image of another shape than they were built for."""

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import torch
from bad_tensors import reshaped
from judge import Case

from lecture_utils.captioning import BottleneckRNN, CaptionTransformer, ShowAttendTell, ViTCaptioner
from lecture_utils.detection.backbone import Backbone
from lecture_utils.detection.heads import RegionHead
from lecture_utils.detection.rpn import RPN
from lecture_utils.generative import GAN, VAE, AutoEncoder, Diffusion
from lecture_utils.segmentation import FCN, DeconvNet, PixelClassifier, UNet
from lecture_utils.segmentation.sliding_window import PatchClassifier
from lecture_utils.segmentation.vgg16 import VGG16FCN
from lecture_utils.transformers.beit import BEiT
from lecture_utils.transformers.detr import DETR
from lecture_utils.transformers.resnet import ResNet
from lecture_utils.transformers.self_attention import Block, GridSelfAttention, MultiHeadAttention
from lecture_utils.transformers.visual_tokens import VisualTokens
from lecture_utils.transformers.vit import ViT

GRID = {"vocab_size": 12, "features": 8, "grid": (4, 4), "dim": 16}
# Each model with small settings, and the shape of what its forward takes; None where that takes more than an image.
MODELS: dict[Callable, tuple[dict[str, Any], tuple[int, ...] | None]] = {
    UNet: ({"in_channels": 3, "num_classes": 5, "base_channels": 4, "depth": 2}, (1, 3, 16, 12)),
    FCN: ({"in_channels": 3, "num_classes": 5, "base_channels": 4, "depth": 3}, (1, 3, 16, 16)),
    VGG16FCN: ({"in_channels": 3, "num_classes": 5, "base_channels": 2}, (1, 3, 40, 33)),
    DeconvNet: ({"in_channels": 3, "num_classes": 5, "base_channels": 2, "bottleneck": 1}, (1, 3, 32, 32)),
    PixelClassifier: ({"in_channels": 3, "num_classes": 5, "hidden": 4, "depth": 2}, (1, 3, 5, 4)),
    PatchClassifier: ({"in_channels": 3, "num_classes": 5, "patch": 13, "depth": 2}, (1, 3, 13, 13)),
    Backbone: ({"in_channels": 3, "base_channels": 4, "out_channels": 8}, (1, 3, 16, 16)),
    RPN: (
        {"in_channels": 8, "stride": 4, "pre_nms_top_n": 20, "post_nms_top_n": 5, "batch_size_per_image": 8},
        None,
    ),
    RegionHead: (
        {"in_channels": 8, "num_classes": 5, "output_size": 3, "hidden": 8, "batch_size_per_image": 8}
        | {"max_detections": 10},
        None,
    ),
    BottleneckRNN: (GRID | {"hidden": 8, "squeeze": 4}, None),
    ShowAttendTell: (GRID | {"hidden": 8, "attention_dim": 4}, None),
    CaptionTransformer: (GRID | {"heads": 2, "encoder_layers": 1, "decoder_layers": 1, "max_length": 9}, None),
    ViTCaptioner: ({"vocab_size": 12, "image_size": (16, 16), "patch_size": 8, "dim": 16, "heads": 2}, None),
    ViT: (
        {"num_classes": 5, "image_size": 16, "patch_size": 8, "dim": 16, "depth": 1, "heads": 2, "mlp_dim": 8},
        (1, 3, 16, 16),
    ),
    BEiT: (
        {"image_size": 16, "patch_size": 8, "dim": 16, "depth": 1, "heads": 2, "mlp_dim": 8}, (1, 3, 16, 16)
    ),
    DETR: (
        {"features": 8, "num_classes": 5, "queries": 4, "dim": 16, "heads": 2, "mlp_dim": 8, "encoder_layers": 1,
         "decoder_layers": 1, "backbone": torch.nn.Identity()}, (1, 8, 4, 4)
    ),
    ResNet: ({"num_classes": 5, "depth": 1, "channels": 3}, (1, 3, 16, 16)),
    MultiHeadAttention: ({"dim": 16, "heads": 2}, (2, 5, 16)),
    Block: ({"dim": 16, "heads": 2, "mlp_dim": 8}, (2, 5, 16)),
    GridSelfAttention: ({"channels": 16, "reduction": 2}, (1, 16, 3, 4)),
    VisualTokens: ({"words": 6, "patch": 4, "channels": 3}, (1, 3, 8, 8)),
    AutoEncoder: ({"latent": 4, "size": 16, "channels": 3}, (1, 3, 16, 16)),
    VAE: ({"latent": 4, "size": 16, "channels": 3}, (1, 3, 16, 16)),
    GAN: ({"latent": 4, "size": 16, "channels": 3}, (1, 3, 16, 16)),
    Diffusion: ({"size": 16, "steps": 10, "channels": 3, "base_channels": 4, "depth": 2}, None),
}  # fmt: skip
NO_COUNTS = (0, -1, -7, 2.5, "3", float("nan"), float("inf"), True, [4])


def bad_models(dice: Random) -> Case:
    """A model that is built with one number that is no count, or fed with another shape than it takes."""
    build = dice.choice(list(MODELS))
    settings, shape = MODELS[build]
    if shape is not None and dice.random() < 0.5:
        return fed_with(build, settings, shape, dice)
    counts = [name for name, value in settings.items() if isinstance(value, int)]
    name = dice.choice(counts)
    value = dice.choice(NO_COUNTS if name != "encoder_layers" else NO_COUNTS[1:])  # DETR runs without an encoder, too
    wrong = settings | {name: value}
    return Case("options", f"{build.__name__}({name}={value!r})", lambda: build(**wrong), names=(name,))


def fed_with(build: Callable, settings: dict, shape: tuple[int, ...], dice: Random) -> Case:
    torch.manual_seed(dice.randrange(2**31))
    right = torch.randn(shape)
    axis = 1 if len(shape) == 4 else 2  # channels, or the numbers of a token
    while True:
        wrong = reshaped(right, dice)
        if wrong.ndim != len(shape) or wrong.shape[axis] != shape[axis]:
            break
    model = build(**settings).eval()
    what = f"{build.__name__}: {tuple(wrong.shape)} where it takes {shape}"
    return Case("models", what, torch.no_grad()(lambda: model(wrong)), names=("image", "patches", "features", "x", "z"))


def right_models() -> Iterator[Case]:
    """Each model built and fed rightly."""
    for build, (settings, shape) in MODELS.items():
        run = lambda b=build, s=settings, n=shape: b(**s).eval()(torch.randn(n)) if n else b(**s)  # noqa: E731
        yield Case("models", build.__name__, run)
