"""Numbers of models as pictures: who is taken for whom, and how a figure grows (slides 4 to 6)."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from lecture_utils.figures.style import CYCLE, DASHES, INK, course_look, to_array

MARKERS = "osD^vP"


@course_look
def confusion_map(confusion: np.ndarray, names: Sequence[str], *, title: str = "") -> Figure:
    """Draw a confusion matrix (K, K) of pixel counts as shares of each true class, a row each, in percent.

    Classes that the truth does not hold are left out.
    """
    confusion, names = to_array(confusion, float), np.asarray(names)
    if confusion.shape != (len(names), len(names)):
        raise ValueError(f"confusion: got shape {confusion.shape}, expected {(len(names), len(names))}, one row a name")
    present = confusion.sum(1) > 0
    if not present.any():
        raise ValueError("confusion: got no pixel of any class, expected some")
    shares = confusion[present][:, present] / confusion[present].sum(1, keepdims=True)
    names, count = names[present], int(present.sum())
    fig, ax = plt.subplots(figsize=(8, 1.8 + 0.36 * count))
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for row, column in np.ndindex(count, count):
        percent = round(100 * shares[row, column])
        if percent:
            ax.text(column, row, percent, ha="center", va="center", color="white" if percent > 55 else INK)
    ax.set_xticks(range(count), names, rotation=35, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(count), names)
    ax.set(xlabel="predicted class (percent of the row)", ylabel="true class", title=title)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return fig


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
) -> Figure:
    """Draw lines over `x`, a panel for each y label; `panels` are y label → name → one value for each x.

    `log` names the axes with a logarithmic scale ("x", "y", "xy"), `limits` the y range of a panel, `ticks` the names
    of the places on the x axis.
    """
    fig, axes = plt.subplots(1, len(panels), figsize=(8, 3.6), squeeze=False)
    fig.suptitle(title)
    for ax, (ylabel, lines) in zip(axes[0], panels.items(), strict=True):
        for i, (name, values) in enumerate(lines.items()):
            if len(values) != len(x):
                raise ValueError(f"panels: got {len(values)} values of {name!r}, expected {len(x)}, one for each x")
            style = {"color": CYCLE[i % len(CYCLE)], "linestyle": DASHES[i % len(DASHES)]}
            ax.plot(to_array(x), to_array(values), marker=MARKERS[i % len(MARKERS)], label=name, **style)
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
