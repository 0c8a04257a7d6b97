"""The attention maps of a layer's heads over an image, chosen on a page without a kernel (slides 28 and 29)."""

import base64
from collections.abc import Sequence
from dataclasses import replace
from html import escape

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import ArrayLike

from lecture_utils.explorers.stage import (
    THIN,
    Pad,
    as_boxes,
    as_numbers,
    as_page,
    outline,
    require_words,
    said,
    swatch,
)
from lecture_utils.figures.grids import ink_on
from lecture_utils.figures.style import BLUE, ORANGE, VERMILION

MOST = 400_000  # numbers of all maps, each of one byte on the page
LEVELS = {0.25: 1.4, 0.5: 3}  # parts of the highest weight, and how wide, in CSS pixels, the line around their cells is
LINES, BOX, POINT, PEAK = "#F0E442", "#FFFFFF", ORANGE, VERMILION
SHOWN = 500  # CSS pixels of the image, so that the buttons stand beside it
NOTHING = [0, 0, 0, 0]  # a box that is not drawn
PILL = "display: inline-block; margin: 0.12em 0.15em; padding: 0.1em 0.5em; border-radius: 0.8em; cursor: pointer"

ATTENTION_SCRIPT = """
  const [layers, heads, queries, rows, columns] = data.shape;
  const bytes = Uint8Array.from(atob(data.maps), letter => letter.charCodeAt(0)), size = rows * columns;
  const form = figure.querySelector("form");
  const chosen = name => Number(form.querySelector(`input[name="${name}"]:checked`).value);
  const map = (layer, head, query) => {  // the weights of a head, or the mean of all
    const of = head < heads ? [head] : [...Array(heads).keys()], sum = new Float64Array(size);
    for (const each of of) {
      const at = (layer * heads + each) * queries + query;
      for (let i = 0; i < size; i++) sum[i] += bytes[at * size + i] * data.most[at] / 255 / of.length;
    }
    return sum;
  };
  const around = (values, level) => {  // lines between the cells of weight `level` or more and the others
    const inside = (row, column) => row >= 0 && row < rows && column >= 0 && column < columns
      && values[row * columns + column] >= level;
    const [w, h] = [W / columns, H / rows], lines = [], to = side => round(side, 2);
    for (let row = 0; row < rows; row++) for (let column = 0; column < columns; column++) {
      if (!inside(row, column)) continue;
      const [x, y, right, bottom] = [column * w, row * h, (column + 1) * w, (row + 1) * h].map(to);
      if (!inside(row - 1, column)) lines.push(`M${x} ${y}H${right}`);
      if (!inside(row + 1, column)) lines.push(`M${x} ${bottom}H${right}`);
      if (!inside(row, column - 1)) lines.push(`M${x} ${y}V${bottom}`);
      if (!inside(row, column + 1)) lines.push(`M${right} ${y}V${bottom}`);
    }
    return lines.join("");
  };
  const paint = (values, most, highest) => {
    const lines = LEVELS.map(level => around(values, Math.max(level * most, 1e-12)));
    part("map").querySelectorAll("path").forEach((path, k) => set(path, {d: lines[k % lines.length]}));
    const [row, column] = [Math.floor(highest / columns), highest % columns];
    const d = `M${round((column + 0.5) * W / columns, 2)} ${round((row + 0.5) * H / rows, 2)}h0`;
    part("peak").querySelectorAll("path").forEach(path => set(path, {d}));
  };
  let query = data.start[2];
  const show = () => {
    const layer = chosen("layer"), head = chosen("head");
    if (data.words) query = chosen("query");
    const values = map(layer, head, query), highest = Math.max(...values), at = values.indexOf(highest);
    const whole = form.querySelector('[name="same"]').checked ? data.highest : highest;
    paint(values, whole, at);
    say("most", text(whole, 3, 3));
    const where = `row ${Math.floor(at / columns)}, column ${at % columns}`;
    say("sum", `${text(highest, 3, 3)} at ${where}; if all points had the same: ${text(1 / size, 3, 3)}`);
    const who = head < heads ? `head ${head + 1}` : "mean of the heads";
    const [row, column] = [Math.floor(query / columns), query % columns];
    const asks = data.words ? `“${data.words[query]}”` : `row ${row}, column ${column}`;
    if (!data.words) {
      place(part("point"), [column * W / columns, row * H / rows, (column + 1) * W / columns, (row + 1) * H / rows]);
      say("where", asks);
      set(svg, {"aria-label": `a grid of ${rows} × ${columns} points: ${asks}`});
    }
    place(part("box"), (data.boxes && data.boxes[query]) || NOTHING);
    announce(`${asks}, layer ${layer + 1}, ${who}: highest weight ${text(highest, 3, 3)} at ${where}`);
  };
  form.addEventListener("submit", event => event.preventDefault());
  form.addEventListener("change", () => { stop(); show(); });
  let timer = null;
  const play = form.querySelector("button");
  const stop = () => { clearInterval(timer); timer = null; if (play) play.textContent = "▶ Play"; };
  const tick = () => {
    if (!figure.isConnected || query === queries - 1) return stop();
    form.querySelector(`input[name="query"][value="${query + 1}"]`).checked = true;
    show();
  };
  if (play) play.addEventListener("click", () => {
    if (timer) return stop();
    if (query === queries - 1) { form.querySelector('input[name="query"]').checked = true; show(); }
    play.textContent = "⏸ Pause";
    timer = setInterval(tick, 900);
  });
  if (!data.words) {
    const go = (row, column) => { query = clip(row, 0, rows - 1) * columns + clip(column, 0, columns - 1); show(); };
    svg.addEventListener("click", event => {
      const [x, y] = at(event);
      go(Math.floor(y * rows / H), Math.floor(x * columns / W));
    });
    svg.addEventListener("keydown", event => {
      const by = arrow(event);
      if (!by) return;
      go(Math.floor(query / columns) + by[1], query % columns + by[0]);
      event.preventDefault();
    });
    svg.addEventListener("focus", () => {
      if (svg.matches(":focus-visible")) svg.style.outline = "3px solid BLUE";
    });
    svg.addEventListener("blur", () => { svg.style.outline = "none"; });
    set(svg, {tabindex: 0, role: "application", "aria-roledescription": "grid of points"});
    Object.assign(svg.style, {cursor: "crosshair", outline: "none", outlineOffset: "-3px"});
  }
"""
for name, value in {"LEVELS": list(LEVELS), "NOTHING": NOTHING, "BLUE": BLUE}.items():
    ATTENTION_SCRIPT = ATTENTION_SCRIPT.replace(name, str(value))


class AttentionPad(Pad):
    """One attention map, large, over an image: a reader chooses the layer, the head or their mean, and who attends.

    `image` is a tensor (3, H, W) or an array (H, W, 3), uint8. `maps` (layers, heads, queries, h, w) are weights ≥ 0 of
    the h × w points that the image is divided into. With `words`, one for each query, the reader chooses a word (or
    what else they are: `asks` names it); without them there is a query for each point, row after row, and the reader
    clicks on one. `boxes` holds for each query a box (x0, y0, x1, y1), in pixels of `size` (height, width, by default
    the image's own), or None. `start` is (layer, head, query) shown first, from 0; the head after the last one is the
    mean. Maps are kept in steps of a 255th of their own highest weight; 400,000 numbers at most.

    The image keeps its colours: yellow lines enclose the points, cell by cell, whose weight is at least a quarter
    (thin) and half (bold) of the highest, and a dot marks that one. Boxes are white.
    """

    def __init__(
        self,
        image: torch.Tensor | np.ndarray,
        maps: ArrayLike | torch.Tensor,
        *,
        words: Sequence[str] | None = None,
        boxes: Sequence[Sequence[float] | None] | None = None,
        start: tuple[int, int, int] = (0, 0, 0),
        asks: str = "word",
        size: tuple[int, int] | None = None,
        title: str = "Attention, head by head",
        alt: str = "An image under a map of attention weights.",
    ):
        super().__init__(image, size, title, alt)
        frame = self.stage.frame
        self.stage = replace(self.stage, frame=replace(frame, width=min(frame.width, SHOWN)))
        self.maps = as_numbers("maps", maps, ("layers", "heads", "queries", "h", "w"))
        layers, heads, queries, h, w = self.maps.shape
        if not 0 < self.maps.size <= MOST or self.maps.min() < 0:
            raise ValueError(f"maps: got {self.maps.size:,} numbers, expected 1 to {MOST:,}, no weight below 0")
        if words is None and queries != h * w:
            raise ValueError(f"maps: got {queries} queries without words, expected {h * w}, one for each point")
        if isinstance(words, str) or (words is not None and len(words) != queries):
            raise ValueError(f"words: got {words!r}, expected {queries}, one for each query")
        self.asks = require_words("asks", asks)
        self.words = None if words is None else [require_words("words", word) for word in words]
        if boxes is not None and len(boxes) != queries:
            raise ValueError(f"boxes: got {len(boxes)}, expected {queries}, one for each query, or None for it")
        self.boxes = None if boxes is None else [None if b is None else as_boxes("boxes", [b])[0] for b in boxes]
        limits = (layers, heads + 1, queries)
        if len(start) != 3 or not all(0 <= at < most for at, most in zip(start, limits, strict=True)):
            raise ValueError(f"start: got {start!r}, expected (layer, head, query) from 0, below {limits}")
        self.start = tuple(map(int, start))

    @property
    def shown(self) -> np.ndarray:
        """The map (h, w) that is shown first."""
        layer, head, query = self.start
        of_layer = self.maps[layer, :, query]
        return of_layer[head] if head < len(of_layer) else of_layer.mean(0)

    def _state(self) -> str:
        layer, head, query = self.start
        (_, heads, _, _, w), at = self.maps.shape, int(self.shown.argmax())
        who = f"head {head + 1}" if head < heads else "mean of the heads"
        asks = f"“{self.words[query]}”" if self.words else f"row {query // w}, column {query % w}"
        where = f"row {at // w}, column {at % w}"
        return f"{asks}, layer {layer + 1}, {who}: highest weight {self.shown.max():.3f} at {where}"

    def _page(self) -> str:
        most = self.maps.max((3, 4))
        packed = np.rint(255 * self.maps / np.maximum(most, 1e-12)[..., None, None]).astype(np.uint8)
        means = self.maps.mean(1)
        data = {
            "shape": self.maps.shape,
            "start": self.start,
            "maps": base64.b64encode(packed.tobytes()).decode(),
            "most": [float(f"{value:.4g}") for value in most.ravel()],
            "highest": float(max(most.max(), means.max())),
            "words": self.words,
            "boxes": self.boxes,
        }
        grid = f"a grid of {self.maps.shape[3]} × {self.maps.shape[4]} points"
        stage = self.stage.html(self._lines(), attributes=f'role="img" aria-label="{grid}"')
        return as_page(self.title, self._state(), stage, self._controls(), script=ATTENTION_SCRIPT, data=data, width=19)

    def _lines(self) -> str:
        (height, width), (h, w), query = self.stage.size, self.maps.shape[3:], self.start[2]
        most, (row, column) = self.shown.max(), divmod(int(self.shown.argmax()), w)
        around = [edges(self.shown, max(level * most, 1e-12), (height, width)) for level in LEVELS]
        lines = _strokes("map", around, LINES, list(LEVELS.values()))
        lines += _strokes("peak", [f"M{(column + 0.5) * width / w:g} {(row + 0.5) * height / h:g}h0"], PEAK, [9])
        lines += outline("box", [(self.boxes and self.boxes[query]) or NOTHING], BOX, width=2)
        if self.words is None:
            row, column = divmod(query, w)
            cell = (column * width / w, row * height / h, (column + 1) * width / w, (row + 1) * height / h)
            lines += outline("point", [cell], POINT)
        return lines

    def _controls(self) -> str:
        (layers, heads, *_), (layer, head, query) = self.maps.shape, self.start
        rows = [
            _radios("layer", [str(number + 1) for number in range(layers)], layer),
            _radios("head", [*(str(number + 1) for number in range(heads)), "mean"], head),
        ]
        if self.words is None:
            rows.append(f"<div>Click a point of the image. It is at {said('where')}.</div>")
        else:
            play = '<button type="button" style="font: inherit; min-width: 6em">▶ Play</button>'
            rows.append(_radios("query", self.words, query, label=self.asks) + f"<div>{play}</div>")
        thin, bold = (swatch(LINES, width=width) for width in LEVELS.values())
        rows.append(f'<div style="margin-top: 0.6em">{thin}a quarter, {bold}half of {said("most")} or more</div>')
        rows.append('<label><input type="checkbox" name="same" autocomplete="off"> one scale for all maps</label>')
        rows.append(f"<div>{_dot()}highest weight {said('sum')}</div>")
        return f'<form style="margin: 0; display: grid; gap: 0.4em">{"".join(rows)}</form>'


def _radios(name: str, values: Sequence[str], start: int, *, label: str = "") -> str:
    buttons = "".join(
        f'<label style="{PILL}; border: 1px solid #BBBBBB"><input type="radio" name="{name}" value="{k}" '
        f'autocomplete="off" style="margin: 0 0.25em 0 0"{" checked" if k == start else ""}>{escape(value)}</label>'
        for k, value in enumerate(values)
    )
    hidden = "" if len(values) > 1 else ' style="display: none"'
    return (
        f'<div role="radiogroup" aria-label="{label or name}"{hidden}><strong>{label or name}</strong> {buttons}</div>'
    )


def edges(map_: Float[np.ndarray, "h w"], level: float, size: tuple[float, float]) -> str:
    """The lines between the cells of a map where it is `level` or more and the others, as an SVG path; so the script.

    The cells cover an image of `size` = (height, width).
    """
    inside = np.pad(map_ >= level, 1)
    (height, width), (rows, columns), lines = size, map_.shape, []
    for row, column in zip(*np.nonzero(map_ >= level), strict=True):
        x, right = (f"{round(at * width / columns, 2):g}" for at in (column, column + 1))
        y, bottom = (f"{round(at * height / rows, 2):g}" for at in (row, row + 1))
        sides = {(0, 1): f"M{x} {y}H{right}", (2, 1): f"M{x} {bottom}H{right}"}
        sides |= {(1, 0): f"M{x} {y}V{bottom}", (1, 2): f"M{right} {y}V{bottom}"}
        lines += [line for (down, across), line in sides.items() if not inside[row + down, column + across]]
    return "".join(lines)


def _strokes(name: str, paths: Sequence[str], colour: str, widths: Sequence[float]) -> str:
    """SVG paths as a group: first the halos of all, then the lines, of these widths in CSS pixels."""
    look = 'fill="none" stroke-linecap="round"'
    strokes = "".join(
        f'<path d="{path}" {look} stroke="{stroke}" stroke-width="{thick:g}" {THIN}/>'
        for stroke, more in ((ink_on(colour), 2.4), (colour, 0))
        for path, thick in zip(paths, (width + more for width in widths), strict=True)
    )
    return f'<g data-part="{name}">{strokes}</g>'


def _dot() -> str:
    """The mark of the highest weight, before its name."""
    return (
        '<svg viewBox="0 0 30 18" width="30" height="18" aria-hidden="true" style="vertical-align: -0.2em">'
        f'<circle cx="15" cy="9" r="5.7" fill="{ink_on(PEAK)}"/><circle cx="15" cy="9" r="4.5" fill="{PEAK}"/></svg> '
    )
