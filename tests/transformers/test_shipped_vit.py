"""The shipped vision transformer and its rival: each scores what its card says, and their fight is fair."""

from dataclasses import replace

import pytest
import torch
from shipped import ShippedScores, check_card

from lecture_utils import datasets, recipes, runtime, tasks
from lecture_utils.costs import costs
from lecture_utils.datasets import LabelledObjects
from lecture_utils.transformers import class_token_attention, rollout

# Rounding on another processor flips an image here and there.
TOLERANCE = 0.005
NAMES = ("vit", "resnet")


@pytest.fixture(scope="module")
def scores():
    return ShippedScores()


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
    assert (vit.task, vit.start) == (resnet.task, resnet.start)
    assert replace(vit.options, lr=1) == replace(resnet.options, lr=1)
    image = torch.empty(1, 3, datasets.CLASSIFICATION_SIZE, datasets.CLASSIFICATION_SIZE, device="meta")
    first, second = (costs(recipe.build(), image) for recipe in (vit, resnet))
    assert first.flops == pytest.approx(second.flops, rel=0.05)
    assert first.parameters == pytest.approx(second.parameters, rel=0.2)


@pytest.mark.slide("31")
def test_rollout_falls_on_the_thing():
    """In most images the darkest patch touches its box, far more often than a map of another image does."""
    seen = LabelledObjects("val", 200, transforms=tasks.photo_transforms())
    vit = recipes.load("vit")
    images = torch.stack([image for image, _ in seen])
    maps = class_token_attention(rollout(vit.attention_maps(images)), vit.grid)

    def touching(maps):
        best = maps.flatten(1).argmax(1)
        y, x = vit.patch_size * (best // maps.shape[2]), vit.patch_size * (best % maps.shape[2])
        x0, y0, x1, y1 = seen.boxes.unbind(1)
        return ((x < x1) & (x + vit.patch_size > x0) & (y < y1) & (y + vit.patch_size > y0)).float().mean()

    assert touching(maps) >= 0.6
    assert touching(maps) >= 2 * touching(maps.roll(1, 0))


def test_their_weights_are_small():
    sizes = [runtime.resource_path(f"checkpoints/{name}.safetensors").stat().st_size for name in NAMES]
    assert sum(sizes) <= 1_300_000
