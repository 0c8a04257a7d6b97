"""How each model that comes with the course is built, trained on the city and scored: one entry for each checkpoint.

`python -m lecture_utils train NAME` and `evaluate NAME` run exactly this.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn
from torch.utils.data import Dataset, Subset

from lecture_utils import checkpoints, own_data, training
from lecture_utils.arguments import require_whole
from lecture_utils.captioning import BottleneckRNN, CaptionTransformer, OnlyTransformers, ShowAttendTell
from lecture_utils.cityscapes import CLASSES
from lecture_utils.datasets import DETECTION_SIZE, QUICK_SIZE, LabelledObjects, layouts
from lecture_utils.datasets.fingerprint import fingerprint
from lecture_utils.datasets.pairs import SMALLEST_PHOTO
from lecture_utils.detection import RCNN, RPN, Backbone, FasterRCNN, FastRCNN, ProposalNetwork, RegionHead
from lecture_utils.detection.single_object import FixedSlots, SingleObject, city_backbone
from lecture_utils.runtime import Runtime
from lecture_utils.segmentation import FCN, DeconvNet, PixelClassifier, UNet
from lecture_utils.segmentation.fcn import start_from
from lecture_utils.segmentation.sliding_window import PatchClassifier, fully_convolutional
from lecture_utils.tasks import (
    ADVERSARIAL,
    ATTENDING,
    CAPTIONS,
    CITY_WORDS,
    CLASSIFICATION,
    CLASSIFICATION_SIZE,
    CROP_SIZE,
    DENOISING,
    DETECTION,
    MASKED_IMAGES,
    PIXEL_CAPTIONS,
    PROPOSALS,
    RECONSTRUCTION,
    SEGMENTATION,
    SELECTIVE_SEARCH,
    SETS,
    SINGLE_OBJECT,
    SLOTS,
    VARIATIONAL,
    Task,
    city_resnet,
)
from lecture_utils.toycity.export import CATEGORIES
from lecture_utils.transformers.beit import BEiT, BEiTSegmenter, MaskedImageModel, start_from_pretrained
from lecture_utils.transformers.detr import DETR
from lecture_utils.transformers.visual_tokens import VisualTokens
from lecture_utils.transformers.vit import ViT
from lecture_utils.whats_next import GAN, VAE, AutoEncoder, Diffusion

MOST_PIXELS = 4096  # a side: larger pictures do not fit into the memory of any machine the course is meant for


@dataclass(frozen=True)
class Recipe:
    """A city-sized model and the training that made its checkpoint."""

    build: Callable[[], nn.Module]
    steps: int
    task: Task = SEGMENTATION
    lr: float = 1e-2
    batch_size: int = 8
    betas: tuple[float, float] = (0.9, 0.999)  # of AdamW
    start: str | None = None  # the shipped model whose weights the training begins with
    init_from: Callable[[nn.Module, nn.Module], None] = start_from  # which of them go into the new model
    pixels: int | None = None  # the one side of the square images it takes; None for any
    multiple: int = 1  # of which both sides must be multiples


def patch_recipe(patch: int, *, depth: int) -> Recipe:
    """A classifier of patches, trained in one pass over each image; two images hold 18,432 patches."""
    size = {"patch": patch, "depth": depth, "base_channels": 8, "norm": "batch"}
    return Recipe(lambda: fully_convolutional(PatchClassifier(3, len(CLASSES), **size)), steps=4000, batch_size=2)


# The paper's anchors, a sixteenth as large: the city's pictures are small, and so are its things.
SIZES, RATIOS = (8, 16, 32), (0.5, 1, 2)


def backbone(base_channels: int = 24) -> Backbone:
    return Backbone(base_channels=base_channels, out_channels=64)


def rpn(sizes: Sequence[float] = SIZES, ratios: Sequence[float] = RATIOS) -> RPN:
    """Anchors at every eighth pixel; as many candidates and drawn anchors as the small map calls for."""
    return RPN(
        64, feature_stride=Backbone.stride, stride=2, sizes=sizes, ratios=ratios,
        pre_nms_top_n=1000, batch_size_per_image=128,
    )  # fmt: skip


def head(regions: int = 64) -> RegionHead:
    return RegionHead(64, 1 + len(CATEGORIES), hidden=192, batch_size_per_image=regions)


def proposal_recipe(sizes: Sequence[float], ratios: Sequence[float]) -> Recipe:
    """Proposals alone are the easier task: a thinner backbone will do."""
    build = lambda: ProposalNetwork(backbone(16), rpn(sizes, ratios))  # noqa: E731
    return Recipe(build, steps=1500, task=PROPOSALS, lr=2e-3)


# Captioners look at 16 × 16 points: the features of the city's own backbone, or patches of 8 × 8 pixels.
GRID = {"words": len(CITY_WORDS), "features": 256, "grid": (16, 16)}


def detr() -> DETR:
    """Twenty queries for at most eight things, on standardised features: a CNN's differ in scale a hundredfold."""
    sizes = {"queries": 20, "dim": 112, "heads": 4, "hidden": 224, "encoder_layers": 1, "decoder_layers": 3}
    return DETR(256, 1 + len(CATEGORIES), backbone=nn.BatchNorm2d(256, affine=False), **sizes, dropout=0.0)


def vit() -> ViT:
    """64 patches of 6 × 6 pixels, in three layers."""
    return ViT(
        classes=len(LabelledObjects.classes), size=CLASSIFICATION_SIZE, patch=6, dim=64, layers=3, heads=4, hidden=128
    )


def beit() -> BEiT:
    """144 patches of 8 × 8 pixels; small enough that a study of two dozen trainings takes half an hour."""
    return BEiT((QUICK_SIZE, QUICK_SIZE), patch=8, dim=80, layers=4, heads=4, hidden=160)


def beit_segmenter() -> BEiTSegmenter:
    return BEiTSegmenter(beit(), len(CLASSES), width=24)


# Eight channels at full resolution: a step takes a tenth of a second on two cores, so a student can watch it learn.
RECIPES = {
    "unet": Recipe(lambda: UNet(3, len(CLASSES), base_channels=8, depth=4, norm="batch"), steps=6000),
    # FCN-32s on the U-Net's own encoder, all five blocks of it, so that the two differ in the way up alone.
    "fcn": Recipe(lambda: FCN(3, len(CLASSES), base_channels=8, depth=5, norm="batch"), steps=6000),
    # As in the paper, the finer nets continue the coarser ones, in smaller steps.
    "fcn16s": Recipe(
        lambda: FCN(3, len(CLASSES), base_channels=8, stride=16, norm="batch"), steps=3000, lr=3e-3, start="fcn"
    ),
    "fcn8s": Recipe(
        lambda: FCN(3, len(CLASSES), base_channels=8, stride=8, norm="batch"), steps=3000, lr=3e-3, start="fcn16s"
    ),
    # Published, all 7 × 7 places end in one vector; here each of the 3 × 3 keeps its own, and the net learns faster.
    "deconvnet": Recipe(lambda: DeconvNet(3, len(CLASSES), base_channels=8, bottleneck=1), steps=6000, lr=3e-3),
    "pixel": Recipe(lambda: PixelClassifier(3, len(CLASSES)), steps=1500),
    # The sliding window with 29, 13 and 5 pixels a side, between the single pixel and the U-Net.
    "patch": patch_recipe(29, depth=3),
    "patch13": patch_recipe(13, depth=2),
    "patch5": patch_recipe(5, depth=1),
    # Slide 14, and slide 15: one class and one box an image, or eight of them, from a vector of 4096 numbers.
    "single_object": Recipe(
        lambda: SingleObject(city_backbone(), 4096, 1 + len(CATEGORIES)),
        steps=3000,
        task=SINGLE_OBJECT,
        lr=3e-3,
        batch_size=16,
        pixels=DETECTION_SIZE,
    ),
    "eight_slots": Recipe(
        lambda: FixedSlots(city_backbone(), 4096, 1 + len(CATEGORIES), slots=8),
        steps=3000,
        task=SLOTS,
        lr=3e-3,
        batch_size=16,
        pixels=DETECTION_SIZE,
    ),
    "faster_rcnn": Recipe(lambda: FasterRCNN(backbone(), rpn(), head()), steps=3000, task=DETECTION, lr=2e-3),
    # The same backbone and head; the proposals come from Selective Search. For R-CNN each region is an image, so it
    # draws     # half as many.
    "fast_rcnn": Recipe(lambda: FastRCNN(backbone(), head()), steps=3000, task=SELECTIVE_SEARCH, lr=2e-3),
    "rcnn": Recipe(lambda: RCNN(backbone(), head(32)), steps=3000, task=SELECTIVE_SEARCH, lr=2e-3),
    # Proposals alone, with one, three and nine anchors at every point.
    "rpn1": proposal_recipe([16], [1]),
    "rpn3": proposal_recipe(SIZES, [1]),
    "rpn9": proposal_recipe(SIZES, RATIOS),
    # Slides 25, 27, 29 and 30: four captioners. A step of the bottleneck takes less than half of the time
    # that one of attention takes, so it is given more of them.
    "bottleneck_rnn": Recipe(
        lambda: BottleneckRNN(**GRID), steps=10000, task=CAPTIONS, lr=1e-3, batch_size=32, pixels=DETECTION_SIZE
    ),
    "show_attend_tell": Recipe(
        lambda: ShowAttendTell(**GRID), steps=4000, task=ATTENDING, lr=3e-3, batch_size=32, pixels=DETECTION_SIZE
    ),
    "caption_transformer": Recipe(
        lambda: CaptionTransformer(**GRID), steps=5000, task=CAPTIONS, lr=1e-3, batch_size=32, pixels=DETECTION_SIZE
    ),
    "only_transformers": Recipe(
        lambda: OnlyTransformers(len(CITY_WORDS), (128, 128), patch=8, encoder_layers=3),
        steps=3000,
        task=PIXEL_CAPTIONS,
        lr=1e-3,
        batch_size=32,
        pixels=DETECTION_SIZE,
    ),
    # Slide 32: equal operations, within a percent, about as many parameters, the same steps; each its best rate.
    "vit": Recipe(vit, steps=800, task=CLASSIFICATION, lr=2e-3, batch_size=64, multiple=6),
    "resnet": Recipe(city_resnet, steps=800, task=CLASSIFICATION, lr=1e-2, batch_size=64),
    # Slide 33: no anchors, no suppression. The paper's took 300 passes through 118,000 photographs.
    "detr": Recipe(detr, steps=12000, task=SETS, lr=1e-3, batch_size=16, multiple=8),
    # Slide 34: hidden patches foretold, then fine-tuned on labels; and the same net on the labels alone. With a
    # twentieth of them, a learning rate of 6e-3 is best for both on validation scenes, of 1e-3, 3e-3, 6e-3 and 1e-2.
    "beit": Recipe(
        lambda: MaskedImageModel(beit(), VisualTokens(256, 8)),
        steps=5000,
        task=MASKED_IMAGES,
        lr=3e-3,
        batch_size=32,
        pixels=QUICK_SIZE,
    ),
    "beit_segmentation": Recipe(
        beit_segmenter, steps=700, lr=6e-3, start="beit", init_from=start_from_pretrained, pixels=QUICK_SIZE
    ),
    "beit_from_scratch": Recipe(beit_segmenter, steps=700, lr=6e-3, pixels=QUICK_SIZE),
    # Slides 37 and 38: four that learn from pictures alone.
    "autoencoder": Recipe(
        lambda: AutoEncoder(latent=32, size=CROP_SIZE, widths=(8, 16, 32)),
        steps=10000,
        task=RECONSTRUCTION,
        lr=3e-3,
        batch_size=64,
        pixels=CROP_SIZE,
    ),
    "vae": Recipe(
        lambda: VAE(latent=32, size=CROP_SIZE, widths=(12, 24, 48)),
        steps=10000,
        task=VARIATIONAL,
        lr=3e-3,
        batch_size=64,
        pixels=CROP_SIZE,
    ),
    "gan": Recipe(
        lambda: GAN(latent=64, size=CROP_SIZE, discriminator_widths=(24, 48, 96)),
        steps=16000,
        task=ADVERSARIAL,
        lr=2e-3,
        batch_size=64,
        betas=(0.5, 0.99),
        pixels=CROP_SIZE,
    ),
    "diffusion": Recipe(
        lambda: Diffusion(size=CROP_SIZE),
        steps=25000,
        task=DENOISING,
        lr=3e-3,
        batch_size=128,
        pixels=CROP_SIZE,
    ),
}


def recipe(name: str) -> Recipe:
    """The recipe of a shipped model."""
    if name not in RECIPES:
        raise ValueError(f"name: got {name!r}, expected one of {', '.join(RECIPES)}")
    return RECIPES[name]


def load(name: str, checkpoint: Path | str | None = None, *, device: str = "cpu") -> nn.Module:
    """A model with its trained weights, the shipped ones or those of a `checkpoint` that `train` wrote.

    Ready to predict: in evaluation mode, float32, on `device`. Raises `ValueError` for a checkpoint of another recipe.
    """
    model = recipe(name).build()
    if checkpoint is None:
        return checkpoints.load_weights(model, name).eval().to(device)
    tensors, metadata = checkpoints.read(checkpoint, mend="name a file that `train` wrote")
    own_data.require_recipe(name, checkpoint, metadata)
    weights = {key.removeprefix("model."): value for key, value in tensors.items() if key.startswith("model.")}
    checkpoints.load_state(model, weights, checkpoint)
    return model.eval().to(device)


def train(
    name: str,
    run: Runtime,
    *,
    root: Path | str | None = None,
    size: int | None = None,
    fraction: float = 1.0,
    **changes,
) -> tuple:
    """Train a model by its recipe; returns (model, history). `changes` goes to `training.fit` in place of its own.

    With `fraction`, it learns from the first items of the training set only, as many as this part of them; what needs
    no labels, as a visual vocabulary, is prepared on all. A checkpoint of another recipe, root, size or fraction, of
    data that changed since, or of a training that began with other shipped weights, is refused. Images that the model
    cannot take are refused before the first step (`ValueError`).
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction: got {fraction!r}, expected a fraction of the training set, above 0 and at most 1")
    chosen = recipe(name)
    task = chosen.task
    model = chosen.build()
    if chosen.start:
        chosen.init_from(model, load(chosen.start))
    own = {name: getattr(chosen, name) for name in ("steps", "lr", "batch_size", "betas")}
    training.require_settings(**(own | changes))  # before the data is read or made
    data = _pictures(name, "train", root, size, run)
    seen = fingerprint(data) if root else None  # the toy city is the same on every machine, if not to the last bit
    if not changes.get("restart"):
        own_data.require_same(changes.get("checkpoint"), root, seen)
    data.preload()
    if task.prepare:
        task.prepare(model, data)
    if fraction < 1:
        data = Subset(data, range(max(1, round(fraction * len(data)))))
    metadata = {
        "recipe": name,
        "root": own_data.place(root),
        "data": seen,
        "size": size,
        "fraction": float(fraction),
        "start": checkpoints.fingerprint(chosen.start) if chosen.start else None,
    }
    settings = {"run": run, "collate": task.collate, "metadata": metadata} | own | changes
    loss = task.loss(data)
    own_data.rehearse(name, model, data, loss, collate=task.collate, batch_size=settings["batch_size"])
    return model, training.fit(model, data, loss=loss, **settings)


def evaluate(
    name: str,
    model: nn.Module,
    run: Runtime,
    *,
    root: Path | str | None = None,
    size: int | None = None,
    split: str = "test",
) -> tuple[int, dict]:
    """Score a model of the kind `name` on unseen scenes of the city (or of `root`): (number of scenes, scores)."""
    data = _pictures(name, split, root, size, run)
    return len(data), recipe(name).task.score(model, data, run)


def doubts(name: str, checkpoint: Path | str | None, *, root: Path | str | None, size: int | None) -> list[str]:
    """What tells that a checkpoint is scored on other data than it learned from, a line each; see `own_data.doubts`."""
    task = recipe(name).task

    def files() -> dict[str, str] | None:
        held = "train" in layouts.splits(root, task.layout) if task.layout else False
        return fingerprint(task.data("train", root, size=size)) if held else None

    return own_data.doubts(name, checkpoint, root=root, size=size, files=files)


def _pictures(name: str, split: str, root: Path | str | None, size: int | None, run: Runtime) -> Dataset:
    """A split of what a model sees; refuses images of a size that it cannot take, or of several sizes."""
    chosen, takes = recipe(name), {"pixels": recipe(name).pixels, "multiple": recipe(name).multiple}
    if size is not None:
        own_data.require_size(name, require_whole("size", size, least=SMALLEST_PHOTO, most=MOST_PIXELS), **takes)
    data = chosen.task.data(split, root, size=size)
    own_data.require_one_size(name, data, root, **takes)
    if encoder := getattr(data, "encoder", None):  # what turns pictures into the model's input is a model, too
        encoder.to(run.device)
    return data


def in_other_precisions(name: str, model: nn.Module, run: Runtime, own: str) -> dict[str, dict[str, float]]:
    """The metrics in fp32 and bf16, but not in `own`: a word nearly as likely as another falls otherwise in each."""
    others = [precision for precision in ("fp32", "bf16") if precision != own]
    return {other: metrics(evaluate(name, model, replace(run, precision=other))[1]) for other in others}


def metrics(scores: dict) -> dict[str, float]:
    """The plain numbers among a model's scores, rounded, as cards and `--json` have them."""
    return {key: round(value, 4) for key, value in scores.items() if isinstance(value, float) and value == value}
