"""The principal components of all object crops that the shipped auto-encoder learned from (slide 38).

Painting these crops takes most of a minute, so the components come with the course. To make them again:
`python -m lecture_course.nb13_whats_next.components`.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from sklearn.decomposition import PCA
from torch import Tensor

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


def fit(crops: Float[Tensor, "n c h w"]) -> Components:
    """PCA of crops and their mirror images; a network that learns from them sees either of both, at random."""
    both = torch.cat([crops, crops.flip(3)]).flatten(1).numpy()
    pca = PCA(COMPONENTS, svd_solver="covariance_eigh").fit(both)
    parts = (torch.from_numpy(part).float() for part in (pca.mean_, pca.components_, pca.explained_variance_**0.5))
    return Components(*parts, total=float(both.var(0, ddof=1).sum()), crops=len(crops))


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
