"""Exact overlap of rotated boxes, and non-maximum suppression.

Quads are float64 (N, 4, 2), pixels, in either winding and starting at any corner. Those without area
(points, lines) overlap nothing: the result is 0, never NaN.

Intersections are cut exactly (Sutherland and Hodgman, "Reentrant polygon clipping", CACM 1974) in
float64, concave quads as two triangles, so the values agree with shapely's. Where a quad crosses itself, its
clockwise part counts against the other, as in DOTA_devkit's polyiou.
"""

import numpy as np
import numpy.typing as npt

from lmmrotate.geometry import kernels
from lmmrotate.geometry.quads import Quads, as_quads

Ratios = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]


def iou_matrix(a: Quads, b: Quads) -> Ratios:
    """Intersection over union, (N, M) in [0, 1], of every quad of ``a`` (N) with every quad of ``b`` (M)."""
    return kernels.overlap_matrix(_compact(a), _compact(b), False)


def iof_matrix(a: Quads, b: Quads) -> Ratios:
    """Intersection over the area of ``a`` (over the foreground), (N, M) in [0, 1]."""
    return kernels.overlap_matrix(_compact(a), _compact(b), True)


def iou_pairs(a: Quads, b: Quads) -> Ratios:
    """Intersection over union, (N,) in [0, 1], of each quad of ``a`` with the one of ``b`` at its index.

    Raises:
        ValueError: if ``a`` and ``b`` differ in length.
    """
    return kernels.overlap_pairs(*_as_pairs(a, b), False)


def iof_pairs(a: Quads, b: Quads) -> Ratios:
    """Intersection over the area of ``a``, (N,) in [0, 1], index by index.

    Raises:
        ValueError: if ``a`` and ``b`` differ in length.
    """
    return kernels.overlap_pairs(*_as_pairs(a, b), True)


def overlapping_in_groups(
    a: Quads,
    b: Quads,
    groups: Indices,
    labels: tuple[Indices, Indices] | None = None,
    least: float = 0.0,
) -> tuple[Indices, Indices, Ratios]:
    """Pairs of overlapping quads of the same group, such as an image; of many groups in one call.

    Args:
        a, b: (N, 4, 2) and (M, 4, 2), both sorted by group.
        groups: (G, 4) int64; of each its first row of ``a`` and the one behind its last, and both of ``b``.
        labels: (N,) and (M,); if given, only pairs of equal labels are looked at.
        least: pairs with a smaller IoU are left out, most of them without cutting polygons.

    Returns:
        Rows of ``a`` (P,), group by group in rising order, rows of ``b`` (P,), and IoUs (P,), above 0.
    """
    none = np.empty(0, dtype=np.int64)
    return kernels.overlapping_in_groups(
        _compact(a), _compact(b), groups, *(labels or (none, none)), labels is not None, least
    )


def rotated_nms(
    quads: Quads, scores: npt.ArrayLike, labels: npt.ArrayLike, iou_threshold: float
) -> npt.NDArray[np.int64]:
    """Greedy non-maximum suppression within each class.

    From the best score down, a kept quad removes every later quad of its label that it overlaps with an
    IoU of at least ``iou_threshold`` (``>=`` as in mmcv's ``nms_rotated``). Of equal scores the earlier
    index comes first. Quads that do not overlap never remove each other, whatever the threshold.

    Args:
        quads: (N, 4, 2) pixels.
        scores: (N,), larger is better.
        labels: (N,) integers; give zeros to suppress across classes.
        iou_threshold: from 0 to 1.

    Returns:
        Indices of the kept quads, int64, by descending score.

    Raises:
        ValueError: if the lengths differ, a label is no integer, a score is NaN or the threshold is not
            between 0 and 1.
    """
    quads = as_quads(quads)
    scores = np.asarray(scores, dtype=np.float64).reshape(-1)
    classes = np.asarray(labels).reshape(-1)
    if classes.size and not np.issubdtype(classes.dtype, np.integer):
        raise ValueError(f"labels must be integers, got {classes.dtype}")
    classes = classes.astype(np.int64)
    if not len(quads) == len(scores) == len(classes):
        raise ValueError(f"got {len(quads)} quads, {len(scores)} scores and {len(classes)} labels")
    if np.isnan(scores).any():
        raise ValueError("scores contain NaN")
    if not 0 <= iou_threshold <= 1:
        raise ValueError(f"iou_threshold must be between 0 and 1, got {iou_threshold}")
    ranking = np.argsort(-scores, kind="stable")
    order = np.lexsort((quads[..., 0].min(axis=1), classes))  # by label, then by left bound
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    kept = kernels.suppress(quads[order], classes[order], place[ranking], float(iou_threshold))
    return ranking[kept[place[ranking]]]


def _compact(quads: Quads) -> Quads:
    """The same quads in the one memory layout that the kernels are compiled for."""
    return np.require(as_quads(quads), requirements=["C", "W"])


def _as_pairs(a: Quads, b: Quads) -> tuple[Quads, Quads]:
    a, b = _compact(a), _compact(b)
    if len(a) != len(b):
        raise ValueError(f"pairs need equal lengths, got {len(a)} and {len(b)} quads")
    return a, b
