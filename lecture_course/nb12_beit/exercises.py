"""The exercises of notebook 12: blocks of a mask, visual tokens, the loss, relative positions (slides 34 and 35)."""

import torch
from torch import Generator

from lecture_course.engine.definitions import Case, Exercise, Prediction
from lecture_course.nb12_beit.mistakes import (
    BLOCK_MISTAKES,
    MASKED_LOSS_MISTAKES,
    NEAREST_CODE_MISTAKES,
    RELATIVE_INDEX_MISTAKES,
    masked_loss,
    relative_index,
)
from lecture_utils.transformers.beit import masked_token_loss
from lecture_utils.transformers.masking import block_shape
from lecture_utils.transformers.relative_position import relative_position_index
from lecture_utils.transformers.visual_tokens import nearest_code

PAPER_GRID = (14, 14)
PAPER_SHARE = 0.4


def blocks(rng: Generator) -> list[Case]:
    def case(area: float, aspect: float, grid: tuple[int, int], note: str) -> Case:
        return Case((area, aspect, grid), note=note)

    size, shape = torch.rand(2, generator=rng).tolist()
    return [
        case(16.0, 1.0, (14, 14), "16 patches, a square"),
        case(36.0, 4.0, (14, 14), "36 patches, four times as high as wide"),
        case(36.0, 0.25, (14, 14), "36 patches, four times as wide as high"),
        case(40.0, 0.6, (14, 14), "sides that are no whole numbers"),
        case(16.0, 0.3, (14, 14), "16 patches, wide"),
        case(75.0, 3.2, (14, 14), "higher than the grid"),
        case(60.0, 0.3, (12, 10), "wider than a grid that is not square"),
        case(0.1, 1.0, (5, 7), "less than one patch"),
        case(16 + 40 * size, 0.3 ** (1 - 2 * shape), (9, 20), "a block drawn at random"),
    ]


def patches_and_codes(rng: Generator) -> list[Case]:
    def case(n: int, words: int, d: int, note: str) -> Case:
        spread = 0.3 + 2 * torch.rand(words, 1, generator=rng)  # codes of different lengths
        return Case((torch.randn(n, d, generator=rng), spread * torch.randn(words, d, generator=rng)), note=note)

    return [
        case(2, 3, 2, "two patches, three codes"),
        case(4, 3, 5, "more patches than codes"),
        case(3, 8, 4, "more codes than patches"),
        case(16, 16, 12, "as many as codes"),
        case(64, 50, 192, "patches of 8 × 8 pixels"),
    ]


def logits_and_masks(rng: Generator) -> list[Case]:
    def case(b: int, n: int, words: int, note: str) -> Case:
        mask = torch.rand(b, n, generator=rng) < 0.4
        mask[0, 0], mask[-1, -1] = True, False
        truth = torch.randint(words, (b, n), generator=rng)
        return Case((2 * torch.randn(b, n, words, generator=rng), truth, mask), note=note)

    return [
        case(1, 4, 3, "four patches, three visual tokens"),
        case(1, 9, 5, "nine patches"),
        case(3, 6, 4, "batch of 3"),
        case(2, 12, 20, "more visual tokens than patches"),
        case(4, 7, 7, "as many visual tokens as patches"),
    ]


def windows(rng: Generator) -> list[Case]:
    more = (torch.randperm(3, generator=rng)[:2] + 4).tolist()
    return [Case((h, w), note=f"{h} × {w} patches") for h, w in ((1, 2), (2, 1), (2, 2), (2, 3), (4, 2), tuple(more))]


def forty_percent() -> int:
    return int(PAPER_SHARE * PAPER_GRID[0] * PAPER_GRID[1])


EXERCISES = (
    Prediction(
        "12.forty_percent",
        title="About 40 %",
        minutes=2,
        difficulty=1,
        answer=forty_percent,
        mistakes={
            75: "That is the number in the published code. How many are 40 % of all patches?",
            5: "That is 40 % of the patches along one side.",
            77: "Nearly: how many patches are there in all?",
            79: "That is more than 40 %; round down.",
            118: "So many stay visible, about; asked for are the hidden ones.",
            89: "With patches of 15 pixels, perhaps; 224 / 16 is 14.",
        },
        hints=("How many patches of 16 pixels has an image of 224 × 224?", "0.4 · 14 · 14, rounded down."),
        because="The published code hides at most 75, which is 38 %: a block that would go beyond is refused, so most "
        "masks end a little below what is named.",
    ),
    Exercise(
        "12.block",
        title="One block of a mask",
        minutes=10,
        difficulty=2,
        reference=block_shape,
        cases=blocks,
        mistakes=BLOCK_MISTAKES,
        hints=(
            "Two equations: height · width = area and height / width = aspect. Multiply them.",
            "height² = area · aspect, and width² = area / aspect.",
            "Then round each, and let it be at least 1 and at most the grid's: min(max(round(side), 1), most).",
        ),
        because="The product of both sides is the area, whatever the aspect: the logarithm of the aspect can be drawn "
        "evenly, and wide blocks are as likely as high ones.",
    ),
    Exercise(
        "12.nearest_code",
        title="The nearest code",
        minutes=10,
        difficulty=2,
        reference=nearest_code,
        cases=patches_and_codes,
        mistakes=NEAREST_CODE_MISTAKES,
        hints=(
            "The squared distance of a patch x and a code c is the sum of (x − c)² over their numbers.",
            "patches[:, None] − codebook has the shape (n, words, d); torch.cdist(patches, codebook) does it at once.",
            "Which code is nearest is an argmin over the codes, the last axis.",
        ),
        because="|x − c|² = |x|² − 2x·c + |c|², and |x|² is the same for all codes: one matrix product is enough.",
    ),
    Exercise(
        "12.masked_loss",
        title="The loss of what is hidden",
        minutes=10,
        difficulty=2,
        reference=masked_loss,
        shown=masked_token_loss,
        cases=logits_and_masks,
        mistakes=MASKED_LOSS_MISTAKES,
        hints=(
            "Choose first, then compute: logits[mask] has a row of logits for each hidden patch, of the whole batch.",
            "truth[mask] are the true visual tokens of the same patches, in the same order.",
            "F.cross_entropy(logits[mask], truth[mask]) is their mean.",
        ),
        because="What is visible could be copied; a loss on it would teach the net to look at the patch itself.",
    ),
    Exercise(
        "12.relative_index",
        title="How far apart?",
        minutes=15,
        difficulty=3,
        reference=relative_index,
        shown=relative_position_index,
        cases=windows,
        mistakes=RELATIVE_INDEX_MISTAKES,
        hints=(
            "Patch i stands in row i // width and column i % width.",
            "The steps from −(height − 1) to height − 1 become 0, 1, 2, … by adding height − 1; the same for columns.",
            "Then count the steps as pixels of an image that is 2 · width − 1 wide: down · (2 · width − 1) + across.",
        ),
        because="All pairs that lie alike share one number of the table, wherever they are: many teach it.",
    ),
)
