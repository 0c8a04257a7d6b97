"""Decoders drawn from what they really computed: taught, unrolled over a caption, and one word at a time (24 to 27)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle
from torch import Tensor, nn

from lecture_course.nb08_show_attend_and_tell.figures import contours, smoothed
from lecture_utils.captioning.decoding import NEVER_GENERATED
from lecture_utils.captioning.vocabulary import END, START, Vocabulary
from lecture_utils.figures.overlays import draw_image, to_pixels
from lecture_utils.figures.style import (
    BLUE,
    FAINT,
    GREEN,
    INK,
    ORANGE,
    SKY,
    VERMILION,
    WIDTH,
    bare,
    course_look,
    to_array,
)

LAYER = "#E8E8E8"
TEXT = 10.5  # points of the smaller labels
WORD = {"boxstyle": "round,pad=0,rounding_size=0.08"}


@dataclass(frozen=True)
class Trace:
    """What a captioner computed on its way to a caption: for each word t what stands below, on the CPU.

    `words`: those it said, with `<end>`; `likeliest`: words → probability of the five likeliest; `hidden` (t, h): h_t;
    `scores`, `weights` (t, rows, columns): e_t and α_t; `context` (t, d): ẑ_t, and `gate` (t,): β_t, in it already.
    The last four are None for a model with one vector c, whose `c` (width,) the others have not.
    """

    words: list[str]
    likeliest: list[dict[str, float]]
    hidden: Tensor
    scores: Tensor | None = None
    weights: Tensor | None = None
    context: Tensor | None = None
    gate: Tensor | None = None
    c: Tensor | None = None


@torch.no_grad()
def trace(model: nn.Module, z: Float[Tensor, "1 features h w"], vocabulary: Vocabulary, *, steps: int = 40) -> Trace:
    """Let a `BottleneckRNN` or a `ShowAttendTell` say the likeliest word each time, and keep all that it computes."""
    state, word = model.start(z), torch.tensor([START], device=z.device)
    attends, said, likeliest, kept = hasattr(model, "score"), [], [], []
    for _ in range(steps):
        before = state
        logits, _, state = model.step(state, word)
        chances = logits[0].float().index_fill(0, torch.tensor(NEVER_GENERATED, device=z.device), -torch.inf).softmax(0)
        best = chances.topk(5)
        likeliest.append({vocabulary.words[i]: p for p, i in zip(*map(Tensor.tolist, best), strict=True)})
        word = best.indices[:1]
        said.append(vocabulary.words[word.item()])
        hidden = state[2] if attends else state[1]
        kept.append([hidden[0]])
        if attends:
            a, prepared, h, _ = before
            scores, gate = model.score(prepared, h)[0], torch.sigmoid(model.gate(h))[0]
            weights = scores.softmax(0)
            kept[-1] += [scores.view(model.grid), weights.view(model.grid), gate * (weights @ a[0]), gate[0]]
        if word == END:
            break
    parts = [torch.stack(part).cpu() for part in zip(*kept, strict=True)]
    return Trace(said, likeliest, *parts) if attends else Trace(said, likeliest, *parts, c=state[0][0].cpu())


# Drawing on axes whose unit is an inch, y downwards.


def inches(height: float, title: str = "") -> tuple[Figure, Axes]:
    fig = plt.figure(figsize=(WIDTH, height), layout="none")
    ax = fig.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, WIDTH), ylim=(height, 0), aspect="equal")
    ax.axis("off")
    if title:
        ax.text(WIDTH / 2, 0.22, title, ha="center", va="center", size=15)
    return fig, ax


def word_box(ax: Axes, x: float, y: float, width: float, word: str, colour: str, *, size: float = TEXT, **look) -> None:
    """A word in a rounded box around (x, y); `look` is what else its text takes."""
    ax.add_patch(FancyBboxPatch((x - width / 2, y - 0.17), width, 0.34, fc=colour, ec="none", alpha=0.45, **WORD))
    ax.text(x, y, word, ha="center", va="center_baseline", size=size, **look)


def arrow(ax: Axes, *points: tuple[float, float], colour: str = INK, width: float = 1.2, dashed: bool = False) -> None:
    """An arrow along straight lines through the points."""
    *lines, last = points
    line = {"color": colour, "lw": width, "ls": (0, (3, 2)) if dashed else "-"}
    if len(lines) > 1:
        ax.plot(*zip(*lines, strict=True), solid_joinstyle="miter", **line)
    head = {"arrowstyle": "-|>", "mutation_scale": 10, "shrinkA": 0, "shrinkB": 0}
    ax.add_patch(FancyArrowPatch(lines[-1], last, **head, **line))


def picture(ax: Axes, image: np.ndarray, x: float, y: float, side: float, label: str = "", below: str = "") -> None:
    """An image (h, w, 3), `side` inches wide, its left upper corner at (x, y), with words above and below."""
    high = side * image.shape[0] / image.shape[1]
    ax.imshow(image, extent=(x, x + side, y + high, y), interpolation="antialiased", zorder=2)
    ax.text(x + side / 2, y - 0.06, label, ha="center", va="bottom", size=TEXT)
    ax.text(x + side / 2, y + high + 0.06, below, ha="center", va="top", size=TEXT, weight="bold")


def strip(ax: Axes, values: Tensor, x: float, y: float, width: float, height: float, most: float | None = None) -> None:
    """A vector (n,) as coloured cells, from top to bottom, or from left to right where `width` is more."""
    cells = to_array(values[None] if width > height else values[:, None])
    most = most or float(values.abs().max())
    ax.imshow(
        cells, cmap="viridis", vmin=-most, vmax=most, extent=(x, x + width, y + height, y), aspect="auto", zorder=2
    )
    ax.add_patch(Rectangle((x, y), width, height, fill=False, ec=INK, lw=0.8, zorder=3))


@course_look
def teacher_forcing(words: Sequence[str], image: Tensor | np.ndarray, *, title: str = "") -> Figure:
    """Draw how a caption is taught (slide 24): below the words that go in, above those that should come out.

    `words` are those of the caption with its `<start>` and `<end>`; the `image`, (3, H, W) or (H, W, 3), goes into
    every step of the model, and grey arrows lead from step to step.
    """
    if len(words) < 2:
        raise ValueError(f"words: got {list(words)}, expected at least <start> and <end>")
    inputs, targets = words[:-1], words[1:]
    head = 0.4 * bool(title)
    fig, ax = inches(2.95 + head, title)
    above, middle, bus, below, first = head + 0.35, head + 1.2, head + 1.85, head + 2.6, 2.2
    picture(ax, to_pixels(image), 0.08, bus - 0.62, 1.25, "image")
    # As wide as the longer of the two words, in what room there is.
    needed = np.array([0.22 + 0.075 * max(map(len, pair)) for pair in zip(inputs, targets, strict=True)])
    width = needed * (WIDTH - first - 0.05) / needed.sum()
    centres = first + np.cumsum(width) - width / 2
    size = min(11, 10 * (WIDTH - first) / needed.sum())
    ax.plot([1.33, centres[-1] - 0.08], [bus, bus], color=GREEN, lw=2, zorder=0.5)
    for i, (x, w, given, wanted) in enumerate(zip(centres, width, inputs, targets, strict=True)):
        word_box(ax, x, below, w - 0.08, given, SKY, size=size)
        word_box(ax, x, above, w - 0.08, wanted, ORANGE, size=size)
        ax.add_patch(FancyBboxPatch((x - w / 2 + 0.05, middle - 0.2), w - 0.1, 0.4, fc=LAYER, ec=FAINT, **WORD))
        arrow(ax, (x + 0.08, below - 0.2), (x + 0.08, middle + 0.22))
        arrow(ax, (x - 0.08, bus), (x - 0.08, middle + 0.22), colour=GREEN, width=2)
        arrow(ax, (x, middle - 0.22), (x, above + 0.2))
        if i:
            arrow(ax, (centres[i - 1] + width[i - 1] / 2 - 0.05, middle), (x - w / 2 + 0.05, middle), colour=FAINT)
    for y, text in ((below, "goes in"), (middle, "model"), (above, "should\ncome out")):
        ax.text(first - 0.06, y, text, ha="right", va="center", size=TEXT)
    return fig


@course_look
def encoder_decoder(
    image: Tensor | np.ndarray, z: Float[Tensor, "1 features h w"], model: nn.Module, told: Trace, *, title: str = ""
) -> Figure:
    """Draw the encoder and the first steps of the decoder of a `BottleneckRNN` with an MLP (slide 25).

    `told` is its `trace` for the grid `z` of the image. All values and shapes are those of its tensors.
    """
    features, rows, columns = z.shape[1:]
    with torch.no_grad():
        squeezed = model.encode[0](model.encode_grid(z))[0].T.unflatten(1, (rows, columns))
    head = 0.4 * bool(title)
    fig, ax = inches(4.55 + head, title)
    top, line = head + 0.35, head + 1.1
    picture(ax, to_pixels(image), 0.15, top, 1.6, "image")
    feature_maps(ax, z[0], (2.65, top + 0.1), "z", f"{rows} × {columns} × {features}")
    few = f"{len(squeezed)} numbers of each point"
    feature_maps(ax, squeezed, (5.05, top + 0.1), few, f"{rows} × {columns} × {len(squeezed)}")
    strip(ax, told.c, 8.2, top, 0.3, 1.6)
    ax.text(8.35, top - 0.06, f"c: {len(told.c)} numbers", ha="center", va="bottom", size=TEXT, weight="bold")
    for start, end, says, colour in (
        (1.8, 2.6, "CNN", BLUE),
        (4.2, 5.0, f"{model.encode[0].in_features}, then", ORANGE),
        (6.6, 8.13, "… of all points", ORANGE),
    ):
        arrow(ax, (start, line), (end, line), colour=colour, width=2)
        ax.text((start + end) / 2, line - 0.08, says, ha="center", va="bottom", size=TEXT)
    cells = decoder_row(ax, told, head + 2.95)
    bus = head + 2.3
    ax.plot([8.35, 8.35, cells[0]], [top + 1.62, bus, bus], color=VERMILION, lw=2, zorder=0.5)
    for x in cells:
        arrow(ax, (x, bus), (x, head + 2.67), colour=VERMILION, width=2)
    arrow(
        ax, (cells[0], bus), (0.5, bus), (0.5, head + 2.95), (cells[0] - 0.44, head + 2.95), colour=VERMILION, width=2
    )
    same = told.hidden.shape[1] == len(told.c)
    ax.text(0.6, head + 2.98, "h₀ = c" if same else "h₀ from c", va="top", size=TEXT)
    return fig


@course_look
def attending_decoder(image: Tensor | np.ndarray, told: Trace, *, title: str = "") -> Figure:
    """Draw the first steps of a `ShowAttendTell`, above each its map, which weights the points a for ẑ (slide 26).

    White lines: `LEVELS`. Thin lines: the word is read from ẑ and the word before it, too (equation 7).
    """
    head, pixels = 0.4 * bool(title), smoothed(image)
    side = (WIDTH - FIRST) / FEWER - 0.25
    fig, ax = inches(side + 2.95 + head, title)
    bus, top, cell = head + 0.22, head + 0.6, head + side + 1.4
    rows, columns = told.weights.shape[1:]
    picture(ax, pixels, 0.03, top, 1.12, "image")
    look = {"color": "white", "lw": 0.4, "alpha": 0.8, "zorder": 3}
    ax.hlines(top + 1.12 * np.arange(1, rows) / rows, 0.03, 1.15, **look)
    ax.vlines(0.03 + 1.12 * np.arange(1, columns) / columns, top, top + 1.12, **look)
    about = f"a: {rows * columns} points,\n{told.context.shape[1]} numbers"
    ax.text(0.59, top + 1.18, about, ha="center", va="top", size=TEXT)
    ax.text(0.6, top + side + 0.3, "ẑ = β Σᵢ αᵢ aᵢ", ha="center", va="center", size=TEXT, color=VERMILION)
    middles = decoder_row(ax, told, cell, FEWER)
    ax.plot([0.1, 0.1, middles[-1] + 0.08], [top - 0.02, bus, bus], color=GREEN, lw=2, zorder=0.5)
    for t, x in enumerate(middles):
        left, seen, below = x - side / 2 + 0.08, top + side + 0.3, cell + 1.0
        inner = ax.inset_axes((left, top, side, side), transform=ax.transData)
        draw_image(inner, pixels)
        contours(inner, told.weights[t], pixels.shape[:2], LEVELS)
        ax.text(x + 0.2, top - 0.05, f"α{LOW[t + 1]}", ha="left", va="bottom", size=TEXT)
        arrow(ax, (x + 0.08, bus), (x + 0.08, top - 0.02), colour=GREEN, width=2)
        arrow(ax, (x, top + side + 0.04), (x, cell - 0.28), colour=VERMILION, width=2)
        ax.text(x + 0.07, seen - 0.06, f"ẑ{LOW[t + 1]}", va="center", size=TEXT, color=VERMILION)
        ax.text(x - 0.07, seen - 0.06, f"β = {told.gate[t]:.2f}", ha="right", va="center", size=TEXT, color=VERMILION)
        around = (x, seen + 0.12), (x + 0.52, seen + 0.12), (x + 0.52, cell + 0.45), (x + 0.38, cell + 0.45)
        arrow(ax, *around, (x + 0.38, below - 0.19), colour=VERMILION, width=1)
        ax.plot([x - 0.36, x - 0.29], [below, below], color=SKY, lw=1)
        before = left - 0.13  # what the decoder remembers says where to look
        arrow(ax, (before, cell), (before, top + side / 2), (left, top + side / 2), colour=BLUE, width=1.6)
        if t == 0:
            arrow(ax, (1.12, cell), (x - 0.44, cell), colour=FAINT, width=1.6)
    ax.text(0.6, cell, "h₀ from the\nmean point", ha="center", va="center", size=TEXT)
    return fig


LOW = "₀₁₂₃₄₅₆₇₈₉"
STEPS, FEWER, FIRST = 4, 3, 1.25  # words that are drawn of a caption, without maps and with; inches left of them
LEVELS = 0.01, 0.03, 0.1  # of weights, whose mean is 0.004, around which a line is drawn: from thin to bold


def decoder_row(ax: Axes, told: Trace, y: float, steps: int = STEPS) -> list[float]:
    """The LSTM's steps at height y, each with its word below, which goes into the next; the middle of each step."""
    pitch, below, middles = (WIDTH - FIRST) / steps, y + 1.0, []
    word_box(ax, 0.55, below, 0.75, "<start>", SKY)
    for t in range(steps):
        x = FIRST + pitch * (t + 0.5)
        ax.add_patch(FancyBboxPatch((x - 0.42, y - 0.26), 0.84, 0.52, fc=LAYER, ec=FAINT, **WORD))
        ax.text(x, y, "LSTM", ha="center", va="center", size=TEXT)
        given = 0.93 if t == 0 else x - pitch + 0.5
        arrow(ax, (given, below), (x - 0.36, below), (x - 0.36, y + 0.28), colour=SKY, width=1.6)
        arrow(ax, (x + 0.1, y + 0.28), (x + 0.1, below - 0.2), width=1.6)
        word = told.words[t]
        word_box(ax, x + 0.1, below, 0.78, word, ORANGE)
        ax.text(x + 0.1, below + 0.3, f"p = {told.likeliest[t][word]:.2f}", ha="center", va="center", size=TEXT)
        if t:
            arrow(ax, (middles[-1] + 0.44, y), (x - 0.44, y), colour=FAINT, width=1.6)
            ax.text((middles[-1] + x) / 2 - 0.05, y + 0.04, f"h{LOW[t]}", ha="center", va="top", size=TEXT)
        middles.append(x)
    return middles


def feature_maps(ax: Axes, values: Tensor, corner: tuple[float, float], label: str, below: str) -> None:
    """Three of the feature maps (c, h, w), those that vary most, one behind the other."""
    values, (x, y), side = values.detach().cpu().float(), corner, 1.35
    for k, channel in reversed(list(enumerate(values.flatten(1).var(1).topk(3).indices))):
        area = (x + 0.09 * k, x + 0.09 * k + side, y + side - 0.09 * k, y - 0.09 * k)
        ax.imshow(to_array(values[channel]), cmap="viridis", extent=area, interpolation="nearest", zorder=2 - 0.1 * k)
        ax.add_patch(Rectangle((area[0], area[3]), side, side, fill=False, ec=INK, lw=0.8, zorder=2.05 - 0.1 * k))
    ax.text(x + side / 2 + 0.1, y - 0.22, label, ha="center", va="bottom", size=TEXT)
    ax.text(x + side / 2, y + side + 0.06, below, ha="center", va="top", size=TEXT, weight="bold")


@course_look
def attention_step(image: Tensor | np.ndarray, told: Trace, t: int) -> Figure:
    """Draw how a `ShowAttendTell` finds word t of a caption: scores e, weights α over the image, ẑ, h, and the word.

    White lines enclose the weights above each of `LEVELS`. Above, the caption's `gates`.
    """
    fig, ax = inches(6.75)
    gates(ax, told, t)
    left, right, top, side = 0.15, 4.7, 1.3, 3.6
    scores = ax.inset_axes((left, top, side, side), transform=ax.transData)
    e = told.scores
    shown = scores.imshow(
        to_array(e[t]), cmap="viridis", vmin=float(e.min()), vmax=float(e.max()), interpolation="nearest"
    )
    bare([scores])
    bar = fig.colorbar(shown, cax=ax.inset_axes((left + side + 0.06, top, 0.12, side), transform=ax.transData))
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=TEXT)
    weights, pixels = ax.inset_axes((right, top, side, side), transform=ax.transData), smoothed(image)
    draw_image(weights, pixels)
    contours(weights, told.weights[t], pixels.shape[:2], LEVELS)
    rows, columns = told.weights.shape[1:]
    ax.text(left, top - 0.08, f"① scores e: {rows} × {columns} numbers, by {_h(t)}", va="bottom", size=12)
    ax.text(right, top - 0.08, f"② softmax: weights α, largest {told.weights[t].max():.2f}", va="bottom", size=12)
    y = top + side + 0.5
    ax.text(
        left,
        y - 0.1,
        f"③ context ẑ = β Σ αᵢ aᵢ:  {told.context.shape[1]} numbers,  β = {told.gate[t]:.2f}",
        va="bottom",
        size=12,
    )
    strip(ax, told.context[t], left, y, 4.3, 0.3, most=float(told.context.abs().max()))
    says = f"④ LSTM, from ẑ and the last word:  {_h(t + 1)}, {told.hidden.shape[1]} numbers"
    ax.text(left, y + 0.75, says, va="bottom", size=12)
    strip(ax, told.hidden[t], left, y + 0.85, 4.3, 0.3, most=1.0)
    bars(ax, told.likeliest[t], told.words[t], (right, y), "⑤ the next word")
    return fig


def _h(t: int) -> str:
    """h with its number below."""
    return "h" + "".join(LOW[int(digit)] for digit in str(t))


def gates(ax: Axes, told: Trace, t: int) -> None:
    """The words of a caption, word t bold and those after it faint; below each its gate β as a bar."""
    widths = np.array([0.3 + 0.08 * len(word) for word in told.words])
    widths *= (WIDTH - 0.9) / widths.sum()
    middles = 0.75 + np.cumsum(widths) - widths / 2
    ax.text(0.15, 0.62, "gate β", va="center", size=11)
    for i, (word, gate, x) in enumerate(zip(told.words, told.gate.tolist(), middles, strict=True)):
        look = {"color": FAINT if i > t else INK, "weight": "bold" if i == t else "normal"}
        ax.text(x, 0.18, word, ha="center", va="center_baseline", size=11.5, **look)
        ax.add_patch(Rectangle((x - 0.16, 0.75 - 0.4 * gate), 0.32, 0.4 * gate, fc=ORANGE if i == t else FAINT))
        ax.plot([x - 0.16, x + 0.16], [0.75, 0.75], color=INK, lw=0.8)
        ax.text(x, 0.87, f"{gate:.2f}", ha="center", va="center", size=TEXT)


@course_look
def next_word(chances: Mapping[str, float], *, title: str) -> Figure:
    """Draw the probabilities of a few words that may come next, as bars; the likeliest in colour."""
    fig, ax = inches(0.65 + 0.36 * len(chances))
    bars(ax, chances, max(chances, key=chances.get), (0.2, 0.5), title, longest=WIDTH - 2.2, pitch=0.36, size=14)
    return fig


def what_comes_next(
    model: nn.Module, z: Float[Tensor, "1 features h w"], words: Vocabulary, beginning: str, temperature: float
) -> Figure:
    """Draw the eight likeliest words of a captioner after the beginning of a sentence, at a temperature."""
    given = torch.tensor([words.encode(beginning)[:-1]], device=z.device)
    with torch.no_grad():
        best, which = (model(z, given)[0][0, -1].cpu() / temperature).softmax(0).topk(8)
    chances = {words.words[i]: p for i, p in zip(which, best.tolist(), strict=True)}
    return next_word(chances, title=f"“{beginning} …”, temperature {temperature}")


def bars(
    ax: Axes,
    chances: Mapping[str, float],
    chosen: str,
    corner: tuple[float, float],
    label: str,
    *,
    longest: float = 2.3,
    pitch: float = 0.24,
    size: float = 11,
) -> None:
    """A line for each word: its name, and a bar as long as its probability, of `longest` inches for 1."""
    x, y = corner
    ax.text(x, y - 0.1, label, va="bottom", size=size + 1)
    for row, (word, chance) in enumerate(chances.items()):
        middle, colour = y + pitch * (row + 0.5), ORANGE if word == chosen else "#BBBBBB"
        weight = "bold" if word == chosen else "normal"
        ax.text(x + 1.0, middle, word, ha="right", va="center", size=size, weight=weight)
        ax.add_patch(Rectangle((x + 1.08, middle - pitch / 3), longest * chance, 2 * pitch / 3, fc=colour))
        ax.text(x + 1.14 + longest * chance, middle, f"{chance:.2f}", va="center", size=size - 0.5)
