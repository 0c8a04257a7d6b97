"""COCO's segmentations, polygons or run lengths: checked when a file is opened, decoded by pycocotools later.

pycocotools is written in C and trusts what it is given, so nothing reaches it that was not checked here.
"""

from collections.abc import Mapping
from itertools import chain

import numpy as np
from jaxtyping import Bool, Int64
from pycocotools import mask as run_lengths
from pydantic import ConfigDict, TypeAdapter, ValidationError

from lecture_utils.datasets.inventory import shown
from lecture_utils.datasets.schema import Number, Whole

EXPECTED = 'polygons [[x0, y0, x1, y1, x2, y2, …], …] or run lengths {"size": [height, width], "counts": …}'
_LATER = ConfigDict(defer_build=True)  # when first used: as in `schema`
_POLYGONS, _WHOLE = TypeAdapter(list[list[Number]], config=_LATER), TypeAdapter(list[Whole], config=_LATER)
_LONGEST = 7  # characters of a number in compressed run lengths; five bits each


def check(shape: object, height: int, width: int) -> list[list[float]] | dict:
    """A segmentation of an image in the form that `decode` takes.

    Numbers as text become numbers, one polygon without its outer list or of [x, y] points becomes a list of polygons.
    Raises ValueError that says what came and what was expected.
    """
    if isinstance(shape, dict) and {"size", "counts"} <= set(shape):
        return _runs(shape, height, width)
    if not isinstance(shape, list) or not shape:
        raise ValueError(f"got {shown(shape)}, expected {EXPECTED}")
    return _polygons(shape, height, width)


def decode(shape: list[list[float]] | dict, height: int, width: int) -> Bool[np.ndarray, "h w"]:
    """The mask of a segmentation that `check` gave."""
    if isinstance(shape, list):
        runs = run_lengths.merge(run_lengths.frPyObjects(shape, height, width))
    else:
        runs = run_lengths.frPyObjects(shape, height, width) if isinstance(shape["counts"], list) else shape
    return run_lengths.decode(runs).astype(bool)


def _polygons(shape: list, height: int, width: int) -> list[list[float]]:
    try:
        polygons = _POLYGONS.validate_python(shape)
    except ValidationError as error:
        place = error.errors(include_url=False, include_context=False)[0]
        where = "".join(f"[{part}]" for part in place["loc"] if isinstance(part, int))
        try:
            polygons = _POLYGONS.validate_python(_nested(shape))
        except ValidationError:
            raise ValueError(f"got {shown(place['input'])} at {where}, expected {EXPECTED}") from None
    if short := [polygon for polygon in polygons if len(polygon) < 6 or len(polygon) % 2]:
        raise ValueError(f"got {shown(short[0])}, expected [x0, y0, x1, y1, x2, y2, …], three points at least")
    for polygon in polygons:
        for numbers, side in ((polygon[::2], width), (polygon[1::2], height)):
            low, high = min(numbers), max(numbers)
            if low < -side or high > 2 * side:
                far = low if low < -side else high
                raise ValueError(f"got the coordinate {far:g}, expected points near the image of {width}×{height}")
    if not any(map(_has_area, polygons)):
        raise ValueError(f"got {shown(shape)}, expected a polygon with an area: all of its points lie on one line")
    return polygons


def _nested(shape: list) -> list:
    """Polygons as COCO nests them, from one flat polygon, or from polygons of [x, y] points."""
    if not any(isinstance(part, list | dict) for part in shape):
        return [shape]
    if len(shape) >= 3 and _of_points(shape):
        return [list(chain.from_iterable(shape))]
    return [list(chain.from_iterable(part)) if _of_points(part) else part for part in shape]


def _of_points(part: object) -> bool:
    """Whether it is a list of [x, y] points."""
    pairs = isinstance(part, list) and bool(part) and all(isinstance(at, list) and len(at) == 2 for at in part)
    return pairs and not any(isinstance(number, list) for at in part for number in at)


def _has_area(polygon: list[float]) -> bool:
    """Whether the points do not all lie on one line."""
    x0, y0 = polygon[:2]
    apart = ((x - x0, y - y0) for x, y in zip(polygon[2::2], polygon[3::2], strict=True) if (x, y) != (x0, y0))
    x1, y1 = next(apart, (0, 0))
    return any(abs(x * y1 - y * x1) > 1e-9 for x, y in apart)


def _runs(shape: Mapping, height: int, width: int) -> dict:
    """Run lengths that were found to cover the image: pycocotools leaves the pixels behind the last run undefined."""
    try:
        size = _WHOLE.validate_python(shape["size"])
    except ValidationError:
        size = None
    if size != [height, width]:
        raise ValueError(f"got run lengths of size {shown(shape['size'])}, expected {[height, width]}")
    counts = shape["counts"]
    if isinstance(counts, str):
        numbers = _decompress(counts)
    else:
        try:
            counts = _WHOLE.validate_python(counts)
        except ValidationError:
            raise ValueError(f"got counts {shown(counts)}, expected whole numbers or compressed text") from None
        numbers = counts
    least, total = min(numbers, default=0), int(sum(numbers))
    if least < 0 or total != height * width:
        what = "a run below 0" if least < 0 else f"{total:,} pixels"
        raise ValueError(f"got run lengths of {what}, that do not cover the image of {height * width:,}")
    return {"size": size, "counts": counts}


def _decompress(text: str) -> Int64[np.ndarray, "n"]:
    """The runs in pycocotools' compressed text: numbers of five bits a character, from the third on as differences."""
    codes = np.array([ord(letter) for letter in text], dtype=np.int64) - 48
    ends = np.flatnonzero((codes & 32) == 0)
    lengths = np.diff(ends, prepend=-1)
    if codes.size == 0 or codes.min() < 0 or codes.max() > 63 or codes[-1] & 32 or lengths.max() > _LONGEST:
        raise ValueError(f"got counts {shown(text)}, expected run lengths as pycocotools compresses them")
    starts = ends - lengths + 1
    place = np.arange(codes.size) - np.repeat(starts, lengths)
    numbers = np.add.reduceat((codes & 31) << (5 * place), starts)
    numbers -= np.where(codes[ends] & 16, 1 << (5 * lengths), 0)  # the sign
    for first in (1, 2):
        numbers[first::2] = np.cumsum(numbers[first::2])
    return numbers
