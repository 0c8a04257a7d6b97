"""Four detectors at work, drawn from their own forward passes, each grown out of the one before (slides 14 to 21).

What one of them adds stands in a place that is empty in the one before, and all else stays where it was: the single
object's vector and two heads are those of each region of R-CNN; Fast R-CNN runs the backbone once, on the image; Faster
R-CNN finds the proposals in the feature map.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw
from torch import Tensor, nn
from torch.nn.functional import adaptive_max_pool1d

from lecture_utils.detection import RCNN, FasterRCNN, FastRCNN, SingleObject
from lecture_utils.detection.anchors import grid_anchors
from lecture_utils.detection.boxes import box_iou, denormalize_boxes, normalize_boxes
from lecture_utils.detection.heads import WEIGHTS
from lecture_utils.detection.rcnn import warp
from lecture_utils.detection.single_object import class_and_box_losses
from lecture_utils.explorers import Explorer
from lecture_utils.figures.network import LINE, Arrow, Band, Block, Mark, Table, network_steps, scaled
from lecture_utils.figures.style import (
    BLUE,
    CSS_PIXELS_PER_INCH,
    FAINT,
    GREEN,
    INK,
    ORANGE,
    PURPLE,
    SKY,
    to_array,
)
from lecture_utils.segmentation.shapes import layer_calls

YELLOW = "#F0E442"
REGIONS = (SKY, PURPLE, YELLOW)  # the colours of the regions that are followed
KINDS = {  # the same colour for a layer in all drawings
    "backbone": BLUE,
    "flatten": SKY,
    "Selective Search": PURPLE,
    "RPN": PURPLE,
    "warp": GREEN,
    "RoI align": GREEN,
    "fully connected": ORANGE,
    "decode, NMS": INK,
    "loss": FAINT,
}
GAP = 0.18  # inches between rows
PER_IMAGE, PER_REGION = "#DDECF6", "#FBEBCB"  # light blue and light orange
IMAGE, MAP = 1.3, 0.82  # inches: an image or the map of a whole one; a region's
LONGEST = 256  # of a longer vector, the largest of every few numbers is drawn
SURE = 0.5  # the score from which a detection is drawn
# Columns, in inches. The maps of regions stand in one column whether they come from crops or out of the feature map.
LEFT, CROPS, FEATURES, POOLED, VECTORS, SCORES, DELTAS, RIGHT = 0.78, 2.1, 2.35, 3.12, 3.98, 5.1, 6.42, 7.95
RPN_MAPS, OBJECTNESS, ANCHOR_DELTAS = 4.3, 6.2, RIGHT
LOSSES = 0.72  # inches from the middle of a row down to the arrow of a loss


class Drawing(NamedTuple):
    """What `draw_network` takes."""

    blocks: list[Block]
    arrows: list[Arrow]
    bands: list[Band]


def detector_steps(
    model: nn.Module,
    image: Float[Tensor, "1 3 h w"],
    large: UInt8[np.ndarray, "H W 3"],
    *,
    names: Sequence[str],
    proposals: Float[Tensor, "n 4"] | None = None,
    target: Mapping[str, Tensor] | None = None,
    regions: Sequence[int] | None = None,
    weight: float = 1.0,
    kilobytes: int = 250,
) -> Explorer:
    """An explorer of `detector_drawing`: the whole detector, then a step for each of its parts."""
    drawing = detector_drawing(
        model, image, large, names=names, proposals=proposals, target=target, regions=regions, weight=weight
    )
    title, about = ABOUT[type(model)]
    look = {"kilobytes": kilobytes, "gap": GAP, "bands": drawing.bands, "kinds": KINDS}
    return network_steps(drawing.blocks, drawing.arrows, title=f"{title}, step by step", about=about, **look)


def detector_drawing(
    model: nn.Module,
    image: Float[Tensor, "1 3 h w"],
    large: UInt8[np.ndarray, "H W 3"],
    *,
    names: Sequence[str],
    proposals: Float[Tensor, "n 4"] | None = None,
    target: Mapping[str, Tensor] | None = None,
    regions: Sequence[int] | None = None,
    weight: float = 1.0,
) -> Drawing:
    """A detector at work on an `image` (1, 3, h, w): every tensor is one that the model gave, with its own shape.

    `model` is a `SingleObject` (slide 14), `RCNN` (18), `FastRCNN` (19) or `FasterRCNN` (20 and 21), in evaluation
    mode. `large` is the same image as it is shown; `names` are those of the classes, the background first. `proposals`
    (n, 4), in pixels of `image`, go to R-CNN and Fast R-CNN; `regions` are the numbers of those that are followed, at
    most three, by default two of different classes and one of background. `target` holds `boxes` (m, 4) and `labels`
    (m,): with them the losses are drawn; a single object needs them, and its L2 loss counts `weight` times.
    """
    check_image(model, image, large, target)
    match model:
        case SingleObject():
            require_none("SingleObject", proposals=proposals, regions=regions)
            return single_object_drawing(model, image, large, names, target, weight)
        case FasterRCNN():
            require_none("FasterRCNN", proposals=proposals)
        case RCNN() | FastRCNN():
            if proposals is None or proposals.ndim != 2 or proposals.shape[1:] != (4,) or not len(proposals):
                got = "None" if proposals is None else f"shape {tuple(proposals.shape)}"
                raise ValueError(f"proposals: got {got}, expected (n, 4) with at least one")
        case _:
            expected = "SingleObject, RCNN, FastRCNN or FasterRCNN"
            raise ValueError(f"model: got {type(model).__name__}, expected {expected}")
    given = {} if proposals is None else {"proposals": [proposals.to(image)]}
    found = trace(model, image, given)
    if len(names) != model.head.num_classes:
        raise ValueError(f"names: got {len(names)}, expected {model.head.num_classes}, one for each class")
    followed = found.most_telling() if regions is None else list(regions)
    if not 0 < len(followed) <= len(REGIONS) or not all(0 <= i < len(found.proposals) for i in followed):
        raise ValueError(f"regions: got {regions}, expected 1 to 3 numbers from 0 to {len(found.proposals) - 1}")
    losses = None if target is None else losses_of(model, image, given, target)
    return region_drawing(model, image, large, names, found, followed, losses)


def check_image(model: nn.Module, image: Tensor, large: np.ndarray, target: Mapping[str, Tensor] | None) -> None:
    if model.training:
        raise ValueError("model: got one in training mode, expected model.eval()")
    if image.ndim != 4 or image.shape[:2] != (1, 3):
        raise ValueError(f"image: got shape {tuple(image.shape)}, expected (1, 3, h, w)")
    if large.ndim != 3 or large.shape[2] != 3 or large.dtype != np.uint8:
        raise ValueError(f"large: got {large.dtype} {large.shape}, expected uint8 (H, W, 3)")
    if target is not None and len(target["boxes"]) != len(target["labels"]):
        raise ValueError(f"target: got {len(target['boxes'])} boxes, expected {len(target['labels'])}, one a label")


def require_none(model: str, **arguments: object) -> None:
    for name, given in arguments.items():
        if given is not None:
            raise ValueError(f"{name}: got some for {model}, expected none: it has no use for them")


# The single object


def feature_stages(backbone: nn.Module, image: Float[Tensor, "1 3 h w"]) -> list[Float[Tensor, "c h w"]]:
    """The last feature map of each size that a backbone makes of an image, in its order."""
    layers = {name or "backbone": layer for name, layer in backbone.named_modules()}
    stages: list[Tensor] = []
    for calls in layer_calls(backbone, image, layers).values():  # in the order in which they end
        output = calls[-1][1]
        if output.ndim == 4:
            stages[len(stages) - (stages != [] and stages[-1].shape[1:] == output.shape[2:]) :] = [output[0]]
    return stages


def single_object_drawing(
    model: SingleObject,
    image: Float[Tensor, "1 3 h w"],
    large: UInt8[np.ndarray, "H W 3"],
    names: Sequence[str],
    target: Mapping[str, Tensor] | None,
    weight: float,
) -> Drawing:
    """Slide 14: the backbone's stages above; below, the vector, its two heads, and their two losses."""
    if target is None or target["boxes"].shape != (1, 4):
        got = "None" if target is None else f"boxes {tuple(target['boxes'].shape)}"
        raise ValueError(f"target: got {got}, expected one box and its label")
    heads = {"vector": model.backbone, "classes": model.classes, "box": model.box}
    outputs = {name: calls[-1][1] for name, calls in layer_calls(model, image, heads).items()}
    scores, box = (outputs[name].float().cpu() for name in ("classes", "box"))
    if len(names) != scores.shape[1]:
        raise ValueError(f"names: got {len(names)}, expected {scores.shape[1]}, one for each class")
    size, label = image.shape[-2:], torch.as_tensor(target["labels"]).cpu().reshape(1)
    true = normalize_boxes(torch.as_tensor(target["boxes"], dtype=torch.float32).cpu(), *size)
    of_class, of_box = (loss.item() for loss in class_and_box_losses(scores, box, label, true))
    stages = feature_stages(model.backbone, image)
    probabilities = dict(zip(names, scores[0].softmax(0).tolist(), strict=True))
    said = max(probabilities, key=probabilities.get)

    blocks = [image_block("image", large, image, (0, 0), "The input: red, green and blue of each pixel.", size=1.45)]
    arrows, right, pitch = [], 1.2, 8 / (0.6 + len(stages))
    for n, maps in enumerate(stages, start=1):
        side = scaled(maps.shape, max(size), size=1.35)
        says = STAGES[0] if n == 1 else STAGES[2] if n == len(stages) else STAGES[1]
        blocks.append(maps_block(f"stage {n}", maps, (right + pitch * (n - 0.5), 0), says, side))
        arrows.append(Arrow(*blocks[-2:], "backbone"))
    numbers = f"{outputs['vector'].shape[1]:,} numbers"
    says = f"The last map laid out as {numbers}: one vector for the whole image. Both heads read it."
    flat = outputs["vector"][0].numel() == stages[-1].numel()
    values = outputs["vector"][0].float()
    peaks = adaptive_max_pool1d(values[None], min(LONGEST, len(values)))[0]
    vector = Block("vector", peaks, (0.4, 1.5), says, 1.7, values.shape, scale=clipped(peaks))
    arrows.append(Arrow(blocks[-1], vector, "flatten" if flat else "fully connected", ("bottom", "top")))
    says = f"Classification: {len(names)} scores, of which softmax makes probabilities; the highest is that of {said}."
    best = dict(sorted(probabilities.items(), key=lambda item: -item[1])[:5])
    classes = Block("class scores", best, (2.25, 1), says, 2.0, scores.shape[1:], caption=str(scores.shape[1]))
    says = "Localization: four numbers, the box's centre (x, y), width and height as fractions of the image."
    numbers = Table(zip("xywh", map("{:.2f}".format, box[0]), strict=True))
    numbers = Block("box", numbers, (1.7, 2), says, size=0.9, shape=box.shape[1:], caption=str(box.shape[1]))
    marks = [*marks_of(target["boxes"], ["white"]), *marks_of(denormalize_boxes(box, *size), [ORANGE])]
    shown = image_block("box on the image", large, image, (3.7, 2), "", marks=marks, size=1.2, caption="4")
    goal = zip("xywh", true[0].tolist(), strict=True)
    losses = [
        Block(
            "cross-entropy",
            Table({"target": names[label], "loss": decimals(of_class)}),
            (5.75, 1),
            f"Cross-entropy: −log of the probability that the true class, {names[label]}, was given.",
            size=1.6,
            shape=(1,),
        ),
        Block(
            "L2",
            Table({f"target {x}": f"{value:.2f}" for x, value in goal} | {"loss": decimals(of_box)}),
            (5.75, 2),
            "L2: the sum of the four squared differences to the true box, which is white on the image.",
            size=1.6,
            shape=(1,),
        ),
    ]
    whole = Table({"cross-entropy": decimals(of_class), f"{weight:g} × L2": decimals(weight * of_box)})
    whole["sum"] = decimals(of_class + weight * of_box)
    says = "Classification + localization: one number is minimized, and both heads and the backbone learn from it."
    total = Block("loss", whole, (7.95, 1.5), says, size=1.9, shape=(1,))
    across = ("right", "left")
    arrows += [
        *(Arrow(vector, head, "fully connected", across) for head in (classes, numbers)),
        Arrow(numbers, shown),
        *(Arrow(start, end, "loss", dashed=True) for start, end in zip((classes, shown), losses, strict=True)),
        *(Arrow(loss, total, "loss", across, dashed=True) for loss in losses),
    ]
    return Drawing([*blocks, vector, classes, numbers, shown, *losses, total], arrows, [])


# The detectors of many objects


class Traced(NamedTuple):
    """What a detector gave for one image: of each proposal its maps, its vector, its scores and its deltas."""

    proposals: Float[Tensor, "n 4"]
    pooled: Float[Tensor, "n c side side"]
    vectors: Float[Tensor, "n hidden"]
    probabilities: Float[Tensor, "n classes"]
    deltas: Float[Tensor, "n classes 4"]
    detections: dict[str, Tensor]
    seen: Tensor  # what the backbone was given: the image, or the crops of all proposals
    features: Tensor  # what it made of that
    rpn: dict[str, Tensor]  # Faster R-CNN's: maps of the 3 × 3 convolution, of objectness and of deltas

    def most_telling(self) -> list[int]:
        """The surest proposal; the surest elsewhere, of another class if there is one; one of background, as large."""
        score, label = self.probabilities[:, 1:].max(1)
        chosen = [int(score.argmax())]
        apart = lambda: box_iou(self.proposals, self.proposals[chosen]).amax(1) < 0.1  # noqa: E731
        other = score * apart() * (1 + (label != label[chosen[0]]))
        if other.max() > 0:
            chosen.append(int(other.argmax()))
        area = (self.proposals[:, 2:] - self.proposals[:, :2]).prod(1).clamp(min=1).log()
        empty = apart() & (self.probabilities[:, 0] > 0.9)
        if empty.any():
            chosen.append(int((area - area[chosen[0]]).abs().where(empty, torch.inf).argmin()))
        return chosen


def trace(model: nn.Module, image: Tensor, given: Mapping[str, list[Tensor]]) -> Traced:
    """Run a detector on an image and keep what its parts gave."""
    head, rpn = model.head, getattr(model, "rpn", None)
    layers = {"model": model, "backbone": model.backbone, "hidden": head.hidden}
    layers |= {"classes": head.classes, "deltas": head.deltas}
    if rpn is not None:
        layers |= {"rpn": rpn, "conv": rpn.conv, "objectness": rpn.objectness, "anchor deltas": rpn.deltas}
    calls = {name: calls[-1] for name, calls in layer_calls(lambda x: model(x, **given), image, layers).items()}
    output = {name: called[1] for name, called in calls.items()}
    (boxes,) = given["proposals"] if rpn is None else output["rpn"][0]
    if not len(boxes):
        raise ValueError("image: got one without proposals, expected at least one")
    return Traced(
        boxes.cpu(),
        calls["hidden"][0][0].cpu(),
        output["hidden"].cpu(),
        output["classes"].cpu().double().softmax(1),  # where the surest differ from 1 and from each other
        output["deltas"].float().unflatten(1, (head.num_classes, 4)).cpu(),
        {key: values.cpu() for key, values in output["model"][0].items()},
        calls["backbone"][0][0].cpu(),
        output["backbone"].cpu(),
        {name: output[name][0].cpu() for name in ("conv", "objectness", "anchor deltas") if name in output},
    )


def losses_of(
    model: nn.Module, image: Tensor, given: Mapping[str, list[Tensor]], target: Mapping[str, Tensor]
) -> dict[str, float]:
    """A detector's losses for one image, each as its sampling with seed 0 gives them."""
    target = {key: torch.as_tensor(target[key]).to(image.device) for key in ("boxes", "labels")}
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(0)
        losses = model(image, **given, targets=[target])
    return {name: value.item() for name, value in losses.items()}


def region_drawing(
    model: nn.Module,
    image: Tensor,
    large: np.ndarray,
    names: Sequence[str],
    found: Traced,
    followed: Sequence[int],
    losses: Mapping[str, float] | None,
) -> Drawing:
    """Slides 18 to 21: what is done once for the image above and at the left, then a row for each region followed."""
    number = dict(zip(("①", "②", "③", "④", "⑤"), range(5), strict=True)) if isinstance(model, RCNN) else {}
    step = (lambda n, name: f"{[*number][n]} {name}") if number else (lambda n, name: name)
    once = not isinstance(model, RCNN)  # whether the backbone runs once for the image
    rows = range(once, once + len(followed))
    middle = sum(rows) / len(rows)
    size, count = image.shape[-2:], len(found.proposals)
    marks = marks_of(found.proposals[list(followed)], REGIONS)

    where = (LEFT, 0) if once else (LEFT, middle - 0.75)
    start = image_block(step(0, "image"), large, image, where, SAYS["image"])
    blocks, arrows = [start], []
    if once:
        says = SAYS["features"].format(stride=model.backbone.stride)
        features = maps_block("feature map", found.features[0], (FEATURES, 0), says, IMAGE)
        blocks.append(features)
        arrows.append(Arrow(start, features, "backbone"))
    extra = rpn_parts(model, image, large, rows[-1] - 0.25, found) if found.rpn else []
    blocks += extra
    where = (LEFT, rows[0] + 0.25 if once else middle + 0.75)
    says = SAYS["learned" if extra else "searched"].format(count=count)
    outlined = with_boxes(large, found.proposals, size)
    proposals = image_block(
        step(1, "region proposals"), outlined, image, where, says, marks=marks, caption=f"{count} × 4"
    )
    blocks.append(proposals)
    if extra:
        conv, objectness, deltas, anchors = extra
        arrows += [Arrow(features, conv, "RPN"), Arrow(conv, objectness, "RPN")]
        arrows += [Arrow(conv, deltas, "RPN", ("top", "top"))]
        over = {"sides": ("bottom", "top"), "bend": 0.45}
        arrows += [Arrow(part, proposals, "decode, NMS", **over) for part in (objectness, deltas)]
        arrows.append(Arrow(anchors, proposals, "decode, NMS", ("top", "bottom")))
    else:
        arrows.append(Arrow(start, proposals, "Selective Search", ("bottom", "top")))

    columns: list[list[Block]] = []
    if once:
        stride = model.backbone.stride
        features.marks = [(*(side / stride for side in box), colour) for *box, colour in marks]
        objects = [i for i in followed if found.probabilities[i].argmax()] or list(followed)
        features.scale = inside(found.features[0], found.proposals[objects] / stride)
        says = SAYS["pooled"].format(shape=shape_words(found.pooled[0]))
        names_of = ("RoI features", "RoI features")
        columns.append(row_blocks(names_of, [found.pooled[i] for i in followed], POOLED, rows, says))
        arrows += [Arrow(features, block, "RoI align", ("bottom", "left")) for block in columns[0]]
        arrows += [Arrow(proposals, block, "RoI align", ("right", "left")) for block in columns[0]]
    else:
        crops = crops_of(large, found.proposals[list(followed)], size, found.seen.shape[-1])
        says = SAYS["warped"].format(side=found.seen.shape[-1])
        shape = tuple(found.seen.shape[1:])
        names_of = (step(2, "warped regions"), step(2, "warped"))
        columns.append(row_blocks(names_of, crops, CROPS, rows, says, shape))
        for block, colour in zip(columns[0], REGIONS, strict=False):
            block.marks = [(0, 0, *shape[:0:-1], colour)]
        arrows += [Arrow(proposals, block, "warp", ("right", "left")) for block in columns[0]]
        says = SAYS["crops"].format(count=count)
        names_of = (step(3, "CNN features"), step(3, "CNN"))
        columns.append(row_blocks(names_of, [found.pooled[i] for i in followed], POOLED, rows, says))
        arrows += [Arrow(*pair, "backbone") for pair in zip(*columns[-2:], strict=True)]
    says = SAYS["vector"]
    columns.append(row_blocks(("vectors", "vector"), [found.vectors[i] for i in followed], VECTORS, rows, says))
    arrows += [Arrow(*pair, "fully connected") for pair in zip(*columns[-2:], strict=True)]
    columns += heads(found, followed, names, rows, step)
    arrows += [Arrow(*pair, "fully connected") for pair in zip(*columns[-3:-1], strict=True)]
    arrows += [
        Arrow(start, end, "fully connected", ("top", "top"))
        for start, end in zip(columns[-3], columns[-1], strict=True)
    ]
    for column in columns:
        blocks += column
    scores, deltas = columns[-2:]
    if losses is not None:
        table = Table({name: f"{value:.3f}" for name, value in losses.items()})
        table["sum"] = f"{sum(losses.values()):.3f}"
        says = SAYS["losses" if len(losses) == 2 else "four"]
        title = "two losses" if len(losses) == 2 else "four losses"
        total = Block(title, table, (RIGHT, rows[0]), says, size=1.7, shape=(1,))
        blocks.append(total)
        for head, down in ((deltas[0], LOSSES), (scores[0], LOSSES + 0.08)):
            bend = down - LINE * len(table) / 2 - 0.04
            arrows.append(Arrow(head, total, "loss", ("bottom", "bottom"), dashed=True, bend=bend))
        for part in extra[1:3]:
            arrows.append(Arrow(part, total, "loss", ("bottom", "top"), dashed=True, bend=0.17))
    kept = found.detections["scores"] >= SURE
    boxes = found.detections["boxes"][kept]
    says = SAYS["detections"].format(count=len(boxes), sure=SURE)
    where = (RIGHT, middle + 0.75 if losses is not None else middle)
    detections = image_block(
        "detections", large, image, where, says, marks=marks_of(boxes, [ORANGE]), caption=f"{len(boxes)} × 4"
    )
    blocks.append(detections)
    arrows += [Arrow(block, detections, "decode, NMS", ("right", "left")) for block in deltas]
    top = [start, features, *extra[:3]] if once else [start]
    bands = [
        Band("once per image", top, PER_IMAGE),
        Band("once per image", [start, proposals, *extra[3:]], PER_IMAGE),
        Band("once per region", [block for column in columns for block in column], PER_REGION),
    ]
    return Drawing(blocks, arrows, bands)


def rpn_parts(model: FasterRCNN, image: Tensor, large: np.ndarray, row: float, found: Traced) -> list[Block]:
    """The region proposal network: its convolution, objectness and deltas of the K anchors, and one point's anchors."""
    rpn, (height, width) = model.rpn, found.rpn["conv"].shape[-2:]
    anchors = grid_anchors(rpn.base.cpu(), (height, width), rpn.anchor_stride)
    k, point = len(rpn.base), height // 2 * width + width // 2
    own = anchors.reshape(-1, k, 4)[point]
    sides = (rpn.base[:, 2:] - rpn.base[:, :2]).int()
    least, most = sides.min().item(), sides.max().item()
    side = lambda maps: scaled(maps.shape, max(found.features.shape[-2:]), size=1.1)  # noqa: E731
    conv, objectness, deltas = (found.rpn[name] for name in ("conv", "objectness", "anchor deltas"))
    return [
        maps_block("RPN convolution", conv, (RPN_MAPS, 0), SAYS["conv"], side(conv)),
        maps_block("objectness", objectness, (OBJECTNESS, 0), SAYS["objectness"].format(k=k), side(objectness)),
        maps_block("anchor deltas", deltas, (ANCHOR_DELTAS, 0), SAYS["deltas"].format(k=k), side(deltas)),
        image_block(
            "anchors",
            with_boxes(large, own, image.shape[-2:], ORANGE, width=2),
            image,
            (LEFT, row),
            SAYS["anchors"].format(k=k, count=len(anchors), height=height, width=width, least=least, most=most),
            caption=f"{len(anchors)} × 4",
        ),
    ]


def heads(
    found: Traced, followed: Sequence[int], names: Sequence[str], rows: range, step: Callable[[int, str], str]
) -> list[list[Block]]:
    """The class scores and the deltas of the regions followed: those of the class with the highest score."""
    scores, deltas = [], []
    classes = found.probabilities.shape[1]
    shown = found.probabilities[list(followed)].amax(0).topk(min(3, classes)).indices.sort().values.tolist()
    for i, row in zip(followed, rows, strict=True):
        first = row == rows[0]
        probabilities = {names[label]: found.probabilities[i, label].item() for label in shown}
        title = step(4, "class scores") if first else f"class scores {row}"
        says = SAYS["scores"] if first else ""
        scores.append(Block(title, probabilities, (SCORES, row), says, 1.65, (classes,), caption=str(classes)))
        label = int(found.probabilities[i].argmax())
        four = found.deltas[i, label] / torch.tensor(WEIGHTS)
        written = dict(zip(("dx", "dy", "dw", "dh"), map(signed, four.tolist()), strict=True))
        table = Table(written if label else {"": "no box"})
        says = SAYS["corrections"] if first else ""
        title = step(4, "box deltas") if first else f"box deltas {row}"
        deltas.append(Block(title, table, (DELTAS, row), says, size=0.85, caption=f"{classes} × 4"))
    for block in (*scores[1:], *deltas[1:]):
        block.label = ""
    return [scores, deltas]


# Blocks


def image_block(
    name: str,
    large: np.ndarray,
    image: Tensor,
    at: tuple[float, float],
    says: str,
    *,
    marks: Sequence[Mark] = (),
    size: float = IMAGE,
    caption: str | None = None,
) -> Block:
    """The image as it is shown, in as many pixels as a sharp page has."""
    pixels = resized(large, size * 2 * CSS_PIXELS_PER_INCH)
    return Block(name, pixels, at, says, size, tuple(image.shape[1:]), marks, caption=caption)


def resized(large: np.ndarray, longer: float) -> np.ndarray:
    """An image whose longer side has so many pixels, unless it has fewer."""
    factor = min(1, longer / max(large.shape[:2]))
    height, width = (max(1, round(side * factor)) for side in large.shape[:2])
    return np.asarray(Image.fromarray(large).resize((width, height), Image.Resampling.LANCZOS))


def maps_block(name: str, maps: Float[Tensor, "c h w"], at: tuple[float, float], says: str, size: float) -> Block:
    return Block(name, maps, at, says, size, scale=clipped(maps))


def inside(maps: Float[Tensor, "c h w"], boxes: Float[Tensor, "n 4"]) -> Float[Tensor, "c 1 m"]:
    """The points of maps inside boxes: maps that vary there are those that show what is in the boxes."""
    parts = []
    for box in boxes.tolist():
        (y0, y1), (x0, x1) = ([min(maps.shape[1 + n] - 1, max(0, int(box[k]))) for k in (1 - n, 3 - n)] for n in (0, 1))
        parts.append(maps[:, y0 : y1 + 1, x0 : x1 + 1].flatten(1))
    return clipped(torch.cat(parts, dim=1)[:, None])


def clipped(values: Tensor | np.ndarray) -> Tensor | None:
    """The colours of maps or of a vector: up to each one's 98th percentile, so that a few peaks do not darken it."""
    if not isinstance(values, Tensor):
        return None
    maps = values.float().reshape(-1, *values.shape[1:]) if values.ndim == 3 else values.float().reshape(1, -1, 1)
    peak = maps.flatten(1).quantile(0.98, dim=1)
    return torch.minimum(maps, peak[:, None, None])


def row_blocks(
    names: tuple[str, str],
    values: Sequence[Tensor | np.ndarray],
    x: float,
    rows: range,
    says: str,
    shape: tuple[int, ...] | None = None,
) -> list[Block]:
    """A block for each region, one below the other. The first has the step's name, its label and its sentence."""
    step, label = names
    blocks = [
        Block(f"{step} {row}", value, (x, row), "", MAP, shape, label="", scale=clipped(value))
        for value, row in zip(values, rows, strict=True)
    ]
    blocks[0].name, blocks[0].label, blocks[0].says = step, label, says
    return blocks


def decimals(number: float) -> str:
    return f"{number:.4f}" if number >= 0.0001 or number == 0 else "< 0.0001"


def signed(number: float) -> str:
    return f"{number:+.2f}".replace("-", "−") if abs(number) >= 0.005 else "0.00"


def marks_of(boxes: Tensor, colours: Sequence[str]) -> list[Mark]:
    """Frames of boxes; a single colour is that of all."""
    boxes = torch.as_tensor(boxes).reshape(-1, 4).tolist()
    return [(*box, colours[n % len(colours)]) for n, box in enumerate(boxes)]


def with_boxes(
    large: np.ndarray, boxes: Tensor, size: tuple[int, int], colour: str = "#FFFFFF96", width: int = 1
) -> np.ndarray:
    """The image with boxes, in pixels of `size`, as thin lines."""
    shown = Image.fromarray(resized(large, IMAGE * 2 * CSS_PIXELS_PER_INCH)).convert("RGBA")
    lines = Image.new("RGBA", shown.size)
    factors = [shown.size[n % 2] / size[1 - n % 2] for n in range(4)]
    pen = ImageDraw.Draw(lines)
    for box in boxes.tolist():
        x0, y0, x1, y1 = (value * factor for value, factor in zip(box, factors, strict=True))
        pen.rectangle((x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)), outline=colour, width=width)
    return np.asarray(Image.alpha_composite(shown, lines).convert("RGB"))


def crops_of(large: np.ndarray, boxes: Tensor, size: tuple[int, int], side: int) -> list[np.ndarray]:
    """The regions of an image of `size`, warped to squares of `side` pixels, as the network sees them."""
    small = Image.fromarray(large).resize(size[::-1], Image.Resampling.BOX)
    pixels = torch.from_numpy(np.array(small)).permute(2, 0, 1)[None].float()
    crops = warp(pixels, [boxes.to(pixels)], side).round().clamp(0, 255).byte()
    return [to_array(crop.permute(1, 2, 0)) for crop in crops]


def shape_words(values: Tensor) -> str:
    return " × ".join(map(str, values.shape))


STAGES = (
    "Each stage halves height and width: here edges and colours, wherever they are.",
    "Half as high and wide again: each point sees more of the image, and answers to larger patterns.",
    "The last feature map: what is there is known best here, and it still says where.",
)
SAYS = {
    "image": "The input: red, green and blue of each pixel.",
    "features": "The backbone runs once, on the whole image: a point for every {stride} × {stride} pixels. "
    "The regions below lie on it as well.",
    "searched": "Selective Search proposes {count:,} regions that may hold an object. Three of them are followed.",
    "learned": "Anchors moved by their deltas, sorted by objectness, after NMS: {count:,} proposals. "
    "Three of them are followed.",
    "warped": "Each region is cut out of the image and stretched to {side} × {side} pixels, whatever its shape.",
    "crops": "The whole backbone runs on each of the {count:,} crops, one by one: this is what takes the time.",
    "pooled": "RoI align: whatever the region's size, its part of the feature map becomes {shape}.",
    "vector": "Fully connected layers: each region is a single object from here on: one vector, two heads.",
    "scores": "Classification of each region: the classes and background. The most probable ones are drawn.",
    "corrections": "Four numbers for each class move and stretch the region to fit the object. Background has no box.",
    "losses": "In training: cross-entropy of the class, and smooth L1 of the deltas, of sampled regions.",
    "four": "In training: two losses of the RPN, on sampled anchors, two of the head, on sampled proposals; the sum is "
    "minimized.",
    "detections": "The deltas applied, duplicates removed by NMS: {count} boxes with a score of {sure} or more.",
    "conv": "The region proposal network: a 3 × 3 convolution over the feature map, the same at every point.",
    "objectness": "Is there an object? At each point one number for each of the K = {k} anchors.",
    "deltas": "And where exactly? At each point four numbers, dx, dy, dw, dh, for each of the K = {k} anchors.",
    "anchors": "K = {k} anchors of one point, with sides of {least} to {most} pixels. With those of all "
    "{height} × {width} points, {count:,} boxes, the same for every image.",
}
ABOUT = {
    SingleObject: (
        "Classification + localization",
        "One image, one object: a backbone makes a vector, of which one head makes the class and another the box.",
    ),
    RCNN: (
        "R-CNN",
        "R-CNN: regions are proposed, cut out, warped to one size, and each goes through the whole CNN and two heads.",
    ),
    FastRCNN: (
        "Fast R-CNN",
        "Fast R-CNN: the backbone runs once on the image; the regions are cut out of its feature map.",
    ),
    FasterRCNN: (
        "Faster R-CNN",
        "Faster R-CNN: a region proposal network finds the regions in the feature map; all else is Fast R-CNN.",
    ),
}
