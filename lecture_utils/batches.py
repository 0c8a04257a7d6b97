"""Batches that repeat: what comes in a step, and each random number in it, follows from the seed and the step alone.

So a resumed training sees what an undisturbed one saw, with any number of workers, and several processes together see
what one process with their batches joined would.
"""

import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from lecture_utils.processes import end_with_parent

# The first number after the seed says what is drawn, so that no two uses share their random numbers.
_ORDER, _ITEM, _STEP = 1, 2, 3

PositionAndIndex = tuple[int, int]  # in the endless stream of shuffled passes; of the item that stands there


def seed_step(seed: int, step: int, rank: int, device: torch.device) -> None:
    """Seed the generators for what is random in a step of one process: dropout, noise, sampled anchors."""
    derived = _seed_cpu(seed, _STEP, step, rank)
    if device.type != "cpu":
        torch.get_device_module(device).manual_seed(derived)


def shuffled_indices(
    items: int, batch_size: int, steps: range, *, seed: int, rank: int = 0, processes: int = 1
) -> Iterator[list[PositionAndIndex]]:
    """Give the positions and indices of each step's batch for one process.

    One shuffled pass through the items follows the other, and a batch may reach into the next, so every batch is full.
    """

    @lru_cache(maxsize=2)
    def shuffled(epoch: int) -> np.ndarray:
        return np.random.default_rng([seed, _ORDER, epoch]).permutation(items)

    for step in steps:
        first = (step * processes + rank) * batch_size
        stream = range(first, first + batch_size)
        yield [(position, int(shuffled(position // items)[position % items])) for position in stream]


def ordered_indices(
    items: int, batch_size: int, *, rank: int = 0, processes: int = 1
) -> Iterator[list[PositionAndIndex]]:
    """Give the same for each batch of one pass in order; the processes share the items, each counted once."""
    mine = range(rank, items, processes)
    for first in range(0, len(mine), batch_size):
        yield [(index, index) for index in mine[first : first + batch_size]]


def load(
    dataset: Dataset,
    batch_sampler: Iterable[list[PositionAndIndex]],
    *,
    seed: int,
    workers: int = 0,
    collate: Callable[[list], Any] | None = None,
    pin_memory: bool = False,
) -> Iterator[Any]:
    """Load the batches of `batch_sampler`, in `workers` processes beside this one; close the generator to end them.

    The generators of `torch`, `random` and `numpy.random` are seeded before each item: keep them with
    `keep_random_state`. `collate` makes a batch of a list of items, by default `torch.utils.data.default_collate`.
    """
    yield from DataLoader(
        _Seeded(dataset, seed),
        batch_sampler=batch_sampler,
        num_workers=workers,
        collate_fn=collate,
        pin_memory=pin_memory,
        worker_init_fn=end_with_parent,
    )


@contextmanager
def keep_random_state() -> Iterator[None]:
    """Put the generators of Python, NumPy and PyTorch, on every device, back to where they were."""
    python, numpy, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    mps = torch.mps.get_rng_state() if torch.backends.mps.is_available() else None
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002 – the generator that users and libraries draw from
        torch.set_rng_state(cpu)
        if cuda:
            torch.cuda.set_rng_state_all(cuda)
        if mps is not None:
            torch.mps.set_rng_state(mps)


class _Seeded(Dataset):
    """A data set whose random transforms depend on the position in the stream, not on the process that loads it."""

    def __init__(self, dataset: Dataset, seed: int):
        self.dataset, self.seed = dataset, seed

    def __getitem__(self, key: PositionAndIndex) -> Any:
        position, index = key
        _seed_cpu(self.seed, _ITEM, position)
        return self.dataset[index]


def _seed_cpu(*key: int) -> int:
    derived = int(np.random.SeedSequence(key).generate_state(1)[0])
    random.seed(derived)
    np.random.seed(derived)  # noqa: NPY002
    torch.default_generator.manual_seed(derived)  # torch.manual_seed takes a millisecond, too long for every item
    return derived
