"""Are these files photographs beside their masks? A few of a folder are looked at when it is opened.

A mask is piecewise flat, and inside its parts the pixels have the colours of its palette, however hard JPEG has blurred
the edges. So only flat places are asked; black ones are not, since night and many palettes' background are black.
"""

import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from lecture_utils.cityscapes import IGNORE_INDEX
from lecture_utils.datasets.masks import SURE_DISTANCE, Palette
from lecture_utils.datasets.reading import first_few

# Shares of the flat places that have a colour of the palette. Measured for Cityscapes' on the toy city at 64 to 512
# pixels, PNG and JPEG of quality 60 and up: 0.96 to 1. Masks of other palettes: up to 0.57 (CamVid has the same road).
# Photographs: mostly below 0.2; up to 0.66 for grey ones, because building and pole are grey.
LIKELY, UNLIKELY = 0.9, 0.8
EVIDENCE = 0.1  # share of the places that must be such flat ones
_FILES, _PIXELS, _GRID = 8, 8_000_000, 64  # looked at: files at most, pixels in all at most, places a side
_FLAT, _BLACK, _NUMBER = 12, 24, 40  # grey levels: the range of 3 × 3 pixels; black at most; class numbers at most

# What a folder may hold in place of pairs, and the mend.
KINDS = {
    "photographs": ("have no mask: their right half looks like a photograph", "put the mask beside the photograph"),
    "swapped": ("have the mask on the left", "swap the halves"),
    "masks": ("have a mask in either half", "put the photograph on the left"),
    "stacked": ("have the photograph above its mask", "put the mask on the right"),
    "numbers": (
        "have masks of class numbers, nearly black, in place of colours",
        "say what they mean, as palette={{(k, k, k): k for k in range(19)}}",
    ),
    "palette": (
        "have masks in another palette, with colours near {colours}",
        "say what they mean, as palette={{(128, 0, 0): 0, …}}",
    ),
    "doubtful": (
        "have masks of which many colours, as {colours}, are far from those of the palette",
        "say what they mean, as palette={{(128, 0, 0): 0, …}}",
    ),
}
Half = UInt8[np.ndarray, "h w 3"]
Colour = tuple[int, int, int]


class Look(NamedTuple):
    """What an image looks like, by a grid of places; all but `strange` are shares of places."""

    telling: float  # flat, and not black where black is ignored
    known: float  # of the telling ones: have a colour of the palette
    colours: int  # of the palette that a twentieth of the telling ones have
    near: float  # of those that are not black: have a colour of the palette
    still: float  # exactly like the pixel to the right
    black: float
    numbered: float  # quite flat, in a grey of 3 to 40 (JPEG makes 1 and 2 out of black)
    pale: float  # neither such a grey, nor black, nor white
    strange: Counter[Colour]  # colours of telling places that the palette does not have, in steps of 16


def check_pairs(files: Sequence[Path], palette: Palette, halves: Callable[[Path], tuple[Half, Half]]) -> None:
    """Raise ValueError where most of a few files, spread over all, are no photograph (left) beside its mask (right).

    The message says which of `KINDS` they look like. Where few do, or it is doubtful, it is a warning. Files that
    `halves` cannot read are left to their turn.
    """
    verdicts: dict[str, str] = {}
    strange: Counter[Colour] = Counter()
    pixels = 0
    chosen = np.linspace(0, len(files) - 1, min(_FILES, len(files))).round().astype(int).tolist()
    for index in chosen[::2] + chosen[1::2]:
        try:
            photo, mask = halves(files[index])
        except (ValueError, FileNotFoundError):
            continue
        verdicts[files[index].name], colours = judge(photo, mask, palette)
        strange.update(colours)
        pixels += photo.size // 3 + mask.size // 3
        if pixels > _PIXELS:
            break
    suspects = {name: kind for name, kind in verdicts.items() if kind}
    if not suspects:
        return
    kind = Counter(suspects.values()).most_common(1)[0][0]
    what, mend = (text.format(colours=_list(strange)) for text in KINDS[kind])
    message = (
        f"{files[0].parent}: {len(suspects)} of {len(verdicts)} files looked at {what}: {first_few(list(suspects))}. "
        "Expected the photograph on the left and its mask, in the palette's colours, on the right: "
        f"{mend}. check_masks=False reads them as they are"
    )
    if 2 * sum(kind != "doubtful" for kind in suspects.values()) >= len(verdicts):
        raise ValueError(message)
    warnings.warn(message, stacklevel=3)


def judge(photo: Half, mask: Half, palette: Palette) -> tuple[str, Counter[Colour]]:
    """Which of `KINDS` the two halves are, "" for a photograph and its mask; and the colours the palette lacks."""
    left, right = look(photo, palette), look(mask, palette)
    seamless = _seamless(photo, mask)
    if seamless and _is_stacked(photo, palette):
        return "stacked", Counter()
    # A photograph of mist may have one colour of the palette.
    mask_on_the_left = _is_mask(left) and left.colours > 1 and 2 * left.still >= right.still
    if _is_mask(right) or mask_on_the_left:
        return ("" if not mask_on_the_left else "masks" if _is_mask(right) else "swapped"), Counter()
    if right.numbered > 0.01 and right.pale < 0.02 and not seamless:
        return "numbers", Counter()
    if right.black > 0.95 or (right.telling < EVIDENCE and right.near > 0.25 and not seamless):
        return "", Counter()  # all void, or too small a mask to tell
    if seamless or right.still < left.still + 0.1 or not _are_few(right.strange):
        return "photographs", Counter()
    return ("doubtful" if right.known > UNLIKELY else "palette"), right.strange


def look(image: Half, palette: Palette) -> Look:
    """Look at a grid of 64 × 64 places at most, each with its eight neighbours."""
    rows, columns = (np.linspace(1, side - 2, min(_GRID, side - 2)).astype(int) for side in image.shape[:2])
    around = np.arange(-1, 2)
    blocks = image[(rows[:, None] + around)[:, None, :, None], (columns[:, None] + around)[None, :, None, :]]
    blocks = blocks.reshape(-1, 9, 3).astype(np.int32)
    middle, ranges = blocks[:, 4], np.ptp(blocks, axis=1).max(-1)
    distances = ((middle[:, None] - palette.colours) ** 2).sum(-1)
    known = distances.min(1) <= SURE_DISTANCE**2
    telling = ranges <= _FLAT
    if palette.labels[(palette.colours == 0).all(1)].tolist() == [IGNORE_INDEX]:
        telling &= middle.max(1) > _BLACK
    numbers = (np.ptp(middle, axis=1) <= 6) & (middle.max(1) <= _NUMBER)
    strange = (middle[telling & ~known] // 16 * 16 + 8).tolist()
    return Look(
        telling=telling.mean(),
        known=known[telling].mean() if telling.any() else 0.0,
        colours=int((np.bincount(distances.argmin(1)[telling & known]) > telling.sum() / 20).sum()),
        near=known[middle.max(1) > _BLACK].mean() if (middle.max(1) > _BLACK).any() else 0.0,
        still=(blocks[:, 4] == blocks[:, 5]).all(-1).mean(),
        black=(middle.max(1) <= 8).mean(),
        numbered=(numbers & (middle.min(1) > 2) & (ranges == 0)).mean(),
        pale=(~numbers & (middle.min(1) < 250)).mean(),
        strange=Counter(map(tuple, strange)),
    )


def _is_mask(half: Look) -> bool:
    return bool(half.telling >= EVIDENCE and half.known >= LIKELY)


def _seamless(photo: Half, mask: Half) -> bool:
    """Whether the halves go on in each other, as those of one photograph do."""
    strip = np.concatenate([photo[:, -8:], mask[:, :8]], axis=1).astype(np.int32)
    steps = np.abs(np.diff(strip, axis=1)).max(-1).mean(0)
    usual = max(steps[:7].mean(), steps[8:].mean(), 1)
    return bool(steps[7] <= 2 * usual and usual < 40)  # amid noise no seam can be seen


def _is_stacked(photo: Half, palette: Palette) -> bool:
    upper, lower = np.array_split(photo, 2)
    return min(len(upper), len(lower)) >= 3 and _is_mask(look(lower, palette)) and not _is_mask(look(upper, palette))


def _are_few(colours: Counter[Colour]) -> bool:
    """Whether no more than 20 of the colours make up nine tenths."""
    return sum(count for _, count in colours.most_common(20)) >= 0.9 * colours.total()


def _list(colours: Counter[Colour]) -> str:
    return " and ".join(str(colour) for colour, _ in colours.most_common(3))
