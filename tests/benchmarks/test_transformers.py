"""Transformers beside timm's, and a captioner that keeps what it has read beside one that reads it again.

`OMP_NUM_THREADS=1` compares them on one core. Memory is counted in processes of their own, for what one has touched
stays with it: how far the peak (VmHWM of Linux) rises above what the process holds before its first pass, gradients
included.
"""

import multiprocessing
from pathlib import Path

import pytest
import torch

from lecture_utils.captioning import CaptionTransformer, decoding
from lecture_utils.transformers import ViT
from tests.captioning.captioners import Rereading


def vit(whose):
    if whose == "ours":
        return ViT.paper("B/16", image_size=384)
    timm = pytest.importorskip("timm")
    return timm.create_model("vit_base_patch16_384")


def forward_and_backward(whose):
    torch.manual_seed(0)
    model, images = vit(whose), torch.randn(2, 3, 384, 384)
    for weights in model.parameters():  # a part of the model, not of the pass
        weights.grad = torch.zeros_like(weights)
    return lambda: model(images).square().mean().backward()


@pytest.mark.parametrize("whose", ["ours", "timm's"])
def test_vit(benchmark, whose):
    benchmark.group = "ViT-B/16 at 384², two images, forward and backward"
    benchmark.extra_info["megabytes"] = round(in_a_process(whose))
    benchmark.pedantic(forward_and_backward(whose), rounds=5, warmup_rounds=1)


def in_a_process(whose):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(megabytes, (whose,))


def megabytes(whose):
    step = forward_and_backward(whose)
    before = held("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins here
    step()
    return held("VmHWM") - before


def held(kind):
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(kind)]
    return int(line.split()[1]) / 1024


@pytest.mark.parametrize("search", ["greedy", "beam_search"])
@pytest.mark.parametrize("how", ["keeping", "reading again"])
def test_captions(benchmark, monkeypatch, search, how):
    monkeypatch.setattr(decoding, "END", -1)  # nobody ends early
    torch.manual_seed(0)
    model = CaptionTransformer(59, 256, (16, 16)).eval()
    z = torch.randn(32, 256, 16, 16)
    benchmark.group = f"{search}: captions of 40 words for 32 images"
    said = benchmark.pedantic(
        getattr(decoding, search),
        (model if how == "keeping" else Rereading(model), z),
        {"max_length": 40},
        rounds=3,
        warmup_rounds=1,
    )
    assert said.words.shape == (32, 40)
