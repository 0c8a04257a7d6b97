"""What the drawings of detectors share: the image, frames and lines of boxes, colours, and arrows between columns."""

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from torch import Tensor

from lecture_utils.figures.network_blocks import Arrow, Band, Block, Mark
from lecture_utils.figures.style import BLUE, CSS_PIXELS_PER_INCH, FAINT, GREEN, INK, ORANGE, PURPLE, SKY, WIDTH

KINDS = {  # the same colour for a layer in all drawings
    "backbone": BLUE,
    "flatten": SKY,
    "Selective Search": PURPLE,
    "RPN": PURPLE,
    "warp": GREEN,
    "RoI align": GREEN,
    "fully connected": ORANGE,
    "decode, NMS": INK,
    "loss": FAINT,
}
IMAGE = 1.9  # inches of an image's longer side
ACROSS, DOWN = ("right", "left"), ("bottom", "top")  # where arrows leave and enter


class Drawing(NamedTuple):
    """What `draw_network` takes."""

    blocks: list[Block]
    arrows: list[Arrow]
    bands: list[Band]
    width: float = WIDTH  # inches


def image_block(
    name: str,
    large: np.ndarray,
    image: Tensor,
    at: tuple[float, float],
    says: str = "The input: red, green and blue of each pixel.",
    size: float = IMAGE,
    lines: tuple[Tensor, str, int] | None = None,
    **look: object,
) -> Block:
    """The image as it is shown, `large`, in at most two pixels for each of the page's, with the shape of `image`.

    `lines` are boxes in pixels of `image`, a colour and a width; `look` is what else a `Block` takes.
    """
    factor = min(1, size * 2 * CSS_PIXELS_PER_INCH / max(large.shape[:2]))
    height, width = (max(1, round(side * factor)) for side in large.shape[:2])
    shown = Image.fromarray(large).resize((width, height), Image.Resampling.LANCZOS)
    if lines is not None:
        boxes, colour, pen = lines
        scale = torch.tensor([width / image.shape[-1], height / image.shape[-2]] * 2, dtype=torch.float64)
        shown = with_boxes(shown, boxes * scale, colour, pen)
    return Block(name, np.asarray(shown), at, says, size, tuple(image.shape[1:]), **look)


def picture(name: str, image: np.ndarray, at: tuple[float, float], says: str, shape: str, size: float = IMAGE) -> Block:
    """An image (H, W, 3) uint8 as it is shown, with `shape` written below."""
    return image_block(name, image, torch.empty(3, *image.shape[:2]), at, says, caption=shape, size=size)


def maps(name: str, value: Tensor, at: tuple[float, float], says: str, **look: object) -> Block:
    """Feature maps (c, h, w), or one map (h, w) that keeps the colours of its extremes."""
    value = value.cpu()
    return Block(name, value, at, says, 1.15, scale=clipped(value) if value.ndim == 3 else None, **look)


def under(image: np.ndarray, map_: Tensor, *, veil: float = 0.25) -> np.ndarray:
    """The image (H, W, 3) uint8 under a map (h, w) in viridis, the brighter and denser the higher the weight.

    `veil` is how much of the image the map covers where its weight is 0.
    """
    large = F.interpolate(map_[None, None].float(), image.shape[:2], mode="bilinear", align_corners=False)[0, 0]
    share = (large / large.max().clamp(min=1e-12)).numpy()
    alpha = (veil + (0.85 - veil) * share)[..., None]
    colour = 255 * mpl.colormaps["viridis"](share)[..., :3]
    return np.rint((1 - alpha) * image + alpha * colour).astype(np.uint8)


def with_boxes(image: Image.Image, boxes: Tensor, colour: str, width: int) -> Image.Image:
    """The image under boxes, in its pixels, drawn as lines of a colour that may let it through."""
    lines = Image.new("RGBA", image.size)
    pen = ImageDraw.Draw(lines)
    for x0, y0, x1, y1 in boxes.tolist():
        pen.rectangle((x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)), outline=colour, width=width)
    return Image.alpha_composite(image.convert("RGBA"), lines).convert("RGB")


def marks_of(boxes: Tensor, colours: Sequence[str]) -> list[Mark]:
    """Frames of boxes (n, 4); a single colour is that of all."""
    return [(*box, colours[n % len(colours)]) for n, box in enumerate(boxes.tolist())]


def clipped(values: object) -> Tensor | None:
    """The colours of maps or of a vector: up to each one's 98th percentile, so that a few peaks do not darken it."""
    if not isinstance(values, Tensor):
        return None
    maps = values.float() if values.ndim == 3 else values.float()[None, :, None]
    return torch.minimum(maps, maps.flatten(1).quantile(0.98, dim=1)[:, None, None])


def joined(starts: Sequence[Block], ends: Sequence[Block], *look: object) -> list[Arrow]:
    """Arrows from each to its own, or between one and all; `look` is what else an `Arrow` takes."""
    pairs = zip(starts, ends, strict=True) if len(starts) == len(ends) else product(starts, ends)
    return [Arrow(*pair, *look) for pair in pairs]
