"""Saved weights: files that are whole or not there at all, and that are read without running any code from them.

A file is safetensors (never pickle): named tensors, and in its header JSON metadata with a checksum over everything.
The first half serves any file of tensors; the second half is the weights that come with the course, each with a card.
"""

import json
import os
import zlib
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from lecture_utils import runtime
from lecture_utils.files import prepared, write

SHIPPED_BYTES = 6_000_000  # what one shipped file may weigh, so that the course clones in seconds


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
    except (AttributeError, KeyError, RuntimeError, TypeError) as problem:
        raise ValueError(f"{path} holds numbers of a kind that this version of torch cannot read; {mend}") from problem
    if "crc32" not in header and "metadata" not in header:
        return tensors, {}
    text = header.get("metadata", "")
    whole = header.keys() == {"format", "metadata", "crc32"} and header["format"] == "pt"  # as `save` wrote it
    if not whole or header["crc32"] != str(_checksum(text, tensors)):
        raise ValueError(f"{path} is damaged (its checksum does not match its content); {mend}")
    try:
        metadata = json.loads(text)
    except (ValueError, RecursionError):
        metadata = None
    if not isinstance(metadata, dict):
        raise ValueError(f"{path} is damaged (its metadata is no JSON object); {mend}")
    return tensors, metadata


def load_state(model: nn.Module, tensors: dict[str, Tensor], source: str | os.PathLike) -> None:
    """Copy tensors into a model's parameters and buffers, in the model's own types.

    Raises `ValueError` that says what differs, the model untouched, when names, shapes or kinds of numbers are not the
    model's, or where a number is not finite that is so in the model.
    """
    require_fit(model, tensors, source)
    model.load_state_dict(tensors)


def require_fit(model: nn.Module, tensors: dict[str, Tensor], source: str | os.PathLike) -> None:
    """Refuse tensors that `load_state` could not take, saying what is wrong with the first three of them."""
    own = model.state_dict()
    problems = [f"{name} is missing" for name in own if name not in tensors]
    problems += [f"{name} is unknown to the model" for name in tensors if name not in own]
    both = {name: misfit(tensors[name], own[name]) for name in own if name in tensors}
    problems += [f"{name} {what}" for name, what in both.items() if what]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise ValueError(f"{source} does not fit this {type(model).__name__}: {'; '.join(problems[:3])}{more}")


def misfit(there: Tensor, own: Tensor) -> str:
    """Why a stored tensor cannot take the place of the model's own: its shape, its kind of numbers, nan; "" if it can.

    Floating-point numbers may be of another precision, whole numbers of another size, if they stay what they are.
    """
    if there.shape != own.shape:
        return f"is {tuple(there.shape)} there and {tuple(own.shape)} in the model"
    if _kind(there) != _kind(own):
        return f"holds {_kind(there)} there and {_kind(own)} in the model"
    if not own.is_floating_point():
        return "" if torch.equal(there.to(own.dtype).to(there.dtype), there) else f"is out of the range of {own.dtype}"
    # In the model's own type: what float64 can hold may be infinite in float32. A mask of the model may hold -inf.
    lost = torch.isfinite(own.detach().cpu()) & ~torch.isfinite(there.to(own.dtype))
    return "holds numbers that are not finite" if lost.any() else ""


def _kind(tensor: Tensor) -> str:
    if tensor.is_floating_point():
        return "floating-point numbers"
    return (
        "complex numbers" if tensor.is_complex() else "truth values" if tensor.dtype == torch.bool else "whole numbers"
    )


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
    path, told = folder / f"{name}.safetensors", folder / f"{name}.json"
    with prepared(path, data) as weights, prepared(told, text.encode()) as its_card:  # a full disk changes nothing
        told.unlink(missing_ok=True)  # a kill leaves no card, rather than the card of other weights
        os.replace(weights, path)
        os.replace(its_card, told)
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


def round_to_fp16(model: nn.Module) -> nn.Module:
    """Round a model's parameters to what half precision can hold, as shipped weights are stored; the model itself."""
    for parameter in model.parameters():
        parameter.data = parameter.data.half().to(parameter.dtype)
    return model


def load_weights(model: nn.Module, name: str) -> nn.Module:
    """Load the shipped weights `name` ("unet") into a model, in the model's own precision, and return the model.

    Raises `FileNotFoundError` when they are not there, `ValueError` when they are damaged or another model's.
    """
    path = runtime.resource_path(f"checkpoints/{_check_name(name)}.safetensors")
    tensors, _ = read(path)
    load_state(model, tensors, path)
    return model


def load_part(model: nn.Module, name: str, prefix: str) -> nn.Module:
    """Load from the shipped weights `name` those of the part whose names begin with `prefix` ("backbone."), into it."""
    path = runtime.resource_path(f"checkpoints/{_check_name(name)}.safetensors")
    tensors, _ = read(path)
    part = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
    load_state(model, part, path)
    return model


def weights_checksum(name: str) -> str:
    """The checksum of the shipped weights `name`, which tells them from those that another training made."""
    with safe_open(runtime.resource_path(f"checkpoints/{_check_name(name)}.safetensors"), "pt") as file:
        return (file.metadata() or {}).get("crc32", "")


def card(name: str) -> dict:
    """Read the card of the shipped weights `name`: how they were made, and what they score."""
    path = runtime.resource_path(f"checkpoints/{_check_name(name)}.json")
    return read_json(path, mend="make it again with: make checkpoints")


def read_json(path: Path, *, mend: str) -> dict:
    """Read a JSON object; a `ValueError` names a damaged file and `mend`, what to do about it."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as problem:
        raise ValueError(f"{path} is damaged ({problem}); {mend}") from problem
    if not isinstance(content, dict):
        raise ValueError(f"{path} is damaged (it holds no JSON object); {mend}")
    return content


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
