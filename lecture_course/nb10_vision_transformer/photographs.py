"""A photograph before ViT-B/16 with the weights of torchvision's authors, in our model."""

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from skimage.data import chelsea
from torch import Tensor
from torchvision.models import ViT_B_16_Weights
from torchvision.transforms.functional import center_crop

from lecture_course.nb10_vision_transformer.measuring import attention_distance
from lecture_utils.datasets import read_photo
from lecture_utils.transformers import ViT, class_token_attention, rollout

WEIGHTS = ViT_B_16_Weights.IMAGENET1K_V1


@dataclass(frozen=True)
class Look:
    """What the network saw of a photograph, the likeliest classes, its rollout, and how far its heads attend."""

    photo: UInt8[Tensor, "3 s s"]
    classes: dict[str, float]
    map_: Float[Tensor, "h w"]
    distance: Float[Tensor, "layers heads"]


def read(path: str | Path | None) -> UInt8[Tensor, "3 h w"]:
    """A photograph of yours, or, without a path, the cat that comes with scikit-image."""
    return torch.from_numpy(read_photo(path) if path else chelsea()).permute(2, 0, 1)


@torch.no_grad()
def look(photo: UInt8[Tensor, "3 h w"], device: str, *, model: ViT | None = None, top: int = 3) -> Look:
    """The square in the middle of a photograph, classified and looked into.

    `model` is by default ViT-B/16, trained on ImageNet, whose weights torch downloads once (330 MB); FileNotFoundError
    where it cannot.
    """
    model = (ViT.from_torchvision(WEIGHTS) if model is None else model).to(device)
    transforms = WEIGHTS.transforms()
    x = transforms(photo)[None].to(device)
    probabilities, numbers = model(x)[0].softmax(-1).topk(top)
    maps = model.attention_maps(x)
    side = round(min(photo.shape[1:]) * transforms.crop_size[0] / transforms.resize_size[0])
    names = [WEIGHTS.meta["categories"][k] for k in numbers.tolist()]
    return Look(
        center_crop(photo, [side, side]),
        dict(zip(names, probabilities.tolist(), strict=True)),
        class_token_attention(rollout(maps), model.grid)[0],
        attention_distance(maps, model.grid, model.patch_size),
    )
