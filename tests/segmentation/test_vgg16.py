"""The published FCNs: their parameters, their crops, and torchvision's VGG-16 inside them."""

import pytest
import torch
import torch.nn.functional as F
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from symmetry import assert_follows_mirroring
from torch import nn

from lecture_utils.segmentation import VGG16FCN
from lecture_utils.segmentation.fcn import start_from
from lecture_utils.segmentation.vgg16 import vgg16_widths


def on_meta(**options):
    with torch.device("meta"):
        return VGG16FCN(**options)


@pytest.mark.slide("07")
@pytest.mark.parametrize(("stride", "count"), [(32, 136_152_917), (16, 134_815_994), (8, 134_489_759)])
def test_parameters_of_the_published_networks(stride, count):
    assert sum(p.numel() for p in on_meta(stride=stride).parameters()) == count


@pytest.mark.slide("07")
@settings(max_examples=60, deadline=None)
@given(st.integers(1, 140), st.integers(1, 140), st.integers(0, 2), st.sampled_from([32, 16, 8]))
def test_output_has_the_size_of_the_input(height, width, batch, stride):
    model = on_meta(num_classes=5, base_channels=1, stride=stride)
    assert model(torch.empty(batch, 3, height, width, device="meta")).shape == (batch, 5, height, width)


@pytest.mark.parametrize("stride", [32, 16, 8])
def test_sizes_in_the_comments(stride):
    model = on_meta(base_channels=1, stride=stride)
    sizes = {}
    for name, module in model.named_modules():
        module.register_forward_hook(lambda module, inputs, x, name=name: sizes.update({name: x.shape[-1]}))
    model(torch.empty(1, 3, 500, 500, device="meta"))
    assert [sizes[f"encoder.{level}"] for level in range(5)] == [698, 349, 175, 88, 44]
    assert (sizes["fc6"], sizes["fc7"], sizes["score"]) == (16, 16, 16)
    assert [sizes[f"doublings.{i}"] for i in range(len(model.doublings))] == {32: [], 16: [34], 8: [34, 70]}[stride]
    assert sizes["enlarge"] == {32: 544, 16: 560, 8: 568}[stride]


def randomised(**options):
    torch.manual_seed(0)
    model = VGG16FCN(3, 4, base_channels=2, **options).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=parameter[0].numel() ** -0.5 if parameter.ndim > 1 else 0.1)
    return model


@pytest.mark.slide("07")
@pytest.mark.parametrize("stride", [32, 16, 8])
@pytest.mark.parametrize(("height", "width"), [(40, 75), (1, 33)])
def test_the_published_formula_by_hand(stride, height, width):
    """As in the authors' network definition: the first padding 100; crops at 19, at 5 and 27, at 5, 9 and 31."""
    model = randomised(stride=stride)
    weights = list(model.parameters())
    image = torch.randn(2, 3, height, width)

    x, maps, padding = image, [], 100
    for count in (2, 2, 3, 3, 3):
        for _ in range(count):
            x = F.conv2d(x, weights.pop(0), weights.pop(0), padding=padding).relu()
            padding = 1
        x = F.max_pool2d(x, 2, ceil_mode=True)
        maps.append(x)
    for _ in ("fc6", "fc7"):
        x = F.conv2d(x, weights.pop(0), weights.pop(0)).relu()
    x = F.conv2d(x, weights.pop(0), weights.pop(0))
    named = dict(model.named_parameters())
    for i, (finer, offset) in enumerate([(maps[3], 5), (maps[2], 9)][: {32: 0, 16: 1, 8: 2}[stride]]):
        x = F.conv_transpose2d(x, named[f"doublings.{i}.weight"], stride=2)
        score = F.conv2d(finer, named[f"skips.{i}.weight"], named[f"skips.{i}.bias"])
        x = x + score[:, :, offset : offset + x.shape[2], offset : offset + x.shape[3]]
    x = F.conv_transpose2d(x, named["enlarge.weight"], stride=stride)
    begin = {32: 19, 16: 27, 8: 31}[stride]
    expected = x[:, :, begin : begin + height, begin : begin + width]
    torch.testing.assert_close(model(image), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("stride", [32, 16, 8])
def test_the_crops_shift_nothing(stride):
    # 58 + 198 and 90 + 198 are multiples of 32, so that no pooling rounds.
    assert_follows_mirroring(VGG16FCN(3, 4, base_channels=2, stride=stride), height=58, width=90)


@pytest.mark.parametrize("stride", [32, 16, 8])
def test_learns(stride):
    torch.manual_seed(0)
    model = VGG16FCN(3, 4, base_channels=1, stride=stride)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    image, target = torch.randn(2, 3, 40, 33), torch.randint(0, 4, (2, 40, 33))
    before = [p.detach().clone() for p in model.parameters()]
    for _ in range(2):  # after the first step the scores are no longer zero, and the gradient passes them
        optimizer.zero_grad()
        F.cross_entropy(model(image), target).backward()
        optimizer.step()
    assert all(p.grad.isfinite().all() for p in model.parameters())
    assert all(p.grad.any() for p in model.encoder.parameters())
    assert not any(torch.equal(p, b) for p, b in zip(model.skips.parameters(), before, strict=False))


def test_a_finer_net_starts_where_the_coarser_one_stopped():
    coarse, fine = randomised(stride=16), VGG16FCN(3, 4, base_channels=2, stride=8)
    start_from(fine, coarse)
    assert torch.equal(fine.fc6[0].weight, coarse.fc6[0].weight)
    assert torch.equal(fine.skips[0].weight, coarse.skips[0].weight)
    assert fine.skips[1].weight.count_nonzero() == 0


@pytest.fixture(scope="module")
def published():
    """torchvision's VGG-16 with random weights. Made without memory first, because its own start takes long."""
    with torch.device("meta"):
        theirs = torchvision.models.vgg16(weights=None)
    theirs = theirs.to_empty(device="cpu").eval()
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in theirs.parameters():
            std = (2 / parameter[0].numel()) ** 0.5 if parameter.ndim > 1 else 0.1
            parameter.normal_(std=std)
    return theirs


@pytest.mark.slide("06")
def test_linear_layers_become_convolutions_with_the_same_activations(published):
    """At 224 × 224 without the 100 pixels around, fc6 fits once, and it is VGG-16 itself up to its last layer."""
    ours = on_meta().to_empty(device="cpu").eval()
    ours.load_vgg16(published.state_dict())
    image = torch.randn(1, 3, 224, 224)
    with torch.inference_mode():
        x = image
        for block in ours.encoder:
            x = ours.pool(block(x))
        fc6 = ours.fc6(x)
        features = published.features(image)
        linear = published.classifier[:3](features.flatten(1))
        torch.testing.assert_close(x, features)
        assert linear.std() > 0.1
        torch.testing.assert_close(fc6[:, :, 0, 0], linear, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(ours.fc7(fc6)[:, :, 0, 0], published.classifier[3:6](linear), rtol=1e-3, atol=1e-3)
        assert fc6.shape == (1, 4096, 1, 1)


def test_refuses_the_weights_of_another_network():
    with torch.device("meta"):
        others = [torchvision.models.vgg19(weights=None), torchvision.models.vgg16_bn(weights=None), nn.Linear(2, 3)]
    model = VGG16FCN(base_channels=1)
    before = [p.detach().clone() for p in model.parameters()]
    for other in [*others, on_meta()]:
        with pytest.raises(ValueError, match=r"weights: got .* not those of a VGG-16 of this width"):
            model.load_vgg16(other.state_dict())
    assert all(torch.equal(p, b) for p, b in zip(model.parameters(), before, strict=True))


def test_widths_are_those_of_configuration_d():
    assert vgg16_widths(3) == [
        [3, 64, 64],
        [64, 128, 128],
        [128, 256, 256, 256],
        [256, 512, 512, 512],
        [512, 512, 512, 512],
    ]


@pytest.mark.parametrize("change", ["in_channels", "num_classes", "base_channels"])
def test_refuses_bad_arguments(change):
    with pytest.raises(ValueError, match=f"^{change}: got 0"):
        VGG16FCN(**{"base_channels": 1, change: 0})
    with pytest.raises(ValueError, match="stride: got 4, expected one of 32, 16, 8"):
        VGG16FCN(base_channels=1, stride=4)


def test_refuses_images_of_the_wrong_shape():
    with pytest.raises(ValueError, match="image: got shape"):
        VGG16FCN(base_channels=1)(torch.zeros(1, 4, 16, 16))
