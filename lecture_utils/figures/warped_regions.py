"""Regions of a picture as R-CNN looks at them: cut out, warped to one size, and scored (slide 18)."""

from collections.abc import Mapping, Sequence
from math import ceil

import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from lecture_utils.figures.boxes import draw_boxes, photograph
from lecture_utils.figures.overlays import picture
from lecture_utils.figures.style import BLUE, CYCLE, WIDTH, course_look


@course_look
def warped(
    image: Tensor | np.ndarray,
    boxes: Float[Tensor, "n 4"],
    crops: Sequence[Tensor | np.ndarray],
    *,
    names: Sequence[str] = (),
    title: str = "",
) -> Figure:
    """Draw numbered boxes on a picture and, beside it in two rows, what was cut out of each, all of one size.

    Pictures are (3, H, W) or (H, W, 3), uint8. `names`, one a box, stand under the crops.
    """
    if not len(boxes) == len(crops) >= 1 or (names and len(names) != len(boxes)):
        counts = f"{len(boxes)}, {len(crops)} and {len(names)}"
        raise ValueError(f"boxes, crops, names: got {counts}, expected as many of each, and at least one")
    columns = ceil(len(crops) / 2)
    fig = plt.figure(figsize=(WIDTH, 4.2 if names else 3.9))
    fig.suptitle(title)
    grid = fig.add_gridspec(2, 1 + columns, width_ratios=[2.2] + [1] * columns)
    scene = fig.add_subplot(grid[:, 0])
    picture(scene, photograph(image))
    colours = [CYCLE[i % len(CYCLE)] for i in range(len(boxes))]
    numbers = [str(i + 1) for i in range(len(boxes))]
    draw_boxes(scene, boxes, names=numbers, colours=colours)
    for i, (crop, number) in enumerate(zip(crops, numbers, strict=True)):
        ax = fig.add_subplot(grid[i // columns, 1 + i % columns])
        picture(ax, photograph(crop))
        ax.set_title(number)
        ax.set_xlabel(names[i] if names else "")
    return fig


@course_look
def region_answer(
    crop: Tensor | np.ndarray, scores: Mapping[str, float], *, truth: str = "", title: str = ""
) -> Figure:
    """Draw what was cut out of a picture, and the probability of each class as a bar; that of `truth` bears a tick."""
    fig, (seen, bars) = plt.subplots(1, 2, figsize=(6, 2.9), width_ratios=[1, 1.2])
    fig.suptitle(title)
    picture(seen, photograph(crop))
    seen.set_title("what the network sees")
    names = list(scores)
    bars.barh(range(len(names)), list(scores.values()), color=BLUE)
    bars.set_yticks(range(len(names)), [f"{name} ✓" if name == truth else name for name in names])
    bars.set(xlim=(0, 1), xticks=(0, 0.5, 1), title="what it takes it for", xlabel="probability")
    bars.invert_yaxis()
    return fig
