"""COCO's average precision against pycocotools itself, and recall against counting."""

import contextlib
import io
import json
import math

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torchvision import ops
from torchvision.transforms import v2

from lecture_utils.datasets import CocoInstances
from lecture_utils.detection.boxes import box_iou
from lecture_utils.detection.scores import KEYS, CocoScores, ProposalRecall, apply_nms
from lecture_utils.tasks import collate

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


def with_pycocotools(found: list[dict], targets: list[dict], scale: float) -> list[float]:
    def record(index: int, image: dict, row: int, number: int) -> dict:
        x0, y0, x1, y1 = (image["boxes"][row] * scale).tolist()
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
@pytest.mark.parametrize("scale", [1, 4])
@pytest.mark.parametrize("seed", range(4))
def test_the_scores_are_those_of_pycocotools(seed, scale):
    found, targets = random_scenes(seed)
    metric = CocoScores(NAMES, scale=scale)
    for half in (slice(0, 3), slice(3, None)):  # fed in two batches
        metric.update(found[half], targets[half])
    scores = metric.compute()
    for key, expected in zip(KEYS, with_pycocotools(found, targets, scale), strict=True):
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
    recall = ProposalRecall(numbers, threshold=threshold)
    recall.update(proposals[:2], targets[:2])
    recall.update(proposals[2:], targets[2:])
    reached = dict.fromkeys(numbers, 0)
    for number in numbers:
        for boxes, target in zip(proposals, targets, strict=True):
            for thing in target["boxes"]:
                reached[number] += any(box_iou(thing[None], box[None]).item() >= threshold for box in boxes[:number])
    assert recall.compute() == pytest.approx({number: count / 12 for number, count in reached.items()})
    assert 0 < reached[5] < reached[20] < 12


def test_the_recall_of_no_object_is_nan():
    recall = ProposalRecall((10,))
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
def test_after_nms_the_best_of_a_class_stays():
    (kept,) = apply_nms([three_boxes()])
    torch.testing.assert_close(kept["scores"], torch.tensor([0.9, 0.8]))
    (kept,) = apply_nms([three_boxes(labels=torch.tensor([1, 2, 1]))])
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
def test_apply_nms_is_one_suppression_a_class_wherever_boxes_lie(number, beyond):
    rng = torch.Generator().manual_seed(number)
    boxes = random_boxes(rng, number) - beyond
    labels, scores = torch.randint(0, 4, (number,), generator=rng), torch.rand(number, generator=rng)
    one = {"boxes": boxes, "labels": labels, "scores": scores, "row": torch.arange(number)}
    (kept,) = apply_nms([one], iou_threshold=0.3)
    assert set(kept["row"].tolist()) == one_class_at_a_time(one, 0.3)
    assert kept["scores"].tolist() == sorted(kept["scores"].tolist(), reverse=True)


@pytest.mark.slide("33")
def test_apply_nms_keeps_boxes_of_two_classes_beyond_the_border():
    """The second lies left of the image by as much as batched_nms moves a class to the right."""
    boxes = torch.tensor([[0.0, 0, 9, 9], [-10, -10, -1, -1], [0, 0, 9, 9]])
    found = {"boxes": boxes, "labels": torch.tensor([1, 2, 3]), "scores": torch.tensor([0.9, 0.8, 0.7])}
    (kept,) = apply_nms([found])
    assert kept["labels"].tolist() == [1, 2, 3]


def test_equal_scores_keep_their_order_across_classes():
    found = three_boxes(labels=torch.tensor([3, 1, 2]), scores=torch.tensor([0.5, 0.5, 0.5]))
    (kept,) = apply_nms([found])
    assert kept["labels"].tolist() == [3, 1, 2]


@pytest.mark.parametrize("key", ["boxes", "scores"])
def test_apply_nms_refuses_what_is_not_finite(key):
    found = three_boxes()
    found[key][1] = float("nan")
    with pytest.raises(ValueError, match=f"{key}: got nan or infinity in 1 of 3, expected finite numbers"):
        apply_nms([found])


def write_coco(root, seed: int) -> tuple[list[dict], list[dict]]:
    """Photographs and a file with objects of annotated areas and crowds; the detections, COCO's and as tensors."""
    rng = np.random.default_rng(seed)
    images, objects, results, found = [], [], [], []
    (root / "photos").mkdir()
    for number in range(1, 9):
        Image.new("RGB", (300, 240)).save(root / "photos" / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "width": 300, "height": 240})
        guesses = []
        for _ in range(rng.integers(0, 7)):
            x, y, w, h = (int(side) for side in (*rng.integers(0, (150, 100)), *rng.integers(8, (140, 130))))
            crowd, category = int(rng.random() < 0.35), int(rng.integers(1, 3))
            area = int(rng.choice([0, 1024, w * h, w * h // 2]))
            record = {"image_id": number, "category_id": category, "bbox": [x, y, w, h], "area": area}
            objects.append(record | {"id": len(objects) + 1, "iscrowd": crowd})
            for _ in range(rng.integers(0, 4) if crowd else rng.integers(0, 2)):
                part = [x + w / 4, y, w / 2, h / 2] if crowd else [x + rng.integers(0, 4), y, w, h]
                guesses.append((category if rng.random() < 0.9 else 3 - category, [float(side) for side in part]))
        scores = rng.random(len(guesses)).astype(np.float32).tolist()
        for (category, box), score in zip(guesses, scores, strict=True):
            results.append({"image_id": number, "category_id": category, "bbox": box, "score": score})
        boxes = torch.tensor([box for _, box in guesses]).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        labels = torch.tensor([category for category, _ in guesses], dtype=torch.int64)
        found.append({"boxes": boxes, "labels": labels, "scores": torch.tensor(scores)})
    content = {"images": images, "annotations": objects, "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]}
    (root / "instances.json").write_text(json.dumps(content))
    return results, found


@pytest.mark.slide("20")
@pytest.mark.parametrize("seed", range(6))
def test_crowds_and_areas_of_a_file_count_as_pycocotools_counts_them(tmp_path, seed):
    results, found = write_coco(tmp_path, seed)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(tmp_path / "instances.json"))
        evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    data = CocoInstances(tmp_path / "photos", tmp_path / "instances.json", masks=False)
    assert data.inventory.counts["crowds"] >= 3
    _, targets = collate([data[index] for index in range(len(data))])
    metric = CocoScores(data.categories)
    metric.update(found[:3], targets[:3])
    metric.update(found[3:], targets[3:])
    scores = metric.compute()
    for key, expected in zip(KEYS, evaluation.stats[:6].tolist(), strict=True):
        assert math.isnan(scores[key]) if expected == -1 else scores[key] == pytest.approx(expected, abs=1e-6), key

    without = CocoScores(data.categories)
    without.update(found, [{key: target[key] for key in ("boxes", "labels")} for target in targets])
    assert without.compute()["map_50"] < scores["map_50"]  # what lies in a crowd was counted as false

    theirs = CocoScores(data.categories)  # torchmetrics' own way to say the same
    theirs.update(found, [as_torchmetrics(target) for target in targets])
    same = theirs.compute()
    assert [same[key] for key in KEYS] == pytest.approx([scores[key] for key in KEYS], nan_ok=True)


def as_torchmetrics(target: dict) -> dict:
    sizes = target["boxes"][:, 2:] - target["boxes"][:, :2]
    crowd = torch.ones_like(target["crowd_labels"])
    area = torch.cat([(sizes.prod(1) * target["extent"]).round().clamp(min=0.1), crowd])
    return {
        "boxes": torch.cat([target["boxes"], target["crowds"]]),
        "labels": torch.cat([target["labels"], target["crowd_labels"]]),
        "iscrowd": torch.cat([torch.zeros_like(target["labels"]), crowd]),
        "area": area,
    }


@pytest.mark.slide("20")
def test_crowds_and_areas_follow_a_flip_and_a_resize(tmp_path):
    write_coco(tmp_path, 0)
    plain = CocoInstances(tmp_path / "photos", tmp_path / "instances.json", masks=False)
    moved = CocoInstances(
        tmp_path / "photos",
        tmp_path / "instances.json",
        masks=False,
        transforms=v2.Compose([v2.Resize((480, 900)), v2.RandomHorizontalFlip(1)]),
    )
    for (_, target), (_, other) in zip(plain, moved, strict=True):
        for key in ("boxes", "crowds"):
            x0, y0, x1, y1 = target[key].as_subclass(torch.Tensor).T
            expected = torch.stack([900 - 3 * x1, 2 * y0, 900 - 3 * x0, 2 * y1], dim=1)
            torch.testing.assert_close(other[key].as_subclass(torch.Tensor), expected)
        assert torch.equal(target["extent"], other["extent"])
        assert torch.equal(target["crowd_labels"], other["crowd_labels"])
