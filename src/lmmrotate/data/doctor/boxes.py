"""Quads that cannot be right: crossing, outside, double, turned the wrong way."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from lmmrotate.data.doctor.findings import Finding, Severity
from lmmrotate.data.doctor.units import frames_of_labels
from lmmrotate.data.formats.base import ConversionReport
from lmmrotate.data.manifest import Manifest
from lmmrotate.data.records import ImageRecord
from lmmrotate.geometry.overlap import iou_matrix
from lmmrotate.geometry.quads import Quads, inside_fraction, is_convex, min_area_quads, signed_areas

_SAME_IOU = 0.95
_MOST_SEEN = 0.3
"""An object of which no more than this share lies in the image is reported."""
CROSSING = "self-crossing quad"
ANTICLOCKWISE = "corner order"
OUTSIDE = "out of frame"
DUPLICATE = "duplicate"

Bools = npt.NDArray[np.bool_]


def box_findings(manifest: Manifest, report: ConversionReport) -> Iterator[Finding]:
    """What is wrong with single objects, image by image.

    Corners may run either way round, as long as all do: the minority is reported.
    """
    usual, frames = usual_turn(manifest), frames_of_labels(manifest)
    for record, places in zip(manifest.records, report.places, strict=True):
        if len(record.quads):
            for finding in _image_findings(record, places, usual):
                # Those that another size explains are said once, see ``unit_findings``.
                if finding.kind != OUTSIDE or not frames.tell(record.image):
                    yield finding


def usual_turn(manifest: Manifest) -> float:
    """1 if most quads have their corners clockwise on screen, else -1."""
    turns = sum(int(np.sign(signed_areas(record.quads)).sum()) for record in manifest.records)
    return 1.0 if turns >= 0 else -1.0


def _image_findings(record: ImageRecord, places: tuple[str, ...], usual: float) -> Iterator[Finding]:
    def finding(index: int, kind: str, severity: Severity, text: str) -> Finding:
        return Finding(kind, severity, places[index], f"{record.labels[index]!r} {text}", record.image, index)

    quads = record.quads
    crossing = self_crossing(quads)
    for i in np.flatnonzero(crossing).tolist():
        yield finding(i, CROSSING, "error", "has corners in an order in which its sides cross")
    for i in np.flatnonzero(~crossing & ~is_convex(quads)).tolist():
        yield finding(i, "concave quad", "warning", "is dented: one corner lies inside the other three")
    way = "clockwise" if usual > 0 else "anticlockwise"
    for i in np.flatnonzero(~crossing & (usual * signed_areas(quads) < 0)).tolist():
        yield finding(i, ANTICLOCKWISE, "warning", f"has its corners the other way round than most, {way}")
    seen = inside_fraction(_convex(quads), record.wh)
    for i in np.flatnonzero(seen <= _MOST_SEEN).tolist():
        size = f"{record.width} x {record.height} px"
        yield finding(i, OUTSIDE, "error", f"lies {1 - seen[i]:.0%} outside its image of {size}")
    for i, first in _doubles(record):
        kind = DUPLICATE if record.labels[i] == record.labels[first] else "two classes for one object"
        text = f"stands where {record.labels[first]!r} of {places[first]} stands"
        yield finding(i, kind, "error", text)


def _convex(quads: Quads) -> Quads:
    """Quads (N, 4, 2), those that are not convex replaced by the smallest rectangles around them."""
    return np.where(is_convex(quads)[:, None, None], quads, min_area_quads(quads))


def self_crossing(quads: Quads) -> Bools:
    """Whether two opposite sides of each quad (N, 4, 2) cross, (N,)."""
    a, b, c, d = quads.transpose(1, 0, 2)
    return _cross(a, b, c, d) | _cross(b, c, d, a)


def _cross(p: Quads, q: Quads, r: Quads, s: Quads) -> Bools:
    """Whether segments pq and rs, each (N, 2), cross."""
    return np.asarray((_side(p, q, r) * _side(p, q, s) < 0) & (_side(r, s, p) * _side(r, s, q) < 0))


def _side(p: Quads, q: Quads, r: Quads) -> Quads:
    (ux, uy), (vx, vy) = (q - p).T, (r - p).T
    return np.asarray(ux * vy - uy * vx)


def _doubles(record: ImageRecord) -> Iterator[tuple[int, int]]:
    """Objects that lie on an earlier one, with that."""
    convex = _convex(record.quads)
    same = np.tril(iou_matrix(convex, convex) > _SAME_IOU, k=-1)
    for i in np.flatnonzero(same.any(axis=1)).tolist():
        yield i, int(same[i].argmax())
