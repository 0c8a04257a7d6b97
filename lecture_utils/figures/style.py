"""One look for every figure of the course, and the way a figure reaches the page."""

import base64
import io
from collections.abc import Iterable, Sequence

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, DTypeLike
from PIL import Image
from torch import Tensor, bfloat16

# Okabe and Ito's colours, told apart by every common kind of colour blindness and in grey print (by lightness).
INK = "#222222"
FAINT = "#777777"
ORANGE, SKY, GREEN, BLUE, VERMILION, PURPLE = "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7"
CYCLE = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILION)
HATCHES = ("", "///", "...", "xxx", "\\\\\\", "+++")  # so that bars do not differ by colour alone
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 2)))  # nor lines

WIDTH = 9.0  # inches of a figure as wide as the column of text
CSS_PIXELS_PER_INCH = 80  # so that WIDTH is 720 pixels on the page, and 11 points are 12
HEAT = LinearSegmentedColormap.from_list("heat", [(*to_rgb(VERMILION), 0.0), (*to_rgb(VERMILION), 0.9)])
KILOBYTES = 100  # a notebook holds a dozen images and stays below a megabyte

# Used as a decorator, `@course_look` draws one function's figure in this look and leaves the reader's settings alone.
course_look = mpl.rc_context(
    {
        "font.family": "DejaVu Sans",  # comes with matplotlib, so every machine has it
        "font.size": 12,
        "axes.titlesize": 13,
        "axes.labelsize": 12,
        "xtick.labelsize": 11,
        "ytick.labelsize": 11,
        "legend.fontsize": 11,
        "figure.titlesize": 15,
        "figure.facecolor": "white",  # readable on a dark page, too
        "figure.constrained_layout.use": True,
        "axes.prop_cycle": mpl.cycler(color=CYCLE),
        "axes.edgecolor": FAINT,
        "axes.labelcolor": INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": False,
        "axes.axisbelow": True,
        "grid.color": "#DDDDDD",
        "text.color": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "hatch.linewidth": 0.6,
        "lines.linewidth": 2.0,
        "legend.frameon": False,
    }
)


@course_look
def show(fig: Figure, *, alt: str) -> None:
    """Display a figure in the notebook as a small PNG (100 KB, `encode_png`) with alternative text, and close it.

    The output carries `alt` twice: as `metadata["image/png"]["alt"]`, where IPython and nbconvert keep it and the
    handouts' build takes it from, and as text/plain, which a terminal shows. The image is image/png alone, not
    text/html with a data URI: GitHub strips those, and nbval compares text/html byte by byte while it passes over
    image/png, whose bytes differ from one version of matplotlib to the next. Because text/plain *is* compared, `alt`
    says what the image shows and holds no number that differs between machines. An empty `alt` is a ValueError.
    """
    from IPython.display import display  # only notebooks need it

    alt = " ".join(alt.split())
    if not alt:
        raise ValueError("alt: got an empty text, expected one sentence that says what the figure shows")
    png = encode_png(fig)
    width = round(fig.get_figwidth() * CSS_PIXELS_PER_INCH)
    bundle = {"image/png": base64.b64encode(png).decode(), "text/plain": f"Figure: {alt}"}
    display(bundle, metadata={"image/png": {"alt": alt, "width": width}}, raw=True)
    plt.close(fig)


def encode_png(fig: Figure, *, kilobytes: int = KILOBYTES) -> bytes:
    """Draw a figure as the sharpest PNG that keeps to `kilobytes`, as `encode_pngs` does for several."""
    return encode_pngs([fig], kilobytes=kilobytes)[0]


@course_look
def encode_pngs(figs: Sequence[Figure], *, kilobytes: int = KILOBYTES) -> list[bytes]:
    """Draw figures as PNGs of one size in pixels, the sharpest that together keep to `kilobytes`.

    They have twice the page's pixels if they can, fewer if they must. 256 colours, or 64, replace the full range where
    the eye sees no difference (curves, label maps), and 256 wherever the full range is too large; then the resolution
    falls in steps. What is still too large at the page's own resolution comes back as it is: a figure of many
    photographs is better large than missing. A smaller figure stands at the top, on white.
    """
    for scale in (2.0, 1.6, 1.3, 1.0):
        images = [_drawn(fig, scale) for fig in figs]
        size = tuple(max(sides) for sides in zip(*(image.size for image in images), strict=True))
        pngs, left = [], kilobytes * 1000
        while len(pngs) < len(figs) and (left > 0 or scale == 1):
            pngs.append(_png(images[len(pngs)], size, kilobytes * 1000 / len(figs)))
            left -= len(pngs[-1])
        if left >= 0:
            break
    return pngs


def to_array(values: Tensor | ArrayLike, dtype: DTypeLike = None) -> np.ndarray:
    """Numbers as matplotlib takes them: tensors, alone or in lists, come from any device and leave their gradient."""
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        values = values.float() if values.dtype == bfloat16 else values  # which NumPy does not know
    elif isinstance(values, list | tuple):
        values = [to_array(value) if isinstance(value, Tensor | list | tuple) else value for value in values]
    return np.asarray(values, dtype)


def _drawn(fig: Figure, scale: float) -> Image.Image:
    drawn = io.BytesIO()
    dpi = scale * CSS_PIXELS_PER_INCH
    fig.savefig(drawn, format="png", dpi=dpi, facecolor=fig.get_facecolor(), pil_kwargs={"compress_level": 1})
    return Image.open(drawn).convert("RGB")


def _png(drawn: Image.Image, size: tuple[int, int], most: float) -> bytes:
    image = Image.new("RGB", size, "white")
    image.paste(drawn, ((size[0] - drawn.width) // 2, 0))
    pixels = np.asarray(image, np.int16)
    for colours in (256, 64):
        palette = image.quantize(colours, dither=Image.Dither.NONE)
        unseen = np.abs(pixels - np.asarray(palette.convert("RGB"))).mean() < 0.5
        for candidate in (palette,) if unseen else (image, palette):
            png = io.BytesIO()
            candidate.save(png, format="png", optimize=True)
            if png.tell() <= most:
                return png.getvalue()
        if not unseen:
            break
    return png.getvalue()


@course_look
def image_axes(
    rows: int, columns: int, *, width: float = WIDTH, aspect: float = 1.0, title: str = ""
) -> tuple[Figure, np.ndarray]:
    """A figure of bare axes for images `aspect` times as wide as high; the axes as a (rows, columns) array."""
    cell = (width / columns - 0.12) / aspect + 0.12
    fig, axes = plt.subplots(rows, columns, figsize=(width, rows * cell + (0.7 if title else 0.35)), squeeze=False)
    if title:
        fig.suptitle(title)
    bare(axes.flat)
    return fig, axes


def bare(axes: Iterable[plt.Axes]) -> None:
    """Take ticks and frame off axes that hold an image."""
    for ax in axes:
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
