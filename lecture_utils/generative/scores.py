"""How good are samples? Judged by the features of a classifier, not by eye alone (slide 37).

Features are (n, d): one vector an image.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def frechet_distance(first: Float[Tensor, "n d"], second: Float[Tensor, "m d"]) -> float:
    """How far apart two clouds of features are, each taken for a normal distribution; 0 for equal moments.

    ‖μ₁ − μ₂‖² + tr(Σ₁ + Σ₂ − 2 √(Σ₁ Σ₂)): equation 6 of Heusel et al., "GANs trained by a two time-scale update rule
    converge to a local Nash equilibrium", NeurIPS 2017. With the features of Inception-v3 the distance is called FID.
    What float64 cannot tell from 0 is 0.
    """
    require_clouds(first, second)
    clouds = [features.detach().to("cpu", torch.float64) for features in (first, second)]
    (mean1, root1), (mean2, root2) = map(_mean_and_root, clouds)
    # With Σ = RᵀR the traces are min over rotations Q of ‖R₁ − Q R₂‖²: a sum of squares, so never negative and exact
    # near 0, where the difference of traces loses half of the digits (Bhatia, Jain and Lim, "On the Bures-Wasserstein
    # distance between positive definite matrices", 2019, theorem 1). The polar factor of R₁ R₂ᵀ is the best rotation.
    left, _, right = torch.linalg.svd(root1 @ root2.T)
    distance = (mean1 - mean2).square().sum() + (root1 - left @ right @ root2).square().sum()
    rounding = sum(cloud.square().sum(1).mean() for cloud in clouds) * (64 * torch.finfo(torch.float64).eps) ** 2
    return distance.item() if distance > rounding else 0.0


def _mean_and_root(features: Float[Tensor, "n d"]) -> tuple[Float[Tensor, "d"], Float[Tensor, "d d"]]:
    """The mean, and a square R with RᵀR the covariance, which itself would lose half of the digits."""
    mean, (n, d) = features.mean(0), features.shape
    root = torch.linalg.qr((features - mean) / (n - 1) ** 0.5, mode="r").R  # min(n, d) rows
    return mean, F.pad(root, (0, 0, 0, d - len(root)))


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
    """Refuse features that are not (images, finite numbers), of two images or more, with as many numbers in both."""
    for features in (first, second):
        if features.ndim != 2 or len(features) < 2:
            got = f"features: got shape {tuple(features.shape)}"
            raise ValueError(f"{got}, expected (images, numbers), two images or more")
        if broken := int((~features.isfinite()).any(1).sum()):
            raise ValueError(f"features: got nan or infinity in {broken} of {len(features)}, expected finite numbers")
    if first.shape[1] != second.shape[1]:
        got = f"features: got {first.shape[1]} and {second.shape[1]} numbers an image"
        raise ValueError(f"{got}, expected as many in both")
