"""Turns a scene into what a camera and an annotator would give: image, label map, instances, visible boxes."""

import random
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image

from lecture_utils.cityscapes import CLASSES, IGNORE_INDEX, TRAIN_ID
from lecture_utils.toycity import backdrop, objects
from lecture_utils.toycity.canvas import FIRST_OBJECT, Canvas
from lecture_utils.toycity.scene import Scene, SceneObject

SIZES = (64, 512)
# An object must show at least this share of itself and of the image's height to be counted.
MIN_VISIBLE, MIN_HEIGHT = 0.3, 0.04
GRAIN = {"road": 11, "sidewalk": 9, "building": 8, "vegetation": 22, "terrain": 24, "sky": 1}  # strength of the texture


@dataclass(frozen=True, slots=True)
class VisibleObject:
    """An object that can be seen: what it is in the scene, its class, and the box around its visible part in pixels."""

    object: SceneObject
    category: str
    box: tuple[float, float, float, float]  # x0, y0, x1, y1; x1 and y1 are one past the last pixel
    area: int

    @property
    def colour(self) -> str:
        return self.object.colour


@dataclass(frozen=True, slots=True)
class Rendering:
    """What `render` returns; all arrays are (size, size), uint8."""

    image: np.ndarray  # (size, size, 3) RGB
    labels: np.ndarray  # train ids of Cityscapes, 255: ignored
    instances: np.ndarray  # 0: none, k: objects[k - 1]
    objects: tuple[VisibleObject, ...]  # far to near


def render(scene: Scene, size: int = 128) -> Rendering:
    """Draw a scene at size × size pixels (64 to 512), anti-aliased, with the exact truth beside it.

    Objects hidden by more than two thirds, or smaller than a twenty-fifth of the image's height, keep their class in
    `labels` but are not in `objects`.
    """
    if isinstance(size, bool) or not isinstance(size, int | np.integer) or not SIZES[0] <= size <= SIZES[1]:
        raise ValueError(f"size: got {size!r}, expected a whole number of pixels from {SIZES[0]} to {SIZES[1]}")
    rgb, identities, dice = _painted(scene, int(size))
    labels = _label_of_identity(scene)[identities]
    visible, instances = _visible_objects(scene, identities)
    return Rendering(_texture(rgb, labels, dice), labels, instances, visible)


def render_close(scene: Scene, size: int = 2048) -> np.ndarray:
    """The image alone, (size, size, 3) uint8, for a view of a part: sharp edges under the texture of 512 pixels."""
    if not SIZES[1] <= size <= 2048:
        raise ValueError(f"size: got {size!r}, expected {SIZES[1]} to 2048 pixels")
    plain, identities, dice = _painted(scene, SIZES[1])
    textured = _texture(plain, _label_of_identity(scene)[identities], dice).astype(np.float32)
    texture = [Image.fromarray(channel) for channel in (textured - plain).transpose(2, 0, 1)]
    texture = np.stack([np.asarray(one.resize((size, size), Image.Resampling.BICUBIC)) for one in texture], axis=-1)
    return np.clip(_painted(scene, size)[0] + texture, 0, 255).round().astype(np.uint8)


def _painted(scene: Scene, size: int) -> tuple[np.ndarray, np.ndarray, random.Random]:
    """A scene without its texture: the image, what each pixel belongs to, and the dice as they are left."""
    dice, canvas = random.Random(scene.seed ^ 0x5EED), Canvas(size)
    _paint(canvas, scene, backdrop.Air(scene), dice)
    return *canvas.reduced(), dice


def _paint(canvas: Canvas, scene: Scene, air: backdrop.Air, dice: random.Random) -> None:
    """Far to near, so that what is nearer covers what is behind it."""
    backdrop.paint_sky(canvas, scene, air, dice)
    backdrop.paint_ground(canvas, scene, air)
    lit = backdrop.lit_windows(scene, dice)
    for house in scene.buildings:
        backdrop.paint_house(canvas, scene, air, house, lit)
    standing = [(tree.z, lambda t=tree: backdrop.paint_tree(canvas, scene, air, t, dice)) for tree in scene.trees]
    standing += [(lamp.z, lambda t=lamp: backdrop.paint_lamp(canvas, scene, air, t)) for lamp in scene.lamps]
    for index, obj in enumerate(scene.objects):
        paint = lambda t=obj, i=index: objects.paint_object(canvas, scene, air, t, FIRST_OBJECT + i)  # noqa: E731
        standing.append((obj.z, paint))
    for _, paint in sorted(standing, key=lambda pair: -pair[0]):
        paint()
    if scene.bonnet:
        backdrop.paint_bonnet(canvas, air, dice)


def _label_of_identity(scene: Scene) -> np.ndarray:
    table = np.full(256, IGNORE_INDEX, dtype=np.uint8)
    table[: len(CLASSES)] = np.arange(len(CLASSES))
    for index, obj in enumerate(scene.objects):
        table[FIRST_OBJECT + index] = TRAIN_ID[obj.category]
    return table


def _visible_objects(scene: Scene, identities: np.ndarray) -> tuple[tuple[VisibleObject, ...], np.ndarray]:
    size = identities.shape[0]
    instances, visible = np.zeros_like(identities), []
    for index, obj in enumerate(scene.objects):
        rows, columns = np.nonzero(identities == FIRST_OBJECT + index)
        if not len(rows) or len(rows) < MIN_VISIBLE * _expected_area(scene, obj, size):
            continue
        box = float(columns.min()), float(rows.min()), float(columns.max() + 1), float(rows.max() + 1)
        if box[3] - box[1] < MIN_HEIGHT * size:
            continue
        visible.append(VisibleObject(obj, obj.category, box, len(rows)))
        instances[rows, columns] = len(visible)
    return tuple(visible), instances


def _expected_area(scene: Scene, obj: SceneObject, size: int) -> float:
    """About how many pixels the whole object would cover if nothing stood before it and the frame did not cut it."""
    scale = scene.camera.focal / obj.z * size
    if obj.category == "car":
        return 0.75 * (obj.length if obj.view in ("left", "right") else obj.width) * obj.height * scale**2
    if obj.category == "person":
        return 0.2 * obj.height**2 * scale**2
    return (0.75 if obj.category == "traffic sign" else 0.48) * obj.size**2 * scale**2


@cache
def _noise(tile: int = 640) -> tuple[np.ndarray, np.ndarray]:
    """Two tiles in -128..127: soft patches of three sizes for surfaces, and the grain of a sensor."""
    bits = np.random.Generator(np.random.PCG64(14)).integers(0, 256, size=(3, tile, tile), dtype=np.uint8)
    soft = np.zeros((tile, tile), dtype=np.int16)
    for cell, share in ((2, 40), (8, 36), (40, 24)):
        coarse = Image.fromarray(bits[0, : tile // cell, : tile // cell]).resize((tile, tile), Image.Resampling.BICUBIC)
        soft += (np.asarray(coarse).astype(np.int16) - 128) * share // 100
    return soft, bits[1].astype(np.int16) // 2 + bits[2] // 2 - 128


_GRAIN_OF_LABEL = np.full(256, 5, dtype=np.int16)
for _name, _strength in GRAIN.items():
    _GRAIN_OF_LABEL[TRAIN_ID[_name]] = _strength


def _texture(rgb: np.ndarray, labels: np.ndarray, dice: random.Random) -> np.ndarray:
    """Give each surface its grain and the whole image a little sensor noise, in whole numbers."""
    size = labels.shape[0]
    soft, sensor = _noise()
    (row, column), (row2, column2) = ([dice.randrange(640 - size + 1) for _ in range(2)] for _ in range(2))
    patch = soft[row : row + size, column : column + size] * _GRAIN_OF_LABEL[labels]  # -127..127 times 2..26
    gain = (256 + patch // 24).astype(np.int32)[..., None]
    speck = (sensor[row2 : row2 + size, column2 : column2 + size] // 24)[..., None]
    return np.clip((rgb * gain >> 8) + speck, 0, 255).astype(np.uint8)
