"""What every reader shares: decoding one picture, and doing without the files that cannot be read."""

import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2
from tqdm import tqdm

from lecture_utils.arguments import pair
from lecture_utils.toycity.export import COMMAND

Item = TypeVar("Item")

_NAMED_IN_WARNING = 3


def decode(path: Path) -> Image.Image:
    """Decode the whole picture file `path`, in the mode it was stored in.

    Raises FileNotFoundError where there is no such file and ValueError where it is not a complete picture.
    """
    try:
        with Image.open(path) as picture:
            picture.load()
            return picture
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file") from None
    except Exception as error:  # decoders meet broken bytes with many kinds of exception
        reason = str(error).replace(repr(str(path)), "it").replace("\n", " ")
        raise ValueError(f"{path}: not a complete picture ({reason}); fetch or make it again") from error


def to_tensor(pixels: UInt8[np.ndarray, "h w 3"]) -> UInt8[Tensor, "3 h w"]:
    """Copy pixels (H, W, 3) into a contiguous tensor (3, H, W), uint8 both."""
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())


def resizing(size: int | tuple[int, int] | None) -> Callable:
    """What resizes an image and, along with it, its boxes and masks; None leaves everything as it is."""
    return v2.Identity() if size is None else v2.Resize(pair("size", size, least=1))


def make_command(out: Path | str, split: str) -> str:
    """The shell command that makes `split` of a small toy city in the folder `out`."""
    return COMMAND.format(out=out, scenes=200, size=96, split=split)


def check_on_error(on_error: str) -> None:
    """Raise ValueError unless `on_error` is "raise" or "skip"."""
    if on_error not in ("raise", "skip"):
        raise ValueError(f"on_error: got {on_error!r}, expected 'raise' or 'skip'")


def keep_readable(
    items: Sequence[Item], read: Callable[[Item], object], *, source: Path, on_error: str = "skip"
) -> list[Item]:
    """Read every item in threads, with a progress bar, and return those that can be read, in their order.

    `read` raises ValueError or FileNotFoundError for a bad item. With on_error="raise" the first such error ends it;
    with "skip" the bad items are left out and counted in one warning. Raises ValueError where no item is left.
    """

    def problem(item: Item) -> Exception | None:
        try:
            read(item)
        except (ValueError, FileNotFoundError) as error:
            if on_error == "raise":
                raise
            return error
        return None

    with ThreadPoolExecutor() as pool:
        outcomes = pool.map(problem, items)
        try:
            problems = list(tqdm(outcomes, total=len(items), desc=f"reading {source.name}", leave=False, delay=1))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    _warn([str(found) for found in problems if found is not None], total=len(items), source=source)
    return [item for item, found in zip(items, problems, strict=True) if found is None]


def _warn(problems: list[str], *, total: int, source: Path) -> None:
    if not problems:
        return
    named = "; ".join(problems[:_NAMED_IN_WARNING])
    if len(problems) == total:
        raise ValueError(f"{source}: none of its {total} items can be read: {named}")
    rest = len(problems) - _NAMED_IN_WARNING
    more = f"; and {rest} more" if rest > 0 else ""
    # The fourth frame is the caller's line that made the reader: _warn, keep_readable, the reader, that line.
    warnings.warn(f"{source}: skipped {len(problems)} of {total} items: {named}{more}", stacklevel=4)
