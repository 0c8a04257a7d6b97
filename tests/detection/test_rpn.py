"""The region proposal network: torchvision's proposals and losses, the slide's count, and images that are awkward."""

import pytest
import torch

from lecture_utils.detection.anchors import base_anchors, grid_anchors
from lecture_utils.detection.backbone import Backbone
from lecture_utils.detection.boxes import box_iou, decode
from lecture_utils.detection.rpn import RPN, ProposalNetwork

from .twins import forward_rpn, torchvision_rpn

SIZES, RATIOS = (6, 14, 30), (0.5, 1, 2)


def make_rpn(channels=8, spread=0.1, **settings):
    """A network whose scores and corrections differ from place to place, as after some training."""
    rpn = RPN(channels, stride=4, sizes=SIZES, ratios=RATIOS, **settings)
    for layer in (rpn.conv, rpn.objectness, rpn.deltas):
        torch.nn.init.normal_(layer.weight, std=spread)
        torch.nn.init.normal_(layer.bias, std=spread)
    return rpn


def random_targets(batch, height, width, most=6):
    targets = []
    for _ in range(batch):
        number = int(torch.randint(0, most, ()))
        low = torch.rand(number, 2) * torch.tensor([width - 10.0, height - 10])
        size = 3 + torch.rand(number, 2) * torch.tensor([width / 2, height / 2])
        high = torch.minimum(low + size, torch.tensor([float(width), height]))
        targets.append({"boxes": torch.cat([low, high], 1), "labels": torch.randint(1, 5, (number,))})
    return targets


@pytest.mark.slide("21")
@pytest.mark.parametrize("seed", range(20))
def test_proposes_what_torchvision_proposes(seed):
    torch.manual_seed(seed)
    batch, h, w = 1 + seed % 3, int(torch.randint(2, 12, ())), int(torch.randint(2, 12, ()))
    ours = make_rpn(pre_nms_top_n=int(torch.randint(1, 400, ())), post_nms_top_n=int(torch.randint(1, 60, ())))
    features, size = torch.randn(batch, 8, h, w), (4 * h, 4 * w)
    proposals, losses = ours(features, size)
    expected, _ = forward_rpn(torchvision_rpn(ours, SIZES, RATIOS), features, size)
    assert losses == {}
    assert len(proposals) == batch
    for own, theirs in zip(proposals, expected, strict=True):
        torch.testing.assert_close(own, theirs)


@pytest.mark.slide("21")
@pytest.mark.parametrize("seed", range(20))
def test_losses_and_gradients_are_torchvisions(seed):
    """Both draw from one random stream, so that the same anchors take part."""
    torch.manual_seed(seed)
    batch, h, w = 1 + seed % 3, int(torch.randint(3, 12, ())), int(torch.randint(3, 12, ()))
    ours = make_rpn(batch_size_per_image=[4, 64, 256][seed % 3])
    theirs = torchvision_rpn(ours, SIZES, RATIOS)
    features, size = torch.randn(batch, 8, h, w), (4 * h, 4 * w)
    targets = random_targets(batch, *size)

    torch.manual_seed(seed)
    _, losses = ours(features, size, targets)
    torch.manual_seed(seed)
    _, expected = forward_rpn(theirs, features, size, targets)
    torch.testing.assert_close(losses["objectness"], expected["loss_objectness"])
    torch.testing.assert_close(losses["anchor deltas"], expected["loss_rpn_box_reg"])

    sum(losses.values()).backward()
    sum(expected.values()).backward()
    torch.testing.assert_close(ours.conv.weight.grad, theirs.head.conv[0][0].weight.grad)
    torch.testing.assert_close(ours.deltas.weight.grad, theirs.head.bbox_pred.weight.grad)


def test_every_second_point_with_a_step_of_two():
    """Step 2 looks at the points 0, 2, 4 … of the map, at which step 1 says the same, of anchors twice as far apart."""
    torch.manual_seed(0)
    ours, every = make_rpn(conv_stride=2), make_rpn()
    every.load_state_dict(ours.state_dict())
    features = torch.randn(2, 8, 9, 14)
    objectness, deltas, anchors = ours.predict(features)
    all_scores, all_corrections, all_anchors = every.predict(features)
    taken = torch.arange(9 * 14 * 9).reshape(9, 14, 9)[::2, ::2].flatten()
    torch.testing.assert_close(objectness, all_scores[:, taken])
    torch.testing.assert_close(deltas, all_corrections[:, taken])
    torch.testing.assert_close(anchors, all_anchors[taken])


@pytest.mark.slide("21")
def test_the_slides_map_of_20_by_15_points():
    """An image of 640 × 480 reduced by 4 has features of 40 × 30 points, of which every second one is looked at."""
    rpn = make_rpn(conv_stride=2)
    height, width = 480 // 4, 640 // 4
    x = rpn.conv(torch.randn(1, 8, height // 4, width // 4))
    assert x.shape[-2:] == (15, 20)
    assert rpn.anchor_stride * 4 == 640 / 20 == 480 / 15 == 32
    # The same points without reducing the image, when every eighth point of the features is looked at.
    direct = ProposalNetwork(
        Backbone(base_channels=4, out_channels=8), RPN(8, stride=Backbone.stride, conv_stride=8)
    ).eval()
    objectness, _, anchors = direct.rpn.predict(direct.backbone(torch.randn(1, 3, 480, 640)))
    assert objectness.shape == (1, 9 * 20 * 15)
    assert len(anchors) == 9 * 20 * 15


@pytest.mark.slide("22")
@pytest.mark.parametrize(("sizes", "ratios"), [((14,), (1,)), ((14,), RATIOS), (SIZES, RATIOS), ((4, 8, 16, 32), (1,))])
def test_k_times_20_times_15_boxes_and_no_more_than_300_proposals(sizes, ratios):
    torch.manual_seed(0)
    rpn, k = RPN(8, stride=4, conv_stride=2, sizes=sizes, ratios=ratios, nms_threshold=1.0), len(sizes) * len(ratios)
    features, size = torch.randn(2, 8, 30, 40), (120, 160)
    objectness, deltas, anchors = rpn.predict(features)
    assert objectness.shape == (2, k * 20 * 15)
    assert deltas.shape == (2, k * 20 * 15, 4)
    assert anchors.shape == (k * 20 * 15, 4)
    proposals, _ = rpn(features, size)
    assert [len(boxes) for boxes in proposals] == [300, 300]


@pytest.mark.slide("22")
def test_proposals_come_best_first_and_apart():
    torch.manual_seed(0)
    rpn = make_rpn(pre_nms_top_n=500, post_nms_top_n=40, nms_threshold=0.5)
    features, size = torch.randn(1, 8, 10, 7), (40, 28)
    objectness, deltas, anchors = rpn.predict(features)
    boxes, scores = rpn.select(decode(deltas[0], anchors), objectness[0], size)
    assert (scores.diff() <= 0).all()
    assert 1 < len(boxes) <= 40
    overlap = box_iou(boxes, boxes).fill_diagonal_(0)
    assert overlap.max() <= 0.5
    assert (boxes >= 0).all()
    assert (boxes[:, 2] <= 28).all()
    assert (boxes[:, 3] <= 40).all()


def test_no_gradient_flows_through_proposals():
    rpn = make_rpn()
    features = torch.randn(1, 8, 5, 6, requires_grad=True)
    (boxes,), _ = rpn(features, (20, 24))
    assert not boxes.requires_grad


AWKWARD = {
    "no object": torch.zeros(0, 4),
    "one pixel": torch.tensor([[7.0, 3, 8, 4]]),
    "at the border": torch.tensor([[0.0, 0, 9, 5], [20, 22, 36, 28], [35, 0, 36, 28]]),
    "the whole image": torch.tensor([[0.0, 0, 36, 28]]),
    "one twice": torch.tensor([[4.0, 4, 20, 18], [4, 4, 20, 18]]),
}


@pytest.mark.parametrize("conv_stride", [1, 2])
@pytest.mark.parametrize("name", AWKWARD)
def test_awkward_targets_give_finite_losses_and_gradients(name, conv_stride):
    torch.manual_seed(0)
    rpn = make_rpn(conv_stride=conv_stride)
    targets = [{"boxes": AWKWARD[name]}, {"boxes": AWKWARD["no object"]}]
    proposals, losses = rpn(torch.randn(2, 8, 7, 9), (28, 36), targets)
    sum(losses.values()).backward()
    assert all(loss.isfinite() for loss in losses.values())
    assert all(parameter.grad.isfinite().all() for parameter in rpn.parameters())
    assert all(boxes.isfinite().all() for boxes in proposals)
    assert (losses["anchor deltas"] > 0) == (len(AWKWARD[name]) > 0)  # some anchor touches each object here


@pytest.mark.parametrize("broken", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_proposes_nothing_and_suppresses_nothing(broken):
    """As if those anchors were not there: half precision may overflow at a few of them."""
    torch.manual_seed(0)
    rpn = make_rpn(pre_nms_top_n=30, post_nms_top_n=20)
    low = torch.rand(200, 2) * 60
    boxes, scores = torch.cat([low, low + 5 + torch.rand(200, 2) * 30], 1), torch.randn(200)
    bad = torch.rand(200) < 0.4
    expected = rpn.select(boxes[~bad], scores[~bad], (90, 100))
    half = torch.arange(200) % 2 == 0
    broken_boxes, broken_scores = boxes.clone(), scores.clone()
    broken_scores[bad & half], broken_boxes[bad & ~half] = broken, broken
    for own, its in zip(rpn.select(broken_boxes, broken_scores, (90, 100)), expected, strict=True):
        torch.testing.assert_close(own, its)


def test_a_network_that_overflowed_gives_losses_of_nan_and_no_crash():
    torch.manual_seed(0)
    rpn, targets = make_rpn(), random_targets(2, 40, 48)
    proposals, losses = rpn(torch.full((2, 8, 10, 12), float("nan")), (40, 48), targets)
    assert [len(boxes) for boxes in proposals] == [0, 0]
    assert losses["objectness"].isnan()


def test_no_proposal_is_left_when_all_are_too_small():
    rpn = make_rpn()
    with torch.no_grad():
        rpn.deltas.bias.view(-1, 4)[:, 2:] = -30
        proposals, losses = rpn(torch.randn(2, 8, 3, 5), (12, 20), [{"boxes": AWKWARD["one pixel"]}] * 2)
    assert [boxes.shape for boxes in proposals] == [(0, 4), (0, 4)]
    assert all(loss.isfinite() for loss in losses.values())


def test_anchors_are_no_weights():
    rpn = make_rpn()
    assert set(rpn.state_dict()) == {
        f"{layer}.{kind}" for layer in ("conv", "objectness", "deltas") for kind in ("weight", "bias")
    }
    torch.testing.assert_close(
        rpn.predict(torch.zeros(1, 8, 2, 3))[2], grid_anchors(base_anchors(SIZES, RATIOS), (2, 3), 4)
    )


def test_begins_with_the_papers_small_weights():
    torch.manual_seed(0)
    rpn = RPN(64, stride=16)
    assert rpn.conv.weight.std().item() == pytest.approx(0.01, rel=0.02)
    assert not rpn.objectness.bias.any()
    assert len(rpn.base) == 9


def test_a_proposal_network_is_a_backbone_and_an_rpn():
    torch.manual_seed(0)
    model = ProposalNetwork(Backbone(3, base_channels=4, out_channels=8), make_rpn()).eval()
    images, targets = torch.randn(2, 3, 28, 36), random_targets(2, 28, 36)
    proposals, _ = model.rpn(model.backbone(images), (28, 36))
    for own, expected in zip(model(images), proposals, strict=True):
        torch.testing.assert_close(own, expected)
    assert model(images, targets).keys() == {"objectness", "anchor deltas"}
