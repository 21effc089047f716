"""What the objects look like: one table of kinds, and a drawing function for each shape.

Shapes are written in unit coordinates: u from -0.5 (rear) to 0.5 (front), v from -0.5 (left) to 0.5
(right), stretched to the object's length and width in metres. Every shape touches all four sides of that
box, so the box is the exact extent of what is drawn (shadows and ground markings around it left out).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from lmmrotate.data.synthetic import grounds
from lmmrotate.data.synthetic.canvas import Canvas, Colour, Frame, Points
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
        pixels = frame.points(points * (length_m, width_m))
        canvas.convex(pixels, [(start, stop, roles[role]) for start, stop, role in spans])

    return draw


_CAR = stamp(
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
_VAN = stamp(
    ("body", _box(-0.5, 0.5, -0.5, 0.5)),
    ("glass", _box(0.24, 0.36, -0.42, 0.42)),
    ("light", _box(-0.44, 0.2, -0.36, 0.36)),
)
_TRUCK = stamp(
    ("grey", _box(-0.5, 0.3, -0.4, 0.4)),
    ("body", _box(-0.5, 0.24, -0.5, 0.5)),
    ("light", _box(-0.48, 0.22, -0.46, 0.0)),
    ("shade", _box(0.28, 0.5, -0.46, 0.46)),
    ("glass", _box(0.4, 0.46, -0.4, 0.4)),
)
_BUS = stamp(
    ("body", _box(-0.5, 0.5, -0.5, 0.5)),
    ("light", _box(-0.47, 0.46, -0.34, 0.34)),
    ("grey", _box(-0.3, -0.16, -0.24, 0.24)),
    ("grey", _box(0.12, 0.24, -0.24, 0.24)),
    ("glass", _box(0.46, 0.49, -0.44, 0.44)),
)
_JET = stamp(
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
_LIGHT_PLANE = stamp(
    ("body", ((0.24, -0.5), (0.24, 0.5), (0.06, 0.5), (0.04, 0), (0.06, -0.5))),
    ("light", _box(0.15, 0.24, -0.5, 0.5)),
    ("body", ((-0.36, -0.17), (-0.36, 0.17), (-0.5, 0.15), (-0.5, -0.15))),
    (
        "shade",
        ((0.5, 0), (0.42, 0.06), (0.1, 0.06), (-0.46, 0.02), (-0.46, -0.02), (0.1, -0.06), (0.42, -0.06)),
    ),
    ("glass", _box(0.14, 0.26, -0.045, 0.045)),
)
_HELICOPTER = stamp(
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
_HULL = (
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
_MOTORBOAT = stamp(
    ("body", _HULL),
    ("deck", _box(-0.44, -0.16, -0.32, 0.32)),
    ("light", ((0.34, 0), (0.1, 0.3), (-0.14, 0.32), (-0.14, -0.32), (0.1, -0.3))),
    ("glass", _box(0.02, 0.1, -0.27, 0.27)),
)
_SAILBOAT = stamp(
    ("body", _HULL),
    ("shade", ((0.3, 0), (0.05, 0.26), (-0.2, 0.28), (-0.2, -0.28), (0.05, -0.26))),
    ("glass", _box(-0.42, -0.26, -0.24, 0.24)),
    ("grey", _box(-0.36, 0.14, -0.05, 0.05)),
)
_SHIP_HULL = (
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
_BULKER = stamp(
    ("shade", _SHIP_HULL),
    ("body", tuple((u * 0.97, v * 0.86) for u, v in _SHIP_HULL)),
    *(("grey", _box(u, u + 0.11, -0.26, 0.26)) for u in (-0.26, -0.12, 0.02, 0.16)),
    *(("light", _box(u + 0.01, u + 0.1, -0.22, 0.02)) for u in (-0.26, -0.12, 0.02, 0.16)),
    ("light", _box(-0.44, -0.32, -0.42, 0.42)),
    ("glass", _box(-0.33, -0.315, -0.4, 0.4)),
    ("grey", _box(-0.43, -0.38, -0.12, 0.12)),
)
_TANKER = stamp(
    ("shade", _SHIP_HULL),
    ("body", tuple((u * 0.97, v * 0.86) for u, v in _SHIP_HULL)),
    ("grey", _box(-0.28, 0.36, -0.03, 0.03)),
    ("grey", _box(0.02, 0.06, -0.36, 0.36)),
    ("light", _box(-0.46, -0.31, -0.44, 0.44)),
    ("glass", _box(-0.315, -0.3, -0.4, 0.4)),
)
_FERRY = stamp(
    ("body", _SHIP_HULL),
    ("light", _box(-0.46, 0.3, -0.4, 0.4)),
    ("shade", _box(-0.36, 0.2, -0.3, 0.3)),
    ("light", _box(-0.3, -0.16, -0.16, 0.16)),
    ("glass", _box(0.2, 0.22, -0.34, 0.34)),
)


def _container_ship(canvas: Canvas, frame: Frame, length_m: float, width_m: float, colour: Colour) -> None:
    _TANKER(canvas, frame, length_m, width_m, colour)
    columns = max(3, int(0.62 * length_m / 13))
    for column in range(columns):
        u = (-0.26 + 0.62 * (column + 0.5) / columns) * length_m
        for v in (-0.28, 0.0, 0.28):
            choice = grounds.CONTAINER_COLOURS[int(canvas.rng.integers(len(grounds.CONTAINER_COLOURS)))]
            part = frame.at(u, v * width_m)
            canvas.polygon(part.box(0.52 * length_m / columns, 0.25 * width_m), choice)


@dataclass(frozen=True)
class Kind:
    """One sort of object."""

    name: str
    label: str
    """The class it is annotated as."""
    length_m: tuple[float, float]
    aspect: tuple[float, float]
    """Width divided by length."""
    draw: Draw
    colours: tuple[Colour, ...] = ((200, 200, 200),)
    height_m: float = 0.0
    """0: painted on the ground, under all shadows."""
    water: bool = False
    round: bool = False
    """Annotated by the axis-aligned square around it, as its direction cannot be seen."""
    outline: npt.NDArray[np.float64] = field(default_factory=lambda: np.array(_box(-0.5, 0.5, -0.5, 0.5)))
    """(N, 2) unit coordinates: what casts the shadow."""

    def size(self, rng: np.random.Generator) -> tuple[float, float]:
        """A length and a width in metres."""
        length = rng.uniform(*self.length_m)
        return length, length * rng.uniform(*self.aspect)

    def outline_px(self, frame: Frame, length_m: float, width_m: float) -> Points:
        return frame.points(self.outline * (length_m, width_m))


_CAR_COLOURS: tuple[Colour, ...] = (
    (226, 226, 224), (206, 208, 208), (168, 170, 172), (128, 130, 134), (60, 62, 66), (44, 45, 50),
    (146, 44, 40), (52, 70, 112), (112, 102, 88), (230, 230, 228),
)  # fmt: skip
_WHITE: tuple[Colour, ...] = ((232, 232, 230), (222, 224, 226), (214, 214, 210))
_SHIP_COLOURS: tuple[Colour, ...] = (
    (140, 74, 60),
    (92, 108, 104),
    (108, 110, 116),
    (86, 96, 116),
    (160, 154, 142),
)
_PLANE_OUTLINE = np.array(
    [(0.5, 0), (0.4, 0.055), (0.16, 0.05), (-0.1, 0.5), (-0.16, 0.5), (-0.03, 0.05), (-0.36, 0.03), (-0.47, 0.19),
     (-0.5, 0.19), (-0.46, 0), (-0.5, -0.19), (-0.47, -0.19), (-0.36, -0.03), (-0.03, -0.05), (-0.16, -0.5),
     (-0.1, -0.5), (0.16, -0.05), (0.4, -0.055)]
)  # fmt: skip
_ROTOR_OUTLINE = np.array(
    [(0.5, 0), (0.2, 0.16), (0.44, 0.5), (0.1, 0.16), (-0.17, 0.5), (0, 0.05), (-0.5, 0.03), (-0.5, -0.03),
     (0, -0.05), (-0.17, -0.5), (0.1, -0.16), (0.44, -0.5), (0.2, -0.16)]
)  # fmt: skip
_SHIP_OUTLINE = np.array(_SHIP_HULL)
_CIRCLE = np.array([(0.5 * math.cos(a), 0.5 * math.sin(a)) for a in np.linspace(0, 2 * math.pi, 25)[:-1]])

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("car", "small-vehicle", (4.0, 5.0), (0.39, 0.44), _CAR, _CAR_COLOURS, 1.5),
        Kind("van", "small-vehicle", (5.0, 6.0), (0.36, 0.41), _VAN, (*_WHITE, (120, 122, 126), (60, 76, 110)), 2.2),
        Kind("truck", "large-vehicle", (8.0, 12.0), (0.23, 0.3), _TRUCK, (*_WHITE, (150, 60, 50), (70, 90, 130), (196, 178, 120)), 3.5),
        Kind("semi", "large-vehicle", (14.0, 18.0), (0.15, 0.18), _TRUCK, (*_WHITE, (170, 170, 172), (80, 96, 132), (140, 66, 54)), 4.0),
        Kind("bus", "large-vehicle", (10.5, 13.0), (0.2, 0.24), _BUS, (*_WHITE, (204, 168, 60), (150, 60, 52), (88, 120, 92)), 3.2),
        Kind("jet", "plane", (28.0, 46.0), (0.86, 1.0), _JET, _WHITE, 4.5, outline=_PLANE_OUTLINE),
        Kind("airliner", "plane", (50.0, 68.0), (0.86, 0.95), _JET, _WHITE, 6.0, outline=_PLANE_OUTLINE),
        Kind("light-plane", "plane", (7.5, 11.0), (1.2, 1.35), _LIGHT_PLANE, (*_WHITE, (190, 70, 56)), 2.0, outline=_PLANE_OUTLINE),
        Kind("helicopter", "helicopter", (12.0, 18.0), (0.56, 0.66), _HELICOPTER, ((220, 220, 216), (92, 98, 78), (160, 60, 48), (70, 84, 118)), 3.0, outline=_ROTOR_OUTLINE),
        Kind("motorboat", "ship", (6.0, 13.0), (0.29, 0.36), _MOTORBOAT, (*_WHITE, (70, 84, 112)), 1.6, True, outline=np.array(_HULL)),
        Kind("sailboat", "ship", (9.0, 16.0), (0.27, 0.33), _SAILBOAT, (*_WHITE, (206, 200, 186)), 1.8, True, outline=np.array(_HULL)),
        Kind("bulker", "ship", (70.0, 150.0), (0.14, 0.17), _BULKER, _SHIP_COLOURS, 9.0, True, outline=_SHIP_OUTLINE),
        Kind("tanker", "ship", (50.0, 130.0), (0.15, 0.18), _TANKER, _SHIP_COLOURS, 8.0, True, outline=_SHIP_OUTLINE),
        Kind("container-ship", "ship", (90.0, 180.0), (0.14, 0.16), _container_ship, _SHIP_COLOURS, 12.0, True, outline=_SHIP_OUTLINE),
        Kind("ferry", "ship", (24.0, 60.0), (0.2, 0.26), _FERRY, _WHITE, 6.0, True, outline=_SHIP_OUTLINE),
        Kind("tank", "storage-tank", (9.0, 42.0), (1.0, 1.0), grounds.draw_tank, ((218, 218, 212), (236, 236, 232), (186, 182, 170), (160, 150, 136)), 10.0, round=True, outline=_CIRCLE),
        Kind("pier", "harbor", (30.0, 120.0), (0.05, 0.12), grounds.draw_pier, ((160, 148, 128), (176, 170, 160), (140, 98, 76)), 1.4, True),
        Kind("bridge", "bridge", (24.0, 120.0), (0.12, 0.4), grounds.draw_bridge, ((150, 148, 142), (132, 132, 130)), 5.0, True),
        Kind("tennis", "tennis-court", (23.77, 23.77), (0.4616, 0.4616), grounds.draw_tennis, ((70, 104, 78), (64, 88, 126), (146, 84, 62), (80, 92, 88))),
        Kind("basketball", "basketball-court", (26.0, 28.7), (0.52, 0.536), grounds.draw_basketball, ((130, 130, 130), (150, 92, 70), (78, 108, 88), (164, 136, 96))),
        Kind("soccer", "soccer-ball-field", (90.0, 108.0), (0.62, 0.68), grounds.draw_soccer),
        Kind("track", "ground-track-field", (172.0, 178.0), (0.51, 0.53), grounds.draw_track, ((164, 84, 66), (150, 78, 64), (116, 104, 100))),
        Kind("baseball", "baseball-diamond", (48.0, 100.0), (1.0, 1.0), grounds.draw_baseball),
        Kind("roundabout", "roundabout", (26.0, 60.0), (1.0, 1.0), grounds.draw_roundabout, round=True),
        Kind("pool", "swimming-pool", (6.0, 12.0), (0.42, 0.6), grounds.draw_pool, ((84, 176, 196), (104, 190, 204), (64, 152, 180))),
        Kind("big-pool", "swimming-pool", (25.0, 50.0), (0.4, 0.5), grounds.draw_lanes, ((84, 172, 196), (70, 158, 190))),
    )
}  # fmt: skip
"""Every kind by name. Sizes are those of the real things."""
