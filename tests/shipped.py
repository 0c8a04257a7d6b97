"""What a shipped checkpoint scores, and whether its card says so: in the precision of this machine's CPU or GPU.

`TEST_PRECISION=bf16` asks for another, which PyTorch computes on any CPU, if slowly. Three models take minutes. They
are scored on the first test items alone, against `sample_scores.json`, unless `TEST_SCENES=all`; new weights need new
numbers, which `python tests/shipped.py` writes after it has found all that the three cards say to hold.
"""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from torch.utils.data import Subset

from lecture_utils import checkpoints, recipes, runtime
from lecture_utils.tasks.detection import ProposalDataset, search

SAMPLES = {"rcnn": 60, "fast_rcnn": 60, "diffusion": 250}
TOLERANCE = {"rcnn": 0.01, "fast_rcnn": 0.01, "diffusion": 0.05}  # as in the tests of these cards
SAMPLE_SCORES = Path(__file__).with_name("sample_scores.json")


class First(Subset):
    """The first items of a data set, which tells of itself what the whole one does."""

    def __init__(self, dataset: Any, count: int):
        super().__init__(dataset, range(count))
        if isinstance(dataset, ProposalDataset):  # which would search all of them
            dataset.proposals = [search(dataset.dataset[index][0]) for index in self.indices]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["dataset"], name)


def sample_scores(name: str, precision: str) -> dict[str, float]:
    """The scores of a shipped model on the first items of the test split."""
    run = replace(runtime.setup(quiet=True), precision=precision)
    task = recipes.recipe(name).task
    return recipes.metrics(task.score(recipes.load(name), First(task.data("test"), SAMPLES[name]), run))


def shipped_scores(name: str) -> dict:
    """The scores of a shipped model on the test scenes, as many as its card says."""
    run = replace(runtime.setup(quiet=True), precision=precision())
    scenes, scores = recipes.evaluate(name, recipes.load(name), run)
    assert scenes == checkpoints.card(name)["scenes"] >= 480
    return scores


class ShippedScores(dict):
    """The same by a model's name, scored when a test first asks for it: time limits count by test.

    None for those of which a sample is scored.
    """

    def __missing__(self, name: str) -> dict | None:
        self[name] = None if name in SAMPLES and os.environ.get("TEST_SCENES") != "all" else shipped_scores(name)
        return self[name]


def precision() -> str:
    return os.environ.get("TEST_PRECISION") or runtime.setup(quiet=True).precision


def carded(name: str) -> dict[str, float]:
    """What the card says of this precision; of a precision it does not know, what it says first."""
    card = checkpoints.card(name)
    return card.get("metrics_by_precision", {}).get(precision(), card["metrics"])


def check_card(name: str, scores: dict | None, *, tolerance: float | dict[str, float]) -> None:
    """The card is complete and every metric on it is measured again, or a sample of them."""
    card = checkpoints.card(name)
    assert card["name"] == name
    assert {"command", "seed", "data", "steps", "seconds", "machine", "precision", "scenes"} <= set(card)
    assert card["precision"] in card["machine"]
    others = card.get("metrics_by_precision", {})
    assert "fp32" in {card["precision"], *others}  # which every CPU has
    assert card["precision"] not in others
    assert all(metrics.keys() == card["metrics"].keys() for metrics in others.values())
    assert card["metrics"]
    if scores is None:
        stored = json.loads(SAMPLE_SCORES.read_text())[name]
        assert stored["weights"] == checkpoints.weights_checksum(name), "other weights: run tests/shipped.py"
        wanted, scores = stored["scores"].get(precision(), stored["scores"]["fp32"]), sample_scores(name, precision())
    else:
        wanted = carded(name)
    assert wanted.keys() == card["metrics"].keys()
    for metric, value in wanted.items():
        most = tolerance[metric] if isinstance(tolerance, dict) else tolerance
        assert scores[metric] == pytest.approx(value, abs=most), metric


def main() -> int:
    stored = {}
    for name in SAMPLES:
        check_card(name, shipped_scores(name), tolerance=TOLERANCE[name])
        scores = {precision: sample_scores(name, precision) for precision in ("fp32", "bf16")}
        stored[name] = {"weights": checkpoints.weights_checksum(name), "items": SAMPLES[name], "scores": scores}
    SAMPLE_SCORES.write_text(json.dumps(stored, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
