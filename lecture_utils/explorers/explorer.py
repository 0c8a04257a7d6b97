"""An explorer: a figure drawn anew for each place of its sliders, in a kernel, on a web page and on paper."""

import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from lecture_utils.explorers.page import Frame, as_page
from lecture_utils.explorers.values import Slider, as_text
from lecture_utils.figures.style import CSS_PIXELS_PER_INCH, course_look, encode

MOST_FRAMES = 48
KILOBYTES = 400  # all frames of an explorer together: 530 as text in a notebook, which stays below 2.5 MB


class Explorer:
    """A figure with sliders, as the last value of a cell: `Explorer(draw, title=…, alt=…, stride=Slider(…), …)`.

    `draw` takes the sliders' names as arguments and returns a new matplotlib figure; it is called in the course's look.
    `alt` says what the image shows: a function of the same arguments, or one text, to which the values are added. In
    a kernel with ipywidgets the sliders run through all their values, and `draw` is called for those not drawn yet. A
    page without a kernel holds the frames, drawn when the explorer is made: at most 48, of one size, together about
    500 KB of a notebook unless the page's own resolution takes more. Bad arguments are a ValueError; what `draw` raises
    for a frame comes through.

    With `click=("column", "row")` a click on the image on a page moves these two sliders: the first follows the place
    from left to right in the figure's first axes, the second from top to bottom, to the nearest of their frames.
    `play="step"` gives this slider buttons: it runs through its frames once, or goes on by one. `kilobytes` is what all
    frames together may take; drawings of lines and words need less with a palette of so many `colours` for each.
    Where the frames show the one at the start with parts `faded` to some strengths, the page holds them as layers upon
    it (`figures.layers`); the sliders start at their first frames then.
    """

    def __init__(
        self,
        draw: Callable[..., Figure],
        *,
        title: str,
        alt: str | Callable[..., str],
        click: tuple[str, str] | None = None,
        play: str | None = None,
        kilobytes: int = KILOBYTES,
        colours: int | None = None,
        faded: Sequence[float] = (),
        **sliders: Slider,
    ):
        self.title, self.draw, self.alt, self.sliders = " ".join(str(title).split()), draw, alt, sliders
        self.click, self.play, self.kilobytes, self.colours, self.faded = click, play, kilobytes, colours, faded
        self._check()
        self._frames = self._draw(self.places, kilobytes)
        self._box = None  # made when shown

    @property
    def places(self) -> list[dict[str, Any]]:
        """Where the sliders stand in each of the frames drawn in advance; the last slider runs fastest."""
        drawn = product(*(slider.frames for slider in self.sliders.values()))
        return [dict(zip(self.sliders, values, strict=True)) for values in drawn]

    @property
    def start(self) -> dict[str, Any]:
        """Where the sliders stand at first."""
        return {name: slider.start for name, slider in self.sliders.items()}

    def frame(self, **place: Any) -> Frame:
        """The image, with its alternative text, at a place of the sliders; drawn now unless it was drawn before."""
        words = self.words(place)
        if words not in self._frames:
            self._frames |= self._draw([place], self.kilobytes)
        return self._frames[words]

    def words(self, place: dict[str, Any]) -> str:
        """A place of the sliders in words: “stride 2, padding 1”."""
        return ", ".join(f"{slider.label} {as_text(place[name])}" for name, slider in self.sliders.items())

    def describe(self, place: dict[str, Any]) -> str:
        """The alternative text at a place of the sliders, on one line."""
        text = self.alt(**place) if callable(self.alt) else self.alt
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"alt: got {text!r} for {self.words(place)}, expected a sentence on what the image shows")
        text = " ".join(text.split())
        return text if callable(self.alt) else f"{text} ({self.words(place)})"

    def __repr__(self) -> str:
        return f"Explorer: {self.title}. {self.describe(self.start)}"

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict:
        """The page with its frames, plain text and, where there are ipywidgets, the live sliders."""
        places = self.places
        frames, words = [self.frame(**place) for place in places], [self.words(place) for place in places]
        how = {"start": places.index(self.start), "click": self.click, "area": self.area, "play": self.play}
        bundle = {"text/html": as_page(self.title, self.sliders, frames, words, **how), "text/plain": repr(self)}
        try:
            from lecture_utils.explorers.live import live_box
        except ImportError:  # no ipywidgets: the page alone
            return bundle
        self._box = self._box or live_box(self.title, self.sliders, self.frame, self.words, play=self.play)
        view = {"version_major": 2, "version_minor": 0, "model_id": self._box.model_id}
        return {"application/vnd.jupyter.widget-view+json": view} | bundle

    def _draw(self, places: list[dict[str, Any]], kilobytes: int) -> dict[str, Frame]:
        with closing_figures():
            figures = [self._figure(place) for place in places]
            images = encode(figures, kilobytes=kilobytes, web=True, colours=self.colours, faded=self.faded)
            self.area = first_axes(figures[0])
            width = round(max(figure.get_figwidth() for figure in figures) * CSS_PIXELS_PER_INCH)
        frames = [
            Frame(image, self.describe(place), width, images[0] if self.faded and image is not images[0] else None)
            for place, image in zip(places, images, strict=True)
        ]
        return dict(zip(map(self.words, places), frames, strict=True))

    @course_look
    def _figure(self, place: dict[str, Any]) -> Figure:
        figure = self.draw(**place)
        if not isinstance(figure, Figure):
            got = f"{type(figure).__name__} for {self.words(place)}"
            raise ValueError(f"draw: got {got}, expected a function that returns a matplotlib Figure")
        return figure

    def _check(self) -> None:
        if not self.title:
            raise ValueError("title: got an empty text, expected a few words")
        if not self.sliders:
            raise ValueError('sliders: got none, expected at least one, as `stride=Slider("stride", (1, 2, 3))`')
        for name, slider in self.sliders.items():
            if not isinstance(slider, Slider):
                raise ValueError(f"{name}: got {type(slider).__name__}, expected a Slider(label, values)")
        if len({slider.label for slider in self.sliders.values()}) < len(self.sliders):
            raise ValueError("sliders: got two of one label, expected them to differ")
        if self.click is not None and not (len(self.click) == 2 and set(self.click) <= set(self.sliders)):
            raise ValueError(f"click: got {self.click!r}, expected the names of two of the sliders, across and down")
        if self.faded and any(slider.start != slider.frames[0] for slider in self.sliders.values()):
            raise ValueError(f"faded: got a start at {self.words(self.start)}, expected it at the first frame")
        if self.play is not None and self.play not in self.sliders:
            raise ValueError(f"play: got {self.play!r}, expected the name of a slider: {', '.join(self.sliders)}")
        frames = math.prod(len(slider.frames) for slider in self.sliders.values())
        if frames > MOST_FRAMES:
            few = "name fewer by Slider(…, frames=…)"
            raise ValueError(f"sliders: got {frames} frames, expected at most {MOST_FRAMES}; {few}")
        for argument, function in {"draw": self.draw, "alt": self.alt}.items():
            if argument == "alt" and isinstance(function, str):
                continue
            if not callable(function):
                raise ValueError(f"{argument}: got {type(function).__name__}, expected a function of the sliders")
            try:
                inspect.signature(function).bind(**self.start)
            except TypeError as problem:
                names = ", ".join(self.sliders)
                raise ValueError(f"{argument}: got a function with {problem}, expected one of {names}") from None


def first_axes(figure: Figure) -> tuple[float, float, float, float]:
    """Where the first axes lie in a drawn figure: left, top, right and bottom, as shares of its width and height."""
    box = figure.axes[0].get_position() if figure.axes else Bbox.unit()
    return (box.x0, 1 - box.y1, box.x1, 1 - box.y0)


@contextmanager
def closing_figures() -> Iterator[None]:
    """Close, in the end, the figures opened inside, also those of a `draw` that raised half way."""
    before = set(plt.get_fignums())
    try:
        with plt.rc_context({"figure.max_open_warning": 0}):  # all frames are open at once
            yield
    finally:
        for number in set(plt.get_fignums()) - before:
            plt.close(number)
