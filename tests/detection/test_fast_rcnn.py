"""Fast R-CNN: one pass of the backbone, crops in the image's pixels, gradients through both, and hard input."""

import pytest
import torch
from torch import nn
from torchvision.ops import MultiScaleRoIAlign

from lecture_utils.detection.backbone import Backbone
from lecture_utils.detection.fast_rcnn import FastRCNN, crop_features
from lecture_utils.detection.heads import RegionHead
from lecture_utils.detection.roi import roi_pool


def fast_rcnn():
    return FastRCNN(Backbone(base_channels=4, out_channels=6), RegionHead(6, 4, hidden=8))


def targets_of(*counts):
    return [
        {"boxes": torch.tensor([[4.0, 4, 20, 30]]).repeat(count, 1), "labels": torch.ones(count, dtype=torch.int64)}
        for count in counts
    ]


@pytest.mark.slide("19")
@pytest.mark.parametrize("number", [1, 40])
def test_the_backbone_runs_once_however_many_proposals(number):
    model, runs = fast_rcnn().eval(), []
    model.backbone.register_forward_hook(lambda module, inputs, output: runs.append(output.shape))
    boxes = torch.tensor([[4.0, 4, 20, 30]]).repeat(number, 1)
    with torch.no_grad():
        model(torch.rand(2, 3, 32, 48), [boxes, boxes])
    assert runs == [(2, 6, 8, 12)]


@pytest.mark.slide("19")
def test_crops_are_those_of_torchvision():
    """Its pooling finds the scale 1/4 by itself; it counts from a point's centre, half a point later than we do."""
    torch.manual_seed(0)
    features = torch.randn(2, 6, 15, 10)
    boxes = [torch.tensor([[1.0, 2, 30, 50], [-4, 3, 45, 70]]), torch.tensor([[5.0, 5, 11, 17]])]
    ours = crop_features(features, output_size=7, stride=4)(boxes)
    theirs = MultiScaleRoIAlign(["0"], 7, 2)({"0": features}, [box - 2 for box in boxes], [(60, 40)] * 2)
    assert ours.shape == (3, 6, 7, 7)
    torch.testing.assert_close(ours, theirs)


@pytest.mark.slide("19")
def test_pooled_crops_are_those_of_roi_pooling():
    torch.manual_seed(0)
    features = torch.randn(2, 6, 15, 10)
    boxes = [torch.tensor([[1.0, 2, 30, 50], [-4, 3, 45, 70]]), torch.tensor([[5.0, 5, 11, 17]])]
    pooled = crop_features(features, output_size=7, stride=4, pooled=True)(boxes)
    torch.testing.assert_close(pooled, roi_pool(features, boxes, 7, 1 / 4))
    assert (pooled != crop_features(features, output_size=7, stride=4)(boxes)).any()
    model = FastRCNN(nn.Identity(), RegionHead(6, 4, hidden=8), pooled=True).eval()
    model.backbone.stride, seen = 4, []
    model.head.hidden.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    model(features, boxes)
    torch.testing.assert_close(seen[0], pooled)


@pytest.mark.parametrize("pooled", [False, True])
def test_crops_in_half_precision(pooled):
    """Under autocast the features come in bfloat16, the proposals in float32."""
    torch.manual_seed(0)
    model = FastRCNN(Backbone(base_channels=4, out_channels=6), RegionHead(6, 4, hidden=8), pooled=pooled)
    boxes = [torch.tensor([[1.0, 2, 30, 50]]), torch.zeros(0, 4)]
    with torch.autocast("cpu", torch.bfloat16):
        losses = model(torch.rand(2, 3, 60, 40), boxes, targets_of(1, 0))
    sum(losses.values()).backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())


def test_a_crop_shows_the_part_of_the_map_under_its_box():
    """The features are the coordinates of their own points, so that a crop tells where it was taken."""
    y, x = torch.meshgrid(4 * torch.arange(15.0) + 2, 4 * torch.arange(10.0) + 2, indexing="ij")  # centres, in pixels
    crop = crop_features(torch.stack([x, y])[None], output_size=4, stride=4)
    across, down = crop([torch.tensor([[8.0, 12, 24, 44]])])[0]
    torch.testing.assert_close(across, torch.tensor([10.0, 14, 18, 22]).expand(4, 4))
    torch.testing.assert_close(down, torch.tensor([16.0, 24, 32, 40])[:, None].expand(4, 4))


@pytest.mark.parametrize("counts", [(0, 0), (0, 3), (1, 0), (2, 4)])
@pytest.mark.parametrize("objects", [(0, 0), (0, 2), (1, 1)])
def test_any_number_of_proposals_and_objects(counts, objects):
    torch.manual_seed(0)
    model, images = fast_rcnn(), torch.rand(2, 3, 30, 47)
    proposals = [torch.tensor([[4.0, 4, 20, 29], [0, 0, 1, 1], [40, 0, 47, 30], [2, 2, 2, 2]])[:n] for n in counts]
    losses = model(images, proposals, targets_of(*objects))
    assert losses.keys() == {"class", "box deltas"}
    assert all(loss.isfinite() for loss in losses.values())
    sum(losses.values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    with torch.no_grad():
        found = model.eval()(images, proposals)
    assert [len(one["boxes"]) <= 3 * count for one, count in zip(found, counts, strict=True)] == [True, True]
    assert all(value.isfinite().all() for one in found for value in one.values())


def test_the_losses_reach_the_backbone():
    """This is what R-CNN's trainings, one after the other, could not do (Girshick 2015, section 1.1)."""
    model = fast_rcnn()
    nn.init.normal_(model.head.classes.weight)
    losses = model(torch.rand(1, 3, 32, 48), [torch.tensor([[5.0, 5, 22, 30]])], targets_of(1))
    losses["class"].backward()
    assert all(p.grad.abs().sum() > 0 for p in model.backbone.smooth.parameters() if p.ndim > 1)


def test_images_of_a_batch_do_not_mix():
    torch.manual_seed(0)
    model, images = fast_rcnn().eval(), torch.rand(2, 3, 32, 48)
    nn.init.normal_(model.head.classes.weight, std=3.0)
    proposals = [torch.tensor([[4.0, 4, 20, 30]]), torch.tensor([[8.0, 1, 40, 31], [0, 0, 12, 9]])]
    with torch.no_grad():
        together = model(images, proposals)
        alone = [model(images[i, None], [proposals[i]])[0] for i in range(2)]
    assert sum(len(one["boxes"]) for one in alone) > 0
    torch.testing.assert_close(together, alone)
