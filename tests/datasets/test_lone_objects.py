"""Streets with one thing: the same street, one object, the box that the renderer saw."""

import torch
from torchvision import tv_tensors

from lecture_utils import tasks, toycity
from lecture_utils.datasets import LoneNames, LoneObjects
from lecture_utils.datasets.lone_objects import item_of, keep
from lecture_utils.toycity.describe import phrase
from lecture_utils.toycity.export import CATEGORIES


def test_each_street_shows_one_thing_of_its_scene():
    lone = LoneObjects("val", 12)
    assert 8 <= len(lone) <= 12
    for image, target in (lone[i] for i in range(len(lone))):
        scene = toycity.sample_scene(target["image_id"])
        thing = scene.things[target["image_id"] % len(scene.things)]
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
    scene = next(s for s in map(toycity.sample_scene, toycity.seeds("val", 50)) if len(s.things) >= 4)
    assert keep(scene, [3, 0]).things == (scene.things[0], scene.things[3])
    image, target = item_of(keep(scene, []), 64)
    assert image.shape == (3, 64, 64)
    assert target["boxes"].shape == (0, 4)
    assert target["labels"].dtype == torch.int64


def test_a_transform_in_place_does_not_reach_what_is_kept():
    lone = LoneObjects("val", 3, size=64)
    image, target = lone[0]
    before, box = image.clone(), target["boxes"].clone()
    image.zero_()
    target["boxes"].zero_()
    assert torch.equal(lone[0][0], before)
    assert torch.equal(lone[0][1]["boxes"], box)


def test_a_flip_moves_street_and_box_together():
    lone = LoneObjects("val", 5, transforms=tasks.photo_transforms(train=True))
    plain = LoneObjects("val", 5, transforms=tasks.photo_transforms())
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


def test_named_things_are_the_lone_objects_with_their_phrase():
    named, lone = LoneNames("val", 40, size=96), LoneObjects("val", 40, size=96)
    assert len(named) == len(lone)
    for (image, label), (same, target) in zip(named, lone, strict=True):
        assert torch.equal(image, same)
        scene = toycity.sample_scene(target["image_id"])
        assert named.classes[label] == phrase(scene.things[target["image_id"] % len(scene.things)])


def test_every_class_occurs_and_no_other():
    assert len(LoneNames.classes) == len(set(LoneNames.classes)) == 20
    things = [thing for seed in toycity.seeds("val", 300) for thing in toycity.sample_scene(seed).things]
    assert set(map(phrase, things)) == set(LoneNames.classes)


def test_named_pictures_are_painted_once_and_stay_as_they_are():
    first, second = LoneNames("val", 5), LoneNames("val", 5)
    image, _ = first[0]
    before = image.clone()
    image.zero_()
    assert torch.equal(second[0][0], before)
    assert second.images is first.images
    assert second.preload() is second
