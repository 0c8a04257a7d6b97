"""What goes wrong in the exercises of notebook 09: wrong functions, and what each of them says to its author."""

import math
from collections.abc import Callable

import torch
from einops import rearrange
from torch import Tensor

from lecture_course.engine.definitions import mistakes


def attending(
    weigh: Callable[[Tensor, Tensor], Tensor], mix: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None
) -> Callable[..., tuple[Tensor, Tensor]]:
    """Attention with another way from queries and keys to weights, or from weights, keys and values to the result."""
    mix = mix or (lambda weights, keys, values: weights @ values)

    def attend(queries: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        weights = weigh(queries, keys)
        return mix(weights, keys, values), weights

    return attend


def scores(queries: Tensor, keys: Tensor, power: float = 0.5) -> Tensor:
    return queries @ keys.mT / queries.shape[-1] ** power


ATTENTION = mistakes(
    "The softmax runs over the queries; the weights of each query must sum to 1 over the keys, the last axis.",
    attending(lambda q, k: scores(q, k).softmax(-2)),
    "The scores are not divided by √d, so the softmax is too sharp.",
    attending(lambda q, k: scores(q, k, 0).softmax(-1)),
    "The scores are divided by d; the root of d is meant.",
    attending(lambda q, k: scores(q, k, 1).softmax(-1)),
    "The scores are multiplied by √d; divide.",
    attending(lambda q, k: scores(q, k, -0.5).softmax(-1)),
    "The division by √d comes after the softmax, so the weights do not sum to 1; it belongs to the scores.",
    attending(lambda q, k: scores(q, k, 0).softmax(-1) / q.shape[-1] ** 0.5),
    "√ of the number of keys; d is the number of entries of a query.",
    attending(lambda q, k: (q @ k.mT / k.shape[-2] ** 0.5).softmax(-1)),
    "There is no softmax: weights are ≥ 0 and sum to 1 for each query.",
    attending(scores),
    "One softmax over the whole table; each query has a softmax of its own.",
    attending(lambda q, k: scores(q, k).flatten(-2).softmax(-1).view(*q.shape[:-1], k.shape[-2])),
    "You mix the keys; the keys only decide how much, what is mixed are the values.",
    attending(lambda q, k: scores(q, k).softmax(-1), lambda weights, keys, values: weights @ keys),
    "The mixed values are right, but with them come the scores, not the weights.",
    lambda q, k, v: (scores(q, k).softmax(-1) @ v, scores(q, k)),
)


def looking(compare: Callable[[Tensor, Tensor, int, int], Tensor], axes: int = 1) -> Callable[..., Tensor]:
    """Maps from scores (b, h, w) that `compare` gives; the softmax begins at the axis `axes`."""

    def look(queries: Tensor, keys: Tensor, at: tuple[int, int]) -> Tensor:
        scores = compare(queries, keys, *at)
        return scores.flatten(axes).softmax(-1).view_as(scores)

    return look


def dot(points: Tensor, point: Tensor) -> Tensor:
    """Of every point of a map (b, c, h, w) with one point (b, c): (b, h, w)."""
    return torch.einsum("bchw,bc->bhw", points, point)


def points(x: Tensor) -> Tensor:
    return rearrange(x, "b c h w -> b (h w) c")


def column_of_weights(queries: Tensor, keys: Tensor, at: tuple[int, int]) -> Tensor:
    weights = (points(queries) @ points(keys).mT).softmax(-1)
    return weights[..., at[0] * keys.shape[3] + at[1]].view_as(keys[:, 0])


MAPS = mistakes(
    "That tells who looks at this point: its key, compared with all queries. Compare its query with all keys.",
    looking(lambda q, k, row, column: dot(q, k[:, :, row, column])),
    "The softmax runs along each row of the grid by itself; the weights of all h · w points must sum to 1.",
    looking(lambda q, k, row, column: dot(k, q[:, :, row, column]), axes=2),
    "Row and column are exchanged: the axes of a map are (b, c, row, column).",
    looking(lambda q, k, row, column: dot(k, q[:, :, column, row])),
    "That is its query compared with itself and the others' queries; the others hold out their keys.",
    looking(lambda q, k, row, column: dot(q, q[:, :, row, column])),
    "That is its key compared with all keys; the point that looks has a query.",
    looking(lambda q, k, row, column: dot(k, k[:, :, row, column])),
    "The scores are divided by √c; this block does not do that.",
    looking(lambda q, k, row, column: dot(k, q[:, :, row, column]) / q.shape[1] ** 0.5),
    "These are the scores; their softmax over all points is missing.",
    lambda q, k, at: dot(k, q[:, :, at[0], at[1]]),
    "The softmax runs over the batch, the first axis; each image has points of its own.",
    lambda q, k, at: dot(k, q[:, :, at[0], at[1]]).softmax(0),
    "That is a column of the weights: how much each point looks at this one. Where it looks itself is a row.",
    column_of_weights,
    "Each point is compared with itself: the query of the one point goes to all keys.",
    looking(lambda q, k, row, column: (q * k).sum(1)),
)
HEADS = mistakes(
    "A reshape alone mixes words and heads: it gives the first head the first words whole. Cut each word's numbers "
    "into heads, then move that axis.",
    lambda x, heads: x.reshape(len(x), heads, x.shape[1], -1),
    "The words still come before the heads: move the axis of the heads to place 1.",
    lambda x, heads: rearrange(x, "b n (heads c) -> b n heads c", heads=heads),
    "Each head gets every heads-th number; it should get numbers that lie together.",
    lambda x, heads: rearrange(x, "b n (c heads) -> b heads n c", heads=heads),
    "Words and the numbers of a head are exchanged: (b, heads, n, c) has the words before their numbers.",
    lambda x, heads: rearrange(x, "b n (heads c) -> b heads c n", heads=heads),
    "The heads come before the batch; the batch stays the first axis.",
    lambda x, heads: rearrange(x, "b n (heads c) -> heads b n c", heads=heads),
    "The batch and the heads have become one axis; keep them apart.",
    lambda x, heads: rearrange(x, "b n (heads c) -> (b heads) n c", heads=heads),
)


def square(length: int) -> Tensor:
    return torch.ones(length, length, dtype=torch.bool)


MASK = mistakes(
    "The other triangle: each word sees itself and what comes after it. Row t is the word that looks.",
    lambda length: square(length).triu(),
    "A word does not see itself, and the first one sees nothing at all: the diagonal belongs to it.",
    lambda length: square(length).tril(-1),
    "The other way round: True is where a word may look.",
    lambda length: square(length).triu(1),
    "Every word may look everywhere; later ones must be hidden.",
    square,
    "Every word sees the next one, too.",
    lambda length: square(length).tril(1),
    "Every word sees itself alone.",
    lambda length: torch.eye(length, dtype=torch.bool),
    "Right, but as numbers; a mask holds truth values.",
    lambda length: torch.ones(length, length).tril(),
    "That is what is added to the scores, 0 and −∞; asked for is the mask, True and False.",
    lambda length: torch.zeros(length, length).masked_fill(~square(length).tril(), -math.inf),
)
WEIGHTS = mistakes(
    "The mask comes after the softmax: the weights that are left do not sum to 1.",
    lambda scores, mask: scores.softmax(-1) * mask,
    "A score of 0 is a score like any other, and e⁰ = 1. What must not be seen needs −∞.",
    lambda scores, mask: (scores * mask).softmax(-1),
    "The wrong ones are hidden: the mask is True where a query may look.",
    lambda scores, mask: scores.masked_fill(mask, -math.inf).softmax(-1),
    "Nothing is hidden: this is the softmax alone.",
    lambda scores, mask: scores.softmax(-1),
    "Adding the mask adds 1 where a query may look; that makes those a little likelier, and hides nothing.",
    lambda scores, mask: (scores + mask).softmax(-1),
    "The softmax runs over the queries; it belongs to the keys, the last axis.",
    lambda scores, mask: scores.masked_fill(~mask, -math.inf).softmax(-2),
    "A small score is not small enough: where the others lie far below 0, it wins. Take −∞.",
    lambda scores, mask: scores.masked_fill(~mask, -10.0).softmax(-1),
    "These are the scores with −∞; their softmax is missing.",
    lambda scores, mask: scores.masked_fill(~mask, -math.inf),
)


def cut_as(pattern: str) -> Callable[[Tensor, int], Tensor]:
    """Patches in another order of rows h, columns w, channels c, and pixels p (down) and q (across)."""
    return lambda image, patch: rearrange(image, f"b c (h p) (w q) -> {pattern}", p=patch, q=patch)


PATCHES = mistakes(
    "A plain reshape scrambles the picture: it cuts the pixels in the order of memory, which makes stripes and no "
    "squares. Split the sides into (h, p) and (w, q) first.",
    lambda image, patch: image.reshape(len(image), -1, image.shape[1] * patch**2),
    "The patches are cut well, but the channel axis still stands before them: move it behind the rows and columns.",
    lambda image, patch: cut_as("b c h w p q")(image, patch).reshape(len(image), -1, image.shape[1] * patch**2),
    "The patches come column after column; go along the rows.",
    cut_as("b (w h) (c p q)"),
    "In each patch the channels must come first: all pixels of red, then green, then blue.",
    cut_as("b (h w) (p q c)"),
    "Each patch is turned: its pixels must come row after row.",
    cut_as("b (h w) (c q p)"),
    "Patches and their numbers are exchanged: (b, patches, numbers).",
    cut_as("b (c p q) (h w)"),
    "This keeps the grid of patches; make its rows and columns one axis.",
    cut_as("b h w (c p q)"),
    "Each channel of a patch has become a patch of its own.",
    cut_as("b (c h w) (p q)"),
)
