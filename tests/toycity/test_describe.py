"""Captions: every word is checked against the scene by a reader written apart from the writer."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lecture_utils.toycity import describe, render, sample_scene

THING = r"a (\w+) (car|sign|traffic light)|a person in a (\w+) coat"
CATEGORY = {"car": "car", "sign": "traffic sign", "traffic light": "traffic light", None: "person"}
NUMBER = {word: n for n, word in enumerate(["one", "two", "three", "four", "five", "six", "seven", "eight"], start=1)}


def named(text):
    """The objects that a piece of caption names, as (colour, category), in order."""
    return [(m[1] or m[3], CATEGORY[m[2]]) for m in re.finditer(THING, text)]


def candidates(picture, name):
    return [thing for thing in picture.objects if (thing.colour, thing.category) == name]


def middle(thing):
    return (thing.box[0] + thing.box[2]) / 2


@given(st.integers(0, 30_000_000))
@settings(max_examples=80, deadline=None)
def test_captions_are_true(seed):
    scene = sample_scene(seed)
    picture = render(scene, 64)
    captions = describe(scene, picture)
    assert len(captions) == 5
    hour = {"day": "daytime", "sunset": "sunset", "night": "night"}[scene.time]
    for caption in captions:
        for other in {"daytime", "sunset", "night"} - {hour}:
            assert other not in caption
        for weather in {"clear", "cloudy", "foggy"} - {scene.weather}:
            assert weather not in caption
        for name in named(caption):
            assert candidates(picture, name), caption
    if not picture.objects:
        assert "empty" in captions[0]
        return
    counts = {"car": 0, "person": 0, "traffic sign": 0, "traffic light": 0}
    singular = {"cars": "car", "people": "person", "signs": "traffic sign", "sign": "traffic sign",
                "traffic lights": "traffic light"}  # fmt: skip
    for number, kind in re.findall(r"(one|two|three|four|five|six|seven|eight) (traffic lights?|\w+)", captions[0]):
        counts[singular.get(kind, kind)] = NUMBER[number]
    assert counts == {c: sum(thing.category == c for thing in picture.objects) for c in counts}
    in_order = sorted(picture.objects, key=middle)
    assert named(captions[1]) == [(thing.colour, thing.category) for thing in in_order]


@given(st.integers(0, 30_000_000))
@settings(max_examples=80, deadline=None)
def test_relations_are_true(seed):
    scene = sample_scene(seed)
    picture = render(scene, 96)
    for caption in describe(scene, picture):
        for word, holds in (
            (" is to the left of ", lambda a, b: middle(a) < middle(b)),
            (" is to the right of ", lambda a, b: middle(a) > middle(b)),
            (" is behind ", lambda a, b: a.object.z > b.object.z),
            (" is in front of ", lambda a, b: a.object.z < b.object.z),
        ):
            if word in caption:
                (a,), (b,) = (named(part) for part in caption.split(word))
                assert any(holds(x, y) for x in candidates(picture, a) for y in candidates(picture, b) if x is not y)


def test_captions_repeat_and_differ():
    scenes = [sample_scene(seed) for seed in range(40)]
    once, twice = ([describe(s, render(s, 64)) for s in scenes] for _ in range(2))
    assert once == twice
    assert len({caption for captions in once for caption in captions}) > 120


@pytest.mark.parametrize(
    "word", [" left of ", " right of ", " behind ", " in front of ", " at night", "in the daytime"]
)
def test_every_relation_is_used(word):
    assert any(word in c for seed in range(60) for s in [sample_scene(seed)] for c in describe(s, render(s, 64)))
