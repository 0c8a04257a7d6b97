"""The scores beside scikit-learn's and torchmetrics' on random maps with ignored pixels and absent classes."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, jaccard_score
from torchmetrics.classification import MulticlassConfusionMatrix, MulticlassJaccardIndex

from lecture_utils.cityscapes import CLASSES, IGNORE_INDEX, THIN_CLASSES
from lecture_utils.segmentation import segmentation_scores

K = len(CLASSES)


def random_maps(seed, classes, shape=(3, 17, 23)):
    """A target with `classes` and ignored pixels, and a prediction that is right half of the time."""
    rng = np.random.default_rng(seed)
    target = rng.choice([*classes, IGNORE_INDEX], size=shape)
    prediction = np.where(rng.random(shape) < 0.5, target, rng.integers(0, K, shape))
    return target, np.where(prediction == IGNORE_INDEX, 0, prediction)


def confusion_of(target, prediction):
    metric = MulticlassConfusionMatrix(K, ignore_index=IGNORE_INDEX)
    return metric(torch.as_tensor(prediction), torch.as_tensor(target))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.sets(st.integers(0, K - 1), min_size=1))
def test_equal_to_sklearn_on_the_pixels_that_count(seed, classes):
    target, prediction = random_maps(seed, sorted(classes))
    scores = segmentation_scores(confusion_of(target, prediction))
    counted = target != IGNORE_INDEX
    target, prediction = target[counted], prediction[counted]
    present = np.unique(target)
    iou = jaccard_score(target, prediction, labels=present, average=None, zero_division=0)
    assert scores["miou"] == pytest.approx(iou.mean())
    assert scores["accuracy"] == pytest.approx(accuracy_score(target, prediction))
    assert [scores["iou"][CLASSES[i]] for i in present] == pytest.approx(iou)
    absent = [value for name, value in scores["iou"].items() if CLASSES.index(name) not in present]
    assert len(absent) == K - len(present)
    assert np.isnan(absent).all()
    thin = [iou for i, iou in zip(present, iou, strict=True) if CLASSES[i] in THIN_CLASSES]
    assert scores["miou_thin"] == pytest.approx(np.mean(thin) if thin else np.nan, nan_ok=True)


def test_equal_to_torchmetrics_when_every_class_is_there():
    target, prediction = random_maps(0, range(K))
    ours = segmentation_scores(confusion_of(target, prediction))
    index = MulticlassJaccardIndex(K, ignore_index=IGNORE_INDEX, average="none")
    theirs = index(torch.as_tensor(prediction), torch.as_tensor(target))
    assert list(ours["iou"].values()) == pytest.approx(theirs.tolist())
    assert ours["miou"] == pytest.approx(theirs.mean().item())


def test_rows_are_targets():
    # 4 pixels of a: 3 right, 1 called b. b is never there.
    scores = segmentation_scores([[3, 1], [0, 0]], names=("a", "b"), thin=("b",))
    assert scores["accuracy"] == 0.75
    assert scores["iou"]["a"] == 0.75
    assert scores["miou"] == 0.75
    assert np.isnan(scores["iou"]["b"])
    assert np.isnan(scores["miou_thin"])


def test_nothing_counted_is_nan_without_a_warning(recwarn):
    scores = segmentation_scores(np.zeros((K, K)))
    assert np.isnan([scores["accuracy"], scores["miou"], scores["miou_thin"], *scores["iou"].values()]).all()
    assert not recwarn.list


@pytest.mark.parametrize(
    ("confusion", "words"),
    [
        (np.zeros((3, 4)), "confusion: got shape"),
        (np.zeros(19), "confusion: got shape"),
        (-np.eye(K), "negative"),
        (np.full((K, K), np.nan), "nan"),
    ],
)
def test_refuses_what_is_no_confusion_matrix(confusion, words):
    with pytest.raises(ValueError, match=words):
        segmentation_scores(confusion)


def test_refuses_thin_classes_without_a_name():
    with pytest.raises(ValueError, match="thin: got"):
        segmentation_scores(np.eye(2), names=("a", "b"), thin=("c",))
