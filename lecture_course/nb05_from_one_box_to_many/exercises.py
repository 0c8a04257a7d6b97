"""The exercises of notebook 05: one box, how good it is, how it is learned, how many there are (slides 14 to 16)."""

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from lecture_course.engine.definitions import Case, Exercise, Prediction, mistakes
from lecture_utils.detection.boxes import box_area, box_iou, normalize_boxes
from lecture_utils.detection.crops import count_boxes
from lecture_utils.detection.single_object import multi_task_loss


def random_boxes(rng: Generator, number: int, height: int, width: int) -> Tensor:
    """Boxes in whole pixels, with an area, in an image of this size."""
    low = torch.rand(number, 2, generator=rng) * torch.tensor([width - 2, height - 2])
    room = torch.tensor([width, height]) - low - 1
    return torch.cat([low.floor(), (low + 1 + room * torch.rand(number, 2, generator=rng)).ceil()], dim=1)


def boxes_in_pictures(rng: Generator) -> list[Case]:
    return [
        Case((torch.tensor([[20.0, 10, 60, 90]]), 100, 100), note="one box in a square image"),
        Case((random_boxes(rng, 1, 60, 200), 60, 200), note="an image that is not square"),
        Case((random_boxes(rng, 3, 480, 640), 480, 640), note="three boxes"),
        Case((random_boxes(rng, 5, 121, 77), 121, 77), note="odd sizes"),
        Case((torch.tensor([[0.0, 0, 64, 48]]), 48, 64), note="the whole image"),
    ]


def pairs_of_boxes(rng: Generator) -> list[Case]:
    one = torch.tensor([[0.0, 0, 4, 2]])
    many = random_boxes(rng, 4, 9, 14)
    return [
        Case((one, torch.tensor([[2.0, 0, 6, 2]])), note="half of one covers half of the other"),
        Case((one, one.clone()), note="the same box twice"),
        Case((one, torch.tensor([[7.0, 5, 9, 8]])), note="boxes apart, in both directions"),
        Case((one, torch.tensor([[1.0, 5, 3, 8]])), note="boxes one below the other"),
        Case((one, torch.tensor([[4.0, 0, 6, 2]])), note="boxes that touch share no area"),
        Case((torch.tensor([[0.0, 0, 9, 8]]), torch.tensor([[2.0, 3, 4, 7]])), note="a box inside another"),
        Case((many, random_boxes(rng, 3, 9, 14)), note="four boxes with each of three"),
        Case((random_boxes(rng, 5, 30, 17) + 0.25, random_boxes(rng, 2, 30, 17)), note="fractions of pixels"),
        Case((many, torch.zeros(0, 4)), note="no second box"),
    ]


def predictions(rng: Generator) -> list[Case]:
    def case(images: int, classes: int, weight: float, note: str) -> Case:
        scores, boxes = 2 * torch.randn(images, classes, generator=rng), torch.rand(images, 4, generator=rng)
        labels = torch.randint(0, classes, (images,), generator=rng)
        return Case((scores, boxes, labels, torch.rand(images, 4, generator=rng), weight), note=note)

    return [
        case(1, 3, 1.0, "one image, weight 1"),
        case(2, 5, 1.0, "two images"),
        case(3, 4, 30.0, "a larger weight"),
        case(5, 7, 0.0, "weight 0: the class alone"),
    ]


def picture_sizes(rng: Generator) -> list[Case]:
    height, width = (torch.randint(5, 60, (2,), generator=rng) * 2 + 1).tolist()
    return [
        Case((1, 1), note="a single pixel"),
        Case((1, 4), note="one row"),
        Case((2, 3), note="small enough to draw"),
        Case((height, width), note="a larger image"),
    ]


# The best single answer where two annotations disagree; the prose of the notebook names these numbers, too.
LEFT, RIGHT, LEFT_FIRST = 0.2, 0.8, 3 / 4


def best_answer() -> float:
    """The number with the least mean squared difference, found by trying."""
    tries = torch.linspace(0, 1, 1001, dtype=torch.float64)
    mean = LEFT_FIRST * (tries - LEFT) ** 2 + (1 - LEFT_FIRST) * (tries - RIGHT) ** 2
    return round(tries[mean.argmin()].item(), 3)


# The right answers written out, the edits that make them wrong, and what each says to its author


def middle_and_size(boxes: Tensor, height: int, width: int) -> Tensor:
    x0, y0, x1, y1 = boxes.unbind(1)
    return torch.stack([(x0 + x1) / 2 / width, (y0 + y1) / 2 / height, (x1 - x0) / width, (y1 - y0) / height], dim=1)


NORMALIZE_BOXES_MISTAKES = mistakes(
    middle_and_size,
    {
        "/ width → ; / height → ": "These are still pixels: divide x and w by the width, y and h by the height.",
        "height: int, width: int → width: int, height: int": "x and w are fractions of the width, y, h of the height; "
        "you have them the other way round.",
        "(x0 + x1) / 2 → x0; (y0 + y1) / 2 → y0": "x and y are the box's middle, not its upper left corner.",
        "x1 - x0 → x1; y1 - y0 → y1": "The last two numbers are the lower right corner; w and h are the box's width "
        "and height.",
        "(x0 + x1) / 2 → x0; (y0 + y1) / 2 → y0; x1 - x0 → x1; y1 - y0 → y1": "These are the corners as fractions; the "
        "slide's box is its middle and its size.",
        "x1 - x0 → (x1 - x0) / 2; y1 - y0 → (y1 - y0) / 2": "w and h are half of what they should be: the whole width, "
        "not the way from the middle to the edge.",
    },
)


def each_with_each(a: Tensor, b: Tensor) -> Tensor:
    low, high = torch.maximum(a[:, None, :2], b[:, :2]), torch.minimum(a[:, None, 2:], b[:, 2:])
    common = (high - low).clamp(min=0).prod(-1)
    return common / (box_area(a)[:, None] + box_area(b) - common)


IOU_MISTAKES = mistakes(
    each_with_each,
    {
        ".clamp(min=0) → ": "Two boxes that lie apart get an overlap: their common width and height are negative; make "
        "these 0 before you multiply.",
        ".clamp(min=0).prod(-1) → .prod(-1).clamp(min=0)": "Boxes apart both across and downwards get an overlap "
        "(minus times minus is plus): make width and height 0 each, before you multiply.",
        "/ (box_area(a)[:, None] + box_area(b) - common) → ": "This is the intersection, in square pixels; divide it "
        "by the union.",
        "- common → ": "You divide by the sum of both areas, which counts the common part twice; take it off once.",
        "+ box_area(b) - common → ": "You divide by the area of the first box alone; divide by the union of the two.",
        "box_area(a)[:, None] + box_area(b) - common → box_area(b)": "You divide by the area of the second box alone; "
        "divide by the union of the two.",
        "(box_area(a)[:, None] + box_area(b) - common) → torch.minimum(box_area(a)[:, None], box_area(b))": "You "
        "divide by the smaller of the two areas; divide by the union.",
        lambda a, b: box_iou(*(box + torch.tensor([0, 0, 1, 1]) for box in (a, b))): "A width is x1 − x0, without a "
        "pixel added: coordinates are continuous here.",
        lambda a, b: box_iou(*(torch.cat([x[:, :2], x[:, :2] + x[:, 2:]], 1) for x in (a, b))): "You take the boxes "
        "for (x, y, w, h); these are corners (x0, y0, x1, y1).",
        lambda a, b: box_iou(a, b).diagonal(): "Each box of a is compared with one box of b only; compare each with "
        "each: (n, m).",
    },
)


def two_losses(scores: Tensor, boxes: Tensor, labels: Tensor, targets: Tensor, weight: float) -> Tensor:
    return F.cross_entropy(scores, labels) + weight * (boxes - targets).square().sum(1).mean()


LOSS_MISTAKES = mistakes(
    two_losses,
    {
        "weight * → ; F. → weight * F.": "The weight belongs to the box, not to the class.",
        "weight * → ": "The weight is not used: multiply the box's loss by it.",
        ".sum(1) → ": "Your L2 is the mean over all numbers, as F.mse_loss gives; sum the four of a box, then average "
        "over images.",
        "mean → sum": "The L2 is summed over the images; take the mean over them, as cross-entropy does.",
        "square → abs": "You take differences without squaring them (L1); the slide has L2.",
        "square().sum(1) → norm(dim=1)": "You take the root of the sum of squares; leave it squared, its gradient is "
        "the simpler one.",
        "scores, → scores.softmax(1),": "F.cross_entropy takes scores as they are and does the softmax itself; yours "
        "went through one already.",
    },
)
CROPS_MISTAKES = mistakes(
    count_boxes,
    {
        "* (height + 1) // 2 → ; * (width + 1) // 2 → ": "This counts pixels. A box has a first and a last row, and a "
        "first and a last column.",
        "(height + 1) // 2 → height; (width + 1) // 2 → width": "You choose first and last row freely, so that the "
        "last may lie above the first; half of these are no boxes.",
        "+ 1 → - 1": "You leave out boxes one pixel high or wide: first and last row may be the same.",
        "// 2 * ( → // 2 + (": "Rows and columns are chosen independently: multiply the two numbers of choices, do not "
        "add them.",
        lambda height, width: sum((height - s) * (width - s) for s in range(min(height, width))): "These are squares "
        "only; a box may have any width and any height.",
    },
)

EXERCISES = (
    Exercise(
        "05.normalize_boxes",
        title="A box as the network learns it",
        minutes=8,
        difficulty=1,
        reference=normalize_boxes,
        cases=boxes_in_pictures,
        mistakes=NORMALIZE_BOXES_MISTAKES,
        hints=(
            "Take x alone: where is the middle between x0 and x1, and which fraction of the width is that?",
            "boxes[:, 0] is x0 of all boxes, boxes[:, 2] is x1. Four such columns, and torch.stack(…, dim=1).",
            "x = (boxes[:, 0] + boxes[:, 2]) / 2 / width, w = (boxes[:, 2] - boxes[:, 0]) / width; y and h alike.",
        ),
        because="Shares lie between 0 and 1 whatever the size of the image, so one network serves all sizes.",
    ),
    Exercise(
        "05.iou",
        title="Intersection over union",
        minutes=15,
        difficulty=2,
        reference=box_iou,
        cases=pairs_of_boxes,
        mistakes=IOU_MISTAKES,
        hints=(
            "The intersection is a box again: its left edge is the larger of the two left edges, its right edge the "
            "smaller of the two right ones.",
            "If that right edge lies to the left of that left edge, there is no intersection: its width is 0.",
            "Every box with every box: a[:, None, 0] is (n, 1), b[:, 0] is (m,); torch.maximum of them is (n, m).",
            "union = area of a + area of b − intersection",
        ),
        because="1 for the same box, 0 for boxes apart, and the same number whatever the size of the image.",
    ),
    Exercise(
        "05.loss",
        title="Two losses, one number",
        minutes=10,
        difficulty=2,
        reference=multi_task_loss,
        cases=predictions,
        mistakes=LOSS_MISTAKES,
        hints=(
            "Cross-entropy is F.cross_entropy(scores, labels); it takes the mean over the images by itself.",
            "L2: square the four differences of a box and sum them. Then the mean over the images.",
            "F.cross_entropy(scores, labels) + weight * (boxes - targets).square().sum(1).mean()",
        ),
        because="One number, so one backward pass: both heads pull at the same backbone.",
    ),
    Prediction(
        "05.mean",
        title="The best answer to two orders",
        minutes=3,
        difficulty=1,
        answer=best_answer,
        mistakes={
            LEFT: "That is right three times of four, and the fourth time the square of 0.6 is a high price.",
            RIGHT: "That is wrong three times of four.",
            (LEFT + RIGHT) / 2: "Almost: in the middle it would be if both came equally often.",
            round(1 - LEFT_FIRST, 3): "That is the fraction of one order, not a place in the image.",
            round(LEFT + LEFT_FIRST * (RIGHT - LEFT), 3): "You have the two orders the wrong way round.",
        },
        hints=(
            "Write down the mean squared difference of an answer a: ¾ (a − 0.2)² + ¼ (a − 0.8)². Where is it least?",
            "Its slope is 0 where ¾ (a − 0.2) = ¼ (0.8 − a): at the mean of the four annotations.",
        ),
        because="L2 asks for the mean. Between two cars there is often nothing but road.",
    ),
    Exercise(
        "05.crops",
        title="Count every box",
        minutes=10,
        difficulty=2,
        reference=count_boxes,
        cases=picture_sizes,
        mistakes=CROPS_MISTAKES,
        hints=(
            "First one row of 3 pixels: list its boxes. They are 1 + 2 + 3.",
            "A row of w pixels has w (w + 1) / 2 boxes: as many as pairs (first, last) with first ≤ last.",
            "Rows and columns are chosen independently: multiply. Use // for whole numbers.",
        ),
        because="It grows with the fourth power of the side: twice as wide and high, about sixteen times as many.",
    ),
)
