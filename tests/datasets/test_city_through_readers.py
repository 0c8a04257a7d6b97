"""The toy city as the readers see it: what was exported is what was rendered."""

import numpy as np
import pytest
from scipy import ndimage

from lecture_utils import toycity
from lecture_utils.datasets import CityscapesPairs, CocoCaptions, CocoInstances, cityscapes_root, toy_city
from lecture_utils.toycity.export import seeds

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:pycocotools")
SIZE, SCENES = 96, 12


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    return toy_city(SIZE, scenes={"val": SCENES}, root=tmp_path_factory.mktemp("city"))


@pytest.fixture(scope="module")
def pictures():
    scenes = [toycity.sample_scene(seed) for seed in seeds("val", SCENES)]
    return [(scene, toycity.render(scene, SIZE)) for scene in scenes]


@pytest.mark.slide("13")
def test_labels_are_recovered_from_the_jpegs(city, pictures):
    data = CityscapesPairs(city, "val")
    assert len(data) == SCENES
    far, right = [], []
    for (_, mask), (_, picture) in zip(data, pictures, strict=True):
        edge = ndimage.maximum_filter(picture.labels, 5) != ndimage.minimum_filter(picture.labels, 5)
        right.append(mask.numpy() == picture.labels)
        far.append(~edge)
    right, far = np.stack(right), np.stack(far)
    assert right[far].mean() >= 0.99
    assert right.mean() >= 0.97


def test_objects_are_those_rendered(city, pictures):
    data = CocoInstances(city / "coco/val2017", city / "coco/annotations/instances_val2017.json")
    assert data.categories[0] == "background"
    assert sum(len(picture.objects) for _, picture in pictures) > SCENES
    for (image, target), (_, picture) in zip(data, pictures, strict=True):
        assert [data.categories[label] for label in target["labels"]] == [thing.category for thing in picture.objects]
        assert np.allclose(target["boxes"], np.array([thing.box for thing in picture.objects]).reshape(-1, 4))
        for number, mask in enumerate(target["masks"], start=1):
            assert np.array_equal(mask.numpy(), picture.instances == number)
        error = np.abs(image.permute(1, 2, 0).numpy().astype(int) - picture.image)
        assert error.mean() < 6  # JPEG's, in grey levels; another scene is 30 and more away


def test_captions_are_those_described(city, pictures):
    data = CocoCaptions(city / "coco/val2017", city / "coco/annotations/captions_val2017.json")
    for (_, captions), (scene, picture) in zip(data, pictures, strict=True):
        assert captions == list(toycity.describe(scene, picture))
        assert len(captions) == 5


def test_skipping_leaves_a_whole_city_whole(city):
    assert len(CityscapesPairs(city, "val", on_error="skip")) == SCENES


def test_a_damaged_city_is_made_again(tmp_path, monkeypatch):
    monkeypatch.setenv("LECTURE_DATA", str(tmp_path))
    root, _ = cityscapes_root(size=64, scenes={"test": 3}, kaggle_input=tmp_path / "none")
    before = [image.clone() for image, _ in CityscapesPairs(root, "test")]
    file = root / "cityscapes_data" / "test" / "2.jpg"
    file.write_bytes(file.read_bytes()[:100])
    assert cityscapes_root(size=64, scenes={"test": 3}, kaggle_input=tmp_path / "none")[0] == root
    assert all((image == old).all() for (image, _), old in zip(CityscapesPairs(root, "test"), before, strict=True))
