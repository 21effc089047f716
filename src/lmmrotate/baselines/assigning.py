"""Which prior is responsible for which object: what a detector is taught, from the objects alone.

Torch-free, so that data workers do it while the model learns.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lmmrotate.baselines.priors import Floats, points
from lmmrotate.baselines.spec import STRIDES_PX
from lmmrotate.geometry.overlap import overlapping_in_groups
from lmmrotate.geometry.quads import Quads
from lmmrotate.geometry.rboxes import RBoxes

Ints = npt.NDArray[np.int64]

POSITIVE_IOU, NEGATIVE_IOU = 0.5, 0.4
"""RetinaNet: an anchor is taught an object it overlaps so much, and background if it overlaps all less."""
_BAND = 2048  # anchors
BACKGROUND = -1
IGNORED = -2
REACH_PX = ((-1.0, 64.0), (64.0, 128.0), (128.0, 256.0), (256.0, 512.0), (512.0, np.inf))
"""FCOS: by level, how far the farthest side of an object may be from a point (``regress_ranges``)."""
CENTRE_RADIUS = 1.5
"""FCOS: strides from an object's centre within which points are taught (``center_sample_radius``)."""


@dataclass(frozen=True, eq=False)
class Assignment:
    """What is expected of every prior."""

    labels: Ints
    """(N,) class numbers, ``BACKGROUND`` or ``IGNORED``."""
    objects: Ints
    """(P,) the object of every prior with a class, in the order of the priors."""


def assign_by_iou(anchor_quads: Quads, object_quads: Quads, labels: Ints) -> Assignment:
    """RetinaNet's rule, mmdet's ``MaxIoUAssigner``.

    An anchor belongs to the object that it overlaps most (the first of several), with an IoU of at least
    ``POSITIVE_IOU``; below ``NEGATIVE_IOU`` it is background, between them ignored. Then every object in turn
    also gets the anchors that overlap it most, however little. Only an object that overlaps no anchor at all
    is left out (mmdet gives it all anchors that overlap it by nothing).

    Args:
        anchor_quads: (N, 4, 2) pixels.
        object_quads: (G, 4, 2) pixels.
        labels: (G,) class numbers.
    """
    most = np.zeros(len(anchor_quads))
    owner = np.zeros(len(anchor_quads), dtype=np.int64)
    best = np.zeros(len(object_quads))
    rows, columns, ious = _overlapping(anchor_quads, object_quads)
    order = np.lexsort((-columns, ious))  # later ones overwrite: the largest IoU, then the first object
    most[rows[order]], owner[rows[order]] = ious[order], columns[order]
    np.maximum.at(best, columns, ious)
    found = np.full(len(anchor_quads), IGNORED)
    found[most < NEGATIVE_IOU] = BACKGROUND
    taught = most >= POSITIVE_IOU
    nearest = ious == best[columns]
    order = np.argsort(columns[nearest], kind="stable")  # object by object: the last one keeps an anchor
    owner[rows[nearest][order]] = columns[nearest][order]
    taught[rows[nearest]] = True
    found[taught] = labels[owner[taught]]
    return Assignment(found, owner[taught])


def _overlapping(anchor_quads: Quads, object_quads: Quads) -> tuple[Ints, Ints, Floats]:
    """Anchors, objects and IoUs of the pairs that count: all from ``NEGATIVE_IOU`` on, and of objects without
    one at least the largest. So few polygons are cut: most pairs overlap by very little. Anchors follow each
    other line by line, so that band by band only objects near its height are looked at."""
    bands = np.arange(0, len(anchor_quads), _BAND)
    ends = np.append(bands[1:], len(anchor_quads))
    top = np.minimum.reduceat(anchor_quads[..., 1].min(axis=1), bands)
    bottom = np.maximum.reduceat(anchor_quads[..., 1].max(axis=1), bands)
    left = np.arange(len(object_quads))
    parts = []
    for least in (NEGATIVE_IOU, NEGATIVE_IOU / 4, NEGATIVE_IOU / 16, 0.0):
        y = object_quads[left, :, 1]
        near = (y.min(axis=1) < bottom[:, None]) & (y.max(axis=1) > top[:, None])
        objects = left[np.nonzero(near)[1]]
        last = near.sum(axis=1).cumsum()
        groups = np.stack([bands, ends, np.append(0, last[:-1]), last], axis=1)
        rows, columns, ious = overlapping_in_groups(anchor_quads, object_quads[objects], groups, least=least)
        parts.append((rows, objects[columns], ious))
        left = np.setdiff1d(left, objects[columns])
        if not len(left):
            break
    rows, columns, ious = (np.concatenate(part) for part in zip(*parts, strict=True))
    return rows, columns, ious


def assign_by_place(grids: tuple[int, ...], objects: RBoxes, labels: Ints) -> Assignment:
    """Rotated FCOS's rule, mmrotate's ``RotatedFCOSHead``.

    A point is taught an object if it lies in it and, along the object's own axes, less than
    ``CENTRE_RADIUS`` strides from its centre, and if the farthest of its sides is within the reach of the
    point's level; of several objects the smallest, and of equal ones the first.

    Args:
        grids: cells a side of each level; points are their centres (``priors.points``).
        objects: (G, 5) rboxes, pixels.
        labels: (G,) class numbers.
    """
    places, strides = points(grids)
    rows, columns = _points_near(grids, objects[:, :2], CENTRE_RADIUS * np.sqrt(2))
    offset = places[rows] - objects[columns, :2]
    cos, sin = np.cos(objects[columns, 4]), np.sin(objects[columns, 4])
    along = np.abs(offset[:, 0] * cos + offset[:, 1] * sin)
    across = np.abs(offset[:, 1] * cos - offset[:, 0] * sin)
    half_w, half_h = objects[columns, 2:4].T / 2
    farthest = np.maximum(half_w + along, half_h + across)
    reach = np.repeat(REACH_PX, [side * side for side in grids], axis=0)[rows]
    inside = (along < half_w) & (across < half_h)
    inside &= np.maximum(along, across) < CENTRE_RADIUS * strides[rows]
    inside &= (farthest >= reach[:, 0]) & (farthest <= reach[:, 1])
    rows, columns = rows[inside], columns[inside]
    order = np.lexsort((-columns, -objects[columns, 2] * objects[columns, 3]))  # the smallest comes last
    owner = np.full(len(places), -1)
    owner[rows[order]] = columns[order]
    taught = owner >= 0
    found = np.full(len(places), BACKGROUND)
    found[taught] = labels[owner[taught]]
    return Assignment(found, owner[taught])


def _points_near(grids: tuple[int, ...], centres: Floats, strides: float) -> tuple[Ints, Ints]:
    """Rows of points, and of the centres (G, 2) from which they are at most so many strides away; others may
    be among them."""
    around = np.arange(-int(np.ceil(strides)), int(np.ceil(strides)) + 1)
    window = np.stack(np.meshgrid(around, around), axis=-1).reshape(1, -1, 2)
    rows, columns = [], []
    first = 0
    for side, stride in zip(grids, STRIDES_PX, strict=True):
        cells = np.floor(centres / stride).astype(np.int64)[:, None] + window
        there = ((cells >= 0) & (cells < side)).all(axis=-1)
        rows.append(first + cells[there] @ (1, side))
        columns.append(np.nonzero(there)[0])
        first += side * side
    return np.concatenate(rows), np.concatenate(columns)
