"""A photograph through the course's decode and NMS, against torchvision's own detector of the same random weights."""

import pytest
import torch

from lecture_course.nb07_region_proposal_network.photographs import detect, in_the_city, read
from lecture_utils.detection.pretrained import pretrained_faster_rcnn

FAST = {"min_size": 96, "max_size": 160, "box_score_thresh": 0.02}


@pytest.mark.slide("20")
@pytest.mark.parametrize(("height", "width"), [(61, 83), (90, 50)])
def test_our_decode_and_nms_give_torchvisions_detections(height, width):
    torch.manual_seed(height)
    detector = pretrained_faster_rcnn(trained=False, **FAST)
    with torch.no_grad():
        detector.network.roi_heads.box_predictor.cls_score.weight *= 30  # so that some class is sure of something
    photo = torch.randint(0, 256, (3, height, width), dtype=torch.uint8)
    ours, (theirs,) = detect(detector, photo), detector([photo])
    assert len(theirs["boxes"]) > 5
    for key, values in theirs.items():
        torch.testing.assert_close(ours[key], values, atol=1e-3, rtol=1e-4)
    assert ours["boxes"].max() <= max(height, width) + 1e-3


def test_a_photograph_without_detections_has_none():
    torch.manual_seed(0)
    detector = pretrained_faster_rcnn(trained=False, min_size=64, max_size=96, box_score_thresh=1.0)
    found = detect(detector, torch.zeros(3, 40, 50, dtype=torch.uint8))
    assert [tuple(found[key].shape) for key in ("boxes", "labels", "scores")] == [(0, 4), (0,), (0,)]


def test_a_detector_of_the_city_sees_a_photograph_reduced():
    seen = []

    class Detector(torch.nn.Linear):
        def forward(self, images):
            seen.append(tuple(images.shape))
            return [{"boxes": torch.tensor([[8.0, 16, 40, 32]]), "labels": torch.ones(1), "scores": torch.ones(1)}]

    found = in_the_city(Detector(1, 1), torch.zeros(3, 128, 256, dtype=torch.uint8), side=32)
    assert seen == [(1, 3, 32, 64)]
    assert found["boxes"].tolist() == [[32, 64, 160, 128]]
    assert read(None).shape == (3, 400, 600)
