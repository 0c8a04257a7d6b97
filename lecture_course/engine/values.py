"""Answers as values: copied, compared with a tolerance, and searched for the first that is wrong."""

import cmath
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

# Relative to the largest number expected: sums in another order pass, a wrong formula does not.
TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 3e-2}


def copy(value: Any) -> Any:
    """An independent copy of an input: tensors and arrays in tuples, lists and dicts too."""
    if isinstance(value, Tensor):
        return value.detach().clone().requires_grad_(value.requires_grad)
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, (tuple, list)) and not hasattr(value, "_fields"):
        return type(value)(copy(item) for item in value)
    if isinstance(value, dict):
        return {key: copy(item) for key, item in value.items()}
    return value


def is_array(value: Any) -> bool:
    """Whether this is a tensor or array of numbers or truth values that are really there."""
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "biufc"
    return isinstance(value, Tensor) and not value.is_meta and not value.is_quantized


def is_number(value: Any) -> bool:
    """Whether this is one number or truth value: Python's, NumPy's, or a tensor without axes."""
    return isinstance(value, (bool, int, float, complex, np.number, np.bool_)) or (is_array(value) and value.ndim == 0)


def as_tensor(value: Any) -> Tensor:
    """Numbers, arrays and tensors as a tensor on the CPU, without gradient."""
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        return (value if value.layout == torch.strided else value.to_dense()).as_subclass(Tensor)
    if isinstance(value, np.ndarray):
        return torch.from_numpy(np.ascontiguousarray(value).copy())
    return torch.tensor(value.item() if isinstance(value, np.generic) else value)


def same(expected: Any, given: Any, *, tolerance: float | None = None) -> bool:
    """Whether an answer is the expected one: same structure, shapes, types, and numbers within a tolerance.

    `tolerance` is the share by which numbers may differ; by default it follows from their type.
    """
    if is_number(expected):
        return is_number(given) and _same_number(expected, given, tolerance)
    if is_array(expected):
        if not is_array(given) or not same_kind(expected, given) or tuple(expected.shape) != tuple(given.shape):
            return False
        return same_dtype(expected, given) and close(as_tensor(expected), as_tensor(given), tolerance=tolerance)
    if isinstance(expected, Mapping):
        return (
            isinstance(given, Mapping)
            and expected.keys() == given.keys()
            and all(same(expected[key], given[key], tolerance=tolerance) for key in expected)
        )
    if isinstance(expected, (tuple, list)):  # a tuple of Python's, a list or torch.Size: all the same to a reader
        return (
            isinstance(given, (tuple, list))
            and len(expected) == len(given)
            and all(same(a, b, tolerance=tolerance) for a, b in zip(expected, given, strict=True))
        )
    if isinstance(expected, str):
        return isinstance(given, str) and expected.strip().lower() == given.strip().lower()
    try:
        return expected is given or bool(expected == given)
    except Exception:  # somebody's own type
        return False


def _same_number(expected: Any, given: Any, tolerance: float | None) -> bool:
    expected, given = (number.item() if hasattr(number, "item") else number for number in (expected, given))
    if isinstance(expected, int) or cmath.isnan(expected):  # whole numbers, of any size, and truth values are exact
        return expected == given or (expected != expected and given != given)
    share = TOLERANCE[torch.float32] if tolerance is None else tolerance
    try:
        return cmath.isclose(expected, given, rel_tol=share, abs_tol=0 if expected else share)
    except OverflowError:  # a whole number larger than any float
        return False


def same_kind(expected: Any, given: Any) -> bool:
    """Whether both are tensors, or both are arrays."""
    return isinstance(given, Tensor if isinstance(expected, Tensor) else np.ndarray)


def same_dtype(expected: Any, given: Any) -> bool:
    """Tensors need the very type, since layers refuse others; arrays the kind, since int64 is int32 on Windows."""
    if isinstance(expected, Tensor):
        return expected.dtype == given.dtype
    return expected.dtype.kind == given.dtype.kind


def close(expected: Tensor, given: Tensor, *, tolerance: float | None = None) -> bool:
    """Whether two tensors of one shape hold the same numbers; nan equals nan."""
    return expected.shape == given.shape and not bool(differing(expected, given, tolerance=tolerance).any())


def differing(expected: Tensor, given: Tensor, *, tolerance: float | None = None) -> Tensor:
    """Where two tensors of one shape differ, as booleans."""
    if not expected.is_floating_point() and not given.is_floating_point():
        return expected != given
    if tolerance is None:
        tolerance = max(TOLERANCE.get(x.dtype, 0) for x in (expected, given))
    if expected.is_complex() or given.is_complex():
        return (expected - given).abs() > 1e-4
    a, b = expected.double(), given.double()
    finite = a[a.isfinite()].abs()
    scale = finite.max().item() if finite.numel() and finite.max() > 0 else 1.0
    return ~torch.isclose(a, b, rtol=0, atol=tolerance * scale, equal_nan=True)


def size(value: Any) -> int:
    """How many numbers an input holds, in tensors, arrays and what contains them."""
    if is_array(value):
        return value.nelement() if isinstance(value, Tensor) else value.size
    if isinstance(value, Mapping):
        return sum(size(item) for item in value.values())
    if isinstance(value, (tuple, list)):
        return sum(size(item) for item in value)
    return int(is_number(value))


def first_difference(expected: Any, given: Any, place: str = "") -> tuple[str, Tensor, Tensor] | None:
    """The first array in an answer that is wrong: where it stands, and both as tensors; None if no array is wrong.

    A number counts as an array without axes.
    """
    if (is_array(expected) and is_array(given)) or (is_number(expected) and is_number(given)):
        return None if same(expected, given) else (place, as_tensor(expected), as_tensor(given))
    if isinstance(expected, Mapping) and isinstance(given, Mapping):
        pairs = [(f"{place}Under {key!r}: ", value, given.get(key)) for key, value in expected.items()]
    elif isinstance(expected, (tuple, list)) and isinstance(given, (tuple, list)) and len(expected) == len(given):
        pairs = [
            (f"{place}Value {i + 1} of {len(expected)}: ", a, b)
            for i, (a, b) in enumerate(zip(expected, given, strict=True))
        ]
    else:
        return None
    return next((found for place, a, b in pairs if (found := first_difference(a, b, place))), None)


def differing_entries(expected: Any, given: Any) -> Tensor | None:
    """Which entries of an array are wrong, if both are arrays of one shape."""
    if is_array(expected) and is_array(given) and tuple(expected.shape) == tuple(given.shape):
        return differing(as_tensor(expected), as_tensor(given))
    return None
