"""DETR drawn from its own forward pass, part by part: every tensor is one that the model gave for this street."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor

from lecture_utils.detection.boxes import denormalize_boxes
from lecture_utils.explorers import Explorer
from lecture_utils.figures.boxes import class_colour
from lecture_utils.figures.detector_blocks import Drawing, clipped, image_block, maps, marks_of, picture, under
from lecture_utils.figures.network import network_steps
from lecture_utils.figures.network_blocks import Arrow, Band, Block, Table
from lecture_utils.figures.style import BLUE, FAINT, GREEN, INK, ORANGE, PURPLE, VERMILION
from lecture_utils.transformers.detr import DETR, sine_position_embedding

KINDS = {  # as in the drawings of notebook 09
    "CNN": BLUE,
    "1 × 1 convolution": GREEN,
    "linear": GREEN,
    "add to queries and keys": FAINT,
    "self-attention": VERMILION,
    "cross-attention": PURPLE,
    "MLP": INK,
    "likeliest class, box": ORANGE,
}
ENCODER, DECODER = "#DDECF6", "#FBEBCB"
ABOUT = "A CNN and an encoder make a vector of each point; the decoder turns learned queries into a set of objects."
WIDE, GAP = 10.8, 0.2
PALE = 0.45  # of its colour a part keeps while another is highlighted


class Traced(NamedTuple):
    """What DETR makes of one map of features on its way to a set."""

    projected: Float[Tensor, "d h w"]
    positions: Float[Tensor, "d h w"]
    encoder: Float[Tensor, "n n"]  # self-attention of the first layer, the mean of its heads
    memory: Float[Tensor, "d h w"]
    decoder: Float[Tensor, "queries queries"]  # self-attention of the last layer
    cross: Float[Tensor, "queries h w"]  # cross-attention of the last layer
    states: Float[Tensor, "queries d"]
    logits: Float[Tensor, "queries classes"]
    boxes: Float[Tensor, "queries 4"]


@torch.no_grad()
def trace(model: DETR, z: Float[Tensor, "1 features h w"]) -> Traced:
    """The forward pass of `DETR`, layer by layer; heads are averaged, all is on the CPU."""
    features = model.backbone(z)
    height, width = features.shape[-2:]
    projected = model.project(features)
    positions = sine_position_embedding(height, width, model.dim, device=z.device)
    places, x = rearrange(positions, "d h w -> (h w) d"), rearrange(projected, "b d h w -> b (h w) d")
    looks = []
    for layer in model.encoder:
        x, weights = layer(x, places, need_weights=True)
        looks.append(weights[0].mean(0))
    memory, states = x, torch.zeros_like(model.queries)[None]
    for layer in model.decoder:
        asking = states + model.queries
        _, among = layer.attend(asking, states, keys=asking, need_weights=True)
        states, weights = layer(states, model.queries, memory, places, need_weights=True)
    states = model.norm(states)
    found = Traced(
        projected[0],
        positions,
        looks[0] if looks else torch.eye(height * width),
        memory[0].T.unflatten(1, (height, width)),
        among[0].mean(0),
        weights[0].mean(0).unflatten(1, (height, width)),
        states[0],
        model.classes(states)[0],
        model.box(states)[0].sigmoid(),
    )
    return Traced(*(value.cpu() for value in found))


def detr_steps(
    model: DETR, z: Float[Tensor, "1 features h w"], large: UInt8[np.ndarray, "H W 3"], names: Sequence[str], **how
) -> Explorer:
    """An explorer of `detr_drawing`, a step for each part."""
    blocks, arrows, bands, width = detr_drawing(model, z, large, names)
    look = {"title": "DETR, step by step", "about": ABOUT, "kinds": KINDS, "gap": GAP, "bands": bands}
    look |= {"width": width, "pale": PALE, "enlarge": True}
    return network_steps(blocks, arrows, **look | how)


def detr_drawing(
    model: DETR,
    z: Float[Tensor, "1 features h w"],
    large: UInt8[np.ndarray, "H W 3"],
    names: Sequence[str],
    *,
    threshold: float = 0.5,
) -> Drawing:
    """DETR at work on the features `z` of an image shown as `large`; `names` are the classes', "no object" first.

    The query with the largest box among those with a score of at least `threshold` is followed.
    """
    if len(z) != 1 or len(names) != model.classes.out_features:
        got = f"{len(z)} images, {len(names)} names"
        raise ValueError(f"z, names: got {got}, expected one image, {model.classes.out_features} names")
    found = trace(model, z)
    d, (h, w), queries = model.dim, z.shape[2:], len(found.boxes)
    scores, labels = found.logits.softmax(-1)[:, 1:].max(-1)
    sure = (scores >= threshold).nonzero()[:, 0]
    area = found.boxes[:, 2:].prod(1) * (scores >= threshold)
    one = int(area.argmax())
    corners = denormalize_boxes(found.boxes, *large.shape[:2])
    colours = [class_colour(int(label) + 1) for label in labels[sure]]
    shares = found.logits[one].softmax(-1).tolist()
    probabilities = {name.split("traffic ")[-1]: f"{share:.2f}" for name, share in zip(names, shares, strict=True)}
    above = [  # columns are inches
        picture("image", large, (0.87, 0), "The street. It enters a CNN, the backbone.", "", 1.5),
        maps("features", livelier(z[0]), (2.8, 0), f"The backbone's map: {z.shape[1]} features for {h} × {w} points."),
        maps("projected", found.projected, (4.6, 0), f"A 1 × 1 convolution leaves {d} numbers for each point."),
        maps(
            "positional encoding", found.positions, (6.2, 0), "Sines and cosines of row and column; not learned.",
            label="positions",
        ),
        Block(
            "encoder self-attention", found.encoder, (7.95, 0),
            "Encoder: each point (row) attends to all (columns), by queries and keys; the mean of the heads.", 1.15,
            scale=clipped(found.encoder[None]), label="self-attention",
        ),
        maps("encoder output", found.memory, (9.62, 0), "A vector of each point that knows of all others (“memory”)."),
    ]  # fmt: skip
    asked = (
        "Learned vectors, the same for every image, are added to answers that start from zeros, in each layer again. "
    )
    asked += "By them each query (row) attends to all others; here in the last layer, the mean of the heads."
    looks = f"Query {one} attends to points of the encoder's output, by keys to which the positions are added again; "
    looks += f"last layer, the mean of the heads. At the right what {len(model.decoder)} decoder layers make of all."
    attended = under(large, found.cross[one], veil=0.05)
    below = [
        rows("object queries", model.queries.detach(), (0.87, 1), asked),
        rows("start: zeros", torch.zeros_like(found.states), (0.87, 2)),
        Block(
            "decoder self-attention", found.decoder, (2.6, 1), "", 1.15, scale=clipped(found.decoder[None]),
            label="self-attention",
        ),
        picture("cross-attention", attended, (4.5, 1), looks, f"{queries} × {h * w}", 1.6),
        Block("positions again", found.positions, (4.5, 2), "", 0.6, scale=clipped(found.positions)),
        rows("decoder output", found.states, (6.4, 1)),
        Block(
            "class", Table(probabilities), (8.1, 1), f"A linear layer and a softmax: the classes, here of query {one}.",
            1.28, caption=f"{queries} × {len(names)}", label=f"class of query {one}",
        ),
        Block(
            "boxes", found.boxes.T, (8.1, 2),
            "An MLP and a sigmoid: centre (x, y), width and height, from 0 to 1; a column for each query.", 1.25,
            scale=clipped(found.boxes.T[None]), caption=f"{queries} × 4",
        ),
        image_block(
            "set", large, torch.empty(3, *large.shape[:2]), (9.87, 1),
            f"The set: the {len(sure)} of {queries} boxes whose class is not “no object”. No NMS follows.", 1.6,
            marks=marks_of(corners[sure], colours), caption=f"{len(sure)} of {queries}",
        ),
    ]  # fmt: skip
    parts = {block.name: block for block in above + below}
    ways = [
        ("image", "features", "CNN"),
        ("features", "projected", "1 × 1 convolution"),
        ("projected", "encoder self-attention", "self-attention", ("top", "top")),
        ("positional encoding", "encoder self-attention", "add to queries and keys"),
        ("encoder self-attention", "encoder output", "MLP"),
        ("object queries", "decoder self-attention", "add to queries and keys"),
        ("start: zeros", "decoder self-attention", "self-attention", ("right", "bottom")),
        ("decoder self-attention", "cross-attention", "cross-attention"),
        ("encoder output", "cross-attention", "cross-attention"),
        ("positions again", "cross-attention", "add to queries and keys", ("top", "bottom")),
        ("cross-attention", "decoder output", "MLP"),
        ("decoder output", "class", "linear"),
        ("decoder output", "boxes", "MLP", ("bottom", "left")),
        ("class", "set", "likeliest class, box"),
        ("boxes", "set", "likeliest class, box", ("right", "bottom")),
    ]
    layers = [f"{len(part)} layer{'s' * (len(part) != 1)}" for part in (model.encoder, model.decoder)]
    bands = [Band(f"backbone and encoder ({layers[0]})", above, ENCODER)]
    bands += [Band(f"decoder ({layers[1]}) and heads", below, DECODER)]
    arrows = [Arrow(parts[start], parts[end], *look) for start, end, *look in ways]
    return Drawing(list(parts.values()), arrows, bands, WIDE)


def livelier(z: Float[Tensor, "c h w"]) -> Float[Tensor, "c h w"]:
    """Each map divided by its 98th percentile: a drawing shows those that vary most, and not those with one peak."""
    return z / z.flatten(1).quantile(0.98, dim=1).clamp(min=1e-6)[:, None, None]


def rows(name: str, vectors: Float[Tensor, "n d"], at: tuple[float, float], says: str = "") -> Block:
    """Vectors as a table: a row for each, as wide as it has numbers."""
    return Block(name, vectors.cpu(), at, says, 1.25, scale=clipped(vectors.cpu()[None]))
