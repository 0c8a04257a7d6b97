"""What a student sees of an exercise: the outcome of a check, a hint, a solution, the progress."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from lecture_utils.claims import GREEN, RED, card

# Edges tell the outcome a second time, like those of the claims; the words tell it first.
EDGES = {"correct": GREEN, "not yet": RED, "not attempted": "#56B4E9", "": "#999999"}
MARKS = {"correct": "✓ ", "not yet": "✗ ", "not attempted": "○ "}


@dataclass(frozen=True)
class Example:
    """One input with the answer expected and the one given, as text and as HTML."""

    note: str
    inputs: str
    expected: str
    given: str
    given_html: str


@dataclass(frozen=True)
class Card:
    """A few lines with an edge; the last value of a cell shows as one."""

    heading: str
    lines: Sequence[str] = ()
    status: str = ""
    example: Example | None = None
    printed: str = ""
    code: str = ""
    closing: str = ""

    def __str__(self) -> str:
        lines = [self.heading, *(f"  {line}" for line in self.lines)]
        if self.example:
            lines += [f"  {self._where()}", *_indented(self.example.inputs)]
            lines += _beside("expected", self.example.expected, "given", self.example.given)
        if self.printed:
            lines += ["  Your function printed:", *_indented(self.printed)]
        lines += [*self.code.splitlines(), *([f"  {self.closing}"] if self.closing else [])]
        return "\n".join(line.rstrip() for line in lines)

    def __repr__(self) -> str:
        return str(self)

    def _where(self) -> str:
        note = f" ({self.example.note})" if self.example.note else ""
        return f"The smallest input on which it fails{note}:"

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict:
        """The card and the plain text; the card takes the colours of the page, light or dark."""
        body = [f"<strong>{escape(self.heading)}</strong>", *map(_ticked, self.lines)]
        html = "<br>".join(body)
        if self.example:
            html += f"<br>{escape(self._where())}{_pre(escape(self.example.inputs))}{self._two_columns()}"
        if self.printed:
            html += f"<br>Your function printed:{_pre(escape(self.printed))}"
        if self.code:
            html += _highlighted(self.code)
        if self.closing:
            html += f"{'' if html.endswith('</div>') or html.endswith('</pre>') else '<br>'}{_ticked(self.closing)}"
        return {"text/html": card(html, EDGES[self.status]), "text/plain": str(self)}

    def _two_columns(self) -> str:
        columns = {"expected": escape(self.example.expected), "given": self.example.given_html}
        both = "".join(f"<div>{head}{_pre(text)}</div>" for head, text in columns.items())
        return f'<div style="display: flex; flex-wrap: wrap; gap: 0 2.5em">{both}</div>'


def _pre(text: str) -> str:
    style = (
        "margin: 0.2em 0; padding: 0; border: none; background: none; color: inherit; font-size: 0.95em; "
        "overflow-x: auto; white-space: pre"
    )
    return f'<pre style="{style}">{text}</pre>'


def _ticked(line: str) -> str:
    """A line as HTML, with what stands between backticks as code."""
    parts = escape(line).split("`")
    return "".join(f"<code>{part}</code>" if i % 2 else part for i, part in enumerate(parts))


def _highlighted(code: str) -> str:
    try:
        from IPython.display import Code
    except ImportError:
        return _pre(escape(code))
    # The colours of the code are made for a light ground, so it brings its own; the class is the one they belong to.
    style = "color: black; overflow-x: auto; padding: 0 0.5em; margin-top: 0.5em"
    return f'<div class="output_html" style="{style}">{Code(code, language="python")._repr_html_()}</div>'


def _indented(text: str) -> list[str]:
    return [f"    {line}" for line in text.splitlines()]


def _beside(left_head: str, left: str, right_head: str, right: str) -> list[str]:
    """Two texts beside each other, or one under the other where they are wide."""
    lefts, rights = left.splitlines(), right.splitlines()
    width = max(map(len, [left_head, *lefts]))
    if width + max(map(len, [right_head, *rights])) > 100:
        return [f"  {left_head}:", *_indented(left), f"  {right_head}:", *_indented(right)]
    height = max(len(lefts), len(rights))
    lefts, rights = ([*lines, *[""] * (height - len(lines))] for lines in (lefts, rights))
    rows = zip([left_head, *lefts], [right_head, *rights], strict=True)
    return [f"    {a:{width}} | {b}" for a, b in rows]
