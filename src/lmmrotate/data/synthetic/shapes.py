"""Shapes of vehicles, planes and ships: convex polygons in unit coordinates.

u runs from -0.5 (rear) to 0.5 (front), v from -0.5 (left) to 0.5 (right); a shape is stretched to the
object's length and width in metres and touches all four sides of that box.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from lmmrotate.data.synthetic import grounds
from lmmrotate.data.synthetic.canvas import Canvas, Colour, Frame
from lmmrotate.data.synthetic.grounds import Draw, shade

Part = tuple[str, Sequence[tuple[float, float]]]
"""Role of the colour, and a convex polygon in unit coordinates."""


def _box(u0: float, u1: float, v0: float, v1: float) -> tuple[tuple[float, float], ...]:
    return (u0, v0), (u1, v0), (u1, v1), (u0, v1)


def _mirrored(*parts: Part) -> tuple[Part, ...]:
    """The parts and their mirror images on the other side of the long axis."""
    return (*parts, *((role, tuple((u, -v) for u, v in points)) for role, points in parts))


def stamp(*parts: Part) -> Draw:
    """A drawing function that fills convex polygons; roles are body, shade, light, glass, deck and grey."""
    points = np.array([p for _, polygon in parts for p in polygon], dtype=np.float64)
    stops = np.cumsum([len(polygon) for _, polygon in parts]).tolist()
    spans = list(zip([0, *stops[:-1]], stops, [role for role, _ in parts], strict=True))

    def draw(canvas: Canvas, frame: Frame, length_m: float, width_m: float, colour: Colour) -> None:
        roles: dict[str, Colour] = {
            "body": colour,
            "shade": shade(colour, 0.8),
            "light": shade(colour, 1.12),
            "glass": (38, 44, 52),
            "deck": (150, 132, 106),
            "grey": (92, 94, 96),
        }
        pixels = frame.stretched(points, length_m, width_m)
        canvas.convex(pixels, [(start, stop, roles[role]) for start, stop, role in spans])

    return draw


CAR = stamp(
    (
        "body",
        (
            (-0.5, -0.4),
            (-0.46, -0.5),
            (0.42, -0.5),
            (0.5, -0.36),
            (0.5, 0.36),
            (0.42, 0.5),
            (-0.46, 0.5),
            (-0.5, 0.4),
        ),
    ),
    ("glass", _box(-0.32, 0.22, -0.42, 0.42)),
    ("light", _box(-0.2, 0.06, -0.36, 0.36)),
)
VAN = stamp(
    ("body", _box(-0.5, 0.5, -0.5, 0.5)),
    ("glass", _box(0.24, 0.36, -0.42, 0.42)),
    ("light", _box(-0.44, 0.2, -0.36, 0.36)),
)
PICKUP = stamp(
    ("body", _box(-0.5, 0.5, -0.5, 0.5)),
    ("grey", _box(-0.46, -0.1, -0.4, 0.4)),
    ("glass", _box(-0.08, 0.22, -0.42, 0.42)),
    ("light", _box(-0.02, 0.12, -0.38, 0.38)),
)
TRUCK = stamp(
    ("grey", _box(-0.5, 0.3, -0.4, 0.4)),
    ("body", _box(-0.5, 0.24, -0.5, 0.5)),
    ("light", _box(-0.48, 0.22, -0.46, 0.0)),
    ("shade", _box(0.28, 0.5, -0.46, 0.46)),
    ("glass", _box(0.4, 0.46, -0.4, 0.4)),
)
BUS = stamp(
    ("body", _box(-0.5, 0.5, -0.5, 0.5)),
    ("light", _box(-0.47, 0.46, -0.34, 0.34)),
    ("grey", _box(-0.3, -0.16, -0.24, 0.24)),
    ("grey", _box(0.12, 0.24, -0.24, 0.24)),
    ("glass", _box(0.46, 0.49, -0.44, 0.44)),
)
JET = stamp(
    *_mirrored(
        ("shade", ((0.16, 0.03), (-0.02, 0.03), (-0.16, 0.5), (-0.11, 0.5))),
        ("body", ((0.16, 0.03), (0.04, 0.03), (-0.12, 0.5), (-0.1, 0.5))),
        ("grey", _box(0.03, 0.12, 0.15, 0.195)),
        ("body", ((-0.36, 0.02), (-0.44, 0.02), (-0.5, 0.19), (-0.46, 0.19))),
    ),
    (
        "body",
        (
            (0.5, 0),
            (0.46, 0.045),
            (0.38, 0.056),
            (-0.28, 0.056),
            (-0.48, 0.012),
            (-0.48, -0.012),
            (-0.28, -0.056),
            (0.38, -0.056),
            (0.46, -0.045),
        ),
    ),
    ("light", _box(-0.3, 0.4, -0.056, 0.006)),
    ("grey", _box(-0.5, -0.38, -0.009, 0.009)),
    ("glass", _box(0.44, 0.46, -0.03, 0.03)),
)
FIGHTER = stamp(
    *_mirrored(
        ("body", ((0.16, 0.06), (-0.22, 0.5), (-0.36, 0.5), (-0.34, 0.06))),
        ("shade", ((-0.3, 0.06), (-0.44, 0.28), (-0.5, 0.28), (-0.48, 0.04))),
    ),
    (
        "light",
        (
            (0.5, 0),
            (0.34, 0.06),
            (0.1, 0.11),
            (-0.44, 0.09),
            (-0.48, 0.04),
            (-0.48, -0.04),
            (-0.44, -0.09),
            (0.1, -0.11),
            (0.34, -0.06),
        ),
    ),
    ("glass", _box(0.2, 0.32, -0.03, 0.03)),
    ("grey", _box(-0.48, -0.36, -0.05, 0.05)),
)
LIGHT_PLANE = stamp(
    ("body", ((0.24, -0.5), (0.24, 0.5), (0.06, 0.5), (0.04, 0), (0.06, -0.5))),
    ("light", _box(0.15, 0.24, -0.5, 0.5)),
    ("body", ((-0.36, -0.17), (-0.36, 0.17), (-0.5, 0.15), (-0.5, -0.15))),
    (
        "shade",
        ((0.5, 0), (0.42, 0.06), (0.1, 0.06), (-0.46, 0.02), (-0.46, -0.02), (0.1, -0.06), (0.42, -0.06)),
    ),
    ("glass", _box(0.14, 0.26, -0.045, 0.045)),
)
HELICOPTER = stamp(
    *_mirrored(
        ("grey", ((0.16, -0.01), (0.14, 0.02), (0.44, 0.5), (0.47, 0.47))),
        ("grey", ((0.16, -0.01), (0.14, 0.02), (-0.17, 0.47), (-0.14, 0.5))),
    ),
    ("shade", ((-0.02, -0.05), (-0.02, 0.05), (-0.48, 0.025), (-0.48, -0.025))),
    ("shade", _box(-0.5, -0.42, -0.14, 0.14)),
    (
        "body",
        (
            (0.5, 0),
            (0.45, 0.11),
            (0.3, 0.16),
            (0.04, 0.15),
            (-0.08, 0.06),
            (-0.08, -0.06),
            (0.04, -0.15),
            (0.3, -0.16),
            (0.45, -0.11),
        ),
    ),
    ("glass", ((0.47, -0.05), (0.47, 0.05), (0.36, 0.11), (0.36, -0.11))),
    ("grey", _box(0.1, 0.2, -0.06, 0.06)),
)
HULL = (
    (0.5, 0.0),
    (0.36, 0.3),
    (0.16, 0.47),
    (-0.1, 0.5),
    (-0.44, 0.46),
    (-0.5, 0.36),
    (-0.5, -0.36),
    (-0.44, -0.46),
    (-0.1, -0.5),
    (0.16, -0.47),
    (0.36, -0.3),
)
MOTORBOAT = stamp(
    ("body", HULL),
    ("deck", _box(-0.44, -0.16, -0.32, 0.32)),
    ("light", ((0.34, 0), (0.1, 0.3), (-0.14, 0.32), (-0.14, -0.32), (0.1, -0.3))),
    ("glass", _box(0.02, 0.1, -0.27, 0.27)),
)
SAILBOAT = stamp(
    ("body", HULL),
    ("shade", ((0.3, 0), (0.05, 0.26), (-0.2, 0.28), (-0.2, -0.28), (0.05, -0.26))),
    ("glass", _box(-0.42, -0.26, -0.24, 0.24)),
    ("grey", _box(-0.36, 0.14, -0.05, 0.05)),
)
SHIP_HULL = (
    (0.5, 0),
    (0.46, 0.24),
    (0.38, 0.44),
    (0.28, 0.5),
    (-0.44, 0.5),
    (-0.5, 0.4),
    (-0.5, -0.4),
    (-0.44, -0.5),
    (0.28, -0.5),
    (0.38, -0.44),
    (0.46, -0.24),
)
WARSHIP_HULL = (
    (0.5, 0),
    (0.36, 0.24),
    (0.16, 0.44),
    (-0.06, 0.5),
    (-0.5, 0.42),
    (-0.5, -0.42),
    (-0.06, -0.5),
    (0.16, -0.44),
    (0.36, -0.24),
)
BULKER = stamp(
    ("shade", SHIP_HULL),
    ("body", tuple((u * 0.97, v * 0.86) for u, v in SHIP_HULL)),
    *(("grey", _box(u, u + 0.11, -0.26, 0.26)) for u in (-0.26, -0.12, 0.02, 0.16)),
    *(("light", _box(u + 0.01, u + 0.1, -0.22, 0.02)) for u in (-0.26, -0.12, 0.02, 0.16)),
    ("light", _box(-0.44, -0.32, -0.42, 0.42)),
    ("glass", _box(-0.33, -0.315, -0.4, 0.4)),
    ("grey", _box(-0.43, -0.38, -0.12, 0.12)),
)
TANKER = stamp(
    ("shade", SHIP_HULL),
    ("body", tuple((u * 0.97, v * 0.86) for u, v in SHIP_HULL)),
    ("grey", _box(-0.28, 0.36, -0.03, 0.03)),
    ("grey", _box(0.02, 0.06, -0.36, 0.36)),
    ("light", _box(-0.46, -0.31, -0.44, 0.44)),
    ("glass", _box(-0.315, -0.3, -0.4, 0.4)),
)
WARSHIP = stamp(
    ("body", WARSHIP_HULL),
    ("shade", _box(-0.48, -0.3, -0.38, 0.38)),
    ("light", _box(-0.28, 0.14, -0.34, 0.34)),
    ("grey", _box(-0.12, -0.04, -0.2, 0.2)),
    ("shade", _box(0.02, 0.1, -0.26, 0.26)),
    ("grey", _box(0.2, 0.25, -0.14, 0.14)),
    ("grey", _box(0.24, 0.31, -0.03, 0.03)),
)
FERRY = stamp(
    ("body", SHIP_HULL),
    ("light", _box(-0.46, 0.3, -0.4, 0.4)),
    ("shade", _box(-0.36, 0.2, -0.3, 0.3)),
    ("light", _box(-0.3, -0.16, -0.16, 0.16)),
    ("glass", _box(0.2, 0.22, -0.34, 0.34)),
)


def draw_container_ship(
    canvas: Canvas, frame: Frame, length_m: float, width_m: float, colour: Colour
) -> None:
    TANKER(canvas, frame, length_m, width_m, colour)
    columns = max(3, int(0.62 * length_m / 13))
    for column in range(columns):
        u = (-0.26 + 0.62 * (column + 0.5) / columns) * length_m
        for v in (-0.28, 0.0, 0.28):
            choice = grounds.CONTAINER_COLOURS[int(canvas.rng.integers(len(grounds.CONTAINER_COLOURS)))]
            part = frame.at(u, v * width_m)
            canvas.polygon(part.box(0.52 * length_m / columns, 0.25 * width_m), choice)


PLANE_OUTLINE = np.array(
    [(0.5, 0), (0.4, 0.055), (0.16, 0.05), (-0.1, 0.5), (-0.16, 0.5), (-0.03, 0.05),
     (-0.36, 0.03), (-0.47, 0.19),
     (-0.5, 0.19), (-0.46, 0), (-0.5, -0.19), (-0.47, -0.19), (-0.36, -0.03), (-0.03, -0.05), (-0.16, -0.5),
     (-0.1, -0.5), (0.16, -0.05), (0.4, -0.055)]
)  # fmt: skip
FIGHTER_OUTLINE = np.array(
    [(0.5, 0), (0.16, 0.06), (-0.22, 0.5), (-0.36, 0.5), (-0.35, 0.13), (-0.44, 0.28), (-0.5, 0.28),
     (-0.5, -0.28), (-0.44, -0.28), (-0.35, -0.13), (-0.36, -0.5), (-0.22, -0.5), (0.16, -0.06)]
)  # fmt: skip
LIGHT_PLANE_OUTLINE = np.array(
    [(0.5, 0), (0.3, 0.06), (0.24, 0.5), (0.06, 0.5), (0.04, 0.05), (-0.36, 0.17),
     (-0.5, 0.15), (-0.5, -0.15),
     (-0.36, -0.17), (0.04, -0.05), (0.06, -0.5), (0.24, -0.5), (0.3, -0.06)]
)  # fmt: skip
ROTOR_OUTLINE = np.array(
    [(0.5, 0), (0.2, 0.16), (0.44, 0.5), (0.1, 0.16), (-0.17, 0.5), (0, 0.05), (-0.5, 0.03), (-0.5, -0.03),
     (0, -0.05), (-0.17, -0.5), (0.1, -0.16), (0.44, -0.5), (0.2, -0.16)]
)  # fmt: skip
BOX_OUTLINE = np.array(_box(-0.5, 0.5, -0.5, 0.5))
HULL_OUTLINE = np.array(HULL)
SHIP_OUTLINE = np.array(SHIP_HULL)
WARSHIP_OUTLINE = np.array(WARSHIP_HULL)
CIRCLE = np.array([(0.5 * math.cos(a), 0.5 * math.sin(a)) for a in np.linspace(0, 2 * math.pi, 25)[:-1]])
