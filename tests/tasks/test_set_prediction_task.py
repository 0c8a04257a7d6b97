"""Set prediction in the city: features instead of images, both ways round, their boxes, a perfect and a new DETR."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader

from lecture_utils import recipes, runtime, tasks, training
from lecture_utils.__main__ import main
from lecture_utils.tasks.detection import collate
from lecture_utils.tasks.features import FeatureDataset
from lecture_utils.toycity import export
from lecture_utils.transformers.detr import Predictions

pytestmark = [pytest.mark.slide("33"), pytest.mark.filterwarnings("ignore::DeprecationWarning:pycocotools")]


@pytest.fixture
def city(tmp_path):
    for split, scenes in (("train", 4), ("val", 2), ("test", 3)):
        export(tmp_path, split=split, scenes=scenes, size=64, quiet=True)
    return tmp_path


@pytest.fixture
def run():
    return runtime.setup(quiet=True)


class Counting(torch.nn.Module):
    """Gives the image itself, made coarse, and counts how many it was asked for."""

    def __init__(self):
        super().__init__()
        self.asked = 0

    def forward(self, images):
        self.asked += len(images)
        return F.max_pool2d(images, 4)


def test_pictures_are_encoded_once_and_training_sees_them_both_ways_round(city):
    pictures = tasks.gridded_data("val", city).dataset  # whose transforms draw nothing
    data = FeatureDataset(pictures, Counting(), mirror=True)
    torch.manual_seed(0)
    seen = [data[0] for _ in range(30)]
    assert data.encoder.asked == 2 * len(data)  # those beside it, too
    image, plain = pictures[0]
    straight = F.max_pool2d(image.as_subclass(torch.Tensor), 4).half().float()
    mirrored = 0
    for z, target in seen:
        turned = torch.equal(z, straight.flip(-1))
        mirrored += turned
        assert turned or torch.equal(z, straight)
        x0, y0, x1, y1 = plain["boxes"].as_subclass(torch.Tensor).T
        expected = torch.stack([64 - x1, y0, 64 - x0, y1] if turned else [x0, y0, x1, y1], dim=1)
        assert torch.equal(target["boxes"].as_subclass(torch.Tensor), expected)
        assert torch.equal(target["labels"], plain["labels"])
    assert 5 < mirrored < 25
    assert torch.equal(plain["boxes"], pictures[0][1]["boxes"])  # nothing was turned in place


def test_crowds_are_mirrored_with_their_pictures(city):
    file = city / "coco/annotations/instances_val2017.json"
    file.write_text(file.read_text().replace('"iscrowd":0', '"iscrowd":1', 1))
    pictures = tasks.gridded_data("val", city).dataset
    ((straight, mirrored),) = FeatureDataset(pictures, Counting(), mirror=True)._encode([0])
    x0, y0, x1, y1 = straight[1]["crowds"].as_subclass(torch.Tensor).T
    assert len(x0) == 1
    expected = torch.stack([64 - x1, y0, 64 - x0, y1], dim=1)
    assert torch.equal(mirrored[1]["crowds"].as_subclass(torch.Tensor), expected)


def test_only_training_is_mirrored_and_the_shipped_backbone_encodes(city):
    train, test = tasks.gridded_data("train", city), tasks.gridded_data("test", city)
    assert train.mirror
    assert not test.mirror
    assert test.size == (64, 64)
    assert test.categories == recipes.recipe("faster_rcnn").task.data("test", city).categories
    z, target = test.preload()[1]
    assert z.shape == (256, 8, 8)
    assert z.dtype == torch.float32
    faster = recipes.load("faster_rcnn")
    image = test.dataset[1][0].as_subclass(torch.Tensor)
    with torch.no_grad():
        expected = F.pixel_unshuffle(faster.backbone(image[None]), 2)[0]
    torch.testing.assert_close(z, expected, atol=0.01, rtol=0.01)  # kept in half precision
    assert {"boxes", "labels"} <= set(target)


class Perfect(torch.nn.Module):
    """Answers with the targets themselves; `z` holds their indices."""

    def __init__(self, targets, queries=9):
        super().__init__()
        self.targets, self.queries = targets, queries

    def forward(self, z):
        logits, boxes = torch.zeros(1, len(z), self.queries, 5), torch.full((1, len(z), self.queries, 4), 0.5)
        logits[..., 0] = 9
        for row, target in enumerate(self.targets[int(index)] for index in z[:, 0, 0, 0]):
            n = len(target["labels"])
            boxes[0, row, :n] = target["boxes"]
            logits[0, row, :n] = 20 * F.one_hot(target["labels"], 5)
        return Predictions(logits, boxes, torch.zeros(len(z), 1, 1, self.queries, 1, 1))


def test_a_perfect_answer_scores_1_and_costs_nothing(city, run):
    data = tasks.gridded_data("test", city).preload()
    for index in range(len(data)):
        z, target = data._kept[index][0]
        data._kept[index] = [(torch.full_like(z, index), target)]
    perfect = Perfect([tasks.normalize_targets([data[i][1]], data.size)[0] for i in range(len(data))])
    scores = tasks.set_prediction.score_sets(perfect, data, run)
    assert scores["map"] == pytest.approx(1)
    assert scores["map_50"] == pytest.approx(1)
    (batch,) = DataLoader(data, batch_size=len(data), collate_fn=collate)
    assert tasks.set_prediction_loss(data)(perfect, batch).item() == pytest.approx(0, abs=1e-3)


def test_boxes_in_shares_are_centre_and_size():
    (target,) = tasks.normalize_targets(
        [{"labels": torch.tensor([2]), "boxes": torch.tensor([[10.0, 20, 30, 60]])}], (100, 200)
    )
    torch.testing.assert_close(target["boxes"], torch.tensor([[0.1, 0.4, 0.1, 0.4]]))
    assert target["labels"].tolist() == [2]


def test_a_new_detr_learns_three_scenes(city, run):
    data = tasks.gridded_data("test", city).preload()
    torch.manual_seed(0)
    model = recipes.recipe("detr").build()
    settings = {"loss": tasks.set_prediction_loss(data), "collate": collate, "quiet": True}
    history = training.fit(model, data, run=run, steps=30, batch_size=3, lr=1e-3, **settings)
    assert history.losses[-1] < 0.6 * history.losses[0]


def test_an_untrained_detr_is_trained_and_scored_by_its_commands(city, tmp_path, capsys):
    checkpoint = tmp_path / "detr.safetensors"
    kind = ["--root", str(city), "--checkpoint", str(checkpoint)]
    assert main(["train", "detr", "--steps", "2", "--batch-size", "2", *kind]) == 0
    assert main(["evaluate", "detr", "--json", *kind]) == 0
    assert '"map_50"' in capsys.readouterr().out


# Grows by how much memory while DETR trains on photographs, and while their features are kept? In a process of its own,
# which has no freed memory that it could take instead. The backbone's maps are as large as a ResNet-50's of 512 × 512
# pixels: 2,048 × 16 × 16 numbers, 1 MB in half precision.
MEASURE = """
import os, sys
import torch
import torch.nn.functional as F
from pathlib import Path
from lecture_utils import runtime, tasks, training
from lecture_utils.datasets import CocoInstances
from lecture_utils.datasets.layouts import INSTANCES, coco_files
from lecture_utils.tasks.detection import collate
from lecture_utils.tasks.features import FeatureDataset
from lecture_utils.transformers.detr import DETR

class Wide(torch.nn.Module):
    features = 2048

    def forward(self, images):
        return F.adaptive_avg_pool2d(images, 16).mean(1, keepdim=True).expand(-1, self.features, -1, -1)

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

files = coco_files(Path(sys.argv[1]), "train", INSTANCES)
photographs = CocoInstances(*files, masks=False, size=64, transforms=tasks.photo_transforms(train=True))
sizes = {"queries": 4, "dim": 8, "heads": 2, "mlp_dim": 8, "encoder_layers": 1, "decoder_layers": 1}
model = DETR(2048, len(photographs.categories), backbone=Wide(), **sizes)
task = {"loss": tasks.set_prediction_loss(photographs), "collate": collate, "quiet": True}
task["run"] = runtime.setup(quiet=True)
training.fit(model, photographs, steps=2, batch_size=8, **task)  # what any training takes once
before = resident()
training.fit(model, photographs, steps=30, batch_size=8, **task)
print(resident() - before)
photographs.transforms = tasks.photo_transforms()
kept = FeatureDataset(photographs, model.backbone).preload()
print(resident() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="tells its memory on Linux alone")
def test_a_backbone_inside_keeps_no_features_of_the_photographs(tmp_path):
    """As the last section of notebook 11 trains on COCO: two passes must not take more memory than one batch does."""
    export(tmp_path, split="train", scenes=120, size=64, quiet=True)
    ran = subprocess.run([sys.executable, "-c", MEASURE, str(tmp_path)], capture_output=True, text=True, check=True)
    training, keeping = map(int, ran.stdout.split()[-2:])
    assert training < 60 * 2**20
    assert keeping > 100 * 2**20  # the same photographs with their features kept: the measure notices


def test_the_first_items_alone(city):
    """Those of the whole, from the same memory; as many as there are, at most."""
    data = FeatureDataset(tasks.gridded_data("val", city).dataset, Counting())
    part = data.first(2)
    assert (len(part), len(data.first(10**6))) == (2, len(data))
    assert torch.equal(part[1][0], data[1][0])
    assert part[-1][1] is data[1][1]
    with pytest.raises(IndexError):
        part[2]
    with pytest.raises(ValueError, match="number: got 0"):
        data.first(0)
