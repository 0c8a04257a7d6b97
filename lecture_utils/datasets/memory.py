"""What a data set keeps in memory: as much as a limit allows. The rest is read, or computed, each time."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

from torch import Tensor
from tqdm import tqdm

KEPT_BYTES = 4 * 2**30  # a third of Colab's memory; 80,000 photographs at 128 × 128
READERS = min(4, os.cpu_count() or 1)  # threads, each of which holds a whole photograph while it resizes it
_AT_ONCE = 64


class MemoryCache(dict):
    """Values of tensors by their keys, about `KEPT_BYTES` of them at most; `full` once one was turned away."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes, self.full = 0, False

    def keep(self, key: Any, value: Any) -> Any:
        """Keep a value if there is room for it; return it in any case."""
        size = _bytes(value)
        if key not in self and self.bytes + size <= KEPT_BYTES:
            self[key] = value
            self.bytes += size
        elif key not in self:
            self.full = True
        return value

    def fill(self, keys: Iterable[Any], read: Callable[[Any], Any], *, description: str) -> None:
        """Read one key after the other, in threads, with a progress bar, until all are kept or there is no room."""
        wanted = [key for key in keys if key not in self]
        todo = iter(wanted)
        with (
            ThreadPoolExecutor(READERS) as pool,
            tqdm(total=len(wanted), desc=f"reading {description}", leave=False, delay=1) as bar,
        ):
            while not self.full and (some := list(islice(todo, _AT_ONCE))):
                for key, value in zip(some, pool.map(read, some), strict=True):
                    self.keep(key, value)
                bar.update(len(some))


def _bytes(value: Any) -> int:
    """The bytes of all tensors in a value, however deep they lie in tuples, lists and dictionaries."""
    if isinstance(value, Tensor):
        return value.nbytes
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return sum(map(_bytes, inner))
