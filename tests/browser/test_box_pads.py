"""Boxes that are dragged and stepped in a browser: the scripts compute what the package does."""

import re

import pytest
import torch

from lecture_utils.detection.boxes import box_iou, decode, encode, generalized_box_iou
from lecture_utils.explorers import BoxPad, DeltaPad

IMAGE = torch.full((3, 60, 80), 120, dtype=torch.uint8)
BOXES = [[10, 10, 40, 30], [20, 20, 60, 50]]


@pytest.fixture
def show(page):
    """Puts a pad on a page; in the end no script has failed."""
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))

    def put(*pads, width=1400):
        page.set_viewport_size({"width": width, "height": 900})
        page.set_content("".join(pad._repr_mimebundle_()["text/html"] for pad in pads))
        return page

    yield put
    assert errors == []


def numbers(text):
    return [float(each.replace(",", "")) for each in re.findall(r"-?[\d,]*\d(?:\.\d+)?", text.replace("−", "-"))]


def part(page, name):
    return page.locator(f'[data-part="{name}"]')


def place(page, x, y):
    """A point of the image as one of the page."""
    around = page.locator("svg.pad-lines").first.bounding_box()
    return around["x"] + x * around["width"] / 80, around["y"] + y * around["height"] / 60


def drag(page, start, end):
    page.mouse.move(*place(page, *start))
    page.mouse.down()
    page.mouse.move(*place(page, *end), steps=3)
    page.mouse.up()


def boxes_of(page):
    """The two boxes; what is said of them is what the package computes."""
    labels = [part(page, f"box {k}").get_attribute("aria-label") for k in (0, 1)]
    boxes = [numbers(label.partition(":")[2]) for label in labels]
    a, b = torch.tensor(boxes, dtype=torch.float64).split(1)
    for name, value in (("IoU", box_iou(a, b)), ("GIoU", generalized_box_iou(a, b))):
        assert numbers(part(page, name).inner_text()) == [pytest.approx(value.item(), abs=0.00051)]
    assert numbers(page.locator(".explorer-state").text_content())[:8] == boxes[0] + boxes[1]
    return boxes


def test_boxes_are_dragged_and_pulled_by_their_corners(show):
    page = show(BoxPad(IMAGE, BOXES))
    assert boxes_of(page) == BOXES
    assert numbers(part(page, "sum intersection").inner_text()) == [20, 10, 200]
    drag(page, (50, 40), (45, 38))
    assert boxes_of(page) == [BOXES[0], [15, 18, 55, 48]]
    drag(page, (55, 48), (30, 25))  # the lower right corner
    assert boxes_of(page) == [BOXES[0], [15, 18, 30, 25]]
    drag(page, (20, 20), (70, 5))  # the smaller box is taken where both lie
    assert boxes_of(page) == [BOXES[0], [65, 3, 80, 10]]  # and stays inside
    assert part(page, "sum intersection").inner_text() == "0: they do not overlap"
    assert not part(page, "intersection").is_visible()
    drag(page, (10, 30), (79, 2))  # a corner that would pass the others
    assert boxes_of(page) == [[39, 10, 40, 11], [65, 3, 80, 10]]
    drag(page, (5, 55), (50, 40))  # nothing is there
    assert boxes_of(page) == [[39, 10, 40, 11], [65, 3, 80, 10]]


def test_boxes_move_by_keyboard(show):
    page = show(BoxPad(IMAGE, BOXES))
    for _ in range(2):
        page.keyboard.press("Tab")
    page.evaluate("addEventListener('keydown', () => { window.taken = true; })")
    assert part(page, "box 1").evaluate("box => box === document.activeElement")
    assert part(page, "box 1").locator("rect").first.is_visible()  # the ring of the focus
    assert not part(page, "box 0").locator("rect").first.is_visible()
    for key in ("ArrowLeft", "ArrowUp", "ArrowUp", "Shift+ArrowLeft", "Shift+ArrowDown"):
        page.keyboard.press(key)
    assert boxes_of(page) == [BOXES[0], [19, 18, 58, 49]]
    for _ in range(30):
        page.keyboard.press("ArrowLeft")
    assert boxes_of(page) == [BOXES[0], [0, 18, 39, 49]]
    page.keyboard.press("Shift+Tab")
    for _ in range(40):
        page.keyboard.press("Shift+ArrowLeft")
    assert boxes_of(page) == [[10, 10, 11, 30], [0, 18, 39, 49]]
    assert page.evaluate("window.taken") is None  # JupyterLab hears nothing
    page.wait_for_function("document.querySelector('[role=status]').textContent.includes('IoU')")


def test_a_finger_drags_a_box(show, browser):
    page = show(BoxPad(IMAGE, BOXES), width=360)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    client = page.context.new_cdp_session(page)
    for kind, at in (("touchStart", (50, 45)), ("touchMove", (40, 30)), ("touchMove", (35, 20)), ("touchEnd", None)):
        points = [dict(zip("xy", place(page, *at), strict=True))] if at else []
        client.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    (_, _, _, _), box = boxes_of(page)
    assert box == [5, 0, 45, 30]
    assert page.evaluate("scrollY") == 0


def test_two_pads_of_one_kind_live_side_by_side(show):
    page = show(BoxPad(IMAGE, BOXES), BoxPad(IMAGE, BOXES))
    part(page, "box 0").nth(1).press("ArrowRight")
    assert [part(page, "box 0").nth(k).get_attribute("aria-label") for k in (0, 1)] == [
        "ground truth: (10, 10, 40, 30)",
        "ground truth: (11, 10, 41, 30)",
    ]


def decoded(page, proposal, deltas):
    """The box shown is the one that `decode` gives."""
    box = decode(torch.tensor([deltas]), torch.tensor([proposal]).float())[0].tolist()
    assert numbers(part(page, "sum box").inner_text()) == [pytest.approx(side, abs=0.051) for side in box]
    x, y = ((box[k] + box[k + 2]) / 2 for k in (0, 1))
    for name, value in {"x": x, "y": y, "w": box[2] - box[0], "h": box[3] - box[1]}.items():
        assert numbers(part(page, f"sum {name}").inner_text())[-1] == pytest.approx(value, abs=0.051)
    return torch.tensor([box])


def test_sliders_decode(show):
    page = show(DeltaPad(IMAGE, *BOXES))
    truth = torch.tensor(BOXES[1:]).float()
    for deltas in ([0.5, -0.25, 0.3, -0.95], [-1.0, 1.0, 1.0, 0.05]):
        for name, delta in zip(("dx", "dy", "dw", "dh"), deltas, strict=True):
            page.get_by_label(name, exact=True).fill(f"{delta}")
        box = decoded(page, BOXES[0], deltas)
        assert numbers(part(page, "IoU").inner_text()) == [pytest.approx(box_iou(box, truth).item(), abs=0.00051)]
    assert part(page, "sum x").inner_text() == "25 + 30 · (−1) = −5"
    slider = page.get_by_label("dx", exact=True)
    slider.press("ArrowRight")
    assert slider.get_attribute("aria-valuetext") == part(page, "value dx").inner_text() == "−0.95"
    decoded(page, BOXES[0], [-0.95, 1.0, 1.0, 0.05])


def test_the_answer_is_what_encode_gives(show):
    page = show(DeltaPad(IMAGE, *BOXES))
    page.get_by_role("button", name="show the answer").click()
    exact = encode(*torch.tensor([BOXES[1:], BOXES[:1]]).float())[0]
    deltas = ((exact / 0.05).round() * 0.05).tolist()
    shown = [float(page.get_by_label(name, exact=True).input_value()) for name in ("dx", "dy", "dw", "dh")]
    assert shown == pytest.approx(deltas)
    assert numbers(part(page, "answer").inner_text())[:4] == pytest.approx(exact.tolist(), abs=0.00051)
    decoded(page, BOXES[0], deltas)
    page.get_by_role("button", name="reset").click()
    decoded(page, BOXES[0], [0.0, 0.0, 0.0, 0.0])
    assert part(page, "answer").inner_text() == ""


def test_without_a_truth_there_is_no_answer(show):
    page = show(DeltaPad(IMAGE, BOXES[0]))
    page.get_by_label("dw", exact=True).fill("0.5")
    decoded(page, BOXES[0], [0.0, 0.0, 0.5, 0.0])
    assert page.get_by_role("button").all_inner_texts() == ["reset"]
    assert part(page, "IoU").count() == 0
