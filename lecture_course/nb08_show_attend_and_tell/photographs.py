"""Flickr8k: a captioner that learns from photographs, where they are attached and a GPU is there to learn on."""

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from lecture_utils import training
from lecture_utils.captioning import ShowAttendTell, Vocabulary
from lecture_utils.captioning.decoding import beam_search
from lecture_utils.runtime import Runtime
from lecture_utils.tasks.caption_dataset import CaptionDataset, caption_images, collate_captions, grid_encoder
from lecture_utils.tasks.captioning import attending_loss
from lecture_utils.tasks.photos import to_photo
from lecture_utils.training import History

SIZE = 224  # pixels a side: what ImageNet's ResNets learned from
WIDTHS = {"dim": 512, "hidden": 512, "attention_dim": 512}  # as wide as the paper's


@dataclass(frozen=True)
class Photographs:
    """A captioner, ready to speak, and the photographs that it has not learned from."""

    captioner: ShowAttendTell
    unseen: CaptionDataset
    history: History

    def look(self, index: int) -> tuple[UInt8[Tensor, "3 h w"], list[str], Float[Tensor, "t h w"]]:
        """A photograph, the words that the captioner says about it, and where it looked for each."""
        image, _ = self.unseen.dataset[index]
        z = self.unseen.grids([index]).to(next(self.captioner.parameters()).device)
        said = beam_search(self.captioner, z, beam_size=3, max_length=20, need_weights=True)
        words = self.unseen.vocabulary.to_tokens(said.words[0])
        return to_photo(image), words, said.attention[0, 0, 0, : len(words)]


def learn(folder: Path | str, run: Runtime, *, encoder: nn.Module | None = None, **options) -> Photographs:
    """Train Show, Attend and Tell on the training photographs of a folder in the layout of Flickr8k or COCO.

    `encoder` makes the features, by default a ResNet-50 with ImageNet's weights, which torch downloads once
    (FileNotFoundError where it cannot). Words that occur fewer than five times are read as `<unknown>`. `options` go to
    `training.fit`.
    """
    encoder = grid_encoder("resnet50", device=run.device) if encoder is None else encoder.to(run.device)
    photos = caption_images("train", folder, size=SIZE)
    words = Vocabulary.build((one for i in range(len(photos)) for one in photos.captions(i)), min_freq=5)
    data = CaptionDataset(photos, encoder, words).preload()
    _, features, *grid = data.grids([0]).shape
    torch.manual_seed(run.seed)
    captioner = ShowAttendTell(len(words), features, tuple(grid), **WIDTHS)
    how = {"steps": 6000, "batch_size": 64, "lr": 4e-4, "collate": collate_captions} | options
    history = training.fit(captioner, data, loss=attending_loss(data), run=run, **how)
    return Photographs(
        captioner.eval(), CaptionDataset(caption_images("val", folder, size=SIZE), encoder, words), history
    )
