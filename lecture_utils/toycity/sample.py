"""Draws a street from a seed: where everything stands, how large it is, which colour it has.

Everything comes from `random.Random(seed).random()`, the one sequence Python promises never to change: one seed, one
street, on every machine.
"""

import random

import numpy as np

from lecture_utils.toycity.scene import (
    Building,
    Camera,
    Car,
    Lamp,
    Light,
    Person,
    Scene,
    SceneObject,
    Sign,
    Street,
    Tree,
)

TIMES = ("day", "sunset", "night")
WEATHERS = ("clear", "cloudy", "foggy")

# Colours that overlap on purpose (slide 4): grey cars on grey roads before grey houses, blue cars under a blue sky,
# green signs before trees. A pixel's colour alone must not tell its class.
CAR_COLOURS = {
    "red": (176, 38, 36),
    "blue": (70, 118, 176),
    "white": (222, 222, 218),
    "black": (40, 41, 46),
    "grey": (124, 126, 130),
    "yellow": (220, 178, 44),
    "green": (74, 118, 66),
}
COAT_COLOURS = {
    "red": (188, 48, 44),
    "blue": (58, 98, 170),
    "white": (218, 216, 208),
    "black": (44, 44, 50),
    "green": (66, 120, 62),
    "yellow": (224, 186, 60),
}
SIGN_COLOURS = {
    "red": (190, 30, 34),
    "blue": (36, 84, 164),
    "green": (40, 112, 62),
    "yellow": (232, 184, 40),
}
LIGHT_COLOURS = ("red", "yellow", "green")  # of the lamp that is on
SIGNS = (
    ("octagon", "red"), ("round", "red"), ("round", "blue"), ("triangle", "red"), ("square", "blue"),
    ("square", "green"), ("triangle", "yellow"), ("square", "yellow"),
)  # fmt: skip
FACADES = (
    (128, 128, 130), (150, 146, 140), (108, 112, 120), (168, 84, 66), (142, 74, 60), (196, 174, 140), (214, 200, 172),
    (120, 140, 160), (176, 150, 116), (188, 118, 92), (98, 122, 110), (204, 190, 190), (112, 102, 98),
)  # fmt: skip
FOLIAGE = ((62, 104, 44), (84, 124, 50), (48, 90, 52), (106, 128, 48), (150, 116, 48), (86, 112, 66))
SKIN = ((236, 196, 164), (206, 152, 112), (160, 108, 76), (104, 70, 50))
TROUSERS = ((40, 44, 62), (58, 60, 64), (92, 84, 70), (34, 34, 36), (70, 88, 120))


def sample_scene(seed: int) -> Scene:
    """Draw a street from a seed (a whole number from 0 on); the same seed gives the same street everywhere."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise ValueError(f"seed: got {seed!r}, expected a whole number >= 0")
    dice = _Dice(int(seed))
    camera = Camera(dice.uniform(0.82, 1.0), dice.uniform(2.0, 2.9), dice.uniform(0.40, 0.60), dice.uniform(0.40, 0.50))
    street = _street(dice)
    time = dice.choice(TIMES, weights=(60, 22, 18))
    weather = dice.choice(WEATHERS, weights=(55, 33, 12))
    buildings = _buildings(dice, street)
    objects = _objects(dice, camera, street)
    return Scene(
        seed=int(seed), time=time, weather=weather, sun=dice.choice((-1, 1)), camera=camera, street=street,
        bonnet=dice.chance(0.12), buildings=buildings, trees=_trees(dice, street), lamps=_lamps(dice, street),
        objects=objects,
    )  # fmt: skip


class _Dice:
    """The few kinds of draws a scene needs."""

    def __init__(self, seed: int):
        self._random = random.Random(seed).random

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * self._random()

    def whole(self, low: int, high: int) -> int:
        """A whole number from low to high, both included."""
        return low + int(self._random() * (high - low + 1))

    def chance(self, probability: float) -> bool:
        return self._random() < probability

    def choice(self, options, weights=None):
        if weights is None:
            return options[self.whole(0, len(options) - 1)]
        edge = self._random() * sum(weights)
        for option, weight in zip(options, weights, strict=True):
            edge -= weight
            if edge < 0:
                return option
        return options[-1]

    def jitter(self, rgb: tuple[int, int, int], spread: int) -> tuple[int, int, int]:
        """The colour a little lighter or darker, and a little off its tint."""
        light = self.whole(-spread, spread)
        return tuple(min(255, max(0, c + light + self.whole(-spread // 3, spread // 3))) for c in rgb)

    def near_depth(self, near: float, far: float) -> float:
        """A depth that favours the foreground: uniform in size on the image rather than in metres."""
        return 1 / self.uniform(1 / far, 1 / near)


def _street(dice: _Dice) -> Street:
    return Street(
        middle=dice.uniform(-1.6, 1.6),
        half_road=dice.uniform(3.0, 4.2),
        verge=dice.choice((0.0, dice.uniform(0.9, 1.8)), weights=(45, 55)),
        sidewalk=dice.uniform(1.8, 3.2),
        crossing=dice.uniform(8, 20) if dice.chance(0.35) else 0.0,
        asphalt=dice.jitter((96, 97, 101), 24),
        paving=dice.jitter(dice.choice(((150, 147, 142), (128, 126, 126), (166, 148, 128), (140, 120, 108))), 18),
        grass=dice.jitter((104, 128, 62), 18),
    )


def _buildings(dice: _Dice, street: Street) -> tuple[Building, ...]:
    houses = [_house(dice, 0, x, dice.uniform(9, 16), 92.0, 100.0, True) for x in range(-33, 33, 13)]
    for side in (-1, 1):
        z = dice.uniform(4, 9)
        while z < 86:
            length, room = dice.uniform(8, 16), dice.uniform(2.5, 7) if dice.chance(0.3) else 0.0
            out = street.front + dice.uniform(0, 0.8)
            houses.append(_house(dice, side, street.middle + side * out, 12.0, z + room, z + room + length, room > 0))
            z += room + length
    return tuple(sorted(houses, key=lambda house: -house.near))


def _house(dice: _Dice, side: int, x: float, width: float, near: float, far: float, detached: bool) -> Building:
    floors = dice.whole(2, 6) if side else dice.whole(3, 11)
    shop = dice.jitter(dice.choice(((168, 52, 48), (52, 96, 84), (60, 80, 132), (190, 150, 70))), 20)
    return Building(
        side=side, x=x, width=width, near=near, far=far,
        height=floors * 3.1 + dice.uniform(0.4, 1.4), floors=floors,
        bays=max(2, round((far - near if side else width) / 2.6)),
        rgb=dice.jitter(dice.choice(FACADES), 14), roof=dice.choice(("flat", "gable"), weights=(65, 35)),
        shop=shop if side and dice.chance(0.45) else None, detached=detached,
    )  # fmt: skip


def _trees(dice: _Dice, street: Street) -> tuple[Tree, ...]:
    trees, density = [], dice.choice((0.15, 0.5, 0.85))
    for side in (-1, 1):
        z = dice.uniform(9, 16)
        while z < 60:
            if dice.chance(density):
                kind = dice.choice(("broadleaf", "conifer", "bush"), weights=(70, 14, 16))
                height = {
                    "broadleaf": dice.uniform(3.8, 7.0),
                    "conifer": dice.uniform(4, 7),
                    "bush": dice.uniform(0.8, 1.5),
                }
                out = street.half_road + (street.verge * 0.5 if street.verge else dice.uniform(0.7, 1.2))
                rgb = dice.jitter(dice.choice(FOLIAGE), 12)
                trees.append(Tree(street.middle + side * out, z, height[kind], kind, rgb))
            z += dice.uniform(4.5, 9)
    return tuple(sorted(trees, key=lambda tree: -tree.z))


def _lamps(dice: _Dice, street: Street) -> tuple[Lamp, ...]:
    if dice.chance(0.25):
        return ()
    side, step, start = dice.choice((-1, 1)), dice.uniform(9, 14), dice.uniform(8, 15)
    x = street.middle + side * (street.half_road + 0.35)
    return tuple(Lamp(x, start + step * i, dice.uniform(5.2, 6.4)) for i in (1, 0))


def _objects(dice: _Dice, camera: Camera, street: Street) -> tuple[SceneObject, ...]:
    """One to eight cars, people, signs and traffic lights, none standing in another, all at least half in view."""
    wanted = dice.choice(range(1, 9), weights=(8, 12, 16, 18, 16, 13, 10, 7))
    makers, objects = (_car, _person, _sign, _light), []
    for _ in range(6 * wanted):
        if len(objects) == wanted:
            break
        obj = dice.choice(makers, weights=(32, 34, 20, 14))(dice, street)
        u, _v = camera.project(obj.x, 0, obj.z)
        apart = all(abs(obj.x - o.x) > _room(obj, o, "x") or abs(obj.z - o.z) > _room(obj, o, "z") for o in objects)
        if 0.03 < u < 0.97 and apart:
            objects.append(obj)
    return tuple(sorted(objects, key=lambda obj: -obj.z))


def _room(a: SceneObject, b: SceneObject, axis: str) -> float:
    return sum(_extent(obj, axis) for obj in (a, b)) / 2 + 0.25


def _extent(obj: SceneObject, axis: str) -> float:
    if not isinstance(obj, Car):
        return 0.7
    across = obj.view in ("left", "right")
    return obj.length if across == (axis == "x") else obj.width


def _car(dice: _Dice, street: Street) -> Car:
    colour = dice.choice(tuple(CAR_COLOURS))
    lane = dice.choice((-1, 1))
    # Traffic keeps to the right: cars in the right lane show their rear, those in the left lane their front.
    view = dice.choice(("rear" if lane > 0 else "front", "left", "right"), weights=(64, 18, 18))
    x = street.middle + lane * street.half_road * dice.uniform(0.38, 0.62)
    size = dice.uniform(3.7, 4.5), dice.uniform(1.7, 1.9), dice.uniform(1.4, 1.75)
    return Car(x, dice.near_depth(7.5, 25), colour, dice.jitter(CAR_COLOURS[colour], 12), view, *size)


def _person(dice: _Dice, street: Street) -> Person:
    colour, crossing = dice.choice(tuple(COAT_COLOURS)), dice.chance(0.25)
    pavement = street.front - street.sidewalk, street.front - 0.5
    out = dice.uniform(0, 0.9) * street.half_road if crossing else dice.uniform(*pavement)
    height = dice.uniform(1.6, 1.95) if dice.chance(0.85) else dice.uniform(1.15, 1.4)
    return Person(
        street.middle + dice.choice((-1, 1)) * out, dice.near_depth(6, 16), height, colour,
        dice.jitter(COAT_COLOURS[colour], 12), dice.choice(TROUSERS), dice.choice(SKIN), dice.uniform(0.1, 1.0),
    )  # fmt: skip


def _kerbside(dice: _Dice, street: Street) -> float:
    return street.middle + dice.choice((-1, 1)) * (street.half_road + dice.uniform(0.35, 0.8))


def _sign(dice: _Dice, street: Street) -> Sign:
    shape, colour = dice.choice(SIGNS)
    return Sign(
        _kerbside(dice, street), dice.near_depth(6.5, 15), dice.uniform(2.3, 3.0), dice.uniform(0.95, 1.25), shape,
        colour, dice.jitter(SIGN_COLOURS[colour], 10),
    )  # fmt: skip


def _light(dice: _Dice, street: Street) -> Light:
    colour = dice.choice(LIGHT_COLOURS, weights=(45, 15, 40))
    return Light(
        _kerbside(dice, street), dice.near_depth(6.5, 15), dice.uniform(2.3, 3.0), dice.uniform(1.3, 1.6), colour
    )
