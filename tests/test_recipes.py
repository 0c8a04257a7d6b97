"""The shipped models: each scores what its card says, and the three stand apart as the lecture claims."""

from dataclasses import replace

import pytest
import torch
from shipped import ShippedScores, check_card

from lecture_utils import recipes, runtime, tasks, training

# Rounding on another processor flips a pixel here and there.
TOLERANCE = 0.003


SEGMENTERS = [name for name, recipe in recipes.RECIPES.items() if recipe.task is tasks.segmentation.SEGMENTATION]


@pytest.fixture(scope="module")
def scores():
    return ShippedScores()


@pytest.mark.parametrize("name", SEGMENTERS)
def test_a_checkpoint_scores_what_its_card_says(scores, name):
    check_card(name, scores[name], tolerance=TOLERANCE)


def test_the_shipped_weights_are_small():
    for name in recipes.RECIPES:
        assert runtime.resource_path(f"checkpoints/{name}.safetensors").stat().st_size <= 6_000_000
    assert sum(path.stat().st_size for path in runtime.resource_path("checkpoints").iterdir()) <= 60_000_000


@pytest.mark.slide("04", "12", "13")
def test_context_and_skips_are_worth_what_the_lecture_claims(scores):
    unet, fcn, pixel = (scores[name] for name in ("unet", "fcn", "pixel"))
    assert unet["miou"] >= 0.80
    assert fcn["miou"] <= unet["miou"] - 0.15
    assert pixel["miou"] <= 0.45
    assert unet["miou_thin"] >= max(0.60, 2 * fcn["miou_thin"])


@pytest.mark.slide("12")
def test_skip_connections_are_worth_most_on_thin_classes(scores):
    """One training each, alike but for the skips."""
    unet, without = scores["unet"], scores["unet_without_skips"]
    assert unet["miou"] > without["miou"] + 0.1
    assert unet["miou_thin"] - without["miou_thin"] > unet["miou"] - without["miou"]
    assert without["miou"] > scores["fcn"]["miou"] + 0.05


@pytest.mark.slide("07")
def test_finer_strides_are_better_as_in_the_paper(scores):
    """Table 3 of Long et al.: mean IoU 59.4, 62.4 and 62.7 for strides 32, 16 and 8."""
    coarse, middle, fine = (scores[name] for name in ("fcn", "fcn16s", "fcn8s"))
    for metric in ("accuracy", "miou", "miou_thin"):
        assert coarse[metric] + 0.01 < middle[metric] < fine[metric] - 0.01, metric
    assert fine["miou"] < scores["unet"]["miou"]


@pytest.mark.slide("07", "09")
def test_switches_keep_outlines_but_not_thin_things(scores):
    """DeconvNet labels more pixels rightly than an FCN with one skip; in its paper it is ahead of FCN-8s, not here."""
    deconvnet = scores["deconvnet"]
    assert deconvnet["accuracy"] > scores["fcn16s"]["accuracy"] + 0.01
    assert deconvnet["miou"] > scores["fcn"]["miou"] + 0.02
    assert deconvnet["miou_thin"] < scores["fcn8s"]["miou_thin"] - 0.1


def test_a_model_that_continues_another_is_made_after_it():
    """`make checkpoints` trains them in the order of the recipes."""
    order = list(recipes.RECIPES)
    starts = {name: recipe.start for name, recipe in recipes.RECIPES.items() if recipe.start}
    assert starts == {"fcn16s": "fcn", "fcn8s": "fcn16s", "beit_segmentation": "beit"}
    assert all(order.index(start) < order.index(name) for name, start in starts.items())


def test_training_begins_with_the_weights_it_starts_from(monkeypatch):
    begun = []
    val = replace(
        tasks.segmentation.SEGMENTATION, data=lambda split, root, size: tasks.segmentation_data("val", root, size=size)
    )
    monkeypatch.setitem(recipes.RECIPES, "fcn8s", replace(recipes.RECIPES["fcn8s"], task=val))
    monkeypatch.setattr(training, "fit", lambda model, data, options, **how: begun.append(options))
    model, _ = recipes.train("fcn8s", runtime.setup(quiet=True), root=runtime.resource_path("sample"), steps=7)
    assert begun == [replace(recipes.RECIPES["fcn8s"].options, steps=7)]
    learnt, own = recipes.load("fcn16s").state_dict(), model.state_dict()
    assert all(torch.equal(own[name], learnt[name]) for name in learnt if name != "enlarge.weight")
    assert own["skips.1.weight"].count_nonzero() == 0


def test_a_training_that_began_with_other_weights_is_not_gone_on_with(monkeypatch, tmp_path):
    val = replace(
        tasks.segmentation.SEGMENTATION, data=lambda split, root, size: tasks.segmentation_data("val", root, size=size)
    )
    monkeypatch.setitem(recipes.RECIPES, "fcn8s", replace(recipes.RECIPES["fcn8s"], task=val))
    kind = {
        "root": runtime.resource_path("sample"),
        "steps": 1,
        "checkpoint": tmp_path / "fcn8s.safetensors",
        "quiet": True,
    }
    recipes.train("fcn8s", runtime.setup(quiet=True), **kind)
    _, history = recipes.train("fcn8s", runtime.setup(quiet=True), **kind)
    assert history.steps == 1
    monkeypatch.setitem(recipes.RECIPES, "fcn8s", replace(recipes.RECIPES["fcn8s"], task=val, start="fcn8s"))
    with pytest.raises(ValueError, match=r"of another training \(start '\d+' there, '\d+' here"):
        recipes.train("fcn8s", runtime.setup(quiet=True), **kind)


def test_a_new_model_is_prepared_before_its_training(monkeypatch):
    """BEiT needs its words, which it finds in the images to learn from, before a loss can be counted."""
    done = []
    task = replace(
        tasks.segmentation.SEGMENTATION,
        data=lambda split, root, size: tasks.segmentation_data("val", root, size=size),
        prepare=lambda model, data: done.append(("prepare", type(model).__name__, len(data))),
    )
    monkeypatch.setitem(recipes.RECIPES, "pixel", replace(recipes.RECIPES["pixel"], task=task))
    monkeypatch.setattr(training, "fit", lambda model, data, options, **how: done.append("fit"))
    recipes.train("pixel", runtime.setup(quiet=True), root=runtime.resource_path("sample"))
    assert done == [("prepare", "PixelClassifier", 32), "fit"]


def test_a_share_is_the_first_items_of_the_training_set(monkeypatch):
    seen = []
    val = replace(
        tasks.segmentation.SEGMENTATION, data=lambda split, root, size: tasks.segmentation_data("val", root, size=size)
    )
    monkeypatch.setitem(recipes.RECIPES, "pixel", replace(recipes.RECIPES["pixel"], task=val))
    monkeypatch.setattr(training, "fit", lambda model, data, options, **how: seen.append(data))
    for fraction in (1, 0.25, 0.001):
        recipes.train("pixel", runtime.setup(quiet=True), root=runtime.resource_path("sample"), fraction=fraction)
    assert [len(data) for data in seen] == [32, 8, 1]
    assert seen[1].indices == range(8)
    for fraction in (0, -1, 1.5, float("nan")):
        with pytest.raises(ValueError, match="fraction: got"):
            recipes.train("pixel", runtime.setup(quiet=True), root=runtime.resource_path("sample"), fraction=fraction)


@pytest.mark.slide("04", "05")
def test_each_larger_patch_is_worth_more_and_the_single_pixel_least(scores):
    miou = [scores[name]["miou"] for name in ("pixel", "patch5", "patch13", "patch", "unet")]
    assert miou == sorted(miou)
    assert miou[0] < 0.5 * miou[-1]
    assert miou[3] > 2 * miou[0]


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(ValueError, match="name: got 'vgg', expected one of unet, unet_without_skips, fcn"):
        recipes.load("vgg")
