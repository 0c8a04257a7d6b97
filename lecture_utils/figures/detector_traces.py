"""What a detector gives on its way from an image to boxes and losses, by running it: the source of its drawing."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lecture_utils.detection.boxes import box_iou
from lecture_utils.segmentation.shapes import layer_calls

Given = Mapping[str, list[Tensor]]  # a model's arguments beside the images
MOST = 3  # regions that are followed, at most


class Regions(NamedTuple):
    """Proposals, in pixels, and what the head takes and gives for each."""

    boxes: Float[Tensor, "n 4"]
    pooled: Float[Tensor, "n c side side"]
    vectors: Float[Tensor, "n hidden"]
    probabilities: Float[Tensor, "n classes"]
    deltas: Float[Tensor, "n classes 4"]

    def most_telling(self) -> list[int]:
        """The surest proposal; the surest elsewhere, of another class if there is one; one of background, as large."""
        score, label = self.probabilities[:, 1:].max(1)
        chosen = [int(score.argmax())]
        apart = lambda: box_iou(self.boxes, self.boxes[chosen]).amax(1) < 0.1  # noqa: E731
        other = score * apart() * (1 + (label != label[chosen[0]]))
        if other.max() > 0:
            chosen.append(int(other.argmax()))
        area = (self.boxes[:, 2:] - self.boxes[:, :2]).prod(1).clamp(min=1).log()
        empty = apart() & (self.probabilities[:, 0] > 0.9)
        if empty.any():
            chosen.append(int((area - area[chosen[0]]).abs().where(empty, torch.inf).argmin()))
        return chosen


class Traced(NamedTuple):
    """What a detector gave for one image."""

    proposals: Float[Tensor, "n 4"]
    followed: Regions
    maps: dict[str, Float[Tensor, "_ _ _"]]  # "feature map", and the RPN's "RPN convolution", "objectness", …
    detections: dict[str, Tensor]


def trace(model: nn.Module, image: Float[Tensor, "1 3 h w"], given: Given, followed: Sequence[int] | None) -> Traced:
    """Run R-CNN, Fast or Faster R-CNN on an image; of all regions keep those `followed`, or the most telling."""
    head, layers = model.head, {"feature map": model.backbone}
    if hasattr(model, "rpn"):
        rpn = model.rpn
        layers |= {"RPN convolution": rpn.conv, "objectness": rpn.objectness, "anchor deltas": rpn.deltas, "rpn": rpn}
    maps = [name for name in layers if name != "rpn"]
    layers |= {"hidden": head.hidden, "classes": head.classes, "deltas": head.deltas, "detector": model}
    calls = {name: each[-1] for name, each in layer_calls(lambda x: model(x, **given), image, layers).items()}
    outputs = {name: output for name, (_, output) in calls.items()}
    (boxes,) = outputs["rpn"][0] if "rpn" in outputs else given["proposals"]
    if not len(boxes):
        raise ValueError("image: got one without proposals, expected at least one")
    regions = Regions(
        boxes.cpu(),
        calls["hidden"][0][0].cpu(),
        outputs["hidden"].cpu(),
        outputs["classes"].cpu().double().softmax(1),  # where the surest differ from 1 and from each other
        outputs["deltas"].float().unflatten(1, (head.num_classes, 4)).cpu(),
    )
    chosen = regions.most_telling() if followed is None else list(followed)
    if not 0 < len(chosen) <= MOST or not all(0 <= i < len(boxes) for i in chosen):
        raise ValueError(f"regions: got {followed}, expected 1 to {MOST} numbers from 0 to {len(boxes) - 1}")
    shown = Regions(*(values[chosen] for values in regions))
    return Traced(regions.boxes, shown, {name: outputs[name][0].cpu() for name in maps}, outputs["detector"][0])


def losses_of(model: nn.Module, image: Tensor, given: Given, target: Mapping[str, Tensor]) -> dict[str, float]:
    """A detector's losses for one image, each as its sampling with seed 0 gives them."""
    target = {key: torch.as_tensor(target[key]).to(image.device) for key in ("boxes", "labels")}
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(0)
        losses = model(image, **given, targets=[target])
    return {name: value.item() for name, value in losses.items()}


def feature_stages(backbone: nn.Module, image: Float[Tensor, "1 3 h w"]) -> list[Float[Tensor, "c h w"]]:
    """The last feature map of each size that a backbone makes of an image, in its order."""
    layers = {name or "backbone": layer for name, layer in backbone.named_modules()}
    outputs = [calls[-1][1] for calls in layer_calls(backbone, image, layers).values()]  # in the order of their ends
    stages = {output.shape[2:]: output[0] for output in outputs if output.ndim == 4}
    return list(stages.values())
