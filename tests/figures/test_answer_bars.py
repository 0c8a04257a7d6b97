"""The bars of a network's answer: the highest tells by its colour whether it is right."""

import matplotlib.pyplot as plt
import pytest
from matplotlib.colors import to_hex

from lecture_utils.figures.scores import answer_bars
from lecture_utils.figures.style import GREEN, VERMILION


@pytest.mark.parametrize(
    ("truth", "colour", "names"),
    [("car", GREEN, ["car ✓", "road"]), ("road", VERMILION, ["car", "road ✓"]), ("sky", VERMILION, ["car", "road"])],
)
def test_the_highest_bar_is_green_or_red_and_the_truth_ticked(truth, colour, names):
    _, ax = plt.subplots()
    answer_bars(ax, {"car": 0.6, "road": 0.4}, truth)
    assert [to_hex(bar.get_facecolor()) for bar in ax.patches] == [to_hex(colour), "#bbbbbb"]
    assert [bar.get_width() for bar in ax.patches] == [0.6, 0.4]
    labels = ax.get_yticklabels()
    assert [label.get_text() for label in labels] == names
    assert [label.get_weight() for label in labels] == ["bold" if "✓" in name else "normal" for name in names]
    plt.close("all")
