"""An explorer where no kernel runs: one image, native sliders and a short script that holds the frames."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from lecture_utils.explorers.values import Menu, Slider, as_text
from lecture_utils.figures.style import Encoded

# Finds its figures by what they hold, and inside them asks for classes only: no id that could occur twice on a page.
# An image's place counts like digits: the last slider runs fastest.
SCRIPT = """
for (const figure of document.querySelectorAll('figure[data-explorer="KEY"]:not([data-alive])')) {
  const {values, frames, start, click, play, layers} = DATA;
  const image = figure.querySelector("img"), inputs = [...figure.querySelectorAll("input, select")];
  const shown = [...figure.querySelectorAll("output")], state = figure.querySelector(".explorer-state");
  const move = () => {
    const place = inputs.reduce((sum, input, k) => sum * values[k].length + Number(input.value), 0);
    [image.src, image.alt, state.textContent] = frames[place];
    inputs.forEach((input, k) => {
      shown[k].value = values[k][input.value];
      if (input.type === "range") input.setAttribute("aria-valuetext", shown[k].value);
    });
  };
  let timer = null, stop = () => {};
  if (play !== undefined) {
    const [go, next] = figure.querySelectorAll(".explorer-play button"), input = inputs[play];
    const last = values[play].length - 1, at = () => Number(input.value);
    const step = () => { input.value = at() < last ? at() + 1 : 0; move(); };
    stop = () => { clearInterval(timer); timer = null; go.textContent = "▶ Play"; };
    const tick = () => { if (!figure.isConnected || at() === last) stop(); else step(); };
    go.addEventListener("click", () => {
      if (timer) return stop();
      go.textContent = "⏸ Pause";
      step();
      timer = setInterval(tick, PERIOD);
    });
    next.addEventListener("click", () => { stop(); step(); });
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) go.style.display = "none";
  }
  for (const input of inputs) {
    input.addEventListener("input", () => { stop(); move(); });
    // JupyterLab would take the arrow keys for its own, as it would where it finds no data-lm-suppress-shortcuts.
    input.addEventListener("keydown", event => event.stopPropagation());
  }
  if (click) {
    image.style.cursor = "crosshair";
    image.addEventListener("click", event => {
      const {left, top, width, height} = image.getBoundingClientRect(), [x0, y0, x1, y1] = click.area;
      const across = ((event.clientX - left) / width - x0) / (x1 - x0);
      const down = ((event.clientY - top) / height - y0) / (y1 - y0);
      if (Math.min(across, down) < 0 || Math.max(across, down) >= 1) return;
      [across, down].forEach((share, k) => {
        const far = click.stops[k].map(stop => Math.abs(stop - share));
        inputs[click.sliders[k]].value = far.indexOf(Math.min(...far));
      });
      stop();
      move();
    });
  }
  frames[start][0] = image.src;
  if (layers) Object.assign(image.style, {background: `url(${image.src}) 0 0 / 100% 100%`, printColorAdjust: "exact"});
  figure.querySelector(".explorer-controls").style.display = "";
  state.style.display = "none";
  figure.dataset.alive = "";
  move();
}
"""

PERIOD = 700  # milliseconds of a frame while it plays
BUTTONS = (
    '<div class="explorer-play" style="margin: 0.3em 0"><button type="button" style="font: inherit; min-width: 6em">'
    '▶ Play</button> <button type="button" style="font: inherit">Step ▸</button></div>'
)


@dataclass(frozen=True)
class Frame:
    """One image: the bytes of its file, alternative text and width in CSS pixels, and what it is a layer upon."""

    image: Encoded
    alt: str
    width: int
    below: Encoded | None = None

    @property
    def address(self) -> str:
        """The image as an address that needs no file."""
        return _address(self.image)

    @property
    def img(self) -> str:
        """The image as an HTML element that shrinks on a narrow page."""
        ground = f"url({_address(self.below)}) 0 0 / 100% 100%" if self.below else "white"
        style = f"width: {self.width}px; max-width: 100%; height: auto; background: {ground}; border-radius: 4px"
        return f'<img src="{self.address}" alt="{escape(self.alt)}" style="{style}">'


def _address(image: Encoded) -> str:
    return f"data:{image.mime};base64,{base64.b64encode(image.data).decode()}"


def as_page(
    title: str,
    sliders: Mapping[str, Slider],
    frames: Sequence[Frame],
    words: Sequence[str],
    *,
    start: int,
    click: tuple[str, str] | None,
    area: tuple[float, float, float, float],
    play: str | None,
) -> str:
    """An explorer as HTML that needs no kernel, library, network or style sheet.

    `frames` and their places in `words` follow the sliders, the last one fastest; `start` is the one shown first.
    `click` names the sliders that a click moves, `area` is where it counts, in shares of the image; `play` names the
    slider that runs by itself when asked to (not where the reader's system asks for less motion; a step at a time is
    always possible). Frames that are layers lie on that of the start. Until its script has run the sliders are hidden,
    and a line says which of how many images this is.
    """
    states = [f"One of {len(frames)} images: {place}." for place in words]
    addresses = ["" if place == start else frame.address for place, frame in enumerate(frames)]  # one is shown already
    data = {
        "values": [list(map(as_text, slider.frames)) for slider in sliders.values()],
        "frames": list(zip(addresses, [frame.alt for frame in frames], states, strict=True)),
        "start": start,
    }
    if click:
        chosen = [sliders[name] for name in click]
        data["click"] = {
            "sliders": [list(sliders).index(name) for name in click],
            "stops": [[(s.values.index(at) + 0.5) / len(s.values) for at in s.frames] for s in chosen],
            "area": [round(side, 4) for side in area],
        }
    if any(frame.below for frame in frames):
        data["layers"] = True
    if play:
        data["play"] = list(sliders).index(play)
    held = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    key = hashlib.sha256((title + held + frames[start].address).encode()).hexdigest()[:12]
    longest = max(len(slider.label) for slider in sliders.values())
    controls = "".join(control(slider, longest) for slider in sliders.values()) + (BUTTONS if play else "")
    script = SCRIPT.replace("KEY", key).replace("PERIOD", str(PERIOD)).replace("DATA", held)
    return (
        f'<figure class="explorer" data-explorer="{key}" style="margin: 0.5em 0; text-align: center">'
        f"<figcaption><strong>{escape(title)}</strong>"
        f'<div class="explorer-controls" data-lm-suppress-shortcuts="true" style="display: none">{controls}</div>'
        f'<div class="explorer-state">{escape(states[start])}</div></figcaption>'
        f"{frames[start].img}</figure>"
        f"<script>{script}</script>"
    )


def drop_down(menu: Menu) -> str:
    """The list of a menu's frames; the value of each is its number."""
    start = menu.frames.index(menu.start)
    options = (
        f'<option value="{k}"{" selected" * (k == start)}>{escape(as_text(value))}</option>'
        for k, value in enumerate(menu.frames)
    )
    return f'<select autocomplete="off" style="font: inherit">{"".join(options)}</select>'


def control(slider: Slider, longest: int) -> str:
    """A labelled slider and its value in words; labels have room for the `longest`, so that sliders stand in line.

    A slider that could not move, because one of its values has been drawn, is not shown: its value is. A menu shows
    its value itself.
    """
    values, start = list(map(as_text, slider.frames)), as_text(slider.start)
    menu = isinstance(slider, Menu) and len(values) > 1
    if menu:
        moved = drop_down(slider)
    else:
        shown = "width: 16em; max-width: 100%; height: 1.6em" if len(values) > 1 else "display: none"
        moved = (
            f'<input type="range" min="0" max="{len(values) - 1}" value="{values.index(start)}" autocomplete="off" '
            f'aria-valuetext="{escape(start)}" style="{shown}">'
        )
    said = "display: none" if menu else "display: inline-block"
    return (
        '<div style="margin: 0.3em 0"><label style="display: inline-flex; flex-wrap: wrap; justify-content: center; '
        f'align-items: center; gap: 0 0.6em"><span style="min-width: {0.9 * longest:.0f}ch; text-align: right">'
        f"{escape(slider.label)}</span>{moved}</label> "
        f'<output style="{said}; margin-left: 0.4em; min-width: {max(map(len, values))}ch; '
        f'text-align: left; font-weight: bold">{escape(start)}</output></div>'
    )
