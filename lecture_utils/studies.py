"""Comparisons of models over several seeds, too long for a notebook: made by one command, kept as data with their card.

`python -m lecture_utils study NAME` trains what is needed and writes data/studies/NAME.json.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.data import Dataset

from lecture_utils import checkpoints, city_models, recipes, runtime
from lecture_utils.captioning import BottleneckRNN, UniformAttention
from lecture_utils.costs import training_multiply_adds
from lecture_utils.datasets import CROP_SIZE
from lecture_utils.detection import FasterRCNN, FastRCNN, ProposalNetwork
from lecture_utils.generative import GAN, VAE, Diffusion
from lecture_utils.recipes import RECIPES, Recipe
from lecture_utils.runtime import Runtime
from lecture_utils.tasks.classification import classification_data, score_classification
from lecture_utils.tasks.single_object import fixed_slots_loss, single_object_loss
from lecture_utils.transformers import position_similarity

SCENES = 500  # of a split that count: all of the test scenes, and as many of those that a model learned from


@dataclass(frozen=True)
class Study:
    """Models that are trained by their recipes with several seeds and scored on the same unseen scenes.

    A model is a shipped one, by its name, or a recipe of the study's own. With several `fractions`, each is trained on
    the first items of its training set, as many as each share of them. With `crossed`, the weights of each are also
    scored in the network of each other one; with `exchanged`, both detectors also with the other's proposals. Scores
    are of the test scenes, or of each of `splits`, of which at most the first 500 scenes count. With `counted`, a row
    also tells the budget of its training, of models that learn from images alone.
    """

    models: Sequence[str | Recipe]
    seeds: Sequence[int] = (0, 1, 2)
    fractions: Sequence[float] = (1.0,)
    crossed: bool = False
    exchanged: bool = False
    splits: Sequence[str] = ("test",)
    counted: bool = False


def slots(order: str, name: str) -> Recipe:
    """`eight_slots`, but with the objects in another order."""
    shipped = RECIPES["eight_slots"]
    task = replace(shipped.task, make_loss=partial(fixed_slots_loss, order=order))
    return replace(shipped, name=name, task=task, model=shipped.build)


def context(name: str, width: int | None, lr: float) -> Recipe:
    """`bottleneck_rnn`, but with another vector c: the mean of the grid (None), or an MLP's of this width."""
    shipped = RECIPES["bottleneck_rnn"]
    model = partial(BottleneckRNN, **city_models.GRID, width=width)
    return replace(shipped, name=name, options=replace(shipped.options, lr=lr), model=model)


CAPTIONERS = (
    context("bottleneck_mean", None, 1e-2),
    RECIPES["bottleneck_rnn"],
    context("bottleneck_1024", 1024, 3e-3),
    RECIPES["show_attend_tell"],
)
# The ablation: `show_attend_tell` in all, at its rate, but for the weights.
UNIFORM = replace(
    RECIPES["show_attend_tell"],
    name="show_attend_tell_uniform",
    model=partial(UniformAttention, **city_models.GRID),
)
BOTTLENECKS = (*CAPTIONERS[:-1], UNIFORM, CAPTIONERS[-1])
RATES = (1e-3, 3e-3, 1e-2)


def shorter(recipe: Recipe, name: str, share: int, *, lr: float | None = None, **changes) -> Recipe:
    """A training of so many times fewer steps, with another learning rate, task or model if given."""
    options = replace(recipe.options, steps=recipe.options.steps // share, lr=lr or recipe.options.lr)
    return replace(recipe, name=name, options=options, **{"model": recipe.build} | changes)


def score_positions(model: nn.Module, dataset: Dataset, run: Runtime) -> dict:
    """The accuracy of a ViT, and how alike its positions are (`alike_in_rows`, `alike_inside`)."""
    similarity = position_similarity(model.pos_embed, model.grid)
    return score_classification(model, dataset, run) | alike_in_rows(similarity) | alike_inside(similarity)


def alike_in_rows(similarity: Float[Tensor, "h w h w"]) -> dict[str, float]:
    """Mean cosines of positions in one row, at least three patches apart: those that a flip exchanges, and others.

    The same `_inside`, without the first column and the last; and of these two, `borders`, which a flip exchanges, too.
    """
    rows, columns = similarity.shape[:2]
    at = torch.arange(columns)
    mirrored, apart = at[:, None] + at == columns - 1, (at[:, None] - at).abs() >= 3
    off = (at > 0) & (at < columns - 1)
    inside = off[:, None] & off
    in_rows = torch.stack([similarity[row, :, row] for row in range(rows)])  # row, column, column
    chosen = {"mirrored": mirrored & apart, "others": ~mirrored & apart}
    chosen |= {f"{name}_inside": which & inside for name, which in chosen.items()} | {"borders": mirrored & ~inside}
    return {name: in_rows[:, which].mean().item() for name, which in chosen.items()}


def alike_inside(similarity: Float[Tensor, "h w h w"]) -> dict[str, float]:
    """Mean cosines of positions off the border, three to less than five patches apart: in a row, a column, neither."""
    inside = similarity[1:-1, 1:-1, 1:-1, 1:-1]
    rows, columns = inside.shape[:2]
    places = torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).float()
    distance, alike = torch.cdist(places, places), inside.reshape(rows * columns, -1)
    row, column = (places[:, None] == places).unbind(-1)
    middle = (distance >= 3) & (distance < 5)
    chosen = {"row": row, "column": column, "neither": ~row & ~column}
    return {name: alike[which & middle].mean().item() for name, which in chosen.items()}


def flipped(name: str, *, flip: bool) -> Recipe:
    """`vit`, trained on images of which every other one is flipped, or none; its positions are scored, too."""
    shipped = RECIPES["vit"]
    task = replace(shipped.task, data=partial(classification_data, flip=flip), score=score_positions)
    return replace(shipped, name=name, task=task, model=shipped.build)


def without_places() -> nn.Module:
    """The caption transformer, told nothing of where in the image a feature comes from."""
    model = city_models.BUILDERS["caption_transformer"]()
    model.encode_grid.places = nn.Identity()
    return model


# Slide 37: as many parameters, within 3 %, of all networks that are trained, and as many multiply-adds of a training
# step, within 1 %; three learning rates each, the best first. The GAN was also tried with 3e-3 and 1e-2, which are
# worse still, and the VAE with 1e-2, with which it diverges.
GENERATORS = {
    "vae": (partial(VAE, latent=32, size=CROP_SIZE, widths=(32, 64, 64)), (3e-3, 1e-3, 3e-4)),
    "gan": (partial(GAN, latent=80, size=CROP_SIZE, discriminator_widths=(32, 64, 112)), (3e-4, 1e-4, 1e-3)),
    "diffusion": (partial(Diffusion, size=CROP_SIZE, base_channels=12), (3e-3, 1e-3, 1e-2)),
}


def equal_generator(name: str, *, steps: int = 1500, rate: float | None = None) -> Recipe:
    """One of the shipped generative models, in the size of GENERATORS: 48,000 images in 1,500 steps.

    All trainings, those that find the rates too, take less than an hour of a quiet core. The shipped GAN had 15 times
    and the shipped diffusion 117 times as many operations as one of these, so their samples are much better. Not equal
    are the seconds of a step, and what a sample costs: diffusion passes its network 50 times, the others once.
    """
    (model, rates), shipped = GENERATORS[name], RECIPES[name]
    options = replace(shipped.options, steps=steps, batch_size=32, lr=rate or rates[0])
    return replace(shipped, name=f"{name}_equal" + (f"_{rate:g}" if rate else ""), options=options, model=model)


def pooled_fast_rcnn() -> nn.Module:
    return FastRCNN(city_models.backbone(), city_models.head(), pooled=True)


def box_weight(weight: float) -> Recipe:
    """`single_object`, trained for a third of its steps, with another weight of the box's loss."""
    shipped = RECIPES["single_object"]
    task = replace(shipped.task, make_loss=partial(single_object_loss, weight=weight))
    return shorter(shipped, f"box_weight_{weight:g}", 3, task=task)


STUDIES = {
    # Slide 12: what do the skip connections of a U-Net contribute?
    "skips": Study(("unet", "unet_without_skips")),
    # Slide 14: two tasks, one loss; how much should the box weigh in it?
    "box_weight": Study([box_weight(weight) for weight in (1, 10, 30, 100)]),
    # Slide 15: does it matter in which order objects fill the slots?
    "slots": Study(("eight_slots", slots("left to right", "slots_left_to_right"), "slots_matched")),
    # Slides 18 to 22: the same backbone and head; run once a proposal or once an image, proposals searched or learned.
    "detectors": Study(("faster_rcnn", "fast_rcnn", "rcnn")),
    # Slide 19: RoI align, and RoI pooling.
    "roi": Study(
        ("fast_rcnn", replace(RECIPES["fast_rcnn"], name="fast_rcnn_roi_pool", model=pooled_fast_rcnn)), crossed=True
    ),
    # Slide 26: one vector for the whole image against a new look for every word, by the number of objects; as many
    # steps each.
    "bottleneck": Study(BOTTLENECKS),
    # The same on streets that they learned from: has c too little room, or had they too little to learn from?
    "bottleneck_seen": Study(BOTTLENECKS, seeds=(0,), splits=("train",)),
    # Which learning rate is best for each kind of c and for attention, on validation scenes?
    "bottleneck_rates": Study(
        [shorter(recipe, f"{recipe.name}_{lr:g}", 4, lr=lr) for recipe in CAPTIONERS for lr in RATES],
        seeds=(0,),
        splits=("val",),
    ),
    # Slide 29: positions are added to the features of the image, or never were; a quarter of the steps.
    "positions": Study(
        [
            shorter(RECIPES["caption_transformer"], "transformer_places", 4),
            shorter(RECIPES["caption_transformer"], "transformer_no_places", 4, model=without_places),
        ]
    ),
    # Slide 32: more and more of the images, equal compute.
    "vit_against_resnet": Study(("vit", "resnet"), fractions=(1 / 16, 1 / 8, 1 / 4, 1 / 2, 1)),
    # Slide 31: do positions mirror each other because the images are flipped?
    "flips": Study((flipped("vit_flips", flip=True), flipped("vit_no_flips", flip=False))),
    # Slide 34: pre-trained without labels or not, with 1 %, 5 %, 10 % and all of the labels.
    "label_efficiency": Study(("beit_segmentation", "beit_from_scratch"), fractions=(0.01, 0.05, 0.1, 1.0)),
    # Slide 37: three generative models, equal budgets of parameters and compute.
    "generators": Study([equal_generator(name) for name in GENERATORS], counted=True),
    # Which learning rate is best for each, on validation images, after 750 steps?
    "generator_rates": Study(
        [equal_generator(name, steps=750, rate=lr) for name, (_, rates) in GENERATORS.items() for lr in rates],
        seeds=(0,),
        splits=("val",),
        counted=True,
    ),
    # Slide 20: what do the proposals contribute, and what the network behind them?
    "proposals": Study(("fast_rcnn", "faster_rcnn"), exchanged=True),
}


def make(name: str, *, runs: Path | str = "runs", restart: bool = False, profile: str = "quick") -> dict:
    """Run a study: {"name", "scenes", "rows"}, with a row of metrics for each model, share and seed.

    The shipped checkpoints are the trainings on the whole set with the seed on their cards; the others are trained
    here, and go on from what `runs` holds of them, or with `restart` begin again. In the "full" profile all are that
    have a budget of their own there.
    """
    study, rows, scenes, models = _study(name), [], 0, {}
    for model_name, fraction, seed in product(study.models, study.fractions, study.seeds):
        chosen = recipes.recipe(model_name, profile)
        shown = {"fraction": fraction} if len(study.fractions) > 1 else {}
        about = {"model": chosen.name, **shown, "seed": seed}
        model, seconds = _trained(chosen, fraction, seed, Path(runs), restart)
        for split in study.splits:
            named = {"seconds": seconds} | ({} if split == "test" else {"split": split})
            scenes, scores = _scored(chosen, model, fraction, seed, split)
            rows.append(about | named | (_budget(chosen) if study.counted else {}) | scores)
        models[chosen.name, seed] = model
        others = [recipes.recipe(other, profile) for other in study.models if study.crossed and other != model_name]
        rows += [about | {"scored_as": other.name} | _scored_as(other, model) for other in others]
    for seed in study.seeds if study.exchanged else ():
        rows += _exchanged(models["fast_rcnn", seed], models["faster_rcnn", seed], seed, profile)
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


def _trained(chosen: Recipe, fraction: float, seed: int, runs: Path, restart: bool) -> tuple[nn.Module, int]:
    """One model with one share of the data and one seed, as it would be shipped, and the seconds of its training."""
    if _is_shipped(chosen, fraction, seed):
        return recipes.load(chosen.name), checkpoints.card(chosen.name)["seconds"]
    run = runtime.setup(seed, profile=chosen.profile, quiet=True)
    part = ("" if fraction == 1 else f"-{fraction:g}") + "-full" * (chosen.profile == "full")
    checkpoint = runs / f"{chosen.name}{part}-seed{seed}.safetensors"
    model, history = recipes.train(chosen, run, fraction=fraction, checkpoint=checkpoint, restart=restart)
    return checkpoints.round_to_fp16(model), round(history.seconds)


def _scored(chosen: Recipe, model: nn.Module, fraction: float, seed: int, split: str) -> tuple[int, dict]:
    """The number of scenes of a split that count, and the metrics; those of shipped weights are on their card."""
    if split == "test" and _is_shipped(chosen, fraction, seed):
        card = checkpoints.card(chosen.name)
        return card["scenes"], card["metrics"]
    run, more = runtime.setup(profile=chosen.profile, quiet=True), {} if split == "test" else {"first": SCENES}
    scenes, scores = recipes.evaluate(chosen, model, run, size=chosen.size, split=split, **more)
    return scenes, recipes.metrics(scores)


def _is_shipped(chosen: Recipe, fraction: float, seed: int) -> bool:
    return chosen is RECIPES.get(chosen.name) and fraction == 1 and seed == checkpoints.card(chosen.name)["seed"]


def _budget(chosen: Recipe) -> dict[str, int]:
    """The parameters of all that is trained, and the images and the multiply–adds of the whole training."""
    model, images = chosen.build(), chosen.options.steps * chosen.options.batch_size
    image = (model.channels, chosen.pixels, chosen.pixels)
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "images": images,
        "multiply_adds": training_multiply_adds(model, chosen.task.make_loss(None), image=image, images=images),
    }


def _scored_as(network: Recipe, model: nn.Module) -> dict:
    """The metrics of a model's weights in another network, which has parameters of the same names and shapes."""
    run, other = runtime.setup(profile=network.profile, quiet=True), network.build()
    other.load_state_dict(model.state_dict())
    return recipes.metrics(recipes.evaluate(network, other, run, size=network.size)[1])


def by_model(name: str, key: str) -> dict[str, list[float]]:
    """A score of each training on the test scenes, in the study's order: model → one value for each seed."""
    scores: dict[str, list[float]] = {}
    for row in load(name)["rows"]:
        if not {"scored_as", "proposals_of", "split"} & set(row):
            scores.setdefault(row["model"], []).append(row[key])
    return scores


def ranges(rows: Sequence[Mapping], keys: Mapping[str, str], name: Callable[[Mapping], str]) -> str:
    """A table of a study's rows: one line for each `name`, the mean of its seeds and their range.

    `keys` are metrics, key of a row → heading of its column.
    """
    of: dict[str, list[Mapping]] = {}
    for row in rows:
        of.setdefault(name(row), []).append(row)
    wide = max(map(len, of)) + 2
    lines = [f"{'mean (range)':{wide}}" + "".join(f"{heading:^24}" for heading in keys.values())]
    for words, its in of.items():
        columns = [[row[key] for row in its] for key in keys]
        cells = (f"{sum(v) / len(v):.3f} ({min(v):.3f} to {max(v):.3f})" for v in columns)
        lines.append(f"{words:{wide}}" + "".join(f"{cell:^24}" for cell in cells))
    return "\n".join(line.rstrip() for line in lines)


class WithProposals(nn.Module):
    """Fast R-CNN that is given the proposals of another detector's region proposal network."""

    def __init__(self, detector: FastRCNN, proposer: ProposalNetwork):
        super().__init__()
        self.detector, self.proposer = detector, proposer

    def forward(self, images: Tensor) -> list[dict]:
        return self.detector(images, self.proposer(images))


def _exchanged(fast: FastRCNN, faster: FasterRCNN, seed: int, profile: str) -> list[dict]:
    """The metrics of Fast R-CNN on the proposals of Faster R-CNN, and of that one's head on searched proposals."""
    run, rows = runtime.setup(seed, profile=profile, quiet=True), []
    learned = WithProposals(fast, ProposalNetwork(faster.backbone, faster.rpn))
    searched = FastRCNN(faster.backbone, faster.head)
    # Which data a network is scored on goes with its inputs: the recipe is that of the proposals.
    for name, of, network in (("fast_rcnn", "faster_rcnn", learned), ("faster_rcnn", "fast_rcnn", searched)):
        chosen = recipes.recipe(of, profile)
        scores = recipes.metrics(recipes.evaluate(chosen, network, run, size=chosen.size)[1])
        rows.append({"model": name, "seed": seed, "proposals_of": of} | scores)
    return rows
