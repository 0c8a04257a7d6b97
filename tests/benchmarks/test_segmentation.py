"""Seconds of a forward and of a training step of each model, at the size of the quick profile."""

import pytest
import torch
import torch.nn.functional as F

from lecture_utils.segmentation import FCN, DeconvNet, PixelClassifier, UNet

MODELS = {
    "unet": lambda: UNet(3, 19, base_channels=16, norm="batch"),
    "fcn": lambda: FCN(3, 19, base_channels=16, norm="batch"),
    "fcn16s": lambda: FCN(3, 19, base_channels=16, stride=16, norm="batch"),
    "fcn8s": lambda: FCN(3, 19, base_channels=16, stride=8, norm="batch"),
    "deconvnet": lambda: DeconvNet(3, 19, base_channels=16, bottleneck=3),
    "pixel": lambda: PixelClassifier(3, 19),
}


@pytest.mark.parametrize("name", MODELS)
def test_forward(benchmark, name):
    model = MODELS[name]().eval().to(memory_format=torch.channels_last)
    image = torch.randn(8, 3, 96, 96).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        scores = benchmark(model, image)
    assert scores.shape == (8, 19, 96, 96)


@pytest.mark.parametrize("name", MODELS)
def test_training_step(benchmark, name):
    model = MODELS[name]().to(memory_format=torch.channels_last)
    image = torch.randn(8, 3, 96, 96).to(memory_format=torch.channels_last)
    target = torch.randint(0, 19, (8, 96, 96))

    def step():
        loss = F.cross_entropy(model(image), target)
        loss.backward()
        return loss.item()

    assert benchmark(step) > 0
