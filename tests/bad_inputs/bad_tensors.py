"""Tensors of a shape that the signature rules out: each public function is called rightly but for one tensor.

What a shape may be is read from jaxtyping's annotation of the function itself, so nothing is stated twice: a mutated
call counts as bad only where its dimensions cannot be bound to the names in the signature.
"""

import inspect
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import torch
from judge import Case
from torch import Tensor

from lecture_utils.captioning.steps import caption_loss
from lecture_utils.detection import boxes, heads, matching, roi, single_object
from lecture_utils.detection.anchors import grid_anchors
from lecture_utils.generative import diffusion, scores
from lecture_utils.segmentation import sliding_window, transposed, unpooling
from lecture_utils.segmentation.convolution_matrix import convolution_matrix, convolution_row
from lecture_utils.transformers import beit, matcher, self_attention, visual_tokens, vit
from lecture_utils.transformers.set_criterion import hungarian_loss, set_criterion


def some_boxes(*shape: int) -> Tensor:
    corner = torch.rand(*shape, 2) * 20
    return torch.cat([corner, corner + 1 + torch.rand(*shape, 2) * 20], dim=-1)


def some_images() -> Tensor:
    return torch.randn(2, 3, 8, 8)


def some_targets() -> list[dict]:
    return [
        {"labels": torch.tensor([1, 2]), "boxes": torch.rand(2, 4)},
        {"labels": torch.tensor([3]), "boxes": torch.rand(1, 4)},
    ]


# A right call of each function, as a function of nothing that makes its arguments.
CALLS: dict[Callable, Callable[[], dict[str, Any]]] = {
    boxes.xyxy_to_cxcywh: lambda: {"boxes": some_boxes(3)},
    boxes.cxcywh_to_xyxy: lambda: {"boxes": some_boxes(3)},
    boxes.box_area: lambda: {"boxes": some_boxes(2, 3)},
    boxes.box_iou: lambda: {"a": some_boxes(3), "b": some_boxes(5)},
    boxes.generalized_box_iou: lambda: {"a": some_boxes(3), "b": some_boxes(5)},
    boxes.encode: lambda: {"boxes": some_boxes(3), "anchors": some_boxes(3)},
    boxes.decode: lambda: {"deltas": torch.randn(3, 4), "anchors": some_boxes(3)},
    boxes.clip_boxes_to_image: lambda: {"boxes": some_boxes(3), "size": (9, 7)},
    boxes.remove_small_boxes: lambda: {"boxes": some_boxes(3), "min_size": 2},
    boxes.nms: lambda: {"boxes": some_boxes(5), "scores": torch.rand(5), "iou_threshold": 0.5},
    grid_anchors: lambda: {"base": some_boxes(3), "map_size": (2, 5), "stride": 8},
    boxes.normalize_boxes: lambda: {"boxes": some_boxes(3), "height": 9, "width": 7},
    boxes.denormalize_boxes: lambda: {"boxes": some_boxes(3), "height": 9, "width": 7},
    single_object.multi_task_loss: lambda: {
        "scores": torch.randn(3, 5), "boxes": torch.rand(3, 4), "labels": torch.tensor([0, 1, 4]),
        "targets": torch.rand(3, 4),
    },
    single_object.slots_loss: lambda: {
        "scores": torch.randn(3, 2, 5), "boxes": torch.rand(3, 2, 4), "labels": torch.ones(3, 2, dtype=torch.int64),
        "targets": torch.rand(3, 2, 4),
    },
    single_object.fill_slots: lambda: {"boxes": torch.rand(3, 4), "labels": torch.tensor([1, 2, 1]), "slots": 8},
    heads.region_losses: lambda: {
        "scores": torch.randn(3, 5), "deltas": torch.randn(3, 5, 4), "proposals": some_boxes(3),
        "labels": torch.tensor([0, 2, 4]), "boxes": some_boxes(3),
    },
    matching.match_boxes: lambda: {"overlap": torch.rand(2, 7), "high": 0.7, "low": 0.3},
    matching.balanced_sample: lambda: {"matches": torch.tensor([0, -1, -2, 1]), "number": 4, "positive_fraction": 0.5},
    roi.roi_pool: lambda: {"features": torch.randn(1, 3, 9, 7), "boxes": [some_boxes(2)], "output_size": 2},
    roi.roi_align: lambda: {"features": torch.randn(1, 3, 9, 7), "boxes": [some_boxes(2)], "output_size": 2},
    convolution_matrix: lambda: {"weight": torch.randn(2, 3, 3, 2), "input_size": (6, 5)},
    convolution_row: lambda: {"kernel": torch.randn(3, 2), "input_size": (6, 5), "at": (1, 2)},
    sliding_window.patch_around: lambda: {"image": torch.randn(1, 3, 9, 7), "row": 3, "column": 2, "size": 5},
    sliding_window.linear_everywhere: lambda: {"x": torch.randn(1, 3, 9, 7), "weight": torch.randn(5, 27)},
    transposed.transposed_convolution: lambda: {"x": torch.randn(2, 3, 4, 5), "weight": torch.randn(3, 2, 3, 2)},
    transposed.stamp: lambda: {"x": torch.randn(4, 5), "kernel": torch.randn(3, 2)},
    unpooling.nearest_unpool: lambda: {"x": torch.randn(2, 3, 4, 5)},
    unpooling.bed_of_nails: lambda: {"x": torch.randn(2, 3, 4, 5)},
    unpooling.max_pool: lambda: {"x": torch.randn(2, 3, 4, 6)},
    unpooling.max_unpool: lambda: dict(
        zip(("x", "indices"), unpooling.max_pool(torch.randn(2, 3, 4, 6)), strict=True), output_size=(4, 6)
    ),
    caption_loss: lambda: {"logits": torch.randn(2, 4, 9), "captions": torch.randint(1, 9, (2, 5))},
    self_attention.attention: lambda: {
        "queries": torch.randn(2, 3, 4), "keys": torch.randn(2, 5, 4), "values": torch.randn(2, 5, 6)
    },
    beit.masked_token_loss: lambda: {
        "logits": torch.randn(2, 6, 9), "truth": torch.randint(9, (2, 6)), "mask": torch.ones(2, 2, 3, dtype=torch.bool)
    },
    visual_tokens.cut: lambda: {"image": torch.randn(2, 3, 8, 6), "patch": 2},
    visual_tokens.nearest_code: lambda: {"patches": torch.randn(2, 5, 4), "codebook": torch.randn(7, 4)},
    vit.resize_pos_embed: lambda: {"pos_embed": torch.randn(1, 7, 4), "before": (2, 3), "after": (4, 5)},
    vit.rollout: lambda: {"maps": torch.rand(2, 3, 2, 5, 5).softmax(-1)},
    matcher.matching_cost: lambda: {
        "logits": torch.randn(5, 4), "boxes": torch.rand(5, 4), "labels": torch.tensor([1, 3]),
        "truth": torch.rand(2, 4),
    },
    matcher.hungarian: lambda: {"cost": torch.rand(5, 3)},
    matcher.hungarian_match: lambda: {
        "logits": torch.randn(2, 5, 4), "boxes": torch.rand(2, 5, 4), "targets": some_targets()
    },
    set_criterion: lambda: {"logits": torch.randn(2, 5, 4), "boxes": torch.rand(2, 5, 4), "targets": some_targets()},
    hungarian_loss: lambda: {
        "logits": torch.randn(3, 2, 5, 4), "boxes": torch.rand(3, 2, 5, 4), "targets": some_targets()
    },
    diffusion.add_noise: lambda: {"image": some_images(), "noise": some_images(), "alpha_bar": torch.rand(2)},
    diffusion.velocity: lambda: {"image": some_images(), "noise": some_images(), "alpha_bar": torch.rand(2)},
    diffusion.predict_x0_and_noise: lambda: {
        "noisy": some_images(), "velocity": some_images(), "alpha_bar": torch.rand(2)
    },
    scores.frechet_distance: lambda: {"first": torch.randn(9, 4), "second": torch.randn(8, 4)},
    scores.precision_and_recall: lambda: {"real": torch.randn(9, 4), "drawn": torch.randn(8, 4)},
}  # fmt: skip


def bad_tensors(dice: Random) -> Case:
    """A call of one function in which one tensor has dimensions that its signature rules out."""
    torch.manual_seed(dice.randrange(2**31))
    function = dice.choice(list(CALLS))
    while True:
        arguments = CALLS[function]()
        name = dice.choice([name for name, value in arguments.items() if isinstance(value, Tensor)])
        arguments[name] = reshaped(arguments[name], dice)
        if not fits(function, arguments):
            break
    shapes = ", ".join(f"{key} {tuple(x.shape)}" for key, x in arguments.items() if isinstance(x, Tensor))
    what = f"{function.__module__.removeprefix('lecture_utils.')}.{function.__name__}({shapes})"
    return Case("tensors", what, lambda: function(**arguments), names=(*arguments, "features"))


def reshaped(x: Tensor, dice: Random) -> Tensor:
    """The tensor with an axis more, an axis less, or one of its axes longer, shorter or empty."""
    axis = dice.randrange(x.ndim)
    match dice.randrange(5):
        case 0:
            return x.unsqueeze(axis)
        case 1:
            return x.select(axis, 0)
        case 2:
            return x.narrow(axis, 0, dice.randrange(x.shape[axis]))
        case 3:
            return torch.cat([x] * dice.randint(2, 3), axis)
        case _:
            return x.transpose(axis, dice.randrange(x.ndim))


def fits(function: Callable, arguments: dict[str, Any]) -> bool:
    """Whether the shapes of all tensors can be bound to the dimensions in the function's annotations."""
    wanted = [
        (annotation.dim_str.split(), tuple(arguments[name].shape))
        for name, annotation in inspect.get_annotations(function).items()
        if isinstance(arguments.get(name), Tensor) and hasattr(annotation, "dim_str")
    ]
    known: dict[str, Any] = {}
    return all(bind(dims, shape, known) for dims, shape in wanted)


def bind(dims: list[str], shape: tuple[int, ...], known: dict[str, Any]) -> bool:
    """Bind one shape to its dimensions; `*b` takes any number of axes, `#b` may also be 1, sums are not computed."""
    starred = [at for at, dim in enumerate(dims) if "*" in dim.lstrip("#")[:1]]
    if starred:
        (at,) = starred
        several = len(shape) - len(dims) + 1
        if several < 0:
            return False
        group = (shape[at : at + several],)
        shape = (*shape[:at], *group, *shape[at + several :])
    if len(dims) != len(shape):
        return False
    for dim, size in zip(dims, shape, strict=True):
        if dim.isdecimal():
            if int(dim) != size:
                return False
        elif (dim.replace("_", "").isalnum() or dim.startswith("*")) and known.setdefault(dim, size) != size:
            return False
    return True


def right_tensors() -> Iterator[Case]:
    """Each function, called rightly: what must not be refused."""
    for function, arguments in CALLS.items():
        what = f"{function.__module__}.{function.__name__}"
        yield Case("tensors", what, lambda f=function, a=arguments: f(**a()))
