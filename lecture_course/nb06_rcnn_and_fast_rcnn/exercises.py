"""The exercises of notebook 06: deltas of boxes, crops of features, and the multi-task loss (slides 18 and 19)."""

from math import prod

import torch
from torch import Generator, Tensor

from lecture_course.engine.definitions import Case, Exercise
from lecture_course.nb06_rcnn_and_fast_rcnn.mistakes import (
    BILINEAR_MISTAKES,
    DECODE_MISTAKES,
    ENCODE_MISTAKES,
    LOSS_MISTAKES,
    ROI_POOL_MISTAKES,
    multi_task,
    pool_region,
    sample_at,
)
from lecture_utils.detection.boxes import decode, encode
from lecture_utils.detection.heads import region_losses
from lecture_utils.detection.roi import cells_to_read, roi_pool

EXAMPLE_PROPOSAL, EXAMPLE_BOX = torch.tensor([[0.0, 0, 10, 20]]), torch.tensor([[5.0, 5, 25, 25]])
COUNTING = torch.arange(64.0).reshape(1, 8, 8)


def whole_boxes(rng: Generator, number: int) -> Tensor:
    """Boxes of different shapes whose numbers are easy to read on a card."""
    corner = torch.randint(0, 20, (number, 2), generator=rng).float()
    width = torch.randint(4, 30, (number, 1), generator=rng)
    height = width + torch.randint(1, 9, (number, 1), generator=rng)  # never square
    return torch.cat([corner, corner + torch.cat([width, height], 1)], dim=1)


def pairs(rng: Generator) -> list[Case]:
    same = whole_boxes(rng, 2)
    return [
        Case((EXAMPLE_BOX, EXAMPLE_PROPOSAL), note="the boxes of the text"),
        Case((whole_boxes(rng, 1), whole_boxes(rng, 1)), note="another pair"),
        Case((same, same.clone()), note="proposals that fit already"),
        Case((whole_boxes(rng, 3), whole_boxes(rng, 3)), note="three pairs"),
        Case((torch.rand(5, 4, generator=rng) + torch.tensor([-9.0, -9, 9, 4]), whole_boxes(rng, 5)), note="decimals"),
        Case((torch.zeros(0, 4), torch.zeros(0, 4)), note="no pair at all"),
    ]


def deltas(rng: Generator) -> list[Case]:
    def some(number: int) -> Tensor:
        return torch.randint(-8, 9, (number, 4), generator=rng) / 8

    return [
        Case((torch.tensor([[1.0, 0.25, 0, 0]]), EXAMPLE_PROPOSAL), note="shifts alone"),
        Case((torch.tensor([[0.0, 0, 0.5, -0.25]]), EXAMPLE_PROPOSAL), note="sizes alone"),
        Case((torch.zeros(2, 4), whole_boxes(rng, 2)), note="nothing to correct"),
        Case((some(1), whole_boxes(rng, 1)), note="all four numbers"),
        Case((some(3), whole_boxes(rng, 3)), note="three proposals"),
        Case((torch.randn(5, 4, generator=rng) / 3, whole_boxes(rng, 5)), note="decimals"),
        Case((torch.zeros(0, 4), torch.zeros(0, 4)), note="no proposal at all"),
    ]


def map_regions(rng: Generator) -> list[Case]:
    def distinct(*shape: int) -> Tensor:  # so that another cell is another number; half of them are negative
        return (torch.randperm(prod(shape), generator=rng) - prod(shape) // 2).reshape(shape).float()

    return [
        Case((COUNTING, torch.tensor([0.0, 0, 4, 4]), (2, 2)), note="the example of the text"),
        Case((distinct(1, 5, 7), torch.tensor([2.0, 0, 5, 3]), (2, 2)), note="4 × 4 cells"),
        Case((distinct(1, 6, 9), torch.tensor([1.0, 1, 6, 3]), (1, 3)), note="a wide box, 1 × 3 parts"),
        Case((distinct(2, 7, 6), torch.tensor([0.0, 1, 4, 5]), (3, 2)), note="two channels, parts that share cells"),
        Case((distinct(3, 6, 7), torch.tensor([1.3, 0.7, 4.8, 5.2]), (2, 2)), note="corners between the cells"),
        Case((distinct(1, 5, 6), torch.tensor([2.0, 3, 2, 3]), (2, 2)), note="a single cell for four parts"),
        Case((distinct(3, 5, 6), torch.tensor([2.0, 1, 7, 6]), (2, 2)), note="a box that reaches beyond the map"),
        Case((torch.randn(3, 9, 8, generator=rng), torch.tensor([1.0, 2, 7, 8]), (3, 3)), note="three channels"),
    ]


def points(rng: Generator) -> list[Case]:
    def ints(*shape: int) -> Tensor:
        return torch.randint(-9, 10, shape, generator=rng).float()

    return [
        Case((torch.tensor([[[1.0, 2], [3, 8]]]), 0.5, 0.5), note="amid four cells"),
        Case((torch.tensor([[[1.0, 2], [3, 8]]]), 0.25, 0.75), note="nearer to one of them"),
        Case((ints(1, 3, 4), 2.0, 1.0), note="a point on a cell"),
        Case((ints(2, 4, 6), 3.75, 1.25), note="two channels"),
        Case((ints(1, 3, 5), 4.0, 2.0), note="the last cell of all"),
        Case((ints(2, 3, 5), 4.0, 0.5), note="the last column"),
        Case((torch.randn(3, 7, 5, generator=rng), 2.3, 5.6), note="three channels, decimals"),
    ]


def regions(rng: Generator) -> list[Case]:
    def some(*labels: int, classes: int = 5, far: float = 1.0) -> tuple[Tensor, ...]:
        names, number = torch.tensor(labels), len(labels)
        scores = 2 * torch.randn(number, classes, generator=rng)
        # As a head's: the background has deltas, too, and as target those of no change, 0.
        deltas = far * torch.randn(number, classes, 4, generator=rng)
        targets = far * torch.randn(number, 4, generator=rng) * (names > 0)[:, None]
        return scores, deltas, names, targets

    return [
        Case(some(2), note="one region with an object"),
        Case(some(0, 0, 0), note="background alone: no deltas to learn"),
        Case(some(1, 0, 0, 3), note="two objects, two of background"),
        Case(some(4, 2, 0, 1, 3, 0, 0), note="a mixture"),
        Case(some(1, 2, 0, far=6.0), note="deltas far off"),
        Case(some(1, 0, 2, 0, classes=3, far=0.3), note="three classes, deltas nearly right"),
    ]


EXERCISES = (
    Exercise(
        "06.encode",
        title="Four numbers from a proposal to a box",
        minutes=10,
        difficulty=2,
        reference=encode,
        cases=pairs,
        mistakes=ENCODE_MISTAKES,
        hints=(
            "First turn both into centre and size: x = (x0 + x1) / 2, width = x1 − x0; y and height alike.",
            "dx = (x of the box − x of the proposal) / width of the proposal; dw = log(width of the box / width of the "
            "proposal).",
            "Columns: x0, y0, x1, y1 = boxes.unbind(1). At the end torch.stack([dx, dy, dw, dh], dim=1).",
        ),
        because="None of the four numbers tells how large the image is: the same for a car nearby and far away.",
    ),
    Exercise(
        "06.decode",
        title="And back: from a proposal and four numbers to a box",
        minutes=8,
        difficulty=2,
        reference=decode,
        cases=deltas,
        mistakes=DECODE_MISTAKES,
        hints=(
            "Solve each formula for what belongs to the box: x = x of the proposal + dx · its width.",
            "The inverse of log is exp: width = width of the proposal · exp(dw).",
            "The corners are centre − size / 2 and centre + size / 2, in the order x0, y0, x1, y1.",
        ),
        because="exp is never negative, so no correction whatever gives a box of negative width.",
    ),
    Exercise(
        "06.roi_pool",
        title="RoI pooling of one box",
        minutes=20,
        difficulty=3,
        reference=pool_region,
        shown=roi_pool,
        cases=map_regions,
        mistakes=ROI_POOL_MISTAKES,
        hints=(
            "One axis first: round y0 and y1. From y0 to y1, both included, there are y1 − y0 + 1 rows; divide them "
            "into size[0] parts.",
            "Part i begins at floor(i · rows / parts) and ends before ceil((i + 1) · rows / parts), counted from y0; "
            "cut that end to the map.",
            "Two loops, over the parts down and across; features[:, a:b, c:d].amax(dim=(1, 2)) is the value of each "
            "channel.",
        ),
        because="Two roundings, that of the box and that of the parts, and each may move the crop by half a cell.",
    ),
    Exercise(
        "06.bilinear",
        title="Read a map between its cells",
        minutes=10,
        difficulty=2,
        reference=sample_at,
        shown=cells_to_read,
        cases=points,
        mistakes=BILINEAR_MISTAKES,
        hints=(
            "The four cells around the point are rows int(y) and int(y) + 1, columns int(x) and int(x) + 1. On the "
            "last row or column there is no next one; the same once more will do, because it weighs 0.",
            "With fx = x − int(x): along a row, (1 − fx) · left + fx · right.",
            "Do that for both rows, then mix the two with fy in the same way.",
        ),
        because="Move the point a little, and the value moves a little. That is what RoI pooling lacks.",
    ),
    Exercise(
        "06.loss",
        title="The multi-task loss of Fast R-CNN",
        minutes=12,
        difficulty=2,
        reference=multi_task,
        shown=region_losses,
        cases=regions,
        mistakes=LOSS_MISTAKES,
        hints=(
            "The first part: F.cross_entropy(scores, labels) is −log p_u, and its mean over the regions.",
            "Which regions have a box to learn? positive = labels > 0. Of the deltas of a positive region take the row "
            "of its true class: deltas[positive, labels[positive]] is (positives, 4).",
            'F.smooth_l1_loss(…, targets[positive], reduction="sum") sums over regions and numbers; divide by '
            "len(labels), all regions.",
        ),
        because="One number, one gradient: the classes and the boxes train the same backbone, end to end.",
    ),
)
