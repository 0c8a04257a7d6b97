"""What the network of notebook 05 says about scenes."""

import torch
from torch import nn

from lecture_course.nb05_from_one_box_to_many.networks import one_box
from lecture_utils import toycity
from lecture_utils.datasets.single_objects import keep


class Same(nn.Module):
    """Says class 3 and one box of every image, and remembers what it was given."""

    def forward(self, images):
        self.images = images
        box = torch.tensor([0.5, 0.25, 0.5, 0.5])
        return torch.eye(5)[[3] * len(images)], box.repeat(len(images), 1)


def test_one_box_for_each_scene():
    scene = toycity.sample_scene(10_000_045)
    scenes = [keep(scene, [0]), scene, keep(scene, [])]
    model = Same()
    labels, boxes, truths = one_box(model, scenes, "cpu")
    assert labels.tolist() == [3, 3, 3]
    assert boxes.tolist() == [[32, 0, 96, 64]] * 3
    assert [len(truth) for truth in truths] == [1, len(toycity.render(scene, 128).objects), 0]
    assert model.images.shape == (3, 3, 128, 128)
    assert not model.training
