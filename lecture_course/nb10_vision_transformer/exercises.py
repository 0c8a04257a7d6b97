"""The exercises of notebook 10: the tokens of a vision transformer, their positions, and its attention (31, 32)."""

import torch
from torch import Generator, Tensor

from lecture_course.engine.definitions import Case, Exercise, Prediction
from lecture_course.nb10_vision_transformer.mistakes import RESIZE_MISTAKES, ROLLOUT_MISTAKES, WORDS_MISTAKES, tokens_of
from lecture_utils.transformers.vit import ViT, resize_pos_embed, rollout

LARGER = 384  # pixels a side, at which the paper fine-tunes


def random(rng: Generator, *shape: int) -> Tensor:
    return torch.randn(shape, generator=rng)


def patches(rng: Generator) -> list[Case]:
    def case(b: int, n: int, d: int, note: str) -> Case:
        return Case((random(rng, b, n, d), random(rng, 1, 1, d), random(rng, 1, 1 + n, d)), note=note)

    return [
        case(1, 1, 2, "a single patch"),
        case(1, 4, 3, "four patches of three numbers"),
        case(2, 6, 4, "batch of 2"),
        case(3, 2, 5, "batch of 3"),
        case(4, 9, 8, "nine patches, batch of 4"),
    ]


def grids(rng: Generator) -> list[Case]:
    def case(before: tuple[int, int], after: tuple[int, int], d: int, note: str) -> Case:
        return Case((random(rng, 1, 1 + before[0] * before[1], d), before, after), note=note)

    return [
        case((2, 2), (3, 3), 1, "from 2 × 2 to 3 × 3"),
        case((3, 3), (5, 5), 2, "from 3 × 3 to 5 × 5"),
        case((2, 4), (4, 6), 2, "a grid that is not square"),
        case((4, 3), (6, 8), 3, "from a tall grid to a wide one"),
        case((6, 5), (3, 4), 4, "a coarser grid"),
    ]


def attention_maps(rng: Generator) -> list[Case]:
    def case(b: int, layers: int, heads: int, n: int, note: str) -> Case:
        return Case(((2 * random(rng, b, layers, heads, n, n)).softmax(-1),), note=note)

    return [
        case(1, 1, 1, 2, "one layer, one head"),
        case(1, 2, 1, 3, "two layers"),
        case(1, 2, 3, 4, "three heads"),
        case(2, 3, 2, 5, "batch of 2, three layers"),
        case(3, 4, 4, 6, "batch of 3"),
    ]


def with_no_weights(name: str, **changes) -> ViT:
    """One of the paper's models as a mere shape."""
    with torch.device("meta"):
        return ViT.paper(name, **changes)


def parameters_of_the_projection() -> int:
    return sum(p.numel() for p in with_no_weights("L/32").patch_embed.parameters())


def tokens_at_a_larger_size() -> int:
    return with_no_weights("B/32").embed(torch.empty(1, 3, LARGER, LARGER, device="meta")).shape[1]


def growth_with_smaller_patches() -> tuple[int, int]:
    """By how much the MLPs' and the attention's multiplications grow from patches of 16 to 8, class token left out."""
    coarse, fine = (with_no_weights("B/16", patch_size=patch).grid for patch in (16, 8))
    patches = fine[0] * fine[1] // (coarse[0] * coarse[1])
    return patches, patches**2


EXERCISES = (
    Prediction(
        "10.projection",
        title="The parameters of the projection",
        minutes=3,
        difficulty=1,
        answer=parameters_of_the_projection,
        mistakes={
            3_145_728: "Those are the weights; each of the 1024 outputs has a bias, too.",
            1_048_576: "A pixel has three numbers.",
            1_049_600: "A pixel has three numbers, and each output has a bias.",
            3_146_753: "One bias for each output, no more.",
            154_190_848: "The same projection serves every patch; its weights are not counted for each.",
            154_140_672: "The same projection serves every patch; its weights are not counted for each.",
            99_328: "That is 32 · 3 numbers in; a patch has 32 · 32 pixels.",
            590_592: "That is right for ViT-B/16.",
        },
        hints=(
            "How many numbers go in, for a patch of 32 × 32 pixels in colour? How many come out?",
            "A linear layer from m to k numbers has m · k weights and k biases.",
        ),
        because="Only these, 1 % of L/32, are made for images. Everything behind them would read text as well.",
    ),
    Exercise(
        "10.words",
        title="From patches to tokens",
        minutes=10,
        difficulty=1,
        reference=tokens_of,
        shown=ViT.embed,
        cases=patches,
        mistakes=WORDS_MISTAKES,
        hints=(
            "Two steps: put the class token before the patches of every image, then add the positions.",
            "class_token.expand(b, -1, -1) shows the one token b times; torch.cat(…, dim=1) joins along the tokens.",
            "torch.cat([class_token.expand(len(patches), -1, -1), patches], dim=1) + positions",
        ),
        because="The class token is the same for all images; what it becomes is read off at the end.",
    ),
    Prediction(
        "10.larger",
        title="A larger image",
        minutes=2,
        difficulty=1,
        answer=tokens_at_a_larger_size,
        mistakes={
            144: "Those are the patches. One token more comes with them.",
            577: "That would be patches of 16 × 16; B/32 has larger ones.",
            576: "Patches of B/32 are 32 pixels wide, and one token more comes with them.",
            50: "That is how many there are at 224 × 224.",
            12: "12 along each side; count all, and the class token.",
            13: "12 along each side; count all of them, then add the class token.",
        },
        hints=("How many patches of 32 pixels fit along 384 pixels?", "And which token is no patch?"),
        because="The model learned 50 positions and now needs 145.",
    ),
    Exercise(
        "10.resize",
        title="Positions for another size",
        minutes=20,
        difficulty=3,
        reference=resize_pos_embed,
        cases=grids,
        mistakes=RESIZE_MISTAKES,
        hints=(
            "Part the class token's position from the others: positions[:, :1] and positions[:, 1:].",
            "F.interpolate wants (b, d, height, width). The others are (1, h · w, d), by rows: reshape, then permute.",
            'F.interpolate(places, size=after, mode="bicubic", align_corners=True), then the same way back, and '
            "torch.cat with the class token's position before them.",
        ),
        because="Patches that were neighbours stay neighbours. It is one of two places where the paper puts in by hand "
        "that an image has two dimensions; the other is the cutting.",
    ),
    Exercise(
        "10.rollout",
        title="Attention rollout",
        minutes=15,
        difficulty=2,
        reference=rollout,
        cases=attention_maps,
        mistakes=ROLLOUT_MISTAKES,
        hints=(
            "For each layer one matrix (b, n, n): the mean over the heads, mixed half and half with torch.eye(n).",
            "If the first layer makes y = A x of the tokens x, and the second z = B y, then z = B A x.",
            "Begin with torch.eye(n) and for each layer, from the first to the last: flow = matrix @ flow.",
        ),
        because="Rows sum to 1, since those of every factor do: each token at the top is a mixture of those below.",
    ),
    Prediction(
        "10.smaller_patches",
        title="Smaller patches",
        minutes=3,
        difficulty=2,
        answer=growth_with_smaller_patches,
        mistakes={
            (2, 4): "Half as wide and half as high: how many patches are there now in place of one?",
            (4, 4): "The MLPs are right. Each token attends to each: how many pairs are there?",
            (4, 8): "The MLPs are right. Four times as many tokens attend, and to how many times as many?",
            (16, 16): "The MLP works on each token alone.",
            (16, 4): "The other way round: the MLPs first.",
            (2, 2): "Half as wide and half as high: how many patches are there now in place of one?",
            (4, 2): "The MLPs are right. Attention compares each token with each.",
        },
        hints=(
            "Where one patch of 16 × 16 was, how many of 8 × 8 are there?",
            "An MLP works on each token alone; attention compares every pair of tokens.",
        ),
        because="So B/16 costs about four times as much as B/32, although it has fewer parameters.",
    ),
)
