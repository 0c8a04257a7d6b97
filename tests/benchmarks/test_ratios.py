"""How many times as long our detectors' parts take as torchvision's, on one core: each has a limit.

The two take turns, so that what else a machine does slows both; compared are their medians. The teaching versions of
IoU and NMS have no limit: where a detector applies NMS, it calls torchvision's.
"""

import statistics
import time

import pytest
import torch
from detection.twins import torchvision_faster_rcnn  # tests/ is on the path of its packages

from lecture_utils import city_models
from lecture_utils.detection import RPN, Backbone, FasterRCNN

from .test_detection import PAIRS

LIMITS = {
    "anchors, 9 at 32 by 32 points": 1.2,
    "RoI align, 300 boxes, 2 points": 2.0,
    "RoI align, 300 boxes, adaptive": 2.0,
}
STEP_LIMIT = 1.05


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def take_turns(works, rounds, calls=1):
    """The seconds of each of two works, `rounds` times: lists of equal length."""
    taken = [], []
    for number in range(rounds + 1):
        for index in (0, 1) if number % 2 else (1, 0):  # who comes second finds a warm cache, or a hot chip
            start = time.process_time()
            for _ in range(calls):
                works[index]()
            taken[index].append(time.process_time() - start)
    return [seconds[1:] for seconds in taken]  # the first was to warm up


def compare(benchmark, works, limit, **how):
    ours, theirs = benchmark.pedantic(lambda: take_turns(works, **how), rounds=1)
    ratio = statistics.median(ours) / statistics.median(theirs)
    low, _, high = statistics.quantiles([a / b for a, b in zip(ours, theirs, strict=True)])
    benchmark.extra_info |= {"ratio": ratio, "quartiles": (low, high)}
    print(f"{benchmark.name}: {ratio:.3f} times the other, half of the rounds from {low:.3f} to {high:.3f}")
    assert ratio <= limit


@pytest.mark.parametrize("name", LIMITS)
def test_a_part(benchmark, name):
    with torch.inference_mode():
        compare(benchmark, PAIRS[name], LIMITS[name], rounds=41, calls=20)


def training_step(model, losses):
    """A step of AdamW on eight images of noise, each with four objects."""
    model.train()
    dice = torch.Generator().manual_seed(0)
    images = torch.randn(8, 3, 128, 128, generator=dice)
    low = torch.rand(8, 4, 2, generator=dice) * 80
    boxes = torch.cat([low, low + 8 + torch.rand(8, 4, 2, generator=dice) * 40], 2)
    targets = [{"boxes": some, "labels": torch.tensor([1, 2, 3, 4])} for some in boxes]
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4, fused=True)

    def step():
        optimizer.zero_grad()
        losses(model, images, targets).backward()
        optimizer.step()

    return step


def test_a_training_step_of_faster_rcnn(benchmark):
    """The city's, but for anchors at each point of the features: torchvision's RPN has no other stride."""
    sizes, ratios = city_models.ANCHOR_SIZES, city_models.ANCHOR_RATIOS
    numbers = {"pre_nms_top_n": 1000, "batch_size_per_image": 128}
    rpn = RPN(64, stride=Backbone.stride, sizes=sizes, ratios=ratios, **numbers)
    ours = FasterRCNN(city_models.backbone(), rpn, city_models.head())
    theirs = torchvision_faster_rcnn(ours, sizes, ratios)
    theirs.backbone.backbone = city_models.backbone()  # a step changes it
    theirs.backbone.backbone.load_state_dict(ours.backbone.state_dict())
    works = (
        training_step(ours, lambda model, images, targets: sum(model(images, targets).values())),
        training_step(theirs, lambda model, images, targets: sum(model(list(images), targets).values())),
    )
    compare(benchmark, works, STEP_LIMIT, rounds=20)
