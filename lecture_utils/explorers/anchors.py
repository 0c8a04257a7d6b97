"""The anchors of one point of a feature map, chosen on a page without a kernel (slides 21 and 22)."""

import base64
from collections.abc import Sequence
from math import ceil, log2

import numpy as np
import torch
from numpy.typing import ArrayLike

from lecture_utils.detection.boxes import decode
from lecture_utils.detection.matching import BACKGROUND, IGNORED
from lecture_utils.explorers.stage import (
    THIN,
    Pad,
    as_boxes,
    as_numbers,
    as_page,
    corners,
    geometry,
    number,
    outline,
    require_words,
    said,
    swatch,
    table,
)
from lecture_utils.figures.boxes import TRUTH
from lecture_utils.figures.style import BLUE, INK, ORANGE, SKY, to_array

MOST = 25_000  # anchors that a page holds, 16 bytes each
CELL = "#F0E442"
HINT = (
    "Click a point of the image, or tab to it and use the arrow keys: a cell of the {} × {} feature map. "
    "Then choose one of its {} anchors in the table."
)

ANCHOR_SCRIPT = """
  const [rows, columns, K] = data.shape, lines = [...figure.querySelectorAll("tbody tr")];
  const unpack = ([packed, step]) => {
    const bytes = Uint8Array.from(atob(packed), letter => letter.charCodeAt(0));
    return Array.from(new Int16Array(bytes.buffer), value => value * step);
  };
  const [points, assigned, objectness, deltas] = data.packed.map(unpack);
  const named = found => found >= 0 ? data.names[found] : found === IGNORED ? "ignored" : "background";
  const size = box => `${text(box[2] - box[0])} × ${text(box[3] - box[1])}`;
  const best = box => data.truth.reduce((most, truth, j) => {
    const {iou} = overlap(box, truth);
    return iou > most.iou ? {iou, words: `IoU ${ratio(iou)} with ${data.names[j]}`} : most;
  }, {iou: 0, words: "overlaps no object"});
  let [row, column, chosen] = data.start;
  const show = () => {
    const cell = row * columns + column, [x, y] = points.slice(2 * cell, 2 * cell + 2);
    const anchors = data.base.map(([x0, y0, x1, y1]) => [x0 + x, y0 + y, x1 + x, y1 + y]);
    const each = anchors.map((box, k) => {
      const at = cell * K + k, moves = deltas.slice(4 * at, 4 * at + 4);
      const positive = assigned[at] >= 0, score = text(objectness[at], 2, 2);
      return {box, moves, positive, score, assigned: named(assigned[at])};
    });
    each.forEach(({box, moves, assigned, positive, score}, k) => {
      const words = [size(box), text(best(box).iou, 2, 2), assigned, score, ...moves.map(delta => text(delta, 2, 2))];
      [...lines[k].cells].slice(1).forEach((cell, i) => { cell.textContent = words[i]; });
      lines[k].style.fontWeight = positive ? "bold" : "";
      lines[k].style.background = k === chosen ? "rgba(86, 180, 233, 0.3)" : "";
      const radio = lines[k].querySelector("input");
      radio.checked = k === chosen;
      radio.setAttribute("aria-label", `anchor ${words[0]}: ${assigned}, objectness ${score}`);
    });
    const one = each[chosen], {box} = decode(one.moves, one.box);
    place(part("cell"), [column * W / columns, row * H / rows, (column + 1) * W / columns, (row + 1) * H / rows]);
    place(part("anchors"), ...anchors);
    place(part("anchor"), one.box);
    place(part("decoded"), box);
    for (const dot of part("point").querySelectorAll("path")) set(dot, {d: `M${x} ${y}h0`});
    say("where", `row ${row}, column ${column}`);
    for (const [name, shown] of [["anchor", one.box], ["decoded", box]])
      say(`sum ${name}`, `${corners(shown)}, ${best(shown).words}`);
    set(svg, {"aria-label": `feature map, ${rows} × ${columns} cells: row ${row}, column ${column}`});
    announce(`row ${row}, column ${column}: anchor ${corners(one.box)}, ${one.assigned}, objectness ${one.score}, ` +
      `decoded box ${corners(box)}`);
  };
  const go = (to_row, to_column) => {
    [row, column] = [clip(to_row, 0, rows - 1), clip(to_column, 0, columns - 1)];
    show();
  };
  svg.addEventListener("click", event => {
    const [x, y] = at(event);
    go(Math.floor(y * rows / H), Math.floor(x * columns / W));
  });
  svg.addEventListener("keydown", event => {
    const by = arrow(event);
    if (!by) return;
    go(row + by[1], column + by[0]);
    event.preventDefault();
  });
  lines.forEach((line, k) => {
    line.querySelector("input").addEventListener("change", () => { chosen = k; show(); });
    line.addEventListener("click", () => { chosen = k; show(); });
  });
  const ring = on => {
    svg.style.outline = on ? "3px solid BLUE" : "none";
    svg.style.boxShadow = on ? "inset 0 0 0 6px white" : "";
  };
  svg.addEventListener("focus", () => ring(svg.matches(":focus-visible")));
  svg.addEventListener("blur", () => ring(false));
  figure.querySelector("form").addEventListener("submit", event => event.preventDefault());
  set(svg, {tabindex: 0, role: "application", "aria-roledescription": "feature map"});
  Object.assign(svg.style, {cursor: "crosshair", outline: "none", outlineOffset: "-3px"});
""".replace("IGNORED", str(IGNORED)).replace("BLUE", BLUE)


class AnchorPad(Pad):
    """A feature map's grid on an image: a chosen cell shows its K anchors, a chosen anchor its decoded box.

    `image` is a tensor (3, H, W) or an array (H, W, 3), uint8; boxes are (x0, y0, x1, y1) in pixels of `size` (height,
    width), by default the image's own. At each of the h × w points lie the same K shapes, `anchors` (h, w, K, 4).
    `assigned` (h, w, K) holds the index of each anchor's object in `truth` (n, 4), −1 for background, −2 for ignored,
    as `match_boxes` does; `objectness` (h, w, K) is a probability, and `deltas` (h, w, K, 4) lead to the decoded box.
    `names` are the n objects', shown with their index. `start` is the cell (row, column) shown first, by default that
    of the anchor with the highest objectness among those with an object. At most 25,000 anchors, each of 16 bytes on
    the page.
    """

    def __init__(
        self,
        image: torch.Tensor | np.ndarray,
        anchors: ArrayLike | torch.Tensor,
        *,
        assigned: ArrayLike | torch.Tensor,
        objectness: ArrayLike | torch.Tensor,
        deltas: ArrayLike | torch.Tensor,
        truth: ArrayLike | torch.Tensor,
        names: Sequence[str] | None = None,
        start: tuple[int, int] | None = None,
        size: tuple[int, int] | None = None,
        title: str = "The anchors of one point",
        alt: str = "An image with the grid of a feature map.",
    ):
        super().__init__(image, size, title, alt)
        self.anchors = np.array(as_boxes("anchors", anchors, ("h", "w", "K", 4)))
        self.shape = rows, columns, _ = self.anchors.shape[:3]
        if not 0 < self.anchors[..., 0].size <= MOST:
            raise ValueError(f"anchors: got {self.anchors[..., 0].size:,}, expected 1 to {MOST:,}")
        self.truth = as_boxes("truth", truth)
        self.names = _names(names, len(self.truth))
        self.assigned = _assigned(assigned, self.shape, len(self.truth))
        self.objectness = as_numbers("objectness", objectness, self.shape)
        if self.objectness.min() < 0 or self.objectness.max() > 1:
            got = f"{self.objectness.min():.4g} to {self.objectness.max():.4g}"
            raise ValueError(f"objectness: got {got}, expected probabilities from 0 to 1, the sigmoid of the logits")
        self.deltas = as_numbers("deltas", deltas, (*self.shape, 4))
        self.points = (self.anchors[:, :, 0, :2] + self.anchors[:, :, 0, 2:]) / 2
        shapes = self.anchors - np.tile(self.points, 2)[:, :, None]
        if np.abs(shapes - shapes[0, 0]).max() > 0.05:
            raise ValueError("anchors: got different shapes at different points, expected the same K at each")
        self.base = shapes[0, 0].round(2)
        if start is not None and not (len(start) == 2 and 0 <= start[0] < rows and 0 <= start[1] < columns):
            raise ValueError(f"start: got {start!r}, expected a cell (row, column) of {rows} × {columns}")
        among = self.objectness + (self.assigned >= 0)
        if start is None:
            self.start = tuple(map(int, np.unravel_index(among.argmax(), self.shape)))
        else:
            self.start = (*map(int, start), int(among[tuple(start)].argmax()))

    @property
    def decoded(self) -> list[float]:
        """The box that the deltas of the anchor shown first lead to."""
        return decode(*(torch.tensor(of[self.start][None]) for of in (self.deltas, self.anchors)))[0].tolist()

    def _state(self) -> str:
        row, column, _ = self.start
        index, score = int(self.assigned[self.start]), number(self.objectness[self.start], 2, 2)
        assigned = self.names[index] if index >= 0 else {BACKGROUND: "background", IGNORED: "ignored"}[index]
        anchor, box = corners(self.anchors[self.start]), corners(self.decoded)
        return f"row {row}, column {column}: anchor {anchor}, {assigned}, objectness {score}, decoded box {box}"

    def _page(self) -> str:
        rows, columns, number_of_anchors = self.shape
        data = {
            "shape": self.shape,
            "start": self.start,
            "base": self.base.tolist(),
            "packed": [_pack(values) for values in (self.points, self.assigned, self.objectness, self.deltas)],
            "truth": self.truth,
            "names": self.names,
        }
        cells = f'role="img" aria-label="a feature map of {rows} × {columns} cells"'
        hint = HINT.format(rows, columns, number_of_anchors)
        swatches = {
            swatch(CELL, width=12) + "cell": said("where"),
            swatch(SKY, width=1.5) + "anchors": f"{number_of_anchors} of this point",
            swatch(SKY, dashed=True) + "chosen": said("sum anchor"),
            swatch(ORANGE) + "decoded box": said("sum decoded"),
            swatch(TRUTH) + "ground truth": f"{len(self.truth)} objects",
        }
        labels = "".join(
            self.stage.label(f"truth {k}", name, box, TRUTH)
            for k, (name, box) in enumerate(zip(self.names, self.truth, strict=True))
        )
        return as_page(
            self.title,
            self._state(),
            self.stage.html(self._lines(), labels, cells),
            f"{_rows(number_of_anchors)}{table(list(swatches.items()))}<div>{hint}</div>",
            script=ANCHOR_SCRIPT,
            data=data,
            width=40,
        )

    def _lines(self) -> str:
        (height, width), (rows, columns, _), (row, column, _) = self.stage.size, self.shape, self.start
        down, right = height / rows, width / columns
        grid = "".join(f"M0 {down * i:g}H{width:g}" for i in range(1, rows))
        grid += "".join(f"M{right * j:g} 0V{height:g}" for j in range(1, columns))
        cell = (right * column, down * row, right * (column + 1), down * (row + 1))
        x, y = self.points[row, column]
        dots = "".join(
            f'<path d="M{x:g} {y:g}h0" stroke="{colour}" stroke-width="{wide}" stroke-linecap="round" {THIN}/>'
            for colour, wide in ((INK, 11), (CELL, 7))
        )
        return (
            f'<path d="{grid}" fill="none" stroke="{INK}" stroke-opacity="0.3" stroke-width="2" {THIN}/>'
            f'<path d="{grid}" fill="none" stroke="white" stroke-opacity="0.4" stroke-width="1" {THIN}/>'
            f'<g data-part="cell"><rect {geometry(cell)} fill="{CELL}" fill-opacity="0.6"/></g>'
            + outline("truth", self.truth, TRUTH, width=2)
            + outline("anchors", self.anchors[row, column], SKY, width=1.5)
            + outline("anchor", [self.anchors[self.start]], SKY, dashed=True)
            + outline("decoded", [self.decoded], ORANGE)
            + f'<g data-part="point">{dots}</g>'
        )


def _names(names: Sequence[str] | None, number: int) -> list[str]:
    names = ["object"] * number if names is None else names
    if isinstance(names, str) or len(names) != number:
        raise ValueError(f"names: got {names!r}, expected {number}, one an object")
    return [f"{require_words('names', name)} {index}" for index, name in enumerate(names)]


def _assigned(values: ArrayLike | torch.Tensor, shape: tuple[int, ...], objects: int) -> np.ndarray:
    values = to_array(values)
    if values.dtype.kind not in "iu" or values.shape != shape:
        raise ValueError(f"assigned: got shape {values.shape} {values.dtype}, expected whole numbers {shape}")
    if values.min() < IGNORED or values.max() >= objects:
        got = f"{values.min()} to {values.max()}"
        raise ValueError(f"assigned: got {got}, expected indices of {objects} objects, −1 (background) or −2 (ignored)")
    return values


def _pack(values: np.ndarray) -> tuple[str, float]:
    """Numbers as 16 bits each in base64, and what one step is worth: a power of two, so that whole numbers stay."""
    largest = np.abs(values).max()
    step = 2.0 ** ceil(log2(largest / 32767)) if largest else 1.0
    return base64.b64encode((values / step).round().astype("<i2").tobytes()).decode(), step


def _rows(number_of_anchors: int) -> str:
    """The table that the script fills, a row for each anchor."""
    cell = "padding: 0.15em 0.22em; text-align: {}; white-space: nowrap"
    columns = ("w × h", "IoU", "assigned to", "objectness", "dx", "dy", "dw", "dh")
    sides = ["left" if name == "assigned to" else "right" for name in columns]
    head = "".join(
        f'<th scope="col" style="{cell.format(side)}">{name}</th>' for name, side in zip(columns, sides, strict=True)
    )
    line = "".join(f'<td style="{cell.format(side)}"></td>' for side in sides)
    radio = '<td><input type="radio" name="anchor" autocomplete="off" style="margin: 0 0.3em"></td>'
    return (
        '<form style="overflow-x: auto; margin: 0"><table style="border-collapse: collapse; margin: 0; font: inherit; '
        f'font-size: 13px"><thead><tr><td></td>{head}</tr></thead>'
        f"<tbody>{f'<tr>{radio}{line}</tr>' * number_of_anchors}</tbody></table></form>"
    )
