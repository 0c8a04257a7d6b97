"""What one run of a model costs, counted by PyTorch while it runs and not by hand (slides 5 and 6), and its seconds."""

import copy
import time
from collections.abc import Callable
from statistics import median
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from lecture_utils.arguments import require_positive


class Costs(NamedTuple):
    """Floating-point operations of one forward pass, parameters, and bytes kept for the backward pass."""

    flops: int  # a multiplication and an addition are two
    parameters: int
    activations: int  # bytes

    @property
    def multiply_adds(self) -> int:
        """Half the FLOPs: the unit of most papers."""
        return self.flops // 2


class GPU(NamedTuple):
    """What a card can do at most, by its maker's data sheet, in half precision."""

    name: str
    flops: float  # a second, of matrix products
    bandwidth: float  # bytes a second
    memory: float  # bytes


T4 = GPU("T4", flops=65e12, bandwidth=320e9, memory=15e9)  # of Colab and Kaggle
REACHED = {"flops": 0.25, "bandwidth": 0.7}  # the share of the peaks that small convolutional networks come to
PASSES = 4  # that an activation is moved: written, read by the next layer, read and written on the way back


def estimated_step(counted: Costs, *, gpu: GPU = T4) -> float:
    """Estimate the seconds of a training step in mixed precision on a GPU that is not at hand, from its `costs`.

    The backward pass costs twice the forward pass; half as many bytes are kept as in float32. A rule of thumb, right
    within a factor of two perhaps: what loads the data, and the start of each kernel, is left out.
    """
    computing = 3 * counted.flops / (REACHED["flops"] * gpu.flops)
    moving = PASSES * counted.activations / 2 / (REACHED["bandwidth"] * gpu.bandwidth)
    return computing + moving


def costs(model: nn.Module, *inputs: Any) -> Costs:
    """Run `model(*inputs)` once and count.

    FLOPs are those of convolutions and matrix products, by torch's own counter; the rest (ReLU, pooling,
    normalisation) is small beside them. The activations are what autograd really keeps for the backward pass, the
    input and the indices of a pooling among it, each memory once, the parameters not: it is what training needs
    beside weights and optimizer. The backward pass itself costs about twice the FLOPs of the forward pass.

    Inputs on torch's meta device, as `torch.empty(1, 3, 1024, 2048, device="meta")`, have a shape but no content: the
    count needs no memory and takes no time, and in training mode, in which a model is counted as a rule, it is the same
    to the last byte. The model may lie anywhere and is left as it was.
    """
    tensors = [x for x in inputs if isinstance(x, Tensor)]
    if not tensors:
        raise ValueError(f"inputs: got {len(inputs)} without a tensor among them, expected at least one")
    device = tensors[0].device
    weights: dict[str, Tensor] = {name: p.to(device) for name, p in model.named_parameters()}
    buffers = {name: b.detach().clone().to(device) for name, b in model.named_buffers()}  # running means move
    own = {_memory(x) for x in (*weights.values(), *buffers.values())}
    kept: dict[int, Tensor] = {}

    def keep(x: Tensor) -> Tensor:
        kept.setdefault(_memory(x), x)  # held until the end, or its number would go to another tensor
        return x

    with torch.enable_grad(), saved_tensors_hooks(keep, lambda x: x), _Counter() as counter:
        torch.func.functional_call(model, (weights, buffers), inputs)
    return Costs(
        flops=counter.flops,
        parameters=sum(p.numel() for p in model.parameters()),
        activations=sum(x.untyped_storage().nbytes() for key, x in kept.items() if key not in own),
    )


class _Counter(TorchDispatchMode):
    """Sums up the FLOPs by the formulas of `FlopCounterMode`, which itself refuses a gradient within a loss."""

    flops = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if formula := flop_registry.get(func._overloadpacket):
            self.flops += formula(*args, **(kwargs or {}), out_val=result)
        return result


def training_multiply_adds(
    model: nn.Module, loss: Callable[[nn.Module, tuple[Tensor]], Tensor], *, image: tuple[int, ...], images: int
) -> int:
    """Multiply–adds of a training on so many `images` of a shape, forward and backward pass, counted as `costs` does.

    One step is counted, of two images on torch's meta device: no time and no memory, and the model stays as it was.
    """
    require_positive(images=images)
    with torch.enable_grad(), _Counter() as counter:
        loss(copy.deepcopy(model).to("meta").train(), (torch.empty(2, *image, device="meta"),)).backward()
    return counter.flops * images // 4


def conv_multiply_adds(in_channels: int, out_channels: int, kernel: int, height: int, width: int) -> int:
    """Multiply–adds of a convolution whose output has `height` × `width` pixels, by the formula; the bias left out.

    Every output value is a sum over kernel × kernel pixels in all input channels.
    """
    require_positive(in_channels=in_channels, out_channels=out_channels, kernel=kernel, height=height, width=width)
    return height * width * out_channels * in_channels * kernel**2


def _memory(x: Tensor) -> int:
    """A number for the memory a tensor lies in, the same for all views of it; meta tensors have one, too."""
    return x.untyped_storage()._cdata


def timed(function: Callable, *inputs: object, **options: object) -> tuple[float, Any]:
    """Seconds of a call on one thread, without gradients, and what it gives; PyTorch then has its threads again."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.no_grad():
            start = time.perf_counter()
            result = function(*inputs, **options)
            return time.perf_counter() - start, result
    finally:
        torch.set_num_threads(threads)


def seconds(function: Callable, *inputs: object, times: int = 3, warm_up: int = 0, **options: object) -> float:
    """Seconds of a call on one thread, the median of `times`, after `warm_up` calls that are not counted."""
    require_positive(times=times)
    took = [timed(function, *inputs, **options)[0] for _ in range(warm_up + times)]
    return median(took[warm_up:])
