"""Boxes where they belong, in colours that show, their words inside the image and apart."""

import itertools

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.patches import FancyArrowPatch, Rectangle

from lecture_utils.figures import (
    class_colour,
    corrected,
    draw_boxes,
    draw_detections,
    draw_image,
    fade,
    image_axes,
    to_pixels,
)
from lecture_utils.figures.boxes import CLASS_COLOURS, FEW, zoom
from lecture_utils.figures.style import ORANGE, SKY

from .test_grids import contrast

NAMES = ("background", "person", "car", "traffic sign", "traffic light")


def scene(height=60, width=80, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (3, height, width), dtype=np.uint8))


def random_boxes(number, height=60, width=80, seed=0):
    dice = np.random.default_rng(seed)
    low = dice.uniform(0, 0.9, (number, 2)) * (width, height)
    return torch.tensor(np.concatenate([low, np.minimum(low + dice.uniform(4, 40, (number, 2)), (width, height))], 1))


def axes_with(image, width=4.0):
    fig, axes = image_axes(1, 1, width=width, aspect=image.shape[2] / image.shape[1])
    draw_image(axes[0, 0], to_pixels(image))
    return fig, axes[0, 0]


def outlines(ax):
    return [patch for patch in ax.patches if isinstance(patch, Rectangle) and not patch.get_fill()]


def corners(ax):
    """(x0, y0, x1, y1) of each outline, in pixels of the image."""
    return np.array([patch.get_bbox().extents for patch in outlines(ax)]).reshape(-1, 4) + 0.5


def words(ax):
    return [text.get_text() for text in ax.texts]


def legend_of(fig):
    return [text.get_text() for legend in fig.legends for text in legend.get_texts()]


def found(number, seed=0, **more):
    labels = torch.arange(number) % 4 + 1
    return {"boxes": random_boxes(number, seed=seed), "labels": labels, "scores": torch.linspace(0, 1, number), **more}


def test_a_box_covers_its_pixels():
    """A box from 3 to 5 covers the pixels 3 and 4, which imshow draws from 2.5 to 4.5."""
    _, ax = axes_with(scene())
    draw_boxes(ax, [[3, 10, 5, 12]])
    (outline,) = outlines(ax)
    assert outline.get_bbox().extents.tolist() == [2.5, 9.5, 4.5, 11.5]


@pytest.mark.parametrize("kind", [torch.tensor, np.array, list])
def test_boxes_in_order_in_their_colours(kind):
    boxes = [[1.0, 2, 11, 22], [5, 6, 7, 8]]
    _, ax = axes_with(scene())
    draw_boxes(ax, kind(boxes), colours=["red", "blue"], dashed=True)
    np.testing.assert_allclose(corners(ax), boxes)
    assert [to_hex(outline.get_edgecolor()) for outline in outlines(ax)] == ["#ff0000", "#0000ff"]
    assert {outline.get_linestyle() for outline in outlines(ax)} == {"--"}


def test_one_colour_may_serve_all():
    for colour in ("red", (1.0, 0.0, 0.0)):
        _, ax = axes_with(scene())
        draw_boxes(ax, random_boxes(4), colours=colour)
        assert {to_hex(outline.get_edgecolor()) for outline in outlines(ax)} == {"#ff0000"}


@pytest.mark.parametrize("ground", ["#000000", "#10153a", "#808080", "#c8d0d4", "#ffffff"])
@pytest.mark.parametrize("colour", [*CLASS_COLOURS, class_colour(0)])
def test_line_or_halo_shows_on_every_ground(colour, ground):
    _, ax = axes_with(scene())
    draw_boxes(ax, random_boxes(1), colours=colour)
    (halo,) = outlines(ax)[0].get_path_effects()
    assert max(contrast(colour, ground), contrast(halo._gc["foreground"], ground)) >= 2.9
    assert halo._gc["linewidth"] > 1.5 * outlines(ax)[0].get_linewidth()


def test_classes_have_colours_of_their_own():
    assert len({class_colour(label) for label in range(8)}) == 8
    assert class_colour(1) == class_colour(8)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("width", [3.0, 5.0])
def test_words_stay_in_the_picture_and_in_their_frames(seed, width):
    fig, ax = axes_with(scene(), width)
    boxes = torch.cat([random_boxes(4, seed=seed), torch.tensor([[0.0, 0, 5, 5], [75, 55, 80, 60], [0, 0, 80, 60]])])
    draw_boxes(ax, boxes, names=["person", "car", "traffic sign", "traffic light", "a", "traffic sign", "car"])
    fig.canvas.draw()
    frames = [patch for patch in ax.patches if isinstance(patch, Rectangle) and patch.get_fill()]
    room = ax.get_window_extent()
    for frame, text in zip(frames, ax.texts, strict=True):
        needed, given = text.get_window_extent(), frame.get_window_extent()
        assert room.x0 - 1 <= given.x0 <= needed.x0 < needed.x1 <= given.x1 <= room.x1 + 1
        assert room.y0 - 1 <= given.y0 <= needed.y0 < needed.y1 <= given.y1 <= room.y1 + 1


@pytest.mark.parametrize("seed", range(12))
def test_words_keep_apart_where_there_is_room(seed):
    fig, ax = axes_with(scene(), 5.0)
    draw_boxes(ax, random_boxes(5, seed=seed), names=["car"] * 5, scores=torch.linspace(0, 1, 5))
    fig.canvas.draw()
    for one, other in itertools.combinations(ax.texts, 2):
        assert not one.get_window_extent().overlaps(other.get_window_extent())


def test_words_are_names_scores_or_both():
    boxes = random_boxes(2)
    for more, expected in (
        ({"names": ["car", "person"]}, ["car", "person"]),
        ({"scores": torch.tensor([0.876, 1])}, ["0.88", "1.00"]),
        ({"names": ["car", "person"], "scores": [0.5, 0.25]}, ["car 0.50", "person 0.25"]),
    ):
        _, ax = axes_with(scene())
        draw_boxes(ax, boxes, **more)
        assert words(ax) == expected


def test_no_boxes_leave_the_picture_as_it_is():
    _, ax = axes_with(scene())
    draw_boxes(ax, torch.zeros(0, 4), names=[], scores=[], colours=[])
    assert not ax.patches
    assert not ax.texts


# Panels


@pytest.mark.slide("20")
def test_a_panel_for_each_name_with_its_boxes():
    image = scene()
    panels = {"truth": {"boxes": random_boxes(2)}, "found": found(3, seed=1)}
    fig = draw_detections(image, panels, names=NAMES, title="Both")
    assert [ax.get_title() for ax in fig.axes] == ["truth", "found"]
    for ax, one in zip(fig.axes, panels.values(), strict=True):
        np.testing.assert_allclose(corners(ax), one["boxes"])
        np.testing.assert_array_equal(ax.images[0].get_array(), image.permute(1, 2, 0))
    assert words(fig.axes[1]) == ["person 0.00", "car 0.50", "traffic sign 1.00"]
    assert [to_hex(line.get_edgecolor()) for line in outlines(fig.axes[1])] == [
        to_hex(class_colour(i)) for i in (1, 2, 3)
    ]
    assert not legend_of(fig)


def test_a_row_for_each_picture():
    images = [scene(seed=i) for i in range(3)]
    truth, ours = [found(2, seed=i) for i in range(3)], [found(3, seed=10 + i) for i in range(3)]
    fig = draw_detections(images, {"truth": truth, "ours": ours}, names=NAMES)
    assert [ax.get_title() for ax in fig.axes] == ["truth", "ours", *[""] * 4]
    for row in range(3):
        for ax, one in zip(fig.axes[2 * row : 2 * row + 2], (truth[row], ours[row]), strict=True):
            np.testing.assert_allclose(corners(ax), one["boxes"])
            np.testing.assert_array_equal(ax.images[0].get_array(), images[row].permute(1, 2, 0))


def test_the_threshold_leaves_out_what_scores_less():
    one = found(5)
    fig = draw_detections(scene(), {"found": one, "truth": {"boxes": one["boxes"]}}, names=NAMES, threshold=0.5)
    np.testing.assert_allclose(corners(fig.axes[0]), one["boxes"][2:])
    assert len(corners(fig.axes[1])) == 5


def test_narrow_panels_get_scores_and_a_legend():
    panels = {name: found(3) for name in "abcd"}
    fig = draw_detections(scene(), panels, names=NAMES)
    assert legend_of(fig) == ["person", "car", "traffic sign"]
    assert words(fig.axes[0]) == ["0.00", "0.50", "1.00"]


def test_all_panels_have_lines_of_one_width():
    fig = draw_detections(scene(), {name: found(3) for name in "abcd"}, names=NAMES, title="Four")
    assert len({round(line.get_linewidth(), 2) for ax in fig.axes for line in outlines(ax)}) == 1


def test_many_boxes_get_a_legend_and_thin_lines():
    few, many = found(FEW), found(300)
    one, other = (
        draw_detections(scene(), {"few": few}, names=NAMES),
        draw_detections(scene(), {"many": many}, names=NAMES),
    )
    assert not words(other.axes[0])
    assert legend_of(other) == list(NAMES[1:])
    lines = [outlines(fig.axes[0])[0].get_linewidth() for fig in (one, other)]
    assert lines[1] < 0.6 * lines[0]


def test_what_has_no_class_has_no_class_colour():
    fig = draw_detections(scene(), {"proposals": {"boxes": random_boxes(3)}, "found": found(8)}, names=NAMES)
    (colour,) = {to_hex(line.get_edgecolor()) for line in outlines(fig.axes[0])}
    assert colour not in {to_hex(class_colour(label)) for label in range(1, 5)}


def test_nothing_found_is_a_picture():
    nothing = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64), "scores": torch.zeros(0)}
    fig = draw_detections(scene(), {"found": nothing}, names=NAMES)
    assert len(fig.axes[0].images) == 1
    assert not outlines(fig.axes[0])


# Corrections and anchors


@pytest.mark.slide("18")
def test_corrections_lead_from_centre_to_centre():
    before, after = random_boxes(3), random_boxes(3, seed=1)
    (ax,) = corrected(scene(), before, after).axes
    np.testing.assert_allclose(corners(ax), torch.cat([before, after]))
    assert [line.get_linestyle() for line in outlines(ax)] == ["--"] * 3 + ["-"] * 3
    arrows = [patch for patch in ax.patches if isinstance(patch, FancyArrowPatch)]
    for arrow, start, end in zip(arrows, before.numpy(), after.numpy(), strict=True):
        centres = [(box[:2] + box[2:]) / 2 - 0.5 for box in (start, end)]
        np.testing.assert_allclose(arrow._posA_posB, centres)


def test_corrections_and_the_truth_are_named():
    fig = corrected(scene(), random_boxes(2), random_boxes(2), truth=random_boxes(3), names=("anchor", "proposal"))
    assert legend_of(fig) == ["truth", "anchor", "proposal"]
    assert [to_hex(line.get_edgecolor()) for line in outlines(fig.axes[0])] == [
        *["#ffffff"] * 3, *[SKY.lower()] * 2, *[ORANGE.lower()] * 2,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda ax: draw_boxes(ax, [1, 2, 3, 4]), r"boxes: got shape \(4,\), expected \(n, 4\)"),
        (lambda ax: draw_boxes(ax, random_boxes(2), names=["car"]), "names: got 1, expected 2"),
        (lambda ax: draw_boxes(ax, random_boxes(2), scores=[1, 2, 3]), "scores: got 3, expected 2"),
        (lambda ax: draw_boxes(ax, random_boxes(2), colours=["red"]), "colours: got 1, expected 2"),
        (lambda ax: draw_detections(scene(), {}), "found: got {}"),
        (lambda ax: draw_detections([scene()] * 2, {"a": [found(1)]}), "found: got {'a': 1} for 2 images"),
        (lambda ax: corrected(scene(), random_boxes(2), random_boxes(1)), r"after: got shape \(1, 4\)"),
    ],
)
def test_bad_input_is_refused_in_words(call, message):
    _, ax = axes_with(scene())
    with pytest.raises((ValueError, TypeError), match=f"{message}|jaxtyping"):
        call(ax)


def test_a_box_with_an_empty_name_stays_without_one():
    _, axes = image_axes(1, 1)
    ax = axes[0, 0]
    draw_image(ax, np.zeros((40, 60, 3), np.uint8))
    draw_boxes(ax, [[2, 2, 20, 30], [30, 5, 55, 30]], names=["", "car"])
    assert [text.get_text() for text in ax.texts] == ["car"]


def test_pale_is_light_and_keeps_the_order_of_brightness():
    image = torch.cat([torch.zeros(3, 30, 22), torch.full((3, 30, 22), 255)], dim=2).to(torch.uint8)
    picture = fade(image)
    assert picture.shape == (30, 44, 3)
    assert picture.dtype == np.uint8
    assert picture.min() >= 85
    assert picture[:, 30:].min() > picture[:, :10].max()
    assert (fade(image.permute(1, 2, 0).numpy()) == picture).all()


@pytest.mark.parametrize(
    ("box", "aspect", "expected"),
    [
        ((40, 50, 60, 80), 1.0, (29, 44, 71, 86)),  # square around a tall box, six pixels away
        ((20, 50, 80, 60), 1.5, (14, 31, 86, 79)),  # 72 wide, and as high as the aspect asks
        ((0, 100, 10, 128), 1.0, (0, 88, 40, 128)),  # in a corner: as large, but not beyond the image
        ((0, 0, 128, 128), 1.0, (0, 0, 128, 128)),
    ],
)
def test_a_zoom_holds_the_boxes_and_stays_on_the_image(box, aspect, expected):
    _, ax = plt.subplots()
    zoom(ax, torch.tensor([box], dtype=torch.float32), size=(128, 128), margin=6, aspect=aspect)
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    assert np.add((left, top, right, bottom), 0.5) == pytest.approx(expected)
    plt.close()
