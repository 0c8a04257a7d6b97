"""What students write for notebook 12: right in several ways, and wrong in many (`test_all.py` judges them)."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from lecture_course.engine.definitions import Exercise
from lecture_course.nb12_beit.exercises import EXERCISES, masked_loss, relative_index
from lecture_utils.transformers.beit import masked_token_loss
from lecture_utils.transformers.relative_position import relative_position_index

# 12.block, right


def block_by_height(area, aspect, grid):
    height = math.sqrt(area * aspect)
    width = area / height
    return max(1, min(grid[0], round(height))), max(1, min(grid[1], round(width)))


def block_by_numpy(area, aspect, grid):
    sides = np.rint(np.sqrt([area * aspect, area / aspect]))
    height, width = np.clip(sides, 1, grid).astype(int)
    return int(height), int(width)


# 12.block, wrong


def block_turned(area, aspect, grid):
    return block_by_height(area, 1 / aspect, grid)


def block_without_root_of_aspect(area, aspect, grid):
    height, width = aspect * area**0.5, area**0.5 / aspect
    return max(1, min(grid[0], round(height))), max(1, min(grid[1], round(width)))


def block_square(area, aspect, grid):
    side = round(area**0.5)
    return max(1, min(grid[0], side)), max(1, min(grid[1], side))


def block_cut_down(area, aspect, grid):
    height, width = math.sqrt(area * aspect), math.sqrt(area / aspect)
    return max(1, min(grid[0], int(height))), max(1, min(grid[1], int(width)))


def block_unclipped(area, aspect, grid):
    return max(1, round(math.sqrt(area * aspect))), max(1, round(math.sqrt(area / aspect)))


def block_that_vanishes(area, aspect, grid):
    return min(grid[0], round(math.sqrt(area * aspect))), min(grid[1], round(math.sqrt(area / aspect)))


def block_from_the_whole_height(area, aspect, grid):
    height = max(1, min(grid[0], round((area * aspect) ** 0.5)))
    return height, max(1, min(grid[1], round(area / height)))


def block_of_fractions(area, aspect, grid):
    height, width = math.sqrt(area * aspect), math.sqrt(area / aspect)
    return max(1, min(grid[0], height)), max(1, min(grid[1], width))


def block_as_one_number(area, aspect, grid):
    height, width = block_by_height(area, aspect, grid)
    return height * width


def block_with_an_error(area, aspect, grid):
    return round(math.sqrt(area * aspect)).clip(1, grid[0])


# 12.nearest_code, right


def nearest_by_cdist(patches, codebook):
    return torch.cdist(patches, codebook).argmin(dim=1)


def nearest_by_loops(patches, codebook):
    return torch.stack([((patch - codebook) ** 2).sum(dim=1).argmin() for patch in patches])


def nearest_by_product(patches, codebook):
    scores = patches @ codebook.T - 0.5 * (codebook**2).sum(1)
    return scores.argmax(1)


# 12.nearest_code, wrong


def nearest_is_farthest(patches, codebook):
    return torch.cdist(patches, codebook).argmax(dim=1)


def nearest_patch_of_code(patches, codebook):
    return torch.cdist(patches, codebook).argmin(dim=0)


def nearest_by_dot(patches, codebook):
    return (patches @ codebook.T).argmax(dim=1)


def nearest_by_cosine(patches, codebook):
    return F.cosine_similarity(patches[:, None], codebook[None], dim=-1).argmax(1)


def nearest_by_plain_sum(patches, codebook):
    return (patches[:, None] - codebook).sum(-1).abs().argmin(1)


def nearest_distance(patches, codebook):
    return ((patches[:, None] - codebook) ** 2).sum(-1).min(1).values


def nearest_itself(patches, codebook):
    return codebook[torch.cdist(patches, codebook).argmin(1)]


def nearest_by_city_blocks(patches, codebook):
    return torch.cdist(patches, codebook, p=1).argmin(1)


def nearest_as_int32(patches, codebook):
    return torch.cdist(patches, codebook).argmin(1).int()


def nearest_as_a_list(patches, codebook):
    return torch.cdist(patches, codebook).argmin(1).tolist()


# 12.masked_loss, right


def loss_by_indexing(logits, words, mask):
    return F.cross_entropy(logits[mask], words[mask])


def loss_by_hand(logits, words, mask):
    likely = logits.log_softmax(-1).gather(-1, words.unsqueeze(-1)).squeeze(-1)
    return -(likely * mask).sum() / mask.sum()


def loss_by_ignoring(logits, words, mask):
    return F.cross_entropy(logits.flatten(0, 1), words.masked_fill(~mask, -100).flatten())


# 12.masked_loss, wrong


def loss_of_all(logits, words, mask):
    return F.cross_entropy(logits.flatten(0, 1), words.flatten())


def loss_of_visible(logits, words, mask):
    return F.cross_entropy(logits[~mask], words[~mask])


def loss_over_all_places(logits, words, mask):
    return (F.cross_entropy(logits.transpose(1, 2), words, reduction="none") * mask).mean()


def loss_summed(logits, words, mask):
    return F.cross_entropy(logits[mask], words[mask], reduction="sum")


def loss_of_zeroed_logits(logits, words, mask):
    return F.cross_entropy((logits * mask[..., None]).flatten(0, 1), words.flatten())


def loss_with_two_softmaxes(logits, words, mask):
    return F.cross_entropy(logits[mask].softmax(-1), words[mask])


def loss_without_logarithm(logits, words, mask):
    return -logits[mask].softmax(-1)[torch.arange(int(mask.sum())), words[mask]].mean()


def loss_unreduced(logits, words, mask):
    return F.cross_entropy(logits[mask], words[mask], reduction="none")


def loss_as_a_number(logits, words, mask):
    return F.cross_entropy(logits[mask], words)


# 12.relative_index, right


def index_by_loops(height, width):
    places = [(y, x) for y in range(height) for x in range(width)]
    rows = [[(a - c + height - 1) * (2 * width - 1) + b - d + width - 1 for c, d in places] for a, b in places]
    return torch.tensor(rows)


def index_by_meshgrid(height, width):
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    y, x = y.flatten(), x.flatten()
    down = y.unsqueeze(1) - y.unsqueeze(0) + height - 1
    across = x.unsqueeze(1) - x.unsqueeze(0) + width - 1
    return down * (2 * width - 1) + across


# 12.relative_index, wrong


def index_turned(height, width):
    return index_by_loops(height, width).T


def index_by_width(height, width):
    place = torch.arange(height * width)
    down = (place // width)[:, None] - place // width + height - 1
    return down * width + (place % width)[:, None] - place % width + width - 1


def index_by_height(height, width):
    place = torch.arange(height * width)
    down = (place // width)[:, None] - place // width + height - 1
    return down * (2 * height - 1) + (place % width)[:, None] - place % width + width - 1


def index_below_zero(height, width):
    place = torch.arange(height * width)
    return ((place // width)[:, None] - place // width) * (2 * width - 1) + (place % width)[:, None] - place % width


def index_without_signs(height, width):
    place = torch.arange(height * width)
    return ((place // width)[:, None] - place // width).abs() * width + ((place % width)[:, None] - place % width).abs()


def index_by_columns(height, width):
    place = torch.arange(height * width)
    across = (place % width)[:, None] - place % width + width - 1
    return across * (2 * height - 1) + (place // width)[:, None] - place // width + height - 1


def index_along_the_sequence(height, width):
    place = torch.arange(height * width)
    return place[:, None] - place + height * width - 1


def index_with_class_token(height, width):
    return relative_position_index((height, width))


def index_as_floats(height, width):
    return index_by_loops(height, width).float()


RIGHT = {
    "12.forty_percent": [78, 78.0],
    "12.block": [block_by_height, block_by_numpy],
    "12.nearest_code": [nearest_by_cdist, nearest_by_loops, nearest_by_product],
    "12.masked_loss": [loss_by_indexing, loss_by_hand, loss_by_ignoring],
    "12.relative_index": [index_by_loops, index_by_meshgrid],
}

WRONG = {
    "12.forty_percent": [(75, "published code"), (5, "one side"), (79, "round down"), (118, "stay visible"), (60, "")],
    "12.block": [
        (block_turned, "exchanged"),
        (block_without_root_of_aspect, "not under the root"),
        (block_square, "aspect is not used"),
        (block_from_the_whole_height, "rounded already"),
        (block_cut_down, "rounded down"),
        (block_unclipped, "larger than the grid"),
        (block_that_vanishes, "at least one patch"),
        (block_of_fractions, "no whole numbers"),
        (block_as_one_number, "2 values"),
        (block_with_an_error, "AttributeError"),
    ],
    "12.nearest_code": [
        (nearest_is_farthest, "argmin"),
        (nearest_patch_of_code, "of each patch"),
        (nearest_by_dot, "long codes win"),
        (nearest_by_cosine, "cosine"),
        (nearest_by_plain_sum, "cancel out"),
        (nearest_distance, "number of the nearest"),
        (nearest_itself, "their numbers"),
        (nearest_by_city_blocks, "squares them"),
        (nearest_as_int32, "int32"),
        (nearest_as_a_list, "list"),
    ],
    "12.masked_loss": [
        (loss_of_all, "only the hidden ones"),
        (loss_of_visible, "visible patches"),
        (loss_over_all_places, "divide by the number of the hidden"),
        (loss_summed, "a sum"),
        (loss_of_zeroed_logits, "leave them out"),
        (loss_with_two_softmaxes, "twice"),
        (loss_without_logarithm, "logarithms"),
        (loss_unreduced, "their mean"),
        (loss_as_a_number, "RuntimeError"),
    ],
    "12.relative_index": [
        (index_turned, "other way round"),
        (index_by_width, "along the sequence"),
        (index_by_height, "taken the height"),
        (index_below_zero, "begin at 0"),
        (index_without_signs, "keep the sign"),
        (index_by_columns, "along the rows"),
        (index_along_the_sequence, "different steps"),
        (index_with_class_token, "one entry too long"),
        (index_as_floats, "float32"),
    ],
}


@pytest.mark.slide("34")
@pytest.mark.slide("35")
def test_every_exercise_has_right_and_wrong_answers():
    for exercise in EXERCISES:
        assert len(RIGHT[exercise.name]) >= 2
        assert len(WRONG[exercise.name]) >= (5 if isinstance(exercise, Exercise) else 3)


@pytest.mark.slide("34")
def test_references_are_the_packages_own():
    assert torch.equal(relative_index(3, 5), relative_position_index((3, 5))[1:, 1:])
    logits, words = torch.randn(2, 6, 4), torch.randint(4, (2, 6))
    mask = torch.tensor([[1, 0, 0, 1, 0, 0], [0, 0, 0, 0, 0, 1]], dtype=torch.bool)
    torch.testing.assert_close(masked_loss(logits, words, mask), masked_token_loss(logits, words, mask[:, None]))
