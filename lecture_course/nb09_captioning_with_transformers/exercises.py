"""The exercises of notebook 09: attention between points and words, heads, masks and patches (slides 28 to 30)."""

import torch
from torch import Generator, Tensor

from lecture_course.engine.definitions import Case, Exercise, Prediction
from lecture_course.nb09_captioning_with_transformers.mistakes import (
    ATTENTION_MISTAKES,
    CAUSAL_MASK_MISTAKES,
    CUT_MISTAKES,
    MAP_OF_POINT_MISTAKES,
    MASKED_WEIGHTS_MISTAKES,
    SPLIT_HEADS_MISTAKES,
    cut,
    map_of_point,
    masked_weights,
    scaled_dot_product,
    split_heads,
)
from lecture_utils.transformers.self_attention import GridSelfAttention, MultiHeadAttention, attention, causal_mask

SAGAN_CHANNELS = 128


def random(rng: Generator, *shape: int) -> Tensor:
    return torch.randn(shape, generator=rng)


def attending(rng: Generator) -> list[Case]:
    def case(b: int, queries: int, keys: int, d: int, v: int, note: str) -> Case:
        return Case((random(rng, b, queries, d), random(rng, b, keys, d), random(rng, b, keys, v)), note=note)

    return [
        case(1, 1, 2, 4, 2, "one query, two keys"),
        case(1, 3, 3, 4, 4, "three points that attend to one another"),
        case(2, 2, 5, 3, 3, "more keys than queries, batch of 2"),
        case(2, 5, 3, 16, 7, "values of another size than the keys"),
        case(3, 4, 4, 9, 9, "batch of 3"),
        Case(
            (random(rng, 2, 3, 4, 5), random(rng, 2, 3, 6, 5), random(rng, 2, 3, 6, 5)), note="with an axis for heads"
        ),
    ]


def queries_and_keys(rng: Generator) -> list[Case]:
    def case(b: int, c: int, at: tuple[int, int], grid: tuple[int, int], note: str) -> Case:
        return Case((random(rng, b, c, *grid), random(rng, b, c, *grid), at), note=note)

    return [
        case(1, 1, (0, 1), (2, 2), "a grid of 2 × 2, one channel"),
        case(1, 2, (1, 0), (2, 3), "a grid that is not square"),
        case(1, 4, (2, 1), (3, 2), "a tall grid"),
        case(2, 3, (1, 2), (3, 5), "batch of 2"),
        case(3, 8, (2, 3), (4, 4), "batch of 3"),
    ]


def tokens_and_heads(rng: Generator) -> list[Case]:
    shapes = (
        (1, 2, 4, 2, "two words, two heads"),
        (1, 3, 6, 1, "one head"),
        (1, 3, 6, 3, "three heads of 2"),
        (2, 4, 8, 2, "batch of 2"),
        (3, 5, 12, 4, "four heads of 3"),
        (2, 3, 9, 3, "as many heads as words"),
    )
    return [Case((random(rng, b, n, d), heads), note=note) for b, n, d, heads, note in shapes]


def lengths(rng: Generator) -> list[Case]:
    more = torch.randperm(20, generator=rng)[:2] + 6
    return [Case((length,), note=f"{length} words") for length in (2, 3, 5, *more.tolist())]


def scores_and_masks(rng: Generator) -> list[Case]:
    def case(b: int, queries: int, keys: int, note: str) -> Case:
        mask = torch.rand(b, queries, keys, generator=rng) < 0.5
        mask[..., 0] |= ~mask.any(-1)  # each may attend to something
        mask[..., -1] &= ~mask.all(-1)  # and none to everything
        return Case((2 * random(rng, b, queries, keys), mask), note=note)

    causal = causal_mask(4).expand(1, 4, 4)
    return [
        Case(
            (2 * random(rng, 1, 2, 3), torch.tensor([[[True, True, False], [False, True, True]]])), note="two of three"
        ),
        Case((2 * random(rng, 1, 4, 4), causal), note="the causal mask"),
        case(2, 3, 5, "batch of 2"),
        case(3, 5, 4, "more queries than keys"),
        Case((random(rng, 2, 3, 7) - 40, torch.arange(7).expand(2, 3, 7) > 2), note="scores far below 0"),
    ]


def pictures(rng: Generator) -> list[Case]:
    shapes = (
        (1, 1, 4, 4, 2, "4 × 4 pixels, one channel"),
        (1, 1, 4, 6, 2, "wider than high"),
        (1, 3, 4, 4, 2, "three channels"),
        (1, 2, 3, 6, 3, "a single row of patches"),
        (2, 3, 9, 6, 3, "batch of 2"),
        (2, 3, 20, 15, 5, "larger patches"),
    )
    return [Case((random(rng, b, c, h, w), patch), note=note) for b, c, h, w, patch, note in shapes]


def sagan_parameters() -> int:
    return sum(p.numel() for p in GridSelfAttention(SAGAN_CHANNELS).parameters())


EXERCISES = (
    Exercise(
        "09.attention",
        title="Scaled dot-product attention",
        minutes=15,
        difficulty=2,
        reference=scaled_dot_product,
        shown=attention,
        cases=attending,
        mistakes=ATTENTION_MISTAKES,
        hints=(
            "Three lines: scores, weights, the mixed values. Which two of the three inputs make the scores?",
            "keys.transpose(-1, -2) turns (…, k, d) into (…, d, k), and @ multiplies the last two axes of any tensors.",
            "scores = queries @ keys.transpose(-1, -2) / √d; weights = scores.softmax(-1), over the keys; "
            "weights @ values.",
        ),
        because="Nothing in it counts points or knows their order: it works for 2 of them and for 2,000.",
    ),
    Prediction(
        "09.parameters",
        title="The parameters of the block",
        minutes=3,
        difficulty=1,
        answer=sagan_parameters,
        mistakes={
            8192: "That leaves out γ, which is learned, too.",
            8369: "Those are the weights, the biases and γ; none of the four convolutions has a bias here.",
            8368: "Those are weights and biases; the convolutions have no bias here, but γ is learned.",
            6145: "Those are three convolutions and γ; a fourth one leads the mixed values back to C channels.",
            6144: "Those are three convolutions; a fourth one leads back to C channels, and γ is learned, too.",
            20_481: "That is the count of common code: values of C / 2 channels, or of C and no fourth convolution; "
            "in the paper queries, keys and values all have C / 8.",
            36_865: "The values and the fourth convolution do not keep all C channels: values have C / 8, too.",
            65_537: "Queries, keys and values have C / 8 channels only.",
            2049: "That is right for 64 channels.",
        },
        hints=(
            "A 1×1 convolution from C to K channels has C · K weights; without a bias, nothing else.",
            "Queries: 128 · 16. The same for keys and for values. The fourth leads from 16 back to 128. And γ.",
        ),
        because="The number of points does not occur in it: the same block serves a grid of any size.",
    ),
    Exercise(
        "09.map_of_point",
        title="Where does this point attend?",
        minutes=15,
        difficulty=2,
        reference=map_of_point,
        cases=queries_and_keys,
        mistakes=MAP_OF_POINT_MISTAKES,
        hints=(
            "One query, many keys: the query of this point is queries[:, :, row, column], of shape (b, c).",
            'Its score with each key is a sum over the channels: torch.einsum("bc,bchw->bhw", query, keys).',
            "The softmax runs over all h · w points at once: flatten(1), softmax(1), and back by view.",
        ),
        because="A row of the weights, set back into the grid, is a map. A column tells who attends to this point.",
    ),
    Exercise(
        "09.split_heads",
        title="Split into heads",
        minutes=10,
        difficulty=2,
        reference=split_heads,
        shown=MultiHeadAttention.forward,
        cases=tokens_and_heads,
        mistakes=SPLIT_HEADS_MISTAKES,
        hints=(
            "Two steps: give the numbers of each word an axis for the heads, then move that axis.",
            "x.reshape(b, n, heads, d // heads) cuts the d numbers of each word into pieces and moves nothing.",
            "… .transpose(1, 2) moves the heads before the words.",
        ),
        because="With heads as an axis of the batch, one matrix product serves them all.",
    ),
    Exercise(
        "09.causal_mask",
        title="The causal mask",
        minutes=5,
        difficulty=1,
        reference=causal_mask,
        cases=lengths,
        mistakes=CAUSAL_MASK_MISTAKES,
        hints=(
            "The first word may attend to one word, itself; the last one to all of them. Which triangle is that?",
            "torch.ones(length, length, dtype=torch.bool) has True everywhere; .tril() and .triu() keep a triangle.",
        ),
        because="The output at a word predicts the next one, so a word may see itself: the diagonal is True.",
    ),
    Exercise(
        "09.masked_weights",
        title="A softmax with a mask",
        minutes=10,
        difficulty=2,
        reference=masked_weights,
        shown=attention,
        cases=scores_and_masks,
        mistakes=MASKED_WEIGHTS_MISTAKES,
        hints=(
            "The weights that are left must sum to 1. So the mask has to work before the softmax divides by the sum.",
            "Which score gives a weight of exactly 0, when the weight is eˢᶜᵒʳᵉ over a sum?",
            "scores.masked_fill(~mask, -math.inf).softmax(-1)",
        ),
        because="e to the −∞ is 0: the forbidden ones are neither in the numerator nor in the sum.",
    ),
    Exercise(
        "09.cut",
        title="An image into patches",
        minutes=15,
        difficulty=2,
        reference=cut,
        cases=pictures,
        mistakes=CUT_MISTAKES,
        hints=(
            "Split both sides of the image: (b, c, h, p, w, q) has an axis for each; nothing has moved yet.",
            "Then the axes must be put in order: rows and columns of patches first, then the channel, then the pixels.",
            "image.reshape(b, c, h, p, w, p).permute(0, 2, 4, 1, 3, 5).reshape(b, h * w, c * p * p)",
        ),
        because="reshape alone reads memory in one stroke, row of pixels after row of pixels: it never makes a square.",
    ),
)
