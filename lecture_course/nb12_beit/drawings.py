"""BEiT's pre-training drawn from its own forward pass, step by step (slide 34)."""

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from PIL import Image
from torch import Tensor

from lecture_course.nb12_beit.figures import covered
from lecture_utils.explorers import Explorer
from lecture_utils.figures.detector_blocks import Drawing, clipped, image_block
from lecture_utils.figures.network import network_steps
from lecture_utils.figures.network_blocks import Arrow, Band, Block, Table
from lecture_utils.figures.overlays import to_pixels
from lecture_utils.figures.style import BLUE, FAINT, GREEN, INK, ORANGE, PURPLE, VERMILION
from lecture_utils.figures.transformers import apart
from lecture_utils.tasks.photos import to_photo
from lecture_utils.transformers import MaskedImageModel, masked_token_loss

KINDS = {
    "cut into patches": BLUE,
    "nearest code": ORANGE,
    "linear": GREEN,
    "linear, mask tokens": PURPLE,
    "self-attention, MLP": VERMILION,
    "arg max, codes": INK,
    "loss": FAINT,
}
BACKBONE, TARGET = "#DDECF6", "#FBEBCB"
WIDE, SHOWN = 10.8, 384  # inches of the drawing, pixels of its images


def beit_steps(
    model: MaskedImageModel,
    image: Float[Tensor, "1 c h w"],
    mask: Bool[Tensor, "1 rows columns"],
    large: UInt8[np.ndarray, "H W 3"],
    **how: object,
) -> Explorer:
    """An explorer of `beit_drawing`, a step for each part."""
    blocks, arrows, bands, width = beit_drawing(model, image, mask, large)
    about = "Above, the network fills in hidden patches; below, the unhidden image says which visual tokens are right."
    look = {"title": "Masked image modelling, step by step", "about": about, "kinds": KINDS, "gap": 0.2}
    return network_steps(blocks, arrows, bands=bands, width=width, **look | how)


@torch.no_grad()
def beit_drawing(
    model: MaskedImageModel,
    image: Float[Tensor, "1 c h w"],
    mask: Bool[Tensor, "1 rows columns"],
    large: UInt8[np.ndarray, "H W 3"],
) -> Drawing:
    """A masked image model at work on one image, shown as `large`: tokens, attention, logits and the loss."""
    if len(image) != 1:
        raise ValueError(f"image: got {len(image)} images, expected one")
    backbone, truth = model.backbone, model.tokens(image)
    patches = backbone.patch_embed(image).flatten(2).transpose(1, 2)
    before = torch.where(mask.flatten(1)[..., None], backbone.mask_token, patches)[0]
    tokens, weights = backbone(image, mask, need_weights=True)
    logits, (_, filled) = model(image, mask), model.complete(image, mask)
    loss = masked_token_loss(logits, truth, mask).item()
    (rows, columns), n, dim, words = backbone.grid, mask.numel(), backbone.dim, logits.shape[2]
    hidden, depth = int(mask.sum()), len(backbone.blocks)
    large = np.asarray(Image.fromarray(large).resize((SHOWN, SHOWN), Image.Resampling.LANCZOS))
    pieces = apart(covered(large, mask[0]), SHOWN // rows, SHOWN // rows // 5)
    painted = to_pixels(to_photo(model.tokens.decode(truth, backbone.grid))[0])
    size = " × ".join(map(str, backbone.image_shape))
    street = image_block("street", large, image[0], (0, 0), "A street, without any label.", 1.5, caption=size)
    cut = image_block(
        "hide", pieces, image[0], (1.45, 0),
        f"{rows} × {columns} patches; {hidden} of them, in blocks, are hidden from the network.",
        size=1.5, caption=f"{n} × {image[0].numel() // n}",
    )  # fmt: skip
    embedded = table(
        "tokens", before, (2.5, 0), f"Each patch becomes {dim} numbers; each hidden one is the same learned vector."
    )
    attended = weights[0][0].mean(0).cpu()[1:, 1:]
    says = f"{depth} layers; here the attention of the first, mean of the heads, with a bias for each offset. Out come "
    says += "the features, a vector for each patch: all that is kept for fine-tuning."
    looks = Block(
        "attention", attended, (3.4, 0), says, 1.15,
        scale=clipped(attended[None]), caption=f"{n} × {n}",
    )  # fmt: skip
    after = table("features", tokens[0, 1:], (4.3, 0))
    scores = table("logits", logits[0], (5.3, 0), f"A linear layer: for each patch a score of each of {words} tokens.")
    guess = image_block(
        "filled in", to_pixels(to_photo(filled)[0]), image[0], (6.5, 0),
        "The likeliest visual token of each hidden patch, painted with its code.", size=1.5, caption=size,
    )  # fmt: skip
    target = image_block(
        "visual tokens", painted, image[0], (2.5, 1),
        f"Ground truth, from the whole image: the number, 0 to {words - 1}, of each patch's nearest code.",
        size=1.5, caption=f"{n} numbers",
    )  # fmt: skip
    end = Block(
        "loss", Table({"cross-entropy": f"{loss:.2f}"}), (5.3, 1),
        f"Cross-entropy of the {hidden} hidden patches only. With all {words} tokens alike: {np.log(words):.2f}.",
        1.7, caption="1 number",
    )  # fmt: skip
    blocks = [street, cut, embedded, looks, after, scores, guess, target, end]
    arrows = [
        Arrow(street, cut, "cut into patches"),
        Arrow(cut, embedded, "linear, mask tokens"),
        Arrow(embedded, looks, "self-attention, MLP"),
        Arrow(looks, after, "self-attention, MLP"),
        Arrow(after, scores, "linear"),
        Arrow(scores, guess, "arg max, codes"),
        Arrow(street, target, "nearest code", ("bottom", "left")),
        Arrow(scores, end, "loss", ("bottom", "top")),
        Arrow(target, end, "loss"),
    ]
    bands = [Band("backbone", [embedded, looks, after], BACKBONE), Band("visual tokens, not trained", [target], TARGET)]
    return Drawing(blocks, arrows, bands, WIDE)


def table(name: str, rows: Float[Tensor, "n d"], at: tuple[float, float], says: str = "") -> Block:
    """A sequence of vectors as a table, a row for each patch."""
    rows = rows.cpu()
    return Block(name, rows, at, says, 1.25, scale=clipped(rows[None]))
