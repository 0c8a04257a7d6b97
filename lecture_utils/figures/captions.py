"""Captions as pictures: what goes in and what should come out, which statements hold, scores over seeds (24 to 26)."""

from collections.abc import Mapping, Sequence
from textwrap import wrap

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from lecture_utils.figures.boxes import simplified
from lecture_utils.figures.overlays import picture
from lecture_utils.figures.style import (
    CYCLE,
    DASHES,
    FAINT,
    GREEN,
    INK,
    ORANGE,
    SKY,
    VERMILION,
    WIDTH,
    bare,
    course_look,
    to_array,
)


@course_look
def teacher_forcing(words: Sequence[str], *, title: str = "") -> Figure:
    """Draw how a caption is taught (slide 24): a row of words that go in, below a row of those that should come out.

    `words` are those of the caption with its `<start>` and `<end>`. Each arrow is one step of the model; grey arrows
    lead from step to step.
    """
    if len(words) < 2:
        raise ValueError(f"words: got {list(words)}, expected at least <start> and <end>")
    inputs, targets, steps = words[:-1], words[1:], len(words) - 1
    fig, ax = plt.subplots(figsize=(WIDTH, 2.3 + (0.35 if title else 0)))
    # As wide as the longest of the two words, so that nothing touches.
    width = [0.75 + 0.16 * max(len(a), len(b)) for a, b in zip(inputs, targets, strict=True)]
    left = np.cumsum([0.0, *width])
    ax.set(xlim=(-1.3, left[-1]), ylim=(-0.1, 3.1))
    bare([ax])
    ax.set_title(title)
    middles = (left[:-1] + left[1:]) / 2
    size = min(11, 72 * WIDTH / (left[-1] + 1.3) * 0.29)
    for x, w, given, wanted in zip(middles, width, inputs, targets, strict=True):
        _word_box(ax, x, 0.4, w, given, SKY, size)
        _word_box(ax, x, 2.6, w, wanted, ORANGE, size)
        _word_box(ax, x, 1.5, w, "", "#EEEEEE", size)
        for low, high in ((0.7, 1.22), (1.78, 2.3)):
            ax.add_patch(FancyArrowPatch((x, low), (x, high), arrowstyle="-|>", mutation_scale=9, color=INK, lw=1))
    for i in range(steps - 1):
        ends = (middles[i] + 0.5 * width[i] - 0.12, 1.5), (middles[i + 1] - 0.5 * width[i + 1] + 0.12, 1.5)
        ax.add_patch(
            FancyArrowPatch(*ends, arrowstyle="-|>", mutation_scale=8, shrinkA=0, shrinkB=0, color=FAINT, lw=1)
        )
    for y, text in ((0.4, "goes in"), (1.5, "model"), (2.6, "should\ncome out")):
        ax.text(-0.15, y, text, ha="right", va="center", size=11, color=INK)
    return fig


def _word_box(ax: plt.Axes, x: float, y: float, width: float, word: str, colour: str, size: float) -> None:
    shape = FancyBboxPatch(
        (x - width / 2 + 0.14, y - 0.24), width - 0.28, 0.48, boxstyle="round,pad=0,rounding_size=0.1"
    )
    shape.set(facecolor=colour, edgecolor="none", alpha=0.45)
    ax.add_patch(shape)
    ax.text(x, y, word, ha="center", va="center_baseline", size=size, color=INK)


@course_look
def ticked(
    image: torch.Tensor | np.ndarray, said: Mapping[str, Sequence], *, title: str = "", width: float = WIDTH
) -> Figure:
    """Draw a picture and beside it captions with their statements, ✓ if they hold and ✗ if not (slide 26).

    `said` is caption → its facts, each with `text` and `holds`, as `toycity.facts.facts` gives them.
    """
    if not said:
        raise ValueError("said: got no caption, expected at least one")
    lines = []
    for caption, facts in said.items():
        lines += [(line, INK, "normal") for line in wrap(f"“{caption}”", 62)]
        lines += [
            (f"  {'✓' if fact.holds else '✗'} {fact.text}", GREEN if fact.holds else VERMILION, "bold")
            for fact in facts
        ]
        lines += [("", INK, "normal")]
    lines = lines[:-1]
    fig, (left, right) = plt.subplots(
        1, 2, figsize=(width, max(2.9, 0.24 * len(lines) + 0.2) + (0.35 if title else 0)), width_ratios=(1, 2.2)
    )
    if title:
        fig.suptitle(title)
    picture(left, simplified(image, 64))
    left.set_anchor("N")
    right.set(xlim=(0, 1), ylim=(max(len(lines), 11.5), 0))
    bare([right])
    for row, (text, colour, weight) in enumerate(lines):
        right.text(0, row + 0.5, text, size=11, va="center_baseline", color=colour, weight=weight)
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
