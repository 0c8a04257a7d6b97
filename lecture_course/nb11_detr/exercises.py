"""The exercises of notebook 11: boxes, matching and the loss of set prediction (slide 33)."""

import torch
from torch import Generator, Tensor

from lecture_course.engine.definitions import Case, Exercise, Prediction
from lecture_course.nb11_detr.mistakes import (
    CLASS_LOSS_MISTAKES,
    COST_MISTAKES,
    GIOU_MISTAKES,
    MATCH_MISTAKES,
    TO_PIXELS_MISTAKES,
    cheapest,
    class_loss,
    giou_of_pairs,
    to_pixels,
)
from lecture_utils.detection.boxes import denormalize_boxes, generalized_box_iou
from lecture_utils.transformers.matcher import hungarian, matching_cost
from lecture_utils.transformers.set_criterion import set_criterion

QUERIES, OBJECTS = 100, 7  # the text of the notebook names these, too
# The cheapest pair of all is not in the best matching.
EXAMPLE_COST = torch.tensor([[1.0, 2.0], [2.0, 8.0], [6.0, 7.0]])


def whole_boxes(rng: Generator, number: int) -> Tensor:
    """Corners of boxes of different shapes, in whole numbers."""
    corner = torch.randint(0, 9, (number, 2), generator=rng).float()
    width = torch.randint(2, 9, (number, 1), generator=rng)
    height = width + torch.randint(1, 6, (number, 1), generator=rng)  # never square
    return torch.cat([corner, corner + torch.cat([width, height], 1)], dim=1)


def random_normalized_boxes(rng: Generator, number: int) -> Tensor:
    """Boxes (x, y, w, h) inside of the image, wider than high or the other way round."""
    size = 0.1 + 0.3 * torch.rand(number, 2, generator=rng)
    return torch.cat([0.2 + 0.6 * torch.rand(number, 2, generator=rng), size], 1)


def normalized_boxes(rng: Generator) -> list[Case]:
    return [
        Case((torch.tensor([[0.5, 0.5, 0.5, 0.25]]), 100, 200), note="one box in the middle"),
        Case((torch.tensor([[0.25, 0.75, 0.125, 0.5]]), 64, 64), note="a square image"),
        Case((random_normalized_boxes(rng, 3), 480, 640), note="three boxes"),
        Case((random_normalized_boxes(rng, 5), 640, 427), note="a tall image"),
        Case((torch.tensor([[0.125, 0.5, 0.5, 0.25]]), 64, 128), note="a box that reaches beyond the image"),
        Case((torch.zeros(0, 4), 48, 64), note="no box at all"),
    ]


def pairs_of_boxes(rng: Generator) -> list[Case]:
    def pair(a: tuple, b: tuple, note: str) -> Case:
        return Case((torch.tensor([a]).float(), torch.tensor([b]).float()), note=note)

    shift = torch.tensor([20.0, 12, 20, 12])
    return [
        pair((0, 0, 1, 1), (3, 0, 4, 1), "two apart, side by side"),
        pair((0, 0, 4, 2), (2, 0, 6, 2), "half of each is shared"),
        pair((0, 0, 2, 2), (3, 4, 5, 5), "two apart, aslant"),
        pair((0, 0, 8, 4), (2, 1, 4, 3), "one inside of the other"),
        Case((whole_boxes(rng, 2), whole_boxes(rng, 2) + shift), note="two pairs, far apart"),
        Case((whole_boxes(rng, 4), whole_boxes(rng, 4)), note="four pairs"),
        Case((torch.zeros(0, 4), torch.zeros(0, 4)), note="no pair at all"),
    ]


def queries_and_objects(rng: Generator) -> list[Case]:
    def case(queries: int, classes: int, objects: int, note: str) -> Case:
        labels = torch.randint(1, classes, (objects,), generator=rng)
        logits = 2 * torch.randn(queries, classes, generator=rng)
        return Case(
            (logits, random_normalized_boxes(rng, queries), labels, random_normalized_boxes(rng, objects)), note=note
        )

    return [
        case(1, 2, 1, "one query, one object"),
        case(3, 4, 2, "three queries, two objects"),
        case(5, 3, 3, "five queries, three objects"),
        case(6, 7, 5, "seven classes"),
        case(2, 5, 3, "more objects than queries"),
        case(4, 3, 0, "no object at all"),
    ]


def costs(rng: Generator) -> list[Case]:
    distinct = torch.randperm(12, generator=rng).reshape(4, 3).float()
    return [
        Case((EXAMPLE_COST,), note="the costs of the text"),
        Case((torch.tensor([[2.0, 1.0], [3.0, 9.0], [5.0, 8.0]]),), note="the second object needs the first query"),
        Case((torch.rand(3, 1, generator=rng),), note="one object"),
        Case((distinct + torch.rand(4, 3, generator=rng) / 100,), note="four queries, three objects"),
        Case((torch.rand(6, 4, generator=rng),), note="six queries, four objects"),
        Case((torch.rand(5, 5, generator=rng) - 2,), note="as many objects as queries, costs below 0"),
        Case((torch.zeros(4, 0),), note="no object at all"),
    ]


def logits_and_classes(rng: Generator) -> list[Case]:
    def case(queries: int, classes: int, objects: int, note: str) -> Case:
        wanted = torch.cat(
            [torch.randint(1, classes, (objects,), generator=rng), torch.zeros(queries - objects).long()]
        )
        order = torch.randperm(queries, generator=rng)
        return Case((2 * torch.randn(queries, classes, generator=rng), wanted[order]), note=note)

    return [
        Case((torch.tensor([[0.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1])), note="one without an object, one with"),
        case(5, 3, 1, "four of five without an object"),
        case(7, 4, 3, "three objects"),
        case(3, 5, 3, "an object for each"),
        case(6, 3, 0, "no object at all"),
        case(20, 5, 4, "the city's twenty queries"),
    ]


def weight_without_object() -> float:
    """The share that the queries without an object have in the class loss, when all are wrong alike."""
    undecided = torch.zeros(1, QUERIES, 2)
    truth = torch.rand(OBJECTS, 4)
    target = {"labels": torch.ones(OBJECTS, dtype=torch.int64), "boxes": truth}
    boxes = torch.cat([truth, torch.zeros(QUERIES - OBJECTS, 4)])[None]
    sure = undecided.clone()
    sure[:, :OBJECTS, 1] = 100.0  # the queries of the objects are right, so what is left is that of the others
    left, all_of_it = (set_criterion(logits, boxes, [target])["class"] for logits in (sure, undecided))
    return (left / all_of_it).item()


EXERCISES = (
    Exercise(
        "11.to_pixels",
        title="From normalized coordinates to pixels",
        minutes=5,
        difficulty=1,
        reference=to_pixels,
        shown=denormalize_boxes,
        cases=normalized_boxes,
        mistakes=TO_PIXELS_MISTAKES,
        hints=(
            "x, y, w, h = boxes.unbind(-1). Where does the box begin, where does it end, still normalized?",
            "x0 = x − w / 2 and x1 = x + w / 2; multiply those by the width, and those of y by the height.",
        ),
        because="Normalized, a box is the same for an image of any size, and a sigmoid can predict it.",
    ),
    Exercise(
        "11.giou",
        title="Generalized IoU",
        minutes=12,
        difficulty=2,
        reference=giou_of_pairs,
        shown=generalized_box_iou,
        cases=pairs_of_boxes,
        mistakes=GIOU_MISTAKES,
        hints=(
            "IoU first: the intersection's sides must not fall below 0, or two boxes that are apart in both directions "
            "would seem to share an area.",
            "The smallest box around both runs from torch.minimum of the first corners to torch.maximum of the last.",
            "giou = iou − (hull − union) / hull, where hull is the area of that box.",
        ),
        because="Where boxes are apart, IoU is 0 everywhere and tells no direction; GIoU rises as they come closer.",
    ),
    Exercise(
        "11.cost",
        title="The cost matrix",
        minutes=12,
        difficulty=2,
        reference=matching_cost,
        cases=queries_and_objects,
        mistakes=COST_MISTAKES,
        hints=(
            "Three tables of (queries, objects), added. logits.softmax(-1)[:, labels] is the first, with a minus.",
            "(boxes[:, None] - truth).abs().sum(-1) is L1; times 5.",
            "generalized_box_iou of lecture_utils.detection.boxes, of both as cxcywh_to_xyxy gives them; times −2.",
        ),
        because="Only differences between costs matter: what is added to a whole column changes no matching.",
    ),
    Exercise(
        "11.match",
        title="The cheapest matching",
        minutes=15,
        difficulty=2,
        reference=cheapest,
        shown=hungarian,
        cases=costs,
        mistakes=MATCH_MISTAKES,
        hints=(
            "itertools.permutations(range(queries), objects) gives every way to give each object a query of its own.",
            "The cost of one way: cost[list(rows), range(objects)].sum(). Keep the rows of the cheapest.",
            "min(permutations(…), key=lambda rows: cost[list(rows), range(objects)].sum()), as a tensor of int64.",
        ),
        because="20 queries and 8 objects have 5 billion matchings; the Hungarian algorithm finds the best in a "
        "millisecond. For the loop that you wrote, five are enough.",
    ),
    Exercise(
        "11.class_loss",
        title="Most queries have no object",
        minutes=10,
        difficulty=2,
        reference=class_loss,
        shown=set_criterion,
        cases=logits_and_classes,
        mistakes=CLASS_LOSS_MISTAKES,
        hints=(
            "The loss of each query alone: −log_softmax of the class that it should have.",
            "Weights: 0.1 where wanted is 0, else 1. A weighted mean is divided by the sum of the weights.",
            "F.cross_entropy(logits, wanted, weight) does all of it, with one weight for each class.",
        ),
        because="Without the weight, saying “no object” everywhere would be the quickest way to a low loss.",
    ),
    Prediction(
        "11.empty",
        title="How much do the queries without an object weigh?",
        minutes=4,
        difficulty=2,
        answer=weight_without_object,
        mistakes={
            0.93: "So many queries have no object; but each counts a tenth of one that has.",
            0.1: "That is the weight of one of them. How many are there?",
            0.093: "Divide by the sum of all weights: seven for those with an object, 9.3 for the others.",
            0.4295: "That is the share of the seven; asked for is the others'.",
            0.5882: "Seven of the hundred queries have an object.",
            9.3: "That is the sum of their weights; what share of all weights is it?",
        },
        hints=(
            "How many queries have no object? Each of them weighs 0.1.",
            "93 · 0.1 = 9.3, beside seven that weigh 1 each.",
        ),
        because="With a weight of 1 it would be 93 %, and a network that never finds anything would be nearly right.",
    ),
)
