"""Trainings that go on: one file holds all that a training needs, and is looked through before any of it is loaded.

A checkpoint belongs to one training at a time, which holds a lock beside it. It is replaced by the next checkpoint of
the same training, or of one that was told to begin again; no other file is ever replaced.
"""

import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from torch import Tensor, nn

from lecture_utils import checkpoints, files

MEND = "delete it to train from the start, or choose another name"
SUBJECT = ("recipe", "model")  # the settings that say what is trained; the others say how
_MOMENTS = {"step", "exp_avg", "exp_avg_sq"}  # what AdamW keeps of each parameter
_PATIENCE = 2  # seconds for the workers of a training that was just killed to end, and with them its lock


@dataclass(frozen=True)
class TrainingState:
    """What a checkpoint holds, looked through: weights, what AdamW keeps of each parameter, scaler and history."""

    weights: dict[str, Tensor]
    moments: dict[str, dict[str, Tensor]]
    scaler: dict[str, Any]
    history: dict[str, Any]


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
    moments = {name: optimizer.state.get(parameter, {}) for name, parameter in model.named_parameters()}
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    tensors |= {f"optimizer.{key}.{name}": tensor for name, kept in moments.items() for key, tensor in kept.items()}
    metadata = {"settings": settings, "history": history, "scaler": scaler.state_dict()}
    return checkpoints.save(path, tensors, metadata | {"optimizer": [name for name, kept in moments.items() if kept]})


def read_training(
    path: str | os.PathLike,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    *,
    settings: dict,
    restart: bool = False,
) -> TrainingState | None:
    """Read what `save_training` wrote, to be loaded by `load_training`; None when there is no such file.

    With `restart` a training of the same model is passed over, and may be replaced. Raises `ValueError`, nothing
    loaded, when the file is damaged, no training's, or of other settings (saying which).
    """
    path = require_path(path)
    if not path.exists():
        return None
    tensors, state = checkpoints.read(path, mend=MEND)
    there = state.get("settings")
    if not isinstance(there, dict):
        raise ValueError(f"checkpoint: {path} is not of a training; {MEND}")
    compared = [key for key in settings if key in SUBJECT or not restart]
    differing = [
        f"{key} {_short(there.get(key))} there, {_short(settings[key])} here"
        for key in compared
        if there.get(key) != settings[key]
    ]
    if differing:
        raise ValueError(f"checkpoint: {path} is of another training ({'; '.join(differing)}); {MEND}")
    if restart:
        return None
    weights = {name.removeprefix("model."): tensor for name, tensor in tensors.items() if name.startswith("model.")}
    checkpoints.require_fit(model, weights, path)
    try:
        moments = _moments({name: tensors[name] for name in tensors if not name.startswith("model.")})
        _check_history(state.get("history"), settings)
        _check_moments(moments, state.get("optimizer"), model, len(state["history"]["losses"]))
        _check_scaler(state.get("scaler"), scaler)
    except ValueError as problem:
        raise ValueError(f"checkpoint: {path} is damaged ({problem}); {MEND}") from None
    return TrainingState(weights, moments, state["scaler"], state["history"])


def load_training(
    saved: TrainingState, model: nn.Module, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler
) -> dict:
    """Load what `read_training` found and return the history."""
    model.load_state_dict(saved.weights)
    parameters = dict(model.named_parameters())
    for name, kept in saved.moments.items():
        for key, tensor in kept.items():
            # An average lies in memory as its parameter does (channels_last too); the step counter stays on the CPU.
            like = torch.empty_like(parameters[name], requires_grad=False)
            optimizer.state[parameters[name]][key] = tensor if key == "step" else like.copy_(tensor)
    scaler.load_state_dict(saved.scaler)
    return saved.history


def remove_finished(path: Path, history: Any) -> None:
    """Remove the checkpoint of a training that is done with, unless another one has written there since."""
    with lock_checkpoint(path):
        _, state = checkpoints.read(path, mend=MEND)
        if state.get("history") == asdict(history):
            path.unlink()


@contextmanager
def lock_checkpoint(path: str | os.PathLike) -> Iterator[None]:
    """Hold a checkpoint for one training, and remove what killed ones left beside it.

    Raises `ValueError` where another training holds it, or where nothing can be written. The lock of a killed training
    is let go by the system.
    """
    path = require_path(path)
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        with files.prepared(path, b""):  # can a checkpoint be written there? Better asked before hours of training
            pass
        lock.acquire(timeout=_PATIENCE)
    except Timeout:
        what = "wait until it ends, stop it, or choose another name for this one"
        raise ValueError(f"checkpoint: another training is writing {path}; {what}") from None
    except OSError as problem:
        raise ValueError(f"checkpoint: {problem}; choose a file in another folder") from problem
    try:
        yield
    finally:
        with suppress(OSError):  # before it is let go, or another training's would be removed; Windows does it itself
            os.unlink(lock.lock_file)
        lock.release()


def require_plain(metadata: Any) -> dict:
    """What a checkpoint will hold of it, so that a resumed training finds the same."""
    try:
        plain = json.loads(json.dumps(metadata))
    except (TypeError, ValueError) as problem:
        raise ValueError(f"metadata: expected what JSON can hold, got {metadata!r} ({problem})") from problem
    if not isinstance(plain, dict):
        raise ValueError(f"metadata: expected names and values, got {metadata!r}")
    return plain


def require_path(path: Any) -> Path:
    """The path as such; refuses what is no path of a file, and what is there and no plain file."""
    if not isinstance(path, str | os.PathLike):
        raise ValueError(f"checkpoint: expected the path of a file, got {path!r}")
    if Path(path).name in ("", "..") or (os.path.exists(path) and not os.path.isfile(path)):
        raise ValueError(f'checkpoint: expected the path of a file, got "{path}"')
    return Path(path)


def _moments(tensors: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """From `optimizer.exp_avg.conv.weight` in a file to what the optimizer keeps of `conv.weight`."""
    moments: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        first, _, rest = name.partition(".")
        key, _, parameter = rest.partition(".")
        if first != "optimizer":
            raise ValueError(f"{name} is neither the model's nor the optimizer's")
        moments.setdefault(parameter, {})[key] = tensor
    return moments


def _check_moments(moments: dict[str, dict[str, Tensor]], listed: Any, model: nn.Module, steps: int) -> None:
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    if not isinstance(listed, list) or sorted(map(str, listed)) != sorted(moments):
        raise ValueError("the optimizer's entries are not those of its list")
    for name, kept in moments.items():
        if name not in trained or kept.keys() != _MOMENTS:
            raise ValueError(f"the optimizer's entries of {name} are {sorted(kept)}, expected {sorted(_MOMENTS)}")
        for key, tensor in kept.items():
            own = torch.zeros(()) if key == "step" else trained[name]
            if what := checkpoints.misfit(tensor, own):
                raise ValueError(f"the optimizer's {key} of {name} {what}")
        if not 0 < kept["step"] <= steps or (kept["exp_avg_sq"] < 0).any():
            raise ValueError(f"the optimizer's entries of {name} cannot come from {steps} steps")


def _check_history(history: Any, settings: dict) -> None:
    if not isinstance(history, dict) or history.keys() != {"losses", "metrics", "seconds"}:
        raise ValueError("its history is not of losses, metrics and seconds")
    losses, metrics, seconds = history["losses"], history["metrics"], history["seconds"]
    if not isinstance(losses, list) or not all(_is_number(loss) and math.isfinite(loss) for loss in losses):
        raise ValueError("its losses are not finite numbers")
    if not 0 < len(losses) <= settings.get("steps", math.inf):
        raise ValueError(f"its history is of {len(losses)} steps")
    if not _is_number(seconds) or not 0 <= seconds < math.inf:
        raise ValueError("its seconds are no number of at least 0")
    for row in metrics if isinstance(metrics, list) else [metrics]:
        if not isinstance(row, dict) or "step" not in row or not all(map(_is_number, row.values())):
            raise ValueError("its metrics are not steps with numbers")


def _check_scaler(there: Any, scaler: torch.amp.GradScaler) -> None:
    own = scaler.state_dict()
    if not isinstance(there, dict) or there.keys() != own.keys() or not all(map(_is_number, there.values())):
        raise ValueError("its gradient scaler's numbers are not those of this precision")
    moving = ("scale", "_growth_tracker")
    if any(there[key] != own[key] for key in own if key not in moving):
        raise ValueError("its gradient scaler has other settings")
    if own and not (2.0**-126 <= there["scale"] < 2.0**128 and 0 <= there["_growth_tracker"] < own["growth_interval"]):
        raise ValueError("its gradient scaler's scale is out of range")


def _is_number(value: Any) -> bool:
    return isinstance(value, float) or (isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]} …"
