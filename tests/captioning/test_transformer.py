"""Captioning transformers against torch's own layers with the same weights, and against patches cut by torch."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lecture_utils.captioning import CaptionTransformer, ViTCaptioner, greedy

from .captioners import FEATURES, GRID, SIZES, captioner, picture, sentences


def load_attention(theirs: nn.MultiheadAttention, ours) -> None:
    theirs.in_proj_weight.data = torch.cat([ours.query.weight, ours.key.weight, ours.value.weight]).data
    theirs.in_proj_bias.data = torch.cat([ours.query.bias, ours.key.bias, ours.value.bias]).data
    theirs.out_proj.load_state_dict(ours.out.state_dict())


def twin(block) -> nn.Module:
    """torch's layer with the weights of one of our blocks."""
    dim, heads, hidden = block.norm_self.normalized_shape[0], block.attend.heads, block.mlp[0].out_features
    kind = nn.TransformerDecoderLayer if block.cross else nn.TransformerEncoderLayer
    layer = kind(dim, heads, hidden, 0.0, F.gelu, layer_norm_eps=1e-6, batch_first=True, norm_first=True).double()
    load_attention(layer.self_attn, block.attend)
    layer.norm1.load_state_dict(block.norm_self.state_dict())
    if block.cross:
        load_attention(layer.multihead_attn, block.attend_memory)
        layer.norm2.load_state_dict(block.norm_cross.state_dict())
    (layer.norm3 if block.cross else layer.norm2).load_state_dict(block.norm_mlp.state_dict())
    layer.linear1.load_state_dict(block.mlp[0].state_dict())
    layer.linear2.load_state_dict(block.mlp[3].state_dict())
    return layer.eval()


@pytest.mark.slide("29")
@pytest.mark.parametrize("name", ["transformer", "only transformers"])
@pytest.mark.parametrize("length", [1, 6])
def test_the_whole_is_torchs_encoder_and_decoder(name, length):
    model, z, captions = captioner(name), picture(name, 3), sentences(3, length)
    with torch.no_grad():
        logits, maps = model(z, captions, need_weights=True)
        c = model.encode_grid(model.cut(z) if name == "only transformers" else z)
        for block in model.encoder:
            c = twin(block)(c)
        c = F.layer_norm(c, (8,), model.encoder_norm.weight, model.encoder_norm.bias, 1e-6)
        torch.testing.assert_close(model.encode(z), c)
        x = F.embedding(captions, model.embed.weight) + model.pos_embed[:length]
        mask = nn.Transformer.generate_square_subsequent_mask(length, dtype=torch.float64)
        for layer, block in enumerate(model.decoder):
            theirs = twin(block)
            looked = x + theirs.self_attn(*[theirs.norm1(x)] * 3, attn_mask=mask)[0]
            _, weights = theirs.multihead_attn(theirs.norm2(looked), c, c, average_attn_weights=False)
            torch.testing.assert_close(maps[:, layer], weights.unflatten(-1, GRID))
            x = theirs(x, c, tgt_mask=mask)
        x = F.layer_norm(x, (8,), model.norm.weight, model.norm.bias, 1e-6)
        torch.testing.assert_close(logits, x @ model.predict.weight.T + model.predict.bias)


@pytest.mark.slide("30")
@pytest.mark.parametrize(("size", "patch", "channels"), [((6, 10), 2, 3), ((12, 4), 4, 1), ((5, 15), 5, 2)])
def test_the_patches_are_those_that_torch_unfolds(size, patch, channels):
    model = ViTCaptioner(9, size, patch_size=patch, channels=channels, dim=8, heads=2)
    image = torch.randn(3, channels, *size)
    grid = size[0] // patch, size[1] // patch
    assert model.grid == grid
    expected = F.unfold(image, patch, stride=patch).unflatten(-1, grid)
    assert torch.equal(model.cut(image), expected)


@pytest.mark.slide("30")
def test_projecting_patches_is_a_convolution_as_wide_as_its_stride():
    model = captioner("only transformers")
    image = picture("only transformers", 2)
    kernel = model.encode_grid.project.weight.reshape(8, 3, 2, 2)
    standard = model.encode_grid.standardise
    expected = F.conv2d(image, kernel, stride=2)
    # Standardising each of a patch's numbers first is another kernel and another bias.
    scale = (standard.running_var + standard.eps).rsqrt()
    kernel = kernel * scale.reshape(1, 3, 2, 2)
    bias = model.encode_grid.project.bias - (kernel.flatten(1) @ standard.running_mean)
    expected = F.conv2d(image, kernel, bias, stride=2)
    torch.testing.assert_close(model.encode_grid.project(standard(model.cut(image))), expected)


@pytest.mark.slide("29")
def test_the_points_of_the_grid_have_learned_of_one_another():
    """c = T_w(z): every point of c depends on every point of z."""
    model, z = captioner("transformer"), picture("transformer", 1).requires_grad_()
    c = model.encode(z)[0]
    for point in (0, 7, 14):
        (gradient,) = torch.autograd.grad(c[point].square().sum(), z, retain_graph=True)
        assert (gradient[0].abs().sum(0) > 0).all()


def test_words_are_read_in_their_order():
    model, z = captioner("transformer"), picture("transformer", 1)
    captions = torch.tensor([[1, 4, 5, 6]])
    with torch.no_grad():
        last = model(z, captions)[0][:, -1]
        assert not torch.allclose(model(z, captions[:, [0, 2, 1, 3]])[0][:, -1], last)


def test_dropout_is_for_training_alone():
    model, z, captions = captioner("transformer"), picture("transformer", 2), sentences(2, 5)
    assert torch.equal(model(z, captions)[0], model(z, captions)[0])
    torch.manual_seed(0)
    assert not torch.equal(model.train()(z, captions)[0], model(z, captions)[0])


@pytest.mark.slide("29", "30")
def test_more_words_than_there_are_positions_are_refused():
    model, z = captioner("transformer"), picture("transformer", 1)
    assert model(z, sentences(1, 20))[0].shape[1] == 20
    with pytest.raises(ValueError, match="captions: got 21 words, expected at most max_length=20"):
        model(z, sentences(1, 21))
    assert greedy(model, z, max_length=20).words.shape[1] <= 20


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"heads": 3}, "heads: got 3, expected a divisor of dim, 8"),
        ({"encoder_layers": 0}, "encoder_layers: got 0"),
        ({"decoder_layers": 0}, "decoder_layers: got 0"),
        ({"max_length": 0}, "max_length: got 0"),
        ({"vocab_size": 0}, "vocab_size: got 0"),
        ({"features": 0}, "features: got 0"),
        ({"grid": (3, 0)}, "width: got 0"),
        ({"dropout": 1.5}, "dropout"),
    ],
)
def test_refuses_sizes_that_cannot_be(change, message):
    with pytest.raises(ValueError, match=message):
        CaptionTransformer(**{**SIZES, "dim": 8, "heads": 2, **change})


@pytest.mark.parametrize("size", [(7, 10), (6, 9)])
def test_refuses_images_that_patches_do_not_fill(size):
    with pytest.raises(ValueError, match=f"image_size: got {size[0]} × {size[1]} pixels, expected multiples of"):
        ViTCaptioner(9, size, patch_size=2)


@pytest.mark.parametrize("shape", [(2, 3, 7, 10), (2, 3, 6, 12), (2, 4, 6, 10), (3, 6, 10), (2, 3, 10, 6)])
def test_refuses_other_images_by_their_size(shape):
    with pytest.raises(ValueError, match=r"image: got .*expected \(batch, 3, 6, 10\)"):
        captioner("only transformers")(torch.zeros(shape, dtype=torch.float64), sentences(shape[0], 3))


def test_has_as_many_parameters_as_the_layers_of_vaswani_et_al():
    """12 d² + 13 d for a layer of the encoder with hidden = 4 d, 16 d² + 19 d for one of the decoder."""
    d = 16
    model = CaptionTransformer(10, FEATURES, GRID, dim=d, heads=2, mlp_dim=4 * d, encoder_layers=3, decoder_layers=2)
    count = lambda part: sum(weights.numel() for weights in part.parameters())  # noqa: E731
    assert count(model.encoder) == 3 * (12 * d * d + 13 * d)
    assert count(model.decoder) == 2 * (16 * d * d + 19 * d)
