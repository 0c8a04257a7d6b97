"""The shipped vision transformer and its rival: each scores what its card says, and their fight is fair."""

import pytest
import torch
from shipped import check_card, shipped_scores

from lecture_utils import recipes, runtime, tasks
from lecture_utils.costs import costs

# Rounding on another processor flips a picture here and there.
TOLERANCE = 0.005
NAMES = ("vit", "resnet")


@pytest.fixture(scope="module")
def scores():
    return {name: shipped_scores(name) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.slide("31", "32")
def test_a_checkpoint_scores_what_its_card_says(scores, name):
    check_card(name, scores[name], tolerance=TOLERANCE)


@pytest.mark.slide("32")
def test_both_have_learned_and_the_kind_is_easier_than_the_name(scores):
    for name in NAMES:
        assert scores[name]["accuracy"] >= 0.7, name
        assert scores[name]["kind_accuracy"] > scores[name]["accuracy"], name
        assert scores[name]["colour_accuracy"] > scores[name]["accuracy"], name


@pytest.mark.slide("32")
def test_the_fight_is_fair():
    """Equal operations and trainings; only the learning rate is each one's own."""
    vit, resnet = (recipes.recipe(name) for name in NAMES)
    for setting in ("steps", "batch_size", "task", "start"):
        assert getattr(vit, setting) == getattr(resnet, setting), setting
    image = torch.empty(1, 3, tasks.NAMED_SIZE, tasks.NAMED_SIZE, device="meta")
    first, second = (costs(recipe.build(), image) for recipe in (vit, resnet))
    assert first.flops == pytest.approx(second.flops, rel=0.05)
    assert first.parameters == pytest.approx(second.parameters, rel=0.2)


def test_their_weights_are_small():
    sizes = [runtime.shipped(f"checkpoints/{name}.safetensors").stat().st_size for name in NAMES]
    assert sum(sizes) <= 1_300_000
