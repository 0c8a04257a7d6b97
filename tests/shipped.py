"""What a shipped checkpoint scores, and whether its card says so: in the precision of this machine's CPU or GPU.

`TEST_PRECISION=bf16` asks for another, which PyTorch computes on any CPU, if slowly.
"""

import os
from dataclasses import replace

import pytest

from lecture_utils import checkpoints, recipes, runtime


def shipped_scores(name: str) -> dict:
    """The scores of a shipped model on the test scenes, as many as its card says."""
    run = replace(runtime.setup(quiet=True), precision=precision())
    scenes, scores = recipes.evaluate(name, recipes.load(name), run)
    assert scenes == checkpoints.card(name)["scenes"] >= 480
    return scores


class ShippedScores(dict):
    """The same by a model's name, scored when a test first asks for it: time limits count by test."""

    def __missing__(self, name: str) -> dict:
        self[name] = shipped_scores(name)
        return self[name]


def precision() -> str:
    return os.environ.get("TEST_PRECISION") or runtime.setup(quiet=True).precision


def carded(name: str) -> dict[str, float]:
    """What the card says of this precision; of a precision it does not know, what it says first."""
    card = checkpoints.card(name)
    return card.get("metrics_by_precision", {}).get(precision(), card["metrics"])


def check_card(name: str, scores: dict, *, tolerance: float) -> None:
    """The card is complete and every metric on it is measured again."""
    card = checkpoints.card(name)
    assert card["name"] == name
    assert {"command", "seed", "data", "steps", "seconds", "machine", "precision", "scenes"} <= set(card)
    assert card["precision"] in card["machine"]
    others = card.get("metrics_by_precision", {})
    assert "fp32" in {card["precision"], *others}  # which every CPU has
    assert card["precision"] not in others
    assert all(metrics.keys() == card["metrics"].keys() for metrics in others.values())
    assert card["metrics"]
    for metric, value in carded(name).items():
        assert scores[metric] == pytest.approx(value, abs=tolerance), metric
