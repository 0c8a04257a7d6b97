"""Numbers of models as figures: who is taken for whom, and how a figure grows (slides 4 to 6)."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, MultipleLocator

from lecture_utils.figures.style import (
    CYCLE,
    DASHES,
    GREEN,
    HATCHES,
    VERMILION,
    WIDTH,
    course_look,
    to_array,
)

MARKERS = "osD^vP"


@course_look
def curves(
    x: Sequence[float],
    panels: Mapping[str, Mapping[str, Sequence[float]]],
    *,
    xlabel: str,
    title: str = "",
    ticks: Sequence | None = None,
    log: str = "",
    limits: Mapping[str, tuple[float, float]] | None = None,
    levels: Sequence[str] = (),
) -> Figure:
    """Draw lines over `x`, a panel for each y label; `panels` are y label → name → one value for each x.

    `log` names the axes with a logarithmic scale ("x", "y", "xy"), `limits` the y range of a panel, `ticks` the names
    of the places on the x axis, `levels` the lines that were not measured at each x and have no markers.
    """
    fig, axes = plt.subplots(1, len(panels), figsize=(8, 3.6), squeeze=False)
    fig.suptitle(title)
    for ax, (ylabel, lines) in zip(axes[0], panels.items(), strict=True):
        for i, (name, values) in enumerate(lines.items()):
            if len(values) != len(x):
                raise ValueError(f"panels: got {len(values)} values of {name!r}, expected {len(x)}, one for each x")
            style = {"color": CYCLE[i % len(CYCLE)], "linestyle": DASHES[i % len(DASHES)]}
            marker = "" if name in levels else MARKERS[i % len(MARKERS)]
            ax.plot(to_array(x), to_array(values), marker=marker, label=name, **style)
        ax.set(xlabel=xlabel, ylabel=ylabel)
        if "x" in log:
            ax.set_xscale("log")
        if "y" in log:
            ax.set_yscale("log")
        ax.set_xticks(to_array(x), x if ticks is None else ticks)
        ax.minorticks_off()
        if limits and ylabel in limits:
            ax.set_ylim(limits[ylabel])
        ax.grid()
    names = {name for lines in panels.values() for name in lines}
    if len(names) > 1 or len(panels) == 1:
        handles = [line for line in axes[0, 0].get_lines() if not line.get_label().startswith("_")]
        fig.legend(handles=handles, loc="outside lower center", ncols=min(4, len(handles)))
    return fig


def loss_curves(
    losses: Mapping[str, Mapping[str, Sequence[float]]],
    *,
    points: int = 10,
    title: str = "",
    levels: Sequence[str] = (),
) -> Figure:
    """Draw losses against the training step, smoothed: about `points` points, each the mean of the steps up to it.

    `losses` are y label → name → one number for each step; `levels` are those of `curves`.
    """
    steps = len(next(iter(next(iter(losses.values())).values())))
    span = max(1, steps // points)

    def means(values: Sequence[float]) -> list[float]:
        if len(values) != steps:
            raise ValueError(f"losses: got {len(values)} and {steps} numbers, expected one for each step")
        return to_array(values)[: steps // span * span].reshape(-1, span).mean(1).tolist()

    panels = {label: {name: means(values) for name, values in lines.items()} for label, lines in losses.items()}
    ends = range(span, steps + 1, span)
    ticks = [end if len(ends) < 9 or number % 2 else "" for number, end in enumerate(ends)]  # those that have room
    return curves(ends, panels, xlabel=f"training step (means of {span})", title=title, ticks=ticks, levels=levels)


@course_look
def seed_dots(
    panels: Mapping[str, Mapping[str, Sequence[float]]],
    *,
    limits: tuple[float, float] | None = None,
    span: float | None = None,
    digits: str = ".3f",
    title: str = "",
) -> Figure:
    """Draw each training as a dot, three panels in a row: score → model → values; their means are written above.

    `limits` is the range of all panels; without it, each has its own, as long as its dots need or as `span` says.
    `digits` is the format of the means.
    """
    rows, names = -(-len(panels) // 3), max(map(len, panels.values()))
    fig, axes = plt.subplots(rows, 3, figsize=(WIDTH, 0.7 + (0.7 + 0.35 * names) * rows), squeeze=False, sharey=True)
    fig.suptitle(title)
    for ax, (name, models) in zip(axes.flat, panels.items(), strict=False):
        for k, values in enumerate(models.values()):
            at = k + np.linspace(-0.12, 0.12, len(values))  # one below the other: seeds lie close together
            ax.scatter(values, at, s=36, color=CYCLE[k], alpha=0.75, marker=MARKERS[k], lw=0, clip_on=False)
            ax.annotate(
                f"{np.mean(values):{digits}}", (np.mean(values), k), (0, 9), textcoords="offset points", ha="center"
            )
        every = [value for values in models.values() for value in values]
        low, high = min(every), max(every)
        room = 0.25 * (high - low) if span is None else (span - high + low) / 2
        ax.set(title=name, ylim=(len(models) - 0.5, -0.8), xlim=limits or (low - room, high + room))
        ax.set_yticks(range(len(models)), models)
        ax.xaxis.set_major_locator(MaxNLocator(3) if span is None else MultipleLocator(span / 3))
        ax.grid(axis="x")
    for ax in axes.flat[len(panels) :]:
        ax.set_visible(False)
    return fig


@course_look
def over_seeds(
    x: Sequence[str],
    panels: Mapping[str, Mapping[str, Sequence[Sequence[float]]]],
    *,
    xlabel: str,
    title: str = "",
    limits: Mapping[str, tuple[float, float]] | None = None,
) -> Figure:
    """Draw the mean over several trainings with a bar from the least to the most, a panel for each y label.

    `panels` are y label → name → one row of values over `x` for each training; the trainings are dots beside the line.
    `limits` are the y range of a panel.
    """
    fig, axes = plt.subplots(1, len(panels), figsize=(min(WIDTH, 1.5 + 3.75 * len(panels)), 3.6), squeeze=False)
    fig.suptitle(title)
    places = np.arange(len(x))
    for ax, (ylabel, lines) in zip(axes[0], panels.items(), strict=True):
        for i, (name, runs) in enumerate(lines.items()):
            runs = to_array(runs, float)
            if runs.ndim != 2 or runs.shape[1] != len(x):
                raise ValueError(f"panels: got shape {runs.shape} of {name!r}, expected (trainings, {len(x)})")
            mean, colour = runs.mean(0), CYCLE[i % len(CYCLE)]
            at = places + 0.07 * (i - (len(lines) - 1) / 2)
            spread = np.abs(np.stack([runs.min(0), runs.max(0)]) - mean)
            ax.errorbar(at, mean, spread, color=colour, linestyle=DASHES[i % len(DASHES)], capsize=4, label=name)
            ax.scatter(np.tile(at, len(runs)), runs.ravel(), s=14, color=colour, alpha=0.6)
        ax.set_xticks(places, x)
        ax.set(xlabel=xlabel, ylabel=ylabel, xlim=(-0.4, len(x) - 0.6))
        if limits and ylabel in limits:
            ax.set_ylim(limits[ylabel])
        ax.grid(axis="y")
    handles, names = axes[0, 0].get_legend_handles_labels()
    fig.legend(handles, names, loc="outside lower center", ncols=min(4, len(names)))
    return fig


@course_look
def seconds_per_image(panels: Mapping[str, Mapping[str, Sequence[float]]], parts: Sequence[str]) -> Figure:
    """Draw bars of seconds, a panel for each of `panels`: name → system → seconds of each of the `parts`, stacked."""
    fig, axes = plt.subplots(1, len(panels), figsize=(WIDTH, 3.4), squeeze=False)
    for ax, (title, systems) in zip(axes[0], panels.items(), strict=True):
        names = list(systems)
        start = np.zeros(len(names))
        for part, colour, hatch in zip(range(len(parts)), CYCLE, HATCHES, strict=False):
            length = np.array([systems[name][part] for name in names], dtype=float)
            bar = ax.barh(names, length, left=start, color=colour, hatch=hatch, edgecolor="white", label=parts[part])
            start = start + length
        ax.bar_label(bar, labels=[f" {seconds:.2g} s" for seconds in start])
        ax.set(title=title, xlabel="seconds an image", xlim=(0, 1.25 * start.max()))
        ax.invert_yaxis()
    handles, labels = axes[0, 0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=len(parts))
    return fig


def answer_bars(ax: Axes, scores: Mapping[str, float], truth: str) -> None:
    """A bar for each class (`scores` name → 0 to 1): the highest green if it is the `truth`, else red; the rest grey.

    The true class, where it is among them, is ticked and in bold.
    """
    names, best = list(scores), max(scores, key=scores.get)
    colours = [(GREEN if name == truth else VERMILION) if name == best else "#BBBBBB" for name in names]
    ax.barh(range(len(names)), list(scores.values()), color=colours)
    ax.set_yticks(range(len(names)), [f"{name} ✓" if name == truth else name for name in names])
    if truth in names:
        ax.get_yticklabels()[names.index(truth)].set_weight("bold")
    ax.set(xlim=(0, 1), xticks=(0, 0.5, 1), xlabel="probability")
    ax.invert_yaxis()
