"""What the images of self-attention, masks, heads and patches show, read off their artists."""

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgba
from matplotlib.patches import Rectangle

from lecture_course.nb09_captioning_with_transformers.figures import word_by_word
from lecture_utils.figures.style import INK, ORANGE
from lecture_utils.figures.transformers import draw_attention_from, patches_apart, receptive_field
from lecture_utils.transformers import GridSelfAttention, causal_mask
from lecture_utils.transformers.self_attention import attention_from

IMAGE = torch.randint(0, 256, (3, 24, 40), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def outlines(ax, colour):
    """The frames drawn in this colour, (n, 4), in pixels of the image."""
    found = [p for p in ax.patches if isinstance(p, Rectangle) and p.get_edgecolor() == to_rgba(colour)]
    return [(p.get_x() + 0.5, p.get_y() + 0.5, p.get_width(), p.get_height()) for p in found]


@pytest.mark.slide("28")
@pytest.mark.parametrize("at", [(0, 0), (2, 4), (1, 3)])
def test_a_point_looks_where_its_own_query_is_answered(at):
    torch.manual_seed(0)
    block, x = GridSelfAttention(8), torch.randn(2, 8, 3, 5)
    maps = attention_from(block(x)[1][:, None], at, (3, 5))
    scores = torch.einsum("bc,bchw->bhw", block.query(x)[:, :, at[0], at[1]], block.key(x))
    torch.testing.assert_close(maps[:, 0], scores.flatten(1).softmax(1).view(2, 3, 5))


@pytest.mark.slide("28")
def test_reached_points_are_coloured_and_counted():
    values = np.zeros((4, 6))
    values[1:3, 2:5] = np.random.default_rng(0).random((2, 3)) + 0.1
    first, second = receptive_field({"near": values, "all": np.ones((4, 6))}, (1, 3)).axes
    assert first.get_title() == "near: 6 of 24 points"
    assert second.get_title() == "all: 24 of 24 points"
    shown = first.images[0].get_array()
    assert np.array_equal(shown.mask, values == 0)
    assert shown.argmax() == values.argmax()
    assert [(p.get_x(), p.get_y()) for p in first.patches] == [(2.5, 0.5)]  # the column runs along x


@pytest.mark.slide("29")
def test_a_mask_is_drawn_row_by_row_with_its_words():
    words = ["<start>", "a", "red", "car"]
    (ax,) = word_by_word(words, {"": causal_mask(4)}, rows="looks", columns="at").axes
    assert [label.get_text() for label in ax.get_yticklabels()] == words
    assert [label.get_text() for label in ax.get_xticklabels()] == words
    assert ax.get_ylim() == (3.5, -0.5)  # rows run downwards
    crossed = {(text.get_position()[1], text.get_position()[0]) for text in ax.texts}
    assert crossed == {(row, column) for row in range(4) for column in range(4) if column > row}
    assert np.array_equal(ax.images[0].get_array().mask, ~causal_mask(4).numpy())


def test_several_tables_share_their_words():
    fig = word_by_word("abc", {"x": np.eye(3), "y": np.full((3, 3), 0.5)}, rows="r", columns="c")
    left, right = fig.axes
    assert (left.get_title(), right.get_title()) == ("x", "y")
    assert len(left.texts) == 6
    assert not right.texts
    assert np.allclose(right.images[0].get_array(), 0.5)


@pytest.mark.slide("28")
def test_the_point_is_framed_in_every_panel():
    fig = draw_attention_from(IMAGE, torch.rand(2, 3, 5), (1, 4))
    first, *others, _ = fig.axes
    assert outlines(first, ORANGE) == [(32, 8, 8, 8)]
    assert all(outlines(ax, INK) == [(32, 8, 8, 8)] for ax in others)
    assert [ax.get_title() for ax in (first, *others)] == ["the point", "head 1", "head 2"]


@pytest.mark.slide("30")
@pytest.mark.parametrize("patch", [4, 8])
def test_patches_keep_their_pixels_and_places(patch):
    fig = patches_apart(IMAGE, patch, row=1)
    whole, line = (np.asarray(ax.images[0].get_array()) for ax in fig.axes)
    pixels, gap = IMAGE.permute(1, 2, 0).numpy(), max(1, patch // 8)
    rows, columns = 24 // patch, 40 // patch
    for row in range(rows):
        for column in range(columns):
            y, x = row * (patch + gap), column * (patch + gap)
            wanted = pixels[row * patch : (row + 1) * patch, column * patch : (column + 1) * patch]
            assert np.array_equal(whole[y : y + patch, x : x + patch], wanted)
    assert np.array_equal(line, whole[patch + gap : 2 * patch + gap])
    assert f"{columns + 1} to {2 * columns}" in fig.axes[1].get_title()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: attention_from(torch.rand(1, 1, 6, 6), (0, 0), (2, 4)), r"weights: got shape \(1, 1, 6, 6\)"),
        (lambda: attention_from(torch.rand(1, 1, 6, 6), (2, 0), (2, 3)), r"at: got \(2, 0\)"),
        (lambda: word_by_word("ab", {"x": np.ones((2, 3))}, rows="", columns=""), r"panels: got shape \(2, 3\)"),
        (lambda: word_by_word("ab", {"x": 2 * np.ones((2, 2))}, rows="", columns=""), "panels: got 2 to 2"),
        (lambda: patches_apart(IMAGE, 7), "patch: got 7"),
        (lambda: patches_apart(IMAGE, 8, row=3), "row: got 3"),
    ],
)
def test_bad_input_is_refused_in_words(call, message):
    with pytest.raises(ValueError, match=message):
        call()
