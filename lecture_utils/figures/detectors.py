"""Four detectors at work, drawn from their own forward passes, each grown out of the one before (slides 14 to 21)."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from lecture_utils.detection import RCNN, FasterRCNN, FastRCNN, SingleObject
from lecture_utils.explorers import Explorer
from lecture_utils.figures.detector_blocks import KINDS, Drawing
from lecture_utils.figures.detector_traces import losses_of, trace
from lecture_utils.figures.network import network_steps
from lecture_utils.figures.region_detectors import region_drawing
from lecture_utils.figures.single_object import single_object_drawing

GAP = 0.18  # inches between rows
ABOUT = {  # of each drawing its title and its sentence
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


def detector_steps(
    model: nn.Module,
    image: Float[Tensor, "1 3 h w"],
    large: UInt8[np.ndarray, "H W 3"],
    *,
    kilobytes: int = 250,
    **given: object,
) -> Explorer:
    """An explorer of `detector_drawing` with what is `given`: the whole detector, then a step for each of its parts."""
    blocks, arrows, bands, width = detector_drawing(model, image, large, **given)
    title, about = ABOUT[type(model)]
    look = {"kilobytes": kilobytes, "gap": GAP, "bands": bands, "kinds": KINDS, "width": width}
    return network_steps(blocks, arrows, title=f"{title}, step by step", about=about, **look)


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
    (m,): with them the losses are drawn; a single object needs them, and its L2 loss counts `weight` times. What does
    not fit is a ValueError.
    """
    check_images(model, image, large, target)
    check_proposals(model, proposals)
    single = isinstance(model, SingleObject)
    classes = model.classes.out_features if single else model.head.num_classes
    if len(names) != classes:
        raise ValueError(f"names: got {len(names)}, expected {classes}, one for each class")
    if single:
        if regions is not None:
            raise ValueError("regions: got some for SingleObject, expected none: it has no use for them")
        return single_object_drawing(model, image, large, names, target, weight)
    given = {} if proposals is None else {"proposals": [proposals.to(image)]}
    found = trace(model, image, given, regions)
    losses = None if target is None else losses_of(model, image, given, target)
    return region_drawing(model, image, large, names, found, losses)


def check_images(model: nn.Module, image: Tensor, large: np.ndarray, target: Mapping[str, Tensor] | None) -> None:
    if model.training:
        raise ValueError("model: got one in training mode, expected model.eval()")
    if image.ndim != 4 or image.shape[:2] != (1, 3):
        raise ValueError(f"image: got shape {tuple(image.shape)}, expected (1, 3, h, w)")
    if large.ndim != 3 or large.shape[2] != 3 or large.dtype != np.uint8:
        raise ValueError(f"large: got {large.dtype} {large.shape}, expected uint8 (H, W, 3)")
    if target is not None and len(target["boxes"]) != len(target["labels"]):
        raise ValueError(f"target: got {len(target['boxes'])} boxes, expected {len(target['labels'])}, one a label")


def check_proposals(model: nn.Module, proposals: Tensor | None) -> None:
    name = type(model).__name__
    if not isinstance(model, tuple(ABOUT)):
        raise ValueError(f"model: got {name}, expected SingleObject, RCNN, FastRCNN or FasterRCNN")
    if isinstance(model, SingleObject | FasterRCNN):
        if proposals is not None:
            raise ValueError(f"proposals: got some for {name}, expected none: it has no use for them")
    elif proposals is None or proposals.ndim != 2 or proposals.shape[1:] != (4,) or not len(proposals):
        got = "None" if proposals is None else f"shape {tuple(proposals.shape)}"
        raise ValueError(f"proposals: got {got}, expected (n, 4) with at least one")
