"""Objects of the toy city cut out of renderings, and streets without objects that they are moved over."""

from __future__ import annotations

import base64
import io
from dataclasses import replace

import numpy as np
from PIL import Image

from lecture_utils import toycity
from lecture_utils.datasets import DETECTION_SIZE
from lecture_utils.toycity.sample import CAR_COLOURS, COAT_COLOURS, SKIN, TIMES, TROUSERS
from lecture_utils.toycity.scene import Car, Person, Scene, SceneObject

SHARP = 3  # pixels of what is shown for a pixel of what the networks see
SIZES = ("small", "medium", "large")
FIRST = ("red car", "person in yellow")
DISTANCES = {"car": (22.0, 15.0, 9.0), "person": (11.0, 7.5, 4.6)}  # in metres, one for each size


def times_of_day() -> list[Scene]:
    """The first scene of the test split by day and at sunset in which no bonnet hides the road, without its objects."""
    scenes = [toycity.sample_scene(seed) for seed in toycity.seeds("test", 100)]
    free = [replace(scene, objects=()) for scene in scenes if not scene.bonnet]
    return [next(scene for scene in free if scene.time == time) for time in TIMES if time != "night"]


def actors() -> dict[str, SceneObject]:
    """Two cars and two people, as they stand in the middle of a street; their distance is still to be chosen."""
    car = {"x": 0.0, "z": 1.0, "length": 4.3, "width": 1.8, "height": 1.5, "view": "left"}
    person = {"x": 0.0, "z": 1.0, "height": 1.75, "skin": SKIN[1], "stride": 0.5}
    made = {f"{colour} car": Car(**car, colour=colour, rgb=CAR_COLOURS[colour]) for colour in ("red", "blue")}
    for colour, trousers in (("yellow", TROUSERS[0]), ("green", TROUSERS[2])):
        coat = {"colour": colour, "rgb": COAT_COLOURS[colour], "trousers": trousers}
        made[f"person in {colour}"] = Person(**person, **coat)
    return made


def cut_out(scene: Scene, name: str, actor: SceneObject, size: str) -> dict:
    """An object of an empty street's light as the networks see it, with its mask, and as it is shown."""
    z = DISTANCES[actor.category][SIZES.index(size)]
    middle = (0.5 - scene.camera.vanish_u) * z / scene.camera.focal
    alone = replace(scene, trees=(), lamps=(), objects=(replace(actor, x=middle, z=z),))
    seen = toycity.render(alone, DETECTION_SIZE)
    x0, y0, x1, y1 = map(int, seen.objects[0].box)
    shown = toycity.render(alone, SHARP * DETECTION_SIZE)
    alpha = 255 * (shown.instances > 0).astype(np.uint8)
    sharp = np.dstack([shown.image, alpha])[SHARP * y0 : SHARP * y1, SHARP * x0 : SHARP * x1]
    mask = seen.instances[y0:y1, x0:x1] > 0
    known = {"name": name, "kind": actor.category, "size": size, "y": y0, "x": x0}
    return {**known, "pixels": seen.image[y0:y1, x0:x1], "mask": mask, "sharp": sharp}


def streets() -> list[dict]:
    """The empty streets (`pixels`, and `sharp` as they are shown), each with its `sprites`, as arrays."""
    wanted = [(name, actor, size) for name, actor in actors().items() for size in SIZES]
    wanted = [one for one in wanted if one[0] in FIRST or one[2] == "large"]  # of the second ones a size is enough
    return [
        {
            "name": scene.time,
            "pixels": toycity.render(scene, DETECTION_SIZE).image,
            "sharp": toycity.render(scene, SHARP * DETECTION_SIZE).image,
            "sprites": [cut_out(scene, name, actor, size) for name, actor, size in wanted],
        }
        for scene in times_of_day()
    ]


def pasted(street: np.ndarray, sprites: list[tuple[dict, int, int]]) -> np.ndarray:
    """A street with sprites at (y, x), their upper left corner; what reaches beyond the border is cut off."""
    height, width = street.shape[:2]
    made = street.copy()
    for sprite, top, left in sprites:
        rows, columns = np.nonzero(sprite["mask"])
        inside = (rows + top >= 0) & (rows + top < height) & (columns + left >= 0) & (columns + left < width)
        rows, columns = rows[inside], columns[inside]
        made[rows + top, columns + left] = sprite["pixels"][rows, columns]
    return made


def as_address(pixels: np.ndarray, kind: str) -> str:
    """An image as an address that needs no file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, quality=88)
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"
