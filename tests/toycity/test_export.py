"""Folders: real layouts, never half-written, damage noticed, splits apart."""

import itertools
import json
import os
import re
import shutil
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

from lecture_utils import files
from lecture_utils.toycity import describe, export, render, sample_scene, verify
from lecture_utils.toycity.export import SPLITS, pair, run_lengths, seeds

module = sys.modules["lecture_utils.toycity.export"]  # the package calls its function by the same name


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


@pytest.mark.parametrize("harm", ["truncate", "remove", "manifest", "empty manifest", "no files", "a list"])
def test_damage_is_noticed_and_mended(tmp_path, harm):
    export(tmp_path, split="train", scenes=3, size=64, quiet=True)
    picture, manifest = tmp_path / "coco/train2017/000000000002.jpg", tmp_path / "manifest_train.json"
    if harm == "truncate":
        picture.write_bytes(picture.read_bytes()[:-20])
    elif harm == "remove":
        picture.unlink()
    elif harm == "manifest":
        manifest.unlink()
    elif harm == "no files":
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"files": {}}))
    elif harm == "a list":
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"files": []}))
    else:
        manifest.write_text("{")
    problems = verify(tmp_path, "train")
    assert len(problems) == 1
    assert ("000000000002.jpg" if harm in ("truncate", "remove") else "manifest_train.json") in problems[0]
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
        ({"split": "val", "scenes": 3, "workers": 0}, "workers: got 0, expected a whole number from 1 to 61"),
        ({"split": "val", "scenes": 3, "workers": 10**6}, "workers: got 1000000, expected"),
        ({"split": "val", "scenes": 3, "size": 32}, "size: got 32, expected a whole number of pixels from 64 to 512"),
    ],
)
def test_bad_input_is_refused_and_nothing_is_written(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        export(tmp_path / "out", **arguments)
    assert not (tmp_path / "out").exists()


def tree(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "name",
    [
        "coco/train2017/000000000009.jpg",
        "cityscapes_data/train/1.jpg",
        "coco/annotations/instances_train2017.json",
        "coco/annotations/captions_train2017.json",
        "manifest_train.json",
        "coco/annotations",
        "coco",
    ],
)
def test_files_of_somebody_else_are_left_alone(tmp_path, name):
    theirs = tmp_path / name
    theirs.parent.mkdir(parents=True, exist_ok=True)
    theirs.write_bytes(b"a photograph")
    first = {"coco/train2017/000000000009.jpg": "train2017", "cityscapes_data/train/1.jpg": "train"}.get(name, name)
    with pytest.raises(ValueError, match=f"{first} is there already and is no toy city; move it, or choose another"):
        export(tmp_path, split="train", scenes=2, size=64, quiet=True)
    assert tree(tmp_path) == {name: b"a photograph"}
    if theirs.parent != tmp_path and name != "coco/annotations":
        export(tmp_path, split="val", scenes=2, size=64, quiet=True)  # another split has room beside it
        assert theirs.read_bytes() == b"a photograph"


@pytest.mark.parametrize("manifest", ["whole", "missing"])
@pytest.mark.parametrize(
    "name", ["coco/train2017/000000000004.jpg", "coco/train2017/0000000000021.jpg", "cityscapes_data/train/mine.png"]
)
def test_files_that_somebody_put_into_a_split_are_not_removed_with_it(tmp_path, name, manifest):
    export(tmp_path, split="train", scenes=3, size=64, quiet=True)
    (tmp_path / name).write_bytes(b"a photograph")
    if name.endswith("jpg"):  # the readers would read it
        assert [f"{tmp_path / name}: is not of the course"] == verify(tmp_path, "train")
    if manifest == "missing":
        (tmp_path / "manifest_train.json").unlink()
    before = tree(tmp_path)
    with pytest.raises(ValueError, match=f"{name} is there already and is no toy city"):
        export(tmp_path, split="train", scenes=3, size=64, quiet=True)
    assert tree(tmp_path) == before
    (tmp_path / name).unlink()
    (tmp_path / "coco/train2017/.DS_Store").touch()  # this is nobody's
    export(tmp_path, split="train", scenes=2, size=64, quiet=True)
    assert verify(tmp_path, "train", scenes=2) == []


def test_annotations_of_a_labelling_tool_are_not_written_over(tmp_path):
    export(tmp_path, split="train", scenes=2, size=64, quiet=True)
    labels = tmp_path / "coco/annotations/instances_train2017.json"
    labels.write_text('{"info": {"description": "corrected by hand"}, "images": []}')
    with pytest.raises(ValueError, match=r"instances_train2017\.json is there already"):
        export(tmp_path, split="train", scenes=2, size=64, quiet=True)
    assert "by hand" in labels.read_text()


def test_a_linked_folder_of_somebody_is_left_alone(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/1.jpg").touch()
    export(tmp_path / "out", split="train", scenes=2, size=64, quiet=True)
    shutil.rmtree(tmp_path / "out/coco/train2017")
    (tmp_path / "out/coco/train2017").symlink_to(tmp_path / "photos")
    with pytest.raises(ValueError, match="train2017"):
        export(tmp_path / "out", split="train", scenes=2, size=64, quiet=True)
    assert (tmp_path / "photos/1.jpg").exists()


def test_what_comes_while_the_city_is_made_is_not_written_over(tmp_path, monkeypatch):
    def put_in(*arguments, write=module._write_manifest):
        (tmp_path / "manifest_val.json").write_text("mine")
        write(*arguments)

    monkeypatch.setattr(module, "_write_manifest", put_in)
    with pytest.raises(ValueError, match="manifest_val"):
        export(tmp_path, split="val", scenes=2, size=64, quiet=True)
    assert tree(tmp_path).get("manifest_val.json") == b"mine"
    assert not list(tmp_path.glob(".making*"))


def test_a_kill_while_files_are_moved_is_mended(tmp_path, monkeypatch):
    export(tmp_path, split="val", scenes=5, size=64, quiet=True)

    def killed(source, target, replace=os.replace):
        if "val2017" in str(target):
            raise KeyboardInterrupt
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            export(tmp_path, split="val", scenes=2, size=64, quiet=True)
    assert verify(tmp_path, "val") != []  # torn, and not trusted
    export(tmp_path, split="val", scenes=3, size=64, quiet=True)
    assert verify(tmp_path, "val", scenes=3) == []


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_file_is_no_folder_to_write_to(tmp_path, place):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"out: expected a folder, got .*file.* is a file"):
        export(tmp_path / place, split="val", scenes=2, size=64, quiet=True)


# Disks and kills


def test_more_than_the_disk_holds_is_refused_before_anything_is_made(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "free_bytes", lambda path: 10**9)
    with pytest.raises(
        ValueError, match=r"scenes: got 1,000,000, which need about \d+,\d+,\d+,\d+ bytes; 1,000,000,000"
    ):
        export(tmp_path / "out", split="val", scenes=10**6, size=64)
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such limit")
@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_is_named_and_the_old_city_stays(tmp_path, workers):
    export(tmp_path, split="val", scenes=2, size=64, quiet=True)
    program = f"""
import resource
from lecture_utils.toycity import export
if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))  # as on a full disk, the system writes no more
    try:
        export({str(tmp_path)!r}, split="val", scenes=70, size=64, workers={workers}, quiet=True)
    except OSError as problem:
        print(problem)
"""
    (tmp_path / "full.py").write_text(program)
    said = subprocess.run([sys.executable, tmp_path / "full.py"], capture_output=True, text=True, timeout=120).stdout
    assert re.search(r"cannot be written \(the disk is full: \d[\d,]+ bytes are needed, \d", said), said
    assert verify(tmp_path, "val", scenes=2) == []
    assert not list(tmp_path.glob(".making*"))


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no kill -9 on this system")
@pytest.mark.parametrize("number", ["SIGKILL", "SIGTERM"])
def test_workers_end_with_the_process_that_started_them(tmp_path, number):
    psutil = pytest.importorskip("psutil")
    command = [sys.executable, "-m", "lecture_utils", "data", "--scenes", "5000", "--size", "64", "--workers", "3"]
    process = subprocess.Popen([*command, "--out", str(tmp_path)], stderr=subprocess.DEVNULL)
    while not list(tmp_path.glob(".making*/cityscapes_data/train/*.jpg")):
        time.sleep(0.02)
        assert process.poll() is None
    workers = psutil.Process(process.pid).children(recursive=True)
    assert len(workers) >= 3
    process.send_signal(getattr(signal, number))
    process.wait(timeout=30)
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert not alive
    if number == "SIGTERM":  # which leaves time to clear away
        assert not list(tmp_path.glob(".making*"))


def test_what_was_killed_is_cleared_away_by_the_next_export_of_any_split(tmp_path):
    for name in (".making-train-1", ".making-val-1", ".making-test-1", ".making-plans", ".making-val-x"):
        (tmp_path / name).mkdir()
    with FileLock(tmp_path / ".lock-test"):  # this one is being made
        export(tmp_path, split="val", scenes=1, size=64, quiet=True)
    left = sorted(path.name for path in tmp_path.glob(".making*"))
    assert left == [".making-plans", ".making-test-1", ".making-val-x"]
