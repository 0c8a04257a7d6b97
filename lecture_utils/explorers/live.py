"""An explorer in a running kernel: ipywidgets, in what versions 7 and 8 have in common."""

from collections.abc import Callable, Mapping
from html import escape
from typing import Any

from ipywidgets import HTML, Dropdown, Layout, Play, SelectionSlider, VBox, jslink

from lecture_utils.explorers.page import PERIOD, Frame
from lecture_utils.explorers.values import Menu, Slider, as_text


def live_box(
    title: str,
    sliders: Mapping[str, Slider],
    draw: Callable[..., Frame],
    describe: Callable[[dict[str, Any]], str],
    *,
    play: str | None = None,
) -> VBox:
    """The title, a slider for each argument of `draw` and the image, which follows them; `describe` words a place.

    The image follows the hand while it drags where every value has been drawn in advance; else it waits until the
    hand lets go, so that drawings do not pile up.
    """
    follow = all(len(slider.frames) == len(slider.values) for slider in sliders.values())
    longest = max(len(slider.label) for slider in sliders.values())
    controls = {}
    for name, slider in sliders.items():
        kind, how = (Dropdown, {}) if isinstance(slider, Menu) else (SelectionSlider, {"continuous_update": follow})
        controls[name] = kind(
            options=[(as_text(value), value) for value in slider.values],
            value=slider.start,
            description=slider.label,
            style={"description_width": f"{0.6 * longest:.0f}em"},
            layout=Layout(width="30em", max_width="98%"),
            **how,
        )
    frame = HTML()

    def move(change=None):
        place = {name: control.value for name, control in controls.items()}
        try:
            frame.value = draw(**place).img
        except Exception as error:  # a callback's traceback would reach nobody
            where, what = escape(describe(place)), escape(f"{type(error).__name__}: {error}")
            frame.value = f'<p role="alert">No image for {where}.<br><code>{what}</code></p>'

    for control in controls.values():
        control.observe(move, names="value")
    move()
    players = []
    if play:
        last = len(sliders[play].values) - 1
        players = [Play(value=controls[play].index, min=0, max=last, interval=PERIOD, description="play")]
        jslink((players[0], "value"), (controls[play], "index"))
    return VBox([HTML(f"<strong>{escape(title)}</strong>"), *controls.values(), *players, frame])
