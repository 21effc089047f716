"""Which detection finds which object."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lmmrotate.geometry.overlap import iou_matrix
from lmmrotate.geometry.quads import Quads

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

_PAIRS_AT_ONCE = 4_000_000  # bounds the memory for an image of thousands of boxes: 8 bytes a pair


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

    def __post_init__(self) -> None:
        _check_lengths("Truths", self.image, self.label, self.quads, self.ignore)


@dataclass(frozen=True, eq=False)
class Detections:
    """All detections, one row each; equal scores rank in the order of the rows."""

    image: Ints
    """(D,) index of the image."""
    label: Ints
    """(D,) index of the class."""
    quads: Quads
    """(D, 4, 2), convex, pixels."""
    score: Floats
    """(D,) larger is surer."""

    def __post_init__(self) -> None:
        _check_lengths("Detections", self.image, self.label, self.quads, self.score)

    def with_scores(self, score: npt.ArrayLike) -> Detections:
        """The same boxes with other scores: (D,), or one for all."""
        values = np.broadcast_to(np.asarray(score, dtype=np.float64), self.score.shape)
        return Detections(self.image, self.label, self.quads, values)

    def select(self, keep: Bools) -> Detections:
        """The rows under a mask (D,)."""
        return Detections(self.image[keep], self.label[keep], self.quads[keep], self.score[keep])


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


def overlaps(detections: Detections, truths: Truths) -> Overlaps:
    """Every overlapping pair of the same image."""
    parts = []
    for some, objects in _blocks(detections.image, truths.image):
        iou = iou_matrix(detections.quads[some], truths.quads[objects])
        flat = np.flatnonzero(iou > 0)  # eight times as fast as np.nonzero(iou)
        d, t = np.divmod(flat, len(objects))
        parts.append((some[d], objects[t], iou.ravel()[flat]))
    if not parts:
        return Overlaps(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0))
    detection, truth, iou = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(detection, kind="stable")
    return Overlaps(detection[order], truth[order], iou[order])


def best_truths(detections: Detections, truths: Truths, pairs: Overlaps | None = None) -> Best:
    """The most overlapped object of each detection's class; on a tie regular before difficult, then by row.

    Args:
        pairs: their overlaps, where they are known already.
    """
    pairs = pairs or overlaps(detections, truths)
    same = detections.label[pairs.detection] == truths.label[pairs.truth]
    detection, truth, iou = pairs.detection[same], pairs.truth[same], pairs.iou[same]
    ranked = np.lexsort((truth, truths.ignore[truth], -iou, detection))
    # The first row of each detection is its best.
    found, first = np.unique(detection[ranked], return_index=True)
    best = Best(np.full(len(detections.label), -1, dtype=np.int64), np.zeros(len(detections.label)))
    best.truth[found] = truth[ranked[first]]
    best.iou[found] = iou[ranked[first]]
    return best


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
    has found that object already it is false, and no second object is tried (PASCAL VOC's rule, Everingham
    et al., "The PASCAL Visual Object Classes (VOC) Challenge", IJCV 2010).

    Args:
        iou_threshold: above 0.
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


def _blocks(detection_image: Ints, truth_image: Ints) -> Iterator[tuple[Ints, Ints]]:
    """Rows of detections and of objects that share an image, at most ``_PAIRS_AT_ONCE`` pairs together."""
    by_detection = np.argsort(detection_image, kind="stable")
    by_truth = np.argsort(truth_image, kind="stable")
    images = np.intersect1d(detection_image, truth_image)
    d = _edges(detection_image[by_detection], images)
    t = _edges(truth_image[by_truth], images)
    for (d0, d1), (t0, t1) in zip(d, t, strict=True):
        step = max(1, _PAIRS_AT_ONCE // (t1 - t0))
        for start in range(d0, d1, step):
            yield by_detection[start : min(start + step, d1)], by_truth[t0:t1]


def _edges(ordered: Ints, images: Ints) -> list[tuple[int, int]]:
    """Where each image's run of rows starts and ends."""
    starts, ends = np.searchsorted(ordered, images, "left"), np.searchsorted(ordered, images, "right")
    return list(zip(starts.tolist(), ends.tolist(), strict=True))


def _check_lengths(what: str, *columns: npt.NDArray[np.generic]) -> None:
    lengths = [len(column) for column in columns]
    if len(set(lengths)) > 1:
        raise ValueError(f"{what} needs columns of one length, got {lengths}")
