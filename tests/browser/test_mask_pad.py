"""Painting a mask in a browser: the page's own forward pass gives PyTorch's visual tokens and probabilities."""

import numpy as np
import pytest
import torch

from lecture_course.nb12_beit.mask_pad import MaskPad, Street, in_eight_bits
from lecture_utils import recipes, tasks
from lecture_utils.tasks.photos import to_photo

ROWS = COLUMNS = 12
SCENES = (5, 9)


@pytest.fixture(scope="module")
def model():
    return in_eight_bits(recipes.load("beit"))  # as it stands on the page


@pytest.fixture(scope="module")
def images():
    streets = tasks.masked_data("test")
    return torch.stack([streets[index][0] for index in SCENES])


@pytest.fixture
def shown(page, model, images):
    """The pad on a page, with nothing hidden; in the end no script has failed and nothing was asked of a network."""
    errors, asked = [], []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: asked.append(request.url) if request.url.startswith("http") else None)
    given = [Street(f"street {k}", to_photo(x).permute(1, 2, 0).numpy(), x) for k, x in enumerate(images)]
    page.set_content(
        MaskPad(model, given, torch.zeros(ROWS, COLUMNS, dtype=torch.bool))._repr_mimebundle_()["text/html"]
    )
    drawn(page, 1)
    yield page
    assert (errors, asked) == ([], [])


def drawn(page, number):
    """Wait until so many states were drawn."""
    page.wait_for_function(f"Number(document.querySelector('figure').dataset.drawn) >= {number}")


def count(page):
    return int(page.locator("figure").get_attribute("data-drawn"))


def filled(page):
    """The pixels of the image on the right, (3, h, w)."""
    flat = page.evaluate(
        """async () => {
          const image = new Image();
          image.src = document.querySelector('[data-part="filled"]').src;
          await image.decode();
          const canvas = Object.assign(document.createElement("canvas"), {width: image.width, height: image.height});
          const context = canvas.getContext("2d");
          context.drawImage(image, 0, 0);
          return [...context.getImageData(0, 0, image.width, image.height).data];
        }"""
    )
    return torch.from_numpy(np.array(flat, np.uint8).reshape(8 * ROWS, 8 * COLUMNS, 4)[..., :3].copy()).permute(2, 0, 1)


def at(page, row, column):
    """Where a patch is on the page."""
    around = page.locator("svg.pad-lines").bounding_box()
    return around["x"] + (column + 0.5) * around["width"] / COLUMNS, around["y"] + (row + 0.5) * around["height"] / ROWS


def check(page, model, image, mask):
    """The image, the counts and the probabilities of the framed patch are PyTorch's."""
    with torch.no_grad():
        logits, (words, completed) = model(image[None], mask[None])[0], model.complete(image[None], mask[None])
    best = logits.topk(2).values
    assert (best[:, 0] - best[:, 1])[mask.flatten()].min() > 1e-3  # no tie that rounding could decide
    assert torch.equal(filled(page), to_photo(completed)[0])
    truth, hidden = model.tokens(image[None])[0], mask.flatten()
    said = page.locator('[data-part="said"]').inner_text()
    found = int((words[0] == truth)[hidden].sum())
    assert said.startswith(f"{int(hidden.sum())} of 144 patches hidden, {found} visual tokens found")
    where = page.locator('[data-part="where"]').inner_text()
    row, column = (int(part.split()[-1]) - 1 for part in where.split(",")[:2])
    shares = page.locator('[data-part="guesses"]').inner_text().split("%")[:5]
    probabilities = 100 * logits[row * COLUMNS + column].softmax(0).topk(5).values
    assert [float(share.split()[-1]) for share in shares] == pytest.approx(probabilities.tolist(), abs=0.06)


@pytest.mark.slide("34")
def test_strokes_hide_and_uncover(shown, model, images):
    mask = torch.zeros(ROWS, COLUMNS, dtype=torch.bool)
    assert torch.equal(filled(shown), to_photo(images)[0])  # nothing is hidden
    shown.mouse.move(*at(shown, 6, 2))
    shown.mouse.down()
    shown.mouse.move(*at(shown, 6, 9))  # in one leap, and all between is hidden
    shown.mouse.up()
    mask[6, 2:10] = True
    drawn(shown, 3)
    check(shown, model, images[0], mask)
    before, number = filled(shown), count(shown)
    shown.mouse.click(*at(shown, 6, 5))
    mask[6, 5] = False
    drawn(shown, number + 1)
    check(shown, model, images[0], mask)
    number = count(shown)
    shown.get_by_role("button", name="undo").click()
    drawn(shown, number + 1)
    assert torch.equal(filled(shown), before)


@pytest.mark.slide("34")
def test_it_is_painted_by_keyboard(shown, model, images):
    lines = shown.locator("svg.pad-lines")
    lines.focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowRight", " "):
        lines.press(key)
    drawn(shown, 2)
    number = count(shown)
    for key in ("Shift+ArrowRight", "Shift+ArrowDown"):
        lines.press(key)
    drawn(shown, number + 1)
    shown.wait_for_timeout(200)
    mask = torch.zeros(ROWS, COLUMNS, dtype=torch.bool)
    mask[2, 1] = mask[2, 2] = mask[3, 2] = True
    check(shown, model, images[0], mask)
    assert lines.get_attribute("aria-label") == "a grid of 12 × 12 patches: row 4, column 3, hidden"


@pytest.mark.slide("34")
def test_buttons_hide_blocks_and_another_street_can_be_chosen(shown, model, images):
    shown.get_by_role("button", name="blocks").click()
    drawn(shown, 2)
    shown.get_by_role("radio", name="street 1").check()
    drawn(shown, 3)
    data = shown.locator('[data-part="cover"]').get_attribute("d").split("z")[:-1]
    mask = torch.zeros(ROWS, COLUMNS, dtype=torch.bool)
    for cell in data:
        x, y = (float(side) for side in cell[1:].split("h")[0].split())
        mask[round(y / 8), round(x / 8)] = True
    assert 40 <= mask.sum() <= 55
    check(shown, model, images[1], mask)
    shown.get_by_role("radio", name="true visual tokens").check()
    drawn(shown, 4)
    truth = model.tokens.decode(model.tokens(images[1:]), (ROWS, COLUMNS))
    assert torch.equal(filled(shown), to_photo(truth)[0])
    shown.get_by_role("button", name="uncover all").click()
    drawn(shown, 5)
    assert "0 of 144 patches hidden" in shown.locator('[data-part="said"]').inner_text()
