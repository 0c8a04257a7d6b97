"""The principal components of all object crops that the shipped auto-encoder learned from (slide 38).

Painting these crops takes most of a minute, so the components come with the course. To make them again:
`python -m lecture_course.nb13_whats_next.components`.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from scipy.linalg import subspace_angles
from sklearn.decomposition import PCA
from torch import Tensor
from torch.utils.data import TensorDataset

from lecture_utils import training
from lecture_utils.generative import LinearAutoEncoder
from lecture_utils.runtime import Runtime
from lecture_utils.training import History

FILE = Path(__file__).with_name("components.npz")
COMPONENTS = 32


class Components(NamedTuple):
    """The mean image, directions of falling variance (rows, orthonormal), and the standard deviation along each."""

    mean: Float[Tensor, " d"]
    directions: Float[Tensor, "k d"]
    deviations: Float[Tensor, " k"]
    total: float  # variance of the crops, summed over all pixels
    crops: int

    def reconstruct(self, images: Float[Tensor, "n c h w"], k: int) -> Float[Tensor, "n c h w"]:
        """Images from their first `k` coordinates."""
        axes = self.directions[:k]
        return ((images.flatten(1) - self.mean) @ axes.T @ axes + self.mean).view_as(images)


def fit(crops: Float[Tensor, "n c h w"], *, mirrored: bool = True) -> Components:
    """PCA of crops and their mirror images: a network that learns with flips sees either of both, at random."""
    both = (torch.cat([crops, crops.flip(3)]) if mirrored else crops).flatten(1).numpy()
    # Both are exact; which one is fast depends on whether there are more images than pixels.
    solver = "covariance_eigh" if len(both) > both.shape[1] else "arpack"
    pca = PCA(COMPONENTS, svd_solver=solver, random_state=0).fit(both)
    parts = (torch.from_numpy(part).float() for part in (pca.mean_, pca.components_, pca.explained_variance_**0.5))
    return Components(*parts, total=float(both.var(0, ddof=1).sum()), crops=len(crops))


def train_linear(
    crops: Float[Tensor, "n c h w"], run: Runtime, *, latent: int = 6
) -> tuple[LinearAutoEncoder, History]:
    """A linear auto-encoder trained on centred crops for 600 steps of the squared error."""
    centred = (crops - crops.mean(0)).flatten(1)
    torch.manual_seed(run.seed)
    net = LinearAutoEncoder(centred.shape[1], latent=latent)
    settings = {"steps": 600, "batch_size": 64, "lr": 1e-2, "weight_decay": 0.0, "quiet": True}
    loss = lambda net, batch: F.mse_loss(net(batch[0]).float(), batch[0])  # noqa: E731
    return net, training.fit(net, TensorDataset(centred), loss=loss, run=run, **settings)


@torch.no_grad()
def compare(
    net: LinearAutoEncoder, exact: Components, crops: Float[Tensor, "n c h w"], run: Runtime
) -> dict[str, float]:
    """The largest angle between the decoder's subspace and that of PCA, and how much variance each explains."""
    centred, axes = (crops - crops.mean(0)).flatten(1), net.decoder.weight.detach().cpu()
    directions = exact.directions[: axes.shape[1]]
    explains = lambda found: 100 * (1 - (found - centred).square().sum() / centred.square().sum()).item()  # noqa: E731
    return {
        "largest angle, °": np.degrees(subspace_angles(axes.numpy(), directions.T.numpy())).max(),
        "PCA explains, percent": explains(centred @ directions.T @ directions),
        "the network": explains(net(centred.to(run.device)).cpu()),
    }


def normal_codes(codes: Float[Tensor, "n d"], noise: Float[Tensor, "m d"]) -> Float[Tensor, "m d"]:
    """Standard normal noise as samples of the normal distribution that has the mean and covariance of the codes."""
    return codes.mean(0) + noise @ torch.linalg.cholesky(codes.T.cov()).T


def load() -> Components:
    """The components that come with the course; half precision, made orthonormal again."""
    with np.load(FILE) as stored:
        parts = [torch.from_numpy(stored[name].astype(np.float32)) for name in Components._fields[:3]]
        total, crops = float(stored["total"]), int(stored["crops"])
    parts[1] = _orthonormal(parts[1])
    return Components(*parts, total=total, crops=crops)


def _orthonormal(rows: Float[Tensor, "k d"]) -> Float[Tensor, "k d"]:
    """The nearest orthonormal rows."""
    left, _, right = torch.linalg.svd(rows, full_matrices=False)
    return left @ right


if __name__ == "__main__":
    from lecture_utils.tasks.generation import object_crop_data, stack_images

    made = fit(stack_images(object_crop_data("train")))
    kept = {name: value.half().numpy() for name, value in zip(Components._fields, made[:3], strict=False)}
    np.savez_compressed(FILE, **kept, total=made.total, crops=made.crops)
