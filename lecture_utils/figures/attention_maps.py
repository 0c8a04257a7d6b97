"""Where a captioner looked: maps of attention laid over the image, a word at a time (slide 27)."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from lecture_utils.figures.boxes import fade, simplified
from lecture_utils.figures.overlays import draw_image
from lecture_utils.figures.style import HEAT, WIDTH, course_look, image_axes

SHADES = 8  # of a map, so that two dozen panels weigh little
COLOURS = 64  # of the image beside the maps, enough for coats and signs
SIZE = 11  # points of a caption


def overlay_attention(ax: Axes, image: Tensor | np.ndarray, map_: Float[Tensor, "h w"]) -> None:
    """Lay a map of attention, ≥ 0, over the image in pale greys: the more orange, the more the model looked there.

    The h × w cells cover the image, (3, H, W) or (H, W, 3) uint8, and are enlarged smoothly. The darkest orange is
    the map's own maximum: a word that looks everywhere alike is orange everywhere.
    """
    map_ = torch.as_tensor(map_).detach().cpu().float()
    if map_.ndim != 2 or 0 in map_.shape or not (map_ >= 0).all():
        raise ValueError(f"map_: got shape {tuple(map_.shape)}, from {_low(map_)}, expected (h, w), no value below 0")
    grey = np.repeat(fade(image).mean(2, keepdims=True).astype(np.uint8), 3, axis=2)  # a projector shows orange on it
    smooth = F.interpolate(map_[None, None], grey.shape[:2], mode="bicubic", align_corners=False)[0, 0].clamp(min=0)
    shades = (SHADES * smooth / smooth.max().clamp(min=1e-12)).round() / SHADES
    draw_image(ax, grey)
    ax.imshow(shades.numpy(), cmap=HEAT, vmin=0, vmax=1, interpolation="nearest")


def _low(map_: Tensor) -> str:
    return f"{map_.min():.2g}" if map_.numel() else "nothing"


@course_look
def word_strip(
    image: Tensor | np.ndarray,
    words: Sequence[str],
    maps: Float[Tensor, "t h w"],
    *,
    columns: int = 8,
    title: str = "",
) -> Figure:
    """Draw the image, then a panel for each word with the map of where the model looked for it (slide 27).

    `maps` may go on after the last word (with that of `<end>`). Made for up to 24 words.
    """
    if maps.ndim != 3 or len(maps) < len(words):
        raise ValueError(f"maps: got shape {tuple(maps.shape)}, expected (t, h, w) with t at least {len(words)}")
    plain = simplified(image, COLOURS)
    rows, columns = -(-(1 + len(words)) // columns), min(columns, 1 + len(words))
    width = WIDTH * min(1, columns / 5)
    fig, axes = image_axes(rows, columns, width=width, aspect=plain.shape[1] / plain.shape[0], title=title)
    fig.set_figheight(fig.get_figheight() + 0.12 * rows - (0 if title else 0.1))  # a line of words over each row
    draw_image(axes.flat[0], plain)
    for place, (ax, word) in enumerate(zip(axes.flat[1:], words, strict=False)):
        overlay_attention(ax, image, maps[place])
        ax.set_title(word, size=SIZE, pad=3)
    for ax in axes.flat[1 + len(words) :]:
        ax.set_visible(False)
    return fig
