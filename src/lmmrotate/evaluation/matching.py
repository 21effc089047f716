"""Which detection finds which object."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from lmmrotate.data.workers import core_count
from lmmrotate.evaluation import kernels
from lmmrotate.geometry.overlap import overlapping_in_groups
from lmmrotate.geometry.quads import Quads

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

_ROWS_AT_ONCE = 100_000  # enough to keep a core busy, few enough to share them evenly


@dataclass(frozen=True, eq=False)
class Truths:
    """All objects of a data set, one row each."""

    image: Ints
    """(N,) index of the image."""
    label: Ints
    """(N,) index of the class."""
    quads: Quads
    """(N, 4, 2), pixels."""
    ignore: Bools
    """(N,) difficult: neither to be found nor missed."""

    def __post_init__(self) -> None:
        _check_lengths("Truths", self.image, self.label, self.quads, self.ignore)

    def select(self, keep: Bools | Ints) -> Truths:
        """The rows under a mask (N,), or at these indices."""
        return Truths(self.image[keep], self.label[keep], self.quads[keep], self.ignore[keep])


@dataclass(frozen=True, eq=False)
class Detections:
    """All detections, one row each; equal scores rank in the order of the rows."""

    image: Ints
    """(D,) index of the image."""
    label: Ints
    """(D,) index of the class."""
    quads: Quads
    """(D, 4, 2), pixels."""
    score: Floats
    """(D,) larger is surer."""

    def __post_init__(self) -> None:
        _check_lengths("Detections", self.image, self.label, self.quads, self.score)

    def with_scores(self, score: npt.ArrayLike) -> Detections:
        """The same boxes with other scores: (D,), or one for all."""
        values = np.broadcast_to(np.asarray(score, dtype=np.float64), self.score.shape)
        return Detections(self.image, self.label, self.quads, values)

    def select(self, keep: Bools | Ints) -> Detections:
        """The rows under a mask (D,), or at these indices."""
        return Detections(self.image[keep], self.label[keep], self.quads[keep], self.score[keep])


@dataclass(frozen=True, eq=False)
class Ranking:
    """Detections class by class, in the order in which they claim objects."""

    rows: Ints
    """(D,)"""
    starts: Ints
    """(K + 1,) where each class begins among the rows."""

    def of_classes(self) -> list[Ints]:
        """The rows of every class."""
        return [self.rows[start:end] for start, end in pairwise(self.starts.tolist())]

    def select(self, keep: Bools) -> Ranking:
        """Only the detections under a mask (D,)."""
        kept = keep[self.rows]
        return Ranking(self.rows[kept], np.concatenate([[0], np.cumsum(kept)])[self.starts])


@dataclass(frozen=True, eq=False)
class Overlaps:
    """All pairs of a detection and an object that overlap, whatever their classes, sorted by detection.

    They depend on no threshold and no score, so one computation serves every number.
    """

    detection: Ints
    """(P,) row of the detection."""
    truth: Ints
    """(P,) row of the object."""
    iou: Floats
    """(P,) above 0."""


@dataclass(frozen=True, eq=False)
class Best:
    """For every detection, the object of its class that it overlaps most."""

    truth: Ints
    """(D,) row of the object, -1 where it overlaps none of its class."""
    iou: Floats
    """(D,) 0 where there is none."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """What every detection is worth at one IoU threshold."""

    true: Bools
    """(D,) found an object that no better-scored detection had found."""
    false: Bools
    """(D,) found nothing, or an object that was found already. Neither: it lies on a difficult object."""


def overlaps(
    detections: Detections, truths: Truths, *, same_class: bool = False, least_iou: float = 0.0
) -> Overlaps:
    """Every overlapping pair of the same image, on all cores.

    Args:
        same_class: only pairs of one class.
        least_iou: leave out pairs that overlap less; a small part of the work is left for 0.5.
    """
    if not _is_sorted(detections.image):
        order = np.argsort(detections.image, kind="stable")
        pairs = overlaps(detections.select(order), truths, same_class=same_class, least_iou=least_iou)
        return _sorted(order[pairs.detection], pairs.truth, pairs.iou)
    if not _is_sorted(truths.image):
        order = np.argsort(truths.image, kind="stable")
        pairs = overlaps(detections, truths.select(order), same_class=same_class, least_iou=least_iou)
        return _sorted(pairs.detection, order[pairs.truth], pairs.iou)
    groups = _groups(detections.image, truths.image)

    def found(some: Ints) -> tuple[Ints, Ints, Floats]:
        d, t = slice(some[0, 0], some[-1, 1]), slice(some[0, 2], some[-1, 3])
        labels = (detections.label[d], truths.label[t]) if same_class else None
        first = np.array([d.start, d.start, t.start, t.start])
        quads = detections.quads[d], truths.quads[t]
        rows_d, rows_t, iou = overlapping_in_groups(*quads, some - first, labels, least_iou)
        return rows_d + d.start, rows_t + t.start, iou

    with ThreadPoolExecutor(core_count()) as pool:
        columns = list(zip(*pool.map(found, (some for some in groups if len(some))), strict=True))
    if not columns:
        return Overlaps(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0))
    return Overlaps(*(np.concatenate(column) for column in columns))


def best_truths(
    detections: Detections, truths: Truths, pairs: Overlaps | None = None, *, regular_first: bool = True
) -> Best:
    """The most overlapped object of each detection's class; on a tie regular before difficult, then by row.

    Args:
        pairs: their overlaps, where they are known already. Those below the smallest IoU that is asked for
            may be missing.
        regular_first: on a tie; else by row alone.
    """
    pairs = pairs or overlaps(detections, truths, same_class=True)
    later = truths.ignore if regular_first else np.zeros_like(truths.ignore)
    return Best(
        *kernels.best_of_class(pairs.detection, pairs.truth, pairs.iou, detections.label, truths.label, later)
    )


def ranked(detections: Detections, class_count: int) -> Ranking:
    """The detections of each class by falling score, equal ones in the order of their rows."""
    return _by_class(np.argsort(-detections.score, kind="stable"), detections.label, class_count)


def unranked(detections: Detections, class_count: int) -> Ranking:
    """The detections of each class in the order of their rows, as if all scores were equal."""
    return _by_class(np.arange(len(detections.label)), detections.label, class_count)


def _by_class(rows: Ints, label: Ints, class_count: int) -> Ranking:
    # Numbers of 16 bits are sorted by radix, which takes a tenth of the time.
    rows = rows[np.argsort(label[rows].astype(np.uint16), kind="stable")]
    return Ranking(rows, np.searchsorted(label[rows], np.arange(class_count + 1)))


def judge(
    ranking: Ranking,
    truths: Truths,
    best: Best,
    iou_threshold: float,
    excuse: Bools | None = None,
) -> Outcome:
    """Match one to one, in the order of a ranking.

    A detection counts for the object that it overlaps most, at IoU >= ``iou_threshold``; if a better one
    has found that object already it is false, and no second object is tried (PASCAL VOC's rule, Everingham
    et al., "The PASCAL Visual Object Classes (VOC) Challenge", IJCV 2010).

    Args:
        best: the object that each detection speaks of.
        iou_threshold: above 0.
        excuse: which objects make a detection of theirs neither true nor false (see ``excusing``); default:
            the difficult ones.
    """
    excuse = truths.ignore if excuse is None else excuse
    return Outcome(*kernels.judge(ranking.rows, best.truth, best.iou, truths.ignore, excuse, iou_threshold))


def excusing(truths: Truths, *, forget_lone_difficult: bool = False) -> Bools:
    """Which objects, (N,), make a detection of theirs neither true nor false: the difficult ones.

    Args:
        forget_lone_difficult: but not those in an image without any regular object (mmrotate's rule).
    """
    if not forget_lone_difficult:
        return truths.ignore
    regular = np.unique(truths.image[~truths.ignore])
    return np.asarray(truths.ignore & np.isin(truths.image, regular))


def _groups(detection_image: Ints, truth_image: Ints) -> Iterator[Ints]:
    """Where the rows of images that have both lie, (G, 4), about ``_ROWS_AT_ONCE`` rows at once."""
    images = np.intersect1d(detection_image, truth_image)
    edges = [
        np.searchsorted(rows, images, side)
        for rows in (detection_image, truth_image)
        for side in ("left", "right")
    ]
    groups = np.stack(edges, axis=1)
    rows = np.cumsum(groups[:, 1] - groups[:, 0] + groups[:, 3] - groups[:, 2])
    yield from np.split(groups, np.flatnonzero(np.diff(rows // _ROWS_AT_ONCE)) + 1)


def _is_sorted(values: Ints) -> bool:
    return bool((values[1:] >= values[:-1]).all())


def _sorted(detection: Ints, truth: Ints, iou: Floats) -> Overlaps:
    order = np.argsort(detection, kind="stable")
    return Overlaps(detection[order], truth[order], iou[order])


def _check_lengths(what: str, *columns: npt.NDArray[np.generic]) -> None:
    lengths = [len(column) for column in columns]
    if len(set(lengths)) > 1:
        raise ValueError(f"{what} needs columns of one length, got {lengths}")
