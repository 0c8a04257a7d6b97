"""Boxes that a reader moves on a page without a kernel: IoU, GIoU, the deltas of a proposal (slides 14 to 21)."""

from collections.abc import Sequence
from html import escape

import numpy as np
import torch
from numpy.typing import ArrayLike

from lecture_utils.detection.boxes import box_area, box_iou, encode, generalized_box_iou
from lecture_utils.explorers.stage import (
    LEAST,
    THIN,
    Pad,
    as_boxes,
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
from lecture_utils.figures.grids import ink_on
from lecture_utils.figures.style import ORANGE, PURPLE, SKY

COLOURS = (TRUTH, ORANGE)  # of the two boxes
SHARED, ENCLOSING = SKY, PURPLE
BOX_HINT = (
    "Drag a box or a corner. By keyboard: tab to a box, arrow keys move it, "
    "shift + arrow keys move its right and lower side."
)

STEP = 0.05  # of a slider of a delta, which runs from −1 to 1
DELTAS = ("dx", "dy", "dw", "dh")
FORMULAS = {
    "x": "xₐ + wₐ · dx",
    "y": "yₐ + hₐ · dy",
    "w": 'wₐ · e<sup style="line-height: 0">dw</sup>',
    "h": 'hₐ · e<sup style="line-height: 0">dh</sup>',
}

BOX_SCRIPT = """
  const boxes = data.boxes.map(box => [...box]), groups = boxes.map((_, k) => part(`box ${k}`));
  let chosen = 1, held = null;
  const show = () => {
    boxes.forEach((box, k) => {
      place(groups[k], box);
      pin(part(`label ${k}`), box);
      for (const dots of groups[k].querySelectorAll("path"))
        dots.setAttribute("d", [0, 2].flatMap(i => [1, 3].map(j => `M${box[i]} ${box[j]}h0`)).join(""));
      groups[k].setAttribute("aria-label", `${data.names[k]}: ${corners(box)}`);
    });
    const {shared, around, apart, intersection, union, iou, giou} = overlap(...boxes), [a, b] = boxes.map(area);
    const product = box => `${text(box[2] - box[0])} × ${text(box[3] - box[1])} = ${text(area(box))}`;
    place(part("intersection"), apart ? [0, 0, 0, 0] : shared);
    part("intersection").style.display = apart ? "none" : "";
    place(part("enclosing"), around);
    boxes.forEach((box, k) => say(`area ${k}`, product(box)));
    say("sum intersection", apart ? "0: they do not overlap" : product(shared));
    say("sum union", `${text(a)} + ${text(b)} − ${text(intersection)} = ${text(union)}`);
    say("sum enclosing", product(around));
    say("sum IoU", `${text(intersection)} / ${text(union)} = `);
    say("sum GIoU", `${ratio(iou)} − (${text(area(around))} − ${text(union)}) / ${text(area(around))} = `);
    say("IoU", ratio(iou));
    say("GIoU", ratio(giou));
    announce(`${boxes.map((box, k) => `${data.names[k]} ${corners(box)}`).join(", ")}: intersection ` +
      `${text(intersection)}, union ${text(union)}, IoU ${ratio(iou)}, GIoU ${ratio(giou)}`);
  };
  const shift = (box, x, y) => {
    [x, y] = [clip(x, -box[0], W - box[2]), clip(y, -box[1], H - box[3])];
    return [box[0] + x, box[1] + y, box[2] + x, box[3] + y];
  };
  const pull = (box, [i, j], x, y) => {  // the corner with box[i] and box[j]
    const next = [...box];
    next[i] = i ? clip(x, box[0] + LEAST, W) : clip(x, 0, box[2] - LEAST);
    next[j] = j > 1 ? clip(y, box[1] + LEAST, H) : clip(y, 0, box[3] - LEAST);
    return next;
  };
  // What lies under the pointer: a corner within reach, else the smaller box around it; in doubt the chosen one.
  const find = ([x, y, pixel], reach) => {
    const found = [];
    boxes.forEach((box, k) => {
      const within = x >= box[0] && x <= box[2] && y >= box[1] && y <= box[3], last = k === chosen ? 0 : 0.01;
      const near = Math.min(reach * pixel, within ? 0.3 * Math.min(box[2] - box[0], box[3] - box[1]) : Infinity);
      for (const i of [0, 2]) for (const j of [1, 3]) {
        const far = Math.hypot(box[i] - x, box[j] - y);
        if (far <= near) found.push({k, corner: [i, j], order: far / (W + H) + last});
      }
      if (within) found.push({k, order: 1 + area(box) + last});
    });
    return found.sort((a, b) => a.order - b.order)[0];
  };
  const look = focused => groups.forEach((group, k) => {
    group.querySelector("rect").style.display = focused && k === chosen ? "" : "none";
  });
  groups.forEach((group, k) => {
    group.addEventListener("focus", () => { chosen = k; look(true); });
    group.addEventListener("blur", () => look(false));
    group.addEventListener("keydown", event => {
      const by = arrow(event);
      if (!by) return;
      const [x, y] = by.map(side => side * (event.repeat ? Math.max(1, Math.round(W / 128)) : 1)), box = boxes[k];
      boxes[k] = event.shiftKey ? pull(box, [2, 3], box[2] + x, box[3] + y) : shift(box, x, y);
      event.preventDefault();
      show();
    });
  });
  svg.addEventListener("pointerdown", event => {
    const start = at(event), found = find(start, event.pointerType === "touch" ? 24 : 12);
    if (!found || event.button) return;
    held = {...found, start, box: boxes[found.k]};
    groups[found.k].focus({preventScroll: true});
    svg.setPointerCapture(event.pointerId);
  });
  svg.addEventListener("pointermove", event => {
    const [x, y, pixel] = at(event);
    if (!held) {
      const found = find([x, y, pixel], 12), ends = found && found.corner;
      svg.style.cursor = !found ? "" : !ends ? "move" : (ends[0] < 2) === (ends[1] < 2) ? "nwse-resize" : "nesw-resize";
      return;
    }
    const {k, corner, start, box} = held, [dx, dy] = [Math.round(x - start[0]), Math.round(y - start[1])];
    boxes[k] = corner ? pull(box, corner, box[corner[0]] + dx, box[corner[1]] + dy) : shift(box, dx, dy);
    show();
  });
  for (const end of ["pointerup", "pointercancel"]) svg.addEventListener(end, () => { held = null; });
  svg.addEventListener("mousedown", event => event.preventDefault());  // keeps the focus where it was put
  svg.addEventListener("touchstart", event => { if (held) event.preventDefault(); }, {passive: false});  // no scrolling
  for (const group of groups) {
    for (const dots of group.querySelectorAll("path")) dots.style.display = "";
    set(group, {tabindex: 0, role: "application", "aria-roledescription": "movable box"});
  }
  look(false);
""".replace("LEAST", f"{LEAST:g}")

DELTA_SCRIPT = """
  const inputs = [...figure.querySelectorAll("input")], [reset, answer] = figure.querySelectorAll("button");
  const [xa, ya, wa, ha] = [0, 1].map(k => (data.proposal[k] + data.proposal[k + 2]) / 2)
    .concat([0, 1].map(k => data.proposal[k + 2] - data.proposal[k]));
  const signed = value => value < 0 ? `(${text(value, 2)})` : text(value, 2);
  const show = () => {
    const deltas = inputs.map(input => Number(input.value)), [dx, dy, dw, dh] = deltas;
    const {x, y, w, h, box} = decode(deltas, data.proposal);
    place(part("box"), box);
    pin(part("label box"), box);
    inputs.forEach((input, k) => {
      const shown = text(deltas[k], 2, 2);
      say(`value ${input.name}`, shown);
      input.setAttribute("aria-valuetext", shown);
    });
    say("sum x", `${text(xa)} + ${text(wa)} · ${signed(dx)} = ${text(x)}`);
    say("sum y", `${text(ya)} + ${text(ha)} · ${signed(dy)} = ${text(y)}`);
    const growth = (side, delta, after) => `${text(side)} · ${text(Math.exp(delta), 3, 3)} = ${text(after)}`;
    say("sum w", growth(wa, dw, w));
    say("sum h", growth(ha, dh, h));
    say("sum box", corners(box));
    const iou = data.truth ? `IoU with the ground truth ${ratio(overlap(box, data.truth).iou)}` : "";
    if (data.truth) say("IoU", ratio(overlap(box, data.truth).iou));
    announce(`deltas (${deltas.map(delta => text(delta, 2)).join(", ")}) turn the proposal ` +
      `${corners(data.proposal)} into ${corners(box)}${iou && `; ${iou}`}`);
  };
  const move = values => { inputs.forEach((input, k) => { input.value = values[k]; }); show(); };
  for (const input of inputs) input.addEventListener("input", show);
  reset.addEventListener("click", () => { move([0, 0, 0, 0]); if (data.truth) say("answer", ""); });
  if (data.truth) answer.addEventListener("click", () => {
    move(data.answer.map(delta => Math.round(delta / STEP) * STEP));
    const exact = data.answer.map(delta => text(delta, 3)).join(", ");
    say("answer", `encode gives (${exact}); each slider takes its nearest step.`);
  });
""".replace("STEP", f"{STEP:g}")


class BoxPad(Pad):
    """Two boxes on an image that a reader drags, or moves with the arrow keys, with their IoU and GIoU beside them.

    `image` is a tensor (3, h, w) or an array (h, w, 3), uint8; `boxes` (2, 4) lie in it, (x0, y0, x1, y1) in pixels of
    `size` (height, width), by default the image's own, and have sides of at least 1. `names` are the two boxes'. A
    corner resizes a box, as shift with the arrow keys does. The intersection is filled, the smallest enclosing box
    dashed. No kernel, network or library is needed; where no script runs, and on paper, a state stands still. Bad
    arguments are a ValueError.
    """

    def __init__(
        self,
        image: torch.Tensor | np.ndarray,
        boxes: ArrayLike | torch.Tensor,
        names: Sequence[str] = ("ground truth", "yours"),
        *,
        size: tuple[int, int] | None = None,
        title: str = "Move a box: what becomes of IoU and GIoU?",
        alt: str = "An image with two boxes.",
    ):
        super().__init__(image, size, title, alt)
        self.boxes = as_boxes("boxes", boxes, (2, 4))
        height, width = self.stage.size
        for box in self.boxes:
            outside = min(box) < 0 or box[2] > width or box[3] > height
            if outside or min(box[2] - box[0], box[3] - box[1]) < LEAST:
                expected = f"sides of at least {LEAST:g} inside {width:g} × {height:g} pixels"
                raise ValueError(f"boxes: got {corners(box)}, expected {expected}")
        if isinstance(names, str) or len(names) != 2:
            raise ValueError(f"names: got {names!r}, expected two, one a box")
        self.names = [require_words("names", name) for name in names]

    def _state(self) -> str:
        a, b = torch.tensor(self.boxes, dtype=torch.float64).split(1)
        boxes = ", ".join(f"{name} {corners(box)}" for name, box in zip(self.names, self.boxes, strict=True))
        iou, both = box_iou(a, b).item(), (box_area(a) + box_area(b)).item()
        union = both / (1 + iou)
        words = {"intersection": number(both - union), "union": number(union), "IoU": number(iou, 3, 3)}
        words["GIoU"] = number(generalized_box_iou(a, b).item(), 3, 3)
        return f"{boxes}: " + ", ".join(f"{name} {value}" for name, value in words.items())

    def _page(self) -> str:
        (a0, a1, a2, a3), (b0, b1, b2, b3) = self.boxes
        shared = (max(a0, b0), max(a1, b1), min(a2, b2), min(a3, b3))
        around = (min(a0, b0), min(a1, b1), max(a2, b2), max(a3, b3))
        shared = shared if shared[0] < shared[2] and shared[1] < shared[3] else (0, 0, 0, 0)
        lines = outline("enclosing", [around], ENCLOSING, dashed=True)
        lines += f'<g data-part="intersection"><rect {geometry(shared)} fill="{SHARED}" fill-opacity="0.6"/></g>'
        lines += "".join(_movable(k, box, COLOURS[k]) for k, box in enumerate(self.boxes))
        labels = "".join(
            self.stage.label(f"label {k}", self.names[k], box, COLOURS[k], below=k == 1)
            for k, box in enumerate(self.boxes)
        )
        marks = [swatch(colour) for colour in COLOURS]
        marks += [swatch(SHARED, width=12), "", swatch(ENCLOSING, dashed=True)]
        names = [*self.names, "intersection", "union", "enclosing"]
        parts = ["area 0", "area 1", "sum intersection", "sum union", "sum enclosing"]
        rows = [(mark + escape(name), said(part)) for mark, name, part in zip(marks, names, parts, strict=True)]
        rows += [(f"<strong>{name}</strong>", said(f"sum {name}") + said(name, large=True)) for name in ("IoU", "GIoU")]
        return as_page(
            self.title,
            self._state(),
            self.stage.html(lines, labels, 'role="group" aria-label="the boxes"'),
            table(rows) + f"<div>{BOX_HINT}</div>",
            script=BOX_SCRIPT,
            data={"boxes": self.boxes, "names": self.names},
        )


class DeltaPad(Pad):
    """Four sliders for the deltas (dx, dy, dw, dh) of a proposal, the box that they give, and the arithmetic.

    `image` is a tensor (3, h, w) or an array (h, w, 3), uint8; `proposal` (4,) and, if known, the ground truth `truth`
    (4,) are boxes (x0, y0, x1, y1) in pixels of `size` (height, width), by default the image's own. With a truth the
    IoU with it stands there too, and a button sets the sliders, which run from −1 to 1, to the step nearest to what
    `encode` gives. No kernel, network or library is needed; where no script runs, and on paper, a state stands still.
    Bad arguments, and a truth that is further away than the sliders go, are a ValueError.
    """

    def __init__(
        self,
        image: torch.Tensor | np.ndarray,
        proposal: ArrayLike | torch.Tensor,
        truth: ArrayLike | torch.Tensor | None = None,
        *,
        size: tuple[int, int] | None = None,
        title: str = "Four deltas move a proposal",
        alt: str = "An image with a proposal.",
    ):
        super().__init__(image, size, title, alt)
        self.proposal = as_boxes("proposal", proposal, (4,))
        self.truth = None if truth is None else as_boxes("truth", truth, (4,))
        if self.truth and max(map(abs, self.answer)) > 1:
            got = f"deltas {corners(self.answer)} from the proposal"
            raise ValueError(f"truth: got {got}, expected each from −1 to 1, where the sliders end")

    @property
    def answer(self) -> list[float] | None:
        """The deltas from the proposal to the truth, as `encode` computes them."""
        if self.truth is None:
            return None
        return encode(*torch.tensor([[self.truth], [self.proposal]], dtype=torch.float64))[0].tolist()

    def _state(self) -> str:
        """Where all sliders stand at 0."""
        box = corners(self.proposal)
        words = f"deltas (0, 0, 0, 0) turn the proposal {box} into {box}"
        if self.truth is None:
            return words
        iou = box_iou(*torch.tensor([[self.proposal], [self.truth]], dtype=torch.float64)).item()
        return f"{words}; IoU with the ground truth {number(iou, 3, 3)}"

    def _page(self) -> str:
        boxes = {"truth": (self.truth, TRUTH), "box": (self.proposal, ORANGE), "proposal": (self.proposal, SKY)}
        lines = "".join(
            outline(name, [box], colour, dashed=name == "proposal") for name, (box, colour) in boxes.items() if box
        )
        labels = self.stage.label("label proposal", "proposal", self.proposal, SKY)
        labels += self.stage.label("label box", "box", self.proposal, ORANGE, below=True)
        sums = [(f"<em>{name}</em>", f"= {formula} = {said(f'sum {name}')}") for name, formula in FORMULAS.items()]
        rows = [(swatch(SKY, dashed=True) + "proposal", corners(self.proposal))]
        rows += [(swatch(ORANGE) + "box", said("sum box"))]
        button = '<button type="button" style="font: inherit; margin-right: 0.6em">'
        buttons = f"{button}reset</button>"
        if self.truth:
            rows += [
                (swatch(TRUTH) + "ground truth", corners(self.truth)),
                ("<strong>IoU</strong>", said("IoU", large=True)),
            ]
            buttons += f"{button}show the answer</button>"
        answer = '<div data-part="answer" role="status" style="min-height: 3em"></div>' * bool(self.truth)
        return as_page(
            self.title,
            self._state(),
            self.stage.html(lines, labels),
            "".join(map(_slider, DELTAS)) + table(sums) + table(rows) + f"<div>{buttons}</div>{answer}",
            script=DELTA_SCRIPT,
            data={"proposal": self.proposal, "truth": self.truth, "answer": self.answer},
        )


def _movable(k: int, box: Sequence[float], colour: str) -> str:
    """A box that can be taken by its corners, with a ring for the focus; both are hidden until the script runs."""
    ring = f'<rect {geometry(box)} fill="none" stroke="white" stroke-width="11" {THIN} style="display: none"/>'
    dots = "".join(
        f'<path stroke="{stroke}" stroke-width="{width}" stroke-linecap="round" {THIN} style="display: none"/>'
        for stroke, width in ((ink_on(colour), 15), (colour, 11))
    )
    return f'<g data-part="box {k}" style="outline: none">{ring}{outline("lines", [box], colour)}{dots}</g>'


def _slider(name: str) -> str:
    field = (
        f'type="range" name="{name}" aria-label="{name}" min="-1" max="1" step="{STEP}" value="0" autocomplete="off"'
    )
    return (
        '<label style="display: flex; align-items: center; gap: 0.6em; margin: 0.25em 0">'
        f'<span style="min-width: 1.5em">{name}</span>'
        f'<input {field} aria-valuetext="0.00" style="flex: 1; min-width: 0; height: 1.6em">'
        f'<strong data-part="value {name}" style="min-width: 3em"></strong></label>'
    )
