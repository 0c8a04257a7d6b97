"""Visual tokens: an image as words of a vocabulary, which is what BEiT predicts instead of pixels (slide 34).

The paper takes the tokens of DALL·E (Ramesh et al., "Zero-shot text-to-image generation", ICML 2021): a discrete
variational auto-encoder, a CNN with millions of weights trained on 250 million images, which has 8,192 words and sees
beyond the patch. Here a word is a patch of pixels, and the vocabulary the centres that k-means has found among the
patches of the city: one sees what each word means, and no second network has to be trained.
"""

import torch
from einops import rearrange
from jaxtyping import Float, Int64
from torch import Tensor, nn

from lecture_utils.arguments import check_shapes, require_positive


class VisualTokens(nn.Module):
    """A codebook of patches: images into words and back. It is 0 until `set_codebook` or a checkpoint has filled it.

    It is kept in half precision, which is finer than any two of its words are alike.
    """

    def __init__(self, words: int, patch: int, *, channels: int = 3):
        super().__init__()
        require_positive(words=words, patch=patch, channels=channels)
        self.patch, self.channels = patch, channels
        self.register_buffer("codebook", torch.zeros(words, channels * patch * patch, dtype=torch.float16))

    def set_codebook(self, codebook: Float[Tensor, "words d"]) -> None:
        """Take over the centres of a clustering of patches, cut as by `cut`."""
        if codebook.shape != self.codebook.shape:
            raise ValueError(f"codebook: got shape {tuple(codebook.shape)}, expected {tuple(self.codebook.shape)}")
        self.codebook.copy_(codebook)

    def forward(self, image: Float[Tensor, "b c h w"]) -> Int64[Tensor, "b n"]:
        """The word of each patch, row after row: the number of the nearest code."""
        # Under autocast, half of the digits of a distance would be lost.
        with torch.autocast(image.device.type, enabled=False):
            return nearest_code(cut(image.float(), self.patch), self.codebook.float())

    def decode(self, words: Int64[Tensor, "b n"], grid: tuple[int, int]) -> Float[Tensor, "b c h w"]:
        """The image that is painted with the codes of these words, on a grid (height, width) of patches."""
        sizes = {"h": grid[0], "w": grid[1], "p": self.patch, "q": self.patch}
        return rearrange(self.codebook[words].float(), "b (h w) (c p q) -> b c (h p) (w q)", **sizes)


def cut(image: Float[Tensor, "b c h w"], patch: int) -> Float[Tensor, "b n d"]:
    """The pixels of each patch in a row: channel after channel, in each row after row."""
    if image.ndim != 4 or image.shape[2] % patch or image.shape[3] % patch:
        expected = f"(b, c, h, w) with sides that are multiples of patch={patch}"
        raise ValueError(f"image: got shape {tuple(image.shape)}, expected {expected}")
    return rearrange(image, "b c (h p) (w q) -> b (h w) (c p q)", p=patch, q=patch)


@check_shapes
def nearest_code(patches: Float[Tensor, "*b d"], codebook: Float[Tensor, "words d"]) -> Int64[Tensor, "*b"]:
    """For each patch the number of the code with the least squared distance: |x|² − 2x·c + |c|², and |x|² is the same
    for all codes."""
    return (codebook.square().sum(-1) - 2 * patches @ codebook.T).argmin(-1)
