"""The shipped detectors: each scores what its card says; a learned proposal is better and sooner there."""

import time

import pytest
import torch
from shipped import ShippedScores, carded, check_card

from lecture_utils import recipes, tasks
from lecture_utils.costs import costs
from lecture_utils.datasets import city_instances
from lecture_utils.detection.selective_search import selective_search

# A detection near a threshold of IoU counts or does not: more than a pixel's rounding on another processor.
TOLERANCE = 0.01
TASKS = (
    tasks.single_object.SINGLE_OBJECT,
    tasks.single_object.SLOTS,
    tasks.detection.DETECTION,
    tasks.detection.SELECTIVE_SEARCH,
    tasks.detection.PROPOSALS,
)
DETECTORS = [name for name, recipe in recipes.RECIPES.items() if recipe.task in TASKS]


@pytest.fixture(scope="module")
def scores():
    return ShippedScores()


@pytest.fixture(scope="module")
def street():
    """A photograph, and what a detector is given of it: the image and its proposals, searched in this scene alone."""
    photograph = city_instances("val")[0][0]
    return (
        photograph.permute(1, 2, 0).numpy(),
        tasks.detection_data("val")[0][0][None],
        [tasks.detection.search(photograph)],
    )


@pytest.mark.timeout(1800)  # R-CNN sends each of some 500 proposals an image through its backbone
@pytest.mark.parametrize("name", DETECTORS)
def test_a_checkpoint_scores_what_its_card_says(scores, name):
    check_card(name, scores[name], tolerance=TOLERANCE)


@pytest.mark.slide("20")
def test_faster_rcnn_finds_the_things_of_the_city(scores):
    assert scores["faster_rcnn"]["map"] >= 0.5
    assert scores["faster_rcnn"]["map_50"] >= 0.85
    assert min(scores["faster_rcnn"]["ap"].values()) >= 0.4


@pytest.mark.slide("23")
def test_each_detector_answers_faster_than_the_one_before_it(street):
    picture, *given = street
    models = {name: recipes.load(name) for name in ("rcnn", "fast_rcnn", "faster_rcnn")}

    def seconds(answer) -> float:
        times = []
        for _ in range(3):
            begin = time.perf_counter()
            answer()
            times.append(time.perf_counter() - begin)
        return min(times)

    with torch.inference_mode():
        search = seconds(lambda: selective_search(picture, scale=2))
        slow, fast = (search + seconds(lambda name=name: models[name](*given)) for name in ("rcnn", "fast_rcnn"))
        faster = seconds(lambda: models["faster_rcnn"](given[0]))
    assert slow > fast > faster


@pytest.mark.slide("19")
def test_fast_rcnn_does_a_fraction_of_rcnns_work_on_the_same_proposals(street):
    _, *given = street
    rcnn, fast = (costs(recipes.load(name).eval(), *given).flops for name in ("rcnn", "fast_rcnn"))
    assert rcnn > 10 * fast


@pytest.mark.slide("18", "19", "20")
def test_proposals_of_a_network_find_more_than_those_of_selective_search(scores):
    assert scores["faster_rcnn"]["map"] > carded("fast_rcnn")["map"] + 0.05
    assert scores["rpn9"]["recall_300"] > 0.9
