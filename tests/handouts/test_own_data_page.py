"""handouts/own_data.md: each of its commands and lines of Python runs on folders laid out as it says."""

import json
import re
import shlex
import shutil
from pathlib import Path

import pages
import pytest

from lecture_utils.__main__ import main
from lecture_utils.datasets import CocoInstances
from lecture_utils.toycity import export

PAGE = Path(pages.__file__).with_name("own_data.md").read_text("utf-8")
COMMANDS = re.findall(r"^(?:python|torchrun .*?) -m lecture_utils (.+)$", PAGE, re.MULTILINE)
COCO = ("person", "bicycle", "car", "traffic light", "stop sign")  # some of the real ones, in their order


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The folders that the page speaks of, with twelve scenes in each split."""
    here = tmp_path_factory.mktemp("own")
    for split in ("train", "val"):
        export(here / "city", split=split, scenes=12, size=128, quiet=True)
    shutil.copytree(here / "city" / "cityscapes_data", here / "my-pairs")
    shutil.copytree(here / "city" / "coco", here / "my-coco")
    return here


def test_the_page_has_commands():
    assert {command.split()[0] for command in COMMANDS} == {"data", "train", "evaluate"}


def test_the_commands_run_one_after_the_other(folders, monkeypatch, capsys):
    monkeypatch.chdir(folders)
    few = {"train": ["--steps", "2", "--batch-size", "2"], "data": ["--scenes", "2"], "evaluate": []}
    for command in COMMANDS:
        kind, *rest = shlex.split(command)
        assert main([kind, *rest, *few[kind]]) == 0, f"{command}\n{capsys.readouterr().err}"


def test_annotations_of_coco_are_brought_down_to_four_categories(folders, tmp_path, monkeypatch):
    real = tmp_path / "my-coco"
    shutil.copytree(folders / "my-coco", real)
    file = real / "annotations" / "instances_train2017.json"
    coco = json.loads(file.read_text("utf-8"))
    renamed = {"person": "person", "car": "car", "traffic sign": "stop sign", "traffic light": "traffic light"}
    kind = {entry["id"]: 10 + COCO.index(renamed[entry["name"]]) for entry in coco["categories"]}
    coco["annotations"] = [{**thing, "category_id": kind[thing["category_id"]]} for thing in coco["annotations"]]
    bicycle = {**coco["annotations"][0], "id": 9999, "category_id": 11}
    coco["annotations"].append(bicycle)
    coco["categories"] = [{"id": 10 + place, "name": name} for place, name in enumerate(COCO)]
    file.unlink()
    given = file.with_name("all_train2017.json")
    given.write_text(json.dumps(coco), "utf-8")
    before_it = given.read_bytes()

    monkeypatch.chdir(tmp_path)
    snippet = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)[1]
    exec(snippet, {})
    assert given.read_bytes() == before_it  # what the user has is only read
    written = file.read_bytes()
    with pytest.raises(FileExistsError):
        exec(snippet, {})
    assert file.read_bytes() == written

    mended = CocoInstances(real / "train2017", file, masks=False)
    before = CocoInstances(folders / "my-coco" / "train2017", folders / "my-coco/annotations/instances_train2017.json")
    assert mended.categories == before.categories
    assert [mended[index][1]["labels"].tolist() for index in range(12)] == [
        before[index][1]["labels"].tolist() for index in range(12)
    ]
