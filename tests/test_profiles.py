"""The full profile: a second budget in the recipes, a wider model on larger scenes, for a GPU of 15 GB."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from lecture_utils import __main__, checkpoints, datasets, recipes, runtime, studies, tasks, toycity
from lecture_utils.costs import T4, costs
from lecture_utils.tasks import detection

SAMPLE = str(runtime.resource_path("sample"))


@pytest.fixture
def pixel_has_two(monkeypatch):
    """The smallest network with a second budget: the same network, three steps of two images."""
    options = replace(recipes.RECIPES["pixel"].options, steps=3, batch_size=2)
    full = replace(recipes.RECIPES["pixel"], profile="full", size=64, options=options)
    monkeypatch.setitem(recipes.FULL, "pixel", full)
    return full


@pytest.mark.parametrize("name", recipes.FULL)
def test_the_full_budget_is_wider_and_fits_a_t4(name):
    quick, full = recipes.recipe(name), recipes.recipe(name, "full")
    narrow, wide = (sum(p.numel() for p in chosen.build().parameters()) for chosen in (quick, full))
    crops = quick.pixels == datasets.CROP_SIZE  # four times the pixels, not seven
    assert wide > (3 if crops else 8) * narrow
    assert full.size == (datasets.FULL_CROP_SIZE if crops else datasets.FULL_SIZE) > (quick.size or datasets.CROP_SIZE)
    counted = recipes.batch_costs(full)  # in fp32; with autocast about half
    weights_gradients_and_moments = 4 * 4 * counted.parameters
    driver = 1e9
    assert 2 * counted.activations + weights_gradients_and_moments < T4.memory - driver


def test_a_batch_costs_as_many_times_what_one_image_does():
    full = recipes.recipe("unet", "full")
    batch = torch.empty(full.options.batch_size, 3, full.size, full.size, device="meta")
    whole, counted = costs(full.build().train(), batch), recipes.batch_costs(full)
    assert counted[:2] == whole[:2]
    assert counted.activations == pytest.approx(whole.activations, rel=1e-3)


@pytest.mark.parametrize("name", ["fast_rcnn", "faster_rcnn"])
def test_a_detectors_costs_are_those_of_its_training(name):
    """Its backbone, its sampled regions and, of Faster R-CNN, its RPN: half of the work is behind the backbone."""
    full = recipes.recipe(name, "full")
    model = full.build().train()
    image = torch.empty(1, 3, full.size, full.size, device="meta")
    regions = torch.empty(model.head.batch_size_per_image, 256, 7, 7, device="meta")
    parts = costs(model.backbone, image).flops + sum(
        2 * regions.shape[0] * layer.weight.numel() for layer in model.head.modules() if isinstance(layer, nn.Linear)
    )
    if name == "faster_rcnn":
        points = (full.size // model.rpn.anchor_stride) ** 2
        layers = (model.rpn.conv, model.rpn.objectness, model.rpn.deltas)
        parts += sum(2 * points * layer.weight.numel() for layer in layers)
    assert recipes.batch_costs(full).flops == full.options.batch_size * parts


def test_detectors_of_the_full_profile_see_twice_as_large_anchors_and_as_many_images():
    quick, full = recipes.recipe("faster_rcnn"), recipes.recipe("faster_rcnn", "full")
    assert (full.build().rpn.base - 2 * quick.build().rpn.base).abs().max() <= 1  # both are whole pixels
    seen = [chosen.options.steps * chosen.options.batch_size for chosen in (quick, full)]
    assert seen[0] == seen[1]
    assert full.size == 2 * datasets.DETECTION_SIZE


def test_a_detectors_scores_do_not_depend_on_the_size_of_the_profile(tmp_path):
    toycity.export(tmp_path, split="val", scenes=8, size=64, quiet=True)
    run = runtime.setup(device="cpu", quiet=True)

    class Near(nn.Module):
        """Finds every object a little beside its place, in the city's small images."""

        def forward(self, images):
            self.count, size = getattr(self, "count", 0), images.shape[-1]
            found = [truth[index] for index in range(self.count, self.count + len(images))]
            self.count += len(images)
            return [one | {"boxes": (one["boxes"] + 1) * size / 64, "scores": one["boxes"][:, 0]} for one in found]

    truth = [target for _, target in tasks.detection_data("val", tmp_path)]
    truth = [{key: target[key].as_subclass(torch.Tensor) for key in ("boxes", "labels")} for target in truth]
    small, large = (
        detection.score_detection(Near(), tasks.detection_data("val", tmp_path, size=size), run) for size in (64, 128)
    )
    assert 0 < small["map"] < 1
    assert recipes.metrics(small) == recipes.metrics(large)


def test_what_has_one_budget_keeps_it():
    assert recipes.recipe("rpn1", "full") is recipes.recipe("rpn1")
    with pytest.raises(ValueError, match="profile: got 'huge', expected one of 'quick', 'full'"):
        recipes.recipe("unet", "huge")


def test_a_checkpoint_of_the_full_profile_is_loaded_as_what_it_is(tmp_path, capsys):
    file = tmp_path / "wide.safetensors"
    kind = ["--root", SAMPLE, "--size", "32", "--checkpoint", str(file)]
    command = ["train", "unet", "--profile", "full", "--steps", "1", "--batch-size", "2", "--workers", "0", *kind]
    full = recipes.FULL["unet"]
    val = replace(full.task, data=lambda split, root, size: full.task.data("val", root, size=size))
    with pytest.MonkeyPatch.context() as patch:  # the sample has no training scenes
        patch.setitem(recipes.FULL, "unet", replace(full, task=val))
        assert __main__.main(command) == 0
    assert checkpoints.settings(file)["profile"] == "full"
    wide = recipes.load("unet", file)
    assert wide.encoder[0][0].out_channels == 32
    capsys.readouterr()
    assert __main__.main(["evaluate", "unet", "--split", "val", *kind]) == 0
    assert "unet on 32 unseen scenes" in capsys.readouterr().out


def test_the_city_comes_in_the_size_of_the_profile(pixel_has_two):
    quick = recipes.recipe("pixel")
    assert recipes.city_size(quick, None, None) is None
    assert recipes.city_size(pixel_has_two, None, None) == 64
    assert recipes.city_size(pixel_has_two, None, 80) == 80
    assert recipes.city_size(pixel_has_two, SAMPLE, None) is None  # one's own images are taken as they are


def test_shipped_weights_are_those_of_the_quick_profile(capsys):
    assert __main__.main(["train", "unet", "--profile", "full", "--ship"]) == 2
    assert "--ship: expected the quick profile" in capsys.readouterr().err
    assert __main__.main(["train", "unet", "--profile", "huge"]) == 2
    assert "profile: expected one of quick, full, got 'huge'" in capsys.readouterr().err


def test_a_study_in_the_full_profile_trains_the_shipped_seed_as_well(monkeypatch, tmp_path, pixel_has_two):
    seen = []

    def train(name, run, *, checkpoint, **how):
        seen.append((run.profile, run.seed, checkpoint.name))
        return recipes.recipe(name).build(), runtime.Machine()

    def evaluate(name, model, run, *, size, split):
        seen.append(size)
        return 500, {"miou": 0.5}

    monkeypatch.setattr(runtime.Machine, "seconds", 1, raising=False)
    monkeypatch.setattr(recipes, "train", train)
    monkeypatch.setattr(recipes, "evaluate", evaluate)
    monkeypatch.setitem(studies.STUDIES, "one", studies.Study(("pixel",), seeds=(0,)))
    studies.make("one", runs=tmp_path, profile="full")
    assert seen == [("full", 0, "pixel-full-seed0.safetensors"), 64]


def test_a_smoke_run_makes_a_small_city_in_a_folder_of_its_own(monkeypatch, tmp_path):
    monkeypatch.setenv("LECTURE_DATA", str(tmp_path))
    monkeypatch.setenv("LECTURE_BUDGET", "smoke")
    monkeypatch.setattr(datasets.source, "FULL_SIZE", 64)
    monkeypatch.setattr(runtime, "SMOKE_SCENES", 2)
    assert datasets.toy_city(64) == tmp_path / "city-64-smoke"
    assert len(datasets.CityscapesPairs(tmp_path / "city-64-smoke", "train")) == 2
    assert datasets.cityscapes_root(size=64)[1] == "the toy city at 64 × 64 pixels: 2 train, 2 val, 2 test scenes"
