"""A network trained in view, in the profile that has a budget for it, and the better of it and the shipped one."""

import pytest
from torch import nn

from lecture_utils import live, recipes, runtime
from lecture_utils.training import History


@pytest.fixture
def stub(monkeypatch):
    """Nothing is trained or loaded; the scores of the two are given by the test."""
    done = {"scores": {}, "trained": []}

    def train(name, run, **how):
        done["trained"].append((name, run.profile, how))
        return nn.Linear(2, 2), History(losses=[2.0, 1.0], seconds=3.0)

    def evaluate(name, model, run, *, size, split):
        assert split == "val"
        return 200, {"map": done["scores"][size]}

    monkeypatch.setattr(recipes, "load", lambda name, device: nn.Linear(1, 1))
    monkeypatch.setattr(recipes, "train", train)
    monkeypatch.setattr(recipes, "evaluate", evaluate)
    return done


def test_in_the_quick_profile_nothing_is_trained(stub):
    found = live.train_or_load("faster_rcnn", runtime.setup(quiet=True, profile="quick"), metric="map")
    assert not stub["trained"]
    assert found.model.in_features == 1
    assert (found.history, found.size, found.scores) == (None, None, {})


@pytest.mark.parametrize(("here", "size"), [(0.6, 256), (0.4, None)])
def test_in_the_full_profile_the_better_one_is_shown(stub, here, size):
    stub["scores"] = {None: 0.5, 256: here}
    run = runtime.setup(quiet=True, profile="full")
    found = live.train_or_load("faster_rcnn", run, metric="map", max_seconds=60)
    assert stub["trained"] == [("faster_rcnn", "full", {"max_seconds": 60})]
    assert found.size == size
    assert found.model.in_features == (2 if size else 1)
    assert not found.model.training
    assert found.scores == {"shipped": 0.5, "trained here": here}
    assert found.history.steps == 2


@pytest.mark.parametrize(("here", "size"), [(0.6, None), (0.5, None), (0.4, 256)])
def test_less_may_be_better(stub, here, size):
    stub["scores"] = {None: 0.5, 256: here}
    run = runtime.setup(quiet=True, profile="full")
    assert live.train_or_load("faster_rcnn", run, metric="map", better=min).size == size


def test_what_has_one_budget_is_shown_as_it_was_shipped(stub):
    found = live.train_or_load("rpn9", runtime.setup(quiet=True, profile="full"), metric="recall_300")
    assert not stub["trained"]
    assert found.model.in_features == 1


def test_a_metric_that_the_model_does_not_have_is_refused(stub):
    stub["scores"] = {None: 0.5, 256: 0.6}
    with pytest.raises(ValueError, match="metric: got 'miou', expected one of 'map'"):
        live.train_or_load("faster_rcnn", runtime.setup(quiet=True, profile="full"), metric="miou")
