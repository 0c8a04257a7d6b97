"""Facts: the city's own sentences are true, and each kind of lie in them is found."""

import random
import re
from collections import Counter
from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lecture_utils.toycity import WORDS, Rendering, VisibleObject, describe, render, sample_scene
from lecture_utils.toycity.facts import Fact, facts, find_mentions
from lecture_utils.toycity.sample import CAR_COLOURS, COAT_COLOURS, SIGN_COLOURS, WEATHERS

LIST = "from left to right "
COLOURS = sorted({*CAR_COLOURS, *COAT_COLOURS, *SIGN_COLOURS})
NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight")
HOURS = ("in the daytime", "at sunset", "at night")
PLACES = ("on the left", "in the middle", "on the right")


def mentions(caption):
    return [mention.text for mention in find_mentions(caption.replace(",", " ,").split())]


@cache
def seen(seed, size=64):
    scene = sample_scene(seed)
    return scene, render(scene, size)


@pytest.fixture(scope="module")
def empty():
    """A street where nothing is."""
    scene = replace(sample_scene(7), objects=())
    return scene, render(scene, 64)


@pytest.fixture(scope="module")
def city():
    """300 scenes: (scene, image, its five sentences)."""
    streets = [seen(5_000_000 + seed) for seed in range(300)]
    return [(scene, picture, describe(scene, picture)) for scene, picture in streets]


@pytest.fixture(scope="module")
def busy(city):
    """Those with two objects and more."""
    return [one for one in city if len(one[1].objects) > 1]


def lies(caption, scene, picture):
    return [fact.text for fact in facts(caption, scene, picture) if not fact.holds]


def name(thing):
    """An object's name, written apart from `describe.phrase`."""
    if thing.category == "person":
        return f"a person in a {thing.colour} coat"
    return f"a {thing.colour} {thing.category.removeprefix('traffic ') if 'sign' in thing.category else thing.category}"


def centre(thing):
    return sum(thing.box[::2]) / 2


def from_left(picture):
    return sorted(picture.objects, key=centre)


def listing(names):
    return LIST + " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


@pytest.mark.slide("26")
def test_the_citys_own_sentences_are_entirely_true(city):
    for scene, picture, captions in city:
        for caption in captions:
            found = facts(caption, scene, picture)
            assert found
            assert not lies(caption, scene, picture), caption
    stated = Counter(len(facts(captions[1], scene, picture)) for scene, picture, captions in city)
    assert max(stated) >= 15  # eight objects, and the seven that follow another


def test_also_at_another_size():
    for seed in range(40):
        scene, picture = seen(seed, 128)
        for caption in describe(scene, picture):
            assert not lies(caption, scene, picture), caption


def test_commas_as_a_captioner_says_them_capitals_and_spaces_change_nothing(city):
    for scene, picture, captions in city[:60]:
        for caption in captions:
            expected = facts(caption, scene, picture)
            assert facts(caption.replace(",", " ,"), scene, picture) == expected
            assert facts(f" {caption.capitalize()}.", scene, picture) == expected


def test_a_false_colour_is_found(busy):
    for scene, picture, captions in busy:
        there = {name(thing) for thing in picture.objects}
        for caption in captions[1:]:
            for found in re.finditer("|".join(COLOURS), caption):
                for colour in COLOURS:
                    other = caption[: found.start()] + colour + caption[found.end() :]
                    if not set(mentions(other)) <= there:
                        assert lies(other, scene, picture), other


def test_a_false_number_is_found(busy):
    for scene, picture, (caption, *_) in busy:
        for found in re.finditer("|".join(NUMBERS), caption):
            for number in set(NUMBERS) - {found[0]}:
                assert lies(caption[: found.start()] + number + caption[found.end() :], scene, picture)


def test_each_of_two_numbers_of_a_kind_must_hold(busy):
    for scene, picture, (caption, *_) in busy[:60]:
        true, kind = re.match(rf"({'|'.join(NUMBERS)}) (traffic lights?|\w+)", caption).groups()
        false = next(number for number in NUMBERS if number != true)
        for pair in ((false, true), (true, false)):
            sentence = f"{pair[0]} {kind} and {pair[1]} {kind}"
            assert any(text.startswith(false) for text in lies(sentence, scene, picture)), sentence


def test_a_forgotten_kind_is_found(busy):
    found = 0
    for scene, picture, (caption, *_) in busy:
        for part in re.split(r", | and | on a street", caption)[:-1]:
            rest = re.sub(rf"(, | and )?{part}", "", caption, count=1)
            if any(number in rest for number in NUMBERS):
                assert any(text.startswith("leaves out the") for text in lies(rest, scene, picture)), rest
                found += 1
    assert found > 100


def test_a_forgotten_object_is_found(busy):
    for scene, picture, _ in busy:
        names = [name(thing) for thing in from_left(picture)]
        for place in range(len(names)):
            wrong = lies(listing(names[:place] + names[place + 1 :]), scene, picture)
            assert wrong == [f"leaves out {names[place]}"]  # and nothing else is wrong


def test_an_invented_object_is_found(busy):
    for scene, picture, captions in busy:
        names = [name(thing) for thing in from_left(picture)]
        invented = next(n for c in COLOURS for n in (f"a {c} car", f"a {c} sign") if n not in names)
        for place in range(len(names) + 1):
            assert lies(listing([*names[:place], invented, *names[place:]]), scene, picture) == [invented]
        assert lies(f"{invented} is behind {names[0]}", scene, picture)
        assert invented in lies(f"{captions[4]} and {invented}", scene, picture)
        again = names[-1]
        assert lies(listing([*names, again]), scene, picture) == [again]  # one more than there are


def test_a_false_order_is_found_among_objects_of_the_same_name_too(busy):
    swaps = 0
    for scene, picture, _ in busy:
        things = from_left(picture)
        names = [name(thing) for thing in things]
        for i, (a, b) in enumerate(pairwise(things)):
            swapped = [*names[:i], names[i + 1], names[i], *names[i + 2 :]]
            if swapped == names:
                continue
            true = centre(a) == centre(b)  # two that stand one above the other may be named either way
            assert (not lies(listing(swapped), scene, picture)) == true, swapped
            swaps += not true
    assert swaps > 300


def test_what_was_invented_or_forgotten_does_not_hide_a_false_order(busy):
    for scene, picture, _ in busy:
        things = from_left(picture)
        first, last = name(things[0]), name(things[-1])
        names = {name(thing) for thing in things}
        if first == last or sum(name(thing) in (first, last) for thing in things) != 2:
            continue
        invented = next(f"a {c} car" for c in COLOURS if f"a {c} car" not in names)
        assert f"{last} before {first}" in lies(listing([last, invented, first]), scene, picture)


@pytest.mark.parametrize(
    ("said", "opposite", "kind"),
    [("to the left of", "to the right of", 2), ("to the right of", "to the left of", 2),
     ("behind", "in front of", 3), ("in front of", "behind", 3)],
)  # fmt: skip
def test_a_false_relation_is_found(busy, said, opposite, kind):
    found = 0
    for scene, picture, captions in busy:
        names = mentions(captions[kind])
        alone = len(set(names)) == 2 == sum(name(thing) in names for thing in picture.objects)
        if f" is {said} " in captions[kind] and alone:
            found += 1
            assert lies(captions[kind].replace(said, opposite), scene, picture)
            assert lies(f"{names[1]} is {said} {names[0]}", scene, picture)
            assert not lies(f"{names[1]} is {opposite} {names[0]}", scene, picture)
    assert found > 20


def test_one_object_cannot_stand_beside_itself(busy):
    for scene, picture, _ in busy:
        counts = Counter(map(name, picture.objects))
        for one in (one for one, times in counts.items() if times == 1):
            for relation in ("to the left of", "to the right of", "behind", "in front of"):
                assert lies(f"{one} is {relation} {one}", scene, picture) == [f"{one} is {relation} {one}"]


def test_a_false_place_is_found(city):
    found = 0
    for scene, picture, captions in city:
        for caption in captions[2:]:
            (place,) = [place for place in PLACES if place in caption] or [None]
            if place is None or sum(name(thing) in mentions(caption) for thing in picture.objects) != 1:
                continue
            for other in set(PLACES) - {place}:
                assert lies(caption.replace(place, other), scene, picture) == [f"{mentions(caption)[0]} {other}"]
                found += 1
    assert found > 100


def test_a_false_weather_hour_or_trees_are_found(city):
    for scene, picture, captions in city:
        for other in set(WEATHERS) - {scene.weather}:
            wrong = lies(captions[4].replace(scene.weather, other), scene, picture)
            assert wrong == [f"{other} weather"]
        true = next(hour for hour in HOURS if hour in captions[0])
        for other in set(HOURS) - {true}:
            for caption in (caption for caption in captions if true in caption):
                assert lies(caption.replace(true, other), scene, picture) == [other]
        green, bare = "with trees", "without trees"
        other = captions[3 if not picture.objects else 4]
        other = other.replace(bare, green) if bare in other else other.replace(green, bare)
        assert lies(other, scene, picture)


def test_of_two_statements_that_exclude_each_other_one_is_false(city):
    for scene, picture, _ in city[:40]:
        for both in ("a clear street and a foggy street and a cloudy street", " ".join(HOURS)):
            assert len(lies(both, scene, picture)) == 2
        for both in ("with trees without trees", "without trees with trees"):
            assert len(lies(both, scene, picture)) == 1


def test_a_street_is_empty_or_not(city, empty):
    for caption in [*describe(*empty), "an empty street", "without people"]:
        assert not lies(caption, *empty)
    for caption in ("one car", "a red car", listing(["a red car"]), "a red car in the middle"):
        assert lies(caption, *empty)
    for scene, picture, _ in city:
        people = any(thing.category == "person" for thing in picture.objects)
        assert lies("an empty street", scene, picture)
        assert bool(lies("nobody is out", scene, picture)) == people
        assert bool(lies("a street without people", scene, picture)) == people
        assert lies("nobody is out in an empty street", scene, picture)  # the one does not hide the other


@pytest.mark.parametrize("caption", ["", "a", "car car car", "a lovely afternoon", "from left to right"])
def test_what_states_nothing_is_one_false_statement(empty, caption):
    assert facts(caption, *empty) == [Fact("nothing that can be checked", False)]


@given(st.lists(st.sampled_from(WORDS), max_size=40), st.booleans(), st.integers(0, 30))
@settings(max_examples=150)
def test_words_in_any_order_are_judged_without_an_error(words, listed, seed):
    scene, picture = seen(seed)
    found = facts((LIST if listed else "") + " ".join(words), scene, picture)
    assert found
    assert all(type(fact.holds) is bool for fact in found)
    for mention in find_mentions(words):
        assert mention.text.split() == words[mention.start : mention.stop]
        assert words[mention.noun] in ("car", "sign", "light", "person")
        assert mention.start < mention.colour < mention.stop


@given(st.text(max_size=60))
@settings(max_examples=60)
def test_any_text_is_judged_without_an_error(text):
    scene, picture = seen(3)
    assert facts(text, scene, picture)


def test_facts_come_in_the_same_order_each_time():
    """Not in that of a set of strings, which changes from process to process."""
    order = {"car": "cars", "person": "people", "traffic sign": "signs", "traffic light": "traffic lights"}
    for seed in range(60):
        scene, picture = seen(seed)
        left_out = [text.removeprefix("leaves out the ") for text in lies("eight cars", scene, picture)[1:]]
        first_seen = dict.fromkeys(thing.category for thing in picture.objects)
        assert left_out == [order[kind] for kind in first_seen if kind != "car"]


@pytest.mark.slide("27")
def test_mentions_are_placed_at_their_nouns_and_colours(city):
    for _, picture, captions in city:
        words = captions[1].replace(",", " ,").split()
        found = find_mentions(words)
        assert [mention.text for mention in found] == [name(thing) for thing in from_left(picture)]
        for mention, thing in zip(found, from_left(picture), strict=True):
            assert words[mention.colour] == thing.colour
            assert words[mention.noun] == thing.category.split()[-1]
            assert mention.text.split() == words[mention.start : mention.stop]


def test_mentions_of_a_sentence_by_hand():
    sentence = "from left to right a red car , a person in a blue coat and a green traffic light"
    words = sentence.split()
    found = find_mentions(words)
    assert [m.text for m in found] == ["a red car", "a person in a blue coat", "a green traffic light"]
    assert [(m.start, m.stop, m.colour, m.noun) for m in found] == [(4, 7, 5, 6), (8, 14, 12, 9), (15, 19, 16, 18)]
    assert find_mentions([]) == []
    assert find_mentions(["a", "car", "and", "two", "cars"]) == []


@pytest.mark.slide("24")
def test_the_citys_words_are_those_that_its_sentences_use(city):
    assert {word for *_, captions in city for word in words_of(captions)} <= set(WORDS)
    said = set()
    for seed in random.Random(24).sample(range(30_000_000), 2000):
        scene = sample_scene(seed)
        said |= words_of(describe(scene, unpainted(scene)))
        said |= words_of(describe(scene, unpainted(replace(scene, objects=()))))
    assert said <= set(WORDS)
    # Signs, of which a street has few, are never that many, and seven or eight of another kind in one street in 500.
    assert set(WORDS) - said <= {"seven", "eight"}
    assert list(WORDS) == sorted(set(WORDS))


def words_of(captions):
    return set(" ".join(captions).replace(",", " ,").split())


def unpainted(scene):
    """An image in which everything can be seen: painting 2,000 of them takes long, and the words are the same."""
    things = []
    for thing in scene.objects:
        u, v = (100 * part for part in scene.camera.project(thing.x, 1.0, thing.z))
        things.append(VisibleObject(thing, thing.category, (u - 2, v - 2, u + 2, v + 2), 16))
    blank = np.zeros((100, 100), np.uint8)
    return Rendering(blank, blank, blank, tuple(things))
