"""Checks of arguments that many models share; each refuses with what came and what was expected."""

from collections.abc import Sequence
from numbers import Integral

from torch import Tensor

Pair = int | Sequence[int]  # one number for both axes, or (vertical, horizontal)


def require_channels(image: Tensor, channels: int) -> None:
    """Refuse an image that is not (batch, `channels`, height, width) with at least one pixel."""
    if image.ndim != 4 or image.shape[1] != channels or 0 in image.shape[2:]:
        raise ValueError(f"image: got shape {tuple(image.shape)}, expected (batch, {channels}, height, width)")


def require_positive(**numbers: int) -> None:
    """Refuse a count below one."""
    for name, number in numbers.items():
        if number < 1:
            raise ValueError(f"{name}: got {number}, expected at least 1")


def require_one_of(name: str, value: object, choices: tuple) -> None:
    """Refuse a value that is not among the choices."""
    if value not in choices:
        raise ValueError(f"{name}: got {value!r}, expected one of {', '.join(map(repr, choices))}")


def pair(name: str, value: Pair, *, least: int) -> tuple[int, int]:
    """Both axes' numbers from one number or two; refuses what is below `least` or no whole number."""
    both = tuple(value) if isinstance(value, Sequence) else (value, value)
    if len(both) != 2 or not all(isinstance(number, Integral) and number >= least for number in both):
        raise ValueError(f"{name}: got {value}, expected a whole number of at least {least}, or two")
    return int(both[0]), int(both[1])
