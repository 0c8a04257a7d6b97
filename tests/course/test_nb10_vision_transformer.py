"""What students write for notebook 10: right in several ways, and wrong in many (`test_all.py` judges them)."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import vit_b_32, vit_l_32

from lecture_course.engine import values
from lecture_course.engine.definitions import Exercise
from lecture_course.engine.running import answers
from lecture_course.nb10_vision_transformer.exercises import EXERCISES, growth_with_smaller_patches, tokens_of
from lecture_utils.transformers import MultiHeadAttention, ViT

# 10.words, right


def words_by_repeating(patches, class_token, positions):
    tokens = class_token.repeat(patches.shape[0], 1, 1)
    return torch.cat((tokens, patches), 1) + positions


def words_by_filling(patches, class_token, positions):
    words = torch.empty(len(patches), 1 + patches.shape[1], patches.shape[2])
    words[:, 0] = class_token[0, 0]
    words[:, 1:] = patches
    return words + positions


# 10.words, wrong


def words_without_places(patches, class_token, positions):
    return torch.cat([class_token.expand(patches.shape[0], 1, -1), patches], dim=1)


def words_with_token_behind(patches, class_token, positions):
    return torch.cat([patches, class_token.expand(patches.shape[0], 1, -1)], dim=1) + positions


def words_with_bare_token(patches, class_token, positions):
    return torch.cat([class_token.expand(patches.shape[0], 1, -1), patches + positions[:, 1:]], dim=1)


def words_shifted(patches, class_token, positions):
    return tokens_of(patches, class_token, positions.roll(1, 1))


def words_summed(patches, class_token, positions):
    return patches + class_token + positions[:, 1:]


def words_without_token(patches, class_token, positions):
    return patches + positions[:, 1:]


def words_multiplied(patches, class_token, positions):
    return words_without_places(patches, class_token, positions) * positions


def words_for_one(patches, class_token, positions):
    return torch.cat([class_token, patches], dim=1) + positions


def words_in_place(patches, class_token, positions):
    patches += positions[:, 1:]
    return torch.cat([(class_token + positions[:, :1]).expand(len(patches), 1, -1), patches], dim=1)


# 10.resize, right


def resize_by_permuting(positions, before, after):
    d = positions.shape[2]
    grid = positions[:, 1:].reshape(1, before[0], before[1], d).permute(0, 3, 1, 2)
    grid = F.interpolate(grid, size=after, mode="bicubic", align_corners=True)
    return torch.cat([positions[:, :1], grid.permute(0, 2, 3, 1).reshape(1, -1, d)], dim=1)


def resize_by_flattening(positions, before, after):
    token, places = positions.split([1, before[0] * before[1]], dim=1)
    grid = F.interpolate(places.transpose(1, 2).unflatten(2, before), after, mode="bicubic", align_corners=True)
    return torch.cat([token, grid.flatten(2).transpose(1, 2)], dim=1)


def resize_one_axis_at_a_time(positions, before, after):
    grid = positions[:, 1:].transpose(1, 2).unflatten(2, before)
    grid = F.interpolate(grid, (after[0], before[1]), mode="bicubic", align_corners=True)
    grid = F.interpolate(grid, after, mode="bicubic", align_corners=True)
    return torch.cat([positions[:, :1], grid.flatten(2).transpose(1, 2)], dim=1)


# 10.resize, wrong


def resized(positions, before, after, **how):
    grid = positions[:, 1:].transpose(1, 2).unflatten(2, before)
    grid = F.interpolate(grid, size=after, **how)
    return torch.cat([positions[:, :1], grid.flatten(2).transpose(1, 2)], dim=1)


def resize_by_default(positions, before, after):
    return resized(positions, before, after, mode="bicubic")


def resize_bilinear(positions, before, after):
    return resized(positions, before, after, mode="bilinear", align_corners=True)


def resize_bilinear_by_default(positions, before, after):
    return resized(positions, before, after, mode="bilinear")


def resize_nearest(positions, before, after):
    return resized(positions, before, after)


def resize_turned(positions, before, after):
    d = positions.shape[2]
    grid = positions[:, 1:].reshape(1, before[1], before[0], d).permute(0, 3, 2, 1)
    grid = F.interpolate(grid, size=after, mode="bicubic", align_corners=True)
    return torch.cat([positions[:, :1], grid.permute(0, 2, 3, 1).reshape(1, -1, d)], dim=1)


def resize_out_by_columns(positions, before, after):
    d = positions.shape[2]
    grid = positions[:, 1:].reshape(1, before[0], before[1], d).permute(0, 3, 1, 2)
    grid = F.interpolate(grid, size=after, mode="bicubic", align_corners=True)
    return torch.cat([positions[:, :1], grid.permute(0, 3, 2, 1).reshape(1, -1, d)], dim=1)


def resize_everything_in_a_row(positions, before, after):
    row = positions.transpose(1, 2)
    return F.interpolate(row, size=1 + after[0] * after[1], mode="linear", align_corners=True).transpose(1, 2)


def resize_patches_in_a_row(positions, before, after):
    row = positions[:, 1:].transpose(1, 2)
    row = F.interpolate(row, size=after[0] * after[1], mode="linear", align_corners=True).transpose(1, 2)
    return torch.cat([positions[:, :1], row], dim=1)


def resize_without_token(positions, before, after):
    return resize_by_permuting(positions, before, after)[:, 1:]


def resize_token_last(positions, before, after):
    new = resize_by_permuting(positions, before, after)
    return torch.cat([new[:, 1:], new[:, :1]], dim=1)


def resize_to_a_grid(positions, before, after):
    return resize_by_permuting(positions, before, after)[:, 1:].unflatten(1, after)


def resize_to_a_square(positions, before, after):
    return resize_by_permuting(positions, before, (after[0], after[0]))


# 10.rollout, right


def rollout_by_loop(maps):
    identity = torch.eye(maps.shape[-1])
    flow = identity
    for layer in range(maps.shape[1]):
        flow = (maps[:, layer].mean(dim=1) + identity) / 2 @ flow
    return flow


def rollout_by_normalising(maps):
    mixed = maps.mean(dim=2) + torch.eye(maps.shape[-1])
    mixed = mixed / mixed.sum(dim=-1, keepdim=True)
    flow = mixed[:, 0]
    for layer in range(1, maps.shape[1]):
        flow = torch.bmm(mixed[:, layer], flow)
    return flow


def rollout_from_the_top(maps):
    mixed = 0.5 * (maps.mean(dim=2) + torch.eye(maps.shape[-1]))
    flow = mixed[:, -1]
    for layer in reversed(range(maps.shape[1] - 1)):
        flow = flow @ mixed[:, layer]
    return flow


# 10.rollout, wrong


def rolled(maps, step, heads=None, order=1):
    layers = (maps.mean(2) if heads is None else heads(maps)).unbind(1)
    flow = torch.eye(maps.shape[-1])
    for weights in layers[::order]:
        flow = step(weights) @ flow
    return flow


def rollout_without_residual(maps):
    return rolled(maps, lambda weights: weights)


def rollout_without_halving(maps):
    return rolled(maps, lambda weights: weights + torch.eye(weights.shape[-1]))


def rollout_backwards(maps):
    return rolled(maps, lambda weights: (weights + torch.eye(weights.shape[-1])) / 2, order=-1)


def rollout_by_strongest(maps):
    return rolled(maps, lambda weights: (weights + torch.eye(weights.shape[-1])) / 2, lambda x: x.max(dim=2).values)


def rollout_summed_heads(maps):
    return rolled(maps, lambda weights: (weights + torch.eye(weights.shape[-1])) / 2, lambda x: x.sum(2))


def rollout_averaged(maps):
    return (maps.mean((1, 2)) + torch.eye(maps.shape[-1])) / 2


def rollout_of_the_last(maps):
    return (maps[:, -1].mean(1) + torch.eye(maps.shape[-1])) / 2


def rollout_bare_last(maps):
    return maps[:, -1].mean(1)


def rollout_turned(maps):
    return rollout_by_loop(maps).transpose(1, 2)


def rollout_residual_late(maps):
    return (rollout_without_residual(maps) + torch.eye(maps.shape[-1])) / 2


def rollout_entry_by_entry(maps):
    return ((maps.mean(2) + torch.eye(maps.shape[-1])) / 2).prod(dim=1)


def rollout_of_the_class_token(maps):
    return rollout_by_loop(maps)[:, 0]


def rollout_in_numpy(maps):
    return np.asarray(rollout_by_loop(maps).tolist()).sum()


RIGHT = {
    "10.projection": [3_146_752, 3_146_752.0],
    "10.words": [words_by_repeating, words_by_filling],
    "10.larger": [145, 145.0],
    "10.resize": [resize_by_permuting, resize_by_flattening, resize_one_axis_at_a_time],
    "10.rollout": [rollout_by_loop, rollout_by_normalising, rollout_from_the_top],
    "10.smaller_patches": [(4, 16), [4, 16]],
}

WRONG = {
    "10.projection": [
        (3_145_728, "has a bias"),
        (1_048_576, "three numbers"),
        (1_049_600, "three numbers"),
        (49 * 3_146_752, "serves every patch"),
        (49 * 3_145_728, "serves every patch"),
        (32 * 3 * 1024 + 1024, "32 · 32 pixels"),
        (1024, ""),
    ],
    "10.words": [
        (words_without_places, "positions are missing"),
        (words_with_token_behind, "after the patches"),
        (words_with_bare_token, "the class token has none"),
        (words_shifted, "of their neighbours"),
        (words_summed, "added to every patch"),
        (words_without_token, "class token is missing"),
        (words_multiplied, "positions are added"),
        (words_for_one, "RuntimeError"),
        (words_in_place, "writes into its input"),
    ],
    "10.larger": [
        (144, "one token more"),
        (577, "larger ones"),
        (50, "224"),
        (13, "count all"),
        (384, ""),
    ],
    "10.resize": [
        (resize_by_default, "align_corners=True"),
        (resize_bilinear, "bicubic"),
        (resize_bilinear_by_default, "bicubic"),
        (resize_nearest, "nearest"),
        (resize_turned, "row by row"),
        (resize_out_by_columns, "column by column"),
        (resize_everything_in_a_row, "keep it apart"),
        (resize_patches_in_a_row, "one long row"),
        (resize_without_token, "is lost"),
        (resize_token_last, "come last"),
        (resize_to_a_grid, "shape"),
        (resize_to_a_square, "shape"),
    ],
    "10.rollout": [
        (rollout_without_residual, "do not keep anything"),
        (rollout_without_halving, "half of each"),
        (rollout_backwards, "wrong order"),
        (rollout_by_strongest, "strongest head"),
        (rollout_summed_heads, "average them"),
        (rollout_averaged, "layers are averaged"),
        (rollout_of_the_last, "last layer alone"),
        (rollout_bare_last, "last layer alone"),
        (rollout_turned, "exchanged"),
        (rollout_residual_late, "every layer"),
        (rollout_entry_by_entry, "matrix product"),
        (rollout_of_the_class_token, "axis"),
        (rollout_in_numpy, "tensor"),
    ],
    "10.smaller_patches": [
        ((2, 4), "in place of one"),
        ((4, 4), "how many pairs"),
        ((4, 8), "how many times as many"),
        ((16, 16), "each token alone"),
        ((16, 4), "other way round"),
        ((4, 1), ""),
    ],
}


def test_every_mistake_is_one_and_each_is_another():
    """A sentence whose function were right, or equal to one before it, could never be shown."""
    for exercise in (found for found in EXERCISES if isinstance(found, Exercise)):
        cases = exercise.cases(torch.Generator().manual_seed(1))
        seen = [[call.value for call in answers(exercise.reference, cases)]]
        for mistake in exercise.mistakes:
            given = [call.value for call in answers(mistake.function, cases) if call.error is None]
            assert given, mistake.says
            assert not any(values.same(given, other) for other in seen), mistake.says
            seen.append(given)


@pytest.mark.slide("31")
def test_what_is_predicted_holds_of_torchvision():
    with torch.device("meta"):
        large, larger = vit_l_32(), vit_b_32(image_size=384)
    assert sum(p.numel() for p in large.conv_proj.parameters()) in RIGHT["10.projection"]
    assert larger.encoder.pos_embedding.shape[1] in RIGHT["10.larger"]


@pytest.mark.slide("31", "32")
def test_smaller_patches_grow_as_counted():
    """The counter of torch on one MLP and on the two products of one attention."""
    counts = []
    for patch in (16, 8):
        n = (224 // patch) ** 2
        with torch.device("meta"):
            block, x = ViT.paper("B/16").blocks[0], torch.empty(1, n, 768)
        with FlopCounterMode(display=False) as mlp:
            block.mlp(x)
        with FlopCounterMode(display=False) as looking:
            block.attend(x)
        linear = 2 * 4 * n * 768**2  # queries, keys, values and the way out
        counts.append((mlp.get_total_flops(), looking.get_total_flops() - linear))
    (mlp, looking), (more_mlp, more_looking) = counts
    assert (more_mlp // mlp, more_looking // looking) == growth_with_smaller_patches()
    assert isinstance(block.attend, MultiHeadAttention)


@pytest.mark.slide("31")
def test_the_words_are_those_of_the_model():
    model = ViT(num_classes=2, image_size=(8, 12), patch_size=4, dim=6, depth=1, heads=2)
    image = torch.randn(3, 3, 8, 12)
    patches = model.patch_embed(image).flatten(2).transpose(1, 2)
    torch.testing.assert_close(tokens_of(patches, model.class_token, model.pos_embed), model.embed(image))
