"""The charts of notebook 06: overlaps, samples, losses, edges, and what takes the time."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from jaxtyping import Bool, Float
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import PercentFormatter
from torch import Tensor

from lecture_course.nb06_rcnn_and_fast_rcnn.figures import SIZE, Large
from lecture_utils.detection.boxes import box_iou
from lecture_utils.figures.boxes import TRUTH, draw_boxes, fade
from lecture_utils.figures.overlays import draw_image, name_colours
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
    course_look,
    to_array,
)

SCORES = {"map_50": "AP50", "map": "mAP", "map_75": "AP75"}  # of a study's row, and what they are called


@course_look
def overlaps_before_and_after(before: Float[Tensor, "n"], after: Float[Tensor, "n"], *, title: str = "") -> Figure:
    """Draw the IoU of proposals before and after their deltas, and how it changes, parted by the IoU before.

    Left a point for each proposal, above the diagonal where its IoU has grown. Right what fraction of the IoU that was
    missing to 1 is gained: the median, the middle half as a box, and how many proposals that are.
    """
    before, after = to_array(before, float), to_array(after, float)
    fig, (points, changes) = plt.subplots(1, 2, figsize=(WIDTH, 4.6), width_ratios=[1.15, 1])
    fig.suptitle(title)
    better = after > before
    for kind, colour, name in ((better, GREEN, "grew"), (~better, VERMILION, "did not grow")):
        points.scatter(before[kind], after[kind], s=14, color=colour, alpha=0.55, linewidths=0, label=f"IoU {name}")
    points.plot((0.5, 1), (0.5, 1), color=INK, lw=1.2, ls="--", label="no change")
    points.set(xlim=(0.49, 1.01), ylim=(min(0.49, after.min() - 0.02), 1.01), xlabel="IoU of the proposal")
    points.set_ylabel("IoU after its deltas")
    tenth = np.clip((10 * before + 1e-5).astype(int), 5, 9)  # 0.7 is no less for being stored as 0.6999999
    gained = (after - before) / (1 - before).clip(1e-3)  # a proposal that fits exactly can only lose
    parts = [gained[tenth == k] for k in range(5, 10)]
    box = {"facecolor": SKY, "edgecolor": INK}
    look = {"whis": 0, "showcaps": False, "showfliers": False, "widths": 0.6, "patch_artist": True, "boxprops": box}
    changes.boxplot(parts, medianprops={"color": INK, "lw": 2}, **look)
    changes.axhline(0, color=INK, lw=1.2, ls="--")
    names = [f"{k / 10}–{(k + 1) / 10}\n({len(part)})" for k, part in enumerate(parts, start=5)]
    changes.set_xticks(range(1, 6), names)
    changes.set_xlabel("IoU of the proposal (and how many)")
    changes.set_ylabel("gained of the missing IoU\n(line: median, box: middle half)")
    changes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    for ax in (points, changes):
        ax.grid()
    fig.legend(loc="outside lower center", ncols=3)
    return fig


@course_look
def sampled_proposals(
    large: Large,
    truth: Float[Tensor, "m 4"],
    proposals: Float[Tensor, "n 4"],
    sampled: Bool[Tensor, "n"],
    *,
    title: str = "",
) -> Figure:
    """Count proposals by their IoU with the objects (0.5 and 0.1 part them), all and sampled; draw those sampled.

    The positive and the negative ones stand on a street each.
    """
    best = box_iou(truth, proposals).amax(0)
    kinds = {
        "of 0.5 or more: positive": (best >= 0.5, GREEN),
        "from 0.1 to 0.5: negative": ((best >= 0.1) & (best < 0.5), ORANGE),
        "below 0.1: negative (left out in the paper)": (best < 0.1, SKY),
    }
    fig = plt.figure(figsize=(WIDTH, 7.3))
    fig.suptitle(title)
    fig.get_layout_engine().set(w_pad=0.02, wspace=0.01)
    grid = fig.add_gridspec(2, 2, height_ratios=[0.4, 1])
    bars = fig.add_subplot(grid[0, :])
    rows, colours = np.arange(len(kinds)), [colour for _, colour in kinds.values()]
    for shift, chosen, name in ((-0.2, torch.ones_like(sampled), "all"), (0.2, sampled, "sampled")):
        counts = [int((kind & chosen).sum()) for kind, _ in kinds.values()]
        bar = bars.barh(rows + shift, counts, height=0.36, color=colours, alpha=0.45 if name == "all" else 1)
        words = [f"with an IoU {kind}" if name == "all" else "sampled" for kind in kinds]
        bars.bar_label(bar, labels=[f" {count} {what}" for count, what in zip(counts, words, strict=True)])
    most = max(int(kind.sum()) for kind, _ in kinds.values())
    bars.set(xlabel="proposals, the ground-truth boxes among them", yticks=[], xticks=range(0, most + 100, 100))
    bars.set(xlim=(0, 2.3 * most), ylim=(len(kinds) - 0.5, -0.5))
    for column, name, shown in ((0, "positive", best >= 0.5), (1, "negative", best < 0.5)):
        street = fig.add_subplot(grid[1, column])
        draw_image(street, large if name == "positive" else fade(large), size=SIZE)
        street.set_title(f"the {int((shown & sampled).sum())} {name} ones of this step")
        for kind, colour in kinds.values():
            draw_boxes(street, proposals[kind & shown & sampled], colours=colour, halo=name == "positive")
        draw_boxes(street, truth, colours=TRUTH)
    name_colours(
        fig, {"ground truth": TRUTH} | dict(zip(("0.5 or more", "0.1 to 0.5", "IoU below 0.1"), colours, strict=True))
    )
    return fig


@course_look
def multi_task_losses(
    of_class: Sequence[float],
    of_box: Sequence[float],
    lines: Sequence[Mapping[str, float]],
    *,
    points: int = 10,
    title: str = "",
) -> Figure:
    """Draw both losses: the first step's alone, then means of `points` equal parts, each at its middle, from 0 on.

    `lines` are, for the class and for the box, levels to compare with: name → loss.
    """
    fig, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.8))
    fig.suptitle(title)
    names = ("cross-entropy of the class", "smooth L1 of the deltas")
    for ax, name, losses, levels in zip(axes, names, (of_class, of_box), lines, strict=True):
        span = max(1, len(losses) // points)
        means = to_array(losses)[: len(losses) // span * span].reshape(-1, span).mean(1)
        steps = np.arange(len(means)) * span + (span + 1) / 2
        ax.plot([1, *steps], [losses[0], *means], marker="o", color=CYCLE[0])
        for i, (level, value) in enumerate(levels.items(), start=1):
            ax.axhline(value, color=CYCLE[i], ls=DASHES[i], label=level)
        ax.set(xlabel=f"training step (the first, then means of {span})", ylabel=name, xlim=(0, len(losses)))
        ax.set_ylim(0, 1.4 * max(losses[0], *means, *levels.values()))  # room for the legend
        ax.legend(loc="upper right")
        ax.grid()
    return fig


@course_look
def follow(
    shifts: Float[Tensor, "n"], edges: Mapping[str, Mapping[str, Float[Tensor, "n"]]], *, title: str = ""
) -> Figure:
    """Draw where a region ends against how far its box has moved, in pixels: edge → box or rule → x of that edge."""
    fig, axes = plt.subplots(1, len(edges), figsize=(WIDTH, 4.2), squeeze=False)
    fig.suptitle(title)
    for ax, (edge, lines) in zip(axes[0], edges.items(), strict=True):
        for i, (name, values) in enumerate(lines.items()):
            look = {"color": (FAINT, *CYCLE)[i], "lw": 5 if i == 0 else 2.4, "alpha": 0.5 if i == 0 else 1}
            ax.step(to_array(shifts), to_array(values), where="post", ls=("-", "-", "--")[i], label=name, **look)
        low, last = float(min(v.min() for v in lines.values())), int(shifts.max())
        ax.set(xlabel="box has moved (pixels)", ylabel=f"{edge} edge: x (pixels)", xlim=(0, last))
        ax.set(xticks=range(0, last + 1, 4), yticks=range(int(low) // 4 * 4, int(low) + last + 12, 4))
        ax.grid()
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return fig


def score_panels(rows: Mapping[str, Sequence[Mapping[str, float]]]) -> dict[str, dict[str, list[float]]]:
    """What `figures.seed_dots` draws of trainings: score → name → values; `rows` are name → their metrics."""
    return {title: {name: [row[key] for row in some] for name, some in rows.items()} for key, title in SCORES.items()}


@course_look
def bars_of_crops(
    values: Mapping[str, float], *, title: str = "One network, trained with RoI align: 30 streets"
) -> Figure:
    """Draw the mAP of `measuring.map_by_crop` as bars, coloured by what was changed, each with its number."""
    fig, ax = plt.subplots(figsize=(WIDTH, 1.1 + 0.42 * len(values)))
    fig.suptitle(title)
    groups = {"as trained": GREEN, "one change": SKY, "RoI pooling": ORANGE}
    colours = [GREEN, *[SKY] * (len(values) - 3), ORANGE, ORANGE]
    drawn = ax.barh(range(len(values)), list(values.values()), height=0.62, color=colours, edgecolor=INK, lw=0.6)
    ax.bar_label(drawn, fmt=" {:.2f}")
    ax.set_yticks(range(len(values)), list(values))
    ax.set(xlabel="mAP", ylim=(len(values) - 0.5, -0.5), xlim=(0, 1.12 * max(values.values())))
    ax.legend(handles=[Patch(fc=colour, ec=INK, lw=0.6, label=name) for name, colour in groups.items()])
    ax.grid(axis="x")
    return fig


@course_look
def seconds_of_parts(parts: Mapping[str, Mapping[str, float]], *, title: str = "") -> Figure:
    """Draw seconds per image as points on a logarithmic axis, a row for each of `parts`: name → where → seconds."""
    fig, ax = plt.subplots(figsize=(8.2, 0.9 + 0.62 * len(parts)))
    fig.suptitle(title)
    wheres = list(dict.fromkeys(where for part in parts.values() for where in part))
    for i, where in enumerate(wheres):
        rows = [row for row, part in enumerate(parts.values()) if where in part]
        values = [part[where] for part in parts.values() if where in part]
        ax.scatter(values, rows, s=90, marker="oD"[i % 2], color=CYCLE[i], label=where, zorder=3)
        for row, value in zip(rows, values, strict=True):
            place = {"textcoords": "offset points", "ha": "center", "va": "center", "size": 11}
            ax.annotate(f"{value:.2g} s", (value, row), (0, -14 if i % 2 else 14), **place)
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter("{x:g}")
    ax.set_yticks(range(len(parts)), list(parts))
    ax.set(xlabel="seconds per image (logarithmic)", ylim=(len(parts) - 0.45, -0.7))
    ax.margins(x=0.12)
    ax.grid()
    fig.legend(loc="outside lower center")
    return fig
