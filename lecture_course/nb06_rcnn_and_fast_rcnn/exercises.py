"""The exercises of notebook 06: corrections of boxes, crops of features, and what they save (slides 18 and 19)."""

from math import prod

import torch
from torch import Generator, Tensor

from lecture_course.engine.definitions import Case, Exercise, Prediction
from lecture_course.nb06_rcnn_and_fast_rcnn.mistakes import (
    BILINEAR_MISTAKES,
    DECODE_MISTAKES,
    ENCODE_MISTAKES,
    ROI_POOL_MISTAKES,
    pool_region,
    sample_at,
)
from lecture_utils.detection.boxes import decode, encode
from lecture_utils.detection.fast_rcnn import crop_features
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


PROPOSALS, CROP_SIDE, PHOTO = 2000, 224, (600, 1000)  # the text of the notebook names these, too
BATCH = (5, 8)  # proposals in each of two images


def pixels_through_the_backbone() -> float:
    """How many times more pixels R-CNN sends through its convolutions than Fast R-CNN."""
    return PROPOSALS * CROP_SIDE**2 / (PHOTO[0] * PHOTO[1])


def crops_of_a_batch() -> tuple[int, ...]:
    crop = crop_features(torch.zeros(len(BATCH), 64, 32, 32), output_size=7, stride=4)
    return tuple(crop([torch.zeros(number, 4) for number in BATCH]).shape)


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
    Prediction(
        "06.pixels",
        title="How many times more pixels",
        minutes=3,
        difficulty=1,
        answer=pixels_through_the_backbone,
        mistakes={
            PROPOSALS: "Each crop is smaller than the photograph; compare pixels.",
            PHOTO[0] * PHOTO[1] / (PROPOSALS * CROP_SIDE**2): "Upside down: R-CNN's pixels over Fast R-CNN's.",
            CROP_SIDE**2 / (PHOTO[0] * PHOTO[1]): "That is for one proposal.",
            PROPOSALS * CROP_SIDE / (PHOTO[0] * PHOTO[1]): "A crop has 224 · 224 pixels.",
            PROPOSALS * CROP_SIDE**2: "That is how many pixels R-CNN has; divide by those of the photograph.",
        },
        hints=(
            "How many pixels have 2,000 crops of 224 × 224? How many has one photograph of 600 × 1000?",
            "2000 · 224 · 224 / (600 · 1000)",
        ),
        because="As reported in the paper, Fast R-CNN with VGG-16 was 146 times as fast, proposals not counted, and "
        "213 times with compressed linear layers.",
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
    Prediction(
        "06.crops",
        title="The shape of the crops",
        minutes=2,
        difficulty=1,
        answer=crops_of_a_batch,
        mistakes={
            (2, 64, 7, 7): "Each proposal has a crop of its own, not each image.",
            (2, 13, 64, 7, 7): "The images have different numbers of proposals, so the crops stand in one row.",
            (13, 3, 28, 28): "Those are R-CNN's: crops of the image. Crop the features.",
            (13, 64, 32, 32): "A crop is as large as the head wants it, 7 × 7.",
            (13, 7, 7, 64): "Channels come before height and width.",
            (8, 64, 7, 7): "There are 5 proposals in the other image, too.",
        },
        hints=(
            "How many proposals are there in both images together? How large does the head want each?",
            "(proposals, channels, 7, 7)",
        ),
        because="The head sees a long row of regions and does not know how many images they come from.",
    ),
)
