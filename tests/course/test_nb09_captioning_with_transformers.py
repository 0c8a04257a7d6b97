"""What students write for notebook 09: right in several ways, and wrong in many (`test_all.py` judges them)."""

import math

import pytest
import torch
import torch.nn.functional as F
from einops import rearrange

from lecture_course.engine.definitions import Exercise
from lecture_course.nb09_captioning_with_transformers.exercises import (
    EXERCISES,
    cut,
    map_of_point,
    masked_weights,
    split_heads,
)
from lecture_utils.captioning import ViTCaptioner
from lecture_utils.transformers import GridSelfAttention, MultiHeadAttention, attention

# 09.attention, right


def attend_by_einsum(queries, keys, values):
    scores = torch.einsum("...qd,...kd->...qk", queries, keys) / math.sqrt(queries.shape[-1])
    weights = torch.softmax(scores, dim=-1)
    return torch.einsum("...qk,...kv->...qv", weights, values), weights


def attend_by_exp(queries, keys, values):
    scores = queries @ keys.transpose(-1, -2) * queries.size(-1) ** -0.5
    powers = torch.exp(scores - scores.max(dim=-1, keepdim=True).values)
    weights = powers / powers.sum(dim=-1, keepdim=True)
    return weights @ values, weights


def attend_by_torch(queries, keys, values):
    one_each = torch.eye(keys.shape[-2]).expand(*keys.shape[:-1], -1)
    weights = F.scaled_dot_product_attention(queries, keys, one_each)
    return F.scaled_dot_product_attention(queries, keys, values), weights


# 09.attention, wrong


def attend_over_queries(queries, keys, values):
    weights = F.softmax(queries @ keys.transpose(-1, -2) / math.sqrt(queries.shape[-1]), dim=-2)
    return weights @ values, weights


def attend_unscaled(queries, keys, values):
    weights = torch.softmax(queries @ keys.transpose(-2, -1), -1)
    return weights @ values, weights


def attend_by_d(queries, keys, values):
    weights = torch.softmax(queries @ keys.transpose(-2, -1) / queries.shape[-1], -1)
    return weights @ values, weights


def attend_by_keys(queries, keys, values):
    weights = torch.softmax(queries @ keys.transpose(-2, -1) / math.sqrt(keys.shape[-2]), -1)
    return weights @ values, weights


def attend_scaled_late(queries, keys, values):
    weights = torch.softmax(queries @ keys.transpose(-2, -1), -1) / math.sqrt(queries.shape[-1])
    return weights @ values, weights


def attend_without_softmax(queries, keys, values):
    weights = queries @ keys.transpose(-2, -1) / math.sqrt(queries.shape[-1])
    return weights @ values, weights


def attend_mixing_keys(queries, keys, values):
    _, weights = attend_by_exp(queries, keys, values)
    return weights @ keys, weights


def attend_the_other_way(queries, keys, values):
    mixed, weights = attend_by_exp(queries, keys, values)
    return weights, mixed


def attend_to_one(queries, keys, values):
    return attend_by_exp(queries, keys, values)[0]


def attend_by_t(queries, keys, values):
    weights = torch.softmax(queries @ keys.T / math.sqrt(queries.shape[-1]), -1)
    return weights @ values, weights


def attend_in_place(queries, keys, values):
    queries /= math.sqrt(queries.shape[-1])
    weights = torch.softmax(queries @ keys.transpose(-2, -1), -1)
    return weights @ values, weights


def attend_with_scores(queries, keys, values):
    scores = queries @ keys.transpose(-2, -1) / math.sqrt(queries.shape[-1])
    return scores.softmax(-1) @ values, scores


# 09.map_of_point, right


def map_by_einsum(queries, keys, at):
    scores = torch.einsum("bc,bchw->bhw", queries[:, :, at[0], at[1]], keys)
    return scores.flatten(1).softmax(1).view(scores.shape)


def map_by_table(queries, keys, at):
    b, _, h, w = keys.shape
    scores = queries.flatten(2).transpose(1, 2) @ keys.flatten(2)
    return scores.softmax(-1)[:, at[0] * w + at[1]].reshape(b, h, w)


def map_by_exp(queries, keys, at):
    powers = (queries[:, :, at[0] : at[0] + 1, at[1] : at[1] + 1] * keys).sum(dim=1).exp()
    return powers / powers.sum(dim=(1, 2), keepdim=True)


# 09.map_of_point, wrong


def map_of_lookers(queries, keys, at):
    return map_by_einsum(keys, queries, at)


def map_along_rows(queries, keys, at):
    return torch.einsum("bc,bchw->bhw", queries[:, :, at[0], at[1]], keys).softmax(-1)


def map_turned(queries, keys, at):
    return map_by_einsum(queries, keys, at[::-1])


def map_of_queries(queries, keys, at):
    return map_by_einsum(queries, queries, at)


def map_scaled(queries, keys, at):
    return map_by_einsum(queries / math.sqrt(queries.shape[1]), keys, at)


def map_without_softmax(queries, keys, at):
    return torch.einsum("bc,bchw->bhw", queries[:, :, at[0], at[1]], keys)


def map_over_the_batch(queries, keys, at):
    return torch.softmax(map_without_softmax(queries, keys, at), dim=0)


def map_by_column_of_the_table(queries, keys, at):
    scores = queries.flatten(2).transpose(1, 2) @ keys.flatten(2)
    return scores.softmax(-1)[:, :, at[0] * keys.shape[3] + at[1]].reshape(len(keys), *keys.shape[2:])


def map_flat(queries, keys, at):
    return map_by_einsum(queries, keys, at).flatten(1)


def map_with_channels(queries, keys, at):
    return map_by_einsum(queries, keys, at)[:, None]


def map_by_height(queries, keys, at):
    b, _, h, w = keys.shape
    scores = queries.flatten(2).transpose(1, 2) @ keys.flatten(2)
    return scores.softmax(-1)[:, at[0] * h + at[1]].reshape(b, h, w)


def map_of_one(queries, keys, at):
    return map_by_einsum(queries[:1], keys[:1], at)


# 09.split_heads, right


def split_by_transpose(x, heads):
    b, n, d = x.shape
    return x.view(b, n, heads, d // heads).transpose(1, 2)


def split_by_chunks(x, heads):
    return torch.stack(x.chunk(heads, dim=-1), dim=1)


# 09.split_heads, wrong


def split_by_reshape(x, heads):
    b, n, d = x.shape
    return x.reshape(b, heads, n, d // heads)


def split_unmoved(x, heads):
    b, n, d = x.shape
    return x.reshape(b, n, heads, d // heads)


def split_every_other(x, heads):
    return torch.stack([x[:, :, i::heads] for i in range(heads)], dim=1)


def split_turned(x, heads):
    return split_by_transpose(x, heads).transpose(-1, -2)


def split_before_the_batch(x, heads):
    return torch.stack(x.chunk(heads, dim=-1))


def split_into_the_batch(x, heads):
    return split_by_transpose(x, heads).flatten(0, 1)


def split_by_two(x, heads):
    return split_by_transpose(x, 2)


def split_into_a_list(x, heads):
    return list(x.chunk(heads, dim=-1))


def split_words(x, heads):
    return torch.stack(x.chunk(heads, dim=1), dim=1)


# 09.causal_mask, right


def mask_by_comparison(length):
    place = torch.arange(length)
    return place[:, None] >= place


def mask_by_loops(length):
    mask = torch.zeros(length, length, dtype=torch.bool)
    for t in range(length):
        mask[t, : t + 1] = True
    return mask


# 09.causal_mask, wrong


def mask_upper(length):
    return torch.triu(torch.ones(length, length)).bool()


def mask_strict(length):
    return torch.tril(torch.ones(length, length), diagonal=-1).bool()


def mask_of_the_hidden(length):
    return torch.triu(torch.ones(length, length, dtype=torch.bool), diagonal=1)


def mask_of_nothing(length):
    return torch.ones(length, length, dtype=torch.bool)


def mask_one_ahead(length):
    place = torch.arange(length)
    return place <= place[:, None] + 1


def mask_of_numbers(length):
    return torch.tril(torch.ones(length, length))


def mask_of_infinities(length):
    return torch.nn.Transformer.generate_square_subsequent_mask(length)


def mask_too_large(length):
    return mask_by_loops(length + 1)


def mask_with_a_batch(length):
    return mask_by_loops(length)[None]


# 09.masked_weights, right


def weights_by_where(scores, mask):
    return torch.softmax(torch.where(mask, scores, torch.tensor(float("-inf"))), dim=-1)


def weights_by_dividing(scores, mask):
    powers = (scores - scores.amax(-1, keepdim=True)).exp() * mask
    return powers / powers.sum(-1, keepdim=True)


def weights_by_adding(scores, mask):
    return (scores + torch.zeros_like(scores).masked_fill(~mask, float("-inf"))).softmax(-1)


# 09.masked_weights, wrong


def weights_masked_late(scores, mask):
    return torch.softmax(scores, -1).masked_fill(~mask, 0)


def weights_of_zeros(scores, mask):
    return scores.masked_fill(~mask, 0).softmax(-1)


def weights_inverted(scores, mask):
    return scores.masked_fill(mask, float("-inf")).softmax(-1)


def weights_unmasked(scores, mask):
    return scores.softmax(-1)


def weights_plus_mask(scores, mask):
    return (scores + mask.float()).softmax(-1)


def weights_over_queries(scores, mask):
    return scores.masked_fill(~mask, float("-inf")).softmax(-2)


def weights_times_infinity(scores, mask):
    return (scores + (~mask) * float("-inf")).softmax(-1)


def weights_in_place(scores, mask):
    scores[~mask] = float("-inf")
    return scores.softmax(-1)


def weights_without_softmax(scores, mask):
    return scores.masked_fill(~mask, float("-inf"))


def weights_not_so_small(scores, mask):
    return scores.masked_fill(~mask, -10).softmax(-1)


# 09.cut, right


def cut_by_permuting(image, patch):
    b, c, height, width = image.shape
    h, w = height // patch, width // patch
    x = image.reshape(b, c, h, patch, w, patch).permute(0, 2, 4, 1, 3, 5)
    return x.reshape(b, h * w, c * patch * patch)


def cut_by_torch(image, patch):
    return F.unfold(image, patch, stride=patch).transpose(1, 2)


def cut_by_loops(image, patch):
    patches = []
    for y in range(0, image.shape[2], patch):
        for x in range(0, image.shape[3], patch):
            patches.append(image[:, :, y : y + patch, x : x + patch].flatten(1))
    return torch.stack(patches, dim=1)


# 09.cut, wrong


def cut_by_reshape(image, patch):
    b, c, height, width = image.shape
    return image.reshape(b, (height // patch) * (width // patch), c * patch * patch)


def cut_by_unfold(image, patch):
    b, c, height, width = image.shape
    x = image.unfold(2, patch, patch).unfold(3, patch, patch)
    return x.reshape(b, (height // patch) * (width // patch), c * patch * patch)


def cut_by_columns(image, patch):
    patches = []
    for x in range(0, image.shape[3], patch):
        for y in range(0, image.shape[2], patch):
            patches.append(image[:, :, y : y + patch, x : x + patch].flatten(1))
    return torch.stack(patches, dim=1)


def cut_channels_last(image, patch):
    return rearrange(image, "b c (h p1) (w p2) -> b (h w) (p1 p2 c)", p1=patch, p2=patch)


def cut_turned(image, patch):
    patches = cut_by_permuting(image, patch).unflatten(-1, (-1, patch, patch))
    return patches.transpose(-1, -2).flatten(2)


def cut_and_left(image, patch):
    return F.unfold(image, patch, stride=patch)


def cut_as_a_grid(image, patch):
    h, w = image.shape[2] // patch, image.shape[3] // patch
    return cut_by_permuting(image, patch).unflatten(1, (h, w))


def cut_each_channel(image, patch):
    return cut_by_permuting(image.flatten(0, 1)[:, None], patch).unflatten(0, image.shape[:2]).flatten(1, 2)


def cut_overlapping(image, patch):
    return F.unfold(image, patch).transpose(1, 2)


def cut_the_first(image, patch):
    return cut_by_permuting(image[:1], patch)


RIGHT = {
    "09.attention": [attend_by_einsum, attend_by_exp, attend_by_torch],
    "09.parameters": [8193, 8193.0],
    "09.map_of_point": [map_by_einsum, map_by_table, map_by_exp],
    "09.split_heads": [split_by_transpose, split_by_chunks],
    "09.causal_mask": [mask_by_comparison, mask_by_loops],
    "09.masked_weights": [weights_by_where, weights_by_dividing, weights_by_adding],
    "09.cut": [cut_by_permuting, cut_by_torch, cut_by_loops],
}

WRONG = {
    "09.attention": [
        (attend_over_queries, "runs over the queries"),
        (attend_unscaled, "not divided by √d"),
        (attend_by_d, "the root of d"),
        (attend_by_keys, "number of keys"),
        (attend_scaled_late, "after the softmax"),
        (attend_without_softmax, "no softmax"),
        (attend_mixing_keys, "mix the keys"),
        (attend_the_other_way, "another order"),
        (attend_to_one, "2 values"),
        (attend_by_t, "RuntimeError"),
        (attend_in_place, "writes into its input"),
        (attend_with_scores, "come the scores"),
    ],
    "09.parameters": [
        (8192, "γ"),
        (8369, "bias"),
        (6145, "fourth"),
        (20_481, "C / 8"),
        (65_537, "C / 8"),
        (64, ""),
    ],
    "09.map_of_point": [
        (map_of_lookers, "who attends to this point"),
        (map_along_rows, "each row of the grid"),
        (map_turned, "exchanged"),
        (map_of_queries, "hold out their keys"),
        (map_scaled, "√c"),
        (map_without_softmax, "softmax over all points is missing"),
        (map_over_the_batch, "over the batch"),
        (map_by_column_of_the_table, "a column of the weights"),
        (map_flat, "shape"),
        (map_with_channels, "one axis too many"),
        (map_by_height, "square"),
        (map_of_one, "one of the batch"),
    ],
    "09.split_heads": [
        (split_by_reshape, "mixes words and heads"),
        (split_unmoved, "still come before"),
        (split_every_other, "lie together"),
        (split_turned, "exchanged"),
        (split_before_the_batch, "the batch stays"),
        (split_into_the_batch, "keep them apart"),
        (split_by_two, "`heads`"),
        (split_into_a_list, "values"),
        (split_words, ""),
    ],
    "09.causal_mask": [
        (mask_upper, "other triangle"),
        (mask_strict, "does not see itself"),
        (mask_of_the_hidden, "where a word may attend"),
        (mask_of_nothing, "later ones must be hidden"),
        (mask_one_ahead, "sees the next one"),
        (mask_of_numbers, "truth values"),
        (mask_of_infinities, "added to the scores"),
        (mask_too_large, "one entry too long"),
        (mask_with_a_batch, "one axis too many"),
    ],
    "09.masked_weights": [
        (weights_masked_late, "do not sum to 1"),
        (weights_of_zeros, "score like any other"),
        (weights_inverted, "wrong ones are hidden"),
        (weights_unmasked, "nothing is hidden"),
        (weights_plus_mask, "adds 1"),
        (weights_over_queries, "over the queries"),
        (weights_times_infinity, "nan"),
        (weights_in_place, "writes into its input"),
        (weights_without_softmax, "softmax is missing"),
        (weights_not_so_small, "not small enough"),
    ],
    "09.cut": [
        (cut_by_reshape, "scrambles"),
        (cut_by_unfold, "channel axis still stands before"),
        (cut_by_columns, "column after column"),
        (cut_channels_last, "channels must come first"),
        (cut_turned, "turned"),
        (cut_and_left, "exchanged"),
        (cut_as_a_grid, "one axis"),
        (cut_each_channel, "patch of its own"),
        (cut_overlapping, ""),
        (cut_the_first, "one of the batch"),
    ],
}


@pytest.mark.slide("28")
@pytest.mark.slide("29")
@pytest.mark.slide("30")
def test_every_exercise_has_right_and_wrong_answers():
    for exercise in EXERCISES:
        assert len(RIGHT[exercise.name]) >= 2
        assert len(WRONG[exercise.name]) >= (5 if isinstance(exercise, Exercise) else 3)


@pytest.mark.slide("30")
def test_patches_are_cut_as_the_model_cuts_them():
    image = torch.rand(2, 3, 24, 40)
    model = ViTCaptioner(9, (24, 40), dim=4, heads=1, encoder_layers=1, decoder_layers=1)
    torch.testing.assert_close(cut(image, 8), model.cut(image).flatten(2).transpose(1, 2))


def test_heads_are_split_as_the_model_splits_them():
    torch.manual_seed(0)
    attend, x = MultiHeadAttention(12, 3), torch.rand(2, 5, 12)
    queries, keys = (split_heads(layer(x), 3) for layer in (attend.query, attend.key))
    torch.testing.assert_close(attend_by_exp(queries, keys, keys)[1], attend(x, need_weights=True)[1])


def test_references_are_the_packages_own():
    scores, mask, one_each = torch.randn(2, 3, 5), torch.rand(2, 3, 5) < 0.7, torch.eye(5).expand(2, 5, 5)
    mask[..., 0] = True
    torch.testing.assert_close(masked_weights(scores, mask), attention(scores, one_each, one_each, mask, scale=1.0)[1])
    look, x = GridSelfAttention(16), torch.rand(2, 16, 3, 4)
    weights = look(x)[1].view(2, 3, 4, 3, 4)
    torch.testing.assert_close(map_of_point(look.query(x), look.key(x), (1, 2)), weights[:, 1, 2])
