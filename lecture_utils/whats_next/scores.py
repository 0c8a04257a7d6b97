"""How good are samples? Judged by the features of a classifier, not by eye alone (slide 37).

Features are (n, d): one vector an image.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def frechet_distance(first: Float[Tensor, "n d"], second: Float[Tensor, "m d"]) -> float:
    """How far apart two clouds of features are, each taken for a normal distribution; 0 for equal moments.

    ‖μ₁ − μ₂‖² + tr(Σ₁ + Σ₂ − 2 √(Σ₁ Σ₂)): equation 6 of Heusel et al., "GANs trained by a two time-scale update rule
    converge to a local Nash equilibrium", NeurIPS 2017. With the features of Inception-v3 the distance is called FID.
    """
    require_clouds(first, second)
    means, covariances = zip(*(_moments(features) for features in (first, second)), strict=True)
    # The trace of a root is the sum of the roots of the eigenvalues.
    shared = torch.linalg.eigvals(covariances[0] @ covariances[1]).real.clamp(min=0).sqrt().sum()
    apart = (means[0] - means[1]).square().sum()
    return (apart + covariances[0].trace() + covariances[1].trace() - 2 * shared).item()


def _moments(features: Tensor) -> tuple[Tensor, Tensor]:
    features = features.cpu().double()  # Apple's GPUs have no such numbers
    return features.mean(0), torch.atleast_2d(features.T.cov())


def precision_and_recall(
    real: Float[Tensor, "n d"], drawn: Float[Tensor, "m d"], *, neighbours: int = 3
) -> tuple[float, float]:
    """The share of drawings that look real, and the share of the real that the drawings cover.

    A drawing looks real when it lies no further from some real image than that one's `neighbours`-th nearest among the
    real ones; and the other way round. Kynkäänniemi et al., "Improved precision and recall metric for assessing
    generative models", NeurIPS 2019, equations 1 to 3.
    """
    require_clouds(real, drawn)
    return _within(drawn, real, neighbours), _within(real, drawn, neighbours)


def _within(asked: Tensor, cloud: Tensor, neighbours: int) -> float:
    """The share of `asked` within the cloud's manifold: balls around its points, as wide as to the k-th neighbour."""
    if not 1 <= neighbours < len(cloud):
        raise ValueError(f"neighbours: got {neighbours}, expected 1 to {len(cloud) - 1}, fewer than there are images")
    exact = "donot_use_mm_for_euclid_dist"
    radius = torch.cdist(cloud, cloud, compute_mode=exact).kthvalue(neighbours + 1, dim=1).values  # itself is the first
    return (torch.cdist(asked, cloud, compute_mode=exact) <= radius).any(1).float().mean().item()


def require_clouds(first: Tensor, second: Tensor) -> None:
    """Refuse features that are not (images, numbers), of two images or more, with as many numbers in both."""
    for features in (first, second):
        if features.ndim != 2 or len(features) < 2:
            got = f"features: got shape {tuple(features.shape)}"
            raise ValueError(f"{got}, expected (images, numbers), two images or more")
    if first.shape[1] != second.shape[1]:
        got = f"features: got {first.shape[1]} and {second.shape[1]} numbers an image"
        raise ValueError(f"{got}, expected as many in both")
