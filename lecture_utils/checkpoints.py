"""Saved weights: files that are whole or not there at all, and that are read without running any code from them.

A file is safetensors (never pickle): named tensors, and in its header JSON metadata with a checksum over everything.
The first half serves any training; the second half is the weights that come with the course, each with a card.
"""

import json
import os
import signal
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from lecture_utils import runtime

SHIPPED_BYTES = 4_000_000  # what one shipped file may weigh, so that the course clones in seconds


def save(path: str | os.PathLike, tensors: dict[str, Tensor], metadata: dict) -> Path:
    """Write named tensors and JSON metadata to a safetensors file; a kill at any moment leaves the old file or the new.

    Folders are made as needed. Raises `TypeError` for metadata that JSON cannot hold.
    """
    return write(path, _serialise(tensors, metadata))


def read(
    path: str | os.PathLike, *, mend: str = "make it again with: make checkpoints"
) -> tuple[dict[str, Tensor], dict]:
    """Read what `save` wrote: tensors on the CPU and metadata. A safetensors file from elsewhere has no metadata.

    Raises `FileNotFoundError` when there is no such file and `ValueError` when it is truncated, altered or of another
    format; both name the file and `mend`, what to do about it.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; {mend}")
    try:
        with safe_open(path, "pt") as file:
            header = file.metadata() or {}
            # Copies: a tensor that still maps the file would keep it from being replaced on Windows.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 – not a dictionary
    except SafetensorError as problem:
        raise ValueError(f"{path} is damaged or no safetensors file ({problem}); {mend}") from problem
    if "crc32" not in header:
        return tensors, {}
    metadata = header.get("metadata", "")
    if header["crc32"] != str(_checksum(metadata, tensors)):
        raise ValueError(f"{path} is damaged (its checksum does not match its content); {mend}")
    return tensors, json.loads(metadata)


def write(path: str | os.PathLike, data: bytes) -> Path:
    """Write a whole file or nothing: under a temporary name beside it, onto the disk, then renamed."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:  # Ctrl-C as well
        temporary.unlink(missing_ok=True)
        raise
    with suppress(OSError):  # the new name itself, where a folder can be opened (not on Windows)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    return path


def sweep(path: str | os.PathLike) -> None:
    """Remove what killed writers of `path` left beside it under temporary names."""
    path = Path(path)
    for leftover in path.parent.glob(".*.tmp"):
        if leftover.name.startswith(f".{path.name}."):
            leftover.unlink(missing_ok=True)


def load_state(model: nn.Module, tensors: dict[str, Tensor], source: str | os.PathLike) -> None:
    """Copy tensors into a model's parameters and buffers, in the model's own types.

    Raises `ValueError` that says what differs, the model untouched, when names or shapes are not the model's.
    """
    own = model.state_dict()
    problems = [f"{name} is missing" for name in own if name not in tensors]
    problems += [f"{name} is unknown to the model" for name in tensors if name not in own]
    problems += [
        f"{name} is {tuple(tensors[name].shape)} there and {tuple(own[name].shape)} in the model"
        for name in own
        if name in tensors and tensors[name].shape != own[name].shape
    ]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise ValueError(f"{source} does not fit this {type(model).__name__}: {'; '.join(problems[:3])}{more}")
    model.load_state_dict(tensors)


def save_training(
    path: str | os.PathLike,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    *,
    settings: dict,
    history: dict,
) -> Path:
    """Write all that a training needs to go on: weights, optimizer and gradient scaler, and two plain dictionaries.

    `optimizer.exp_avg.conv.weight` in the file is the optimizer's `exp_avg` of the parameter `conv.weight`.
    """
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        for key, tensor in optimizer.state.get(parameter, {}).items():
            tensors[f"optimizer.{key}.{name}"] = tensor
    return save(path, tensors, {"settings": settings, "history": history, "scaler": scaler.state_dict()})


def load_training(
    path: str | os.PathLike,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    *,
    settings: dict,
) -> dict | None:
    """Load what `save_training` wrote and return the history; None when there is no such file.

    Raises `ValueError`, nothing loaded, when the file is damaged, no training's, or of other settings (saying which).
    """
    if not isinstance(path, str | os.PathLike) or Path(path).is_dir():
        raise ValueError(f"checkpoint: expected the path of a file, got {path!r}")
    path = Path(path)
    sweep(path)
    if not path.exists():
        return None
    mend = "delete it to train from the start, or choose another name"
    tensors, state = read(path, mend=mend)
    if "settings" not in state:
        raise ValueError(f"checkpoint: {path} is not of a training; {mend}")
    there = state["settings"]
    differing = [
        f"{key} {there.get(key)!r} there, {here!r} here" for key, here in settings.items() if there.get(key) != here
    ]
    if differing:
        raise ValueError(f"checkpoint: {path} is of another training ({'; '.join(differing)}); {mend}")
    weights = {name.removeprefix("model."): tensor for name, tensor in tensors.items() if name.startswith("model.")}
    load_state(model, weights, path)
    parameters = dict(model.named_parameters())
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            _, key, parameter = name.split(".", 2)
            # An average lies in memory as its parameter does (channels_last too); the step counter stays on the CPU.
            like = torch.empty_like(parameters[parameter], requires_grad=False)
            optimizer.state[parameters[parameter]][key] = tensor if key == "step" else like.copy_(tensor)
    scaler.load_state_dict(state["scaler"])
    return state["history"]


@contextmanager
def note_stop_signals() -> Iterator[list[int]]:
    """Note Ctrl-C and SIGTERM in a list instead of obeying, for a checkpoint before the end; obey the second.

    Only the main thread can; another sees an empty list.
    """
    noted: list[int] = []

    def note(number: int, frame: Any) -> None:
        if noted:
            raise KeyboardInterrupt
        noted.append(number)

    watched = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.getsignal(number) for number in watched}
    before = {number: handler for number, handler in before.items() if handler is not signal.SIG_IGN}
    for number in before:
        signal.signal(number, note)
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)


def ship(name: str, model: nn.Module, card: dict, *, folder: str | os.PathLike | None = None) -> Path:
    """Write `<name>.safetensors` and its card `<name>.json` to `folder`, the checkout's data/checkpoints by default.

    Parameters go in float16; buffers stay as they are, because a running variance may lie outside float16 and a
    counter is an integer. Raises `ValueError`, nothing written, for weights that are not finite in float16, a file
    above 4 MB or a card that JSON cannot hold.
    """
    _check_name(name)
    if folder is None and runtime.checkout() is None:
        raise ValueError("folder: expected a path, because this is no checkout of the course")
    folder = Path(folder) if folder is not None else runtime.checkout() / "data" / "checkpoints"
    parameters = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    tensors = {key: value.half() if key in parameters else value for key, value in model.state_dict().items()}
    for key, value in tensors.items():
        if not torch.isfinite(value).all():
            raise ValueError(f"model: expected weights that are finite in float16, got {key} with others")
    data = _serialise(tensors, {"model": type(model).__name__})
    if len(data) > SHIPPED_BYTES:
        raise ValueError(f"model: expected at most {SHIPPED_BYTES:,} bytes in float16, got {len(data):,}")
    try:
        text = json.dumps(card, indent=2, ensure_ascii=False) + "\n"
    except TypeError as problem:
        raise ValueError(f"card: expected what JSON can hold, got {card!r} ({problem})") from problem
    (folder / f"{name}.json").unlink(missing_ok=True)  # a kill leaves no card, rather than the card of other weights
    path = write(folder / f"{name}.safetensors", data)
    write(folder / f"{name}.json", text.encode())
    return path


def settings(path: str | os.PathLike) -> dict:
    """The settings of the training that wrote a file, from its header alone; empty for any other file, or none."""
    try:
        with safe_open(path, "pt") as file:
            metadata = json.loads((file.metadata() or {}).get("metadata", "null"))
        found = metadata["settings"]
    except (OSError, SafetensorError, ValueError, TypeError, KeyError):
        return {}
    return found if isinstance(found, dict) else {}


def halve(model: nn.Module) -> nn.Module:
    """Round a model's parameters to what half precision can hold, as shipped weights are stored; the model itself."""
    for parameter in model.parameters():
        parameter.data = parameter.data.half().to(parameter.dtype)
    return model


def load_weights(model: nn.Module, name: str) -> nn.Module:
    """Load the shipped weights `name` ("unet") into a model, in the model's own precision, and return the model.

    Raises `FileNotFoundError` when they are not there, `ValueError` when they are damaged or another model's.
    """
    path = runtime.shipped(f"checkpoints/{_check_name(name)}.safetensors")
    tensors, _ = read(path)
    load_state(model, tensors, path)
    return model


def load_part(model: nn.Module, name: str, prefix: str) -> nn.Module:
    """Load from the shipped weights `name` those of one part, whose names begin with `prefix` ("trunk."), into it."""
    path = runtime.shipped(f"checkpoints/{_check_name(name)}.safetensors")
    tensors, _ = read(path)
    part = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
    load_state(model, part, path)
    return model


def fingerprint(name: str) -> str:
    """The checksum of the shipped weights `name`, which tells them from those that another training made."""
    with safe_open(runtime.shipped(f"checkpoints/{_check_name(name)}.safetensors"), "pt") as file:
        return (file.metadata() or {}).get("crc32", "")


def card(name: str) -> dict:
    """Read the card of the shipped weights `name`: how they were made, and what they score."""
    path = runtime.shipped(f"checkpoints/{_check_name(name)}.json")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as problem:
        raise ValueError(f"{path} is damaged ({problem}); make it again with: make checkpoints") from problem


def _serialise(tensors: dict[str, Tensor], metadata: dict) -> bytes:
    # Copies, because safetensors takes neither channels_last tensors nor two names for one memory (tied weights).
    copies = {name: tensor.detach().to("cpu").contiguous().clone() for name, tensor in tensors.items()}
    text = json.dumps(metadata)
    header = {"format": "pt", "metadata": text, "crc32": str(_checksum(text, copies))}
    return safetensors.torch.save(copies, header)


def _check_name(name: str) -> str:
    if not isinstance(name, str) or not name.replace("-", "_").isidentifier():
        raise ValueError(f'name: expected a plain name such as "unet", got {name!r}')
    return name


def _checksum(text: str, tensors: dict[str, Tensor]) -> int:
    check = zlib.crc32(text.encode())
    for name in sorted(tensors):
        check = zlib.crc32(name.encode(), check)
        check = zlib.crc32(tensors[name].reshape(-1).view(torch.uint8).numpy(), check)
    return check
