"""What the images of region proposals show, read off their artists."""

import numpy as np
import pytest
import torch
import torchvision
from matplotlib.colors import to_rgba
from matplotlib.patches import Rectangle

from lecture_course.nb07_region_proposal_network.figures import nms_steps, objectness_maps
from lecture_utils.figures import seconds_per_image
from lecture_utils.figures.style import BLUE, FAINT, ORANGE, VERMILION

IMAGE = torch.randint(0, 256, (3, 30, 44), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


@pytest.fixture(autouse=True)
def close_figures():
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


def outlines(ax, colour):
    """The boxes drawn in this colour, (n, 4), in pixels of the image."""
    found = [p for p in ax.patches if isinstance(p, Rectangle) and p.get_edgecolor() == to_rgba(colour)]
    corners = [(p.get_x(), p.get_y(), p.get_x() + p.get_width(), p.get_y() + p.get_height()) for p in found]
    return torch.tensor(corners, dtype=torch.float32).reshape(-1, 4) + 0.5


@pytest.mark.slide("21")
def test_a_cell_of_objectness_lies_around_its_point():
    maps = {name: torch.rand(5, 6) for name in ("wide", "tall", "square", "another")}
    fig = objectness_maps(np.zeros((40, 48, 3), np.uint8), maps, columns=3)
    *shown, bar = [ax for ax in fig.axes if ax.get_visible()]
    assert bar.get_ylabel() == "objectness"
    assert [ax.get_title() for ax in shown] == list(maps)
    for ax, values in zip(shown, maps.values(), strict=True):
        heat = ax.images[1]
        assert np.allclose(heat.get_array(), values)
        left, right, bottom, top = heat.get_extent()
        assert (right - left, bottom - top) == (48, 40)
        # The middle of the first cell is the point at the corner of the image, which lies at −½ for imshow.
        assert left + (right - left) / 12 == top + (bottom - top) / 10 == -0.5
        assert ax.get_xlim() == (-0.5, 47.5)


@pytest.mark.slide("22")
def test_the_steps_are_those_of_suppression():
    torch.manual_seed(0)
    low = torch.rand(25, 2) * 20
    boxes, scores = torch.cat([low, low + 5 + torch.rand(25, 2) * 15], 1), torch.rand(25)
    kept = torchvision.ops.nms(boxes, scores, 0.4)
    fig = nms_steps(IMAGE, boxes, scores, 0.4, steps=5, columns=3)
    shown = [ax for ax in fig.axes if ax.get_visible()]
    assert len(shown) == 5
    for step, ax in enumerate(shown):
        torch.testing.assert_close(outlines(ax, ORANGE), boxes[kept[step : step + 1]])
        torch.testing.assert_close(outlines(ax, BLUE), boxes[kept[:step]])
        gone = outlines(ax, VERMILION)
        assert (torchvision.ops.box_iou(boxes[kept[step : step + 1]], gone) > 0.4).all()
        before = len(outlines(shown[step - 1], FAINT)) if step else 25
        assert len(outlines(ax, FAINT)) + len(gone) + 1 == before
        assert ax.get_title().startswith(f"{step + 1}. drops {len(gone) or 'none'}")


def test_suppression_ends_when_no_box_is_left():
    boxes = torch.tensor([[0.0, 0, 10, 10], [20, 2, 30, 9]])
    fig = nms_steps(IMAGE, boxes, torch.tensor([0.2, 0.9]), 0.5)
    assert len([ax for ax in fig.axes if ax.get_visible()]) == 2


@pytest.mark.slide("23")
def test_bars_are_as_long_as_their_parts_together():
    panels = {"here": {"one": (2.0, 1.5), "two": (0.0, 0.25)}, "there": {"one": (1.0, 9.0)}}
    fig = seconds_per_image(panels, ("proposals", "network"))
    for ax, systems in zip(fig.axes, panels.values(), strict=True):
        assert [label.get_text() for label in ax.get_yticklabels()] == list(systems)
        ends = [bar.get_x() + bar.get_width() for bar in ax.containers[1]]
        assert ends == pytest.approx([sum(parts) for parts in systems.values()])
        assert [text.get_text().strip() for text in ax.texts] == [f"{end:.2g} s" for end in ends]
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["proposals", "network"]


def test_suppression_of_nothing_is_refused():
    with pytest.raises(ValueError, match="boxes: got none"):
        nms_steps(IMAGE, torch.zeros(0, 4), torch.zeros(0), 0.5)
