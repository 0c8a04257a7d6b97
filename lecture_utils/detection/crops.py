"""How many crops an image has: every place, scale and aspect, or simply every box (slide 16)."""

from collections.abc import Iterator, Sequence

from lecture_utils.arguments import require_positive


def count_boxes(height: int, width: int) -> int:
    """The number of boxes with corners between the pixels of an image: all places, widths and heights.

    A box is a first and a last row and a first and a last column: H (H + 1) / 2 · W (W + 1) / 2.
    """
    require_positive(height=height, width=width)
    return height * (height + 1) // 2 * (width * (width + 1) // 2)


def all_boxes(height: int, width: int) -> Iterator[tuple[int, int, int, int]]:
    """Every one of them, as (x0, y0, x1, y1), one after the other; there are `count_boxes` of them."""
    require_positive(height=height, width=width)
    for y0 in range(height):
        for y1 in range(y0 + 1, height + 1):
            for x0 in range(width):
                for x1 in range(x0 + 1, width + 1):
                    yield x0, y0, x1, y1


def window_sizes(scales: Sequence[float], aspects: Sequence[float]) -> list[tuple[int, int]]:
    """The (height, width) of a window for every scale and aspect, in whole pixels.

    A scale is the square root of the area in pixels; an aspect is height / width, so 2 is tall and ½ is wide.
    """
    for name, values in (("scales", scales), ("aspects", aspects)):
        if not len(values) or min(values) <= 0:
            raise ValueError(f"{name}: got {values!r}, expected at least one number, all above 0")
    return [(max(1, round(s * a**0.5)), max(1, round(s / a**0.5))) for s in scales for a in aspects]


def count_crops(height: int, width: int, scales: Sequence[float], aspects: Sequence[float], *, stride: int = 1) -> int:
    """The number of crops when windows of every scale and aspect go over an image in steps of `stride` pixels.

    A window of h × w fits in ((H − h) // stride + 1) · ((W − w) // stride + 1) places, and in none if it is larger than
    the image.
    """
    require_positive(height=height, width=width, stride=stride)
    places = (
        ((height - h) // stride + 1) * ((width - w) // stride + 1)
        for h, w in window_sizes(scales, aspects)
        if h <= height and w <= width
    )
    return sum(places)
