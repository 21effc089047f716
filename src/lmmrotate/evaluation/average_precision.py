"""Average precision from ranked outcomes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lmmrotate.evaluation import kernels
from lmmrotate.evaluation.matching import Bools, Floats, Ints, Outcome


@dataclass(frozen=True, eq=False)
class Curve:
    """Precision and recall after each counted detection, from the best score down."""

    recall: Floats
    """(D,)"""
    precision: Floats
    """(D,)"""
    found: Ints
    """(D,) objects found so far: recall as an exact fraction of ``objects``."""
    place: Ints
    """(D,) detections counted so far."""
    objects: int


def curve_of(outcome: Outcome, score: Floats, rows: Bools, objects: int) -> Curve:
    """The curve of one class; equal scores rank in the order of the rows.

    Args:
        score: (D,) of all detections.
        rows: (D,) which detections are of this class.
        objects: how many objects of the class count; 0 gives recall 0 everywhere.
    """
    counted = np.flatnonzero(rows & (outcome.true | outcome.false))
    ranked = counted[np.argsort(-score[counted], kind="stable")]
    found = np.cumsum(outcome.true[ranked], dtype=np.int64)
    place = np.arange(1, len(ranked) + 1, dtype=np.int64)
    return Curve(found / max(objects, 1), found / place, found, place, objects)


def ap_11(curve: Curve, *, rounded_steps: bool = False) -> float:
    """VOC 2007's 11-point AP: mean of the best precision at recall >= 0, 0.1, …, 1; NaN without objects.

    Recalls are compared as the exact fractions they are, so that 3 objects in 10 reach the step 0.3.

    Args:
        rounded_steps: compare with ``arange(0, 1, 0.1)`` in floating point, as mmrotate (and the Python
            versions of VOC's and DOTA's devkits) do: 3 in 10 fail to reach 0.30000000000000004.
    """
    return kernels.ap_11(curve.found, curve.place, curve.objects, rounded_steps)


def ap_area(curve: Curve) -> float:
    """Area under the precision envelope (VOC 2010 and later); NaN without objects."""
    return kernels.ap_area(curve.found, curve.place, curve.objects)
