"""Says in five English sentences what an image shows; every word can be checked against the scene.

The words follow a small grammar on purpose: colours, kinds, counts, left and right, in front of and behind, the hour
and the weather. `describe` speaks only of objects that can be seen.
"""

import random
from itertools import permutations

from lecture_utils.toycity.render import Rendering, VisibleObject
from lecture_utils.toycity.sample import CAR_COLOURS, COAT_COLOURS, LIGHT_COLOURS, SIGN_COLOURS
from lecture_utils.toycity.scene import Scene

NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight")
PLURALS = {"car": "cars", "person": "people", "traffic sign": "signs", "traffic light": "traffic lights"}
HOURS = {"day": "in the daytime", "sunset": "at sunset", "night": "at night"}
LIST = "from left to right"  # the beginning of the one sentence that names everything
# Every word that `describe` can use.
_WORDS = (
    ", a an and at behind black blue car cars clear cloudy coat daytime eight empty five foggy four from front green "
    "grey in is left light lights middle night nobody of on one out people person red right seven sign signs six "
    "street sunset the three to traffic trees two white with without yellow"
)
WORDS = tuple(_WORDS.split())
# (category, colour) → what one says of it, for every object that there can be.
PHRASES = (
    {("car", colour): f"a {colour} car" for colour in CAR_COLOURS}
    | {("person", colour): f"a person in a {colour} coat" for colour in COAT_COLOURS}
    | {("traffic sign", colour): f"a {colour} sign" for colour in SIGN_COLOURS}
    | {("traffic light", colour): f"a {colour} traffic light" for colour in LIGHT_COLOURS}
)
ASIDE, BEYOND = 0.08, 3.0  # how far apart two objects must be: in image widths, and in metres of depth


def describe(scene: Scene, rendering: Rendering) -> list[str]:
    """Five captions: counts, everything from left to right, who is beside whom, who is behind whom, the setting."""
    dice = random.Random(scene.seed ^ 0xCAFE)
    seen = rendering.objects
    width = rendering.labels.shape[1]
    if not seen:
        empty = f"an empty street {HOURS[scene.time]}"
        return [
            empty,
            f"a {scene.weather} street without people",
            f"nobody is out {HOURS[scene.time]}",
            setting(scene),
            empty,
        ]
    biggest = max(seen, key=lambda obj: obj.area)
    return [
        f"{counted(seen)} on a street {HOURS[scene.time]}",
        f"{LIST} {listed([phrase(obj) for obj in sorted(seen, key=middle)])}",
        beside(seen, width, dice) or f"{phrase(biggest)} {where(biggest, width)}",
        behind(seen, dice) or f"{phrase(biggest)} on a {scene.weather} street {HOURS[scene.time]}",
        f"{setting(scene)} and {phrase(biggest)} {where(biggest, width)}",
    ]


def phrase(obj: VisibleObject) -> str:
    """An object with its colour: "a red car", "a person in a blue coat", "a green traffic light"."""
    return PHRASES[obj.category, obj.colour]


def counted(seen: tuple[VisibleObject, ...]) -> str:
    """How many there are of each kind: "two cars, one person and three signs"."""
    parts = []
    for category, plural in PLURALS.items():
        number = sum(obj.category == category for obj in seen)
        if number:
            parts.append(f"{NUMBERS[number]} {plural if number > 1 else category.replace('traffic sign', 'sign')}")
    return listed(parts)


def listed(parts: list[str]) -> str:
    """Join as English does: "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def middle(obj: VisibleObject) -> float:
    """The horizontal centre of an object's box, in pixels."""
    return (obj.box[0] + obj.box[2]) / 2


def where(obj: VisibleObject, width: int) -> str:
    """Which third of the image the object stands in."""
    return ("on the left", "in the middle", "on the right")[min(2, int(3 * middle(obj) / width))]


def beside(seen: tuple[VisibleObject, ...], width: int, dice: random.Random) -> str | None:
    """One pair that stands clearly side by side, or None."""
    pairs = [(a, b) for a, b in permutations(seen, 2) if abs(middle(a) - middle(b)) >= ASIDE * width]
    if not pairs:
        return None
    a, b = dice.choice(pairs)
    return f"{phrase(a)} is to the {'left' if middle(a) < middle(b) else 'right'} of {phrase(b)}"


def behind(seen: tuple[VisibleObject, ...], dice: random.Random) -> str | None:
    """One pair of which one is clearly farther away, or None."""
    pairs = [(a, b) for a, b in permutations(seen, 2) if abs(a.object.z - b.object.z) >= BEYOND]
    if not pairs:
        return None
    a, b = dice.choice(pairs)
    return f"{phrase(a)} is {'behind' if a.object.z > b.object.z else 'in front of'} {phrase(b)}"


def setting(scene: Scene) -> str:
    """The street without its objects: weather, hour, trees."""
    green = "with trees" if any(tree.kind != "bush" for tree in scene.trees) else "without trees"
    return f"a {scene.weather} street {green} {HOURS[scene.time]}"
