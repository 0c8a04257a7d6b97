import json
import subprocess
import sys
import threading
import types

import numpy as np
import pytest
from samples_on_disk import pair_folder

from lecture_utils import toycity
from lecture_utils.datasets import CityscapesPairs, cityscapes_root, kaggle_pairs, source, toy_city

SCENES = {"train": 4, "val": 2, "test": 3}


@pytest.fixture
def city(monkeypatch):
    """A stand-in for lecture_utils.toycity that writes pairs and a manifest, and notes the splits it was asked for."""

    def export(out, *, split, scenes, size):
        made.exports.append(split)
        pair_folder(out / "cityscapes_data", range(1, scenes + 1), split=split, size=(size, size), suffix=".jpg")
        (out / f"manifest_{split}.json").write_text(json.dumps([scenes, size]))
        return out

    def verify(out, split, *, scenes, size):
        manifest = out / f"manifest_{split}.json"
        return [] if manifest.exists() and json.loads(manifest.read_text()) == [scenes, size] else ["a problem"]

    made = types.SimpleNamespace(export=export, verify=verify, refuse_in_a_starting_worker=lambda: None, exports=[])
    monkeypatch.setattr(source, "toycity", made)
    return made


def test_the_city_is_made_on_first_use_only(tmp_path, city):
    root = toy_city(16, scenes=SCENES, root=tmp_path / "city")
    assert root == tmp_path / "city"
    assert city.exports == ["train", "val", "test"]
    assert {split: len(CityscapesPairs(root, split)) for split in SCENES} == SCENES
    assert toy_city(16, scenes=SCENES, root=str(root)) == root
    assert city.exports == ["train", "val", "test"]


def test_the_city_stands_below_the_data_root_with_its_size_in_the_name(tmp_path, city, monkeypatch):
    monkeypatch.setenv("LECTURE_DATA", str(tmp_path))
    assert toy_city(16, scenes={"val": 2}) == tmp_path / "city-16"
    assert toy_city(24, scenes={"val": 2}) == tmp_path / "city-24"
    assert CityscapesPairs(tmp_path / "city-24", "val")[0][0].shape == (3, 24, 24)


def test_only_the_split_with_a_problem_is_made_again(tmp_path, city):
    root = toy_city(16, scenes=SCENES, root=tmp_path)
    city.exports.clear()
    (root / "manifest_val.json").unlink()
    toy_city(16, scenes=SCENES, root=tmp_path)
    assert city.exports == ["val"]


def test_another_number_of_scenes_or_size_is_made_again(tmp_path, city):
    for size, count in ((16, 2), (16, 5), (24, 5), (24, 5)):
        root = toy_city(size, scenes={"val": count}, root=tmp_path)
        assert len(CityscapesPairs(root, "val")) == count
        assert CityscapesPairs(root, "val")[0][1].shape == (size, size)
    assert city.exports == ["val"] * 3


def test_two_at_once_make_it_once(tmp_path, city):
    callers = [threading.Thread(target=toy_city, args=(16,), kwargs={"scenes": SCENES, "root": tmp_path}) for _ in "ab"]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert sorted(city.exports) == sorted(SCENES)


@pytest.mark.slide("13")
@pytest.mark.parametrize("mount", ["cityscapes-image-pairs", "datasets/somebody/cityscapes-image-pairs"])
@pytest.mark.parametrize("nesting", ["cityscapes_data", "cityscapes_data/cityscapes_data"])
def test_the_real_folder_is_found_under_both_mounts_and_nestings(tmp_path, city, mount, nesting):
    truth = pair_folder(tmp_path / mount / nesting, range(1, 4), split="train")
    pair_folder(tmp_path / mount / nesting, [1], split="val")
    root, description = cityscapes_root(kaggle_input=tmp_path)
    assert root == kaggle_pairs(tmp_path) == tmp_path / mount
    assert description == "Kaggle's cityscapes-image-pairs: 3 train, 1 val pairs"
    assert (CityscapesPairs(root, "train")[2][1].numpy() == truth[3][1]).all()
    assert city.exports == []


@pytest.mark.parametrize("splits", [[], ["train"], ["val"]])
def test_without_a_whole_real_folder_the_city_is_made(tmp_path, city, monkeypatch, splits):
    monkeypatch.setenv("LECTURE_DATA", str(tmp_path / "data"))
    for split in splits:
        pair_folder(tmp_path / "input" / "cityscapes-image-pairs", split=split)
    root, description = cityscapes_root(size=16, scenes=SCENES, kaggle_input=tmp_path / "input")
    assert root == tmp_path / "data" / "city-16"
    assert description == "the toy city at 16 × 16 pixels: 4 train, 2 val, 3 test scenes"


def test_the_usual_mount_is_looked_at(tmp_path, city, monkeypatch):
    monkeypatch.setenv("LECTURE_KAGGLE_INPUT", str(tmp_path))
    pair_folder(tmp_path / "cityscapes-image-pairs" / "cityscapes_data", split="train")
    pair_folder(tmp_path / "cityscapes-image-pairs" / "cityscapes_data", split="val")
    assert cityscapes_root()[0] == tmp_path / "cityscapes-image-pairs"


def test_quick_sizes():
    assert source.QUICK_SIZE == 96
    assert source.QUICK_SCENES == {"train": 2000, "val": 200, "test": 500}


def test_the_objects_of_one_split_are_made_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("LECTURE_DATA", str(tmp_path))
    monkeypatch.setattr(source, "DETECTION_SCENES", {"train": 4, "val": 3, "test": 2})
    data = source.city_instances("val")
    assert len(data) == 3
    image, target = data[0]
    assert image.shape == (3, 128, 128)
    assert "masks" not in target
    assert "masks" in source.city_instances("val", masks=True)[0][1]
    assert sorted(path.name for path in (tmp_path / "city-128").glob("manifest*")) == ["manifest_val.json"]
    with pytest.raises(ValueError, match="split: got 'dev', expected one of train, val, test"):
        source.city_instances("dev")


def test_objects_of_the_full_profile_are_rendered_at_its_size(tmp_path, monkeypatch):
    monkeypatch.setenv("LECTURE_DATA", str(tmp_path))
    monkeypatch.setattr(source, "FULL_SIZE", 64)
    monkeypatch.setattr(source, "FULL_SCENES", {"train": 2, "val": 3, "test": 2})
    data = source.city_instances("val", size=64)
    assert len(data) == 3
    scene = toycity.sample_scene(toycity.seeds("val", 3)[0])
    seen = toycity.render(scene, 64)
    assert np.abs(data[0][0].permute(1, 2, 0).numpy() - seen.image.astype(int)).mean() < 4  # a JPEG of it
    assert len(data[0][1]["boxes"]) == len(seen.objects)
    assert not (tmp_path / "city-128").exists()


@pytest.mark.slide("24")
def test_the_captions_of_a_split_are_those_of_the_scenes_whose_objects_are_read(tmp_path, monkeypatch):
    monkeypatch.setenv("LECTURE_DATA", str(tmp_path))
    monkeypatch.setattr(source, "DETECTION_SCENES", {"train": 4, "val": 3, "test": 2})
    data, objects = source.city_captions("val"), source.city_instances("val")
    assert len(data) == len(objects) == 3
    for (image, captions), (photo, _), seed in zip(data, objects, toycity.seeds("val", 3), strict=True):
        assert (image == photo).all()
        scene = toycity.sample_scene(seed)
        assert captions == list(toycity.describe(scene, toycity.render(scene, 128)))
    assert sorted(path.name for path in (tmp_path / "city-128").glob("manifest*")) == ["manifest_val.json"]
    half = source.city_captions("val", transforms=lambda image, captions: (image[:, ::2, ::2], captions[:1]))
    assert half[1][0].shape == (3, 64, 64)
    assert half[1][1] == data.captions(1)[:1]
    with pytest.raises(ValueError, match="split: got 'dev', expected one of train, val, test"):
        source.city_captions("dev")


def test_the_real_exporter_makes_it_and_a_read_only_one_will_do(tmp_path, monkeypatch):
    root = toy_city(64, scenes={"val": 2}, root=tmp_path / "city")
    assert len(CityscapesPairs(root, "val")) == 2
    monkeypatch.setattr(source, "FileLock", None)  # a whole city needs no lock, so no write access
    assert toy_city(64, scenes={"val": 2}, root=root) == root


def test_a_script_without_a_guard_gets_its_city_all_the_same(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from lecture_utils.datasets import toy_city\n"
        f"print(toy_city(64, scenes={{'val': 70}}, root={str(tmp_path / 'city')!r}))\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert len(CityscapesPairs(tmp_path / "city", "val")) == 70
