"""The figures of notebook 05: two boxes with their intersection and union."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from lecture_utils.figures.style import BLUE, INK, ORANGE, course_look, to_array


@course_look
def two_boxes(
    a: Sequence[float], b: Sequence[float], *, size: tuple[float, float] = (90, 135), title: str = ""
) -> Figure:
    """Draw two boxes (x0, y0, x1, y1) on an empty image of `size` (height, width); what both cover is filled.

    The areas of intersection and union are written below, in square pixels.
    """
    a, b = to_array(a, float), to_array(b, float)
    for name, box in (("a", a), ("b", b)):
        if box.shape != (4,) or (box[2:] < box[:2]).any():
            raise ValueError(f"{name}: got {box.tolist()}, expected one box (x0, y0, x1, y1) with x0 ≤ x1 and y0 ≤ y1")
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    common = np.clip(high - low, 0, None)
    fig, ax = plt.subplots(figsize=(4.4, 4.4 * size[0] / size[1] + 1.4))
    ax.add_patch(Rectangle(low, *common, color=INK, alpha=0.3, linewidth=0))
    for box, colour, line, name in ((a, BLUE, "-", "first box"), (b, ORANGE, "--", "second box")):
        patch = Rectangle(box[:2], *(box[2:] - box[:2]), fill=False, ec=colour, lw=3, ls=line, label=name)
        ax.add_patch(patch)
    ax.set(xlim=(0, size[1]), ylim=(size[0], 0), xlabel="x (pixels)", ylabel="y (pixels)", aspect="equal", title=title)
    areas = [(box[2:] - box[:2]).prod() for box in (a, b)]
    shared = common.prod()
    words = f"intersection {shared:,.0f}, union {sum(areas) - shared:,.0f} square pixels"
    fig.legend(loc="outside lower center", ncols=2, title=words)
    return fig
