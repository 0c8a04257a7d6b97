"""A vision transformer at work, drawn from its own forward pass, step by step (slides 31 and 32)."""

from collections.abc import Sequence

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor

from lecture_utils.explorers import Explorer
from lecture_utils.figures.detector_blocks import DOWN, Drawing, clipped
from lecture_utils.figures.network import network_steps
from lecture_utils.figures.network_blocks import Arrow, Band, Block
from lecture_utils.figures.style import BLUE, GREEN, INK, ORANGE, PURPLE, SKY, VERMILION
from lecture_utils.figures.transformers import apart
from lecture_utils.tasks.photos import to_photo
from lecture_utils.transformers import ViT

KINDS = {
    "cut": BLUE,
    "linear": GREEN,
    "concatenate": INK,
    "add": ORANGE,
    "self-attention": VERMILION,
    "self-attention, MLP": PURPLE,
    "read row 1": SKY,
}
EMBEDDING, ENCODER = "#DDECF6", "#FBEBCB"
GAP, WIDE, TABLE, BEND = 0.25, 10.8, 1.4, 0.1  # inches: between rows, of a drawing, of a table, of an arrow
PALE = 0.4  # of its colours, what a part keeps while another is highlighted: patches stay images
ABREAST = 2  # layers in a row
LIKELIEST = 4  # classes whose probabilities are drawn


def vit_steps(
    model: ViT,
    image: Float[Tensor, "1 c h w"],
    at: tuple[int, int],
    names: Sequence[str],
    **how: object,
) -> Explorer:
    """An explorer of `vit_drawing`, a step for each part."""
    drawing = vit_drawing(model, image, at, names)
    about = (
        "The framed patch becomes a row of a table; from then on there are only tables, until the first row is read."
    )
    look = {"title": "A vision transformer, step by step", "about": about, "kinds": KINDS, "gap": GAP, "pale": PALE}
    return network_steps(drawing.blocks, drawing.arrows, bands=drawing.bands, width=drawing.width, **look | how)


@torch.no_grad()
def vit_drawing(
    model: ViT,
    image: Float[Tensor, "1 c h w"],
    at: tuple[int, int],
    names: Sequence[str],
) -> Drawing:
    """A ViT at work on one `image`, the patch `at` (row, column) framed; `names` are the classes'."""
    (row, column), (h, w), patch = at, model.grid, model.patch_size
    if len(image) != 1 or not (0 <= row < h and 0 <= column < w):
        raise ValueError(f"at: got {at} for {len(image)} images, expected one image and a patch of its {h} × {w}")
    number, n = row * w + column, h * w
    cuts = rearrange(image[0].cpu(), "c (h p) (w q) -> (h w) c p q", p=patch, q=patch)
    projected = rearrange(model.patch_embed(image), "1 d h w -> (h w) d")
    states, maps = run_blocks(model, image)
    dim, encoded = projected.shape[1], model.norm(states[-1])
    probabilities = model.head(encoded[0]).softmax(-1)
    shown = {names[k]: p for p, k in zip(*(part.tolist() for part in probabilities.topk(LIKELIEST)), strict=True)}
    seen = to_photo(image[0].cpu()).permute(1, 2, 0).numpy()
    parts = {
        "image": whole(seen, at, patch),
        "patches": picture("patches", apart(seen, patch, 1), (1, 0), f"Cut into {h} × {w} patches of {patch} × {patch} "
            f"pixels, {patch} · {patch} · {cuts.shape[1]} numbers, row by row; the framed one is number {number + 1}.",
            f"{n} × {cuts[0].numel()}", 1.6),
        "patch": picture("one patch", to_photo(cuts[number]).permute(1, 2, 0).numpy(), (1, 1), "",
            f"{cuts[0].numel()}", 0.8),
        "projected": rows("projected", projected, (2, 0), number, "One linear layer, the same for every patch, "
            f"makes {dim} numbers of each: a row of the table is a patch."),
        "class token": Block("class token", model.class_token[0, 0].cpu(), (2, 1), "The class token: one more row, "
            "learned, the same for every image. It shows no part of it.", 0.9, caption=f"1 × {dim}"),
        "tokens": rows("tokens", torch.cat([model.class_token[0], projected]), (3, 0), number + 1,
            f"The class token before the patches: {n + 1} tokens, and the framed one is a row further down."),
        "positions": rows("positions", model.pos_embed[0], (3, 1), number + 1, "A learned vector for each place, the "
            "same for every image."),
        "z0": rows("z₀", states[0], (4, 0), number + 1, "Tokens plus positions: what enters the first layer."),
    }  # fmt: skip
    parts["patches"].marks = [frame_of(at, patch, 1)]
    before = list(parts.values())
    encoder, last = [], parts["z0"]
    arrows = [
        Arrow(parts["image"], parts["patches"], "cut"),
        Arrow(parts["patches"], parts["patch"], sides=DOWN),
        Arrow(parts["patches"], parts["projected"], "linear"),
        Arrow(parts["projected"], parts["tokens"], "concatenate"),
        Arrow(parts["class token"], parts["tokens"], "concatenate", ("right", "left")),
        Arrow(parts["tokens"], parts["z0"], "add"),
        Arrow(parts["positions"], parts["z0"], "add", ("right", "left")),
    ]
    for k, (weights, state) in enumerate(zip(maps, states[1:], strict=True)):
        table = weights.mean(0).cpu()
        line, column = 2 + k // ABREAST, 2.2 * (k % ABREAST)
        end = k == len(maps) - 1
        norm = ", normalised once more" if end else ""
        who = Block(f"attention {k + 1}", table, (column, line), f"Layer {k + 1}: each token (row) attends to all "
            f"(columns), the class token first; mean of the heads. After an MLP: still {n + 1} tokens of {dim}{norm}.",
            TABLE, scale=clipped(table[None]))  # fmt: skip
        tokens = rows(f"after layer {k + 1}", encoded if end else state, (column + 1, line), number + 1)
        arrows += [Arrow(last, who, "self-attention", *(() if k % ABREAST else (DOWN, False, BEND)))]
        arrows += [Arrow(who, tokens, "self-attention, MLP")]
        encoder, last = [*encoder, who, tokens], tokens
    z = Block("row 1", encoded[0].cpu(), (column + 1.75, line), "Only the first row is read: what has become of the "
        "class token.", TABLE)  # fmt: skip
    answer = Block("class", shown, (column + 2.6, line), f"One linear layer and a softmax: {next(iter(shown))}.", 1.9,
        (len(names),), caption=f"{len(names)}")  # fmt: skip
    arrows += [Arrow(last, z, "read row 1"), Arrow(z, answer, "linear")]
    bands = [Band("embedding", before[1:], EMBEDDING), Band(f"encoder, {len(maps)} layers", encoder, ENCODER)]
    return Drawing([*before, *encoder, z, answer], arrows, bands, WIDE)


def run_blocks(
    model: ViT, image: Float[Tensor, "1 c h w"]
) -> tuple[list[Float[Tensor, "n d"]], list[Float[Tensor, "heads n n"]]]:
    """The tokens before the first layer and after each, and the attention weights of each."""
    x, maps = model.embed(image), []
    states = [x[0]]
    for block in model.blocks:
        x, weights = block(x, need_weights=True)
        states.append(x[0])
        maps.append(weights[0])
    return states, maps


def rows(name: str, tokens: Float[Tensor, "n d"], at: tuple[float, float], framed: int | None, says: str = "") -> Block:
    """A sequence of tokens as a table, a row for each; one of them framed."""
    tokens = tokens.cpu()
    marks = [] if framed is None else [(0, framed, tokens.shape[1], framed + 1, ORANGE)]
    return Block(name, tokens, at, says, TABLE, scale=clipped(tokens[None]), marks=marks)


def whole(seen: UInt8[np.ndarray, "h w 3"], at: tuple[int, int], patch: int) -> Block:
    """The image as the network sees it, one patch framed."""
    (row, column), shape = at, " × ".join(map(str, (3, *seen.shape[:2])))
    marks = [(patch * column, patch * row, patch * (column + 1), patch * (row + 1), ORANGE)]
    says = "A window on a street with one object on it, as the network sees it."
    return Block("image", seen, (0, 0), says, 1.6, seen.shape[:2], caption=shape, marks=marks)


def picture(name: str, image: np.ndarray, at: tuple[float, float], says: str, caption: str, size: float) -> Block:
    return Block(name, image, at, says, size, image.shape[:2], caption=caption)


def frame_of(at: tuple[int, int], side: int, gap: int) -> tuple[float, float, float, float, str]:
    """The frame of a thumbnail, in pixels of the image of all of them."""
    y, x = (place * (side + gap) for place in at)
    return (x, y, x + side, y + side, ORANGE)
