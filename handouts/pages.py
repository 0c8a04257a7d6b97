"""The pages of the handouts that are gathered from the executed notebooks: contents, claims, slides, timing.

Each page is returned as Markdown; `notebooks` maps names, such as "04_unet", to notebooks, in order. A page links to a
code cell by the label that conf.py gives it, as #04_unet-cell-7; Sphinx warns of a label that is not there.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

from nbformat import NotebookNode

BUDGET = 90  # seconds a notebook may take in the quick profile

Notebooks = Mapping[str, NotebookNode]


def slides() -> dict[str, dict[str, str]]:
    """The slides of the lecture in order: number, as "09" or "11e" → topic, number of the notebook, what is missing."""
    return tomllib.loads(Path(__file__).with_name("slides.toml").read_text(encoding="utf-8"))


def table(header: tuple[str, ...], rows: list[tuple[str, ...]], align: str) -> str:
    """A Markdown table; `align` has an "l" or "r" for each column."""
    lines = [header, tuple({"l": ":--", "r": "--:"}[side] for side in align), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def literal(text: str) -> str:
    """Plain text as Markdown that shows just this text, in a table too."""
    return re.sub(r"([\\`*_|<>&\[\]{}$~])", r"\\\1", " ".join(text.split()))


def link(text: str, name: str, index: int) -> str:
    """A link to a code cell of a notebook; `text` is Markdown."""
    return f"[{text}](#{name}-cell-{index})"


def code_cells(notebook: NotebookNode) -> Iterator[tuple[int, NotebookNode, str]]:
    """Each code cell as (index, cell, nearest heading above it); the heading is Markdown."""
    heading = ""
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type == "code":
            yield index, cell, heading
        else:
            prose = re.sub(r"(?ms)^```.*?^```", "", cell.source)
            heading = (re.findall(r"(?m)^#{1,6} +(.+?) *#*$", prose) or [heading])[-1]


def sections(notebook: NotebookNode) -> dict[str, dict[str, int]]:
    """Slide → the sections whose code cells carry its tag: heading → index of the section's first such cell."""
    found: dict[str, dict[str, int]] = {}
    for index, cell, heading in code_cells(notebook):
        for tag in cell.metadata.get("tags", []):
            if tag.startswith("slide-"):
                found.setdefault(tag.removeprefix("slide-"), {}).setdefault(heading, index)
    return found


def title(notebook: NotebookNode) -> str:
    """The title of a notebook, as Markdown."""
    return re.sub(r"^# +", "", notebook.cells[0].source.splitlines()[0])


def contents(notebooks: Notebooks, *, with_pdf: bool) -> str:
    """The table of the notebooks on the first page."""
    rows = []
    for name, notebook in notebooks.items():
        served = ", ".join(number.lstrip("0") for number in sorted(sections(notebook)))
        rows.append((f"[](notebooks/{name}.ipynb)", served, f'<a href="../pdf/{name}.pdf">PDF</a>'))
    columns = 3 if with_pdf else 2
    return table(("Notebook", "Slides", "To print")[:columns], [row[:columns] for row in rows], "lll"[:columns])


def claims_page(notebooks: Notebooks) -> str:
    """The claims that the notebooks checked, by slide; claims of papers come last."""
    claims = [
        (output.metadata["lecture_claim"], name, index)
        for name, notebook in notebooks.items()
        for index, cell, _ in code_cells(notebook)
        for output in cell.outputs
        if "lecture_claim" in output.get("metadata", {})
    ]
    head = "# What the lecture claims, what we measured\n\n"
    if not claims:
        return head + "No notebook of these handouts checks a claim.\n"
    held = sum(claim["holds"] for claim, _, _ in claims)
    rows = []
    for claim, name, index in sorted(claims, key=lambda found: _slide_order(found[0]["slide"])):
        text = {field: literal(str(value)) for field, value in claim.items()}
        said = link(text["claim"], name, index) + (f"<br>*{text['note']}*" if claim["note"] else "")
        outcome = "✓ held" if claim["holds"] else "**✗ did not hold**"
        place = text["slide"].replace("slide ", "slide\N{NO-BREAK SPACE}")
        rows.append((place, said, text["lecture"], text["measured"], outcome))
    said = (
        f"**{_count(len(claims), 'claim')}: {held} held here, {len(claims) - held} did not.**\n\n"
        "What a slide or its paper claims and a program can measure, a notebook measures: on the toy city, with small "
        "networks, in the seconds that a notebook has. *Held* and *did not hold* are about this measurement. No figure "
        "in the fourth column was typed in: each claim links to the cell that measured it.\n\n"
    )
    columns = ("Source", "Claim", "The lecture", "Measured here", "Outcome")
    return f"{head}{said}:::{{container}} claims\n{table(columns, rows, 'lllll')}:::\n"


def slides_page(notebooks: Notebooks) -> str:
    """Every slide of the lecture, with links to the sections of the notebooks that show it."""
    found = {name: sections(notebook) for name, notebook in notebooks.items()}
    rows = []
    for number, slide in slides().items():
        places = []
        for name, by_slide in found.items():
            links = [link(heading, name, index) for heading, index in by_slide.get(number, {}).items()]
            if links:
                places.append(f"{title(notebooks[name])}: {'; '.join(links)}".replace("|", r"\|"))
        if not places:
            places.append(f"not yet, planned for notebook {slide['notebook']}")
        elif "missing" in slide:
            places.append(f"Still missing: {literal(slide['missing'])}")
        rows.append((number.lstrip("0"), literal(slide["topic"]), "<br>".join(places)))
    return (
        "# Where is my slide?\n\n"
        "Each slide of the lecture, and the sections of the notebooks that run it. A link leads to the first cell that "
        "serves the slide; the question that it answers stands right above.\n\n"
    ) + table(("Slide", "Topic", "Sections"), rows, "rll")


def timing_page(notebooks: Notebooks, timings: dict) -> str:
    """How long each notebook took, with how much memory, and on what machine."""
    head = "# Time and memory\n\n"
    machine, runs = timings.get("machine"), timings.get("notebooks", {})
    runs = {name: runs[name] for name in notebooks if name in runs}
    if not runs:
        return f"{head}The notebooks were not executed when these handouts were made.\n"
    rows = [
        (f"[](notebooks/{name}.ipynb)", f"{run['seconds']:.0f}", f"{run['peak_mib']:,}") for name, run in runs.items()
    ]
    total = sum(run["seconds"] for run in runs.values())
    peak = max(run["peak_mib"] for run in runs.values())
    rows.append(("**All, one after the other**", f"**{total:.0f}**", f"**{peak:,}**"))
    said = (
        f"Each notebook was executed from top to bottom in a kernel of its own on {machine['date']}: "
        f"{machine['system']}, {machine['cores']} cores, Python {machine['python']}, PyTorch {machine['torch']}. The "
        f"course's budget is {BUDGET} seconds a notebook in the quick profile, on two cores without a GPU; here the "
        f"longest took {max(run['seconds'] for run in runs.values()):.0f}.\n\n"
    )
    return f"{head}{said}{table(('Notebook', 'Seconds', 'Peak memory (MiB)'), rows, 'lrr')}"


def _slide_order(place: str) -> tuple[float, str]:
    """Sorts "slide 4" before "slide 11" before "slide 11e" before the papers."""
    number = re.match(r"slides? (\d+)", place)
    return (float(number[1]) if number else float("inf"), place)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"
