"""The figures of notebook 12: visual tokens, relative positions and published results."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Float, Int64, UInt8
from matplotlib.figure import Figure
from torch import Tensor

from lecture_utils.figures.grids import ink_on
from lecture_utils.figures.overlays import draw_image, to_pixels
from lecture_utils.figures.style import CYCLE, FAINT, INK, ORANGE, WIDTH, course_look, image_axes, to_array
from lecture_utils.transformers.beit_results import CORRECTED


@course_look
def as_words(
    image: Tensor | np.ndarray,
    painted: Tensor | np.ndarray,
    words: Int64[Tensor, "h w"],
    window: tuple[int, int, int, int],
    *,
    title: str = "",
) -> Figure:
    """Draw a few patches of a photograph, the numbers of their words, and the same place painted with their codes.

    `image` and `painted` are (3, H, W) or (H, W, 3) uint8. `window` is (top, left, bottom, right) in patches. The cells
    behind the numbers have the mean colour of their code.
    """
    image, painted = to_pixels(image), to_pixels(painted)
    top, left, bottom, right = window
    if not (0 <= top < bottom <= words.shape[0] and 0 <= left < right <= words.shape[1]):
        raise ValueError(f"window: got {window}, expected 0 ≤ top < bottom ≤ {words.shape[0]} and so on")
    p, q = image.shape[0] // words.shape[0], image.shape[1] // words.shape[1]
    area = slice(top * p, bottom * p), slice(left * q, right * q)
    means = painted[area].reshape(bottom - top, p, right - left, q, 3).mean((1, 3))
    fig, axes = image_axes(1, 3, aspect=(right - left) * q / ((bottom - top) * p), title=title)
    for ax, name, shown in zip(
        axes.flat,
        ("patches", "their words", "painted with the codes"),
        (image[area], means / 255, painted[area]),
        strict=True,
    ):
        ax.set_title(name)
        if name == "their words":
            ax.imshow(shown, interpolation="nearest")
            for (row, column), word in np.ndenumerate(to_array(words[top:bottom, left:right])):
                colour = ink_on(tuple(means[row, column] / 255))
                ax.text(column, row, word, ha="center", va="center", size=13, color=colour)
            lines = np.arange(bottom - top + 1) - 0.5, np.arange(right - left + 1) - 0.5
            ax.hlines(lines[0], -0.5, right - left - 0.5, color="white", lw=1)
            ax.vlines(lines[1], -0.5, bottom - top - 0.5, color="white", lw=1)
        else:
            draw_image(ax, shown)
    return fig


@course_look
def codebook(
    codes: UInt8[Tensor, "words 3 p q"], *, columns: int = 32, title: str = "", width: float = WIDTH
) -> Figure:
    """Draw all words of a vocabulary as the patches they stand for, row after row, with white between them."""
    rows = -(-len(codes) // columns)
    p, q = codes.shape[-2:]
    sheet = np.full((rows * columns, p + 1, q + 1, 3), 255, np.uint8)
    sheet[: len(codes), :p, :q] = to_array(codes.permute(0, 2, 3, 1))
    sheet = sheet.reshape(rows, columns, p + 1, q + 1, 3).swapaxes(1, 2).reshape(rows * (p + 1), columns * (q + 1), 3)
    fig, axes = image_axes(1, 1, width=width, aspect=sheet.shape[1] / sheet.shape[0], title=title)
    fig.set_figheight(fig.get_figheight() - 0.25)
    draw_image(axes[0, 0], sheet)
    return fig


@course_look
def bias_maps(maps: Float[Tensor, "heads rows columns"], *, most: float | None = None, title: str = "") -> Figure:
    """Draw maps of `bias_by_step`, a panel a head, orange where a step is looked at more and blue where less.

    `most` is the strongest colour; by default that of the largest number.
    """
    most = float(maps.abs().max()) if most is None else most
    down, across = maps.shape[1] // 2, maps.shape[2] // 2
    fig, axes = plt.subplots(1, len(maps), figsize=(WIDTH, 2.3 + (0.35 if title else 0)), squeeze=False, sharey=True)
    fig.suptitle(title)
    for head, (ax, map_) in enumerate(zip(axes[0], maps, strict=True), 1):
        shown = ax.imshow(
            to_array(map_),
            cmap="PuOr_r",
            vmin=-most,
            vmax=most,
            extent=(-across - 0.5, across + 0.5, down + 0.5, -down - 0.5),
        )
        ax.plot(0, 0, marker="+", color=INK, markersize=8)
        ax.set(title=f"head {head}", xlabel="columns away", xticks=(-across, 0, across), yticks=(-down, 0, down))
    axes[0, 0].set_ylabel("rows away")
    end = int(most) or most
    fig.colorbar(shown, ax=axes, shrink=0.75, label="added to the score", ticks=(-end, 0, end))
    return fig


@course_look
def results_table(rows: Sequence[tuple], scores: Mapping[str, str], *, xlabel: str, title: str = "") -> Figure:
    """Draw a table of slide 35 as dots, a line for each row, below the heading of its training.

    `rows` are those of `transformers.beit_results`, `scores` field → its name in the legend. A misprinted name stands
    as it is printed, with the right one behind it.
    """
    places, names, headings, at = [], [], {}, 0.0
    for row in rows:
        if row.training not in headings:
            headings[row.training] = at
            at += 1
        places.append(at)
        side = f" {row.side}²" if hasattr(row, "side") else ""
        printed = f" (printed {row.model})" if row.model in CORRECTED else ""
        names.append(f"{CORRECTED.get(row.model, row.model)}{side}{printed}")
        at += 1
    fig, ax = plt.subplots(figsize=(WIDTH, 1.2 + 0.27 * at))
    ours = [row.model.startswith("BEiT") for row in rows]
    for i, (field, name) in enumerate(scores.items()):
        values = [getattr(row, field) for row in rows]
        ax.scatter(
            values, places, s=70, marker="os"[i % 2], color=[ORANGE if own else CYCLE[0] for own in ours], zorder=3
        )
        if len(scores) > 1:
            ax.scatter([], [], marker="os"[i % 2], color=FAINT, s=70, label=name)
        for value, place, own in zip(values, places, ours, strict=True):
            side = "right" if i == 0 and len(scores) > 1 else "left"
            gap = (-8, 0) if side == "right" else (8, 0)
            ax.annotate(
                f"{value:.1f}", (value, place), gap, textcoords="offset points", ha=side, va="center",
                size=11, weight="bold" if own else "normal",
            )  # fmt: skip
    for heading, place in headings.items():
        ax.text(0, place, heading, transform=ax.get_yaxis_transform(), va="center", style="italic", color=INK)
    ax.set_yticks(places, names)
    ax.tick_params(axis="y", length=0)
    low, high = ax.get_xlim()
    ax.set(
        ylim=(at - 0.4, -0.6),
        xlim=(low - (0.04 if len(scores) > 1 else 0) * (high - low), high + 0.06 * (high - low)),
        xlabel=xlabel,
        title=title,
    )
    ax.grid(axis="x")
    if len(scores) > 1:
        fig.legend(loc="outside lower center", ncols=2)
    return fig
