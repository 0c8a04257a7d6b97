"""A training step on the fast path of `training.fit` beside the plain one: NCHW, fp32, AdamW parameter by parameter."""

import pytest
import torch
import torch.nn.functional as F

from lecture_utils import runtime
from lecture_utils.segmentation import UNet
from lecture_utils.training import fast_layout


# Eight channels, the city's U-Net, are fewer than a vector of bf16 holds: there the gain is smallest.
@pytest.mark.parametrize("path", ["plain", "fast"])
@pytest.mark.parametrize("base_channels", [8, 16, 32])
def test_a_step_of_the_unet(benchmark, base_channels, path):
    run = runtime.setup(quiet=True)
    fast = path == "fast"
    layout = fast_layout("cpu", run.precision) if fast else torch.contiguous_format
    model = UNet(3, 19, base_channels=base_channels, norm="batch").to(memory_format=layout)
    images = torch.randn(16, 3, 128, 128)
    labels = torch.randint(0, 19, (16, 128, 128))
    optimizer = torch.optim.AdamW(model.parameters(), fused=fast, foreach=False)
    mixed = torch.autocast("cpu", torch.bfloat16, enabled=fast and run.precision == "bf16")

    def step():
        with mixed:
            loss = F.cross_entropy(model(images).float(), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    benchmark.group = f"a training step of the U-Net with {base_channels} channels, 128×128, batch 16"
    benchmark.extra_info["precision"] = run.precision if fast else "fp32"
    benchmark.pedantic(step, rounds=8, warmup_rounds=2)
