"""The figures of notebook 09: queries, words against words, similarities of positions, heads that point at objects."""

import textwrap
from collections.abc import Mapping, Sequence
from math import ceil

import matplotlib.pyplot as plt
import numpy as np
import torch
from jaxtyping import Float, UInt8
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, MultipleLocator
from numpy.typing import ArrayLike
from torch import Tensor

from lecture_course.nb09_captioning_with_transformers.positions import by_distance, cosines
from lecture_utils.figures.attention_maps import attention_bar, overlay_attention
from lecture_utils.figures.overlays import draw_image
from lecture_utils.figures.style import CYCLE, FAINT, INK, ORANGE, WIDTH, course_look, image_axes, to_array
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
    """Draw the cosines between vectors, two panels in a row: name → (what is numbered, n vectors as (n, d)).

    A last row shows the mean cosine against the distance of two positions, in one panel those of each row above.
    """
    rows = ceil(len(panels) / 2)
    fig = plt.figure(figsize=(WIDTH, 4.25 * rows + 3.4))
    grid = fig.add_gridspec(rows + 1, 2, height_ratios=[4.25] * rows + [3.2])
    fig.suptitle(title)
    below = [fig.add_subplot(grid[rows, row]) for row in range(min(rows, 2))]
    maps = []
    for number, (name, (axis, vectors)) in enumerate(panels.items()):
        vectors = torch.as_tensor(to_array(vectors, float))
        if vectors.ndim != 2 or not vectors.any(1).all():
            raise ValueError(f"panels: got shape {tuple(vectors.shape)} of {name!r}, expected (n, d), none of them 0")
        ax = fig.add_subplot(grid[number // 2, number % 2])
        maps.append(ax)
        shown = ax.imshow(cosines(vectors).numpy(), cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
        ax.set(title=name, xlabel=axis, ylabel=axis)
        for side in (ax.xaxis, ax.yaxis):
            side.set_major_locator(MultipleLocator(4 if len(vectors) <= 24 else 10))
        ax.spines[:].set_visible(False)
        means, style = by_distance(vectors), {"marker": "os"[number % 2], "ms": 4, "color": CYCLE[number % 2]}
        below[number // 2].plot(range(1, len(vectors)), means, label=name, **style)
    for ax in below:
        ax.axhline(0, color=FAINT, lw=1)
        ax.set(xlabel="distance of two positions", ylabel="mean cosine", ylim=(-0.4, 1.45))
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.legend(loc="upper right")
    bar = fig.colorbar(shown, ax=maps, location="right", fraction=0.03, pad=0.02, aspect=30, label="cosine")
    bar.outline.set_visible(False)
    return fig


@course_look
def queries_compared(
    image: UInt8[np.ndarray, "H W 3"],
    weights: Float[Tensor, "hw hw"],
    queries: Mapping[str, tuple[int, int]],
    *,
    title: str = "",
) -> Figure:
    """Draw, a panel for each query (name → row and column), where it attends on a square grid; the query is framed.

    One scale for all panels.
    """
    side = round(len(weights) ** 0.5)
    fig, axes = image_axes(1, len(queries), width=13.2, aspect=image.shape[1] / image.shape[0], title=title)
    step = image.shape[0] / side
    for ax, (name, (row, column)) in zip(axes.flat, queries.items(), strict=True):
        map_ = weights[row * side + column].view(side, side).cpu()
        shown = overlay_attention(ax, image, map_, most=1)
        frame(ax, (column * step, row * step, (column + 1) * step, (row + 1) * step), ORANGE)
        ax.set_title(f"query: {name}")
    attention_bar(shown, axes)
    return fig


@course_look
def accuracies(panels: Mapping[str, Mapping[str, Sequence[float]]], chance: Sequence[tuple[str, float]]) -> Figure:
    """Draw a dot for each training, a line of them for each block; panels are a question → block → accuracies.

    `chance`, for each panel, is the name and the height of what needs no network, a dashed line.
    """
    rows = [len(lines) for lines in panels.values()]
    fig, axes = plt.subplots(len(panels), 1, figsize=(WIDTH, 0.5 * sum(rows) + 1.15 * len(panels)), height_ratios=rows)
    for ax, (question, lines), (name, level) in zip(np.atleast_1d(axes), panels.items(), chance, strict=True):
        for row, values in enumerate(lines.values()):
            ax.scatter(values, [row] * len(values), s=46, color=CYCLE[row % len(CYCLE)], alpha=0.75, zorder=3)
            ax.text(1.02, row, f"{min(values):.2f} to {max(values):.2f}", va="center", size=11)
        ax.axvline(level, color=FAINT, linestyle="--", lw=1.5)
        ax.set_yticks(range(len(lines)), lines)
        ax.set(title=question, ylim=(len(lines) - 0.4, -0.6), xlim=(0.45, 1.01))
        ax.text(level - 0.005, len(lines) - 0.55, name, color=FAINT, ha="right", va="center", size=11)
        ax.grid(axis="x")
    ax.set_xlabel("fraction of right answers")
    return fig


@course_look
def streets_and_sentences(streets: Sequence[tuple[UInt8[np.ndarray, "H W 3"], Sequence[str]]], *, title: str) -> Figure:
    """Draw streets beside each other, below each what was said of it, a line or more for each sentence."""
    fig, axes = image_axes(1, len(streets), width=WIDTH, aspect=1, title=title)
    for ax, (image, sentences) in zip(axes.flat, streets, strict=True):
        draw_image(ax, image)
        ax.set_xlabel("\n".join(textwrap.fill(one, 46) for one in sentences), size=11, loc="left")
    fig.set_figheight(fig.get_figheight() + 0.7)
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
