"""Blockwise masks: their statistics beside those of an independent generator, shapes of blocks, seeds, bad input."""

import math
import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lecture_utils.transformers.masking import block_shape, blockwise_mask, random_block

pytestmark = pytest.mark.slide("34")


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def mask_by_sets(dice: random.Random, side: int = 14, most: int = 75, least: int = 16) -> torch.Tensor:
    """A mask by an implementation of its own of what the published code is described to do.

    With sets of places and Python's random numbers; a block that does not fit into the grid is refused.
    """
    hidden, refused = set(), 0
    while len(hidden) < most and refused < 10:
        left = most - len(hidden)
        area, stretch = dice.uniform(least, left), math.exp(dice.uniform(math.log(0.3), math.log(1 / 0.3)))
        h, w = round(math.sqrt(area * stretch)), round(math.sqrt(area / stretch))
        refused += 1
        if h >= side or w >= side:
            continue
        y, x = dice.randint(0, side - h), dice.randint(0, side - w)
        block = {(i, j) for i in range(y, y + h) for j in range(x, x + w)}
        if 0 < len(block - hidden) <= left:
            hidden |= block
            refused = 0
    return torch.tensor([[(i, j) in hidden for j in range(side)] for i in range(side)])


@pytest.fixture(scope="module")
def drawn():
    """Ours and those of the other implementation, 1,500 masks each."""
    dice = random.Random(0)
    ours = [blockwise_mask((14, 14), 75, generator=seeded(seed)) for seed in range(1500)]
    return torch.stack(ours), torch.stack([mask_by_sets(dice) for _ in ours])


def test_as_many_are_hidden_as_by_the_published_generator(drawn):
    ours, theirs = (masks.flatten(1).sum(1) for masks in drawn)
    assert ours.max() == 75
    assert ours.min() >= 60
    assert abs(ours.float().mean() - theirs.float().mean()) < 0.3
    assert abs((ours == 75).float().mean() - (theirs == 75).float().mean()) < 0.06
    assert 0.37 < ours.float().mean() / 196 < 0.39  # "about 40 %"


def test_each_place_is_hidden_as_often_as_by_the_published_generator(drawn):
    """Blocks lie within the grid, so the corners are hidden seldom and the middle often."""
    ours, theirs = (masks.float().mean(0) for masks in drawn)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0.08)  # two means of 1,500 draws each, at 196 places
    assert 0 < ours[[0, 0, -1, -1], [0, -1, 0, -1]].max() < 0.5 * ours[6:8, 6:8].min()


def test_what_is_hidden_lies_together():
    """Of four neighbours of a hidden patch more are hidden than of single patches drawn at random."""

    def together(mask):
        inside = mask[:, :-1] & mask[:, 1:]
        return inside.sum() / mask.sum()

    blocks = [blockwise_mask((14, 14), 75, generator=seeded(seed)) for seed in range(50)]
    single = [torch.randperm(196, generator=seeded(seed)).view(14, 14) < 75 for seed in range(50)]
    assert min(map(together, blocks)) > 0.6
    assert max(map(together, single)) < 0.5


def test_blocks_can_be_single_patches():
    """Then the hidden ones are as scattered as by a shuffle: as many pairs of neighbours within 4 standard errors."""
    masks = [
        blockwise_mask((14, 14), 75, min_num_patches=1, max_num_patches=1, aspect=1, generator=seeded(seed))
        for seed in range(200)
    ]
    pairs = torch.stack([(mask[:, :-1] & mask[:, 1:]).sum() for mask in masks]).float()
    assert sum(mask.sum() == 75 for mask in masks) >= 195  # ten refusals in a row end the others early
    expected = 14 * 13 * 75 / 196 * 74 / 195
    assert abs(pairs.mean() - expected) < 4 * pairs.std() / 200**0.5


def test_one_seed_is_one_mask():
    one, same, other = (blockwise_mask((9, 12), 40, generator=seeded(seed)) for seed in (5, 5, 6))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_without_a_generator_torchs_own_decides():
    with torch.random.fork_rng():
        masks = []
        for seed in (1, 1, 2):
            torch.manual_seed(seed)
            masks.append(blockwise_mask((6, 8), 20))
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])


@given(
    grid=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    ratio=st.floats(0, 1),
    least=st.integers(1, 30),
    aspect=st.floats(0.05, 1),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=150, deadline=None)
def test_any_grid_is_never_hidden_more_than_asked_for(grid, ratio, least, aspect, seed):
    most = int(ratio * grid[0] * grid[1])
    mask = blockwise_mask(grid, most, min_num_patches=least, aspect=aspect, generator=seeded(seed))
    assert mask.shape == grid
    assert mask.dtype == torch.bool
    assert mask.sum() <= most


@pytest.mark.parametrize(
    "grid", [(1, 2), (2, 1), (2, 2), (3, 3), (1, 9), (4, 4), (4, 7), (5, 5), (6, 6), (8, 8), (20, 2)]
)
@pytest.mark.parametrize("share", [0.2, 0.4, 0.9])
def test_a_small_grid_is_hidden_nearly_as_much_as_asked_for(grid, share):
    """Blocks of 16 patches or more do not fit there; the paper's own grid loses at most a fifth."""
    most = max(1, round(share * grid[0] * grid[1]))
    hidden = [int(blockwise_mask(grid, most, generator=seeded(seed)).sum()) for seed in range(100)]
    assert 0.75 * most <= min(hidden)
    assert max(hidden) <= most


def test_large_blocks_and_thin_ones_end_too():
    for options in ({"min_num_patches": 1000}, {"aspect": 1e-4}, {"min_num_patches": 60, "max_num_patches": 90}):
        assert blockwise_mask((6, 7), 17, generator=seeded(3), **options).sum() >= 13, options


@pytest.mark.parametrize(
    ("grid", "most", "checksums"),
    [((14, 14), 75, [445133, 635292, 804515, 1096367]), ((12, 12), 55, [192006, 288849, 347656, 344833])],
)
def test_where_blocks_fit_draws_are_those_that_the_shipped_models_saw(grid, most, checksums):
    """Places hidden, as one number, by four seeds, as they were before small grids had smaller blocks."""
    masks = [blockwise_mask(grid, most, generator=seeded(seed)).flatten().nonzero() for seed in range(4)]
    assert [int(places.square().sum()) for places in masks] == checksums


def test_all_or_nothing_can_be_hidden():
    assert not blockwise_mask((5, 7), 0).any()
    assert blockwise_mask((1, 3), 3, min_num_patches=1, generator=seeded(0)).all()
    assert blockwise_mask((3, 4), 12, min_num_patches=40, generator=seeded(0)).all()  # one block, cut to the grid


@pytest.mark.parametrize(
    ("area", "aspect", "grid", "shape"),
    [
        (16, 1, (14, 14), (4, 4)),
        (36, 4, (14, 14), (12, 3)),
        (36, 0.25, (14, 14), (3, 12)),
        (75, 3, (14, 14), (14, 5)),  # 15 high, cut to the grid
        (75, 1 / 3, (20, 10), (5, 10)),
        (0.1, 1, (3, 3), (1, 1)),
    ],
)
def test_the_shape_of_a_block(area, aspect, grid, shape):
    assert block_shape(area, aspect, grid) == shape


def test_blocks_have_the_area_and_aspect_asked_for():
    dice = seeded(0)
    blocks = [random_block((100, 80), (400, 900), 0.3, dice) for _ in range(500)]
    shapes = torch.tensor([(rows.stop - rows.start, columns.stop - columns.start) for rows, columns in blocks]).double()
    area, aspect = shapes.prod(1), shapes[:, 0] / shapes[:, 1]
    assert area.min() >= 380
    assert area.max() <= 920
    assert aspect.min() >= 0.3 * 0.9
    assert aspect.max() <= 1.1 / 0.3
    assert abs(aspect.log().mean()) < 0.1  # as often high as wide
    assert all(
        0 <= part.start < part.stop <= side for block in blocks for part, side in zip(block, (100, 80), strict=True)
    )


@pytest.mark.parametrize(
    ("grid", "most", "options", "says"),
    [
        ((0, 3), 0, {}, "height: got 0"),
        ((3, 3), 10, {}, r"most: got 10, expected 0 to 9, the patches of a grid \(3, 3\)"),
        ((3, 3), -1, {}, "most: got -1"),
        ((3, 3), 3, {"min_num_patches": 0}, "min_num_patches: got 0"),
        (
            (3, 3),
            3,
            {"min_num_patches": 4, "max_num_patches": 3},
            "max_num_patches: got 3, expected at least min_num_patches=4",
        ),
        ((3, 3), 3, {"aspect": 0}, "aspect: got 0"),
        ((3, 3), 3, {"aspect": 1.5}, "aspect: got 1.5"),
        ((3, 3), 3, {"aspect": math.nan}, "aspect: got nan"),
    ],
)
def test_bad_input_is_refused(grid, most, options, says):
    with pytest.raises(ValueError, match=says):
        blockwise_mask(grid, most, **options)
