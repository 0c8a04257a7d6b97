"""The figures of notebook 10: filters, positions and attention of a ViT, and leads with their interval."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch.nn.functional as F
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from lecture_course.nb05_from_one_box_to_many.figures import interval
from lecture_utils.figures.overlays import draw_image, to_pixels
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
FEW = 20  # images of a group, below which a dot is hollow
LEVELS = {2: "#31688E", 4: "#35B779", 8: "#FDE725", 16: "#FFFFFF"}  # of contours, in multiples of a map's mean


@course_look
def filter_rows(panels: Mapping[str, Float[Tensor, "k c p p"]]) -> Figure:
    """Draw filters of three channels in colour, grey where 0, each on a scale of its own; a heading a group."""
    rows = [-(-len(filters) // COLUMNS) for filters in panels.values()]
    fig = plt.figure(figsize=(WIDTH, 1.5 * sum(rows) + 0.45 * len(panels)))
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
def attention_pair(image: Tensor | np.ndarray, panels: Mapping[str, Float[Tensor, "h w"]]) -> Figure:
    """Draw contours of maps of attention on an image, side by side; `panels` are name → map.

    All have the same `LEVELS`, in multiples of a map's mean, so that small weights are seen beside large ones; the
    highest of each map stands in its title.
    """
    pixels = to_pixels(image)
    fig, axes = image_axes(1, len(panels), width=WIDTH * min(1, len(panels) / 2))
    for ax, (name, map_) in zip(axes.flat, panels.items(), strict=True):
        draw_image(ax, pixels)
        _contours(ax, map_, pixels.shape[:2])
        ax.set_title(f"{name}: up to {map_.max().item() / map_.mean().item():.0f} times the mean")
    fig.set_figheight(fig.get_figheight() + 0.3)
    _level_key(fig)
    return fig


@course_look
def answers(
    images: Sequence[Tensor | np.ndarray],
    names: Sequence[str],
    right: Sequence[bool],
    maps: Float[Tensor, "n h w"] | None = None,
    *,
    small: Sequence[Tensor | np.ndarray] | None = None,
    columns: int = 2,
    width: float = WIDTH,
) -> Figure:
    """Draw images in `columns`, each with what a model said above it, and a frame around those it misclassified.

    With `maps`, contours show where a map is high, at the same `LEVELS` of all; they leave the image its colours. With
    `small`, each has beside it the image that the model got.
    """
    if not len(images) == len(names) == len(right) > 0 or (maps is not None and len(maps) != len(images)):
        counts = f"{len(images)} images, {len(names)} names, {len(right)} verdicts"
        raise ValueError(f"images: got {counts}, expected as many of each, at least one, and as many maps if any")
    rows = -(-len(images) // columns)
    if small is None:
        fig, axes = image_axes(rows, columns, width=width)
    else:
        size = (width, rows * (width / columns / 1.42 + 0.16))
        fig, grid = plt.subplots(rows, 2 * columns, figsize=size, width_ratios=[1, 0.36] * columns, squeeze=False)
        bare(grid.flat)
        axes, beside = grid[:, ::2], grid[:, 1::2]
        for ax in beside.flat:
            ax.set_anchor("S")
    for ax in axes.flat[len(images) :]:
        ax.set_visible(False)
    for k, (ax, image) in enumerate(zip(axes.flat, images, strict=False)):
        draw_image(ax, image)
        if maps is not None:
            _contours(ax, maps[k], to_pixels(image).shape[:2])
        if small is not None:
            draw_image(beside.flat[k], small[k])
            beside.flat[k].set_title("{} × {} pixels".format(*to_pixels(small[k]).shape[:2]), fontsize=11, pad=4)
        ax.set_title(f"{'✓' if right[k] else '✗'} {names[k]}", color=INK if right[k] else VERMILION, pad=5)
        if not right[k]:
            ax.spines[:].set(visible=True, color=VERMILION, linewidth=4)
    fig.set_figheight(fig.get_figheight() + 0.2 * len(axes))
    if maps is not None:
        _level_key(fig)
    return fig


def _contours(ax: Axes, map_: Float[Tensor, "h w"], size: tuple[int, int]) -> None:
    """Lines around the places where a map, enlarged smoothly to the `size` of its image, is several times its mean."""
    smooth = F.interpolate(map_[None, None].float(), size, mode="bicubic")[0, 0] / map_.mean()
    lines = ax.contour(to_array(smooth), levels=list(LEVELS), colors=list(LEVELS.values()), linewidths=2)
    lines.set_path_effects([withStroke(linewidth=4, foreground="black")])


def _level_key(fig: Figure) -> None:
    lines = [Line2D([], [], color=colour, lw=2, path_effects=[withStroke(linewidth=4, foreground="black")])
             for colour in LEVELS.values()]  # fmt: skip
    words = [f"{level} times the mean" for level in LEVELS]
    fig.legend(lines, words, loc="outside lower center", ncols=len(LEVELS))


@course_look
def heads_by_layer(panels: Mapping[str, tuple[Float[Tensor, "layers heads"], float]], *, title: str = "") -> Figure:
    """Draw numbers of heads, a dot each over its layer and a bar for their mean; a dashed line for uniform weights.

    `panels` are what is measured → (one number for each head, the number of uniform weights).
    """
    fig, axes = plt.subplots(1, len(panels), figsize=(WIDTH, 3.6), squeeze=False)
    fig.suptitle(title or "A dot for each head, a bar for the mean of a layer")
    fig.get_layout_engine().set(wspace=0.06)
    for ax, (name, (numbers, uniform)) in zip(axes[0], panels.items(), strict=True):
        values = to_array(numbers, float)
        layers, heads = values.shape
        shift = np.linspace(-0.12, 0.12, heads) if heads > 1 else np.zeros(1)
        for layer, row in enumerate(values, 1):
            ax.scatter(layer + shift, row, s=60, color=BLUE, edgecolor="white", zorder=3)
            ax.plot([layer - 0.25, layer + 0.25], [row.mean()] * 2, color=INK, lw=2)
        ax.axhline(uniform, color=FAINT, linestyle="--", lw=1.5)
        ax.text(layers + 0.5, uniform, "uniform weights", color=FAINT, ha="right", va="bottom", fontsize=11)
        ax.set(xlabel="layer", title=name, xlim=(0.5, layers + 0.5), ylim=(0, 1.2 * max(values.max(), uniform)))
        ax.set_xticks(range(1, layers + 1))
        ax.grid(axis="y")
    return fig


@course_look
def content_and_positions(
    mean: Float[Tensor, "3 H W"],
    panels: Mapping[str, Float[Tensor, "h w h w"]],
    at: tuple[int, int],
) -> Figure:
    """Draw how light the `mean` of many images is, and how like the place `at` (row, column) is to all others."""
    fig, axes = image_axes(1, 1 + len(panels), width=WIDTH)
    fig.set_figheight(3)
    light = to_array(mean, float).mean(0)
    axes[0, 0].imshow(light, cmap="gray", interpolation="nearest")
    axes[0, 0].set_title(f"mean image ({light.min():.0f} to {light.max():.0f})")
    for ax, (name, similarity) in zip(axes[0, 1:], panels.items(), strict=True):
        shown = _similarity(ax, similarity, at)
        ax.set_title(name)
    _cosine_bar(fig, shown, axes)
    return fig


@course_look
def accuracy_curves(
    panels: Mapping[str, tuple[Sequence[int], Mapping[str, Sequence[Sequence[float]]]]], *, title: str = ""
) -> Figure:
    """Draw accuracies over x, a panel for each x label: a line for the mean, a dot for each seed.

    `panels` are x label → (x, name → one row of accuracies for each seed); each line is named at its end. Both axes are
    logarithmic: each doubling of x takes the same room, and so does each halving of the mistakes.
    """
    fig, axes = plt.subplots(1, len(panels), figsize=(WIDTH, 4.2), sharey=True, squeeze=False)
    fig.suptitle(title)
    fig.get_layout_engine().set(wspace=0.08)
    for ax, (xlabel, (x, lines)) in zip(axes[0], panels.items(), strict=True):
        ends = {}
        for k, (name, runs) in enumerate(lines.items()):
            wrong = 1 - to_array(runs, float)
            if wrong.ndim != 2 or wrong.shape[1] != len(x):
                raise ValueError(f"panels: got shape {wrong.shape} of {name!r}, expected (seeds, {len(x)})")
            wrong = wrong.clip(1e-3)
            ax.plot(x, wrong.mean(0), color=CYCLE[k], linestyle=DASHES[k])
            ax.scatter(np.tile(x, len(wrong)), wrong.ravel(), s=26, color=CYCLE[k], alpha=0.6, zorder=3)
            ends[name] = (wrong.mean(0)[-1], CYCLE[k])
        ax.set_xscale("log", base=2)
        ax.set_yscale("log")
        ax.set_xticks(x, [f"{value:,}" for value in x])
        ax.set_yticks(
            [0.8, 0.4, 0.2, 0.1, 0.05, 0.025, 0.0125], ["0.2", "0.6", "0.8", "0.9", "0.95", "0.975", "0.9875"]
        )
        ax.minorticks_off()
        ax.set(xlabel=xlabel, xlim=(x[0] / 1.2, x[-1] * (x[-1] / x[0]) ** (0.75 if len(panels) > 1 else 0.15)))
        ax.grid(axis="y")
        _name_ends(ax, x[-1], ends)
    axes[0, 0].set_ylabel("accuracy (each line up: half the mistakes)")
    every = np.concatenate([np.ravel(to_array(runs, float)) for _, lines in panels.values() for runs in lines.values()])
    axes[0, 0].set_ylim(1.2 * (1 - every.min()), max(1e-3, 1 - every.max()) / 1.5)
    return fig


def _name_ends(ax: Axes, x: float, ends: Mapping[str, tuple[float, str]]) -> None:
    """Names right of the ends of lines, moved apart where they would collide; y is logarithmic."""
    low = None
    for name, (y, colour) in sorted(ends.items(), key=lambda item: -item[1][0]):
        low = y if low is None else min(y, low / 1.27)
        ax.annotate(name, (x, low), (8, 0), textcoords="offset points", color=colour, va="center", fontsize=11)


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
    ax.set(title=title, xlabel=xlabel, ylim=(len(leads) - 0.5, -0.5))
    ax.grid(axis="x")
    return fig


@course_look
def by_group(
    groups: Sequence[str], columns: Mapping[str, Sequence[tuple[int, int]]], *, ylabel: str, title: str = ""
) -> Figure:
    """Draw fractions (hits, number) as dots in each group, with Wilson's 95 % interval and the numbers beside them;
    `columns` are name → a pair for each group. The dots of fewer than `FEW` are hollow."""
    fig, ax = plt.subplots(figsize=(WIDTH, 3.6))
    for k, (name, pairs) in enumerate(columns.items()):
        at, look = np.arange(len(groups)) + 0.35 * (k - (len(columns) - 1) / 2), {"marker": "os^D"[k], "s": 90}
        ax.scatter([], [], color=CYCLE[k], label=name, **look)
        for x, (hits, number) in zip(at, pairs, strict=True):
            if not number:
                continue
            ax.plot([x, x], interval(hits, number), color=CYCLE[k], lw=2)
            ax.scatter(x, hits / number, fc=CYCLE[k] if number >= FEW else "white", ec=CYCLE[k], lw=2, zorder=3, **look)
            side = -1 if k == 0 else 1  # of the dot, so that no word meets the next column's
            how = {"textcoords": "offset points", "va": "center", "ha": "right" if k == 0 else "left", "fontsize": 11}
            ax.annotate(f"{hits} of {number}", (x, hits / number), (10 * side, 0), **how)
    ax.set_xticks(range(len(groups)), groups)
    ax.set(title=title, ylabel=ylabel, ylim=(0, 1.05), xlim=(-0.7, len(groups) - 0.3))
    ax.grid(axis="y")
    fig.legend(loc="outside lower center", ncols=len(columns))
    return fig
