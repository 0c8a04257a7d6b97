"""The loss of segmentation and the weights of its classes."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision import tv_tensors

from lecture_utils.cityscapes import CLASSES, IGNORE_INDEX
from lecture_utils.tasks import segmentation


@pytest.mark.slide("03")
def test_the_loss_is_the_weighted_cross_entropy_of_the_pixels_that_count():
    torch.manual_seed(0)
    images, labels = torch.randn(2, 3, 5, 7), torch.randint(0, len(CLASSES), (2, 5, 7), dtype=torch.uint8)
    labels[0, :2] = IGNORE_INDEX
    model, weights = nn.Conv2d(3, len(CLASSES), 1), torch.rand(len(CLASSES)) + 0.1
    log = F.log_softmax(model(images), dim=1)
    total = norm = 0.0
    for b in range(2):
        for y in range(5):
            for x in range(7):
                if (k := labels[b, y, x].item()) != IGNORE_INDEX:
                    total, norm = total - weights[k] * log[b, k, y, x], norm + weights[k]
    assert segmentation.segmentation_loss(weights)(model, (images, labels)).item() == pytest.approx(
        (total / norm).item()
    )


def test_rare_classes_weigh_more_and_absent_ones_nothing():
    labels = torch.full((4, 25), 0, dtype=torch.uint8)
    labels[0, :4] = 5  # 4 pixels of 90 that count
    labels[1, :10] = IGNORE_INDEX
    weights = segmentation.class_weights([(None, labels)], power=0.5)
    assert weights[5] / weights[0] == pytest.approx((86 / 4) ** 0.5)
    assert (weights[0] * 86 + weights[5] * 4) / 90 == pytest.approx(1)
    assert weights.count_nonzero() == 2
    with pytest.raises(ValueError, match="dataset: got no pixel of any class"):
        segmentation.class_weights([(None, torch.full((3, 4), 255))])


def test_a_flip_moves_photo_and_labels_together_and_only_in_training():
    photo = tv_tensors.Image(torch.arange(3 * 4 * 6, dtype=torch.uint8).reshape(3, 4, 6))
    labels = tv_tensors.Mask(torch.arange(24, dtype=torch.uint8).reshape(4, 6))
    plain, same = segmentation.photo_transforms()(photo, labels)
    assert plain.dtype == torch.float32
    assert torch.equal(same, labels)
    torch.manual_seed(0)
    flips = 0
    for _ in range(40):
        image, mask = segmentation.photo_transforms(train=True)(photo, labels)
        flipped = not torch.equal(mask, labels)
        flips += flipped
        assert torch.equal(image, plain.flip(-1) if flipped else plain)
    assert 5 < flips < 35
