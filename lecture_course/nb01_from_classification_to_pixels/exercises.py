"""The exercises of notebook 01: colours, patches, one pass over the image, and what it costs (slides 4 to 7)."""

import torch
from torch import Generator, Tensor

from lecture_course.engine.definitions import Case, Exercise, Prediction, mistakes
from lecture_utils.costs import conv_multiply_adds
from lecture_utils.segmentation import FCN, linear_everywhere, patch_around, tensor_shapes
from lecture_utils.segmentation.pixel import colour_ceiling

IGNORED = 255


def coloured_pixels(rng: Generator) -> list[Case]:
    def case(pixels: int, colours: int, labels: int, note: str, *, ignored: int = 0) -> Case:
        colour = torch.randint(colours, (pixels,), generator=rng)
        label = (colour + torch.randint(labels, (pixels,), generator=rng)) % labels
        label[:ignored] = IGNORED
        return Case((colour, label), note=note)

    return [
        Case((torch.tensor([7, 7, 7, 2]), torch.tensor([0, 0, 1, 1])), note="four pixels, two colours"),
        case(12, 3, 2, "twelve pixels"),
        Case((torch.tensor([5, 5, 5, 9, 4]), torch.tensor([0, 0, 2, 2, 2])), note="colours of unequal size"),
        case(20, 4, 3, "some pixels are ignored", ignored=8),
        case(200, 1, 5, "a single colour"),
        case(500, 60, 4, "many colours, some ignored", ignored=100),
    ]


def places(rng: Generator) -> list[Case]:
    def image(*shape: int) -> Tensor:
        return torch.randint(1, 10, shape, generator=rng).float()

    return [
        Case((image(1, 1, 5, 5), 2, 2, 3), note="in the middle"),
        Case((image(1, 1, 4, 7), 2, 4, 3), note="an image that is not square"),
        Case((image(1, 1, 6, 8), 0, 5, 3), note="at the upper border"),
        Case((image(1, 1, 6, 8), 4, 0, 5), note="at the left border"),
        Case((image(1, 1, 6, 8), 5, 7, 7), note="in the lower right corner"),
        Case((image(1, 1, 3, 2), 1, 0, 9), note="a patch larger than the image"),
        Case((image(3, 2, 9, 5), 6, 3, 5), note="a batch of three with two channels"),
        Case((image(2, 3, 5, 6), 3, 2, 1), note="a patch of one pixel"),
    ]


def layers(rng: Generator) -> list[Case]:
    def case(shape: tuple[int, ...], side: int, outputs: int, note: str) -> Case:
        weight = torch.randint(-3, 4, (outputs, shape[1] * side**2), generator=rng).float()
        bias = torch.randint(-9, 10, (outputs,), generator=rng).float()
        return Case((torch.randint(-3, 4, shape, generator=rng).float(), weight, bias), note=note)

    return [
        case((1, 1, 3, 3), 2, 1, "squares of 2×2 on a 3×3 map"),
        case((1, 1, 3, 5), 3, 2, "a map that is not square, two outputs"),
        case((1, 2, 4, 3), 2, 2, "two channels"),
        case((1, 3, 2, 2), 2, 4, "one square only: the linear layer itself"),
        case((2, 4, 3, 4), 1, 3, "squares of one value, batch of two"),
        case((3, 2, 7, 6), 4, 5, "a batch of three"),
    ]


def convolutions(rng: Generator) -> list[Case]:
    drawn = torch.randint(2, 40, (3, 5), generator=rng).tolist()
    return [
        Case((1, 1, 1, 2, 3), note="a 1×1 convolution on 2×3 pixels"),
        Case((2, 5, 3, 4, 7), note="a 3×3 convolution"),
        Case((3, 64, 3, 572, 570), note="the first convolution of a U-Net"),
        *(Case(tuple(numbers)) for numbers in drawn),
    ]


# What the mistakes below are edits of: right answers written out


def ceiling_by_loop(colours: Tensor, labels: Tensor) -> float:
    counted = labels != IGNORED
    colours, labels = colours[counted], labels[counted]
    groups = [labels[colours == colour] for colour in colours.unique()]
    return sum(group.bincount().max().item() for group in groups) / len(labels)


EXERCISES = (
    Exercise(
        "01.colour_ceiling",
        title="The best that colour alone can do",
        minutes=12,
        difficulty=2,
        reference=colour_ceiling,
        cases=coloured_pixels,
        mistakes=mistakes(
            ceiling_by_loop,
            {
                "in groups → in [labels]": "You always name the commonest label of all. A classifier of colours may "
                "name another for each colour.",
                "[counted] → ; in groups → in [labels]": "You always name the commonest label of all, and count 255 "
                "as one. Look at each colour by itself.",
                ".item() → .item() / len(group); / len(labels) → / len(groups)": "You average over the colours, as if "
                "each had equally many pixels. Add up pixels, then divide once.",
                "/ len(labels) → / len(counted)": "You divide by all pixels. Those labelled 255 do not count, neither "
                "above nor below the line.",
                "[counted] → ": "You take 255 for a label. Drop these pixels before you count.",
                "colours, labels = → labels, colours =": "Colours and labels are swapped: for each colour ask which "
                "label most of its pixels have.",
            },
        ),
        hints=(
            "Two pixels of one colour must get one label. Which label costs the fewest errors?",
            "Leave the ignored pixels out; then go through `colours.unique()`.",
            "Inside the loop: `labels[colours == colour].bincount().max()` pixels can be right.",
        ),
        because="No training, however long, passes this number: it is a property of the data.",
    ),
    Exercise(
        "01.patch_around",
        title="Cut the patch around a pixel",
        minutes=10,
        difficulty=1,
        reference=patch_around,
        cases=places,
        mistakes=mistakes(
            patch_around,
            {
                "half = size // 2 → half, row, column = 0, max(0, min(row - size // 2, height - size)), "
                "max(0, min(column - size // 2, width - size))": "At the border you move the window back into the "
                "image; then the pixel is no longer in its middle.",
                "padded[..., row:row + size, column:column + size] → "
                "image[..., max(0, row - half):row + half + 1, max(0, column - half):column + half + 1]": "At the "
                "border your patch is cut off. It must keep its size; what lies beyond the image is 0.",
                "row:row → row - half:row - half; column:column → column - half:column - half; padded[ → image[": (
                    "Nothing is padded: near the border row - half is negative, and Python counts that from the end."
                ),
                "half)) → half), mode='replicate')": "Beyond the border you repeat the last pixel; here it is 0.",
                "half)) → half), mode='reflect')": "Beyond the border you mirror the image; here it is 0.",
                "(half, half, half, half) → (0, size, 0, size)": "The pixel is at the upper left of your patch, and "
                "should be in its middle.",
                "(half, half, half, half) → (half - 1, half + 1, half - 1, half + 1)": "Your patch lies one pixel too "
                "far down and to the right.",
                "(half, half, half, half) → (half + 1, half - 1, half + 1, half - 1)": "Your patch lies one pixel too "
                "far up and to the left.",
                "row:row + size, column:column + size → column:column + size, row:row + size": "Row and column are "
                "swapped: the row counts along the height, the third axis.",
            },
        ),
        hints=(
            "Half of the patch, rounded down, lies on each side of the pixel.",
            "Pad the whole image by that half first (`F.pad`). Where is pixel (row, column) then?",
            "After padding it is at (row + half, column + half), so the patch begins at (row, column).",
        ),
        because="Near the border most of a patch is padding: the classifier sees less there.",
    ),
    Prediction(
        "01.patches",
        title="How many patches see the border?",
        minutes=1,
        difficulty=1,
        answer=lambda: patches_at_the_border(128, 128, 29),
        mistakes={
            128 * 128: "These are all patches, one for each pixel. Many of them lie inside the image.",
            100 * 100: "These are the patches that lie inside the image. How many do not?",
            2 * 14 * (128 + 128): "Along each side 14 rows of pixels are too near the border; you counted those in the "
            "corners twice.",
            128 * 128 - 98 * 98: "The pixel in the middle belongs to neither half: 14 pixels lie on each side of it.",
            128 * 128 - 99 * 99: "A window of 29 pixels fits at 128 - 29 + 1 positions along each side.",
            4 * 127: "These are the pixels of the border itself. A patch reaches 14 pixels to each side.",
            29 * 29: "That is how many pixels a patch has.",
        },
        hints=(
            "Each pixel is the centre of one patch. For which of them does the whole patch lie inside?",
            "Those at least 14 pixels from each side: 100 along the height, 100 along the width.",
        ),
        because="More than a third of the patches see zeros; in a larger image it is a smaller fraction.",
    ),
    Exercise(
        "01.linear_everywhere",
        title="A linear layer is a convolution",
        minutes=15,
        difficulty=3,
        reference=linear_everywhere,
        cases=layers,
        mistakes=mistakes(
            linear_everywhere,
            {
                "(c, side, side)) → (side, side, c)).movedim(-1, 1)": "The columns of the weight are in another "
                "order: flattening (c, side, side) runs through the channel last of all, not first.",
                "(c, side, side)) → (c, side, side)).flip(2, 3)": "The kernel is turned by half a turn. `F.conv2d` "
                "does not turn it, so you need not either.",
                "(c, side, side)) → (c, side, side)).mT": "Rows and columns of each kernel are swapped: flattening "
                "runs along a row first.",
                "dilation=dilation) → dilation=dilation)[..., 0, 0]": "You answer for the first square only. The "
                "layer is applied at every place of the map.",
                "dilation=dilation → stride=side": "You set the squares side by side. They overlap: move by one place.",
                "dilation=dilation → padding='same'": "You padded the map. Only squares that lie inside count.",
                "bias, dilation=dilation → ": "The bias is missing.",
            },
        ),
        hints=(
            "One output at one place: a weighted sum over a square in all channels. Which layer computes that?",
            "Each row of the weight matrix becomes a kernel of shape (c, side, side). How large is `side`?",
            "`side` is the root of `weight.shape[1] / c`. Reshape the weight to (out, c, side, side), then `F.conv2d`.",
        ),
        because="This is all that changes when a classifier becomes fully convolutional; no weight changes.",
    ),
    Exercise(
        "01.conv_multiply_adds",
        title="Multiply–adds of a convolution",
        minutes=5,
        difficulty=1,
        reference=conv_multiply_adds,
        cases=convolutions,
        mistakes=mistakes(
            conv_multiply_adds,
            {
                "** 2 → ": "You counted a kernel of k × 1. It has k × k places.",
                "return → return 2 *": "These are FLOPs. A multiply–add is a multiplication and an addition together: "
                "half as many.",
                "* in_channels → ": "Each output value looks at all input channels, not at one.",
                "* out_channels → ": "That is the work for one output channel.",
                "* out_channels * in_channels → ": "That is the work for one channel in and one out. Each output "
                "channel looks at all input channels.",
                "height * width * → ": "These are the weights. Each is used again at every pixel of the output.",
                "height * width → (height - kernel + 1) * (width - kernel + 1)": "`height` and `width` are the "
                "output's already; do not take the border off again.",
                "height * width → height * height": "You squared one side; the map need not be square.",
            },
        ),
        hints=(
            "Begin with one value of the output: how many numbers are multiplied and added for it?",
            "kernel · kernel · in_channels for one value. How many values has the output?",
        ),
        because="Twice the height and width is four times the work, twice the channels in and out, too.",
    ),
    Prediction(
        "01.coarsest",
        title="After five poolings",
        minutes=2,
        difficulty=1,
        answer=lambda: coarsest_map(375, 500),
        mistakes={
            (16, 12): "Height comes first in this course: (height, width).",
            (11, 15): "You rounded down. This pooling rounds up, so that no row or column is dropped.",
            (12, 15): "You rounded the width down: 500 → 250 → 125 → 63, not 62.",
            (24, 32): "That is the map after four poolings.",
            (75, 100): "Each pooling halves, so five of them divide by 2 · 2 · 2 · 2 · 2, not by 5.",
            (38, 50): "Each pooling halves, so five of them divide by 2 · 2 · 2 · 2 · 2, not by 10.",
            32: "That is the stride. How large is the map?",
            192: "That is how many values there are. How high and how wide is the map?",
        },
        hints=(
            "Each 2×2 pooling with stride 2 halves height and width, here rounding up: 375 → 188 → 94 → …",
            "Five halvings divide by 32.",
        ),
        because="192 positions for 187,500 pixels. You will meet such a map again when boxes are proposed.",
    ),
)


def patches_at_the_border(height: int, width: int, size: int) -> int:
    """How many of the windows of `size` pixels around each pixel of an image reach beyond it."""
    inside = torch.empty(height, width, device="meta").unfold(0, size, 1).unfold(1, size, 1)
    return height * width - inside.shape[:2].numel()


def coarsest_map(height: int, width: int) -> tuple[int, int]:
    """Height and width of the map that an FCN with five poolings scores."""
    steps = tensor_shapes(FCN(3, 1, base_channels=1), height, width)
    return [step.output[1:] for step in steps if step.kind.startswith("max pool")][-1]
