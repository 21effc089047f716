"""The shape of one COCO annotation: from polygon, rbox or bbox to a quad, and from quads to all of them.

The rules stand in ``formats.coco``.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from lmmrotate.data.formats.objects import LARGEST_COORDINATE, Bad, FieldError
from lmmrotate.data.formats.rbox_fields import corners_of_rbox
from lmmrotate.data.jsonl import quad_numbers
from lmmrotate.geometry.quads import Floats, Quads, as_quads, quad_areas, start_at_top
from lmmrotate.geometry.rboxes import quads_to_rboxes


def read_corners(where: str, row: dict[str, Any]) -> list[float] | Bad:
    """x1 y1 … x4 y4 of an annotation, pixels; ``where`` is its place in the file."""
    polygons, rbox, bbox = (row.get(key) for key in ("segmentation", "rbox", "bbox"))
    if polygons not in (None, [], [[]]):
        details = (
            "'segmentation' must be polygons [[x1, y1, x2, y2, …]] of three corners or more, "
            "plain numbers up to 1e9"
        )
        return _polygon(polygons) or Bad(where, "unreadable segmentation", details)
    box = _numbers(rbox if rbox is not None else bbox)
    if rbox is None and len(box) == 5:
        details = (
            "'bbox' of five numbers: its angle may be degrees or radians, of several conventions; "
            "give four corners as 'segmentation', or 'rbox' [cx, cy, w, h, radians]"
        )
        return Bad(where, "bbox of five numbers", details)
    if len(box) != (4 if rbox is None else 5):
        details = (
            "expected 'segmentation' [[x1, y1, …, x4, y4]], 'rbox' [cx, cy, w, h, radians] or "
            f"'bbox' [x, y, w, h], plain numbers up to 1e9; found {sorted(row)}"
        )
        return Bad(where, "no shape", details)
    if rbox is not None:
        try:
            return corners_of_rbox(*box)
        except FieldError as error:
            return Bad(where, error.reason, error.details)
    x, y, w, h = box
    if w <= 0 or h <= 0:
        return Bad(where, "zero area", f"width and height must be above 0, found {w:g} x {h:g}")
    return [x, y, x + w, y, x + w, y + h, x, y + h]


def _numbers(values: object) -> list[float]:
    """A list of plain numbers up to the largest coordinate; empty for anything else."""
    if not isinstance(values, list) or not {int, float}.issuperset(map(type, values)):
        return []
    return [float(value) for value in values] if all(abs(v) <= LARGEST_COORDINATE for v in values) else []


def _polygon(polygons: object) -> list[float] | None:
    """Corners of the quad that polygons stand for; None if they cannot be read."""
    outlines = [_numbers(part) for part in polygons] if isinstance(polygons, list) else [[]]
    if any(len(outline) < 6 or len(outline) % 2 for outline in outlines):
        return None
    first = outlines[0]
    if len(first) > 8 and first[:2] == first[-2:]:  # closed by its first corner once more
        first = first[:-2]
    if len(outlines) == 1 and len(first) == 8:
        return first
    points = np.concatenate(outlines).reshape(-1, 2)
    return [float(value) for value in _smallest_rectangle(points).reshape(8)]


def _smallest_rectangle(points: Floats) -> Quads:
    """Corners (1, 4, 2) of the smallest rectangle around any number of points (P, 2), clockwise.

    Computed in float32; of several equally small ones, as every acute triangle has, OpenCV chooses.
    """
    # geometry.enclosing_rectangles tries all pairs of points, which is not for outlines of hundreds.
    centre = points.mean(axis=0)
    rectangle = cv2.minAreaRect((points - centre).astype(np.float32))
    return start_at_top(as_quads([cv2.boxPoints(rectangle) + centre]))


def written_shapes(quads: Quads) -> list[dict[str, Any]]:
    """Each quad (N, 4, 2) as polygon, enclosing upright box, area and rbox."""
    rows = []
    for quad, area, (*box, angle) in zip(quads, quad_areas(quads), quads_to_rboxes(quads), strict=True):
        low, high = quad.min(axis=0), quad.max(axis=0)
        rows.append(
            {
                "segmentation": [quad_numbers(quad)],
                "bbox": [round(float(value), 3) for value in (*low, *(high - low))],
                "area": round(float(area), 3),
                "rbox": [*(round(float(value), 3) for value in box), round(float(angle), 6)],
            }
        )
    return rows
