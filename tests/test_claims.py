"""Claims: the verdict follows the measurement, and the card says the same in HTML, in text and for the gathering."""

import re

import numpy as np
import pytest

from lecture_utils.claims import METADATA, check


def claim(**changes):
    usual = {"slide": 12, "lecture": "boundaries", "measured": 0.8123, "holds": lambda miou: miou >= 0.8}
    return check("Skips keep <thin> objects", **{**usual, **changes})


@pytest.mark.parametrize(("measured", "verdict"), [(0.81, "✓ held here"), (0.79, "✗ did not hold here")])
def test_the_verdict_follows_the_measurement(measured, verdict):
    html = claim(measured=measured)._repr_mimebundle_()[0]["text/html"]
    assert verdict in html
    assert verdict in str(claim(measured=measured))


def test_several_numbers_are_held_against_each_other():
    outcome = claim(measured={"U-Net": 0.6, "FCN": np.float32(0.2)}, holds=lambda m: m["U-Net"] >= 2 * m["FCN"])
    assert outcome.holds is True
    assert outcome.measured == "U-Net: 0.60, FCN: 0.20"


def test_three_ways_to_read_it_agree():
    outcome = claim(note="a & b", digits=3)
    data, metadata = outcome._repr_mimebundle_()
    fields = metadata[METADATA]
    assert fields == {
        "claim": "Skips keep <thin> objects",
        "slide": "slide 12",
        "lecture": "boundaries",
        "measured": "0.812",
        "holds": True,
        "note": "a & b",
        "paper": "",
    }
    assert "Skips keep &lt;thin&gt; objects" in data["text/html"]
    assert "a &amp; b" in data["text/html"]
    for value in fields.values():
        assert str(value) in data["text/plain"] or value is True


def test_what_a_paper_says_is_not_laid_to_the_lecture():
    outcome = claim(lecture="", paper="a < b")
    data, metadata = outcome._repr_mimebundle_()
    assert (metadata[METADATA]["lecture"], metadata[METADATA]["paper"]) == ("", "a < b")
    assert "<br>The paper: a &lt; b<br>" in data["text/html"]
    assert "\n  the paper: a < b\n" in data["text/plain"]
    assert "lecture" not in data["text/html"] + data["text/plain"]


@pytest.mark.parametrize(("figures", "given"), [({"lecture": ""}, "none"), ({"paper": "0.7"}, "both")])
def test_either_the_lecture_or_a_paper_gives_the_figure(figures, given):
    with pytest.raises(ValueError, match=f"lecture, paper: got {given}, expected what the lecture says"):
        claim(**figures)


def test_the_card_sets_no_colour_of_text_or_ground():
    html = claim()._repr_mimebundle_()[0]["text/html"]
    assert not re.search(r"(?<!border-)\b(color|background)", html)


def test_a_slide_counted_by_numpy_is_a_slide():
    assert claim(slide=np.int64(3)).slide == "slide 3"


def test_a_paper_may_stand_in_for_a_slide():
    assert claim(slide="Ronneberger 2015").slide == "Ronneberger 2015"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"holds": True}, "holds: got True, expected a function"),
        ({"measured": float("nan")}, "measured: got"),
        ({"measured": {"FCN": float("inf")}}, "measured: got FCN inf"),
        ({"measured": "0.9"}, "measured: got"),
        ({"measured": True}, "measured: got  True, expected a finite number"),
        ({"measured": {"FCN": np.True_}}, "measured: got FCN"),
        ({"measured": {}}, "measured: got no number"),
    ],
)
def test_refuses_what_is_no_measurement(change, words):
    # A TypeError where the tests run with jaxtyping's checks on, which come first.
    with pytest.raises((ValueError, TypeError), match=f"{words}|parameter '{next(iter(change))}'"):
        claim(**change)


def test_a_notebook_keeps_the_card_and_the_fields():
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    source = "from lecture_utils import claims\n"
    source += "claims.check('c', slide=3, lecture='l', measured=2, holds=lambda x: x > 1)"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    outputs = [output for output in notebook.cells[0].outputs if output.output_type != "stream"]
    assert [set(output.data) for output in outputs] == [{"text/html", "text/plain"}]
    assert outputs[0].metadata[METADATA]["holds"] is True
