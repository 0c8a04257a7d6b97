"""What the images of attention show, read off their artists."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex

from lecture_course.nb08_show_attend_and_tell.figures import broken, gallery
from lecture_utils.figures import image_axes, overlay_attention, word_strip
from lecture_utils.figures.style import VERMILION

IMAGE = torch.randint(0, 256, (3, 30, 44), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
WORDS = ["a", "red", "car", ",", "a", "blue", "sign"]


def maps(t, h=5, w=7):
    """Each map has its mass at one point, another one for each."""
    flat = torch.zeros(t, h * w)
    flat[torch.arange(t), torch.arange(t) * 3 % (h * w)] = 0.4
    return flat.view(t, h, w)


def visible(fig):
    return [ax for ax in fig.axes if ax.get_visible()]


def hottest(ax):
    """The middle of what is darkest in the heat over the image, (row, column), as shares of the image."""
    heat = np.asarray(ax.images[1].get_array())
    return (np.argwhere(heat == heat.max()).mean(0) + 0.5) / heat.shape


@pytest.mark.slide("27")
@pytest.mark.parametrize("point", [(0, 0), (2, 3), (4, 6), (1, 5)])
def test_the_heat_lies_where_the_map_has_its_mass(point):
    map_ = torch.zeros(5, 7)
    map_[point] = 0.01
    _, axes = image_axes(1, 1)
    overlay_attention(axes[0, 0], IMAGE, map_)
    photo, heat = axes[0, 0].images
    assert (photo.get_array() == IMAGE.permute(1, 2, 0).numpy()).all()
    assert heat.get_array().shape == (30, 44)
    assert heat.get_clim() == (0, pytest.approx(0.01))  # the map's own maximum is the brightest
    row, column = hottest(axes[0, 0]) * (5, 7)
    assert (int(row), int(column)) == point
    centres = (np.argwhere(np.asarray(heat.get_array()) > 0.001) + 0.5) / (30, 44) * (5, 7) - 0.5
    assert (np.abs(centres - point) <= 1).all()  # a neighbour's middle is reached, and no further


def test_a_map_without_mass_leaves_the_picture_and_an_even_one_covers_it():
    for value, expected in ((0.0, 0.0), (1 / 35, 1.0)):
        _, axes = image_axes(1, 1)
        shown = overlay_attention(axes[0, 0], IMAGE, torch.full((5, 7), value))
        assert np.asarray(shown.norm(shown.get_array())) == pytest.approx(np.full((30, 44), expected), abs=1e-6)
        assert overlay_attention(axes[0, 0], IMAGE, torch.full((5, 7), value), most=0.5).get_clim() == (0, 0.5)


@pytest.mark.slide("27")
def test_a_glow_is_light_where_attention_is_and_darkens_the_rest():
    map_ = torch.zeros(5, 7)
    map_[2, 3] = 0.5
    _, axes = image_axes(1, 1)
    veil = overlay_attention(axes[0, 0], IMAGE, map_, glow=True)
    colours = veil.to_rgba(veil.get_array())
    assert colours[2, 2].tolist() == pytest.approx([0, 0, 0, 0.5], abs=0.01)  # a veil
    assert colours[15, 22, :2].min() > 0.95  # light, at the middle of the point
    fig = word_strip(IMAGE, WORDS[:2], maps(2), glow=True, most=1.0)
    assert {ax.images[1].get_clim() for ax in visible(fig)[1:3]} == {(0, 1)}


@pytest.mark.parametrize("bad", [torch.zeros(2, 3, 4), torch.tensor([[0.5, -0.1]]), torch.zeros(0, 3)])
def test_a_map_has_rows_columns_and_nothing_below_zero(bad):
    _, axes = image_axes(1, 1)
    with pytest.raises((ValueError, TypeError), match=r"map_: got shape|parameter"):
        overlay_attention(axes[0, 0], IMAGE, bad)


@pytest.mark.slide("27")
@pytest.mark.parametrize("words", [WORDS, WORDS * 3, WORDS[:1]])
def test_a_strip_has_the_picture_and_then_each_word_with_its_own_map(words):
    given = maps(len(words) + 1)  # and that of <end>
    first, *rest, bar = visible(word_strip(IMAGE, words, given))
    assert len(first.images) == 1
    assert bar.get_ylabel() == "attention weight"
    assert len({ax.images[1].get_clim() for ax in rest}) == 1
    assert [ax.get_title() for ax in rest] == words
    for ax, map_ in zip(rest, given, strict=False):
        row, column = hottest(ax) * (5, 7)
        assert (int(row), int(column)) == divmod(int(map_.argmax()), 7)


def test_a_strip_refuses_fewer_maps_than_words():
    with pytest.raises(ValueError, match=r"maps: got shape \(6, 5, 7\), expected \(t, h, w\) with t at least 7"):
        word_strip(IMAGE, WORDS, maps(6))


@pytest.mark.slide("27")
def test_a_gallery_underlines_words_of_each_caption():
    captions, chosen = [WORDS, WORDS * 3, ["two", "cars"], WORDS], [[1, 2], [20], [0], [4, 1]]
    boxes = [[], [(3, 4, 20, 12)], [], []]
    fig = gallery([IMAGE] * 4, captions, list(maps(4)), chosen, boxes=boxes, title="Four")
    streets, texts = ([ax for ax in visible(fig) if len(ax.images) == n] for n in (1, 0))
    assert (len(streets), len(texts)) == (4, 4)
    for ax, map_ in zip(streets, maps(4), strict=True):  # lines around the point that has its mass
        ends = np.concatenate([path.vertices for lines in ax.collections for path in lines.get_paths()])
        row, column = divmod(int(map_.argmax()), 7)
        middle = (np.array([column, row]) + 0.5) * (44 / 7, 30 / 5)
        assert (np.abs(ends - middle) <= 6.5).all()
        assert ax.lines[0].get_xydata()[0].tolist() == pytest.approx((middle - 0.5).tolist())  # the dot
    assert [len(ax.patches) for ax in streets] == [0, 2, 0, 0]  # a frame with a white edge
    assert streets[1].patches[0].get_bbox().extents.tolist() == [3, 4, 20, 12]
    for ax, caption, places in zip(texts, captions, chosen, strict=True):
        assert [text.get_text() for text in ax.texts] == caption
        bold = [number for number, text in enumerate(ax.texts) if text.get_weight() == "bold"]
        assert bold == sorted(places)
        for place, line in zip(sorted(places), ax.lines, strict=True):  # a line under each word
            assert to_hex(ax.texts[place].get_color()) == VERMILION.lower()
            left, right = line.get_xdata()
            assert left < ax.texts[place].get_position()[0] < right
            assert line.get_ydata()[0] > ax.texts[place].get_position()[1]


def test_no_word_of_a_caption_touches_another_or_leaves_its_place():
    fig = gallery([IMAGE] * 3, [WORDS * 3] * 3, list(maps(3)), [[1], [9, 2], [20]])
    fig.draw_without_rendering()
    for ax in (ax for ax in visible(fig) if not ax.images):
        frame, extents = ax.get_window_extent(), [text.get_window_extent() for text in ax.texts]
        assert all(frame.x0 - 2 <= box.x0 and box.x1 <= frame.x1 + 2 for box in extents)
        assert all(frame.y0 - 2 <= box.y0 for box in extents)
        for a, b in pairwise(extents):
            assert a.x1 <= b.x0 + 1.5 or a.y0 >= b.y1 - 4  # beside it, or a line above


def test_lines_keep_the_words_and_their_order():
    lines = broken(WORDS * 3, 100)
    assert [word for line in lines for word in line] == WORDS * 3
    assert len(lines) > 2
    assert all(line[0] != "," for line in lines)
    assert broken(["daytime"], 1) == [["daytime"]]
    assert broken([], 100) == [[]]


def test_a_gallery_wants_as_many_of_each():
    with pytest.raises(ValueError, match=r"images: got \{'images': 2, 'captions': 1"):
        gallery([IMAGE, IMAGE], [WORDS], list(maps(1)), [[0]])
    with pytest.raises(ValueError, match="at least one"):
        gallery([], [], [], [])
