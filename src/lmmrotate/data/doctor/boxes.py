"""Quads that cannot be right: crossing, outside, double, turned the wrong way, in other units."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from lmmrotate.data.doctor.findings import Finding
from lmmrotate.data.formats.base import ConversionReport
from lmmrotate.data.manifest import Manifest
from lmmrotate.data.records import ImageRecord
from lmmrotate.geometry.overlap import iou_matrix
from lmmrotate.geometry.quads import Quads, inside_fraction, is_convex, min_area_quads, signed_areas

_SAME_IOU = 0.95
_MOST_SEEN = 0.3
"""An object of which no more than this share lies in the image is reported."""
_LARGEST_SHARE = 1.5
"""Coordinates that are all below this are shares of the image, not pixels."""
_MANY = 0.3

Bools = npt.NDArray[np.bool_]


def box_findings(manifest: Manifest, report: ConversionReport) -> Iterator[Finding]:
    """What is wrong with single objects, image by image.

    Corners may run either way round, as long as all do: the minority is reported.
    """
    turns = sum(int(np.sign(signed_areas(record.quads)).sum()) for record in manifest.records)
    usual = 1.0 if turns >= 0 else -1.0
    for record, places in zip(manifest.records, report.places, strict=True):
        if not len(record.quads) or _are_shares(record) or _other_size(record):
            continue  # said once for the image, see ``unit_findings``
        yield from _image_findings(record, places, usual)


def _image_findings(record: ImageRecord, places: tuple[str, ...], usual: float) -> Iterator[Finding]:
    def finding(index: int, kind: str, severity: str, text: str) -> Finding:
        return Finding(kind, severity, places[index], f"{record.labels[index]!r} {text}", record.image)  # type: ignore[arg-type]

    quads = record.quads
    crossing = self_crossing(quads)
    for i in np.flatnonzero(crossing).tolist():
        yield finding(i, "self-crossing quad", "error", "has corners in an order in which its sides cross")
    for i in np.flatnonzero(~crossing & ~is_convex(quads)).tolist():
        yield finding(i, "concave quad", "warning", "is dented: one corner lies inside the other three")
    way = "clockwise" if usual > 0 else "anticlockwise"
    for i in np.flatnonzero(~crossing & (usual * signed_areas(quads) < 0)).tolist():
        yield finding(i, "corner order", "warning", f"has its corners the other way round than most, {way}")
    seen = inside_fraction(quads, record.wh)
    for i in np.flatnonzero(seen <= _MOST_SEEN).tolist():
        size = f"{record.width} x {record.height} px"
        yield finding(i, "out of frame", "error", f"lies {1 - seen[i]:.0%} outside its image of {size}")
    for i, first in _doubles(record):
        kind = "duplicate" if record.labels[i] == record.labels[first] else "two classes for one object"
        text = f"stands where {record.labels[first]!r} of {places[first]} stands"
        yield finding(i, kind, "error", text)


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
    convex = np.where(is_convex(record.quads)[:, None, None], record.quads, min_area_quads(record.quads))
    same = np.tril(iou_matrix(convex, convex) > _SAME_IOU, k=-1)
    for i in np.flatnonzero(same.any(axis=1)).tolist():
        yield i, int(same[i].argmax())


def unit_findings(manifest: Manifest, report: ConversionReport) -> Iterator[Finding]:
    """Coordinates in other units than pixels of the image, or sizes where corners belong."""
    for record, places in zip(manifest.records, report.places, strict=True):
        if _are_shares(record):
            text = "all coordinates are below 1.5: shares of the image, where this format has pixels"
            yield Finding("shares instead of pixels", "error", places[0], text, record.image)
        elif size := _other_size(record):
            text = (
                f"the labels fit an image of about {size[0]} x {size[1]} px, this one is "
                f"{record.width} x {record.height} px"
            )
            yield Finding("labels for another image size", "error", places[0], text, record.image)
    mixed = _corners_as_sizes(manifest)
    if mixed is not None:
        where = next(places[0] for places in report.places if places)
        text = (
            f"{mixed:.0%} of the upright boxes leave the image as x y width height and fit as x1 y1 x2 y2: "
            "the numbers are two corners"
        )
        yield Finding("xyxy read as xywh", "error", where, text)


def _are_shares(record: ImageRecord) -> bool:
    return bool(len(record.quads) and np.abs(record.quads).max() <= _LARGEST_SHARE and min(record.wh) > 8)


def _other_size(record: ImageRecord) -> tuple[int, int] | None:
    """The size that the labels of an image speak of, if most of them lie far outside the one it has."""
    if len(record.quads) < 2 or record.quads.min() < -0.1 * max(record.wh):
        return None
    centres = record.quads.mean(axis=1)
    outside = (centres > np.array(record.wh)).any(axis=1)
    if outside.mean() <= 0.5:
        return None
    width, height = np.ceil(record.quads.reshape(-1, 2).max(axis=0)).astype(int).tolist()
    return width, height


def _corners_as_sizes(manifest: Manifest) -> float | None:
    """The share of upright boxes that make sense only as two corners, if that is what most of them do."""
    boxes, sizes = [], []
    for record in manifest.records:
        quads = record.quads
        low, high = quads.min(axis=1, initial=np.inf), quads.max(axis=1, initial=-np.inf)
        corners = np.stack(
            [low, np.stack([high[:, 0], low[:, 1]], 1), high, np.stack([low[:, 0], high[:, 1]], 1)], 1
        )
        upright = (corners == quads).all(axis=(1, 2)) if len(quads) else np.zeros(0, dtype=bool)
        boxes.append(np.concatenate([low, high], axis=1)[upright])
        sizes.append(np.broadcast_to(record.wh, (int(upright.sum()), 2)))
    low, high = np.split(np.concatenate(boxes), 2, axis=1) if boxes else (np.zeros((0, 2)),) * 2
    if len(low) < 3:
        return None
    wh = np.concatenate(sizes)
    second = high - low  # what was read as width and height
    leaves = (high > wh * 1.02).any(axis=1)
    fits = (second > low).all(axis=1) & (second <= wh * 1.02).all(axis=1)
    share = float((leaves & fits).mean())
    return share if fits.mean() > 0.95 and share > _MANY else None
