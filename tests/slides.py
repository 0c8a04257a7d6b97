"""The lecture's slides: which notebooks show each, and which tests pin it.

    python tests/slides.py     prints the table, in Markdown, and what is still open

A notebook shows a slide when a code cell carries its tag, as slide-09; a test pins it with @pytest.mark.slide("09").
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "handouts"))

import pages  # noqa: E402


def tagged_notebooks(folder: Path = ROOT / "notebooks") -> dict[str, list[str]]:
    """Slide → names of the notebooks with a cell for it."""
    found: dict[str, list[str]] = {}
    for path in sorted(folder.glob("*.ipynb")):
        for slide in pages.sections(nbformat.read(path, as_version=4)):
            found.setdefault(slide, []).append(path.stem)
    return found


def marked_tests(folder: Path = ROOT / "tests") -> dict[str, list[str]]:
    """Slide → the tests marked with it, as "segmentation/test_unet.py::test_valid_sizes"; nothing is imported."""
    found: dict[str, list[str]] = {}
    for path in sorted(folder.rglob("test_*.py")):
        file = path.relative_to(folder).as_posix()
        for statement in ast.parse(path.read_text(encoding="utf-8")).body:
            # A function or a class; else the marker stands in `pytestmark` and holds for the whole file.
            test = f"{file}::{statement.name}" if hasattr(statement, "name") else file
            for slide in dict.fromkeys(_markers(statement)):
                found.setdefault(slide, []).append(test)
    return found


def _markers(statement: ast.stmt) -> Iterator[str]:
    for call in ast.walk(statement):
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "pytest.mark.slide":
            yield from map(ast.literal_eval, call.args)


def report(notebooks: dict[str, list[str]], tests: dict[str, list[str]]) -> str:
    """The table slide → topic → notebooks → tests, and below it what is still missing."""
    rows, missing = [], []
    for number, slide in pages.slides().items():
        found = [", ".join(f"`{name}`" for name in names.get(number, [])) or "none yet" for names in (notebooks, tests)]
        rows.append((number, pages.literal(slide["topic"]), *found))
        lacks = ["a tagged cell"] * (number not in notebooks) + ["a marked test"] * (number not in tests)
        if lacks:
            missing.append(f"- slide {number}, which lacks {' and '.join(lacks)}\n")
    table = pages.table(("Slide", "Topic", "Notebooks", "Tests"), rows, "llll")
    return f"{table}\n" + (f"Complete, except\n\n{''.join(missing)}" if missing else "Complete.\n")


if __name__ == "__main__":
    print(report(tagged_notebooks(), marked_tests()), end="")
