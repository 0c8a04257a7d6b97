"""Sentences about answers of another kind, shape or type than expected; see `diagnosis`.

A finder gets (case, expected, given) for every input that fails, and speaks only if it explains all of them.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from inspect import isgenerator
from itertools import combinations
from typing import Any

import numpy as np
from torch import Tensor

from lecture_course.engine import values
from lecture_course.engine.definitions import Case
from lecture_course.engine.formatting import headline, short

Triples = Sequence[tuple[Case, Tensor, Tensor]]


def another_kind(expected: Any, given: Any) -> str | None:
    """What is wrong with the kind of a value, whatever its numbers: a list for a tensor, two values for one."""
    if isgenerator(given):
        return "Your function yields its results one by one; return them together"
    if callable(given) and not callable(expected):
        return f"Your function returns {short(given)}, not its result: are its brackets missing?"
    if values.is_array(expected) and expected.ndim > 0:
        return _no_array(expected, given)
    if values.is_number(expected):
        if values.is_number(given):
            return None
        what = headline(given) if values.is_array(given) else f"{short(given)} ({type(given).__name__})"
        return f"Your function returns {what}; expected is a single number"
    if isinstance(expected, Mapping):
        if not isinstance(given, Mapping):
            return f"Your function returns a {type(given).__name__}; expected is a dictionary with {_listed(expected)}"
        if expected.keys() != given.keys():
            return f"The dictionary has the keys {_listed(given)}; expected are {_listed(expected)}"
        return next((says for key in expected if (says := another_kind(expected[key], given[key]))), None)
    if isinstance(expected, (tuple, list)):
        if not isinstance(given, (tuple, list)):
            return f"Your function returns one {type(given).__name__}; expected are {len(expected)} values"
        if len(expected) != len(given):
            return f"Your function returns {_values(given)}; expected are {len(expected)}"
        if len(expected) > 1 and not values.same(expected, given) and _reordered(expected, given):
            return "The values are right, but they come in another order"
        return next((says for a, b in zip(expected, given, strict=True) if (says := another_kind(a, b))), None)
    return None


def _no_array(expected: Any, given: Any) -> str | None:
    wanted = "tensor" if isinstance(expected, Tensor) else "NumPy array"
    if values.is_array(given):
        if values.same_kind(expected, given):
            return None
        kind = "tensor" if isinstance(given, Tensor) else "NumPy array"
        return f"Your function returns a {kind}; expected is a {wanted}"
    if values.is_number(given):
        return f"Your function returns a single number; expected is a {wanted} of shape {tuple(expected.shape)}"
    if isinstance(given, (tuple, list)) and any(values.is_array(item) for item in given):
        return f"Your function returns {_values(given)}; expected is one {wanted} of shape {tuple(expected.shape)}"
    if isinstance(given, (tuple, list)):
        return f"Your function returns a {type(given).__name__}; expected is a {wanted}"
    return f"Your function returns {short(given)} ({type(given).__name__}); expected is a {wanted}"


def _values(several: Sequence) -> str:
    return f"{len(several)} value{'s' * (len(several) != 1)}"


def _listed(names: Iterable) -> str:
    return ", ".join(short(name) for name in names) or "nothing"


def _reordered(expected: Sequence, given: Sequence) -> bool:
    left = list(given)
    for value in expected:
        match = next((i for i, other in enumerate(left) if values.same(value, other)), None)
        if match is None:
            return False
        left.pop(match)
    return True


def axes_swapped(triples: Triples) -> str | None:
    """The right numbers with two axes swapped, or with the channels moved to the other end."""
    ndim = triples[0][1].ndim
    if any(expected.ndim != ndim or given.ndim != ndim for _, expected, given in triples):
        return None
    for i, j in reversed(list(combinations(range(ndim), 2))):
        if all(values.close(expected.transpose(i, j), given) for _, expected, given in triples):
            which = "rows and columns (the last two axes)" if (i, j) == (ndim - 2, ndim - 1) else f"axes {i} and {j}"
            return f"Right, except that {which} are swapped"
    for start, end in ((-3, -1), (-1, -3)):
        if ndim >= 3 and all(values.close(expected.movedim(start, end), given) for _, expected, given in triples):
            return f"Right, except that the channels come {'last' if end == -1 else 'first'}: their axis must be moved"
    return None


def axis_lost(triples: Triples) -> str | None:
    """One axis too few."""
    for axis in range(triples[0][1].ndim):
        shapes = [(list(expected.shape), list(given.shape)) for _, expected, given in triples]
        if all(axis < len(a) and a[:axis] + a[axis + 1 :] == b for a, b in shapes):
            name = _axis(axis, len(shapes[0][0]))
            if all(a[axis] == 1 for a, _ in shapes):
                return f"{name} is lost. Its size is 1, and it must stay (`keepdim=True` or `unsqueeze({axis})`)"
            return f"{name} is lost: {_shapes(triples)}"
    return None


def axis_too_many(triples: Triples) -> str | None:
    """One axis more than expected."""
    for axis in range(triples[0][2].ndim):
        shapes = [(list(expected.shape), list(given.shape)) for _, expected, given in triples]
        if all(axis < len(b) and b[:axis] + b[axis + 1 :] == a for a, b in shapes):
            return f"There is one axis too many, axis {axis}: {_shapes(triples)}"
    return None


def one_left(triples: Triples) -> str | None:
    """One image of the batch, or one channel, where there were several."""
    for axis, words in ((0, "one of the batch"), (1, "one channel")):
        if all(
            given.ndim == expected.ndim > axis + 1
            and given.shape[axis] == 1 < expected.shape[axis]
            and given.numel() * expected.shape[axis] == expected.numel()
            for _, expected, given in triples
        ):
            return f"Only {words} is left: {_shapes(triples)}"
    return None


def sizes_swapped(triples: Triples) -> str | None:
    """The sizes of two axes have changed places."""
    for _, expected, given in triples:
        a, b = expected.shape, given.shape
        if len(a) != len(b) or a == b or sorted(a) != sorted(b) or sum(x != y for x, y in zip(a, b, strict=True)) != 2:
            return None
    return f"The sizes of two axes are swapped: {_shapes(triples)}"


def too_long_or_short(triples: Triples) -> str | None:
    """Every wrong axis is off by the same amount, or by the same factor."""
    pairs = []
    for _, expected, given in triples:
        if expected.ndim != given.ndim or expected.ndim == 0:
            return None
        pairs += [(a, b) for a, b in zip(expected.shape, given.shape, strict=True) if a != b]
    offsets = {b - a for a, b in pairs}
    factors = {b / a if a else 0 for a, b in pairs}
    if len(offsets) == 1 and abs(offset := offsets.pop()) <= 2:
        much = "one entry" if abs(offset) == 1 else f"{abs(offset)} entries"
        return f"The result is {much} too {'long' if offset > 0 else 'short'} along an axis: {_shapes(triples)}"
    if len(factors) == 1 and (factor := factors.pop()) in (2, 3, 4, 0.5, 1 / 3, 0.25):
        times = f"{factor:g} times too long" if factor > 1 else f"{1 / factor:g} times too short"
        return f"The result is {times} along an axis: {_shapes(triples)}"
    return None


def shape_differs(triples: Triples) -> str | None:
    """Another shape, for no reason that could be named."""
    if any(expected.shape == given.shape for _, expected, given in triples):
        return None
    if all(expected.numel() == given.numel() for _, expected, given in triples):
        return f"The result has as many entries as expected, in another shape: {_shapes(triples)}"
    return _shapes(triples).capitalize()


def wrong_type(triples: Triples) -> str | None:
    """The right shape in another type of number."""
    _, first, other = triples[0]
    if any(a.dtype == b.dtype or a.shape != b.shape or a.ndim == 0 for _, a, b in triples):
        return None
    types = f"{_type(other)}; expected is {_type(first)}"
    if all(values.close(a, b) for _, a, b in triples):
        return f"The numbers are right, but of type {types}"
    if first.is_floating_point() and not other.is_floating_point():
        return f"The type is {types}: fractions are lost"
    return f"The type is {types}, and the numbers differ too"


def _type(x: Tensor) -> str:
    return str(x.dtype).removeprefix("torch.")


def _axis(axis: int, ndim: int) -> str:
    if ndim == 4 and axis < 2:
        return ("The batch axis", "The channel axis")[axis]
    return f"Axis {axis}"


def _shapes(triples: Triples) -> str:
    _, expected, given = next(t for t in triples if t[1].shape != t[2].shape)
    return f"the shape is {tuple(given.shape)}, expected {tuple(expected.shape)}"


def _mixed(finder: Callable[[Triples], str | None]) -> Callable[[Triples], str | None]:
    """The finder on those failing cases whose shapes differ, if there are any."""

    def found(triples: Triples) -> str | None:
        differing = [t for t in triples if t[1].shape != t[2].shape]
        return finder(differing) if differing else None

    return found


FINDERS = (
    axes_swapped,
    *map(_mixed, (axis_lost, axis_too_many, one_left, sizes_swapped, too_long_or_short, shape_differs)),
    wrong_type,
)


def _largest(args: tuple) -> Tensor | None:
    arrays = [values.as_tensor(arg) for arg in args if values.is_array(arg)]
    # Images of NumPy and matplotlib have their channels last.
    colour = [isinstance(arg, np.ndarray) and arg.shape[2:] == (3,) for arg in args if values.is_array(arg)]
    arrays = [x.movedim(-1, 0) if last else x for x, last in zip(arrays, colour, strict=True)]
    return max(arrays, key=lambda x: x.ndim, default=None)


def _of_image(holds: Callable[[Tensor], Any], ndim: int = 2) -> Callable[[tuple], bool]:
    """A property of the argument with the most axes; inputs without such an argument have it."""

    def has(args: tuple) -> bool:
        x = _largest(args)
        return x is None or x.ndim < ndim or bool(holds(x))

    return has


# What a function may silently rely on: words for "it is right only …", and whether an input has it.
PROPERTIES = (
    ("on square inputs, where height and width are equal", _of_image(lambda x: x.shape[-1] == x.shape[-2])),
    ("for a batch of one", _of_image(lambda x: x.shape[0] == 1, ndim=4)),
    ("for a single channel", _of_image(lambda x: x.shape[-3] == 1, ndim=3)),
    ("when height and width are even", _of_image(lambda x: x.shape[-1] % 2 == 0 and x.shape[-2] % 2 == 0)),
    ("on non-negative numbers", _of_image(lambda x: (x >= 0).all(), ndim=1)),
    ("on whole numbers", _of_image(lambda x: (x == x.round()).all() if x.is_floating_point() else True, ndim=1)),
    ("on one-dimensional inputs", lambda args: (x := _largest(args)) is None or x.ndim == 1),
    ("on two-dimensional inputs", lambda args: (x := _largest(args)) is None or x.ndim == 2),
)
