"""The numbers drawn are the numbers given."""

import numpy as np
import pytest
import torch

from lecture_course.nb01_from_classification_to_pixels import figures as nb01
from lecture_utils import figures


@pytest.mark.slide("04")
def test_confusion_is_shown_as_shares_of_each_true_class_that_occurs():
    confusion = np.array([[3, 1, 0], [0, 0, 0], [2, 0, 6]])
    ax = nb01.confusion_map(confusion, ["road", "wall", "car"]).axes[0]
    assert np.allclose(ax.images[0].get_array(), [[75, 0], [25, 75]])  # a quarter of the road went to a wall
    assert [label.get_text() for label in ax.get_yticklabels()] == ["road", "car"]
    assert [text.get_text() for text in ax.texts] == ["75", "25", "75"]
    assert ax.images[0].get_clim() == (0, 100)


def test_confusion_refuses_a_matrix_without_a_pixel():
    with pytest.raises(ValueError, match="confusion: got no pixel"):
        nb01.confusion_map(np.zeros((2, 2)), ["a", "b"])


def test_confusion_refuses_other_names_than_rows():
    with pytest.raises(ValueError, match="confusion: got shape"):
        nb01.confusion_map(np.ones((2, 2)), ["road"])


@pytest.mark.slide("06")
def test_curves_draw_each_line_on_its_panel():
    panels = {"GB": {"with": [1, 2, 3], "without": [2, 4, 8]}, "FLOPs": {"with": [5, 6, 7], "without": [5, 7, 9]}}
    fig = figures.curves([1, 2, 4], panels, xlabel="layers", log="y", limits={"GB": (0.5, 10)})
    for ax, (label, lines) in zip(fig.axes, panels.items(), strict=True):
        assert ax.get_ylabel() == label
        assert {line.get_label(): list(line.get_ydata()) for line in ax.get_lines()} == lines
        assert ax.get_yscale() == "log"
    assert fig.axes[0].get_ylim() == (0.5, 10)
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["with", "without"]


def test_curves_refuse_lines_of_another_length():
    with pytest.raises(ValueError, match="panels: got 2 values of 'a', expected 3"):
        figures.curves([1, 2, 3], {"y": {"a": [1, 2]}}, xlabel="x")


def test_loss_curves_smooth_each_line_by_the_means_of_as_many_steps():
    losses = {"a": [6.0, 4, 3, 1, 9], "b": torch.tensor([1.0, 1, 2, 4, 9])}
    first, second = figures.loss_curves({"loss": losses}, points=2).axes[0].get_lines()
    assert (first.get_xdata().tolist(), first.get_ydata().tolist()) == ([2, 4], [5, 2])
    assert second.get_ydata().tolist() == [1, 3]
    (single,) = figures.loss_curves({"loss": {"": [2.0]}}).axes[0].get_lines()
    assert (single.get_xdata().tolist(), single.get_ydata().tolist()) == ([1], [2])


def test_loss_curves_refuse_lines_of_another_length():
    with pytest.raises(ValueError, match="losses: got 2 and 3 numbers"):
        figures.loss_curves({"loss": {"a": [1, 2, 3], "b": [1, 2]}})


def test_each_training_is_a_dot():
    panels = {"mAP": {"a": [0.1, 0.2, 0.3], "b": [0.4, 0.5, 0.9]}}
    panels |= {"AP50": {"a": [0.5], "b": [0.7]}, "AP75": {"a": [0], "b": [1]}}
    fig = figures.seed_dots(panels, title="Three seeds")
    assert [[dots.get_offsets()[:, 0].tolist() for dots in ax.collections] for ax in fig.axes] == [
        list(models.values()) for models in panels.values()
    ]
    assert [text.get_text() for text in fig.axes[0].texts] == ["0.200", "0.600"]


def test_a_level_has_no_markers_and_a_single_measurement_has_one():
    panels = {"y": {"measured": [2.0], "level": [1.0]}}
    measured, level = figures.curves([1], panels, xlabel="x", levels=["level"]).axes[0].get_lines()
    assert (measured.get_marker(), level.get_marker()) == ("o", "")
