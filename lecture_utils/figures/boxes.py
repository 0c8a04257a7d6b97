"""Boxes on images: what is there, what a detector found, corrections and anchors (slides 14 to 22).

A box is (x0, y0, x1, y1) in pixels, measured continuously: the first pixel reaches from 0 to 1. `imshow` puts the
middle of that pixel at 0, so everything on an image is drawn half a pixel further up and to the left.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import FancyArrowPatch, Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.textpath import TextPath
from matplotlib.typing import ColorType
from numpy.typing import ArrayLike
from torch import Tensor

from lecture_utils.figures.grids import ink_on, points_per_unit
from lecture_utils.figures.overlays import draw_image, name_colours, to_pixels
from lecture_utils.figures.style import (
    BLUE,
    GREEN,
    INK,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    WIDTH,
    course_look,
    image_axes,
    to_array,
)

CLASS_COLOURS = (ORANGE, SKY, PURPLE, "#F0E442", GREEN, VERMILION, BLUE)  # of label 1, 2, …
TRUTH = "white"  # has a dark halo, as every light colour
FEW = 9  # boxes in an image, up to which something can be written at each
WIDE = 2.8  # inches of an image, from which a name fits beside a box
LABEL_SIZE = 10  # points


def class_colour(label: int) -> str:
    """The colour of a class, the same in every figure; label 0, the background, is grey."""
    return CLASS_COLOURS[(label - 1) % len(CLASS_COLOURS)] if label > 0 else "#BBBBBB"


def fade(image: torch.Tensor | np.ndarray) -> np.ndarray:
    """A photograph in pale colours, (h, w, 3) uint8, before which boxes stand out."""
    return (to_pixels(image) * 0.6 + 102).astype(np.uint8)


@course_look
def draw_boxes(
    ax: Axes,
    boxes: Float[torch.Tensor, "n 4"] | ArrayLike,
    *,
    names: Sequence[str] | None = None,
    scores: Sequence[float] | torch.Tensor | None = None,
    colours: ColorType | Sequence[ColorType] | None = None,
    dashed: bool = False,
    halo: bool = True,
) -> None:
    """Outline boxes (n, 4), in pixels (x0, y0, x1, y1), on axes that hold an image.

    `names` and `scores`, one a box, are written at it, inside the axes and out of each other's way. `colours` is one
    for all or one a box. Lines have a `halo`, dark or white, whatever differs from their colour, so that they show by
    day and by night; many boxes get thin lines. Without it, lines stay thick, and many can be told by their colours.
    """
    boxes = to_array(boxes, float)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"boxes: got shape {boxes.shape}, expected (n, 4)")
    colours = _one_a_box(ORANGE if colours is None else colours, len(boxes))
    for argument, given in (("names", names), ("scores", scores), ("colours", colours)):
        if given is not None and len(given) != len(boxes):
            raise ValueError(f"{argument}: got {len(given)}, expected {len(boxes)}, one a box")
    ax.figure.draw_without_rendering()  # lets the layout find its sizes
    (left, right), many = ax.get_xlim(), len(boxes) > 2 * FEW
    line = 0.9 if many and halo else min(2.0, 0.0085 * abs(right - left) * points_per_unit(ax))
    for (x0, y0, x1, y1), colour in zip(boxes - 0.5, colours, strict=True):
        outline = Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, ec=colour, lw=line, ls="--" if dashed else "-")
        if halo:
            outline.set_path_effects([withStroke(linewidth=1.9 * line, foreground=ink_on(colour))])
        ax.add_patch(outline)
    if names is not None or scores is not None:
        words = [""] * len(boxes) if names is None else [str(name) for name in names]
        figures = [""] * len(boxes) if scores is None else [f"{float(score):.2f}" for score in scores]
        texts = [f"{word} {figure}".strip() for word, figure in zip(words, figures, strict=True)]
        _write(ax, boxes - 0.5, texts, colours)


def _one_a_box(colours: ColorType | Sequence[ColorType], number: int) -> list[str]:
    alone = isinstance(colours, str) or (len(colours) in (3, 4) and isinstance(colours[0], float | int))
    return [to_hex(colour) for colour in ([colours] * number if alone else colours)]


def _write(ax: Axes, boxes: np.ndarray, texts: Sequence[str], colours: Sequence[str]) -> None:
    """Put each text at its box where it covers least: above or below, left or right, and never beyond the axes."""
    point = 1 / points_per_unit(ax)
    (left, right), (top, bottom) = sorted(ax.get_xlim()), sorted(ax.get_ylim())
    font = FontProperties(family="DejaVu Sans", size=LABEL_SIZE)
    height, taken = 1.35 * LABEL_SIZE * point, np.zeros((0, 4))
    for number, ((x0, y0, x1, y1), text, colour) in enumerate(zip(boxes, texts, colours, strict=True)):
        if not text:
            continue
        width = (TextPath((0, 0), text, prop=font).get_extents().width + 0.6 * LABEL_SIZE) * point
        places = [(x, y) for y in (y0 - height, y1, y0, y1 - height) for x in (x0, x1 - width)]
        places = [(np.clip(x, left, right - width), np.clip(y, top, bottom - height)) for x, y in places]
        others = np.delete(boxes, number, axis=0)

        def covered(x, y, w=width, taken=taken, own=boxes[[number]], others=others):
            place = np.array([x, y, x + w, y + height])
            return 20 * _shared(place, taken).sum() + 2 * _shared(place, others).sum() + _shared(place, own).sum()

        x, y = min(places, key=lambda place: covered(*place))
        taken = np.append(taken, [[x, y, x + width, y + height]], axis=0)
        ax.add_patch(Rectangle((x, y), width, height, fc=colour, ec="none", zorder=4))
        ax.text(
            x + width / 2, y + height / 2, text, size=LABEL_SIZE, ha="center", va="center_baseline", zorder=5,
            color=ink_on(colour),
        )  # fmt: skip


def _shared(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The area that a box shares with each of the others (n, 4)."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    return (high - low).clip(min=0).prod(1)


@course_look
def draw_detections(
    images: torch.Tensor | np.ndarray | Sequence,
    found: Mapping[str, Mapping | Sequence[Mapping]],
    *,
    names: Sequence[str] = (),
    threshold: int | float = 0.0,
    title: str = "",
    width: int | float | None = None,
) -> Figure:
    """Draw boxes on an image, one panel for each of `found`, name → dict `boxes` and, if known, `labels`, `scores`.

    With several images each name stands for a list, one dict an image, and each image gets a row. An image is a
    tensor (3, H, W) or an array (H, W, 3), uint8. `names` are the classes by label, the data set's `categories`.
    Detections that score less than `threshold` are left out. Names and scores are written at the boxes where there is
    room; otherwise the colours are named below.
    """
    if isinstance(images, torch.Tensor | np.ndarray) and images.ndim == 3:
        images, found = [images], {name: [one] for name, one in found.items()}
    counts = {name: len(column) for name, column in found.items()}
    if not counts or set(counts.values()) != {len(images)}:
        raise ValueError(f"found: got {counts} for {len(images)} images, expected one of each name for each image")
    images = [to_pixels(image) for image in images]
    kept = {name: [_above(one, threshold) for one in column] for name, column in found.items()}
    width = width or min(WIDTH, 4.5 * len(kept))
    few = max(len(one["boxes"]) for column in kept.values() for one in column) <= FEW
    written = few and width / len(kept) >= WIDE

    aspect = images[0].shape[1] / images[0].shape[0]
    fig, axes = image_axes(len(images), len(kept), width=width, aspect=aspect, title=title)
    labels = {int(label) for column in kept.values() for one in column for label in one.get("labels", ())}
    if names and not written:
        name_colours(fig, {names[label]: class_colour(label) for label in sorted(labels)})
    unnamed = VERMILION if labels else ORANGE  # not the colour of a class
    for column, name in enumerate(kept):
        axes[0, column].set_title(name)
    for ax, image in zip(axes.T.flat, images * len(kept), strict=True):
        draw_image(ax, image)
    for ax, one in zip(axes.T.flat, (one for column in kept.values() for one in column), strict=True):
        known = "labels" in one
        draw_boxes(
            ax,
            one["boxes"],
            names=[names[label] for label in one["labels"]] if written and known and names else None,
            scores=one.get("scores") if few else None,
            colours=[class_colour(int(label)) for label in one["labels"]] if known else unnamed,
        )
    return fig


def _above(found: Mapping, threshold: float) -> dict:
    """Tensors of the detections that score at least `threshold`; what has no scores stays whole."""
    found = {key: torch.as_tensor(found[key]).detach().cpu() for key in ("boxes", "labels", "scores") if key in found}
    if "scores" not in found:
        return found
    keep = found["scores"] >= threshold
    return {key: values[keep] for key, values in found.items()}


@course_look
def corrected(
    image: torch.Tensor | np.ndarray,
    before: Float[torch.Tensor, "n 4"],
    after: Float[torch.Tensor, "n 4"],
    *,
    truth: Float[torch.Tensor, "m 4"] | None = None,
    names: tuple[str, str] = ("before", "after"),
    title: str = "",
    width: int | float = 5.5,
) -> Figure:
    """Draw boxes before a correction, dashed, and after it, with an arrow from centre to centre (slides 18 and 21).

    `names` say what the two are; `truth`, if given, is drawn beneath them.
    """
    before, after = to_array(before, float), to_array(after, float)
    if before.shape != after.shape:
        raise ValueError(f"after: got shape {after.shape}, expected {before.shape}, that of before")
    fig, ax = one_image(to_pixels(image), title=title, width=width)
    colours = dict(zip(names, (SKY, ORANGE), strict=True))
    if truth is not None:
        draw_boxes(ax, truth, colours=TRUTH)
        colours = {"truth": TRUTH, **colours}
    draw_boxes(ax, before, colours=SKY, dashed=True)
    draw_boxes(ax, after, colours=ORANGE)
    for (x0, y0), (x1, y1) in zip(centres(before), centres(after), strict=True):
        if np.hypot(x1 - x0, y1 - y0) < 0.5:  # no arrow would be seen, only its head
            continue
        arrow = FancyArrowPatch((x0, y0), (x1, y1), arrowstyle="-|>", mutation_scale=9, shrinkA=0, shrinkB=0)
        arrow.set(color=ORANGE, lw=1.4, zorder=3)
        arrow.set_path_effects([withStroke(linewidth=2.6, foreground=INK)])
        ax.add_patch(arrow)
    name_colours(fig, colours)
    return fig


def zoom(
    ax: Axes, boxes: Float[Tensor, "n 4"], *, size: tuple[int, int], margin: float = 6.0, aspect: float = 1.0
) -> None:
    """Show the part of an image of `size` (height, width) that holds the boxes, with a margin in pixels around them.

    It is square or, where the boxes are wide, up to `aspect` times as wide as high, and never reaches beyond the image.
    """
    corners = to_array(boxes, float)
    low, high = corners[:, :2].min(0) - margin, corners[:, 2:].max(0) + margin
    width, height = high - low
    sides = np.minimum(size[::-1], (max(width, height), max(height, width / aspect)))
    x, y = np.clip((low + high - sides) / 2, 0, size[::-1] - sides)
    ax.set(xlim=(x - 0.5, x + sides[0] - 0.5), ylim=(y + sides[1] - 0.5, y - 0.5))


def centres(boxes: np.ndarray) -> np.ndarray:
    """The middle of each box, (n, 2), where an image shows it."""
    return (boxes[:, :2] + boxes[:, 2:]) / 2 - 0.5


def one_image(
    image: np.ndarray, *, title: str, width: float, view: tuple[np.ndarray, np.ndarray] | None = None
) -> tuple[Figure, Axes]:
    """One image; the axes reach from the first to the second point (x, y) of `view`, by default over the image."""
    low, high = view or (np.zeros(2), np.array(image.shape[1::-1]))
    fig, axes = image_axes(1, 1, width=width, aspect=(high - low)[0] / (high - low)[1], title=title)
    ax = axes[0, 0]
    draw_image(ax, image)
    ax.set(xlim=(low[0] - 0.5, high[0] - 0.5), ylim=(high[1] - 0.5, low[1] - 0.5))
    return fig, ax


COVER = PURPLE  # no street is, and no map of attention


def masked_patches(image: Tensor | np.ndarray, mask: Bool[Tensor, "h w"]) -> UInt8[np.ndarray, "H W 3"]:
    """A photograph, (3, H, W) or (H, W, 3), whose hidden patches are covered in one colour."""
    pixels = to_pixels(image)
    height, width = pixels.shape[:2]
    rows, columns = mask.shape
    if height % rows or width % columns:
        raise ValueError(f"mask: got shape {tuple(mask.shape)}, expected a divisor of {height} × {width} pixels")
    hidden = to_array(mask.repeat_interleave(height // rows, 0).repeat_interleave(width // columns, 1))
    return np.where(hidden[..., None], np.rint(255 * np.array(to_rgb(COVER))), pixels).astype(np.uint8)
