"""The figures of notebook 05: streets with boxes, the levels of a grouping, and how much proposals cover."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import ceil

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.typing import ColorType
from skimage.segmentation import mark_boundaries
from torch import Tensor

from lecture_utils.detection.boxes import box_iou
from lecture_utils.figures.boxes import TRUTH, draw_boxes
from lecture_utils.figures.overlays import draw_image, name_colours
from lecture_utils.figures.scores import MARKERS
from lecture_utils.figures.style import (
    CYCLE,
    DASHES,
    GREEN,
    ORANGE,
    SKY,
    VERMILION,
    WIDTH,
    course_look,
    image_axes,
    to_array,
)
from lecture_utils.toycity import Rendering, Scene, render

STREET, LARGE = 128, 512  # pixels a side, for a network and for a reader
SLOTS = (*CYCLE, "#F0E442", "#BBBBBB")  # the colours of eight slots


@lru_cache(maxsize=16)
def painted(scene: Scene, pixels: int) -> Rendering:
    """A street, painted once for all frames of an explorer."""
    return render(scene, pixels)


def true_boxes(scene: Scene) -> Tensor:
    """The ground-truth boxes (n, 4) of a street, for 128 × 128 pixels."""
    return torch.tensor([obj.box for obj in painted(scene, STREET).objects], dtype=torch.float32).reshape(-1, 4)


@course_look
def streets(
    scenes: Sequence[Scene],
    found: Sequence[Tensor] = (),
    *,
    names: Sequence[Sequence[str]] = (),
    colours: Sequence[Sequence[ColorType]] = (),
    titles: Sequence[str] = (),
    title: str = "",
    columns: int = 2,
    pixels: int = LARGE,
    key: Mapping[str, ColorType] | None = None,
) -> Figure:
    """Draw streets large, with the ground-truth boxes in white and dashed those `found` (n, 4), for 128 × 128 pixels.

    `found`, the `names` of its boxes, their `colours` (then no dashes tell them apart), and `titles` hold one item for
    each scene, or none at all. Without `found`, the ground truth has the names of its classes. `pixels` is the side of
    a street as it is shown, `key` what colours mean: words → colour.
    """
    for argument, given in (("found", found), ("names", names), ("colours", colours), ("titles", titles)):
        if len(given) not in (0, len(scenes)):
            raise ValueError(f"{argument}: got {len(given)}, expected {len(scenes)}, one a scene")
    fig, axes = image_axes(ceil(len(scenes) / columns), columns, title=title)
    for k, (ax, scene) in enumerate(zip(axes.flat, scenes, strict=False)):
        objects = painted(scene, STREET).objects
        truth = np.array([obj.box for obj in objects], float).reshape(-1, 4)
        draw_image(ax, painted(scene, pixels).image, size=(STREET, STREET))
        draw_boxes(ax, truth, colours=TRUTH, names=None if len(found) else [obj.category for obj in objects])
        if len(found):
            own = {"colours": colours[k]} if len(colours) else {"dashed": True}
            draw_boxes(ax, found[k], names=names[k] if len(names) else None, **own)
        if len(titles):
            ax.set_title(titles[k])
    for ax in axes.flat[len(scenes) :]:
        ax.remove()
    if key:
        name_colours(fig, key)
    return fig


def in_slots(
    scenes: Sequence[Scene], given: Sequence[Mapping[str, Tensor]], *, names: Sequence[str] = (), title: str = ""
) -> Figure:
    """Draw streets with the boxes that the slots give, each with its slot's number and colour, and how many are found.

    `given` has a dict for each scene: `boxes` (n, 4), for 128 × 128 pixels, and `slots` (n,), whose numbers begin at 0.
    With `names`, those of its `labels` (n,), the class stands beside the number. Found is an object that a box covers
    by an IoU of 0.5, whatever its class.
    """
    used = [one["slots"].tolist() for one in given]
    classes = [[f" {names[label]}" for label in one["labels"]] if names else [""] * len(one["slots"]) for one in given]
    pairs = [zip(slots, words, strict=True) for slots, words in zip(used, classes, strict=True)]
    look = {"names": [[f"{slot + 1}{word}" for slot, word in pair] for pair in pairs]}
    look["colours"] = [[SLOTS[slot % len(SLOTS)] for slot in slots] for slots in used]
    overlaps = [box_iou(true_boxes(scene), one["boxes"]) for scene, one in zip(scenes, given, strict=True)]
    look["titles"] = [f"{(pairs >= 0.5).any(1).sum()} of {len(pairs)} objects found" for pairs in overlaps]
    return streets(scenes, [one["boxes"] for one in given], title=title, **look)


def beside_mean_box(
    scenes: Sequence[Scene], found: Tensor, classes: Sequence[str], mean_box: Tensor, *, title: str = ""
) -> Figure:
    """Draw streets of one object with the box that a network gives, in orange, and the mean box (4,) in blue.

    `found` (scenes, 4) has a box for each street, for 128 × 128 pixels, `classes` its class. A panel's title says
    the class and the box's IoU, or that the box has no area.
    """
    names, titles = [], []
    for scene, box, name in zip(scenes, found, classes, strict=True):
        overlap, empty = box_iou(box[None], true_boxes(scene)).item(), bool((box[2:] <= box[:2]).any())
        titles.append(f"{name}, a box without area" if empty else f"{name}, IoU {overlap:.2f}")
        names.append(["" if empty else name, "mean box"])
    both = [torch.stack([box, mean_box]) for box in found]
    return streets(
        scenes, both, names=names, colours=[(ORANGE, SKY)] * len(scenes), titles=titles, title=title, pixels=256
    )


@course_look
def grouping(photo: np.ndarray, labels: np.ndarray, before: np.ndarray, title: str) -> Figure:
    """Draw the regions of one level over a photograph (H, W, 3) uint8; tint the one that was joined last, in its box.

    labels, before (h, w): the region of each pixel at this level and at the one before; both may be coarser than the
    photograph.
    """
    joined = [label for label in np.unique(labels) if len(np.unique(before[labels == label])) > 1]
    rows, columns = (np.arange(n) * side // n for n, side in zip(photo.shape[:2], labels.shape, strict=True))
    mask = np.isin(labels, joined)[rows][:, columns]
    shown = np.where(mask[..., None], 0.5 * photo + 0.5 * 255 * np.array(to_rgb(SKY)), photo).astype(np.uint8)
    shown = mark_boundaries(shown, labels[rows][:, columns], color=(1, 1, 0), mode="thick")
    height, width = labels.shape
    fig, axes = image_axes(1, 1, width=6.5, aspect=width / height, title=title)
    draw_image(axes[0, 0], (255 * shown).astype(np.uint8), size=(height, width))
    ys, xs = np.nonzero(np.isin(labels, joined))
    if len(ys):
        draw_boxes(axes[0, 0], [[xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]], colours=SKY)
    return fig


@course_look
def covered(scene: Scene, proposals: Tensor) -> Figure:
    """Draw the proposals (n, 4), for 128 × 128 pixels, and the objects: green where one covers them by an IoU of 0.5.

    The best proposal of each such object is dashed; the objects that none covers are red. At least one proposal.
    """
    if not len(proposals):
        raise ValueError("proposals: got none, expected at least one")
    truth = true_boxes(scene)
    proposals = torch.from_numpy(to_array(proposals, np.float32))
    best = box_iou(truth, proposals).max(1)
    hit = best.values >= 0.5
    title = f"{len(proposals)} proposals: {hit.sum()} of {len(hit)} objects covered"
    fig, axes = image_axes(1, 2, title=title)
    for ax, name in zip(axes.flat, ("the proposals", "the objects, and the best proposal of each"), strict=True):
        draw_image(ax, painted(scene, LARGE).image, size=(STREET, STREET))
        ax.set_title(name)
    draw_boxes(axes[0, 0], proposals, colours=SKY)
    draw_boxes(axes[0, 1], truth[hit], colours=GREEN)
    draw_boxes(axes[0, 1], proposals[best.indices[hit]], colours=SKY, dashed=True)
    draw_boxes(axes[0, 1], truth[~hit], colours=VERMILION)
    colours = {"covered (IoU of 0.5)": GREEN, "missed": VERMILION, "proposal": SKY}
    name_colours(fig, colours)
    return fig


@course_look
def recall_curves(lines: Mapping[str, tuple[Sequence[float], Sequence[float]]], *, title: str = "") -> Figure:
    """Draw recall over the number of proposals kept, name → numbers and recalls; each line ends with all it has."""
    fig, ax = plt.subplots(figsize=(WIDTH, 4.2))
    fig.suptitle(title)
    for i, (name, (numbers, recalls)) in enumerate(lines.items()):
        look = {"color": CYCLE[i % len(CYCLE)], "linestyle": DASHES[i % len(DASHES)], "marker": MARKERS[i]}
        ax.plot(numbers, recalls, label=name, **look)
        ax.plot(numbers[-1:], recalls[-1:], marker=MARKERS[i], ms=11, color=look["color"])
        place = {"xytext": (13, 0), "textcoords": "offset points", "va": "center", "color": look["color"]}
        ax.annotate(f"all {numbers[-1]:.0f}: {recalls[-1]:.2f}", (numbers[-1], recalls[-1]), **place)
    ticks = [
        number for number in (10, 30, 100, 300, 1000) if number <= max(numbers[-1] for numbers, _ in lines.values())
    ]
    ax.set(xscale="log", xlabel="proposals kept", ylabel="recall (IoU of 0.5)", ylim=(0, 1))
    ax.set_xticks(ticks, ticks)
    ax.minorticks_off()
    ax.margins(x=0.14)
    ax.grid()
    fig.legend(loc="outside lower center", ncols=len(lines))
    return fig


def interval(hits: int, number: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a fraction: what other scenes of the same kind might have given."""
    z, fraction = 1.96, hits / number
    middle = (fraction + z * z / (2 * number)) / (1 + z * z / number)
    half = z / (1 + z * z / number) * (fraction * (1 - fraction) / number + (z / (2 * number)) ** 2) ** 0.5
    return middle - half, middle + half
