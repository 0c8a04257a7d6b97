"""A vision transformer at work, drawn from its own forward pass, step by step (slides 31 and 32)."""

from collections.abc import Sequence

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor

from lecture_utils.explorers import Explorer
from lecture_utils.figures.detector_blocks import Drawing, clipped, image_block
from lecture_utils.figures.network import network_steps
from lecture_utils.figures.network_blocks import Arrow, Band, Block
from lecture_utils.figures.style import BLUE, FAINT, GREEN, INK, ORANGE, PURPLE, VERMILION
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
    "pick the first": FAINT,
    "linear, softmax": GREEN,
}
EMBEDDING, ENCODER = "#DDECF6", "#FBEBCB"
GAP, WIDE = 0.25, 10.8  # inches between rows, and of a drawing
LIKELIEST = 4  # classes whose probabilities are drawn


def vit_steps(
    model: ViT,
    image: Float[Tensor, "1 c h w"],
    large: UInt8[np.ndarray, "H W 3"],
    at: tuple[int, int],
    names: Sequence[str],
    **how: object,
) -> Explorer:
    """An explorer of `vit_drawing`, a step for each part."""
    drawing = vit_drawing(model, image, large, at, names)
    about = (
        "The framed patch becomes a row of a table; from then on there are only tables, until the first row is read."
    )
    look = {"title": "A vision transformer, step by step", "about": about, "kinds": KINDS, "gap": GAP}
    return network_steps(drawing.blocks, drawing.arrows, bands=drawing.bands, width=drawing.width, **look | how)


@torch.no_grad()
def vit_drawing(
    model: ViT,
    image: Float[Tensor, "1 c h w"],
    large: UInt8[np.ndarray, "H W 3"],
    at: tuple[int, int],
    names: Sequence[str],
) -> Drawing:
    """A ViT at work on one `image`, shown as `large`, the patch `at` (row, column) framed; `names` are the classes'."""
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
    side = large.shape[0] // h
    gap = max(2, side // 6)
    thumbnails = apart(large, side, gap)
    parts = {
        "image": whole(large, image, at, (h, w)),
        "patches": picture("patches", thumbnails, (1.05, 0), f"Cut into {h} × {w} patches of {patch} × {patch} pixels, "
            f"numbered row by row; the framed one is number {number + 1}.", f"{n} × {cuts[0].numel()}", 1.5),
        "patch": picture("one patch", to_photo(cuts[number]).permute(1, 2, 0).numpy(), (1.95, 0), "The framed patch as "
            f"the network sees it: {patch} · {patch} · {cuts.shape[1]} numbers.", f"{cuts[0].numel()}", 0.8),
        "projected": rows("projected", projected, (2.75, 0), number, "One linear layer, the same for every patch, "
            f"makes {dim} numbers of each: a row of the table is a patch."),
        "class token": Block("class token", model.class_token[0, 0].cpu(), (3.15, 1), "The class token: one more row, "
            "learned, the same for every image. It shows no part of it.", 0.8, caption=f"1 × {dim}"),
        "tokens": rows("tokens", torch.cat([model.class_token[0], projected]), (3.6, 0), number + 1,
            f"The class token before the patches: {n + 1} tokens, and the framed one is a row further down."),
        "positions": rows("positions", model.pos_embed[0], (4.5, 0), number + 1, "A learned vector for each place, the "
            "same for every image."),
        "z0": rows("z₀", states[0], (4.5, 1), number + 1, "Tokens plus positions: what enters the first layer."),
    }  # fmt: skip
    parts["patches"].marks = [frame_of(at, side, gap)]
    before = list(parts.values())
    encoder, last = [], parts["z0"]
    arrows = [
        Arrow(parts["image"], parts["patches"], "cut"),
        Arrow(parts["patches"], parts["patch"]),
        Arrow(parts["patch"], parts["projected"], "linear"),
        Arrow(parts["projected"], parts["tokens"], "concatenate"),
        Arrow(parts["class token"], parts["tokens"], "concatenate", ("right", "bottom")),
        Arrow(parts["tokens"], parts["z0"], "add", ("right", "left")),
        Arrow(parts["positions"], parts["z0"], "add", ("bottom", "top")),
    ]
    for k, (weights, state) in enumerate(zip(maps, states[1:], strict=True)):
        table = weights.mean(0).cpu()
        at_x = 0.1 + 3.6 * k / len(maps)
        who = Block(f"attention {k + 1}", table, (at_x, 2), f"Layer {k + 1}: each token (row) attends to all "
            "(columns), the class token first; the mean of the heads.", 1.0, scale=clipped(table[None]))  # fmt: skip
        out = encoded if k == len(maps) - 1 else state
        says = f"After the MLP of layer {k + 1}: still {n + 1} tokens of {dim} numbers."
        tokens = rows(f"after layer {k + 1}", out, (at_x + 1.8 / len(maps), 2), number + 1, says, 1.0)
        arrows += [Arrow(last, who, "self-attention", *([("bottom", "top")] if k == 0 else []))]
        arrows += [Arrow(who, tokens, "self-attention, MLP")]
        encoder, last = [*encoder, who, tokens], tokens
    z = Block("row 1", encoded[0].cpu(), (3.62, 2), "Only the first row is read: what has become of the "
        "class token.", 1.0)  # fmt: skip
    answer = Block("class", shown, (4.37, 2), f"One linear layer and a softmax: {next(iter(shown))}.", 1.9,
        (len(names),), caption=f"{len(names)}")  # fmt: skip
    arrows += [Arrow(last, z, "pick the first"), Arrow(z, answer, "linear, softmax")]
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


def rows(
    name: str, tokens: Float[Tensor, "n d"], at: tuple[float, float], framed: int | None, says: str, size: float = 1.35
) -> Block:
    """A sequence of tokens as a table, a row for each; one of them framed."""
    tokens = tokens.cpu()
    marks = [] if framed is None else [(0, framed, tokens.shape[1], framed + 1, ORANGE)]
    return Block(name, tokens, at, says, size, scale=clipped(tokens[None]), marks=marks)


def whole(large: np.ndarray, image: Tensor, at: tuple[int, int], grid: tuple[int, int]) -> Block:
    """The image as it is shown, one patch framed."""
    across, down = image.shape[3] / grid[1], image.shape[2] / grid[0]
    marks = [(at[1] * across, at[0] * down, (at[1] + 1) * across, (at[0] + 1) * down, ORANGE)]
    shape = " × ".join(map(str, image.shape[1:]))
    says = "A window on a street with one object on it."
    return image_block("image", large, image[0], (0, 0), says, 1.6, caption=shape, marks=marks)


def picture(name: str, image: np.ndarray, at: tuple[float, float], says: str, caption: str, size: float) -> Block:
    return Block(name, image, at, says, size, image.shape[:2], caption=caption)


def frame_of(at: tuple[int, int], side: int, gap: int) -> tuple[float, float, float, float, str]:
    """The frame of a thumbnail, in pixels of the image of all of them."""
    y, x = (place * (side + gap) for place in at)
    return (x, y, x + side, y + side, ORANGE)
