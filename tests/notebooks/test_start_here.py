"""What notebook 00 trains and shows for slides 1 to 3, from its own cells, held against what no cell decides."""

from pathlib import Path

import nbformat
import pytest
import torch

from lecture_utils import captioning, city_models, recipes, runtime, tasks, toycity
from lecture_utils.cityscapes import CLASSES, IGNORE_INDEX
from lecture_utils.datasets import CocoInstances, LabelledObjects
from lecture_utils.detection.boxes import box_iou
from lecture_utils.toycity.describe import LIST, phrase
from lecture_utils.toycity.facts import facts

NOTEBOOK = Path(__file__).resolve().parents[2] / "notebooks" / "00_start_here.ipynb"


@pytest.fixture(scope="module")
def names():
    """The names that the notebook's cells leave, in the quick profile on a CPU."""
    found = {"run": runtime.setup(seed=0, device="cpu", profile="quick", quiet=True)}
    cells = [cell for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]
    for cell in cells[1:]:  # the first installs the course
        exec(cell.source, found)
    return found


@pytest.mark.slide("01")
def test_the_classifier_names_unseen_crops(names):
    images, labels = names["unseen"].tensors
    with torch.no_grad():
        right = names["classifier"](images).argmax(dim=1) == labels
    assert len(right) >= 200
    commonest = labels.bincount().max().item() / len(labels)
    assert right.float().mean() >= max(0.85, commonest + 0.2)
    # Not by one class alone: each kind is named more often right than wrong.
    assert all(right[labels == kind].float().mean() > 0.5 for kind in labels.unique())


@pytest.mark.slide("01")
def test_its_crops_are_those_of_the_objects(names):
    root = names["folder"]
    data = CocoInstances(root / "val2017", root / "annotations/instances_val2017.json")
    kinds = [
        data.categories[label]
        for place in range(150)
        for label, box in zip(data[place][1]["labels"], data[place][1]["boxes"].int(), strict=True)
        if box[3] - box[1] >= 12
    ]
    assert [names["kinds"][label] for label in names["unseen"].tensors[1]] == kinds


@pytest.mark.slide("02")
def test_class_and_label_map_of_the_scene_come_from_trained_networks(names):
    scene = names["scene"]
    seeds = {split: set(toycity.seeds(split, 10_000)) for split in ("train", "val")}
    assert scene == toycity.sample_scene(scene.seed)
    assert all(scene.seed not in of_split for of_split in seeds.values())  # no network has seen it
    small, medium = toycity.render(scene, size=96), toycity.render(scene, size=128)
    image = torch.from_numpy(small.image).permute(2, 0, 1)
    with torch.no_grad():
        labels = recipes.load("unet")(tasks.photo_transforms()(image)[None]).argmax(dim=1)[0].numpy()
        crop = tasks.photo_transforms()(names["crop"])[None]
        shares = recipes.load("resnet")(crop).softmax(dim=1)[0]
    assert (names["predicted"] == labels).mean() > 0.99
    assert torch.allclose(names["probabilities"], shares, atol=1e-4)
    largest = max(medium.objects, key=lambda seen: seen.area)
    assert LabelledObjects.classes[shares.argmax()] == phrase(largest)


@pytest.mark.slide("02", "20")
def test_every_object_of_the_scene_is_found_by_the_trained_detector(names):
    seen = toycity.render(names["scene"], size=128)
    overlap = box_iou(torch.tensor([each.box for each in seen.objects]).float(), names["boxes"])
    assert overlap.shape[0] == overlap.shape[1]  # as many boxes as objects, none twice
    assert (overlap.amax(1) >= 0.5).all()
    kinds = [names["kinds"][label - 1] for label in names["labels"][overlap.argmax(1)]]
    assert kinds == [each.category for each in seen.objects]


@pytest.mark.slide("02", "24")
def test_the_sentence_comes_from_the_trained_captioner_and_is_true(names):
    scene = names["scene"]
    seen = toycity.render(scene, size=128)
    image = torch.from_numpy(seen.image).permute(2, 0, 1)
    z = tasks.grid_encoder()(tasks.photo_transforms()(image)[None])
    said = captioning.greedy(recipes.load("show_attend_tell"), z, prefix=city_models.CITY_WORDS.encode(LIST)[1:-1])
    assert names["caption"] == city_models.CITY_WORDS.decode(said.words[0]) == toycity.describe(scene, seen)[1]
    assert all(fact.holds for fact in facts(names["caption"], scene, seen))


@pytest.mark.slide("02", "37")
def test_the_new_images_come_from_the_trained_diffusion_model_and_show_objects(names):
    samples = names["samples"]
    assert torch.allclose(samples, tasks.generate_images(recipes.load("diffusion"), 24), atol=1e-3)
    with torch.no_grad():
        sure = recipes.load("resnet")(samples).softmax(1).amax(1)
    assert torch.allclose(names["confidence"], sure, atol=1e-3)
    assert (sure > 0.9).float().mean() >= 0.5
    apart = torch.cdist(samples.flatten(1), samples.flatten(1)).fill_diagonal_(torch.inf)
    assert apart.amin(1).median() > 20  # not one image many times
    shown = sure.topk(4).indices
    assert apart[shown][:, shown].min() > 20


@pytest.mark.slide("03")
def test_the_label_map_has_a_class_for_each_pixel(names):
    predicted, truth = names["predicted"], toycity.render(names["scene"], size=96).labels
    assert predicted.shape == truth.shape == (96, 96)
    assert predicted.dtype.kind == "i"
    assert set(predicted.flat) <= set(range(len(CLASSES)))  # the ignore index is never predicted
    counted = truth != IGNORE_INDEX
    assert (predicted == truth)[counted].mean() >= 0.9
    assert (predicted != truth).any()  # a prediction, and not the truth shown again
