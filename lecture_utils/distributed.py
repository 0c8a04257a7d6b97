"""The processes that `torchrun` starts, joined by PyTorch's own means; a process by itself is a group of one."""

import os
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


def init(device: str) -> torch.device:
    """Join the processes of `torchrun`, where it started this one; returns the device ("cuda", "mps", "cpu") to use."""
    here = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not here[device]:
        raise ValueError(f'run: expected a device that is here, got "{device}" where there is none')
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if device == "cuda" else "gloo")
    if device != "cuda" or not is_joined():
        return torch.device(device)
    torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    return torch.device("cuda", torch.cuda.current_device())


def is_joined() -> bool:
    return dist.is_available() and dist.is_initialized()


def rank() -> int:
    """The number of this process among those that were joined."""
    return dist.get_rank() if is_joined() else 0


def world_size() -> int:
    """How many processes were joined."""
    return dist.get_world_size() if is_joined() else 1


def wrap(model: nn.Module, device: torch.device) -> nn.Module:
    """The model itself, or one that averages its gradients over the processes."""
    if not is_joined():
        return model
    return _Parallel(model, device_ids=[device.index] if device.type == "cuda" else None)


class _Parallel(nn.parallel.DistributedDataParallel):
    """With the attributes of the model within, so that a loss need not know which of the two it is given."""

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("module"), name)


def mean(values: tuple[float, ...], device: torch.device) -> tuple[float, ...]:
    """The mean of each number over the processes."""
    if not is_joined():
        return values
    together = torch.tensor(values, dtype=torch.float64, device=device)
    dist.all_reduce(together)
    return tuple((together / world_size()).tolist())


def broadcast_object(value: Any) -> Any:
    """What the first process has, in every process."""
    box = [value]
    if is_joined():
        dist.broadcast_object_list(box)
    return box[0]


def barrier() -> None:
    """Until all processes are here."""
    if is_joined():
        dist.barrier()


def broadcast_buffers(model: nn.Module) -> None:
    """Give every process the buffers of the first: each had seen its own batches (running means)."""
    for buffer in model.buffers() if is_joined() else ():
        dist.broadcast(buffer, 0)


def to_device(value: Any, device: torch.device, *, non_blocking: bool = False) -> Any:
    """A batch, with the tensors in its tuples, lists and dictionaries, on a device."""
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=non_blocking)
    if isinstance(value, dict):
        return {key: to_device(item, device, non_blocking=non_blocking) for key, item in value.items()}
    if isinstance(value, tuple | list):
        items = [to_device(item, device, non_blocking=non_blocking) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return value
