"""The transposed convolution: multiply by Cᵀ, and every value is sent out through the kernel (slide 11).

A convolution with matrix C makes 16 values 4; Cᵀ makes 4 values 16. It has the *shape* of an inverse and is none: only
the connections are the same, run backwards. "Deconvolution" on the slide, and in Zeiler and Fergus (2014), is this.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from lecture_utils.arguments import Pair, check_shapes, pair, require_positive
from lecture_utils.segmentation.convolution_matrix import assemble, kernel_reads, require_weight


def transposed_convolution(
    x: Float[Tensor, "b c_in h w"],
    weight: Float[Tensor, "c_in c_out/groups kh kw"],
    *,
    stride: Pair = 1,
    padding: Pair = 0,
    output_padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Float[Tensor, "b c_out h_out w_out"]:
    """Multiply x by Cᵀ, C the matrix of the convolution that reads an h_out × w_out image at h × w places.

    Equal to `F.conv_transpose2d`, differentiable in x and weight. `weight` has the layout of that convolution, which
    leads from c_out to c_in channels. `output_padding` picks one of the sizes that the convolution would bring to
    h × w; it must be smaller than the stride (or the dilation). Raises ValueError for bad sizes. Slide 11; Dumoulin
    and Visin (2016), section 4.
    """
    require_weight(weight, groups, name="in_channels")
    if x.ndim != 4 or x.shape[1] != weight.shape[0] or 0 in x.shape[2:]:
        raise ValueError(f"x: got shape {tuple(x.shape)}, expected (batch, {weight.shape[0]}, height, width)")
    strides, paddings = pair("stride", stride, least=1), pair("padding", padding, least=0)
    extra, dilations = pair("output_padding", output_padding, least=0), pair("dilation", dilation, least=1)
    sizes, kernel = tuple(x.shape[2:]), tuple(weight.shape[2:])
    output = tuple(map(transposed_size, sizes, kernel, strides, paddings, extra, dilations))
    reads = kernel_reads(output, sizes, kernel, strides, paddings, dilations)
    c = assemble(weight, reads, sizes, output, groups, sparse=True)
    return (c.T @ x.flatten(1).T).T.reshape(len(x), groups * weight.shape[1], *output)


@check_shapes
def stamp(x: Float[Tensor, "h w"], kernel: Float[Tensor, "kh kw"], stride: int = 1) -> Float[Tensor, "h_out w_out"]:
    """The transposed convolution without a matrix: each value stamps the kernel, times itself, onto the output.

    Stamps lie `stride` pixels apart, and where they overlap they add up. One channel, no padding. Slide 11.
    """
    require_positive(stride=stride)
    (h, w), (kh, kw) = x.shape, kernel.shape
    output = x.new_zeros((h - 1) * stride + kh, (w - 1) * stride + kw)
    for i in range(h):
        for j in range(w):
            top, left = i * stride, j * stride
            output[top : top + kh, left : left + kw] += x[i, j] * kernel
    return output


def transposed_size(
    size: int, kernel_size: int, stride: int = 1, padding: int = 0, output_padding: int = 0, dilation: int = 1
) -> int:
    """How many pixels a transposed convolution makes of `size` values along an axis.

    The last stamp begins (size − 1) · stride after the first and reaches over the whole kernel; `padding` is cut off
    at both ends, and `output_padding` of it is left on at the far one. ValueError if nothing remains, or if
    `output_padding` is not smaller than stride or dilation. Dumoulin and Visin (2016), relationship 14.
    """
    require_positive(size=size, kernel_size=kernel_size, stride=stride, dilation=dilation)
    if output_padding >= max(stride, dilation):
        raise ValueError(f"output_padding: got {output_padding}, expected less than stride {stride}")
    out = (size - 1) * stride + dilation * (kernel_size - 1) + 1 - 2 * padding + output_padding
    if out < 1:
        raise ValueError(f"padding: got {padding}, which cuts off everything, expected an output of at least one pixel")
    return out


def coverage(
    input_size: Pair,
    kernel_size: Pair,
    *,
    stride: Pair = 1,
    padding: Pair = 0,
    output_padding: Pair = 0,
    dilation: Pair = 1,
) -> Float[Tensor, "h_out w_out"]:
    """How many input values reach each output pixel of a transposed convolution: ones sent out through ones.

    Where the numbers differ from pixel to pixel, so does the brightness of a constant image: the checkerboard of
    Odena, Dumoulin and Olah (2016). They are all the same inside when the stride divides the kernel size.
    """
    ones = torch.ones(1, 1, *pair("input_size", input_size, least=1))
    kernel = torch.ones(1, 1, *pair("kernel_size", kernel_size, least=1))
    options = {"stride": stride, "padding": padding, "output_padding": output_padding, "dilation": dilation}
    return transposed_convolution(ones, kernel, **options)[0, 0]
