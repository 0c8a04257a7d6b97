"""Faster R-CNN as a whole: torchvision's detections and losses with the same weights, and images that are awkward."""

import pytest
import torch
import torch.nn.functional as F
from torchvision.models.detection import roi_heads

from lecture_utils.detection.backbone import Backbone
from lecture_utils.detection.boxes import box_iou
from lecture_utils.detection.faster_rcnn import FasterRCNN
from lecture_utils.detection.heads import RegionHead
from lecture_utils.detection.rpn import RPN

from .test_rpn import AWKWARD, RATIOS, SIZES, random_targets
from .twins import torchvision_faster_rcnn

LOSSES = {
    "objectness": "loss_objectness",
    "anchor deltas": "loss_rpn_box_reg",
    "class": "loss_classifier",
    "box deltas": "loss_box_reg",
}


class SmoothFromOne:
    """`torch.nn.functional` for torchvision's head, whose smooth L1 bends at 1/9; the paper's, and ours, bends at 1."""

    cross_entropy = staticmethod(F.cross_entropy)

    @staticmethod
    def smooth_l1_loss(given, wanted, beta, reduction):
        assert beta == 1 / 9
        return F.smooth_l1_loss(given, wanted, beta=1.0, reduction=reduction)


def make_detector(seed=0, *, conv_stride=1, num_classes=5, **settings):
    """A small detector whose answers differ from region to region, as after some training."""
    torch.manual_seed(seed)
    backbone = Backbone(3, base_channels=4, out_channels=8)
    rpn = RPN(8, stride=4, conv_stride=conv_stride, sizes=SIZES, ratios=RATIOS, post_nms_top_n=40)
    model = FasterRCNN(
        backbone, rpn, RegionHead(8, num_classes, output_size=3, hidden=16, batch_size_per_image=32, **settings)
    )
    for name, parameter in model.named_parameters():
        if name.startswith(("rpn", "head")):
            torch.nn.init.normal_(parameter, std=0.2)
    return model


@pytest.mark.slide("20")
@pytest.mark.parametrize("seed", range(10))
def test_detects_what_torchvision_detects(seed):
    ours = make_detector(
        seed, score_threshold=0.15 + 0.01 * seed, nms_threshold=[0.3, 0.5, 0.7][seed % 3], max_detections=30
    ).eval()
    twin = torchvision_faster_rcnn(ours, SIZES, RATIOS).eval()
    images = torch.randn(1 + seed % 3, 3, 48 + 16 * (seed % 2), 80)
    with torch.no_grad():
        found, expected = ours(images), twin(list(images))
    assert sum(len(one["boxes"]) for one in found) > 3
    for own, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(own["boxes"], theirs["boxes"])
        torch.testing.assert_close(own["scores"], theirs["scores"])
        assert own["labels"].tolist() == theirs["labels"].tolist()


@pytest.mark.slide("20")
@pytest.mark.parametrize("seed", range(10))
def test_the_four_losses_are_torchvisions(seed, monkeypatch):
    """Both draw from one random stream, so that the same anchors and regions take part."""
    monkeypatch.setattr(roi_heads, "F", SmoothFromOne)
    ours = make_detector(seed)
    twin = torchvision_faster_rcnn(ours, SIZES, RATIOS).train()
    images = torch.randn(2, 3, 64, 80)
    targets = random_targets(2, 64, 80)
    torch.manual_seed(seed)
    losses = ours.train()(images, targets)
    torch.manual_seed(seed)
    expected = twin(list(images), targets)
    assert losses.keys() == LOSSES.keys()
    for name, theirs in LOSSES.items():
        torch.testing.assert_close(losses[name], expected[theirs], msg=name)


@pytest.mark.slide("20")
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", AWKWARD)
def test_awkward_targets_give_finite_losses_and_gradients(name, training):
    model = make_detector(conv_stride=2).train(training)
    boxes = AWKWARD[name]
    targets = [{"boxes": boxes, "labels": torch.ones(len(boxes), dtype=torch.int64)}]
    targets.append({"boxes": AWKWARD["no object"], "labels": torch.zeros(0, dtype=torch.int64)})
    losses = model(torch.randn(2, 3, 28, 36), targets)
    assert losses.keys() == LOSSES.keys()
    sum(losses.values()).backward()
    assert all(loss.isfinite() for loss in losses.values())
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize("training", [True, False])
def test_no_proposal_is_left(training):
    """Then the objects' own boxes are trained on, and where there are none, nothing; nothing is detected."""
    model = make_detector().train(training)
    with torch.no_grad():
        model.rpn.deltas.bias.view(-1, 4)[:, 2:] = -30
    images = torch.randn(2, 3, 20, 28)
    empty = {"boxes": AWKWARD["no object"], "labels": torch.zeros(0, dtype=torch.int64)}
    one = {"boxes": torch.tensor([[2.0, 3, 12, 9]]), "labels": torch.tensor([2])}
    for targets in ([empty, empty], [one, empty]):
        model.zero_grad()
        losses = model(images, targets)
        sum(losses.values()).backward()
        assert all(loss.isfinite() for loss in losses.values())
        assert all(parameter.grad.isfinite().all() for parameter in model.parameters() if parameter.grad is not None)
    assert losses["class"] > 0
    with torch.no_grad():
        found = model(images)
    assert [one["boxes"].shape for one in found] == [(0, 4), (0, 4)]
    assert [(one["labels"].dtype, one["scores"].shape) for one in found] == [(torch.int64, (0,))] * 2


@pytest.mark.parametrize(("height", "width"), [(33, 70), (17, 16), (128, 96)])
def test_detections_stay_inside_pictures_of_any_size(height, width):
    model = make_detector(score_threshold=0.1).eval()
    with torch.no_grad():
        (found,) = model(torch.randn(1, 3, height, width))
    assert len(found["boxes"]) > 0
    assert (found["boxes"] >= 0).all()
    assert (found["boxes"] <= torch.tensor([width, height, width, height])).all()
    assert (found["boxes"][:, 2:] > found["boxes"][:, :2]).all()
    assert ((found["labels"] >= 1) & (found["labels"] <= 4)).all()
    assert (found["scores"] > 0.1).all()
    assert (found["scores"].diff() <= 0).all()


@pytest.mark.slide("20")
def test_one_gradient_reaches_backbone_proposals_and_head():
    """Joint training: one backward pass moves all three, and the backbone is moved by each of the four losses."""
    model = make_detector().train()
    targets = [{"boxes": torch.tensor([[4.0, 4, 20, 18]]), "labels": torch.tensor([1])}]
    images = torch.randn(1, 3, 48, 64)
    first = next(model.backbone.parameters())
    losses = model(images, targets)
    for name, loss in losses.items():
        (gradient,) = torch.autograd.grad(loss, first, retain_graph=True)
        assert gradient.abs().sum() > 0, name


@pytest.mark.slide("20")
def test_learns_to_find_one_square():
    """Sixty steps on images of one bright square, which is then found."""
    torch.manual_seed(0)
    model = FasterRCNN(
        Backbone(3, base_channels=4, out_channels=8),
        RPN(8, stride=4, conv_stride=2, sizes=(16,), ratios=(1,), post_nms_top_n=20),
        RegionHead(8, 2, output_size=3, hidden=16, batch_size_per_image=32),
    )

    def pictures(number):
        corners = torch.randint(0, 48, (number, 2)).float()
        images = torch.zeros(number, 3, 64, 64)
        for image, (x, y) in zip(images, corners.int().tolist(), strict=True):
            image[:, y : y + 16, x : x + 16] = 1
        boxes = torch.cat([corners, corners + 16], 1)
        return images, [{"boxes": box[None], "labels": torch.tensor([1])} for box in boxes]

    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(60):
        images, targets = pictures(8)
        optimizer.zero_grad()
        sum(model(images, targets).values()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1)
        optimizer.step()
    images, targets = pictures(20)
    with torch.no_grad():
        found = model.eval()(images)
    overlap = [
        box_iou(t["boxes"], f["boxes"][:1]).max() if len(f["boxes"]) else 0 for t, f in zip(targets, found, strict=True)
    ]
    assert sum(o > 0.5 for o in overlap) >= 16
