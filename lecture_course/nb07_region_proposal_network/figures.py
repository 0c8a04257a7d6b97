"""The figures of notebook 07: the RPN's losses and proposals, recall by kind of object, and seconds."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from PIL import Image
from torch import Tensor
from torchvision import tv_tensors

from lecture_course.nb05_from_one_box_to_many.figures import LARGE, STREET, interval, painted, streets, true_boxes
from lecture_course.nb07_region_proposal_network.steps import YELLOW, close_up, suppress
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
    PURPLE,
    SKY,
    VERMILION,
    WIDTH,
    bare,
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
    fig, axes = image_axes(2, 1, width=7.4, aspect=(right - left) / (bottom - top), title=title)
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
def objects_and_shapes(scene: Scene, shapes: Float[Tensor, "k 4"], point: tuple[int, int]) -> Figure:
    """Draw a street with its objects, numbered, and the `shapes` of anchors around a point (x, y)."""
    laid, objects = shapes.cpu() + torch.tensor(point).repeat(2), painted(scene, STREET).objects
    fig, axes = image_axes(1, 1, width=4.8)
    ax = axes[0, 0]
    draw_image(ax, painted(scene, LARGE).image, size=(STREET, STREET))
    draw_boxes(ax, laid, colours=ORANGE)
    draw_boxes(ax, true_boxes(scene), colours=TRUTH, names=[f"{obj.category} {k}" for k, obj in enumerate(objects)])
    ax.plot(*(at - 0.5 for at in point), "o", ms=7, color=YELLOW, mec=INK)
    name_colours(fig, {"object": TRUTH, f"the {len(laid)} anchors of one point": ORANGE})
    return fig


@course_look
def rpn_losses(
    losses: Mapping[str, Sequence[float]],
    lines: Mapping[str, Mapping[str, float]] | None = None,
    *,
    span: int,
    ylabels: Mapping[str, str] | None = None,
    title: str = "",
) -> Figure:
    """Draw losses, name → one number for each step, a panel for each, two in a row.

    The steps are pale dots. The line goes from the first step's loss to means over `span` steps, each at the last of
    them; nan is left out. `lines` are dashed: name of the loss → text → height. `ylabels` are for what is no loss, by
    its name.
    """
    rows = -(-len(losses) // 2)
    height = 1.0 + (3.0 if rows < 3 else 2.4) * rows
    fig, axes = plt.subplots(rows, min(2, len(losses)), figsize=(WIDTH, height), squeeze=False)
    fig.suptitle(title)
    for ax in axes.flat[len(losses) :]:
        ax.remove()
    for ax, (name, values) in zip(axes.flat, losses.items(), strict=False):
        steps, levels = len(values), (lines or {}).get(name, {})
        ends = sorted({1, *range(span, steps + 1, span)})
        means = [np.nanmean(values[low:high]) for low, high in zip([0, *ends], ends, strict=False)]
        ax.scatter(range(1, steps + 1), values, s=8, color=FAINT, alpha=0.4, lw=0, label="one step")
        ax.plot(ends, means, "o-", color=BLUE, ms=5, label=f"first step, then means of {span}")
        for style, (text, height) in zip(DASHES[1:], levels.items(), strict=False):
            ax.axhline(height, color=VERMILION, linestyle=style, linewidth=1.6, label=text)
        top = max(*means, *levels.values(), np.nanquantile(values, 0.98))
        ax.set(title=name, ylabel=(ylabels or {}).get(name, "loss"), ylim=(0, 1.12 * top), xlim=(0, steps))
        ax.set_xlabel("training step")
        ax.grid()
    handles = {label: handle for ax in fig.axes for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    look = {"ncols": 5, "columnspacing": 1.1, "handlelength": 1.7, "handletextpad": 0.4}
    fig.legend(handles.values(), handles, loc="outside lower center", fontsize=11, **look)
    return fig


OF_OBJECTS = (BLUE, GREEN, PURPLE, VERMILION, SKY, YELLOW)  # of the first object from the left, the second, …


@course_look
def learned_proposals(scenes: Sequence[Scene], found: Sequence[Float[Tensor, "n 4"]], *, title: str = "") -> Figure:
    """Draw streets with their objects in white and proposals (n, 4): those that cover an object by half in its colour.

    That is the object with which the IoU is highest, if that is 0.5 or more; the others are orange.
    """
    colours, titles, most = [], [], 1
    for scene, boxes in zip(scenes, found, strict=True):
        truth = true_boxes(scene)
        truth = truth[(truth[:, 0] + truth[:, 2]).argsort()]  # from left to right
        best, nearest = box_iou(truth, boxes.cpu()).max(0)
        colours.append(
            [OF_OBJECTS[k % 6] if hit else ORANGE for k, hit in zip(nearest.tolist(), best >= 0.5, strict=True)]
        )
        hit = nearest[best >= 0.5]
        titles.append(
            f"{len(hit)} of {len(boxes)} cover an object; {len(hit.unique())} of {len(truth)} objects covered"
        )
        most = max(most, len(truth))
    fig = streets(scenes, found, colours=colours, titles=titles, title=title)
    for ax in fig.axes:
        ax.title.set_size(12)
    key = {"object": TRUTH, "covers none by half": ORANGE}
    name_colours(
        fig, key | {f"covers object {k + 1} from the left": OF_OBJECTS[k] for k in range(min(most, 6))}, columns=3
    )
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
    """Draw streets, one below the other, with numbered detections over the thin white boxes of their objects.

    Beside each stand class (`names` by label) and score of the numbers. `found` and `truths` hold for each street
    `boxes`, for 128 × 128 pixels, and `labels`, `found` also `scores`. The titles count the objects that a detection of
    their class covers by an IoU of 0.5, and the detections that cover none.
    """
    side, beside = 5.9, 2.1  # inches of a street and of its list
    size = side + beside, (side + 0.35) * len(scenes) + 0.4
    fig, axes = plt.subplots(len(scenes), 2, figsize=size, width_ratios=(side, beside), squeeze=False)
    fig.suptitle(title)
    bare(axes.flat)
    for (ax, words), scene, one, truth in zip(axes, scenes, found, truths, strict=True):
        draw_image(ax, painted(scene, LARGE).image, size=(STREET, STREET))
        for x0, y0, x1, y1 in (truth["boxes"] - 0.5).tolist():
            ax.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, ec=TRUTH, lw=1.3))
        order = one["scores"].argsort(descending=True).tolist()
        colours = [class_colour(int(one["labels"][i])) for i in order]
        draw_boxes(ax, one["boxes"][order], names=[str(k + 1) for k in range(len(order))], colours=colours)
        hit = (box_iou(truth["boxes"], one["boxes"]) >= 0.5) & (truth["labels"][:, None] == one["labels"])
        ax.set_title(f"{hit.any(1).sum()} of {len(hit)} objects found, {(~hit.any(0)).sum()} false")
        words.set(xlim=(0, 1), ylim=(22, -1))
        for k, (i, colour) in enumerate(zip(order, colours, strict=True)):
            words.scatter(0.04, k, marker="s", s=70, color=colour, ec=INK, lw=0.5)
            text = f"{k + 1}  {names[int(one['labels'][i])]} {one['scores'][i]:.2f}"
            words.text(0.12, k, text, size=12, va="center")
        words.plot(
            [0, 0.08], [len(order)] * 2, color=TRUTH, lw=2, path_effects=[withStroke(linewidth=3.4, foreground=INK)]
        )
        words.text(0.12, len(order), "object", size=12, va="center")
    return fig


@course_look
def missed_close(
    scenes: Sequence[Scene], found: Sequence[Mapping[str, Tensor]], missed: Mapping[int, Float[Tensor, "n 4"]]
) -> Figure:
    """Draw the surroundings of objects that no detection covers, in vermilion, with the detections in sky blue.

    `missed` are boxes for 128 × 128 pixels by the number of their street; the first of each street is in the middle.
    """
    fig, axes = image_axes(1, max(1, len(missed)), width=min(WIDTH, 5 * max(1, len(missed))), aspect=1.5)
    for ax, (k, boxes) in zip(axes.flat, missed.items(), strict=False):
        view = close_up(scenes[k], boxes[:1], margin=12, aspect=1.5)
        draw_image(ax, view.image, size=tuple(round(side) for side in view.size))
        draw_boxes(ax, found[k]["boxes"] - view.corner, colours=SKY)
        draw_boxes(ax, boxes - view.corner, colours=VERMILION)
        height, width = view.size
        ax.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    name_colours(fig, {"not found": VERMILION, "detection": SKY})
    return fig


@course_look
def threshold_curves(
    thresholds: Sequence[float], errors: Mapping[str, Sequence[float]], recalls: Mapping[str, Sequence[float]]
) -> Figure:
    """Draw over NMS thresholds numbers out of `measuring.by_threshold`, and the recall of proposals.

    What leaves the left panel, above 200, is written at its edge.
    """
    count, recall, top = "number", "recall (the axis begins at 0.7)", 200
    numbers = {name: errors[name] for name in ("objects lost", "no box before NMS", "false positives", "duplicates")}
    limits = {count: (0, top), recall: (0.7, 1.01)}
    fig = curves(thresholds, {count: numbers, recall: recalls}, xlabel="threshold (IoU)", limits=limits)
    fig.set_figheight(fig.get_figheight() + 0.5)
    for legend in fig.legends:
        legend.remove()
    titles = "final detections, 200 streets", "proposals, 50 of these streets"
    for ax, title in zip(fig.axes, titles, strict=True):
        ax.set_title(title, size=12)
        ax.legend(loc="upper center", bbox_to_anchor=(0.45, -0.2), ncols=2, columnspacing=1, handlelength=1.7)
    for line, (name, values) in zip(fig.axes[0].get_lines(), numbers.items(), strict=True):
        if values[-1] > top:
            words = f"{name} at {thresholds[-1]}: {values[-1]:,}"
            fig.axes[0].text(thresholds[-2] - 0.02, 0.9 * top, words, color=line.get_color(), ha="right", size=11)
    return fig


@course_look
def recall_panels(
    panels: Mapping[str, Mapping[str, tuple[Sequence[float], Sequence[float]]]],
    *,
    title: str = "Objects that proposals cover, 50 streets",
) -> Figure:
    """Draw recall over the number of proposals, panel → name → (numbers, recalls).

    The axis of a panel begins at 0 or, where all recalls are above, at 0.8.
    """
    fig, axes = plt.subplots(1, len(panels), figsize=(WIDTH, 4.4), squeeze=False)
    fig.suptitle(title)
    every = list(dict.fromkeys(name for lines in panels.values() for name in lines))
    for ax, (name, lines) in zip(axes[0], panels.items(), strict=True):
        for method, (numbers, recalls) in lines.items():
            i = every.index(method)  # the same look in each panel
            look = {"color": CYCLE[i % len(CYCLE)], "linestyle": DASHES[i % len(DASHES)], "marker": MARKERS[i]}
            ax.plot(numbers, recalls, label=method, **look)
        close = min(min(recalls) for _, recalls in lines.values()) > 0.8
        limits = (0.8, 1.002) if close else (0, 1.02)
        ax.set(title=name, xscale="log", xlabel="proposals per street (logarithmic)", ylim=limits)
        ax.set_xticks((10, 50, 100, 300), (10, 50, 100, 300))
        ax.minorticks_off()
        ax.grid()
        ax.legend(loc="lower right")
    axes[0, 0].set_ylabel("recall (IoU of 0.5)")
    return fig


@course_look
def exchange(
    panels: Mapping[str, Mapping[tuple[str, str], Sequence[float]]], steps: Mapping[str, Mapping[str, float]]
) -> Figure:
    """Draw what two networks score on two kinds of proposals, a square of four numbers for each score, with arrows.

    `panels` are score → (network, proposals) → one value for each training; the first pair is where the arrows start.
    `steps` are score → what each arrow adds: "proposals" and "network" from the first pair, "then network" and "then
    proposals" from there to the last, and "both".
    """
    fig, axes = plt.subplots(1, len(panels), figsize=(WIDTH, 4.1), squeeze=False)
    for ax, (name, values) in zip(axes[0], panels.items(), strict=True):
        networks, kinds = (list(dict.fromkeys(pair[k] for pair in values)) for k in (0, 1))
        for (network, kind), scores in values.items():
            place, words = (kinds.index(kind), networks.index(network)), f"{np.mean(scores):.3f}"
            ax.annotate(words, place, size=14, weight="bold", ha="center", va="center", bbox=BOX)
            look = {"textcoords": "offset points", "size": 11, "ha": "center", "va": "center"}
            ax.annotate(f"{min(scores):.3f}–{max(scores):.3f}", place, (0, 23 if place[1] else -22), **look)
        for start, end, step, at, colour in (
            ((0, 0), (1, 0), "proposals", (0.5, 0.09), ORANGE), ((0, 1), (1, 1), "then proposals", (0.5, 0.91), ORANGE),
            ((0, 0), (0, 1), "network", (-0.22, 0.5), BLUE), ((1, 0), (1, 1), "then network", (1.22, 0.5), BLUE),
            ((0, 0), (1, 1), "both", (0.68, 0.43), INK),
        ):  # fmt: skip
            look = {"arrowstyle": "-|>", "color": colour, "lw": 2, "shrinkA": 34, "shrinkB": 34, "mutation_scale": 16}
            ax.annotate("", end, start, arrowprops=look)
            ax.text(*at, f"+{steps[name][step]:.3f}", color=colour, size=12, ha="center", va="center")
        ax.set(title=name, xlim=(-0.45, 1.45), ylim=(-0.35, 1.35))
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
