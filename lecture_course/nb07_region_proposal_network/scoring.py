"""How notebook 07 judges detections: non-maximum suppression step by step, a growing curve, recall by kind, seconds."""

import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor
from torch.utils.data import Dataset

from lecture_course.nb05_from_one_box_to_many.figures import LARGE, STREET, painted
from lecture_utils.detection import FasterRCNN
from lecture_utils.detection.boxes import box_iou
from lecture_utils.detection.scores import CocoScores, ProposalRecall, apply_nms
from lecture_utils.figures.boxes import TRUTH, draw_boxes
from lecture_utils.figures.overlays import draw_image
from lecture_utils.figures.scores import MARKERS
from lecture_utils.figures.style import (
    BLUE,
    CYCLE,
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
    to_array,
)
from lecture_utils.toycity import Scene

ROW = 0.182  # inches of a line in a list
WAITS = "#DDDDDD"
MONO = {"family": "DejaVu Sans Mono", "size": 10, "va": "center"}


class Line(NamedTuple):
    """A row of a list: a marker and its colour, a score, which may be struck, and what is said of it."""

    colour: str
    marker: str
    score: str
    struck: bool
    said: str = ""


class Taken(NamedTuple):
    """One step of suppression: the box that is kept, and for each box that it drops their IoU."""

    kept: int
    dropped: dict[int, float]


def suppress(boxes: Float[Tensor, "n 4"], scores: Float[Tensor, "n"], threshold: float) -> list[Taken]:
    """Non-maximum suppression, and what it does in each step; the indices are those of the boxes as they come."""
    left, steps = scores.argsort(descending=True, stable=True).tolist(), []
    while left:
        overlap = dict(zip(left[1:], box_iou(boxes[left[:1]], boxes[left[1:]])[0].tolist(), strict=True))
        steps.append(Taken(left[0], {i: iou for i, iou in overlap.items() if iou > threshold}))
        left = [i for i in left[1:] if i not in steps[-1].dropped]
    return steps


@course_look
def suppression(
    scene: Scene,
    boxes: Float[Tensor, "n 4"],
    scores: Float[Tensor, "n"],
    threshold: float,
    step: int,
    *,
    truth: Float[Tensor, "m 4"],
) -> Figure:
    """Draw one step of non-maximum suppression on a street, beside the list of all boxes by descending score.

    Boxes and `truth` are in pixels of a street of 128 × 128. Step 0 shows all boxes; after the last one only those
    that were kept are left, and the objects that none of them covers by half are drawn in white. No box is a
    ValueError.
    """
    if not len(boxes):
        raise ValueError("boxes: got none, expected at least one")
    boxes, scores, truth = (torch.from_numpy(to_array(each, np.float32)) for each in (boxes, scores, truth))
    steps, order = suppress(boxes, scores, threshold), scores.argsort(descending=True, stable=True).tolist()
    now = steps[step - 1] if 0 < step <= len(steps) else None
    kept = [taken.kept for taken in steps[: step - (now is not None)]]
    gone = {i for taken in steps[:step] for i in taken.dropped} - set(now.dropped if now else ())
    waiting = [i for i in order if i not in gone and i not in kept and not (now and i in (now.kept, *now.dropped))]
    fig, (ax, rows) = plt.subplots(1, 2, figsize=(WIDTH, max(5.9, ROW * len(boxes) + 0.9)), width_ratios=(5.6, 3.4))
    draw_image(ax, painted(scene, LARGE).image, size=(STREET, STREET))
    _zoom(ax, torch.cat([boxes, truth]), aspect=1.5)
    ax.set_anchor("NW")
    draw_boxes(ax, boxes[waiting], colours=WAITS)
    draw_boxes(ax, boxes[kept], colours=SKY)
    if now:
        draw_boxes(ax, boxes[list(now.dropped)], colours=PURPLE, dashed=True)
        draw_boxes(ax, boxes[[now.kept]], colours=ORANGE)
    lost = truth[(box_iou(truth, boxes[kept]) < 0.5).all(1)] if step > len(steps) else truth[:0]
    draw_boxes(ax, lost, colours=TRUTH, names=["lost"] * len(lost))
    if now:
        count = "no box" if not now.dropped else "1 box" if len(now.dropped) == 1 else f"{len(now.dropped)} boxes"
        said = f"step {step}: keep the best that is left, drop {count}"
    elif step:
        found = len(truth) - len(lost)
        said = f"{len(kept)} {'box stays' if len(kept) == 1 else 'boxes stay'}; {found} of {len(truth)} objects found"
    else:
        said = f"{len(boxes)} boxes for {len(truth)} objects"
    ax.set_title(f"IoU threshold {threshold}, {said}", size=12, loc="left")
    names = {"kept now": (ORANGE, "-"), "dropped now": (PURPLE, "--"), "kept before": (SKY, "-"), "waits": (WAITS, "-")}
    handles = [Line2D([], [], color=colour, ls=style, lw=3, label=name) for name, (colour, style) in names.items()]
    ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(0, -0.02), ncols=4, columnspacing=1.2, fontsize=11)
    _list(rows, [_line(i, scores[i].item(), now, kept, gone) for i in order], "score   IoU with the kept box")
    return fig


def _line(i: int, score: float, now: Taken | None, kept: Sequence[int], gone: set[int]) -> Line:
    """One box in the list of a step."""
    text = f"{score:.3f}"
    if now and i == now.kept:
        return Line(ORANGE, ">", text, False, "kept now")
    if now and i in now.dropped:
        return Line(PURPLE, "X", text, True, f"{now.dropped[i]:.2f}")
    if i in kept:
        return Line(SKY, "s", text, False, "kept before")
    return Line("#BBBBBB", "X", text, True) if i in gone else Line(FAINT, "o", text, False)


def _list(ax: Axes, lines: Sequence[Line], head: str) -> None:
    """Write lines from the top of the axes down, each with its marker; a line goes through the struck scores."""
    bare([ax])
    ax.set(xlim=(-0.12, 1), ylim=(max(len(lines), 20) + 0.5, -1.2))
    beside = {"xytext": (9, 0), "textcoords": "offset points", **MONO}
    ax.annotate(head, (0.01, -0.6), color=INK, **beside)
    for row, line in enumerate(lines):
        place = 0.01, row + 0.5
        ax.scatter(*place, marker=line.marker, s=42, color=line.colour, clip_on=False)
        said = f"{line.score}  {line.said}".rstrip()
        ax.annotate(said, place, color="#888888" if line.struck else INK, **beside)
        if line.struck:
            ax.annotate("─" * len(line.score), place, color=line.colour, **beside)


def _zoom(ax: Axes, boxes: Float[Tensor, "n 4"], margin: float = 6, aspect: float = 1.0) -> None:
    """Show the part of the street that holds the boxes, `aspect` times as wide as high at most."""
    low, high = boxes[:, :2].amin(0) - margin, boxes[:, 2:].amax(0) + margin
    width, height = (high - low).tolist()
    width, height = min(STREET, max(width, height)), min(STREET, max(height, width / aspect))
    limit = torch.tensor([STREET - width, STREET - height])
    x, y = ((low + high - torch.tensor([width, height])) / 2).clamp(min=0).minimum(limit).tolist()
    ax.set(xlim=(x - 0.5, x + width - 0.5), ylim=(y + height - 0.5, y - 0.5))


def by_threshold(
    found: Sequence[dict], truths: Sequence[dict], thresholds: Sequence[float], *, score: float = 0.5
) -> dict[str, list[float]]:
    """Of detections before NMS (`boxes`, `labels`, `scores` of each street): what is found, and right, after it.

    For each IoU threshold the fraction of objects that a detection of their class covers by half, and how many objects
    are found for each box that stays; detections below `score` do not count.
    """
    objects = sum(len(target["boxes"]) for target in truths)
    shares = {"objects found": [], "objects found per box": []}
    for threshold in thresholds:
        hits = number = 0
        for one, target in zip(apply_nms(list(found), iou_threshold=threshold), truths, strict=True):
            sure = one["scores"] >= score
            same = target["labels"][:, None] == one["labels"][sure]
            hits += int(((box_iou(target["boxes"], one["boxes"][sure]) >= 0.5) & same).any(1).sum())
            number += int(sure.sum())
        shares["objects found"].append(hits / objects)
        shares["objects found per box"].append(hits / max(1, number))
    return shares


@torch.no_grad()
def proposals_by_threshold(
    detector: FasterRCNN,
    scenes: Dataset,
    thresholds: Sequence[float],
    device: str | torch.device,
    *,
    number: int = 50,
    kept: Sequence[int] = (10, 50, 300),
) -> dict[str, list[float]]:
    """Recall of the best few proposals on the first scenes, for each threshold of the RPN's own NMS."""
    usual, recalls = detector.rpn.nms_threshold, [ProposalRecall(kept) for _ in thresholds]
    try:
        for image, target in (scenes[i] for i in range(min(number, len(scenes)))):
            maps = detector.backbone(image.as_subclass(Tensor)[None].to(device))
            for detector.rpn.nms_threshold, recall in zip(thresholds, recalls, strict=True):
                (proposals,), _ = detector.rpn(maps, tuple(image.shape[-2:]))
                recall.update([proposals.cpu()], [{"boxes": target["boxes"].as_subclass(Tensor)}])
    finally:
        detector.rpn.nms_threshold = usual
    values = [recall.compute() for recall in recalls]
    return {f"the best {n}": [each[n] for each in values] for n in kept}


def covered(truths: Sequence[dict], proposals: Sequence[Float[Tensor, "n 4"]]) -> Bool[Tensor, "objects"]:
    """Which objects of all streets one of the street's proposals covers by an IoU of 0.5."""
    pairs = zip(truths, proposals, strict=True)
    return torch.cat([(box_iou(target["boxes"], boxes) >= 0.5).any(1) for target, boxes in pairs])


def recall_by_number(
    proposed: Mapping[str, Sequence[Tensor]], truths: Sequence[dict], numbers: Sequence[int]
) -> dict[str, list[float]]:
    """Recall of the first few proposals on the first streets, those of `truths`, for each method and each number."""
    recalls = {name: ProposalRecall(numbers) for name in proposed}
    for name, recall in recalls.items():
        recall.update(list(proposed[name][: len(truths)]), list(truths))
    return {name: list(recall.compute().values()) for name, recall in recalls.items()}


@torch.no_grad()
def map_by_proposals(
    detector: FasterRCNN, scenes: Dataset, truths: Sequence[dict], numbers: Sequence[int], device: str | torch.device
) -> list[float]:
    """mAP on the first scenes, those of `truths`, where the head gets only so many of the RPN's best proposals."""
    usual, scores = detector.rpn.post_nms_top_n, [CocoScores(scenes.categories) for _ in numbers]
    try:
        for i, target in enumerate(truths):
            image = scenes[i][0].as_subclass(Tensor)[None].to(device)
            for detector.rpn.post_nms_top_n, score in zip(numbers, scores, strict=True):
                (found,) = detector(image)
                score.update([{key: values.cpu() for key, values in found.items()}], [target])
    finally:
        detector.rpn.post_nms_top_n = usual
    return [score.compute()["map"] for score in scores]


def ap_by_size(
    found: Sequence[dict], truths: Sequence[dict], names: Sequence[str], *, scale: float
) -> dict[str, dict[str, tuple[float, int]]]:
    """COCO's AP of each class for each size, and how many objects that are: class → size → (AP, objects).

    `names` are those of the labels, the background first; all boxes are multiplied by `scale`. AP is nan of no object.
    """
    table = {}
    for label, name in enumerate(names[1:], start=1):
        score = CocoScores(names, scale=scale)
        mine, true = (
            [{key: values[one["labels"] == label] for key, values in one.items()} for one in given]
            for given in (found, truths)
        )
        score.update(mine, true)
        of_class = score.compute()
        boxes = scale * torch.cat([one["boxes"] for one in true])
        areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
        sizes = {"small": areas < 32**2, "medium": (areas >= 32**2) & (areas <= 96**2), "large": areas > 96**2}
        table[name] = {size: (of_class[f"map_{size}"], int(mask.sum())) for size, mask in sizes.items()}
    return table


def seconds(function: Callable, *inputs: object, times: int = 3, **options: object) -> float:
    """How long a call takes on one core, the median of some, without gradients."""
    threads, took = torch.get_num_threads(), []
    torch.set_num_threads(1)
    try:
        with torch.no_grad():
            for _ in range(times):
                start = time.perf_counter()
                function(*inputs, **options)
                took.append(time.perf_counter() - start)
    finally:
        torch.set_num_threads(threads)
    return median(took)


class Judged(NamedTuple):
    """A detection in the list that average precision goes through."""

    scene: Scene
    box: Float[Tensor, "4"]  # in pixels of a street of 128 × 128
    truth: Float[Tensor, "m 4"]  # the objects of its class on its street
    score: float
    iou: float  # with the object it is matched to, else with the nearest
    correct: bool


@course_look
def growing_curve(judged: Sequence[Judged], number: int, objects: int, *, threshold: float) -> Figure:
    """Draw the first `number` detections of a list by descending score: the last of them, the list, and the curve.

    `objects` is how many there are in all. The filled area is the interpolated precision: at each recall the highest
    precision that is reached there or beyond it; its area is the average precision.
    """
    if not 0 < number <= len(judged) or objects < 1:
        raise ValueError(f"number, objects: got {number}, {objects}, expected 1 to {len(judged)}, and at least 1")
    last, correct = judged[number - 1], np.cumsum([one.correct for one in judged[:number]])
    precision, recall = correct / np.arange(1, number + 1), correct / objects
    size = (WIDTH, max(5.5, ROW * len(judged) + 0.7))
    fig, (ax, rows, curve) = plt.subplots(1, 3, figsize=size, width_ratios=(5.0, 1.1, 2.9))
    ax.set_anchor("N")
    draw_image(ax, painted(last.scene, LARGE).image, size=(STREET, STREET))
    _zoom(ax, last.box[None], margin=24)
    draw_boxes(ax, last.truth, colours=TRUTH)
    draw_boxes(ax, last.box[None], colours=GREEN if last.correct else VERMILION, dashed=True)
    verdict = "true positive" if last.correct else "false positive"
    ax.set_title(f"score {last.score:.2f}, IoU {last.iou:.2f}:\n{verdict}", size=12)
    marks = [Line(GREEN, "o", f"{one.score:.2f}", False, "TP") if one.correct
             else Line(VERMILION, "X", f"{one.score:.2f}", False, "FP") for one in judged[:number]]  # fmt: skip
    _list(rows, marks, "score")
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    steps = np.concatenate([[0], recall]), np.concatenate([envelope[:1], envelope])
    curve.fill_between(*steps, step="pre", color=SKY, alpha=0.35, label="interpolated")
    curve.plot(recall, precision, color=BLUE, marker="o", ms=5, lw=1.5, label="precision and recall so far")
    curve.plot(recall[-1:], precision[-1:], "o", ms=10, color=GREEN if last.correct else VERMILION)
    curve.set(xlim=(0, 1.03), ylim=(0, 1.06), xlabel="recall", ylabel=f"precision (IoU of {threshold})")
    curve.set_title(f"precision {correct[-1]}/{number}, recall {correct[-1]}/{objects}", size=12)
    curve.grid()
    curve.legend(loc="lower left", fontsize=10)
    return fig


def interval(hits: int, number: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share: what other scenes of the same kind might have given."""
    z, share = 1.96, hits / number
    middle = (share + z * z / (2 * number)) / (1 + z * z / number)
    half = z / (1 + z * z / number) * (share * (1 - share) / number + (z / (2 * number)) ** 2) ** 0.5
    return middle - half, middle + half


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
        ax.set(title=panel, ylim=(0, 1.02), xlim=(-0.5, len(kinds) - 0.5))
        ax.grid(axis="y")
    axes[0, 0].set_ylabel("recall (IoU of 0.5)")
    handles, names = axes[0, 0].get_legend_handles_labels()
    fig.legend(handles, names, loc="outside lower center", ncols=len(names))
    return fig


@course_look
def stopwatch(panels: Mapping[str, Mapping[str, tuple[float, float]]]) -> Figure:
    """Draw seconds per image on logarithmic axes: panel → system → (proposals, network); a dot each, and their sum."""
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
            ax.scatter(values, rows, marker=marker, s=60, color=colour, label=name, zorder=2)
        # A ring hides neither of the two where it is nearly as much as one of them.
        ax.scatter(
            total, rows, marker="o", s=190, facecolors="none", edgecolors=INK, lw=1.6, label="together", zorder=3
        )
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
