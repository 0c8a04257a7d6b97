"""The exercises of notebook 03: the convolution matrix and its transpose (slides 10 and 11)."""

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from lecture_course.engine.definitions import Case, Exercise, Prediction, mistakes
from lecture_utils.segmentation.convolution_matrix import convolution_row
from lecture_utils.segmentation.transposed import coverage, stamp, transposed_convolution, transposed_size

SLIDE_KERNEL = torch.tensor([[1.0, 4, 1], [1, 4, 3], [3, 3, 1]])


# What the mistakes below are edits of: right answers written out


def row_by_padding(kernel, input_size, at):
    (i, j), (h, w) = at, input_size
    blank = F.pad(kernel, (j, w, i, h))[:h, :w]
    return blank.flatten()


def size_by_formula(n, k, s=1, p=0, op=0, d=1):
    return (n - 1) * s + d * (k - 1) + 1 - 2 * p + op


def coverage_by_ones(input_size, kernel_size, stride=1, padding=0):
    ones, kernel = torch.ones(1, 1, *input_size), torch.ones(1, 1, *kernel_size)
    whole = F.conv_transpose2d(ones, kernel, stride=stride)[0, 0]
    height, width = whole.shape
    return whole[padding : height - padding, padding : width - padding]


def whole_numbers(rng: Generator, *shape: int) -> Tensor:
    """Numbers from 1 to 9: no zeros, which would hide where an entry went."""
    return torch.randint(1, 10, shape, generator=rng).float()


def row_cases(rng: Generator) -> list[Case]:
    return [
        Case((SLIDE_KERNEL, (4, 4), (0, 0)), note="the slide's first row"),
        Case((SLIDE_KERNEL, (4, 4), (0, 1)), note="the slide's second row"),
        Case((SLIDE_KERNEL, (4, 4), (1, 0)), note="the slide's third row"),
        Case((whole_numbers(rng, 2, 3), (5, 4), (3, 1)), note="a kernel and an image that are not square"),
        Case((whole_numbers(rng, 3, 2), (4, 7), (0, 5)), note="at the right edge"),
        Case((torch.randn(4, 3, generator=rng), (6, 5), (2, 1)), note="numbers with decimals"),
    ]


def stamp_cases(rng: Generator) -> list[Case]:
    return [
        Case((torch.tensor([[2.0]]), torch.tensor([[1.0, 2.0]])), note="one value"),
        Case((torch.tensor([[5.0, 6], [7, 8]]), SLIDE_KERNEL), note="the numbers of slide 11"),
        Case((torch.tensor([[10.0, 100]]), torch.tensor([[1.0, 2, 3]]), 2), note="stride 2"),
        Case((whole_numbers(rng, 3, 2), whole_numbers(rng, 2, 4), 2), note="nothing is square"),
        Case((whole_numbers(rng, 2, 3), whole_numbers(rng, 2, 2), 3), note="stride larger than the kernel"),
        Case((torch.randn(4, 3, generator=rng), torch.randn(3, 5, generator=rng), 2), note="numbers with decimals"),
    ]


def size_cases(rng: Generator) -> list[Case]:
    cases = [
        Case((2, 3), note="slide 11: 2 values, kernel 3"),
        Case((4, 3, 2), note="stride 2"),
        Case((4, 4, 2, 1), note="this one doubles"),
        Case((4, 3, 2, 1, 1), note="this one doubles, too"),
        Case((5, 3, 1, 0, 0, 2), note="dilation 2"),
    ]
    for _ in range(10):
        size, kernel, stride, dilation = (int(n) for n in torch.randint(2, 6, (4,), generator=rng))
        cases.append(Case((size, kernel, stride, 1, int(torch.randint(0, stride, (), generator=rng)), dilation)))
    return cases


def coverage_cases(rng: Generator) -> list[Case]:
    cases = [
        Case(((1, 1), (2, 2)), note="one value, a 2×2 kernel"),
        Case(((1, 4), (1, 3)), {"stride": 2}, note="one row, kernel 1×3, stride 2"),
        Case(((4, 4), (3, 3)), {"stride": 2}, note="the checkerboard"),
        Case(((3, 5), (4, 2)), {"stride": 2, "padding": 1}, note="nothing is square"),
        Case(((2, 3), (2, 2)), {"stride": 3}, note="stride larger than the kernel"),
    ]
    for _ in range(5):
        h, w, kh, kw, stride, padding = (int(n) for n in torch.randint(1, 4, (6,), generator=rng))
        sizes = (h + 4, w + 4), (kh + 2, kw + 2)  # never so small that the padding leaves nothing
        cases.append(Case(sizes, {"stride": stride, "padding": padding}))
    return cases


def one_dimension() -> tuple[int, ...]:
    x, kernel = torch.tensor([[[[10.0, 100]]]]), torch.tensor([[[[1.0, 2, 3]]]])
    return tuple(int(value) for value in transposed_convolution(x, kernel, stride=(1, 2)).flatten())


EXERCISES = (
    Exercise(
        "03.row",
        title="One row of C",
        minutes=10,
        difficulty=1,
        reference=convolution_row,
        cases=row_cases,
        mistakes=mistakes(
            row_by_padding,
            {
                "F.pad(kernel, → F.pad(kernel.flip(0, 1),": "You flipped the kernel. Mathematics does that for a "
                "convolution; networks, and the slide, do not.",
                "(i, j) → (j, i)": "`at` is (vertical, horizontal): the first number counts rows, the second columns.",
                "F.pad(kernel, → F.pad(kernel.T,": "The kernel's rows and columns are swapped.",
                "blank.flatten() → torch.zeros(h * w).put(blank.nonzero() @ torch.tensor([h, 1]), blank[blank != 0])": (
                    "A pixel's row begins at row · width, not at row · height."
                ),
                ".flatten() → ": "The kernel lies in the right place, but this is still an image: flatten it.",
                ".flatten() → .T.flatten()": "You read the image column by column; `x.flatten()` reads it row by row.",
                "blank.flatten() → F.pad(kernel.flatten(), (i * w + j, h * w))[:h * w]": "The kernel's entries stand "
                "one after another here. In the image, the kernel's next row lies a whole image row further on.",
            },
        ),
        because="All rows are this one, shifted: sixteen columns, but still only nine numbers to learn.",
        hints=(
            "Do not think of the long row yet. Take an empty image and lay the kernel where the output pixel sees it.",
            "An empty image: `kernel.new_zeros(input_size)`. Rows i to i + kh and columns j to j + kw are the kernel.",
            "`blank[i : i + kh, j : j + kw] = kernel`, and then `blank.flatten()`.",
        ),
    ),
    Exercise(
        "03.stamp",
        title="A transposed convolution without a matrix",
        minutes=15,
        difficulty=2,
        reference=stamp,
        cases=stamp_cases,
        mistakes=mistakes(
            stamp,
            {
                "+= → =": "Where two stamps overlap the later one wins here; they must add up (+=).",
                "i * stride → i": "`stride` moves your stamps to the right only; it moves them down, too.",
                "i * stride, j * stride → i, j": "The stamps lie one pixel apart, whatever the stride: (i, j) begins "
                "at (i, j) · stride.",
                "(h - 1) → h; (w - 1) → w": "The output is `stride` too large: the last stamp begins at (h − 1) · "
                "stride, not at h · stride.",
                "* kernel → * kernel.flip(0, 1)": "The kernel is flipped. A transposed convolution stamps it as it is.",
                "return output → return output / coverage((h, w), (kh, kw), stride=stride).clamp(min=1)": "You "
                "average where stamps overlap; a transposed convolution only adds.",
                lambda x, kernel, stride=1: torch.kron(x, kernel): "Your stamps lie side by side, a kernel's width "
                "apart. They begin `stride` apart, so they may overlap.",
                "return output → return output[:h * stride, :w * stride]": "The output ends too early: the last stamp "
                "begins at (h − 1) · stride and needs the whole kernel.",
            },
        ),
        because="Each column of Cᵀ is one stamp; the product adds the stamps up.",
        hints=(
            "How many pixels does the output need? The last stamp begins (h − 1) · stride rows down.",
            "Two loops over the values of x. The stamp of value (i, j) begins at (i · stride, j · stride).",
            "`output[top : top + kh, left : left + kw] += x[i, j] * kernel`",
        ),
    ),
    Prediction(
        "03.one_dimension",
        title="Two values, stride 2",
        minutes=3,
        difficulty=1,
        answer=one_dimension,
        mistakes={
            (10, 120, 230, 300): "That is stride 1: the second stamp begins two pixels after the first, not one.",
            (10, 20, 30, 100, 200, 300): "That is stride 3: the two stamps should overlap on one pixel.",
            (10, 20, 100, 200, 300): "On the pixel where both stamps land the values add up; none is replaced.",
            (10, 20, 30, 200, 300): "On the pixel where both stamps land the values add up; none is dropped.",
            (10, 20, 65, 200, 300): "On the pixel where both stamps land the values add up; they are not averaged.",
            (30, 20, 310, 200, 100): "You stamped the kernel backwards: [3, 2, 1].",
            (10, 0, 20, 0, 30, 100, 0, 200, 0, 300): "The stride moves the stamps apart, not the kernel's entries.",
            "Count again: the second stamp begins at pixel 2 (counted from 0) and is three pixels long.": (
                lambda answer: hasattr(answer, "__len__") and len(answer) != 5
            ),
        },
        because="One pixel of five gets two values. That unevenness returns below as a checkerboard.",
        hints=(
            "Write 10 · [1, 2, 3] on a line of boxes, beginning at box 0.",
            "Write 100 · [1, 2, 3] below it, beginning at box 2. Add up column by column.",
        ),
    ),
    Exercise(
        "03.size",
        title="How large will it be?",
        minutes=10,
        difficulty=2,
        reference=transposed_size,
        cases=size_cases,
        mistakes=mistakes(
            size_by_formula,
            {
                lambda n, k, s=1, p=0, op=0, d=1: (n + 2 * p - d * (k - 1) - 1) // s + 1: "This is the size of a "
                "*convolution's* output; the transposed one goes back.",
                "d * (k - 1) + 1 - 2 * p + op → k": "That is right without padding. Now `padding` is cut off at both "
                "ends, and `output_padding` comes back at one; with a dilation the kernel grows, too.",
                "(n - 1) → n; d * (k - 1) + 1 - 2 * p + op → k - 1": "Between n stamps there are n − 1 steps of "
                "`stride`, and the last stamp adds the whole kernel.",
                "+ op → - op": "`output_padding` makes the output larger: it takes back some of what `padding` cut "
                "off.",
                "2 * p → p": "`padding` is cut off at both ends.",
                "- 2 * p → + 2 * p": "In a transposed convolution `padding` makes the output smaller: it names what "
                "is cut off.",
                "n - 1 → n": "Between n stamps there are n − 1 steps of `stride`; the last stamp then adds the kernel.",
                "(n - 1) → n; + d * (k - 1) + 1 - 2 * p + op → ": "size · stride is what a decoder wants. Kernel, "
                "padding and output_padding decide if it comes out.",
                "+ op → ": "`output_padding` is missing: it is added at the end.",
                "d * (k - 1) + 1 → k": "A dilated kernel spans dilation · (kernel_size − 1) + 1 pixels.",
                "d * (k - 1) + 1 → d * k": "Almost: between k entries there are k − 1 gaps, so the kernel spans "
                "dilation · (k − 1) + 1 pixels.",
                "+ d * (k - 1) → ": "You stop where the last stamp begins; its kernel has a length.",
            },
        ),
        because="With kernel 4, stride 2 and padding 1 this is 2 · size: a decoder's favourite choice.",
        hints=(
            "Where does the last of `size` stamps begin, if the first begins at 0 and they lie `stride` apart?",
            "At (size − 1) · stride. A kernel with dilation spans dilation · (kernel_size − 1) + 1 pixels from there.",
            "Then `padding` goes at both ends, and `output_padding` comes back at one.",
        ),
    ),
    Exercise(
        "03.coverage",
        title="Where stamps overlap",
        minutes=15,
        difficulty=3,
        reference=coverage,
        cases=coverage_cases,
        mistakes=mistakes(
            coverage_by_ones,
            {
                "return whole → return whole.clamp(max=1)": "You say *whether* a pixel is reached. Count how often: "
                "add 1 for each stamp.",
                "[padding:height - padding, padding:width - padding] → ": "`padding` is not cut off.",
                "height - → -; width - → -": "With padding 0 nothing is left: the slice [0:-0] is empty. Let it end "
                "at height − padding.",
                "- padding → ": "`padding` is cut off at the top and left only; it goes at all four sides.",
                "padding: → :": "`padding` is cut off at the bottom and right only; it goes at all four sides.",
                "padding: → :; - padding → - 2 * padding": "You cut both paddings at the bottom and right; one of "
                "them belongs to the top and left.",
                "- padding] → - padding] / kernel.numel()": "These are shares. Give the number of values, a whole "
                "number as a float.",
                "return whole → return (whole[:, :1] + whole[:1])": "The counts of the two axes multiply: 2 stamps "
                "down and 2 across meet as 4, not as 2 + 2.",
            },
        ),
        because="The counts are equal inside when the stride divides the kernel size.",
        hints=(
            "If every value and every kernel entry is 1, what does the transposed convolution compute?",
            "The number of stamps on each pixel. So stamp ones with ones, and cut `padding` off all four sides.",
            "Your function of the stamp exercise, or `F.conv_transpose2d`, does the counting.",
        ),
    ),
)
