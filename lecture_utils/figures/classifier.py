"""A CNN classifier at work, drawn from its own forward pass: convolutions, an MLP and softmax (slide 1)."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor, nn

from lecture_utils.figures.network_blocks import Arrow, Block, Mark, scaled
from lecture_utils.segmentation.shapes import layer_outputs


def classifier_layers(model: nn.Module, image: Tensor) -> list[tuple[str, Tensor]]:
    """The layers of a classifier, a chain of modules, that change an `image` (1, c, h, w), each with what it gives.

    Normalizations and activations count as a part of the layer before them.
    """
    chain = {name: layer for name, layer in model.named_modules() if not list(layer.children())}
    found = layer_outputs(model, image, chain)
    layers: list[tuple[str, Tensor]] = []
    for name, output in found.items():
        match layer := chain[name]:
            case nn.Conv2d():
                kind = "convolution {} × {}".format(*layer.kernel_size)
            case nn.MaxPool2d():
                kind = f"max pooling {layer.kernel_size} × {layer.kernel_size}"
            case nn.Flatten():
                kind = "flatten"
            case nn.Linear():
                kind = "linear layer"
            case _ if layers:
                layers[-1] = (layers[-1][0], output[0])
                continue
            case _:
                raise ValueError(f"model: got {type(layer).__name__} as first layer, expected a layer with weights")
        layers.append((kind, output[0]))
    return layers


NAMES = {"convolution": "convolution", "max pooling": "pooling", "flatten": "vector", "linear layer": "hidden layer"}
SAYS = {
    "convolution": "Each feature map is bright where its own small pattern was found. Nobody drew the "
    "patterns: they were learned.",
    "pooling": "Of each square only the largest value is kept: what was found stays, its exact place is given up.",
    "vector": "All values, one under the other: from here on it is a vector, and no longer an image.",
    "hidden layer": "The MLP weighs what was found: each number is a weighted sum of all those before, then a ReLU.",
    "scores": "One score (logit) per class, of any size and sign: again a weighted sum of all numbers before.",
}


def classifier_blocks(
    model: nn.Module, image: Tensor, names: Sequence[str], *, large: np.ndarray, marks: Sequence[Mark] = ()
) -> tuple[list[Block], list[Arrow]]:
    """A classifier at work on an `image` (1, c, h, w): maps above; vectors, scores and softmax below (slide 1).

    `large` (H, W, 3) uint8 is the same image as it is shown; `names` are those of the classes.
    """
    layers = classifier_layers(model, image)
    scores = layers[-1][1]
    if scores.shape != (len(names),):
        raise ValueError(f"names: got {len(names)}, expected one for each of the scores {tuple(scores.shape)}")
    maps = sum(values.ndim == 3 for _, values in layers)
    largest, size, counts = max(image.shape[-2:]), min(1.35, 6.6 / (maps + 1)), {}
    says = "What the network sees: the red, green and blue of each pixel."
    blocks = [Block("image", large, (0, 0), says, size=size, shape=image.shape[1:], marks=marks)]
    arrows = []
    for kind, values in layers:
        name = "scores" if values is scores else NAMES[kind.rstrip("0123456789 ×")]
        counts[name] = counts.get(name, 0) + 1
        if values.ndim == 3:
            at, side = (len(blocks), 0), scaled(values.shape, largest, size=size)
        else:
            at = (0.3 + (len(blocks) - 1 - maps) * 0.62 * maps / (len(layers) - maps), 1)
            side = 0.6 + 0.9 * (len(values) / layers[maps][1].numel()) ** 0.2
        title = f"{name} {counts[name]}" if values.ndim == 3 or counts[name] > 1 else name
        blocks.append(Block(title, values, at, SAYS[name], size=side))
        wrapped = ("bottom", "top") if blocks[-2].at[1] != at[1] else None
        arrows.append(Arrow(blocks[-2], blocks[-1], kind, wrapped))
    probabilities = dict(zip(names, scores.softmax(0).tolist(), strict=True))
    shown = dict(sorted(probabilities.items(), key=lambda item: -item[1])[:6])
    says = "Softmax makes probabilities of the scores: all positive, together 1. The largest names the class: "
    place = (0.3 + 0.82 * maps, 1)
    blocks.append(Block("softmax", shown, place, f"{says}{next(iter(shown))}.", size=2.7, shape=scores.shape))
    return blocks, [*arrows, Arrow(blocks[-2], blocks[-1], "softmax")]
