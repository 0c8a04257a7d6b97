"""Folders that are laid out in another way: the message says what was looked for, what it looks like, and the mend."""

import json
import zipfile

import numpy as np
import pytest
from PIL import Image
from samples_on_disk import coco_folder, pair_folder

from lecture_utils import tasks
from lecture_utils.datasets import layouts


def photo(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((24, 40, 3), 99, np.uint8)).save(path)


def text(path, content="x"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


COCO_CONTENT = {"info": {"year": 2026}, "images": [], "annotations": [], "categories": []}
FOREIGN = {
    "YOLO": lambda root: (photo(root / "images/train/a.jpg"), text(root / "labels/train/a.txt", "0 .5 .5 .1 .1")),
    "YOLO ": lambda root: (photo(root / "train/images/a.jpg"), text(root / "data.yaml", "nc: 2")),
    "Pascal VOC": lambda root: (photo(root / "JPEGImages/a.jpg"), text(root / "Annotations/a.xml", "<annotation>")),
    "Pascal VOC ": lambda root: (photo(root / "train/a.jpg"), text(root / "train/a.xml", "<annotation verified='no'>")),
    "CVAT": lambda root: (photo(root / "images/a.jpg"), text(root / "annotations.xml", "<?xml?>\n<annotations>\n<v>")),
    "LabelMe": lambda root: (photo(root / "a.jpg"), text(root / "a.json", {"version": "5", "shapes": []})),
    "the VGG Image Annotator": lambda root: text(root / "via.json", {"_via_img_metadata": {}}),
    "Label Studio": lambda root: text(root / "out.json", [{"id": 1, "annotations": [{"id": 1, "completed_by": 1}]}]),
    "COCO with other names": lambda root: (
        photo(root / "images/a.jpg"),
        text(root / "annotations/instances_default.json", COCO_CONTENT),
    ),
    "COCO with other names ": lambda root: (photo(root / "train/a.jpg"), text(root / "result.json", COCO_CONTENT)),
    "Roboflow's export of COCO": lambda root: text(root / "train/_annotations.coco.json", COCO_CONTENT),
    "COCO of another year": lambda root: (
        photo(root / "train2014/a.jpg"),
        text(root / "annotations/instances_train2014.json", COCO_CONTENT),
    ),
    "an imagefolder of Hugging Face": lambda root: text(root / "train/metadata.jsonl", {"file_name": "a.jpg"}),
    "a folder for each class (cat, dog, …)": lambda root: (photo(root / "cat/a.jpg"), photo(root / "dog/b.jpg")),
    "a folder for each class (cat, dog, …) ": lambda root: (
        photo(root / "train/cat/a.jpg"),
        photo(root / "train/dog/b.jpg"),
    ),
    "Cityscapes as published": lambda root: (
        photo(root / "leftImg8bit/train/bonn/bonn_0_leftImg8bit.png"),
        photo(root / "gtFine/train/bonn/bonn_0_gtFine_color.png"),
    ),
    "photographs and masks in folders of their own": lambda root: (
        photo(root / "train/images/a.jpg"),
        photo(root / "train/masks/a.png"),
    ),
    "photographs without labels": lambda root: photo(root / "a.jpg"),
    "an archive that is still packed (train2017.zip)": lambda root: zipfile.ZipFile(
        root / "train2017.zip", "w"
    ).close(),
    "Flickr30k": lambda root: text(root / "results.csv", "image_name| comment_number| comment"),
    "Flickr8k as published": lambda root: text(root / "Flickr8k.token.txt"),
    "a table or a file of records": lambda root: text(root / "data/train-00000.parquet"),
    "KITTI": lambda root: text(root / "training/label_2/0.txt"),
    "Open Images": lambda root: text(root / "train-annotations-bbox.csv"),
}
LOOKED_FOR = {
    tasks.segmentation_data: ("train/1.jpg …, each a photograph beside its mask",),
    tasks.masked_data: ("train/1.jpg",),
    tasks.detection_data: ("train2017/ with annotations/instances_train2017.json",),
    tasks.proposal_data: ("annotations/instances_train2017.json",),
    tasks.gridded_data: ("annotations/instances_train2017.json",),
    tasks.caption_data: ("annotations/captions_train2017.json", "Images/ with captions.txt (Flickr8k)"),
    tasks.caption_pixels: ("captions_train2017.json", "captions.txt"),
}


@pytest.mark.parametrize("looks_like", FOREIGN)
@pytest.mark.parametrize("data", [tasks.segmentation_data, tasks.detection_data, tasks.caption_data])
def test_a_foreign_layout_is_named(tmp_path, looks_like, data):
    FOREIGN[looks_like](tmp_path)
    if data is tasks.segmentation_data and any((tmp_path / "train").glob("*.jpg")):
        pytest.skip("images in train/ are read as pairs, and refused there")
    with pytest.raises(FileNotFoundError) as raised:
        data("train", tmp_path)
    message = str(raised.value)
    assert f"That looks like {looks_like.strip()}. " in message.replace(", which has no labels for this task", "")
    assert "handouts/own_data.md explains how to get there" in message
    assert all(part in message for part in LOOKED_FOR[data])


@pytest.mark.parametrize("data", LOOKED_FOR)
def test_every_task_says_what_it_looked_for_and_what_is_there(tmp_path, data):
    for name in ("a.txt", *(f"b{n}.txt" for n in range(9))):
        text(tmp_path / name)
    with pytest.raises(FileNotFoundError) as raised:
        data("train", tmp_path)
    assert all(part in str(raised.value) for part in LOOKED_FOR[data])
    assert "found a.txt, b0.txt, b1.txt, b2.txt, b3.txt, b4.txt and 4 more. handouts" in str(raised.value)


@pytest.mark.parametrize("data", LOOKED_FOR)
def test_a_root_that_is_no_folder(tmp_path, data, monkeypatch):
    text(tmp_path / "coco.zip")
    (tmp_path / "empty").mkdir()
    for name, kind, words in (
        ("coco.zip", ValueError, "coco.zip, expected a folder; unpack it"),
        ("nowhere", FileNotFoundError, "nowhere: no such folder; see handouts/own_data.md"),
        ("empty", FileNotFoundError, "empty is empty; see handouts/own_data.md"),
    ):
        with pytest.raises(kind, match=r"^root: ") as raised:
            data("train", tmp_path / name)
        assert words in str(raised.value)
    monkeypatch.setattr(layouts.Path, "iterdir", lambda self: (_ for _ in ()).throw(PermissionError()))
    with pytest.raises(ValueError, match="may not be read by you"):
        data("train", tmp_path / "empty")


def test_a_missing_split_is_told_with_those_that_are_there(tmp_path):
    pair_folder(tmp_path / "pairs", split="train")
    pair_folder(tmp_path / "pairs", split="val")
    with pytest.raises(FileNotFoundError, match="has no 'test', only 'train' and 'val'; give --split val"):
        tasks.segmentation_data("test", tmp_path / "pairs")
    coco_folder(tmp_path / "coco")
    for data in (tasks.detection_data, tasks.caption_pixels):
        with pytest.raises(FileNotFoundError, match="has no 'test', only 'train'; give --split train"):
            data("test", tmp_path / "coco")
    pair_folder(tmp_path / "other", split="val")
    with pytest.raises(FileNotFoundError, match="has no 'train', only 'val'; add it"):
        tasks.segmentation_data("train", tmp_path / "other")


def test_a_neighbouring_level_is_offered(tmp_path):
    pair_folder(tmp_path / "city/my pairs", split="train")
    coco_folder(tmp_path / "download/fiftyone/zoo")
    for given, data, meant in (
        ("city", tasks.segmentation_data, "city/my pairs"),
        ("city/my pairs/train", tasks.segmentation_data, "city/my pairs"),
        ("download", tasks.detection_data, "download/fiftyone/zoo"),
        ("download/fiftyone/zoo/annotations", tasks.detection_data, "download/fiftyone/zoo"),
    ):
        with pytest.raises(FileNotFoundError) as raised:
            data("train", tmp_path / given)
        assert str(raised.value).endswith(f"give --root {tmp_path / meant}")


def test_data_for_another_task_are_called_so(tmp_path):
    pair_folder(tmp_path / "a/pairs")
    coco_folder(tmp_path / "b")
    with pytest.raises(FileNotFoundError, match=r"That looks like COCO with boxes, which is for detectors\."):
        tasks.segmentation_data("train", tmp_path / "b")
    with pytest.raises(FileNotFoundError, match=r"That looks like Cityscapes pairs, which are for segmentation\."):
        tasks.detection_data("train", tmp_path / "a/pairs")


def test_splits_of_a_folder(tmp_path):
    pair_folder(tmp_path / "nested/cityscapes_data", split="val")
    assert layouts.splits(tmp_path / "nested", "pairs") == ["val"]
    coco_folder(tmp_path / "both/coco")
    assert layouts.splits(tmp_path / "both", "instances") == ["train"]
    assert layouts.splits(tmp_path / "both", "captions") == ["train"]
    assert layouts.splits(tmp_path / "both", "pairs") == []
    for n in range(9):
        photo(tmp_path / f"flickr/Images/{n}.jpg")
    assert layouts.splits(tmp_path / "flickr", "captions") == []
    text(tmp_path / "flickr/captions.txt", "image,caption\n" + "".join(f"{n}.jpg,a car\n" for n in range(9)))
    assert layouts.splits(tmp_path / "flickr", "captions") == ["train", "val"]
