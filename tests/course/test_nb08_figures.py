"""What the images of captions show, read off their artists."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex

from lecture_course.nb08_show_attend_and_tell.figures import fact_check, teacher_forcing
from lecture_utils.figures import over_seeds
from lecture_utils.figures.style import GREEN, VERMILION
from lecture_utils.toycity.facts import Fact

IMAGE = torch.randint(0, 256, (3, 30, 44), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
WORDS = ["<start>", "a", "red", "car", "is", "behind", "a", "person", "in", "a", "blue", "coat", "<end>"]


@pytest.mark.slide("24")
@pytest.mark.parametrize("words", [WORDS, WORDS[:2]])
def test_each_target_stands_over_the_word_before_it(words):
    (ax,) = teacher_forcing(words, title="One caption").axes
    texts = [text for text in ax.texts if text.get_text() in words]
    heights = sorted({text.get_position()[1] for text in texts})
    rows = [
        sorted((text.get_position()[0], text.get_text()) for text in texts if text.get_position()[1] == y)
        for y in heights
    ]
    assert [[word for _, word in row] for row in rows] == [words[:-1], words[1:]]
    assert [x for x, _ in rows[0]] == [x for x, _ in rows[1]]


def test_no_word_touches_the_next():
    fig = teacher_forcing(WORDS)
    fig.draw_without_rendering()
    (ax,) = fig.axes
    for y in (0.4, 2.6):
        boxes = [
            text.get_window_extent() for text in ax.texts if text.get_position()[1] == y and text.get_text() in WORDS
        ]
        assert len(boxes) == len(WORDS) - 1
        assert all(a.x1 < b.x0 for a, b in pairwise(sorted(boxes, key=lambda box: box.x0)))


def test_a_caption_has_a_beginning_and_an_end():
    with pytest.raises(ValueError, match=r"words: got \['a'\], expected at least"):
        teacher_forcing(["a"])


@pytest.mark.slide("26")
def test_statements_are_ticked_or_crossed_under_their_caption():
    captions = {"a red car": [Fact("a red car", True)], "two cars, one long sentence " * 4: [Fact("two cars", False)]}
    (left, right) = fact_check(IMAGE, captions, title="Is it true?").axes
    assert len(left.images) == 1
    lines = {
        text.get_text().strip(): to_hex(text.get_color())
        for text in sorted(right.texts, key=lambda t: t.get_position()[1])
    }
    assert lines["✓ a red car"] == GREEN.lower()
    assert lines["✗ two cars"] == VERMILION.lower()
    order = list(lines)
    assert order.index("“a red car”") < order.index("✓ a red car") < order.index("✗ two cars") == len(order) - 1
    assert "two cars, one long sentence " * 4 in " ".join(order[3:-1]).strip("“”") + " "


def test_no_statement_leaves_the_figure():
    facts = [Fact("a red traffic light before a person in a yellow coat", i % 2 == 0) for i in range(14)]
    fig = fact_check(IMAGE, {"a red traffic light " * 8: facts})
    fig.draw_without_rendering()
    _, right = fig.axes
    boxes = [text.get_window_extent() for text in right.texts if text.get_text()]
    assert all(box.x1 <= fig.bbox.x1 and box.y0 >= fig.bbox.y0 - 1 for box in boxes)
    assert all(a.y0 >= b.y1 - 1 for a, b in pairwise(sorted(boxes, key=lambda box: -box.y0)))


def test_without_a_caption_there_is_nothing_to_tick():
    with pytest.raises(ValueError, match="captions: got no caption"):
        fact_check(IMAGE, {})


@pytest.mark.slide("26")
def test_means_and_extremes_of_the_seeds_are_drawn():
    rng = np.random.default_rng(0)
    runs = {"one": rng.random((3, 4)), "two": rng.random((5, 4))}
    (ax,) = over_seeds("abcd", {"score": runs}, xlabel="group", title="Seeds", limits={"score": (-1, 2)}).axes
    assert ax.get_ylim() == (-1, 2)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("group", "score")
    assert [tick.get_text() for tick in ax.get_xticklabels()] == list("abcd")
    for drawn, values in zip(ax.containers, runs.values(), strict=True):
        np.testing.assert_allclose(drawn.lines[0].get_ydata(), values.mean(0))
        ends = np.array([segment[:, 1] for segment in drawn.lines[2][0].get_segments()])
        np.testing.assert_allclose(ends, np.stack([values.min(0), values.max(0)], 1))
    dots = [np.asarray(scatter.get_offsets())[:, 1] for scatter in ax.collections if len(scatter.get_offsets()) > 1]
    assert sorted(map(len, dots))[-2:] == [12, 20]


def test_a_row_of_values_for_every_place():
    with pytest.raises(ValueError, match=r"panels: got shape \(2, 3\) of 'one', expected \(trainings, 4\)"):
        over_seeds("abcd", {"score": {"one": np.zeros((2, 3))}}, xlabel="group")
