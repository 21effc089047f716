"""Which detection finds which object."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from lmmrotate.geometry.overlap import iou_pairs
from lmmrotate.geometry.quads import Quads

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

_PAIRS_AT_ONCE = 1_000_000  # bounds memory: two quads a pair


@dataclass(frozen=True, eq=False)
class Truths:
    """All objects of a data set, one row each."""

    image: Ints
    """(N,) index of the image."""
    label: Ints
    """(N,) index of the class."""
    quads: Quads
    """(N, 4, 2), convex, pixels."""
    ignore: Bools
    """(N,) difficult: neither to be found nor missed."""


@dataclass(frozen=True, eq=False)
class Detections:
    """All detections, one row each; equal scores rank in the order of the rows."""

    image: Ints
    label: Ints
    quads: Quads
    score: Floats

    def with_scores(self, score: npt.ArrayLike) -> Detections:
        values = np.broadcast_to(np.asarray(score, dtype=np.float64), self.score.shape)
        return Detections(self.image, self.label, self.quads, values)

    def select(self, keep: Bools) -> Detections:
        return Detections(self.image[keep], self.label[keep], self.quads[keep], self.score[keep])


@dataclass(frozen=True, eq=False)
class Best:
    """For every detection, the object of its class that it overlaps most."""

    truth: Ints
    """(D,) row of the object, -1 where the image has none of this class."""
    iou: Floats
    """(D,) 0 where there is none."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """What every detection is worth at one IoU threshold."""

    true: Bools
    """(D,) found an object that no better-scored detection had found."""
    false: Bools
    """(D,) found nothing, or an object that was found already. Neither: it lies on a difficult object."""


def best_truths(detections: Detections, truths: Truths) -> Best:
    """The most overlapped object of each detection's image and class; regular before difficult on a tie."""
    group = _group(truths.image, truths.label)
    order = np.lexsort((truths.ignore, group))
    wanted = _group(detections.image, detections.label)
    starts = np.searchsorted(group[order], wanted, side="left")
    counts = np.searchsorted(group[order], wanted, side="right") - starts
    best_truth = np.full(len(wanted), -1, dtype=np.int64)
    best_iou = np.zeros(len(wanted))
    for rows in _chunks(counts):
        detection, place = pairs_of(starts[rows], counts[rows])
        if not len(detection):
            continue
        detection += rows.start
        truth = order[place]
        iou = iou_pairs(detections.quads[detection], truths.quads[truth])
        # Sorting by detection, falling IoU and place makes each detection's first row its best.
        ranked = np.lexsort((place, -iou, detection))
        _, first = np.unique(detection[ranked], return_index=True)
        chosen = ranked[first]
        best_truth[detection[chosen]] = truth[chosen]
        best_iou[detection[chosen]] = iou[chosen]
    return Best(best_truth, best_iou)


def judge(
    detections: Detections,
    truths: Truths,
    best: Best,
    iou_threshold: float,
    *,
    forget_lone_difficult: bool = False,
) -> Outcome:
    """Match one to one, in order of falling score.

    A detection counts for the object that it overlaps most, at IoU >= ``iou_threshold``; if a better one
    has found that object already it is false, and no second object is tried (PASCAL VOC's rule).

    Args:
        forget_lone_difficult: difficult objects of an image without any regular object do not excuse
            detections (mmrotate's rule).
    """
    hit = (best.truth >= 0) & (best.iou >= iou_threshold)
    on_difficult = np.zeros_like(hit)
    on_difficult[hit] = truths.ignore[best.truth[hit]]
    claims = hit & ~on_difficult
    excused = on_difficult
    if forget_lone_difficult:
        excused = on_difficult & np.isin(detections.image, truths.image[~truths.ignore])
    true = np.zeros_like(hit)
    ranked = np.argsort(-detections.score, kind="stable")
    claimants = ranked[claims[ranked]]
    _, first = np.unique(best.truth[claimants], return_index=True)
    true[claimants[first]] = True
    return Outcome(true=true, false=~true & ~excused)


def pairs_of(starts: Ints, counts: Ints) -> tuple[Ints, Ints]:
    """All pairs (row, place) with place in [start, start + count) of the row."""
    row = np.repeat(np.arange(len(counts)), counts)
    offset = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    return row, np.repeat(starts, counts) + offset


def _group(image: Ints, label: Ints) -> Ints:
    """One number for image and class."""
    return image * (1 << 32) + label


def _chunks(counts: Ints) -> list[slice]:
    """Row ranges of at most about ``_PAIRS_AT_ONCE`` pairs each."""
    if not len(counts):
        return []
    steps = np.flatnonzero(np.diff(np.cumsum(counts) // _PAIRS_AT_ONCE)) + 1
    edges = [0, *steps.tolist(), len(counts)]
    return [slice(a, b) for a, b in pairwise(edges)]
