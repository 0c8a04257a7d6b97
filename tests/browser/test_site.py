"""A small site, built by the handouts' own configuration, opened from file:// in Chromium and printed."""

import re
import shutil
import subprocess

import matplotlib.pyplot as plt
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from lecture_utils.explorers import Explorer, Slider


def bar(width, colour):
    fig, ax = plt.subplots(figsize=(6, 2))
    ax.barh([0], [width], color=colour)
    ax.set_xlim(0, 4)
    return fig


def explorer(title="A bar", widths=(1, 2, 3), play=None):
    """What an explorer stores: without its widget, as handouts/execute.py leaves it."""
    shown = Explorer(
        bar,
        title=title,
        play=play,
        alt=lambda width, colour: f"A {colour} bar, {width} wide",
        width=Slider("width (m)", widths, start=2),
        colour=Slider("colour", ("orange", "blue")),
    )
    bundle = shown._repr_mimebundle_()
    return new_output("display_data", {kind: bundle[kind] for kind in ("text/html", "text/plain")})


CELLS = [
    new_markdown_cell(
        "# Small\n\n[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://example.org/n)\n\n"
        "A *zebracorn* is $x^2$ of\n\n$$\\sum_k \\exp z_k.$$"
    ),
    new_code_cell(f"print('long', {'1234567890, ' * 40})", execution_count=1),
    new_code_cell("explore()", execution_count=2, outputs=[explorer()]),
    new_code_cell("only_draws = 'zebrawing'", execution_count=9, metadata={"tags": ["hide-input"]}),
    new_code_cell(
        "wide()",
        execution_count=3,
        outputs=[new_output("display_data", {"text/html": f"<table><tr>{'<td>a wide table</td>' * 40}</tr></table>"})],
    ),
    new_code_cell("explore()", execution_count=4, outputs=[explorer()]),  # the same again
    new_code_cell("explore(more)", execution_count=5, outputs=[explorer("A longer bar", (1, 2, 3, 4), "width")]),
]


@pytest.fixture(scope="module")
def out(build, chromium, tmp_path_factory):
    """The built site, with its PDF; mathematics is local, or else there is nothing to test here."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "in").mkdir()
    python = {"language_info": {"name": "python"}}
    nbformat.write(new_notebook(cells=CELLS, metadata=python), folder / "in" / "00_small.ipynb")
    missing = build.fetch_mathjax(build.BUILD / "assets")
    if missing:
        pytest.skip(missing)
    assert build.main(["--notebooks", str(folder / "in"), "--out", str(folder), "--no-execute"]) == 0
    return folder


@pytest.fixture
def visit(page, out):
    """Opens a page of the site; in the end nothing but files was asked for, and no script failed."""
    asked, errors = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("requestfailed", lambda request: errors.append(f"failed: {request.url}"))

    def go(name, query=""):
        page.goto((out / "html" / name).as_uri() + query)
        return page

    yield go
    assert asked
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert errors == []


def test_mathematics_is_typeset(visit):
    page = visit("notebooks/00_small.html")
    page.wait_for_selector("mjx-container svg")
    assert page.locator("mjx-container").count() == 2
    assert page.locator("mjx-merror").count() == 0


def test_keys_move_the_picture_of_one_explorer_alone(visit):
    page = visit("notebooks/00_small.html")
    figures = page.locator("figure.explorer").all()
    assert len(figures) == 3
    for chosen in figures:
        others = [figure for figure in figures if figure != chosen]
        before = [figure.inner_html() for figure in others]
        picture, (width, colour) = chosen.locator("img"), chosen.locator("input").all()
        where = "image => [image.offsetLeft, image.offsetTop, image.offsetWidth, image.offsetHeight]"
        box = picture.evaluate(where)
        seen = {picture.get_attribute("src"): picture.get_attribute("alt")}
        assert picture.get_attribute("alt") == "A orange bar, 2 wide"
        for slider, key, outputs, alt in (
            (width, "ArrowRight", ["3", "orange"], "A orange bar, 3 wide"),
            (colour, "ArrowRight", ["3", "blue"], "A blue bar, 3 wide"),
            (width, "Home", ["1", "blue"], "A blue bar, 1 wide"),
        ):
            slider.press(key)
            assert slider.evaluate("slider => slider === document.activeElement")
            assert chosen.locator("output").all_inner_texts() == outputs
            assert picture.get_attribute("alt") == alt
            assert slider.get_attribute("aria-valuetext") in outputs
            seen[picture.get_attribute("src")] = alt
            assert picture.evaluate(where) == box  # the page does not jump
        assert len(seen) == 4  # as many images as places
        width.press("ArrowRight")
        colour.press("Home")
        assert seen[picture.get_attribute("src")] == "A orange bar, 2 wide"  # back where it began
        assert [figure.inner_html() for figure in others] == before


def test_sliders_have_names_and_show_where_the_focus_is(visit):
    page = visit("notebooks/00_small.html")
    slider = page.get_by_role("slider", name="width (m)").first
    slider.press("ArrowLeft")
    style, width = slider.evaluate("slider => [(look = getComputedStyle(slider)).outlineStyle, look.outlineWidth]")
    assert style != "none"
    assert float(width.removesuffix("px")) >= 2


def test_without_scripts_an_explorer_is_a_picture(browser, out):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((out / "html" / "notebooks" / "00_small.html").as_uri())
    figure = page.locator("figure.explorer").first
    assert figure.locator("img").is_visible()
    assert figure.locator("img").get_attribute("alt") == "A orange bar, 2 wide"
    assert figure.get_by_text("One of 6 images: width (m) 2, colour orange.").is_visible()
    assert not figure.locator("input").first.is_visible()
    context.close()


def test_search_finds_a_word(visit):
    page = visit("search.html", "?q=zebracorn")
    link = page.locator("#search-results a", has_text="Small").first
    link.wait_for()
    link.click()
    page.wait_for_url("**/notebooks/00_small.html*")


def test_dark_mode_toggles(visit):
    page = visit("notebooks/00_small.html")

    def background():
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(map(float, re.findall(r"[\d.]+", colour)[:3])) / 3

    assert background() > 200
    for _ in range(3):  # a menu in newer themes; in older ones each click goes on: light, dark, as the system has it
        page.locator("button.theme-switch-button:visible").first.click()
        choice = page.locator("button.theme-change-button[data-mode=dark]:visible")
        if choice.count():
            choice.click()
        if page.evaluate("document.documentElement.dataset.theme") == "dark":
            break
    page.wait_for_timeout(500)
    assert background() < 60


def test_contents_lead_from_the_index_to_the_notebook(visit):
    page = visit("index.html")
    page.locator("nav.bd-links a", has_text="Small").click()
    page.wait_for_url("**/notebooks/00_small.html")
    assert page.locator(".bd-article h1").inner_text().startswith("Small")
    assert page.locator(".badge-link").inner_text() == "Open in Colab"


def test_the_picture_of_the_first_page_moves_unless_the_reader_wants_it_still(visit, page):
    step = "document.querySelector('figure.explorer output').value"
    visit("index.html").wait_for_function(f"{step} >= 2")
    page.locator(".explorer-play button").first.click()  # pause
    paused = page.evaluate(step)
    page.wait_for_timeout(1500)
    assert page.evaluate(step) == paused
    page.emulate_media(reduced_motion="reduce")
    visit("index.html").wait_for_timeout(1500)
    assert page.evaluate(step) == "0"
    page.locator("figure.explorer input").press("ArrowRight")
    assert page.evaluate(step) == "1"


@pytest.mark.parametrize("width", [400, 1400])
def test_nothing_is_wider_than_the_page(visit, width):
    page = visit("notebooks/00_small.html")
    page.set_viewport_size({"width": width, "height": 800})
    page.wait_for_selector("mjx-container svg")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    box = page.locator(".cell_output .text_html:has(table)")
    assert box.evaluate("box => box.scrollWidth > box.clientWidth && getComputedStyle(box).overflowX") == "auto"


def test_pdf_is_linked_and_printed_on_a4(out, visit):
    page = visit("index.html")
    link = page.locator("article a", has_text="PDF").evaluate("link => link.href")
    pdf = out / "pdf" / "00_small.pdf"
    assert link == pdf.as_uri()
    data = pdf.read_bytes()
    assert data.startswith(b"%PDF-")
    width, height = map(float, re.search(rb"/MediaBox\s*\[\s*0 0 ([\d.]+) ([\d.]+)", data).groups())
    assert (width, height) == pytest.approx((595, 842), abs=1.5)
    page = visit("notebooks/00_small.html")
    assert page.locator("a[href$='pdf/00_small.pdf']").count() == 1


def test_printed_page_is_the_article_alone_and_clips_nothing(visit):
    page = visit("notebooks/00_small.html")
    page.set_viewport_size({"width": 660, "height": 900})  # A4 less its margins, at 96 pixels an inch
    page.wait_for_selector("mjx-container svg")
    page.emulate_media(media="print")
    for part in (".bd-sidebar-primary", ".bd-sidebar-secondary", ".bd-header-article", ".headerlink", "figure input"):
        assert not page.locator(part).first.is_visible(), part
    code = page.locator(".cell_input pre").first
    assert code.evaluate("code => code.scrollWidth <= code.clientWidth")
    figure = page.locator("figure.explorer").first
    assert figure.locator("img").is_visible()
    assert figure.get_by_text("One of 6 images: width (m) 2, colour orange.").is_visible()
    assert not figure.locator("output").first.is_visible()


def test_code_that_only_draws_is_folded_and_opens_by_keyboard(visit):
    page = visit("notebooks/00_small.html")
    code = page.get_by_text("only_draws")
    assert not code.is_visible()
    summary = page.locator("details.hide > summary")
    assert summary.inner_text().strip() == "Show code"
    summary.press("Enter")
    assert code.is_visible()


def test_an_explorer_plays_to_its_end_and_pauses(visit):
    page = visit("notebooks/00_small.html")
    figure = page.locator("figure.explorer").last
    go, step = figure.locator("button").all()
    width, picture = figure.locator("input").first, figure.locator("img")
    width.press("Home")
    step.press("Enter")
    assert picture.get_attribute("alt") == "A orange bar, 2 wide"
    go.press("Space")
    assert go.inner_text() == "⏸ Pause"
    page.wait_for_function("f => f.querySelector('img').alt === 'A orange bar, 4 wide'", arg=figure.element_handle())
    page.wait_for_function("b => b.textContent === '▶ Play'", arg=go.element_handle())
    go.press("Space")  # from the beginning again
    assert picture.get_attribute("alt") == "A orange bar, 1 wide"
    width.press("End")
    assert go.inner_text() == "▶ Play"


def test_who_wants_no_motion_goes_step_by_step(visit, page):
    page.emulate_media(reduced_motion="reduce")
    figure = visit("notebooks/00_small.html").locator("figure.explorer").last
    go, step = figure.locator("button").all()
    assert not go.is_visible()
    assert step.is_visible()


@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="no pdftotext (apt-get install poppler-utils)")
def test_pdf_has_the_text_and_page_numbers(out):
    text = subprocess.run(["pdftotext", out / "pdf" / "00_small.pdf", "-"], capture_output=True, text=True).stdout
    assert "zebracorn" in text
    assert "zebrawing" in text  # folded on the screen
    assert "One of 6 images: width (m) 2, colour orange." in text
    assert re.search(r"\b1 ?/ ?\d", text)
    assert "Open in Colab" not in text
    assert "Search" not in text


def test_a_click_on_the_picture_moves_the_two_sliders_it_is_meant_for(page):
    def draw(row, column):
        fig, ax = plt.subplots(figsize=(4, 3))
        ax.imshow([[row, column]])
        return fig

    places = {"row": Slider("row", range(3)), "column": Slider("column", range(8), frames=(0, 2, 3, 7))}
    explorer = Explorer(draw, title="A grid", alt="A grid", click=("column", "row"), **places)
    page.set_content(f"<html><body>{explorer._repr_mimebundle_()['text/html']}</body></html>")
    picture, (x0, y0, x1, y1) = page.locator("img"), explorer.area
    box = picture.bounding_box()

    def click(across, down):
        x, y = x0 + across * (x1 - x0), y0 + down * (y1 - y0)
        picture.click(position={"x": x * box["width"], "y": y * box["height"]})
        return page.locator("output").all_inner_texts()

    assert click(0.1, 0.1) == ["0", "0"]
    assert click(0.9, 0.5) == ["1", "7"]  # the last column, the middle row
    assert picture.get_attribute("alt") == "A grid (row 1, column 7)"
    assert click(0.6, 0.99) == ["2", "3"]  # column 4 is not drawn; the nearest that is
    assert click(0.5, -0.05) == ["2", "3"]  # above the axes: nothing happens


@pytest.mark.parametrize("name", ["index.html", "glossary.html", "notebooks/00_small.html"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_shuts_people_out(visit, axe, name, scheme):
    """No finding that axe-core calls serious: names of controls, contrast, headings, alternative texts."""
    page = visit(name)
    page.emulate_media(color_scheme=scheme)
    page.evaluate(axe)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations'], preload: false})")["violations"]
    serious = [rule for rule in found if rule["impact"] in ("serious", "critical")]
    assert [(rule["id"], rule["nodes"][0]["html"][:200]) for rule in serious] == []
