"""The networks of notebook 01, drawn from their own forward passes, to be stepped through (slides 5 to 7)."""

import numpy as np
import torch
from torch import Tensor, nn

from lecture_utils import recipes
from lecture_utils.cityscapes import CLASSES
from lecture_utils.figures.network_blocks import Arrow, Block, scaled
from lecture_utils.figures.style import ORANGE, SKY
from lecture_utils.segmentation import FCN, DeconvNet, PatchClassifier, UNet, patch_around
from lecture_utils.segmentation.shapes import layer_calls, layer_outputs
from lecture_utils.segmentation.sliding_window import FullyConvolutional
from lecture_utils.segmentation.unet import double_conv

Drawing = tuple[list[Block], list[Arrow]]
SHARED = "#00E676"  # a light green, that shows on viridis


def windows_drawing(
    whole: FullyConvolutional, image: Tensor, large: np.ndarray, place: tuple[int, int], shift: int
) -> Drawing:
    """Two windows, the second `shift` pixels to the right, each through the classifier, and one pass over the image.

    `image` (1, 3, h, w) is what the network sees, `large` (H, W, 3) the same as it is shown, `place` the row and column
    of the first window's centre. In the windows' maps the values that both have are framed in green; in the maps of the
    one pass, blue and orange frame those of the first and of the second window.
    """
    classifier, (height, width), (row, column) = whole.classifier, image.shape[-2:], place
    side, half = classifier.patch, classifier.patch // 2
    if not (half <= row < height - half and half <= column < width - half - shift and 0 < shift < side):
        raise ValueError(f"place, shift: got {place}, {shift}, expected two overlapping windows inside the image")
    relus = {str(n): layer for n, layer in enumerate(x for x in classifier.layers if isinstance(x, nn.ReLU))}
    *convolved, hidden = relus
    left, top = column - half, row - half
    windows = [(left, top, left + side, top + side, SKY), (left + shift, top, left + shift + side, top + side, ORANGE)]
    says = f"Two windows, {shift} pixels apart. Each is to give the class of the pixel in its middle."
    street = Block("image", large, (0, 1), says, size=1.3, shape=image.shape[1:], marks=windows)
    columns: list[list[Block]] = [[] for _ in range(len(relus) + 2)]
    kinds = ["convolution", *["pooling, convolution"] * (len(convolved) - 1), "pooling, MLP", "MLP, softmax"]
    arrows = []
    for number, start in enumerate((column, column + shift)):
        patch = patch_around(image, row, start, side)
        found = layer_outputs(classifier, patch, relus | {"scores": classifier})
        cut = crop(large, windows[number], image.shape[-2:])
        line = 2 * number  # of the drawing
        made = [Block(f"window {number + 1}", cut, (0, line), size=1.1, shape=patch.shape[1:])]
        made += [
            Block(f"convolution {n}", found[name][0], (n, line), size=scaled(found[name].shape, side, size=1.1))
            for n, name in enumerate(convolved, start=1)
        ]
        made.append(Block("hidden layer", found[hidden][0], (len(relus), line), size=1.0))
        scores = found["scores"][0].softmax(0)
        best = {CLASSES[i]: scores[i].item() for i in scores.topk(3).indices.tolist()}
        made.append(Block("softmax", best, (1 + len(relus), line), size=1.5, shape=scores.shape))
        for k, (block, others) in enumerate(zip(made, columns, strict=True)):
            step = 1 if k == 0 else 2 ** (k - 1)  # pixels from one value of its map to the next
            if len(block.shape) == 3 and shift % step == 0 and (common := block.shape[2] - shift // step) > 0:
                x0 = 0 if number else block.shape[2] - common
                block.marks = [(x0, 0, x0 + common, block.shape[1], SHARED)]
            others.append(block)
        arrows += [Arrow(*pair) for pair in zip([street, *made], made, ["cut", *kinds], strict=False)]
    for k, group in enumerate(columns[:-1]):
        group[0].says = _says_twice(group[0], k, len(convolved), shift)
        group[0].name = "two windows" if k == 0 else "MLP, twice" if k > len(convolved) else f"{group[0].label}, twice"
        if 0 < k <= len(convolved):
            group[0].scale = group[1].scale = torch.cat([block.value for block in group], dim=2)  # one colour a number
    found = layer_outputs(whole, image, relus | {"scores": whole})
    once = []
    starts = ((column, SKY), (column + shift, ORANGE))
    for n, name in enumerate(relus, start=1):
        values, extent = found[name][0], side - 3 * (2**n - 1) - (2 ** (n - 1) - 1) if name != hidden else 1
        marks = [(x, row, x + extent, row + extent, colour) for x, colour in starts]
        label = "hidden layer" if name == hidden else f"convolution {n}"
        once.append(Block(f"{label}, once", values, (n, 1), size=1.15, marks=marks, label=label))
        if name in convolved:
            once[-1].scale = columns[n][0].scale  # a number has one colour, above, below and here
        once[-1].says = ONCE[0] if n == 1 else ONCE[1] if name == hidden else ""
    once[0].name = f"convolutions 1 to {len(convolved)}, once"
    labels = found["scores"][0].argmax(0).cpu().numpy()
    says = f"One pass gives all {labels.size:,} labels, the same that {labels.size:,} windows give one by one."
    once.append(Block("label map", labels, (1 + len(relus), 1), says, size=1.15))
    arrows += [Arrow(*pair) for pair in zip([street, *once], once, kinds, strict=False)]
    return [street, *(block for group in columns for block in group), *once], arrows


ENCODED = (
    "An image of any size; {} times convolutions and a max pooling: each map is half as high and wide, with more "
    "channels. Context becomes cheap, detail is lost."
)
ONCE = (
    "Once for the whole image. Blue and orange frame the two windows' values: the same numbers, shared. "
    "The poolings move by one pixel; what follows them is dilated.",
    "The linear layers become convolutions: 64 numbers at each pixel, instead of once for each window.",
)


def _says_twice(block: Block, k: int, convolved: int, shift: int) -> str:
    width = block.shape[-1]
    common = sum(int(x1 - x0) for x0, _, x1, _, _ in block.marks)
    if k == 0:
        return f"{common} of their {width} columns of pixels are the same (green), {shift} pixels further to the right."
    if k <= convolved:
        return f"{common} of {width} columns are the same numbers (green), computed once for each window: twice."
    return "The MLP sees two different vectors: here nothing is shared any more."


def multiply_adds_by_layer(classifier: PatchClassifier, patch: Tensor) -> dict[str, tuple[int, int]]:
    """Layer with weights → its multiply–adds for one `patch` (1, c, p, p), and those for each position of its map.

    The second count is what the layer costs for each pixel of an image where every position is computed once.
    """
    layers = [x for x in classifier.layers if isinstance(x, nn.Conv2d | nn.Linear)]
    made = layer_outputs(classifier, patch, {str(n): layer for n, layer in enumerate(layers)})
    counts, numbers = {}, {}
    for layer, output in zip(layers, made.values(), strict=True):
        kind = "convolution" if isinstance(layer, nn.Conv2d) else "linear layer"
        numbers[kind] = numbers.get(kind, 0) + 1
        once = layer.weight.numel()
        counts[f"{kind} {numbers[kind]}"] = (once * output[0, 0].numel(), once)  # a linear layer has one position
    return counts


def encoder_of(model: nn.Module) -> str:
    """How many convolutions lead to a network's smallest map, and how many channels that has: "10 conv, 128"."""
    match model:
        case DeconvNet():
            parts, more = [model.encoder, model.fc7], ", fc6, fc7"
        case UNet():
            parts, more = [model.encoder, model.bottleneck], ""
        case FCN():
            parts, more = [model.encoder], ""
        case FullyConvolutional():
            parts, more = [model.classifier], ""
        case _:
            return "none"
    found = [[part for part in some.modules() if isinstance(part, nn.Conv2d)] for some in parts]
    count = sum(map(len, found)) - (len(found[-1]) if more else 0)
    return f"{count} conv{more}, {found[-1][-1].out_channels}"


def training_of(name: str) -> tuple[int, int, float]:
    """The steps, the batch size and the last learning rate of a recipe, with the steps of those that it continues."""
    recipe = recipes.RECIPES[name]
    steps = recipe.options.steps + (training_of(recipe.start)[0] if recipe.start else 0)
    return steps, recipe.options.batch_size, recipe.options.lr


def crop(large: np.ndarray, box: tuple, size: tuple[int, int]) -> np.ndarray:
    """What of an image of any resolution lies within a box, given in pixels of an image of `size`."""
    scale = [large.shape[0] / size[0], large.shape[1] / size[1]]
    x0, y0, x1, y1 = box[:4]
    return large[round(y0 * scale[0]) : round(y1 * scale[0]), round(x0 * scale[1]) : round(x1 * scale[1])]


class NarrowFCN(FCN):
    """An FCN-32s, or with less `depth` a shallower one, that has `base_channels` channels at every level."""

    def __init__(self, in_channels: int, num_classes: int, *, base_channels: int = 64, depth: int = 5):
        super().__init__(in_channels, num_classes, base_channels=base_channels, depth=depth)
        for level in range(1, depth):
            self.encoder[level] = double_conv(base_channels, base_channels)
        self.score = nn.Conv2d(base_channels, num_classes, 1)


def encoder(levels: int, pooling: bool, doubling: bool = True) -> nn.Module:
    """An FCN-32s of so many levels, or the same convolutions without poolings, at the full resolution of the image.

    Its channels double from level to level, from 64 on, unless they are 64 throughout.
    """
    net = (FCN if doubling else NarrowFCN)(3, len(CLASSES), depth=levels)
    if not pooling:
        net.pool = net.enlarge = nn.Identity()  # nothing shrinks, so nothing has to grow
    return net


def fcn_drawing(model: FCN, image: Tensor, large: np.ndarray) -> Drawing:
    """An FCN of any stride on an `image` (1, c, h, w): encoder above, scores below, skips between (slide 7).

    `large` (H, W, 3) uint8 is the same image as it is shown. Scores are shown as the class with the highest.
    """
    depth, largest = len(model.encoder), max(image.shape[-2:])
    layers = {f"encoder {k}": block for k, block in enumerate(model.encoder)} | {"score": model.score}
    layers |= {f"skip {k}": layer for k, layer in enumerate(model.skips)}
    layers |= {f"double {k}": layer for k, layer in enumerate(model.doublings)}
    calls = layer_calls(model, image, layers | {"enlarge": model.enlarge, "whole": model})
    size = lambda values: scaled(values.shape, largest, size=1.15, power=0.25)  # noqa: E731

    blocks = [Block("image", large, (0, 0), size=1.5, shape=image.shape[1:])]
    arrows, pools = [], []
    for k in range(1, depth + 1):
        values = (calls["score"] if k == depth else calls[f"encoder {k}"])[0][0][0]
        pools.append(Block(f"pool {k}", values[0], (k, 0), "" if k > 1 else ENCODED.format(depth), size=size(values)))
        arrows.append(Arrow(blocks[-1], pools[-1], "convolutions, pooling"))
        blocks.append(pools[-1])
    scores = calls["score"][0][1][0]
    pools[0].name = f"pools 1 to {depth}"
    _, high, wide = scores.shape
    says = f"A score for each of {len(scores)} classes at {high} × {wide} places. FCN-{2**depth}s enlarges these."
    blocks.append(Block("coarse scores", scores.argmax(0).cpu().numpy(), (depth, 1), says, size=size(scores)))
    blocks[-1].shape = tuple(scores.shape)
    arrows.append(Arrow(pools[-1], blocks[-1], "1 × 1 convolution"))
    for k in range(len(model.skips)):
        here, before, stride = depth - 1 - k, blocks[-1], 2 ** (depth - 1 - k)
        skip = calls[f"skip {k}"][0][1][0]
        says = f"The skip: scores from the finer map, pool {here}, of {skip.shape[1]} × {skip.shape[2]} places."
        blocks.append(Block(f"scores of pool {here}", skip.argmax(0).cpu().numpy(), (here, 1), says, size=size(skip)))
        blocks[-1].shape = tuple(skip.shape)
        arrows.append(Arrow(pools[here - 1], blocks[-1], "1 × 1 convolution"))
        following = "enlarge" if k + 1 == len(model.skips) else f"double {k + 1}"
        total = calls[following][0][0][0][0]
        says = f"The coarser scores, upsampled by 2, plus those of the skip. FCN-{stride}s enlarges this sum."
        sides = ("bottom", "right") if before.at[1] == 1 else None
        blocks.append(Block(f"sum {k + 1}", total.argmax(0).cpu().numpy(), (here, 2), says, size=size(total)))
        blocks[-1].shape = tuple(total.shape)
        arrows += [Arrow(before, blocks[-1], "upsampling", sides), Arrow(blocks[-2], blocks[-1], "added", dashed=True)]
    last, output = blocks[-1], calls["whole"][0][1][0]
    labels = output.argmax(0).cpu().numpy()
    stride = image.shape[-1] // last.shape[-1]
    says = f"Upsampled {stride} times in one step; then each pixel takes the class with the highest score."
    blocks.append(Block("label map", labels, (0, 2), says, size=1.5))
    arrows.append(Arrow(last, blocks[-1], "upsampling", ("bottom", "right") if last.at[1] == 1 else None))
    return blocks, arrows


DOWN = (
    "Convolutions find patterns. A 2 × 2 max pooling follows, and remembers where each maximum was: the switches.",
    "Again and again: convolutions, then a max pooling. Each keeps its own switches.",
)
UP = (
    "Max unpooling puts each value back where encoder {} had its maximum, zeros elsewhere; convolutions fill the gaps.",
    "Level by level the maps grow again, each with the switches of the encoder's map of the same size.",
    "The last unpooling, at the full resolution: the outlines are those of the maxima in encoder 1.",
)


def deconvnet_drawing(model: DeconvNet, image: Tensor, large: np.ndarray) -> Drawing:
    """A DeconvNet on an `image` (1, c, h, w): encoder above, unpooled maps in the middle, decoder below (slide 7).

    `large` (H, W, 3) uint8 is the same image as it is shown.
    """
    depth, largest = len(model.encoder), max(image.shape[-2:])
    layers = {f"{side} {k}": block for side in ("encoder", "decoder") for k, block in enumerate(getattr(model, side))}
    layers |= {"fc6": model.fc6, "fc7": model.fc7, "mirrored": model.fc6_mirrored, "whole": model}
    calls = layer_calls(model, image, layers)
    made = {name: call[0][1][0] for name, call in calls.items()}
    size = lambda values: scaled(values.shape, largest, size=0.85, power=0.25)  # noqa: E731

    first, last = 0.15, depth + 0.9  # columns: the outer ones move in, so that the arrows between the others have room
    blocks = [Block("image", large, (first, 0), size=1.0, shape=image.shape[1:])]
    arrows, encoded = [], []
    for k in range(depth):
        says, values = DOWN[k] if k < 2 else "", made[f"encoder {k}"]
        encoded.append(Block(f"encoder {k + 1}", values, (k + 1, 0), says, size=size(values)))
        arrows.append(Arrow(blocks[-1], encoded[-1], "pooling, convolutions" if k else "convolutions"))
        blocks.append(encoded[-1])
    encoded[1].name = f"encoders 2 to {depth}"
    middle = made["fc7"]
    _, high, wide = middle.shape
    says = (
        f"VGG-16's two fully connected layers, as convolutions: all that is known of what there is, {len(middle)} "
        f"numbers at each of {high} × {wide} places."
    )
    blocks.append(Block("fc6, fc7", middle, (last, 0), says, size=size(middle)))
    arrows.append(Arrow(encoded[-1], blocks[-1], "pooling, convolutions"))
    channels = len(made["mirrored"])
    says = f"The mirror image of fc6: a transposed convolution back to {channels} channels, with weights of its own."
    blocks.append(
        Block("fc6 mirrored", made["mirrored"], (last, 1), says, size=size(made["mirrored"]), label="fc6 mirrored")
    )
    arrows.append(Arrow(blocks[-2], blocks[-1], "transposed convolutions"))
    for k in range(depth):
        level = depth - k
        sparse, dense = calls[f"decoder {k}"][0][0][0][0], made[f"decoder {k}"]
        says = UP[0].format(level) if k == 0 else UP[1] if k == 1 else UP[2] if level == 1 else ""
        name = f"decoders {level} to 2" if k == 1 else f"decoder {level}"
        blocks.append(Block(name, sparse, (level, 1), says, size=size(sparse), label=f"unpooled {level}"))
        sides = ("left", "right")
        arrows += [
            Arrow(blocks[-2], blocks[-1], "unpooling", sides),
            Arrow(encoded[level - 1], blocks[-1], "switches", dashed=True),
        ]
        blocks.append(Block(f"decoded {level}", dense, (level, 2), size=size(dense)))
        arrows.append(Arrow(blocks[-2], blocks[-1], "transposed convolutions"))
    labels = made["whole"].argmax(0).cpu().numpy()
    says = "A 1 × 1 convolution scores the classes; each pixel takes the one with the highest score."
    blocks.append(Block("label map", labels, (first, 2), says, size=1.0))
    arrows.append(Arrow(blocks[-2], blocks[-1], "1 × 1 convolution"))
    return blocks, arrows
