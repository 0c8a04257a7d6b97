"""The FCN: any size in and out, a bilinear start, and no path by which a fine map could reach the output."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from lecture_utils.segmentation import FCN
from lecture_utils.segmentation.fcn import bilinear_upsampling


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(0, 2), st.integers(1, 5))
def test_output_has_the_size_of_the_input(height, width, batch, depth):
    with torch.device("meta"):
        model = FCN(3, 5, base_channels=2, depth=depth)
    assert model(torch.empty(batch, 3, height, width, device="meta")).shape == (batch, 5, height, width)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (33, 70)])
def test_runs_and_learns_at_any_size(height, width):
    torch.manual_seed(0)
    model = FCN(3, 4, base_channels=4, norm="batch")
    scores = model(torch.randn(2, 3, height, width))
    scores.square().mean().backward()
    assert scores.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("stride", [2, 4, 8, 32])
def test_enlargement_starts_as_bilinear_interpolation(stride):
    x = torch.randn(2, 3, 5, 4)
    ours = bilinear_upsampling(3, stride=stride)(x)
    theirs = F.interpolate(x, scale_factor=stride, mode="bilinear", align_corners=False)
    inside = (..., slice(stride, -stride), slice(stride, -stride))  # the border is interpolation towards zero
    torch.testing.assert_close(ours[inside], theirs[inside])
    assert ours.shape == theirs.shape


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


def test_everything_passes_through_the_coarse_map():
    """Two images with the same coarse scores have the same output: 8×8 pixels come from 4 numbers a class."""
    model = FCN(3, 2, base_channels=4, depth=2).eval()
    coarse = []
    model.score.register_forward_hook(lambda module, inputs, output: coarse.append(output))
    scores = model(torch.randn(1, 3, 8, 8))
    assert coarse[0].shape == (1, 2, 2, 2)
    torch.testing.assert_close(model.enlarge(coarse[0]), scores)


@pytest.mark.parametrize("change", ["in_channels", "num_classes", "base_channels", "depth"])
def test_refuses_bad_arguments(change):
    with pytest.raises(ValueError, match=f"^{change}: got 0"):
        FCN(**{"in_channels": 3, "num_classes": 2, "base_channels": 2, change: 0})


def test_refuses_images_of_the_wrong_shape():
    with pytest.raises(ValueError, match="image: got shape"):
        FCN(3, 2, base_channels=2)(torch.zeros(1, 4, 16, 16))
