"""New images of the city: what learns from images alone, and the classifier that judges what is drawn."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.data import Dataset, Subset
from torchvision.transforms.functional import resize

from lecture_utils import checkpoints, city_models, runtime
from lecture_utils.arguments import require_positive
from lecture_utils.datasets import CLASSIFICATION_SCENES, CROP_SIZE, FULL_CROP_SIZE, ObjectCrops
from lecture_utils.generative import denoising_loss, frechet_distance, negative_elbo, precision_and_recall
from lecture_utils.runtime import Runtime
from lecture_utils.tasks.classification import classification_data
from lecture_utils.tasks.task import Task, image_alone

PIXEL_NOISE = 0.5  # of the VAE; images have deviation 1, or about so
SURE = 0.9  # the probability from which the classifier is said to be sure


def object_crop_data(split: str, root: Path | str | None = None, *, size: int | None = None) -> ObjectCrops:
    """A split of the streets' objects, each in the middle of its image."""
    few = runtime.SMOKE_SCENES if size == FULL_CROP_SIZE and runtime.is_smoke() else None
    return classification_data(split, root, size=size or CROP_SIZE, kind=ObjectCrops, scenes=few)


def reconstruction_loss(dataset: Dataset) -> Callable[[nn.Module, tuple], Tensor]:
    """The auto-encoder's loss: the squared error of each pixel; for `training.fit`, as those below."""
    return lambda model, batch: F.mse_loss(model(batch[0]).float(), batch[0])


def elbo_loss(dataset: Dataset) -> Callable[[nn.Module, tuple], Tensor]:
    """The VAE's loss, for each pixel."""
    return lambda model, batch: negative_elbo(batch[0], *model(batch[0]), noise=PIXEL_NOISE) / batch[0][0].numel()


def adversarial_loss(dataset: Dataset) -> Callable[[nn.Module, tuple], Tensor]:
    """The losses of both players of a GAN: each has gradients for its own weights alone."""
    return lambda model, batch: sum(model(batch[0]).values())


def diffusion_loss(dataset: Dataset) -> Callable[[nn.Module, tuple], Tensor]:
    """The loss of diffusion: the squared error of the predicted velocity (v-prediction)."""
    return lambda model, batch: denoising_loss(model, batch[0])


@torch.no_grad()
def score_reconstruction(model: nn.Module, dataset: Dataset, run: Runtime) -> dict[str, float]:
    """`explained`: the share of the images' variance that the reconstructions explain."""
    images, model = stack_images(dataset), model.to(run.device).eval()
    left = torch.cat([model(some.to(run.device)).cpu() for some in images.split(250)]) - images
    return {"explained": 1 - (left.square().sum() / (images - images.mean(0)).square().sum()).item()}


def score_samples(model: nn.Module, dataset: Dataset, run: Runtime) -> dict[str, float]:
    """As many samples as `dataset` has images, held against these: see `evaluate_samples`. In a smoke run, of a few."""
    if run.budget == "smoke":
        dataset = Subset(dataset, range(min(len(dataset), runtime.SMOKE_ITEMS)))
    return evaluate_samples(
        generate_images(model.to(run.device).eval(), len(dataset), seed=run.seed),
        stack_images(dataset),
        device=run.device,
    )


def generate_images(model: nn.Module, count: int, *, seed: int = 0) -> Float[Tensor, "n 3 h w"]:
    """Drawings of a generative model, on the CPU; a hundred at a time, which is faster than all at once."""
    require_positive(count=count)
    generator = torch.Generator().manual_seed(seed)
    shares = [min(100, count - start) for start in range(0, count, 100)]
    return torch.cat([model.sample(share, generator=generator).cpu() for share in shares])


def evaluate_samples(
    drawings: Float[Tensor, "n 3 h w"], photographs: Float[Tensor, "m 3 h w"], *, device: str = "cpu"
) -> dict[str, float]:
    """Scores of drawings by what the shipped ResNet sees in them: `frechet` distance, `precision`, `recall`, `sure`.

    Images are as networks take them; the classifier looks at them on `device`, larger ones reduced to the 32 × 32
    pixels of the quick profile, so that scores of both profiles can be compared. `sure` is the share in which it finds
    some named object with a probability of 0.9; it tells nothing of how different the samples are, which recall does.
    """
    classifier = checkpoints.load_weights(city_models.resnet(), "resnet").eval().to(device)
    (drawn, scores), (real, _) = (extract_features(classifier, images) for images in (drawings, photographs))
    precision, recall = precision_and_recall(real, drawn)
    sure = (scores.softmax(1).amax(1) >= SURE).float().mean().item()
    return {"frechet": frechet_distance(real, drawn), "precision": precision, "recall": recall, "sure": sure}


@torch.no_grad()
def extract_features(classifier: nn.Module, images: Tensor) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n classes"]]:
    """The features on which a classifier decides, and its scores; on the CPU, wherever the classifier is.

    Images larger than `CROP_SIZE` are reduced to it.
    """
    images = images.to(next(classifier.parameters()).device)
    if images.shape[-1] > CROP_SIZE:
        images = resize(images, [CROP_SIZE, CROP_SIZE], antialias=True)
    features = torch.cat([classifier.stages(classifier.stem(some)).mean((2, 3)) for some in images.split(250)])
    return features.cpu(), classifier.head(features).cpu()


def image_and_step(size: int) -> tuple:
    """What `Diffusion` is counted with: an image without content, and its step."""
    return *image_alone(size), torch.empty(1, dtype=torch.int64, device="meta")


def stack_images(dataset: Dataset) -> Float[Tensor, "n 3 h w"]:
    """All images of a data set, without their labels."""
    return torch.stack([dataset[index][0] for index in range(len(dataset))])


RECONSTRUCTION = Task(
    object_crop_data,
    reconstruction_loss,
    score_reconstruction,
    description=f"toy city: objects of {CLASSIFICATION_SCENES['train']:,} training scenes, "
    f"each in a crop of {CROP_SIZE} × {CROP_SIZE}",
)
VARIATIONAL = replace(RECONSTRUCTION, make_loss=elbo_loss, score=score_samples)
ADVERSARIAL = replace(VARIATIONAL, make_loss=adversarial_loss)
DENOISING = replace(VARIATIONAL, make_loss=diffusion_loss, example=image_and_step)
