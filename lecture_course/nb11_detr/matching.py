"""The matching of notebook 11 step by step: over the street the boxes in question, beside it the table of costs."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from lecture_utils.detection.boxes import box_iou, cxcywh_to_xyxy, denormalize_boxes, generalized_box_iou
from lecture_utils.explorers import Kind, Mark, Overlay
from lecture_utils.figures.boxes import TRUTH
from lecture_utils.figures.style import BLUE, FAINT, ORANGE, SKY, VERMILION
from lecture_utils.transformers.matcher import hungarian

WEIGHTS = {"class": 1.0, "L1": 5.0, "GIoU": 2.0}  # of the paper's appendix A.4
KINDS = {
    "object": Kind(TRUTH, width=1.5),
    "object in turn": Kind(SKY, fill=0.25),
    "matched": Kind(ORANGE),
    "matched in this step": Kind(VERMILION, width=4),
    "not in play": Kind(FAINT, width=0, pale=True),  # rows of the table alone
}
CHANGES = {
    "object": Kind(TRUTH, width=1.5),
    "before the first step": Kind(FAINT),
    "the same query as before": Kind(BLUE),
    "another query": Kind(VERMILION, dashed=True),
}


def cost_terms(
    logits: Float[Tensor, "queries classes"],
    boxes: Float[Tensor, "queries 4"],
    labels: Int64[Tensor, "objects"],
    truth: Float[Tensor, "objects 4"],
) -> dict[str, Float[Tensor, "queries objects"]]:
    """The cost of each query for each object, "cost", and the three terms whose sum it is; boxes are normalized."""
    terms = {
        "class: −p": -WEIGHTS["class"] * logits.softmax(-1)[:, labels],
        "box: 5 · L1": WEIGHTS["L1"] * torch.cdist(boxes, truth, p=1),
        "box: −2 · GIoU": -WEIGHTS["GIoU"] * generalized_box_iou(cxcywh_to_xyxy(boxes), cxcywh_to_xyxy(truth)),
    }
    return {"cost": sum(terms.values())} | terms


class Step(NamedTuple):
    """The cheapest matching of the first few objects, and which of them have another query than one step before."""

    queries: list[int]  # of the objects, in their order
    moved: dict[int, int]  # object → the query that it had
    total: float


def hungarian_steps(cost: Float[Tensor, "queries objects"]) -> list[Step]:
    """The matching of the first 0, 1, 2, … objects, each the cheapest there is.

    SciPy's `linear_sum_assignment` goes through the same: it adds one object at a time, and where that one takes a
    query from another it follows the chain of exchanges that costs least.
    """
    steps = [Step([], {}, 0.0)]
    for number in range(1, cost.shape[1] + 1):
        queries, objects = hungarian(cost[:, :number])
        matched = queries[objects.argsort()].tolist()
        moved = {k: old for k, old in enumerate(steps[-1].queries) if matched[k] != old}
        steps.append(Step(matched, moved, cost[matched, range(number)].sum().item()))
    return steps


def in_turn(cost: Float[Tensor, "queries objects"]) -> float:
    """The sum of costs where each object takes the cheapest query that is left."""
    left, total = cost.clone(), 0.0
    for column in range(cost.shape[1]):
        row = int(left[:, column].argmin())
        total, left[row] = total + cost[row, column].item(), torch.inf
    return total


def matching_overlay(
    terms: Mapping[str, Float[Tensor, "queries objects"]],
    boxes: Float[Tensor, "queries 4"],
    truth: Float[Tensor, "objects 4"],
    names: Sequence[str],
    size: tuple[int, int],
    *,
    table: str,
    step: int,
) -> Overlay:
    """One step of the matching of an image of `size` (height, width): its boxes, and beside them one of the tables.

    `boxes` and `truth` are normalized; `names` are the objects'. In the table of costs ◆ marks each object's cheapest
    query, in all of them ● the matched cells and ○ those that were given up in this step; rows without any are pale.
    """
    cost, objects = terms["cost"], len(names)
    steps = hungarian_steps(cost)
    now, before = steps[step], steps[max(0, step - 1)]
    corners, real = denormalize_boxes(boxes, *size).tolist(), denormalize_boxes(truth, *size).tolist()
    tags = [(min(max((x0 + x1) / 2, 0.08 * size[1]), 0.92 * size[1]), y0) for x0, y0, x1, _ in real]  # not cut off
    kind = lambda k: "object in turn" if k == step - 1 else "object"  # noqa: E731
    marks = [Mark(kind(k), box, names[k], tags[k]) for k, box in enumerate(real)]
    new = {k for k in range(step) if k == step - 1 or k in now.moved}
    kinds = {query: "matched in this step" if k in new else "matched" for k, query in enumerate(now.queries)}
    marks += [Mark(kinds[query], corners[query], str(query)) for query in now.queries]
    rows = [("", "query", *names)]
    for query in range(len(cost)):
        cells = [f"{terms[table][query, k]:.2f}".replace("-", "−") for k in range(objects)]
        for k in range(objects):
            if table == "cost" and query == int(cost[:, k].argmin()):
                cells[k] += " ◆"
            if k < step and now.queries[k] == query:
                cells[k] += " ●"
            elif k < len(before.queries) and before.queries[k] == query:
                cells[k] += " ○"
        played = query in kinds or any(mark in cell for cell in cells for mark in "◆●○")
        rows.append((kinds.get(query, "" if played else "not in play"), str(query), *cells))
    return Overlay(marks, _said(cost, steps, step, names), rows)


def _said(cost: Tensor, steps: Sequence[Step], step: int, names: Sequence[str]) -> str:
    if step == 0:
        return f"{len(cost)} queries, {len(names)} objects, none matched."
    now, k = steps[step], step - 1
    query, best = now.queries[k], int(cost[:, k].argmin())
    words = f"{names[k]} takes query {query}"
    if query == best:
        words += ", its cheapest"
    elif best in now.queries:
        words += f" (its cheapest, {best}, goes to {names[now.queries.index(best)]})"
    if now.moved:
        words += "; " + ", ".join(f"{names[j]} moves from {old} to {now.queries[j]}" for j, old in now.moved.items())
    words += f". Sum {now.total:.2f}".replace("-", "−")
    if step == len(names):
        words += f"; each in turn: {in_turn(cost):.2f}".replace("-", "−")
    return words + "."


class Snapshot(NamedTuple):
    """What a network in training answers for one image: its boxes, and the query of each object."""

    boxes: Float[Tensor, "queries 4"]  # normalized
    queries: list[int]


def snapshot_overlay(
    shots: Mapping[int, Snapshot],
    truth: Float[Tensor, "objects 4"],
    names: Sequence[str],
    size: tuple[int, int],
    *,
    step: int,
) -> Overlay:
    """The matched boxes after one of the training steps of `shots`, and which query has changed since the one before.

    `truth` is normalized.
    """
    times, real = sorted(shots), denormalize_boxes(truth, *size)
    first = step == times[0]
    now, before = shots[step], shots[times[max(0, times.index(step) - 1)]]
    boxes = denormalize_boxes(now.boxes, *size)
    marks, changed = [Mark("object", box) for box in real.tolist()], 0
    rows = [("", "object", "query", "before", "IoU")]
    for k, (query, old) in enumerate(zip(now.queries, before.queries, strict=True)):
        kind = "before the first step" if first else "the same query as before" if query == old else "another query"
        changed += query != old
        marks.append(Mark(kind, boxes[query].tolist(), str(query)))
        iou = box_iou(boxes[query][None], real[k][None]).item()
        rows.append((kind, names[k], str(query), "" if first else str(old), f"{iou:.2f}"))
    if first:
        return Overlay(marks, "Before the first step: the boxes of all queries are nearly the same.", rows)
    ago = step - times[times.index(step) - 1]
    return Overlay(marks, f"{changed} of {len(names)} objects have another query than {ago} steps before.", rows)
