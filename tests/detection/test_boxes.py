"""Box arithmetic beside torchvision on hundreds of random inputs, decode∘encode, and NMS with all that is equal."""

# Where the tests run with jaxtyping's checks on, its TypeError comes before the functions' own ValueError.

import random
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision import ops
from torchvision.models.detection._utils import BoxCoder

from lecture_utils.detection.boxes import (
    LARGEST_LOG,
    box_area,
    box_iou,
    clip_boxes_to_image,
    cxcywh_to_xyxy,
    decode,
    encode,
    generalized_box_iou,
    nms,
    remove_small_boxes,
    xyxy_to_cxcywh,
)

CONFIGURATIONS = 200
WEIGHTS = ((1.0, 1.0, 1.0, 1.0), (10.0, 10.0, 5.0, 5.0))


def random_boxes(dice, number, *, whole=False):
    """Boxes of random place and shape on an image of random size, also beyond it; `whole` ones touch often."""
    generator = torch.Generator().manual_seed(dice.randrange(2**31))
    extent = torch.tensor([dice.uniform(5, 300), dice.uniform(5, 300)])
    low = (torch.rand(number, 2, generator=generator) * 1.4 - 0.2) * extent
    size = torch.rand(number, 2, generator=generator) * extent * dice.choice([0.1, 0.5, 1])
    if whole:
        low, size = (low / extent * 9).round(), (size / extent * 5).ceil()
    return torch.cat([low, low + size.clamp(min=0.01)], 1)


def two_sets(seed):
    """Two sets of boxes; every tenth one is empty, every third on whole numbers."""
    dice = random.Random(seed)
    counts = [0 if (seed + i) % 10 == 0 else dice.randint(1, 20) for i in range(2)]
    return [random_boxes(dice, count, whole=seed % 3 == 0) for count in counts]


def equal(ours, expected):
    torch.testing.assert_close(ours, expected, rtol=0, atol=0)


# Formats and overlap


@pytest.mark.parametrize("seed", range(CONFIGURATIONS))
def test_formats_are_torchvisions(seed):
    boxes, _ = two_sets(seed)
    centre = xyxy_to_cxcywh(boxes)
    torch.testing.assert_close(centre, ops.box_convert(boxes, "xyxy", "cxcywh"))
    torch.testing.assert_close(cxcywh_to_xyxy(centre), ops.box_convert(centre, "cxcywh", "xyxy"))
    torch.testing.assert_close(cxcywh_to_xyxy(centre), boxes, rtol=1e-5, atol=1e-4)
    equal(box_area(boxes), ops.box_area(boxes))


@pytest.mark.parametrize("seed", range(CONFIGURATIONS))
def test_iou_and_giou_are_torchvisions(seed):
    a, b = two_sets(seed)
    equal(box_iou(a, b), ops.box_iou(a, b))
    torch.testing.assert_close(generalized_box_iou(a, b), ops.generalized_box_iou(a, b))


@pytest.mark.parametrize("seed", range(0, CONFIGURATIONS, 10))
def test_iou_is_the_share_of_pixels(seed):
    """Whole-numbered boxes drawn as masks: counted, not computed."""
    dice = random.Random(seed)
    a, b = (random_boxes(dice, 6, whole=True).long() + 4 for _ in range(2))
    for (i, one), (j, other) in ((p, q) for p in enumerate(a.tolist()) for q in enumerate(b.tolist())):
        masks = torch.zeros(2, 30, 30, dtype=torch.bool)
        for mask, (x0, y0, x1, y1) in zip(masks, (one, other), strict=True):
            mask[y0:y1, x0:x1] = True
        expected = (masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum()
        assert box_iou(a.float(), b.float())[i, j] == pytest.approx(expected.item())


def test_giou_still_tells_how_far_apart():
    box = torch.tensor([[0.0, 0, 1, 1]])
    others = torch.tensor([[0.0, 0, 1, 1], [1, 0, 2, 1], [3, 0, 4, 1], [9, 0, 10, 1]])
    assert box_iou(box, others).tolist() == [[1, 0, 0, 0]]
    torch.testing.assert_close(generalized_box_iou(box, others), torch.tensor([[1.0, 0, -0.5, -0.8]]))


def test_boxes_without_area_overlap_nothing():
    flat = torch.tensor([[3.0, 3, 3, 3], [0, 2, 9, 2]])
    real = torch.tensor([[0.0, 0, 9, 9]])
    assert box_iou(flat, torch.cat([flat, real])).tolist() == [[0, 0, 0]] * 2
    assert generalized_box_iou(flat[:1], flat[:1]).tolist() == [[0]]
    assert not generalized_box_iou(flat, torch.cat([flat, real])).isnan().any()


@pytest.mark.parametrize("seed", range(0, CONFIGURATIONS, 4))
def test_clip_boxes_to_image_and_remove_small_boxes_are_torchvisions(seed):
    dice = random.Random(seed)
    boxes, _ = two_sets(seed)
    height, width, side = dice.uniform(1, 200), dice.uniform(1, 200), dice.uniform(0, 40)
    clipped = clip_boxes_to_image(boxes, (height, width))
    equal(clipped, ops.clip_boxes_to_image(boxes, (height, width)))
    equal(remove_small_boxes(clipped, side), ops.remove_small_boxes(clipped, side))


# Corrections


@pytest.mark.slide("18")
@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("seed", range(CONFIGURATIONS))
def test_corrections_are_torchvisions(seed, weights):
    dice = random.Random(seed)
    number = 0 if seed % 10 == 0 else dice.randint(1, 20)
    boxes, anchors = random_boxes(dice, number).double(), random_boxes(dice, number).double()
    coder = BoxCoder(weights)
    torch.testing.assert_close(encode(boxes, anchors, weights), coder.encode_single(boxes, anchors))
    deltas = 4 * weights[2] * torch.randn(number, 4, generator=torch.Generator().manual_seed(seed)).double()
    # A seventh of the growths are beyond the limit.
    torch.testing.assert_close(decode(deltas, anchors, weights), coder.decode_single(deltas, anchors))


@pytest.mark.slide("18")
def test_the_correction_of_the_example():
    box, anchor = torch.tensor([[5.0, 5, 25, 25]]), torch.tensor([[0.0, 0, 10, 20]])
    torch.testing.assert_close(encode(box, anchor), torch.tensor([[1, 0.25, 0.693147, 0]]))
    torch.testing.assert_close(decode(torch.tensor([[1, 0.25, 0.693147, 0]]), anchor), box)


def sides(least, most):
    return st.floats(least, most, width=32)


boxes = st.lists(st.tuples(sides(-500, 500), sides(-500, 500), sides(1, 200), sides(1, 200)), max_size=5)


@pytest.mark.slide("18")
@given(boxes, boxes, st.tuples(*[st.floats(0.25, 16)] * 4))
def test_decoding_what_was_encoded_gives_the_box_back(first, second, weights):
    number = min(len(first), len(second))
    box, anchor = (
        cxcywh_to_xyxy(torch.tensor(some[:number], dtype=torch.float64).reshape(-1, 4)) for some in (first, second)
    )
    # Growth is limited, so a box 62.5 times larger than its anchor does not come back.
    fits = ((xyxy_to_cxcywh(box) / xyxy_to_cxcywh(anchor))[:, 2:] < 62).all(1)
    box, anchor = box[fits], anchor[fits]
    torch.testing.assert_close(decode(encode(box, anchor, weights), anchor, weights), box, rtol=1e-9, atol=1e-6)


@pytest.mark.slide("18")
def test_no_box_grows_without_limit():
    anchor = torch.tensor([[0.0, 0, 10, 20]])
    grown = xyxy_to_cxcywh(decode(torch.tensor([[0.0, 0, 1000, 1000]]), anchor))
    torch.testing.assert_close(grown, torch.tensor([[5.0, 10, 625, 1250]]))
    assert pytest.approx(4.135166556742356, abs=0) == LARGEST_LOG


def test_every_class_may_have_corrections_of_its_own():
    anchors = random_boxes(random.Random(0), 5)
    deltas = torch.randn(5, 3, 4)
    together = decode(deltas, anchors[:, None].expand(-1, 3, -1))
    for label in range(3):
        equal(together[:, label], decode(deltas[:, label], anchors))


def test_corrections_carry_gradients():
    anchors = random_boxes(random.Random(1), 4).double()
    deltas = torch.randn(4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: decode(x, anchors, (10, 10, 5, 5)), deltas)


# Non-maximum suppression


def scored_boxes(seed):
    """Boxes in heaps, so that many overlap; every other time with many equal scores; none every tenth time."""
    dice, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    number = 0 if seed % 10 == 0 else dice.randint(1, 60)
    heaps = random_boxes(dice, 4)
    boxes = heaps[torch.randint(4, (number,), generator=generator)] + torch.randn(number, 4, generator=generator) * 3
    boxes[:, 2:] = torch.maximum(boxes[:, 2:], boxes[:, :2] + 0.5)
    scores = torch.rand(number, generator=generator)
    return boxes, (scores * 4).round() if seed % 2 else scores


@pytest.mark.slide("22")
@pytest.mark.parametrize("seed", range(CONFIGURATIONS))
def test_nms_is_torchvisions(seed):
    boxes, scores = scored_boxes(seed)
    threshold = random.Random(seed).uniform(0, 1)
    equal(nms(boxes, scores, threshold), ops.nms(boxes, scores, threshold))


@pytest.mark.slide("22")
@pytest.mark.parametrize("seed", range(0, CONFIGURATIONS, 4))
def test_what_nms_keeps_overlaps_little_and_what_it_drops_overlaps_better_boxes(seed):
    boxes, scores = scored_boxes(seed)
    kept = nms(boxes, scores, 0.4)
    overlap = box_iou(boxes, boxes)
    among = overlap[kept][:, kept].fill_diagonal_(0)
    assert (among <= 0.4).all()
    assert (scores[kept].diff() <= 0).all()
    for dropped in set(range(len(boxes))) - set(kept.tolist()):
        assert any(overlap[dropped, k] > 0.4 and scores[k] >= scores[dropped] for k in kept.tolist())


@pytest.mark.slide("22")
@pytest.mark.parametrize(("width", "threshold"), [(1, 0.5), (3, 0.25)])
def test_a_box_that_overlaps_exactly_as_much_stays(width, threshold):
    # Unions of 2 and 4, overlaps of 1: the quotients are exact.
    boxes = torch.tensor([[0.0, 0, 2, 1], [0, 0, 1, 1]]) if width == 1 else torch.tensor([[0.0, 0, 4, 1], [0, 0, 1, 1]])
    assert box_iou(boxes[:1], boxes[1:]).item() == threshold
    for function in (nms, ops.nms):
        assert function(boxes, torch.tensor([0.9, 0.8]), threshold).tolist() == [0, 1]
        assert function(boxes, torch.tensor([0.9, 0.8]), threshold - 1e-3).tolist() == [0]


@pytest.mark.slide("22")
def test_exactly_as_much_is_meant_in_the_boxes_own_precision():
    """3/10 and 0.3 are one number in float32, and two for torchvision, whose thresholds are in float64."""
    boxes, scores = torch.tensor([[0.0, 0, 10, 1], [0, 0, 3, 1]]), torch.tensor([0.9, 0.8])
    assert nms(boxes, scores, 0.3).tolist() == [0, 1]
    assert ops.nms(boxes, scores, 0.3).tolist() == [0]
    assert nms(boxes.double(), scores, 0.3).tolist() == ops.nms(boxes.double(), scores.double(), 0.3).tolist() == [0, 1]


@pytest.mark.slide("22")
def test_equal_scores_keep_their_order():
    boxes = torch.tensor([[0.0, 0, 9, 9], [20, 0, 29, 9], [1, 0, 10, 9], [40, 0, 49, 9]])
    assert nms(boxes, torch.ones(4), 0.5).tolist() == [0, 1, 3]
    assert nms(boxes, torch.tensor([1.0, 1, 2, 1]), 0.5).tolist() == [2, 1, 3]


def test_the_random_cases_are_of_every_kind():
    empty = equal_scores = everything = 0
    for seed in range(CONFIGURATIONS):
        boxes, scores = scored_boxes(seed)
        empty += not len(boxes)
        equal_scores += len(scores.unique()) < len(scores)
        everything += len(nms(boxes, scores, random.Random(seed).uniform(0, 1))) == len(boxes) > 0
    assert empty == 20
    assert equal_scores >= 60
    assert everything <= 60


@pytest.mark.parametrize("seed", [0, 1])
def test_nothing_changes_its_input(seed):
    boxes, scores = scored_boxes(11 + seed)
    before = boxes.clone(), scores.clone()
    nms(boxes, scores, 0.5)
    clip_boxes_to_image(boxes, (5, 7))
    encode(boxes, boxes)
    decode(boxes, boxes)
    box_iou(boxes, boxes)
    equal(boxes, before[0])
    equal(scores, before[1])


# Half precision

HALVES = (torch.float16, torch.bfloat16)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("seed", range(0, CONFIGURATIONS, 10))
def test_half_precision_is_computed_in_full_as_by_torchvision(seed, dtype):
    """In photographs of thousands of pixels, too; whole numbers up to 256 have no rounding in either type."""
    for factor in (1, 37) if seed % 3 else (1,):
        a, b = ((boxes * factor).to(dtype) for boxes in two_sets(seed))
        for ours, theirs in ((box_iou, ops.box_iou), (generalized_box_iou, ops.generalized_box_iou)):
            assert ours(a, b).dtype == theirs(a, b).dtype == torch.float32
            torch.testing.assert_close(ours(a, b), theirs(a.float(), b.float()))
            if seed % 3 == 0:
                torch.testing.assert_close(ours(a, b), theirs(a, b))
        equal(box_area(a), ops.box_area(a))


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("side", [300, 1e4, 6e4])
def test_large_boxes_in_half_precision(side, dtype):
    boxes = torch.tensor([[0, 0, side, side], [0, 0, side / 2, side], [side / 2, 0, side, side]], dtype=dtype)
    equal(box_iou(boxes, boxes), ops.box_iou(boxes, boxes))
    torch.testing.assert_close(box_iou(boxes, boxes)[0], torch.tensor([1, 0.5, 0.5]))
    torch.testing.assert_close(generalized_box_iou(boxes, boxes)[0], torch.tensor([1, 0.5, 0.5]))
    torch.testing.assert_close(box_area(boxes), torch.tensor([1, 0.5, 0.5]) * boxes[0, 2].float() ** 2)
    centre = ops.box_convert(boxes.float(), "xyxy", "cxcywh").to(dtype)
    equal(xyxy_to_cxcywh(boxes), centre)
    equal(cxcywh_to_xyxy(centre), ops.box_convert(centre.float(), "cxcywh", "xyxy").to(dtype))
    assert nms(boxes, torch.tensor([0.7, 0.8, 0.9]), 0.4).tolist() == [2, 1]


@pytest.mark.slide("18")
@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("dtype", HALVES)
def test_corrections_in_half_precision_are_the_rounded_ones(dtype, weights):
    dice = random.Random(5)
    box, anchor = ((random_boxes(dice, 50) * 8).to(dtype) for _ in range(2))
    solid = set(remove_small_boxes(box, 1e-3).tolist()) & set(remove_small_boxes(anchor, 1e-3).tolist())
    box, anchor = box[sorted(solid)], anchor[sorted(solid)]
    equal(encode(box, anchor, weights), encode(box.float(), anchor.float(), weights).to(dtype))
    deltas = torch.randn(len(box), 4, generator=torch.Generator().manual_seed(5)).to(dtype)
    equal(decode(deltas, anchor, weights), decode(deltas.float(), anchor.float(), weights).to(dtype))
    assert decode(deltas, anchor.float(), weights).dtype == encode(box, anchor.float()).dtype == torch.float32


# What is not finite


@pytest.mark.slide("22")
@pytest.mark.parametrize("broken", [float("nan"), float("inf"), -float("inf")])
def test_a_box_or_a_score_that_is_not_finite_suppresses_nothing_without_a_word(broken):
    boxes, scores = torch.tensor([[0.0, 0, 4, 4], [9, 9, 12, 12], [0, 0, 4, 5]]), torch.tensor([0.7, 0.8, 0.9])
    for row, column in ((0, 0), (2, 3)):
        bad = boxes.clone()
        bad[row, column] = broken
        with pytest.raises(ValueError, match="boxes: got nan or infinity in 1 of 3, expected finite numbers"):
            nms(bad, scores, 0.5)
    bad = scores.clone()
    bad[1:] = broken
    with pytest.raises(ValueError, match="scores: got nan or infinity in 2 of 3, expected finite numbers"):
        nms(boxes, bad, 0.5)


@pytest.mark.parametrize("threshold", [float("nan"), -0.1, 1.1])
def test_a_threshold_that_is_no_overlap_is_refused(threshold):
    with pytest.raises(ValueError, match=f"iou_threshold: got {threshold}, expected an IoU from 0 to 1"):
        nms(BOX, torch.ones(1), threshold)


def test_a_box_of_nan_has_an_overlap_of_nan():
    bad = torch.tensor([[0.0, 0, float("nan"), 4], [0, 0, 4, 4]])
    assert box_iou(bad, BOX).isnan().tolist() == [[True], [False]]
    assert generalized_box_iou(bad, BOX).isnan().tolist() == [[True], [False]]


BOX = torch.tensor([[0.0, 0, 4, 4]])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: box_iou(BOX[0], BOX), "a: got shape (4,), expected (n, 4)"),
        (lambda: box_iou(BOX, BOX[:, :3]), "b: got shape (1, 3), expected (n, 4)"),
        (lambda: generalized_box_iou(BOX[0], BOX), "a: got shape (4,)"),
        (lambda: box_area(BOX.mT), "boxes: got shape (4, 1), expected (…, 4)"),
        (lambda: xyxy_to_cxcywh(BOX.mT), "boxes: got shape (4, 1)"),
        (lambda: cxcywh_to_xyxy(BOX.mT), "boxes: got shape (4, 1)"),
        (lambda: clip_boxes_to_image(BOX.mT, (3, 3)), "boxes: got shape (4, 1)"),
        (lambda: encode(BOX, BOX[0]), "anchors: got shape (4,), expected (n, 4)"),
        (lambda: encode(BOX, BOX - BOX), "boxes, anchors: got one of width or height 0"),
        (lambda: encode(BOX[:, [0, 1, 0, 3]], BOX), "boxes, anchors: got one of width or height 0"),
        (lambda: decode(BOX, BOX[0]), "deltas: got shape (1, 4), expected (4,)"),
        (lambda: decode(BOX.long(), BOX, (0.5, 1, 1, 1)), "deltas: got torch.int64"),
        (lambda: nms(BOX, torch.ones(2), 0.5), "scores: got shape (2,), expected (1,)"),
        (
            lambda: encode(BOX.long(), BOX, (0.5, 0.5, 0.5, 0.5)),
            "boxes: got torch.int64, expected numbers with decimals",
        ),
        (lambda: encode(BOX, BOX.long()), "anchors: got torch.int64"),
        (lambda: clip_boxes_to_image(BOX.long(), (2.7, 2.7)), "boxes: got torch.int64"),
        (lambda: box_iou(BOX, BOX.long()), "b: got torch.int64"),
        (lambda: nms(BOX[0], torch.ones(1), 0.5), "boxes: got shape (4,), expected (n, 4)"),
    ],
)
def test_bad_input_is_refused_in_words(call, message):
    with pytest.raises((ValueError, TypeError), match=f"^{re.escape(message)}|jaxtyping|parameter"):
        call()


def test_boxes_without_area_have_gradients_without_nan():
    for overlap in (box_iou, generalized_box_iou):
        point = torch.tensor([[3.0, 3, 3, 3], [0, 0, 4, 4]], requires_grad=True)
        overlap(point, point.detach()).sum().backward()
        assert point.grad.isfinite().all()


def test_as_many_boxes_as_anchors_are_encoded():
    with pytest.raises(ValueError, match=r"boxes: got shape \(1, 4\), expected \(3, 4\)"):
        encode(torch.tensor([[0.0, 0, 2, 2]]), torch.tensor([[0.0, 0, 2, 2]] * 3))
