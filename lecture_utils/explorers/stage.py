"""Boxes over an image on a page without a kernel: the image, its lines and labels, and what the scripts share."""

import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import torch
from numpy.typing import ArrayLike
from PIL import Image

from lecture_utils.detection.boxes import LARGEST_LOG
from lecture_utils.explorers.page import Frame
from lecture_utils.figures.grids import ink_on
from lecture_utils.figures.overlays import to_pixels
from lecture_utils.figures.style import Encoded, to_array

WIDEST = 560  # CSS pixels of an image, in both directions
LEAST = 1.0  # pixels of a box's side that a reader draws
HIDDEN = "position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap"
THIN = 'vector-effect="non-scaling-stroke"'  # a line's width stays in CSS pixels
COLUMNS = (
    "display: flex; flex-wrap: wrap; gap: 0.8em 2em; justify-content: center; align-items: center; margin: 0.4em 0"
)

# Each pad's script stands between these two, and has a function `show`. Coordinates are the boxes' pixels.
BEFORE = """
for (const figure of document.querySelectorAll('figure[data-pad="KEY"]:not([data-alive])')) {
  const data = DATA, svg = figure.querySelector(".pad-lines");
  const [, , W, H] = svg.getAttribute("viewBox").split(" ").map(Number);
  const part = name => figure.querySelector(`[data-part="${name}"]`);
  const say = (name, words) => { part(name).textContent = words; };
  const round = (value, digits) => Math.round(value * 10 ** digits) / 10 ** digits || 0;  // never −0
  const text = (value, most = 1, least = 0) => round(value, most)
    .toLocaleString("en-US", {minimumFractionDigits: least, maximumFractionDigits: most}).replace("-", "−");
  const ratio = value => text(value, 3, 3);
  const corners = box => `(${box.map(side => text(side)).join(", ")})`;
  const area = box => (box[2] - box[0]) * (box[3] - box[1]);
  const overlap = (a, b) => {
    const pick = (which, other) => [0, 1, 2, 3].map(side => (side < 2 ? which : other)(a[side], b[side]));
    const shared = pick(Math.max, Math.min), around = pick(Math.min, Math.max);
    const apart = shared[2] <= shared[0] || shared[3] <= shared[1];
    const intersection = apart ? 0 : area(shared), union = area(a) + area(b) - intersection, iou = intersection / union;
    return {shared, around, apart, intersection, union, iou, giou: iou - (area(around) - union) / area(around)};
  };
  const decode = ([dx, dy, dw, dh], [x0, y0, x1, y1]) => {
    const [wa, ha] = [x1 - x0, y1 - y0], [x, y] = [(x0 + x1) / 2 + dx * wa, (y0 + y1) / 2 + dy * ha];
    const [w, h] = [wa * Math.exp(Math.min(dw, LARGEST)), ha * Math.exp(Math.min(dh, LARGEST))];
    return {x, y, w, h, box: [x - w / 2, y - h / 2, x + w / 2, y + h / 2]};
  };
  const set = (element, values) => Object.entries(values).forEach(pair => element.setAttribute(...pair));
  const place = (element, ...boxes) => element.querySelectorAll("rect").forEach((rect, k) => {  // halos, then lines
    const [x, y, right, bottom] = boxes[k % boxes.length];
    set(rect, {x, y, width: right - x, height: bottom - y});
  });
  const clip = (value, low, high) => Math.min(Math.max(value, low), high);
  const pin = (label, box) => {
    const right = box[0] > 0.7 * W, below = label.dataset.side === "below";
    const inside = below ? box[3] > 0.94 * H : box[1] < 0.06 * H;
    label.style.left = `${100 * clip(box[right ? 2 : 0], 0, W) / W}%`;
    label.style.top = `${100 * clip(box[below ? 3 : 1], 0, H) / H}%`;
    label.style.transform = `translate(${right ? -100 : 0}%, ${below === inside ? -100 : 0}%)`;
  };
  const at = event => {  // where a pointer is, and the size of a CSS pixel
    const {left, top, width, height} = svg.getBoundingClientRect();
    return [(event.clientX - left) * W / width, (event.clientY - top) * H / height, W / width];
  };
  const arrow = event => {
    const free = !event.altKey && !event.ctrlKey && !event.metaKey;
    return free && {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]}[event.key];
  };
  let waiting;
  const announce = words => {  // said once a reader has stopped; on paper it stands under the title
    figure.querySelector(".explorer-state").textContent = words;
    clearTimeout(waiting);
    if ("alive" in figure.dataset) waiting = setTimeout(() => say("status", words), 500);
  };
  // JupyterLab has shortcuts of its own.
  figure.addEventListener("keydown", event => event.stopPropagation());
"""
AFTER = """
  figure.querySelector(".explorer-controls").style.display = "";
  figure.querySelector(".explorer-state").style.display = "none";
  show();
  figure.dataset.alive = "";
}
"""


@dataclass(frozen=True)
class Stage:
    """An image as it stands on the page, and its size (height, width) in the boxes' pixels."""

    frame: Frame
    size: tuple[float, float]

    def html(self, lines: str, labels: str = "", attributes: str = 'aria-hidden="true"') -> str:
        """The image, over it SVG elements in the boxes' pixels, and over those the labels."""
        height, width = self.size
        over = "position: absolute; left: 0; top: 0; width: 100%; height: 100%; border-radius: 4px"
        return (
            '<div style="position: relative; overflow: hidden; line-height: 0; max-width: 100%; user-select: none; '
            f'-webkit-user-select: none">{self.frame.img}<svg class="pad-lines" viewBox="0 0 {width:g} {height:g}" '
            f'preserveAspectRatio="none" style="{over}" {attributes}>{lines}</svg>{labels}</div>'
        )

    def label(self, name: str, words: str, box: Sequence[float], colour: str, *, below: bool = False) -> str:
        """A name at a box, above or below it, and inside where there is no room; the script's `pin` moves it."""
        (height, width), (x0, y0, x1, y1) = self.size, box
        right, inside = x0 > 0.7 * width, y1 > 0.94 * height if below else y0 < 0.06 * height
        left = 100 * min(max(x1 if right else x0, 0), width) / width
        top = 100 * min(max(y1 if below else y0, 0), height) / height
        style = (
            f"position: absolute; left: {left:.2f}%; top: {top:.2f}%; padding: 0 0.35em; border-radius: 2px; "
            f"transform: translate({-100 * right}%, {-100 * (below == inside)}%); font: 600 14px/1.4 sans-serif; "
            f"white-space: nowrap; pointer-events: none; color: {ink_on(colour)}; background: {colour}"
        )
        side = "below" if below else "above"
        return f'<span data-part="{name}" data-side="{side}" style="{style}">{escape(words)}</span>'


class Pad:
    """What pads have in common: their stage and title, and two ways to show them, as a page and as words.

    The page needs no kernel, network or library; where no script runs, and on paper, a state stands still. Arguments
    that do not fit are a ValueError.
    """

    def __init__(self, image: torch.Tensor | np.ndarray, size: tuple[int, int] | None, title: str, alt: str):
        self.stage, self.title = make_stage(image, size, alt), require_words("title", title)

    def __repr__(self) -> str:
        return f"{self.title}: {self._state()}"

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict:
        return {"text/html": self._page(), "text/plain": repr(self)}


def make_stage(image: torch.Tensor | np.ndarray, size: tuple[int, int] | None, alt: str) -> Stage:
    """An image, (3, h, w) or (h, w, 3) uint8, as WebP with at most two of its pixels for one of the page's.

    `size` is the height and width of the boxes' coordinates, by default the image's own. Others are a ValueError.
    """
    pixels = to_pixels(image)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape or pixels.dtype != np.uint8:
        got = f"{tuple(getattr(image, 'shape', pixels.shape))} {pixels.dtype}"
        raise ValueError(f"image: got {got}, expected a tensor (3, h, w) or an array (h, w, 3), uint8")
    height, width = pixels.shape[:2]
    if size is not None and (len(size) != 2 or min(size) <= 0):
        raise ValueError(f"size: got {size!r}, expected (height, width), both above 0")
    photo = Image.fromarray(pixels)
    photo.thumbnail((2 * WIDEST, 2 * WIDEST))
    file = io.BytesIO()
    photo.save(file, "webp", quality=85, method=4)
    shown = round(min(2 * width, WIDEST, WIDEST * width / height))
    frame = Frame(Encoded("image/webp", file.getvalue()), require_words("alt", alt), shown)
    return Stage(frame, tuple(map(float, size or (height, width))))


def outline(
    name: str,
    boxes: Sequence[Sequence[float]],
    colour: str,
    *,
    dashed: bool = False,
    width: float = 3,
) -> str:
    """Boxes as an SVG group: lines of `width` CSS pixels with a halo, dark or white, so that they show on any image."""
    rects = "".join(
        f'<rect {geometry(box)} fill="none" stroke="{stroke}" stroke-width="{thick:g}" {THIN}{dashes}/>'
        for stroke, thick, dashes in halo_and_line(colour, width, dashed)
        for box in boxes
    )
    return f'<g data-part="{name}">{rects}</g>'


def geometry(box: Sequence[float]) -> str:
    """A box as attributes of an SVG rectangle."""
    x0, y0, x1, y1 = box
    return f'x="{x0:g}" y="{y0:g}" width="{x1 - x0:g}" height="{y1 - y0:g}"'


def swatch(colour: str, *, dashed: bool = False, width: float = 3) -> str:
    """A piece of a line, or of an area when it is wide, before the name of what it is on the image."""
    style = "vertical-align: -0.2em; margin-right: 0.5em"
    lines = "".join(
        f'<path d="M1 9H29" stroke="{stroke}" stroke-width="{thick:g}"{dashes}/>'
        for stroke, thick, dashes in halo_and_line(colour, width, dashed)
    )
    return f'<svg viewBox="0 0 30 18" width="30" height="18" aria-hidden="true" style="{style}">{lines}</svg>'


def halo_and_line(colour: str, width: float, dashed: bool) -> tuple[tuple[str, float, str], tuple[str, float, str]]:
    """Stroke, width and dashes of a halo, dark or white, and of the line upon it."""
    return (ink_on(colour), width + min(width, 3), ""), (colour, width, ' stroke-dasharray="9 5"' * dashed)


def said(part: str, *, large: bool = False) -> str:
    """A place for words of the script."""
    style = ' style="font-size: 1.3em; font-weight: bold"' if large else ""
    return f'<span data-part="{part}"{style}></span>'


def table(rows: Sequence[tuple[str, str]]) -> str:
    """Lines of a name, with a swatch or without, and what is said of it."""
    cells = "".join(f'<span style="white-space: nowrap">{name}</span><span>{words}</span>' for name, words in rows)
    style = "display: grid; grid-template-columns: auto 1fr; gap: 0.3em 0.8em; align-items: center; margin: 0.5em 0"
    return f'<div style="{style}">{cells}</div>'


def as_page(title: str, state: str, stage: str, controls: str, *, script: str, data: dict, width: int = 36) -> str:
    """A pad as HTML that needs no kernel, library, network or style sheet: title, image, and controls beside it.

    The controls are `width` em wide, or as wide as the page. Until the script has run, and on paper, they are hidden
    and `state` stands under the title.
    """
    held = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    key = hashlib.sha256((title + state + stage + controls + held).encode()).hexdigest()[:12]
    whole = BEFORE.replace("LARGEST", repr(LARGEST_LOG)).replace("KEY", key).replace("DATA", held) + script + AFTER
    return (
        f'<figure class="explorer" data-pad="{key}" data-lm-suppress-shortcuts="true" '
        f'style="margin: 0.5em 0; text-align: center"><figcaption><strong>{escape(title)}</strong>'
        f'<div class="explorer-state">{escape(state)}</div></figcaption><div style="{COLUMNS}">{stage}'
        f'<div class="explorer-controls" style="display: none; width: {width}em; max-width: 100%; text-align: left; '
        f'font-variant-numeric: tabular-nums">{controls}<div data-part="status" role="status" style="{HIDDEN}"></div>'
        f"</div></div></figure><script>{whole}</script>"
    )


def as_boxes(name: str, values: ArrayLike | torch.Tensor, shape: tuple = ("n", 4)) -> list:
    """Boxes of this shape as lists, to a hundredth of a pixel; what is no box or has no area is a ValueError."""
    boxes = as_numbers(name, values, shape)
    if not (boxes[..., 2:] > boxes[..., :2]).all():
        raise ValueError(f"{name}: got one without an area, expected (x0, y0, x1, y1) with x1 above x0 and y1 above y0")
    return boxes.round(2).tolist()


def as_numbers(name: str, values: ArrayLike | torch.Tensor, shape: tuple) -> np.ndarray:
    """Finite numbers of this shape, in which a letter stands for any number; others are a ValueError."""
    try:
        numbers = to_array(values, float)
    except (TypeError, ValueError) as problem:
        raise ValueError(f"{name}: got {values!r}, expected numbers ({problem})") from None
    fits = len(shape) == numbers.ndim
    if not fits or any(isinstance(a, int) and a != b for a, b in zip(shape, numbers.shape, strict=True)):
        expected = str(shape).replace("'", "")
        raise ValueError(f"{name}: got shape {numbers.shape}, expected {expected}")
    if not np.isfinite(numbers).all():
        raise ValueError(f"{name}: got nan or infinity, expected finite numbers")
    return numbers


def require_words(name: str, text: str) -> str:
    """The text in one line; refuses an empty one."""
    if not str(text).strip():
        raise ValueError(f"{name}: got an empty text, expected a few words")
    return " ".join(str(text).split())


def number(value: float, most: int = 1, least: int = 0) -> str:
    """A number as the script's `text` writes it: with `least` to `most` decimals."""
    whole, _, decimals = f"{round(value, most) + 0.0:,.{most}f}".partition(".")
    decimals = decimals[:least] + decimals[least:].rstrip("0")
    return f"{whole}.{decimals}".rstrip(".").replace("-", "−")


def corners(box: Sequence[float]) -> str:
    """A box as words, (x0, y0, x1, y1)."""
    return f"({', '.join(map(number, box))})"
