"""The figures of notebook 10: position embeddings and attention of a vision transformer."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from lecture_utils.figures.attention_maps import attention_bar, overlay_attention
from lecture_utils.figures.overlays import draw_image
from lecture_utils.figures.style import INK, VERMILION, WIDTH, course_look, image_axes, to_array

SIMILAR = plt.get_cmap("cividis", 20)  # even in lightness; few levels, so that a small palette holds them all


@course_look
def similarity_grid(similarity: Float[Tensor, "h w h w"], *, title: str = "", width: float = 6.5) -> Figure:
    """Draw a small map for each patch, at its place: how much its position is like that of each other patch.

    As figure 7 of the paper of ViT.
    """
    h, w = similarity.shape[:2]
    tiles = np.full((h, h + 1, w, w + 1), np.nan)
    tiles[:, :h, :, :w] = to_array(similarity).transpose(0, 2, 1, 3)
    mosaic = tiles.reshape(h * (h + 1), w * (w + 1))[:-1, :-1]
    fig, axes = image_axes(1, 1, width=width, aspect=w / h, title=title)
    ax = axes[0, 0]
    _make_room(fig, w / h, title)
    shown = ax.imshow(mosaic, cmap=SIMILAR, vmin=min(0, np.nanmin(mosaic)), vmax=1, interpolation="nearest")
    ax.set_xticks((w + 1) * np.arange(w) + (w - 1) / 2, range(w))
    ax.set_yticks((h + 1) * np.arange(h) + (h - 1) / 2, range(h))
    ax.tick_params(length=0)
    ax.set(xlabel="column of the patch", ylabel="row of the patch")
    fig.colorbar(shown, ax=ax, shrink=0.8, label="cosine similarity of the positions")
    return fig


@course_look
def one_similarity(
    similarity: Float[Tensor, "h w h w"], at: tuple[int, int], *, title: str = "", width: float = 4.5
) -> Figure:
    """Draw the map of one patch, `at` (row, column), large, on the scale of all."""
    h, w = similarity.shape[:2]
    fig, axes = image_axes(1, 1, width=width, aspect=w / h, title=title)
    ax = axes[0, 0]
    _make_room(fig, w / h, title)
    low = min(0.0, similarity.min().item())
    shown = ax.imshow(to_array(similarity[at]), cmap=SIMILAR, vmin=low, vmax=1, interpolation="nearest")
    ax.add_patch(Rectangle((at[1] - 0.5, at[0] - 0.5), 1, 1, fill=False, ec=VERMILION, lw=3))
    ax.set_xticks(range(w))
    ax.set_yticks(range(h))
    ax.tick_params(length=0)
    ax.set(xlabel="column of the patch", ylabel="row of the patch")
    fig.colorbar(shown, ax=ax, shrink=0.8, label="cosine similarity")
    return fig


def _make_room(fig: Figure, aspect: float, title: str) -> None:
    """A height that fits an image with the names of its axes and a colour bar beside it."""
    fig.set_figheight((fig.get_figwidth() - 1.75) / aspect + 0.7 + (0.4 if title else 0))


@course_look
def attention_row(
    images: Sequence[Tensor | np.ndarray],
    maps: Float[Tensor, "n h w"],
    names: Sequence[str],
    *,
    title: str = "",
    width: float = WIDTH,
) -> Figure:
    """Draw images in a row, each with what a model said above it, and below it the map of where it looked."""
    if not len(images) == len(maps) == len(names) > 0:
        counts = f"{len(images)} images, {len(maps)} maps and {len(names)} names"
        raise ValueError(f"images: got {counts}, expected as many of each, and at least one")
    fig, axes = image_axes(2, len(images), width=width, title=title)
    for (above, below), image, map_, name in zip(axes.T, images, maps, names, strict=True):
        draw_image(above, image)
        shown = overlay_attention(below, image, map_, most=float(maps.max()))
        above.set_title(name, size=11, color=INK, pad=3)
    attention_bar(shown, axes)
    return fig
