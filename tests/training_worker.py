"""The small training that test_training.py runs in its own process, in others that it kills, and under torchrun."""

import os
import random
import signal
import stat
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset
from torchmetrics.classification import MulticlassAccuracy

from lecture_utils import checkpoints, resuming, training
from lecture_utils.runtime import Runtime

STEPS = 100


def cpu(precision: str = "fp32", seed: int = 3) -> Runtime:
    return Runtime("laptop", "cpu", precision, "quick", seed, "")


class Noisy(Dataset):
    """Images with noise from all three generators, and whether they are brighter on the left."""

    def __init__(self, items: int = 23, noise: float = 0.1):
        generator = torch.Generator().manual_seed(0)
        self.images = torch.randn(items, 3, 6, 8, generator=generator)
        self.noise = noise

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        image = self.images[index]
        label = (image[..., :4].mean() > image[..., 4:].mean()).long()
        drawn = random.random() + np.random.rand() + torch.rand(image.shape)  # noqa: NPY002
        return image + self.noise * drawn, label


def net(seed: int = 0, *, plain: bool = False) -> nn.Sequential:
    """A convolution with what makes exactness hard: batch norm, dropout and noise; `plain` has none of it."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        middle = [nn.ReLU()] if plain else [nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.3)]
        return nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1), *middle, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, 2)
        )


def cross_entropy(model: nn.Module, batch: list[torch.Tensor]) -> torch.Tensor:
    return nn.functional.cross_entropy(model(batch[0]), batch[1])


def train_and_log(folder: Path, *, stall_in_write: int = 0) -> None:
    """Train with a checkpoint each 4 steps, a byte a step in `folder`/log, the weights in `folder`/result at the end.

    The write number `stall_in_write` gets half of its bytes onto the disk and then no further.
    """
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in what a script has put in the background
    writes = 0

    def stall(descriptor: int, fsync=os.fsync) -> None:
        nonlocal writes
        writes += stat.S_ISREG(os.fstat(descriptor).st_mode)  # the folder is written too
        if writes == stall_in_write:
            os.ftruncate(descriptor, os.fstat(descriptor).st_size // 2)
            (folder / "stalled").touch()
            time.sleep(600)
        fsync(descriptor)

    if stall_in_write:
        os.fsync = stall
    log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def loss(model: nn.Module, batch: list[torch.Tensor]) -> torch.Tensor:
        os.write(log, b".")
        time.sleep(0.005)  # a step long enough to be killed in the middle
        return cross_entropy(model, batch)

    model, path = net(), folder / "unfinished.safetensors"
    evaluation = {"evaluate": lambda model: {"brightness": model(torch.ones(1, 3, 6, 8))[0, 0]}, "evaluate_every": 7}
    settings = {"loss": loss, "steps": STEPS, "batch_size": 5, "checkpoint": path, "checkpoint_every": 4, "quiet": True}
    try:
        history = training.fit(model, Noisy(), run=cpu(), **settings, **evaluation)
    except KeyboardInterrupt as interrupt:
        (folder / "interrupted").write_text(str(interrupt))
        sys.exit(130)
    checkpoints.save(folder / "result", model.state_dict(), {"losses": history.losses, "metrics": history.metrics})


def train_in_parallel(folder: Path) -> None:
    """Under torchrun: train, evaluate and write what this process ended with."""
    torch.set_num_threads(1)
    wrote = []
    save = resuming.save_training
    resuming.save_training = lambda *arguments, **named: wrote.append(1) or save(*arguments, **named)
    model, noisy = net(), net(seed=int(os.environ["RANK"]))  # the second starts differently in each process
    items = Noisy(23, noise=0)
    settings = {"loss": cross_entropy, "steps": 12, "batch_size": 4, "checkpoint_every": 5}
    plain = net(plain=True)
    history = training.fit(plain, items, run=cpu(), checkpoint=folder / "plain.safetensors", **settings)
    drawn = []

    noisy.steps = 7  # as diffusion has

    def draws(model: nn.Module, batch: list[torch.Tensor]) -> torch.Tensor:
        assert model.steps == 7  # a loss need not know that something joins the processes
        drawn.append(torch.rand(()).item())
        return cross_entropy(model, batch)

    settings["loss"] = draws
    training.fit(noisy, Noisy(), run=cpu(), checkpoint=folder / "noisy.safetensors", quiet=True, **settings)

    counted = MulticlassAccuracy(2, average="micro")
    accuracy = training.evaluate_batches(model, items, counted, run=cpu(), batch_size=5)
    tensors = {f"plain.{name}": tensor for name, tensor in plain.state_dict().items()}
    tensors |= {f"noisy.{name}": tensor for name, tensor in noisy.state_dict().items()}
    found = {"losses": history.losses, "wrote": len(wrote), "accuracy": accuracy.item(), "drawn": drawn}
    checkpoints.save(folder / f"rank{os.environ['RANK']}", tensors, found)


if __name__ == "__main__":
    train_in_parallel(Path(sys.argv[1]))
