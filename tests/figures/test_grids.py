"""Number grids by what they draw: each number in its own cell, inside it, legible on its colour."""

import itertools

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgb
from matplotlib.patches import FancyArrowPatch, Rectangle

from lecture_course.nb02_unpooling.figures import remembered_position, window_tints
from lecture_utils.figures.grids import (
    TINTS,
    cell_arrow,
    format_number,
    grid_canvas,
    grid_row,
    ink_on,
    number_grid,
    tint,
)
from lecture_utils.figures.style import CYCLE, INK


def cells(ax):
    """(x, y) of the upper left corner → (number, rectangle, text)."""
    boxes = {patch.get_xy(): patch for patch in ax.patches if isinstance(patch, Rectangle)}
    numbers = {(text.get_position()[0] - 0.5, text.get_position()[1] - 0.5): text for text in ax.texts}
    return {at: (numbers[at].get_text(), box, numbers[at]) for at, box in boxes.items()}


def contrast(one, other):
    """The contrast ratio of WCAG 2, 1 to 21."""

    def luminance(colour):
        parts = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in to_rgb(colour)]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_each_number_stands_in_its_row_and_column():
    values = np.arange(6).reshape(2, 3)
    _, ax = grid_canvas(6, 4)
    number_grid(ax, values, at=(2, 1))
    drawn = {(2 + column, 1 + row): str(values[row, column]) for row, column in np.ndindex(2, 3)}
    assert {at: number for at, (number, _, _) in cells(ax).items()} == drawn
    assert ax.get_ylim() == (4, 0)  # rows run downwards


@pytest.mark.parametrize(
    "values", [[[1, 22], [333, 4444]], [[-12.3456, 0.001], [1e6, 7]], np.arange(256).reshape(16, 16)]
)
@pytest.mark.parametrize("width", [9.0, 5.0])
def test_numbers_fit_into_their_cells(values, width):
    rows, columns = np.shape(values)
    fig, ax = grid_canvas(columns, rows, width=width)
    number_grid(ax, values, highlight=np.ones((rows, columns)))
    fig.canvas.draw()
    for _, box, text in cells(ax).values():
        room, needed = box.get_window_extent(), text.get_window_extent()
        assert room.x0 <= needed.x0 < needed.x1 <= room.x1, text
        assert room.y0 <= needed.y0 < needed.y1 <= room.y1, text


def test_colours_and_highlights_fall_on_their_cells():
    _, ax = grid_canvas(2, 2)
    colours = [[TINTS[0], ""], [None, TINTS[1]]]
    number_grid(ax, [[1, 0], [0, 0]], colours=colours, highlight=[[False, False], [True, False]])
    drawn = cells(ax)
    fills = [to_hex(drawn[at][1].get_facecolor()) for at in ((0, 0), (1, 0), (0, 1), (1, 1))]
    assert fills == [to_hex(colour) for colour in (TINTS[0], "white", "white", TINTS[1])]
    assert [at for at, (_, _, text) in drawn.items() if text.get_weight() == "bold"] == [(0, 1)]
    assert drawn[0, 1][1].get_linewidth() > drawn[1, 0][1].get_linewidth()
    faint, coloured, framed = (drawn[at][2].get_color() for at in ((1, 0), (1, 1), (0, 1)))
    assert faint != coloured == framed  # a zero is faint only where nothing points at it


@pytest.mark.parametrize("fill", ["white", *TINTS, *CYCLE])
def test_numbers_are_legible_on_every_colour_of_the_course(fill):
    assert contrast(ink_on(fill), fill) >= 0.98 * max(contrast(INK, fill), contrast("white", fill))
    assert contrast(ink_on(fill), fill) >= 3.9


def test_tints_differ():
    for one, other in itertools.combinations(TINTS, 2):
        assert np.abs(np.subtract(to_rgb(one), to_rgb(other))).sum() > 0.15
    assert tint("#000000", 0.0) == "#ffffff"
    assert tint("#102030", 1.0) == "#102030"
    assert tint("#000000", 0.5) == "#808080"


@pytest.mark.parametrize(
    ("value", "text"),
    [(3.0, "3"), (-3, "−3"), (0.5, "0.5"), (1 / 3, "0.333"), (np.nan, ""), (np.inf, "∞"), (-np.inf, "−∞"), (0, "0")],
)
def test_numbers_are_short(value, text):
    assert format_number(value) == text


def test_a_row_keeps_its_grids_apart_under_their_names():
    fig = grid_row({"a": np.ones((4, 4)), "b": np.ones((2, 2)), "c": np.ones((1, 3))}, arrows=("pool", ""), title="Row")
    (ax,) = fig.axes
    boxes = [patch.get_xy() for patch in ax.patches if isinstance(patch, Rectangle)]
    assert len(boxes) == len(set(boxes)) == 16 + 4 + 3
    words = [text.get_text() for text in ax.texts]
    assert [word for word in words if word != "1"] == ["a", "pool", "b", "c"]
    assert sum(isinstance(patch, FancyArrowPatch) for patch in ax.patches) == 1
    left, right = ax.get_xlim()
    assert all(left <= x and x + 1 <= right for x, _ in boxes)
    assert fig.get_figwidth() <= 9


def test_the_words_on_the_arrows_fit_between_the_grids():
    fig = grid_row({"a": np.ones((4, 4)), "b": np.ones((2, 2))}, arrows=("max\npooling",), gap=2)
    fig.canvas.draw()
    (ax,) = fig.axes
    (words,) = (text for text in ax.texts if "pooling" in text.get_text())
    needed = words.get_window_extent()
    for patch in ax.patches:
        if isinstance(patch, Rectangle):
            assert not patch.get_window_extent().overlaps(needed)


def test_names_wider_or_higher_than_their_grids_stay_on_the_figure():
    names = "a name of many words", "two\nlines", "another name of many words"
    fig = grid_row({name: np.ones((2, 2)) for name in names}, gap=4, title="Row")
    fig.canvas.draw()
    (ax,) = fig.axes
    inside = fig.bbox
    above = fig.axes[0].get_window_extent().y1
    for text in ax.texts:
        extent = text.get_window_extent()
        assert inside.x0 <= extent.x0 < extent.x1 <= inside.x1, text
        assert extent.y1 <= above, text


def test_an_arrow_leads_from_here_to_there():
    _, ax = grid_canvas(3, 3)
    cell_arrow(ax, (0.5, 0.5), (2.5, 1.5), bend=0.3)
    (patch,) = ax.patches
    path = patch.get_path()
    assert path.vertices[0] == pytest.approx((0.5, 0.5))
    assert len(path.vertices) > 2


def test_a_window_has_one_tint_and_its_neighbours_others():
    tints = window_tints(5, 7, 2)
    assert tints.shape == (5, 7)
    for row, column in np.ndindex(4, 6):
        assert tints[row, column] == tints[row // 2 * 2, column // 2 * 2]
    assert len(set(tints[:4:2, :6:2].flat)) == 6
    assert set(tints[4]) == set(tints[:, 6]) == {""}  # beyond the last window


@pytest.mark.parametrize("window", list(np.ndindex(2, 3)))
def test_a_remembered_position_is_that_of_the_largest_value(window):
    x = np.random.default_rng(0).permutation(24).reshape(4, 6)
    small = np.arange(6).reshape(2, 3) + 31
    (ax,) = remembered_position(x, small, window).axes
    block = x[2 * window[0] : 2 * window[0] + 2, 2 * window[1] : 2 * window[1] + 2]
    (row,), (column,) = np.nonzero(x == block.max())
    drawn = cells(ax)
    framed = [number for number, _, text in drawn.values() if text.get_weight() == "bold"]
    assert framed == [str(block.max())] * 2 + [str(small[window])] * 2
    lefts = sorted({x for x, _ in drawn})
    first, last = min(lefts), max(lefts) - 5
    at = {(x, y - 1) for (x, y), (_, _, text) in drawn.items() if text.get_weight() == "bold"}
    assert {(first + column, row), (last + column, row)} <= at
    coloured = [number for number, box, _ in drawn.values() if to_hex(box.get_facecolor()) != "#ffffff"]
    assert sorted(coloured[:4]) == sorted(map(str, block.flat))
    assert f"row {row}, column {column}: index {row} · 6 + {column} = {6 * row + column}" in ax.texts[-1].get_text()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda ax: number_grid(ax, [1, 2]), r"values: got shape \(2,\)"),
        (lambda ax: number_grid(ax, np.ones((0, 2))), r"values: got shape \(0, 2\)"),
        (lambda ax: number_grid(ax, [[1, 2]], colours=[["red"], ["red"]]), r"colours: got shape \(2, 1\)"),
        (lambda ax: number_grid(ax, [[1, 2]], highlight=[True]), r"highlight: got shape \(1,\)"),
        (lambda ax: grid_row({}), "grids: got no matrix"),
        (lambda ax: grid_row({"a": [[1]], "b": [1, 2]}), r"grids: got shape \(2,\) of 'b'"),
        (lambda ax: grid_row({"a": [[1]]}, arrows=("x",)), "arrows: got 1, expected 0"),
        (lambda ax: grid_row({"a": [[1]]}, colours={"b": [["red"]]}), r"colours: got \['b'\]"),
    ],
)
def test_bad_input_is_refused_in_words(call, message):
    _, ax = plt.subplots()
    with pytest.raises((ValueError, TypeError), match=f"{message}|jaxtyping"):
        call(ax)
