"""When a sample of diffusion is settled: what can be told of it before the noise is gone (slide 37)."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from lecture_utils import checkpoints, city_models, toycity
from lecture_utils.tasks.generation import extract_features

DETAIL = 5  # pixels a side of the mean that is taken off; what is left are edges and texture


def settled(
    path: Sequence[tuple[Tensor, Float[Tensor, "n 3 h w"]]], stops: Sequence[int], *, device: str = "cpu"
) -> dict[int, dict[str, float]]:
    """How like the last images those are that `Diffusion.trajectory` predicts at each of the stops.

    `light` and `edges` are correlations, of the mean of each image and of what a local mean leaves; `kind` and `colour`
    are the shares of images of which the course's ResNet says the same as of the last ones.
    """
    classifier = checkpoints.load_weights(city_models.resnet(), "resnet").eval().to(device)
    words = [np.array(word) for word in zip(*toycity.PHRASES, strict=True)]  # kind and colour of each class

    def seen(images: Tensor) -> tuple[Tensor, Tensor, list[np.ndarray]]:
        images = images.cpu()
        classes = extract_features(classifier, images)[1].argmax(1).numpy()
        detail = images - F.avg_pool2d(images, DETAIL, 1, DETAIL // 2, count_include_pad=False)
        return images.mean((1, 2, 3)), detail.flatten(), [word[classes] for word in words]

    light, edges, names = seen(path[-1][1])
    alike = lambda first, second: torch.corrcoef(torch.stack([first, second]))[0, 1].item()  # noqa: E731
    found = {}
    for stop in stops:
        its_light, its_edges, its_names = seen(path[stop][1])
        kind, colour = (float((its == last).mean()) for its, last in zip(its_names, names, strict=True))
        found[stop] = {"light": alike(its_light, light), "kind": kind, "colour": colour}
        found[stop]["edges"] = alike(its_edges, edges)
    return found
