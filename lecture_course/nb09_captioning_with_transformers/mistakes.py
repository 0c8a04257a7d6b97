"""The right answers of notebook 09 written out, the edits that make them wrong, and what each says to its author."""

import torch
from einops import rearrange
from torch import Tensor

from lecture_course.engine.definitions import mistakes
from lecture_utils.transformers.self_attention import causal_mask


def scaled_dot_product(queries: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """`attention` without a mask: the mixed values and the weights."""
    scores = queries @ keys.mT / queries.shape[-1] ** 0.5
    weights = scores.softmax(-1)
    return weights @ values, weights


ATTENTION_MISTAKES = mistakes(
    scaled_dot_product,
    {
        "softmax(-1) → softmax(-2)": "The softmax runs over the queries; the weights of each query must sum to 1 over "
        "the keys, the last axis.",
        "/ queries.shape[-1] ** 0.5 → ": "The scores are not divided by √d, so the softmax is too sharp.",
        "** 0.5 → ": "The scores are divided by d; the root of d is meant.",
        "/ → *": "The scores are multiplied by √d; divide.",
        "/ queries.shape[-1] ** 0.5 → ; softmax(-1) → softmax(-1) / queries.shape[-1] ** 0.5": "The division by √d "
        "comes after the softmax, so the weights do not sum to 1; it belongs to the scores.",
        "queries.shape[-1] → keys.shape[-2]": "√ of the number of keys; d is the number of entries of a query.",
        ".softmax(-1) → ": "There is no softmax: weights are ≥ 0 and sum to 1 for each query.",
        "softmax(-1) → flatten(-2).softmax(-1).view_as(scores)": "One softmax over the whole table; each query has a "
        "softmax of its own.",
        "@ values → @ keys": "You mix the keys; the keys only decide how much, what is mixed are the values.",
        "values, weights → values, scores": "The mixed values are right, but with them come the scores, not the "
        "weights.",
    },
)


def map_of_point(queries: Tensor, keys: Tensor, at: tuple[int, int]) -> Tensor:
    """Where the point `at` of a grid attends in `GridSelfAttention`: queries and keys (b, c, h, w) → (b, h, w)."""
    query = queries[:, :, at[0], at[1]]
    scores = torch.einsum("bc,bchw->bhw", query, keys)
    return scores.flatten(1).softmax(1).view_as(scores)


def column_of_weights(queries: Tensor, keys: Tensor, at: tuple[int, int]) -> Tensor:
    weights = (queries.flatten(2).mT @ keys.flatten(2)).softmax(-1)
    return weights[..., at[0] * keys.shape[3] + at[1]].view_as(keys[:, 0])


MAP_OF_POINT_MISTAKES = mistakes(
    map_of_point,
    {
        lambda queries, keys, at: map_of_point(keys, queries, at): "That tells who attends to this point: its key, "
        "compared with all queries. Compare its query with all keys.",
        "flatten(1).softmax(1) → softmax(2)": "The softmax runs along each row of the grid by itself; the weights of "
        "all h · w points must sum to 1.",
        "at[0], at[1] → at[1], at[0]": "Row and column are exchanged: the axes of a map are (b, c, row, column).",
        "query, keys → query, queries": "That is its query compared with itself and the others' queries; the others "
        "hold out their keys.",
        "queries[ → keys[": "That is its key compared with all keys; the point that attends has a query.",
        "query, keys) → query, keys) / queries.shape[1] ** 0.5": "The scores are divided by √c; this block does not do "
        "that.",
        ".flatten(1).softmax(1) → ": "These are the scores; their softmax over all points is missing.",
        "flatten(1).softmax(1) → softmax(0)": "The softmax runs over the batch, the first axis; each image has points "
        "of its own.",
        column_of_weights: "That is a column of the weights: how much each point attends to this one. Where it "
        "attends itself is a row.",
        "torch.einsum('bc,bchw->bhw', query, keys) → (queries * keys).sum(1)": "Each point is compared with itself: "
        "the query of the one point goes to all keys.",
    },
)


def split_heads(x: Tensor, heads: int) -> Tensor:
    """What `MultiHeadAttention` does with queries, keys and values: (b, n, heads · c) → (b, heads, n, c)."""
    return rearrange(x, "b n (heads c) -> b heads n c", heads=heads)


SPLIT_HEADS_MISTAKES = mistakes(
    split_heads,
    {
        lambda x, heads: x.reshape(len(x), heads, x.shape[1], -1): "A reshape alone mixes words and heads: it gives "
        "the first head the first words whole. Cut each word's numbers into heads, then move that axis.",
        "heads n c → n heads c": "The words still come before the heads: move the axis of the heads to place 1.",
        "(heads c) → (c heads)": "Each head gets every heads-th number; it should get numbers that lie together.",
        "heads n c → heads c n": "Words and the numbers of a head are exchanged: (b, heads, n, c) has the words before "
        "their numbers.",
        "b heads n → heads b n": "The heads come before the batch; the batch stays the first axis.",
        "b heads n → (b heads) n": "The batch and the heads have become one axis; keep them apart.",
    },
)


CAUSAL_MASK_MISTAKES = mistakes(
    causal_mask,
    {
        "tril → triu": "The other triangle: each word sees itself and what comes after it. Row t is the word that "
        "attends.",
        "tril() → tril(-1)": "A word does not see itself, and the first one sees nothing at all: the diagonal belongs "
        "to it.",
        "tril() → triu(1)": "The other way round: True is where a word may attend.",
        ".tril() → ": "Every word may attend to all; later ones must be hidden.",
        "tril() → tril(1)": "Every word sees the next one, too.",
        "tril() → tril().triu()": "Every word sees itself alone.",
        "dtype=torch.bool, → ": "Right, but as numbers; a mask holds truth values.",
        lambda length: torch.full((length, length), -torch.inf).triu(1): "That is what is added to the scores, 0 and "
        "−∞; asked for is the mask, True and False.",
    },
)


def masked_weights(scores: Tensor, mask: Tensor) -> Tensor:
    """The weights that `attention` has for these scores, (b, q, k)."""
    return scores.masked_fill(~mask, -torch.inf).softmax(-1)


MASKED_WEIGHTS_MISTAKES = mistakes(
    masked_weights,
    {
        "masked_fill(~mask, -torch.inf).softmax(-1) → softmax(-1) * mask": "The mask comes after the softmax: the "
        "weights that are left do not sum to 1.",
        "-torch.inf → 0": "A score of 0 is a score like any other, and e⁰ = 1. What must not be seen needs −∞.",
        "~mask → mask": "The wrong ones are hidden: the mask is True where a query may attend.",
        ".masked_fill(~mask, -torch.inf) → ": "Nothing is hidden: this is the softmax alone.",
        "masked_fill(~mask, -torch.inf) → add(mask)": "Adding the mask adds 1 where a query may attend; that makes "
        "those a little likelier, and hides nothing.",
        "softmax(-1) → softmax(-2)": "The softmax runs over the queries; it belongs to the keys, the last axis.",
        "-torch.inf → -10": "A small score is not small enough: where the others lie far below 0, it wins. Take −∞.",
        ".softmax(-1) → ": "These are the scores with −∞; their softmax is missing.",
    },
)


def cut(image: Tensor, patch: int) -> Tensor:
    """What `ViTCaptioner` does first, in rows: (b, c, h · p, w · p) → (b, h · w, c · p · p)."""
    return rearrange(image, "b c (h p) (w q) -> b (h w) (c p q)", p=patch, q=patch)


CUT_MISTAKES = mistakes(
    cut,
    {
        lambda x, p: x.reshape(len(x), -1, x.shape[1] * p**2): "A plain reshape scrambles the image: it cuts the "
        "pixels in the order of memory, which makes stripes and no squares. Split the sides into (h, p) and (w, q) "
        "first.",
        lambda x, p: x.unfold(2, p, p).unfold(3, p, p).reshape(len(x), -1, x.shape[1] * p**2): "The patches are cut "
        "well, but the channel axis still stands before them: move it behind the rows and columns.",
        "(h w) (c → (w h) (c": "The patches come column after column; go along the rows.",
        "(c p q) → (p q c)": "In each patch the channels must come first: all pixels of red, then green, then blue.",
        "(c p q) → (c q p)": "Each patch is turned: its pixels must come row after row.",
        "(h w) (c p q) → (c p q) (h w)": "Patches and their numbers are exchanged: (b, patches, numbers).",
        "(h w) (c → h w (c": "This keeps the grid of patches; make its rows and columns one axis.",
        "(h w) (c p q) → (c h w) (p q)": "Each channel of a patch has become a patch of its own.",
    },
)
