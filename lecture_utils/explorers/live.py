"""An explorer in a running kernel: ipywidgets, in what versions 7 and 8 have in common."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from ipywidgets import HTML, Layout, SelectionSlider, VBox

from lecture_utils.explorers.values import as_text

if TYPE_CHECKING:
    from lecture_utils.explorers.explorer import Explorer


def live_box(explorer: Explorer) -> VBox:
    """The title, a slider for each argument and the picture, which follows them.

    The picture follows the hand while it drags where every value has been drawn in advance; else it waits until the
    hand lets go, so that drawings do not pile up.
    """
    follow = all(len(slider.frames) == len(slider.values) for slider in explorer.sliders.values())
    longest = max(len(slider.label) for slider in explorer.sliders.values())
    controls = {
        name: SelectionSlider(
            options=[(as_text(value), value) for value in slider.values],
            value=slider.start,
            description=slider.label,
            continuous_update=follow,
            style={"description_width": f"{0.6 * longest:.0f}em"},
            layout=Layout(width="30em", max_width="98%"),
        )
        for name, slider in explorer.sliders.items()
    }
    picture = HTML()

    def move(change=None):
        place = {name: control.value for name, control in controls.items()}
        try:
            picture.value = explorer.frame(**place).img
        except Exception as error:  # a callback's traceback would reach nobody
            where, what = escape(explorer.words(place)), escape(f"{type(error).__name__}: {error}")
            picture.value = f'<p role="alert">No picture for {where}.<br><code>{what}</code></p>'

    for control in controls.values():
        control.observe(move, names="value")
    move()
    return VBox([HTML(f"<strong>{escape(explorer.title)}</strong>"), *controls.values(), picture])
