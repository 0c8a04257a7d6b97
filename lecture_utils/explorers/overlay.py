"""An image that stays while sliders change the boxes over it, on a page without a kernel (slides 21 and 22)."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from html import escape
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import torch

from lecture_utils.explorers.page import BUTTONS, PERIOD, drop_down
from lecture_utils.explorers.stage import (
    THIN,
    Pad,
    as_boxes,
    as_page,
    geometry,
    halo_and_line,
    require_words,
    said,
    swatch,
)
from lecture_utils.explorers.values import Menu, Slider, as_text
from lecture_utils.figures.grids import ink_on
from lecture_utils.figures.style import INK

OVER, TAGS = (f'data-part="{name}"' for name in ("overlay", "tags"))
MOST = 500  # places of the sliders together, each of a few hundred bytes

SCRIPT = """
  const inputs = [...figure.querySelectorAll("input, select")], values = [...figure.querySelectorAll("output")];
  const safe = words => Object.assign(document.createElement("i"), {textContent: words}).innerHTML;
  const marked = ([kind, [x0, y0, x1, y1]]) => data.kinds[kind].lines.map(line =>
    `<rect x="${x0}" y="${y0}" width="${x1 - x0}" height="${y1 - y0}" ${line}/>`).join("");
  const tag = ([kind,, words, [x, y]]) => words === "" ? "" : `<span style="${data.kinds[kind].tag}; ` +
    `left: ${100 * x / W}%; top: ${100 * y / H}%">${safe(words)}</span>`;
  const dotted = gap => {
    let d = "";
    for (let y = 0; gap && y < H; y += gap) for (let x = 0; x < W; x += gap) d += `M${x} ${y}h0`;
    return data.dots.map(look => `<path d="${d}" ${look}/>`).join("");
  };
  const cells = ([kind, ...words]) => {
    const {swatch, struck, pale} = data.kinds[kind] || {swatch: "", struck: false, pale: false};
    const style = k => CELL + (struck && k < 2 ? "; text-decoration: line-through" : "");
    return `<tr${pale ? ' style="opacity: 0.6"' : ""}><td style="padding: 0">${swatch}</td>` + words.map((one, k) =>
      `<td style="${style(k)}">${safe(one)}</td>`).join("") + "</tr>";
  };
  const show = () => {
    const index = inputs.reduce((sum, input, k) => sum * data.values[k].length + Number(input.value), 0);
    const {boxes, dots, said, rows} = data.frames[index];
    inputs.forEach((input, k) => {
      values[k].value = data.values[k][input.value];
      input.setAttribute("aria-valuetext", values[k].value);
    });
    part("overlay").innerHTML = dotted(dots) + boxes.map(marked).join("");
    part("tags").innerHTML = boxes.map(tag).join("");
    part("rows").innerHTML = rows.map(cells).join("");
    say("said", said);
    announce(`${inputs.map((_, k) => `${data.labels[k]} ${values[k].value}`).join(", ")}: ${said}`);
  };
  let timer = null;
  const [go, next] = figure.querySelectorAll(".explorer-play button"), played = inputs[data.play];
  const stop = () => { clearInterval(timer); timer = null; if (go) go.textContent = "▶ Play"; };
  const step = () => { played.value = Number(played.value) < played.max ? Number(played.value) + 1 : 0; show(); };
  for (const input of inputs) input.addEventListener("input", () => { stop(); show(); });
  if (go) {
    go.addEventListener("click", () => {
      if (timer) return stop();
      go.textContent = "⏸ Pause";
      step();
      timer = setInterval(() => { if (!figure.isConnected || played.value === played.max) stop(); else step(); },
        2 * PERIOD);
    });
    next.addEventListener("click", () => { stop(); step(); });
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) go.style.display = "none";
  }
""".replace("PERIOD", str(PERIOD)).replace(
    "CELL", '"padding: 0.1em 0.6em 0.1em 0; text-align: left; white-space: nowrap"'
)


class Kind(NamedTuple):
    """How boxes of one kind look: colour, width in CSS pixels, how much is filled (0 to 1); rows struck or pale."""

    colour: str
    width: float = 3
    dashed: bool = False
    fill: float = 0.0
    struck: bool = False
    pale: bool = False


class Mark(NamedTuple):
    """A box (x0, y0, x1, y1) of a kind, and what is written at it, around the point `at` or where there is room."""

    kind: str
    box: Sequence[float]
    words: str = ""
    at: tuple[float, float] | None = None


class Overlay(NamedTuple):
    """What stands over the image at one place of the sliders, and what is said of it beside.

    `rows` are lines of a table, first the name of a kind, whose swatch stands there, or "", then the words of each
    column. `dots` is the distance of dots over the whole image, from its corner on; 0 for none.
    """

    marks: Sequence[Mark]
    said: str
    rows: Sequence[Sequence[str]] = ()
    dots: float = 0


class OverlayExplorer(Pad):
    """An image with sliders that change the boxes over it: lines of a page, sharp at any size, not drawn images.

    `image` is a tensor (3, h, w) or an array (h, w, 3), uint8. `draw` takes the sliders' names as arguments and returns
    an `Overlay`, whose boxes are in pixels of `coordinates` (height, width), by default the image's own; it is called
    for every place of the sliders, 500 at most, so that all of them work without a kernel. `kinds` are those of the
    boxes; the first ones lie lowest. `play="step"` gives this slider buttons, and `width` is that of the words beside
    the image, in em; `shown` is the width of the image, in CSS pixels, so that wide words stand beside it. Arguments
    that do not fit are a ValueError.
    """

    def __init__(
        self,
        image: torch.Tensor | np.ndarray,
        draw: Callable[..., Overlay],
        *,
        kinds: Mapping[str, Kind],
        title: str,
        alt: str,
        coordinates: tuple[float, float] | None = None,
        play: str | None = None,
        width: int = 17,
        shown: int | None = None,
        **sliders: Slider,
    ):
        super().__init__(image, coordinates, title, alt)
        if shown is not None:
            frame = self.stage.frame
            self.stage = replace(self.stage, frame=replace(frame, width=min(frame.width, shown)))
        if not sliders or not all(isinstance(slider, Slider) for slider in sliders.values()):
            raise ValueError(f"sliders: got {sliders!r}, expected at least one, each a Slider(label, values)")
        if play is not None and play not in sliders:
            raise ValueError(f"play: got {play!r}, expected the name of a slider: {', '.join(sliders)}")
        if (number := math.prod(len(slider.frames) for slider in sliders.values())) > MOST:
            raise ValueError(f"sliders: got {number} places, expected at most {MOST}")
        self.kinds, self.sliders, self.play, self.width = dict(kinds), sliders, play, width
        drawn = product(*(slider.frames for slider in sliders.values()))
        self.places = [dict(zip(sliders, values, strict=True)) for values in drawn]
        self.overlays = [self._checked(draw(**place)) for place in self.places]

    @property
    def start(self) -> int:
        """Which of the places is shown first."""
        return self.places.index({name: slider.start for name, slider in self.sliders.items()})

    def _checked(self, overlay: Overlay) -> Overlay:
        for name in [mark.kind for mark in overlay.marks] + [row[0] for row in overlay.rows if row[0]]:
            if name not in self.kinds:
                raise ValueError(f"draw: got a box or row of kind {name!r}, expected one of {', '.join(self.kinds)}")
        order = list(self.kinds)
        marks = sorted(overlay.marks, key=lambda mark: order.index(mark.kind))
        boxes = as_boxes("draw", [mark.box for mark in marks]) if marks else []
        free = iter(spots([mark.box for mark in marks if mark.at is None], self.stage.size))
        marks = [
            Mark(mark.kind, box, mark.words, next(free) if mark.at is None else mark.at)
            for mark, box in zip(marks, boxes, strict=True)
        ]
        return overlay._replace(marks=marks, said=require_words("said", overlay.said))

    def _state(self) -> str:
        where = (f"{slider.label} {as_text(slider.start)}" for slider in self.sliders.values())
        return f"{', '.join(where)}: {self.overlays[self.start].said}"

    def _page(self) -> str:
        height, width = self.stage.size
        looks = {
            name: {"lines": _lines(kind), "tag": _tag(kind.colour), "swatch": _swatch(kind)}
            | {"struck": kind.struck, "pale": kind.pale}
            for name, kind in self.kinds.items()
        }
        white = [f'fill="none" stroke="{colour}" stroke-width="{wide}" stroke-linecap="round" {THIN}'
                 for colour, wide in ((INK, 5), ("white", 3.2))]  # fmt: skip
        data = {
            "kinds": looks,
            "dots": white,
            "values": [list(map(as_text, slider.frames)) for slider in self.sliders.values()],
            "labels": [slider.label for slider in self.sliders.values()],
            "frames": [self._frame(overlay) for overlay in self.overlays],
            "play": None if self.play is None else list(self.sliders).index(self.play),
        }
        first = self.overlays[self.start].marks
        lines = "".join(f"<rect {geometry(m.box)} {line}/>" for m in first for line in looks[m.kind]["lines"])
        tags = "".join(
            f'<span style="{looks[m.kind]["tag"]}; left: {100 * m.at[0] / width:.2f}%; '
            f'top: {100 * m.at[1] / height:.2f}%">{escape(m.words)}</span>'
            for m in first
            if m.words
        )
        sliders = "".join(map(_control, self.sliders.values()))
        used = {m.kind for overlay in self.overlays for m in overlay.marks}
        legend = "".join(
            f'<span style="white-space: nowrap; margin-right: 1.2em">{_swatch(kind)}{escape(name)}</span> '
            for name, kind in self.kinds.items()
            if name in used
        )
        stage = self.stage.html(f"<g {OVER}>{lines}</g>", f"<div {TAGS}>{tags}</div>")
        rows = '<table style="border-collapse: collapse; margin: 0.4em 0"><tbody data-part="rows"></tbody></table>'
        return as_page(
            self.title,
            self._state(),
            # At the top, so that the image stays where it is while the words beside it become more or fewer.
            f'<div style="align-self: flex-start; max-width: {self.stage.frame.width}px">{stage}'
            f'<div style="margin-top: 0.4em">{legend}</div></div>',
            f"{sliders}{BUTTONS if self.play else ''}"
            f'<div style="min-height: 4em; font-weight: bold">{said("said")}</div>{rows}',
            script=SCRIPT,
            data=data,
            width=self.width,
        )

    def _frame(self, overlay: Overlay) -> dict[str, Any]:
        boxes = [[m.kind, m.box, m.words, [round(side, 1) for side in m.at]] for m in overlay.marks]
        return {"boxes": boxes, "dots": overlay.dots, "said": overlay.said, "rows": overlay.rows}


def spots(boxes: Sequence[Sequence[float]], size: tuple[float, float]) -> list[tuple[float, float]]:
    """For each box a point of its outline, inside the image of `size` (height, width), far from those before it.

    Corners come first, and a point that is far enough, a tenth of the image, is not moved further.
    """
    height, width = size
    margin = 0.03 * width
    taken: list[tuple[float, float]] = []
    for x0, y0, x1, y1 in boxes:
        across = [(1 - t) * x0 + t * x1 for t in (0, 1, 0.5, 0.25, 0.75)]
        down = [(1 - t) * y0 + t * y1 for t in (0.5, 0.25, 0.75)]
        outline = [(x, y) for y in (y0, y1) for x in across] + [(x, y) for x in (x0, x1) for y in down]
        inside = [
            (min(max(x, margin), width - margin), min(max(y, margin), height - margin)) for x, y in outline
        ]  # fmt: skip
        far = lambda point: min([math.dist(point, other) for other in taken] + [0.1 * width])  # noqa: E731
        taken.append(max(inside, key=far))
    return taken


def _control(slider: Slider) -> str:
    """A labelled slider below its name and its value, or a menu beside its name."""
    start = slider.frames.index(slider.start)
    if isinstance(slider, Menu):
        moved = f"{drop_down(slider)}<output hidden></output>"
        return f'<div style="margin: 0.5em 0"><label>{escape(slider.label)}: {moved}</label></div>'
    return (
        f'<div style="margin: 0.3em 0"><label>{escape(slider.label)}: <output style="font-weight: bold">'
        f'{escape(as_text(slider.start))}</output><br><input type="range" min="0" max="{len(slider.frames) - 1}" '
        f'value="{start}" autocomplete="off" style="width: 16em; max-width: 100%; margin: 0.2em 0"></label></div>'
    )


def _lines(kind: Kind) -> list[str]:
    """The attributes of a box's rectangles: what fills it, then a halo and its line."""
    filled = [f'fill="{kind.colour}" fill-opacity="{kind.fill:g}"'] * (kind.fill > 0)
    if not kind.width:
        return filled
    return filled + [
        f'fill="none" stroke="{stroke}" stroke-width="{wide:g}" {THIN}{dashes}'
        for stroke, wide, dashes in halo_and_line(kind.colour, kind.width, kind.dashed)
    ]


def _swatch(kind: Kind) -> str:
    return swatch(kind.colour, dashed=kind.dashed, width=kind.width) if kind.width else ""


def _tag(colour: str) -> str:
    return (
        "position: absolute; transform: translate(-50%, -50%); padding: 0 0.35em; border-radius: 3px; "
        f"font: 600 13px/1.35 sans-serif; white-space: nowrap; pointer-events: none; color: {ink_on(colour)}; "
        f"background: {colour}; box-shadow: 0 0 0 1px {ink_on(colour)}"
    )
