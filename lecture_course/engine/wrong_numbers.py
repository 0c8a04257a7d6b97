"""Sentences about answers of the right shape and type whose numbers differ; see `diagnosis`.

A finder gets (case, expected, given) for every input that fails, and speaks only if it explains all of them.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lecture_course.engine import values
from lecture_course.engine.definitions import Case

Triples = Sequence[tuple[Case, Tensor, Tensor]]


def all_same(change: Callable[[Tensor], Tensor], triples: Triples) -> bool:
    """Whether `change` of what was expected is what was given, every time."""
    return all(values.close(change(expected), given) for _, expected, given in triples)


def not_finite(triples: Triples) -> str | None:
    _, expected, given = triples[0]  # the input that is shown
    for word, test in (("nan (not a number)", torch.isnan), ("infinity", torch.isinf)):
        if test(given).any() and not test(expected).any():
            return (
                f"The result contains {word}: is something divided by zero, or too large for exp, or the log of zero?"
            )
    return None


def input_unchanged(triples: Triples) -> str | None:
    for case, _, given in triples:
        inputs = [values.as_tensor(arg) for arg in (*case.args, *case.kwargs.values()) if values.is_array(arg)]
        if not any(x.shape == given.shape and values.close(x, given) for x in inputs):
            return None
    return "Your function returns its input as it was"


# Axes that the result needs, what is said, and what was done to the expected result.
MIRRORED = (
    (1, "Left and right are swapped", lambda x: x.flip(-1)),
    (2, "Top and bottom are swapped", lambda x: x.flip(-2)),
    (2, "The result is turned by half a turn: flipped along both axes", lambda x: x.flip(-1, -2)),
    (3, "The channels are in reverse order", lambda x: x.flip(-3)),
    (4, "The batch is in reverse order", lambda x: x.flip(0)),
)


def mirrored(triples: Triples) -> str | None:
    for ndim, says, change in MIRRORED:
        if all(expected.ndim >= ndim for _, expected, _ in triples) and all_same(change, triples):
            return says
    return None


SIMPLE = {
    "The result is all zeros": torch.zeros_like,
    "The sign is wrong: every number should be its negative": torch.neg,
    "Negative numbers have become zero": lambda x: x.clamp(min=0),
    "The signs are lost: negative numbers have become positive": torch.abs,
    "The result is rounded: fractions are lost": torch.round,
    "Fractions are cut off": torch.trunc,
    "The result is rounded down": torch.floor,
    "The result is the square of what is expected": torch.square,
    "The result is the square root of what is expected": lambda x: x.abs().sqrt(),
    "The result is the logarithm of what is expected": lambda x: x.abs().log(),
    "The result is one over what is expected": lambda x: 1 / x,
}


def simple(triples: Triples) -> str | None:
    if any(expected.dtype == torch.bool for _, expected, _ in triples):
        inverted = all(values.close(~expected, given.bool()) for _, expected, given in triples)
        return "True and False are swapped" if inverted else None
    if not _several(triples):
        return None
    for says, change in SIMPLE.items():
        if all_same(lambda x, change=change: change(x.double()), triples):
            return says
    return None


def off_by_constant(triples: Triples) -> str | None:
    first = (triples[0][2].double() - triples[0][1].double()).flatten()
    if not _several(triples) or not first[0].isfinite():
        return None
    offset = float(f"{first[0].item():.6g}")
    if offset and all_same(lambda x: x.double() + offset, triples):
        return f"Every number is too {'large' if offset > 0 else 'small'} by {abs(offset):g}"
    return None


def off_by_factor(triples: Triples) -> str | None:
    """Too large or too small by one factor everywhere, or by one that is a size of the input."""
    factors = []
    for _, expected, given in triples:
        a, b = expected.double(), given.double()
        if a.numel() == 0 or not a.any() or not (a.isfinite() & b.isfinite()).all():
            return None
        factors.append((a * b).sum().item() / (a * a).sum().item())
        if not factors[-1] or not values.close(a * factors[-1], b, tolerance=1e-4):
            return None
    if not _several(triples):
        return None
    if max(factors) - min(factors) < 1e-3 * abs(factors[0]):
        return f"Every number is {_times(factors[0])}"
    for words, sizes in _sizes(triples):
        if all(abs(f / n - 1) < 1e-3 for f, n in zip(factors, sizes, strict=True)):
            return f"The result is too large by a factor, {words}: is a sum where a mean belongs?"
        if all(abs(f * n - 1) < 1e-3 for f, n in zip(factors, sizes, strict=True)):
            return f"The result is too small by a factor, {words}: is a mean where a sum belongs?"
    # A single number is any other times something.
    if all(_several([triple]) for triple in triples):
        return "The numbers are right up to a factor that differs from input to input"
    return None


def _several(triples: Triples) -> bool:
    """Whether there are enough numbers for a constant, a factor or a function of them to mean something."""
    return sum(expected.numel() for _, expected, _ in triples) >= 3


def _times(factor: float) -> str:
    return f"{factor:.4g} times too large" if abs(factor) > 1 else f"too small: {factor:.4g} times what is expected"


def _sizes(triples: Triples) -> list[tuple[str, list[int]]]:
    inputs = [next((values.as_tensor(x) for x in case.args if values.is_array(x)), None) for case, _, _ in triples]
    if any(x is None or x.ndim == 0 for x in inputs):
        return []
    least = min(x.ndim for x in inputs)
    sizes = [("the number of entries of the input", [x.numel() for x in inputs])]
    sizes += [(f"the size of the input's axis {axis}", [x.shape[axis] for x in inputs]) for axis in range(least)]
    if least >= 2:
        sizes.append(("height times width of the input", [x.shape[-1] * x.shape[-2] for x in inputs]))
    return sizes


def only_first(triples: Triples) -> str | None:
    """Right for the first image of a batch (or the first channel) and wrong for the others."""
    for axis, words in ((0, "the first of a batch"), (1, "the first channel")):
        told = [(a, b) for _, a, b in triples if a.ndim > axis + 1 and a.shape[axis] > 1]
        if len(told) < len(triples):
            continue
        if all(values.close(a.narrow(axis, 0, 1).expand_as(b), b) for a, b in told):
            return f"Every image gets the answer of {words}" if axis == 0 else f"Every channel gets that of {words}"
        if all(values.close(a.select(axis, 0), b.select(axis, 0)) for a, b in told):
            return f"Only {words} is right; what follows it is wrong"
    return None


def shifted(triples: Triples) -> str | None:
    """Right, but one place along."""
    places = {-1: ("to the right", "to the left"), -2: ("down", "up")}
    for axis, (forward, backward) in places.items():
        if any(a.ndim < -axis or a.shape[axis] < 3 for _, a, _ in triples):
            continue
        ahead = [(a.narrow(axis, 0, a.shape[axis] - 1), b.narrow(axis, 1, b.shape[axis] - 1)) for _, a, b in triples]
        back = [(a.narrow(axis, 1, a.shape[axis] - 1), b.narrow(axis, 0, b.shape[axis] - 1)) for _, a, b in triples]
        for pairs, where in ((ahead, forward), (back, backward)):
            if all(values.close(a, b) and a.unique().numel() > 1 for a, b in pairs):
                return f"The result is shifted by one place {where}"
    return None


def only_inside(triples: Triples) -> str | None:
    """Wrong at the border only."""
    for _, a, b in triples:
        if a.ndim < 2 or min(a.shape[-2:]) < 3:
            return None
        inner = (..., slice(1, -1), slice(1, -1))
        if values.differing(a, b)[inner].any():
            return None
    return "Right inside, wrong in the outermost rows or columns: look at how the border is treated"


def elsewhere(triples: Triples) -> str | None:
    """The expected numbers, in other places."""
    if all(a.numel() > 2 and values.close(a.flatten().sort()[0], b.flatten().sort()[0]) for _, a, b in triples):
        return "The numbers are the expected ones, but in other places"
    return None


FINDERS = (
    not_finite,
    input_unchanged,
    mirrored,
    simple,
    off_by_constant,
    off_by_factor,
    only_first,
    shifted,
    only_inside,
    elsewhere,
)
