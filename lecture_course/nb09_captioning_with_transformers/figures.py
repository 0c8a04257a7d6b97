"""The figures of notebook 09: attention of each layer and head, word by word."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from torch import Tensor

from lecture_utils.figures.attention_maps import attention_bar, overlay_attention
from lecture_utils.figures.overlays import to_pixels
from lecture_utils.figures.style import WIDTH, course_look, image_axes, to_array
from lecture_utils.figures.transformers import cells, frame


@course_look
def word_by_word(
    words: Sequence[str],
    panels: Mapping[str, ArrayLike],
    *,
    rows: str,
    columns: str,
    title: str = "",
    width: float | None = None,
) -> Figure:
    """Draw tables of words against words, (t, t) with values from 0 to 1 or truth values, one panel each.

    As a causal mask is drawn: row t says what holds for word t, column s what for word s. Cells that are 0 or False are
    grey and crossed out. `rows` and `columns` name the axes.
    """
    panels = {name: to_array(values, float) for name, values in panels.items()}
    t = len(words)
    for name, values in panels.items():
        if values.shape != (t, t):
            raise ValueError(f"panels: got shape {values.shape} of {name!r}, expected {(t, t)} for {t} words")
        if not ((values >= 0) & (values <= 1)).all():
            raise ValueError(f"panels: got {values.min():.3g} to {values.max():.3g} of {name!r}, expected 0 to 1")
    width = width or min(WIDTH, (0.42 * t + 0.3) * len(panels) + 1.8)
    cell = (width - 1.6) / len(panels) / t
    fig, axes = plt.subplots(
        1, len(panels), figsize=(width, cell * t + 1.25 + (0.35 if title else 0)), sharey=True, squeeze=False
    )
    fig.suptitle(title)
    for ax, (name, values) in zip(axes.flat, panels.items(), strict=True):
        cells(ax, np.where(values > 0, values, np.nan))
        for row, column in zip(*np.nonzero(values == 0), strict=True):
            ax.text(column, row, "×", ha="center", va="center", size=9, color="#B5B5B5")
        ax.set_xticks(range(t), words, rotation=55, ha="right", rotation_mode="anchor")
        ax.set_yticks(range(t), words)
        ax.tick_params(length=0, labelleft=ax is axes[0, 0])
        ax.spines[:].set_visible(False)
        ax.set(title=name, xlabel=columns, ylabel=rows if ax is axes[0, 0] else "")
    return fig


@course_look
def layers_by_heads(
    image: Tensor | np.ndarray,
    maps: Float[Tensor, "layers heads h w"],
    *,
    box: Sequence[float] | None = None,
    marks: ArrayLike | None = None,
    title: str = "",
    width: float | None = None,
) -> Figure:
    """Draw where each head of each layer looks: a row of panels a layer, a column a head.

    `box` (x0, y0, x1, y1), in pixels, is outlined in every panel. `marks` (layers, heads) are numbers written below the
    panels, with two decimals.
    """
    layers, heads = maps.shape[:2]
    if marks is not None and np.shape(marks) != (layers, heads):
        raise ValueError(f"marks: got shape {np.shape(marks)}, expected {(layers, heads)}")
    pixels = to_pixels(image)
    width = width or min(WIDTH, 2.1 * heads + 0.4)
    aspect = pixels.shape[1] / pixels.shape[0]
    fig, axes = image_axes(layers, heads, width=width, aspect=aspect, title=title)
    if marks is not None:
        fig.set_figheight(fig.get_figheight() + 0.25 * layers)
    for (layer, head), ax in np.ndenumerate(axes):
        shown = overlay_attention(ax, pixels, maps[layer, head], most=float(maps.max()))
        if box is not None:
            frame(ax, box)
        if layer == 0:
            ax.set_title(f"head {head + 1}")
        if head == 0:
            ax.set_ylabel(f"layer {layer + 1}")
        if marks is not None:
            ax.set_xlabel(f"{to_array(marks)[layer, head]:.2f}")
    attention_bar(shown, axes)
    return fig
