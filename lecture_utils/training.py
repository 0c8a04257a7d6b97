"""The one training loop of the course: any model and data set, on a CPU, a GPU or several, safe to kill and resume.

PyTorch's own autocast and gradient scaler give the mixed precision; they also run fp16 on a CPU, where it can be
tested. Nothing here knows a model.

Batches and randomness are functions of the seed, the step and the process alone, so a resumed training continues as if
it had never stopped: on a CPU to the last bit, on a GPU up to the order in which its kernels add.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, Subset
from tqdm import tqdm

from lecture_utils import batches, distributed, resuming
from lecture_utils.options import TrainingOptions
from lecture_utils.processes import note_stop_signals
from lecture_utils.runtime import DEVICES, PRECISIONS, SMOKE_BATCH, SMOKE_ITEMS, SMOKE_STEPS, Runtime

_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass
class History:
    """What a training went through: the loss of each step, the metrics with their step, and the seconds it took."""

    losses: list[float] = field(default_factory=list)
    metrics: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def steps(self) -> int:
        """The number of steps done."""
        return len(self.losses)

    def is_done(self, options: TrainingOptions) -> bool:
        """Whether the steps, or the seconds, of a training are through."""
        return self.steps >= options.steps or self.seconds >= (options.max_seconds or math.inf)


def fit(
    model: nn.Module,
    dataset: Dataset,
    options: TrainingOptions | None = None,
    *,
    loss: Callable[[nn.Module, Any], Tensor],
    run: Runtime,
    evaluate: Callable[[nn.Module], dict[str, float]] | None = None,
    collate: Callable[[list], Any] | None = None,
    checkpoint: str | Path | None = None,
    restart: bool = False,
    metadata: dict[str, Any] | None = None,
    quiet: bool = False,
    **changes: Any,
) -> History:
    """Train a model in place with AdamW, a cosine schedule with linear warm-up and clipped gradients.

    Options are those of `TrainingOptions`, given as such, as keywords (`steps=300, lr=1e-3`), or both: keywords win.

    `loss(model, batch)` gives a scalar; `batch` is what `collate` makes of `batch_size` items, on the device. Items
    come from one shuffled pass through `dataset` after the other, and a batch may reach into the next pass, so each is
    full however small the data set. Several processes (`torchrun`) each take `batch_size` different items a step.
    `evaluate(model)` is called without gradients, in evaluation mode, in every process: each `evaluate_every` steps and
    at the end.

    With `checkpoint`, a path, a training that was stopped or killed goes on from the last whole checkpoint (each
    `checkpoint_every` steps), and a finished one returns at once. Ctrl-C and SIGTERM end the step, write the checkpoint
    and raise `KeyboardInterrupt`; a second one raises at once. With `restart` the training begins again: its first
    checkpoint replaces the old one, which must be of the same model, and which stays until then. With `max_seconds` the
    result depends on the machine's speed. `metadata` says, in plain JSON, what cannot be seen here, as which data it
    is: a checkpoint with another is refused. A loss that remembers its calls, or a data set that draws from a random
    generator of its own, not from those of `torch`, `random` or `numpy.random`, is not repeated exactly.

    The model stays on `run.device`; its mode and the random generators are left as found. Raises `ValueError` for bad
    arguments, for a checkpoint of another training (saying what differs), a damaged one, one that another training is
    writing or that cannot be written, and when a loss or gradient is not finite (naming the step; the last checkpoint
    stays).
    """
    options = replace(options, **changes) if options else TrainingOptions(**changes)
    _check(model, dataset, run, loss=loss, evaluate=evaluate)
    if run.budget == "smoke":
        least = {"steps": min(options.steps, SMOKE_STEPS), "batch_size": min(options.batch_size, SMOKE_BATCH)}
        options = replace(options, **least, workers=0)
    device = distributed.init(run.device)
    settings = {"model": type(model).__name__, "items": len(dataset), **options.resume_options()}
    settings |= {"seed": run.seed, "precision": run.precision, "processes": distributed.world_size()}
    settings |= resuming.require_plain(metadata or {})
    checkpoint = None if checkpoint is None else resuming.require_path(checkpoint)
    limit = options.max_seconds or math.inf

    model.to(device, memory_format=fast_layout(device.type, run.precision))
    scaler = torch.amp.GradScaler(device.type, enabled=run.precision == "fp16")
    parts = model, _optimizer(model, options, device), scaler
    find = partial(resuming.read_training, checkpoint, *parts, settings=settings, restart=restart)
    # A finished one is read where nothing can be written, too.
    if checkpoint and (found := find()) and (history := History(**found.history)).is_done(options):
        resuming.load_training(found, *parts)
        return history

    with _claimed(checkpoint):
        found = find() if checkpoint else None  # once more: another training may have written until now
        history = History(**resuming.load_training(found, *parts)) if found else History()
        if history.is_done(options):
            return history
        replaces = restart and checkpoint and checkpoint.exists()  # what is there stays until a first checkpoint is due

        stream, optimizer = _stream(dataset, options, history.steps, run, device, collate), parts[1]
        bar = tqdm(total=options.steps, initial=history.steps, unit="step", disable=quiet or distributed.rank() > 0)
        with _modes_as_found(model), batches.keep_random_state(), note_stop_signals() as signals, closing(stream), bar:
            parallel = distributed.wrap(model.train(), device)
            started, elapsed = time.monotonic() - history.seconds, history.seconds
            for step, batch in enumerate(stream, history.steps):
                batches.seed_step(run.seed, step, distributed.rank(), device)
                progress = max((step + 0.5) / options.steps, elapsed / limit)
                for group in optimizer.param_groups:
                    group["lr"] = options.lr * schedule(progress, options.warmup)
                with _autocast(run, device):
                    value = loss(parallel, distributed.to_device(batch, device, non_blocking=True))
                norm = _backward(value, *parts, clip=options.clip)
                # Averages over the processes, so that all of them go on, or stop, together.
                mine = value.item(), norm, time.monotonic() - started, float(bool(signals))
                number, norm, elapsed, stop = distributed.mean(mine, device)
                # A gradient that overflows in fp16 is no error: the scaler leaves that step out and lowers its scale.
                if not math.isfinite(number) or not (math.isfinite(norm) or scaler.is_enabled()):
                    what = f"a loss of {number}, a gradient of norm {norm} at step {step + 1} of {options.steps}"
                    kept = f"; {checkpoint} holds the last checkpoint" if checkpoint and checkpoint.exists() else ""
                    raise ValueError(f"loss: expected finite numbers, got {what}{kept}")
                scaler.step(optimizer)
                scaler.update()

                done = step + 1 == options.steps or elapsed >= limit
                history.losses.append(number)
                if evaluate and (done or (step + 1) % (options.evaluate_every or options.steps) == 0):
                    history.metrics.append({"step": step + 1, **_evaluate(evaluate, model)})
                history.seconds = time.monotonic() - started
                due = done or (step + 1) % options.checkpoint_every == 0
                if checkpoint and (due or (stop and not replaces)):
                    if distributed.rank() == 0:
                        resuming.save_training(checkpoint, *parts, settings=settings, history=asdict(history))
                    distributed.barrier()
                    replaces = False
                figures = {"loss": number} | (history.metrics[-1] if history.metrics else {})
                bar.set_postfix({name: f"{f:.3f}" for name, f in figures.items() if name != "step"}, refresh=False)
                bar.update()
                if done:
                    break
                if stop:
                    how = f"{checkpoint} is as it was" if replaces else f"the same call goes on from {checkpoint}"
                    how = f"; {how}" if checkpoint else ""
                    raise KeyboardInterrupt(f"stopped after step {step + 1} of {options.steps}{how}")
            distributed.broadcast_buffers(model)
        optimizer.zero_grad()
        return history


def _stream(
    dataset: Dataset, options: TrainingOptions, begin: int, run: Runtime, device: torch.device, collate: Callable | None
) -> Iterator[Any]:
    """The batches of all steps from `begin` on."""
    ahead, group = range(begin, options.steps), {"rank": distributed.rank(), "processes": distributed.world_size()}
    batch_sampler = batches.shuffled_indices(len(dataset), options.batch_size, ahead, seed=run.seed, **group)
    how = {"workers": options.workers, "collate": collate, "pin_memory": device.type == "cuda"}
    return batches.load(dataset, batch_sampler, seed=run.seed, **how)


def _backward(
    value: Tensor, model: nn.Module, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler, *, clip: float
) -> float:
    """Leave the gradient of a loss in the parameters, clipped; returns the norm it had."""
    _check_loss(value)
    optimizer.zero_grad()
    scaler.scale(value).backward()
    scaler.unscale_(optimizer)
    return nn.utils.clip_grad_norm_(model.parameters(), clip).item()


def evaluate_batches(
    model: nn.Module,
    dataset: Dataset,
    metric: Any,
    *,
    run: Runtime,
    predict: Callable[[nn.Module, Any], tuple] = lambda model, batch: (model(batch[0]), batch[1]),
    batch_size: int = 32,
    workers: int = 0,
    collate: Callable[[list], Any] | None = None,
    quiet: bool = True,
) -> Any:
    """Score a model with a torchmetrics `Metric` or `MetricCollection` on a whole data set: its `compute()`.

    `predict(model, batch)` gives the arguments of `metric.update`; by default a batch is (inputs, targets) and they are
    the model's outputs and the targets. Runs in evaluation mode, without gradients, in the precision of `run`; modes
    and random generators are left as found. Several processes share the items, each counted once, and all get the same
    result. Raises `ValueError` for bad arguments.
    """
    _check(model, dataset, run, predict=predict)
    if not hasattr(metric, "update") or not hasattr(metric, "compute"):
        raise ValueError(f"metric: expected a metric of torchmetrics, got {metric!r}")
    TrainingOptions(steps=1, workers=workers, batch_size=batch_size)  # which refuses what cannot be meant
    if run.budget == "smoke":
        dataset = Subset(dataset, range(min(len(dataset), SMOKE_ITEMS)))
    group = {"rank": distributed.rank(), "processes": distributed.world_size()}
    batch_sampler = list(batches.ordered_indices(len(dataset), batch_size, **group))
    stream = batches.load(dataset, batch_sampler, seed=run.seed, workers=workers, collate=collate)
    device = torch.device(run.device)
    model.to(device)
    # On Apple's GPUs torchmetrics counts a confusion matrix in pixels × classes² numbers.
    counting = torch.device("cpu") if device.type == "mps" else device
    metric.to(counting).reset()
    bar = tqdm(total=len(batch_sampler), unit="batch", disable=quiet or distributed.rank() > 0)
    with _modes_as_found(model), batches.keep_random_state(), torch.no_grad(), closing(stream), bar:
        model.eval()
        for batch in stream:
            batch = distributed.to_device(batch, device)
            with _autocast(run, device):
                arguments = predict(model, batch)
            # Outside of autocast: a metric counts in full precision.
            metric.update(*distributed.to_device(arguments, counting))
            bar.update()
        return metric.compute()


def fast_layout(device: str, precision: str) -> torch.memory_format:
    """The memory layout in which convolutions are fast: channels_last on CUDA and for bf16, the usual one elsewhere.

    In fp32 a CPU gains nothing by channels_last, and BatchNorm's backward on Apple's GPUs is wrong in it.
    """
    return torch.channels_last if device == "cuda" or precision == "bf16" else torch.preserve_format


def schedule(progress: float, warmup: float) -> float:
    """Give the share of the learning rate at `progress` 0 to 1: linear warm-up, then a cosine down to 0.

    Loshchilov and Hutter, "SGDR: Stochastic gradient descent with warm restarts", ICLR 2017, without the restarts.
    """
    if progress < warmup:
        return progress / warmup
    return 0.5 + 0.5 * math.cos(math.pi * min((progress - warmup) / (1 - warmup), 1))


@contextmanager
def _claimed(checkpoint: Path | None) -> Iterator[None]:
    """Hold the checkpoint in the first process; where that is refused, all of them say so."""
    with ExitStack() as held:
        refusal = None
        if checkpoint and distributed.rank() == 0:
            try:
                held.enter_context(resuming.lock_checkpoint(checkpoint))
            except ValueError as problem:
                refusal = problem
        if refusal := distributed.broadcast_object(refusal):
            raise refusal
        yield


def _autocast(run: Runtime, device: torch.device) -> torch.autocast:
    return torch.autocast(device.type, _AUTOCAST.get(run.precision), enabled=run.precision in _AUTOCAST)


def _optimizer(model: nn.Module, options: TrainingOptions, device: torch.device) -> torch.optim.AdamW:
    """AdamW in which weights decay, biases and the scales of normalisations do not."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trained:
        raise ValueError(f"model: expected parameters to train, got a {type(model).__name__} without any")
    weights, others = [p for p in trained if p.ndim > 1], [p for p in trained if p.ndim <= 1]
    groups = [{"params": weights, "weight_decay": options.weight_decay}, {"params": others, "weight_decay": 0.0}]
    # Fused is one pass over the weights: a tenth of a small model's step on a CPU. GPUs choose their own fast way.
    return torch.optim.AdamW(groups, betas=options.betas, fused=device.type == "cpu")


def _evaluate(evaluate: Callable[[nn.Module], dict[str, float]], model: nn.Module) -> dict[str, float]:
    distributed.broadcast_buffers(model)
    model.eval()
    with torch.no_grad():
        metrics = evaluate(model)
    model.train()
    try:
        return {name: float(value) for name, value in metrics.items()}
    except (AttributeError, TypeError, ValueError, RuntimeError) as problem:
        raise ValueError(f"evaluate: expected a function that returns names and numbers, got {metrics!r}") from problem


@contextmanager
def _modes_as_found(model: nn.Module) -> Iterator[None]:
    modes = {module: module.training for module in model.modules()}
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


def _check(model: Any, dataset: Any, run: Any, **functions: Any) -> None:
    if not isinstance(model, nn.Module):
        raise ValueError(f"model: expected a torch.nn.Module, got {type(model).__name__}")
    if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
        raise ValueError(f"dataset: expected a data set with a length and an index, got {type(dataset).__name__}")
    if len(dataset) == 0:
        raise ValueError(f"dataset: expected at least one item, got an empty {type(dataset).__name__}")
    if getattr(run, "device", None) not in DEVICES or getattr(run, "precision", None) not in PRECISIONS:
        raise ValueError(f"run: expected what runtime.setup() returns, got {run!r}")
    for name, function in functions.items():
        if not callable(function) and not (name == "evaluate" and function is None):
            raise ValueError(f"{name}: expected a function, got {function!r}")


def _check_loss(value: Any) -> None:
    if not isinstance(value, Tensor) or value.ndim != 0 or not value.requires_grad:
        got = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(f"loss: expected a function that returns a scalar tensor with a gradient, got {got}")
