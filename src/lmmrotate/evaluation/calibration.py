"""Whether a score of 0.8 means that eight of ten such detections are right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lmmrotate.evaluation.matching import Floats, Ints, Outcome

BINS = 15


@dataclass(frozen=True, eq=False)
class Calibration:
    """Detections by score, in bins of equal width from 0 to 1."""

    ece: float
    """Expected calibration error: the mean distance between score and share of right ones, over all
    detections (Naeini et al., "Obtaining Well Calibrated Probabilities Using Bayesian Binning", AAAI 2015);
    NaN without any."""
    counts: Ints
    """(B,) detections in each bin."""
    score: Floats
    """(B,) their mean score; NaN in an empty bin."""
    right: Floats
    """(B,) the share of true ones among them."""


def calibration_of(outcome: Outcome, score: Floats) -> Calibration:
    """Calibration of the detections that are true or false; those on difficult objects are neither.

    Args:
        score: (D,) in [0, 1].
    """
    counted = np.flatnonzero(outcome.true | outcome.false)
    counted = counted[np.argsort(score[counted], kind="stable")]  # sums do not depend on the order of rows
    scores, true = score[counted], outcome.true[counted]
    place = np.minimum((scores * BINS).astype(np.int64), BINS - 1)
    counts = np.bincount(place, minlength=BINS)
    with np.errstate(invalid="ignore"):
        mean = np.bincount(place, scores, BINS) / counts
        right = np.bincount(place, true, BINS) / counts
    total = int(counts.sum())
    some = counts > 0
    ece = float((counts[some] * np.abs(mean - right)[some]).sum() / total) if total else float("nan")
    return Calibration(ece, counts, mean, right)
