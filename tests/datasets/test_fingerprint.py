"""Fingerprints: any corrected label and any changed file is seen, a copied folder is the same data."""

import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image
from samples_on_disk import coco_folder, pair_folder, write_pair

from lecture_utils import tasks
from lecture_utils.datasets import CityscapesPairs, CocoCaptions, CocoInstances, Flickr8k
from lecture_utils.datasets import fingerprint as module
from lecture_utils.datasets.fingerprint import difference, fingerprint, reader_of


@pytest.fixture
def coco(tmp_path):
    return coco_folder(tmp_path / "coco")


def instances(folder):
    return CocoInstances(*folder, masks=False)


def test_a_copy_with_other_times_is_the_same_data(coco, tmp_path):
    before = fingerprint(instances(coco))
    assert set(before) == {"annotations/instances_train2017.json"} | {f"train2017/{n:012}.jpg" for n in (5, 9, 42)}
    copy = tmp_path / "elsewhere"
    shutil.copytree(coco[0].parent, copy)
    for file in copy.rglob("*.*"):
        os.utime(file, (1, 1))
    assert fingerprint(instances((copy / "train2017", copy / "annotations/instances_train2017.json"))) == before


def test_a_corrected_box_of_equal_length_differs_and_is_named(coco):
    before = fingerprint(instances(coco))
    text = coco[1].read_text()
    coco[1].write_text(text.replace("48.0", "47.0"))
    os.utime(coco[1], (1, 1))
    now = fingerprint(instances(coco))
    assert difference(before, now) == "1 file differs (annotations/instances_train2017.json)"
    coco[1].write_text(text)
    assert difference(before, fingerprint(instances(coco))) == ""


def test_a_corrected_mask_of_equal_size_differs(tmp_path):
    truth = pair_folder(tmp_path, size=(40, 30))
    folder = tmp_path / "train"
    for number, (photo, labels) in truth.items():
        write_pair(folder / f"{number}.png", photo, labels, compress_level=0)
    before, sizes = fingerprint(CityscapesPairs(tmp_path)), {file.stat().st_size for file in folder.iterdir()}
    for number in (2, 3):
        photo, labels = truth[number]
        labels[20, 10] = (labels[20, 10] + 1) % 19
        write_pair(folder / f"{number}.png", photo, labels, compress_level=0)
    assert {file.stat().st_size for file in folder.iterdir()} == sizes
    assert difference(before, fingerprint(CityscapesPairs(tmp_path))) == "2 files differ (2.png, 3.png)"


def test_new_and_lost_photographs_and_captions_are_seen(tmp_path):
    (tmp_path / "Images").mkdir()
    names = [f"{n}.png" for n in range(40)]
    for name in names:
        Image.fromarray(np.zeros((8, 9, 3), np.uint8)).save(tmp_path / "Images" / name)
    captions = tmp_path / "captions.txt"
    captions.write_text("image,caption\n" + "".join(f"{name},a car\n" for name in names))
    before = fingerprint(Flickr8k(tmp_path, "train"))
    kept = [name for name in names if f"Images/{name}" in before][4:]
    captions.write_text("image,caption\n" + "".join(f"{name},a car\n" for name in kept))
    told = difference(before, fingerprint(Flickr8k(tmp_path, "train")))
    assert told.startswith("1 file differs (captions.txt), 4 are gone (Images/")
    assert told.endswith(", …)")
    assert difference(fingerprint(Flickr8k(tmp_path, "train")), before).count("4 are new") == 1


def test_of_many_photographs_one_entry_is_kept_and_a_change_is_still_seen(coco, monkeypatch):
    monkeypatch.setattr(module, "NAMED", 2)
    monkeypatch.setattr(module, "WHOLE", 10)
    before = fingerprint(instances(coco))
    assert set(before) == {"annotations/instances_train2017.json", "train2017/*"}
    file = coco[0] / "000000000009.jpg"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    assert difference(before, fingerprint(instances(coco))) == "1 file differs (train2017/*)"


def test_a_missing_photograph_is_no_error_here(coco):
    opened = instances(coco)
    (coco[0] / "000000000009.jpg").unlink()
    assert fingerprint(opened)["train2017/000000000009.jpg"] == "cannot be read"


def test_the_reader_is_found_inside_every_task(coco, tmp_path):
    captions = CocoCaptions(coco[0], coco[1].with_name("captions_train2017.json"))
    assert reader_of(captions) is captions
    assert "annotations/captions_train2017.json" in json.dumps(fingerprint(captions))
    pair_folder(tmp_path, size=(96, 96))
    masked = tasks.masked_data("train", tmp_path)
    assert reader_of(masked) is masked.pairs
    assert reader_of(tasks.single_object.SINGLE_OBJECT) is None
