"""Paints the counted objects of a scene: cars, people, traffic signs, traffic lights."""

import math

from lecture_utils.toycity.backdrop import Air, paint_post, shadow
from lecture_utils.toycity.canvas import Canvas
from lecture_utils.toycity.scene import Car, Light, Person, Scene, SceneObject, Sign

GLASS, TYRE = (58, 72, 88), (24, 24, 27)
WHEEL_ANGLES = [2 * math.pi * i / 10 for i in range(10)]


def paint_object(canvas: Canvas, scene: Scene, air: Air, obj: SceneObject, identity: int) -> None:
    """Draw one object and mark its pixels with `identity`; a sign's post is no part of the sign."""
    painters = {Car: paint_car, Person: paint_person, Sign: paint_sign, Light: paint_light}
    painters[type(obj)](canvas, scene, air, obj, identity)


def paint_car(canvas: Canvas, scene: Scene, air: Air, car: Car, identity: int) -> None:
    across = car.view in ("left", "right")
    shadow(canvas, scene.camera, car.x, car.z, 0.56 * (car.length if across else car.width), 1.4, 0.5)
    (paint_car_across if across else paint_car_along)(canvas, scene, air, car, identity)


def paint_car_across(canvas: Canvas, scene: Scene, air: Air, car: Car, identity: int) -> None:
    """A car seen from the side: body, cabin with windows, two wheels."""
    camera, scale = scene.camera, scene.camera.focal / car.z
    u, foot = camera.project(car.x, 0, car.z)
    ahead = 1 if car.view == "right" else -1

    def at(along: float, up: float) -> tuple[float, float]:  # in units of half a length and of the height
        return u + ahead * along * car.length / 2 * scale, foot - up * car.height * scale

    body = [
        at(x, y) for x, y in ((-1, 0.16), (-1, 0.5), (-0.88, 0.6), (0.55, 0.6), (0.94, 0.52), (1, 0.34), (0.98, 0.16))
    ]
    cabin = [at(x, y) for x, y in ((-0.82, 0.56), (-0.58, 1), (0.16, 1), (0.52, 0.56))]
    canvas.polygon(cabin, air(car.rgb, car.z, 0.92), identity)
    canvas.polygon(body, air(car.rgb, car.z), identity)
    canvas.polygon([at(x, y) for x, y in ((-1, 0.16), (-1, 0.3), (0.99, 0.3), (0.98, 0.16))], air(car.rgb, car.z, 0.7))
    for window in (
        ((-0.7, 0.62), (-0.54, 0.93), (-0.22, 0.93), (-0.22, 0.62)),
        ((-0.15, 0.62), (-0.15, 0.93), (0.13, 0.93), (0.4, 0.62)),
    ):
        canvas.polygon([at(x, y) for x, y in window], air(GLASS, car.z))
    for wheel in (-0.62, 0.62):
        cu, cv = at(wheel, 0.2)
        for radius, rgb in ((0.34, TYRE), (0.17, (150, 152, 156))):
            canvas.ellipse(cu, cv, radius * scale, radius * scale, air(rgb, car.z), identity)
    paint_lamps(canvas, air, car, [(at(0.97, 0.42), (255, 240, 200)), (at(-0.98, 0.46), (220, 30, 26))], scale)


def paint_car_along(canvas: Canvas, scene: Scene, air: Air, car: Car, identity: int) -> None:
    """A car on its lane, seen from behind or from the front: a box in perspective with a narrower cabin on top."""
    camera, half = scene.camera, car.width / 2
    near, far = car.z - min(car.length / 2, car.z * 0.3), car.z + car.length / 2
    left, right, belt, low = car.x - half, car.x + half, 0.56 * car.height, 0.16 * car.height
    side = left if left > 0 else right if right < 0 else None  # the flank that faces the camera

    def at(x: float, height: float, z: float) -> tuple[float, float]:
        return camera.project(x, height, z)

    def panel(*points, rgb, shade=1.0, mark=identity):
        canvas.polygon([at(*point) for point in points], air(rgb, car.z, shade), mark)

    inset, front, back = 0.16 * car.width, near + 0.18 * car.length, far - 0.2 * car.length
    for x in (left + 0.14, right - 0.14):  # wheels: dark, below the body
        panel(
            (x - 0.13, 0, near + 0.1),
            (x - 0.13, 0.5, near + 0.1),
            (x + 0.13, 0.5, near + 0.1),
            (x + 0.13, 0, near + 0.1),
            rgb=TYRE,
        )
    if side is not None:
        flank = 1 if side == left else -1
        panel((side, low, near), (side, belt, near), (side, belt, far), (side, low, far), rgb=car.rgb, shade=0.78)
        glass = side + flank * inset * 0.5
        panel(
            (side, belt, near),
            (glass, car.height, front),
            (glass, car.height, back),
            (side, belt, far),
            rgb=GLASS,
            shade=0.9,
        )
        for z in (near + 0.2 * car.length, near + 0.78 * car.length):
            rim = [(side, 0.32 + 0.32 * math.sin(a), z + 0.32 * math.cos(a)) for a in WHEEL_ANGLES]
            panel(*rim, rgb=TYRE)
    panel((left, belt, near), (left, belt, far), (right, belt, far), (right, belt, near), rgb=car.rgb, shade=1.08)
    roof = [
        (left + inset, car.height, front),
        (left + inset, car.height, back),
        (right - inset, car.height, back),
        (right - inset, car.height, front),
    ]
    panel(*roof, rgb=car.rgb, shade=1.12)
    panel((left + 0.05, belt, near + 0.1), roof[0], roof[3], (right - 0.05, belt, near + 0.1), rgb=car.rgb, shade=0.9)
    glass = [(left + 0.2, belt + 0.05, near + 0.14), (left + inset + 0.1, car.height - 0.1, front)]
    glass += [(right - inset - 0.1, car.height - 0.1, front), (right - 0.2, belt + 0.05, near + 0.14)]
    panel(*glass, rgb=GLASS)
    panel((left, low, near), (left, belt, near), (right, belt, near), (right, low, near), rgb=car.rgb)
    panel(
        (left, low, near),
        (left, low + 0.2, near),
        (right, low + 0.2, near),
        (right, low, near),
        rgb=car.rgb,
        shade=0.62,
    )
    plate = (-0.26, 0.26)
    panel(
        *((car.x + x, h, near) for x, h in ((plate[0], 0.42), (plate[0], 0.56), (plate[1], 0.56), (plate[1], 0.42))),
        rgb=(226, 226, 214),
    )
    lamp = (220, 26, 24) if car.view == "rear" else (255, 244, 214)
    paint_lamps(
        canvas,
        air,
        car,
        [(at(x, 0.46 * car.height, near), lamp) for x in (left + 0.22, right - 0.22)],
        camera.focal / near,
    )


def paint_lamps(canvas: Canvas, air: Air, car: Car, lamps, scale: float) -> None:
    for (u, v), rgb in lamps:
        canvas.ellipse(u, v, 0.16 * scale, 0.1 * scale, air.glow(rgb, car.z) if air.night else air(rgb, car.z))
        if air.night:
            canvas.glaze_ellipse(u, v, 0.42 * scale, 0.36 * scale, rgb, 0.22)


def paint_person(canvas: Canvas, scene: Scene, air: Air, person: Person, identity: int) -> None:
    """Legs apart by the stride, a coat in the named colour, arms, a head with hair."""
    camera, unit = scene.camera, person.height * scene.camera.focal / person.z
    u, foot = camera.project(person.x, 0, person.z)
    shadow(canvas, camera, person.x, person.z, 0.34, 0.5, 0.42)

    def part(points, rgb, shade=1.0):
        canvas.polygon([(u + x * unit, foot - y * unit) for x, y in points], air(rgb, person.z, shade), identity)

    step = 0.03 + 0.08 * person.stride
    for side, shade in ((-1, 0.82), (1, 1.0)):
        part(
            ((side * 0.005, 0.5), (side * 0.085, 0.5), (side * (step + 0.045), 0.0), (side * (step - 0.04), 0.0)),
            person.trousers,
            shade,
        )
        part(
            (
                (side * (step - 0.045), 0.035),
                (side * (step + 0.06), 0.035),
                (side * (step + 0.06), 0),
                (side * (step - 0.045), 0),
            ),
            TYRE,
        )
    swing = 0.07 * person.stride
    for side in (-1, 1):
        part(
            ((side * 0.1, 0.8), (side * 0.15, 0.78), (side * (0.15 + swing), 0.45), (side * (0.1 + swing), 0.44)),
            person.rgb,
            0.78,
        )
    part(((-0.09, 0.44), (-0.125, 0.8), (-0.06, 0.84), (0.06, 0.84), (0.125, 0.8), (0.09, 0.44)), person.rgb)
    part(((0.03, 0.44), (0.045, 0.83), (0.06, 0.84), (0.125, 0.8), (0.09, 0.44)), person.rgb, 0.84)
    part(((-0.025, 0.82), (-0.025, 0.88), (0.025, 0.88), (0.025, 0.82)), person.skin, 0.85)
    hair = (38, 30, 26) if person.stride < 0.6 else (112, 76, 44)
    canvas.ellipse(u, foot - 0.935 * unit, 0.062 * unit, 0.068 * unit, air(hair, person.z), identity)
    canvas.ellipse(u, foot - 0.918 * unit, 0.05 * unit, 0.055 * unit, air(person.skin, person.z), identity)


def paint_sign(canvas: Canvas, scene: Scene, air: Air, sign: Sign, identity: int) -> None:
    camera, radius = scene.camera, sign.size / 2 * scene.camera.focal / sign.z
    paint_post(canvas, scene, air, sign.x, sign.z, sign.height)
    u, v = camera.project(sign.x, sign.height, sign.z)

    def plate(scale: float, rgb) -> None:
        if sign.shape == "round":
            canvas.ellipse(u, v, radius * scale, radius * scale, rgb, identity)
            return
        corners, turn = {"triangle": (3, -math.pi / 2), "square": (4, math.pi / 4), "octagon": (8, math.pi / 8)}[
            sign.shape
        ]
        reach = radius * scale * {"triangle": 1.15, "square": 1.25, "octagon": 1.06}[sign.shape]
        angles = [turn + 2 * math.pi * i / corners for i in range(corners)]
        canvas.polygon([(u + reach * math.cos(a), v + reach * math.sin(a)) for a in angles], rgb, identity)

    paint, white = air(sign.rgb, sign.z), air((232, 232, 228), sign.z)
    # A red triangle or a red ring is white inside; plates of other colours carry a white mark.
    hollow = sign.colour == "red" and sign.shape != "octagon"
    plate(1.0, paint if hollow or sign.colour == "yellow" else white)
    plate(0.64 if hollow else 0.86, white if hollow else paint)
    mark = air((30, 30, 34), sign.z) if hollow or sign.colour == "yellow" else white
    if sign.shape == "octagon":
        canvas.box(u - 0.6 * radius, v - 0.16 * radius, u + 0.6 * radius, v + 0.16 * radius, mark)
    else:
        canvas.box(u - 0.1 * radius, v - 0.4 * radius, u + 0.1 * radius, v + 0.34 * radius, mark)


def paint_light(canvas: Canvas, scene: Scene, air: Air, light: Light, identity: int) -> None:
    """A housing with three lamps, one of them on."""
    camera, unit = scene.camera, light.size * scene.camera.focal / light.z
    paint_post(canvas, scene, air, light.x, light.z, light.height + light.size / 2)
    u, foot = camera.project(light.x, light.height, light.z)
    canvas.box(u - 0.24 * unit, foot - unit, u + 0.24 * unit, foot, air((46, 48, 46), light.z), identity)
    lamps = (("green", (40, 220, 120), 0.18), ("yellow", (250, 190, 40), 0.5), ("red", (240, 44, 36), 0.82))
    for colour, rgb, up in lamps:
        lit = colour == light.colour
        glow = air.glow(rgb, light.z) if lit else air(tuple(c // 5 + 24 for c in rgb), light.z)
        canvas.ellipse(u, foot - up * unit, 0.145 * unit, 0.145 * unit, glow)
        if lit and air.night:
            canvas.glaze_ellipse(u, foot - up * unit, 0.36 * unit, 0.36 * unit, rgb, 0.3)
