"""R-CNN, Fast and Faster R-CNN, drawn, each grown out of the one before (slides 18 to 21).

What one of them adds stands in a place that is empty in the one before, and all else stays where it was: Fast R-CNN
runs the backbone once, on the image; Faster R-CNN finds the proposals in the feature map.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn

from lecture_utils.detection import RCNN, RPN, FasterRCNN
from lecture_utils.detection.anchors import grid_anchors
from lecture_utils.detection.heads import WEIGHTS
from lecture_utils.detection.rcnn import warp
from lecture_utils.figures.detector_blocks import ACROSS, DOWN, IMAGE, Drawing, clipped, image_block, joined, marks_of
from lecture_utils.figures.detector_traces import Regions, Traced
from lecture_utils.figures.network_blocks import Arrow, Band, Block, Table, scaled
from lecture_utils.figures.style import ORANGE, PURPLE, SKY, to_array

Losses = dict[str, float]
REGIONS = (SKY, PURPLE, "#F0E442")  # the colours of the regions that are followed; the last is yellow
PER_IMAGE, PER_REGION = "#DDECF6", "#FBEBCB"  # light blue and light orange
WIDE = 10.8  # inches of a drawing
MAP = 0.96  # inches: a region's crop, maps or vector
MOST_CLASSES = 5  # whose scores are drawn
MOST_LINES = 30  # proposals that are drawn beside those followed
SURE = 0.5  # the score from which a detection is drawn
# Columns, in inches. The maps of regions stand in one column whether they come from crops or out of the feature map.
LEFT, CROPS, FEATURES, POOLED, VECTORS, SCORES, DELTAS, RIGHT = 1.07, 2.86, 3.2, 4.06, 5.02, 6.26, 7.83, 9.73
RPN_MAPS = (5.6, 7.6, RIGHT)  # and of the maps of the region proposal network
LOSSES = 0.72  # inches from the middle of a row down to the arrow of a loss
STEPS = ("image", "region proposals", "warped regions", "CNN features", "class scores", "box deltas")  # of slide 18
OVER, UNDER = ("top", "top"), ("bottom", "bottom")  # where arrows leave and enter
LAYERS = (  # from, to, and the arrow between them, in those drawings that have both
    ("image", "feature map", "backbone"),
    ("image", "region proposals", "Selective Search", DOWN),  # but for Faster R-CNN
    ("feature map", "RPN convolution", "RPN"),
    ("RPN convolution", "objectness", "RPN"),
    ("RPN convolution", "anchor deltas", "RPN", OVER),
    ("objectness", "region proposals", "decode, NMS", DOWN, False, 0.56),
    ("anchor deltas", "region proposals", "decode, NMS", DOWN, False, 0.56),
    ("anchors", "region proposals", "decode, NMS", DOWN[::-1]),
    ("feature map", "RoI features", "RoI align", ("bottom", "left")),
    ("region proposals", "RoI features", "RoI align", ACROSS),
    ("region proposals", "warped regions", "warp", ACROSS),
    ("warped regions", "CNN features", "backbone"),
    ("CNN features", "vectors", "fully connected"),
    ("RoI features", "vectors", "fully connected"),
    ("vectors", "class scores", "fully connected"),
    ("vectors", "box deltas", "fully connected", OVER),
)


def region_drawing(
    model: nn.Module, image: Tensor, large: np.ndarray, names: Sequence[str], found: Traced, losses: Losses | None
) -> Drawing:
    """What is done once for the image above and at the left, then a row for each of the regions followed."""
    once = not isinstance(model, RCNN)  # whether the backbone runs once for the image, in a row of its own
    rows = range(once, once + len(found.followed.boxes))
    whole = image_parts(model, image, large, found, rows)
    columns = [*region_maps(model, image, large, found, rows), *heads(found.followed, names, rows)]
    each = [block for column in columns for block in column]
    parts = {block.name: [block] for block in whole} | {column[0].name: column for column in columns}
    total = [] if losses is None else [losses_block(losses, (RIGHT, rows[0]))]
    detections = detections_block(found, image, large, sum(rows) / len(rows) + 0.75 * len(total))
    arrows = [
        *layer_arrows(parts),
        *(arrow for block in total for arrow in loss_arrows(parts, block)),
        *joined(parts["box deltas"], [detections], "decode, NMS", ACROSS),
    ]
    top, left = ([block for block in whole if block.at[k] == whole[0].at[k]] for k in (1, 0))
    bands = [Band("once per image", blocks, PER_IMAGE) for blocks in (top, left)]
    if not once:
        for name, sign in zip(STEPS, "①②③④④⑤", strict=True):
            first = parts[name][0]
            first.name, first.label = f"{sign} {first.name}", f"{sign} {first.label}"
    bands.append(Band("once per region", each, PER_REGION))
    return Drawing([*whole, *each, *total, detections], arrows, bands, WIDE)


def layer_arrows(parts: Mapping[str, Sequence[Block]]) -> list[Arrow]:
    """Those of `LAYERS` whose two ends are among the parts; without Selective Search where anchors are."""
    ways = [way for way in LAYERS if {way[0], way[1]} <= parts.keys()]
    if "anchors" in parts:
        ways = [way for way in ways if "Selective Search" not in way]
    return [arrow for start, end, *look in ways for arrow in joined(parts[start], parts[end], *look)]


# Once for the image


def image_parts(model: nn.Module, image: Tensor, large: np.ndarray, found: Traced, rows: range) -> list[Block]:
    """The image, in its row the feature map and the RPN's maps; below the image the anchors and the proposals."""
    count, middle = len(found.proposals), sum(rows) / len(rows)
    above, below, parts = 0, rows[0] + 0.45, []
    says = f"Selective Search proposes {count:,} regions that may hold an object."
    if isinstance(model, RCNN):
        above, below = middle - 0.75, middle + 0.75
    else:
        parts.append(feature_map(found.maps["feature map"], found.followed, model.backbone.stride))
    if isinstance(model, FasterRCNN):
        says = f"Anchors moved by their deltas, sorted by objectness, after NMS: {count:,} proposals."
        parts += [*rpn_maps(found.maps), anchors_block(model.rpn, image, large, found.maps, rows[-1])]
    every = -(-count // MOST_LINES)
    says += " Three of them are followed." + (f" One in {every} is drawn." if every > 1 else "")
    look = {"lines": (found.proposals[::every], "#FFFFFFA0", 1), "marks": marks_of(found.followed.boxes, REGIONS)}
    proposals = image_block("region proposals", large, image, (LEFT, below), says, caption=f"{count} × 4", **look)
    return [image_block("image", large, image, (LEFT, above)), *parts, proposals]


def feature_map(features: Tensor, regions: Regions, stride: int) -> Block:
    """The map with the regions on it, in the channels and colours that show what is in those with an object."""
    says = f"The backbone runs once, on the whole image: a point for every {stride} × {stride} pixels. "
    says += "The regions below lie on it as well."
    boxes, objects = regions.boxes / stride, regions.probabilities.argmax(1) > 0
    look = {"marks": marks_of(boxes, REGIONS), "scale": inside(features, boxes[objects] if objects.any() else boxes)}
    return Block("feature map", features, (FEATURES, 0), says, IMAGE, **look)


def inside(maps: Float[Tensor, "c h w"], boxes: Float[Tensor, "n 4"]) -> Float[Tensor, "c m 1"]:
    """The points of maps inside boxes."""
    last = torch.tensor(maps.shape[:0:-1]).repeat(2) - 1
    corners = boxes.long().clamp(min=0).minimum(last).tolist()
    parts = [maps[:, y0 : y1 + 1, x0 : x1 + 1].flatten(1) for x0, y0, x1, y1 in corners]
    return clipped(torch.cat(parts, dim=1)[..., None])


def rpn_maps(maps: Mapping[str, Tensor]) -> list[Block]:
    """The region proposal network: its convolution, and objectness and deltas of the K anchors."""
    k, largest = len(maps["objectness"]), max(maps["feature map"].shape[-2:])
    parts = {
        "RPN convolution": "The region proposal network: a 3 × 3 convolution over the feature map, the same at every "
        "point.",
        "objectness": f"Is there an object? At each point one number for each of the K = {k} anchors; drawn are "
        "the three that vary most.",
        "anchor deltas": "And where exactly? At each point four numbers, dx, dy, dw, dh, for each of the "
        f"K = {k} anchors.",
    }
    return [
        Block(name, maps[name], (x, 0), says, scaled(maps[name].shape, largest, size=1.5), scale=clipped(maps[name]))
        for (name, says), x in zip(parts.items(), RPN_MAPS, strict=True)
    ]


def anchors_block(rpn: RPN, image: Tensor, large: np.ndarray, maps: Mapping[str, Tensor], row: float) -> Block:
    """The anchors of the point in the middle."""
    k, height, width = maps["objectness"].shape
    anchors = grid_anchors(rpn.base.cpu(), (height, width), rpn.anchor_stride)
    own = anchors.reshape(height, width, k, 4)[height // 2, width // 2]
    sides = (rpn.base[:, 2:] - rpn.base[:, :2]).int()
    says = f"K = {k} anchors of one point, with sides of {sides.min()} to {sides.max()} pixels. With those of all "
    says += f"{height} × {width} points, {len(anchors):,} boxes, the same for every image."
    look = {"lines": (own, ORANGE, 2), "caption": f"{k} of {len(anchors):,}"}
    return image_block("anchors", large, image, (LEFT, row), says, **look)


# Once per region


def region_maps(model: nn.Module, image: Tensor, large: np.ndarray, found: Traced, rows: range) -> list[list[Block]]:
    """The regions' maps: out of the image's feature map, or made of the crops, which stand before them."""
    regions = found.followed
    if not isinstance(model, RCNN):
        shape = " × ".join(map(str, regions.pooled.shape[1:]))
        says = f"RoI align: whatever the region's size, its part of the feature map becomes {shape}."
        return [column("RoI features", regions.pooled, POOLED, rows, says)]
    side = model.head.output_size * model.backbone.stride
    says = f"Each region is cut out of the image and stretched to {side} × {side} pixels, whatever its shape."
    warped = crops_of(large, regions.boxes, image.shape[-2:], side)
    crops = column("warped regions", warped, CROPS, rows, says, label="warped", shape=(3, side, side))
    for block, colour in zip(crops, REGIONS, strict=False):
        block.marks = [(0, 0, side, side, colour)]
    says = f"The whole backbone runs on each of the {len(found.proposals):,} crops, one by one: "
    says += "this is what takes the time."
    return [crops, column("CNN features", regions.pooled, POOLED, rows, says, label="CNN")]


def crops_of(large: np.ndarray, boxes: Tensor, size: tuple[int, int], side: int) -> list[np.ndarray]:
    """The regions of an image of `size`, warped to squares of `side` pixels, as the network sees them."""
    small = Image.fromarray(large).resize(size[::-1], Image.Resampling.BOX)
    pixels = torch.from_numpy(np.array(small)).permute(2, 0, 1)[None].float()
    crops = warp(pixels, [boxes.to(pixels)], side).round().clamp(0, 255).byte()
    return [to_array(crop.permute(1, 2, 0)) for crop in crops]


def heads(regions: Regions, names: Sequence[str], rows: range) -> list[list[Block]]:
    """The vectors, the class scores, and the deltas, those of the class with the highest score."""
    classes = regions.probabilities.shape[1]
    shown = regions.probabilities.amax(0).topk(min(MOST_CLASSES, classes)).indices.sort().values.tolist()
    scores = [{names[label]: each[label].item() for label in shown} for each in regions.probabilities]
    tables = []
    for label, deltas in zip(regions.probabilities.argmax(1).tolist(), regions.deltas, strict=True):
        four = zip(("dx", "dy", "dw", "dh"), (deltas[label] / torch.tensor(WEIGHTS)).tolist(), strict=True)
        words = {name: f"{x:+.2f}".replace("-", "−") if abs(x) >= 0.005 else "0.00" for name, x in four}
        tables.append(Table(words if label else {"": "no box"}))
    says = (
        "Fully connected layers: each region is a single object from here on: one vector, two heads.",
        "Classification of each region: a probability for each class and for background"
        + ("." if len(shown) == classes else "; the highest are drawn."),
        "Four numbers for each class move and stretch the region to fit the object. Background has no box.",
    )
    look = {"size": 1.8, "shape": (classes,), "caption": str(classes)}
    return [
        column("vectors", regions.vectors, VECTORS, rows, says[0], label="vector"),
        column("class scores", scores, SCORES, rows, says[1], **look),
        column("box deltas", tables, DELTAS, rows, says[2], size=0.9, caption=f"{classes} × 4"),
    ]


def column(
    name: str, values: Sequence, x: float, rows: range, says: str, label: str | None = None, **look: object
) -> list[Block]:
    """A block for each region, with what `look` says; the first has the step's name, its label and its sentence."""
    blocks = [
        Block(f"{name} {row}", value, (x, row), label="", scale=clipped(value), **{"size": MAP} | look)
        for value, row in zip(values, rows, strict=True)
    ]
    blocks[0].name, blocks[0].label, blocks[0].says = name, label or name, says
    return blocks


# What comes of it


def losses_block(losses: Losses, at: tuple[float, float]) -> Block:
    """The losses and their sum."""
    table = Table({name: f"{value:.3f}" for name, value in (losses | {"sum": sum(losses.values())}).items()})
    if len(losses) == 2:
        says = "In training: cross-entropy of the class, and smooth L1 of the deltas, of sampled regions."
        return Block("two losses", table, at, says, 1.7, (1,))
    says = "In training: two losses of the RPN, on sampled anchors, two of the head, on sampled proposals; the sum is "
    return Block("four losses", table, at, f"{says}minimized.", 1.7, (1,))


def loss_arrows(parts: Mapping[str, Sequence[Block]], total: Block) -> list[Arrow]:
    """From the first region's heads, below their row, and from the RPN's maps, from above."""
    low = LOSSES - total.sides[1] / 2 - 0.04
    ways = {"box deltas": (UNDER, low), "class scores": (UNDER, low + 0.08)}
    ways |= {name: (DOWN, 0.12) for name in ("objectness", "anchor deltas") if name in parts}
    return [Arrow(parts[name][0], total, "loss", sides, True, bend) for name, (sides, bend) in ways.items()]


def detections_block(found: Traced, image: Tensor, large: np.ndarray, row: float) -> Block:
    boxes = found.detections["boxes"][found.detections["scores"] >= SURE]
    says = f"The deltas applied, duplicates removed by NMS: {len(boxes)} boxes with a score of {SURE} or more."
    look = {"marks": marks_of(boxes, [ORANGE]), "caption": f"{len(boxes)} × 4"}
    return image_block("detections", large, image, (RIGHT, row), says, **look)
