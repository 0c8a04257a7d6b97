"""The residual classifier: its shapes, and its layers beside torchvision's."""

import pytest
import torch
from torchvision.models.resnet import BasicBlock

from lecture_utils.transformers import ResNet


@pytest.mark.slide("32")
@pytest.mark.parametrize("size", [(64, 64), (33, 50), (16, 96)])
def test_any_size_gives_a_score_for_each_class(size):
    model = ResNet(num_classes=7, widths=(4, 8, 12), depth=2).eval()
    assert model(torch.randn(2, 3, *size)).shape == (2, 7)
    height, width = model.stages(model.stem(torch.randn(1, 3, *size))).shape[2:]
    assert (height, width) == tuple(-(-side // 8) for side in size)  # the stem and two stages halve it


@pytest.mark.slide("32")
def test_a_stage_is_torchvisions_basic_block():
    ours = ResNet(num_classes=7, widths=(4, 8)).eval()
    block = ours.stages[1][0]
    theirs = BasicBlock(4, 8, stride=2, downsample=block.around).eval()
    for (conv, norm), (a, b) in zip([block.first, block.second], [("conv1", "bn1"), ("conv2", "bn2")], strict=True):
        setattr(theirs, a, conv)
        setattr(theirs, b, norm)
    x = torch.randn(2, 4, 9, 14)
    torch.testing.assert_close(ours.stages[1](x), theirs(x))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ResNet(num_classes=0), "num_classes: got 0"),
        (lambda: ResNet(num_classes=2, widths=()), "stages: got 0"),
        (lambda: ResNet(num_classes=2)(torch.zeros(1, 1, 8, 8)), r"image: got shape \(1, 1, 8, 8\)"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
