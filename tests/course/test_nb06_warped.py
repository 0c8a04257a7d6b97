"""Regions: each crop under its number, the boxes where they belong, the bars as long as the scores."""

import numpy as np
import pytest
import torch

from lecture_course.nb06_rcnn_and_fast_rcnn import figures as nb06


def image(height, width, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 255, (3, height, width), dtype=np.uint8))


def corners(ax):
    """(x0, y0, x1, y1) of every unfilled rectangle, in pixels."""
    found = [patch for patch in ax.patches if not patch.get_fill()]
    return [tuple(np.add(patch.get_bbox().extents, 0.5).round(3).tolist()) for patch in found]


def drawn(ax):
    return np.asarray(ax.images[0].get_array())


@pytest.mark.slide("18")
@pytest.mark.parametrize("number", [1, 3, 8])
def test_each_crop_stands_under_its_number(number):
    boxes = torch.tensor([[3.0, 4, 12, 20]]).repeat(number, 1) + torch.arange(number)[:, None]
    crops = [image(7, 7, seed) for seed in range(number)]
    fig = nb06.warped(image(40, 60), boxes, crops, names=[f"region {i}" for i in range(number)])
    scene, *others = fig.axes
    assert corners(scene) == [tuple(box) for box in boxes.tolist()]
    assert [text.get_text() for text in scene.texts] == [str(i + 1) for i in range(number)]
    assert [ax.get_title() for ax in others] == [str(i + 1) for i in range(number)]
    assert [ax.get_xlabel() for ax in others] == [f"region {i}" for i in range(number)]
    for ax, crop in zip(others, crops, strict=True):
        assert np.array_equal(drawn(ax), crop.permute(1, 2, 0))


def test_as_many_crops_as_boxes():
    for crops, names in (([], ()), ([image(7, 7)], ("a", "b"))):
        with pytest.raises(ValueError, match="boxes, crops, names: got"):
            nb06.warped(image(20, 30), torch.zeros(len(crops), 4), crops, names=names)


@pytest.mark.slide("18")
def test_bars_are_the_probabilities_and_the_truth_has_a_tick():
    scores = {"background": 0.2, "car": 0.7, "person": 0.1}
    fig = nb06.region_answer(image(7, 7, 1), scores, truth="car")
    crop, bars = fig.axes
    assert np.array_equal(drawn(crop), image(7, 7, 1).permute(1, 2, 0))
    assert [patch.get_width() for patch in bars.patches] == list(scores.values())
    assert [label.get_text() for label in bars.get_yticklabels()] == ["background", "car ✓", "person"]
