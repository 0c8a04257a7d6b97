"""What holds of every notebook beside its results, which nbval compares: form, sizes, badges, tags, descriptions."""

import base64
import copy
import re
from pathlib import Path

import nbformat
import platforms
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from lecture_course.engine import definitions, grading
from lecture_utils import claims

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SETTINGS = platforms.project()
LAST_SLIDE = 38
KIB = 1024
NOTEBOOK, ALL, IMAGE = 2_500_000, 30_000_000, 250 * KIB  # bytes

MACHINE_PATH = re.compile(
    r"(?:file://|(?<![\w.:/]))/(?:home|Users|root|tmp|private|mnt|opt|usr)/\w|\b[A-Za-z]:\\+Users\\"
)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs(notebook):
    return [(cell, output) for cell in code(notebook) for output in cell.outputs]


def texts(notebook):
    """Every source and textual output, without the base64 of images, whose letters may spell anything."""
    for cell in notebook.cells:
        yield cell.source
    for _, output in outputs(notebook):
        yield output.get("text", "")
        for kind, value in output.get("data", {}).items():
            if not kind.startswith("image/"):
                yield re.sub(r"base64,[A-Za-z0-9+/=\s]*", "", str(value))


def is_executed_in_order(notebook, name):
    counts = [cell.execution_count for cell in code(notebook)]
    if counts != list(range(1, len(counts) + 1)):
        yield f"execution counts {counts}: refresh it with `make notebooks`"
    if not outputs(notebook):
        yield "no outputs: refresh it with `make notebooks`"


def has_no_errors_or_warnings(notebook, name):
    for _, output in outputs(notebook):
        if output.output_type == "error":
            yield f"an error: {output.ename}: {output.evalue}"
        if output.get("name") == "stderr":
            yield f"on stderr: {output.text.strip()}"


def has_short_cells(notebook, name):
    for cell in code(notebook):
        lines = cell.source.splitlines()
        if len(lines) > 15:
            yield f"a cell of {len(lines)} lines: {lines[0]}"
        if cell.source.rstrip().endswith(";"):
            yield f"a trailing semicolon: {lines[-1]}"


def names_no_machine(notebook, name):
    for text in texts(notebook):
        for match in MACHINE_PATH.finditer(text):
            yield f"a path of a machine: {text[match.start() : match.start() + 60]}"
        if str(ROOT) in text:
            yield "the path of this checkout"


def is_small(notebook, name):
    size = len(nbformat.writes(notebook).encode())
    if size > NOTEBOOK:
        yield f"{size:,} bytes, more than {NOTEBOOK:,}"
    for _, output in outputs(notebook):
        pictures = [str(value) for kind, value in output.get("data", {}).items() if kind.startswith("image/")]
        pictures += re.findall(r"data:image/[\w+]+;base64,([A-Za-z0-9+/=]+)", str(output.get("data", "")))
        for picture in pictures:
            encoded = not picture.lstrip().startswith("<")
            size = len(base64.b64decode(picture) if encoded else picture.encode())
            if size > IMAGE:
                yield f"an image of {size / KIB:.0f} KiB, more than {IMAGE // KIB}"


def describes_pictures(notebook, name):
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and re.search(r"!\[\s*\]\(", cell.source):
            yield f"a Markdown image without alternative text: {cell.source[:60]}"
    for cell, output in outputs(notebook):
        of_cell = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
        for kind in output.get("data", {}):
            alt = output.metadata.get(kind, {}).get("alt", of_cell)
            if kind.startswith("image/") and not alt.strip():
                yield f"an image without alternative text, from: {cell.source.splitlines()[-1]}"
    for text in texts(notebook):
        for tag in re.findall(r"<img\b[^>]*>", text):
            if not re.search(r"""\balt=\\?["'][^"']*\w""", tag):
                yield f"<img> without alternative text: {tag[:80]}"


def shows_each_claim(notebook, name):
    for cell in code(notebook):
        checked = cell.source.count("claims.check(")
        shown = sum(claims.METADATA in output.get("metadata", {}) for output in cell.outputs)
        if shown < checked:
            yield f"{shown} cards of {checked} claims (only the last line, or display(...), shows): {cell.source[:60]}"


def begins_with_title_and_opening(notebook, name):
    if not notebook.cells or notebook.cells[0].cell_type != "markdown":
        yield "the first cell is not Markdown"
        return
    first = notebook.cells[0].source
    if not first.startswith("# "):
        yield "the first line is no title"
    if f"\n\n{platforms.opening(SETTINGS, name)}\n\n" not in first:
        yield "no badges, or no word on Colab and Kaggle, as pyproject.toml has it: python handouts/platforms.py cells"
    titles = [cell for cell in notebook.cells if cell.cell_type == "markdown" and re.search(r"(?m)^# ", cell.source)]
    if len(titles) > 1:
        yield "more than one title (# ...)"


def stores_no_widgets(notebook, name):
    if "widgets" in notebook.metadata:
        yield "widget state is stored: refresh it with `make notebooks`"
    for cell, output in outputs(notebook):
        if any("widget" in kind for kind in output.get("data", {})):
            yield f"a widget view is stored, from: {cell.source.splitlines()[-1]}"


def has_known_slides(notebook, name):
    for cell in notebook.cells:
        for tag in cell.metadata.get("tags", []):
            if tag.lower().startswith("slide"):
                match = re.fullmatch(r"slide-(\d\d)[a-z]?", tag)
                if not match or not 1 <= int(match[1]) <= LAST_SLIDE:
                    yield f"no slide of the lecture: {tag}"


def asserts_what_is_not_compared(notebook, name):
    cells = code(notebook)
    for index, cell in enumerate(cells):
        if "nbval-ignore-output" in cell.metadata.get("tags", []):
            here_or_next = "\n".join(near.source for near in cells[index : index + 2])
            if not re.search(r"(?m)^\s*assert\b", here_or_next):
                yield f"outputs are not compared and nothing is asserted: {cell.source.splitlines()[0]}"


def has_its_exercises(notebook, name):
    if (number := name[:2]) not in definitions.PACKAGES:
        return
    checked = [found for cell in code(notebook) if (found := grading.checked(cell.source))]
    for exercise in definitions.of_notebook(number):
        if checked.count(exercise) != 1:
            yield f"{exercise} is checked {checked.count(exercise)} times, expected once"
    yield from (f"{found} belongs to no exercise of this notebook" for found in checked if found[:2] != number)
    if code(notebook)[-1].source != f'progress("{number}")':
        yield f'the last code cell is not progress("{number}")'


def is_marked_for_nbgrader(notebook, name):
    stamped = copy.deepcopy(notebook)
    try:
        grading.stamp(stamped)
    except ValueError as error:
        yield str(error)
        return
    for cell, other in zip(notebook.cells, stamped.cells, strict=True):
        if cell.metadata != other.metadata:
            yield f"marks of nbgrader that `make notebooks` would change: {cell.source.splitlines()[0]}"
    tasks = [cell for cell in code(notebook) if "exercise" in cell.metadata.get("tags", [])]
    if len(tasks) != sum(grading.checked(cell.source) is not None for cell in code(notebook)):
        yield "a check without a cell tagged `exercise` before it"


def leaves_exercises_open(notebook, name):
    for cell in code(notebook):
        if grading.checked(cell.source) and "not attempted" not in str([output.get("data") for output in cell.outputs]):
            yield f"an exercise is stored with an answer: {cell.source}"


def times_searches_that_may_be_stored(notebook, name):
    for cell in code(notebook):
        if match := re.search(r"\b(seconds|timed)\(selective_search", cell.source):
            yield f"{match[0]}…): without OpenCV's contrib modules that times the reading of a file: timed_search"


RULES = (
    is_executed_in_order,
    has_no_errors_or_warnings,
    has_short_cells,
    names_no_machine,
    is_small,
    describes_pictures,
    shows_each_claim,
    begins_with_title_and_opening,
    stores_no_widgets,
    has_known_slides,
    asserts_what_is_not_compared,
    has_its_exercises,
    is_marked_for_nbgrader,
    leaves_exercises_open,
    times_searches_that_may_be_stored,
)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_is_valid_4_5(path):
    notebook = nbformat.read(path, as_version=nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_structure(path, rule):
    assert list(rule(nbformat.read(path, as_version=4), path.stem)) == []


def test_all_notebooks_together_are_small():
    assert sum(path.stat().st_size for path in NOTEBOOKS) <= ALL


def test_every_notebook_is_set_up_by_the_same_cell():
    assert len({code(nbformat.read(path, as_version=4))[0].source for path in NOTEBOOKS}) <= 1


@pytest.fixture
def sound():
    """A notebook that breaks no rule."""
    picture = new_output("display_data", {"image/png": base64.b64encode(bytes(90 * KIB)).decode()})
    picture.metadata = {"image/png": {"alt": "a grey square"}}
    cells = [
        new_markdown_cell(f"# Title\n\n{platforms.opening(SETTINGS, 'n')}\n\n*Slide 9*"),
        new_code_cell("import torch", execution_count=1),
        new_code_cell(
            "show(figure)", execution_count=2, outputs=[picture], metadata={"tags": ["slide-09", "slide-11e"]}
        ),
        new_code_cell("fit()", execution_count=3, metadata={"tags": ["nbval-ignore-output"]}),
        new_code_cell("assert loss < 1\nprint('/kaggle/input')", execution_count=4),
    ]
    return new_notebook(cells=cells)


def test_a_sound_notebook_breaks_no_rule(sound):
    assert [problem for rule in RULES for problem in rule(sound, "n")] == []


def html(text):
    return new_output("display_data", {"text/html": text})


FAULTS = {
    "out of order": (is_executed_in_order, lambda nb: nb.cells[2].update(execution_count=7)),
    "not executed": (is_executed_in_order, lambda nb: [cell.update(outputs=[]) for cell in code(nb)]),
    "an error": (
        has_no_errors_or_warnings,
        lambda nb: nb.cells[1].outputs.append(new_output("error", ename="E", evalue="", traceback=[])),
    ),
    "a warning": (
        has_no_errors_or_warnings,
        lambda nb: nb.cells[1].outputs.append(new_output("stream", name="stderr", text="UserWarning: old\n")),
    ),
    "a long cell": (has_short_cells, lambda nb: nb.cells[1].update(source="x = 1\n" * 16)),
    "a semicolon": (has_short_cells, lambda nb: nb.cells[1].update(source="plt.plot(x);\n")),
    "a path in a source": (names_no_machine, lambda nb: nb.cells[1].update(source="open('/Users/me/x')")),
    "a path in an output": (names_no_machine, lambda nb: nb.cells[1].outputs.append(html("at C:\\Users\\me"))),
    "the checkout": (names_no_machine, lambda nb: nb.cells[1].update(source=f"open('{ROOT}/x')")),
    "a big image": (
        is_small,
        lambda nb: nb.cells[2].outputs[0].data.update({"image/png": base64.b64encode(bytes(IMAGE + 1)).decode()}),
    ),
    "a big image in HTML": (
        is_small,
        lambda nb: nb.cells[1].outputs.append(
            html(f"<img src='data:image/png;base64,{base64.b64encode(bytes(IMAGE + 1)).decode()}'>")
        ),
    ),
    "a big notebook": (is_small, lambda nb: nb.cells[1].outputs.append(html("x" * NOTEBOOK))),
    "no words for an image": (describes_pictures, lambda nb: nb.cells[2].outputs[0].update(metadata={})),
    "no words in HTML": (describes_pictures, lambda nb: nb.cells[1].outputs.append(html("<img src='x.png' alt=''>"))),
    "no words in Markdown": (describes_pictures, lambda nb: nb.cells.append(new_markdown_cell("![](x.png)"))),
    "a claim without its card": (shows_each_claim, lambda nb: nb.cells[1].update(source="claims.check('Big')\nx = 1")),
    "no title": (begins_with_title_and_opening, lambda nb: nb.cells.pop(0)),
    "two titles": (begins_with_title_and_opening, lambda nb: nb.cells.append(new_markdown_cell("# Another"))),
    "badges of an address": (
        begins_with_title_and_opening,
        lambda nb: nb.cells[0].update(
            source="# Title\n\n[![Open in Colab](https://x.org/a.svg)](https://x.org/n)\n\n*Slide*"
        ),
    ),
    "widget state": (stores_no_widgets, lambda nb: nb.metadata.update(widgets={})),
    "a widget view": (
        stores_no_widgets,
        lambda nb: nb.cells[2].outputs[0].data.update({"application/vnd.jupyter.widget-view+json": {}}),
    ),
    "slide 39": (has_known_slides, lambda nb: nb.cells[2].metadata.tags.append("slide-39")),
    "slide 9": (has_known_slides, lambda nb: nb.cells[2].metadata.tags.append("slide-9")),
    "a timed file": (
        times_searches_that_may_be_stored,
        lambda nb: nb.cells[1].update(source="seconds(selective_search, image, scale=2)"),
    ),
    "nothing asserted": (asserts_what_is_not_compared, lambda nb: nb.cells[4].update(source="print('asserted')")),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(sound, fault):
    rule, plant = FAULTS[fault]
    notebook = copy.deepcopy(sound)
    plant(notebook)
    assert list(rule(notebook, "n"))


@pytest.fixture
def with_exercises():
    """A notebook 00 that breaks no rule about exercises."""
    cells = []
    for name in definitions.of_notebook("00"):
        not_yet = new_output("execute_result", {"text/plain": "○ not attempted"})
        check = new_code_cell(f'check("{name}", answer)', outputs=[not_yet])
        cells += [new_code_cell("answer = ...", metadata={"tags": ["exercise"]}), check]
    notebook = new_notebook(cells=[*cells, new_code_cell('progress("00")')])
    grading.stamp(notebook)
    return notebook


def test_sound_exercises_break_no_rule(with_exercises):
    rules = (has_its_exercises, is_marked_for_nbgrader, leaves_exercises_open)
    assert [problem for rule in rules for problem in rule(with_exercises, "00_n")] == []


EXERCISE_FAULTS = {
    "an exercise is missing": (has_its_exercises, lambda nb: nb.cells.__delitem__(slice(0, 2))),
    "an exercise comes twice": (has_its_exercises, lambda nb: nb.cells.extend(nb.cells[:2])),
    "of another notebook": (has_its_exercises, lambda nb: nb.cells[1].update(source='check("02.max_pool", f)')),
    "no progress": (has_its_exercises, lambda nb: nb.cells.pop()),
    "no marks": (is_marked_for_nbgrader, lambda nb: nb.cells[0].metadata.pop("nbgrader")),
    "other points": (is_marked_for_nbgrader, lambda nb: nb.cells[1].metadata.nbgrader.update(points=99)),
    "marks elsewhere": (is_marked_for_nbgrader, lambda nb: nb.cells[-1].metadata.update(nbgrader={})),
    "no check": (is_marked_for_nbgrader, lambda nb: nb.cells.pop(1)),
    "a check alone": (is_marked_for_nbgrader, lambda nb: nb.cells.append(new_code_cell("check('00.label_maps', 1)"))),
    "answered": (leaves_exercises_open, lambda nb: nb.cells[1].outputs[0].data.update({"text/plain": "✓ correct"})),
}


@pytest.mark.parametrize("fault", EXERCISE_FAULTS)
def test_a_planted_fault_of_exercises_is_found(with_exercises, fault):
    rule, plant = EXERCISE_FAULTS[fault]
    plant(with_exercises)
    assert list(rule(with_exercises, "00_n"))
