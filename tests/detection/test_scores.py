"""COCO's average precision against pycocotools itself, and recall against counting."""

import contextlib
import io
import math

import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torchvision import ops

from lecture_utils.detection.boxes import iou
from lecture_utils.detection.scores import KEYS, CocoScores, Recall, doubles, without_doubles

NAMES = ("background", "person", "car", "boat")


def random_boxes(rng: torch.Generator, number: int, side: float = 100) -> torch.Tensor:
    low = torch.rand(number, 2, generator=rng) * side
    return torch.cat([low, low + 2 + torch.rand(number, 2, generator=rng) * side], dim=1)


def random_scenes(seed: int, images: int = 8) -> tuple[list[dict], list[dict]]:
    """Targets, and detections near some of them, some of the wrong class, some anywhere; images without either."""
    rng = torch.Generator().manual_seed(seed)
    found, targets = [], []
    for index in range(images):
        number = 0 if index == 0 else int(torch.randint(0, 6, (), generator=rng))
        boxes, labels = random_boxes(rng, number), torch.randint(1, 3, (number,), generator=rng)  # no boat anywhere
        near = boxes + torch.randn(number, 4, generator=rng) * 3
        near[:, 2:] = torch.maximum(near[:, 2:], near[:, :2] + 1)
        wrong = torch.rand(number, generator=rng) < 0.2
        guess = torch.where(wrong, 3 - labels, labels)
        extra = int(torch.randint(0, 3, (), generator=rng)) if index != 1 else 0
        targets.append({"boxes": boxes, "labels": labels})
        found.append(
            {
                "boxes": torch.cat([near, random_boxes(rng, extra)]),
                "labels": torch.cat([guess, torch.randint(1, 3, (extra,), generator=rng)]),
                "scores": torch.rand(number + extra, generator=rng),
            }
        )
    return found, targets


def with_pycocotools(found: list[dict], targets: list[dict], enlarge: float) -> list[float]:
    def record(index: int, image: dict, row: int, number: int) -> dict:
        x0, y0, x1, y1 = (image["boxes"][row] * enlarge).tolist()
        size = {"bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0)}
        return {"id": number, "image_id": index, "category_id": int(image["labels"][row]), "iscrowd": 0} | size

    def records(images: list[dict]) -> list[dict]:
        places = [(index, image, row) for index, image in enumerate(images, 1) for row in range(len(image["boxes"]))]
        return [record(*place, number) for number, place in enumerate(places, 1)]

    scores = [score.item() for image in found for score in image["scores"]]
    detections = [one | {"score": score} for one, score in zip(records(found), scores, strict=True)]
    coco = COCO()
    coco.dataset = {
        "images": [{"id": index} for index in range(1, len(targets) + 1)],
        "categories": [{"id": label} for label in (1, 2)],
        "annotations": records(targets),
    }
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(detections), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats[:6].tolist()


@pytest.mark.slide("20")
@pytest.mark.parametrize("enlarge", [1, 4])
@pytest.mark.parametrize("seed", range(4))
def test_the_scores_are_those_of_pycocotools(seed, enlarge):
    found, targets = random_scenes(seed)
    metric = CocoScores(NAMES, enlarge=enlarge)
    for half in (slice(0, 3), slice(3, None)):  # fed in two batches
        metric.update(found[half], targets[half])
    scores = metric.compute()
    for key, expected in zip(KEYS, with_pycocotools(found, targets, enlarge), strict=True):
        assert math.isnan(scores[key]) if expected == -1 else scores[key] == pytest.approx(expected, abs=1e-6), key


def test_perfect_detections_score_one_and_classes_are_told_by_name():
    _, targets = random_scenes(7)
    metric = CocoScores(NAMES)
    metric.update([target | {"scores": torch.ones(len(target["boxes"]))} for target in targets], targets)
    scores = metric.compute()
    assert scores["map"] == scores["map_50"] == scores["ap"]["person"] == scores["ap"]["car"] == pytest.approx(1)
    assert list(scores["ap"]) == list(NAMES[1:])
    assert math.isnan(scores["ap"]["boat"])


def test_where_nothing_is_to_be_found_the_scores_are_nan():
    none = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    metric = CocoScores(NAMES)
    metric.update([none | {"scores": torch.zeros(0)}], [none])
    scores = metric.compute()
    assert all(math.isnan(scores[key]) for key in KEYS)
    assert all(math.isnan(value) for value in scores["ap"].values())


@pytest.mark.slide("17", "22")
def test_recall_counts_the_objects_that_some_of_the_first_proposals_overlap():
    rng = torch.Generator().manual_seed(0)
    numbers, threshold = (0, 1, 5, 20), 0.3
    proposals = [random_boxes(rng, number) for number in (30, 0, 7, 12)]
    targets = [{"boxes": random_boxes(rng, number)} for number in (4, 3, 0, 5)]
    recall = Recall(numbers, threshold=threshold)
    recall.update(proposals[:2], targets[:2])
    recall.update(proposals[2:], targets[2:])
    reached = dict.fromkeys(numbers, 0)
    for number in numbers:
        for boxes, target in zip(proposals, targets, strict=True):
            for thing in target["boxes"]:
                reached[number] += any(iou(thing[None], box[None]).item() >= threshold for box in boxes[:number])
    assert recall.compute() == pytest.approx({number: count / 12 for number, count in reached.items()})
    assert 0 < reached[5] < reached[20] < 12


def test_the_recall_of_no_object_is_nan():
    recall = Recall((10,))
    recall.update([torch.zeros(3, 4)], [{"boxes": torch.zeros(0, 4)}])
    assert math.isnan(recall.compute()[10])


@pytest.mark.filterwarnings("ignore:The ``compute`` method:UserWarning")
def test_before_any_update_the_scores_are_nan():
    scores = CocoScores(NAMES).compute()
    assert all(math.isnan(value) for value in (*(scores[key] for key in KEYS), *scores["ap"].values()))


def three_boxes(**changes):
    """Two boxes of one class that overlap, IoU 0.6, and one far away."""
    boxes = torch.tensor([[0.0, 0, 10, 8], [0, 0, 10, 8 * 0.6], [50, 50, 60, 60]])
    return {"boxes": boxes, "labels": torch.tensor([1, 1, 1]), "scores": torch.tensor([0.9, 0.6, 0.8])} | changes


@pytest.mark.slide("33")
def test_doubles_are_pairs_of_sure_boxes_of_one_class():
    assert doubles([three_boxes()]) == 1
    assert doubles([three_boxes(), three_boxes()]) == 2  # never across images
    assert doubles([three_boxes(labels=torch.tensor([1, 2, 1]))]) == 0
    assert doubles([three_boxes(scores=torch.tensor([0.9, 0.4, 0.8]))]) == 0
    assert doubles([three_boxes(scores=torch.tensor([0.9, 0.5, 0.8]))]) == 1  # exactly 0.5 is sure enough
    assert doubles([three_boxes()], overlap=0.65) == 0
    same = three_boxes(boxes=torch.tensor([[0.0, 0, 4, 4]]).repeat(3, 1))
    assert doubles([same]) == 3
    assert doubles([]) == doubles([{key: values[:0] for key, values in same.items()}]) == 0


@pytest.mark.slide("33")
def test_without_doubles_the_best_of_a_class_stays():
    (kept,) = without_doubles([three_boxes()])
    torch.testing.assert_close(kept["scores"], torch.tensor([0.9, 0.8]))
    assert doubles([kept]) == 0
    (kept,) = without_doubles([three_boxes(labels=torch.tensor([1, 2, 1]))])
    assert len(kept["boxes"]) == 3


def one_class_at_a_time(one: dict, overlap: float) -> set[int]:
    """Which rows stay when every class has a suppression of its own."""
    stay = set()
    for label in set(one["labels"].tolist()):
        rows = [row for row, its in enumerate(one["labels"].tolist()) if its == label]
        stay |= {rows[kept] for kept in ops.nms(one["boxes"][rows], one["scores"][rows], overlap).tolist()}
    return stay


@pytest.mark.slide("33")
@pytest.mark.parametrize("number", [0, 1, 40, 300, 1200])  # torchvision's own way changes at 1,000 boxes
@pytest.mark.parametrize("beyond", [0, 60, 5000])
def test_without_doubles_is_one_suppression_a_class_wherever_boxes_lie(number, beyond):
    rng = torch.Generator().manual_seed(number)
    boxes = random_boxes(rng, number) - beyond
    labels, scores = torch.randint(0, 4, (number,), generator=rng), torch.rand(number, generator=rng)
    one = {"boxes": boxes, "labels": labels, "scores": scores, "row": torch.arange(number)}
    (kept,) = without_doubles([one], overlap=0.3)
    assert set(kept["row"].tolist()) == one_class_at_a_time(one, 0.3)
    assert kept["scores"].tolist() == sorted(kept["scores"].tolist(), reverse=True)
    assert doubles([kept], score=0, overlap=0.3) == 0


@pytest.mark.slide("33")
def test_without_doubles_keeps_boxes_of_two_classes_beyond_the_border():
    """The second lies left of the image by as much as batched_nms moves a class to the right."""
    boxes = torch.tensor([[0.0, 0, 9, 9], [-10, -10, -1, -1], [0, 0, 9, 9]])
    found = {"boxes": boxes, "labels": torch.tensor([1, 2, 3]), "scores": torch.tensor([0.9, 0.8, 0.7])}
    (kept,) = without_doubles([found])
    assert kept["labels"].tolist() == [1, 2, 3]


def test_equal_scores_keep_their_order_across_classes():
    found = three_boxes(labels=torch.tensor([3, 1, 2]), scores=torch.tensor([0.5, 0.5, 0.5]))
    (kept,) = without_doubles([found])
    assert kept["labels"].tolist() == [3, 1, 2]


@pytest.mark.parametrize("key", ["boxes", "scores"])
def test_without_doubles_refuses_what_is_not_finite(key):
    found = three_boxes()
    found[key][1] = float("nan")
    with pytest.raises(ValueError, match=f"{key}: got nan or infinity in 1 of 3, expected finite numbers"):
        without_doubles([found])
