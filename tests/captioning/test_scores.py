"""BLEU and ROUGE-L by hand and by their papers; where a map is highest; which points lie in a box."""

import math
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lecture_utils.captioning import bleu, points_in, rouge_l


def plain_bleu(hypotheses, references, n):
    """Papineni et al., section 2, over a whole set: clipped counts, geometric mean, brevity."""
    right, all_ = [0] * n, [0] * n
    length = wanted = 0
    for sentence, others in zip(hypotheses, references, strict=True):
        words, others = sentence.split(), [other.split() for other in others]
        length += len(words)
        _, nearest = min((abs(len(other) - len(words)), len(other)) for other in others)  # of two, the shorter
        wanted += nearest
        for k in range(1, n + 1):
            runs = lambda text, k=k: Counter(tuple(text[i : i + k]) for i in range(len(text) - k + 1))  # noqa: E731
            most = Counter()
            for other in others:
                most |= runs(other)
            right[k - 1] += sum(min(count, most[run]) for run, count in runs(words).items())
            all_[k - 1] += max(0, len(words) - k + 1)
    if not all(right):
        return 0.0
    brevity = 1.0 if length > wanted else math.exp(1 - wanted / length)
    return brevity * math.exp(sum(math.log(r / a) for r, a in zip(right, all_, strict=True)) / n)


def common(one, other):
    """The length of the longest common subsequence, by its definition."""
    if not one or not other:
        return 0
    if one[0] == other[0]:
        return 1 + common(one[1:], other[1:])
    return max(common(one[1:], other), common(one, other[1:]))


def f1_of_common(sentence, reference):
    words, others = sentence.split(), reference.split()
    return 2 * common(words, others) / (len(words) + len(others))  # of precision k / n and recall k / m


SENTENCE = st.lists(st.sampled_from(["a", "red", "blue", "car", "sign", ","]), min_size=1, max_size=9).map(" ".join)


@pytest.mark.slide("25")
@given(
    st.lists(st.tuples(SENTENCE, st.lists(SENTENCE, min_size=1, max_size=4)), min_size=1, max_size=6), st.integers(1, 4)
)
@settings(max_examples=150)
def test_bleu_is_the_papers(pairs, n):
    hypotheses, references = zip(*pairs, strict=True)
    assert bleu(hypotheses, references, n=n) == pytest.approx(plain_bleu(hypotheses, references, n), abs=1e-5)


@pytest.mark.slide("25")
@given(st.lists(st.tuples(SENTENCE, st.lists(SENTENCE, min_size=1, max_size=4)), min_size=1, max_size=6))
@settings(max_examples=50)
def test_rouge_l_is_the_papers(pairs):
    best = [max(f1_of_common(said, one) for one in many) for said, many in pairs]
    assert rouge_l(*zip(*pairs, strict=True)) == pytest.approx(sum(best) / len(best), abs=1e-5)


def test_rouge_l_by_hand_and_in_other_scripts():
    assert rouge_l(["police killed the gunman"], [["police kill the gunman"]]) == pytest.approx(3 / 4)
    assert rouge_l(["the gunman kill police"], [["police killed the gunman"]]) == pytest.approx(2 / 4)  # order counts
    assert rouge_l(["लाल कार यहाँ है"], [["लाल कार वहाँ है"]]) == pytest.approx(3 / 4)
    assert rouge_l([""], [["a car"]]) == 0
    assert math.isnan(rouge_l([], []))
    with pytest.raises(ValueError, match="references: got 1, expected a list for each of the 2 captions"):
        rouge_l(["a", "b"], [["a"]])


@pytest.mark.slide("25")
def test_bleu_by_hand():
    # The paper's own examples: clipping "the" at two of seven …
    assert bleu(["the the the the the the the"], [["the cat is on the mat", "there is a cat on the mat"]], n=1) == (
        pytest.approx(2 / 7)
    )
    # … and 17 of 18 words against 8 of 14.
    references = [
        "it is a guide to action that ensures that the military will forever heed party commands",
        "it is the guiding principle which guarantees the military forces always being under the command of the party",
        "it is the practical guide for the army always to heed the directions of the party",
    ]
    first = "it is a guide to action which ensures that the military always obeys the commands of the party"
    second = "it is to insure the troops forever hearing the activity guidebook that party direct"
    assert bleu([first], [references], n=1) == pytest.approx(17 / 18)
    assert bleu([first], [references], n=2) == pytest.approx(math.sqrt(17 / 18 * 10 / 17))
    assert bleu([second], [references], n=1) == pytest.approx(8 / 14 * math.exp(1 - 16 / 14))
    # Two of two pairs, but half as long as it should be: e^(1 - 4/2).
    assert bleu(["a red"], [["a red car drives"]], n=2) == pytest.approx(math.exp(-1))


def test_bleu_counts_over_the_whole_set_not_sentence_by_sentence():
    hypotheses, references = ["a b", "c d e f"], [["a b"], ["c x x f"]]
    assert bleu(hypotheses, references, n=1) == pytest.approx(4 / 6)  # not the mean of 1 and 1/2
    assert bleu(["a b", "c"], [["a b"], ["d"]], n=2) == pytest.approx(math.sqrt(2 / 3))  # one sentence has no pair


def test_bleu_of_the_same_is_one_and_of_nothing_right_is_zero():
    sentences = ["from left to right a red car, a sign and a person", "A Street, at night."]
    shouted = [[one.upper() + " !"] for one in sentences]  # the same, as `split_words` reads them
    assert bleu(sentences, shouted) == pytest.approx(1)
    assert bleu(["a b c d"], [["e f g h"]]) == 0
    assert bleu([""], [["a car"]]) == 0
    assert bleu(["a b c"], [["a b c"]], n=4) == 0  # no run of four


def test_bleu_without_captions_is_no_number():
    assert math.isnan(bleu([], []))


def test_bleu_does_not_depend_on_the_order_of_the_references():
    """Three words are wanted or five, and four are said: the shorter counts, so four are enough."""
    references = ["a red car", "a red car at night"]
    for many in (references, references[::-1]):
        assert bleu(["a red car at"], [many], n=1) == 1.0
        assert bleu(["a"], [many], n=1) == pytest.approx(math.exp(1 - 3 / 1))


@pytest.mark.parametrize(
    ("hypotheses", "references", "n", "message"),
    [
        (["a", "b"], [["a"]], 4, "references: got 1, expected a list for each of the 2 captions"),
        (["a"], [[]], 4, r"references: got \[\], expected a list"),
        (["a"], ["a car"], 4, "references: got 'a car', expected a list"),
        (["a"], [["a"]], 0, "n: got 0"),
    ],
)
def test_bleu_refuses(hypotheses, references, n, message):
    with pytest.raises(ValueError, match=message):
        bleu(hypotheses, references, n=n)


@pytest.mark.slide("27")
@given(
    st.tuples(*[st.integers(-10, 70)] * 4),
    st.tuples(st.integers(16, 64), st.integers(16, 64)),
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.integers(0, 2),
)
@settings(max_examples=200)
def test_points_in_a_box_point_by_point(box, size, grid, tolerance):
    """A point's cell must share some of its area with the box, or be within `tolerance` cells of one that does."""
    x0, x1, y0, y1 = min(box[0], box[1]), max(box[0], box[1]) + 1, min(box[2], box[3]), max(box[2], box[3]) + 1
    found = points_in((x0, y0, x1, y1), size, grid, tolerance=tolerance)
    assert found.shape == grid
    assert found.dtype == torch.bool
    # The cells of an endless grid; whole numbers, so that nothing is rounded.
    touched = [
        (i, j)
        for i in range(-30, 40)
        for j in range(-30, 40)
        if i * size[0] < y1 * grid[0] and (i + 1) * size[0] > y0 * grid[0]
        and j * size[1] < x1 * grid[1] and (j + 1) * size[1] > x0 * grid[1]
    ]  # fmt: skip
    for row in range(grid[0]):
        for column in range(grid[1]):
            near = any(abs(i - row) <= tolerance and abs(j - column) <= tolerance for i, j in touched)
            assert found[row, column] == near, (row, column)


@pytest.mark.slide("27")
def test_points_in_a_box_by_hand():
    inside = points_in((8.0, 16.0, 24.0, 32.0), (64, 64), (8, 8), tolerance=0)
    assert inside.nonzero().tolist() == [[2, 1], [2, 2], [3, 1], [3, 2]]
    assert points_in((8.0, 16.0, 24.0, 32.0), (64, 64), (8, 8)).sum() == 16
    assert points_in((0.0, 0.0, 1.0, 1.0), (128, 64), (4, 2), tolerance=0).nonzero().tolist() == [[0, 0]]
    assert points_in((60.0, 120.0, 64.0, 128.0), (128, 64), (4, 2), tolerance=0).nonzero().tolist() == [[3, 1]]
    assert points_in((0.0, 0.0, 64.0, 128.0), (128, 64), (4, 2)).all()
    for outside in ((-30, -30, -20, -20), (-30, 10, -20, 20), (10, 90, 20, 99)):
        assert not points_in(outside, (64, 64), (8, 8)).any()
