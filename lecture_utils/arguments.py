"""Checks of arguments that many models share; each refuses with what came and what was expected."""

from collections.abc import Sequence
from numbers import Integral

from torch import Tensor

Pair = int | Sequence[int]  # one number for both axes, or (vertical, horizontal)


def require_channels(image: Tensor, channels: int) -> None:
    """Refuse an image that is not (batch, `channels`, height, width) with at least one pixel."""
    if image.ndim != 4 or image.shape[1] != channels or 0 in image.shape[2:]:
        raise ValueError(f"image: got shape {tuple(image.shape)}, expected (batch, {channels}, height, width)")


def require_whole(name: str, number: int, *, least: int = 1, most: int | None = None) -> int:
    """The number, Python's or NumPy's, as Python's; refuses a truth value, a fraction and what is out of range."""
    if isinstance(number, bool) or not isinstance(number, Integral) or number < least:
        raise ValueError(f"{name}: got {number!r}, expected a whole number of at least {least}")
    if most is not None and number > most:
        raise ValueError(f"{name}: got {_short(number)}, expected a whole number of at most {most:,}")
    return int(number)


def _short(number: int) -> str:
    return str(int(number)) if abs(number) < 10**20 else "a number of more than 20 digits"


def require_positive(**numbers: int) -> None:
    """Refuse a count that is no whole number or below one."""
    for name, number in numbers.items():
        require_whole(name, number)


def require_one_of(name: str, value: object, choices: tuple) -> None:
    """Refuse a value that is not among the choices."""
    if value not in choices:
        raise ValueError(f"{name}: got {value!r}, expected one of {', '.join(map(repr, choices))}")


def pair(name: str, value: Pair, *, least: int) -> tuple[int, int]:
    """Both axes' numbers from one number or two; refuses what is below `least` or no whole number."""
    both = tuple(value) if isinstance(value, Sequence) else (value, value)
    try:
        vertical, horizontal = (require_whole(name, number, least=least) for number in both)
    except ValueError:  # of one of them, or of their number
        raise ValueError(f"{name}: got {value!r}, expected a whole number of at least {least}, or two") from None
    return vertical, horizontal
