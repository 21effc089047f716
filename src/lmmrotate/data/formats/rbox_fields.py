"""What the formats share that hold centre, sides and angle instead of corners."""

from __future__ import annotations

import numpy as np

from lmmrotate.data.formats.objects import FieldError
from lmmrotate.data.records import ImageRecord
from lmmrotate.geometry.quads import Quads, min_area_quads
from lmmrotate.geometry.rboxes import quads_to_rboxes, rboxes_to_quads

SHAPE_LOST = "shape of quads that are no rectangles"
DEGREES = "angle in degrees"
"""Why an object cannot be used whose angle is more than a full turn in radians."""

_LARGEST_ANGLE_RAD = 6.3


def corners_of_rbox(cx: float, cy: float, w: float, h: float, angle_rad: float) -> list[float]:
    """Corners x1 y1 … x4 y4 of a rotated box.

    Raises:
        FieldError: if a side is not above 0, or the angle must be in degrees.
    """
    if abs(angle_rad) > _LARGEST_ANGLE_RAD:
        raise FieldError(
            DEGREES,
            f"the angle must be in radians, at most a full turn, found {angle_rad:g}: degrees?",
        )
    if w <= 0 or h <= 0:
        raise FieldError("zero area", f"width and height must be above 0, found {w:g} x {h:g}")
    return [float(value) for value in rboxes_to_quads(np.array([[cx, cy, w, h, angle_rad]])).reshape(8)]


def rboxes_of(record: ImageRecord) -> list[list[float]]:
    """cx, cy, w, h, angle of every object; of those that are no rectangles, of the smallest around them."""
    rounded: list[list[float]] = [
        [*(round(v, 4) for v in row[:4]), round(row[4], 6)] for row in quads_to_rboxes(record.quads).tolist()
    ]
    return rounded


def no_rectangles(quads: Quads) -> int:
    """How many quads differ from the smallest rectangle around them by more than half a pixel."""
    if not len(quads):
        return 0
    rectangles = min_area_quads(quads)
    distance = np.linalg.norm(quads[:, :, None] - rectangles[:, None], axis=3).min(axis=2)
    return int((distance.max(axis=1) > 0.5).sum())
