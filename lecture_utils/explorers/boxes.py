"""Two boxes that a reader moves on a page without a kernel, with their IoU and GIoU (slides 14 to 21)."""

from collections.abc import Sequence
from html import escape

import numpy as np
import torch
from numpy.typing import ArrayLike

from lecture_utils.detection.boxes import box_area, box_iou, generalized_box_iou
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
HINT = (
    "Drag a box or a corner. By keyboard: tab to a box, arrow keys move it, "
    "shift + arrow keys move its right and lower side."
)

SCRIPT = """
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
    for (const dots of group.querySelectorAll("path")) dots.style.display = "";
    set(group, {tabindex: 0, role: "application", "aria-roledescription": "movable box"});
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
  look(false);
""".replace("LEAST", f"{LEAST:g}")


class BoxPad(Pad):
    """Two boxes on an image that a reader drags, or moves with the arrow keys, with their IoU and GIoU beside them.

    `image` is a tensor (3, h, w) or an array (h, w, 3), uint8; `boxes` (2, 4) lie in it, (x0, y0, x1, y1) in pixels of
    `size` (height, width), by default the image's own, and have sides of at least 1. `names` are the two boxes'. A
    corner resizes a box, as shift with the arrow keys does. The intersection is filled, the smallest enclosing box
    dashed.
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
        low, high = np.minimum(*self.boxes), np.maximum(*self.boxes)
        around, shared = (*low[:2], *high[2:]), np.array([*high[:2], *low[2:]])
        shared *= (shared[2:] > shared[:2]).all()  # none where they lie apart
        lines = outline("enclosing", [around], ENCLOSING, dashed=True)
        lines += f'<g data-part="intersection"><rect {geometry(shared)} fill="{SHARED}" fill-opacity="0.6"/></g>'
        labels, rows = "", []
        for k, (name, box, colour) in enumerate(zip(self.names, self.boxes, COLOURS, strict=True)):
            lines += _movable(k, box, colour)
            labels += self.stage.label(f"label {k}", name, box, colour, below=k == 1)
            rows.append((swatch(colour) + escape(name), said(f"area {k}")))
        marks = {"intersection": swatch(SHARED, width=12), "union": "", "enclosing": swatch(ENCLOSING, dashed=True)}
        rows += [(mark + name, said(f"sum {name}")) for name, mark in marks.items()]
        rows += [(f"<strong>{name}</strong>", said(f"sum {name}") + said(name, large=True)) for name in ("IoU", "GIoU")]
        return as_page(
            self.title,
            self._state(),
            self.stage.html(lines, labels, 'role="group" aria-label="the boxes"'),
            table(rows) + f"<div>{HINT}</div>",
            script=SCRIPT,
            data={"boxes": self.boxes, "names": self.names},
        )


def _movable(k: int, box: Sequence[float], colour: str) -> str:
    """A box that can be taken by its corners, with a ring for the focus; both are hidden until the script runs."""
    ring = f'<rect {geometry(box)} fill="none" stroke="white" stroke-width="11" {THIN} style="display: none"/>'
    dots = "".join(
        f'<path stroke="{stroke}" stroke-width="{width}" stroke-linecap="round" {THIN} style="display: none"/>'
        for stroke, width in ((ink_on(colour), 15), (colour, 11))
    )
    return f'<g data-part="box {k}" style="outline: none">{ring}{outline("lines", [box], colour)}{dots}</g>'
