"""The shared backbone: torchvision's residual block and feature pyramid with our weights, any size, every gradient."""

import re
from collections import OrderedDict

import pytest
import torch
from torch import nn
from torchvision.models.resnet import BasicBlock
from torchvision.ops import FeaturePyramidNetwork

from lecture_utils.detection.backbone import Backbone, ResidualBlock


def settled(module):
    """With the averages of batch normalisation as after training, not as at the start."""
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.running_mean, -1, 1)
            nn.init.uniform_(layer.running_var, 0.5, 2)
            nn.init.uniform_(layer.weight, 0.5, 2)
            nn.init.uniform_(layer.bias, -1, 1)
    return module.eval()


def copy(theirs, ours):
    """Give a layer our layer's weights, by order."""
    theirs.load_state_dict(dict(zip(theirs.state_dict(), ours.state_dict().values(), strict=True)))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("before", "after", "stride"), [(6, 6, 1), (6, 6, 2), (6, 10, 1), (6, 10, 2)])
def test_a_residual_block_is_torchvisions(before, after, stride, training):
    ours = settled(ResidualBlock(before, after, stride=stride)).train(training)
    around = None if isinstance(ours.around, nn.Identity) else ours.around
    theirs = BasicBlock(before, after, stride, None if around is None else nn.Sequential(*map(twin, around)))
    for layer, own in ((theirs.conv1, ours.first[0]), (theirs.bn1, ours.first[1])):
        copy(layer, own)
    for layer, own in ((theirs.conv2, ours.second[0]), (theirs.bn2, ours.second[1])):
        copy(layer, own)
    theirs.train(training)
    x = torch.randn(2, before, 9, 12)
    torch.testing.assert_close(ours(x), theirs(x))


def twin(layer):
    """The same kind of layer, with the same weights, of its own."""
    if isinstance(layer, nn.Conv2d):
        other = nn.Conv2d(layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, bias=False)
    else:
        other = nn.BatchNorm2d(layer.num_features)
    copy(other, layer)
    return other


@pytest.mark.parametrize("size", [(32, 48), (33, 50), (17, 4), (1, 1)])
def test_the_way_up_is_torchvisions_pyramid(size):
    torch.manual_seed(0)
    backbone = settled(Backbone(3, base_channels=4, out_channels=6))
    widths = [lateral.in_channels for lateral in backbone.laterals]
    pyramid = FeaturePyramidNetwork(widths, 6)
    for theirs, lateral in zip(pyramid.inner_blocks, backbone.laterals, strict=True):
        copy(theirs, lateral)
    pyramid.layer_blocks[0] = nn.Identity()  # the course smooths the finest map only, with batch normalisation

    image = torch.randn(2, 3, *size)
    x, maps = backbone.stem(image), OrderedDict()
    for number, stage in enumerate(backbone.stages):
        x = maps[str(number)] = stage(x)
    torch.testing.assert_close(backbone(image), backbone.smooth(pyramid(maps)["0"]))


@pytest.mark.parametrize(("height", "width"), [(128, 128), (120, 160), (97, 131), (5, 3), (1, 1)])
@pytest.mark.parametrize("batch", [0, 1, 3])
def test_the_map_has_a_point_at_every_fourth_pixel(batch, height, width):
    backbone = Backbone(3, base_channels=2, out_channels=5).eval()
    assert backbone(torch.zeros(batch, 3, height, width)).shape == (batch, 5, -(-height // 4), -(-width // 4))
    assert backbone.stride == 4


def test_features_stand_over_what_they_show():
    """An image moved by 16 pixels gives a map moved by 4 points, away from the borders' padding."""
    torch.manual_seed(0)
    backbone = settled(Backbone(3, base_channels=4, out_channels=6)).double()
    image = torch.randn(1, 3, 512, 32 + 480, dtype=torch.float64)
    with torch.no_grad():
        moved, still = backbone(image.roll((16, 32), (2, 3))), backbone(image)
    inner = slice(50, 78)
    torch.testing.assert_close(moved[..., inner, inner], still.roll((4, 8), (2, 3))[..., inner, inner])
    assert still[..., inner, inner].std() > 0.01


def test_every_weight_gets_a_gradient():
    torch.manual_seed(0)
    backbone = Backbone(3, base_channels=4, out_channels=6)
    backbone(torch.randn(2, 3, 32, 40)).square().mean().backward()
    assert not [name for name, weight in backbone.named_parameters() if weight.grad is None or not weight.grad.any()]


def test_images_of_a_batch_do_not_meet():
    backbone = settled(Backbone(3, base_channels=2, out_channels=5))
    images = torch.randn(3, 3, 20, 28)
    together = backbone(images)
    torch.testing.assert_close(together, torch.cat([backbone(image[None]) for image in images]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Backbone(0), "in_channels: got 0"),
        (lambda: Backbone(base_channels=0), "base_channels: got 0"),
        (lambda: Backbone(out_channels=-1), "out_channels: got -1"),
        (lambda: Backbone(3, base_channels=2)(torch.zeros(1, 4, 8, 8)), "image: got shape (1, 4, 8, 8)"),
        (lambda: Backbone(3, base_channels=2)(torch.zeros(3, 8, 8)), "image: got shape (3, 8, 8)"),
        (lambda: Backbone(3, base_channels=2)(torch.zeros(1, 3, 0, 8)), "image: got shape (1, 3, 0, 8)"),
    ],
)
def test_bad_input_is_refused_in_words(call, message):
    with pytest.raises((ValueError, TypeError), match=f"^{re.escape(message)}|jaxtyping|parameter"):
        call()
