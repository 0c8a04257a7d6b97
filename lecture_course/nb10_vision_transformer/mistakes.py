"""The right answers of notebook 10 written out, the edits that make them wrong, and what each says to its author."""

import torch
import torch.nn.functional as F
from torch import Tensor

from lecture_course.engine.definitions import mistakes
from lecture_utils.transformers.vit import resize_pos_embed, rollout


def tokens_of(patches: Tensor, class_token: Tensor, positions: Tensor) -> Tensor:
    """What `ViT.embed` does after the projection: (b, n, d), (1, 1, d) and (1, 1 + n, d) → (b, 1 + n, d)."""
    first = class_token.expand(len(patches), -1, -1)
    return torch.cat([first, patches], dim=1) + positions


WORDS_MISTAKES = mistakes(
    tokens_of,
    {
        "+ positions → ": "The positions are missing: without them the patches are a heap without order.",
        "first, patches → patches, first": "The class token comes after the patches; it is the first token.",
        "+ positions → ; patches] → patches + positions[:, 1:]]": "The patches have their positions, the class token "
        "has none: it is a token like the others and gets the first.",
        "+ positions → + positions.roll(1, 1)": "The patches have the positions of their neighbours: the first "
        "position belongs to the class token.",
        "torch.cat([first, patches], dim=1) + positions → first + patches + positions[:, 1:]": "The class token is "
        "added to every patch; it is a token of its own, before them.",
        "first, patches → patches; + positions → + positions[:, 1:]": "The class token is missing: there must be one "
        "token more than patches.",
        "+ positions → * positions": "The tokens are multiplied with their positions; positions are added.",
    },
)


def in_a_row(positions: Tensor, number: int) -> Tensor:
    return F.interpolate(positions.mT, size=number, mode="linear", align_corners=True).mT


RESIZE_MISTAKES = mistakes(
    resize_pos_embed,
    {
        ", align_corners=True → ": "Between the corners the values are off: keep the corners in place with "
        "align_corners=True.",
        "bicubic → bilinear": 'That is mode="bilinear"; take "bicubic".',
        "bicubic → bilinear; , align_corners=True → ": 'That is mode="bilinear" without align_corners; take "bicubic".',
        "'bicubic', align_corners=True → 'nearest'": 'That repeats the nearest position; mode="bicubic" draws a curve '
        "between them.",
        "b (h w) d -> → b (w h) d ->": "The positions are set into a grid of width × height: they come row by row, so "
        "the height is the first side.",
        "-> b (h w) d → -> b (w h) d": "The new positions leave the grid column by column; go along the rows.",
        lambda positions, before, after: in_a_row(positions, 1 + after[0] * after[1]): "The class token is "
        "interpolated with the rest, and all as one long row. It has no place: keep it apart, and set the others into "
        "a grid.",
        "h=before[0] → h=1; size=tuple(after) → size=(1, after[0] * after[1]); bicubic → bilinear": "The positions are "
        "interpolated as one long row, so the end of a row runs into the beginning of the next. Set them into a grid "
        "first.",
        "[first, → [": "The class token's position is lost: put it back before the others.",
        "dim=1) → dim=1).roll(-1, 1)": "The class token's position has come last; it is the first.",
    },
)


ROLLOUT_MISTAKES = mistakes(
    rollout,
    {
        "0.5 * weights + 0.5 * identity → weights": "The tokens do not keep anything of themselves: mix each layer's "
        "weights with the identity, half and half.",
        "0.5 * → ": "The identity is added, but rows no longer sum to 1: take half of each.",
        "unbind(1) → unbind(1)[::-1]": "The layers are multiplied in the wrong order: the first layer acts first, so "
        "it stands on the right.",
        "mean(2) → amax(2)": "The strongest head is taken; average the heads.",
        "mean(2) → sum(2)": "The heads are added up; average them.",
        "maps.mean(2).unbind(1) → [maps.mean((1, 2))]": "The layers are averaged; each acts on what the one before it "
        "has made, so they are multiplied.",
        "unbind(1) → unbind(1)[-1:]": "That is the last layer alone.",
        "unbind(1) → unbind(1)[-1:]; 0.5 * weights + 0.5 * identity → weights": "That is the last layer alone, and "
        "without what its tokens keep of themselves.",
        "return flow → return flow.mT": "Rows and columns are exchanged: row i tells what token i is made of.",
        "0.5 * weights + 0.5 * identity → weights; return flow → return 0.5 * flow + 0.5 * identity": "The identity is "
        "mixed in once, after the product; every layer has its own residual connection.",
        "identity.expand(len(maps), -1, -1) → 1; @ flow → * flow": "The weights of the layers are multiplied entry by "
        "entry; a way through two layers is a matrix product.",
    },
)
