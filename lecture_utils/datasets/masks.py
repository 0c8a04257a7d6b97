"""From the colours of a stored mask to labels (slide 13).

JPEG blurs the mask's colours, so a mask holds thousands of them; the label of a pixel is that of the nearest colour
of the palette.
"""

import functools
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, UInt8, UInt16

from lecture_utils.cityscapes import CLASSES, IGNORE_COLOUR, IGNORE_INDEX, PALETTE, VOID_PALETTE

SURE_DISTANCE, SURE_PIXELS = 16, 3  # so near to the palette's colour, in so many pixels, a colour is surely in a mask
BLOCK = 4  # pixels a side
_NONE, _UNKNOWN = 255, 1 << 15


class Palette(NamedTuple):
    """The colours of a mask, no more than 255, and the label of each; `IGNORE_INDEX` is no class."""

    colours: UInt8[np.ndarray, "k 3"]
    labels: UInt8[np.ndarray, "k"]
    rare: Bool[np.ndarray, "k"]  # colours that blurred edges hold more often than the mask itself


# Black touches everything as often as a class does; the other void colours are rare, and JPEG makes them out of others:
# between a house and a car lies trailer, between a pole and a tree tunnel.
CITYSCAPES = Palette(
    np.vstack([PALETTE, VOID_PALETTE]),
    np.array([*range(len(CLASSES)), *[IGNORE_INDEX] * len(VOID_PALETTE)], dtype=np.uint8),
    np.arange(len(CLASSES) + len(VOID_PALETTE)) > len(CLASSES),
)


def own_palette(label_of: Mapping[tuple[int, int, int], int]) -> Palette:
    """The palette of a mapping from colours (red, green, blue) to labels, 255 for what is ignored.

    Black is ignored, unless the mapping gives it a label. Raises ValueError for what are no colours and labels.
    """
    wanted = "expected a mapping from 1 to 254 colours (red, green, blue) to labels, whole numbers from 0 to 255"
    if not isinstance(label_of, Mapping):
        raise ValueError(f"palette: got {type(label_of).__name__}, {wanted}")
    try:
        colours = [tuple(_byte(part) for part in colour) for colour in label_of]
        labels = [_byte(label) for label in label_of.values()]
    except (TypeError, ValueError):
        raise ValueError(f"palette: got {str(dict(label_of))[:80]}, {wanted}") from None
    if not 0 < len(colours) < _NONE or any(len(colour) != 3 for colour in colours):
        raise ValueError(f"palette: got {len(colours)} colours, {str(dict(label_of))[:80]}; {wanted}")
    if IGNORE_COLOUR not in colours:
        colours, labels = [*colours, IGNORE_COLOUR], [*labels, IGNORE_INDEX]
    return Palette(np.array(colours, np.uint8), np.array(labels, np.uint8), np.zeros(len(colours), bool))


def _byte(number: object) -> int:
    if isinstance(number, bool) or number != int(number) or not 0 <= number <= 255:
        raise ValueError
    return int(number)


def nearest_class(rgb: UInt8[np.ndarray, "*shape 3"]) -> UInt8[np.ndarray, "*shape"]:
    """Recover train ids from mask colours: the label of the nearest official colour, void colours being `IGNORE_INDEX`.

    rgb (H, W, 3) uint8 gives labels (H, W) uint8. Nearest is Euclidean and exact; a tie goes to the lower train id.
    Raises ValueError for another type or shape.
    """
    return CITYSCAPES.labels[nearest_colour(rgb, CITYSCAPES)[0]]


def mask_labels(mask: UInt8[np.ndarray, "h w 3"], palette: Palette = CITYSCAPES) -> UInt8[np.ndarray, "h w"]:
    """Recover the label map of a stored mask: for each pixel the nearest colour *of those the mask surely contains*.

    Where JPEG has mixed two colours, the nearest may be a third: the blend of sky and building looks like "wall". So a
    colour counts only where a few pixels have it nearly exactly, and a rare one, such as that of a trailer, only where
    they fill a block of 4 × 4, which no blurred edge does. All other pixels go to the nearest colour that counts.
    mask (H, W, 3) uint8 gives (H, W) uint8.
    """
    nearest, near = nearest_colour(mask, palette)
    if not np.array_equal(palette.colours[nearest], mask):  # else nothing is blurred
        _keep(~palette.rare | _fills_a_block(nearest, near, palette), nearest, near, mask, palette)
        pixels = np.bincount(nearest[near], minlength=len(palette.colours))
        _keep(pixels >= SURE_PIXELS, nearest, near, mask, palette)
    return palette.labels[nearest]


def _fills_a_block(nearest: np.ndarray, near: Bool[np.ndarray, "h w"], palette: Palette) -> Bool[np.ndarray, "k"]:
    """For each colour, whether the pixels that nearly have it fill a block somewhere."""
    same = np.where(near, nearest, _NONE)
    for _ in range(2):  # along the rows, then along the columns
        windows = np.stack([same[start : max(start, len(same) - BLOCK + 1 + start)] for start in range(BLOCK)])
        same = np.where((windows == windows[0]).all(0), windows[0], _NONE).T
    return np.isin(np.arange(len(palette.colours)), same)


def _keep(
    wanted: Bool[np.ndarray, "k"],
    nearest: np.ndarray,
    near: Bool[np.ndarray, "h w"],
    mask: UInt8[np.ndarray, "h w 3"],
    palette: Palette,
) -> None:
    """Move the pixels of colours that are not wanted to the nearest that is; all stay where none is."""
    other = ~wanted[nearest]
    if other.any() and wanted.any():
        kept = np.flatnonzero(wanted)
        distances = ((mask[other][:, None].astype(np.int32) - palette.colours[kept]) ** 2).sum(-1)
        nearest[other] = kept[distances.argmin(1)]
        near[other] = distances.min(1) <= SURE_DISTANCE**2


def nearest_colour(
    rgb: UInt8[np.ndarray, "*shape 3"], palette: Palette
) -> tuple[UInt8[np.ndarray, "*shape"], Bool[np.ndarray, "*shape"]]:
    """The row of the palette's colour that is nearest to each pixel, and whether it is within `SURE_DISTANCE`.

    A colour is measured once: a table of all 2^24 colours (32 MB, filled as colours turn up) answers the next time.
    """
    if rgb.dtype != np.uint8 or rgb.ndim < 2 or rgb.shape[-1] != 3:
        raise ValueError(f"rgb: got {rgb.dtype} of shape {rgb.shape}, expected uint8 of shape (H, W, 3)")
    codes = rgb[..., 0].astype(np.int32) << 16 | rgb[..., 1].astype(np.int32) << 8 | rgb[..., 2]
    table = _table(palette.colours.tobytes())
    found = table[codes]
    unknown = found == _UNKNOWN
    if unknown.any():
        new = np.unique(codes[unknown])
        table[new] = _measure(new, palette.colours)
        found = table[codes]
    return (found >> 1).astype(np.uint8), (found & 1).astype(bool)


@functools.lru_cache(maxsize=2)
def _table(colours: bytes) -> UInt16[np.ndarray, "colours"]:
    return np.full(1 << 24, _UNKNOWN, dtype=np.uint16)


def _measure(codes: np.ndarray, palette: UInt8[np.ndarray, "k 3"]) -> np.ndarray:
    """For 24-bit colours x, twice the row of the nearest p, and one more where it is near.

    |x − p|² as |x|² + |p|² − 2x·p; all numbers stay below 2^24, so float32 is exact.
    """
    colours = np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=1).astype(np.float32)
    wanted = palette.astype(np.float32)
    distances = (colours**2).sum(1)[:, None] + (wanted**2).sum(1) - 2 * colours @ wanted.T
    return 2 * distances.argmin(1) + (distances.min(1) <= SURE_DISTANCE**2)
