"""Is it true? Every statement a caption makes about a street, held against the scene it was painted from.

A caption may come from a network, so nothing is expected of its grammar: what can be read as a statement is checked.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lecture_utils.toycity.describe import HOURS, LIST, NUMBERS, PLURALS, middle, phrase, where
from lecture_utils.toycity.render import Rendering, VisibleObject
from lecture_utils.toycity.scene import Scene

_OBJECT = r"a person in a \w+ coat|a \w+ (?:car|sign|traffic light)"
_MENTION = re.compile(rf"\b(?:{_OBJECT})\b")
_RELATION = re.compile(rf"\b({_OBJECT}) is (to the left of|to the right of|behind|in front of) ({_OBJECT})\b")
_PLACE = re.compile(rf"\b({_OBJECT}) (on the left|in the middle|on the right)\b")
_KINDS = {name: kind for kind, plural in PLURALS.items() for name in (kind.replace("traffic sign", "sign"), plural)}
_COUNT = re.compile(rf"\b({'|'.join(NUMBERS[1:])}) ({'|'.join(sorted(_KINDS, key=len, reverse=True))})\b")
_WEATHER = re.compile(r"\b(clear|cloudy|foggy) street\b")


@dataclass(frozen=True)
class Fact:
    """A statement of a caption, and whether it holds."""

    text: str
    holds: bool


def facts(caption: str, scene: Scene, rendering: Rendering) -> list[Fact]:
    """The statements of a caption: objects with their colours, counts, relations, places, weather, hour, trees.

    A caption that lists ("from left to right …") or counts ("two cars and …") claims to leave nothing out, so each
    object or kind it forgets is a false statement. A caption that states nothing is one false statement.
    """
    seen, width = rendering.objects, rendering.labels.shape[1]
    caption = " ".join(caption.lower().split())
    found = [
        *_mentions(caption, seen),
        *_order(caption, seen),
        *_counts(caption, seen),
        *_relations(caption, seen),
        *_places(caption, seen, width),
        *_setting(caption, scene, seen),
    ]
    return found or [Fact("nothing that can be checked", False)]


@dataclass(frozen=True)
class Mention:
    """An object named in a sentence: the words from `start` up to `stop`, and the places of its colour and its noun."""

    text: str
    start: int
    stop: int
    colour: int
    noun: int


def find_mentions(words: Sequence[str]) -> list[Mention]:
    """The objects named in a sequence of words, in its order: "a red car", "a person in a blue coat"."""
    sentence, found = " ".join(words), []
    for match in _MENTION.finditer(sentence):
        start, named = sentence[: match.start()].count(" "), match[0].split()
        person = "person" in named
        colour, noun = (4, 1) if person else (1, len(named) - 1)
        found.append(Mention(match[0], start, start + len(named), start + colour, start + noun))
    return found


def _mentions(caption: str, seen: tuple[VisibleObject, ...]) -> Iterator[Fact]:
    """Each object named must be there; in a list, the third red car needs three of them."""
    there = Counter(map(phrase, seen))
    lists = caption.startswith(LIST)
    said: Counter = Counter()
    for name in _MENTION.findall(caption):
        said[name] += 1
        yield Fact(name, there[name] >= (said[name] if lists else 1))
    if lists:
        for name in (there - said).elements():
            yield Fact(f"leaves out {name}", False)


def _order(caption: str, seen: tuple[VisibleObject, ...]) -> Iterator[Fact]:
    """In a list, each object must stand to the right of the one before it; those that do not exist were counted."""
    if not caption.startswith(LIST):
        return
    waiting, before = sorted(seen, key=middle), None
    for name in _MENTION.findall(caption):
        same = [obj for obj in waiting if phrase(obj) == name]
        further = [obj for obj in same if before is None or middle(obj) >= middle(before)]
        if not same:
            continue
        if before is not None:
            yield Fact(f"{phrase(before)} before {name}", bool(further))
        before = (further or same)[0]
        waiting.remove(before)


def _counts(caption: str, seen: tuple[VisibleObject, ...]) -> Iterator[Fact]:
    there = Counter(obj.category for obj in seen)
    said = _COUNT.findall(caption)
    for number, noun in said:
        yield Fact(f"{number} {noun}", NUMBERS.index(number) == there[_KINDS[noun]])
    for kind in there if said else ():
        if kind not in {_KINDS[noun] for _, noun in said}:
            yield Fact(f"leaves out the {PLURALS[kind]}", False)


def _relations(caption: str, seen: tuple[VisibleObject, ...]) -> Iterator[Fact]:
    true = {
        "to the left of": lambda a, b: middle(a) < middle(b),
        "to the right of": lambda a, b: middle(a) > middle(b),
        "behind": lambda a, b: a.object.z > b.object.z,
        "in front of": lambda a, b: a.object.z < b.object.z,
    }
    for first, relation, second in _RELATION.findall(caption):
        holds = any(true[relation](a, b) for a, b in _pairs(first, second, seen))
        yield Fact(f"{first} is {relation} {second}", holds)


def _places(caption: str, seen: tuple[VisibleObject, ...], width: int) -> Iterator[Fact]:
    for name, place in _PLACE.findall(caption):
        holds = any(phrase(obj) == name and where(obj, width) == place for obj in seen)
        yield Fact(f"{name} {place}", holds)


def _setting(caption: str, scene: Scene, seen: tuple[VisibleObject, ...]) -> Iterator[Fact]:
    for weather in _WEATHER.findall(caption):
        yield Fact(f"{weather} weather", weather == scene.weather)
    for hour, words in HOURS.items():
        if words in caption:
            yield Fact(words, hour == scene.time)
    trees = any(tree.kind != "bush" for tree in scene.trees)
    for found in re.findall(r"\b(?:with|without) trees\b", caption):
        yield Fact(found, trees == (found == "with trees"))
    people = [obj for obj in seen if obj.category == "person"]
    for found in re.findall(r"\b(?:an empty street|nobody is out|without people)\b", caption):
        yield Fact(found, not (seen if "street" in found else people))


def _pairs(first: str, second: str, seen: tuple[VisibleObject, ...]) -> list[tuple[VisibleObject, VisibleObject]]:
    """All pairs of two different objects of these names."""
    return [(a, b) for a in seen for b in seen if a is not b and phrase(a) == first and phrase(b) == second]
