"""R-CNN: warping against scipy and torch, the network on hard input, and that it sees what Fast R-CNN sees."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.ndimage import map_coordinates
from torch import nn

from lecture_utils.detection.backbone import Backbone
from lecture_utils.detection.fast_rcnn import FastRCNN
from lecture_utils.detection.heads import RegionHead
from lecture_utils.detection.rcnn import RCNN, warp


def rcnn(output_size=7):
    return RCNN(Backbone(base_channels=4, out_channels=6), RegionHead(6, 4, output_size=output_size, hidden=8))


@pytest.mark.slide("18")
def test_warping_is_bilinear_sampling():
    """Each pixel of the warped region is the mean of four samples; scipy takes them one by one."""
    torch.manual_seed(0)
    images = torch.rand(2, 3, 19, 26)
    boxes = [torch.tensor([[3.2, 2.1, 17.9, 11.4], [0, 0, 26, 19]]), torch.tensor([[20.0, 4, 25, 16.5]])]
    warped = warp(images, boxes, 5)
    assert warped.shape == (3, 3, 5, 5)
    regions = [(0, boxes[0][0]), (0, boxes[0][1]), (1, boxes[1][0])]
    at = (np.arange(10) + 0.5) / 10  # two samples a pixel, in each direction
    for got, (image, box) in zip(warped, regions, strict=True):
        x0, y0, x1, y1 = box.tolist()
        y, x = np.meshgrid(y0 + at * (y1 - y0) - 0.5, x0 + at * (x1 - x0) - 0.5, indexing="ij")
        sampled = [map_coordinates(channel, (y, x), order=1, mode="nearest") for channel in images[image].numpy()]
        expected = F.avg_pool2d(torch.from_numpy(np.stack(sampled))[None], 2)[0]
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-5)


def test_a_region_twice_the_size_is_averaged_and_a_wide_one_squeezed():
    images = torch.rand(1, 3, 20, 30)
    halved = warp(images, [torch.tensor([[4.0, 2, 16, 14]])], 6)
    torch.testing.assert_close(halved, F.avg_pool2d(images[:, :, 2:14, 4:16], 2))
    squeezed = warp(images, [torch.tensor([[4.0, 2, 28, 14]])], 6)
    four = F.interpolate(images[:, :, 2:14, 4:28], size=(12, 12), mode="bilinear", align_corners=False)
    torch.testing.assert_close(squeezed, F.avg_pool2d(four, 2))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("counts", [(0, 0), (0, 3), (1, 0), (2, 4)])
def test_any_number_of_proposals(counts, training):
    """Batch normalisation, too, must stand a batch of no region at all."""
    torch.manual_seed(0)
    model = rcnn().train(training)
    images = torch.rand(2, 3, 32, 48)
    proposals = [torch.tensor([4.0, 4, 20, 30]).repeat(count, 1) for count in counts]
    targets = [{"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}] * 2
    if training:
        losses = model(images, proposals, targets)
        sum(losses.values()).backward()
        assert all(loss.isfinite() for loss in losses.values())
        assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
    else:
        with torch.no_grad():
            found = model(images, proposals)
        assert len(found) == 2
        assert [len(one["boxes"]) <= 3 * count for one, count in zip(found, counts, strict=True)]
    assert all(buffer.isfinite().all() for buffer in model.buffers())


@pytest.mark.parametrize("box", [(3, 3, 4, 4), (0, 0, 1, 1), (47, 31, 48, 32), (5, 5, 5, 5), (-9, -9, 60, 60)])
def test_tiny_and_sticking_out_regions(box):
    model = rcnn()
    boxes = torch.tensor([box], dtype=torch.float32)
    target = {"boxes": torch.tensor([[3.0, 3, 4, 4], [40, 0, 48, 32]]), "labels": torch.tensor([1, 2])}
    losses = model(torch.rand(1, 3, 32, 48), [boxes], [target])
    sum(losses.values()).backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())
    with torch.no_grad():
        (found,) = model.eval()(torch.rand(1, 3, 32, 48), [boxes])
    assert found["boxes"].isfinite().all()
    assert found["scores"].isfinite().all()


def test_a_region_is_seen_alone():
    """Nothing outside the box has an effect, and no region has one on another."""
    torch.manual_seed(0)
    model = rcnn().eval()
    images, box = torch.rand(1, 3, 32, 48), torch.tensor([[8.0, 8, 24, 28]])
    changed = torch.rand(1, 3, 32, 48)
    changed[..., 7:29, 7:25] = images[..., 7:29, 7:25]  # sampling reads half a pixel beyond the box
    with torch.no_grad():
        scores = [model.head.predict(model.backbone(warp(each, [box], 28))) for each in (images, changed)]
        both = model.head.predict(model.backbone(warp(images, [torch.cat([box + 3, box])], 28)))
    torch.testing.assert_close(*scores)
    torch.testing.assert_close(tuple(x[1:] for x in both), scores[0])


class Means(nn.Module):
    """A backbone that sees nothing beyond its own four pixels."""

    stride = 4

    def forward(self, x):
        return F.avg_pool2d(x, 4)


class Look(nn.Module):
    """A head that returns what it is shown."""

    output_size = 7

    def forward(self, roi_features, proposals, image_size, targets=None):
        return roi_features(proposals)


@pytest.mark.slide("19")
@pytest.mark.parametrize("size", [(28, 28), (56, 28), (84, 112)])
def test_on_a_box_as_large_as_the_image_both_see_the_same(size):
    """Warping then features, or features then cropping: on a plain slope, away from the border, it is the same."""
    y, x = torch.meshgrid(torch.arange(size[0]) / 9, torch.arange(size[1]) / 7, indexing="ij")
    images = torch.stack([y, x, y - 2 * x])[None]
    whole = [torch.tensor([[0.0, 0, size[1], size[0]]])]
    warped, cropped = RCNN(Means(), Look())(images, whole), FastRCNN(Means(), Look())(images, whole)
    assert warped.shape == cropped.shape == (1, 3, 7, 7)
    torch.testing.assert_close(warped[..., 1:-1, 1:-1], cropped[..., 1:-1, 1:-1])
