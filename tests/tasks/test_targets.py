"""Training on nothing is refused in every task, before its first step."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Subset, TensorDataset

from lecture_utils import tasks
from lecture_utils.__main__ import main
from lecture_utils.city_models import CITY_WORDS
from lecture_utils.datasets import CocoInstances
from lecture_utils.tasks.caption_dataset import CaptionDataset, caption_images
from lecture_utils.tasks.features import FeatureDataset

pytestmark = pytest.mark.filterwarnings("ignore:.*(no image has|without a caption|marked as crowds):UserWarning")
CATEGORIES = [{"id": n, "name": name} for n, name in enumerate(("person", "car", "traffic sign", "traffic light"), 1)]


def empty_folder(root, objects=(), captions=()):
    (root / "train2017").mkdir(parents=True)
    (root / "annotations").mkdir()
    images = [{"id": n, "file_name": f"{n}.png", "width": 64, "height": 64} for n in (1, 2, 3)]
    for record in images:
        pixels = np.random.default_rng(record["id"]).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "train2017" / record["file_name"])
    for kind, rows in (("instances", objects), ("captions", captions)):
        content = {"images": images, "annotations": list(rows), "categories": CATEGORIES}
        (root / f"annotations/{kind}_train2017.json").write_text(json.dumps(content))
    return root


def crowd(number):
    return {"id": number, "image_id": 1, "category_id": 1, "bbox": [3, 3, 40, 40], "area": 1600, "iscrowd": 1}


@pytest.mark.parametrize("objects", [[], [crowd(1), crowd(2)]])
@pytest.mark.parametrize("name", ["faster_rcnn", "rpn9", "eight_slots", "detr", "fast_rcnn"])
def test_without_an_object_no_detector_trains(tmp_path, capsys, name, objects):
    root = empty_folder(tmp_path / "data", objects)
    file = tmp_path / "runs/model.safetensors"
    given = ["--root", str(root), "--size", "128", "--steps", "2", "--batch-size", "2", "--checkpoint", str(file)]
    assert main(["train", name, *given]) == 2
    assert "none of its 3 images has an object, so there is nothing to learn from" in capsys.readouterr().err
    assert not file.exists()


@pytest.mark.parametrize("name", ["show_attend_tell", "caption_transformer", "only_transformers"])
def test_without_a_caption_no_captioner_trains(tmp_path, capsys, name):
    root = empty_folder(tmp_path / "data")
    file = tmp_path / "runs/model.safetensors"
    given = ["--root", str(root), "--steps", "2", "--batch-size", "2", "--checkpoint", str(file)]
    assert main(["train", name, *given]) == 2
    assert "none of its 3 images has a caption, so there is nothing to learn from" in capsys.readouterr().err


def test_what_is_wrapped_is_looked_into_and_a_part_may_be_empty(tmp_path):
    one = [{**crowd(1), "image_id": 3, "iscrowd": 0}]
    root = empty_folder(tmp_path, one, [{"id": 1, "image_id": 3, "caption": "a car"}])
    data = CocoInstances(root / "train2017", root / "annotations/instances_train2017.json", masks=False)
    grids = FeatureDataset(data, torch.nn.Identity())
    captions = CaptionDataset(caption_images("train", root, size=64), None, CITY_WORDS)
    for loss, whole in (
        (tasks.detection.detection_loss, data),
        (tasks.set_prediction_loss, grids),
        (tasks.captioning_loss, captions),
        (tasks.captioning.attending_loss, captions),
    ):
        assert callable(loss(whole))
        assert callable(loss(Subset(whole, [2])))
        with pytest.raises(ValueError, match="none of its 2 images has"):
            loss(Subset(whole, [0, 1]))
    # Where nothing tells, nothing is refused.
    assert callable(tasks.detection.detection_loss(TensorDataset(torch.zeros(3, 2))))
