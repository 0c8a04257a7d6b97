"""The figures of notebook 10: filters, positions and attention of a ViT, and leads with their interval."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from lecture_utils.figures.attention_maps import attention_bar, overlay_attention
from lecture_utils.figures.overlays import draw_image
from lecture_utils.figures.style import (
    BLUE,
    CYCLE,
    DASHES,
    FAINT,
    GREEN,
    INK,
    VERMILION,
    WIDTH,
    bare,
    course_look,
    image_axes,
    to_array,
)

DIVERGING = "RdBu_r"  # cosines: red alike, blue opposite, white neither
COLUMNS = 6  # filters in a row


@course_look
def filter_rows(panels: Mapping[str, Float[Tensor, "k c p p"]], *, title: str = "") -> Figure:
    """Draw filters of three channels in colour, grey where 0, each on a scale of its own; a heading a group."""
    rows = [-(-len(filters) // COLUMNS) for filters in panels.values()]
    fig = plt.figure(figsize=(WIDTH, 1.5 * sum(rows) + 0.45 * len(panels) + 0.4))
    fig.suptitle(title)
    parts = np.atleast_1d(fig.subfigures(len(panels), 1, height_ratios=rows))
    for part, (name, filters), number in zip(parts, panels.items(), rows, strict=True):
        part.suptitle(name, fontsize=13)
        axes = part.subplots(number, COLUMNS, squeeze=False)
        bare(axes.flat)
        for ax, one in zip(axes.flat, to_array(filters, float), strict=False):
            ax.imshow(0.5 + 0.5 * (one / np.abs(one).max()).transpose(1, 2, 0), interpolation="nearest")
    return fig


@course_look
def position_maps(
    similarity: Float[Tensor, "h w h w"], places: Sequence[tuple[int, int]], *, title: str = ""
) -> Figure:
    """Draw, three in a row, how like the position of each of `places` (row, column), framed, is to all others.

    As figure 7 of the paper of ViT, on a scale from −1 to 1.
    """
    rows = -(-len(places) // 3)
    aspect = similarity.shape[1] / similarity.shape[0]
    fig, axes = image_axes(rows, 3, width=WIDTH - 1, aspect=aspect, title=title)
    fig.set_figwidth(WIDTH)
    for ax in axes.flat[len(places) :]:
        ax.set_visible(False)
    for ax, at in zip(axes.flat, places, strict=False):
        shown = _similarity(ax, similarity, at)
        ax.set_title(f"row {at[0]}, column {at[1]}")
    fig.set_figheight(fig.get_figheight() + 0.25 * rows)
    _cosine_bar(fig, shown, axes)
    return fig


@course_look
def one_similarity(similarity: Float[Tensor, "h w h w"], at: tuple[int, int], *, width: float = 5.6) -> Figure:
    """Draw the map of one patch, `at` (row, column), large, on the scale of all."""
    h, w = similarity.shape[:2]
    fig, axes = image_axes(1, 1, width=width, aspect=w / h)
    ax = axes[0, 0]
    fig.set_figheight((width - 2.0) * h / w + 0.7)
    shown = _similarity(ax, similarity, at)
    ax.set_xticks(range(w))
    ax.set_yticks(range(h))
    ax.tick_params(length=0)
    ax.set(xlabel="column of the patch", ylabel="row of the patch")
    _cosine_bar(fig, shown, axes)
    return fig


def _similarity(ax: Axes, similarity: Float[Tensor, "h w h w"], at: tuple[int, int]) -> AxesImage:
    shown = ax.imshow(to_array(similarity[at]), cmap=DIVERGING, vmin=-1, vmax=1, interpolation="nearest")
    ax.add_patch(Rectangle((at[1] - 0.5, at[0] - 0.5), 1, 1, fill=False, ec=INK, lw=2.5))
    return shown


def _cosine_bar(fig: Figure, shown: AxesImage, axes: np.ndarray) -> None:
    bar = fig.colorbar(shown, ax=axes, location="right", fraction=0.03, pad=0.02, aspect=30, label="cosine")
    bar.outline.set_visible(False)


@course_look
def attention_pair(
    image: Tensor | np.ndarray, panels: Mapping[str, Float[Tensor, "h w"]], *, title: str = ""
) -> Figure:
    """Draw maps of attention over an image, side by side on one scale; `panels` are name → map."""
    pixels = to_array(image)
    fig, axes = image_axes(1, len(panels), width=WIDTH - 0.8, aspect=1, title=title)
    fig.set_figwidth(WIDTH)
    most = max(map_.max().item() for map_ in panels.values())
    for ax, (name, map_) in zip(axes.flat, panels.items(), strict=True):
        shown = overlay_attention(ax, pixels, map_, most=most)
        ax.set_title(name)
    fig.set_figheight(fig.get_figheight() + 0.3)
    attention_bar(shown, axes)
    return fig


@course_look
def answers(
    images: Sequence[Tensor | np.ndarray],
    names: Sequence[str],
    right: Sequence[bool],
    maps: Float[Tensor, "n h w"] | None = None,
    *,
    title: str = "",
    width: float = WIDTH,
) -> Figure:
    """Draw images two in a row, each with what a model said above it, and a frame around those it named wrongly.

    With `maps`, the images are lit where a map is high, dark where it is low, each from its own least to its most.
    """
    if not len(images) == len(names) == len(right) > 0 or (maps is not None and len(maps) != len(images)):
        counts = f"{len(images)} images, {len(names)} names, {len(right)} verdicts"
        raise ValueError(f"images: got {counts}, expected as many of each, at least one, and as many maps if any")
    fig, axes = image_axes(-(-len(images) // 2), 2, width=width, title=title)
    for ax in axes.flat[len(images) :]:
        ax.set_visible(False)
    for k, (ax, image) in enumerate(zip(axes.flat, images, strict=False)):
        if maps is None:
            draw_image(ax, image)
        else:
            overlay_attention(ax, image, maps[k] - maps[k].min(), glow=True)
        ax.set_title(f"{'✓' if right[k] else '✗'} {names[k]}", color=INK if right[k] else VERMILION, pad=5)
        if not right[k]:
            ax.spines[:].set(visible=True, color=VERMILION, linewidth=4)
    fig.set_figheight(fig.get_figheight() + 0.2 * len(axes))
    return fig


@course_look
def distances_by_layer(
    distance: Float[Tensor, "layers heads"], uniform: float, *, unit: str = "pixels", title: str = ""
) -> Figure:
    """Draw how far each head attends, a dot each over its layer; a dashed line for uniform weights."""
    values = to_array(distance, float)
    layers, heads = values.shape
    fig, ax = plt.subplots(figsize=(WIDTH, 3.6))
    shift = np.linspace(-0.12, 0.12, heads) if heads > 1 else np.zeros(1)
    for layer, row in enumerate(values, 1):
        ax.scatter(layer + shift, row, s=60, color=BLUE, edgecolor="white", zorder=3)
        ax.plot([layer - 0.25, layer + 0.25], [row.mean()] * 2, color=INK, lw=2)
    ax.axhline(uniform, color=FAINT, linestyle="--", lw=1.5)
    ax.text(layers + 0.3, uniform, "uniform\nweights", color=FAINT, va="center", backgroundcolor="white")
    ax.set(xlabel="layer", ylabel=f"mean attention distance, {unit}", xlim=(0.5, layers + 0.9))
    ax.set_ylim(0, 1.1 * max(values.max(), uniform))
    ax.set_xticks(range(1, layers + 1))
    ax.set_title(title or "A dot for each head, a bar for their mean")
    ax.grid(axis="y")
    return fig


@course_look
def mirror_dots(rows: Sequence[Mapping], groups: Mapping[str, str], *, title: str = "") -> Figure:
    """Draw, for each training of a study, the cosines of mirror images and of others; `groups` are model → name."""
    fig, ax = plt.subplots(figsize=(WIDTH, 3.6))
    kinds = {"mirrored": ("mirror images of each other", VERMILION, "o"), "others": ("others", BLUE, "s")}
    for k, (model, _) in enumerate(groups.items()):
        of = [row for row in rows if row["model"] == model]
        for x, row in zip(k + np.linspace(-0.25, 0.25, len(of)), of, strict=True):
            ax.plot([x, x], [row["mirrored"], row["others"]], color=FAINT, lw=1)
            for key, (label, colour, marker) in kinds.items():
                label = label if row is rows[0] else None
                ax.scatter(x, row[key], color=colour, marker=marker, s=70, label=label, zorder=3)
    ax.axhline(0, color=INK, lw=0.8)
    ax.set_xticks(range(len(groups)), list(groups.values()))
    ax.set(title=title, ylabel="mean cosine", xlim=(-0.6, len(groups) - 0.4))
    ax.grid(axis="y")
    fig.legend(loc="outside lower center", ncols=2)
    return fig


@course_look
def first_losses(losses: Mapping[str, Sequence[Sequence[float]]], *, span: int = 10, title: str = "") -> Figure:
    """Draw losses against the step, means of `span` steps: a line for the mean of the seeds, a band for their range."""
    fig, ax = plt.subplots(figsize=(WIDTH, 3.6))
    for k, (name, runs) in enumerate(losses.items()):
        values = to_array(runs, float)
        means = values[:, : values.shape[1] // span * span].reshape(len(values), -1, span).mean(2)
        steps = span * (1 + np.arange(means.shape[1]))
        ax.plot(steps, means.mean(0), color=CYCLE[k], linestyle=DASHES[k], label=f"{name}, mean of {len(values)} seeds")
        ax.fill_between(steps, means.min(0), means.max(0), color=CYCLE[k], alpha=0.25, linewidth=0)
    ax.set(title=title, xlabel=f"training step (means of {span})", ylabel="cross-entropy", ylim=(0, None))
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    ax.grid()
    fig.legend(loc="outside lower center", ncols=len(losses))
    return fig


@course_look
def lead_bars(leads: Mapping[str, tuple[float, float, float, int]], *, xlabel: str, title: str = "") -> Figure:
    """Draw leads with their interval, (lead, low, high, images), one below the other; 0 is a line.

    Those whose interval lies on one side of 0 are filled.
    """
    fig, ax = plt.subplots(figsize=(WIDTH, 0.42 * len(leads) + 1.4))
    for y, (lead, low, high, _) in enumerate(leads.values()):
        clear = low > 0 or high < 0
        ax.plot([low, high], [y, y], color=GREEN if clear else FAINT, lw=3)
        ax.scatter(lead, y, s=70, fc=GREEN if clear else "white", ec=GREEN if clear else FAINT, lw=2, zorder=3)
    ax.axvline(0, color=INK, lw=1)
    ax.set_yticks(range(len(leads)), [f"{name} ({images})" for name, (*_, images) in leads.items()])
    ax.invert_yaxis()
    ax.set(title=title, xlabel=xlabel)
    ax.grid(axis="x")
    return fig


@course_look
def by_group(
    groups: Sequence[str], columns: Mapping[str, Sequence[tuple[int, int]]], *, ylabel: str, title: str = ""
) -> Figure:
    """Draw fractions (hits, number) side by side in each group, with the numbers above; `columns` are name → a pair
    for each group."""
    fig, ax = plt.subplots(figsize=(WIDTH, 3.6))
    wide = 0.8 / len(columns)
    for k, (name, pairs) in enumerate(columns.items()):
        at = np.arange(len(groups)) + wide * (k - (len(columns) - 1) / 2)
        bars = ax.bar(at, [hits / max(number, 1) for hits, number in pairs], 0.92 * wide, label=name, color=CYCLE[k])
        bars_are = {"hatch": "" if k == 0 else "///", "edgecolor": "white"}
        for bar in bars:
            bar.set(**bars_are)
        ax.bar_label(bars, [f"{hits} of {number}" for hits, number in pairs], padding=2, fontsize=11)
    ax.set_xticks(range(len(groups)), groups)
    ax.set(title=title, ylabel=ylabel, ylim=(0, 1.12))
    fig.legend(loc="outside lower center", ncols=len(columns))
    return fig
