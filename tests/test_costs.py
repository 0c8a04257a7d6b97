"""The counter against sums made by hand on small networks, and the same on the meta device as for real."""

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lecture_utils.costs import (
    GPU,
    Costs,
    conv_multiply_adds,
    costs,
    estimated_step,
    seconds,
    timed,
    training_multiply_adds,
)
from lecture_utils.segmentation import UNet

FLOAT, INDEX = 4, 8  # bytes


@pytest.mark.slide("06")
def test_a_convolution():
    counted = costs(nn.Conv2d(3, 8, 3, padding=1), torch.randn(2, 3, 10, 12))
    assert counted.flops == 2 * (2 * 8 * 10 * 12) * (3 * 9)
    assert counted.multiply_adds == counted.flops / 2
    assert counted.parameters == 3 * 8 * 9 + 8
    assert counted.activations == FLOAT * 2 * 3 * 10 * 12  # its input, to compute the gradient of the kernel


def test_a_linear_layer():
    counted = costs(nn.Linear(7, 5), torch.randn(4, 7))
    assert counted == Costs(flops=2 * 4 * 7 * 5, parameters=40, activations=FLOAT * 4 * 7)


@pytest.mark.slide("06")
@pytest.mark.parametrize("inplace", [True, False])
def test_convolution_relu_and_pooling_share_what_they_keep(inplace):
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(inplace), nn.MaxPool2d(2), nn.Conv2d(4, 2, 1))
    image, rectified, pooled = 9 * 7, 4 * 7 * 5, 4 * 3 * 2
    # The input of the first layer, the ReLU's result (the pooling's input, too), the pooled map and its indices.
    expected = FLOAT * (image + rectified + pooled) + INDEX * pooled
    assert costs(model, torch.randn(1, 1, 9, 7)).activations == expected


def test_a_frozen_layer_keeps_nothing_for_its_weights():
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 2, 3))
    model.requires_grad_(False)
    assert costs(model, torch.randn(1, 1, 9, 7)).activations == 0


@settings(max_examples=15)
@given(st.integers(2, 3), st.integers(1, 40), st.integers(1, 40), st.sampled_from([None, "batch"]))
def test_meta_counts_what_a_real_run_counts(batch, height, width, norm):
    torch.manual_seed(0)
    model = UNet(3, 4, base_channels=2, depth=2, norm=norm)
    real = costs(model, torch.randn(batch, 3, height, width))
    assert costs(model, torch.empty(batch, 3, height, width, device="meta")) == real


@pytest.mark.slide("06")
def test_a_picture_of_cityscapes_is_counted_without_its_memory():
    model = UNet(3, 19, base_channels=64, norm="batch")
    small, large = (costs(model, torch.empty(1, 3, *size, device="meta")) for size in ((256, 512), (1024, 2048)))
    assert large.flops == 16 * small.flops
    at_full_size = 4 * 2  # four convolutions, each with what went into its normalisation and what came out of its ReLU
    assert large.activations > at_full_size * 64 * 1024 * 2048 * FLOAT
    # A few numbers (a normalisation's mean and deviation) do not grow with the image.
    assert large.activations == pytest.approx(16 * small.activations, rel=1e-4)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_the_model_is_left_as_it_was(device):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).train()
    before = copy.deepcopy(model.state_dict())
    costs(model, torch.ones(2, 3, 5, 5, device=device))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.training
    assert all(p.grad is None and p.device.type == "cpu" for p in model.parameters())


def test_counts_also_where_gradients_are_off():
    with torch.no_grad():
        assert costs(nn.Linear(7, 5), torch.randn(4, 7)).activations > 0


def test_counts_what_shares_a_parameter_once():
    layer = nn.Linear(6, 6)
    assert costs(nn.Sequential(layer, nn.ReLU(), layer), torch.randn(2, 6)).parameters == 42


def test_takes_inputs_beside_tensors():
    class Scaled(nn.Linear):
        def forward(self, x, factor):
            return factor * super().forward(x)

    assert costs(Scaled(3, 3), torch.randn(2, 3), 2.0).flops == 36


def test_refuses_a_run_without_a_tensor():
    with pytest.raises(ValueError, match="inputs: got 1 without a tensor"):
        costs(nn.Linear(3, 3), [1, 2, 3])


@settings(max_examples=30)
@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 4), st.integers(4, 9), st.integers(4, 9), st.integers(1, 3))
def test_the_formula_is_what_torch_counts(inputs, outputs, kernel, height, width, stride):
    x = torch.empty(1, inputs, height, width, device="meta")
    conv = nn.Conv2d(inputs, outputs, kernel, stride=stride)
    h, w = F.conv2d(x, conv.weight.to("meta"), stride=stride).shape[-2:]
    assert conv_multiply_adds(inputs, outputs, kernel, h, w) == costs(conv, x).multiply_adds


@pytest.mark.parametrize("change", ["in_channels", "out_channels", "kernel", "height", "width"])
def test_the_formula_refuses_bad_arguments(change):
    good = {"in_channels": 1, "out_channels": 1, "kernel": 1, "height": 1, "width": 1}
    with pytest.raises(ValueError, match=f"^{change}: got 0"):
        conv_multiply_adds(**{**good, change: 0})


def test_a_step_on_a_gpu_is_estimated_from_what_is_counted():
    layer, image = nn.Conv2d(3, 8, 3, padding=1), torch.empty(2, 3, 20, 30, device="meta")
    counted = costs(layer, image)
    slow = GPU("slow", flops=1e9, bandwidth=1e9, memory=1e9)
    wanted = 3 * counted.flops / 0.25e9 + 4 * counted.activations / 2 / 0.7e9
    assert estimated_step(counted, gpu=slow) == pytest.approx(wanted)
    assert estimated_step(counted) < estimated_step(counted, gpu=slow)


def test_seconds_are_a_median_without_those_of_warming_up(monkeypatch):
    clock, calls = iter([0, 9, 10, 11, 20, 25, 30, 32]), []
    monkeypatch.setattr("lecture_utils.costs.time.perf_counter", lambda: next(clock))
    assert seconds(calls.append, "street", warm_up=1) == 2  # of 1, 5 and 2; the first call took 9
    assert calls == ["street"] * 4
    with pytest.raises(ValueError, match="times: got 0"):
        seconds(calls.append, 1, times=0)


def test_a_call_is_timed_on_one_thread_and_the_threads_come_back():
    def state(*inputs, fails=False):
        if fails:
            raise OSError("of the call")
        return torch.get_num_threads(), torch.is_grad_enabled(), inputs

    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        took, given = timed(state, 7)
        assert took >= 0
        assert given == (1, False, (7,))
        assert (torch.get_num_threads(), torch.is_grad_enabled()) == (3, True)
        with pytest.raises(OSError, match="of the call"):
            timed(state, fails=True)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


# A whole training


def mean_square(model, batch):
    return model(batch[0]).square().mean()


def test_a_training_step_is_the_forward_pass_and_two_products_for_each_layer_but_the_first():
    """The first layer needs no gradient of the image."""
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(160, 7))
    first, second = conv_multiply_adds(3, 8, 3, 4, 5), 160 * 7
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert training_multiply_adds(model, mean_square, image=(3, 4, 5), images=1) == 2 * first + 3 * second
    assert training_multiply_adds(model, mean_square, image=(3, 4, 5), images=10) == 10 * (2 * first + 3 * second)
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in before.items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_gradient_within_the_loss_counts_too():
    """Of a linear score of an image: the image's gradient is the weight, once more for the penalty's own gradient."""
    model = nn.Linear(6, 1)

    def penalised(model, batch):
        image = batch[0].requires_grad_()
        (gradient,) = torch.autograd.grad(model(image).sum(), image, create_graph=True)
        return gradient.square().sum()

    assert training_multiply_adds(model, penalised, image=(6,), images=1) == 3 * 6


def test_a_training_on_no_image_is_refused():
    with pytest.raises(ValueError, match="images: got 0"):
        training_multiply_adds(nn.Linear(2, 1), mean_square, image=(2,), images=0)
