"""Attention maps in a browser: the words and the lines are those of the layer, the head and the query chosen."""

import re

import pytest
import torch

from lecture_utils.explorers import AttentionPad
from lecture_utils.explorers.attention import edges

H, W = 3, 4
WORDS = ["red", "car", "<end>"]
IMAGE = torch.full((3, 60, 80), 90, dtype=torch.uint8)
BOX = [10.0, 12, 40, 30]


def maps(queries):
    generator = torch.Generator().manual_seed(0)
    return (4 * torch.randn(2, 3, queries, H * W, generator=generator)).softmax(-1).unflatten(-1, (H, W))


@pytest.fixture
def shown(page):
    """What puts a pad on its page; in the end no script has failed."""
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))

    def show(pad):
        page.set_content(pad._repr_mimebundle_()["text/html"])
        return page

    yield show
    assert errors == []


def check(page, map_, most=None):
    """The highest weight is told, its point has the dot, and lines enclose a quarter and half of it, or of `most`."""
    words = page.locator('[data-part="sum"]').inner_text()
    row, column = divmod(int(map_.argmax()), W)
    number, _, rest = words.partition(" at ")
    assert float(number) == pytest.approx(map_.max().item(), abs=0.003)
    assert rest == f"row {row}, column {column}; if all points had the same: 0.083"
    assert paths(page, "peak") == 2 * [f"M{20 * column + 10} {20 * row + 10}h0"]
    levels = [level * (most or map_.max().item()) for level in (0.25, 0.5)]
    assert paths(page, "map") == 2 * [edges(map_.numpy(), level, (60, 80)) for level in levels]


def paths(page, name):
    return page.locator(f'[data-part="{name}"] path').evaluate_all("found => found.map(one => one.getAttribute('d'))")


def test_layer_head_and_word_are_chosen(shown):
    given = maps(3)
    page = shown(AttentionPad(IMAGE, given, words=WORDS, boxes=[None, BOX, None], start=(1, 2, 0)))
    check(page, given[1, 2, 0])
    rect = page.locator('[data-part="box"] rect').last
    assert rect.get_attribute("width") == "0"
    page.get_by_role("radio", name="car").check()
    check(page, given[1, 2, 1])
    assert [rect.get_attribute(name) for name in ("x", "y", "width", "height")] == ["10", "12", "30", "18"]
    page.get_by_role("radiogroup", name="layer").get_by_role("radio", name="1").check()
    page.get_by_role("radiogroup", name="head").get_by_role("radio", name="mean").check()
    check(page, given[0, :, 1].mean(0))
    own = page.locator('[data-part="most"]').inner_text()
    page.get_by_role("checkbox").check()
    same = page.locator('[data-part="most"]').inner_text()
    whole = [given[0, :, 1].mean(0).max().item(), given.max().item()]
    assert [float(own), float(same)] == pytest.approx(whole, abs=0.003)
    check(page, given[0, :, 1].mean(0), given.max().item())


def test_it_plays_the_words(shown):
    page = shown(AttentionPad(IMAGE, maps(3), words=WORDS))
    page.get_by_role("button", name="Play").click()
    page.wait_for_function("document.querySelector('input[name=query][value=\"2\"]').checked")
    page.get_by_role("button", name="Play").wait_for()


def test_a_click_and_the_arrow_keys_choose_a_point(shown):
    given = maps(H * W)
    page = shown(AttentionPad(IMAGE, given))
    check(page, given[0, 0, 0])
    lines = page.locator("svg.pad-lines")
    around = lines.bounding_box()
    lines.click(position={"x": 2.5 / W * around["width"], "y": 1.5 / H * around["height"]})
    check(page, given[0, 0, W + 2])
    for key in ("ArrowDown", "ArrowLeft", "ArrowDown"):
        lines.press(key)
    check(page, given[0, 0, 2 * W + 1])
    assert lines.get_attribute("aria-label") == "a grid of 3 × 4 points: row 2, column 1"
    assert re.fullmatch("row 2, column 1", page.locator('[data-part="where"]').inner_text())
