"""The figures of notebook 05: streets with boxes, the levels of a grouping, and how much proposals cover."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import ceil

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.typing import ColorType
from skimage.segmentation import mark_boundaries
from torch import Tensor
from torch.nn.functional import adaptive_max_pool1d

from lecture_utils.detection.boxes import box_iou, denormalize_boxes
from lecture_utils.figures.boxes import TRUTH, draw_boxes
from lecture_utils.figures.detector_blocks import KINDS, image_block, marks_of
from lecture_utils.figures.network import draw_network
from lecture_utils.figures.network_blocks import Arrow, Block, Table
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
FIGURE_SPACE = "\u2007"  # as wide as a digit
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
    width: float = WIDTH,
) -> Figure:
    """Draw streets large, with the ground-truth boxes in white and dashed those `found` (n, 4), for 128 × 128 pixels.

    `found`, the `names` of its boxes, their `colours` (then the ground truth is dashed instead, and on top), and
    `titles` hold one item for each scene, or none at all. Without `found`, the ground truth has the names of its
    classes. `pixels` is the side of a street as it is shown, `key` what colours mean: words → colour,
    `width` the inches of all columns.
    """
    for argument, given in (("found", found), ("names", names), ("colours", colours), ("titles", titles)):
        if len(given) not in (0, len(scenes)):
            raise ValueError(f"{argument}: got {len(given)}, expected {len(scenes)}, one a scene")
    fig, axes = image_axes(ceil(len(scenes) / columns), columns, width=width, title=title)
    for k, (ax, scene) in enumerate(zip(axes.flat, scenes, strict=False)):
        objects = painted(scene, STREET).objects
        truth = np.array([obj.box for obj in objects], float).reshape(-1, 4)
        draw_image(ax, painted(scene, pixels).image, size=(STREET, STREET))
        if len(colours):
            draw_boxes(ax, found[k], names=names[k] if len(names) else None, colours=colours[k])
        words = None if len(found) else [obj.category for obj in objects]
        draw_boxes(ax, truth, colours=TRUTH, names=words, dashed=bool(len(colours)))
        if len(found) and not len(colours):
            draw_boxes(ax, found[k], names=names[k] if len(names) else None, dashed=True)
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
    With `names`, those of its `labels` (n,), the classes stand below the street. Found is an object that a box
    covers by an IoU of 0.5, whatever its class: such a box is filled. A line leads from a slot's centre to that of the
    nearest object.
    """
    used = [one["slots"].tolist() for one in given]
    look = {"names": [[f"{slot + 1}" for slot in slots] for slots in used]}
    look["colours"] = [[SLOTS[slot % len(SLOTS)] for slot in slots] for slots in used]
    overlaps = [box_iou(true_boxes(scene), one["boxes"]) for scene, one in zip(scenes, given, strict=True)]
    look["titles"] = [f"{(pairs >= 0.5).any(1).sum()} of {len(pairs)} objects found" for pairs in overlaps]
    look |= {"columns": 1, "width": 6.4}
    fig = streets(scenes, [one["boxes"] for one in given], title=title, **look)
    for ax, scene, one, pairs, colours in zip(fig.axes, scenes, given, overlaps, look["colours"], strict=True):
        aim(ax, true_boxes(scene), one["boxes"], (pairs >= 0.5).any(0).tolist(), colours)
    for ax, slots, one in zip(fig.axes, used, given if names else (), strict=False):
        words = [f"{slot + 1} {names[label]}" for slot, label in zip(slots, one["labels"], strict=True)]
        ax.set_xlabel("\n".join("   ".join(words[i : i + 3]) for i in range(0, len(words), 3)))
    return fig


def aim(ax: Axes, truth: Tensor, boxes: Tensor, hits: Sequence[bool], colours: Sequence[ColorType]) -> None:
    """Fill the boxes (n, 4) that are `hits`, and draw a line from each one's centre to that of the nearest truth."""
    middles, view = truth.reshape(-1, 2, 2).mean(1), (*ax.get_xlim(), *ax.get_ylim())
    for box, hit, colour in zip(boxes, hits, colours, strict=True):
        centre = box.reshape(2, 2).mean(0)
        if hit:
            sides = (box[2:] - box[:2]).tolist()
            ax.add_patch(Rectangle((box[:2] - 0.5).tolist(), *sides, fc=colour, ec=colour, alpha=0.35, zorder=0.95))
        if len(middles):
            ends = torch.stack([centre, middles[(middles - centre).norm(dim=1).argmin()]]) - 0.5
            (line,) = ax.plot(*ends.T.tolist(), "-o", color=colour, lw=1.4, ms=4, markevery=[0])
            line.set_path_effects([withStroke(linewidth=2.6, foreground="black")])
    ax.axis(view)


@course_look
def slots_drawing(
    vector: Tensor, scores: Tensor, boxes: Tensor, labels: Tensor, names: Sequence[str], scene: Scene
) -> Figure:
    """Draw how a vector (n,) becomes slots: `scores` (slots, classes) and `boxes` (slots, 4), and what they should say.

    The objects of the street, of the classes `labels` (m,), fill the first m slots; `names` are those of the classes.
    At the right stands the street, `scene`, with its objects numbered in the order of their annotations.
    """
    count, classes = scores.shape
    rows = (
        " ".join(f"{value:5.2f}" for value in box).replace(" ", FIGURE_SPACE).replace("-", "\u2012") for box in boxes
    )  # all as wide as a digit
    said = (f"slot {i}: {names[best]}" for i, best in enumerate(scores.argmax(1), 1))
    wanted = [names[label] for label in labels] + ["background"] * (count - len(labels))
    asked = Table(zip((f"slot {i}" for i in range(1, count + 1)), wanted, strict=True))
    peaks = adaptive_max_pool1d(vector[None].float(), min(256, len(vector)))[0]
    start = Block("vector", peaks, (0, 0), size=1.7, shape=vector.shape)
    shapes = f"{count} × {classes} class scores, {count} × 4 numbers"
    slots = Block(
        "highest score, and x, y, w, h", Table(zip(said, rows, strict=True)), (2.48, 0), size=3.8, caption=shapes
    )
    truth = Block("what training would ask for", asked, (5.73, 0), size=1.8, caption="the annotations' order")
    marks = marks_of(true_boxes(scene), [TRUTH])
    seen = image_block(
        "the street", painted(scene, 256).image, torch.empty(3, STREET, STREET), (7.76, 0), "", 1.6, marks=marks
    )
    seen.caption = "objects in order"
    arrows = [Arrow(start, slots, "fully connected"), Arrow(truth, slots, "loss", ("left", "right"), True)]
    about = "Only the order says which slot is for what."
    fig = draw_network([start, slots, truth, seen], arrows, kinds=KINDS, about=about)
    outlines = [patch.get_bbox() for patch in fig.axes[0].patches if patch.get_gid() == "mark"]
    for number, box in enumerate(outlines[::2], 1):  # each has a halo
        look = {"ha": "center", "va": "bottom", "size": 10.5, "weight": "bold", "zorder": 5, "color": TRUTH}
        text = fig.axes[0].text((box.x0 + box.x1) / 2, min(box.y0, box.y1), number, **look)
        text.set_path_effects([withStroke(linewidth=2.5, foreground="black")])
    return fig


def beside_mean_box(
    scenes: Sequence[Scene], given: Tensor, classes: Sequence[str], mean_box: Tensor, *, title: str = ""
) -> Figure:
    """Draw streets of one object with the box that a network gives, in orange, and the mean box (4,) in blue.

    `given` (scenes, 4) has a normalized box (x, y, w, h) for each street, `classes` its class; the mean box is in
    pixels of 128 × 128. A panel's title says the class, the four numbers, and the box's IoU, or that it has no area:
    then a dot is its centre, or an arrow at the border says where that lies.
    """
    titles, found = [], denormalize_boxes(given, STREET, STREET)
    for scene, numbers, box, name in zip(scenes, given, found, classes, strict=True):
        overlap, empty = box_iou(box[None], true_boxes(scene)).item(), bool((numbers[2:] <= 0).any())
        written = ", ".join(f"{value:.2f}".replace("-", "−") for value in numbers.tolist())
        titles.append(f"{name}, {'no area' if empty else f'IoU {overlap:.2f}'}\n(x, y, w, h) = ({written})")
    both, look = [torch.stack([box, mean_box]) for box in found], {"titles": titles, "title": title, "pixels": 256}
    key = {"ground truth (dashed)": TRUTH, "network": ORANGE, "mean box": SKY}
    fig = streets(scenes, both, colours=[(ORANGE, SKY)] * len(scenes), key=key, **look)
    for ax, box in zip(fig.axes, given, strict=False):
        if (box[2:] <= 0).any():
            point_at(ax, (box[:2] * STREET).tolist())
    return fig


def point_at(ax: Axes, centre: Sequence[float]) -> None:
    """A dot at a point of a street or, where that lies outside, at the border nearest to it, with an arrow."""
    inside = np.clip(centre, 5, STREET - 6)
    if tuple(inside) != tuple(centre) and (np.abs(inside - centre) > 6).any():
        out = (np.array(centre) - inside) / np.linalg.norm(np.array(centre) - inside)
        look = {"arrowstyle": "-|>", "color": ORANGE, "lw": 3, "mutation_scale": 18}
        ax.annotate("", inside + 4 * out, inside - 12 * out, arrowprops=look)
    else:
        ax.plot(*inside, "o", ms=9, color=ORANGE, mec="black")


@course_look
def grouping(photo: np.ndarray, labels: np.ndarray, before: np.ndarray, title: str) -> Figure:
    """Draw the regions of one level over a photograph (H, W, 3) uint8; tint the one that was joined last, in its box.

    labels, before (h, w): the region of each pixel at this level and at the one before; both may be coarser than the
    photograph.
    """
    joined = [label for label in np.unique(labels) if len(np.unique(before[labels == label])) > 1]
    rows, columns = (np.arange(n) * side // n for n, side in zip(photo.shape[:2], labels.shape, strict=True))
    mask = np.isin(labels, joined)[rows][:, columns]
    shown = np.where(mask[..., None], 0.75 * photo + 0.25 * 255 * np.array(to_rgb(SKY)), photo).astype(np.uint8)
    shown = mark_boundaries(shown, labels[rows][:, columns], color=(1, 1, 0), mode="thick")
    height, width = labels.shape
    fig, axes = image_axes(1, 1, width=6.5, aspect=width / height, title=title)
    draw_image(axes[0, 0], (255 * shown).astype(np.uint8), size=(height, width))
    ys, xs = np.nonzero(np.isin(labels, joined))
    if len(ys):
        draw_boxes(axes[0, 0], [[xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]], colours=SKY)
    name_colours(fig, {"joined last (tinted), and its box": SKY, "borders of regions": "yellow"})
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
