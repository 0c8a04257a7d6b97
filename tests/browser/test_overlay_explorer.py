"""An overlay in a browser: the boxes, words and rows of each place of the sliders, by mouse and by keyboard."""

import pytest
import torch

from lecture_utils.explorers import Kind, Mark, Overlay, OverlayExplorer, Slider

KINDS = {"below": Kind("#0072B2", fill=0.2), "above": Kind("#E69F00", dashed=True, struck=True)}


def draw(shift, step):
    marks = [Mark("above", [shift, step, shift + 20, step + 10], f"<{step}>"), Mark("below", [1, 2, 30, 40])]
    return Overlay(marks[: 1 + step], f"shift {shift} & step {step}", [("above", str(step), "words")], dots=20 * step)


@pytest.fixture
def pad(page):
    """The explorer on its page; in the end no script has failed."""
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    image = torch.full((3, 120, 160), 90, dtype=torch.uint8)
    sliders = {"shift": Slider("shift", (0, 10, 40), start=10), "step": Slider("step", range(3))}
    pad = OverlayExplorer(
        image, draw, kinds=KINDS, title="Boxes", alt="Grey.", coordinates=(60, 80), play="step", **sliders
    )
    page.set_content(pad._repr_mimebundle_()["text/html"])
    yield page
    assert errors == []


def part(page, name):
    return page.locator(f'[data-part="{name}"]')


def check(page, shift, step):
    """What the page shows is what `draw` gives."""
    shown = draw(shift, step)
    assert part(page, "said").inner_text() == shown.said
    rects = (
        part(page, "overlay")
        .locator("rect")
        .evaluate_all(
            "all => all.map(one => ['x', 'y', 'width', 'height'].map(side => Number(one.getAttribute(side))))"
        )
    )
    lines = {"below": 3, "above": 2}  # what is filled, halo, line
    order = sorted(shown.marks, key=lambda mark: list(KINDS).index(mark.kind))
    boxes = [mark.box for mark in order for _ in range(lines[mark.kind])]
    assert rects == [[x0, y0, x1 - x0, y1 - y0] for x0, y0, x1, y1 in boxes]
    assert part(page, "tags").locator("span").all_inner_texts() == [f"<{step}>"]
    assert part(page, "rows").locator("td").all_inner_texts() == ["", str(step), "words"]
    struck = part(page, "rows").locator("td").nth(1).evaluate("cell => cell.style.textDecoration")
    assert struck == "line-through"
    assert (part(page, "overlay").locator("path").count() == 2) or not step  # dots


def test_sliders_and_buttons_change_what_is_drawn(pad):
    check(pad, 10, 0)
    first, second = pad.locator("input").all()
    first.press("ArrowRight")
    check(pad, 40, 0)
    second.press("ArrowRight")
    second.press("ArrowRight")
    check(pad, 40, 2)
    first.fill("0")
    check(pad, 0, 2)
    step = pad.get_by_role("button", name="Step")
    step.click()
    check(pad, 0, 0)
    step.click()
    check(pad, 0, 1)
    assert first.get_attribute("aria-valuetext") == "0"
    assert pad.locator("output").all_inner_texts() == ["0", "1"]


def test_play_ends_at_the_last_step(pad):
    play = pad.get_by_role("button", name="Play")
    play.click()
    pad.wait_for_function("() => document.querySelector('.explorer-play button').textContent === '▶ Play'")
    check(pad, 10, 2)


def test_a_word_does_not_break_the_page(pad):
    assert part(pad, "tags").inner_html().count("&lt;0&gt;") == 1
