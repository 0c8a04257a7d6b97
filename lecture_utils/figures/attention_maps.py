"""Where a captioner looked: maps of attention laid over the image, a word at a time (slide 27)."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from lecture_utils.figures.overlays import draw_image, to_pixels
from lecture_utils.figures.style import WIDTH, course_look, image_axes

SIZE = 11  # points of a caption
# Light on the image: a little darkness where no attention goes, then yellow, then nearly white where most of it does.
_GLOW = [(0, (0, 0, 0, 0.5)), (0.15, (0.1, 0.1, 0.1, 0.3)), (0.5, (1, 0.85, 0.2, 0.35)), (1, (1, 1, 0.55, 0.75))]
GLOW = LinearSegmentedColormap.from_list("glow", _GLOW)


def overlay_attention(
    ax: Axes,
    image: Tensor | np.ndarray,
    map_: Float[Tensor, "h w"],
    *,
    most: float | None = None,
    glow: bool = False,
) -> AxesImage:
    """Lay a map of attention, ≥ 0, half transparent over the image: the brighter, the more the model looked there.

    The h × w cells cover the image, (3, H, W) or (H, W, 3) uint8, and are enlarged smoothly. `most` is the weight that
    is shown brightest: panels that are compared need the same. By default it is the map's own maximum, so that a word
    that looks everywhere alike is bright everywhere. `attention_bar` draws the scale. With `glow` the image keeps its
    colours, a little darker, and a yellow light lies where the weight is large, whitest where it is `most`.
    """
    map_ = torch.as_tensor(map_).detach().cpu().float()
    if map_.ndim != 2 or 0 in map_.shape or not (map_ >= 0).all():
        raise ValueError(f"map_: got shape {tuple(map_.shape)}, from {_low(map_)}, expected (h, w), no value below 0")
    pixels = to_pixels(image)
    smooth = F.interpolate(map_[None, None], pixels.shape[:2], mode="bicubic", align_corners=False)[0, 0].clamp(min=0)
    draw_image(ax, pixels)
    most = max(map_.max().item() if most is None else float(most), 1e-12)
    look = {"cmap": GLOW} if glow else {"cmap": "viridis", "alpha": 0.55}
    return ax.imshow(smooth.numpy(), vmin=0, vmax=most, interpolation="nearest", **look)


def attention_bar(shown: AxesImage, axes: Sequence[Axes] | np.ndarray, *, label: str = "attention weight") -> None:
    """Draw, right of `axes`, the scale of the map `shown`, which is theirs."""
    bar = shown.figure.colorbar(shown, ax=axes, location="right", fraction=0.03, pad=0.01, aspect=25, label=label)
    if shown.get_alpha() is not None:
        bar.solids.set_alpha(1)
    bar.outline.set_visible(False)
    bar.locator = MaxNLocator(3)


def _low(map_: Tensor) -> str:
    return f"{map_.min():.2g}" if map_.numel() else "nothing"


@course_look
def word_strip(
    image: Tensor | np.ndarray,
    words: Sequence[str],
    maps: Float[Tensor, "t h w"],
    *,
    columns: int = 5,
    title: str = "",
    glow: bool = False,
    most: float | None = None,
) -> Figure:
    """Draw the image, then a panel for each word with the map of where the model looked for it (slide 27).

    `maps` may go on after the last word (with that of `<end>`). Made for up to 24 words; one scale for all of them, up
    to the largest weight or to `most`. `glow` is that of `overlay_attention`.
    """
    if maps.ndim != 3 or len(maps) < len(words):
        raise ValueError(f"maps: got shape {tuple(maps.shape)}, expected (t, h, w) with t at least {len(words)}")
    pixels = to_pixels(image)
    rows, columns = -(-(1 + len(words)) // columns), min(columns, 1 + len(words))
    width = WIDTH * min(1, columns / 3)
    fig, axes = image_axes(rows, columns, width=width, aspect=pixels.shape[1] / pixels.shape[0], title=title)
    fig.set_figheight(fig.get_figheight() + 0.12 * rows - (0 if title else 0.1))  # a line of words over each row
    draw_image(axes.flat[0], pixels)
    most = most or (maps[: len(words)].max().item() if words else 1.0)
    for place, (ax, word) in enumerate(zip(axes.flat[1:], words, strict=False)):
        shown = overlay_attention(ax, pixels, maps[place], most=most, glow=glow)
        ax.set_title(word, size=SIZE, pad=3)
    for ax in axes.flat[1 + len(words) :]:
        ax.set_visible(False)
    if words:
        attention_bar(shown, axes)
    return fig
