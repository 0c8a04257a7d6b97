"""What goes wrong in the exercises of notebook 10: wrong functions, and what each of them says to its author."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from lecture_course.engine.definitions import mistakes


def with_token(patches: Tensor, token: Tensor, *, last: bool = False) -> Tensor:
    """Patches (b, n, d) with the class token before or behind them."""
    tokens = token.expand(len(patches), -1, -1)
    return torch.cat([patches, tokens] if last else [tokens, patches], dim=1)


WORDS = mistakes(
    "The positions are missing: without them the patches are a heap without order.",
    lambda patches, token, positions: with_token(patches, token),
    "The class token comes after the patches; it is the first token.",
    lambda patches, token, positions: with_token(patches, token, last=True) + positions,
    "The patches have their positions, the class token has none: it is a token like the others and gets the first.",
    lambda patches, token, positions: with_token(patches + positions[:, 1:], token),
    "The patches have the positions of their neighbours: the first position belongs to the class token.",
    lambda patches, token, positions: with_token(patches + positions[:, :-1], token + positions[:, -1:]),
    "The class token is added to every patch; it is a token of its own, before them.",
    lambda patches, token, positions: patches + token + positions[:, 1:],
    "The class token is missing: there must be one token more than patches.",
    lambda patches, token, positions: patches + positions[:, 1:],
    "The tokens are multiplied with their positions; positions are added.",
    lambda patches, token, positions: with_token(patches, token) * positions,
)


def resizing(
    *,
    mode: str = "bicubic",
    corners: bool = True,
    into: str = "(h w)",
    out: str = "(h w)",
) -> Callable[..., Tensor]:
    """Resized positions with another interpolation, or with rows and columns exchanged on the way in or out."""

    def resize(positions: Tensor, before: tuple[int, int], after: tuple[int, int]) -> Tensor:
        places = rearrange(positions[:, 1:], f"b {into} d -> b d h w", h=before[0])
        places = F.interpolate(places, size=after, mode=mode, align_corners=None if mode == "nearest" else corners)
        return torch.cat([positions[:, :1], rearrange(places, f"b d h w -> b {out} d")], dim=1)

    return resize


def resized_in_a_row(positions: Tensor, before: tuple[int, int], after: tuple[int, int]) -> Tensor:
    """All positions, the class token among them, as one row of values."""
    row = F.interpolate(positions.mT, size=1 + after[0] * after[1], mode="linear", align_corners=True)
    return row.mT


def patches_in_a_row(positions: Tensor, before: tuple[int, int], after: tuple[int, int]) -> Tensor:
    row = F.interpolate(positions[:, 1:].mT, size=after[0] * after[1], mode="linear", align_corners=True)
    return torch.cat([positions[:, :1], row.mT], dim=1)


RESIZED = mistakes(
    "Between the corners the values are off: keep the corners in place with align_corners=True.",
    resizing(corners=False),
    'That is mode="bilinear"; take "bicubic".',
    resizing(mode="bilinear"),
    'That is mode="bilinear" without align_corners; take "bicubic".',
    resizing(mode="bilinear", corners=False),
    'That repeats the nearest position; mode="bicubic" draws a curve between them.',
    resizing(mode="nearest"),
    "The positions are set into a grid of width × height: they come row by row, so the height is the first side.",
    resizing(into="(w h)"),
    "The new positions leave the grid column by column; go along the rows.",
    resizing(out="(w h)"),
    "The class token is interpolated with the rest, and all as one long row. It has no place: keep it apart, and "
    "set the others into a grid.",
    resized_in_a_row,
    "The positions are interpolated as one long row, so the end of a row runs into the beginning of the next. Set "
    "them into a grid first.",
    patches_in_a_row,
    "The class token's position is lost: put it back before the others.",
    lambda positions, before, after: resizing()(positions, before, after)[:, 1:],
    "The class token's position has come last; it is the first.",
    lambda positions, before, after: resizing()(positions, before, after).roll(-1, 1),
)


def rolling(
    step: Callable[[Tensor, Tensor], Tensor],
    heads: Callable[[Tensor], Tensor] = lambda maps: maps.mean(2),
    *,
    after: Callable[[Tensor], Tensor] = lambda flow: flow,
    reverse: bool = False,
) -> Callable[[Tensor], Tensor]:
    """A product over the layers of what `step` makes of a layer's weights and the identity."""

    def roll(maps: Tensor) -> Tensor:
        kept = torch.eye(maps.shape[-1])
        layers = [step(weights, kept) for weights in heads(maps).unbind(1)]
        flow = kept.expand(len(maps), -1, -1)
        for weights in layers[::-1] if reverse else layers:
            flow = weights @ flow
        return after(flow)

    return roll


def half(weights: Tensor, kept: Tensor) -> Tensor:
    return 0.5 * weights + 0.5 * kept


ROLLOUT = mistakes(
    "The tokens do not keep anything of themselves: mix each layer's weights with the identity, half and half.",
    rolling(lambda weights, kept: weights),
    "The identity is added, but rows no longer sum to 1: take half of each.",
    rolling(lambda weights, kept: weights + kept),
    "The layers are multiplied in the wrong order: the first layer acts first, so it stands on the right.",
    rolling(half, reverse=True),
    "The strongest head is taken; average the heads.",
    rolling(half, lambda maps: maps.amax(2)),
    "The heads are added up; average them.",
    rolling(half, lambda maps: maps.sum(2)),
    "The layers are averaged; each acts on what the one before it has made, so they are multiplied.",
    lambda maps: half(maps.mean((1, 2)), torch.eye(maps.shape[-1])),
    "That is the last layer alone.",
    lambda maps: half(maps[:, -1].mean(1), torch.eye(maps.shape[-1])),
    "That is the last layer alone, and without what its tokens keep of themselves.",
    lambda maps: maps[:, -1].mean(1),
    "Rows and columns are exchanged: row i tells what token i is made of.",
    rolling(half, after=lambda x: x.mT),
    "The identity is mixed in once, after the product; every layer has its own residual connection.",
    rolling(lambda weights, kept: weights, after=lambda x: half(x, torch.eye(x.shape[-1]))),
    "The weights of the layers are multiplied entry by entry; a way through two layers is a matrix product.",
    lambda maps: half(maps.mean(2), torch.eye(maps.shape[-1])).prod(1),
)
