"""The pages gathered from the notebooks, and links that lead to the very cells and sections."""

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import nbformat
import pages
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from lecture_course.engine import definitions
from lecture_course.nb04_unet import exercises as unet
from lecture_utils import claims, recipes


def claim_cell(claim="It is big", *, slide=4, measured=2.0, holds=True, note="", tags=(), **figure):
    """A cell that checks a claim, with the output that Jupyter stores for it."""
    figure = figure or {"lecture": "1"}
    checked = claims.check(claim, slide=slide, measured=measured, holds=lambda _: holds, note=note, **figure)
    data, metadata = checked._repr_mimebundle_()
    output = nbformat.from_dict(
        {"output_type": "execute_result", "data": data, "metadata": metadata, "execution_count": 1}
    )
    return new_code_cell("check()", outputs=[output], metadata={"tags": list(tags)})


def notebook(title, *cells):
    return new_notebook(cells=[new_markdown_cell(f"# {title}\n\nWords."), *cells])


def rows(page):
    """The cells of the page's tables, without their headers."""
    lines = [line for line in page.splitlines() if line.startswith("| ")]
    rules = [number for number, line in enumerate(lines) if line.startswith(("| :--", "| --:"))]
    kept = [line for number, line in enumerate(lines) if number not in rules and number + 1 not in rules]
    return [re.split(r"(?<!\\)\|", line)[1:-1] for line in kept]


def columns(page, index):
    return [row[index].strip() for row in rows(page)]


# ---- claims


def test_claims_are_counted_and_sorted_by_notebook_and_slide():
    first = notebook(
        "01",
        claim_cell("of a paper", slide="Long et al. 2015"),
        claim_cell("eleven", slide=11),
        claim_cell("four", slide=4, holds=False, note="Too few steps."),
    )
    second = notebook(
        "02", new_code_cell("1"), claim_cell("wrong", slide="slide 11e"), claim_cell("four again", slide=4)
    )
    page = pages.claims_page({"01_a": first, "02_b": second})
    assert "**5 claims: 4 held here, 1 did not.**" in page
    assert re.findall("^## .*", page, re.M) == ["## What did not hold", "## 01", "## 02"]
    assert "## What did not hold\n\n**On a slide**\n\n- [four](#01_a-cell-3), slide\N{NO-BREAK SPACE}4\n\n##" in page
    places = [place.replace("\N{NO-BREAK SPACE}", " ") for place in columns(page, 0)]
    assert places == ["slide 4", "slide 11", "Long et al. 2015", "slide 4", "slide 11e"]
    assert columns(page, 1) == [
        "[four](#01_a-cell-3)<br>*Too few steps.*",
        "[eleven](#01_a-cell-2)",
        "[of a paper](#01_a-cell-1)",
        "[four again](#02_b-cell-3)",
        "[wrong](#02_b-cell-2)",
    ]
    assert columns(page, 4) == ["**✗ did not hold**", "✓ held", "✓ held", "✓ held", "✓ held"]


def test_what_did_not_hold_is_listed_by_who_said_so():
    places = ["this course, for slide 2", "Long et al. 2015", 3, "slides 4 and 5"]
    cells = [claim_cell(f"c{number}", slide=place, holds=False) for number, place in enumerate(places)]
    page = pages.claims_page({"01_a": notebook("01", *cells)})
    assert re.findall(r"^\*\*(\D.*)\*\*|^- \[(c\d)", page, re.M) == [
        ("On a slide", ""), ("", "c2"), ("", "c3"), ("In a paper, not here", ""), ("", "c1"),
        ("What this course expected", ""), ("", "c0"),
    ]  # fmt: skip


def test_where_all_claims_held_nothing_is_said_of_others():
    assert "What did not hold" not in pages.claims_page({"01_a": notebook("01", claim_cell())})


def test_the_figures_of_a_claim_stand_beside_each_other():
    cell = claim_cell("a", lecture="72.2 mIoU", measured={"FCN-8s": 0.514, "FCN-32s": 0.5})
    ((_, _, lecture, measured, _),) = rows(pages.claims_page({"01_a": notebook("01", cell)}))
    assert (lecture.strip(), measured.strip()) == ("72.2 mIoU", "FCN-8s: 0.51, FCN-32s: 0.50")


def test_a_figure_of_a_paper_is_called_so():
    of_paper, older = claim_cell("a", paper="28.2 → 34.0"), claim_cell("b", lecture="1")
    del older.outputs[0].metadata["lecture_claim"]["paper"]  # as notebooks hold it that ran before there was one
    assert columns(pages.claims_page({"01_a": notebook("01", of_paper, older)}), 2) == ["*the paper:* 28.2 → 34.0", "1"]


def test_without_claims_the_page_says_so():
    page = pages.claims_page({"01_a": notebook("01", new_code_cell("1"))})
    assert "No notebook" in page
    assert "|" not in page


def test_one_claim_is_no_claims():
    assert "**1 claim: 1 held here, 0 did not.**" in pages.claims_page({"01_a": notebook("01", claim_cell())})


# ---- slides


def test_a_slide_leads_to_each_section_once():
    one = notebook(
        "01 · One",
        new_code_cell("", metadata={"tags": ["slide-09"]}),
        new_markdown_cell("## Why `max`?\n\n```\n# no heading\n```"),
        new_code_cell(""),
        new_code_cell("", metadata={"tags": ["nbval-ignore-output", "slide-09", "slide-11e"]}),
        new_markdown_cell("No heading"),
        new_code_cell("", metadata={"tags": ["slide-09"]}),
        new_markdown_cell("### Deeper ###\n\n## A | B"),
        new_code_cell("", metadata={"tags": ["slide-09"]}),
    )
    two = notebook("02 · Two", new_code_cell("", metadata={"tags": ["slide-09"]}))
    page = pages.slides_page({"01_a": one, "02_b": two})
    where = dict(zip(columns(page, 0), columns(page, 2), strict=True))
    assert where["9"] == (
        r"**01 · One**: [01 · One](#01_a-cell-1); [Why `max`?](#01_a-cell-4); [A \| B](#01_a-cell-8)"
        "<br>**02 · Two**: [02 · Two](#02_b-cell-1)"
    )
    assert where["11e"] == "**01 · One**: [Why `max`?](#01_a-cell-4)"
    assert where["10"] == "in notebook 03, which is not among these"
    assert list(where) == [*map(str, range(1, 12)), "11e", *map(str, range(12, 39))]


def test_an_exercise_ends_at_the_next_prose():
    tagged = {"metadata": {"tags": ["slide-09"]}}
    cells = [
        new_markdown_cell("## Down\n\nWords.\n\n### Exercise: cut"),
        new_code_cell("cut = ...", **tagged),
        new_markdown_cell("That was it."),
        new_code_cell("go on", **tagged),
    ]
    page = pages.slides_page({"01_a": notebook("01", *cells)})
    assert columns(page, 2)[8] == "**01**: [Down](#01_a-cell-4)<br>Exercises: [cut](#01_a-cell-2)"


def test_a_slide_of_another_notebook_is_said_to_be_there(monkeypatch):
    monkeypatch.setattr(pages, "slides", lambda: {"02": {"topic": "Five tasks", "notebook": "00"}})
    assert columns(pages.slides_page({}), 2) == ["in notebook 00, which is not among these"]


# ---- terms and symbols


NOTEBOOKS = {
    path.stem: nbformat.read(path, as_version=4)
    for path in sorted((Path(pages.__file__).resolve().parents[1] / "notebooks").glob("*.ipynb"))
}
GLOSSARY, SYMBOLS = pages.read("glossary"), pages.read("symbols")["symbol"]


@pytest.mark.parametrize("entries", [GLOSSARY, SYMBOLS], ids=["glossary", "symbols"])
def test_entries_are_in_alphabetical_order_and_none_comes_twice(entries):
    names = [name.casefold() for name in entries]
    assert names == sorted(set(names))


def test_a_term_is_no_other_name_of_a_second_one():
    others = [name for entry in GLOSSARY.values() for name in entry.get("also", "").casefold().split(", ") if name]
    assert len(others) == len(set(others))
    assert not {*others} & {term.casefold() for term in GLOSSARY}


def test_a_symbol_with_one_meaning_has_one_row():
    rows = [(symbol["tex"], symbol["says"]) for symbol in SYMBOLS.values()]
    assert len(rows) == len(set(rows))


HAND_WRITTEN = [(path.name, path.read_text("utf-8")) for path in Path(pages.__file__).parent.glob("*.md")]
PLACES = [
    *((name, place) for entries in (GLOSSARY, SYMBOLS) for name, entry in entries.items() for place in entry["see"]),
    *((name, place) for name, text in HAND_WRITTEN for place in re.findall(r"\*(\d\d [^*\n]+)\*", text)),
]


@pytest.mark.parametrize(("entry", "place"), PLACES)
def test_an_entry_leads_to_a_section_that_exists(entry, place):
    number, _, heading = place.partition(" ")
    assert number in {slide["notebook"] for slide in pages.slides().values()}
    if any(name.startswith(f"{number}_") for name in NOTEBOOKS):
        assert pages.see(place, NOTEBOOKS).startswith("["), f"{entry}: notebook {number} has no section {heading!r}"


def test_sections_of_a_notebook_can_be_told_apart():
    for name, known in NOTEBOOKS.items():
        prose = [cell for cell in known.cells if cell.cell_type == "markdown"]
        ids = [pages.make_id(heading) for cell in prose for heading in pages.headings(cell)]
        assert len(ids) == len(set(ids)), name


def test_places_of_a_hand_written_page_become_links():
    some = {"07_b": notebook("07 · B", new_markdown_cell("## Why `max`?"))}
    text = "See *07 Why `max`?*, *08 More* and *no place*, **07 words**."
    linked = "See [07 · Why `max`?](#07_b-why-max), notebook 08 and *no place*, **07 words**."
    assert pages.linked(text, some) == linked


def test_exercises_that_a_page_names_exist_and_take_as_long_as_it_says():
    named = [found for _, text in HAND_WRITTEN for found in re.findall(r"`(\d\d\.\w+)`(?: \((\d+)\))?", text)]
    assert named
    for name, minutes in named:
        exercise = definitions.find(name)  # ValueError for one that does not
        assert not minutes or int(minutes) == exercise.minutes, name


def test_a_place_that_these_handouts_lack_is_named():
    some = {"07_b": notebook("07 · B", new_markdown_cell("## Why `max`?"))}
    assert pages.see("07 Why `max`?", some) == "[07 · Why `max`?](#07_b-why-max)"
    assert pages.see("07 Why `max`?", some, short=True) == "[07](#07_b-why-max)"
    assert pages.see("07", some) == "[07 · B](#07_b-b)"
    assert pages.see("07 Why not?", some) == "notebook 07"
    assert pages.see("08 Why `max`?", some, short=True) == "08"


# ---- timing, contents


def test_timing_sums_the_notebooks_of_the_site():
    timings = {
        "machine": {"system": "Linux x86_64", "cores": 2, "python": "3.12.1", "torch": "2.10", "date": "2026-01-01"},
        "notebooks": {
            "04_a": {"seconds": 10.4, "peak_mib": 900},
            "50_b": {"seconds": 20.4, "peak_mib": 1800},
            "gone": {"seconds": 1000, "peak_mib": 1},
        },
    }
    page = pages.timing_page({"04_a": None, "50_b": None, "51_never_run": None}, timings)
    minutes = sum(exercise.minutes for exercise in unet.EXERCISES)
    assert minutes > 30
    assert f"| [](notebooks/04_a.ipynb) | 10 | 900 | {minutes} |" in page
    assert "| [](notebooks/50_b.ipynb) | 20 | 1,800 | 0 |" in page
    assert f"| **31** | **1,800** | **{minutes}** |" in page
    assert "gone" not in page
    assert "never_run" not in page
    assert "2 cores" in page
    assert "90 seconds" in page
    assert "longest took 20." in page


def test_what_a_gpu_is_for_is_estimated_and_says_so():
    page = pages.full_profile()
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == [*recipes.FULL]
    assert "**estimated**" in page
    assert all(0.3 <= float(row.split("|")[-2]) <= 15 for row in rows)  # minutes


def test_without_timings_the_page_says_so():
    assert "not executed" in pages.timing_page({"00_a": None}, {})


def test_contents_name_slides_and_offer_pdfs_where_there_are_some():
    cells = [new_code_cell("", metadata={"tags": [f"slide-{number}"]}) for number in ("11e", "09", "11")]
    notebooks = {"01_a": notebook("01", *cells)}
    assert '| [](notebooks/01_a.ipynb) | 9, 11, 11e | <a href="../pdf/01_a.pdf">PDF</a> |' in pages.contents(
        notebooks, with_pdf=True
    )
    assert "PDF" not in pages.contents(notebooks, with_pdf=False)


# ---- the rendered site


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A rendered site of two notebooks whose texts are full of Markdown's own signs."""
    import build

    out = tmp_path_factory.mktemp("site")
    (out / "in").mkdir()
    signs = r"a|b *c* _d_ `e` $f$ [g](h) <b>i</b> {j}`k` &amp; \l # m ~n~ 'o' <! p"
    one = notebook(
        "One $x^2$",
        new_markdown_cell("## On `code` and | $y$"),
        claim_cell(signs, slide=12, lecture=signs, measured={signs: 1.0}, note=signs, tags=["slide-12"]),
    )
    plain = claim_cell("plain", slide=1, tags=["slide-01", "slide-12"])
    two = notebook("Two", new_code_cell("1"), plain, new_code_cell("2"), new_markdown_cell("## In a network"))
    for name, planted in (("01_One", one), ("02_two", two)):
        planted.metadata.language_info = {"name": "python"}
        nbformat.write(planted, out / "in" / f"{name}.ipynb")
    arguments = ["--notebooks", str(out / "in"), "--out", str(out), "--no-execute", "--no-pdf"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "fetch_mathjax", lambda assets: "")
        patch.setattr(build.assets, "make", lambda folder: "")
        assert build.main(arguments) == 0  # Sphinx had nothing to warn of
    return out / "html", signs


def table_of(path):
    tables = re.findall(r"<table.*?</table>", path.read_text("utf-8"), re.DOTALL)
    parsed = [ElementTree.fromstring(text.replace("<br>", "<br/>")) for text in tables]
    return [list(row) for table in parsed for row in [*table.iter("tr")][1:]]


def test_texts_of_a_claim_are_shown_as_they_are(site):
    html, signs = site
    row, _ = table_of(html / "claims.html")
    texts = ["".join(part.itertext()).translate({ord("‘"): "'", ord("’"): "'"}).strip() for part in (*row, *row[1][0])]
    _, said, lecture, measured, outcome, claim, _, note = texts
    assert (claim, note, lecture, measured, outcome) == (signs, signs, signs, f"{signs}: 1.00", "✓ held")
    assert said == claim + note


@pytest.mark.parametrize(("page", "column"), [("claims.html", 1), ("slides.html", 2)])
def test_links_lead_to_the_cells(site, page, column):
    html, _ = site
    links = [link.get("href").split("#") for row in table_of(html / page) for link in row[column].iter("a")]
    assert ["notebooks/02_two.html", "cell-2"] in links
    assert ["notebooks/01_One.html", "cell-2"] in links
    for file, place in links:
        _, found = (html / file).read_text("utf-8").split(f'id="{place}"')  # there, and once
        assert "Claim check" in found.split('id="cell-')[0]


def test_terms_lead_to_the_sections_that_explain_them(site):
    html, _ = site
    assert "<dt>DeconvNet</dt>" in (html / "glossary.html").read_text("utf-8")
    assert 'href="notebooks/02_two.html#in-a-network"' in (html / "glossary.html").read_text("utf-8")
    assert 'id="in-a-network"' in (html / "notebooks" / "02_two.html").read_text("utf-8")


def test_the_first_page_leads_to_the_others(site):
    html, _ = site
    index = (html / "index.html").read_text("utf-8")
    for page in (
        "slides.html",
        "claims.html",
        "glossary.html",
        "symbols.html",
        "own_data.html",
        "teaching.html",
        "timing.html",
    ):
        assert f'href="{page}"' in index


def test_a_downloaded_notebook_is_the_one_that_was_rendered(site):
    html, _ = site
    assert nbformat.read(html / "_sources/notebooks/02_two.ipynb", 4) == nbformat.read(
        html.parent / "in/02_two.ipynb", 4
    )


def test_a_link_to_a_cell_that_is_not_there_stops_the_build(site, tmp_path, monkeypatch, capfd):
    import build

    monkeypatch.setattr(build, "fetch_mathjax", lambda assets: "")
    monkeypatch.setattr(build.assets, "make", lambda folder: "")
    monkeypatch.setattr(pages, "slides_page", lambda notebooks: "# Where?\n\n" + pages.link("text", "02_two", 9))
    nbformat.write(notebook("Two", new_code_cell("1")), tmp_path / "02_two.ipynb")
    with pytest.raises(SystemExit, match="not replaced"):
        build.main(["--notebooks", str(tmp_path), "--out", str(tmp_path), "--no-execute", "--no-pdf"])
    assert "02_two-cell-9" in capfd.readouterr().err
