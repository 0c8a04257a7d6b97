"""Which box answers for which object: torchvision's Matcher and sampler, and what they leave open."""

import random
import re

import pytest
import torch
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler, Matcher

from lecture_utils.detection.boxes import box_iou
from lecture_utils.detection.matching import BACKGROUND, IGNORED, balanced_sample, match_boxes

from .test_boxes import random_boxes


def random_overlap(seed):
    """IoU of real boxes, rounded every third time, so that objects tie; every object is touched."""
    dice = random.Random(seed)
    objects, boxes = random_boxes(dice, dice.randint(1, 6)), random_boxes(dice, dice.randint(1, 40))
    overlap = box_iou(objects, torch.cat([objects + torch.randn(len(objects), 4) * 0.1, boxes]))
    if seed % 3 == 0:
        overlap = (overlap * 10).round() / 10
    overlap[:, 0] = overlap[:, 0].clamp(min=0.1)
    return torch.cat([overlap, torch.zeros(len(overlap), 3)], 1)  # as most of an image: boxes that touch nothing


@pytest.mark.slide("21")
@pytest.mark.parametrize("allow_low_quality_matches", [False, True])
@pytest.mark.parametrize("seed", range(200))
def test_matches_are_torchvisions(seed, allow_low_quality_matches):
    torch.manual_seed(seed)
    dice, overlap = random.Random(seed), random_overlap(seed)
    low = dice.choice([0, 0.3, 0.5, dice.random()])
    high = dice.choice([low, max(0.7, low), dice.uniform(low, 1)])
    expected = Matcher(high, low, allow_low_quality_matches=allow_low_quality_matches)(overlap)
    assert (
        match_boxes(overlap, high=high, low=low, allow_low_quality_matches=allow_low_quality_matches).tolist()
        == expected.tolist()
    )


@pytest.mark.slide("21")
def test_the_thresholds_belong_to_the_upper_side():
    overlap = torch.tensor([[0.75, 0.7499, 0.25, 0.2499, 0]])
    assert match_boxes(overlap, high=0.75, low=0.25).tolist() == [0, IGNORED, IGNORED, BACKGROUND, BACKGROUND]


@pytest.mark.slide("21")
def test_every_object_that_is_touched_gets_its_best_boxes():
    overlap = torch.tensor([[0.9, 0.1, 0.2, 0.0], [0.0, 0.2, 0.2, 0.0]])
    assert match_boxes(overlap, high=0.7, low=0.3).tolist() == [0, -1, -1, -1]
    # Both boxes that overlap the second object best of all are kept, each with the object it overlaps most.
    assert match_boxes(overlap, high=0.7, low=0.3, allow_low_quality_matches=True).tolist() == [0, 1, 0, -1]


def test_an_object_that_no_box_touches_changes_nothing():
    overlap = torch.tensor([[0.9, 0.1, 0.2], [0.0, 0.0, 0.0]])
    assert match_boxes(overlap, high=0.7, low=0.3, allow_low_quality_matches=True).tolist() == [0, -1, -1]
    # Torchvision's matcher makes all boxes positive here.
    assert (Matcher(0.7, 0.3, allow_low_quality_matches=True)(overlap) >= 0).all()


@pytest.mark.parametrize("allow_low_quality_matches", [False, True])
def test_without_objects_everything_is_background(allow_low_quality_matches):
    assert (
        match_boxes(torch.zeros(0, 3), high=0.7, low=0.3, allow_low_quality_matches=allow_low_quality_matches).tolist()
        == [BACKGROUND] * 3
    )
    assert match_boxes(
        torch.zeros(2, 0), high=0.7, low=0.3, allow_low_quality_matches=allow_low_quality_matches
    ).shape == (0,)
    assert match_boxes(
        torch.zeros(0, 0), high=0.7, low=0.3, allow_low_quality_matches=allow_low_quality_matches
    ).shape == (0,)


@pytest.mark.slide("21")
@pytest.mark.parametrize("seed", range(200))
def test_the_sample_counts_as_torchvisions(seed):
    torch.manual_seed(seed)
    dice = random.Random(seed)
    matches = torch.randint(IGNORED, dice.choice([0, 1, 5]), (dice.randint(0, 300),))
    number, share = dice.randint(0, 256), dice.choice([0, 0.25, 0.5, 1, dice.random()])
    positive, negative = balanced_sample(matches, number, share)
    # Torchvision's sampler reads 1 and more as positive, 0 as background, −1 as neither: shift by one.
    (theirs,), (others,) = BalancedPositiveNegativeSampler(number, share)([(matches + 1).clamp(max=1)])
    assert (positive.sum(), negative.sum()) == (theirs.sum(), others.sum())
    assert (matches[positive] >= 0).all()
    assert (matches[negative] == BACKGROUND).all()
    assert positive.shape == negative.shape == matches.shape


@pytest.mark.slide("21")
def test_every_candidate_is_drawn_equally_often():
    torch.manual_seed(0)
    matches = torch.tensor([3, -1, -2, 0, -1, -1, 1, -1])
    draws = torch.stack([torch.stack(balanced_sample(matches, 4, 0.5)) for _ in range(2000)]).float().mean(0)
    torch.testing.assert_close(draws[0, [0, 3, 6]], torch.full((3,), 2 / 3), rtol=0, atol=0.05)
    torch.testing.assert_close(draws[1, [1, 4, 5, 7]], torch.full((4,), 0.5), rtol=0, atol=0.05)
    assert draws.sum().item() == pytest.approx(4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: match_boxes(torch.zeros(1, 2), high=0.3, low=0.7), "low, high: got 0.7, 0.3"),
        (lambda: match_boxes(torch.zeros(1, 2), high=0.3, low=-1), "low, high: got -1, 0.3"),
        (lambda: match_boxes(torch.zeros(2), high=0.7, low=0.3), "overlap: got shape (2,), expected (objects, boxes)"),
        (lambda: balanced_sample(torch.zeros(2).long(), -1, 0.5), "number, positive_fraction: got -1, 0.5"),
        (lambda: balanced_sample(torch.zeros(2).long(), 4, 1.5), "number, positive_fraction: got 4, 1.5"),
    ],
)
def test_bad_input_is_refused_in_words(call, message):
    with pytest.raises((ValueError, TypeError), match=f"^{re.escape(message)}|jaxtyping|parameter"):
        call()
