"""Overlays, outlines and windows beside plain loops; the figures by what they hold."""

from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from lecture_course.nb04_unet.figures import boundaries_magnified, busiest_window, class_iou_dots
from lecture_utils.cityscapes import CLASSES, IGNORE_INDEX, PALETTE, THIN_CLASSES, TRAIN_ID, colour_labels
from lecture_utils.figures import compare, draw_image, legend, overlay, training_curve
from lecture_utils.figures.overlays import outline
from lecture_utils.segmentation import segmentation_scores

LABELS = st.sampled_from([*range(len(CLASSES)), IGNORE_INDEX])


def label_maps(min_side=1):
    shapes = array_shapes(min_dims=2, max_dims=2, min_side=min_side, max_side=12)
    return shapes.flatmap(lambda shape: arrays(np.uint8, shape, elements=LABELS))


def street(height=48, width=64):
    labels = np.full((height, width), TRAIN_ID["sky"], np.uint8)
    labels[height // 2 :] = TRAIN_ID["road"]
    labels[8:40, 50:52] = TRAIN_ID["pole"]
    labels[-2:] = IGNORE_INDEX
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8), labels


def names_in(fig):
    return [text.get_text() for text in fig.legends[0].get_texts()]


@given(label_maps(), st.floats(0, 1))
def test_overlay_mixes_each_pixel(labels, alpha):
    image = np.random.default_rng(0).integers(0, 256, (*labels.shape, 3), dtype=np.uint8)
    mixed = overlay(image, labels, alpha)
    assert mixed.dtype == np.uint8
    for at in np.ndindex(labels.shape):
        expected = image[at] if labels[at] == IGNORE_INDEX else (1 - alpha) * image[at] + alpha * PALETTE[labels[at]]
        assert np.abs(mixed[at] - expected).max() <= 0.5 + 1e-9


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_overlay_refuses_an_alpha_that_is_no_share(alpha):
    image, labels = street()
    with pytest.raises(ValueError, match="alpha: got"):
        overlay(image, labels, alpha)


def test_overlay_refuses_other_sizes():
    image, labels = street()
    with pytest.raises(ValueError, match="labels: got shape"):
        overlay(image, labels.T)


@given(label_maps())
def test_outline_is_the_set_of_edges_between_classes(labels):
    expected = set()
    for y, x in np.ndindex(labels.shape):
        if x + 1 < labels.shape[1] and labels[y, x] != labels[y, x + 1]:
            expected.add(((x + 0.5, y - 0.5), (x + 0.5, y + 0.5)))
        if y + 1 < labels.shape[0] and labels[y, x] != labels[y + 1, x]:
            expected.add(((x - 0.5, y + 0.5), (x + 0.5, y + 0.5)))
    assert {tuple(map(tuple, segment)) for segment in outline(labels)} == expected


@given(label_maps())
def test_busiest_window_holds_the_most_edges_of_thin_classes(labels):
    thin = np.isin(labels, [TRAIN_ID[name] for name in THIN_CLASSES])
    edges = np.zeros(labels.shape, int)
    edges[:, 1:] += thin[:, 1:] != thin[:, :-1]
    edges[1:] += thin[1:] != thin[:-1]
    x0, y0, x1, y1 = busiest_window(labels)
    height, width = labels.shape
    assert 0 <= x0 < x1 <= width
    assert 0 <= y0 < y1 <= height
    h, w = y1 - y0, x1 - x0
    best = max(edges[y : y + h, x : x + w].sum() for y in range(height - h + 1) for x in range(width - w + 1))
    assert edges[y0:y1, x0:x1].sum() == best


def test_label_map_draws_the_official_colours():
    _, labels = street()
    _, ax = plt.subplots()
    draw_image(ax, labels)
    np.testing.assert_array_equal(ax.images[0].get_array(), colour_labels(labels))


def test_legend_names_the_classes_present_and_what_is_ignored():
    _, labels = street()
    fig = plt.figure(layout="constrained")
    legend(fig, labels, np.array([[TRAIN_ID["car"]]]))
    assert names_in(fig) == ["road", "pole", "sky", "car", "ignored"]


def test_compare_is_a_grid_with_titles_and_a_legend():
    image, labels = street()
    fig = compare({"photo": [image, image, image], "truth": [labels, labels, labels]}, title="Two")
    assert len(fig.axes) == 6
    assert [ax.get_title() for ax in fig.axes] == ["photo", "truth", "", "", "", ""]
    assert names_in(fig) == ["road", "pole", "sky", "ignored"]


def test_compare_of_photographs_alone_has_no_legend():
    image, _ = street()
    assert not compare({"one": [image]}).legends


@pytest.mark.parametrize("columns", [{}, {"a": []}, {"a": [np.zeros((2, 2, 3), np.uint8)], "b": []}])
def test_compare_refuses_ragged_columns(columns):
    with pytest.raises(ValueError, match="columns: got"):
        compare(columns)


@pytest.mark.parametrize("shape", [(4,), (4, 4, 4), (0, 4, 3)])
def test_compare_refuses_what_is_no_picture(shape):
    with pytest.raises(ValueError, match="image: got shape"):
        compare({"photo": [np.zeros((2, 2, 3), np.uint8), np.zeros(shape, np.uint8)]})


def test_boundaries_are_magnified_in_one_window_for_all():
    image, labels = street()
    blurred = np.full_like(labels, TRAIN_ID["sky"])
    fig = boundaries_magnified(image, {"truth": labels, "FCN": blurred}, window=(45, 5, 61, 25))
    photo, truth, fcn = fig.axes
    assert truth.get_xlim() == fcn.get_xlim() == (44.5, 60.5)
    assert truth.get_ylim() == fcn.get_ylim() == (24.5, 4.5)
    assert [patch.get_bbox().bounds for patch in photo.patches] == [(44.5, 4.5, 16, 20)] * 2
    # The truth's edges lie over the prediction, too.
    for ax in (truth, fcn):
        np.testing.assert_array_equal(ax.collections[0].get_segments(), outline(labels))
    assert names_in(fig) == ["road", "pole", "sky"]


@pytest.mark.parametrize("window", [(0, 0, 65, 10), (5, 5, 5, 9), (-1, 0, 4, 4), (0, 40, 9, 49)])
def test_boundaries_refuse_a_window_outside(window):
    image, labels = street()
    with pytest.raises(ValueError, match="window: got"):
        boundaries_magnified(image, {"truth": labels}, window=window)


def test_boundaries_refuse_maps_of_another_size():
    image, labels = street()
    with pytest.raises(ValueError, match=r"maps\['FCN'\]: got shape"):
        boundaries_magnified(image, {"truth": labels, "FCN": labels[:-1]})


def test_dots_are_the_scores():
    confusion = np.zeros((19, 19))
    confusion[0, :2] = 3, 1
    confusion[5, 5] = 2
    scores = segmentation_scores(confusion)
    fig = class_iou_dots({"U-Net": scores, "FCN": segmentation_scores(confusion[:, ::-1])})
    [ax] = fig.axes
    assert [label.get_text() for label in ax.get_yticklabels()] == ["road", "pole (thin)"]
    assert [line.get_xdata().tolist() for line in ax.lines] == [[0.75, 1.0], [0.0, 0.0]]
    assert names_in(fig) == ["U-Net: mean 0.88", "FCN: mean 0.00"]
    assert len({(line.get_color(), line.get_marker()) for line in ax.lines}) == 2


def test_dots_want_a_model():
    with pytest.raises(ValueError, match="scores: got no model"):
        class_iou_dots({})


def test_training_curve_draws_the_losses_and_the_scores():
    metrics = [{"step": 50, "miou": 0.3, "accuracy": 0.5}, {"step": 100, "miou": 0.6, "accuracy": 0.7}]
    losses = list(np.random.default_rng(0).random(100))
    loss, score = training_curve(SimpleNamespace(losses=losses, metrics=metrics)).axes
    each, mean = loss.lines
    np.testing.assert_array_equal(each.get_xydata(), np.stack([np.arange(1, 101), losses], 1))
    assert mean.get_xydata()[0] == pytest.approx([5, np.mean(losses[:5])])
    assert mean.get_xydata()[-1] == pytest.approx([100, np.mean(losses[-5:])])
    assert {line.get_label(): list(line.get_ydata()) for line in score.lines} == {
        "miou": [0.3, 0.6],
        "accuracy": [0.5, 0.7],
    }
    assert loss.get_xlabel() == score.get_xlabel() == "training step"


def test_training_curve_of_one_step_without_scores():
    assert len(training_curve(SimpleNamespace(losses=[2.0], metrics=[])).axes) == 1


def test_training_curve_wants_a_step():
    with pytest.raises(ValueError, match="history: got no losses"):
        training_curve(SimpleNamespace(losses=[], metrics=[]))
