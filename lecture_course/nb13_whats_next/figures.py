"""The figures of notebook 13: clusters, rows of samples, a t-SNE map, and GAN and diffusion in the plane."""

import colorsys
import math
from collections.abc import Iterable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Ellipse, Rectangle
from numpy.typing import ArrayLike
from PIL import Image
from torch import Tensor

from lecture_course.nb13_whats_next import toy
from lecture_utils.figures.overlays import draw_image, to_pixels
from lecture_utils.figures.scores import MARKERS
from lecture_utils.figures.style import BLUE, CYCLE, INK, WIDTH, course_look, image_axes, to_array

Moments = tuple[ArrayLike, ArrayLike]  # a mean (2,) and a covariance (2, 2)
FORMS = MARKERS + "*Xph<>"  # so that a dozen clusters differ by more than their colour
RUST = "#B85C00"  # generated points, dark enough for the map behind them
CONTOUR = 2  # standard deviations
ENLARGED = 6  # pixels for each of a crop's, interpolated smoothly
SAYS = LinearSegmentedColormap.from_list("says", ["#F2B950", "#FFFFFF", "#7FB8DC"])  # generated, undecided, real


def enlarge(image: Tensor | np.ndarray, times: int = ENLARGED) -> UInt8[np.ndarray, "H W 3"]:
    """A crop, (3, h, w) or (h, w, 3) bytes, with so many times the pixels a side, bicubic."""
    pixels = to_pixels(image)
    size = pixels.shape[1] * times, pixels.shape[0] * times
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))


def stretch(rows: Float[Tensor, "n d"]) -> Float[Tensor, "n 3 h w"]:
    """Directions as images of equal contrast, grey where they are 0."""
    side = math.isqrt(rows.shape[1] // 3)
    return (2 * rows / rows.abs().amax(1, keepdim=True)).view(-1, 3, side, side)


@course_look
def in_rows(
    rows: Mapping[str, UInt8[Tensor, "n 3 h w"]],
    *,
    above: Sequence[str] = (),
    title: str = "",
    width: float = WIDTH,
) -> Figure:
    """Draw a row of images for each name, which stands to its left, enlarged smoothly; `above` are words over columns.

    Six or seven crops in a row are about a hundred pixels of the page wide each.
    """
    counts = {name: len(images) for name, images in rows.items()}
    columns = max(counts.values(), default=0)
    if not columns or min(counts.values()) < columns:
        raise ValueError(f"rows: got {counts} images, expected as many in each row, and at least one")
    if above and len(above) != columns:
        raise ValueError(f"above: got {len(above)} words, expected {columns}, one a column")
    h, w = (side * ENLARGED for side in next(iter(rows.values())).shape[-2:])
    gap = max(1, w // 16)
    sheet = np.full((len(rows), h + gap, columns, w + gap, 3), 255, np.uint8)
    for line, images in zip(sheet, rows.values(), strict=True):
        line[:h, :, :w] = np.stack([enlarge(image) for image in images], axis=1)
    sheet = sheet.reshape(len(rows) * (h + gap), columns * (w + gap), 3)[:-gap, :-gap]
    room = 0.3 + 0.1 * max(len(line) for name in rows for line in name.split("\n"))  # inches for the names
    height = (width - room) * sheet.shape[0] / sheet.shape[1] + 0.15 + (0.4 if title else 0) + (0.3 if above else 0)
    fig, ax = plt.subplots(figsize=(width, height))  # one image, because many axes take their time
    fig.suptitle(title)
    draw_image(ax, sheet)
    ax.set_yticks([row * (h + gap) + h / 2 for row in range(len(rows))], rows)
    ax.set_xticks([column * (w + gap) + w / 2 for column in range(len(above))], above)
    ax.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
    return fig


@course_look
def clouds(
    panels: Mapping[str, tuple[ArrayLike, ArrayLike, Sequence[Moments]]],
    *,
    xlabel: str,
    ylabel: str,
    names: Sequence[str] = (),
    title: str = "",
) -> Figure:
    """Draw points in the plane, coloured by cluster, a panel for each name; all panels on the same axes.

    A panel is (points (n, 2), clusters (n,) whole numbers, moments): of each cluster a mean and a covariance, drawn as
    a cross and as the ellipse at 2 standard deviations, or the cross alone where all covariances are 0. Inside the axes
    lie the ellipses, and all points but a hundredth. `names` are those of the clusters, for a legend.
    """
    fig, axes = plt.subplots(1, len(panels), figsize=(WIDTH, 4.2), squeeze=False, sharex=True, sharey=True)
    fig.suptitle(title)
    for ax, (name, (points, clusters, moments)) in zip(axes[0], panels.items(), strict=True):
        points, clusters = to_array(points), to_array(clusters)
        if points.shape != (len(clusters), 2):
            raise ValueError(f"panels[{name!r}]: got points {points.shape}, expected ({len(clusters)}, 2)")
        extent = {cluster: np.ptp(points[clusters == cluster], axis=0).prod() for cluster in np.unique(clusters)}
        for cluster in sorted(extent, key=extent.get, reverse=True):  # the small ones on top
            style = {"color": _colour(cluster), "marker": FORMS[cluster % len(FORMS)]}
            ax.scatter(*points[clusters == cluster].T, s=12, linewidths=0, **style)
        for cluster, (mean, covariance) in enumerate(moments):
            _contour(ax, to_array(mean), to_array(covariance), _colour(cluster))
        ax.set(title=name, xlabel=xlabel)
    low, high = _limits(panels.values())
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    axes[0, 0].set_ylabel(ylabel)
    if names:
        handles = [
            ax.scatter([], [], s=30, color=_colour(i), marker=FORMS[i], label=text) for i, text in enumerate(names)
        ]
        fig.legend(handles=handles, loc="outside lower center", ncols=len(names))
    return fig


def _limits(panels: Iterable[tuple[ArrayLike, ArrayLike, Sequence[Moments]]]) -> tuple[np.ndarray, np.ndarray]:
    """Where axes begin and end that hold all ellipses and all points but the outermost half percent of each side."""
    held = []
    for points, _, moments in panels:
        held += [*np.quantile(to_array(points), [0.005, 0.995], axis=0)]
        for mean, covariance in moments:
            reach = CONTOUR * np.sqrt(np.diag(to_array(covariance)).clip(0))
            held += [to_array(mean) - reach, to_array(mean) + reach]
    low, high = np.min(held, axis=0), np.max(held, axis=0)
    return low - 0.05 * (high - low), high + 0.05 * (high - low)


def _contour(ax: Axes, mean: np.ndarray, covariance: np.ndarray, colour: str) -> None:
    ax.plot(*mean, marker="P", color=colour, markeredgecolor="white", markersize=10, zorder=3)
    spread, axes = np.linalg.eigh(covariance)
    if spread.max() <= 0:
        return
    height, width = 2 * CONTOUR * np.sqrt(spread.clip(0))
    angle = np.degrees(np.arctan2(*axes[::-1, 1]))
    ax.add_patch(Ellipse(mean, width, height, angle=angle, fill=False, edgecolor=colour, linewidth=2.4))


def _colour(cluster: int) -> str:
    return CYCLE[cluster % len(CYCLE)]


@course_look
def segments(
    images: Mapping[str, ArrayLike], shares: Float[np.ndarray, "h w"], *, label: str, title: str = ""
) -> Figure:
    """Draw three images in two rows, and last a map of numbers from 0 to 1 with its colour bar, named by `label`."""
    fig, axes = image_axes(2, 2, aspect=1.0, width=WIDTH, title=title)
    for ax, (name, image) in zip(axes.flat, images.items(), strict=False):
        draw_image(ax, to_array(image))
        ax.set_title(name)
    shown = axes[1, 1].imshow(shares, cmap="viridis", vmin=0, vmax=1, interpolation="nearest")
    axes[1, 1].set_title(label)
    fig.colorbar(shown, ax=axes[1, 1], shrink=0.8)
    return fig


@course_look
def neighbour_map(
    points: Float[np.ndarray, "n 2"],
    crops: UInt8[Tensor, "n 3 h w"],
    names: Sequence[str],
    *,
    title: str = "",
    cells: tuple[int, int] = (14, 11),
) -> Figure:
    """Draw a t-SNE map of crops: the first one of each cell of a grid, in a frame of its kind's colour."""
    fig, ax = plt.subplots(figsize=(WIDTH, WIDTH * cells[1] / cells[0] + 0.7))
    fig.suptitle(title)
    points = (points - points.min(0)) / np.ptp(points, axis=0) * (np.array(cells) - 1e-6)  # of the map's whole width
    kinds, taken = list(dict.fromkeys(names)), set()
    for (x, y), crop, name in zip(points.astype(int), crops, names, strict=True):
        if (x, y) not in taken:
            taken.add((x, y))
            colour = CYCLE[kinds.index(name)]
            ax.imshow(enlarge(crop, 2), extent=(x + 0.06, x + 0.94, y + 0.06, y + 0.94), interpolation="bilinear")
            ax.add_patch(Rectangle((x + 0.06, y + 0.06), 0.88, 0.88, fill=False, edgecolor=colour, linewidth=2.5))
    ax.set(xlim=(0, cells[0]), ylim=(0, cells[1]), xticks=[], yticks=[], aspect="equal")
    ax.spines[:].set_visible(False)
    frames = [Rectangle((0, 0), 1, 1, fill=False, edgecolor=CYCLE[k], linewidth=2.5) for k in range(len(kinds))]
    fig.legend(frames, kinds, loc="outside lower center", ncols=len(kinds))
    return fig


@course_look
def fields(panels: Mapping[str, toy.Snapshot], *, title: str = "", true: int = 200) -> Figure:
    """Draw GANs in the plane, a panel each: the first seed's D(x) as a map, true samples and generated ones on it.

    Above each stands how many of the paints its samples cover, and which share of them lies on a paint.
    """
    fig, axes = plt.subplots(1, len(panels), figsize=(WIDTH, 4.9), squeeze=False)
    fig.suptitle(title)
    real, reach = toy.paints(true, seed=0), [-toy.EXTENT, toy.EXTENT] * 2
    for ax, (name, shot) in zip(axes[0], panels.items(), strict=True):
        shown = ax.imshow(
            to_array(shot.field), cmap=SAYS, vmin=0, vmax=1, origin="lower", extent=reach, interpolation="bilinear"
        )
        ax.scatter(*to_array(real).T, s=9, color=BLUE, linewidths=0, label="true")
        ax.scatter(*to_array(shot.samples[0][:250]).T, s=12, marker="^", color=RUST, linewidths=0, label="generated")
        _colour_circle(ax)
        found, near = int(toy.covered(shot.samples)[0]), toy.on_paints(shot.samples)[0].item()
        ax.set_title(f"{name}\n{found} of {toy.PAINTS} paints found, {near:.2f} of the points on one", fontsize=11)
    fig.colorbar(shown, ax=axes, shrink=0.8, label="D(x)")
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2, markerscale=2.5)
    return fig


@course_look
def denoising(
    net: toy.Denoiser, path: Sequence[tuple[int, Tensor]], stop: int, *, tail: int = 6, seed: int = 0
) -> Figure:
    """Draw the plane at a stop of `Denoiser.path`: arrows of the score times σ, and particles with their tails.

    Each particle has the hue of the paint that it is nearest to in the end.
    """
    fig, ax = plt.subplots(figsize=(6.0, 6.2))
    step, points = path[stop]
    grid = toy.plane(points.device, 13)[None].expand(net.seeds, -1, -1)
    _, noise = net.parts(grid, net.at(max(step, 0), grid))
    arrows = -to_array(noise[seed])
    ax.quiver(*to_array(grid[seed]).T, *arrows.T, color="#8FA8BC", angles="xy", scale_units="xy", scale=8, width=0.0035)
    history = np.stack([to_array(at[seed]) for _, at in path[max(0, stop - tail) : stop + 1]])
    ends = np.linalg.norm(to_array(path[-1][1][seed])[:, None] - to_array(toy.middles()), axis=2).argmin(1)
    for tail_of, end in zip(history.swapaxes(0, 1), ends, strict=True):
        ax.plot(*tail_of.T, color=_hue(end), lw=1.0, alpha=0.6)
    ax.scatter(*history[-1].T, s=36, marker="^", color=[_hue(end) for end in ends], ec=INK, linewidths=0.4, zorder=3)
    _colour_circle(ax)
    noise_left = 0.0 if step < 0 else net.scales(net.at(step, points))[1][0, 0, 0].item()
    ax.set_title(f"{noise_left:.2f} of the noise left" if step >= 0 else "samples, no noise left")
    return fig


def _colour_circle(ax: Axes) -> None:
    """A circle in the hue of each paint, three deviations around its middle, and bare axes of the plane."""
    for k, middle in enumerate(to_array(toy.middles())):
        ax.add_patch(Circle(middle, 3 * toy.DEVIATION, fill=False, edgecolor=_hue(k), linewidth=2.5, zorder=2))
    ax.set(xlim=(-toy.EXTENT, toy.EXTENT), ylim=(-toy.EXTENT, toy.EXTENT), xticks=[], yticks=[], aspect="equal")


def _hue(paint: int) -> tuple[float, float, float]:
    return colorsys.hsv_to_rgb(paint / toy.PAINTS, 0.75, 0.85)


@course_look
def predictions(
    errors: Mapping[str, Float[Tensor, "seeds steps"]],
    samples: Mapping[str, Float[Tensor, "n 2"]],
    *,
    title: str = "",
) -> Figure:
    """Draw the error of the predicted clean point over the step, a line for each seed, and samples of the first."""
    fig, axes = plt.subplots(1, 1 + len(samples), figsize=(WIDTH, 3.6), width_ratios=[1.25] + [1] * len(samples))
    fig.suptitle(title)
    for i, (name, lines) in enumerate(errors.items()):
        steps = np.arange(1, lines.shape[1] + 1)
        axes[0].plot(steps, to_array(lines).T, color=CYCLE[i], lw=1.4)
        axes[0].plot([], [], color=CYCLE[i], label=name)
    axes[0].set(yscale="log", xlabel="step", ylabel="error of the clean point (log)")
    axes[0].grid()
    axes[0].legend()
    for ax, (name, points) in zip(axes[1:], samples.items(), strict=True):
        ax.scatter(*to_array(points).T, s=6, color=RUST, linewidths=0)
        _colour_circle(ax)
        ax.set_title(name)
    return fig


def compare_targets(
    nets: Mapping[str, toy.Denoiser], *, count: int = 1000
) -> tuple[Figure, dict[str, Tensor], dict[str, Tensor]]:
    """The figure of `predictions` for networks of both targets, their errors at the last step, and their samples."""
    errors = {target: toy.clean_errors(net) for target, net in nets.items()}
    samples = {target: toy.sample(net, count) for target, net in nets.items()}
    shown = {f"by {target}": points[0][:500] for target, points in samples.items()}
    fig = predictions(errors, shown, title="What to predict: velocity or noise?")
    return fig, {target: lines[:, -1] for target, lines in errors.items()}, samples
