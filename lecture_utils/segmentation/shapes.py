"""The shape of every tensor on its way through a model, by running it: the source of the diagrams."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lecture_utils.segmentation.unet import CropAndConcat

Shape = tuple[int, int, int]  # channels, height, width


class Step(NamedTuple):
    """One module on the tensor's way: its name, what it does, and the (channels, height, width) before and after."""

    name: str
    kind: str  # "conv 3×3", "max pool 2×2", "up-conv 2×2", "copy and crop", "conv 1×1"
    inputs: tuple[Shape, ...]
    output: Shape


def layer_calls(
    model: nn.Module, images: Tensor, layers: Mapping[str, nn.Module]
) -> dict[str, list[tuple[tuple[Tensor, ...], Tensor]]]:
    """What each of these layers, by name, takes and gives, call by call, while `model` runs on `images`.

    Without gradients. Also shows what no layer gives: a sum is what the next layer takes.
    """
    calls: dict[str, list[tuple[tuple[Tensor, ...], Tensor]]] = {}
    hooks = [
        layer.register_forward_hook(
            lambda module, inputs, output, name=name: calls.setdefault(name, []).append((inputs, output))
        )
        for name, layer in layers.items()
    ]
    try:
        with torch.no_grad():
            model(images)
    finally:
        for hook in hooks:
            hook.remove()
    return calls


def layer_outputs(model: nn.Module, images: Tensor, layers: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """What each of these layers, by name, gives while `model` runs on `images`, without gradients."""
    return {name: calls[-1][1] for name, calls in layer_calls(model, images, layers).items()}


def tensor_shapes(model: nn.Module, height: int, width: int) -> list[Step]:
    """Run a blank image of this size through `model` (with an `in_channels`) and note each step, in order.

    The run is on torch's meta device: the real modules give the real shapes, without arithmetic and without memory.
    Raises what the model raises for a size it does not take.
    """
    steps: list[Step] = []
    names = {module: name for name, module in model.named_modules()}

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        steps.append(Step(names[module], _kind(module), tuple(_shape(x) for x in inputs), _shape(output)))

    hooks = [module.register_forward_hook(note) for module in names if _kind(module)]
    weights = {name: value.to("meta") for name, value in model.state_dict().items()}
    try:
        # Two images, because a batch normalisation in training refuses a single value per channel.
        image = torch.empty(2, model.in_channels, height, width, device="meta")
        torch.func.functional_call(model, weights, (image,))
    finally:
        for hook in hooks:
            hook.remove()
    return steps


def _shape(x: Tensor) -> Shape:
    return tuple(x.shape[1:])


def _kind(module: nn.Module) -> str:
    """What a module does, in the words of Figure 1 of the U-Net paper; empty for those that the figure leaves out."""
    match module:
        case nn.Conv2d():
            return "conv {}×{}".format(*module.kernel_size)
        case nn.ConvTranspose2d():
            return "up-conv {}×{}".format(*module.kernel_size)
        case nn.MaxPool2d():
            return f"max pool {module.kernel_size}×{module.kernel_size}"
        case CropAndConcat():
            return "copy and crop"
    return ""
