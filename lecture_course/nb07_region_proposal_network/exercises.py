"""The exercises of notebook 07: anchors, matching, the loss and non-maximum suppression (slides 20 to 22)."""

import torch
from torch import Generator, Tensor

from lecture_course.engine.definitions import Case, Exercise
from lecture_course.nb07_region_proposal_network.mistakes import (
    BASE_ANCHORS_MISTAKES,
    GRID_ANCHORS_MISTAKES,
    MATCH_MISTAKES,
    NMS_MISTAKES,
    RPN_LOSS_MISTAKES,
    match_with_best,
    two_losses,
)
from lecture_utils.detection.anchors import base_anchors, grid_anchors
from lecture_utils.detection.boxes import nms
from lecture_utils.detection.matching import match_boxes
from lecture_utils.detection.rpn import RPN

SLIDE_MAP = (15, 20)  # height, width: slide 21's map of a 640 × 480 image
PAPER_SIZES, PAPER_RATIOS = (128, 256, 512), (0.5, 1, 2)


def whole(rng: Generator, low: int, high: int, *shape: int) -> Tensor:
    return torch.randint(low, high, shape, generator=rng).float()


def shapes(rng: Generator) -> list[Case]:
    # Multiples of 8, so that no half width lies between two whole numbers and is rounded by a hair.
    sizes = [8 * int(size) for size in whole(rng, 1, 12, 8)]
    return [
        Case(((sizes[0],), (1,)), note="one square"),
        Case((tuple(sizes[1:3]), (1,)), note="two squares"),
        Case(((sizes[3],), (0.5, 2)), note="one wide, one tall"),
        Case(((sizes[4], sizes[4] + 8), (0.25, 1, 3)), note="two sizes, three ratios"),
        Case((PAPER_SIZES, PAPER_RATIOS), note="the nine of the paper"),
        Case((tuple(sizes[5:]), (4,)), note="three sizes, all tall"),
    ]


def maps(rng: Generator) -> list[Case]:
    def base(number: int) -> Tensor:
        half = whole(rng, 1, 20, number, 2)
        return torch.cat([-half, half], dim=1)

    return [
        Case((base(1), (2, 2), 8), note="one anchor on a 2 × 2 map"),
        Case((base(1), (1, 3), 4), note="a single row"),
        Case((base(2), (3, 2), 16), note="two anchors a point, a map that is not square"),
        Case((base(1), (2, 3), 1), note="stride 1"),
        Case((base(3), (4, 5), 10), note="three anchors a point"),
        Case((base(9), SLIDE_MAP, 32), note="nine at each point of the slide's map"),
    ]


def overlaps(rng: Generator) -> list[Case]:
    def table(objects: int, boxes: int) -> Tensor:
        return 0.02 + 0.9 * torch.rand(objects, boxes, generator=rng)

    exact = torch.tensor([[0.75, 0.5, 0.25, 0.125]])
    spread = whole(rng, 1, 5, 1, 4)[0] / 100
    no_luck = torch.stack([torch.tensor([0.9, 0.5, 0.1, 0.05]), spread])  # the second object overlaps nothing well
    shared = torch.tensor([[0.9, 0.2, 0.05, 0.1], [0.4, 0.1, 0.02, 0.03]])  # and here its best box is the other's
    tie = torch.tensor([[0.2, 0.6, 0.6, 0.1], [0.8, 0.05, 0.1, 0.05]])
    return [
        Case((exact, 0.5, 0.25), note="exactly on the thresholds"),
        Case((no_luck, 0.7, 0.3), note="an object that overlaps nothing well"),
        Case((shared, 0.7, 0.3), note="two objects whose best box is the same"),
        Case((tie, 0.7, 0.3), note="two boxes overlap an object equally well"),
        Case((torch.zeros(0, 5), 0.7, 0.3), note="an image without objects"),
        Case((table(3, 7), 0.7, 0.3), note="three objects, seven boxes"),
        Case((table(4, 30) ** 2, 0.5, 0.4), note="other thresholds"),
        Case((table(5, 200) ** 3, 0.7, 0.3), note="many boxes, few of them good"),
    ]


def crowds(rng: Generator) -> list[Case]:
    def crowd(number: int, side: int) -> tuple[Tensor, Tensor]:
        low, size = whole(rng, 0, side, number, 2), whole(rng, 4, 20, number, 2)
        return torch.cat([low, low + size], dim=1), torch.rand(number, generator=rng)

    far = whole(rng, 20, 40, 1)
    pair = torch.tensor([[0.0, 0, 8, 8], [1, 0, 9, 8], [0, 0, 0, 0]])
    pair[2] = torch.cat([far, far, far + 5, far + 9])
    chain = torch.tensor([[0.0, 0, 10, 10], [4, 0, 14, 10], [8, 0, 18, 10]])  # the middle one overlaps both others
    half = torch.tensor([[0.0, 0, 4, 4], [0, 0, 4, 2], [0, 0, 3, 4]])  # IoU 1/2 and 3/4 with the first
    # Thresholds that no IoU of such boxes equals, but for 0.5, which every type of number holds exactly: a quotient of
    # 3/10 in float32 is above Python's 0.3, and not above torch's.
    return [
        Case((pair, torch.tensor([0.6, 0.9, 0.3]), 0.5), note="two boxes on one object, one elsewhere"),
        Case((chain, torch.tensor([0.9, 0.8, 0.7]), 0.31), note="a chain of three"),
        Case((half, torch.tensor([0.9, 0.8, 0.7]), 0.5), note="an overlap of exactly the threshold"),
        Case((torch.tensor([[0.0, 0, 12, 12], [4, 4, 8, 8]]), torch.tensor([0.7, 0.8]), 0.5), note="one in another"),
        Case((torch.zeros(0, 4), torch.zeros(0), 0.5), note="no box"),
        Case((*crowd(8, 12), 0.71), note="eight boxes"),
        Case((*crowd(20, 22), 0.31), note="twenty boxes, a low threshold"),
        Case((*crowd(40, 26), 0.5), note="forty boxes"),
    ]


def answers(rng: Generator) -> list[Case]:
    def one(number: int, objects: int, drawn: float = 0.5) -> tuple[Tensor, ...]:
        logits, deltas = 2 * torch.randn(number, generator=rng), 0.3 * torch.randn(number, 4, generator=rng)
        matches = torch.randint(-2, objects, (number,), generator=rng)
        matches[:objects] = torch.arange(objects)  # every object has an anchor
        sampled = (torch.rand(number, generator=rng) < drawn) & (matches > -2)
        sampled[:1], sampled[1:2] = True, False  # a positive one that takes part, one that does not
        sampled &= matches > -2
        return logits, deltas, matches, sampled, torch.randn(number, 4, generator=rng)

    logits, deltas, _, sampled, wanted = one(6, 2)
    background = torch.full((6,), -1)
    two = torch.tensor([0.5, -1.0]), torch.tensor([[0.0, 0, 0, 0], [0.3, 0, 0, 0]]), torch.tensor([0, -1])
    close = torch.tensor([[0.05, 0, 0, 1.0], [0.0, 0, 0, 0]])
    far, four = torch.tensor([150.0, -150, 150, -150]), torch.tensor([0, 0, -1, -1])
    return [
        Case((*two, torch.tensor([True, True]), close), note="one positive anchor, one of background"),
        Case(one(8, 2), note="eight anchors, two objects"),
        Case((logits, deltas, background, sampled, wanted), note="no object: background alone"),
        Case((logits, deltas, background, sampled & False, wanted), note="no anchor sampled: both losses are 0"),
        Case((far, deltas[:4], four, four < 1, wanted[:4]), note="very sure answers, right and wrong"),
        Case(one(200, 5, 0.2), note="many anchors, few of them sampled"),
    ]


EXERCISES = (
    Exercise(
        "07.base_anchors",
        title="Anchors at one point",
        minutes=10,
        difficulty=2,
        reference=base_anchors,
        cases=shapes,
        mistakes=BASE_ANCHORS_MISTAKES,
        hints=(
            "Two equations for each shape: height / width = ratio, and height · width = size². Solve them on paper.",
            "height = size · √ratio and width = size / √ratio.",
            "[-w / 2, -h / 2, w / 2, h / 2] for each ratio and, inside, each size; torch.tensor(...).round().",
        ),
        because="Ratios change the shape and leave the area, sizes change the area and leave the shape.",
    ),
    Exercise(
        "07.grid_anchors",
        title="Anchors over a map",
        minutes=15,
        difficulty=2,
        reference=grid_anchors,
        cases=maps,
        mistakes=GRID_ANCHORS_MISTAKES,
        hints=(
            "The point in row i and column j lies at x = j · stride, y = i · stride. By what does each of the four "
            "numbers of a box grow when the box moves there?",
            "Three loops do it: rows, columns, shapes; append base[k] + torch.tensor([x, y, x, y]).",
            "Without loops: points (h · w, 1, 4) + base (K, 4) gives (h · w, K, 4); then reshape(-1, 4).",
        ),
        because="Nobody looks at the image for this: anchors depend on its size alone, and are made once.",
    ),
    Exercise(
        "07.match",
        title="Which anchor is assigned to which object",
        minutes=20,
        difficulty=3,
        reference=match_with_best,
        shown=match_boxes,
        cases=overlaps,
        mistakes=MATCH_MISTAKES,
        hints=(
            "For every box (a column of the table): its best object, and how well it overlaps. `overlap.max(0)`.",
            "Begin with the best objects; put −2 where the best overlap is below high, then −1 where it is below low.",
            "An image without objects comes first: overlap has no row to take a maximum of. All its boxes are −1.",
            "Best match: best = (overlap == overlap.amax(1, keepdim=True)).any(0); these keep their nearest object.",
        ),
        because="The best match is what gives small and oddly shaped objects an anchor at all.",
    ),
    Exercise(
        "07.rpn_loss",
        title="The loss of the region proposal network",
        minutes=15,
        difficulty=2,
        reference=two_losses,
        shown=RPN.losses,
        cases=answers,
        mistakes=RPN_LOSS_MISTAKES,
        hints=(
            "The right answer to “is there an object?” is 1 where matches ≥ 0 and 0 elsewhere: (matches >= 0).float().",
            "F.binary_cross_entropy_with_logits(objectness[sampled], truth[sampled], reduction='sum').",
            "positive = sampled & (matches >= 0); F.smooth_l1_loss(deltas[positive], wanted[positive], beta=1 / 9, "
            "reduction='sum').",
            "Divide both by max(1, sampled.sum()), and give them as torch.stack([…, …]).",
        ),
        because="Two questions, two losses: every sampled anchor learns yes or no, only positive ones learn where.",
    ),
    Exercise(
        "07.nms",
        title="Non-maximum suppression",
        minutes=15,
        difficulty=2,
        reference=nms,
        cases=crowds,
        mistakes=NMS_MISTAKES,
        hints=(
            "order = scores.argsort(descending=True) lists the boxes, best first. The first is kept for certain.",
            "A loop: keep order[0], compute its IoU with all that are left, go on with those that overlap it little.",
            "overlap = box_iou(boxes[order[:1]], boxes[order[1:]])[0]; order = order[1:][overlap <= iou_threshold].",
            "Return torch.stack(kept), or an empty torch.int64 tensor where there was no box.",
        ),
        because="Greedy, and good enough: each kept box speaks for all that overlap it.",
    ),
)
