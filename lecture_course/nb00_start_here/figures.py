"""The figures of notebook 00: five tasks on one street, softmax charts, kernels and their feature maps, label maps."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.patheffects import withStroke
from numpy.typing import ArrayLike
from torch import Tensor
from torchvision.transforms.v2.functional import resized_crop

from lecture_utils.cityscapes import CLASSES, IGNORE_COLOUR, IGNORE_INDEX, PALETTE, colour_labels
from lecture_utils.figures.attention_maps import attention_bar
from lecture_utils.figures.boxes import draw_boxes
from lecture_utils.figures.grids import ink_on
from lecture_utils.figures.overlays import draw_image, legend, outline, to_pixels
from lecture_utils.figures.style import BLUE, FAINT, INK, SKY, VERMILION, WIDTH, bare, course_look, image_axes, to_array

LIST = "from left to right "  # how a caption begins that names every object in its order
# Told apart, also beside each other; each is readable behind dark or white letters.
OBJECT_COLOURS = ("#F0E442", "#56B4E9", "#E69F00", "#CC79A7", "#009E73", "#D55E00", "#0072B2", "#BBBBBB")


def caption_parts(caption: str) -> list[tuple[str, int | None]]:
    """A caption “from left to right a, b and c” in pieces: (text, which object it names, from 0, or None).

    The pieces joined are the caption.
    """
    if not caption.startswith(LIST):
        raise ValueError(f"caption: got {caption!r}, expected one that begins with {LIST!r}")
    parts: list[tuple[str, int | None]] = [(LIST, None)]
    rest, number = caption.removeprefix(LIST), 0
    while rest:
        ends = [(rest.find(joint), joint) for joint in (", ", " and ") if joint in rest]
        end, joint = min(ends, default=(len(rest), ""))
        parts.append((rest[:end], number))
        parts += [(joint, None)] if joint else []
        rest, number = rest[end + len(joint) :], number + 1
    return parts


def left_to_right(boxes: Tensor) -> Tensor:
    """The order of boxes (n, 4) by their middles, from left to right: (n,)."""
    return (boxes[:, 0] + boxes[:, 2]).argsort()


def square_crop(image: Tensor, box: ArrayLike, size: int, *, room: float = 1.0) -> Tensor:
    """The square around a box (x0, y0, x1, y1) of an image (3, H, W), resized to (3, size, size); nothing is squashed.

    Its side is `room` times the longer side of the box. Where it would reach beyond the image, it is moved inside.
    """
    x0, y0, x1, y1 = (float(value) for value in box)
    height, width = image.shape[-2:]
    side = max(1, min(round(room * max(x1 - x0, y1 - y0)), height, width))
    top, left = (
        min(max(0, round((low + high - side) / 2)), whole - side)
        for low, high, whole in ((y0, y1, height), (x0, x1, width))
    )
    return resized_crop(image, top, left, side, side, [size, size], antialias=True)


@course_look
def five_tasks(
    street: np.ndarray,
    *,
    boxes: Tensor,
    names: Sequence[str],
    size: int,
    caption: str,
    labels: np.ndarray,
    crop: Tensor,
    classes: Mapping[str, float],
    samples: Tensor,
    sampled: int,
    rows: tuple[float, float] = (0.0, 1.0),
) -> Figure:
    """What five networks make of one street (slide 2): detection and caption large, the other three below.

    `street` (h, h, 3) is shown from the first to the second of `rows`, shares of its height. `boxes` (n, 4), with their
    `names`, are in pixels of a street of `size` pixels. They get a colour each; the object that `caption` names as the
    i-th from the left has the colour of the i-th box from the left, so there must be as many. `labels` (s, s) is a
    label map, `crop` (3, c, c) what was classified, `classes` name → probability, the most probable first; `samples`
    (m, 3, k, k) bytes, of which up to four are shown, chosen from `sampled` images.
    """
    parts = caption_parts(caption)
    named = sum(number is not None for _, number in parts)
    if named != len(boxes) or named != len(names):
        raise ValueError(f"caption: names {named} objects, got {len(boxes)} boxes and {len(names)} names of boxes")
    order = left_to_right(boxes).tolist()
    colours = [OBJECT_COLOURS[order.index(number) % len(OBJECT_COLOURS)] for number in range(len(boxes))]
    share, gap, line = rows[1] - rows[0], 0.15, 0.32  # inches, but for the share
    left, right = 3.9, WIDTH - 3.9 - gap
    top, low, small = WIDTH * share, left * share, (right - 3 * 0.06) / 4
    below = max(low + 0.62, 2 * line + 1.35 + small)
    height = line + top + line + 0.72 + line + below
    fig = plt.figure(figsize=(WIDTH, height))
    fig.set_layout_engine("none")  # every place is given

    def place(x: float, y: float, width: float, tall: float, title: str = "") -> Axes:
        """Axes whose upper left corner lies x and y inches from the figure's."""
        ax = fig.add_axes((x / WIDTH, 1 - (y + tall) / height, width / WIDTH, tall / height))
        if title:
            task, _, what = title.partition(": ")
            fig.text(x / WIDTH, 1 - (y - 0.08) / height, rf"$\bf{{{task}}}$" + f": {what}", size=12.5, va="bottom")
        return ax

    def street_axes(ax: Axes, shown: np.ndarray, size: int) -> None:
        draw_image(ax, shown, size=(size, size))
        if shown is street:
            ax.images[0].set_interpolation("bicubic")  # enlarged here; it takes less room without steps
        ax.set_ylim(rows[1] * size - 0.5, rows[0] * size - 0.5)

    ax = place(0, line, WIDTH, top, "Detection: a box and a class for each object")
    street_axes(ax, street, size)
    draw_boxes(ax, boxes, names=names, colours=colours)

    y = line + top + line
    write_caption(place(0, y, WIDTH, 0.72, "Captioning: a sentence (the words in grey are given)"), parts)

    y += 0.72 + line
    street_axes(place(0, y, left, low, "Segmentation: a class for each pixel"), colour_labels(labels), len(labels))
    swatches = [
        Patch(facecolor=PALETTE[i] / 255, edgecolor=INK, linewidth=0.5, label=CLASSES[i]) for i in np.unique(labels)
    ]
    fig.legend(
        handles=swatches, loc="upper left", bbox_to_anchor=(0, 1 - (y + low + 0.02) / height), ncols=4, borderpad=0,
        fontsize=10, handlelength=1.1, handletextpad=0.4, columnspacing=0.6, labelspacing=0.25, borderaxespad=0.3,
    )  # fmt: skip

    x = left + gap
    draw_image(place(x, y, 1.3, 1.3, "Classification: one class for one object"), to_pixels(crop))
    probability_bars(place(x + 3.36, y + 0.02, right - 3.86, 1.26), classes)
    y += 1.3 + line
    for i, sample in enumerate(samples):
        title = "" if i else f"Generation: new images, from noise ({len(samples)} of {sampled})"
        draw_image(place(x + i * (small + 0.06), y, small, small, title), to_pixels(sample))
    return fig


def write_caption(ax: Axes, parts: Sequence[tuple[str, int | None]], *, size: float = 15.5) -> None:
    """Write a caption's pieces on axes, in lines as long as they are wide; objects on their colours."""
    ax.axis("off")
    ax.set(xlim=(0, 1), ylim=(0, 1))
    renderer = ax.figure.canvas.get_renderer()
    whole, x, y = ax.get_window_extent(renderer), 0.008, 0.74
    for text, number in parts:
        if text == ", ":  # stands close to the word before it
            x -= 0.005
        colour = None if number is None else OBJECT_COLOURS[number % len(OBJECT_COLOURS)]
        style = {} if colour is None else {"bbox": {"facecolor": colour, "edgecolor": "none", "pad": 2.5}}
        style |= {"style": "italic"} if text == LIST else {}  # given to the network, not said by it
        ink = FAINT if text == LIST else INK if colour is None else ink_on(colour)
        written = ax.text(x, y, text.strip() if number is None else text, size=size, color=ink, va="center", **style)
        width = written.get_window_extent(renderer).width / whole.width
        if text != ", " and x + width > 1:
            x, y = 0.008, y - 0.5
            written.set_position((x, y))
        x += width + 0.011


@course_look
def probability_bars(ax: Axes, classes: Mapping[str, float], *, truth: str | None = None) -> None:
    """Probabilities as bars, name → number from 0 to 1, top down; the bar of `truth`, or the largest, is dark."""
    names, values = list(classes), [float(value) for value in classes.values()]
    dark = names[int(np.argmax(values))] if truth is None else truth
    places = np.arange(len(names))
    ax.barh(places, values, color=[BLUE if name == dark else SKY for name in names], height=0.68)
    for place, value in zip(places, values, strict=True):
        ax.text(value + 0.03, place, f"{value:.0%}", size=11, va="center", color=INK)
    ax.set(xlim=(0, 1), ylim=(len(names) - 0.5, -0.5), xticks=[], yticks=places, yticklabels=names)
    ax.tick_params(axis="y", length=0, labelsize=11)
    ax.spines[:].set_visible(False)
    ax.spines["left"].set_visible(True)


@course_look
def softmax_charts(
    crops: Sequence[np.ndarray],
    probabilities: ArrayLike,
    truth: Sequence[int],
    names: Sequence[str],
    *,
    title: str = "",
) -> Figure:
    """Object crops, (h, w, 3) or tensors (3, h, w), in two columns, each beside the bars of its (K,) probabilities.

    The bar of the true class is dark; a wrong answer is said in red.
    """
    probabilities = to_array(probabilities, float)
    if probabilities.shape != (len(crops), len(names)) or len(truth) != len(crops):
        raise ValueError(
            f"probabilities: got shape {probabilities.shape} and {len(truth)} true classes, expected "
            f"({len(crops)}, {len(names)}), one row and one class for each crop"
        )
    rows = -(-len(crops) // 2)
    size = (WIDTH, 1.85 * rows + (0.4 if title else 0))
    fig, axes = plt.subplots(rows, 4, figsize=size, width_ratios=(1.75, 1.55, 1.75, 1.55), squeeze=False)
    fig.suptitle(title)
    for ax in axes.flat[2 * len(crops) :]:
        ax.set_visible(False)
    for i, crop in enumerate(crops):
        shown, bars = axes.flat[2 * i : 2 * i + 2]
        draw_image(shown, crop)
        probability_bars(bars, dict(zip(names, probabilities[i], strict=True)), truth=names[truth[i]])
        said = int(probabilities[i].argmax())
        right = said == truth[i]
        bars.set_title(
            names[said] if right else f"{names[said]}? No: {names[truth[i]]}", color=INK if right else VERMILION,
            size=12, loc="left", x=-0.6,
        )  # fmt: skip
    return fig


@course_look
def kernels_and_maps(crop: Tensor, kernels: Tensor, maps: Tensor, *, title: str = "") -> Figure:
    """A crop (3, h, w), and four kernels (4, 3, k, k) of the first layer, each beside its feature map (4, h, w).

    A kernel is shown as the small image that it answers to most, grey where it is zero. Each map is scaled to its own
    maximum.
    """
    if len(kernels) != 4 or len(maps) != 4:
        raise ValueError(f"kernels: got {len(kernels)} and {len(maps)} maps, expected four of each")
    kernels, maps = to_array(kernels, float), to_array(maps, float)
    fig = plt.figure(figsize=(WIDTH, 5.2))
    fig.suptitle(title)
    grid = fig.add_gridspec(2, 5, width_ratios=(2.2, 0.8, 2.3, 0.8, 2.3))
    shown = fig.add_subplot(grid[:, 0])
    draw_image(shown, to_pixels((crop * 255).byte()))
    shown.set_title("input")
    panels = []
    for i, (kernel, values) in enumerate(zip(kernels, maps, strict=True)):
        small, large = (fig.add_subplot(grid[i // 2, 1 + 2 * (i % 2) + part]) for part in (0, 1))
        patch = 0.5 + kernel.transpose(1, 2, 0) / (2 * np.abs(kernels).max())
        draw_image(small, np.rint(255 * patch).astype(np.uint8))
        small.spines[:].set_visible(True)
        small.set_title("kernel", size=12)
        largest = max(float(values.max()), 1e-12)
        image = large.imshow(values / largest, cmap="viridis", vmin=0, vmax=1, interpolation="nearest")
        bare([large])
        large.set_title("feature map", size=12)
        panels.append(large)
    attention_bar(image, panels, label="activation, as a fraction of the map's largest")
    return fig


@course_look
def images_and_maps(images: Mapping[str, np.ndarray], labels: Sequence[np.ndarray] = (), *, title: str = "") -> Figure:
    """Images in two columns, each under its name, and a legend for the classes of the label maps `labels`."""
    rows = -(-len(images) // 2)
    fig, axes = image_axes(rows, 2, title=title)
    for ax in axes.flat[len(images) :]:
        ax.set_visible(False)
    for ax, (name, image) in zip(axes.flat, images.items(), strict=False):
        draw_image(ax, image)
        ax.set_title(name)
    if len(labels):
        legend(fig, *labels)
    return fig


@course_look
def one_class(image: np.ndarray, labels: np.ndarray, name: str) -> Figure:
    """A street (H, W, 3) on which only the class `name` keeps its colours, outlined; all else is nearly white."""
    if name not in CLASSES:
        raise ValueError(f"name: got {name!r}, expected a class of Cityscapes: {', '.join(CLASSES)}")
    chosen = labels == CLASSES.index(name)
    faded = 255 - (255 - image.mean(axis=2, keepdims=True).repeat(3, axis=2)) * 0.16
    fig, axes = image_axes(1, 1, width=4.5, title=f"{name}: {chosen.mean():.1%} of the pixels")
    draw_image(axes[0, 0], np.where(chosen[..., None], image, faded).astype(np.uint8))
    edges = outline(np.pad(chosen, 1)) - 1
    axes[0, 0].add_collection(LineCollection(edges, colors=VERMILION, linewidths=1.4))
    return fig


@course_look
def label_window(labels: np.ndarray, row: int, column: int, *, side: int = 10) -> Figure:
    """A label map (H, W) in its colours and, beside it, the class numbers of side × side pixels from (row, column)."""
    height, width = labels.shape
    if not (0 <= row <= height - side and 0 <= column <= width - side):
        raise ValueError(f"row, column: got {row}, {column}, expected a window of {side} pixels within {labels.shape}")
    patch = labels[row : row + side, column : column + side]
    fig = plt.figure(figsize=(WIDTH, 4.9))
    fig.set_layout_engine("none")  # an explorer draws many of these, and laying them out takes longest
    whole, numbers = (fig.add_axes((x / WIDTH, 0.4 / 4.9, 4.1 / WIDTH, 4.1 / 4.9)) for x in (0.2, 4.7))
    draw_image(whole, labels)
    frame = Rectangle((column - 0.5, row - 0.5), side, side, fill=False, ec="white", lw=2.5)
    frame.set_path_effects([withStroke(linewidth=4.5, foreground=INK)])
    whole.add_patch(frame)
    whole.set_title("label map")
    draw_image(numbers, patch)
    numbers.set_title("the numbers in the frame")
    inks = {value: ink_on(_paint(value)) for value in np.unique(patch).tolist()}
    size = 4.1 * 72 / (4 * 0.602 * side)  # points: a cell is four letters of this font wide
    for y, row in enumerate(patch.tolist()):  # a line of text for each ink: many texts would take seconds to draw
        for ink in sorted(set(inks.values())):
            line = "".join(f"{value:^4}" if inks[value] == ink else " " * 4 for value in row)
            numbers.text(-0.4, y, line, size=size, family="DejaVu Sans Mono", va="center_baseline", color=ink)
    present = ", ".join(f"{i} {'ignored' if i == IGNORE_INDEX else CLASSES[i]}" for i in np.unique(patch).tolist())
    numbers.set_xlabel(present, size=12, color=INK)
    return fig


def _paint(value: int) -> str:
    """The colour of a class in a label map."""
    return to_hex(np.array(IGNORE_COLOUR if value == IGNORE_INDEX else PALETTE[value]) / 255)


@course_look
def class_scores(iou: Mapping[str, float], shares: Mapping[str, float], *, accuracy: float, title: str = "") -> Figure:
    """Bars of the IoU of each class, the commonest on top, with its share of the pixels; lines: mIoU and accuracy."""
    names = sorted(iou, key=lambda name: -shares[name])
    fig, ax = plt.subplots(figsize=(WIDTH, 0.36 * len(names) + 1.3))
    fig.suptitle(title)
    values, places = [iou[name] for name in names], np.arange(len(names))
    ax.barh(places, values, color=BLUE, height=0.68)
    mean = sum(values) / len(values)
    for value, style, text in ((mean, "--", f"mean IoU {mean:.2f}"), (accuracy, ":", f"pixel accuracy {accuracy:.2f}")):
        ax.axvline(value, color=INK if style == "--" else VERMILION, ls=style, lw=2, label=text)
    ax.set(xlim=(0, 1), ylim=(len(names) - 0.5, -0.5), yticks=places, xlabel="IoU")
    ax.set_yticklabels([f"{name} ({shares[name]:.1%} of the pixels)" for name in names])
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_color(FAINT)
    fig.legend(loc="outside lower center", ncols=2)
    return fig
