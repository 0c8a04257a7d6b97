"""The convolution whose numbers are typed: what it refuses, and what it holds without a script."""

import re

import pytest
import torch
import torch.nn.functional as F

from lecture_utils.explorers import ConvolutionPad

X, KERNEL = [[1, 2], [3, 4]], [[1, 2, 3], [4, 5, 6], [7, 8, 9]]


def html(pad):
    return pad._repr_mimebundle_()["text/html"]


def test_the_output_is_that_of_torch():
    x, kernel = torch.tensor(X).float()[None, None], torch.tensor(KERNEL).float()[None, None]
    for stride in (1, 2):
        expected = F.conv_transpose2d(x, kernel, stride=stride)[0, 0]
        assert torch.equal(ConvolutionPad(X, KERNEL, stride=stride).output, expected)
        pad = ConvolutionPad(KERNEL, X, stride=stride, operation="convolution")
        assert torch.equal(pad.output, F.conv2d(kernel, x, stride=stride)[0, 0])


def test_without_a_script_the_first_numbers_stand():
    pad = ConvolutionPad(X, [[1, 0.5]], stride=1, title="Type & see")
    assert repr(pad) == (
        "Type & see: transposed convolution, stride 1; input 1 2 / 3 4, kernel 1 0.5, output 1 2.5 1 / 3 5.5 2"
    )
    page = html(pad).partition("<script>")[0]
    assert "transposed convolution, stride 1; input 1 2 / 3 4, kernel 1 0.5, output 1 2.5 1 / 3 5.5 2</div>" in page
    assert "Type &amp; see" in page
    assert '<div class="explorer-controls" data-lm-suppress-shortcuts="true" style="display: none">' in page


def test_every_field_has_a_name_and_nothing_is_loaded():
    page = html(ConvolutionPad(X, KERNEL))
    fields = re.findall(r"<input[^>]*>", page)
    assert len(fields) == 13
    assert all(re.search(r'aria-label="(input|kernel), row \d, column \d"', field) for field in fields)
    assert len(re.findall(r"<label>(?:operation|stride) <select", page)) == 2
    assert not re.search(r"https?:|src=|href=|\bid=", page)
    assert not re.search(r"\b(KEY|TERMS|HINT|CELL|COLOUR)\b", page)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": [1, 2]}, r"x: got shape \(2,\), expected \(rows, columns\), each from 1 to 6"),
        ({"x": [[1] * 7]}, r"x: got shape \(1, 7\)"),
        ({"x": [[]]}, r"x: got shape \(1, 0\)"),
        ({"x": [[1, 2], [3]]}, "x: got .* expected rows of numbers, all of one length"),
        ({"kernel": [["a"]]}, "kernel: got .* expected rows of numbers"),
        ({"kernel": [[float("nan")]]}, "kernel: got .* expected finite numbers"),
        ({"stride": 3}, "stride: got 3, expected 1 or 2"),
        ({"operation": "pooling"}, "operation: got 'pooling', expected one of transposed, convolution"),
        ({"operation": "convolution"}, r"kernel: got \(3, 3\) on \(2, 2\), expected one that fits"),
        ({"title": " "}, "title: got an empty text"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ConvolutionPad(**({"x": X, "kernel": KERNEL} | arguments))
