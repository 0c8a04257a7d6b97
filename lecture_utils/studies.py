"""Comparisons of models over several seeds, too long for a notebook: made by one command, kept as data with their card.

`python -m lecture_utils study NAME` trains what is needed and writes data/studies/NAME.json.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from lecture_utils import checkpoints, recipes, runtime


@dataclass(frozen=True)
class Study:
    """Models that are trained by their recipes with several seeds and scored on the same unseen scenes.

    With several `fractions`, each is trained on the first items of its training set, as many as each share of them.
    """

    models: Sequence[str]
    seeds: Sequence[int] = (0, 1, 2)
    fractions: Sequence[float] = (1.0,)


STUDIES = {
    # Slide 12: what do the skip connections of a U-Net contribute?
    "skips": Study(("unet", "unet_without_skips")),
    # Slide 26: one vector for the whole image against a new look for every word, by the number of objects.
    "bottleneck": Study(("bottleneck_rnn", "show_attend_tell")),
    # Slide 32: more and more of the images, equal compute.
    "vit_against_resnet": Study(("vit", "resnet"), fractions=(1 / 16, 1 / 8, 1 / 4, 1 / 2, 1)),
    # Slide 34: pre-trained without labels or not, with 1 %, 5 %, 10 % and all of the labels.
    "label_efficiency": Study(("beit_segmentation", "beit_from_scratch"), fractions=(0.01, 0.05, 0.1, 1.0)),
}


def make(name: str, *, runs: Path | str = "runs", restart: bool = False, profile: str = "quick") -> dict:
    """Run a study: {"name", "scenes", "rows"}, with a row of metrics for each model, share and seed.

    The shipped checkpoints are the trainings on the whole set with the seed on their cards; the others are trained
    here, and go on from what `runs` holds of them, or with `restart` begin again. In the "full" profile all are that
    have a budget of their own there.
    """
    study, rows, scenes = _study(name), [], 0
    for model_name, fraction, seed in product(study.models, study.fractions, study.seeds):
        scenes, scores = _trained(model_name, fraction, seed, profile, Path(runs), restart)
        shown = {"fraction": fraction} if len(study.fractions) > 1 else {}
        rows.append({"model": model_name, **shown, "seed": seed, **scores})
    return {"name": name, "scenes": scenes, "rows": rows}


def load(name: str) -> dict:
    """A study that comes with the course, as `make` gave it, with the command and the machine that made it."""
    _study(name)
    mend = f"make it again with: python -m lecture_utils study {name}"
    return checkpoints.read_json(runtime.resource_path(f"studies/{name}.json"), mend=mend)


def _study(name: str) -> Study:
    if name not in STUDIES:
        raise ValueError(f"name: got {name!r}, expected one of {', '.join(STUDIES)}")
    return STUDIES[name]


def _trained(name: str, fraction: float, seed: int, profile: str, runs: Path, restart: bool) -> tuple[int, dict]:
    """One model with one share of the data and one seed: the number of scenes, and its seconds and metrics."""
    chosen, card = recipes.recipe(name, profile), checkpoints.card(name)
    if fraction == 1 and seed == card["seed"] and chosen.profile == "quick":
        return card["scenes"], {"seconds": card["seconds"], **card["metrics"]}
    run = runtime.setup(seed, profile=chosen.profile, quiet=True)
    part = ("" if fraction == 1 else f"-{fraction:g}") + "-full" * (chosen.profile == "full")
    checkpoint = runs / f"{name}{part}-seed{seed}.safetensors"
    model, history = recipes.train(name, run, fraction=fraction, checkpoint=checkpoint, restart=restart)
    scenes, scores = recipes.evaluate(name, checkpoints.round_to_fp16(model), run, size=chosen.size)
    return scenes, {"seconds": round(history.seconds), **recipes.metrics(scores)}
