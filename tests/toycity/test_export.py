"""Folders: real layouts, never half-written, damage noticed, splits apart."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from threading import Thread

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from lecture_utils.toycity import describe, export, render, sample_scene, verify
from lecture_utils.toycity.export import SPLITS, pair, run_lengths, seeds


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return export(tmp_path_factory.mktemp("city"), split="val", scenes=5, size=64, quiet=True)


def test_the_folder_is_laid_out_as_the_real_ones(folder):
    assert sorted(p.name for p in (folder / "cityscapes_data/val").iterdir()) == [f"{i}.jpg" for i in range(1, 6)]
    assert (folder / "coco/val2017/000000000005.jpg").is_file()
    assert Image.open(folder / "cityscapes_data/val/1.jpg").size == (128, 64)
    assert verify(folder, "val", scenes=5, size=64) == []
    assert not list(folder.glob(".making*"))


def test_coco_files_say_what_the_scenes_hold(folder, capsys):
    coco = COCO(folder / "coco/annotations/instances_val2017.json")
    captions = COCO(folder / "coco/annotations/captions_val2017.json")
    capsys.readouterr()
    for number, seed in enumerate(seeds("val", 5), start=1):
        scene = sample_scene(seed)
        picture = render(scene, 64)
        rows = coco.loadAnns(coco.getAnnIds(imgIds=number))
        assert len(rows) == len(picture.objects)
        for index, (row, thing) in enumerate(zip(rows, picture.objects, strict=True), start=1):
            assert (coco.annToMask(row).astype(bool) == (picture.instances == index)).all()
            x, y, w, h = row["bbox"]
            assert (x, y, x + w, y + h) == thing.box
            assert coco.loadCats(row["category_id"])[0]["name"] == thing.category
        said = [row["caption"] for row in captions.loadAnns(captions.getAnnIds(imgIds=number))]
        assert said == describe(scene, picture)


def test_the_pair_survives_its_jpeg(folder):
    stored = np.asarray(Image.open(folder / "cityscapes_data/val/2.jpg")).astype(int)
    drawn = pair(render(sample_scene(seeds("val", 2)[1]), 64)).astype(int)
    assert np.abs(stored - drawn).mean() < 6
    assert (stored != drawn).any()  # JPEG noise and all


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (5, 3), (7, 7)])
def test_run_lengths_equal_pycocotools(shape):
    rng = np.random.default_rng(0)
    for mask in [np.zeros(shape, bool), np.ones(shape, bool), *(rng.random((20, *shape)) < 0.5)]:
        code = coco_mask.frPyObjects({"size": list(shape), "counts": run_lengths(mask)}, *shape)
        assert (coco_mask.decode(code).astype(bool) == mask).all()


def test_several_processes_write_the_same_files_as_one(tmp_path):
    one = export(tmp_path / "one", split="test", scenes=70, size=64, workers=1, quiet=True)
    two = export(tmp_path / "two", split="test", scenes=70, size=64, workers=2, quiet=True)
    read = [json.loads((out / "manifest_test.json").read_text())["files"] for out in (one, two)]
    assert read[0] == read[1]
    assert len(read[0]) == 142


@pytest.mark.parametrize("harm", ["truncate", "remove", "add", "manifest", "empty manifest", "no files", "a list"])
def test_damage_is_noticed_and_mended(tmp_path, harm):
    export(tmp_path, split="train", scenes=3, size=64, quiet=True)
    picture, manifest = tmp_path / "coco/train2017/000000000002.jpg", tmp_path / "manifest_train.json"
    if harm == "truncate":
        picture.write_bytes(picture.read_bytes()[:-20])
    elif harm == "remove":
        picture.unlink()
    elif harm == "manifest":
        manifest.unlink()
    elif harm == "add":
        picture.with_name("0000000000021.jpg").write_bytes(picture.read_bytes())
    elif harm == "no files":
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"files": {}}))
    elif harm == "a list":
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"files": []}))
    else:
        manifest.write_text("{")
    problems = verify(tmp_path, "train")
    assert len(problems) == 1
    named = "0000000000021.jpg" if harm == "add" else "000000000002.jpg"
    assert (named if harm in ("truncate", "remove", "add") else "manifest_train.json") in problems[0]
    export(tmp_path, split="train", scenes=3, size=64, quiet=True)
    assert verify(tmp_path, "train") == []


def test_other_sizes_and_numbers_are_not_taken_for_the_wanted_ones(folder):
    assert "size is 64, wanted 96" in verify(folder, "val", size=96)[0]
    assert "scenes is 5, wanted 6" in verify(folder, "val", scenes=6)[0]
    assert "manifest_train.json" in verify(folder, "train")[0]


def test_a_shorter_export_leaves_no_old_scenes(tmp_path):
    export(tmp_path, split="val", scenes=4, size=64, quiet=True)
    export(tmp_path, split="val", scenes=2, size=64, quiet=True)
    assert len(list((tmp_path / "cityscapes_data/val").iterdir())) == 2
    assert verify(tmp_path, "val", scenes=2) == []


def test_an_interrupted_export_leaves_what_was_there(tmp_path):
    export(tmp_path, split="val", scenes=2, size=64, quiet=True)
    kind = "split='val', scenes=5000, size=64, workers=1"
    program = f"from lecture_utils.toycity import export; export({str(tmp_path)!r}, {kind})"
    process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL)
    while not list(tmp_path.glob(".making*/cityscapes_data/val/3.jpg")):
        time.sleep(0.02)
        assert process.poll() is None
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert verify(tmp_path, "val", scenes=2, size=64) == []
    export(tmp_path, split="val", scenes=3, size=64, quiet=True)
    assert verify(tmp_path, "val", scenes=3) == []
    assert not list(tmp_path.glob(".making*"))


def test_who_exports_second_waits_and_removes_nothing(tmp_path):
    living = tmp_path / ".making-val-1/cityscapes_data"
    living.mkdir(parents=True)
    second = Thread(target=export, args=(tmp_path,), kwargs={"split": "val", "scenes": 1, "size": 64, "quiet": True})
    with FileLock(tmp_path / ".lock-val"):  # as a first one has it
        second.start()
        second.join(0.5)
        assert second.is_alive()
        assert living.exists()
    second.join()
    assert verify(tmp_path, "val", scenes=1) == []


def test_splits_never_share_a_seed():
    longest = 10_000_000
    ranges = sorted((seeds(split, longest) for split in SPLITS), key=lambda r: r.start)
    assert all(a.stop <= b.start for a, b in itertools.pairwise(ranges))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "dev", "scenes": 3}, "split: got 'dev', expected one of train, val, test"),
        ({"split": "val", "scenes": 0}, "scenes: got 0, expected a whole number from 1 to"),
        ({"split": "val", "scenes": 2.5}, "scenes: got 2.5, expected a whole number"),
        ({"split": "val", "scenes": 3, "size": 32}, "size: got 32, expected a whole number of pixels from 64 to 512"),
    ],
)
def test_bad_input_is_refused_and_nothing_is_written(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        export(tmp_path / "out", **arguments)
    assert not (tmp_path / "out").exists()


def test_a_data_set_of_somebody_else_is_left_alone(tmp_path):
    photo = tmp_path / "coco/train2017/000000000009.jpg"
    photo.parent.mkdir(parents=True)
    photo.write_bytes(b"a photograph")
    with pytest.raises(ValueError, match="train2017 is there already and is no toy city"):
        export(tmp_path, split="train", scenes=2, size=64, quiet=True)
    assert photo.read_bytes() == b"a photograph"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["coco"]
    export(tmp_path, split="val", scenes=2, size=64, quiet=True)  # another split has room beside it
