"""Vocabularies of visual tokens of several sizes, made by k-means while one waits (slide 34)."""

import torch
from jaxtyping import Float
from torch import Tensor

from lecture_utils.transformers.visual_tokens import cut, nearest_code

PATCH, PATCHES = 8, 40_000  # pixels of a patch's side; patches that a vocabulary is made from


def k_means(
    images: Float[Tensor, "n 3 h w"], words: int, *, rounds: int = 4, seed: int = 0
) -> Float[Tensor, "words d"]:
    """The centres of Lloyd's algorithm, which begins with patches sampled from the images.

    Each round assigns every patch to its nearest centre and moves the centre to the mean of its patches.
    """
    generator = torch.Generator().manual_seed(seed)
    patches = cut(images, PATCH).flatten(0, 1)
    patches = patches[torch.randperm(len(patches), generator=generator)[:PATCHES]]
    if len(patches) < words:
        raise ValueError(f"images: got {len(patches)} patches, expected at least {words}, one for each visual token")
    codes = patches[:words].clone()
    for _ in range(rounds):
        near = nearest_code(patches, codes)
        number = torch.bincount(near, minlength=words)[:, None]
        means = torch.zeros_like(codes).index_add_(0, near, patches) / number.clamp(min=1)
        codes = torch.where(number > 0, means, codes)
    return codes


def painted(codes: Float[Tensor, "words d"], images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 3 h w"]:
    """The images, each patch replaced by the nearest code."""
    patches = cut(images, PATCH)
    n, rows, columns = len(images), images.shape[2] // PATCH, images.shape[3] // PATCH
    pieces = codes[nearest_code(patches, codes)].view(n, rows, columns, 3, PATCH, PATCH)
    return pieces.permute(0, 3, 1, 4, 2, 5).reshape(images.shape)


def lost(codes: Float[Tensor, "words d"], images: Float[Tensor, "n 3 h w"]) -> float:
    """The share of the pixels' variance that the codes do not give back, 0 to 1."""
    return ((painted(codes, images) - images).square().mean() / images.var(unbiased=False)).item()
