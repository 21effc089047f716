"""Numbers over score thresholds and over orders of equal scores."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from lmmrotate.data.workers import core_count
from lmmrotate.evaluation import kernels
from lmmrotate.evaluation.matching import (
    Best,
    Bools,
    Detections,
    Floats,
    Ints,
    Outcome,
    Ranking,
    Truths,
)

SHUFFLES = 100


@dataclass(frozen=True, eq=False)
class Sweep:
    """What keeping only detections of a score or more would give."""

    thresholds: Floats
    """(S,) rising."""
    precision: Floats
    """(S, K); NaN where no detection of the class is left."""
    recall: Floats
    """(S, K); NaN for classes without objects."""
    f1: Floats
    """(S, K); NaN where there is nothing to find and nothing found."""
    mf1: Floats
    """(S,)"""
    map_nc: Floats
    """(S,) mAP of those that are kept, without their scores, in stable order."""

    def best_mf1(self) -> tuple[float, float]:
        """The largest mF1 and its threshold, the lowest of several; NaN and NaN without objects."""
        return _largest(self.mf1, self.thresholds)

    def best_map_nc(self) -> tuple[float, float]:
        """The largest mAP_nc and its threshold, the lowest of several; NaN and NaN without objects."""
        return _largest(self.map_nc, self.thresholds)


@dataclass(frozen=True)
class EvenScores:
    """mAP_nc over random orders of the detections, which stable order is one of."""

    mean: float
    spread: float
    """Standard deviation."""
    orders: int


def f1_counts(
    outcome: Outcome, detections: Detections, class_count: int, thresholds: Floats
) -> tuple[Ints, Ints]:
    """True and false detections (S, K) of a score of at least each threshold (S,), rising.

    Thresholding after the matching is the same as before it: a surer detection never loses its object.
    """
    place = np.searchsorted(thresholds, detections.score, side="right")
    cells = place * class_count + detections.label
    size = (len(thresholds) + 1) * class_count
    true, false = (
        np.bincount(cells[some], minlength=size).reshape(-1, class_count)
        for some in (outcome.true, outcome.false)
    )
    # Row s counts what lies between two thresholds: those above it are kept by it, too.
    return tuple(np.cumsum(counts[::-1], axis=0)[::-1][1:] for counts in (true, false))  # type: ignore[return-value]


def ratios(true: Ints, false: Ints, objects: Ints) -> tuple[Floats, Floats, Floats]:
    """Precision, recall and F1 from counts of any shape (…, K); NaN where they mean nothing.

    F1 = 2 TP / (2 TP + FP + FN) is 0 where nothing was found, and NaN where there was nothing to find and
    nothing found.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        return true / (true + false), true / objects, 2 * true / (true + false + objects)


def score_sweep(
    detections: Detections,
    truths: Truths,
    even: Ranking,
    best: Best,
    outcome: Outcome,
    excuse: Bools,
    objects: Ints,
    *,
    iou_threshold: float,
    thresholds: Floats,
    rounded_steps: bool,
    kept: Callable[[Floats, float], Bools],
    map_of_nothing: float,
) -> Sweep:
    """Precision, recall, F1 and mAP_nc at each score threshold.

    Args:
        even: the detections in the order that mAP_nc takes.
        best: the object that each detection speaks of.
        outcome: at ``iou_threshold``, by falling score.
        excuse: (N,) the difficult objects that excuse detections.
        objects: (K,) how many of each class count.
        thresholds: (S,) rising; detections of at least this score count in precision, recall and F1.
        kept: which scores (D,) mAP_nc takes at a threshold.
        map_of_nothing: the mean over no class.
    """
    present = objects > 0
    precision, recall, f1 = ratios(*f1_counts(outcome, detections, len(objects), thresholds), objects)
    aps = []
    for threshold in thresholds.tolist():
        aps.append(
            even_aps(
                even.select(kept(detections.score, threshold)),
                truths,
                best,
                excuse,
                objects,
                iou_threshold=iou_threshold,
                rounded_steps=rounded_steps,
            )[0]
        )
    mf1, map_nc = (mean_of(values, present, map_of_nothing) for values in (f1, np.stack(aps)))
    return Sweep(thresholds, precision, recall, f1, mf1, map_nc)


def even_aps(
    ranking: Ranking,
    truths: Truths,
    best: Best,
    excuse: Bools,
    objects: Ints,
    *,
    iou_threshold: float,
    rounded_steps: bool,
    seeds: Ints | None = None,
) -> Floats:
    """11-point AP (1, K) of equal scores in the order of a ranking, or (S, K) in random ones, one a seed."""

    def of_orders(some: Ints) -> Floats:
        tables = ranking.rows, ranking.starts, best.truth, best.iou, truths.ignore, excuse
        return kernels.even_aps(*tables, iou_threshold, objects, rounded_steps, some)

    if seeds is None:
        return of_orders(np.array([-1]))
    with ThreadPoolExecutor(core_count()) as pool:
        return np.concatenate(list(pool.map(of_orders, np.array_split(seeds, core_count()))))


def mean_of(values: Floats, present: Bools, of_none: float = np.nan) -> Floats:
    """Means over the classes that have objects: (…, K) to (…,); ``of_none`` without any."""
    if not present.any():
        return np.full(values.shape[:-1], of_none)
    return np.asarray(values[..., present].mean(axis=-1))


def _largest(values: Floats, thresholds: Floats) -> tuple[float, float]:
    if np.isnan(values).all():
        return float("nan"), float("nan")
    place = int(np.nanargmax(values))
    return float(values[place]), float(thresholds[place])
