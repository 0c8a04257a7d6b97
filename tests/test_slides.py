"""Every slide the course claims to hold has a cell that shows it and a test that pins it."""

import nbformat
import pages
import pytest
import slides
from nbformat.v4 import new_code_cell, new_notebook


@pytest.fixture(scope="module")
def notebooks():
    return slides.tagged_notebooks()


@pytest.fixture(scope="module")
def tests():
    return slides.marked_tests()


@pytest.mark.parametrize("number", pages.slides())
def test_a_slide_is_shown_by_a_notebook(number, notebooks):
    assert number in notebooks, f"no code cell carries the tag slide-{number}"


@pytest.mark.parametrize("number", pages.slides())
def test_a_slide_is_pinned_by_a_test(number, tests):
    assert number in tests, f'no test carries @pytest.mark.slide("{number}")'


def test_tags_and_markers_name_slides_of_the_lecture(notebooks, tests):
    assert {*notebooks, *tests} <= set(pages.slides())


def test_the_lecture_has_38_slides_and_an_erratum():
    numbers = list(pages.slides())
    assert numbers == sorted([*(f"{number:02}" for number in range(1, 39)), "11e"])
    for slide in pages.slides().values():
        assert slide["topic"]
        assert 0 <= int(slide["notebook"]) <= 13


def test_tests_are_found_without_running_them(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "test_a.py").write_text(
        "import pytest, nowhere\n"
        "@pytest.mark.slide('08', '09')\n@pytest.mark.slow\ndef test_both(): ...\n"
        "@pytest.mark.parametrize('x', [1, pytest.param(2, marks=pytest.mark.slide('11e'))])\ndef test_some(x): ...\n"
        "def test_none(): 'pytest.mark.slide(\"12\")'\n"
        "class TestIn:\n    @pytest.mark.slide('08')\n    def test_x(self): ...\n"
    )
    (tmp_path / "test_b.py").write_text("import pytest\npytestmark = [pytest.mark.slide('13')]\ndef test_x(): ...\n")
    (tmp_path / "helper.py").write_text("import pytest\n@pytest.mark.slide('14')\ndef test_x(): ...\n")
    assert slides.marked_tests(tmp_path) == {
        "08": ["deep/test_a.py::test_both", "deep/test_a.py::TestIn"],
        "09": ["deep/test_a.py::test_both"],
        "11e": ["deep/test_a.py::test_some"],
        "13": ["test_b.py"],
    }


def test_notebooks_are_found_by_their_tags(tmp_path):
    for name, tags in (("02_b", ["slide-09"]), ("01_a", ["slide-09", "exercise"]), ("03_c", [])):
        cells = [new_code_cell(metadata={"tags": tags}), new_code_cell()]
        nbformat.write(new_notebook(cells=cells), tmp_path / f"{name}.ipynb")
    assert slides.tagged_notebooks(tmp_path) == {"09": ["01_a", "02_b"]}


def test_the_report_says_what_is_missing():
    every = {number: ["there"] for number in pages.slides()}
    whole = slides.report(every, every)
    assert "| 09 | Max unpooling with remembered positions | `there` | `there` |" in whole
    assert whole.endswith("Complete.\n")
    holed = slides.report(
        {**every, "08": ["a", "b"]}, {number: ["t"] for number in every if number not in ("03", "36")}
    )
    assert "| `a`, `b` | `t` |" in holed
    assert "slide 03, which lacks a marked test\n" in holed
    assert "slide 36, which lacks a marked test\n" in holed
