"""Streets with one object: the same street, one object, the box that the renderer saw."""

from random import Random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import interpolate
from torchvision import tv_tensors

from lecture_utils import tasks, toycity
from lecture_utils.datasets import LabelledObjects, ObjectCrops, SingleObjects
from lecture_utils.datasets.single_objects import item_of, keep, window
from lecture_utils.toycity.describe import phrase
from lecture_utils.toycity.export import CATEGORIES


def test_each_street_shows_one_thing_of_its_scene():
    lone = SingleObjects("val", 12)
    assert 8 <= len(lone) <= 12
    for image, target in (lone[i] for i in range(len(lone))):
        scene = toycity.sample_scene(target["image_id"])
        thing = scene.objects[target["image_id"] % len(scene.objects)]
        assert isinstance(image, tv_tensors.Image)
        assert image.shape == (3, 128, 128)
        assert target["boxes"].shape == (1, 4)
        assert [lone.categories[label] for label in target["labels"]] == [thing.category]
        assert lone.categories == ("background", *CATEGORIES)


def test_the_street_stays_the_same_where_nothing_stood():
    seed = toycity.seeds("val", 1)[0]
    scene = toycity.sample_scene(seed)
    whole, none = toycity.render(scene, 96), toycity.render(keep(scene, []), 96)
    untouched = (whole.labels == none.labels) & (whole.instances == 0)
    assert untouched.mean() > 0.5
    difference = abs(whole.image.astype(int) - none.image)[untouched]
    assert (difference <= 12).mean() > 0.9  # shadows and the seeded grain apart


def test_things_are_kept_in_their_order():
    scene = next(s for s in map(toycity.sample_scene, toycity.seeds("val", 50)) if len(s.objects) >= 4)
    assert keep(scene, [3, 0]).objects == (scene.objects[0], scene.objects[3])
    image, target = item_of(keep(scene, []), 64)
    assert image.shape == (3, 64, 64)
    assert target["boxes"].shape == (0, 4)
    assert target["labels"].dtype == torch.int64


def test_a_transform_in_place_does_not_reach_what_is_kept():
    lone = SingleObjects("val", 3, size=64)
    image, target = lone[0]
    before, box = image.clone(), target["boxes"].clone()
    image.zero_()
    target["boxes"].zero_()
    assert torch.equal(lone[0][0], before)
    assert torch.equal(lone[0][1]["boxes"], box)


def test_a_flip_moves_street_and_box_together():
    lone = SingleObjects("val", 5, transforms=tasks.photo_transforms(train=True))
    plain = SingleObjects("val", 5, transforms=tasks.photo_transforms())
    (_, x0, x1) = ("", *plain[0][1]["boxes"][0, [0, 2]].tolist())
    seen = set()
    for seed in range(12):
        torch.manual_seed(seed)
        image, target = lone[0]
        flipped = not torch.equal(image, plain[0][0])
        seen.add(flipped)
        expected = [128 - x1, 128 - x0] if flipped else [x0, x1]
        assert target["boxes"][0, [0, 2]].tolist() == expected
    assert seen == {True, False}


def test_named_things_are_windows_on_the_lone_objects_with_their_phrase():
    named, lone = LabelledObjects("val", 40, size=40), SingleObjects("val", 40)
    assert len(named) == len(lone)
    for (image, label), box, (street, target) in zip(named, named.boxes, lone, strict=True):
        scene = toycity.sample_scene(target["image_id"])
        assert named.classes[label] == phrase(scene.objects[target["image_id"] % len(scene.objects)])
        x0, y0, x1, y1 = target["boxes"][0].int().tolist()
        windows = [
            (row, column) for row in range(89) for column in range(89)
            if torch.equal(street[:, row : row + 40, column : column + 40], image)
        ]  # fmt: skip
        ((row, column),) = windows
        for start, first, last in ((row, y0, y1), (column, x0, x1)):
            assert start <= first < last <= start + 40 or first <= start < start + 40 <= last
        shifted = torch.tensor([x0 - column, y0 - row, x1 - column, y1 - row]).clamp(0, 40)
        assert torch.equal(box, shifted.float())


@given(*(st.integers(0, 100) for _ in range(2)), *(st.integers(1, 100) for _ in range(2)), st.integers(0, 1000))
def test_a_window_holds_its_box_or_is_filled_by_it(x0, y0, width, height, seed):
    x1, y1 = min(x0 + width, 101), min(y0 + height, 101)
    rows, columns = window((x0, y0, x1, y1), 30, 101, Random(seed))
    for part, first, last in ((rows, y0, y1), (columns, x0, x1)):
        assert part.stop - part.start == 30
        assert 0 <= part.start <= 71
        assert (part.start <= first and last <= part.stop) or (first <= part.start and part.stop <= last)


def test_windows_are_spread_evenly():
    starts = [window((50, 60, 60, 64), 20, 128, Random(seed)) for seed in range(400)]
    assert {rows.start for rows, _ in starts} == set(range(44, 61))
    assert {columns.start for _, columns in starts} == set(range(40, 51))


def test_every_class_occurs_and_no_other():
    assert len(LabelledObjects.classes) == len(set(LabelledObjects.classes)) == 20
    things = [thing for seed in toycity.seeds("val", 300) for thing in toycity.sample_scene(seed).objects]
    assert set(map(phrase, things)) == set(LabelledObjects.classes)


def test_named_pictures_are_painted_once_and_stay_as_they_are():
    first, second = LabelledObjects("val", 5), LabelledObjects("val", 5)
    image, _ = first[0]
    before = image.clone()
    image.zero_()
    assert torch.equal(second[0][0], before)
    assert second.images is first.images


def test_labels_belong_to_one_set_of_names():
    a, b = LabelledObjects("val", 5), LabelledObjects("val", 5)
    before = list(b.labels)
    a.labels[0] = 99
    assert b.labels == before


@pytest.mark.parametrize("size", [0, -5, 129, 200])
def test_windows_that_no_street_holds_are_refused(size):
    with pytest.raises(ValueError, match=f"size: got {size}, expected 1 to 128"):
        LabelledObjects("val", 2, size=size)


@pytest.mark.slide("37")
@given(*(st.integers(0, 127) for _ in range(2)), *(st.integers(1, 128) for _ in range(2)))
def test_a_portrait_is_a_square_around_its_thing(x0, y0, width, height):
    x1, y1 = min(x0 + width, 128), min(y0 + height, 128)
    rows, columns = ObjectCrops.cut((x0, y0, x1, y1), 32, Random(0))
    side = rows.stop - rows.start
    assert side == columns.stop - columns.start
    longer = max(x1 - x0, y1 - y0)
    assert side == min(128, max(24, longer * 13 // 10))
    for part, first, last in ((rows, y0, y1), (columns, x0, x1)):
        assert 0 <= part.start <= first < last <= part.stop <= 128
        if part.start > 0 and part.stop < 128:
            assert abs(part.start + part.stop - first - last) <= 1  # in the middle, to half a pixel


@pytest.mark.slide("37")
def test_portraits_are_the_lone_objects_cut_out_and_resized():
    portraits, lone, named = ObjectCrops("val", 40, size=20), SingleObjects("val", 40), LabelledObjects("val", 40)
    assert len(portraits) == len(lone)
    assert portraits.labels == named.labels
    assert portraits.images.shape == (len(lone), 3, 20, 20)
    for (image, _), box, (street, target) in zip(portraits, portraits.boxes, lone, strict=True):
        thing = target["boxes"][0]
        rows, columns = ObjectCrops.cut(thing.tolist(), 20, Random(0))
        cut = street[None, :, rows, columns].as_subclass(torch.Tensor).float()
        expected = interpolate(cut, (20, 20), mode="bilinear", antialias=True)[0]
        assert (image.as_subclass(torch.Tensor) - expected).abs().max() <= 1
        scale = 20 / (rows.stop - rows.start)
        moved = (thing - torch.tensor([columns.start, rows.start] * 2)).as_subclass(torch.Tensor) * scale
        torch.testing.assert_close(box, moved.clamp(0, 20))


@pytest.mark.slide("37")
def test_large_portraits_show_the_same_objects_and_more_of_their_detail():
    small, large = ObjectCrops("val", 40, size=32), ObjectCrops("val", 40, size=64)
    assert large.labels == small.labels
    assert large.images.shape[1:] == (3, 64, 64)
    reduced = interpolate(large.images.float(), (32, 32), mode="bilinear", antialias=True)
    enlarged = interpolate(small.images.float(), (64, 64), mode="bilinear")
    same, other = ((reduced - images.float()).abs().mean() for images in (small.images, small.images.roll(1, 0)))
    assert same < other / 3  # not 0: each is cut out at a whole pixel of its street
    fine = lambda images: (images[..., 1:] - images[..., :-1]).abs().mean()  # noqa: E731
    assert fine(large.images.float()) > 1.2 * fine(enlarged)
    assert (large.boxes / 2 - small.boxes).abs().mean() < 1


@pytest.mark.slide("37")
def test_portraits_and_windows_are_kept_apart():
    """Both are remembered by split, number and size."""
    portraits, windows = ObjectCrops("val", 4, size=32), LabelledObjects("val", 4, size=32)
    assert not torch.equal(portraits.images, windows.images)
    assert ObjectCrops("val", 4, size=32).images is portraits.images
    image, _ = portraits[0]
    image.zero_()
    assert portraits[0][0].any()


@pytest.mark.parametrize("size", [0, 129])
def test_portraits_larger_than_their_street_are_refused(size):
    with pytest.raises(ValueError, match=f"size: got {size}, expected 1 to 128"):
        ObjectCrops("val", 2, size=size)
