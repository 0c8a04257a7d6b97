"""Draw the picture of the course, course.jpg beside this file: a street, and what the course's networks make of it.

    python handouts/picture.py

The street is one that no network was trained on, chosen because U-Net, detector and captioner all get it right.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from torchvision import tv_tensors

from lecture_utils import captioning, city_models, figures, recipes, runtime, tasks, toycity
from lecture_utils.cityscapes import colour_labels
from lecture_utils.figures.style import course_look
from lecture_utils.tasks.photos import to_photo
from lecture_utils.transformers import blockwise_mask

SEED = toycity.seeds("test", 1172)[-1]
SIDE = 12  # patches a side
TITLES = (
    "a class for each pixel",
    "a box for each object",
    "where it looks for “{word}”",
    "patches as words",
    "a part hidden …",
    "… and filled in",
)


def street(size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The street at size × size pixels: as bytes (3, size, size), and as a network takes it, (1, 3, size, size)."""
    photo = torch.from_numpy(toycity.render(toycity.sample_scene(SEED), size=size).image).permute(2, 0, 1)
    return photo, tasks.photo_transforms()(tv_tensors.Image(photo))[None]


def sentence() -> tuple[torch.Tensor, torch.Tensor]:
    """The numbers of the words of Show, Attend and Tell, of which the first were given, and its map for each."""
    given = city_models.CITY_WORDS.encode("from left to right")[1:-1]
    model, z = recipes.load("show_attend_tell"), tasks.grid_encoder()(street(128)[1])
    said = captioning.greedy(model, z, prefix=given, need_weights=True)
    return said.words[0], said.attention[0, 0, 0]


def completed() -> tuple[torch.Tensor, torch.Tensor]:
    """Which patches are hidden, (12, 12), and the street with what BEiT puts there, (3, 96, 96) bytes."""
    hidden = blockwise_mask((SIDE, SIDE), 55, generator=torch.Generator().manual_seed(18))
    return hidden, to_photo(recipes.load("beit").complete(street(96)[1], hidden[None])[1])[0]


@course_look
def draw() -> plt.Figure:
    """The street, six pictures beside it, and the sentence below."""
    large, (small, seen) = street(512)[0], street(96)
    said, maps = sentence()
    words = city_models.CITY_WORDS.to_tokens(said)
    word = words.index("green")
    hidden, filled = completed()
    labels = recipes.load("unet")(seen).argmax(1)[0].numpy()
    found = recipes.load("faster_rcnn")(street(128)[1])[0]
    sure = found["scores"] > 0.5
    fig, whole, axes = sheet()
    shown = (colour_labels(labels), large, large, large, figures.masked_patches(small, hidden), filled)
    for ax, image, title in zip((whole, *axes), (large, *shown), ("a street", *TITLES), strict=True):
        figures.draw_image(ax, figures.to_pixels(image))
        ax.set_title(title.format(word=words[word]))
    kinds = [figures.class_colour(kind) for kind in found["labels"][sure]]
    figures.draw_boxes(axes[1], 4 * found["boxes"][sure], colours=kinds)
    figures.overlay_attention(axes[2], large, maps[word])
    end = large.shape[1] - 0.5
    cuts = torch.arange(1, SIDE) * large.shape[1] / SIDE - 0.5
    axes[3].hlines(cuts, -0.5, end, color="white")
    axes[3].vlines(cuts, -0.5, end, color="white")
    fig.text(0.5, 0.02, f"“{city_models.CITY_WORDS.decode(said)}”", size=16, style="italic", ha="center")
    return fig


def sheet() -> tuple[plt.Figure, plt.Axes, list[plt.Axes]]:
    """A figure with one large square on the left and two rows of three on the right, all edges in line."""
    side, line, gap, rim = 2.3, 0.36, 0.14, 0.1  # inches
    tall = 2 * side + line
    width, height, low = 2 * rim + tall + 3 * (gap + side), 2 * line + 2 * side + 0.5, 0.5
    fig = plt.figure(figsize=(width, height), layout="none")

    def square(x: float, y: float, side: float) -> plt.Axes:
        return fig.add_axes((x / width, y / height, side / width, side / height))

    places = [
        (rim + tall + gap + column * (side + gap), low + row * (side + line)) for row in (1, 0) for column in range(3)
    ]
    return fig, square(rim, low, tall), [square(x, y, side) for x, y in places]


def main(arguments: list[str]) -> None:
    """Write the picture to the path given, or beside this file."""
    runtime.setup(seed=0, profile="quick", quiet=True)
    path = Path(arguments[0]) if arguments else Path(__file__).with_name("course.jpg")
    with torch.no_grad():
        draw().savefig(path, dpi=140, pil_kwargs={"quality": 85, "optimize": True})


if __name__ == "__main__":
    main(sys.argv[1:])
