"""Average precision from ranked outcomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lmmrotate.evaluation import kernels
from lmmrotate.evaluation.matching import Floats, Ints, Outcome, Ranking


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


def curves_of(outcome: Outcome, ranking: Ranking, objects: Sequence[int] | Ints) -> list[Curve]:
    """The curve of every class.

    Args:
        ranking: the detections, class by class, from the best score down.
        objects: (K,) how many objects of each class count; 0 gives recall 0 everywhere.
    """
    counted = outcome.true | outcome.false
    curves = []
    for rows, count in zip(ranking.of_classes(), map(int, objects), strict=True):
        ranked = rows[counted[rows]]
        found = np.cumsum(outcome.true[ranked], dtype=np.int64)
        place = np.arange(1, len(ranked) + 1, dtype=np.int64)
        curves.append(Curve(found / max(count, 1), found / place, found, place, count))
    return curves


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
