"""Average precision from ranked outcomes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lmmrotate.evaluation.matching import Bools, Floats, Outcome

_STEPS = np.arange(11)


@dataclass(frozen=True, eq=False)
class Curve:
    """Precision and recall after each counted detection, from the best score down."""

    recall: Floats
    precision: Floats
    found: npt.NDArray[np.int64]
    """Objects found so far: recall as an exact fraction of ``objects``."""
    objects: int


def curve_of(outcome: Outcome, score: Floats, rows: Bools, objects: int) -> Curve:
    """The curve of one class.

    Args:
        rows: (D,) which detections are of this class.
        objects: how many objects of the class count; 0 gives recall 0 everywhere.
    """
    counted = np.flatnonzero(rows & (outcome.true | outcome.false))
    ranked = counted[np.argsort(-score[counted], kind="stable")]
    found = np.cumsum(outcome.true[ranked], dtype=np.int64)
    wrong = np.cumsum(outcome.false[ranked])
    return Curve(found / max(objects, 1), found / np.maximum(found + wrong, 1), found, objects)


def ap_11(curve: Curve, *, rounded_steps: bool = False) -> float:
    """VOC 2007's 11-point AP: mean of the best precision at recall >= 0, 0.1, …, 1; NaN without objects.

    The VOC devkit (and mmrotate after it) compares recall with ``arange(0, 1, 0.1)``, whose 0.3, 0.6 and
    0.7 are a hair too large, so that a recall of exactly 3 in 10 misses its step; by default recalls are
    compared as the exact fractions they are.

    Args:
        rounded_steps: compare as the devkit does.
    """
    if not curve.objects:
        return float("nan")
    reached = (
        curve.recall[None] >= np.arange(0, 1 + 1e-3, 0.1)[:, None]
        if rounded_steps
        else curve.found[None] * 10 >= _STEPS[:, None] * curve.objects
    )
    return float(np.where(reached, curve.precision[None], 0.0).max(axis=1, initial=0.0).mean())


def ap_area(curve: Curve) -> float:
    """Area under the precision envelope (VOC 2010 and later); NaN without objects."""
    if not curve.objects:
        return float("nan")
    recall = np.concatenate([[0.0], curve.recall, [1.0]])
    precision = np.concatenate([[0.0], curve.precision, [0.0]])
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall) * envelope[1:]))
