"""The shipped captioners: each scores what its card says, and they stand apart as the lecture claims."""

import pytest
from shipped import ShippedScores, check_card

from lecture_utils import recipes, tasks

# A word that is nearly as likely as another may fall the other way on another processor, and all after it with it.
TOLERANCE = 0.01
TASKS = (tasks.captioning.CAPTIONS, tasks.captioning.ATTENDING, tasks.captioning.PIXEL_CAPTIONS)
CAPTIONERS = [name for name, recipe in recipes.RECIPES.items() if recipe.task in TASKS]


@pytest.fixture(scope="module")
def scores():
    return ShippedScores()


@pytest.mark.parametrize("name", CAPTIONERS)
@pytest.mark.slide("25", "27", "29", "30")
def test_a_checkpoint_scores_what_its_card_says(scores, name):
    check_card(name, scores[name], tolerance=TOLERANCE)


@pytest.mark.slide("27")
def test_attention_falls_on_what_is_named(scores):
    looks = scores["show_attend_tell"]
    assert looks["pointing"] >= 0.80
    assert looks["pointing"] >= 2 * max(looks["pointing_chance"], looks["pointing_shuffled"])
