"""What a reader finds when it looks through its files at opening: how many of what, and what is odd about them."""

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

_NAMED = 3

_SHOWN = 80  # characters of a value in a message


@dataclass
class Inventory:
    """Counts by name, and findings: what was left out, coerced or looks wrong, each with the first cases and a mend.

    `print(dataset.inventory)` shows both.
    """

    source: Path
    counts: dict[str, int] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)

    def add(self, what: str, cases: Sequence[str], mend: str) -> None:
        """Note what is odd, where there are such cases."""
        if cases:
            self.findings.append(f"{what}: {several(cases)}; {mend}")

    def refuse(self, what: str, cases: Sequence[str], mend: str, kind: type[Exception] = ValueError) -> None:
        """Raise an error that says the same, where there are such cases."""
        if cases:
            raise kind(f"{self.source}: {what}: {several(cases)}; {mend}")

    def refuse_problems(self, problems: Sequence[str]) -> None:
        """Raise an error for what cannot be used, where there is any; FileNotFoundError where all of it is missing."""
        kind = FileNotFoundError if all(problem.endswith("no such file") for problem in problems) else ValueError
        self.refuse("cannot be used", problems, "mend this, or leave it out with on_error='skip'", kind)

    def warn(self) -> None:
        """Tell of all findings in one warning, which points at the line that made the reader."""
        if self.findings:
            warnings.warn(f"{self.source}: " + ". ".join(self.findings), stacklevel=3)

    def __str__(self) -> str:
        counts = ", ".join(f"{count:,} {name}" for name, count in self.counts.items())
        return "\n  ".join([f"{self.source.name}: {counts}", *self.findings])


def several(cases: Sequence[str]) -> str:
    """How many cases there are, and the first three."""
    more = f"; and {len(cases) - _NAMED:,} more" if len(cases) > _NAMED else ""
    return f"{len(cases):,} ({'; '.join(cases[:_NAMED])}{more})"


def shown(value: object) -> str:
    """A value as its JSON says it, cut to one short line."""
    try:
        text = json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace").decode()
    except RecursionError:
        text = "lists within lists"
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
