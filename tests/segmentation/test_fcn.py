"""The FCN: any size in and out, a bilinear start, the sum of the skips by hand, and what each stride lets through."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from symmetry import assert_follows_mirroring

from lecture_utils.segmentation import FCN
from lecture_utils.segmentation.fcn import Enlarge, bilinear_upsampling, start_from


@pytest.mark.slide("07")
@settings(max_examples=60, deadline=None)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(0, 2), st.integers(1, 5), st.integers(1, 5))
def test_output_has_the_size_of_the_input(height, width, batch, depth, level):
    with torch.device("meta"):
        model = FCN(3, 5, base_channels=2, depth=depth, stride=2 ** min(level, depth))
    assert model(torch.empty(batch, 3, height, width, device="meta")).shape == (batch, 5, height, width)


@pytest.mark.parametrize("stride", [32, 8])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (33, 70)])
def test_runs_and_learns_at_any_size(height, width, stride):
    torch.manual_seed(0)
    model = FCN(3, 4, base_channels=4, stride=stride, norm="batch")
    scores = model(torch.randn(2, 3, height, width))
    scores.square().mean().backward()
    assert scores.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def randomised(model):
    """The model with all its weights drawn anew: the zeros of the skips and the bilinear kernels would hide much."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    return model


@pytest.mark.slide("07")
@pytest.mark.parametrize(("stride", "skips"), [(32, 0), (16, 1), (8, 2), (2, 4)])
@pytest.mark.parametrize(("height", "width"), [(64, 96), (37, 70), (1, 5)])
def test_scores_are_the_sum_over_the_strides(stride, skips, height, width):
    model = randomised(FCN(3, 4, base_channels=2, stride=stride))
    weights = model.state_dict()
    image = torch.randn(2, 3, height, width)

    x, maps = image, []
    for level in range(5):
        for layer in (0, 2):
            name = f"encoder.{level}.{layer}"
            x = F.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], padding=1).relu()
        x = F.max_pool2d(x, 2, ceil_mode=True)
        maps.append(x)
    total = F.conv2d(maps[4], weights["score.weight"], weights["score.bias"])
    for i in range(skips):
        finer = maps[3 - i]
        total = F.conv_transpose2d(total, weights[f"doublings.{i}.weight"], stride=2, padding=1, groups=4)
        total = total[:, :, : finer.shape[2], : finer.shape[3]]
        total = total + F.conv2d(finer, weights[f"skips.{i}.weight"], weights[f"skips.{i}.bias"])
    assert f"skips.{skips}.weight" not in weights
    total = F.conv_transpose2d(total, weights["enlarge.weight"], stride=stride, padding=stride // 2, groups=4)
    torch.testing.assert_close(model(image), total[:, :, :height, :width], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("stride", [32, 16, 8])
def test_nothing_is_shifted(stride):
    assert_follows_mirroring(FCN(3, 4, base_channels=4, stride=stride), height=64, width=96)


@pytest.mark.slide("07")
@pytest.mark.parametrize("stride", [32, 16, 8])
def test_a_finer_stride_lets_finer_patterns_through(stride):
    """The scores of the finest map added are all that can tell one block of `stride` pixels from the next."""
    model = FCN(3, 2, base_channels=4, stride=stride)
    coarse = []
    model.enlarge.register_forward_hook(lambda module, inputs, output: coarse.append(inputs[0]))
    scores = model(torch.randn(1, 3, 64, 96))
    assert coarse[0].shape == (1, 2, 64 // stride, 96 // stride)
    torch.testing.assert_close(model.enlarge(coarse[0]), scores)


def test_a_finer_net_starts_where_the_coarser_one_stopped():
    coarse = randomised(FCN(3, 4, base_channels=2, stride=16, norm="batch")).eval()
    fine = FCN(3, 4, base_channels=2, stride=8, norm="batch").eval()
    start_from(fine, coarse)
    learnt, own = coarse.state_dict(), fine.state_dict()
    assert all(torch.equal(own[name], learnt[name]) for name in learnt if name != "enlarge.weight")
    assert own["skips.1.weight"].count_nonzero() == own["skips.1.bias"].count_nonzero() == 0

    sums = []
    coarse.enlarge.register_forward_hook(lambda module, inputs, output: sums.append(inputs[0]))
    image = torch.randn(2, 3, 64, 32)
    coarse(image)
    doubled = bilinear_upsampling(4, stride=2)(sums[0])
    torch.testing.assert_close(fine(image), bilinear_upsampling(4, stride=8)(doubled), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("other", [{"base_channels": 3}, {"depth": 4}, {"stride": 4}, {"norm": "batch"}])
def test_starts_only_from_a_net_that_fits(other):
    fine = FCN(3, 4, base_channels=2, stride=8)
    before = {name: value.clone() for name, value in fine.state_dict().items()}
    with pytest.raises(ValueError, match=r"coarser: got a net with another (encoder|score|skips)"):
        start_from(fine, FCN(3, 4, **{"base_channels": 2, "stride": 16, **other}))
    assert all(torch.equal(value, before[name]) for name, value in fine.state_dict().items())


@pytest.mark.parametrize("stride", [2, 4, 8, 32])
@pytest.mark.parametrize("full", [False, True])
def test_enlargement_starts_as_bilinear_interpolation(stride, full):
    x = torch.randn(2, 3, 5, 4)
    ours = bilinear_upsampling(3, stride=stride, full=full)(x)
    theirs = F.interpolate(x, scale_factor=stride, mode="bilinear", align_corners=False)
    inside = (..., slice(stride, -stride), slice(stride, -stride))  # the border is interpolation towards zero
    if full:
        rim = stride // 2
        ours = ours[..., rim:-rim, rim:-rim]
    torch.testing.assert_close(ours[inside], theirs[inside])
    assert ours.shape == theirs.shape


def test_enlargement_keeps_the_precision_of_its_weights_under_autocast():
    layer = bilinear_upsampling(3, stride=8)
    x = torch.randn(2, 3, 5, 4).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        ours = layer(x)
        plain = super(Enlarge, layer).forward(x)
    assert plain.dtype == torch.bfloat16
    assert torch.equal(ours, layer(x.float()))
    assert layer.double()(x.double()).dtype == torch.float64


@pytest.mark.parametrize("stride", [0, 1, 3])
def test_refuses_an_odd_stride(stride):
    with pytest.raises(ValueError, match="stride: got"):
        bilinear_upsampling(2, stride=stride)


def test_encoder_is_the_contracting_path_of_the_unet():
    from lecture_utils.segmentation import UNet

    with torch.device("meta"):
        fcn, unet = FCN(3, 2), UNet(3, 2)
    contracting = [*unet.encoder, unet.bottleneck]
    assert [[p.shape for p in block.parameters()] for block in fcn.encoder] == [
        [p.shape for p in block.parameters()] for block in contracting
    ]


@pytest.mark.parametrize("change", ["in_channels", "num_classes", "base_channels", "depth"])
def test_refuses_bad_arguments(change):
    with pytest.raises(ValueError, match=f"^{change}: got 0"):
        FCN(**{"in_channels": 3, "num_classes": 2, "base_channels": 2, change: 0})


@pytest.mark.parametrize("stride", [0, 1, 12, 64])
def test_refuses_a_stride_between_the_poolings(stride):
    with pytest.raises(ValueError, match=f"stride: got {stride}, expected one of 2, 4, 8, 16, 32"):
        FCN(3, 2, base_channels=2, stride=stride)


def test_refuses_images_of_the_wrong_shape():
    with pytest.raises(ValueError, match="image: got shape"):
        FCN(3, 2, base_channels=2)(torch.zeros(1, 4, 16, 16))
