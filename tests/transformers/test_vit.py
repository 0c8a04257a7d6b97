"""The vision transformer against torchvision's: sizes, outputs, positions at other sizes; attention and its rollout."""

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torchvision.models import ResNet18_Weights, VisionTransformer, ViT_B_16_Weights, vit_b_16, vit_b_32
from torchvision.models.vision_transformer import ConvStemConfig, interpolate_embeddings

from lecture_utils.transformers import ViT, resize_pos_embed, rollout
from lecture_utils.transformers.vit import PAPER

PARAMETERS = {
    "B/16": 86_567_656, "B/32": 88_224_232, "L/16": 304_326_632, "L/32": 306_535_400, "H/14": 632_045_800
}  # fmt: skip
SMALL = {"patch_size": 4, "dim": 12, "depth": 3, "heads": 3}


def small(size=(8, 12), **changes):
    """A small model with weights far from their start, so that nothing is equal by being 0."""
    torch.manual_seed(0)
    model = ViT(**{"num_classes": 5, "image_size": size, **SMALL, **changes}).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model


def disturbed(model):
    """Torchvision starts with a head, a class token and biases of zeros, which would hide mistakes."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.02 * torch.randn_like(parameter)
    return model.eval()


@pytest.mark.slide("31")
@pytest.mark.parametrize("name", PAPER)
def test_the_papers_models_have_their_parameters(name):
    with torch.device("meta"):
        model = ViT.paper(name)
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS[name]
    assert {layer.eps for layer in model.modules() if isinstance(layer, nn.LayerNorm)} == {1e-6}


@pytest.mark.slide("31")
@pytest.mark.parametrize(("build", "patch", "larger"), [(vit_b_16, 16, 240), (vit_b_32, 32, 256)])
def test_torchvisions_weights_give_torchvisions_logits(build, patch, larger):
    theirs = disturbed(build())
    ours = ViT.from_torchvision(theirs)
    assert not ours.training
    with torch.no_grad():
        image = torch.randn(1, 3, 224, 224)
        torch.testing.assert_close(ours(image), theirs(image), atol=1e-4, rtol=0)
        weights = interpolate_embeddings(larger, patch, theirs.state_dict())
        theirs = VisionTransformer(larger, patch, 12, 12, 768, 3072).eval()
        theirs.load_state_dict(weights)
        image = torch.randn(1, 3, larger, larger)
        torch.testing.assert_close(ours(image), theirs(image), atol=1e-4, rtol=0)


@pytest.mark.slide("31")
@pytest.mark.parametrize("settings", [{"mlp_dim": 20}, {"mlp_dim": 48, "num_classes": 3, "dropout": 0.5}])
def test_small_models_of_torchvision_load_too(settings):
    theirs = disturbed(VisionTransformer(24, 8, 2, 4, 16, **settings))
    images = torch.randn(3, 3, 24, 24)
    torch.testing.assert_close(ViT.from_torchvision(theirs)(images), theirs(images), atol=1e-5, rtol=0)


def test_models_that_are_not_the_papers_are_refused():
    with pytest.raises(ValueError, match="source: got a convolutional stem or a representation_size"):
        ViT.from_torchvision(VisionTransformer(16, 8, 1, 1, 8, 8, representation_size=4))
    stem = [ConvStemConfig(8, 3, 8)]
    with pytest.raises(ValueError, match="source: got a convolutional stem"):
        ViT.from_torchvision(VisionTransformer(16, 8, 1, 1, 8, 8, conv_stem_configs=stem))
    with pytest.raises(ValueError, match=r"source: got norms with eps \{0.1\}"):
        ViT.from_torchvision(VisionTransformer(16, 8, 1, 1, 8, 8, norm_layer=partial(nn.LayerNorm, eps=0.1)))
    headless = VisionTransformer(16, 8, 1, 1, 8, 8)
    headless.heads = nn.Identity()
    with pytest.raises(ValueError, match=r"source: got a model without layers or without heads\.head"):
        ViT.from_torchvision(headless)
    with pytest.raises(ValueError, match=r"source: got ResNet18_Weights.*VisionTransformer"):
        ViT.from_torchvision(ResNet18_Weights.IMAGENET1K_V1)
    with pytest.raises((ValueError, TypeError), match=r"source: got Linear, expected torchvision's|Type-check error"):
        ViT.from_torchvision(nn.Linear(2, 2))


def test_without_a_network_the_missing_file_is_named(no_network):
    with pytest.raises(FileNotFoundError, match=r"vit_b_16-c867db91\.pth: is not there"):
        ViT.from_torchvision(ViT_B_16_Weights.IMAGENET1K_V1, progress=False)


def test_weights_of_another_size_build_a_model_of_that_size(monkeypatch):
    monkeypatch.setattr("lecture_utils.transformers.vit.load_downloaded", lambda *args, **kwargs: None)
    with torch.device("meta"):
        assert ViT.from_torchvision(ViT_B_16_Weights.IMAGENET1K_V1).grid == (14, 14)
        assert ViT.from_torchvision(ViT_B_16_Weights.IMAGENET1K_SWAG_E2E_V1).grid == (24, 24)


@pytest.mark.slide("31")
@pytest.mark.parametrize(("before", "after"), [(14, 24), (14, 7), (3, 5), (7, 7)])
def test_resized_positions_are_torchvisions(before, after):
    positions = torch.randn(1, 1 + before**2, 6)
    state = {"encoder.pos_embedding": positions.clone()}
    expected = interpolate_embeddings(after * 16, 16, state)["encoder.pos_embedding"]
    torch.testing.assert_close(resize_pos_embed(positions, (before, before), (after, after)), expected)


@pytest.mark.slide("31")
@given(*(st.integers(1, 6) for _ in range(4)))
@settings(max_examples=40)
def test_resizing_keeps_the_class_token_and_the_corners(h, w, h2, w2):
    places = torch.randn(h, w, 3)
    positions = torch.cat([torch.full((1, 3), 9.0), places.flatten(0, 1)])[None]
    resized = resize_pos_embed(positions, (h, w), (h2, w2))
    assert resized.shape == (1, 1 + h2 * w2, 3)
    assert (resized[:, 0] == 9).all()
    grid = resized[0, 1:].unflatten(0, (h2, w2))
    if min(h2, w2) > 1:
        for row, column in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
            torch.testing.assert_close(grid[row, column], places[row, column], atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [(8, 12), (12, 8), (4, 20), (4, 4)])
def test_an_image_of_another_size_is_as_a_model_made_for_it(size):
    """Also where height and width differ, which torchvision cannot do."""
    model, images = small(), torch.randn(2, 3, *size)
    other = small(size)
    grid = (size[0] // 4, size[1] // 4)
    weights = model.state_dict()
    weights["pos_embed"] = resize_pos_embed(model.pos_embed, model.grid, grid)
    other.load_state_dict(weights)
    torch.testing.assert_close(model(images), other(images))


@pytest.mark.slide("31")
def test_words_are_the_class_token_and_the_patches_row_by_row():
    model = small()
    image = torch.randn(1, 3, 8, 12)
    tokens = model.embed(image) - model.pos_embed
    assert tokens.shape == (1, 1 + 2 * 3, 12)
    torch.testing.assert_close(tokens[:, :1], model.class_token)
    weight = model.patch_embed.weight.flatten(1)
    for place, (row, column) in enumerate([(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)], 1):
        patch = image[0, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4].flatten()
        torch.testing.assert_close(tokens[0, place], weight @ patch + model.patch_embed.bias, atol=1e-5, rtol=1e-5)


def test_without_positions_the_order_of_patches_does_not_count():
    model = small()
    images = torch.randn(2, 3, 8, 12)
    turned = torch.cat([images[..., 4:], images[..., :4]], dim=-1)
    assert not torch.allclose(model(images), model(turned), atol=1e-3)
    nn.init.zeros_(model.pos_embed)
    torch.testing.assert_close(model(images), model(turned))


@pytest.mark.slide("31")
def test_attention_maps_are_those_of_the_blocks():
    model = small()
    images = torch.randn(2, 3, 8, 12)
    maps = model.attention_maps(images)
    assert maps.shape == (2, 3, 3, 7, 7)
    torch.testing.assert_close(maps.sum(-1), torch.ones(2, 3, 3, 7))
    assert not maps.requires_grad
    first = model.blocks[0]
    _, expected = first.attend(first.norm_self(model.embed(images)), need_weights=True)
    torch.testing.assert_close(maps[:, 0], expected)


@pytest.mark.slide("31")
def test_rollout_adds_up_every_way_through_the_layers():
    """Against a walk from word to word: at each layer stay with ½, else step as the mean head says."""
    maps = torch.rand(2, 3, 4, 5, 5, dtype=torch.float64)
    maps = maps / maps.sum(-1, keepdim=True)
    expected = torch.zeros(2, 5, 5, dtype=torch.float64)
    step = maps.mean(2)
    for start in range(5):
        here = torch.zeros(2, 5, dtype=torch.float64)
        here[:, start] = 1  # the word of the last layer; its way leads down to the first
        for layer in (2, 1, 0):
            here = 0.5 * here + 0.5 * torch.einsum("bn,bnm->bm", here, step[:, layer])
        expected[:, start] = here
    torch.testing.assert_close(rollout(maps), expected)
    torch.testing.assert_close(rollout(maps).sum(-1), torch.ones(2, 5, dtype=torch.float64))


def test_rollout_of_words_that_see_only_themselves_is_nothing_new():
    maps = torch.eye(4).expand(1, 6, 2, 4, 4)
    torch.testing.assert_close(rollout(maps)[0], torch.eye(4))


def test_another_head_and_another_precision_come_along():
    theirs = VisionTransformer(16, 8, 2, 2, 8, 16).double().eval()
    theirs.heads.head = nn.Linear(8, 3).double()
    images = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    torch.testing.assert_close(ViT.from_torchvision(theirs)(images), theirs(images))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: small()(torch.zeros(1, 3, 8, 10)), "image: got 8 × 10 pixels, expected multiples of patch_size=4"),
        (lambda: small()(torch.zeros(1, 1, 8, 12)), r"image: got shape \(1, 1, 8, 12\)"),
        (lambda: small((8, 10)), "image_size: got 8 × 10 pixels"),
        (lambda: small(3), "image_size: got 3, expected a whole number of at least 4"),
        (lambda: small(depth=0), "depth: got 0"),
        (lambda: small(heads=5), "heads: got 5, expected a divisor of dim, 12"),
        (lambda: ViT.paper("S/16"), "name: got 'S/16', expected one of 'B/16', 'B/32'"),
        (lambda: resize_pos_embed(torch.zeros(1, 7, 4), (2, 2), (3, 3)), r"pos_embed: got \(1, 7, 4\), expected \(1,"),
        (lambda: rollout(torch.zeros(1, 2, 3, 4, 5)), r"maps: got \(1, 2, 3, 4, 5\)"),
        (lambda: rollout(torch.zeros(1, 0, 3, 4, 4)), "at least one layer"),
    ],
)  # fmt: skip
def test_bad_arguments_are_named(call, message):
    # A TypeError where the tests run with jaxtyping's checks on, which come first.
    with pytest.raises((ValueError, TypeError), match=f"{message}|jaxtyping"):
        call()


def test_an_empty_batch_gives_an_empty_answer():
    assert small()(torch.zeros(0, 3, 8, 12)).shape == (0, 5)


def test_every_parameter_gets_a_gradient():
    model = small().train()
    model(torch.randn(2, 3, 8, 12)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for name, p in model.named_parameters()
               if not name.endswith("key.bias"))  # fmt: skip
