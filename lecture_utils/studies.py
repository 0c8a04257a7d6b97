"""Comparisons of models over several seeds, too long for a notebook: made by one command, kept as data with their card.

`python -m lecture_utils study NAME` trains what is needed and writes data/studies/NAME.json.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lecture_utils import checkpoints, recipes, runtime


@dataclass(frozen=True)
class Study:
    """Models that are trained by their recipes with several seeds and scored on the same unseen scenes."""

    models: Sequence[str]
    seeds: Sequence[int] = (0, 1, 2)


STUDIES = {
    # Slide 26: one vector for the whole picture against a new look for every word, by the number of objects.
    "bottleneck": Study(("bottleneck_rnn", "show_attend_tell")),
}


def make(name: str, *, runs: Path | str = "runs") -> dict:
    """Run a study: {"name", "scenes", "rows"}, with a row of metrics for each model and seed.

    The shipped checkpoints are the trainings with the seed on their cards; the others are trained here, and go on from
    what `runs` holds of them.
    """
    study, rows, scenes = _study(name), [], 0
    for model_name in study.models:
        for seed in study.seeds:
            scenes, row = _trained(model_name, seed, Path(runs))
            rows.append(row)
    return {"name": name, "scenes": scenes, "rows": rows}


def load(name: str) -> dict:
    """A study that comes with the course, as `make` gave it, with the command and the machine that made it."""
    _study(name)
    return json.loads(runtime.shipped(f"studies/{name}.json").read_text(encoding="utf-8"))


def _study(name: str) -> Study:
    if name not in STUDIES:
        raise ValueError(f"name: got {name!r}, expected one of {', '.join(STUDIES)}")
    return STUDIES[name]


def _trained(name: str, seed: int, runs: Path) -> tuple[int, dict]:
    """One model with one seed: the number of scenes, and its row."""
    card = checkpoints.card(name)
    if seed == card["seed"]:
        return card["scenes"], {"model": name, "seed": seed, "seconds": card["seconds"], **card["metrics"]}
    run = runtime.setup(seed, quiet=True)
    model, history = recipes.train(name, run, checkpoint=runs / f"{name}-seed{seed}.safetensors")
    scenes, scores = recipes.evaluate(name, checkpoints.halve(model), run)
    return scenes, {"model": name, "seed": seed, "seconds": round(history.seconds), **recipes.metrics(scores)}
