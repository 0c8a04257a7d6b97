"""A GPU to test with where there is none: tensors stay on the CPU, their memory is marked, and mixing raises.

Within `PretendGPU()` a tensor moved to "cuda" says that it is there, and so does all that is computed from it. What a
real GPU refuses is refused here, with the same kind of error: operations on tensors of both devices, NumPy on a tensor
of the GPU, indices from the GPU into a tensor on the CPU, dice of the CPU for numbers on the GPU. As there, single
numbers (no axes) of the CPU may join in, indices may come from the CPU, and `copy_` copies from anywhere. Numbers of 64
bits with decimals are refused on the GPU, too: Apple's have none.

It does not tell whether a GPU has the operation at all, how precise or how fast it is there, whether it is repeatable,
or how much memory it takes; what runs inside of one call of torch is not looked into, and other threads know of no GPU.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

# The result lies where the first argument does; the others may lie anywhere.
_FREE = {"copy_", "_foreach_copy_", "expand_as", "view_as", "reshape_as", "is_same_size", "result_type", "set_"}
_FREE |= {"_has_compatible_shallow_copy_type", "__set__", "backward"}
_JOINING = {"cat", "concat", "concatenate", "stack", "hstack", "vstack", "column_stack", "dstack"}
_INDEXING = {"__getitem__", "__setitem__", "index_put", "index_put_"}
# Numbers that these are given, also as tensors, only tell what to fill with, or how much of it.
_FACTORIES = {"arange", "empty", "eye", "full", "linspace", "logspace", "ones", "rand", "randint", "randn", "randperm"}
_FACTORIES |= {"zeros", "from_numpy", "tril_indices", "triu_indices"}
_FROM_DATA = {"tensor", "as_tensor", "asarray"}


class PretendGPU(TorchFunctionMode):
    """A context in which `device` ("cuda", or "mps") seems to be there."""

    def __init__(self, device: str = "cuda"):
        super().__init__()
        self.device = torch.device(device, 0)

    def __torch_function__(self, function: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs, name = dict(kwargs or {}), getattr(function, "__name__", str(function))
        if name == "__get__":
            return self._attribute(function, args[0])
        if name == "get_device":
            return 0 if on_gpu(args[0]) else function(*args)
        if name in ("to", "cpu", "cuda"):
            kwargs.pop("memory_format", None)  # a GPU has kernels of its own for each layout; the CPU's may be faulty
            return self._moved(name, function, args, kwargs)
        if name in ("numpy", "__array__") and on_gpu(args[0]):
            raise TypeError(f"can't convert {self.device} device type tensor to numpy. Use Tensor.cpu() first.")
        asked = kwargs.get("device")
        if self._is_here(asked):
            kwargs["device"] = "cpu"
        there = self._where(name, asked, args, kwargs)
        if there and kwargs.get("generator") is not None:
            raise RuntimeError(f"Expected a '{self.device.type}' device type for generator but found 'cpu' ({name})")
        return self._marked(function(*args, **kwargs), there)

    def _is_here(self, device: Any) -> bool:
        return device is not None and torch.device(device).type == self.device.type

    def _attribute(self, function: Callable, tensor: Tensor) -> Any:
        name = function.__self__.__name__
        if on_gpu(tensor) and name in ("device", "is_cuda", "is_cpu", "is_mps"):
            return {"device": self.device, "is_cpu": False}.get(name, name == f"is_{self.device.type}")
        return self._marked(function(tensor), on_gpu(tensor))

    def _moved(self, name: str, function: Callable, args: tuple, kwargs: dict) -> Tensor:
        """What `x.to(…)`, `x.cpu()` or `x.cuda()` gives: always other memory when the device is another."""
        source, there = args[0], {"cpu": False, "cuda": True}.get(name, on_gpu(args[0]))
        given = [*args[1:], *([kwargs["device"]] if kwargs.get("device") is not None else [])]
        for value in given:
            if isinstance(value, Tensor):
                there = on_gpu(value)
            elif isinstance(value, str | torch.device):
                there = self._is_here(value)
        at_home = [torch.device("cpu") if isinstance(value, str | torch.device) and self._is_here(value) else value
                   for value in args[1:]]  # fmt: skip
        if self._is_here(kwargs.get("device")):
            kwargs["device"] = "cpu"
        result = source if name == "cuda" else function(source, *at_home, **kwargs)
        if there != on_gpu(source) and _memory(result) is _memory(source):
            result = result.clone()
        return self._marked(result, there)

    def _where(self, name: str, asked: Any, args: tuple, kwargs: dict) -> bool:
        """Whether the result lies on the GPU; raises where the arguments do not go together."""
        if asked is not None:
            return self._is_here(asked)
        if name in _FACTORIES:
            return False
        if name in _FROM_DATA:
            data = args[0] if args else kwargs.get("data")
            return isinstance(data, Tensor) and on_gpu(data)
        tensors = list(_tensors((args, kwargs)))
        first = bool(tensors) and on_gpu(tensors[0])
        if name in _INDEXING:
            _, indices, *values = args
            if not first and any(on_gpu(index) for index in _tensors(indices) if index.ndim):
                raise RuntimeError(
                    f"indices should be either on cpu or on the same device as the tensor (cpu) ({name})"
                )
            plain = name == "__setitem__" and not any(index.ndim for index in _tensors(indices))
            if not plain and any(on_gpu(value) != first for value in _tensors(values) if value.ndim):
                self._refuse(name)
            return first
        if name in _FREE:
            return first
        there = [on_gpu(tensor) for tensor in tensors]
        strict = name in _JOINING or (name.endswith("_") and not name.endswith("__") and not first)
        if any(there) and not all(gpu or (tensor.ndim == 0 and not strict)
                                  for gpu, tensor in zip(there, tensors, strict=True)):  # fmt: skip
            self._refuse(name)
        return any(there)

    def _refuse(self, name: str) -> None:
        devices = f"{self.device} and cpu"
        raise RuntimeError(
            f"Expected all tensors to be on the same device, but found at least two devices, {devices}! ({name})"
        )

    def _marked(self, result: Any, there: bool) -> Any:
        """The result itself; its memory is marked where it lies on the GPU."""
        for tensor in _tensors(result) if there else ():
            if tensor.dtype in (torch.float64, torch.complex128):
                raise TypeError("Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support it.")
            if (memory := _memory(tensor)) is not None:
                memory.on_pretended_gpu = True
        return result


def on_gpu(tensor: Tensor) -> bool:
    """Whether a tensor lies on the pretended GPU; the mark is its memory's, so views and parameters share it."""
    return getattr(_memory(tensor), "on_pretended_gpu", False)


def _memory(tensor: Tensor) -> torch.UntypedStorage | None:
    try:
        return tensor.untyped_storage()
    except (NotImplementedError, RuntimeError):  # sparse tensors have none
        return None


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _tensors(part)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))
