"""The experiments of handouts/live in Firefox and in WebKit, from a file: each answers, with PyTorch's numbers."""

import json
import re

import matplotlib.pyplot as plt
import other_browsers
import pytest
from live import networks, places
from live_networks import ANSWER, difference, examples, given

from lecture_utils.explorers import Explorer, Slider


@pytest.fixture(scope="module", params=[other_browsers.Firefox, other_browsers.WebKit], ids=lambda kind: kind.__name__)
def other(request, tmp_path_factory):
    pytest.importorskip("websocket", reason="no websocket-client (pip install websocket-client)")
    try:
        browser = request.param(tmp_path_factory.mktemp("profile"))
    except other_browsers.Missing as lack:
        pytest.skip(str(lack))
    yield browser
    browser.close()


@pytest.fixture
def shown(other, site):
    """The playground, which stays open from test to test; nothing fails in it."""
    page = site / "playground.html"
    if other.evaluate("location.href") != page.as_uri():
        other.open(page)
    yield other
    assert other.errors() == []


class Experiment:
    """One of the page's, with what its reader does and sees."""

    def __init__(self, browser, name):
        self.browser, self.root = browser, f"document.querySelector('[data-live={name}]')"
        browser.evaluate(f"{self.root}.scrollIntoView()")
        browser.wait(f"{self.root}.dataset.error || {self.root}.querySelector('.live-made:not([hidden])') && true")
        assert not self.ask(".dataset.error")

    def ask(self, what):
        return self.browser.evaluate(self.root + what)

    def canvas(self, number):
        return f"{self.root}.querySelectorAll('canvas')[{number}]"

    def pixels(self, number):
        return self.browser.evaluate(f"{self.canvas(number)}.toDataURL()")

    def words(self, part=".live-said"):
        return self.ask(f".querySelector('{part}').innerText")

    def does(self, act):
        """Do something and wait until the networks have answered."""
        before = int(self.ask(".dataset.generation"))
        act()
        self.browser.wait(f"{self.root}.dataset.error || Number({self.root}.dataset.generation) > {before}")
        assert not self.ask(".dataset.error")

    def button(self, text):
        find = f"[...{self.root}.querySelectorAll('button')].find(one => one.innerText.startsWith('{text}'))"
        self.does(lambda: self.browser.click(find))


def paint(one):
    before = one.pixels(1)
    one.does(lambda: one.browser.click(one.canvas(0), 0.5, 0.9))
    assert re.match(r"You painted \d+ of 9216 pixels\. The label changed at \d+ of them", one.words())
    assert one.pixels(1) != before


def skips(one):
    one.button("all off")
    with_, without = (float(share) for share in re.findall(r"([\d.]+) % of all pixels", one.words()))
    assert with_ > without


def attend(one):
    """By keyboard alone."""
    one.ask(".querySelectorAll('[type=radio]')[1].focus()")
    one.browser.press("Space")
    one.browser.evaluate(f"{one.canvas(0)}.focus()")
    one.does(lambda: one.browser.press("ArrowDown", "ArrowDown", "Space"))
    assert "before" in one.words(".live-bars")


def mask(one):
    assert re.match("16 of 144 patches are hidden", one.words())
    one.button("uncover all")
    assert one.words() == "Nothing is hidden yet."


def denoise(one):
    before = one.pixels(3)
    one.button("fork here")
    assert len({before, *map(one.pixels, (2, 3, 4, 5))}) == 5


def caption(one):
    one.does(lambda: one.browser.click(one.canvas(0), 0.93, 0.72))
    assert re.search(r"green [\d.]+ → [\d.]+", one.ask(".querySelectorAll('.live-words')[1].innerText"))


def anchors(one):
    """By keyboard alone."""
    before = one.words()
    one.browser.evaluate(f"{one.canvas(0)}.focus()")
    one.does(lambda: one.browser.press("Shift+ArrowRight"))
    assert re.search(r"Prediction: \d+ anchors", one.words())
    assert one.words() != before


def merge(one):
    """Dragged from its place before the other car."""
    assert "an IoU of 0.00" in one.words()
    one.does(lambda: one.browser.drag(one.canvas(0), (0.72, 0.69), (0.5, 0.69), (0.4, 0.69)))
    assert float(re.search(r"an IoU of ([\d.]+)\. Faster R-CNN: \d+ boxes", one.words())[1]) > 0.3


ACTS = {act.__name__: act for act in (paint, skips, attend, mask, denoise, caption, anchors, merge)}


@pytest.mark.parametrize("name", places.experiments())
def test_an_experiment_answers(shown, name):
    ACTS[name](Experiment(shown, name))


@pytest.mark.parametrize("name", networks.NETWORKS)
def test_every_network_gives_pytorchs_numbers_here_too(shown, name):
    inputs = examples(name)
    got = shown.evaluate(f"({ANSWER})({json.dumps([name, given(inputs)])})")
    assert difference(name, inputs, got) < networks.TOLERANCE


def test_without_a_worker_the_page_says_so_here_too(other, site_without_worker):
    other.open(site_without_worker / "playground.html")
    root = "document.querySelector('[data-live=paint]')"
    other.wait(f"{root}.innerText.includes('does not run here')")
    assert "(its worker stopped: " in other.evaluate(f"{root}.innerText")


def test_an_explorer_is_moved_by_keyboard(other, tmp_path):
    def bar(width):
        fig, ax = plt.subplots(figsize=(4, 2))
        ax.barh([0], [width])
        return fig

    explorer = Explorer(bar, title="A bar", alt=lambda width: f"{width} wide", width=Slider("width", (1, 2, 3)))
    page = tmp_path / "explorer.html"
    page.write_text(other_browsers.LISTENER + explorer._repr_mimebundle_()["text/html"], "utf-8")
    other.open(page)
    seen = "[(f => [f.querySelector('img').alt, f.querySelector('output').value])(document.querySelector('figure'))][0]"
    assert other.evaluate(seen) == ["1 wide", "1"]
    other.evaluate("document.querySelector('input').focus()")
    other.press("ArrowRight", "ArrowRight", "ArrowLeft")
    assert other.evaluate(seen) == ["2 wide", "2"]
    assert other.evaluate("document.activeElement === document.querySelector('input')")
    assert other.errors() == []
