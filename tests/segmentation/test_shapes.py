"""What hooks see of a model: each call of a layer, with what it takes and gives."""

import torch
from torch import nn

from lecture_utils.segmentation.shapes import layer_calls, layer_outputs


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 1)

    def forward(self, x):
        return self.layer(self.layer(x) + x)


def test_every_call_is_seen_with_what_it_takes_and_gives():
    model, images = Twice(), torch.randn(2, 3, 5, 7)
    calls = layer_calls(model, images, {"conv": model.layer, "whole": model})
    (first, between), (second, last) = calls["conv"]
    assert torch.equal(first[0], images)
    assert torch.equal(second[0], between + images)
    assert torch.equal(last, calls["whole"][0][1])
    assert not last.requires_grad
    assert torch.equal(layer_outputs(model, images, {"conv": model.layer})["conv"], last)
    assert not model.layer._forward_hooks
