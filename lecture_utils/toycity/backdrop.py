"""Paints what a street is made of: sky, ground, houses, trees, lamps (everything that is not a counted object)."""

import itertools
import math
import random

import numpy as np

from lecture_utils.cityscapes import TRAIN_ID
from lecture_utils.toycity.canvas import Canvas
from lecture_utils.toycity.scene import Building, Camera, Lamp, Scene, Tree

SKY, BUILDING, VEGETATION, POLE = (TRAIN_ID[name] for name in ("sky", "building", "vegetation", "pole"))
ROAD, SIDEWALK, TERRAIN = (TRAIN_ID[name] for name in ("road", "sidewalk", "terrain"))
GROUND_DEPTHS = (2.2, 5, 7, 9.5, 13, 18, 26, 40, 64, 100)
SKIES = {  # top of the sky, horizon, light on objects
    ("day", "clear"): ((74, 132, 206), (192, 216, 236), (255, 252, 244)),
    ("day", "cloudy"): ((150, 160, 172), (204, 208, 210), (232, 234, 238)),
    ("day", "foggy"): ((186, 192, 196), (214, 216, 216), (236, 236, 236)),
    ("sunset", "clear"): ((86, 96, 158), (250, 178, 116), (250, 212, 178)),
    ("sunset", "cloudy"): ((124, 112, 140), (232, 160, 130), (232, 200, 180)),
    ("sunset", "foggy"): ((190, 158, 148), (226, 182, 156), (236, 206, 186)),
    ("night", "clear"): ((16, 22, 52), (48, 58, 96), (136, 142, 176)),
    ("night", "cloudy"): ((34, 38, 56), (68, 68, 88), (134, 138, 160)),
    ("night", "foggy"): ((50, 56, 74), (84, 88, 102), (138, 142, 160)),
}
REACH = {"clear": 150.0, "cloudy": 110.0, "foggy": 42.0}  # metres at which haze has taken two thirds


class Air:
    """The light of the hour and the haze of the weather: turns an object's own colour into its colour at a distance."""

    def __init__(self, scene: Scene):
        self.top, self.haze, self.light = SKIES[scene.time, scene.weather]
        self.reach = REACH[scene.weather]
        self.night = scene.time == "night"

    def __call__(self, rgb, z: float = 0.0, shade: float = 1.0) -> tuple[int, int, int]:
        """The colour `rgb` seen z metres away, in a shade (1: full light)."""
        clear = math.exp(-z / self.reach)
        near, (r, g, b), (ar, ag, ab), (hr, hg, hb) = shade * clear / 255, rgb, self.light, self.haze
        far = 1 - clear
        return (
            min(255, int(r * ar * near + hr * far)),
            min(255, int(g * ag * near + hg * far)),
            min(255, int(b * ab * near + hb * far)),
        )

    def glow(self, rgb, z: float = 0.0) -> tuple[int, int, int]:
        """The colour of something that shines by itself: haze dims it, darkness does not."""
        clear = math.exp(-z / (1.6 * self.reach))
        return tuple(int(c * clear + h * (1 - clear)) for c, h in zip(rgb, self.haze, strict=True))


def paint_sky(canvas: Canvas, scene: Scene, air: Air, dice: random.Random) -> None:
    horizon = scene.camera.horizon
    height = np.clip((np.arange(canvas.fine) + 0.5) / (canvas.fine * horizon), 0, 1)[:, None]
    mixed = np.array(air.top) * (1 - height) + np.array(air.haze) * height
    canvas.rows(mixed.astype(np.uint8), SKY)
    sun_u, sun_v = 0.5 + scene.sun * dice.uniform(0.1, 0.42), horizon * dice.uniform(0.15, 0.75)
    if scene.weather == "clear":
        disc = {"day": (255, 250, 224), "sunset": (255, 226, 160), "night": (226, 228, 236)}[scene.time]
        for radius, opacity in ((0.11, 0.08), (0.075, 0.12), (0.05, 0.2)):
            canvas.glaze_ellipse(sun_u, sun_v, radius, radius, disc, opacity)
        canvas.ellipse(sun_u, sun_v, 0.028, 0.028, disc)
        for _ in range(40 if air.night else 0):
            canvas.ellipse(dice.random(), dice.random() * horizon, 0.0018, 0.0018, (214, 218, 232))
    white = tuple((c + 2 * 255) // 3 if not air.night else c + 22 for c in air.haze)
    for _ in range({"clear": dice.randrange(4), "cloudy": 8, "foggy": 0}[scene.weather]):
        paint_cloud(
            canvas, dice.uniform(-0.1, 1.1), dice.uniform(0.02, 0.85) * horizon, dice.uniform(0.05, 0.13), white, dice
        )


def paint_cloud(canvas: Canvas, u: float, v: float, size: float, rgb, dice: random.Random) -> None:
    for _ in range(5):
        du, dv = dice.uniform(-1.1, 1.1) * size, dice.uniform(-0.18, 0.18) * size
        canvas.glaze_ellipse(u + du, v + dv, size * dice.uniform(0.5, 1), size * dice.uniform(0.16, 0.3), rgb, 0.42)


def paint_ground(canvas: Canvas, scene: Scene, air: Air) -> None:
    """Road, verges and sidewalks in slices that fade with distance, then markings and the shade of the houses."""
    camera, street = scene.camera, scene.street
    road, walk, front = street.half_road, street.front - street.sidewalk, street.front
    bands = [(-40, -walk, street.paving, SIDEWALK), (walk, 40, street.paving, SIDEWALK)]
    bands += [(-walk, -road, street.grass, TERRAIN), (road, walk, street.grass, TERRAIN)] if street.verge else []
    bands += [(-road, road, street.asphalt, ROAD)]
    for left, right, rgb, identity in bands:
        left, right = street.middle + left, street.middle + right
        strip(canvas, camera, left, right, GROUND_DEPTHS[0], GROUND_DEPTHS[-1], air(rgb, 80), identity)
        for near, far in itertools.pairwise(GROUND_DEPTHS):
            strip(canvas, camera, left, right, near, far, air(rgb, (near + far) / 2))
    for side in (-road, road):  # a kerb stone between road and pavement
        x = street.middle + side
        strip(canvas, camera, x - 0.09, x + 0.09, 2.2, 45, air((176, 174, 168), 14))
    paint_markings(canvas, scene, air)
    shaded = (street.middle + scene.sun * front, street.middle + scene.sun * (front - 4.5))
    if scene.weather == "clear" and not air.night:
        canvas.glaze(quad(camera, min(shaded), max(shaded), 2.2, 90), (20, 24, 40), 0.3)


def paint_markings(canvas: Canvas, scene: Scene, air: Air) -> None:
    camera, street = scene.camera, scene.street
    white = (214, 214, 206)
    for z in range(3, 60, 5):
        if not street.crossing or abs(z + 1 - street.crossing) > 4:
            strip(canvas, camera, street.middle - 0.08, street.middle + 0.08, z, z + 2.4, air(white, z + 1))
    if street.crossing:
        bars = int(street.half_road * 2 / 0.9)
        for i in range(bars):
            x = street.middle - street.half_road + (i + 0.3) * 2 * street.half_road / bars
            strip(canvas, camera, x, x + 0.45, street.crossing, street.crossing + 2.6, air(white, street.crossing))


def quad(camera: Camera, left: float, right: float, near: float, far: float, height: float = 0.0):
    corners = ((left, near), (left, far), (right, far), (right, near))
    return [camera.project(x, height, z) for x, z in corners]


def strip(canvas: Canvas, camera: Camera, left, right, near, far, rgb, identity: int | None = None) -> None:
    canvas.polygon(quad(camera, left, right, near, far), rgb, identity)


def shadow(
    canvas: Canvas, camera: Camera, x: float, z: float, half_width: float, half_depth: float, opacity: float
) -> None:
    """A soft dark patch on the ground below an object."""
    u, v = camera.project(x, 0, z)
    scale = camera.focal / z
    canvas.glaze_ellipse(
        u, v, half_width * scale, half_depth * scale * camera.height / z + 0.002, (12, 14, 22), opacity
    )


def lit_windows(scene: Scene, dice: random.Random) -> list[bool]:
    """Which windows have their light on, for walls to read off in an order of their own."""
    share = {"day": 0.02, "sunset": 0.16, "night": 0.5}[scene.time]
    return [dice.random() < share for _ in range(97)]


def paint_house(canvas: Canvas, scene: Scene, air: Air, house: Building, lit: list[bool]) -> None:
    """The street front in perspective and the end wall towards the camera, each with its windows."""
    camera, near = scene.camera, max(house.near, 2.5)
    if house.side and not 0 <= camera.project(house.x, 0, house.far)[0] <= 1:
        return  # beside the image
    far_end = house.x + house.width * (house.side or 1)
    if house.side:
        shade = 0.74 if house.side == scene.sun else 1.0  # the front on the sun's own side looks away from it
        paint_wall(canvas, camera, air, house, [(house.x, near), (house.x, house.far)], shade, lit)
        if house.shop and near > 4:
            paint_awning(canvas, camera, air, house, near)
    paint_wall(canvas, camera, air, house, [(house.x, near), (far_end, near)], 0.88, lit if house.detached else None)
    if house.roof == "gable" and house.side:
        ridge = (house.x + far_end) / 2, house.height + 2.6
        tiles = (134, 74, 58) if house.rgb[0] < 150 else (104, 84, 78)
        eaves = [camera.project(house.x, house.height, z) for z in (near, house.far)]
        top = [camera.project(ridge[0], ridge[1], z) for z in (house.far, near)]
        canvas.polygon(eaves + top, air(tiles, near), BUILDING)
        gable = [camera.project(x, h, near) for x, h in ((house.x, house.height), ridge, (far_end, house.height))]
        canvas.polygon(gable, air(house.rgb, near, 0.82), BUILDING)


def paint_wall(canvas: Canvas, camera: Camera, air: Air, house: Building, ends, shade: float, lit) -> None:
    """A wall between two ground points (x, z), with floors × bays of windows unless `lit` is None."""
    (xa, za), (xb, zb) = ends
    middle = (za + zb) / 2
    corners = [
        camera.project(x, h, z)
        for x, h, z in ((xa, 0, za), (xa, house.height, za), (xb, house.height, zb), (xb, 0, zb))
    ]
    if max(u for u, _ in corners) < 0 or min(u for u, _ in corners) > 1:
        return
    canvas.polygon(corners, air(house.rgb, middle, shade), BUILDING)
    top = [camera.project(xa, h, za) for h in (house.height, house.height - 0.35)]
    end = [camera.project(xb, h, zb) for h in (house.height - 0.35, house.height)]
    canvas.polygon([*top, *end], air(house.rgb, middle, shade * 0.72))  # a cornice
    if lit is None:
        return
    bays = house.bays if xa == xb or house.side == 0 else max(2, int(house.width / 3))
    edges = []
    for part in (bay + side for bay in range(bays) for side in (0.26, 0.74)):
        x, z = xa + (xb - xa) * part / bays, za + (zb - za) * part / bays
        edges.append((*camera.project(x, 0, z), camera.focal / z))
    first = 1 if house.shop else 0
    rows = [(floor * 3.1 + 1.0, floor * 3.1 + 2.5) for floor in range(first, house.floors)]
    glass, shine = air((92, 108, 128), middle, shade), air.glow((250, 214, 130), middle)
    pairs = list(zip(edges[::2], edges[1::2], strict=True))
    start = int(10 * (house.near + abs(house.x)))
    canvas.panes(pairs, rows, lambda bay, floor: shine if lit[(start + floor * 7 + bay * 3) % len(lit)] else glass)


def paint_awning(canvas: Canvas, camera: Camera, air: Air, house: Building, near: float) -> None:
    """A shop on the ground floor: its window, lit at night, below a coloured awning."""
    x, out = house.x, house.x - house.side * 1.1
    window = [
        camera.project(x, h, z)
        for h, z in ((0.4, near + 0.6), (2.3, near + 0.6), (2.3, house.far - 0.6), (0.4, house.far - 0.6))
    ]
    middle = (near + house.far) / 2
    canvas.polygon(window, air.glow((244, 220, 160), middle) if air.night else air((84, 96, 108), middle), None)
    slope = [(x, 3.0, near + 0.4), (x, 3.0, house.far - 0.4), (out, 2.45, house.far - 0.4), (out, 2.45, near + 0.4)]
    canvas.polygon([camera.project(*point) for point in slope], air(house.shop, middle), BUILDING)


def paint_tree(canvas: Canvas, scene: Scene, air: Air, tree: Tree, dice: random.Random) -> None:
    camera, scale = scene.camera, scene.camera.focal / tree.z
    u, foot = camera.project(tree.x, 0, tree.z)
    shadow(canvas, camera, tree.x, tree.z, 0.3 * tree.height, 0.3 * tree.height, 0.25)
    bark = air((92, 72, 54), tree.z)
    if tree.kind == "conifer":
        canvas.box(u - 0.12 * scale, foot - 0.2 * tree.height * scale, u + 0.12 * scale, foot, bark, VEGETATION)
        for i in range(4):
            low, half = foot - (0.12 + 0.2 * i) * tree.height * scale, (0.26 - 0.05 * i) * tree.height * scale
            points = ((u - half, low), (u + half, low), (u, low - 0.36 * tree.height * scale))
            canvas.polygon(points, air(tree.rgb, tree.z, 0.72 + 0.1 * i), VEGETATION)
        return
    spread = 0.5 * tree.height if tree.kind == "bush" else 0.27 * tree.height
    centre = foot - (0.45 if tree.kind == "bush" else 0.68) * tree.height * scale
    if tree.kind == "broadleaf":
        canvas.box(u - 0.14 * scale, centre, u + 0.14 * scale, foot, bark, VEGETATION)
    clumps = [(dice.uniform(-0.75, 0.75), dice.uniform(-0.7, 0.6), dice.uniform(0.42, 0.62)) for _ in range(9)]
    for tone, shift in ((0.66, 0.1), (0.9, 0.0), (1.14, -0.16)):  # dark below, light on the sun's side
        mark = VEGETATION if tone < 0.8 else None  # the lighter clumps lie within the dark ones
        rgb, share = air(tree.rgb, tree.z, tone), 1.0 if tone < 0.8 else 0.8 if tone < 1 else 0.45
        for du, dv, radius in clumps[: 9 if tone < 1 else 6]:
            grow = share * radius * spread * scale
            at = u + (du - 1.6 * scene.sun * shift) * spread * scale, centre + (dv + shift) * spread * scale
            canvas.ellipse(*at, grow, grow, rgb, mark)


def paint_lamp(canvas: Canvas, scene: Scene, air: Air, lamp: Lamp) -> None:
    camera, scale = scene.camera, scene.camera.focal / lamp.z
    reach = -1.3 if lamp.x > scene.street.middle else 1.3
    paint_post(canvas, scene, air, lamp.x, lamp.z, lamp.height)
    (u, v), (tip, _) = (camera.project(x, lamp.height, lamp.z) for x in (lamp.x, lamp.x + reach))
    canvas.box(min(u, tip), v - 0.05 * scale, max(u, tip), v + 0.07 * scale, air((96, 100, 104), lamp.z), POLE)
    head = air.glow((255, 240, 200), lamp.z) if air.night else air((196, 196, 190), lamp.z)
    canvas.ellipse(tip, v + 0.06 * scale, 0.34 * scale, 0.14 * scale, head, POLE)
    if air.night:
        for radius, opacity in ((1.7, 0.07), (1.0, 0.12)):
            canvas.glaze_ellipse(tip, v + 0.1 * scale, radius * scale, radius * scale, (255, 226, 160), opacity)


def paint_post(
    canvas: Canvas, scene: Scene, air: Air, x: float, z: float, height: float, half_width: float = 0.085
) -> None:
    """An upright pole: of a lamp, a sign or a traffic light."""
    camera, scale = scene.camera, scene.camera.focal / z
    shadow(canvas, camera, x, z, 0.25, 0.5, 0.3)
    (u, foot), (_, top) = camera.project(x, 0, z), camera.project(x, height, z)
    half = max(half_width * scale, 0.006)  # never thinner than about a pixel at 96 × 96
    canvas.box(u - half, top, u + half, foot, air((104, 106, 108), z), POLE)
    canvas.box(u - half, top, u - half * 0.2, foot, air((150, 152, 154), z))


def paint_bonnet(canvas: Canvas, air: Air, dice: random.Random) -> None:
    """The camera car's own bonnet along the lower edge: belongs to no class, so it is ignored."""
    rgb = dice.choice(((48, 50, 56), (130, 30, 34), (60, 80, 110), (170, 172, 174)))
    canvas.ellipse(0.5, 1.06, 0.56, 0.15, air(rgb, 0), 255)
    canvas.glaze_ellipse(0.5, 1.03, 0.4, 0.085, (255, 255, 255), 0.16)
