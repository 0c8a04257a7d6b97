"""Values in words and small grids of numbers, so that a student can read what was expected beside what came."""

from collections.abc import Callable, Mapping
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lecture_course.engine import values

WHOLE = 64  # entries of a tensor that is shown whole; of a larger one, a window
WINDOW = (6, 8)  # rows and columns of that window
TEXT = 400  # characters of anything that is no tensor

Mark = Callable[[str], str]  # how an entry that differs is marked


def format_value(
    value: Any, *, differs: Tensor | None = None, mark: Mark = str, escape: Mark = str, whole: bool | None = None
) -> str:
    """A value as lines of text. `differs` says which entries of a tensor `mark` is put around.

    `whole` False shows a window of a tensor, around the first entry that differs; by default its size decides.
    """
    if values.is_array(value) and value.ndim > 0:
        return (
            escape(headline(value))
            + "\n"
            + _grids(values.as_tensor(value), differs, mark, fits(value) if whole is None else whole)
        )
    if values.is_array(value):
        return escape(_number(values.as_tensor(value).item()))
    if isinstance(value, Mapping):
        return "\n".join(f"{escape(short(key))}: {format_value(item, escape=escape)}" for key, item in value.items())
    if isinstance(value, (tuple, list)) and any(values.is_array(item) for item in value):
        return "\n".join(f"{place}: {format_value(item, escape=escape)}" for place, item in enumerate(value))
    return escape(short(value))


def headline(value: Any) -> str:
    """What kind of tensor or array this is: "tensor (1, 2, 3), float32"."""
    kind = "tensor" if isinstance(value, Tensor) else "array"
    return f"{kind} {tuple(value.shape)}, {str(value.dtype).removeprefix('torch.')}"


def short(value: Any) -> str:
    """Anything in a line or a few, even where its own repr fails."""
    try:
        if isinstance(value, (float, np.floating)) or (values.is_array(value) and value.ndim == 0):
            return _number(value.item() if hasattr(value, "item") else value)
        if values.is_array(value):
            return headline(value)
        if isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, (tuple, list)) and not isinstance(value, torch.Size):
            inner = ", ".join(short(item) for item in value[:20]) + (", …" if len(value) > 20 else "")
            if isinstance(value, list):
                return f"[{inner}]"
            return f"({inner},)" if len(value) == 1 else f"({inner})"
        if callable(value):
            return f"the function {getattr(value, '__name__', type(value).__name__)}"
        text = str(tuple(value)) if isinstance(value, torch.Size) else repr(value)
    except Exception:
        text = f"something of type {type(value).__name__}"
    return text if len(text) <= TEXT else text[:TEXT] + " …"


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}" if not value.is_integer() or abs(value) >= 1e6 else f"{value:.0f}."
    if isinstance(value, complex):
        return f"{value:.4g}"
    return str(value)


def fits(value: Any) -> bool:
    """Whether a tensor is small enough to be shown whole."""
    return values.size(value) <= WHOLE


def _grids(x: Tensor, differs: Tensor | None, mark: Mark, whole: bool) -> str:
    """The tensor's last two axes as grids, one under the other, or a window where it first differs."""
    if x.numel() == 0:
        return "(no entries)"
    differs = torch.zeros(x.shape, dtype=torch.bool) if differs is None else differs
    while x.ndim < 2:
        x, differs = x[None], differs[None]
    first = differs.nonzero()[0].tolist() if differs.any() else [0] * x.ndim
    leading = list(product(*map(range, x.shape[:-2])))
    rows, columns = range(x.shape[-2]), range(x.shape[-1])
    cut = not whole
    if cut:
        leading = [tuple(first[:-2])]
        rows, columns = _around(first[-2], len(rows), WINDOW[0]), _around(first[-1], len(columns), WINDOW[1])
    width = max(len(_number(x[(*i, r, c)].item())) for i in leading for r in rows for c in columns)
    lines = []
    for index in leading:
        if cut or len(leading) > 1:
            place = [*map(str, index), _span(rows, x.shape[-2], cut), _span(columns, x.shape[-1], cut)]
            lines.append(f"[{', '.join(place)}]")
        for row in rows:
            texts = [_number(x[(*index, row, column)].item()) for column in columns]
            wrong = [bool(differs[(*index, row, column)]) for column in columns]
            padded = [
                " " * (width - len(text)) + (mark(text) if bad else text)
                for text, bad in zip(texts, wrong, strict=True)
            ]
            lines.append("  ".join(padded))
    return "\n".join(lines)


def _around(place: int, length: int, window: int) -> range:
    start = max(0, min(place - window // 2, length - window))
    return range(start, min(length, start + window))


def _span(shown: range, length: int, cut: bool) -> str:
    return f"{shown.start}:{shown.stop}" if cut and len(shown) < length else ":"
