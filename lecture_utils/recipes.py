"""How each model that comes with the course is built, trained on the city and scored: one entry for each checkpoint.

`python -m lecture_utils train NAME` and `evaluate NAME` run exactly this.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from torch import nn
from torch.utils.data import Dataset, Subset

from lecture_utils import checkpoints, city_models, own_data, training
from lecture_utils.arguments import require_one_of, require_whole
from lecture_utils.costs import Costs, costs
from lecture_utils.datasets import CROP_SIZE, DETECTION_SIZE, FULL_CROP_SIZE, FULL_SIZE, QUICK_SIZE, layouts
from lecture_utils.datasets.fingerprint import fingerprint
from lecture_utils.datasets.pairs import SMALLEST_PHOTO
from lecture_utils.options import TrainingOptions
from lecture_utils.runtime import PROFILES, Runtime
from lecture_utils.segmentation.fcn import start_from
from lecture_utils.tasks.captioning import ATTENDING, CAPTIONS, PIXEL_CAPTIONS
from lecture_utils.tasks.classification import CLASSIFICATION
from lecture_utils.tasks.detection import DETECTION, PROPOSALS, SELECTIVE_SEARCH
from lecture_utils.tasks.generation import ADVERSARIAL, DENOISING, RECONSTRUCTION, VARIATIONAL
from lecture_utils.tasks.masked_images import MASKED_IMAGES
from lecture_utils.tasks.segmentation import SEGMENTATION
from lecture_utils.tasks.set_prediction import SETS
from lecture_utils.tasks.single_object import MATCHED_SLOTS, SINGLE_OBJECT, SLOTS
from lecture_utils.tasks.task import Task
from lecture_utils.transformers.beit import start_from_pretrained

MOST_PIXELS = 4096  # a side: larger images do not fit into the memory of any machine the course is meant for


@dataclass(frozen=True)
class Recipe:
    """The training that made the checkpoint `name`; the model itself is `city_models.build(name)`.

    Some have a second budget, the full profile's: a wider model, more and larger scenes, for a GPU of 15 GB.
    """

    name: str
    task: Task
    options: TrainingOptions
    start: str | None = None  # the shipped model whose weights the training begins with
    init_from: Callable[[nn.Module, nn.Module], None] = start_from  # which of them go into the new model
    pixels: int | None = None  # the one side of the square images it takes; None for any
    multiple: int = 1  # of which both sides must be multiples
    profile: str = "quick"
    size: int | None = None  # pixels a side of the city's scenes, where they are not those of the task
    model: Callable[[], nn.Module] | None = None  # what it builds, where that is no shipped model of its name

    def build(self) -> nn.Module:
        return self.model() if self.model else city_models.build(self.name, self.profile)


def segmenter(name: str, *, steps: int = 6000, lr: float = 1e-2, batch_size: int = 8, **more) -> Recipe:
    return Recipe(name, SEGMENTATION, TrainingOptions(steps=steps, lr=lr, batch_size=batch_size), **more)


def detector(name: str, task: Task, *, steps: int = 3000) -> Recipe:
    return Recipe(name, task, TrainingOptions(steps=steps, lr=2e-3, batch_size=8))


def single(name: str, task: Task) -> Recipe:
    return Recipe(name, task, TrainingOptions(steps=3000, lr=3e-3, batch_size=16), pixels=DETECTION_SIZE)


def captioner(name: str, task: Task, *, steps: int, lr: float) -> Recipe:
    return Recipe(name, task, TrainingOptions(steps=steps, lr=lr, batch_size=32), pixels=DETECTION_SIZE)


def generator(name: str, task: Task, *, steps: int, lr: float = 3e-3, batch_size: int = 64, **more) -> Recipe:
    options = TrainingOptions(steps=steps, lr=lr, batch_size=batch_size, **more)
    return Recipe(name, task, options, pixels=CROP_SIZE)


fine_tuned = partial(segmenter, steps=700, lr=6e-3, pixels=QUICK_SIZE)

_ALL = (
    segmenter("unet"),
    segmenter("unet_without_skips"),
    segmenter("fcn"),
    # As in the paper, the finer nets continue the coarser ones, in smaller steps.
    segmenter("fcn16s", steps=3000, lr=3e-3, start="fcn"),
    segmenter("fcn8s", steps=3000, lr=3e-3, start="fcn16s"),
    segmenter("deconvnet", lr=3e-3),
    segmenter("pixel", steps=1500),
    # The sliding window with 29, 13 and 5 pixels a side, between the single pixel and the U-Net. Two images hold 18,432
    # patches.
    segmenter("patch", steps=4000, batch_size=2),
    segmenter("patch13", steps=4000, batch_size=2),
    segmenter("patch5", steps=4000, batch_size=2),
    # Slide 14, and slide 15: one class and one box an image, or eight of them, from a vector of 4096 numbers.
    single("single_object", SINGLE_OBJECT),
    single("eight_slots", SLOTS),
    single("slots_matched", MATCHED_SLOTS),
    detector("faster_rcnn", DETECTION),
    # The same backbone and head; the proposals come from Selective Search.
    detector("fast_rcnn", SELECTIVE_SEARCH),
    detector("rcnn", SELECTIVE_SEARCH),
    # Proposals alone, with one, three and nine anchors at every point.
    detector("rpn1", PROPOSALS, steps=1500),
    detector("rpn3", PROPOSALS, steps=1500),
    detector("rpn9", PROPOSALS, steps=1500),
    # Slides 25, 27, 29 and 30: four captioners.
    captioner("bottleneck_rnn", CAPTIONS, steps=4000, lr=3e-3),
    captioner("show_attend_tell", ATTENDING, steps=4000, lr=3e-3),
    captioner("caption_transformer", CAPTIONS, steps=5000, lr=1e-3),
    captioner("only_transformers", PIXEL_CAPTIONS, steps=3000, lr=1e-3),
    # Slide 32: equal operations, within a percent, about as many parameters, the same steps; each its best rate.
    Recipe("vit", CLASSIFICATION, TrainingOptions(steps=800, lr=2e-3, batch_size=64), multiple=6),
    Recipe("resnet", CLASSIFICATION, TrainingOptions(steps=800, lr=1e-2, batch_size=64)),
    # Slide 33: no anchors, no NMS. The paper's took 300 passes through 118,000 photographs.
    Recipe("detr", SETS, TrainingOptions(steps=12000, lr=1e-3, batch_size=16), multiple=8),
    # Slide 34: hidden patches predicted, then fine-tuned on labels; and the same net on the labels alone. With a
    # twentieth of them, a learning rate of 6e-3 is best for both on validation scenes, of 1e-3, 3e-3, 6e-3 and 1e-2.
    Recipe("beit", MASKED_IMAGES, TrainingOptions(steps=5000, lr=3e-3, batch_size=32), pixels=QUICK_SIZE),
    fine_tuned("beit_segmentation", start="beit", init_from=start_from_pretrained),
    fine_tuned("beit_from_scratch"),
    # Slides 37 and 38: four that learn from images alone.
    generator("autoencoder", RECONSTRUCTION, steps=10000),
    generator("vae", VARIATIONAL, steps=10000),
    generator("gan", ADVERSARIAL, steps=16000, lr=2e-3, betas=(0.5, 0.99)),
    generator("diffusion", DENOISING, steps=25000, batch_size=128),
)
RECIPES = {recipe.name: recipe for recipe in _ALL}


def _full(name: str) -> Recipe:
    """Batches that fill a GPU, loaded beside it; as many steps as in the quick profile, of detectors as many images.

    Captioners learn from features that are kept in memory; both take as many steps.
    """
    full = replace(RECIPES[name], profile="full", size=FULL_SIZE)
    if full.pixels == CROP_SIZE:
        options = replace(full.options, batch_size=64, workers=2)
        return replace(full, size=FULL_CROP_SIZE, pixels=FULL_CROP_SIZE, options=options)
    if full.task.layout == layouts.CAPTIONS:
        return replace(full, pixels=FULL_SIZE, options=replace(full.options, steps=2500))
    options = replace(full.options, batch_size=16, workers=2)
    if full.task.layout == layouts.INSTANCES:
        options = replace(options, steps=options.steps * full.options.batch_size // options.batch_size)
    return replace(full, options=options)


FULL = {name: _full(name) for name in city_models.FULL_BUILDERS}


def recipe(name: str | Recipe, profile: str = "quick") -> Recipe:
    """The recipe of a shipped model. In the "full" profile, its larger budget, where it has one.

    A recipe of no shipped model, as a study has them, is given back.
    """
    if isinstance(name, Recipe):
        return name
    if name not in RECIPES:
        raise ValueError(f"name: got {name!r}, expected one of {', '.join(RECIPES)}")
    require_one_of("profile", profile, PROFILES)
    return FULL.get(name, RECIPES[name]) if profile == "full" else RECIPES[name]


def of_checkpoint(name: str, checkpoint: Path | str | None) -> Recipe:
    """The recipe, of either profile, by which a checkpoint was made; None for the shipped one."""
    return recipe(name, checkpoints.settings(checkpoint).get("profile", "quick") if checkpoint else "quick")


def batch_costs(chosen: Recipe) -> Costs:
    """What the forward pass of a training step costs: so many times that of one image as a batch has."""
    one = costs(chosen.build().train(), *chosen.task.example(chosen.size))
    number = chosen.options.batch_size
    return Costs(number * one.flops, one.parameters, number * one.activations)


def load(name: str, checkpoint: Path | str | None = None, *, device: str = "cpu") -> nn.Module:
    """A model with its trained weights, the shipped ones or those of a `checkpoint` that `train` wrote.

    Ready to predict: in evaluation mode, float32, on `device`. Raises `ValueError` for a checkpoint of another recipe.
    """
    if checkpoint is None:
        return checkpoints.load_weights(recipe(name).build(), name).eval().to(device)
    recipe(name)  # which refuses an unknown one before the file is read
    tensors, metadata = checkpoints.read(checkpoint, mend="name a file that `train` wrote")
    own_data.require_recipe(name, checkpoint, metadata)
    model = of_checkpoint(name, checkpoint).build()
    weights = {key.removeprefix("model."): value for key, value in tensors.items() if key.startswith("model.")}
    checkpoints.load_state(model, weights, checkpoint)
    return model.eval().to(device)


def train(
    name: str | Recipe,
    run: Runtime,
    *,
    root: Path | str | None = None,
    size: int | None = None,
    fraction: float = 1.0,
    **changes,
) -> tuple:
    """Train a model by its recipe in the profile of `run`: (model, history). `changes` goes to `training.fit`.

    With `fraction`, it learns from the first items of the training set only, as many as this part of them; what needs
    no labels, as a visual vocabulary, is prepared on all. A checkpoint of another recipe, root, size or fraction, of
    data that changed since, or of a training that began with other shipped weights, is refused. Images that the model
    cannot take are refused before the first step (`ValueError`).
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction: got {fraction!r}, expected a fraction of the training set, above 0 and at most 1")
    chosen = recipe(name, run.profile)
    task, size = chosen.task, city_size(chosen, root, size)
    model = chosen.build()
    if chosen.start:
        chosen.init_from(model, load(chosen.start))
    given = {key: changes.pop(key) for key in [*changes] if key in asdict(chosen.options)}
    options = replace(chosen.options, **given)  # which refuses what cannot be meant, before the data is read or made
    data = _dataset(chosen, "train", root, size, run)
    seen = fingerprint(data) if root else None  # the toy city is the same on every machine, if not to the last bit
    if not changes.get("restart"):
        own_data.require_same(changes.get("checkpoint"), root, seen)
    if hasattr(data, "preload"):  # what is painted is in memory
        data.preload()
    if task.prepare:
        task.prepare(model, data)
    if fraction < 1:
        data = Subset(data, range(max(1, round(fraction * len(data)))))
    metadata = {
        "recipe": chosen.name,
        "profile": chosen.profile,
        "root": own_data.resolved(root),
        "data": seen,
        "size": size,
        "fraction": float(fraction),
        "start": checkpoints.weights_checksum(chosen.start) if chosen.start else None,
    }
    how = {"loss": task.make_loss(data), "run": run, "collate": task.collate, "metadata": metadata} | changes
    own_data.dry_run(chosen.name, model, data, how["loss"], collate=task.collate, batch_size=options.batch_size)
    return model, training.fit(model, data, options, **how)


def evaluate(
    name: str | Recipe,
    model: nn.Module,
    run: Runtime,
    *,
    root: Path | str | None = None,
    size: int | None = None,
    split: str = "test",
    first: int | None = None,
) -> tuple[int, dict]:
    """Score a model of the kind `name` on unseen scenes of the city (or of `root`): (number of scenes, scores).

    With `first`, on no more than so many of them.
    """
    chosen = recipe(name)
    data = _dataset(chosen, split, root, size, run)
    if first is not None and len(data) > first:
        data = data.first(first) if hasattr(data, "first") else Subset(data, range(first))
    return len(data), chosen.task.score(model, data, run)


def compatibility_warnings(
    name: str, checkpoint: Path | str | None, *, root: Path | str | None, size: int | None
) -> list[str]:
    """What tells that a checkpoint is scored on other data than it learned from, a line each; see `own_data`."""
    task = recipe(name).task

    def files() -> dict[str, str] | None:
        held = "train" in layouts.splits(root, task.layout) if task.layout else False
        return fingerprint(task.data("train", root, size=size)) if held else None

    return own_data.compatibility_warnings(name, checkpoint, root=root, size=size, files=files)


def city_size(chosen: Recipe, root: Path | str | None, size: int | None) -> int | None:
    """The pixels a side that were asked for, else those of the city's scenes in the profile of a recipe."""
    return chosen.size if root is None and size is None else size


def _dataset(chosen: Recipe, split: str, root: Path | str | None, size: int | None, run: Runtime) -> Dataset:
    """A split of what a model sees; refuses images of a size that it cannot take, or of several sizes."""
    takes = {"pixels": chosen.pixels, "multiple": chosen.multiple}
    if size is not None:
        size = require_whole("size", size, least=SMALLEST_PHOTO, most=MOST_PIXELS)
        own_data.require_size(chosen.name, size, **takes)
    data = chosen.task.data(split, root, size=size)
    own_data.require_one_size(chosen.name, data, root, **takes)
    if encoder := getattr(data, "encoder", None):  # what turns images into the model's input is a model, too
        encoder.to(run.device)
    return data


def in_other_precisions(name: str, model: nn.Module, run: Runtime, own: str) -> dict[str, dict[str, float]]:
    """The metrics in fp32 and bf16, but not in `own`: a word nearly as likely as another falls otherwise in each."""
    others = [precision for precision in ("fp32", "bf16") if precision != own]
    return {other: metrics(evaluate(name, model, replace(run, precision=other))[1]) for other in others}


def metrics(scores: dict) -> dict[str, float]:
    """The plain numbers among a model's scores, rounded, as cards and `--json` have them."""
    return {key: round(value, 4) for key, value in scores.items() if isinstance(value, float) and value == value}
