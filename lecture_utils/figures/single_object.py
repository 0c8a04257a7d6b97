"""A single object's class and box, drawn: backbone, one vector, two heads and two losses (slide 14)."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_max_pool1d

from lecture_utils.detection import SingleObject
from lecture_utils.detection.boxes import denormalize_boxes, normalize_boxes
from lecture_utils.detection.single_object import class_and_box_losses
from lecture_utils.figures.detector_blocks import ACROSS, DOWN, Drawing, clipped, image_block, joined, marks_of
from lecture_utils.figures.detector_traces import feature_stages
from lecture_utils.figures.network_blocks import Arrow, Block, Table, scaled
from lecture_utils.figures.style import ORANGE
from lecture_utils.segmentation.shapes import layer_outputs

MOST_CLASSES = 5  # of which bars are drawn
LONGEST = 256  # of a longer vector, the largest of every few numbers is drawn
STAGES = (
    "Each stage halves height and width: here edges and colours, wherever they are.",
    "Half as high and wide again: each point sees more of the image, and answers to larger patterns.",
    "The last feature map: what is there is known best here, and it still says where.",
)


def single_object_drawing(
    model: SingleObject,
    image: Tensor,
    large: np.ndarray,
    names: Sequence[str],
    target: Mapping[str, Tensor] | None,
    weight: float,
) -> Drawing:
    """The model at work; `target` holds one box and its label, `weight` is that of the L2 loss."""
    if target is None or target["boxes"].shape != (1, 4):
        got = "None" if target is None else f"boxes {tuple(target['boxes'].shape)}"
        raise ValueError(f"target: got {got}, expected one box and its label")
    outputs = layer_outputs(model, image, {"vector": model.backbone, "classes": model.classes, "box": model.box})
    vector, scores, box = (outputs[name].float().cpu() for name in ("vector", "classes", "box"))
    size, label = image.shape[-2:], torch.as_tensor(target["labels"]).cpu().reshape(1)
    boxes = torch.as_tensor(target["boxes"], dtype=torch.float32).cpu()
    true = normalize_boxes(boxes, *size)

    backbone = backbone_blocks(model, image, large)
    flat = vector.shape[1] == backbone[-1].value.numel()
    vector, classes, numbers = head_blocks(vector[0], scores[0], box[0], names)
    marks = [*marks_of(boxes, ["white"]), *marks_of(denormalize_boxes(box, *size), [ORANGE])]
    shown = image_block("box on the image", large, image, (3.7, 2), "", size=1.3, marks=marks, caption="4")
    losses = [loss.item() for loss in class_and_box_losses(scores, box, label, true)]
    *parts, total = loss_blocks(losses, weight, names[label], true[0].tolist())
    arrows = [
        *joined(backbone[:-1], backbone[1:], "backbone"),
        Arrow(backbone[-1], vector, "flatten" if flat else "fully connected", DOWN),
        *joined([vector], [classes, numbers], "fully connected", ACROSS),
        Arrow(numbers, shown),
        *joined([classes, shown], parts, "loss", None, True),
        *joined(parts, [total], "loss", ACROSS, True),
    ]
    return Drawing([*backbone, vector, classes, numbers, shown, *parts, total], arrows, [])


def backbone_blocks(model: SingleObject, image: Tensor, large: np.ndarray) -> list[Block]:
    """The image and the stages of the backbone, from left to right."""
    stages = feature_stages(model.backbone, image)
    says = [STAGES[0], *[STAGES[1]] * (len(stages) - 2), STAGES[2]][: len(stages)]
    blocks, pitch = [image_block("image", large, image, (0, 0), size=1.75)], 8 / (0.6 + len(stages))
    for n, (maps, sentence) in enumerate(zip(stages, says, strict=True)):
        at, size = (1.3 + pitch * (n + 0.5), 0), scaled(maps.shape, max(image.shape[-2:]), size=1.35)
        blocks.append(Block(f"stage {n + 1}", maps, at, sentence, size, scale=clipped(maps)))
    return blocks


def head_blocks(vector: Tensor, scores: Tensor, box: Tensor, names: Sequence[str]) -> list[Block]:
    """The vector, the classes in their order (of many, the five most probable ones), and the box."""
    peaks = adaptive_max_pool1d(vector[None], min(LONGEST, len(vector)))[0]
    given = scores.softmax(0)
    shown = given.topk(MOST_CLASSES).indices if len(given) > MOST_CLASSES else range(len(given))
    bars = {f"{names[i]} {given[i]:.2f}": given[i].item() for i in shown}
    table = Table(zip("xywh", map("{:.2f}".format, box), strict=True))
    says = (
        f"The last map laid out as {len(vector):,} numbers: one vector for the whole image. Both heads read it.",
        f"Classification: {len(names)} scores, of which softmax makes probabilities; the highest is that of "
        f"{names[given.argmax()]}.",
        "Localization: four numbers, the box's centre (x, y), width and height as fractions of the image.",
    )
    return [
        Block("vector", peaks, (0.3, 1.5), says[0], 1.7, vector.shape, scale=clipped(peaks)),
        Block("class scores", bars, (2.5, 1), says[1], 2.3, scores.shape, caption=str(len(scores))),
        Block("box", table, (1.75, 2), says[2], 0.9, box.shape, caption="4"),
    ]


def loss_blocks(losses: Sequence[float], weight: float, name: str, true: Sequence[float]) -> list[Block]:
    """The losses of the class and of the box, each with what is true, and their weighted sum."""
    of_class, of_box = losses
    table = Table({"target": name, "loss": decimals(of_class)})
    says = f"Cross-entropy: −log of the probability that the true class, {name}, was given."
    entropy = Block("cross-entropy", table, (5.75, 1), says, 1.6, (1,))
    table = Table({f"target {x}": f"{value:.2f}" for x, value in zip("xywh", true, strict=True)})
    table["loss"] = decimals(of_box)
    says = "L2: the sum of the four squared differences to the true box, which is white on the image."
    squares = Block("L2", table, (5.75, 2), says, 1.6, (1,))
    whole = {"cross-entropy": of_class, f"{weight:g} × L2": weight * of_box, "sum": of_class + weight * of_box}
    table = Table({part: decimals(loss) for part, loss in whole.items()})
    says = "Classification + localization: one number is minimized, and both heads and the backbone learn from it."
    return [entropy, squares, Block("loss", table, (7.95, 1.5), says, 1.9, (1,))]


def decimals(number: float) -> str:
    return f"{number:.4f}" if number >= 0.0001 or number == 0 else "< 0.0001"
