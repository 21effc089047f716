"""Roofs from above: no objects, but what objects must be told from."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from lmmrotate.data.synthetic.canvas import Canvas, Colour, Frame
from lmmrotate.data.synthetic.grounds import shade


def draw_hip_roof(canvas: Canvas, frame: Frame, length_m: float, width_m: float, colour: Colour) -> None:
    """Four slopes that meet in a ridge, those towards the sun brighter."""
    u, v, ridge = length_m / 2, width_m / 2, max((length_m - 0.7 * width_m) / 2, 0.0)
    front_left, front_right, rear_right, rear_left, a, b = frame.points(
        [(u, -v), (u, v), (-u, v), (-u, -v), (ridge, 0), (-ridge, 0)]
    )
    slopes = (
        ((front_right, a, b, rear_right), math.pi / 2),
        ((rear_right, b, rear_left), math.pi),
        ((rear_left, b, a, front_left), -math.pi / 2),
        ((front_left, a, front_right), 0.0),
    )
    for corners, turn in slopes:
        light = 1 - 0.2 * math.cos(frame.angle_rad + turn - canvas.sun.direction_rad)
        canvas.polygon(np.array(corners), shade(colour, light))
    canvas.lines(np.array([a, b]), shade(colour, 1.2), 0.2)
    canvas.polygon(frame.at(0.25 * length_m, 0.12 * width_m).box(0.8, 0.8), shade(colour, 0.6))


def draw_flat_roof(
    canvas: Canvas,
    frame: Frame,
    length_m: float,
    width_m: float,
    colour: Colour,
    vents: Sequence[tuple[float, float]],
) -> None:
    """Sheets with seams, a parapet around them, and machines or skylights at the given places."""
    canvas.polygon(frame.box(length_m, width_m), shade(colour, 0.8))
    canvas.polygon(frame.box(length_m - 0.9, width_m - 0.9), colour)
    for u in np.arange(-length_m / 2 + 4, length_m / 2 - 2, 6.0).tolist():
        canvas.lines(frame.points([(u, -width_m / 2), (u, width_m / 2)]), shade(colour, 0.94), 0.2)
    shadow = canvas.sun.offset_px(1.0, frame.px_per_m)
    for u, v in vents:
        box = frame.at(u, v).box(2.0, 1.6)
        canvas.polygon(box + shadow, shade(colour, 0.6))
        canvas.polygon(box, shade(colour, 0.86 if u > 0 else 1.1))
