"""The figures of notebook 07: the RPN's losses and proposals, recall by kind of object, and seconds."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor
from torchvision import tv_tensors

from lecture_course.nb05_from_one_box_to_many.figures import STREET, interval, painted, streets
from lecture_course.nb07_region_proposal_network.steps import YELLOW, suppress
from lecture_utils.detection.boxes import box_iou, clip_boxes_to_image
from lecture_utils.figures.boxes import TRUTH, class_colour, draw_boxes
from lecture_utils.figures.overlays import draw_image, name_colours, to_pixels
from lecture_utils.figures.scores import MARKERS, curves
from lecture_utils.figures.style import (
    BLUE,
    CYCLE,
    DASHES,
    FAINT,
    GREEN,
    INK,
    ORANGE,
    VERMILION,
    WIDTH,
    course_look,
    image_axes,
)
from lecture_utils.toycity import Scene, render

Box = tuple[float, float, float, float]
BOX = {"boxstyle": "round,pad=0.35", "fc": "white", "ec": FAINT}  # around a number of a drawing


def large_street(scene: Scene) -> tuple[np.ndarray, list[tuple[str, Box]], tv_tensors.Image]:
    """A street of the slide's size: an image (480, 640, 3), the class and box of each object on it, and a small image.

    The city is painted square, at 512 × 512 pixels at most: this is the middle of it, enlarged by a quarter. The small
    image, (3, 120, 160), is the same as a network takes it that learned on streets of 128 × 128.
    """
    rendering = render(scene, 512)
    middle = Image.fromarray(rendering.image[64:448]).resize((640, 480), Image.Resampling.BICUBIC)
    boxes = torch.tensor([thing.box for thing in rendering.objects]).reshape(-1, 4) - torch.tensor([0.0, 64, 0, 64])
    boxes = clip_boxes_to_image(boxes * 1.25, (480, 640)).tolist()
    objects = [(thing.category, tuple(box)) for thing, box in zip(rendering.objects, boxes, strict=True)]
    small = torch.from_numpy(np.array(middle.reduce(4))).permute(2, 0, 1)
    return np.array(middle), objects, tv_tensors.Image(small)


@course_look
def suppressed(
    image: Tensor | np.ndarray,
    boxes: Float[Tensor, "n 4"],
    scores: Float[Tensor, "n"],
    threshold: float,
    title: str,
    *,
    first: int | None = None,
) -> Figure:
    """Draw boxes, in pixels of the image, before and after NMS: each group, what one box drops and itself, in a colour.

    Only the part of the image around the boxes is shown. Before NMS are the `first` by score, by default all. The boxes
    that stay are numbered by their score. No box is a ValueError.
    """
    if not len(boxes):
        raise ValueError("boxes: got none, expected at least one")
    groups = suppress(boxes.cpu(), scores.cpu(), threshold)
    palette = (*CYCLE, TRUTH, YELLOW, INK, "#7FFF00")
    colour = {i: palette[k % len(palette)] for k, taken in enumerate(groups) for i in (taken.kept, *taken.dropped)}
    worst_first = scores.argsort().tolist()[-(first or len(boxes)) :]
    low, high = boxes[:, :2].amin(0).tolist(), boxes[:, 2:].amax(0).tolist()
    pixels, margin = to_pixels(image), 24
    (left, top), (right, bottom) = ([edge + margin * sign for edge in edges] for edges, sign in ((low, -1), (high, 1)))
    fig, axes = image_axes(2, 1, width=8.2, aspect=(right - left) / (bottom - top), title=title)
    shown = {
        f"the best {len(worst_first)} by objectness": worst_first,
        f"after NMS at {threshold:g}: the best {len(groups)}": [taken.kept for taken in groups],
    }
    for ax, (name, those) in zip(axes.flat, shown.items(), strict=True):
        draw_image(ax, pixels)
        ax.set(xlim=(max(-0.5, left), right), ylim=(min(pixels.shape[0] - 0.5, bottom), top), title=name)
        numbers = {taken.kept: str(k + 1) for k, taken in enumerate(groups)} if those is not worst_first else {}
        look = {"names": [numbers.get(i, "") for i in those], "colours": [colour[i] for i in those]}
        draw_boxes(ax, boxes[those], halo=False, **look)  # with one, all dark lines look white where they are many
    words = ["1 and what it drops", *map(str, range(2, len(groups) + 1))]
    name_colours(fig, {name: colour[taken.kept] for name, taken in zip(words, groups, strict=True)}, columns=len(words))
    return fig


@course_look
def rpn_losses(
    losses: Mapping[str, Sequence[float]],
    lines: Mapping[str, Mapping[str, float]] | None = None,
    *,
    ylabels: Mapping[str, str] | None = None,
    spans: Mapping[str, int] | None = None,
    title: str = "",
) -> Figure:
    """Draw losses, name → one number for each step, a panel for each, two in a row.

    The steps are pale dots. The line goes from the first step's loss to means: over `spans` steps where a loss has one,
    each at the last of them, else, on a logarithmic axis, over the steps since the point before, which become more and
    more. `lines` are dashed: name of the loss → text → height. `ylabels` are for what is no loss, by its name.
    """
    rows = -(-len(losses) // 2)
    height = 1.0 + (3.0 if rows < 3 else 2.4) * rows
    fig, axes = plt.subplots(rows, min(2, len(losses)), figsize=(WIDTH, height), squeeze=False)
    fig.suptitle(title)
    for ax in axes.flat[len(losses) :]:
        ax.remove()
    for ax, (name, values) in zip(axes.flat, losses.items(), strict=False):
        steps, span, levels = len(values), (spans or {}).get(name), (lines or {}).get(name, {})
        ends = sorted({1, *range(span, steps + 1, span)} if span else {min(steps, round(1.5**k)) for k in range(40)})
        means = [np.mean(values[low:high]) for low, high in zip([0, *ends], ends, strict=False)]
        ax.scatter(range(1, steps + 1), values, s=8, color=FAINT, alpha=0.4, lw=0, label="one step")
        ax.plot(ends, means, "o-", color=BLUE, ms=5, label="the first step, then means")
        for style, (text, height) in zip(DASHES[1:], levels.items(), strict=False):
            ax.axhline(height, color=VERMILION, linestyle=style, linewidth=1.6, label=text)
        top = max(*means, *levels.values(), np.quantile(values, 0.98))
        ax.set(title=name, ylabel=(ylabels or {}).get(name, "loss"), ylim=(0, 1.12 * top))
        ax.grid()
        if span:
            ax.set(xlabel=f"training step (means of {span})", xlim=(0, steps))
        else:
            ticks = [tick for tick in (1, 3, 10, 30, 100, 300, 1000, 3000) if tick <= steps]
            ax.set(xscale="log", xlabel="training step (means since the point before)")
            ax.set_xticks(ticks, ticks)
            ax.minorticks_off()
    handles = {label: handle for ax in fig.axes for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    fig.legend(handles.values(), handles, loc="outside lower center", ncols=4, columnspacing=1.2, fontsize=10.5)
    return fig


@course_look
def learned_proposals(scenes: Sequence[Scene], found: Sequence[Float[Tensor, "n 4"]], *, title: str = "") -> Figure:
    """Draw streets with their objects in white and proposals (n, 4): green those that cover an object by half."""
    truths = [torch.tensor([obj.box for obj in painted(scene, STREET).objects]).reshape(-1, 4) for scene in scenes]
    pairs = zip(truths, (boxes.cpu() for boxes in found), strict=True)
    hits = [(box_iou(truth, boxes) >= 0.5).any(0) for truth, boxes in pairs]
    colours = [[GREEN if one else ORANGE for one in hit] for hit in hits]
    titles = [f"{hit.sum()} of {len(hit)} cover an object by half" for hit in hits]
    fig = streets(scenes, found, colours=colours, titles=titles, title=title)
    name_colours(fig, {"object": TRUTH, "proposal, IoU of 0.5 or more": GREEN, "proposal, less": ORANGE})
    return fig


@course_look
def detections(
    scenes: Sequence[Scene],
    found: Sequence[Mapping[str, Tensor]],
    truths: Sequence[Mapping[str, Tensor]],
    *,
    names: Sequence[str],
    title: str = "",
) -> Figure:
    """Draw streets with their objects in white and detections in the colours of their classes, `names` by label.

    `found` and `truths` hold for each street `boxes`, for 128 × 128 pixels, and `labels`. The titles count the objects
    that a detection of their class covers by an IoU of 0.5, and the detections that cover none.
    """
    titles = []
    for one, truth in zip(found, truths, strict=True):
        hit = (box_iou(truth["boxes"], one["boxes"]) >= 0.5) & (truth["labels"][:, None] == one["labels"])
        titles.append(f"{hit.any(1).sum()} of {len(hit)} objects found, {(~hit.any(0)).sum()} false")
    look = {"colours": [[class_colour(label) for label in one["labels"].tolist()] for one in found]}
    look["key"] = {"ground truth (dashed)": TRUTH} | {name: class_colour(k) for k, name in enumerate(names) if k}
    return streets(scenes, [one["boxes"] for one in found], titles=titles, title=title, **look)


def two_titles(fig: Figure, *titles: str, places: Sequence[str]) -> None:
    """Give each panel of curves a title and, inside it, in one of the `places`, the key of its own lines."""
    for legend in fig.legends:
        legend.remove()
    for ax, title, place in zip(fig.axes, titles, places, strict=True):
        ax.set_title(title, size=12)
        ax.legend(loc=place)


def threshold_curves(
    thresholds: Sequence[float], numbers: Mapping[str, Sequence[float]], recalls: Mapping[str, Sequence[float]]
) -> Figure:
    """Draw over NMS thresholds what detections lose or have too many, in numbers, and the recall of proposals."""
    count, recall = "number (logarithmic)", "recall (the axis begins at 0.7)"
    limits = {count: (10, 5000), recall: (0.7, 1.01)}
    fig = curves(thresholds, {count: numbers, recall: recalls}, xlabel="threshold (IoU)", limits=limits)
    fig.axes[0].set_yscale("log")
    titles = "final detections, 200 streets", "proposals, 50 of these streets"
    two_titles(fig, *titles, places=("upper left", "lower left"))
    return fig


def recall_twice(numbers: Sequence[int], recalls: Mapping[str, Sequence[float]], *, title: str) -> Figure:
    """Draw recall over the number of proposals: once from 0, and once from 0.8 on, where curves lie close together."""
    panels = {"recall (IoU of 0.5)": recalls, "the same, from 0.8 on": recalls}
    limits = dict(zip(panels, ((0, 1.02), (0.8, 1.005)), strict=True))
    return curves(numbers, panels, xlabel="proposals per street (logarithmic)", title=title, limits=limits, log="x")


@course_look
def exchange(
    panels: Mapping[str, Mapping[tuple[str, str], Sequence[float]]], steps: Mapping[str, Mapping[str, float]]
) -> Figure:
    """Draw what two networks score on two kinds of proposals, a square of four numbers for each score, with arrows.

    `panels` are score → (network, proposals) → one value for each training; the first pair is where the arrows start.
    `steps` are score → "proposals", "network" and "both" → what that changes.
    """
    fig, axes = plt.subplots(1, len(panels), figsize=(WIDTH, 3.5), squeeze=False)
    for ax, (name, values) in zip(axes[0], panels.items(), strict=True):
        networks, kinds = (list(dict.fromkeys(pair[k] for pair in values)) for k in (0, 1))
        for (network, kind), scores in values.items():
            place, words = (kinds.index(kind), networks.index(network)), f"{np.mean(scores):.3f}"
            ax.annotate(words, place, size=14, weight="bold", ha="center", va="center", bbox=BOX)
            spread = f"{min(scores):.3f}–{max(scores):.3f}"
            ax.annotate(
                spread,
                place,
                (0, 22 if place[1] else -21),
                textcoords="offset points",
                size=11,
                ha="center",
                va="center",
            )
        for end, step, at, colour in (
            ((1, 0), "proposals", (0.5, -0.14), ORANGE), ((0, 1), "network", (0.21, 0.56), BLUE),
            ((1, 1), "both", (0.74, 0.46), INK),
        ):  # fmt: skip
            look = {"arrowstyle": "-|>", "color": colour, "lw": 2, "shrinkA": 34, "shrinkB": 34, "mutation_scale": 16}
            ax.annotate("", end, (0, 0), arrowprops=look)
            ax.text(*at, f"+{steps[name][step]:.3f}", color=colour, size=12, ha="center", va="center")
        ax.set(title=name, xlim=(-0.42, 1.4), ylim=(-0.4, 1.35))
        ax.set_xticks((0, 1), [f"{kind}\nproposals" for kind in kinds])
        ax.set_yticks((0, 1), [f"{network}'s\nnetwork" for network in networks])
        ax.spines[:].set_visible(False)
        ax.tick_params(length=0)
    return fig


@course_look
def recall_by_kind(panels: Mapping[str, Mapping[str, Mapping[str, tuple[int, int]]]], *, title: str = "") -> Figure:
    """Draw recall as dots with 95 % intervals: panel → model → kind of object → (covered, all), in the same order."""
    fig, axes = plt.subplots(1, len(panels), figsize=(WIDTH, 3.7), squeeze=False, sharey=True)
    fig.suptitle(title)
    for ax, (panel, models) in zip(axes[0], panels.items(), strict=True):
        for k, (name, kinds) in enumerate(models.items()):
            share = np.array([hits / number for hits, number in kinds.values()])
            ends = np.array([interval(*counts) for counts in kinds.values()]).T
            at = np.arange(len(kinds)) + 0.16 * (k - (len(models) - 1) / 2)
            how = {"fmt": MARKERS[k % len(MARKERS)], "color": CYCLE[k % len(CYCLE)], "ms": 7, "capsize": 3, "lw": 1.6}
            ax.errorbar(at, share, np.abs(ends - share), label=name, **how)
        ax.set_xticks(range(len(kinds)), [f"{kind}\n({number})" for kind, (_, number) in kinds.items()])
        ax.set(title=panel, ylim=(0, 1.06), xlim=(-0.5, len(kinds) - 0.5))
        ax.grid(axis="y")
    axes[0, 0].set_ylabel("recall (IoU of 0.5)")
    handles, names = axes[0, 0].get_legend_handles_labels()
    fig.legend(handles, names, loc="outside lower center", ncols=len(names))
    return fig


@course_look
def stopwatch(panels: Mapping[str, Mapping[str, tuple[float, float]]]) -> Figure:
    """Draw seconds per image on logarithmic axes: panel → system → (proposals, network); and their sum, a stroke."""
    heights = [len(systems) + 0.6 for systems in panels.values()]
    size = WIDTH, 0.9 + 0.45 * sum(heights) + 0.5 * len(heights)
    fig, axes = plt.subplots(len(panels), 1, squeeze=False, figsize=size, height_ratios=heights, sharex=True)
    every = [seconds for systems in panels.values() for parts in systems.values() for seconds in (*parts, sum(parts))]
    for ax, (panel, systems) in zip(axes[:, 0], panels.items(), strict=True):
        rows, parts = range(len(systems)), np.array(list(systems.values()), float)
        total = parts.sum(1)
        ax.hlines(rows, parts.min(1), total, color="#CCCCCC", lw=2, zorder=0)
        for values, marker, colour, name in (
            (parts[:, 0], "^", ORANGE, "proposals"), (parts[:, 1], "s", BLUE, "network"),
        ):  # fmt: skip
            ax.scatter(
                values, rows, marker=marker, s=75, edgecolors="white", lw=0.6, color=colour, label=name, zorder=2
            )
        # A stroke hides neither of the two where it is nearly as much as one of them.
        ax.scatter(total, rows, marker="|", s=420, color=INK, lw=2.4, label="together", zorder=1)
        for row, seconds in zip(rows, total, strict=True):
            ax.annotate(f"{seconds:.2g} s", (seconds, row), (12, 0), textcoords="offset points", va="center", size=11)
        ax.set(xscale="log", title=panel, ylim=(len(systems) - 0.4, -0.6), xlim=(min(every) / 1.6, max(every) * 3))
        ax.tick_params(labelbottom=True)
        ax.set_yticks(rows, systems)
        ax.grid(axis="x")
    axes[-1, 0].set_xlabel("seconds per image")
    axes[-1, 0].xaxis.set_major_formatter(lambda seconds, _: f"{seconds:g} s")
    handles, names = axes[0, 0].get_legend_handles_labels()
    fig.legend(handles, names, loc="outside lower center", ncols=len(names))
    return fig
