"""The figures of notebook 12: hidden patches, visual tokens, relative positions, probes and published results."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Bool, Float, Int64, UInt8
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from torch import Tensor

from lecture_utils.figures.grids import ink_on
from lecture_utils.figures.overlays import draw_image, legend, to_pixels
from lecture_utils.figures.style import (
    CYCLE,
    DASHES,
    FAINT,
    GREEN,
    INK,
    ORANGE,
    WIDTH,
    course_look,
    image_axes,
    to_array,
)
from lecture_utils.transformers.beit_results import CORRECTED

REMARKS = {"ViT-B-JFT300M": " (on JFT-300M)"}  # where a row does not belong below its heading
COVER = "#C9C3CE"  # of what a reader must not see, neither sky nor house


def covered(image: Tensor | np.ndarray, mask: Bool[Tensor, "h w"]) -> UInt8[np.ndarray, "H W 3"]:
    """A street, (3, H, W) or (H, W, 3) bytes, whose hidden patches are grey: nobody sees through."""
    cover = np.rint(255 * np.array(to_rgb(COVER))).astype(np.uint8)
    return np.where(_hidden(image, mask)[..., None], cover, to_pixels(image))


def _hidden(image: Tensor | np.ndarray, mask: Bool[Tensor, "h w"]) -> Bool[np.ndarray, "H W"]:
    """Which pixels of an image are hidden; its sides need not be multiples of the mask's."""
    height, width = to_pixels(image).shape[:2]
    y, x = np.indices((height, width))
    return to_array(mask)[y * len(mask) // height, x * mask.shape[1] // width]


@course_look
def titled(
    images: Mapping[str, Tensor | np.ndarray], *, columns: int = 2, title: str = "", width: float = WIDTH
) -> Figure:
    """Draw images and label maps under their names, so many in a row, and name the classes that occur in the maps."""
    shown = {name: to_pixels(image) for name, image in images.items()}
    rows, first = -(-len(shown) // columns), next(iter(shown.values()))
    fig, axes = image_axes(rows, columns, width=width, aspect=first.shape[1] / first.shape[0], title=title)
    fig.set_figheight(fig.get_figheight() + 0.25 * (rows - 1))
    for ax, (name, image) in zip(axes.flat, shown.items(), strict=False):
        draw_image(ax, image)
        ax.set_title(name)
    for ax in axes.flat[len(shown) :]:
        ax.remove()
    if maps := [image for image in shown.values() if image.ndim == 2]:
        legend(fig, *maps)
    return fig


@course_look
def often_hidden(shares: Float[Tensor, "h w"], *, title: str = "") -> Figure:
    """Draw a grid of patches, the brighter the more often one is hidden; a corner and the middle have their percent."""
    fig, ax = plt.subplots(figsize=(5.0, 4.4))
    fig.suptitle(title)
    percent = 100 * to_array(shares)
    shown = ax.imshow(percent, cmap="viridis", vmin=0)
    for row, column in ((0, 0), tuple(side // 2 for side in percent.shape)):
        colour = ink_on(tuple(shown.cmap(shown.norm(percent[row, column]))[:3]))
        ax.text(column, row, f"{percent[row, column]:.0f}", ha="center", va="center", size=10, color=colour)
    ax.set(xlabel="column of the patch", ylabel="row of the patch")
    fig.colorbar(shown, ax=ax, label="hidden, percent of the masks", shrink=0.9)
    return fig


@course_look
def label_curves(
    counts: Sequence[int],
    lines: Mapping[str, Sequence[Sequence[float]]],
    leads: Mapping[str, Sequence[Sequence[float]]],
    *,
    ylabels: tuple[str, str],
    reference: tuple[str, float] | None = None,
    title: str = "",
) -> Figure:
    """Draw scores over the number of labelled streets on a logarithmic axis, and how far one start leads.

    `lines`, on the left, and `leads`, on the right, are name → a row over `counts` for each training: dots, with a line
    through the means. `reference` is drawn as a dotted line on the left, of a network that saw all labels.
    """
    fig, axes = plt.subplots(1, 2, figsize=(WIDTH, 4.2))
    fig.suptitle(title)
    for ax, ylabel, part, first in zip(axes, ylabels, (lines, leads), (0, len(lines)), strict=True):
        for i, (name, rows) in enumerate(part.items()):
            rows, colour = to_array(rows, float), CYCLE[first + i]
            if rows.ndim != 2 or rows.shape[1] != len(counts):
                raise ValueError(f"lines, leads: got {rows.shape} of {name!r}, expected (trainings, {len(counts)})")
            ax.plot(counts, rows.mean(0), color=colour, linestyle=DASHES[i], label=name)
            ax.scatter(np.tile(counts, len(rows)), rows.ravel(), s=26, color=colour, marker="os"[i % 2], zorder=3)
        ax.set(xscale="log", xlabel="labelled streets (logarithmic)", ylabel=ylabel)
        ax.set_xticks(counts, [f"{count:,}" for count in counts])
        ax.minorticks_off()
        ax.grid()
    if reference:
        axes[0].axhline(reference[1], color=FAINT, linestyle=":", label=reference[0])
    for ax in axes:
        ax.set_ylim(0)
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=1, frameon=False)
    return fig


@course_look
def probe_scores(
    panels: Mapping[str, Mapping[str, Sequence[float]]], baselines: Mapping[str, float], *, title: str = ""
) -> Figure:
    """Draw what linear probes reach, a panel for each task → representation → a score of each draw, 0 to 1.

    A dot is a draw, a stroke the mean; below the task stands `baselines`, its majority class's share.
    """
    fig, axes = plt.subplots(1, len(panels), figsize=(WIDTH, 4.3), squeeze=False, sharex=True)
    fig.suptitle(title)
    fig.get_layout_engine().set(wspace=0.06)
    rows = max(map(len, panels.values()))
    for ax, (task, scores) in zip(axes[0], panels.items(), strict=True):
        for at, (name, values) in enumerate(scores.items()):
            percent = 100 * to_array(values, float)
            colour, weight = (GREEN, "bold") if name.startswith("pre-trained") else (CYCLE[0], "normal")
            ax.scatter(percent, [at] * len(percent), s=34, alpha=0.6, color=colour)
            ax.plot([percent.mean()] * 2, [at - 0.18, at + 0.18], color=INK, lw=2.5)
            for x, text, side in ((0.015, name, "left"), (1, f"{percent.mean():.1f}", "right")):
                ax.text(
                    x, at - 0.42, text, ha=side, va="center", size=11, weight=weight,
                    transform=ax.get_yaxis_transform(),
                )  # fmt: skip
        ax.set(ylim=(rows - 0.6, -0.7), yticks=[], xlabel="accuracy in percent")
        ax.set_title(f"{task}\nmajority class: {100 * baselines[task]:.0f} %", size=12)
        ax.grid(axis="x")
    return fig


@course_look
def as_words(
    image: Tensor | np.ndarray,
    painted: Tensor | np.ndarray,
    words: Int64[Tensor, "h w"],
    window: tuple[int, int, int, int],
    *,
    title: str = "",
) -> Figure:
    """Draw a few patches of a street, the numbers of their visual tokens, and the same place painted with the codes.

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
        ("patches", "their visual tokens", "painted with the codes"),
        (image[area], means / 255, painted[area]),
        strict=True,
    ):
        ax.set_title(name)
        if name == "their visual tokens":
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
def codebook(codes: UInt8[Tensor, "words 3 p q"], *, columns: int = 16, title: str = "", width: float = 6.6) -> Figure:
    """Draw the codes of all visual tokens, row after row, with white between them; beside a row stands its first."""
    rows = -(-len(codes) // columns)
    p, q = codes.shape[-2:]
    sheet = np.full((rows * columns, p + 1, q + 1, 3), 255, np.uint8)
    sheet[: len(codes), :p, :q] = to_array(codes.permute(0, 2, 3, 1))
    sheet = sheet.reshape(rows, columns, p + 1, q + 1, 3).swapaxes(1, 2).reshape(rows * (p + 1), columns * (q + 1), 3)
    fig, axes = image_axes(1, 1, width=width, aspect=sheet.shape[1] / sheet.shape[0], title=title)
    ax = axes[0, 0]
    draw_image(ax, sheet)
    ax.set_xticks((q + 1) * np.arange(columns) + q / 2 - 0.5, [f"+{column}" for column in range(columns)])
    ax.set_yticks((p + 1) * np.arange(rows) + p / 2 - 0.5, range(0, rows * columns, columns))
    ax.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False, labelsize=11)
    return fig


@course_look
def bias_maps(maps: Float[Tensor, "heads rows columns"], *, most: float | None = None, title: str = "") -> Figure:
    """Draw maps of `bias_by_step`, a panel a head, orange where a step is favoured and violet where it is not.

    `most` is the strongest colour; by default that of the largest number.
    """
    most = float(maps.abs().max()) if most is None else most
    down, across = maps.shape[1] // 2, maps.shape[2] // 2
    rows = -(-len(maps) // 2)
    fig, axes = plt.subplots(rows, 2, figsize=(7, 3.1 * rows + 0.4), squeeze=False, sharex=True, sharey=True)
    fig.suptitle(title)
    for ax in axes.flat[len(maps) :]:
        ax.remove()
    for head, (ax, map_) in enumerate(zip(axes.flat, maps, strict=False), 1):
        shown = ax.imshow(
            to_array(map_),
            cmap="PuOr_r",
            vmin=-most,
            vmax=most,
            extent=(-across - 0.5, across + 0.5, down + 0.5, -down - 0.5),
        )
        ax.plot(0, 0, marker="+", color=INK, markersize=8)
        ax.set(title=f"head {head}", xticks=(-across, 0, across), yticks=(-down, 0, down))
    fig.supxlabel("columns away", size=12)
    fig.supylabel("rows away", size=12)
    end = int(most) or most
    fig.colorbar(shown, ax=list(axes.flat[: len(maps)]), shrink=0.75, label="added to the score", ticks=(-end, 0, end))
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
        names.append(f"{CORRECTED.get(row.model, row.model)}{side}{printed}{REMARKS.get(row.model, '')}")
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
