"""The lecture's claims: stated, measured, held or not."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from html import escape
from numbers import Integral

Measured = float | Mapping[str, float]

METADATA = "lecture_claim"  # where an executed notebook keeps the fields, for the page that gathers the claims


GREEN, RED = "#009E73", "#D55E00"  # of the edge, which tells the verdict a second time


def card(html: str, edge: str) -> str:
    """HTML with an edge. No text colour and no background: it takes those of the page, light or dark."""
    style = f"border: 1px solid {edge}; border-left-width: 0.5em; border-radius: 4px; padding: 0.5em 1em"
    return f'<div style="{style}">{html}</div>'


@dataclass(frozen=True)
class Claim:
    """A claim with its outcome; as the last value of a cell it shows as a card."""

    claim: str
    slide: str
    lecture: str
    measured: str
    holds: bool
    note: str = ""
    paper: str = ""  # what a paper says, in place of the lecture

    @property
    def said(self) -> str:
        """The figure that is held against the measurement, and who gives it."""
        return f"the paper: {self.paper}" if self.paper else f"the lecture: {self.lecture}"

    @property
    def verdict(self) -> str:
        return "✓ held here" if self.holds else "✗ did not hold here"

    def __str__(self) -> str:
        text = f"{self.verdict}: {self.claim} ({self.slide})\n  {self.said}\n  here: {self.measured}"
        return f"{text}\n  {self.note}" if self.note else text

    def _repr_mimebundle_(self, include=None, exclude=None) -> tuple[dict, dict]:
        """The card and the plain text; the fields go to the output's metadata, which no viewer takes for an image."""
        texts = {name: escape(value) for name, value in asdict(self).items() if name != "holds"}
        note = f"<br><em>{texts['note']}</em>" if self.note else ""
        html = (
            f"<strong>Claim check: {self.verdict}</strong> ({texts['slide']})<br>{texts['claim']}<br>"
            f"T{escape(self.said[1:])}<br>Measured here: {texts['measured']}{note}"
        )
        shown = {"text/html": card(html, GREEN if self.holds else RED), "text/plain": str(self)}
        return shown, {METADATA: asdict(self)}


def check(
    claim: str,
    *,
    slide: int | str,
    measured: Measured,
    holds: Callable[[Measured], bool],
    lecture: str = "",
    paper: str = "",
    digits: int = 2,
    note: str = "",
) -> Claim:
    """Hold a claim of the lecture against a measurement; the last line of its cell, so that the card shows.

    `slide` is a slide's number, a paper's name, or, for what neither says, as "this course, for slide 26"; `lecture` is
    the figure that the slides give, or `paper` that of a paper where they give none: one of the two. `measured` is one
    number, or name → number; it is shown with `digits` decimals. `holds` is a function of `measured`, as `lambda miou:
    miou >= 0.75`: the verdict comes from the measurement and cannot be typed in. A verdict, text or nan instead is a
    ValueError, as are both figures or none.
    """
    if bool(lecture) == bool(paper):
        given = "both" if lecture else "none"
        raise ValueError(f"lecture, paper: got {given}, expected what the lecture says, or else what a paper says")
    if not callable(holds):
        raise ValueError(f"holds: got {holds!r}, expected a function of measured, as `lambda miou: miou >= 0.75`")
    numbers = dict(measured) if isinstance(measured, Mapping) else {"": measured}
    for name, number in numbers.items():
        is_verdict = "bool" in str(getattr(number, "dtype", type(number)))  # Python's, NumPy's or torch's
        if isinstance(number, str) or is_verdict or not float("-inf") < float(number) < float("inf"):
            raise ValueError(f"measured: got {name} {number!r}, expected a finite number")
    if not numbers:
        raise ValueError("measured: got no number, expected at least one")
    shown = ", ".join(f"{name}: {number:.{digits}f}".removeprefix(": ") for name, number in numbers.items())
    place = f"slide {slide}" if isinstance(slide, Integral) else slide
    return Claim(claim, place, lecture, shown, bool(holds(measured)), note, paper)
