"""The networks that run in a reader's browser: what each takes and gives, as ONNX, compared with PyTorch."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lecture_utils import city_models, recipes
from lecture_utils.captioning import ShowAttendTell
from lecture_utils.datasets import CLASSIFICATION_SIZE, CROP_SIZE, DETECTION_SIZE, QUICK_SIZE
from lecture_utils.detection import Backbone, FasterRCNN
from lecture_utils.detection.fast_rcnn import crop_features
from lecture_utils.encoders import hypercolumns
from lecture_utils.generative import Diffusion
from lecture_utils.segmentation import UNet
from lecture_utils.transformers import MaskedImageModel, ViT
from lecture_utils.transformers.detr import DETR

FORKS = 4  # images that are denoised at a time
PROPOSALS = 300  # that Faster R-CNN's head is given at a time; what is missing is filled up with empty boxes
TOLERANCE = 1e-4  # the largest difference from PyTorch in any output


class UNetWithGates(nn.Module):
    """A U-Net whose skip connections are multiplied by `gates` (depth,), finest first: 1 is the network as trained."""

    def __init__(self, unet: UNet):
        super().__init__()
        self.unet = unet

    def forward(self, image: Tensor, gates: Tensor) -> Tensor:
        x, skips = image, []
        for level, block in enumerate(self.unet.encoder):
            x = block(x)
            skips.append(x * gates[level])
            x = self.unet.pool(x)
        x = self.unet.bottleneck(x)
        for up, block in zip(self.unet.up, self.unet.decoder, strict=True):
            x = block(torch.cat([skips.pop(), up(x)], dim=1))
        return self.unet.head(x).softmax(1)


class Segmented(nn.Module):
    """Probabilities of the classes at every pixel."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> Tensor:
        return self.model(image).softmax(1)


class ViTWithMaps(nn.Module):
    """Probabilities of the classes, and the attention weights (b, layers, heads, n, n)."""

    def __init__(self, vit: ViT):
        super().__init__()
        self.vit = vit

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        tokens, maps = self.vit.encode(image, need_weights=True)
        return self.vit.head(tokens[:, 0]).softmax(-1), maps


class MaskedTokens(nn.Module):
    """Probabilities of the visual tokens at every patch; `hidden` (b, h, w) is 1 where a patch is masked, else 0."""

    def __init__(self, model: MaskedImageModel):
        super().__init__()
        self.model = model

    def forward(self, image: Tensor, hidden: Tensor) -> Tensor:
        return self.model(image, hidden > 0.5).softmax(-1)


class Denoised(nn.Module):
    """The velocity of noisy images (b, 3, h, w) after `step` (b,) steps, counted from 0."""

    def __init__(self, model: Diffusion):
        super().__init__()
        self.model = model

    def forward(self, noisy: Tensor, step: Tensor) -> Tensor:
        return self.model(noisy, step)


class CaptionStart(nn.Module):
    """The backbone's first and last map → what the captioner begins with.

    That is the points of its grid, as they are and for the scores, h and cell.
    """

    def __init__(self, model: ShowAttendTell):
        super().__init__()
        self.model = model

    def forward(self, early: Tensor, features: Tensor) -> tuple[Tensor, ...]:
        return self.model.start(hypercolumns(early, features))


class CaptionStep(nn.Module):
    """The last word (b,) and the captioner's state → the next word's probabilities, where it attended, h and cell."""

    def __init__(self, model: ShowAttendTell):
        super().__init__()
        self.model = model

    def forward(self, points: Tensor, prepared: Tensor, h: Tensor, cell: Tensor, word: Tensor) -> tuple[Tensor, ...]:
        state = points, prepared, h, cell
        weights = self.model.attention_weights(state)
        logits, (_, _, h, cell) = self.model.decode_step(state, word.long(), weights)
        return logits.softmax(1), weights, h, cell


class Proposals(nn.Module):
    """The first and the last map of Faster R-CNN's backbone, and of each anchor the RPN's objectness and deltas.

    DETR and the captioners learned on the same backbone. An objectness is a logit.
    """

    def __init__(self, model: FasterRCNN):
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        early, features = self.model.backbone.first_and_last(image)
        objectness, deltas, _ = self.model.rpn.predict(features)
        return early, features, objectness, deltas


class Regions(nn.Module):
    """The last map and proposals (n, 4) in pixels → of each the probabilities of the classes, and deltas for each."""

    def __init__(self, model: FasterRCNN):
        super().__init__()
        self.stride, self.head = model.backbone.stride, model.head

    def forward(self, features: Tensor, proposals: Tensor) -> tuple[Tensor, Tensor]:
        crop = crop_features(features, output_size=self.head.output_size, stride=self.stride)
        scores, deltas = self.head.predict(crop([proposals]))
        return scores.softmax(1), deltas


class SetOfObjects(nn.Module):
    """The last map → of each of DETR's queries the probabilities of the classes, and a box, normalized (x, y, w, h)."""

    def __init__(self, model: DETR):
        super().__init__()
        self.model = model

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        found = self.model(F.pixel_unshuffle(features, 2))  # as space_to_depth_encoder does
        return found.logits[-1].softmax(-1), found.boxes[-1]


@dataclass(frozen=True)
class Network:
    """A shipped checkpoint as a page runs it: `wrap` gives the module, `inputs` examples of what it takes, by name."""

    checkpoint: str
    wrap: Callable[[nn.Module], nn.Module]
    inputs: Callable[[torch.Generator], Mapping[str, Tensor]]
    outputs: tuple[str, ...]

    def module(self) -> nn.Module:
        return self.wrap(recipes.load(self.checkpoint, device="cpu")).eval()


def image(size: int, generator: torch.Generator) -> Tensor:
    return torch.randn(1, 3, size, size, generator=generator)


def state(generator: torch.Generator) -> dict[str, Tensor]:
    """A captioner's state as random numbers, and a word."""
    model = city_models.BUILDERS["show_attend_tell"]()
    sizes = {
        "points": (1, model.grid[0] * model.grid[1], model.embed.embedding_dim),
        "prepared": (1, model.grid[0] * model.grid[1], model.score.v.in_features),
        "h": (1, model.lstm.hidden_size),
        "cell": (1, model.lstm.hidden_size),
    }
    drawn = {name: torch.randn(size, generator=generator) for name, size in sizes.items()}
    return drawn | {"word": torch.randint(0, model.embed.num_embeddings, (1,), generator=generator).float()}


def feature_map(generator: torch.Generator, *, early: bool = False) -> Tensor:
    """The last map of the detectors' backbone, or the first, as random numbers, none of them negative."""
    side, backbone = DETECTION_SIZE // Backbone.stride, city_models.backbone()
    channels = backbone.laterals[0].in_channels if early else backbone.out_channels
    return torch.rand(1, channels, side, side, generator=generator)


def boxes(generator: torch.Generator) -> Tensor:
    corners, sizes = (torch.rand(PROPOSALS, 2, generator=generator) * length for length in (DETECTION_SIZE, 40))
    return torch.cat([corners, corners + sizes], dim=1)


NETWORKS = {
    "unet": Network(
        "unet",
        UNetWithGates,
        lambda dice: {"image": image(QUICK_SIZE, dice), "gates": torch.rand(4, generator=dice)},
        ("probabilities",),
    ),
    "unet_without_skips": Network(
        "unet_without_skips", Segmented, lambda dice: {"image": image(QUICK_SIZE, dice)}, ("probabilities",)
    ),
    "vit": Network(
        "vit", ViTWithMaps, lambda dice: {"image": image(CLASSIFICATION_SIZE, dice)}, ("probabilities", "attention")
    ),
    "beit": Network(
        "beit",
        MaskedTokens,
        lambda dice: {
            "image": image(QUICK_SIZE, dice),
            "hidden": (torch.rand(1, 12, 12, generator=dice) < 0.4).float(),
        },
        ("probabilities",),
    ),
    "diffusion": Network(
        "diffusion",
        Denoised,
        lambda dice: {
            "noisy": torch.randn(FORKS, 3, CROP_SIZE, CROP_SIZE, generator=dice),
            "step": torch.randint(0, 1000, (FORKS,), generator=dice).float(),
        },
        ("velocity",),
    ),
    "caption_start": Network(
        "show_attend_tell",
        CaptionStart,
        lambda dice: {"early": feature_map(dice, early=True), "features": feature_map(dice)},
        ("points", "prepared", "h", "cell"),
    ),
    "caption_step": Network(
        "show_attend_tell", CaptionStep, state, ("probabilities", "attention", "next_h", "next_cell")
    ),
    "proposals": Network(
        "faster_rcnn",
        Proposals,
        lambda dice: {"image": image(DETECTION_SIZE, dice)},
        ("early", "features", "objectness", "deltas"),
    ),
    "regions": Network(
        "faster_rcnn",
        Regions,
        lambda dice: {"features": feature_map(dice), "proposals": boxes(dice)},
        ("probabilities", "region_deltas"),
    ),
    "detr": Network("detr", SetOfObjects, lambda dice: {"features": feature_map(dice)}, ("probabilities", "boxes")),
}


def export(name: str, path: Path) -> None:
    """Write a network as ONNX, its weights in half precision where they are shipped so, and compare it with PyTorch.

    A difference above `TOLERANCE` in any output, on three random inputs, is a RuntimeError, and no file is left.
    """
    import onnx

    network, module = NETWORKS[name], NETWORKS[name].module()
    example = network.inputs(torch.Generator().manual_seed(0))
    with torch.no_grad():
        program = torch.onnx.export(
            module,
            tuple(example.values()),
            input_names=list(example),
            output_names=list(network.outputs),
            dynamo=True,
            optimize=False,  # ONNX Runtime does that when it loads; batch norms fused here would need more digits
            verbose=False,
        )
    model = program.model_proto
    halve_weights(model)
    drop_notes(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    if (difference := largest_difference(name, path)) > TOLERANCE:
        path.unlink()
        raise RuntimeError(f"{name}: ONNX and PyTorch differ by {difference:.1e}, expected {TOLERANCE:.0e} at most")


def halve_weights(model) -> None:
    """Store float32 weights that lose nothing by it as float16, and cast them back when the network starts."""
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for weight in model.graph.initializer:
        values = numpy_helper.to_array(weight)
        if values.dtype == np.float32 and values.size > 16 and (values.astype(np.float16) == values).all():
            name = weight.name
            weight.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}_half"))
            casts.append(helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT))
    for node in reversed(casts):
        model.graph.node.insert(0, node)


def drop_notes(model) -> None:
    """Remove what the exporter notes of the Python code that each node comes from, and of where it lies."""
    for part in (model.graph, *model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")


def largest_difference(name: str, path: Path, *, trials: int = 3) -> float:
    """The largest absolute difference of any output from PyTorch's, on random inputs."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # else importing it leaves a device's number in the home folder
    import onnxruntime

    network, module = NETWORKS[name], NETWORKS[name].module()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors, and none of the hints on what could not be optimised
    session, worst = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"]), 0.0
    for seed in range(1, trials + 1):
        inputs = network.inputs(torch.Generator().manual_seed(seed))
        with torch.no_grad():
            expected = module(*inputs.values())
        expected = expected if isinstance(expected, tuple) else (expected,)
        got = session.run(list(network.outputs), {key: value.numpy() for key, value in inputs.items()})
        worst = max(worst, *(float(np.abs(g - e.numpy()).max()) for g, e in zip(got, expected, strict=True)))
    return worst
