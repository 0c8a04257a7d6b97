"""The anchors of a chosen cell in a browser: the table and the boxes are those that were given, and `decode`'s."""

import re

import pytest
import torch

from lecture_utils.detection.anchors import base_anchors, grid_anchors
from lecture_utils.detection.boxes import box_iou, decode, encode
from lecture_utils.detection.matching import match_boxes
from lecture_utils.explorers import AnchorPad

SHAPE = ROWS, COLUMNS, K = (6, 8, 4)
TRUTH = torch.tensor([[12.0, 9, 41, 28], [60, 20, 79, 58]])
NAMES = ["car", "person"]


@pytest.fixture(scope="module")
def given():
    anchors = grid_anchors(base_anchors([16, 30], [0.5, 2]), (ROWS, COLUMNS), 10)
    overlap, generator = box_iou(TRUTH, anchors), torch.Generator().manual_seed(0)
    values = {
        "anchors": anchors.reshape(*SHAPE, 4),
        "assigned": match_boxes(overlap, high=0.7, low=0.3, allow_low_quality_matches=True).reshape(SHAPE),
        "objectness": torch.rand(SHAPE, generator=generator),
        "deltas": (encode(TRUTH[overlap.argmax(0)], anchors) / 2).reshape(*SHAPE, 4),
    }
    values["deltas"][0, 0, 0, 2] = 7  # beyond what `decode` allows
    return values


@pytest.fixture
def pad(page, given):
    """The pad on its page; in the end no script has failed."""
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    image = torch.full((3, 120, 160), 90, dtype=torch.uint8)
    pad = AnchorPad(image, **given, truth=TRUTH, names=NAMES, size=(60, 80), start=(2, 3))
    page.set_content(pad._repr_mimebundle_()["text/html"])
    yield page
    assert errors == []


def numbers(text):
    return [float(each.replace(",", "")) for each in re.findall(r"-?[\d,]*\d(?:\.\d+)?", text.replace("−", "-"))]


def part(page, name):
    return page.locator(f'[data-part="{name}"]')


def check(page, given, row, column, chosen):
    """What the page shows of a cell is what was given, and the decoded box is `decode`'s."""
    assert part(page, "where").inner_text() == f"row {row}, column {column}"
    anchors, deltas = given["anchors"][row, column], given["deltas"][row, column]
    overlap = box_iou(anchors, TRUTH)
    for k, line in enumerate(page.locator("tbody tr").all()):
        _, size, iou, assigned, objectness, *moves = line.locator("td").all_inner_texts()
        assert numbers(size) == pytest.approx((anchors[k, 2:] - anchors[k, :2]).tolist())
        assert float(iou) == pytest.approx(overlap[k].max().item(), abs=0.0051)
        index = int(given["assigned"][row, column, k])
        assert assigned == {-2: "ignored", -1: "background", 0: "car 0", 1: "person 1"}[index]
        assert float(objectness) == pytest.approx(given["objectness"][row, column, k].item(), abs=0.0051)
        assert [numbers(move)[0] for move in moves] == pytest.approx(deltas[k].tolist(), abs=0.0052)
        assert line.locator("input").is_checked() == (k == chosen)
    box = decode(deltas, anchors)[chosen]
    rect = part(page, "decoded").locator("rect").last
    x, y, w, h = (float(rect.get_attribute(name)) for name in ("x", "y", "width", "height"))
    assert [x, y, x + w, y + h] == pytest.approx(box.tolist(), rel=1e-3, abs=0.01)
    assert numbers(part(page, "sum decoded").inner_text())[:4] == pytest.approx(box.tolist(), rel=1e-3, abs=0.06)
    drawn = part(page, "anchors").locator("rect").evaluate_all("all => all.map(one => Number(one.getAttribute('x')))")
    assert drawn == pytest.approx(anchors[:, 0].tolist() * 2)  # halos, then lines


def test_a_click_and_the_arrow_keys_choose_a_cell(pad, given):
    chosen = int((given["objectness"] + (given["assigned"] >= 0))[2, 3].argmax())
    check(pad, given, 2, 3, chosen)
    lines = pad.locator("svg.pad-lines")
    around = lines.bounding_box()
    lines.click(position={"x": 6.5 / COLUMNS * around["width"], "y": 4.2 / ROWS * around["height"]})
    check(pad, given, 4, 6, chosen)
    pad.evaluate("addEventListener('keydown', () => { window.taken = true; })")
    for key in ("ArrowUp", "ArrowLeft", "ArrowLeft"):
        lines.press(key)
    check(pad, given, 3, 4, chosen)
    assert lines.get_attribute("aria-label") == "feature map, 6 × 8 cells: row 3, column 4"
    for _ in range(9):
        lines.press("ArrowLeft")
        lines.press("ArrowUp")
    check(pad, given, 0, 0, chosen)  # no further than the border
    assert pad.evaluate("window.taken") is None  # JupyterLab hears nothing


def test_an_anchor_is_chosen_in_the_table(pad, given):
    pad.locator("tbody tr").nth(2).locator("td").nth(3).click()
    check(pad, given, 2, 3, 2)
    pad.locator("tbody input").nth(2).press("ArrowDown")
    check(pad, given, 2, 3, 3)
    pad.locator("tbody input").nth(3).press("Enter")
    pad.get_by_role("radio", name="anchor 12 × 22").first.check()
    check(pad, given, 2, 3, 2)
    for _ in range(3):
        pad.locator("svg.pad-lines").press("ArrowLeft")
        pad.locator("svg.pad-lines").press("ArrowUp")
    pad.locator("tbody input").first.check()
    check(pad, given, 0, 0, 0)  # a side that grows 62.5 times and no more


def test_two_pads_of_one_kind_choose_their_own_anchors(pad, given):
    html = pad.locator("figure").evaluate("figure => figure.outerHTML")
    assert html.count("<form") == 1
    one = AnchorPad(torch.zeros(3, 60, 80, dtype=torch.uint8), **given, truth=TRUTH)._repr_mimebundle_()["text/html"]
    pad.set_content(one + one)
    pad.locator("form").nth(0).locator("input").nth(0).check()
    pad.locator("form").nth(1).locator("input").nth(3).check()
    assert pad.locator("form").nth(0).locator("input").nth(0).is_checked()
