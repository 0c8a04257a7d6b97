"""Self-attention on a grid and two captioners made of transformers, drawn from their own forward passes, step by step.

Every tensor is one that the model gave for this street and this sentence, with its own shape (slides 28 to 30).
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from matplotlib.figure import Figure
from torch import Tensor

from lecture_utils.captioning import CaptionTransformer, ViTCaptioner, Vocabulary
from lecture_utils.explorers import Explorer
from lecture_utils.figures.detector_blocks import Drawing, clipped, maps, picture
from lecture_utils.figures.network import draw_network, network_steps
from lecture_utils.figures.network_blocks import Arrow, Band, Block, Table
from lecture_utils.figures.style import BLUE, FAINT, GREEN, INK, ORANGE, PURPLE, SKY, VERMILION
from lecture_utils.figures.transformers import apart
from lecture_utils.transformers import GridSelfAttention

KINDS = {  # the same colour for an operation in all three drawings
    "CNN": BLUE,
    "cut": BLUE,
    "1 × 1 convolution": GREEN,
    "embedding + position": GREEN,
    "pick the point": FAINT,
    "Q, K": ORANGE,
    "softmax": PURPLE,
    "weights": PURPLE,
    "V": SKY,
    "add": INK,
    "residual: add": INK,
    "MLP": VERMILION,
    "the next layer": FAINT,
}
ENCODER, DECODER = "#DDECF6", "#FBEBCB"
GAP, WIDE = 0.2, 10.8  # inches between rows, and of a drawing
STRIP_GAP = 0.32  # where a residual connection passes below
LAYER_NORM = "Vectors run to the right, weights (means of the heads) stand above. Before Q, K, V and MLP: a layer norm."
YELLOW = "#F0E442"
FIRST = 32  # rows and columns of a table that are drawn
FADED = 0.45  # of its colour a part keeps while another is highlighted
Tokens = Float[Tensor, "n d"]


def block_steps(
    block: GridSelfAttention,
    x: Float[Tensor, "1 c h w"],
    large: UInt8[np.ndarray, "H W 3"],
    at: tuple[int, int],
    **how: object,
) -> Explorer:
    """An explorer of `block_drawing`, a step for each part."""
    blocks, arrows, bands, width = block_drawing(block, x, large, at)
    about = "One point asks, all points answer: queries, keys and values are 1 × 1 convolutions of the same map."
    look = {
        "title": "Self-attention on a feature map, step by step",
        "about": about,
        "kinds": KINDS,
        "gap": GAP,
        "pale": FADED,
    }
    return network_steps(blocks, arrows, bands=bands, width=width, **look | how)


@torch.no_grad()
def block_drawing(
    block: GridSelfAttention, x: Float[Tensor, "1 c h w"], large: UInt8[np.ndarray, "H W 3"], at: tuple[int, int]
) -> Drawing:
    """SAGAN's block at work on the map `x` of an image, shown as `large`, followed for the point `at` (row, column)."""
    (row, column), (h, w) = at, x.shape[2:]
    if len(x) != 1 or not (0 <= row < h and 0 <= column < w):
        raise ValueError(f"at: got {at} in x of shape {tuple(x.shape)}, expected a point of one map (1, c, h, w)")
    queries, keys, values = (layer(x)[0].cpu() for layer in (block.query, block.key, block.value))
    out, weights = block(x)
    map_ = weights[0, row * w + column].view(h, w).cpu()
    query = queries[:, row, column]
    scores = torch.einsum("c,chw->hw", query, keys)
    mixed = torch.einsum("hw,chw->c", map_, values)
    back = block.out(mixed.to(x)[None, :, None, None])[0, :, 0, 0].cpu()
    number, n, gamma = len(x[0]), h * w, block.gamma.item()
    parts = {
        "image": picture("image", large, (0, 2), "The street; one point of the feature map is framed.", ""),
        "x": maps("x", x[0], (0, 1), f"The feature map of a CNN: {number} numbers for each of {n} points."),
        "Q": maps("Q", queries, (1.3, 0), f"Queries, what each point looks for: {len(query)} numbers, C/8 of x's."),
        "K": maps("K", keys, (1.3, 1), "Keys, what each point offers to be found by; as long as a query."),
        "V": maps("V", values, (1.3, 2), "Values, what each point hands over; in the paper C/8 numbers, too."),
        "q": Block("q", query, (2.2, 0), "The query of the framed point alone.", 0.8),
        "scores": maps("scores", scores, (2.95, 1), f"The dot products of q with all {n} keys; not divided by √d."),
        "weights": maps("weights", map_, (4.1, 1), f"A softmax over all {n} points: none below 0, their sum is 1."),
        "mixed": Block("mixed", mixed, (4.1, 2), "The mean of all values with these weights.", 0.8),
        "back": Block("mixed · W", back, (4.85, 2), f"A fourth 1 × 1 convolution, W, gives C = {number} numbers.", 0.8),
        "y": maps("y", out[0], (5.5, 1), f"y = x + γ · mixed · W at every point; γ began at 0 and is {gamma:.2f} now."),
    }  # fmt: skip
    for name in ("image", "x", "Q", "scores", "weights", "y"):
        framed(parts[name], at, (h, w))
    fork, over = ("right", "left"), ("top", "top")
    ways = [
        ("image", "x", "CNN", ("top", "bottom")),
        *((("x", name, "1 × 1 convolution", fork)) for name in "QKV"),
        ("Q", "q", "pick the point"),
        ("q", "scores", "Q, K", ("right", "top")),
        ("K", "scores", "Q, K"),
        ("scores", "weights", "softmax"),
        ("weights", "mixed", "weights"),
        ("V", "mixed", "V"),
        ("mixed", "back", "1 × 1 convolution"),
        ("back", "y", "add", ("right", "bottom")),
        ("x", "y", "add", over),
    ]
    return Drawing(
        list(parts.values()), [Arrow(parts[start], parts[end], *look) for start, end, *look in ways], [], WIDE
    )


def framed(block: Block, at: tuple[int, int], grid: tuple[int, int]) -> Block:
    """The block with a frame around a point of the grid that covers it."""
    down, right = block.shape[-2] / grid[0], block.shape[-1] / grid[1]
    block.marks = [(at[1] * right, at[0] * down, (at[1] + 1) * right, (at[0] + 1) * down, ORANGE)]
    return block


def high_framed(block: Block, map_: Float[Tensor, "h w"]) -> Block:
    """The block with a frame around each cell of the map that has at least half of its largest weight."""
    down, right = block.shape[-2] / map_.shape[0], block.shape[-1] / map_.shape[1]
    high = (map_ >= map_.max() / 2).nonzero().tolist()
    block.marks = [(x * right, y * down, (x + 1) * right, (y + 1) * down, YELLOW) for y, x in high]
    return block


def captioner_steps(
    model: CaptionTransformer,
    z: Float[Tensor, "1 features ..."],
    large: UInt8[np.ndarray, "H W 3"],
    sentence: str,
    vocabulary: Vocabulary,
    **how: object,
) -> Explorer:
    """An explorer of `captioner_drawing`, a step for each part."""
    drawing = captioner_drawing(model, z, large, sentence, vocabulary)
    title = "Encoder and decoder, step by step"
    look = {"title": title, "about": LAYER_NORM, "kinds": KINDS, "gap": STRIP_GAP, "bands": drawing.bands}
    return network_steps(drawing.blocks, drawing.arrows, width=drawing.width, pale=FADED, **look | how)


def captioner_figure(
    model: CaptionTransformer,
    z: Float[Tensor, "1 features ..."],
    large: UInt8[np.ndarray, "H W 3"],
    sentence: str,
    vocabulary: Vocabulary,
    *,
    encoder_only: bool = False,
) -> Figure:
    """`captioner_drawing` as one figure, or its upper half."""
    drawing = captioner_drawing(model, z, large, sentence, vocabulary)
    blocks = drawing.bands[0].blocks if encoder_only else drawing.blocks
    arrows = [arrow for arrow in drawing.arrows if arrow.start in blocks and arrow.end in blocks]
    bands = drawing.bands[: 1 if encoder_only else 2]
    look = {"about": LAYER_NORM, "kinds": KINDS, "gap": STRIP_GAP, "bands": bands, "width": drawing.width}
    return draw_network(blocks, arrows, **look)


@torch.no_grad()
def captioner_drawing(
    model: CaptionTransformer,
    z: Float[Tensor, "1 features ..."],
    large: UInt8[np.ndarray, "H W 3"],
    sentence: str,
    vocabulary: Vocabulary,
) -> Drawing:
    """A captioner at work: above the encoder on one image, shown as `large`, below the decoder on the words so far.

    The vectors run from left to right, the weights that mix them stand above; of the first layer each part is drawn.
    `z` (1, …) is what the model takes: a CNN's features, or for a `ViTCaptioner` the image itself. The drawing ends
    with the words that are most likely to come after `sentence`.
    """
    if len(z) != 1:
        raise ValueError(f"z: got {len(z)} images, expected one")
    numbers = torch.tensor([vocabulary.encode(sentence)[:-1]], device=z.device)
    words = [vocabulary.words[number] for number in numbers[0].tolist()]
    c = model.encode(z)
    above, below = encoder_parts(model, z, c, large), decoder_parts(model, c, numbers, words, large)
    image, source, tokens, table, attended, thought, memory = above
    read, embedded, mask, spoken, over, asked, weighed, logits = below
    below[-1] = following = Block(
        "next word",
        likeliest(logits, vocabulary),
        (6.15, 3),
        f"A last linear layer makes {len(vocabulary)} numbers of the {c.shape[2]} of each word. "
        f"Behind “{words[-1]}” these words are the likeliest.",
        1.5,
        (len(vocabulary),),
        caption=f"{len(words)} × {len(vocabulary)}",
    )
    around = "bottom", "bottom"
    ways = [
        (image, source, "cut" if isinstance(model, ViTCaptioner) else "CNN"),
        (source, tokens, "embedding + position"),
        *mixing(tokens, table, attended),
        (attended, thought, "MLP"),
        (attended, thought, "residual: add", around),
        (thought, memory, "the next layer"),
        (read, embedded, "embedding + position"),
        *mixing(embedded, mask, spoken),
        (spoken, over, "Q, K", ("right", "bottom")),
        (memory, over, "Q, K", ("bottom", "top")),
        (over, asked, "weights", ("right", "top")),
        (memory, asked, "V", ("bottom", "top")),
        (spoken, asked, "residual: add"),
        (asked, weighed, "MLP"),
        (asked, weighed, "residual: add", around),
        (weighed, following, "the next layer"),
    ]
    bends = {(memory, over): 0.16, (memory, asked): 0.3}
    arrows = [Arrow(start, end, *look, bend=bends.get((start, end))) for start, end, *look in ways]
    for arrow in arrows:  # the second residual connection starts beside the head of the first one
        arrow.shift = 0.22 * (arrow.start is attended and arrow.sides == around)
    layers = f"{len(model.encoder)} layers", f"{len(model.decoder)} layers"
    bands = [
        Band(f"encoder, {layers[0]}, once per image", above, ENCODER),
        Band(f"decoder, {layers[1]}, in speaking once per word, in training once in all", below, DECODER),
    ]
    return Drawing([*above, *below], arrows, bands, WIDE)


def mixing(x: Block, weights: Block, mixed: Block) -> list[tuple]:
    """The ways of self-attention: queries and keys make weights, these mix the values, and x itself is added."""
    return [
        (x, weights, "Q, K", ("top", "left")),
        (weights, mixed, "weights", ("right", "top")),
        (x, mixed, "V"),
        (x, mixed, "residual: add", ("bottom", "bottom")),
    ]


def encoder_parts(
    model: CaptionTransformer, z: Tensor, c: Float[Tensor, "1 n d"], large: UInt8[np.ndarray, "H W 3"]
) -> list[Block]:
    """The image, what is made of it, the tokens, the first layer (weights, after attention, after the MLP), and c."""
    (h, w), d, layers = model.grid, c.shape[2], len(model.encoder)
    if isinstance(model, ViTCaptioner):
        pixels, size = model.cut(z), " × ".join(map(str, model.image_shape))
        pieces = apart(large, large.shape[0] // h, max(2, large.shape[0] // h // 5))
        says = f"{h} × {w} patches, each a row of {pixels.shape[1]} numbers: red, green and blue of its pixels."
        source = picture("patches", pieces, (1.2, 1), "", f"{h * w} × {pixels.shape[1]}", 1.4)
    else:
        pixels, size = z, ""
        says = f"Spatial features of a CNN that has learned to find boxes: {z.shape[1]} for each of {h * w} points."
        source = Block("z", z[0].cpu(), (1.2, 1), scale=clipped(z[0].cpu()))
    x, first = model.encode_grid(pixels), model.encoder[0]
    attended, weights = first.attend(first.norm_self(x), need_weights=True)
    after = x + attended
    thought = after + first.mlp(first.norm_mlp(after))
    kind, name = ("patch", "patch embedding") if isinstance(model, ViTCaptioner) else ("point", "linear layer")
    return [
        picture("image", large, (0, 1), says, size, 1.6),
        source,
        strip(
            "tokens x",
            x[0],
            (2.3, 1),
            f"Each {kind} becomes a token of {d} numbers, by one {name}; its position is added.",
        ),
        table(
            "self-attention",
            weights[0].mean(0).cpu(),
            (2.95, 0),
            "Self-attention: which token (row) attends to which (column), by queries and keys; mean of the heads.",
        ),
        strip(
            "x + attention",
            after[0],
            (3.65, 1),
            "The weights mix the values; the result is added to x, a residual connection.",
        ),
        strip(
            "MLP",
            thought[0],
            (4.75, 1),
            "The position-wise MLP, a small network for each token alone; x + attention is added.",
        ),
        strip("c", c[0], (5.95, 1), f"c = T_w(z), after {layers} such layers: a vector for each token."),
    ]


def decoder_parts(
    model: CaptionTransformer,
    c: Float[Tensor, "1 n d"],
    numbers: Int64[Tensor, "1 t"],
    words: Sequence[str],
    large: UInt8[np.ndarray, "H W 3"],
) -> list:
    """The words, their vectors, the first layer (both attentions with their weights, the MLP), and the last logits."""
    x, first, t = model.embed(numbers) + model.pos_embed[: len(words)], model.decoder[0], len(words)
    said, causal = first.attend(first.norm_self(x), is_causal=True, need_weights=True)
    after = x + said
    seen, cross = first.attend_memory(first.norm_cross(after), c, need_weights=True)
    asked = after + seen
    thought = asked + first.mlp(first.norm_mlp(asked))
    says = f"Cross-attention: queries of the words, keys of c. Framed: where “{words[-1]}” gives most weight."
    map_ = cross[0, :, -1].mean(0).cpu().view(model.grid)
    return [
        Block(
            "words",
            Table({f"y{chr(0x2080 + k)}": word for k, word in enumerate(words)}),
            (0, 3),
            f"The words so far, y₀ is <start>; each becomes {c.shape[2]} learned numbers, and its position is added.",
            1.25,
            (t,),
        ),
        strip("embedded", x[0], (1.2, 3), ""),
        table(
            "masked self-attention",
            causal[0].mean(0).cpu(),
            (1.85, 2),
            "Masked self-attention: a word (row) attends to itself and to those before it (columns), to none after.",
        ),
        strip("+ self-attention", after[0], (2.55, 3), "The words' values, mixed by these weights, and added."),
        high_framed(
            picture("cross-attention", large, (3.3, 2), says, f"row “{words[-1]}” of {t} × {c.shape[1]}", 1.95), map_
        ),
        strip(
            "+ cross-attention",
            asked[0],
            (4.22, 3),
            "The values of c, mixed by these weights: what each word has found, added.",
        ),
        strip(
            "MLP of the decoder",
            thought[0],
            (5.08, 3),
            "The position-wise MLP of the decoder, each word for itself; added.",
        ),
        model.decode(c, numbers)[0][0, -1].cpu(),
    ]


def strip(name: str, tokens: Tokens, at: tuple[float, float], says: str) -> Block:
    """A sequence of tokens as a table, a row for each: upright if they are many, else its rows are stretched."""
    n, d = tokens.shape
    sides = (100, 60) if n > d else (50, 100)
    scale, shape = clipped(tokens.cpu()[None]), f"{n} × {d}"
    label = "+ MLP" if "MLP" in name else name
    size = 1.2 if n > d else 1.05
    return Block(name, tokens.cpu(), at, says, size, sides, label=label, scale=scale, caption=shape)


def table(name: str, weights: Float[Tensor, "n n"], at: tuple[float, float], says: str) -> Block:
    """The weights as a table; of a large one its first rows and columns, so that cells can be seen."""
    part, n = weights[:FIRST, :FIRST], len(weights)
    caption = f"{FIRST} × {FIRST} of {n} × {n}" if n > FIRST else None
    return Block(name, part, at, says, 1.5, scale=clipped(part[None]), label="row attends to column", caption=caption)


def likeliest(logits: Float[Tensor, "words"], vocabulary: Vocabulary, number: int = 4) -> dict[str, float]:
    """The most probable words and their probabilities."""
    probabilities, numbers = logits.float().softmax(-1).topk(number)
    return {vocabulary.words[k]: p for k, p in zip(numbers.tolist(), probabilities.tolist(), strict=True)}
