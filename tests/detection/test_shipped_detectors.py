"""The shipped detectors: each scores what its card says, and they stand in the order of the lecture."""

import pytest
from shipped import check_card, shipped_scores

from lecture_utils import recipes, tasks

# A detection that moves across an IoU threshold or the hundredth place counts or does not: more than a pixel's rounding.
TOLERANCE = 0.01
DETECTORS = [name for name, recipe in recipes.RECIPES.items() if recipe.task is not tasks.SEGMENTATION]


@pytest.fixture(scope="module")
def scores():
    return {name: shipped_scores(name) for name in DETECTORS}


@pytest.mark.parametrize("name", DETECTORS)
def test_a_checkpoint_scores_what_its_card_says(scores, name):
    check_card(name, scores[name], tolerance=TOLERANCE)


@pytest.mark.slide("20")
def test_faster_rcnn_finds_the_things_of_the_city(scores):
    assert scores["faster_rcnn"]["map"] >= 0.5
    assert scores["faster_rcnn"]["map_50"] >= 0.85
    assert min(scores["faster_rcnn"]["ap"].values()) >= 0.4
