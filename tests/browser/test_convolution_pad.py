"""The convolution whose numbers are typed, in a browser: the script computes what torch does."""

import pytest
import torch
import torch.nn.functional as F

from lecture_utils.explorers import ConvolutionPad

X, KERNEL = [[1, 2], [3, 4]], [[1, 2, 3], [4, 5, 6], [7, 8, 9]]


def show(page, pad):
    page.set_content(f"<html><body>{pad._repr_mimebundle_()['text/html']}</body></html>")


def output(page):
    rows = page.locator(".convolution-result tr").all()
    return [[float(text.replace("−", "-")) for text in row.locator("button").all_inner_texts()] for row in rows]


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("operation", ["transposed", "convolution"])
def test_the_script_computes_what_torch_does(page, operation, stride):
    large, small = torch.randint(-9, 10, (4, 5)).float(), torch.randint(-9, 10, (2, 3)).float()
    show(page, ConvolutionPad(large, small, title="A pad"))
    page.get_by_label("operation").select_option(operation)
    page.get_by_label("stride").select_option(str(stride))
    convolve = F.conv_transpose2d if operation == "transposed" else F.conv2d
    assert output(page) == convolve(large[None, None], small[None, None], stride=stride)[0, 0].tolist()


def test_a_typed_number_changes_the_output_and_a_cell_says_how(page):
    show(page, ConvolutionPad(X, KERNEL))
    assert output(page)[2][2] == 36
    said = page.get_by_role("status")
    page.get_by_label("output, row 3, column 3: 36").focus()  # with the keyboard
    assert said.inner_text() == "Output, row 3, column 3: 1 · 9 + 2 · 7 + 3 · 3 + 4 · 1 = 36"
    assert page.locator('input[style*="solid"][style*="3px"]').count() == 8
    page.get_by_label("input, row 2, column 2").fill("-1")
    assert output(page)[2][2] == 31
    page.get_by_label("output, row 5, column 5").click()
    assert said.inner_text() == "Output, row 5, column 5: (−1) · 9 = −9"
    page.get_by_label("input, row 2, column 2").fill("")  # an empty field counts as 0
    assert output(page)[4][4] == 0
    page.get_by_label("operation").select_option("convolution")
    assert output(page) == []
    assert "larger than the input" in said.inner_text()


def test_two_pads_of_one_kind_live_side_by_side(page):
    pad = ConvolutionPad(X, KERNEL)._repr_mimebundle_()["text/html"]
    page.set_content(f"<html><body>{pad}{pad}</body></html>")
    page.get_by_label("input, row 1, column 1").nth(1).fill("0")
    tops = page.locator(".convolution-result tr:first-child td:first-child button").all_inner_texts()
    assert tops == ["1", "0"]
