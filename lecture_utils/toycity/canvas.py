"""A pair of images painted together: the colours, and beside them which class or object each pixel belongs to.

Points are in image units (0 to 1, v downwards). Both are drawn finer than the result and reduced at the end: the
colours by averaging, which smooths edges, the identities by taking the middle sample, since a class has no average.
"""

import numpy as np
from PIL import Image, ImageDraw

FIRST_OBJECT = 32  # identities below are train ids of background classes, from here on the scene's objects


class Canvas:
    """`polygon` and `ellipse` paint colour and identity at once; `glaze` tints the colour and leaves the identity."""

    def __init__(self, size: int):
        self.size = size
        self.fine = size * max(2, -(-256 // size))
        self.rgb = Image.new("RGB", (self.fine, self.fine))
        self.ids = Image.new("L", (self.fine, self.fine), 255)
        self._colour, self._ids = ImageDraw.Draw(self.rgb), ImageDraw.Draw(self.ids)
        self._glaze = ImageDraw.Draw(self.rgb, "RGBA")

    def _pixels(self, points) -> list[tuple[int, int]]:
        n = self.fine
        return [(int(u * n), int(v * n)) for u, v in points]

    def polygon(self, points, rgb, identity: int | None = None) -> None:
        """Fill a polygon of (u, v) points; without an identity only its colour is painted (a window, a stripe)."""
        pixels = self._pixels(points)
        self._colour.polygon(pixels, fill=rgb)
        if identity is not None:
            self._ids.polygon(pixels, fill=identity)

    def panes(self, columns, rows, rgb_of) -> None:
        """Many upright quadrilaterals (windows, say) cheaply, each in a colour of its own.

        `columns` holds pairs of edges, left and right; an edge is (u, v on the ground, v a metre). `rows` holds pairs
        of heights in metres, low and high. `rgb_of(column, row)` names the colour.
        """
        n, draw = self.fine, self._colour.polygon
        for i, ((ul, vl, kl), (ur, vr, kr)) in enumerate(columns):
            left, right = int(ul * n), int(ur * n)
            if max(left, right) < 0 or min(left, right) > n or abs(right - left) < 1:
                continue
            for j, (low, high) in enumerate(rows):
                corners = (
                    left,
                    (vl - kl * low) * n,
                    left,
                    (vl - kl * high) * n,
                    right,
                    (vr - kr * high) * n,
                    right,
                    (vr - kr * low) * n,
                )
                draw([int(c) for c in corners], fill=rgb_of(i, j))

    def box(self, u0, v0, u1, v1, rgb, identity: int | None = None) -> None:
        self.polygon(((u0, v0), (u1, v0), (u1, v1), (u0, v1)), rgb, identity)

    def ellipse(self, u, v, radius_u, radius_v, rgb, identity: int | None = None) -> None:
        """Fill an ellipse around (u, v)."""
        box = self._pixels(((u - radius_u, v - radius_v), (u + radius_u, v + radius_v)))
        self._colour.ellipse(box, fill=rgb)
        if identity is not None:
            self._ids.ellipse(box, fill=identity)

    def glaze(self, points, rgb, opacity: float) -> None:
        """Tint a polygon: a shadow, a beam, a window seen through haze."""
        self._glaze.polygon(self._pixels(points), fill=(*rgb, int(255 * opacity)))

    def glaze_ellipse(self, u, v, radius_u, radius_v, rgb, opacity: float) -> None:
        box = self._pixels(((u - radius_u, v - radius_v), (u + radius_u, v + radius_v)))
        self._glaze.ellipse(box, fill=(*rgb, int(255 * opacity)))

    def rows(self, colours: np.ndarray, identity: int) -> None:
        """Fill the whole canvas with one colour for each fine row: (fine, 3) uint8."""
        self.rgb.paste(Image.fromarray(np.repeat(colours[:, None], self.fine, axis=1)))
        self.ids.paste(identity, (0, 0, self.fine, self.fine))

    def reduced(self) -> tuple[np.ndarray, np.ndarray]:
        """The image (size, size, 3) and the identities (size, size), both uint8."""
        factor = self.fine // self.size
        middle = np.asarray(self.ids)[factor // 2 :: factor, factor // 2 :: factor]
        return np.asarray(self.rgb.reduce(factor)), middle
