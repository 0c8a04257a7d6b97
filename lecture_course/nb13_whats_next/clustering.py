"""Clusters of pixels and of crops, and how well they agree with classes that nobody told (slide 36)."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, UInt8
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import cross_val_predict
from torch import Tensor
from torch.utils.data import Dataset

from lecture_utils.cityscapes import IGNORE_INDEX
from lecture_utils.tasks.photos import to_photo
from lecture_utils.transformers import BEiT

MIXED = 16  # principal components that a Gaussian mixture is fitted to: covariances need more data than means

ALIKE = 0.06  # two colours from 0 to 1 that are hard to tell apart in an image


def pixels_of(
    image: Float[Tensor, "3 h w"], labels: UInt8[Tensor, "h w"]
) -> tuple[Float[np.ndarray, "h w 3"], UInt8[np.ndarray, "h w"], Float[np.ndarray, "n 5"]]:
    """A street as colours from 0 to 1, its label map, and a row for each pixel: colour, row and column.

    Rows and columns run from 0 to ½ only, so that place counts for less than colour.
    """
    photo = to_photo(image).permute(1, 2, 0).numpy() / 255
    place = np.moveaxis(np.indices(labels.shape), 0, 2) / (2 * len(labels))
    return photo, labels.numpy(), np.concatenate([photo, place], axis=2).reshape(labels.numel(), -1)


def with_labels(labels: UInt8[np.ndarray, "h w"], clusters: Int64[np.ndarray, " n"]) -> float:
    """The adjusted Rand index of true classes and clusters, without the pixels that have no class."""
    known = labels.ravel() != IGNORE_INDEX
    return adjusted_rand_score(labels.ravel()[known], clusters[known])


def over_streets(streets: Dataset, indices: Sequence[int], clusters: int) -> dict[str, list[float]]:
    """How well k-means and a Gaussian mixture agree with the classes of each street: method → `with_labels`."""
    methods = {
        "k-means": KMeans(clusters, n_init=1, random_state=0),
        "Gaussian mixture": GaussianMixture(clusters, random_state=0),
    }
    parts = [pixels_of(*streets[i])[1:] for i in indices]
    return {
        name: [with_labels(labels, method.fit_predict(pixels)) for labels, pixels in parts]
        for name, method in methods.items()
    }


def painted(photo: Float[np.ndarray, "h w 3"], clusters: Int64[np.ndarray, " n"]) -> Float[np.ndarray, "h w 3"]:
    """Each pixel in the mean colour of its cluster; a white line is drawn between clusters of nearly one colour."""
    means = np.zeros((clusters.max() + 1, 3))
    for cluster in np.unique(clusters):
        means[cluster] = photo.reshape(-1, 3)[clusters == cluster].mean(0)
    apart = np.abs(means[:, None] - means).max(2)
    alike, of = (apart > 0) & (apart < ALIKE), clusters.reshape(photo.shape[:2])
    line = np.zeros(of.shape, bool)
    line[:, :-1] |= alike[of[:, :-1], of[:, 1:]]
    line[:-1] |= alike[of[:-1], of[1:]]
    return np.where(line[..., None], 1.0, means[of])


def held_road(clusters: Int64[np.ndarray, " n"], road: np.ndarray) -> str:
    """Two lines, of the two clusters with most of the road: how much of it each holds, and how much of each is road."""
    return "\n".join(
        f"a cluster holds {100 * (clusters == cluster)[road].mean():2.0f} % of the road; "
        f"{100 * road[clusters == cluster].mean():2.0f} % of the cluster is road"
        for cluster in np.bincount(clusters[road]).argsort()[:-3:-1]
    )


def unsure(
    largest: Float[np.ndarray, "h w"], labels: UInt8[np.ndarray, "h w"], classes: Mapping[str, int]
) -> dict[str, float]:
    """Of how many percent of the pixels of each class the largest responsibility is below 0.9."""
    return {name: 100 * float((largest[labels == index] < 0.9).mean()) for name, index in classes.items()}


def brightness_and_hue(photo: Float[np.ndarray, "h w 3"]) -> Float[np.ndarray, "n 2"]:
    """Of each pixel the mean of red, green and blue, and how much greener it is than red and blue."""
    red, green, blue = np.moveaxis(photo, 2, 0).reshape(3, -1)
    return np.stack([(red + green + blue) / 3, green - (red + blue) / 2], axis=1)


def moments(method: KMeans | GaussianMixture) -> list[tuple[np.ndarray, np.ndarray]]:
    """Mean and covariance of each fitted cluster; k-means has no covariances, so they are 0."""
    if isinstance(method, GaussianMixture):
        return list(zip(method.means_, method.covariances_, strict=True))
    d = method.cluster_centers_.shape[1]
    return [(centre, np.zeros((d, d))) for centre in method.cluster_centers_]


@torch.no_grad()
def beit_features(backbone: BEiT, crops: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n dim"]:
    """The mean token of the patches in the middle of each crop, which is enlarged to the size the network knows."""
    height, width = backbone.image_shape[1:]
    large = F.interpolate(crops, size=(height, width), mode="bicubic", antialias=True)
    device, (rows, columns) = next(backbone.parameters()).device, backbone.grid
    tokens = torch.cat([backbone(part.to(device))[0][:, 1:].cpu() for part in large.split(50)])
    maps = tokens.unflatten(1, (rows, columns))
    return maps[:, rows // 4 : rows - rows // 4, columns // 4 : columns - columns // 4].mean((1, 2))


def middle(crops: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
    """The pixels of the middle quarter of each crop, as one row."""
    h, w = crops.shape[-2:]
    return crops[..., h // 4 : h - h // 4, w // 4 : w - w // 4].flatten(1)


def agreement(features: Float[Tensor, "n d"], truth: Sequence[str]) -> tuple[float, float]:
    """The adjusted Rand index of as many clusters as there are classes: by k-means, and by a Gaussian mixture."""
    values, clusters = features.numpy() - features.numpy().mean(0), len(set(truth))
    few = PCA(min(MIXED, values.shape[1]), random_state=0).fit_transform(values)
    kmeans = KMeans(clusters, n_init=10, random_state=0)
    mixture = GaussianMixture(clusters, covariance_type="diag", n_init=3, reg_covar=1e-3 * few.var(), random_state=0)
    return adjusted_rand_score(truth, kmeans.fit_predict(values)), adjusted_rand_score(truth, mixture.fit_predict(few))


def by_chance(truth: Sequence[str], *, seed: int = 0) -> float:
    """The adjusted Rand index of clusters that are drawn at random."""
    return adjusted_rand_score(truth, np.random.default_rng(seed).integers(len(set(truth)), size=len(truth)))


def probe(features: Float[Tensor, "n d"], truth: Sequence[str]) -> float:
    """The accuracy of a linear probe that was told the labels of the others, over five folds."""
    values = features.numpy() - features.numpy().mean(0)
    found = cross_val_predict(LogisticRegression(max_iter=300), values / values.std(), np.asarray(truth), cv=5)
    return float((found == np.asarray(truth)).mean())


def table(features: Mapping[str, Tensor], kinds: Sequence[str], colours: Sequence[str]) -> dict[str, list[float]]:
    """Features → how well their clusters agree with kinds and colours, and what a linear probe finds of kinds.

    The five numbers are those of kinds by k-means and by a mixture, of colours by both, and of the probe.
    """
    return {
        name: [*agreement(values, kinds), *agreement(values, colours), probe(values, kinds)]
        for name, values in features.items()
    }
