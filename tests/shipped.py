"""What a shipped checkpoint scores, and whether its card says so."""

import pytest

from lecture_utils import checkpoints, recipes, runtime


def shipped_scores(name: str) -> dict:
    """The scores of a shipped model on the test scenes, as many as its card says."""
    scenes, scores = recipes.evaluate(name, recipes.load(name), runtime.setup(quiet=True))
    assert scenes == checkpoints.card(name)["scenes"] >= 480
    return scores


def check_card(name: str, scores: dict, *, tolerance: float) -> None:
    """The card is complete and every metric on it is measured again."""
    card = checkpoints.card(name)
    assert card["name"] == name
    assert {"command", "seed", "data", "steps", "seconds", "machine", "scenes"} <= set(card)
    assert card["metrics"]
    for metric, value in card["metrics"].items():
        assert scores[metric] == pytest.approx(value, abs=tolerance), metric
