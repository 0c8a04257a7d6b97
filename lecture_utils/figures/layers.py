"""Images that show one drawing, parts of it faded: the drawing is stored once, each of them as a layer upon it."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageFilter

NEAR = 2  # of 255, how far a colour may be from what the layer makes of it
MARGIN = 2  # pixels around what is opaque, so that nothing shines through when a page makes both images smaller


def layer_on(base: Image.Image, image: Image.Image, strengths: Sequence[float]) -> Image.Image:
    """The RGBA image that, laid upon `base`, shows `image`; both are RGB, of one size, else it is a ValueError.

    Where `image` is as `base`, the layer is transparent; where it keeps one of the `strengths`, 0 to 1, of its colours,
    the layer is white and lets that much through; elsewhere it is opaque. Where several would do, as on white, a row
    goes on as it was, so that the layer is made of large even areas, which take up next to nothing in a file.
    """
    if (image.mode, image.size) != ("RGB", base.size) or base.mode != "RGB":
        got = f"{image.mode} {image.size} on {base.mode} {base.size}"
        raise ValueError(f"image: got {got}, expected two RGB images of one size")
    below, wanted = np.asarray(base, int), np.asarray(image, int)
    ways = (1, *strengths)
    shows = [np.abs(wanted - 255 + kept * (255 - below)).max(2) <= NEAR for kept in ways]
    some, shows = np.any(shows, axis=0), np.stack([*shows, wanted.min(2) >= 255 - NEAR])  # the last is opaque: white
    first = np.where(some, shows.argmax(0), len(ways))
    chosen, rows = np.zeros_like(first), np.arange(len(first))
    for x in range(first.shape[1]):
        before = chosen[:, max(x - 1, 0)]
        chosen[:, x] = np.where(shows[before, rows, x], before, first[:, x])
    opaque = Image.fromarray(chosen == len(ways)).convert("L").filter(ImageFilter.MaxFilter(2 * MARGIN + 1))
    opaque = np.asarray(opaque) > 0
    chosen[opaque] = len(ways)
    pixels = np.full((*first.shape, 4), 255, np.uint8)
    pixels[opaque, :3] = wanted[opaque]
    pixels[..., 3] = np.rint(255 * (1 - np.array([*ways, 0])))[chosen]
    return Image.fromarray(pixels, "RGBA")
