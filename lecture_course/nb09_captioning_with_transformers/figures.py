"""The figures of notebook 09: words against words, similarities of positions, and heads that point at objects."""

from collections.abc import Mapping, Sequence
from math import ceil

import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator
from numpy.typing import ArrayLike
from torch import Tensor

from lecture_utils.figures.style import CYCLE, FAINT, INK, WIDTH, course_look, to_array
from lecture_utils.figures.transformers import cells


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
        1, len(panels), figsize=(width, cell * t + 1.45 + (0.35 if title else 0)), sharey=True, squeeze=False
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
def similarity_maps(panels: Mapping[str, tuple[str, ArrayLike]], *, title: str = "") -> Figure:
    """Draw the cosines between vectors, two panels in a row: name → (what is numbered, n vectors as (n, d))."""
    rows = ceil(len(panels) / 2)
    fig, axes = plt.subplots(rows, 2, figsize=(WIDTH, 4.25 * rows + 0.2), squeeze=False)
    fig.suptitle(title)
    for ax in axes.flat[len(panels) :]:
        ax.set_visible(False)
    for ax, (name, (axis, vectors)) in zip(axes.flat, panels.items(), strict=False):
        vectors = to_array(vectors, float)
        if vectors.ndim != 2 or not vectors.any(1).all():
            raise ValueError(f"panels: got shape {vectors.shape} of {name!r}, expected (n, d), none of them 0")
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        shown = ax.imshow(unit @ unit.T, cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
        ax.set(title=name, xlabel=axis, ylabel=axis)
        for side in (ax.xaxis, ax.yaxis):
            side.set_major_locator(MultipleLocator(4 if len(vectors) <= 24 else 10))
        ax.spines[:].set_visible(False)
    bar = fig.colorbar(shown, ax=axes, location="right", fraction=0.03, pad=0.02, aspect=30, label="cosine")
    bar.outline.set_visible(False)
    return fig


@course_look
def head_bars(hits: Float[Tensor, "layers heads"], together: float, chance: float, *, title: str = "") -> Figure:
    """Draw, a bar for each head of each layer, what share of objects it points at; a last bar for all of them."""
    layers, heads = hits.shape
    names = [f"layer {layer + 1}\nhead {head + 1}" for layer in range(layers) for head in range(heads)]
    colours = [CYCLE[layer] for layer in range(layers) for _ in range(heads)]
    fig, ax = plt.subplots(figsize=(WIDTH, 3.6))
    bars = ax.bar([*names, "all\ntogether"], [*to_array(hits).ravel(), together], color=[*colours, INK])
    ax.bar_label(bars, fmt="%.2f", padding=2)
    ax.axhline(chance, color=FAINT, linestyle="--", lw=1.5)
    ax.text(layers * heads + 0.55, chance, "a random\npoint", color=FAINT, va="center", backgroundcolor="white")
    ax.set(title=title, ylabel="fraction of objects", xlim=(-0.6, layers * heads + 1.4), ylim=(0, 1.05))
    return fig
