"""A network that learns while one watches, where there is a GPU for it; elsewhere the one that was shipped."""

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import nn

from lecture_utils import recipes
from lecture_utils.arguments import require_one_of
from lecture_utils.runtime import Runtime
from lecture_utils.training import History


@dataclass(frozen=True)
class Shown:
    """The network to go on with, ready to predict, and how it came to be the one."""

    model: nn.Module
    size: int | None = None  # pixels a side of the city's scenes it takes; None for those of its task
    history: History | None = None  # of the training here; None where there was none
    scores: dict[str, float] = field(default_factory=dict)  # of "shipped" and "trained here" on the validation scenes


def train_or_load(name: str, run: Runtime, *, metric: str, better: Callable = max, max_seconds: float = 170.0) -> Shown:
    """In the full profile, train a model by its recipe for `max_seconds` at most, and show the better of it and the
    shipped one by a `metric` on the validation scenes, each at its own size; in the quick profile, show the shipped.

    `better` is `min` where less of the metric is better.

    Raises `ValueError` for a metric that the model is not scored by.
    """
    shipped, chosen = recipes.load(name, device=run.device), recipes.recipe(name, run.profile)
    if chosen.profile == "quick":
        return Shown(shipped)
    before = _score(recipes.recipe(name), shipped, run, metric)
    trained, history = recipes.train(name, run, max_seconds=max_seconds)
    scores = {"shipped": before, "trained here": _score(chosen, trained, run, metric)}
    if better(scores, key=scores.get) == "trained here":  # of equal ones the first, which is the shipped
        return Shown(trained.eval(), chosen.size, history, scores)
    return Shown(shipped.eval(), None, history, scores)


def _score(chosen: recipes.Recipe, model: nn.Module, run: Runtime, metric: str) -> float:
    _, scores = recipes.evaluate(chosen, model, run, size=chosen.size, split="val")
    require_one_of("metric", metric, tuple(key for key, value in scores.items() if isinstance(value, float)))
    return scores[metric]
