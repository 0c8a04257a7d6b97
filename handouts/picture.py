"""Draw the pictures of the course: a street, and what its networks make of it, at once and one after the other.

    python handouts/picture.py      draws course.jpg, for the README, and course.html, for the site's first page

The street is one that no network was trained on, chosen because U-Net, detector and captioner all get it right.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import torch
from jaxtyping import Float, UInt8
from torchvision import tv_tensors

from lecture_utils import captioning, city_models, figures, recipes, runtime, tasks, toycity
from lecture_utils.cityscapes import colour_labels
from lecture_utils.explorers import Explorer, Slider
from lecture_utils.figures.style import course_look
from lecture_utils.tasks.photos import to_photo
from lecture_utils.transformers import blockwise_mask

SEED = toycity.seeds("test", 1172)[-1]
SIDE = 12  # patches a side
GIVEN = "from left to right"  # the words that the captioner goes on from
BEFORE = ("a class for each pixel", "a box for each object")
AFTER = ("patches as words", "a part hidden …", "… and filled in")


def street(size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The street at size × size pixels: as bytes (3, size, size), and as a network takes it, (1, 3, size, size)."""
    photo = torch.from_numpy(toycity.render(toycity.sample_scene(SEED), size=size).image).permute(2, 0, 1)
    return photo, tasks.photo_transforms()(tv_tensors.Image(photo))[None]


def sentence() -> tuple[torch.Tensor, torch.Tensor]:
    """The numbers of the words of Show, Attend and Tell, of which the first were given, and its map for each."""
    given = city_models.CITY_WORDS.encode(GIVEN)[1:-1]
    model, z = recipes.load("show_attend_tell"), tasks.grid_encoder()(street(128)[1])
    said = captioning.greedy(model, z, prefix=given, need_weights=True)
    return said.words[0], said.attention[0, 0, 0]


def completed() -> tuple[torch.Tensor, torch.Tensor]:
    """Which patches are hidden, (12, 12), and the street with what BEiT puts there, (3, 96, 96) bytes."""
    hidden = blockwise_mask((SIDE, SIDE), 55, generator=torch.Generator().manual_seed(18))
    return hidden, to_photo(recipes.load("beit").complete(street(96)[1], hidden[None])[1])[0]


class Views(NamedTuple):
    """What the networks make of the street: what draws it on axes, by title; the captioner's words and their maps."""

    drawings: dict[str, Callable[[plt.Axes], None]]
    said: list[int]
    maps: Float[torch.Tensor, "t h w"]
    large: UInt8[torch.Tensor, "3 H W"]


def views() -> Views:
    """The street through U-Net, Faster R-CNN, Show, Attend and Tell, and BEiT; drawings are of 512 or 96 pixels."""
    large, (small, seen) = street(512)[0], street(96)
    said, maps = sentence()
    hidden, filled = completed()
    labels = recipes.load("unet")(seen).argmax(1)[0].numpy()
    found = recipes.load("faster_rcnn")(street(128)[1])[0]
    sure = found["scores"] > 0.5
    kinds = [figures.class_colour(kind) for kind in found["labels"][sure]]

    def boxes(ax: plt.Axes) -> None:
        figures.draw_image(ax, figures.to_pixels(large))
        figures.draw_boxes(ax, 4 * found["boxes"][sure], colours=kinds)

    def patches(ax: plt.Axes) -> None:
        figures.draw_image(ax, figures.to_pixels(large))
        end = large.shape[1] - 0.5
        cuts = torch.arange(1, SIDE) * large.shape[1] / SIDE - 0.5
        ax.hlines(cuts, -0.5, end, color="white")
        ax.vlines(cuts, -0.5, end, color="white")

    images = {
        "a street": large,
        "a class for each pixel": colour_labels(labels),
        "a part hidden …": figures.masked_patches(small, hidden),
        "… and filled in": filled,
    }
    drawings = {
        title: partial(figures.draw_image, image=figures.to_pixels(image)) for title, image in images.items()
    } | {"a box for each object": boxes, "patches as words": patches}
    return Views(drawings, said.tolist(), maps, large)


@course_look
def draw(seen: Views) -> plt.Figure:
    """The street, six pictures beside it, and the sentence below."""
    word = city_models.CITY_WORDS.to_tokens(seen.said).index("green")
    attended = "where it looks for “green”"
    fig, whole, axes = sheet()
    titles = ("a street", *BEFORE, attended, *AFTER)
    for ax, title in zip((whole, *axes), titles, strict=True):
        if title == attended:
            attend(ax, seen, word)
        else:
            seen.drawings[title](ax)
        ax.set_title(title)
    fig.text(0.5, 0.02, f"“{city_models.CITY_WORDS.decode(seen.said)}”", size=16, style="italic", ha="center")
    return fig


def attend(ax: plt.Axes, seen: Views, word: int) -> None:
    """The street, bright where the captioner looks for a word."""
    figures.overlay_attention(ax, seen.large, seen.maps[word], glow=True)


def moving(seen: Views) -> Explorer:
    """The same, one after the other, and for each word that the captioner finds, where it looks."""
    words = city_models.CITY_WORDS
    known, all_ = len(words.encode(GIVEN)) - 2, len(words.to_tokens(seen.said))
    steps = [(title, None) for title in ("a street", *BEFORE)]
    steps += [(f"where it looks for “{words.decode([seen.said[t]])}”", t) for t in range(known, all_)]
    steps += [(title, None) for title in AFTER]

    def draw_step(step: int) -> plt.Figure:
        title, word = steps[step]
        fig = plt.figure(figsize=(5.2, 6.3), layout="none")
        ax = fig.add_axes((0, 0.1, 1, 5.2 / 6.3))
        if word is None:
            seen.drawings[title](ax)
        else:
            attend(ax, seen, word)
            said = textwrap.fill(f"“{words.decode(seen.said[: word + 1])}”", 58)
            fig.text(0.5, 0.05, said, size=13, style="italic", ha="center", va="center")
        ax.set_title(title, size=15)
        return fig

    return Explorer(
        draw_step,
        title="What the course's networks make of a street",
        alt=lambda step: f"A street with a sign, a person in yellow, a green and a red car; shown: {steps[step][0]}.",
        play="step",
        step=Slider("step", range(len(steps))),
    )


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
    """Write both pictures into the folder given, or beside this file."""
    runtime.setup(seed=0, profile="quick", quiet=True)
    folder = Path(arguments[0]) if arguments else Path(__file__).parent
    with torch.no_grad():
        seen = views()
    draw(seen).savefig(folder / "course.jpg", dpi=140, pil_kwargs={"quality": 85, "optimize": True})
    (folder / "course.html").write_text(moving(seen)._repr_mimebundle_()["text/html"] + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
