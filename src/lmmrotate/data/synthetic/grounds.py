"""Shapes that are more than a few polygons: courts, fields, tanks, piers, bridges, pools.

All drawing functions share one signature; see ``Draw``.
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np

from lmmrotate.data.synthetic.canvas import Canvas, Colour, Frame, Points

LINE: Colour = (226, 226, 220)

CONTAINER_COLOURS: tuple[Colour, ...] = (
    (138, 66, 52), (62, 84, 124), (74, 110, 92), (176, 120, 62), (166, 168, 168),
    (112, 62, 58), (202, 198, 186),
)  # fmt: skip


class Draw(Protocol):
    """Draw an object of this length and width (metres) around the frame's origin, along its u axis."""

    def __call__(
        self, canvas: Canvas, frame: Frame, length_m: float, width_m: float, colour: Colour, /
    ) -> None: ...


def shade(colour: Colour, factor: float) -> Colour:
    """A darker (below 1) or brighter colour."""
    r, g, b = colour
    return min(r * factor, 255.0), min(g * factor, 255.0), min(b * factor, 255.0)


def arc(frame: Frame, radius_m: float, start_rad: float, stop_rad: float, count: int = 24) -> Points:
    """Points (count, 2) in pixels on a circle around the frame."""
    angles = np.linspace(start_rad, stop_rad, count)
    return frame.points(np.stack([np.cos(angles), np.sin(angles)], axis=1) * radius_m)


def _line_frame(canvas: Canvas, frame: Frame, length_m: float, width_m: float, line_m: float = 0.12) -> None:
    """The outer line of a field. Its middle lies half a line inside, so the paint ends at the box."""
    inset = line_m + canvas.gsd_m
    canvas.lines(frame.box(length_m - inset, width_m - inset), LINE, line_m, closed=True)


def draw_tank(canvas: Canvas, frame: Frame, length_m: float, width_m: float, colour: Colour) -> None:
    """A cylinder seen from above; floating roofs lie lower and catch the shadow of their rim."""
    radius = length_m / 2
    kind = canvas.rng.integers(3)
    canvas.disc(frame, radius, shade(colour, 0.82))
    canvas.disc(frame, radius * 0.94, colour)
    if kind == 0:  # floating roof: rim shadow inside
        canvas.disc(frame, radius * 0.93, shade(colour, 0.55))
        lower = canvas.frame(
            *(np.array([frame.x_px, frame.y_px]) + canvas.sun.offset_px(0.1 * radius, frame.px_per_m))
        )
        canvas.disc(lower, radius * 0.8, shade(colour, 0.88))
    elif kind == 1:  # cone with ribs
        for angle in np.linspace(0, 2 * math.pi, 13)[:-1]:
            rib = frame.at(0, 0, angle).points([(radius * 0.1, 0), (radius * 0.92, 0)])
            canvas.lines(rib, shade(colour, 0.9), 0.2)
        canvas.disc(frame, radius * 0.12, shade(colour, 0.7))
    else:
        bright = canvas.frame(
            *(np.array([frame.x_px, frame.y_px]) - canvas.sun.offset_px(0.12 * radius, frame.px_per_m))
        )
        canvas.disc(bright, radius * 0.62, shade(colour, 1.07))
        canvas.disc(frame, radius * 0.1, shade(colour, 0.66))
    # A stair along the side.
    turn = canvas.rng.uniform(0, 2 * math.pi)
    canvas.lines(arc(frame, radius * 0.95, turn, turn + 0.9, 8), shade(colour, 0.6), 0.3)


def draw_pier(canvas: Canvas, frame: Frame, length_m: float, width_m: float, colour: Colour) -> None:
    """A walkway of planks or concrete with a kerb."""
    canvas.polygon(frame.box(length_m, width_m), shade(colour, 0.84))
    canvas.polygon(frame.box(length_m - 0.5, width_m - 0.7), colour)
    joints = np.arange(-length_m / 2 + 3, length_m / 2 - 1, 4.0)
    v = width_m * 0.42
    canvas.lines(
        frame.points(np.stack([np.repeat(joints, 2), np.tile([-v, v], len(joints))], axis=1)).reshape(
            -1, 2, 2
        ),
        shade(colour, 0.86),
        0.25,
    )


def draw_bridge(canvas: Canvas, frame: Frame, length_m: float, width_m: float, colour: Colour) -> None:
    """A deck with two parapets and lanes."""
    canvas.polygon(frame.box(length_m, width_m), shade(colour, 1.12))
    canvas.polygon(frame.box(length_m, width_m - 1.6), shade(colour, 0.72))
    draw_dashes(canvas, frame, length_m - 1.0, max(1, round((width_m - 2) / 7.0)))


def draw_dashes(canvas: Canvas, frame: Frame, length_m: float, roads: int, colour: Colour = LINE) -> None:
    """Dashed lane lines along the frame; the middle one of an even number of lanes is solid and yellow."""
    starts = np.arange(-length_m / 2 + 1, length_m / 2 - 3, 9.0)
    lanes = np.arange(1, 2 * roads) - roads
    for lane in lanes.tolist():
        v = lane * 3.4
        if lane == 0 and roads > 1:
            canvas.lines(frame.points([(-length_m / 2, v), (length_m / 2, v)]), (206, 180, 96), 0.3)
            continue
        uv = np.stack([np.stack([starts, starts + 3.5], axis=1), np.full((len(starts), 2), v)], axis=2)
        if len(starts):
            canvas.lines(frame.points(uv.reshape(-1, 2)).reshape(-1, 2, 2), colour, 0.15)


def draw_tennis(canvas: Canvas, frame: Frame, length_m: float, width_m: float, colour: Colour) -> None:
    """The court within its outer lines; its surroundings belong to the scene."""
    canvas.polygon(frame.box(length_m, width_m), colour)
    _line_frame(canvas, frame, length_m, width_m)
    u, v, service = length_m / 2 - 0.2, width_m * 0.375, 6.4
    for a, b in (
        ((-u, -v), (u, -v)),
        ((-u, v), (u, v)),
        ((-service, -v), (-service, v)),
        ((service, -v), (service, v)),
        ((-service, 0), (service, 0)),
    ):
        canvas.lines(frame.points([a, b]), LINE, 0.12)
    v = width_m / 2 - 0.3
    canvas.lines(frame.points([(0, -v), (0, v)]), (48, 50, 50), 0.2)


def draw_basketball(canvas: Canvas, frame: Frame, length_m: float, width_m: float, colour: Colour) -> None:
    """A court with keys, circles and three-point arcs."""
    canvas.polygon(frame.box(length_m, width_m), colour)
    paint = shade(colour, 0.78)
    for side in (-1, 1):
        key = frame.at(side * (length_m / 2 - 3.1), 0)
        canvas.polygon(key.box(5.8, 4.9), paint)
        canvas.lines(key.box(5.8, 4.9), LINE, 0.1, closed=True)
        hoop = frame.at(side * (length_m / 2 - 1.6), 0, 0 if side < 0 else math.pi)
        canvas.lines(arc(hoop, min(6.7, width_m * 0.46), -1.45, 1.45), LINE, 0.1)
    canvas.disc(frame, 1.8, LINE, 0.1)
    v = width_m / 2 - 0.2
    canvas.lines(frame.points([(0, -v), (0, v)]), LINE, 0.1)
    _line_frame(canvas, frame, length_m, width_m, 0.1)


def draw_soccer(canvas: Canvas, frame: Frame, length_m: float, width_m: float, colour: Colour) -> None:
    """A mown field with its lines."""
    canvas.cover("mown", frame.box(length_m, width_m), frame.angle_rad + math.pi / 2)
    _line_frame(canvas, frame, length_m, width_m, 0.3)
    v = width_m / 2 - 0.4
    canvas.lines(frame.points([(0, -v), (0, v)]), LINE, 0.25)
    canvas.disc(frame, 9.15, LINE, 0.25)
    for side in (-1, 1):
        for depth, across in ((16.5, 40.3), (5.5, 18.3)):
            area = frame.at(side * (length_m - depth) / 2, 0)
            canvas.lines(area.box(depth, across), LINE, 0.25, closed=True)
        worn = frame.at(side * (length_m / 2 - 7), 0)
        canvas.lines(arc(worn, 3.0, 0, 2 * math.pi), (128, 126, 88), 2.0)
        canvas.polygon(frame.at(side * (length_m / 2 - 0.6), 0).box(1.0, 7.3), (232, 232, 230))


def _stadium(frame: Frame, length_m: float, width_m: float) -> Points:
    """Two straights and two half circles, (N, 2) pixels, exactly ``length_m`` long."""
    radius, straight = width_m / 2, (length_m - width_m) / 2
    ends = [arc(frame.at(straight, 0), radius, -math.pi / 2, math.pi / 2, 33)]
    ends.append(arc(frame.at(-straight, 0), radius, math.pi / 2, 1.5 * math.pi, 33))
    return np.concatenate(ends)


def draw_track(canvas: Canvas, frame: Frame, length_m: float, width_m: float, colour: Colour) -> None:
    """A running track of eight lanes around a lawn."""
    canvas.polygon(_stadium(frame, length_m, width_m), colour)
    for lane in range(1, 8):
        inset = 2 * 1.22 * lane
        line = shade(colour, 1.25)
        canvas.lines(_stadium(frame, length_m - inset, width_m - inset), line, 0.1, closed=True)
    inset = 2 * 9.9
    canvas.cover("mown", _stadium(frame, length_m - inset, width_m - inset), frame.angle_rad + math.pi / 2)
    straight = (length_m - width_m) / 2
    for side in (-1, 1):  # the half circles behind the lawn are paved
        sector = arc(frame.at(side * straight, 0), width_m / 2 - 11.5, -1.4, 1.4, 20)
        if side < 0:
            sector = arc(frame.at(-straight, 0), width_m / 2 - 11.5, math.pi - 1.4, math.pi + 1.4, 20)
        canvas.polygon(sector, shade(colour, 0.95))


def draw_baseball(canvas: Canvas, frame: Frame, length_m: float, width_m: float, colour: Colour) -> None:
    """A quarter circle with home plate in the rear left corner of the box: clay, infield, outfield."""
    home = frame.at(-length_m / 2, -width_m / 2)

    def fan(radius: float) -> Points:
        return np.concatenate([home.points([(0, 0)]), arc(home, radius, 0, math.pi / 2, 28)])

    base = min(27.4, 0.42 * length_m)
    canvas.cover("clay", fan(length_m))
    canvas.cover("lawn", fan(length_m - 3.0), frame.angle_rad)
    canvas.cover("clay", np.concatenate([home.points([(0, 0)]), arc(home, base * 1.42, 0, math.pi / 2, 24)]))
    infield = home.points([(2.5, 2.5), (base - 2.5, 2.5), (base - 2.5, base - 2.5), (2.5, base - 2.5)])
    canvas.cover("lawn", infield)
    canvas.disc(home.at(base / 2, base / 2), 2.4, (164, 106, 82))
    for end in ((length_m, 0), (0, length_m)):
        canvas.lines(home.points([(0, 0), end]), LINE, 0.15)
    for corner in ((base, 0.8), (base, base), (0.8, base)):
        canvas.disc(home.at(*corner), 0.5, (240, 240, 240))


def draw_roundabout(canvas: Canvas, frame: Frame, length_m: float, width_m: float, colour: Colour) -> None:
    """A ring of road around a green island; approach roads belong to the scene."""
    radius = length_m / 2
    ring = min(9.0, 0.45 * radius)
    canvas.disc(frame, radius, (198, 196, 188))
    canvas.disc(frame, radius - 0.5, (100, 100, 100))
    canvas.disc(frame, radius - ring, (196, 194, 186))
    canvas.cover("lawn", arc(frame, radius - ring - 0.7, 0, 2 * math.pi, 40))
    if canvas.rng.random() < 0.5:
        canvas.disc(frame, 0.5 * (radius - ring), (150, 138, 118))
        canvas.disc(frame, 0.4 * (radius - ring), (78, 100, 62))
    if ring > 7:
        canvas.disc(frame, radius - ring / 2, (170, 170, 166), 0.15)


def draw_pool(canvas: Canvas, frame: Frame, length_m: float, width_m: float, colour: Colour) -> None:
    """A garden pool, rectangular or oval, with a light rim."""
    if canvas.rng.random() < 0.5:
        angles = np.linspace(0, 2 * math.pi, 25)[:-1]
        oval = np.stack([np.cos(angles) * length_m, np.sin(angles) * width_m], axis=1) / 2
        canvas.polygon(frame.points(oval), (214, 210, 198))
        canvas.polygon(frame.points(oval * 0.9), colour)
    else:
        canvas.polygon(frame.box(length_m, width_m), (214, 210, 198))
        canvas.polygon(frame.box(length_m - 0.8, width_m - 0.8), colour)
    canvas.polygon(frame.at(0.12 * length_m, 0).box(0.4 * length_m, 0.5 * width_m), shade(colour, 0.93))


def draw_lanes(canvas: Canvas, frame: Frame, length_m: float, width_m: float, colour: Colour) -> None:
    """A public pool with lanes."""
    canvas.polygon(frame.box(length_m, width_m), (224, 222, 214))
    canvas.polygon(frame.box(length_m - 1, width_m - 1), colour)
    for v in np.arange(-width_m / 2 + 2.5, width_m / 2 - 1, 2.5).tolist():
        canvas.lines(frame.points([(-length_m / 2 + 1, v), (length_m / 2 - 1, v)]), shade(colour, 0.78), 0.25)
