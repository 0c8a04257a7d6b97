"""What stands in a toy-city street: an immutable description, drawn by `sample.py` and painted by `render.py`.

Places are in metres: x to the right of the camera's axis, z into the image, heights above the ground.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Camera:
    """A pinhole: focal length in image widths, height in metres, the vanishing point in image units (0 to 1)."""

    focal: float
    height: float
    vanish_u: float
    horizon: float

    def project(self, x: float, height: float, z: float) -> tuple[float, float]:
        """Where the point (x, height, z) in metres falls: (u, v) in image units, v downwards."""
        return self.vanish_u + self.focal * x / z, self.horizon + self.focal * (self.height - height) / z


@dataclass(frozen=True, slots=True)
class Street:
    """Widths in metres from the road's middle outwards: half road, grass verge (0: none), sidewalk; then the houses."""

    middle: float
    half_road: float
    verge: float
    sidewalk: float
    crossing: float  # depth of a zebra crossing, 0: none
    asphalt: tuple[int, int, int]
    paving: tuple[int, int, int]
    grass: tuple[int, int, int]

    @property
    def front(self) -> float:
        """Distance from the road's middle to the house fronts."""
        return self.half_road + self.verge + self.sidewalk


@dataclass(frozen=True, slots=True)
class Building:
    side: int  # -1 left, +1 right, 0 across the far end of the street
    x: float  # the corner next to the street
    width: float
    near: float
    far: float
    height: float
    floors: int
    bays: int
    rgb: tuple[int, int, int]
    roof: str  # flat, gable
    shop: tuple[int, int, int] | None  # the colour of an awning
    detached: bool  # there is room before it, so its end wall has windows


@dataclass(frozen=True, slots=True)
class Tree:
    x: float
    z: float
    height: float
    kind: str  # broadleaf, conifer, bush
    rgb: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Lamp:
    x: float
    z: float
    height: float


@dataclass(frozen=True, slots=True)
class Car:
    x: float
    z: float
    colour: str
    rgb: tuple[int, int, int]
    view: str  # rear, front, left, right (the way it points)
    length: float
    width: float
    height: float
    category: str = field(default="car", init=False)


@dataclass(frozen=True, slots=True)
class Person:
    x: float
    z: float
    height: float
    colour: str
    rgb: tuple[int, int, int]
    trousers: tuple[int, int, int]
    skin: tuple[int, int, int]
    stride: float
    category: str = field(default="person", init=False)


@dataclass(frozen=True, slots=True)
class Sign:
    x: float
    z: float
    height: float  # of its middle
    size: float
    shape: str  # round, triangle, square, octagon
    colour: str
    rgb: tuple[int, int, int]
    category: str = field(default="traffic sign", init=False)


@dataclass(frozen=True, slots=True)
class Light:
    x: float
    z: float
    height: float  # of its lower edge
    size: float  # height of the housing
    colour: str  # of the lamp that is on
    category: str = field(default="traffic light", init=False)


SceneObject = Car | Person | Sign | Light


@dataclass(frozen=True, slots=True)
class Scene:
    """One street, whole: everything `render` draws and `describe` speaks of."""

    seed: int
    time: str
    weather: str
    sun: int  # -1: light from the left, +1: from the right
    camera: Camera
    street: Street
    bonnet: bool  # the camera car's own bonnet is in the image; its pixels are ignored, as in Cityscapes
    buildings: tuple[Building, ...]
    trees: tuple[Tree, ...]
    lamps: tuple[Lamp, ...]
    objects: tuple[SceneObject, ...]  # far to near
