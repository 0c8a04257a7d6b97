"""The head against torchvision's `RoIHeads` with the same weights, and what must not break it."""

import pytest
import torch
import torch.nn.functional as F
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.roi_heads import RoIHeads, fastrcnn_loss
from torchvision.ops import roi_align

from lecture_utils.detection.boxes import box_iou
from lecture_utils.detection.heads import WEIGHTS, RegionHead, region_losses

CHANNELS, CLASSES, OUTPUT_SIZE, STRIDE = 6, 4, 3, 4
SIZE = 40, 56  # height, width of the images


def head_of(**options):
    head = RegionHead(CHANNELS, CLASSES, output_size=OUTPUT_SIZE, hidden=16, **options)
    torch.nn.init.normal_(head.classes.weight, std=0.5)  # as large as after training, so that scores differ
    torch.nn.init.normal_(head.deltas.weight, std=0.5)
    return head


def crop_from(features):
    return lambda proposals: roi_align(features, proposals, OUTPUT_SIZE, 1 / STRIDE, 2, aligned=True)


def torchvision_of(head, features):
    """torchvision's second stage with the weights of `head`, on the same crops."""
    mlp, predictor = TwoMLPHead(CHANNELS * OUTPUT_SIZE**2, 16), FastRCNNPredictor(16, CLASSES)
    mlp.fc6.load_state_dict(head.hidden[1].state_dict())
    mlp.fc7.load_state_dict(head.hidden[3].state_dict())
    predictor.cls_score.load_state_dict(head.classes.state_dict())
    predictor.bbox_pred.load_state_dict(head.deltas.state_dict())
    return RoIHeads(
        lambda maps, proposals, sizes: crop_from(features)(proposals), mlp, predictor,
        fg_iou_thresh=0.5, bg_iou_thresh=0.5, batch_size_per_image=head.batch_size_per_image, positive_fraction=0.25,
        bbox_reg_weights=None, score_thresh=head.score_threshold, nms_thresh=head.nms_threshold,
        detections_per_img=head.max_detections,
    )  # fmt: skip


def random_boxes(number):
    corner = torch.rand(number, 2) * torch.tensor([SIZE[1], SIZE[0]]) * 0.8
    far = torch.minimum(corner + 2 + torch.rand(number, 2) * 25, torch.tensor([SIZE[1], SIZE[0]]).float())
    return torch.cat([corner, far], dim=1)


def target_of(boxes):
    return {"boxes": boxes, "labels": torch.randint(1, CLASSES, (len(boxes),))}


def crowd(objects, number):
    """Proposals around the objects, and elsewhere."""
    near = objects.repeat(3, 1) + torch.randn(3 * len(objects), 4)
    near = torch.cat([near[:, :2], torch.maximum(near[:, 2:], near[:, :2] + 1)], dim=1)
    return torch.cat([near, random_boxes(number)])


def images_of(*counts):
    """Feature maps, proposals and targets of a batch with so many objects in each image."""
    targets = [target_of(random_boxes(count)) for count in counts]
    proposals = [crowd(target["boxes"], 7 + 10 * i) for i, target in enumerate(targets)]
    return torch.randn(len(counts), CHANNELS, SIZE[0] // STRIDE, SIZE[1] // STRIDE), proposals, targets


@pytest.mark.slide("18")
@pytest.mark.parametrize("seed", range(10))
def test_detections_are_those_of_torchvision(seed):
    torch.manual_seed(seed)
    features, proposals, _ = images_of(3, 0, 5)
    head = head_of(max_detections=20)
    theirs, _ = torchvision_of(head, features).eval()({}, proposals, [SIZE] * 3)
    with torch.no_grad():
        ours = head(crop_from(features), proposals, SIZE)
    for our, their in zip(ours, theirs, strict=True):
        assert 0 < len(our["boxes"]) <= 20
        torch.testing.assert_close(our, their)


@pytest.mark.slide("18")
@pytest.mark.parametrize("seed", range(10))
def test_losses_are_those_of_torchvision_on_the_same_regions(seed):
    """With more room than regions nothing is left to chance, and both train on the same regions in the same order."""
    torch.manual_seed(seed)
    features, proposals, targets = images_of(3, 0, 5)
    head = head_of(batch_size_per_image=1000)
    reference = torchvision_of(head, features)
    regions, _, labels, wanted = reference.select_training_samples([p.clone() for p in proposals], targets)
    our_regions, our_labels, boxes = head.sample_proposals(proposals, targets)
    torch.testing.assert_close(our_regions, list(regions))
    torch.testing.assert_close(our_labels, labels)
    assert (torch.cat(labels) > 0).sum() > 10

    scores, deltas = reference.box_predictor(reference.box_head(crop_from(features)(regions)))
    # torchvision's smooth L1 bends at 1/9, the paper's at 1: L₁(x) = 9 · L₁⸝₉(x / 9).
    classes, box = fastrcnn_loss(scores, deltas / 9, labels, [target / 9 for target in wanted])
    losses = head(crop_from(features), proposals, SIZE, targets)
    torch.testing.assert_close(losses, {"class": classes, "box deltas": 9 * box})
    assert box > 0
    torch.testing.assert_close(torch.cat(boxes)[torch.cat(labels) == 0], torch.cat(regions)[torch.cat(labels) == 0])


@pytest.mark.parametrize("seed", range(5))
def test_a_quarter_of_the_regions_drawn_shows_an_object(seed):
    torch.manual_seed(seed)
    _, proposals, targets = images_of(6, 4)
    proposals = [torch.cat([p, random_boxes(60)]) for p in proposals]
    head = head_of(batch_size_per_image=16)
    regions, labels, boxes = head.sample_proposals(proposals, targets)
    for region, label, box, target in zip(regions, labels, boxes, targets, strict=True):
        assert len(region) == len(label) == len(box) == 16
        assert (label > 0).sum() == 4
        overlap = box_iou(region, target["boxes"])
        assert (overlap.amax(1)[label > 0] >= 0.5).all()
        assert (overlap.amax(1)[label == 0] < 0.5).all()
        nearest = overlap.argmax(1)
        torch.testing.assert_close(box[label > 0], target["boxes"][nearest][label > 0])
        torch.testing.assert_close(label[label > 0], target["labels"][nearest][label > 0])


def test_drawing_repeats_with_the_seed():
    torch.manual_seed(0)
    _, proposals, targets = images_of(6, 4)
    head = head_of(batch_size_per_image=8)
    first, second, other = (
        [torch.manual_seed(seed), head.sample_proposals(proposals, targets)][1] for seed in (1, 1, 2)
    )
    torch.testing.assert_close(first, second)
    assert any(not torch.equal(a, b) for a, b in zip(first[0], other[0], strict=True))


def nothing():
    return torch.zeros(0, 4)


HARD = {
    "no objects in one image": (lambda: [random_boxes(9), random_boxes(9)], lambda: [random_boxes(3), nothing()]),
    "no objects at all": (lambda: [random_boxes(9), random_boxes(9)], lambda: [nothing(), nothing()]),
    "no proposals in one image": (lambda: [random_boxes(9), nothing()], lambda: [random_boxes(3), random_boxes(2)]),
    "no proposals at all": (lambda: [nothing(), nothing()], lambda: [random_boxes(3), random_boxes(2)]),
    "neither proposals nor objects": (lambda: [nothing(), nothing()], lambda: [nothing(), nothing()]),
    "objects at the border": (
        lambda: [torch.tensor([[0.0, 0, 9, 40], [50, 3, 56, 40], [-3, -3, 5, 5]]), random_boxes(2)],
        lambda: [torch.tensor([[0.0, 0, 8, 40], [49, 0, 56, 40]]), torch.tensor([[0.0, 0, 56, 40]])],
    ),
    "boxes of one pixel": (
        lambda: [torch.tensor([[3.0, 4, 4, 5], [55, 39, 56, 40]]), torch.tensor([[0.0, 0, 1, 1]])],
        lambda: [torch.tensor([[3.0, 4, 4, 5]]), torch.tensor([[0.0, 0, 1, 1], [7, 7, 8, 8]])],
    ),
    "boxes without area": (
        lambda: [torch.tensor([[3.0, 4, 3, 9], [5, 5, 5, 5]]), random_boxes(3)],
        lambda: [torch.tensor([[3.0, 4, 3, 9]]), torch.tensor([[8.0, 8, 8, 8]])],
    ),
}


@pytest.mark.parametrize("case", HARD)
def test_hard_images_give_finite_losses_and_gradients(case):
    torch.manual_seed(0)
    proposals, objects = (make() for make in HARD[case])
    features = torch.randn(2, CHANNELS, 10, 14, requires_grad=True)
    head = head_of()
    losses = head(crop_from(features), proposals, SIZE, [target_of(boxes) for boxes in objects])
    assert all(loss.ndim == 0 and loss.isfinite() for loss in losses.values()), losses
    sum(losses.values()).backward()
    for parameter in (features, *head.parameters()):
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()


@pytest.mark.parametrize("case", HARD)
def test_hard_images_give_sound_detections(case):
    torch.manual_seed(0)
    proposals = HARD[case][0]()
    with torch.no_grad():
        found = head_of().eval()(crop_from(torch.randn(2, CHANNELS, 10, 14)), proposals, SIZE)
    assert len(found) == 2
    for one, regions in zip(found, proposals, strict=True):
        boxes, limits = one["boxes"], torch.tensor([SIZE[1], SIZE[0]] * 2)
        assert one["labels"].dtype == torch.int64
        assert ((one["labels"] >= 1) & (one["labels"] < CLASSES)).all()
        assert len(boxes) == len(one["labels"]) == len(one["scores"]) <= len(regions) * (CLASSES - 1)
        assert boxes.isfinite().all()
        assert (boxes >= 0).all()
        assert (boxes <= limits).all()
        assert (boxes[:, 2:] > boxes[:, :2]).all()
        assert (one["scores"].diff() <= 0).all(), "best first"


def test_only_the_true_class_learns_its_corrections():
    proposals = torch.tensor([[0.0, 0, 10, 20], [0, 0, 8, 8]])
    boxes, labels = torch.tensor([[5.0, 5, 25, 25], [0, 0, 8, 8]]), torch.tensor([2, 0])
    deltas = torch.zeros(2, CLASSES, 4, requires_grad=True)
    losses = region_losses(torch.zeros(2, CLASSES), deltas, proposals, labels, boxes)
    # The corrections of reference: 1, 0.25, ln 2 and 0, times their weights; smooth L1 is |x| − ½ above 1.
    wanted = torch.tensor([1, 0.25, torch.tensor(2.0).log(), 0]) * torch.tensor(WEIGHTS)
    expected = F.smooth_l1_loss(torch.zeros(4), wanted, reduction="sum") / 2
    torch.testing.assert_close(losses["box deltas"], expected)
    torch.testing.assert_close(losses["class"], torch.tensor(float(CLASSES)).log())
    losses["box deltas"].backward()
    assert deltas.grad[0, 2].abs().sum() > 0
    deltas.grad[0, 2] = 0
    assert not deltas.grad.any()


def test_boxes_of_whole_numbers_take_the_type_of_the_proposals():
    head = head_of()
    whole = {"boxes": torch.tensor([[2, 2, 12, 12]]), "labels": torch.tensor([1])}
    regions, labels, boxes = head.sample_proposals([random_boxes(3)], [whole])
    assert regions[0].dtype == boxes[0].dtype == torch.float32
    assert labels[0][-1] == 1
