"""Attention against torch's own: the function, the heads, the blocks, and SAGAN's attention between points."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lecture_utils.transformers import (
    Block,
    GridPositions,
    GridSelfAttention,
    MultiHeadAttention,
    attention,
    causal_mask,
)


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@st.composite
def cases(draw):
    """Queries, keys, values, mask and scale: any leading axes, an empty batch too, masks that leave a query nothing."""
    lead = draw(st.sampled_from([(), (1,), (3,), (0,), (2, 3), (2, 0), (1, 2, 2)]))
    q, k, d, v = (draw(st.integers(1, most)) for most in (6, 7, 9, 5))
    seed = draw(st.integers(0, 10**6))
    dice = torch.Generator().manual_seed(seed)
    parts = [random(*lead, *shape, seed=seed + i) * draw(st.sampled_from([0.1, 1, 8])) for i, shape in
             enumerate([(q, d), (k, d), (k, v)])]  # fmt: skip
    masked = draw(st.sampled_from(["no", "each", "alike", "keys", "causal", "nothing"]))
    mask = {
        "no": None,
        "each": torch.rand(*lead, q, k, generator=dice) < 0.5,
        "alike": torch.rand(q, k, generator=dice) < 0.5,
        "keys": torch.rand(*lead, 1, k, generator=dice) < 0.7,
        "causal": torch.ones(q, k, dtype=torch.bool).tril(),
        "nothing": torch.zeros(q, k, dtype=torch.bool),
    }[masked]
    bias = random(*lead, q, k, seed=seed + 9) if draw(st.booleans()) else None
    return (*parts, mask, draw(st.sampled_from([None, 1.0, 0.3])), bias)


@pytest.mark.slide("28", "29")
@given(cases())
@settings(max_examples=300)
def test_attention_is_torchs(case):
    *parts, mask, scale, bias = case
    mixed, weights = attention(*parts, mask, scale=scale, bias=bias)
    added = mask
    if bias is not None:  # torch takes either a mask of truth values or numbers to add
        added = bias if mask is None else bias.masked_fill(~mask, -torch.inf)
    if parts[0].numel():
        reference = F.scaled_dot_product_attention(*parts, attn_mask=added, scale=scale)
    else:  # for no head at all PyTorch 2.10 divides by 0, and Python dies
        reference = parts[0].new_zeros(*parts[0].shape[:-1], parts[2].shape[-1])
    torch.testing.assert_close(mixed, reference)
    torch.testing.assert_close(weights @ parts[2], reference)
    assert (weights >= 0).all()
    may = torch.ones_like(weights, dtype=torch.bool) if mask is None else mask.expand_as(weights)
    assert not weights[~may].any()
    torch.testing.assert_close(weights.sum(-1), may.any(-1).double())


@pytest.mark.slide("28", "29")
@pytest.mark.parametrize("heads", [1, 2, 3])
@pytest.mark.parametrize("causal", [False, True])
def test_attention_is_torchs_with_heads_in_single_precision(heads, causal):
    torch.manual_seed(heads)
    q, k, v = (torch.randn(2, heads, 7, 4) for _ in range(3))
    mixed, _ = attention(q, k, v, causal_mask(7) if causal else None)
    torch.testing.assert_close(mixed, F.scaled_dot_product_attention(q, k, v, is_causal=causal))


def test_gradients_of_attention():
    q, k, v = random(2, 3, 4, seed=1), random(2, 5, 4, seed=2), random(2, 5, 2, seed=3)
    mask = torch.rand(2, 3, 5, generator=torch.Generator().manual_seed(0)) < 0.6
    mask[1, 2] = False  # this query may look nowhere: its gradient is 0, not nan
    for part in (q, k, v):
        part.requires_grad_()
    for given_mask in (None, mask):
        assert torch.autograd.gradcheck(lambda *parts, m=given_mask: attention(*parts, m), (q, k, v))


def test_large_scores_do_not_overflow():
    q = torch.full((1, 1, 4), 1e4)
    mixed, weights = attention(q, torch.cat([q, -q], dim=1), torch.tensor([[[1.0], [2.0]]]))
    assert weights.tolist() == [[[1.0, 0.0]]]
    assert mixed.item() == 1.0


@pytest.mark.parametrize(
    "shapes", [((2, 3, 4), (2, 5, 3), (2, 5, 4)), ((2, 3, 4), (2, 5, 4), (2, 6, 4)), ((3, 4), (5, 3), (5, 2))]
)
def test_refuses_what_does_not_fit_together(shapes):
    with pytest.raises(ValueError, match=r"(keys|values): got shape .*, expected .*, where queries"):
        attention(*map(torch.zeros, shapes))


@pytest.mark.slide("29")
@pytest.mark.parametrize("length", [0, 1, 5])
def test_the_causal_mask_is_torchs(length):
    theirs = nn.Transformer.generate_square_subsequent_mask(length)
    mask = causal_mask(length)
    assert mask.dtype == torch.bool
    assert torch.equal(mask, theirs == 0)


def load(theirs: nn.MultiheadAttention, ours: MultiHeadAttention) -> None:
    theirs.in_proj_weight.data = torch.cat([ours.query.weight, ours.key.weight, ours.value.weight]).data
    theirs.in_proj_bias.data = torch.cat([ours.query.bias, ours.key.bias, ours.value.bias]).data
    theirs.out_proj.load_state_dict(ours.out.state_dict())


@pytest.mark.slide("29")
@pytest.mark.parametrize("heads", [1, 2, 6])
@pytest.mark.parametrize("masked", ["no", "causal", "each"])
@pytest.mark.parametrize("batch", [0, 1, 3])
def test_heads_are_torchs(heads, masked, batch):
    torch.manual_seed(heads)
    ours = MultiHeadAttention(12, heads).double()
    theirs = nn.MultiheadAttention(12, heads, batch_first=True).double()
    load(theirs, ours)
    x = random(batch, 5, 12)
    mask = {"no": None, "causal": causal_mask(5)[None], "each": torch.rand(batch, 5, 5) < 0.7}[masked]
    if masked == "each":
        mask |= torch.eye(5, dtype=torch.bool)  # torch gives nan where a query may look nowhere
    their_mask = {"no": None, "causal": ~causal_mask(5)}.get(masked)
    if masked == "each":
        their_mask = ~mask.repeat_interleave(heads, 0)
    if not (batch == 0 and masked == "each"):
        expected, weights = theirs(x, x, x, attn_mask=their_mask, average_attn_weights=False)
        mixed, own = ours(x, mask=mask, need_weights=True)
        torch.testing.assert_close(mixed, expected)
        torch.testing.assert_close(own, weights)


@pytest.mark.slide("29")
def test_heads_look_at_a_memory_of_another_length():
    ours, theirs = MultiHeadAttention(8, 2).double(), nn.MultiheadAttention(8, 2, batch_first=True).double()
    load(theirs, ours)
    x, memory = random(3, 4, 8), random(3, 7, 8, seed=1)
    mask = torch.ones(3, 1, 7, dtype=torch.bool)
    mask[1, :, 5:] = False  # the second memory has five items
    expected, weights = theirs(x, memory, memory, key_padding_mask=~mask[:, 0], average_attn_weights=False)
    mixed, own = ours(x, memory, mask, need_weights=True)
    torch.testing.assert_close(mixed, expected)
    torch.testing.assert_close(own, weights)


@pytest.mark.slide("33")
def test_keys_may_be_made_of_something_else_than_values():
    ours, theirs = MultiHeadAttention(8, 2).double(), nn.MultiheadAttention(8, 2, batch_first=True).double()
    load(theirs, ours)
    x, memory, keys = random(3, 4, 8), random(3, 7, 8, seed=1), random(3, 7, 8, seed=2)
    expected, weights = theirs(x, keys, memory, average_attn_weights=False)
    mixed, own = ours(x, memory, keys=keys, need_weights=True)
    torch.testing.assert_close(mixed, expected)
    torch.testing.assert_close(own, weights)


@pytest.mark.slide("34")
def test_a_bias_of_the_keys_changes_nothing():
    with_bias, without = MultiHeadAttention(8, 2).double(), MultiHeadAttention(8, 2, key_bias=False).double()
    assert without.key.bias is None
    without.load_state_dict({k: v for k, v in with_bias.state_dict().items() if k != "key.bias"})
    x, bias = random(3, 5, 8), random(1, 2, 5, 5, seed=1)
    how = {"bias": bias, "need_weights": True}
    for a, b in zip(with_bias(x, **how), without(x, **how), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.slide("34")
@pytest.mark.parametrize("cross", [False, True])
def test_layer_scale_multiplies_what_each_part_adds(cross):
    torch.manual_seed(0)
    plain, scaled = (Block(8, 2, cross=cross, layer_scale=scale).double() for scale in (None, 1.0))
    scaled.load_state_dict(plain.state_dict(), strict=False)
    x, memory = random(3, 5, 8), random(3, 7, 8, seed=1) if cross else None
    torch.testing.assert_close(plain(x, memory)[0], scaled(x, memory)[0])
    for scale in scaled.scales:
        torch.nn.init.zeros_(scale)
    torch.testing.assert_close(scaled(x, memory)[0], x)
    assert len(list(scaled.scales)) == (3 if cross else 2)


def test_a_query_that_may_look_nowhere_gets_the_bias_alone():
    ours = MultiHeadAttention(8, 2).double()
    x, mask = random(1, 3, 8), torch.zeros(1, 3, 3, dtype=torch.bool)
    mixed, weights = ours(x, mask=mask, need_weights=True)
    assert not weights.any()
    for looked in (mixed, ours(x, mask=mask)[0]):
        torch.testing.assert_close(looked, ours.out.bias.expand(1, 3, 8))


@pytest.mark.slide("29", "34")
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("masked", ["no", "causal", "is_causal", "each", "alike", "keys", "nothing"])
@pytest.mark.parametrize(("batch", "length"), [(0, 5), (1, 1), (3, 7)])
def test_without_weights_the_same_comes_out_and_goes_back(batch, length, masked, biased):
    """By torch's `scaled_dot_product_attention`, which gives no weights, and by the formula, which does."""
    if masked == "is_causal" and biased:
        return
    torch.manual_seed(0)
    ours, x = MultiHeadAttention(12, 3).double(), random(batch, length, 12).requires_grad_()
    bias = random(1, 3, length, length, seed=1).requires_grad_() if biased else None
    mask = {
        "causal": causal_mask(length)[None],
        "each": torch.rand(batch, length, length) < 0.5,
        "alike": torch.rand(1, length, length) < 0.5,
        "keys": torch.rand(batch, 1, length) < 0.5,
        "nothing": torch.zeros(1, length, length, dtype=torch.bool),
    }.get(masked)
    how = {"is_causal": True} if masked == "is_causal" else {"mask": mask, "bias": bias}
    mixed, weights = ours(x, **how, need_weights=True)
    alone, none = ours(x, **how)
    assert none is None
    assert weights.shape == (batch, 3, length, length)
    torch.testing.assert_close(alone, mixed, rtol=1e-5, atol=1e-5)
    learns = [x, *ours.parameters(), *([bias] if biased else [])]
    ways = [torch.autograd.grad(y.square().sum(), learns, materialize_grads=True) for y in (alone, mixed)]
    torch.testing.assert_close(*ways)


@pytest.mark.parametrize("need_weights", [False, True])
def test_half_the_precision_gives_half_the_precision(need_weights):
    ours, x, bias = MultiHeadAttention(8, 2), torch.randn(2, 5, 8), torch.randn(1, 2, 5, 5)
    expected = ours(x, bias=bias)[0]
    with torch.autocast("cpu", torch.bfloat16):
        mixed, _ = ours(x, bias=bias.bfloat16(), need_weights=need_weights)
    assert mixed.dtype == torch.bfloat16
    torch.testing.assert_close(mixed.float(), expected, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("how", [{"mask": causal_mask(5)[None]}, {"bias": torch.zeros(1, 2, 5, 5)}])
def test_a_causal_look_takes_no_other_mask(how):
    with pytest.raises(ValueError, match="is_causal: got True and a mask or a bias, expected one of them"):
        MultiHeadAttention(8, 2)(torch.zeros(1, 5, 8), is_causal=True, **how)


def test_what_is_kept_for_the_gradient_does_not_grow_with_the_square_of_the_tokens():
    def kept(length, **how):
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(lambda x: sizes.append(x.numel()) or x, lambda x: x):
            Block(8, 2)(torch.randn(1, length, 8), **how)
        return max(sizes)

    assert kept(200) == 200 * 32  # the hidden layer of the MLP
    assert kept(200, is_causal=True) == 200 * 32
    assert kept(200, need_weights=True) == 2 * 200 * 200


@pytest.mark.parametrize(("dim", "heads"), [(8, 3), (8, 16), (8, 0), (0, 1)])
def test_refuses_heads_that_do_not_divide(dim, heads):
    with pytest.raises(ValueError, match=r"(heads|dim): got"):
        MultiHeadAttention(dim, heads)


def twin(block: Block, dim: int, hidden: int) -> nn.Module:
    """torch's layer with the same weights."""
    kind = nn.TransformerDecoderLayer if block.cross else nn.TransformerEncoderLayer
    layer = kind(dim, 2, hidden, 0.0, F.gelu, layer_norm_eps=1e-6, batch_first=True, norm_first=True).double()
    load(layer.self_attn, block.attend)
    norms = [block.norm_self, *([block.norm_cross] if block.cross else []), block.norm_mlp]
    for theirs, ours in zip((layer.norm1, layer.norm2, getattr(layer, "norm3", None)), norms, strict=False):
        theirs.load_state_dict(ours.state_dict())
    if block.cross:
        load(layer.multihead_attn, block.attend_memory)
    layer.linear1.load_state_dict(block.mlp[0].state_dict())
    layer.linear2.load_state_dict(block.mlp[-1].state_dict())
    return layer


@pytest.mark.slide("29")
@pytest.mark.parametrize("mlp_dim", [None, 20])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("cross", [False, True])
def test_a_block_is_torchs_layer(mlp_dim, masked, cross):
    torch.manual_seed(0)
    block = Block(8, 2, mlp_dim=mlp_dim, cross=cross).double()
    for parameter in block.parameters():  # also the norms' weights, which begin as ones and zeros
        parameter.data += 0.3 * torch.randn_like(parameter)
    layer = twin(block, 8, mlp_dim or 32)
    x, memory = random(3, 5, 8), random(3, 7, 8, seed=1)
    mask = causal_mask(5) if masked else None
    given_mask = None if mask is None else mask[None]
    if cross:
        out, weights = block(x, memory, mask=given_mask, need_weights=True)
        expected = layer(x, memory, tgt_mask=None if mask is None else ~mask)
        assert weights.shape == (3, 2, 5, 7)
    else:
        out, weights = block(x, mask=given_mask, need_weights=True)
        expected = layer(x, src_mask=None if mask is None else ~mask)
        assert weights.shape == (3, 2, 5, 5)
        assert masked == (not weights[..., 0, 1:].any())
    torch.testing.assert_close(out, expected)


def test_a_block_without_memory_refuses_one_and_the_other_needs_one():
    x = torch.zeros(1, 2, 8)
    with pytest.raises(ValueError, match="memory: expected one only for a block with cross=True"):
        Block(8, 2)(x, x)
    with pytest.raises(ValueError, match="memory: expected one for a block with cross=True"):
        Block(8, 2, cross=True)(x)


def test_gradients_of_a_block():
    torch.manual_seed(0)
    block = Block(4, 2, mlp_dim=3, cross=True).double()
    x, memory = random(1, 3, 4).requires_grad_(), random(1, 2, 4, seed=1).requires_grad_()
    for how in ({"mask": causal_mask(3)[None]}, {"is_causal": True}):
        assert torch.autograd.gradcheck(lambda a, b, how=how: block(a, b, **how)[0], (x, memory))
        assert torch.autograd.gradcheck(lambda a, b, how=how: block(a, b, **how, need_weights=True), (x, memory))


def test_dropout_is_for_training_alone():
    block, x = Block(8, 2, dropout=0.5), torch.ones(1, 3, 8)
    torch.manual_seed(0)
    assert not torch.equal(block(x)[0], block(x)[0])
    assert torch.equal(block.eval()(x)[0], block(x)[0])


@pytest.mark.parametrize("grid", [(3, 5), (1, 4), (6, 1)])
def test_places_are_a_row_and_a_column(grid):
    places = GridPositions(4, grid)
    z = torch.randn(2, 4, *grid)
    added = places(z) - z
    for row in range(grid[0]):
        for column in range(grid[1]):
            expected = places.rows[:, row, 0] + places.columns[:, 0, column]
            torch.testing.assert_close(added[1, :, row, column], expected, atol=1e-6, rtol=1e-5)
    distinct = {tuple(vector.tolist()) for vector in (places.rows + places.columns).flatten(1).T}
    assert len(distinct) == grid[0] * grid[1]  # every point is another


@pytest.mark.parametrize("shape", [(2, 4, 5, 3), (2, 3, 3, 5), (4, 3, 5), (2, 4, 3, 6)])
def test_places_refuse_another_grid(shape):
    with pytest.raises(ValueError, match=r"z: got .*expected \(b, 4, 3, 5\)"):
        GridPositions(4, (3, 5))(torch.zeros(shape))


@pytest.mark.slide("28")
def test_the_block_between_points_has_the_papers_parameters():
    """C = 64, C/8 = 8: four of 64 · 8, and γ."""
    assert sum(weights.numel() for weights in GridSelfAttention(64).parameters()) == 2049
    assert sum(w.numel() for w in GridSelfAttention(12, reduction=3).parameters()) == 4 * 12 * 4 + 1
    assert GridSelfAttention(4).query.out_channels == 1  # fewer channels than the reduction


@pytest.mark.slide("28")
def test_a_new_block_between_points_changes_nothing():
    x = torch.randn(2, 16, 3, 5)
    block = GridSelfAttention(16)
    out, weights = block(x)
    assert torch.equal(out, x)
    assert weights.shape == (2, 15, 15)
    out.sum().backward()
    assert block.gamma.grad.abs() > 0  # and can learn to


@pytest.mark.slide("28")
@pytest.mark.parametrize("size", [(3, 5), (1, 1), (7, 2), (4, 4)])
@pytest.mark.parametrize("batch", [0, 1, 3])
def test_the_block_between_points_is_torchs_attention(size, batch):
    torch.manual_seed(1)
    block = GridSelfAttention(16, reduction=4).double()
    block.gamma.data.fill_(0.7)
    x = random(batch, 16, *size)
    out, weights = block(x)
    q, k, v = (layer(x).flatten(2).transpose(1, 2) for layer in (block.query, block.key, block.value))
    mixed = F.scaled_dot_product_attention(q, k, v, scale=1.0)
    torch.testing.assert_close(out, x + 0.7 * block.out(mixed.transpose(1, 2).unflatten(2, size)))
    torch.testing.assert_close(weights.sum(2), torch.ones(batch, size[0] * size[1], dtype=torch.float64))
    torch.testing.assert_close(weights @ v, mixed)


@pytest.mark.slide("28")
def test_a_row_of_the_weights_is_where_a_point_looks():
    """In loops, over a grid that is not square: row · width + column."""
    torch.manual_seed(2)
    block = GridSelfAttention(6, reduction=2).double()
    x = random(1, 6, 2, 3)
    _, weights = block(x)
    q, k = block.query(x)[0], block.key(x)[0]
    for row in range(2):
        for column in range(3):
            scores = torch.stack([(q[:, row, column] * k[:, i, j]).sum() for i in range(2) for j in range(3)])
            torch.testing.assert_close(weights[0, row * 3 + column], scores.exp() / scores.exp().sum())


@pytest.mark.slide("28")
def test_the_block_between_points_is_the_papers_equations():
    """Section 3 in NumPy's loops: β_ji over i, o_j = W_v Σ_i β_ji W_h x_i, y_j = γ o_j + x_j."""
    torch.manual_seed(3)
    block = GridSelfAttention(6, reduction=2).double()
    block.gamma.data.fill_(-0.4)
    x = random(1, 6, 2, 3)
    points = x[0].flatten(1).numpy()
    layers = block.key, block.query, block.value, block.out
    w_f, w_g, w_h, w_v = (layer.weight.detach().numpy()[:, :, 0, 0] for layer in layers)
    expected = np.empty_like(points)
    for j in range(points.shape[1]):
        scores = np.array([(w_f @ points[:, i]) @ (w_g @ points[:, j]) for i in range(points.shape[1])])
        beta = np.exp(scores) / np.exp(scores).sum()
        mixed = sum(beta[i] * (w_h @ points[:, i]) for i in range(points.shape[1]))
        expected[:, j] = -0.4 * (w_v @ mixed) + points[:, j]
    np.testing.assert_allclose(block(x)[0][0].flatten(1).detach().numpy(), expected)


@pytest.mark.slide("28")
def test_the_block_between_points_sees_far():
    """Unlike a 3×3 convolution: every point of the output depends on every point of the input."""
    torch.manual_seed(0)
    block = GridSelfAttention(8, reduction=2).double()
    block.gamma.data.fill_(1.0)
    x = random(1, 8, 4, 5).requires_grad_()
    (gradient,) = torch.autograd.grad(block(x)[0][0, :, 0, 0].square().sum(), x)
    assert (gradient[0].abs().sum(0) > 0).all()


def test_gradients_of_the_block_between_points():
    torch.manual_seed(0)
    block = GridSelfAttention(3, reduction=1).double()
    block.gamma.data.fill_(0.5)
    assert torch.autograd.gradcheck(block, random(1, 3, 2, 3).requires_grad_())


@pytest.mark.parametrize("shape", [(2, 5, 3, 3), (8, 3, 3), (2, 8, 0, 3)])
def test_the_block_between_points_refuses_other_maps(shape):
    with pytest.raises(ValueError, match=r"got shape .*expected \(batch, 8, height, width\)"):
        GridSelfAttention(8)(torch.zeros(shape))


@pytest.mark.parametrize("arguments", [{"channels": 0}, {"channels": 8, "reduction": 0}])
def test_refuses_sizes_that_cannot_be(arguments):
    with pytest.raises(ValueError, match="got 0, expected a whole number of at least 1"):
        GridSelfAttention(**arguments)
