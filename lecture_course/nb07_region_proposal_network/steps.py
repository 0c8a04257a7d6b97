"""What notebook 07 shows step by step: anchors of one shape, non-maximum suppression, a precision–recall curve."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from lecture_course.nb05_from_one_box_to_many.figures import LARGE, STREET, painted
from lecture_utils.detection.anchors import base_anchors, grid_anchors
from lecture_utils.detection.boxes import box_iou
from lecture_utils.explorers import Kind, Mark, Overlay
from lecture_utils.explorers.overlay import spots
from lecture_utils.figures.boxes import TRUTH, draw_boxes
from lecture_utils.figures.overlays import draw_image
from lecture_utils.figures.style import BLUE, GREEN, INK, ORANGE, PURPLE, SKY, VERMILION, WIDTH, bare, course_look
from lecture_utils.toycity import Scene, render_close

YELLOW, CLOSE = "#F0E442", 2048  # pixels a side of a street, of which a part is shown
SHAPES = {
    "overlapped by half": Kind(GREEN, fill=0.2),
    "not overlapped by half": Kind(SKY, dashed=True),
    "its best anchor": Kind(YELLOW, width=2),
    "the anchor of one point": Kind(ORANGE, width=4),
}


def one_shape(
    image_size: tuple[int, int],
    objects: Float[Tensor, "n 4"],
    names: Sequence[str],
    size: int | float,
    ratio: int | float,
    stride: int,
) -> Overlay:
    """One shape of anchor over an image (height, width): which objects (n, 4) does some anchor overlap by half?

    `size` is √area and `stride` the distance of two points, in pixels; `ratio` is height / width.
    """
    objects, points = objects.cpu(), (image_size[0] // stride, image_size[1] // stride)
    anchors = grid_anchors(base_anchors([size], [ratio]), points, stride)
    best, which = box_iou(objects, anchors).max(dim=1)
    near = best >= 0.5
    good, bad, fits, middle = SHAPES
    marks = [
        Mark(good if hit else bad, box, f"{iou:.2f}")
        for box, hit, iou in zip(objects.tolist(), near, best.tolist(), strict=True)
    ]
    marks += [Mark(fits, box) for box in anchors[which[near]].tolist()]
    marks.append(Mark(middle, anchors[points[0] // 2 * points[1] + points[1] // 2].tolist()))
    rows = [("", "object", "best IoU")]
    rows += [(good if hit else bad, name, f"{iou:.2f}") for name, hit, iou in zip(names, near, best, strict=True)]
    said = f"{len(anchors):,} anchors overlap {near.sum()} of {len(best)} objects by half."
    return Overlay(marks, said, rows, dots=stride)


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


SUPPRESSION = {
    "object": Kind(TRUTH, width=3, dashed=True),
    "object without a box": Kind(VERMILION, width=4, fill=0.5, dashed=True),
    "dropped before": Kind("#BBBBBB", width=0, struck=True),
    "waits": Kind(SKY, width=1.5),
    "dropped now": Kind(PURPLE, width=1, struck=True),
    "kept before": Kind(BLUE, width=4),
    "duplicate": Kind(YELLOW, width=5),
    "kept now": Kind(GREEN, width=5),
}


def suppression(
    boxes: Float[Tensor, "n 4"],
    scores: Float[Tensor, "n"],
    threshold: float,
    step: int,
    *,
    truth: Float[Tensor, "m 4"],
    size: tuple[float, float],
) -> Overlay:
    """One step of non-maximum suppression over an image of `size` (height, width), and the list of all boxes by score.

    Step 0 shows all boxes; after the last one only those that were kept are left. Then a box is a duplicate whose
    object (m, 4), that it overlaps most, has one with a higher score. No box is a ValueError.
    """
    if not len(boxes):
        raise ValueError("boxes: got none, expected at least one")
    boxes, scores, truth = boxes.cpu(), scores.cpu(), truth.cpu()
    steps, order = suppress(boxes, scores, threshold), scores.argsort(descending=True, stable=True).tolist()
    done, over = steps[:step], step > len(steps)
    now = done[-1] if done and not over else None
    kept = [taken.kept for taken in done]
    dropped = {i: (iou, taken) for taken in done for i, iou in taken.dropped.items()}
    number = {i: k + 1 for k, i in enumerate(order)}
    places = dict(zip(order, spots(boxes[order].tolist(), size), strict=True))  # the same in each step
    overlap = box_iou(truth, boxes)
    mine = overlap.argmax(0).tolist()
    marks = [
        Mark("object without a box" if over and (overlap[k, kept] < 0.5).all() else "object", box)
        for k, box in enumerate(truth.tolist())
    ]
    rows = [("", "box", "score", "")]
    for i in order:
        kind, words = "waits", ""
        if i in kept:
            kind, words = ("kept now", "kept") if now and i == now.kept else ("kept before", "kept")
            if over and mine[i] in [mine[j] for j in kept[: kept.index(i)]]:
                kind, words = "duplicate", "kept: a duplicate"
        elif i in dropped:
            iou, taken = dropped[i]
            kind = "dropped now" if taken is now else "dropped before"
            words = f"dropped: IoU {iou:.2f} with {number[taken.kept]}"
        if kind != "dropped before":
            marks.append(Mark(kind, boxes[i].tolist(), str(number[i]), places[i]))
        rows.append((kind, str(number[i]), f"{scores[i]:.3f}", words))
    return Overlay(marks, _said(now, kept, number, over, len(boxes), overlap), rows)


def _said(now: Taken | None, kept: Sequence[int], number: dict[int, int], over: bool, boxes: int, overlap) -> str:
    """A step in one sentence."""
    if over:
        found = int((overlap[:, kept] >= 0.5).any(1).sum())
        return f"{_boxes(len(kept))} left; {found} of {len(overlap)} objects found."
    if now is None:
        return f"{_boxes(boxes)} for {len(overlap)} objects."
    what = ", ".join(str(number[i]) for i in now.dropped)
    dropped = f"it drops {'box' if len(now.dropped) == 1 else 'boxes'} {what}" if what else "it drops none"
    return f"Keep box {number[now.kept]}, the best that is left; {dropped}."


def _boxes(number: int) -> str:
    return "1 box" if number == 1 else f"{number} boxes"


class Two(NamedTuple):
    """Two objects of a class that overlap, and the boxes of that class on them."""

    boxes: Float[Tensor, "n 4"]
    scores: Float[Tensor, "n"]
    truth: Float[Tensor, "2 4"]


def overlapping(found: Mapping[str, Tensor], truth: Mapping[str, Tensor], label: int, score: float = 0.5) -> Two:
    """Of a street's detections before NMS those with a score of `score` or more on the two objects that overlap most.

    A box belongs to the object that it overlaps most. Fewer than two objects of the class are a ValueError.
    """
    objects = truth["boxes"].as_subclass(Tensor)[truth["labels"] == label]
    if len(objects) < 2:
        raise ValueError(f"truth: got {len(objects)} objects of label {label}, expected two at least")
    number = int(box_iou(objects, objects).fill_diagonal_(0).argmax())
    two = torch.tensor(divmod(number, len(objects))).sort().values
    sure = (found["labels"] == label) & (found["scores"] >= score)
    boxes, scores = found["boxes"][sure], found["scores"][sure]
    near = torch.isin(box_iou(objects, boxes).argmax(0), two)
    return Two(boxes[near], scores[near], objects[two])


class CloseUp(NamedTuple):
    """A part of a street painted large, and where it lies in a street of 128 × 128 pixels."""

    image: UInt8[np.ndarray, "H W 3"]
    corner: Float[Tensor, "4"]  # x, y, x, y: subtract it from boxes
    size: tuple[float, float]  # height, width, in pixels of the small street


def close_up(scene: Scene, boxes: Float[Tensor, "n 4"], margin: int = 6, aspect: float = 1.2) -> CloseUp:
    """The part of a street that holds the boxes, at least `aspect` times as wide as high."""
    x, y, width, height = _around(boxes, margin, aspect)
    left, top, right, bottom = (round(CLOSE / STREET * side) for side in (x, y, x + width, y + height))
    part = render_close(scene, CLOSE)[top:bottom, left:right]
    return CloseUp(part, torch.tensor([x, y, x, y]), (height, width))


def seen_close(scene: Scene, two: Two) -> tuple[CloseUp, Two]:
    """The part of a street around two objects and their boxes, and these in its coordinates."""
    view = close_up(scene, torch.cat([two.boxes, two.truth]))
    return view, two._replace(boxes=two.boxes - view.corner, truth=two.truth - view.corner)


def _around(boxes: Float[Tensor, "n 4"], margin: float, aspect: float) -> tuple[float, float, float, float]:
    """x, y, width and height of a part of a street around boxes."""
    low, high = (boxes[:, :2].amin(0) - margin).clamp(min=0), (boxes[:, 2:].amax(0) + margin).clamp(max=STREET)
    width, height = (high - low).tolist()
    width, height = min(STREET, max(width, aspect * height)), min(STREET, max(height, width / aspect))
    limit = torch.tensor([STREET - width, STREET - height])
    x, y = ((low + high - torch.tensor([width, height])) / 2).clamp(min=0).minimum(limit).tolist()
    return x, y, width, height


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
    colour = GREEN if last.correct else VERMILION
    fig, (ax, rows, curve) = plt.subplots(1, 3, figsize=(WIDTH, 4.9), width_ratios=(4.5, 1.75, 2.9))
    ax.set_anchor("N")
    draw_image(ax, painted(last.scene, LARGE).image, size=(STREET, STREET))
    x, y, width, height = _around(last.box[None], margin=18, aspect=1)
    ax.set(xlim=(x - 0.5, x + width - 0.5), ylim=(y + height - 0.5, y - 0.5))
    draw_boxes(ax, last.truth, colours=TRUTH)
    draw_boxes(ax, last.box[None], colours=colour, dashed=True)
    verdict = "true positive" if last.correct else "false positive"
    ax.set_title(f"{number}: score {last.score:.3f}, IoU {last.iou:.2f}, {verdict}", size=12)
    _list(rows, judged, number)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    steps = np.concatenate([[0], recall]), np.concatenate([envelope[:1], envelope])
    curve.fill_between(*steps, step="pre", color=SKY, alpha=0.35, label="interpolated")
    curve.plot(recall, precision, color=BLUE, marker="o", ms=5, lw=1.5, label="after each detection")
    curve.plot(recall[-1:], precision[-1:], "o", ms=10, color=colour)
    curve.set(xlim=(0, 1.03), ylim=(0, 1.06), xlabel="recall", ylabel=f"precision (IoU of {threshold})")
    curve.set_xticks((0, 0.5, 1))
    curve.set_title(f"precision {correct[-1]}/{number}, recall {correct[-1]}/{objects}", size=12)
    curve.grid()
    curve.legend(loc="upper center", bbox_to_anchor=(0.42, -0.13), ncols=1, fontsize=11)  # below: the area fills all
    return fig


def _list(ax: Axes, judged: Sequence[Judged], number: int) -> None:
    """Write the number, score and verdict of the first detections, from the top of the axes down."""
    bare([ax])
    ax.set(xlim=(0, 1), ylim=(max(len(judged), 14) + 0.5, -0.7))
    ax.set_title("score", size=12)
    for row, one in enumerate(judged[:number]):
        colour, marker, verdict = (GREEN, "o", "TP") if one.correct else (VERMILION, "X", "FP")
        ax.scatter(0.05, row, marker=marker, s=50, color=colour, clip_on=False)
        last = {"weight": "bold"} if row == number - 1 else {}
        words = f"{row + 1:>2} {one.score:.3f} {verdict}"
        ax.text(0.13, row, words, family="DejaVu Sans Mono", size=11.5, va="center", color=INK, **last)
