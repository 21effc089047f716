"""Coordinates and angles in other units than the format has, and sizes where corners belong.

Such a fault is one of the whole file or image, not of single objects, and is said once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from lmmrotate.data.doctor.findings import Finding
from lmmrotate.data.formats.base import ConversionReport
from lmmrotate.data.formats.objects import LARGEST_SHARE
from lmmrotate.data.manifest import Manifest
from lmmrotate.data.records import ImageRecord
from lmmrotate.geometry.quads import Floats, Quads
from lmmrotate.geometry.rboxes import quads_to_rboxes

SHARES = "shares instead of pixels"
TWO_CORNERS = "xyxy read as xywh"
ANOTHER_SIZE = "labels for another image size"
UPPER_LEFT = "labels in one corner"
SMALL_ANGLES = "angle converted twice"

_MANY = 0.3
_OUTSIDE = 0.1
"""With more than this share of the objects beyond their images the labels of the whole set are suspected."""
_FEW_BEYOND = 2
"""So few objects beyond their images are faults of their own."""
_REACH = 0.75
"""Labels of a whole set that reach no further than this share of the width and of the height are odd."""
_ENOUGH = 50
_ENOUGH_IMAGES = 5
"""Objects of fewer images may well lie in one corner."""
_FEW = 20
"""Fewer tilted objects than this say nothing about the unit of their angles."""
_TILTED_RAD = 1e-4
"""Rounded corners of a level object tilt it by less; corners have at most four digits in most files."""
_TWICE_RAD = float(np.radians(np.pi))
"""The largest angle after a second conversion from degrees to radians: half a turn is 3.14 "degrees"."""


def unit_findings(manifest: Manifest, report: ConversionReport, has_sizes: bool) -> Iterator[Finding]:
    """Coordinates in other units than pixels of the image, sizes where corners belong, tiny angles.

    ``has_sizes``: whether boxes may stand as x y width height in the files.
    """
    first = next((places[0] for places in report.places if places), "")
    frames = frames_of_labels(manifest)
    for record, places in zip(manifest.records, report.places, strict=True):
        if are_shares(record):
            text = "all coordinates are below 1.5: shares of the image, where this format has pixels"
            yield Finding(SHARES, "error", places[0], text, record.image)
        elif size := frames.by_image.get(record.image):
            text = (
                f"the labels fit an image of about {size[0]} x {size[1]} px, this one is "
                f"{record.width} x {record.height} px"
            )
            yield Finding(ANOTHER_SIZE, "error", places[0], text, record.image)
    if frames.outside:
        text = (
            f"{frames.outside:.0%} of all objects lie beyond the right or lower edge of their images: the "
            f"labels are those of images about {frames.reach:.2g} times as large"
        )
        yield Finding(ANOTHER_SIZE, "error", first, text)
    elif frames.reach and frames.reach < _REACH:
        text = (
            f"no object lies beyond {frames.reach:.0%} of its image's width and height: the labels seem to "
            "be those of smaller images"
        )
        yield Finding(UPPER_LEFT, "warning", first, text)
    mixed = _corners_as_sizes(manifest) if has_sizes else None
    if mixed is not None:
        text = (
            f"{mixed:.0%} of the upright boxes leave the image as x y width height and fit as x1 y1 x2 y2: "
            "the numbers are two corners"
        )
        yield Finding(TWO_CORNERS, "error", first, text)
    if largest := _largest_of_small_angles(manifest):
        text = (
            f"no object is tilted by more than {np.degrees(largest):.2g} degrees: angles in radians seem to "
            "have been converted to radians once more"
        )
        yield Finding(SMALL_ANGLES, "warning", first, text)


def are_shares(record: ImageRecord) -> bool:
    """Whether the coordinates of an image's objects are shares of its width and height."""
    return bool(len(record.quads) and np.abs(record.quads).max() <= LARGEST_SHARE and min(record.wh) > 8)


@dataclass(frozen=True)
class Frames:
    """Whether labels and images are of one size, judged by where the labels lie."""

    outside: float | None
    """The share of all objects that lie beyond their images, if the labels of the whole set are of
    another size; no image is judged on its own then."""
    reach: float | None
    """How far the labels of all images reach, as a share of width or height, whichever is more; None with
    too few objects."""
    by_image: Mapping[str, tuple[int, int]]
    """The size that the labels of an image speak of, where it is not the one it has."""

    def tell(self, image: str) -> bool:
        """Whether they explain an object of this image that lies outside."""
        return self.outside is not None or image in self.by_image


def frames_of_labels(manifest: Manifest) -> Frames:
    """Judge the set as a whole, or else image by image."""
    records = [record for record in manifest.records if len(record.quads) and not are_shares(record)]
    # Of every object its middle and its furthest corner, as shares of width and height.
    centres = [record.quads.mean(axis=1) / record.wh for record in records]
    beyond = [int((centre > 1).any(axis=1).sum()) for centre in centres]
    total, images = sum(map(len, centres)), sum(map(bool, beyond))
    reach = None
    if total >= _ENOUGH and len(records) >= _ENOUGH_IMAGES:
        corners = np.concatenate([record.quads.max(axis=1) / record.wh for record in records])
        reach = float(np.quantile(corners, 0.99, axis=0).max())
    if sum(beyond) > max(_FEW_BEYOND, _OUTSIDE * total) and images >= _MANY * len(records):
        return Frames(sum(beyond) / total, reach or float(np.concatenate(centres).max()), {})
    sizes = {record.image: size for record in records if (size := _other_size(record))}
    return Frames(None, reach, sizes)


def _other_size(record: ImageRecord) -> tuple[int, int] | None:
    """The size that the labels of an image speak of, if most of them lie wholly beyond the one it has.

    Wholly, as a tile may hold objects of which it cuts more than half away.
    """
    if len(record.quads) < 2 or record.quads.min() < -0.1 * max(record.wh):
        return None
    outside = (record.quads.min(axis=1) > record.wh).any(axis=1)
    if outside.mean() <= 0.5:
        return None
    width, height = np.ceil(record.quads.reshape(-1, 2).max(axis=0)).astype(int).tolist()
    return width, height


def second_corners(quads: Quads) -> tuple[np.ndarray, Floats]:
    """Which quads (N, 4, 2) are upright, (N,), and what was read as their width and height, (N, 2)."""
    low, high = quads.min(axis=1, initial=np.inf), quads.max(axis=1, initial=-np.inf)
    corners = [low, np.stack([high[:, 0], low[:, 1]], 1), high, np.stack([low[:, 0], high[:, 1]], 1)]
    return (np.stack(corners, 1) == quads).all(axis=(1, 2)), high - low


def _corners_as_sizes(manifest: Manifest) -> float | None:
    """The share of upright boxes that make sense only as two corners, if that is what most of them do."""
    leaves, fits = [], []
    for record in manifest.records:
        upright, second = second_corners(record.quads)
        quads, second = record.quads[upright], second[upright]
        leaves.append((quads.max(axis=1, initial=-np.inf) > np.array(record.wh) * 1.02).any(axis=1))
        within = (second <= np.array(record.wh) * 1.02).all(axis=1)
        fits.append((second > quads.min(axis=1, initial=np.inf)).all(axis=1) & within)
    leaving, fitting = (np.concatenate(parts) if parts else np.zeros(0, bool) for parts in (leaves, fits))
    if len(leaving) < 3:
        return None
    share = float((leaving & fitting).mean())
    return share if fitting.mean() > 0.95 and share > _MANY else None


def _largest_of_small_angles(manifest: Manifest) -> float | None:
    """The largest tilt, radians, if most objects are tilted, none more than a twice converted angle is."""
    records = [record.quads for record in manifest.records]
    quads = np.concatenate(records) if records else np.empty((0, 4, 2))
    sides = np.hypot(*(quads - np.roll(quads, 1, axis=1)).T).T
    long = quads[sides.max(axis=1, initial=0) > 1.2 * sides.min(axis=1, initial=np.inf)]
    tilts = np.abs(quads_to_rboxes(long)[:, 4])
    tilts = np.minimum(tilts, np.pi / 2 - tilts)  # of the side that is closer to level
    tilted = tilts[tilts > _TILTED_RAD]
    if len(tilted) < max(_FEW, 0.5 * len(tilts)) or tilts.max() > _TWICE_RAD:
        return None
    return float(tilts.max()) if tilts.max() > 0.3 * _TWICE_RAD else None  # less is the annotator's hand
