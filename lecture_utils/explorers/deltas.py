"""The deltas of a proposal, which a reader sets on a page without a kernel (slides 18 to 21)."""

import numpy as np
import torch
from numpy.typing import ArrayLike

from lecture_utils.detection.boxes import box_iou, encode
from lecture_utils.explorers.stage import Pad, as_boxes, as_page, corners, number, outline, said, swatch, table
from lecture_utils.figures.boxes import TRUTH
from lecture_utils.figures.style import ORANGE, SKY

STEP = 0.05  # of a slider of a delta, which runs from −1 to 1
FORMULAS = {
    "x": "xₐ + wₐ · dx",
    "y": "yₐ + hₐ · dy",
    "w": 'wₐ · e<sup style="line-height: 0">dw</sup>',
    "h": 'hₐ · e<sup style="line-height: 0">dh</sup>',
}
LETTERS = {"a": "ₐ", "p": "ₚ"}  # of the proposal, as an index

SCRIPT = """
  const inputs = [...figure.querySelectorAll("input")], [reset, answer] = figure.querySelectorAll("button");
  const {x: xa, y: ya, w: wa, h: ha} = decode([0, 0, 0, 0], data.proposal);
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
    const iou = data.truth && ratio(overlap(box, data.truth).iou);
    if (iou) say("IoU", iou);
    announce(`deltas (${deltas.map(delta => text(delta, 2)).join(", ")}) turn the proposal ` +
      `${corners(data.proposal)} into ${corners(box)}` + (iou ? `; IoU with the ground truth ${iou}` : ""));
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


class DeltaPad(Pad):
    """Four sliders for the deltas (dx, dy, dw, dh) of a proposal, the box that they give, and the arithmetic.

    `image` is a tensor (3, h, w) or an array (h, w, 3), uint8; `proposal` (4,) and, if known, the ground truth `truth`
    (4,) are boxes (x0, y0, x1, y1) in pixels of `size` (height, width), by default the image's own. With a truth the
    IoU with it stands there too, and a button sets the sliders, which run from −1 to 1, to the step nearest to what
    `encode` gives, `answer`. A truth that is further away than the sliders go is a ValueError. `letter` is the
    proposal's in the formulas, "a" as of an anchor, or "p".
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
        letter: str = "a",
    ):
        super().__init__(image, size, title, alt)
        if letter not in LETTERS:
            raise ValueError(f"letter: got {letter!r}, expected one of {', '.join(LETTERS)}")
        self.letter = LETTERS[letter]
        self.proposal = as_boxes("proposal", proposal, (4,))
        self.truth = None if truth is None else as_boxes("truth", truth, (4,))
        self.answer = None
        if self.truth:
            self.answer = encode(*torch.tensor([[self.truth], [self.proposal]], dtype=torch.float64))[0].tolist()
            if max(map(abs, self.answer)) > 1:
                got = f"deltas {corners(self.answer)} from the proposal"
                raise ValueError(f"truth: got {got}, expected each from −1 to 1, where the sliders end")

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
        formulas = {name: formula.replace("ₐ", self.letter) for name, formula in FORMULAS.items()}
        sums = [(f"<em>{name}</em>", f"= {formula} = {said(f'sum {name}')}") for name, formula in formulas.items()]
        rows = {swatch(SKY, dashed=True) + "proposal": corners(self.proposal), swatch(ORANGE) + "box": said("sum box")}
        button = '<button type="button" style="font: inherit; margin-right: 0.6em">'
        buttons = f"<div>{button}reset</button></div>"
        if self.truth:
            rows[swatch(TRUTH) + "ground truth"] = corners(self.truth)
            rows["<strong>IoU</strong>"] = said("IoU", large=True)
            buttons = f"<div>{button}reset</button>{button}show the answer</button></div>"
            buttons += '<div data-part="answer" role="status" style="min-height: 3em"></div>'
        sliders = "".join(map(_slider, ("dx", "dy", "dw", "dh")))
        return as_page(
            self.title,
            self._state(),
            self.stage.html(lines, labels),
            sliders + table(sums) + table(list(rows.items())) + buttons,
            script=SCRIPT,
            data={"proposal": self.proposal, "truth": self.truth, "answer": self.answer},
        )


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
