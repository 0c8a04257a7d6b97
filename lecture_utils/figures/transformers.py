"""Attention between all points or all words as images: who sees whom, heads, layers, patches (slides 28 to 30)."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from numpy.typing import ArrayLike
from torch import Tensor

from lecture_utils.figures.attention_maps import attention_bar, overlay_attention
from lecture_utils.figures.overlays import draw_image, to_pixels
from lecture_utils.figures.style import BLUE, INK, ORANGE, WIDTH, course_look, image_axes, to_array

DEPTH = LinearSegmentedColormap.from_list("depth", ["#D6E8F4", BLUE])
NEVER = "#F2F2F2"


@course_look
def receptive_field(
    panels: Mapping[str, ArrayLike], at: tuple[int, int], *, title: str = "", width: float = WIDTH
) -> Figure:
    """Draw, a panel each, how strongly every point of a grid (h, w) bears on the output at one, `at` (row, column).

    The stronger the darker, by the root, and on a scale of its own for each panel; points that do not count at all stay
    grey. Panel titles tell how many points do.
    """
    panels = {name: to_array(values, float) for name, values in panels.items()}
    h, w = next(iter(panels.values())).shape
    columns = 2 if len(panels) == 4 else len(panels)
    fig, axes = image_axes(len(panels) // columns, columns, width=width, aspect=w / h, title=title)
    for ax, (name, values) in zip(axes.flat, panels.items(), strict=True):
        counts = values > 0
        scaled = 0.15 + 0.85 * np.sqrt(values / max(values.max(), 1e-12))  # the root, so that weak ones show
        cells(ax, np.where(counts, scaled, np.nan))
        ax.add_patch(Rectangle((at[1] - 0.5, at[0] - 0.5), 1, 1, fill=False, ec=ORANGE, lw=2.5))
        ax.set_title(f"{name}: {counts.sum()} of {counts.size} points")
    return fig


def cells(ax: Axes, values: np.ndarray) -> None:
    """Cells (h, w) from 0 to 1, the larger the darker, nan left grey; white lines between them."""
    h, w = values.shape
    colours = plt.get_cmap(DEPTH).with_extremes(bad=NEVER)
    ax.imshow(np.ma.masked_invalid(values), cmap=colours, norm=Normalize(0, 1), interpolation="nearest")
    line = {"color": "white", "linewidth": 1 if max(h, w) <= 24 else 0.5}
    ax.hlines(np.arange(-0.5, h), -0.5, w - 0.5, **line)
    ax.vlines(np.arange(-0.5, w), -0.5, h - 0.5, **line)
    ax.set(xlim=(-0.5, w - 0.5), ylim=(h - 0.5, -0.5))


@course_look
def draw_attention_from(
    image: Tensor | np.ndarray,
    maps: Float[Tensor, "heads h w"],
    at: tuple[int, int],
    *,
    title: str = "",
    width: float = WIDTH,
) -> Figure:
    """Draw an image with one point of its grid framed, `at` (row, column), and where each head looks from there."""
    pixels = to_pixels(image)
    height, across = pixels.shape[:2]
    h, w = maps.shape[1:]
    fig, axes = image_axes(1, 1 + len(maps), width=width, aspect=across / height, title=title)
    draw_image(axes[0, 0], pixels)
    axes[0, 0].set_title("the point")
    for number, (ax, map_) in enumerate(zip(axes[0, 1:], maps, strict=True), 1):
        shown = overlay_attention(ax, pixels, map_, most=maps.max().item())
        ax.set_title(f"head {number}")
    attention_bar(shown, axes)
    x, y = at[1] * across / w, at[0] * height / h
    for ax in axes.flat:
        frame(ax, (x, y, x + across / w, y + height / h), ORANGE if ax is axes[0, 0] else INK)
    return fig


def frame(ax: Axes, box: Sequence[float], colour: str = INK) -> None:
    """Outline a box (x0, y0, x1, y1) in pixels; `draw_boxes` would lay out the whole figure for each panel."""
    x0, y0, x1, y1 = (float(side) - 0.5 for side in box)
    frame = ax.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, ec=colour, lw=1.6))
    frame.set_path_effects([withStroke(linewidth=3.2, foreground="white" if colour == INK else INK)])


@course_look
def patches_apart(
    image: Tensor | np.ndarray, patch: int, *, row: int | None = None, title: str = "", width: float = 7.0
) -> Figure:
    """Draw an image cut into patches of `patch` × `patch` pixels with gaps between them, and one row as a sequence.

    The image is (3, H, W) or (H, W, 3), uint8; `row` is the row of patches drawn below, by default the middle one.
    """
    pixels = to_pixels(image)
    height, across = pixels.shape[:2]
    if patch < 1 or height % patch or across % patch:
        raise ValueError(f"patch: got {patch}, expected a divisor of the image's {height} × {across} pixels")
    rows, columns = height // patch, across // patch
    row = rows // 2 if row is None else row
    if not 0 <= row < rows:
        raise ValueError(f"row: got {row}, expected 0 to {rows - 1}")
    gap = max(1, patch // 8)
    whole, line = apart(pixels, patch, gap), apart(pixels[row * patch : (row + 1) * patch], patch, gap)
    fig, (top, below) = plt.subplots(
        2, 1, figsize=(width, width * (rows / columns + 1 / columns) + 1.0), height_ratios=[rows, 1.3]
    )
    fig.suptitle(title)
    for ax, shown in ((top, whole), (below, line)):
        draw_image(ax, shown)
    step, first = patch + gap, row * (patch + gap)
    top.add_patch(Rectangle((-0.5, first - 0.5), columns * step - gap, patch, fill=False, ec=ORANGE, lw=2))
    top.set_title(f"{rows} × {columns} patches of {patch} × {patch} pixels")
    below.set_title(
        f"row {row + 1} of them: numbers {row * columns + 1} to {(row + 1) * columns} of the sequence", color=INK
    )
    return fig


def apart(pixels: np.ndarray, patch: int, gap: int) -> np.ndarray:
    """An image (H, W, 3) cut into patches of `patch` pixels a side, with `gap` white pixels between them."""
    rows, columns = pixels.shape[0] // patch, pixels.shape[1] // patch
    canvas = np.full((rows, patch + gap, columns, patch + gap, 3), 255, np.uint8)
    canvas[:, :patch, :, :patch] = pixels.reshape(rows, patch, columns, patch, 3)
    return canvas.reshape(rows * (patch + gap), columns * (patch + gap), 3)[:-gap, :-gap]
