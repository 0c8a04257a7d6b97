"""The pages of the handouts that are gathered from the executed notebooks: contents, claims, slides, words, timing.

Each page is returned as Markdown; `notebooks` maps names, such as "04_unet", to notebooks, in order. A page links to a
code cell or a section by the label that conf.py gives it, as #04_unet-cell-7 and #04_unet-why-a-u; Sphinx warns of a
label that is not there.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path

from docutils.nodes import make_id
from nbformat import NotebookNode

from lecture_course.engine.definitions import PACKAGES, of_notebook
from lecture_utils import costs, recipes

BUDGET = 90  # seconds a notebook may take in the quick profile

Notebooks = Mapping[str, NotebookNode]


def read(name: str) -> dict:
    """The hand-written tables of name.toml, beside this file."""
    return tomllib.loads(Path(__file__).with_name(f"{name}.toml").read_text(encoding="utf-8"))


def slides() -> dict[str, dict[str, str]]:
    """The slides of the lecture in order: number, as "09" or "11e" → topic, number of the notebook."""
    return read("slides")


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


def headings(cell: NotebookNode) -> list[str]:
    """The headings in a cell of prose, as Markdown."""
    return re.findall(r"(?m)^#{1,6} +(.+?) *#*$", re.sub(r"(?ms)^```.*?^```", "", cell.source))


def is_exercise(heading: str) -> bool:
    """Whether a section is an exercise; it ends at the next prose, since what follows belongs to the section around."""
    return heading.startswith(("Exercise", "Your turn"))


def code_cells(notebook: NotebookNode) -> Iterator[tuple[int, NotebookNode, str]]:
    """Each code cell as (index, cell, heading of its section); the heading is Markdown."""
    section = heading = ""
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type == "code":
            yield index, cell, heading
            continue
        found = headings(cell)
        section = next((text for text in reversed(found) if not is_exercise(text)), section)
        heading = found[-1] if found else section


def sections(notebook: NotebookNode) -> dict[str, dict[str, int]]:
    """Slide → the sections whose code cells carry its tag: heading → index of the section's first such cell."""
    found: dict[str, dict[str, int]] = {}
    for index, cell, heading in code_cells(notebook):
        for tag in cell.metadata.get("tags", []):
            if tag.startswith("slide-"):
                found.setdefault(tag.removeprefix("slide-"), {}).setdefault(heading, index)
    return found


def see(place: str, notebooks: Notebooks, *, short: bool = False) -> str:
    """A link to "04 Why a U?", a notebook's number and a heading; without the heading, to the notebook.

    Its text is the number alone where `short`. Not a link but words where these handouts lack the place.
    """
    number, _, heading = place.partition(" ")
    for name, notebook in notebooks.items():
        there = [text for cell in notebook.cells if cell.cell_type == "markdown" for text in headings(cell)]
        if name.startswith(f"{number}_") and (not heading or heading in there):
            text = number if short else f"{number} · {heading}" if heading else title(notebook)
            return f"[{text}](#{name}-{make_id(heading or title(notebook))})"
    return number if short else f"notebook {number}"


def linked(text: str, notebooks: Notebooks) -> str:
    """A hand-written page whose places, written as *04 Why a U?*, have become links."""
    return re.sub(r"(?<![*\w])\*(\d\d [^*\n]+)\*(?![*\w])", lambda place: see(place[1], notebooks), text)


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
    """The claims that the notebooks checked: first those that did not hold, then all, notebook by notebook."""
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
    said = (
        f"**{_count(len(claims), 'claim')}: {held} held here, {len(claims) - held} did not.**\n\n"
        "What a slide or its paper claims and a program can measure, a notebook measures: on the toy city, with small "
        "networks, in the seconds that a notebook has. *Held* and *did not hold* are about this measurement. No figure "
        "in the column *Measured here* was typed in: each claim links to the cell that measured it.\n\n"
    )
    broken = _broken([found for found in claims if not found[0]["holds"]])
    tables = []
    for name, found in groupby(claims, key=lambda found: found[1]):
        rows = [_claim_row(*one) for one in sorted(found, key=lambda one: _slide_order(one[0]["slide"]))]
        columns = table(("Source", "Claim", "Lecture or paper", "Measured here", "Outcome"), rows, "lllll")
        tables.append(f"## {title(notebooks[name])}\n\n:::{{container}} claims\n{columns}:::\n")
    return head + said + broken + "\n".join(tables)


def _broken(claims: list[tuple]) -> str:
    """What did not hold, by who had said so: the slides, the papers, or this course itself."""
    groups = {"On a slide": "", "In a paper, not here": "", "What this course expected": ""}
    for claim, name, index in claims:
        slides, papers, ours = groups
        by = (
            ours
            if claim["slide"].startswith("this course")
            else slides
            if claim["slide"].startswith("slide")
            else papers
        )
        groups[by] += f"- {_claimed(claim, name, index)}, {_source(claim)}\n"
    listed = "".join(f"**{by}**\n\n{lines}\n" for by, lines in groups.items() if lines)
    return f"## What did not hold\n\n{listed}" if listed else ""


def _claimed(claim: Mapping, name: str, index: int) -> str:
    return link(literal(claim["claim"]), name, index)


def _source(claim: Mapping) -> str:
    return literal(claim["slide"]).replace("slide ", "slide\N{NO-BREAK SPACE}")


def _claim_row(claim: Mapping, name: str, index: int) -> tuple[str, ...]:
    said = _claimed(claim, name, index) + (f"<br>*{literal(claim['note'])}*" if claim["note"] else "")
    outcome = "✓ held" if claim["holds"] else "**✗ did not hold**"
    figure = f"*the paper:* {literal(claim['paper'])}" if claim.get("paper") else literal(claim["lecture"])
    return (_source(claim), said, figure, literal(claim["measured"]), outcome)


def slides_page(notebooks: Notebooks) -> str:
    """Every slide of the lecture, with links to the sections of the notebooks that show it."""
    found = {name: sections(notebook) for name, notebook in notebooks.items()}
    rows = []
    for number, slide in slides().items():
        places = [
            _places(name, title(notebooks[name]), in_it[number]) for name, in_it in found.items() if number in in_it
        ]
        if not places:
            places.append(f"in notebook {slide['notebook']}, which is not among these")
        rows.append((number.lstrip("0"), literal(slide["topic"]), "<br>".join(places)))
    return (
        "# Where is my slide?\n\n"
        "Each slide of the lecture, and the sections of the notebooks that run it. A link leads to the first cell that "
        "serves the slide; the question that it answers stands right above.\n\n"
    ) + table(("Slide", "Topic", "Sections"), rows, "rll")


def _places(name: str, title: str, found: Mapping[str, int]) -> str:
    """The sections of a notebook that serve a slide, and then its exercises."""
    links: dict[bool, list[str]] = {False: [], True: []}
    for heading, index in found.items():
        links[is_exercise(heading)].append(link(heading.removeprefix("Exercise: "), name, index))
    shown = f"**{title}**: {'; '.join(links[False])}" + "<br>Exercises: " * bool(links[True]) + "; ".join(links[True])
    return shown.replace("|", r"\|")


def glossary_page(notebooks: Notebooks) -> str:
    """The terms of the course by their first letters, each with a link to the section that explains it."""
    page = (
        "# Glossary\n\nThe terms of the course in a sentence or two. The link behind each leads to the section of a "
        "notebook that explains it with a picture and an experiment.\n"
    )
    for letter, terms in groupby(read("glossary").items(), key=lambda term: term[0][0].upper()):
        page += f"\n## {letter}\n\n"
        for term, entry in terms:
            also = f" (also: {entry['also']})" if "also" in entry else ""
            places = "; ".join(see(place, notebooks) for place in entry["see"])
            page += f"{term}{also}\n: {' '.join(entry['says'].split())} {places}\n\n"
    return page


def symbols_page(notebooks: Notebooks) -> str:
    """The symbols of the course, and the names of axes in its signatures."""
    symbols, axes = read("symbols").values()
    rows = []
    for symbol in symbols.values():
        places = dict.fromkeys(see(place, notebooks, short=True) for place in symbol["see"])
        rows.append((f"${symbol['tex']}$", " ".join(symbol["says"].split()), symbol["shape"], ", ".join(places)))
    return (
        "# Symbols\n\nThe symbols of slides, papers and notebooks. A letter that the papers use for two things has a "
        "row for each. A number leads to the section that introduces the symbol.\n\n"
        + table(("Symbol", "What it means", "Shape", "Notebook"), rows, "llll")
        + "\n## Axes in the code\n\nThe signatures of the package carry shapes, as in "
        '`Float[Tensor, "b c h w"]`. Within one function a name stands for one number.\n\n'
        + table(("Name", "What it counts"), [(f"`{name}`", says) for name, says in axes.items()], "ll")
    )


def timing_page(notebooks: Notebooks, timings: dict) -> str:
    """How long each notebook took, with how much memory and on what machine, and the minutes of its exercises."""
    head = "# Time and memory\n\n"
    machine, runs = timings.get("machine"), timings.get("notebooks", {})
    runs = {name: runs[name] for name in notebooks if name in runs}
    if not runs:
        return f"{head}The notebooks were not executed when these handouts were made.\n"
    seconds, memory = ([run[key] for run in runs.values()] for key in ("seconds", "peak_mib"))
    minutes = [exercise_minutes(name) for name in runs]
    rows = [
        (f"[](notebooks/{name}.ipynb)", f"{run['seconds']:.0f}", f"{run['peak_mib']:,}", str(least))
        for (name, run), least in zip(runs.items(), minutes, strict=True)
    ]
    total = (f"{sum(seconds):.0f}", f"{max(memory):,}", str(sum(minutes)))
    rows.append(("**All, one after the other**", *(f"**{figure}**" for figure in total)))
    said = (
        f"Each notebook was executed from top to bottom in a kernel of its own on {machine['date']}: "
        f"{machine['system']}, {machine['cores']} cores, Python {machine['python']}, PyTorch {machine['torch']}. The "
        f"course's budget is {BUDGET} seconds a notebook in the quick profile, on two cores without a GPU; here the "
        f"longest took {max(seconds):.0f}.\n\n"
        "The first run on a machine takes longer, because it draws the city. A notebook keeps its memory until its "
        "kernel is shut down, so several open ones add up. Reading takes many times the seconds; the last column is "
        "what the exercises are meant to take, if one does them all.\n\n"
    )
    columns = ("Notebook", "Seconds", "Peak memory (MiB)", "Exercises (minutes)")
    return f"{head}{said}{table(columns, rows, 'lrrr')}{full_profile()}"


def full_profile() -> str:
    """The trainings that have a budget for a GPU, with the minutes they should take on a T4."""
    rows = []
    for name, chosen in recipes.FULL.items():
        counted = recipes.batch_costs(chosen)
        minutes = costs.estimated_step(counted) * chosen.options.steps / 60
        sizes = (f"{chosen.options.batch_size} × {chosen.size}²", f"{counted.parameters / 1e6:.1f}")
        effort = (f"{3 * counted.flops / 1e12:.2f}", f"{counted.activations / 2e9:.1f}", f"{chosen.options.steps:,}")
        rows.append((f"`{name}`", *sizes, *effort, f"{minutes:.1f}"))
    columns = ("Model", "Batch", "Parameters (M)", "TFLOP a step", "Kept (GB)", "Steps", "Minutes (estimated)")
    said = (
        "Where there is a GPU, the notebooks choose the *full* profile, and these models have a second, larger budget: "
        "`python -m lecture_utils train NAME --profile full`. Operations and bytes are counted. The minutes are "
        f"**estimated** from them for a {costs.T4.name} of Colab or Kaggle, and not measured: "
        f"{costs.REACHED['flops']:.0%} of its peak of {costs.T4.flops / 1e12:.0f} TFLOPS in half precision, and every "
        f"activation moved {costs.PASSES} times. The proposals of `fast_rcnn` are searched before, on the CPU, and not "
        "counted.\n\n"
    )
    return f"\n## On a GPU\n\n{said}{table(columns, rows, 'llrrrrr')}"


def exercise_minutes(name: str) -> int:
    """What the exercises of a notebook, as "04_unet", are meant to take in all."""
    number = name.partition("_")[0]
    return sum(exercise.minutes for exercise in of_notebook(number).values()) if number in PACKAGES else 0


def _slide_order(place: str) -> tuple[float, str]:
    """Sorts "slide 4" before "slide 11" before "slide 11e" before the papers."""
    number = re.match(r"slides? (\d+)", place)
    return (float(number[1]) if number else float("inf"), place)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"
