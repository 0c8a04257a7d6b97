"""The study of notebook 08: captioners with another vector c and with attention, by the number of objects."""

from collections.abc import Mapping, Sequence

import torch

from lecture_utils import recipes, studies
from lecture_utils.tasks.caption_dataset import CaptionDataset
from lecture_utils.tasks.caption_scores import GROUPS as TASK_GROUPS
from lecture_utils.tasks.caption_scores import true_share
from lecture_utils.toycity.describe import LIST

GROUPS = {"1 or 2": "1_2", "3 or 4": "3_4", "5 to 8": "5_more"}  # objects in the street, and their columns in a study


SPLITS = {"500 test streets": "test", "500 training streets": "train"}


NAMES = {  # of the study's models
    "bottleneck_mean": "mean of the points",
    "bottleneck_rnn": "MLP, 192 numbers",
    "bottleneck_1024": "MLP, 1,024 numbers",
    "show_attend_tell_uniform": "uniform attention",
    "show_attend_tell": "attention",
}


def by_objects(rows: Sequence[Mapping], model: str, split: str, metric: str = "facts") -> list[list[float]]:
    """A metric of the study `bottleneck` for each seed of a model, by the number of objects (`GROUPS`)."""
    chosen = [row for row in rows if row["model"] == model and row.get("split", "test") == split]
    return [[row[f"{metric}_{group}"] for group in GROUPS.values()] for row in chosen]


def chance_by_objects(data: CaptionDataset) -> list[float]:
    """What true lists come to on other streets, by the number of objects (`GROUPS`): on the next with as many."""
    images: dict[int, list[int]] = {}
    for image in range(len(data)):
        images.setdefault(len(data.truth(image)[1].objects), []).append(image)
    shares = {name: [] for name in TASK_GROUPS}
    for number, some in images.items():
        for image, other in zip(some, some[1:] + some[:1], strict=True) if number and len(some) > 1 else ():
            (name,) = [name for name, numbers in TASK_GROUPS.items() if number in numbers]
            (listed,) = [one for one in data.dataset.captions(image) if one.startswith(LIST)]
            shares[name].append(true_share(listed, data, other))
    return [sum(some) / len(some) for some in shares.values()]


def panels_by_objects(rows: Sequence[Mapping], metric: str = "facts") -> dict[str, dict[str, list[list[float]]]]:
    """What `figures.by_objects` draws of the study: a panel for each split with a line for each model that has rows."""
    panels = {
        name: {shown: by_objects(rows, model, split, metric) for model, shown in NAMES.items()}
        for name, split in SPLITS.items()
    }
    return {
        name: kept for name, lines in panels.items() if (kept := {key: runs for key, runs in lines.items() if runs})
    }


def budgets(rows: Sequence[Mapping]) -> list[dict]:
    """Of each model of the study its steps, learning rate, parameters, and the mean seconds of its trainings."""
    found = []
    for recipe in studies.STUDIES["bottleneck"].models:
        chosen = recipes.recipe(recipe)
        seconds = [row["seconds"] for row in rows if row["model"] == chosen.name and row.get("split", "test") == "test"]
        parameters = sum(weights.numel() for weights in chosen.build().parameters())
        about = {"model": NAMES[chosen.name], "steps": chosen.options.steps, "rate": chosen.options.lr}
        found.append(about | {"parameters": parameters, "seconds": sum(seconds) / len(seconds), "runs": len(seconds)})
    return found


def budget_table(rows: Sequence[Mapping]) -> str:
    """The `budgets` as a table."""
    lines = [f"{'':20}  steps  learning rate  parameters  trainings"]
    for one in budgets(rows):
        numbers = f"{one['steps']:7,} {one['rate']:14g} {one['parameters']:11,}"
        lines.append(f"{one['model']:20}{numbers} {one['runs']:10}")
    return "\n".join(lines)


def objects_table(panels: Mapping[str, Mapping], chance: Mapping[str, Sequence[float]]) -> str:
    """`panels_by_objects` as a table, means over the trainings; columns are the `GROUPS`.

    Below them chance, and how far attention is above the MLP with 192 numbers.
    """
    lines = [f"{'':20}" + "".join(f"{name:>24}" for name in panels)]
    lines.append(f"{'objects':20}" + "".join(f"{group:>8}" for _ in panels for group in GROUPS))
    for model in next(iter(panels.values())):
        means = [torch.tensor(panel[model]).mean(0).tolist() for panel in panels.values()]
        lines.append(f"{model:20}" + "".join(f"{share:8.2f}" for some in means for share in some))
    of = lambda panel, model: torch.tensor(panel[NAMES[model]]).mean(0)  # noqa: E731
    gaps = [(of(one, "show_attend_tell") - of(one, "bottleneck_rnn")).tolist() for one in panels.values()]
    lines.append(f"{'chance':20}" + "".join(f"{share:8.2f}" for name in panels for share in chance[name]))
    lines.append(f"{'attention − MLP 192':20}" + "".join(f"{gap:8.2f}" for some in gaps for gap in some))
    return "\n".join(lines)


def loss_table(rows: Sequence[Mapping]) -> str:
    """The loss a word on streets that were learned from and on new ones, first start, of the models that have both."""
    lines = [f"{'loss a word':20}" + "".join(f"{name:>24}" for name in SPLITS)]
    for model, name in NAMES.items():
        losses = {
            row.get("split", "test"): row["loss"]
            for row in rows
            if row["model"] == model and row["seed"] == 0 and "loss" in row
        }
        if len(losses) == len(SPLITS):
            lines.append(f"{name:20}" + "".join(f"{losses[split]:24.3f}" for split in SPLITS.values()))
    return "\n".join(lines)


def gains(lines: Mapping[str, Sequence[Sequence[float]]], chance: Sequence[float]) -> dict[str, list[float]]:
    """Which fraction of attention's gain over chance each vector keeps, by the number of objects.

    `lines` are those of one panel of `panels_by_objects`; the means over the trainings count.
    """
    over = {name: torch.tensor(runs).mean(0) - torch.tensor(chance) for name, runs in lines.items()}
    most = over.pop("attention")
    return {name: (gain / most).tolist() for name, gain in over.items()}
