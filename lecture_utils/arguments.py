"""Checks of arguments that many models share; each refuses with what came and what was expected."""

import inspect
import re
from collections.abc import Callable, Sequence
from functools import wraps
from numbers import Integral
from typing import TypeVar, get_args

from jaxtyping import jaxtyped
from torch import Tensor

Function = TypeVar("Function", bound=Callable)

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


def patch_grid(name: str, size: Pair, patch_size: int) -> tuple[int, int]:
    """Rows and columns of square patches in an image of this size, in pixels; refuses what they do not fill."""
    require_positive(patch_size=patch_size)
    height, width = pair(name, size, least=patch_size)
    if height % patch_size or width % patch_size:
        raise ValueError(f"{name}: got {height} × {width} pixels, expected multiples of patch_size={patch_size}")
    return height // patch_size, width // patch_size


def check_shapes(function: Function) -> Function:
    """Refuse tensors whose shape or kind of number the signature rules out, as `Float[Tensor, "n 4"]` states it.

    A decorator: what the annotations say is checked by jaxtyping at each call, so that it need not be said twice. One
    letter stands for one number in all arguments of a call.
    """
    wanted = {name: form for name, form in inspect.get_annotations(function).items() if _forms(form)}
    wanted.pop("return", None)
    names = list(inspect.signature(function).parameters)

    @wraps(function)
    def checked(*args, **kwargs):
        given = dict(zip(names, args, strict=False)) | kwargs
        with jaxtyped("context"):
            for name in (name for name in wanted if name in given):
                if not isinstance(given[name], wanted[name]):
                    raise ValueError(_misfit(name, given, wanted))
        return function(*args, **kwargs)

    return checked


def _forms(annotation: object) -> list:
    """The tensors that an annotation describes: one, several in a union, or none. Computed axes are not checked."""
    forms = [form for form in (annotation, *get_args(annotation)) if hasattr(form, "dim_str")]
    return [] if any(re.search(r"\w[*/+-]", form.dim_str) for form in forms) else forms


def _misfit(name: str, given: dict, wanted: dict) -> str:
    """What came and what was expected, with the shapes of the tensors before it, from which its letters are known."""
    value, forms = given[name], _forms(wanted[name])
    if not isinstance(value, Tensor):
        got = "None" if value is None else f"a {type(value).__name__}"
        return f"{name}: got {got}, expected a tensor {' or '.join(map(_form, forms))}"
    if not any(isinstance(value, form.dtype[Tensor, "..."]) for form in forms):
        kinds = " or ".join(form.dtype.__name__.lower() for form in forms)
        return f"{name}: got {value.dtype}, expected {kinds} numbers"
    before = [key for key in wanted if isinstance(given.get(key), Tensor) and _forms(wanted[key])]
    before = [
        f"{key} {_form(_forms(wanted[key])[0])} is {tuple(given[key].shape)}" for key in before[: before.index(name)]
    ]
    where = f", where {', '.join(before)}" if before else ""
    return f"{name}: got shape {tuple(value.shape)}, expected {' or '.join(map(_form, forms))}{where}"


def _form(form: type) -> str:
    return f"({', '.join(form.dim_str.split())})"
