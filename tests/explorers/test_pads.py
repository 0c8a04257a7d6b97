"""Boxes on an image that a reader moves: what the pads refuse, and what they hold without a script."""

import base64
import io
import re

import numpy as np
import pytest
import torch
from PIL import Image

from lecture_utils.detection.anchors import base_anchors, grid_anchors
from lecture_utils.detection.boxes import box_iou, decode, encode, generalized_box_iou
from lecture_utils.explorers import (
    AnchorPad,
    AttentionPad,
    BoxPad,
    DeltaPad,
    Kind,
    Mark,
    Menu,
    Overlay,
    OverlayExplorer,
    Slider,
)
from lecture_utils.explorers.attention import edges
from lecture_utils.explorers.overlay import spots

IMAGE = torch.arange(3 * 60 * 80, dtype=torch.uint8).reshape(3, 60, 80)
BOXES = [[10, 10, 40, 30], [20, 20, 60, 50]]
SHAPE = (3, 4, 2)
WORDS = ["red", "<car>"]
MAPS = torch.rand(2, 3, 2, 3, 4, generator=torch.Generator().manual_seed(0)).flatten(3).softmax(-1).unflatten(3, (3, 4))
GRID = torch.eye(12).view(1, 1, 12, 3, 4)


def anchor_arguments(**changes):
    anchors = grid_anchors(base_anchors([16], [0.5, 2]), SHAPE[:2], 20).reshape(*SHAPE, 4)
    arguments = {
        "image": IMAGE,
        "anchors": anchors,
        "assigned": torch.full(SHAPE, -1),
        "objectness": torch.full(SHAPE, 0.25),
        "deltas": torch.zeros(*SHAPE, 4),
        "truth": torch.tensor([[10.0, 10, 40, 30]]),
    }
    return arguments | changes


def overlay_arguments(**changes):
    def draw(shift):
        return Overlay([Mark("box", [10 + shift, 10, 40, 30], "a & b"), Mark("box", BOXES[1])], f"moved by {shift}")

    arguments = {"image": IMAGE, "draw": draw, "kinds": {"box": Kind("#E69F00")}, "title": "Move", "alt": "An image."}
    return arguments | {"shift": Slider("shift", (0, 5), start=5)} | changes


def pads():
    boxes = [BoxPad(IMAGE, BOXES), DeltaPad(IMAGE, *BOXES), DeltaPad(IMAGE, BOXES[0]), AnchorPad(**anchor_arguments())]
    overlay = OverlayExplorer(**overlay_arguments())
    return [*boxes, overlay, AttentionPad(IMAGE, MAPS, words=WORDS, boxes=[BOXES[0], None]), AttentionPad(IMAGE, GRID)]


def html(pad):
    return pad._repr_mimebundle_()["text/html"]


def test_words_hold_the_values_of_the_package():
    a, b = torch.tensor(BOXES).float().split(1)
    assert repr(BoxPad(IMAGE, BOXES, title="Move & see")) == (
        "Move & see: ground truth (10, 10, 40, 30), yours (20, 20, 60, 50): intersection 200, union 1,600, IoU 0.125, "
        "GIoU −0.075"
    )
    assert (box_iou(a, b), generalized_box_iou(a, b)) == (0.125, -0.075)
    pad = DeltaPad(IMAGE, *BOXES)
    assert pad.answer == pytest.approx(encode(b, a)[0].tolist(), abs=1e-6)
    assert repr(pad).endswith(
        "deltas (0, 0, 0, 0) turn the proposal (10, 10, 40, 30) into (10, 10, 40, 30); IoU with the ground truth 0.125"
    )


def test_the_proposal_has_the_letter_of_the_text():
    assert "xₐ + wₐ" in html(DeltaPad(IMAGE, *BOXES))
    assert "xₚ + wₚ" in html(DeltaPad(IMAGE, *BOXES, letter="p"))
    with pytest.raises(ValueError, match="letter: got 'q', expected one of a, p"):
        DeltaPad(IMAGE, *BOXES, letter="q")


def test_the_anchor_shown_first_is_the_best_with_an_object():
    arguments = anchor_arguments(objectness=torch.rand(SHAPE), deltas=torch.randn(*SHAPE, 4) / 4)
    arguments["objectness"][2, 3, 0], arguments["assigned"][1, 2, 1] = 1.0, 0
    pad = AnchorPad(**arguments, names=["car"])
    assert pad.start == (1, 2, 1)
    box = decode(arguments["deltas"][1, 2, 1:], arguments["anchors"][1, 2, 1:])[0]
    assert pad.decoded == pytest.approx(box.tolist(), abs=1e-4)
    assert "row 1, column 2: anchor (34, 9, 46, 31), car 0, objectness " in repr(pad)
    assert AnchorPad(**arguments, start=(2, 3)).start == (2, 3, 0)


def test_an_image_without_objects_has_anchors_too():
    assert "background, objectness 0.25" in repr(AnchorPad(**anchor_arguments(truth=torch.zeros(0, 4))))


@pytest.mark.parametrize("pad", pads(), ids=lambda pad: type(pad).__name__)
def test_without_a_script_a_state_stands_and_nothing_is_loaded(pad):
    page, _, script = html(pad).partition("<script>")
    assert f'<div class="explorer-state">{repr(pad).removeprefix(pad.title + ": ")}</div>' in page
    assert '<div class="explorer-controls" style="display: none;' in page
    assert 'data-lm-suppress-shortcuts="true"' in page
    assert not re.search(r'https?:|(?:src|href)="(?!data:)|\bid=', page)
    assert not re.search(r"https?:|\b(KEY|DATA|LEAST|LARGEST|STEP|IGNORED|BLUE)\b", script)
    assert page.count("<rect ") >= 2


def test_an_image_keeps_its_shape_and_is_made_smaller_where_it_is_large():
    for given, size, width in ((IMAGE, (80, 60), 160), (np.zeros((1500, 3000, 3), np.uint8), (1120, 560), 560)):
        page = html(BoxPad(given, BOXES))
        found = re.search(r'<img src="data:image/webp;base64,([^"]+)" alt="An image[^>]*?width: (\d+)px', page)
        assert Image.open(io.BytesIO(base64.b64decode(found[1]))).size == size
        assert int(found[2]) == width
    assert 'viewBox="0 0 40 30"' in html(DeltaPad(IMAGE, [1, 2, 3, 4], size=(30, 40)))


def test_the_map_shown_first_is_told_and_painted():
    """The mean of the heads, where the last head is passed."""
    pad = AttentionPad(IMAGE, MAPS, words=WORDS, start=(1, 3, 1))
    assert np.allclose(pad.shown, MAPS[1, :, 1].mean(0))
    at = int(MAPS[1, :, 1].mean(0).argmax())
    highest = MAPS[1, :, 1].mean(0).max()
    assert repr(pad).endswith(
        f"“<car>”, layer 2, mean of the heads: highest weight {highest:.3f} at row {at // 4}, column {at % 4}"
    )
    assert "&lt;car&gt;" in html(pad)
    assert 'aria-label="word"' in html(pad)
    assert 'aria-label="object query"' in html(AttentionPad(IMAGE, MAPS, words=WORDS, asks="object query"))
    pad = AttentionPad(IMAGE, GRID, start=(0, 0, 7))
    assert repr(pad).endswith("row 1, column 3, layer 1, head 1: highest weight 1.000 at row 1, column 3")
    around = "M60 20H80M60 40H80M60 20V40M80 20V40"  # the one cell that has all of the weight, row 1, column 3
    assert html(pad).count(f'd="{around}"') == 4  # two levels, each with a halo
    assert html(pad).count('d="M70 30h0"') == 2


def test_lines_enclose_the_cells_of_a_level():
    """Two that touch share no line; what the level leaves out has none."""
    map_ = np.array([[0.5, 0.3, 0.1], [0, 0, 0.1]])
    assert edges(map_, 0.3, (20, 30)) == "M0 0H10M0 10H10M0 0V10M10 0H20M10 10H20M20 0V10"
    assert edges(map_, 0.6, (20, 30)) == ""


def test_maps_are_kept_in_steps_of_their_own_highest_weight():
    held = re.search(r'"maps":"([^"]+)","most":\[([^]]+)\]', html(AttentionPad(IMAGE, MAPS, words=WORDS)))
    kept = np.frombuffer(base64.b64decode(held[1]), np.uint8).reshape(MAPS.shape) / 255
    most = np.array([float(one) for one in held[2].split(",")]).reshape(2, 3, 2, 1, 1)
    assert np.abs(kept * most - MAPS.numpy()).max() < 0.0025 * MAPS.max()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"maps": MAPS[0]}, r"maps: got shape \(3, 2, 3, 4\), expected \(layers, heads, queries, h, w\)"),
        ({"maps": -MAPS}, "maps: got 144 numbers, expected 1 to 400,000, no weight below 0"),
        ({"maps": MAPS.repeat(1, 3000, 1, 1, 1)}, "maps: got 432,000 numbers"),
        ({"words": None}, "maps: got 2 queries without words, expected 12, one for each point"),
        ({"words": ["red"]}, "words: got .* expected 2, one for each query"),
        ({"words": ["red", " "]}, "words: got an empty text"),
        ({"boxes": [None]}, "boxes: got 1, expected 2"),
        ({"boxes": [None, [3, 3, 3, 3]]}, "boxes: got one without an area"),
        ({"start": (0, 4, 0)}, r"start: got \(0, 4, 0\), expected \(layer, head, query\) from 0, below \(2, 4, 2\)"),
    ],
)
def test_bad_maps_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        AttentionPad(**({"image": IMAGE, "maps": MAPS, "words": WORDS} | changes))


def test_anchors_take_little_room():
    shape = (32, 32, 9)
    anchors = grid_anchors(base_anchors((32, 64, 128), (0.5, 1, 2)), shape[:2], 16).reshape(*shape, 4)
    given = {"assigned": torch.zeros(shape).long(), "objectness": torch.rand(shape), "deltas": torch.randn(*shape, 4)}
    assert len(html(AnchorPad(**anchor_arguments(anchors=anchors, **given)))) < 210_000  # without a large image


@pytest.mark.parametrize(
    "make", [lambda **a: BoxPad(**({"boxes": BOXES} | a)), lambda **a: DeltaPad(proposal=BOXES[0], **a)]
)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image": IMAGE.float()}, r"image: got \(3, 60, 80\) float32, expected a tensor \(3, h, w\) or an array"),
        ({"image": IMAGE[0]}, r"image: got \(60, 80\) uint8"),
        ({"size": (0, 80)}, r"size: got \(0, 80\), expected \(height, width\), both above 0"),
        ({"title": " "}, "title: got an empty text"),
        ({"alt": ""}, "alt: got an empty text"),
    ],
)
def test_bad_images_are_refused(make, arguments, message):
    with pytest.raises(ValueError, match=message):
        make(**({"image": IMAGE} | arguments))


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        (BOXES[:1], r"boxes: got shape \(1, 4\), expected \(2, 4\)"),
        ([["a"] * 4] * 2, "boxes: got .* expected numbers"),
        ([[0, 0, 5, 5], [5, 5, 5, 9]], "boxes: got one without an area"),
        ([[0, 0, 5, 5], [5, 5, float("nan"), 9]], "boxes: got nan or infinity"),
        ([[0, 0, 5, 5], [5, 5, 81, 9]], r"boxes: got \(5, 5, 81, 9\), expected sides of at least 1 inside 80 × 60"),
        ([[0, 0, 5, 5], [5, 5, 5.5, 9]], r"boxes: got \(5, 5, 5.5, 9\), expected sides of at least 1"),
    ],
)
def test_bad_boxes_are_refused(boxes, message):
    with pytest.raises(ValueError, match=message):
        BoxPad(IMAGE, boxes)


def test_bad_names_and_truths_are_refused():
    with pytest.raises(ValueError, match="names: got 'ab', expected two, one a box"):
        BoxPad(IMAGE, BOXES, "ab")
    with pytest.raises(ValueError, match=r"proposal: got shape \(2, 4\), expected \(4,\)"):
        DeltaPad(IMAGE, BOXES)
    with pytest.raises(ValueError, match=r"truth: got deltas \(.*\) from the proposal, expected each from −1 to 1"):
        DeltaPad(IMAGE, [0, 0, 5, 5], [10, 0, 15, 5])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"anchors": torch.zeros(3, 4, 4)}, r"anchors: got shape \(3, 4, 4\), expected \(h, w, K, 4\)"),
        ({"anchors": torch.rand(*SHAPE, 2).sort(-1)[0].repeat_interleave(2, -1)[..., [0, 1, 2, 3]]}, "anchors: got"),
        ({"anchors": torch.tensor([0.0, 0, 1, 1]).expand(60, 70, 9, 4)}, "anchors: got 37,800, expected 1 to 25,000"),
        ({"assigned": torch.zeros(SHAPE)}, "assigned: got shape .* float32, expected whole numbers"),
        ({"assigned": torch.zeros(3, 4).long()}, r"assigned: got shape \(3, 4\) int64"),
        ({"assigned": torch.ones(SHAPE).long()}, "assigned: got 1 to 1, expected indices of 1 objects"),
        ({"objectness": torch.full(SHAPE, 2.0)}, "objectness: got 2 to 2, expected probabilities"),
        ({"deltas": torch.zeros(SHAPE)}, r"deltas: got shape \(3, 4, 2\), expected \(3, 4, 2, 4\)"),
        ({"names": ["car", "person"]}, "names: got .* expected 1, one an object"),
        ({"start": (3, 0)}, r"start: got \(3, 0\), expected a cell \(row, column\) of 3 × 4"),
    ],
)
def test_bad_anchors_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        AnchorPad(**anchor_arguments(**changes))


def test_anchors_of_one_shape_at_one_point_and_another_at_the_next_are_refused():
    arguments = anchor_arguments()
    arguments["anchors"][1, 1, 0, 2] += 1
    with pytest.raises(ValueError, match="anchors: got different shapes at different points"):
        AnchorPad(**arguments)


def test_an_overlay_stands_at_the_start_without_a_script():
    pad = OverlayExplorer(**overlay_arguments())
    assert repr(pad) == "Move: shift 5: moved by 5"
    before_script, script = html(pad).split("<script>")
    assert 'x="15" y="10" width="25" height="20"' in before_script
    assert "a &amp; b" in before_script
    assert "moved by 0" in script
    narrow = OverlayExplorer(**overlay_arguments(shown=50))
    assert narrow.stage.frame.width == 50 < pad.stage.frame.width
    assert narrow.stage.size == pad.stage.size
    menu = html(OverlayExplorer(**overlay_arguments(shift=Menu("shift", (0, 5), start=5)))).split("<script>")[0]
    assert '<option value="1" selected>5</option>' in menu
    assert 'type="range"' not in menu


def test_words_at_boxes_keep_their_distance_and_stay_inside():
    boxes = [[0, 0, 40, 30]] * 6 + [[60, 40, 80, 60]]
    points = spots(boxes, (60, 80))
    for k, (x, y) in enumerate(points):
        assert 0 < x < 80
        assert 0 < y < 60
        assert min([np.hypot(x - a, y - b) for a, b in points[:k]], default=8) >= 7


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shift": 3}, "sliders: got"),
        ({"play": "step"}, "play: got 'step', expected the name of a slider: shift"),
        ({"shift": Slider("shift", range(501))}, "sliders: got 501 places, expected at most 500"),
        ({"kinds": {"other": Kind("#E69F00")}}, "draw: got a box or row of kind 'box', expected one of other"),
        ({"draw": lambda shift: Overlay([Mark("box", [5, 5, 5, 9])], "flat")}, "draw: got one without an area"),
        ({"draw": lambda shift: Overlay([], " ")}, "said: got an empty text"),
    ],
)
def test_bad_overlays_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        OverlayExplorer(**overlay_arguments(**changes))
