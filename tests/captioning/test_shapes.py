"""The shapes in the signatures are true: everything runs with beartype checking each of them."""

import importlib
import sys

import pytest
import torch
from jaxtyping import TypeCheckError, install_import_hook
from torchvision import models

from lecture_utils import encoders
from lecture_utils.detection.backbone import Backbone

PACKAGES = ("lecture_utils.captioning", "lecture_utils.transformers")
CAPTIONS = torch.tensor([[1, 5, 6, 2], [1, 4, 2, 0]])


@pytest.fixture(scope="module")
def checked():
    """The captioning and the transformers' package, imported once more, with every signature checked at each call."""
    mine = lambda name: name.startswith(PACKAGES)  # noqa: E731
    kept = {name: sys.modules.pop(name) for name in list(sys.modules) if mine(name)}
    with install_import_hook(list(PACKAGES), "beartype.beartype"):
        packages = [importlib.import_module(name) for name in PACKAGES]
    yield packages
    for name in [name for name in sys.modules if mine(name)]:
        del sys.modules[name]
    sys.modules.update(kept)
    for name in PACKAGES:
        setattr(sys.modules["lecture_utils"], name.rpartition(".")[2], kept[name])


@pytest.mark.parametrize("kind", ["bottleneck", "soft", "transformer", "only transformers"])
def test_captioners_losses_and_decoding(checked, kind):
    captioning, _ = checked
    sizes, z = {"vocab_size": 9, "features": 6, "grid": (3, 5)}, torch.randn(2, 6, 3, 5)
    if kind == "only transformers":
        z = torch.randn(2, 3, 6, 10)
    model = {
        "bottleneck": lambda: captioning.BottleneckRNN(**sizes),
        "soft": lambda: captioning.ShowAttendTell(**sizes),
        "transformer": lambda: captioning.CaptionTransformer(**sizes),
        "only transformers": lambda: captioning.ViTCaptioner(9, (6, 10), patch_size=2),
    }[kind]()
    logits, _ = model(z, CAPTIONS[:, :-1])
    _, attention = model(z, CAPTIONS[:, :-1], need_weights=True)
    captioning.caption_loss(logits, CAPTIONS)
    if kind == "soft":
        captioning.doubly_stochastic(attention, CAPTIONS[:, 1:] != 0)
    model.eval()
    captioning.greedy(model, z, max_length=4)
    captioning.beam_search(model, z, beam_size=2, max_length=4, prefix=[5], need_weights=True)
    captioning.sample(model, z, max_length=4)


def test_encoders_words_and_scores(checked):
    captioning, _ = checked
    encoders.hypercolumn_encoder(Backbone(base_channels=4, out_channels=6))(torch.randn(2, 3, 32, 48))
    encoders.last_map(models.resnet18())(torch.randn(1, 3, 64, 32))
    words = captioning.Vocabulary.build(["a red car", "a car"])
    assert words.decode(captioning.pad([words.encode("a car"), [4]])[0]) == "a car"
    assert captioning.bleu(["a car"], [["a car"]], n=2) == pytest.approx(1)
    captioning.points_in((1.0, 2.0, 3.0, 4.0), (8, 9), (2, 3))


def test_attention_and_blocks(checked):
    _, transformers = checked
    x, memory = torch.randn(2, 4, 8), torch.randn(2, 5, 8)
    transformers.attention(x, memory, memory, torch.ones(2, 1, 5, dtype=torch.bool))
    transformers.attention(x[0], memory[0], memory[0, :, :3])
    transformers.MultiHeadAttention(8, 2)(x, memory)
    transformers.MultiHeadAttention(8, 2)(x, is_causal=True, need_weights=True)
    transformers.Block(8, 2)(x, mask=transformers.causal_mask(4)[None])
    transformers.Block(8, 2, cross=True)(x, memory)
    transformers.GridSelfAttention(8)(transformers.GridPositions(8, (2, 3))(torch.randn(2, 8, 2, 3)))


def test_a_false_shape_would_be_noticed(checked):
    captioning, transformers = checked
    with pytest.raises(TypeCheckError):
        captioning.doubly_stochastic(torch.rand(2, 1, 1, 3, 4, 4), torch.ones(2, 4, dtype=torch.bool))
    with pytest.raises(TypeCheckError):
        transformers.GridSelfAttention(8)(torch.randn(8, 2, 3))
