"""The pages gathered from the notebooks: claims, slides, timing, and links that lead to the very cells."""

import re
import xml.etree.ElementTree as ElementTree

import nbformat
import pages
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from lecture_utils import claims


def claim_cell(claim="It is big", *, slide=4, lecture="1", measured=2.0, holds=True, note="", tags=()):
    """A cell that checks a claim, with the output that Jupyter stores for it."""
    checked = claims.check(claim, slide=slide, lecture=lecture, measured=measured, holds=lambda _: holds, note=note)
    data, metadata = checked._repr_mimebundle_()
    output = nbformat.from_dict(
        {"output_type": "execute_result", "data": data, "metadata": metadata, "execution_count": 1}
    )
    return new_code_cell("check()", outputs=[output], metadata={"tags": list(tags)})


def notebook(title, *cells):
    return new_notebook(cells=[new_markdown_cell(f"# {title}\n\nWords."), *cells])


def rows(page):
    """The cells of the page's table, without its header."""
    lines = [line for line in page.splitlines() if line.startswith("| ")]
    return [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines[2:]]


def columns(page, index):
    return [row[index].strip() for row in rows(page)]


# ---- claims


def test_claims_are_counted_and_sorted_by_slide():
    first = notebook(
        "01",
        claim_cell("of a paper", slide="Long et al. 2015"),
        claim_cell("eleven", slide=11),
        claim_cell("four", slide=4, holds=False, note="Too few steps."),
    )
    second = notebook(
        "02", new_code_cell("1"), claim_cell("four again", slide=4), claim_cell("wrong", slide="slide 11e")
    )
    page = pages.claims_page({"01_a": first, "02_b": second})
    assert "**5 claims: 4 held here, 1 did not.**" in page
    places = [place.replace("\N{NO-BREAK SPACE}", " ") for place in columns(page, 0)]
    assert places == ["slide 4", "slide 4", "slide 11", "slide 11e", "Long et al. 2015"]
    assert columns(page, 1) == [
        "[four](#01_a-cell-3)<br>*Too few steps.*",
        "[four again](#02_b-cell-2)",
        "[eleven](#01_a-cell-2)",
        "[wrong](#02_b-cell-3)",
        "[of a paper](#01_a-cell-1)",
    ]
    assert columns(page, 4) == ["**✗ did not hold**", "✓ held", "✓ held", "✓ held", "✓ held"]


def test_the_figures_of_a_claim_stand_beside_each_other():
    cell = claim_cell("a", lecture="72.2 mIoU", measured={"FCN-8s": 0.514, "FCN-32s": 0.5})
    ((_, _, lecture, measured, _),) = rows(pages.claims_page({"01_a": notebook("01", cell)}))
    assert (lecture.strip(), measured.strip()) == ("72.2 mIoU", "FCN-8s: 0.51, FCN-32s: 0.50")


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
        r"01 · One: [01 · One](#01_a-cell-1); [Why `max`?](#01_a-cell-4); [A \| B](#01_a-cell-8)"
        "<br>02 · Two: [02 · Two](#02_b-cell-1)"
    )
    assert where["11e"] == "01 · One: [Why `max`?](#01_a-cell-4)"
    assert where["10"] == "not yet, planned for notebook 03"
    assert list(where) == [*map(str, range(1, 12)), "11e", *map(str, range(12, 39))]


def test_what_a_slide_lacks_is_said_once_it_is_begun():
    begun = notebook("00", new_code_cell("", metadata={"tags": ["slide-02"]}))
    assert columns(pages.slides_page({}), 2)[1] == "not yet, planned for notebook 00"
    assert "<br>Still missing: generation" in columns(pages.slides_page({"00_a": begun}), 2)[1]


# ---- timing, contents


def test_timing_sums_the_notebooks_of_the_site():
    timings = {
        "machine": {"system": "Linux x86_64", "cores": 2, "python": "3.12.1", "torch": "2.10", "date": "2026-01-01"},
        "notebooks": {
            "00_a": {"seconds": 10.4, "peak_mib": 900},
            "01_b": {"seconds": 20.4, "peak_mib": 1800},
            "gone": {"seconds": 1000, "peak_mib": 1},
        },
    }
    page = pages.timing_page({"00_a": None, "01_b": None, "02_never_run": None}, timings)
    assert "| [](notebooks/01_b.ipynb) | 20 | 1,800 |" in page
    assert "| **31** | **1,800** |" in page
    assert "gone" not in page
    assert "never_run" not in page
    assert "2 cores" in page
    assert "90 seconds" in page
    assert "longest took 20." in page


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
    two = notebook("Two", new_code_cell("1"), plain, new_code_cell("2"))
    for name, planted in (("01_One", one), ("02_two", two)):
        planted.metadata.language_info = {"name": "python"}
        nbformat.write(planted, out / "in" / f"{name}.ipynb")
    arguments = ["--notebooks", str(out / "in"), "--out", str(out), "--no-execute", "--no-pdf"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "fetch_mathjax", lambda assets: "")
        assert build.main(arguments) == 0  # Sphinx had nothing to warn of
    return out / "html", signs


def table_of(path):
    text = re.search(r"<table.*?</table>", path.read_text("utf-8"), re.DOTALL)[0]
    return [list(row) for row in ElementTree.fromstring(text.replace("<br>", "<br/>")).iter("tr")][1:]


def test_texts_of_a_claim_are_shown_as_they_are(site):
    html, signs = site
    _, row = table_of(html / "claims.html")
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


def test_the_first_page_leads_to_the_others(site):
    html, _ = site
    index = (html / "index.html").read_text("utf-8")
    for page in ("slides.html", "claims.html", "timing.html"):
        assert f'href="{page}"' in index


def test_a_downloaded_notebook_is_the_one_that_was_rendered(site):
    html, _ = site
    assert nbformat.read(html / "_sources/notebooks/02_two.ipynb", 4) == nbformat.read(
        html.parent / "in/02_two.ipynb", 4
    )


def test_a_link_to_a_cell_that_is_not_there_stops_the_build(site, tmp_path, monkeypatch, capfd):
    import build

    monkeypatch.setattr(build, "fetch_mathjax", lambda assets: "")
    monkeypatch.setattr(pages, "slides_page", lambda notebooks: "# Where?\n\n" + pages.link("text", "02_two", 9))
    nbformat.write(notebook("Two", new_code_cell("1")), tmp_path / "02_two.ipynb")
    with pytest.raises(SystemExit, match="not replaced"):
        build.main(["--notebooks", str(tmp_path), "--out", str(tmp_path), "--no-execute", "--no-pdf"])
    assert "02_two-cell-9" in capfd.readouterr().err
