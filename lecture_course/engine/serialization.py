"""Answers as text that anybody may read: numbers, words, tensors and arrays, and what holds them; never code.

Python's pickle would run whatever a student's answer brings along where it is read.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lecture_course.engine import values
from lecture_course.engine.running import Call

LONGEST = 2**28  # characters of a record that are read: a notebook's answers have some thousands
_DTYPES = {str(dtype): dtype for dtype in vars(torch).values() if isinstance(dtype, torch.dtype)}


class Other:
    """In place of a value that is none of these kinds; equal to nothing but itself."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __repr__(self) -> str:
        return f"<{self.kind}>"


def dump_calls(calls: Sequence[Call]) -> str:
    """The record of what came of a function's calls, a list of {"value": …, "changed": …} or {"error": …}."""
    return dumps([_came(call) for call in calls])


def _came(call: Call) -> dict:
    if call.error is not None:
        return {"error": type(call.error).__name__}
    return {"value": call.value, "changed": call.changed}


def dumps(value: Any) -> str:
    """A value as one line of JSON; what cannot be written becomes the name of its type."""
    return json.dumps(_tree(value))


def loads(text: str) -> Any:
    """The value of a record, made of Python's, torch's and NumPy's own types; ValueError for any other text."""
    if len(text) > LONGEST:
        raise ValueError(f"record: got {len(text)} characters, expected at most {LONGEST}")
    try:
        return _value(json.loads(text))
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError, OverflowError) as error:
        raise ValueError(f"record: got {text[:40]!r}, expected one that `serialization.dumps` wrote") from error


def _tree(value: Any) -> Any:
    try:
        if isinstance(value, np.generic):
            value = value.item()
        if value is None or isinstance(value, (bool, str, float)):
            return value
        if isinstance(value, int):
            return {"int": hex(value)}  # JSON's decimal numbers end at some thousand digits
        if isinstance(value, complex):
            return {"complex": [value.real, value.imag]}
        if values.is_array(value):
            return _array(value)
        if isinstance(value, Mapping):
            return {"dict": [[_tree(key), _tree(item)] for key, item in value.items()]}
        if isinstance(value, (tuple, list)):
            return {"tuple" if isinstance(value, tuple) else "list": [_tree(item) for item in value]}
    except Exception:
        pass
    return {"other": type(value).__name__}


def _array(value: Tensor | np.ndarray) -> dict:
    if isinstance(value, np.ndarray):
        return {"array": value.dtype.str, "shape": value.shape, "bytes": _text(np.ascontiguousarray(value).tobytes())}
    tensor = values.as_tensor(value).resolve_conj().resolve_neg().clone(memory_format=torch.contiguous_format)
    data = tensor.flatten().view(torch.uint8).numpy().tobytes()
    return {"tensor": str(tensor.dtype), "shape": list(tensor.shape), "bytes": _text(data)}


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _value(tree: Any) -> Any:
    if not isinstance(tree, dict):
        return tree
    match tree:
        case {"int": text}:
            return int(text, 16)
        case {"complex": [real, imag]}:
            return complex(real, imag)
        case {"tensor": dtype, "shape": shape, "bytes": text}:
            data = bytearray(base64.b64decode(text))
            flat = torch.frombuffer(data, dtype=_DTYPES[dtype]) if data else torch.empty(0, dtype=_DTYPES[dtype])
            return flat.reshape(shape)
        case {"array": dtype, "shape": shape, "bytes": text}:
            array = np.frombuffer(base64.b64decode(text), dtype=dtype).reshape(shape)
            if not values.is_array(array):
                raise ValueError(dtype)
            return array.copy()
        case {"dict": pairs}:
            return {_value(key): _value(item) for key, item in pairs}
        case {"tuple": items}:
            return tuple(_value(item) for item in items)
        case {"list": items}:
            return [_value(item) for item in items]
        case {"other": kind}:
            return Other(str(kind))
    raise ValueError(tree)
