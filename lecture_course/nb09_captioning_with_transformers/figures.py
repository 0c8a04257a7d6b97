"""The figures of notebook 09: queries, words against words, similarities of positions, heads that point at objects."""

import textwrap
from collections.abc import Mapping, Sequence
from math import ceil

import matplotlib.pyplot as plt
import numpy as np
import torch
from jaxtyping import Float, UInt8
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MultipleLocator
from numpy.typing import ArrayLike
from torch import Tensor

from lecture_course.nb09_captioning_with_transformers.positions import cosines
from lecture_course.nb09_captioning_with_transformers.softmax import Spread
from lecture_utils.figures.attention_maps import attention_bar
from lecture_utils.figures.overlays import draw_image
from lecture_utils.figures.scores import MARKERS
from lecture_utils.figures.style import CYCLE, FAINT, INK, WIDTH, course_look, image_axes, to_array
from lecture_utils.figures.transformers import cells, frame

YELLOW = "#F0E442"


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
    """Draw the cosines between vectors, a panel each: name → (what is numbered, n vectors as (n, d)).

    All panels have one scale, as far as the cosines of two different vectors reach.
    """
    tables = {}
    for name, (_, of) in panels.items():
        of = torch.as_tensor(to_array(of, float))
        if of.ndim != 2 or not of.any(1).all():
            raise ValueError(f"panels: got shape {tuple(of.shape)} of {name!r}, expected (n, d), none of them 0")
        tables[name] = cosines(of).numpy()
    most = max(np.abs(table - np.eye(len(table))).max() for table in tables.values())
    most = max(0.1, np.ceil(10 * most) / 10)  # the diagonal, always 1, may be darker than the scale tells
    fig, axes = plt.subplots(1, len(panels), figsize=(WIDTH, WIDTH / len(panels) - 0.2), squeeze=False)
    fig.suptitle(title)
    for ax, (name, (axis, _)) in zip(axes.flat, panels.items(), strict=True):
        shown = ax.imshow(tables[name], cmap="RdBu_r", vmin=-most, vmax=most, interpolation="nearest")
        ax.set(title=name, xlabel=axis, ylabel=axis)
        for side in (ax.xaxis, ax.yaxis):
            side.set_major_locator(MultipleLocator(4 if len(tables[name]) <= 24 else 10))
        ax.spines[:].set_visible(False)
    bar = fig.colorbar(shown, ax=axes, location="right", fraction=0.03, pad=0.02, aspect=20, label="cosine")
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
    """Draw an arrow from each query (name → row and column of a square grid) to the point it gives the largest weight.

    Beside it that point of the first query, framed, and what is around it.
    """
    side, size = round(len(weights) ** 0.5), image.shape[0]
    step, lines = size / side, {"lw": 2.4, "arrowstyle": "-|>", "shrinkA": 9, "shrinkB": 9}
    fig, axes = image_axes(1, 2, width=WIDTH, title=title)
    left, right = axes.flat
    draw_image(left, image)
    ends = []
    for (name, (row, column)), colour in zip(queries.items(), CYCLE, strict=False):
        of = weights[row * side + column].cpu()
        ends.append(divmod(of.argmax().item(), side))
        start, end = (((x + 0.5) * step, (y + 0.5) * step) for y, x in ((row, column), ends[-1]))
        frame(left, (column * step, row * step, (column + 1) * step, (row + 1) * step), colour)
        left.annotate("", end, start, arrowprops=lines | {"color": colour})
        aside, down = {"size": 12, "in_layout": False}, ends[-1][0] > row  # the words stand where no arrow leads
        if down and row == 0:
            aside |= {"x": start[0] + 0.9 * step, "y": start[1], "ha": "left", "va": "center"}
        else:
            across = step if column > side / 2 else -step
            aside |= {"ha": "right" if across > 0 else "left", "va": "bottom" if down else "top"}
            aside |= {"x": start[0] + across, "y": start[1] + (-0.8 if down else 0.8) * step}
        words = left.text(s=f"{name}: {of.max():.2f}", **aside)
        words.set_path_effects([withStroke(linewidth=3, foreground="white")])
    left.set_title("from each query to its largest weight")
    row, column = ends[0]
    draw_image(right, image)
    for ax in (left, right):
        frame(ax, (column * step, row * step, (column + 1) * step, (row + 1) * step))
    middle, reach = ((column + 0.5) * step, (row + 0.5) * step), 3.5 * step
    x, y = (min(max(at, reach), size - reach) for at in middle)
    right.set(xlim=(x - reach, x + reach), ylim=(y + reach, y - reach), title="that point, and what is around it")
    return fig


@course_look
def lamps(
    x: Float[Tensor, "10 8 8"], weights: Float[Tensor, "64 64"], askers: Sequence[tuple[int, int]], *, title: str = ""
) -> Figure:
    """Draw a grid of the lookup task, its lamps with what they show, and where each of the `askers` attends in it.

    Two panels in a row. A ring marks a lamp, white where its colour is the asker's.
    """
    side, colours, panels = x.shape[1], [*CYCLE, FAINT, YELLOW], [None, *askers]
    fig, axes = image_axes(ceil(len(panels) / 2), 2, width=0.8 * WIDTH, title=title)
    x, kinds = x.cpu(), x[:8].argmax(0).cpu()
    most = max(weights[row * side + column].max().item() for row, column in askers)
    for ax, asker in zip(axes.flat, panels, strict=False):
        if asker is None:
            ax.imshow([[to_rgb(colours[kind]) for kind in row] for row in kinds], interpolation="nearest")
            ax.set_title("the grid; rings: lamps")
        else:
            of = weights[asker[0] * side + asker[1]].view(side, side).cpu()
            lamp = of[(x[8] > 0) & (kinds == kinds[asker])].item()
            shown = ax.imshow(to_array(of), vmin=0, vmax=most, interpolation="nearest")
            ax.set_title(f"{panels.index(asker)} attends to: {lamp:.2f} on its lamp")
        for row, column in x[8].nonzero().tolist():
            mine = asker is None or kinds[row, column] == kinds[asker]
            look = {"weight": "bold", "ha": "center", "va": "center", "size": 20 if mine else 15}
            around = [withStroke(linewidth=3, foreground="black")]
            colour = "white" if mine else "#D0D0D0"
            ring = Circle((column, row), 0.42, fill=False, ec=colour, lw=3 if mine else 1.2, path_effects=around)
            ax.add_patch(ring)
            ax.text(column, row, "+" if x[9, row, column] > 0 else "−", color=colour, **look).set_path_effects(around)
        for number, (row, column) in enumerate(askers, 1):
            if asker in (None, (row, column)):
                frame(ax, (column, row, column + 1, row + 1), INK)
                ax.text(column, row, number, ha="center", va="center", size=13).set_path_effects(
                    [withStroke(linewidth=2.5, foreground="white")]
                )
    attention_bar(shown, axes)
    return fig


@course_look
def learning(
    steps: Mapping[str, Sequence[int]],
    runs: Mapping[str, Sequence[Sequence[float]]],
    chance: tuple[str, float],
    *,
    title: str = "",
) -> Figure:
    """Draw the accuracy of several trainings against their steps, name → a line for each; dashed what needs no net."""
    fig, ax = plt.subplots(figsize=(WIDTH, 3.6))
    for (name, each), colour, marker in zip(runs.items(), CYCLE, MARKERS, strict=False):
        for number, values in enumerate(each):
            ax.plot(steps[name], values, color=colour, marker=marker, ms=5, label=name if number == 0 else None)
    ax.axhline(chance[1], color=FAINT, linestyle="--", lw=1.5, label=chance[0])
    ax.set(title=title, xlabel="step", ylabel="right answers", ylim=(0.45, 1.03))
    ax.grid()
    fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return fig


@course_look
def gradients(sizes: Sequence[int], rows: Mapping[str, Sequence[Spread]], *, title: str = "") -> Figure:
    """Draw for each d the norm of the gradient at a query's scores: the median, and a band of 80 % of the queries."""
    fig, ax = plt.subplots(figsize=(0.72 * WIDTH, 3.6))
    for (name, each), colour, marker in zip(rows.items(), CYCLE, MARKERS, strict=False):
        norms = torch.stack([row.gradients for row in each])
        low, high = torch.quantile(norms, torch.tensor([0.1, 0.9]), 1)
        ax.fill_between(sizes, to_array(low), to_array(high), color=colour, alpha=0.2, lw=0)
        ax.plot(sizes, to_array(norms.median(1).values), label=name, color=colour, marker=marker, ms=6)
    ax.set(title=title, xlabel="d", ylabel="norm of the gradient", xscale="log", yscale="log", ylim=(1e-4, 2))
    ax.annotate("the band goes on\nfar below", (sizes[-1], 1.1e-4), (sizes[-2] * 0.55, 6e-4), size=11, ha="right",
        va="center", arrowprops={"arrowstyle": "->", "color": INK})  # fmt: skip
    ax.set_xticks(sizes, sizes)
    ax.minorticks_off()
    ax.grid()
    ax.legend(loc="lower left")
    return fig


def outlined(
    image: UInt8[np.ndarray, "H W 3"], boxes: Sequence[Sequence[float]], size: tuple[int, int]
) -> UInt8[np.ndarray, "H W 3"]:
    """The image with a white outline around each box (x0, y0, x1, y1), in pixels of `size` = (height, width)."""
    canvas = image.copy()
    for box in boxes:
        x0, y0, x1, y1 = (
            round(side * whole / own)
            for side, whole, own in zip(box, image.shape[1::-1] * 2, size[::-1] * 2, strict=True)
        )
        for rows, columns in (
            ((y0 - 2, y0), (x0 - 2, x1 + 2)),
            ((y1, y1 + 2), (x0 - 2, x1 + 2)),
            ((y0, y1), (x0 - 2, x0)),
            ((y0, y1), (x1, x1 + 2)),
        ):
            canvas[max(0, rows[0]) : max(0, rows[1]), max(0, columns[0]) : max(0, columns[1])] = 255
    return canvas


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
    """Draw streets beside each other, below each what was said of it; what stands before a colon is bold."""
    fig, axes = image_axes(1, len(streets), width=WIDTH, aspect=1, title=title)
    wide, lines = 92 // len(streets), 0  # letters in a line
    for ax, (image, sentences) in zip(axes.flat, streets, strict=True):
        draw_image(ax, image)
        text = "\n".join(_bold_head(textwrap.fill(one, wide)) for one in sentences)
        ax.set_xlabel(text, size=11, loc="left")
        lines = max(lines, text.count("\n") + 1)
    fig.set_figheight(fig.get_figheight() + 0.17 * lines)
    return fig


def _bold_head(text: str) -> str:
    head, colon, rest = text.partition(":")
    return "$\\bf{" + head.replace(" ", "\\ ") + "}$" + colon + rest if colon else text


@course_look
def head_bars(
    hits: Float[Tensor, "heads+1"],
    colours: Float[Tensor, "heads+1"],
    elsewhere: Float[Tensor, "heads+1"],
    chance: float,
    *,
    layers: int,
    title: str = "",
) -> Figure:
    """Draw, a bar for each head of each layer, the fraction of objects it points at; a last bar for all of them.

    A circle is the same with the map of the colour alone, a line across the bar, `elsewhere`, with the maps of another
    image; the dashed one a random point.
    """
    heads = (len(hits) - 1) // layers
    names = [f"layer {layer + 1}\nhead {head + 1}" for layer in range(layers) for head in range(heads)]
    fills = [CYCLE[layer] for layer in range(layers) for _ in range(heads)]
    fig, ax = plt.subplots(figsize=(WIDTH, 4.0))
    values = [to_array(each).tolist() for each in (hits, colours, elsewhere)]
    bars = ax.bar([*names, "all\ntogether"], values[0], color=[*fills, FAINT])
    middles = [bar.get_x() + bar.get_width() / 2 for bar in bars]
    for x, *each in zip(middles, *values, strict=True):
        ax.text(x, max(each) + 0.045, f"{each[0]:.2f}", ha="center")
    ax.hlines(values[2], [x - 0.4 for x in middles], [x + 0.4 for x in middles], color=INK, lw=3, label="another image")
    ax.plot(middles, values[1], "o", ms=9, mfc="white", mec=INK, mew=1.5, label="the map of its colour alone")
    ax.axhline(chance, color=FAINT, linestyle="--", lw=1.5, label="a random point")
    ax.set(title=title, ylabel="fraction of objects", xlim=(-0.6, len(names) + 0.6), ylim=(0, 1.05))
    fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return fig


@course_look
def captioners(
    rows: Mapping[str, Sequence[Mapping[str, float]]],
    names: Mapping[str, str],
    chance: Mapping[str, float],
    *,
    unfinished: Sequence[str] = (),
    title: str = "",
) -> Figure:
    """Draw the scores of captioners, a panel for each below the other: `names` are key of a score → title.

    `rows`: name → a training each → key → score. A bar is their mean; where there are several, a dot is each.
    `chance` is a dashed line in the panels of its keys. A score of `KEY_shuffled` is a line across the bar of `KEY`.
    The bars of the rows `unfinished` are hatched.
    """
    fig, axes = plt.subplots(len(names), 1, figsize=(WIDTH, len(names) * (0.27 * len(rows) + 0.5)), sharex=True)
    fig.suptitle(title)
    for ax, (key, name) in zip(axes, names.items(), strict=True):
        for place, (of, trainings) in enumerate(rows.items()):
            values, other = ([each[k] for each in trainings if k in each] for k in (key, f"{key}_shuffled"))
            mean = sum(values) / len(values) if values else 0
            look = {"color": CYCLE[place]}
            if of in unfinished:
                look = {"hatch": "//", "facecolor": "white", "edgecolor": CYCLE[place]}
            ax.barh(place, mean, height=0.7, **look)
            if len(values) > 1:
                ax.plot(values, [place] * len(values), "o", ms=6, mfc="white", mec=INK, mew=1.3)
            if other:
                ax.vlines(sum(other) / len(other), place - 0.33, place + 0.33, color=INK, lw=3)
            ax.text(
                max([mean or chance.get(key, 0), *values]) + 0.015,
                place,
                f"{mean:.2f}" if values else "no maps",
                va="center",
            )
        if key in chance:
            ax.axvline(chance[key], color=INK, linestyle="--", lw=1.5)
        ax.set_yticks(range(len(rows)), rows)
        ax.set(title=name, xlim=(0, 1.05), ylim=(len(rows) - 0.5, -0.5))
    axes[-1].set_xlabel("dots: trainings · dashed: guessing · bold: maps of another image")
    return fig
