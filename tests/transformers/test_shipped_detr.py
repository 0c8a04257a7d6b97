"""The shipped DETR: it scores what its card says, gives each thing once, and its first layer does not yet."""

import pytest
import torch
from shipped import carded, check_card, shipped_scores

from lecture_course.nb11_detr import measuring
from lecture_utils import recipes, runtime, tasks
from lecture_utils.detection.scores import CocoScores, apply_nms
from lecture_utils.transformers import postprocess

pytestmark = [pytest.mark.slide("33"), pytest.mark.filterwarnings("ignore::DeprecationWarning:pycocotools")]

# A detection near a threshold of IoU counts or does not: more than a pixel's rounding on another processor.
TOLERANCE = 0.01


@pytest.fixture(scope="module")
def scores():
    return shipped_scores("detr")


@pytest.fixture(scope="module")
def answers():
    """What the shipped model says about the validation scenes, and their targets."""
    data, model = tasks.gridded_data("val").preload(), recipes.load("detr")
    z, targets = tasks.collate([data[index] for index in range(len(data))])
    with torch.no_grad():
        return model(z), targets, data


def test_a_checkpoint_scores_what_its_card_says(scores):
    check_card("detr", scores, tolerance=TOLERANCE)


def test_detr_finds_the_things_of_the_city(scores):
    assert scores["map_50"] >= 0.72
    assert scores["map"] >= 0.41  # what a bare prototype reached
    assert scores["map_50"] < carded("faster_rcnn")["map_50"]  # as the notebook says


def test_the_shipped_file_holds_no_backbone():
    assert runtime.resource_path("checkpoints/detr.safetensors").stat().st_size <= 1_300_000


def average_precision(found, targets, data):
    metric = CocoScores(data.categories, scale=4)
    metric.update(found, targets)
    return metric.compute()["map_50"]


def test_nms_gains_little_map_after_the_last_layer(answers):
    said, targets, data = answers
    found = postprocess(said, data.size)
    plain, after = (average_precision(one, targets, data) for one in (found, apply_nms(found)))
    assert after - plain < 0.01


def test_later_layers_find_more(answers):
    said, targets, data = answers
    first, last = (average_precision(postprocess(said, data.size, layer=layer), targets, data) for layer in (0, -1))
    assert last > first


def test_surplus_boxes_are_few_beside_those_that_faster_rcnn_suppresses(answers):
    said, targets, data = answers
    faster, pictures = recipes.load("faster_rcnn"), tasks.detection_data("val")
    before, ours = measuring.unsuppressed(faster, pictures, range(40), "cpu"), postprocess(said, data.size)[:40]
    usual = faster.head.nms_threshold
    assert usual < 1  # left as it was
    theirs, ours = (measuring.counts(measuring.judge(found, targets[:40], 5)) for found in (before, ours))
    assert theirs["surplus"] > 10 * ours["surplus"]


def test_most_queries_find_something_and_each_looks_somewhere_of_its_own(answers):
    said, _, _ = answers
    sure = said.logits[-1].softmax(-1)[..., 1:].amax(-1) >= 0.5  # b queries
    used = sure.sum(0) >= 5
    assert used.sum() >= 10
    centres = [said.boxes[-1, sure[:, query], query, :2] for query in used.nonzero()[:, 0].tolist()]
    within = torch.stack([points.std(0).mean() for points in centres]).mean()
    assert within < 0.7 * torch.cat(centres).std(0).mean()  # a query's boxes lie closer together than all boxes
