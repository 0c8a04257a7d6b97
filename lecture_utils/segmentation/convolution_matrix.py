"""A convolution as one matrix: C · x.flatten() is the convolution of x (slide 10).

Each row of C belongs to one output pixel and holds the kernel where that pixel sees the image, zeros elsewhere. The
transpose of C is the transposed convolution of slide 11, see `transposed`. As on the slide, and in every framework,
"convolution" does not flip the kernel. Dumoulin and Visin, "A guide to convolution arithmetic for deep learning"
(2016), section 4.1.
"""

import warnings

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lecture_utils.arguments import Pair, check_shapes, pair, require_positive


def convolution_matrix(
    weight: Float[Tensor, "c_out c_in/groups kh kw"],
    input_size: Pair,
    *,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
    sparse: bool = False,
) -> Float[Tensor, "c_out*h_out*w_out c_in*h*w"]:
    """The matrix C with `C @ x.flatten()` equal to `F.conv2d(x, weight, ...).flatten()` for every x (c_in, h, w).

    `input_size` is (h, w) in pixels. Gradients flow to `weight`. `sparse=True` gives the same matrix as a sparse (COO)
    tensor: a 3×3 kernel leaves at most nine values in a row, so C of a 64×64 image takes 0.7 MB instead of 63.
    Raises ValueError for sizes, strides and groups that no convolution has. Slide 10.
    """
    require_weight(weight, groups)
    height, width = pair("input_size", input_size, least=1)
    kh, kw = weight.shape[2:]
    (sh, sw), (ph, pw) = pair("stride", stride, least=1), pair("padding", padding, least=0)
    dh, dw = pair("dilation", dilation, least=1)
    positions = (convolved_size(height, kh, sh, ph, dh), convolved_size(width, kw, sw, pw, dw))
    reads = kernel_reads((height, width), positions, (kh, kw), (sh, sw), (ph, pw), (dh, dw))
    return assemble(weight, reads, positions, (height, width), groups, sparse)


@check_shapes
def convolution_row(
    kernel: Float[Tensor, "kh kw"], input_size: tuple[int, int], at: tuple[int, int]
) -> Float[Tensor, "h*w"]:
    """One row of C, for stride 1 and no padding: the row that computes output pixel `at` (vertical, horizontal).

    The kernel laid on an empty image of `input_size` (h, w) where the output pixel sees it, written as one line.
    """
    blank = kernel.new_zeros(input_size)
    (i, j), (kh, kw) = at, kernel.shape
    if not (0 <= i <= input_size[0] - kh and 0 <= j <= input_size[1] - kw):
        raise ValueError(f"at: got {at}, expected a place where the {kh}×{kw} kernel lies inside {input_size}")
    blank[i : i + kh, j : j + kw] = kernel
    return blank.flatten()


def convolved_size(size: int, kernel_size: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> int:
    """How many places a kernel has along an axis of `size` pixels: the size of a convolution's output.

    ValueError if it has none. Dumoulin and Visin (2016), relationship 15.
    """
    require_positive(kernel_size=kernel_size, stride=stride, dilation=dilation)
    reach = dilation * (kernel_size - 1) + 1  # pixels from the kernel's first entry to its last
    if size + 2 * padding < reach:
        raise ValueError(
            f"input_size: got {size} pixels, padded to {size + 2 * padding}, expected at least the {reach} "
            "that the kernel spans"
        )
    return (size + 2 * padding - reach) // stride + 1


def kernel_reads(
    input_size: tuple[int, int],
    positions: tuple[int, int],
    kernel_size: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
) -> tuple[Int[Tensor, " n"], Int[Tensor, " n"], Int[Tensor, " n"]]:
    """Who reads what: output pixel `out[n]` reads input pixel `pixel[n]` through kernel entry `entry[n]`.

    All three count row by row from 0, in one channel. What falls into the padding is left out: it reads zeros.
    """
    axes = []
    for axis in (0, 1):
        place = torch.arange(positions[axis]) * stride[axis] - padding[axis]
        axes.append(place[:, None] + torch.arange(kernel_size[axis]) * dilation[axis])  # positions × kernel
    y, x = axes[0][:, None, :, None], axes[1][None, :, None, :]  # h_out 1 kh 1 and 1 w_out 1 kw
    height, width = input_size
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)  # h_out w_out kh kw
    out, entry = inside.flatten(2).flatten(0, 1).nonzero(as_tuple=True)
    return out, (y * width + x)[inside], entry


def assemble(
    weight: Float[Tensor, "c_out c_in/groups kh kw"],
    reads: tuple[Tensor, Tensor, Tensor],
    positions: tuple[int, int],
    input_size: tuple[int, int],
    groups: int,
    sparse: bool,
) -> Float[Tensor, "c_out*h_out*w_out c_in*h*w"]:
    """Write the kernel entries to their rows and columns, once for each pair of an output and an input channel."""
    out, pixel, entry = (index.to(weight.device) for index in reads)
    (c_out, per_group), places, pixels = weight.shape[:2], positions[0] * positions[1], input_size[0] * input_size[1]
    channel = torch.arange(c_out, device=weight.device)
    # Output channel o belongs to group o // (c_out / groups) and reads the channels of that group only.
    reads_from = (channel // (c_out // groups) * per_group)[:, None] + torch.arange(per_group, device=weight.device)
    rows = (channel[:, None, None] * places + out).expand(c_out, per_group, -1)
    columns = reads_from[:, :, None] * pixels + pixel
    values = weight.flatten(2)[:, :, entry]
    shape = (c_out * places, groups * per_group * pixels)
    where = torch.stack([rows.flatten(), columns.flatten()])
    if sparse:
        # torch 2.11 warns of unchecked invariants even where it is told not to check them (pytorch, issue 184610).
        with warnings.catch_warnings(action="ignore"):
            return torch.sparse_coo_tensor(where, values.flatten(), shape, check_invariants=False).coalesce()
    return weight.new_zeros(shape).index_put(tuple(where), values.flatten())


def require_weight(weight: Tensor, groups: int, name: str = "out_channels") -> None:
    """Refuse weights that are not (channels, channels of a group, height, width) or that `groups` does not divide."""
    if weight.ndim != 4 or 0 in weight.shape:
        raise ValueError(
            f"weight: got shape {tuple(weight.shape)}, expected ({name}, channels of a group, kernel height, width)"
        )
    if groups < 1 or weight.shape[0] % groups:
        raise ValueError(f"groups: got {groups}, expected a divisor of the {weight.shape[0]} {name} of weight")
