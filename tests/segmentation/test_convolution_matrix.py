"""The convolution matrix and its transpose beside torch's own convolutions, on random configurations."""

import subprocess
import sys
import warnings
from math import prod

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from lecture_utils.segmentation.convolution_matrix import convolution_matrix, convolution_row, convolved_size
from lecture_utils.segmentation.fcn import bilinear_upsampling
from lecture_utils.segmentation.transposed import coverage, stamp, transposed_convolution, transposed_size

KERNEL = torch.tensor([[1.0, 4, 1], [1, 4, 3], [3, 3, 1]])  # slide 10
SLIDE_C = torch.tensor(
    [
        [1.0, 4, 1, 0, 1, 4, 3, 0, 3, 3, 1, 0, 0, 0, 0, 0],
        [0, 1, 4, 1, 0, 1, 4, 3, 0, 3, 3, 1, 0, 0, 0, 0],
        [0, 0, 0, 0, 1, 4, 1, 0, 1, 4, 3, 0, 3, 3, 1, 0],
        [0, 0, 0, 0, 0, 1, 4, 1, 0, 1, 4, 3, 0, 3, 3, 1],
    ]
)


def integer(rng, low, high):
    return int(torch.randint(low, high + 1, (), generator=rng))


def pair(rng, low, high):
    return integer(rng, low, high), integer(rng, low, high)


def configuration(seed):
    """A random kernel and its options; half of the seeds give single numbers instead of pairs."""
    rng = torch.Generator().manual_seed(seed)
    groups = integer(rng, 1, 3)
    shape = (groups * integer(rng, 1, 2), integer(rng, 1, 3), *pair(rng, 1, 4))
    options = {"stride": pair(rng, 1, 3), "padding": pair(rng, 0, 2), "dilation": pair(rng, 1, 3)}
    if seed % 2:
        options = {name: both[0] for name, both in options.items()}
    weight = torch.randn(shape, generator=rng, dtype=torch.float64)
    return rng, weight, options | {"groups": groups}


def both(value):
    return value if isinstance(value, tuple) else (value, value)


@pytest.mark.slide("10")
@pytest.mark.parametrize("seed", range(200))
def test_matrix_is_the_convolution(seed):
    rng, weight, options = configuration(seed)
    reach = [d * (k - 1) + 1 for d, k in zip(both(options["dilation"]), weight.shape[2:], strict=True)]
    height, width = (max(r, 1) + integer(rng, 0, 5) for r in reach)
    width += width == height  # never square
    batch = integer(rng, 0, 3)
    channels = weight.shape[1] * options["groups"]
    x = torch.randn(batch, channels, height, width, generator=rng, dtype=torch.float64)
    theirs = F.conv2d(x, weight, **options)
    c = convolution_matrix(weight, (height, width), **options)
    assert c.shape == (prod(theirs.shape[1:]), prod(x.shape[1:]))
    torch.testing.assert_close((x.flatten(1) @ c.T).reshape(theirs.shape), theirs)
    sparse = convolution_matrix(weight, (height, width), sparse=True, **options)
    assert sparse.is_sparse
    torch.testing.assert_close(sparse.to_dense(), c, rtol=0, atol=0)


@pytest.mark.slide("11")
@pytest.mark.parametrize("seed", range(200))
def test_transpose_is_the_transposed_convolution(seed):
    rng, weight, options = configuration(seed)
    height, width = pair(rng, 1, 6)
    smaller = [max(s, d) for s, d in zip(both(options["stride"]), both(options["dilation"]), strict=True)]
    extra = tuple(integer(rng, 0, least - 1) for least in smaller)
    if seed % 2:
        extra = extra[0]
    # A padding that would cut off everything has its own test.
    span = [
        (n - 1) * s + d * (k - 1) + 1
        for n, s, d, k in zip(
            (height, width), both(options["stride"]), both(options["dilation"]), weight.shape[2:], strict=True
        )
    ]
    options["padding"] = tuple(min(p, (n - 1) // 2) for p, n in zip(both(options["padding"]), span, strict=True))
    batch = integer(rng, 0, 3)
    x = torch.randn(batch, weight.shape[0], height, width, generator=rng, dtype=torch.float64)
    theirs = F.conv_transpose2d(x, weight, output_padding=extra, **options)
    torch.testing.assert_close(transposed_convolution(x, weight, output_padding=extra, **options), theirs)


@pytest.mark.slide("10")
def test_slide_10():
    c = convolution_matrix(KERNEL[None, None], (4, 4))
    torch.testing.assert_close(c, SLIDE_C, rtol=0, atol=0)
    image = torch.tensor([[1.0, 2, 6, 3], [3, 5, 2, 1], [1, 2, 2, 1], [7, 3, 4, 8]])
    expected = F.conv2d(image[None, None], KERNEL[None, None])[0, 0]
    torch.testing.assert_close((c @ image.flatten()).reshape(2, 2), expected)


@pytest.mark.slide("11")
def test_slide_11():
    four = torch.tensor([[5.0, 6], [7, 8]])
    expected = torch.tensor([[5.0, 26, 29, 6], [12, 62, 78, 26], [22, 69, 76, 30], [21, 45, 31, 8]])
    torch.testing.assert_close((SLIDE_C.T @ four.flatten()).reshape(4, 4), expected, rtol=0, atol=0)
    torch.testing.assert_close(stamp(four, KERNEL), expected, rtol=0, atol=0)
    ours = transposed_convolution(four[None, None], KERNEL[None, None])[0, 0]
    torch.testing.assert_close(ours, expected, rtol=0, atol=0)


@pytest.mark.slide("11")
def test_one_value_reaches_nine():
    ct = convolution_matrix(KERNEL[None, None], (4, 4)).T
    assert (ct != 0).sum(0).tolist() == [9, 9, 9, 9]


@pytest.mark.slide("11e")
def test_the_slide_is_wrong_about_the_transpose():
    ct = convolution_matrix(KERNEL[None, None], (4, 4)).T
    assert ct.shape == (16, 4)  # the slide's caption: 4×16
    product = (ct @ torch.tensor([5.0, 6, 7, 8])).reshape(4, 4)
    shown = torch.tensor([[1.0, 2, 6, 3], [3, 5, 2, 1], [1, 2, 2, 1], [7, 3, 4, 8]])  # the image of slide 9
    assert (product == shown).nonzero().tolist() == [[3, 3]]  # one of sixteen, by chance
    # And no four values whatever would give the image shown.
    best = torch.linalg.lstsq(ct, shown.flatten()[:, None]).solution
    assert (ct @ best - shown.flatten()[:, None]).norm() > 1


@pytest.mark.slide("11")
def test_transpose_is_not_the_inverse():
    c = convolution_matrix(KERNEL[None, None], (4, 4)).double()
    assert torch.linalg.matrix_rank(c) == 4  # of 16: twelve directions are lost, so nothing inverts it
    x = torch.arange(1.0, 17, dtype=torch.float64)
    back = c.T @ (c @ x)
    # Not even up to a factor, and the pseudo-inverse, the best there is, does not find x either.
    assert torch.nn.functional.cosine_similarity(back, x, dim=0) < 0.99
    assert (torch.linalg.pinv(c) @ c @ x - x).norm() > 1


@pytest.mark.slide("11")
@pytest.mark.parametrize(("size", "extra"), [((7, 6), 0), ((8, 7), 1), ((7, 7), (0, 1))])
def test_transpose_is_the_gradient(size, extra):
    x = torch.randn(2, 3, *size, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(4, 3, 3, 2, dtype=torch.float64)
    y = F.conv2d(x, weight, stride=2, padding=1)
    downstream = torch.randn_like(y)
    (gradient,) = torch.autograd.grad(y, x, downstream)
    ours = transposed_convolution(downstream, weight, stride=2, padding=1, output_padding=extra)
    torch.testing.assert_close(ours, gradient)


def test_sparse_matrices_warn_of_nothing():
    """In a process of its own, because torch warns of unchecked invariants once: forward, transpose and backward."""
    code = """if True:
        import torch
        from lecture_utils.segmentation.convolution_matrix import convolution_matrix
        from lecture_utils.segmentation.transposed import transposed_convolution
        weight = torch.ones(2, 3, 3, 2, requires_grad=True)
        c = convolution_matrix(weight, (5, 4), sparse=True)
        (c @ torch.ones(60)).sum().backward()
        print(c._nnz(), c.T.to_dense().shape, transposed_convolution(torch.ones(1, 2, 3, 4), weight, stride=2).shape)
    """
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.filterwarnings("error")
def test_nor_does_the_constructor_of_torch_2_11_which_warns_whatever_it_is_told(monkeypatch):
    construct = torch.sparse_coo_tensor

    def as_in_2_11(*args, **options):
        warnings.warn("Sparse invariant checks are implicitly disabled.", UserWarning, stacklevel=2)
        return construct(*args, **options)

    monkeypatch.setattr(torch, "sparse_coo_tensor", as_in_2_11)
    assert convolution_matrix(KERNEL[None, None], (5, 4), sparse=True).is_sparse


@pytest.mark.slide("10")
@pytest.mark.parametrize("sparse", [False, True])
def test_gradient_flows_to_the_weight(sparse):
    weight = torch.randn(4, 2, 3, 2, dtype=torch.float64, requires_grad=True)

    def matrix(weight):
        c = convolution_matrix(weight, (5, 4), stride=(2, 1), padding=1, groups=2, sparse=sparse)
        return c.to_dense() if sparse else c

    assert torch.autograd.gradcheck(matrix, (weight,))


@pytest.mark.slide("11")
def test_gradient_flows_through_the_transposed_convolution():
    x = torch.randn(2, 4, 2, 3, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(4, 2, 3, 2, dtype=torch.float64, requires_grad=True)

    def forward(x, weight):
        options = {"stride": (2, 3), "padding": 1, "output_padding": (1, 0), "dilation": (1, 2), "groups": 2}
        return transposed_convolution(x, weight, **options)

    assert torch.autograd.gradcheck(forward, (x, weight))


@pytest.mark.parametrize(("at", "row"), [((0, 0), 0), ((0, 1), 1), ((1, 0), 2), ((1, 1), 3)])
def test_a_row_is_the_kernel_laid_on_an_empty_image(at, row):
    torch.testing.assert_close(convolution_row(KERNEL, (4, 4), at), SLIDE_C[row], rtol=0, atol=0)


def test_rows_stack_to_the_matrix_of_an_image_that_is_not_square():
    kernel = torch.randn(2, 3)
    c = convolution_matrix(kernel[None, None], (4, 7))
    rows = [convolution_row(kernel, (4, 7), (i, j)) for i in range(3) for j in range(5)]
    torch.testing.assert_close(torch.stack(rows), c, rtol=0, atol=0)


@pytest.mark.parametrize("seed", range(20))
def test_stamps_are_the_transposed_convolution(seed):
    rng = torch.Generator().manual_seed(seed)
    x, kernel = torch.randn(pair(rng, 1, 5), generator=rng), torch.randn(pair(rng, 1, 4), generator=rng)
    stride = integer(rng, 1, 4)
    theirs = F.conv_transpose2d(x[None, None], kernel[None, None], stride=stride)[0, 0]
    torch.testing.assert_close(stamp(x, kernel, stride), theirs)


@pytest.mark.slide("11")
def test_one_dimension():
    ours = transposed_convolution(torch.tensor([[[[10.0, 100]]]]), torch.tensor([[[[1.0, 2, 3]]]]), stride=(1, 2))
    assert ours.flatten().tolist() == [10, 20, 130, 200, 300]


@pytest.mark.parametrize("stride", [2, 4])
def test_bilinear_kernel_interpolates_inside(stride):
    layer = bilinear_upsampling(1, stride=stride)
    x = torch.randn(2, 1, 6, 5)
    ours = transposed_convolution(x, layer.weight.detach(), stride=stride, padding=stride // 2)
    theirs = F.interpolate(x, scale_factor=stride, mode="bilinear", align_corners=False)
    inside = (..., slice(stride, -stride), slice(stride, -stride))
    torch.testing.assert_close(ours[inside], theirs[inside])
    assert (ours - theirs).abs().max() > 1e-3  # the border is another matter


def counted(size, kernel_size, stride, padding):
    """The coverage along one axis, by counting each stamp."""
    reached = [0] * (size - 1) * stride + [0] * kernel_size
    for i in range(size):
        for k in range(kernel_size):
            reached[i * stride + k] += 1
    return torch.tensor(reached[padding : len(reached) - padding], dtype=torch.float32)


@pytest.mark.slide("11")
def test_coverage_of_the_checkerboard():
    along = torch.tensor([1.0, 1, 2, 1, 2, 1, 2, 1, 1])
    torch.testing.assert_close(coverage(4, 3, stride=2), torch.outer(along, along))
    inside = coverage((5, 6), 4, stride=2, padding=1)[1:-1, 1:-1]
    assert inside.unique().tolist() == [4]


@pytest.mark.slide("11")
@pytest.mark.parametrize("seed", range(30))
def test_coverage_counts_the_values_that_arrive(seed):
    rng = torch.Generator().manual_seed(seed)
    (h, w), (kh, kw), (sh, sw) = pair(rng, 2, 6), pair(rng, 2, 5), pair(rng, 1, 4)
    expected = torch.outer(counted(h, kh, sh, 1), counted(w, kw, sw, 1))
    torch.testing.assert_close(coverage((h, w), (kh, kw), stride=(sh, sw), padding=1), expected)


@pytest.mark.slide("11")
def test_two_input_sizes_share_one_output_size():
    assert convolved_size(17, 5, stride=3, padding=2) == convolved_size(18, 5, stride=3, padding=2) == 6
    assert [transposed_size(6, 5, stride=3, padding=2, output_padding=extra) for extra in (0, 1, 2)] == [16, 17, 18]


@pytest.mark.parametrize("seed", range(50))
def test_sizes_are_those_of_torch(seed):
    rng = torch.Generator().manual_seed(seed)
    kernel, stride, padding, dilation = (integer(rng, low, high) for low, high in ((1, 5), (1, 4), (0, 3), (1, 3)))
    size = dilation * (kernel - 1) + 1 + integer(rng, 0, 9)
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    weight = torch.zeros(1, 1, kernel)
    assert convolved_size(size, kernel, **options) == F.conv1d(torch.zeros(1, 1, size), weight, **options).shape[-1]
    extra = integer(rng, 0, max(stride, dilation) - 1)
    theirs = F.conv_transpose1d(torch.zeros(1, 1, size + 9), weight, output_padding=extra, **options).shape[-1]
    assert transposed_size(size + 9, kernel, output_padding=extra, **options) == theirs


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight": torch.zeros(3, 3)}, r"weight: got shape \(3, 3\)"),
        ({"weight": torch.zeros(1, 1, 0, 3)}, "weight: got shape"),
        ({"input_size": (4, 0)}, "input_size: got"),
        ({"input_size": (4, 4, 4)}, "input_size: got"),
        ({"input_size": 2}, "input_size: got 2 pixels"),
        ({"stride": 0}, "stride: got 0"),
        ({"stride": 1.5}, "stride: got 1.5"),
        ({"padding": (0, -1)}, "padding: got"),
        ({"dilation": 0}, "dilation: got 0"),
        ({"dilation": 2}, "input_size: got 4 pixels"),
        ({"groups": 2}, "groups: got 2"),
        ({"groups": 0}, "groups: got 0"),
    ],
)
def test_matrix_refuses_bad_arguments(change, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        convolution_matrix(**{"weight": torch.zeros(1, 1, 3, 3), "input_size": (4, 4)} | change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.zeros(1, 3, 2, 2)}, "x: got shape"),
        ({"x": torch.zeros(2, 2, 2)}, "x: got shape"),
        ({"x": torch.zeros(1, 2, 0, 2)}, "x: got shape"),
        ({"weight": torch.zeros(3)}, "weight: got shape"),
        ({"stride": -1}, "stride: got -1"),
        ({"output_padding": 1}, "output_padding: got 1, expected less than"),
        ({"padding": 3}, "padding: got 3"),
        ({"groups": 3}, "groups: got 3"),
    ],
)
def test_transposed_convolution_refuses_bad_arguments(change, message):
    arguments = {"x": torch.zeros(1, 2, 2, 2), "weight": torch.zeros(2, 1, 3, 3)} | change
    with pytest.raises(ValueError, match=f"^{message}"):
        transposed_convolution(**arguments)


@pytest.mark.parametrize("at", [(2, 0), (0, 2), (-1, 0)])
def test_row_refuses_a_place_outside(at):
    with pytest.raises(ValueError, match=r"^at: got"):
        convolution_row(KERNEL, (4, 4), at)


@pytest.mark.parametrize("stride", [0, -1])
def test_a_stamp_refuses_a_stride_that_goes_nowhere(stride):
    with pytest.raises(ValueError, match=f"^stride: got {stride}"):
        stamp(torch.ones(2, 3), KERNEL, stride)


def test_whole_numbers_of_numpy_are_whole_numbers():
    weight, x = torch.randn(2, 1, 3, 2), torch.randn(1, 2, 3, 4)
    size, stride = tuple(np.array([5, 4])), np.int64(2)
    assert torch.equal(convolution_matrix(weight, size, stride=stride), convolution_matrix(weight, (5, 4), stride=2))
    assert torch.equal(transposed_convolution(x, weight, stride=stride), transposed_convolution(x, weight, stride=2))
