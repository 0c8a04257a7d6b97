"""One look for every figure of the course, and the way a figure reaches the page."""

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
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
KILOBYTES = 180  # of an image: 250 as text in a notebook
ROUGH = 62  # the quality below which a photograph shows its blocks, taken where nothing else helps
HOPELESS = 5  # times the room, from which even the best encoding of quickly packed pixels does not fit
LABEL_MAP = "label map"  # the gid of an image whose colours are read, so that none may change

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


@dataclass(frozen=True)
class Encoded:
    """A drawn figure as the bytes of an image file, with its MIME type, "image/png", "image/jpeg" or "image/webp"."""

    mime: str
    data: bytes


@course_look
def show(fig: Figure, *, alt: str, kilobytes: int = KILOBYTES, colours: int | None = None) -> None:
    """Display a figure in the notebook, with alternative text, as a PNG or JPEG (`encode`), and close it.

    The output carries `alt` twice: as `metadata[MIME type]["alt"]`, where IPython and nbconvert keep it and the
    handouts' build takes it from, and as text/plain, which a terminal shows. The image is image/png or image/jpeg
    alone, not text/html with a data URI: GitHub strips those, and nbval compares text/html byte by byte while it passes
    over images, whose bytes differ from one version of matplotlib to the next. Because text/plain *is* compared, `alt`
    says what the image shows and holds no number that differs between machines. An empty `alt` is a ValueError.
    `kilobytes` is what the image may take; a drawing of lines and words may do with so many `colours` (see `encode`).
    """
    from IPython.display import display  # only notebooks need it

    alt = " ".join(alt.split())
    if not alt:
        raise ValueError("alt: got an empty text, expected one sentence that says what the figure shows")
    (image,) = encode([fig], kilobytes=kilobytes, colours=colours)
    width = round(fig.get_figwidth() * CSS_PIXELS_PER_INCH)
    bundle = {image.mime: base64.b64encode(image.data).decode(), "text/plain": f"Figure: {alt}"}
    display(bundle, metadata={image.mime: {"alt": alt, "width": width}}, raw=True)
    plt.close(fig)


@course_look
def encode(
    figs: Sequence[Figure], *, kilobytes: int = KILOBYTES, web: bool = False, colours: int | None = None
) -> list[Encoded]:
    """Draw figures as images of one size in pixels, the sharpest that together keep to `kilobytes`.

    They have twice the page's pixels if they can, fewer if they must. No colour is changed where there is room (PNG);
    photographs come as JPEG where there is not, but never a figure with a label map, whose colours are read (it loses
    pixels instead). What is still too large at the page's own resolution comes back as it is: better large than
    missing. A smaller figure stands at the top, on white. For a `web` page both are WebP, which is smaller. A drawing
    of lines and words may do with a palette of so many `colours`, up to 256, which takes up less room; where that does
    not fit either, it comes as a photograph does.
    """
    exact = any(image.get_gid() == LABEL_MAP for fig in figs for ax in fig.axes for image in ax.get_images())
    qualities = () if exact else (92, 85, 78)
    for scale in (2.0, 1.5, 1.0):
        size = tuple(int(max(sides) * scale * CSS_PIXELS_PER_INCH) for sides in zip(*map(_inches, figs), strict=True))
        images = _Lazily(lambda fig, scale=scale, size=size: _on_white(_drawn(fig, scale), size), figs)
        drawings = _Lazily(lambda image: _with_palette(image, colours), images) if colours else images
        if encoded := _fitting(drawings, None, kilobytes, web=web, hopeless=bool(qualities)):
            return encoded
        if qualities and (smallest := _fitting(images, qualities[-1], kilobytes, web=web)):
            better = (_fitting(images, quality, kilobytes, web=web) for quality in qualities[:-1])
            return next(filter(None, better), smallest)
    for quality in (*qualities[-1:], ROUGH) if qualities else (None,):
        # A drawing of few colours is smaller without loss.
        ways = [((drawing, None), (image, quality)) for image, drawing in zip(images, drawings, strict=True)]
        least = [min((_encoded(x, q, web) for x, q in both), key=lambda one: len(one.data)) for both in ways]
        if sum(len(one.data) for one in least) <= kilobytes * 1000:
            break
    return least


def to_array(values: Tensor | ArrayLike, dtype: DTypeLike = None) -> np.ndarray:
    """Numbers as matplotlib takes them: tensors, alone or in lists, come from any device and leave their gradient."""
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        values = values.float() if values.dtype == bfloat16 else values  # which NumPy does not know
    elif isinstance(values, list | tuple):
        values = [to_array(value) if isinstance(value, Tensor | list | tuple) else value for value in values]
    return np.asarray(values, dtype)


def _inches(fig: Figure) -> tuple[float, float]:
    return tuple(fig.get_size_inches())


def _drawn(fig: Figure, scale: float) -> Image.Image:
    dpi, own = fig.dpi, fig.canvas
    try:
        fig.set_dpi(scale * CSS_PIXELS_PER_INCH)
        canvas = FigureCanvasAgg(fig)
        canvas.draw()  # `savefig` gives the same pixels and draws everything twice
        return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    finally:
        fig.set_canvas(own)
        fig.set_dpi(dpi)


def _with_palette(image: Image.Image, colours: int) -> Image.Image:
    """The image in so many colours of its own, of which rare ones (an arrow's) are kept; white stays white."""
    few = image.quantize(colours, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    few.putpalette([255 if value >= 252 else value for value in few.getpalette()])
    return few.convert("RGB")


def _on_white(drawn: Image.Image, size: tuple[int, int]) -> Image.Image:
    image = Image.new("RGB", size, "white")
    image.paste(drawn, ((size[0] - drawn.width) // 2, 0))
    return image


class _Lazily(Sequence):
    """What a function makes of each, one by one as it is asked for: often the first few are too large already."""

    def __init__(self, function, values: Sequence):
        self.function, self.values, self.made = function, values, []

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: int) -> Any:
        self.made += [self.function(self.values[i]) for i in range(len(self.made), index + 1)]
        return self.made[index]


def _fitting(
    images: Sequence[Image.Image], quality: int | None, kilobytes: int, *, web: bool, hopeless: bool = False
) -> list[Encoded] | None:
    """All images of one quality, if they keep to `kilobytes`.

    With `hopeless` images that are far too large are known by pixels packed in a hurry; to pack them well takes long.
    """
    encoded, left = [], kilobytes * 1000
    for image in images:
        if hopeless and len(_file(image, "png", compress_level=1)) > HOPELESS * left:
            return None
        encoded.append(_encoded(image, quality, web))
        left -= len(encoded[-1].data)
        if left < 0:
            return None
    return encoded


def _encoded(image: Image.Image, quality: int | None, web: bool) -> Encoded:
    """Without loss where `quality` is None: with a palette where it holds every colour."""
    if web:
        how = {"lossless": True, "quality": 40, "method": 4} if quality is None else {"quality": quality, "method": 3}
        return Encoded("image/webp", _file(image, "webp", **how))
    if quality is not None:
        return Encoded("image/jpeg", _file(image, "jpeg", quality=quality, subsampling=0))
    if image.getcolors(256):
        image = image.quantize(256, dither=Image.Dither.NONE)
    return Encoded("image/png", _file(image, "png", optimize=True))


def _file(image: Image.Image, kind: str, **how: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format=kind, **how)
    return file.getvalue()


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
