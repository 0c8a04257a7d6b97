"""Unpooling by fixed rules: nearest neighbour, bed of nails, and maxima put back where they came from (slides 8 and 9).

Nothing here is learned. `F.interpolate`, `F.max_pool2d` and `F.max_unpool2d` do the same; these functions show how.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Num
from torch import Tensor

from lecture_utils.arguments import Pair, pair


def nearest_unpool(x: Float[Tensor, "b c h w"], factor: Pair = 2) -> Float[Tensor, "b c h_out w_out"]:
    """Repeat each value over a block of `factor` pixels: the value of the nearest pixel of `x` (slide 8).

    `factor` is one whole number, or one for the rows and one for the columns; h_out is h times the factor.
    """
    _require_map("x", x)
    down, across = pair("factor", factor, least=1)
    return x.repeat_interleave(down, dim=2).repeat_interleave(across, dim=3)


def bed_of_nails(x: Float[Tensor, "b c h w"], factor: Pair = 2) -> Float[Tensor, "b c h_out w_out"]:
    """Put each value into the upper left corner of a block of `factor` pixels, zeros elsewhere (slide 8)."""
    _require_map("x", x)
    down, across = pair("factor", factor, least=1)
    batch, channels, height, width = x.shape
    nails = x.new_zeros(batch, channels, height * down, width * across)
    nails[:, :, ::down, ::across] = x
    return nails


def max_pool(
    x: Float[Tensor, "b c h w"], kernel_size: Pair = 2, stride: Pair | None = None, padding: Pair = 0
) -> tuple[Float[Tensor, "b c h_out w_out"], Int[Tensor, "b c h_out w_out"]]:
    """The largest value of each window, and where it was: (values, indices), as slide 9 asks to remember.

    An index is the flat position row · w + column in `x`, without its padding; of equal values the first one counts.
    `stride` is `kernel_size` by default. Around `x` lie `padding` pixels, at most half a window, that never win.
    """
    _require_map("x", x)
    window = _window(kernel_size, stride, padding)
    height, width = x.shape[2:]
    # The padding is −inf, and the lowest number lets it lose even where the input itself is −inf.
    pixels = windows(x.clamp(min=torch.finfo(x.dtype).min), *window, beyond=float("-inf"))
    flat = torch.arange(height * width, device=x.device).view(1, 1, height, width)
    positions = windows(flat, *window, beyond=-1)

    winner = pixels.argmax(dim=4, keepdim=True)  # of equal values the first
    indices = positions.expand_as(pixels).gather(4, winner).squeeze(4)
    # Reading the values off at their positions lets the gradient flow back to exactly those.
    return x.flatten(2).gather(2, indices.flatten(2)).view_as(indices), indices


def windows(
    x: Num[Tensor, "b c h w"],
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    *,
    beyond: int | float,
) -> Num[Tensor, "b c h_out w_out kernel"]:
    """The pixels of each window of kernel[0] × kernel[1], on an axis of their own; `beyond` is the padding's value."""
    (down, across), (height, width) = padding, x.shape[2:]
    if height + 2 * down < kernel[0] or width + 2 * across < kernel[1]:
        raise ValueError(f"x: got {height}×{width} pixels, expected room for a window of {kernel[0]}×{kernel[1]}")
    padded = F.pad(x, (across, across, down, down), value=beyond)
    return padded.unfold(2, kernel[0], stride[0]).unfold(3, kernel[1], stride[1]).flatten(4)


def max_unpool(
    x: Float[Tensor, "b c h w"], indices: Int[Tensor, "b c h w"], output_size: Sequence[int]
) -> Float[Tensor, "b c h_out w_out"]:
    """Put each value of `x` at its remembered position in a map of zeros, `output_size` (height, width) (slide 9).

    `indices` are those of `max_pool`; `output_size` is the size before that pooling, without which a flat position
    means nothing. Where overlapping windows remember one position, one of their values stays, as in `F.max_unpool2d`;
    right after the pooling these are equal. Zeiler, Taylor and Fergus, ICCV 2011; Noh, Hong and Han, ICCV 2015.
    """
    _require_map("x", x)
    if indices.shape != x.shape or indices.dtype != torch.int64:
        raise ValueError(
            f"indices: got {indices.dtype} {tuple(indices.shape)}, expected torch.int64 {tuple(x.shape)}, one a value"
        )
    height, width = pair("output_size", output_size, least=1)
    # Tensors on the meta device have shapes only, no positions to look at.
    if not indices.is_meta and not ((indices >= 0) & (indices < height * width)).all():
        raise ValueError(
            f"indices: got positions {indices.min()} to {indices.max()}, expected 0 to {height * width - 1} on a map "
            f"of {height}×{width}; output_size must be the size before the pooling, along whose rows positions count"
        )
    zeros = x.new_zeros(*x.shape[:2], height * width)
    return zeros.scatter(2, indices.flatten(2), x.flatten(2)).unflatten(2, (height, width))


def unpooled_size(
    pooled_size: Sequence[int], kernel_size: Pair = 2, stride: Pair | None = None, padding: Pair = 0
) -> tuple[int, int]:
    """The smallest (height, width) that pooling turns into `pooled_size`: what `F.max_unpool2d` takes if not told.

    Up to stride − 1 more rows and columns pool to the same size, because what does not fill a window is dropped.
    """
    kernel, stride, padding = _window(kernel_size, stride, padding)
    pooled = pair("pooled_size", pooled_size, least=1)
    sizes = ((n - 1) * s - 2 * p + k for n, k, s, p in zip(pooled, kernel, stride, padding, strict=True))
    height, width = (max(1, size) for size in sizes)
    return height, width


def _window(kernel_size: Pair, stride: Pair | None, padding: Pair) -> tuple[tuple[int, int], ...]:
    kernel = pair("kernel_size", kernel_size, least=1)
    steps = kernel if stride is None else pair("stride", stride, least=1)
    beyond = pair("padding", padding, least=0)
    if any(2 * p > k for p, k in zip(beyond, kernel, strict=True)):
        raise ValueError(f"padding: got {padding}, expected at most half of kernel_size {kernel_size}")
    return kernel, steps, beyond


def _require_map(name: str, x: Tensor) -> None:
    if x.ndim != 4 or not x.is_floating_point():
        raise ValueError(f"{name}: got {x.dtype} {tuple(x.shape)}, expected floats of shape (batch, channels, h, w)")
