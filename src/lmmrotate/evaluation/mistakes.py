"""What goes wrong: which classes are taken for which, and of what kind each mistake is.

The kinds are those of TIDE (Bolya et al., "TIDE: A General Toolbox for Identifying Object Detection
Errors", ECCV 2020): a false detection is of the wrong **class** (it lies on an object of another), badly
**localised** (it overlaps an object of its class, but too little), **both**, a **duplicate** (its object was
found already) or in the **background**.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lmmrotate.evaluation import kernels
from lmmrotate.evaluation.matching import Best, Bools, Detections, Floats, Ints, Outcome, Overlaps, Truths

NEAR_IOU = 0.1
"""An overlap below it is none: TIDE's background threshold."""

KINDS = ("class", "localisation", "both", "duplicate", "background")


@dataclass(frozen=True, eq=False)
class Mistakes:
    """Where the false detections and the missed objects come from."""

    confusion: Ints
    """(K + 1, K + 1): rows are the classes of objects, columns those of detections, background last. True
    detections are on the diagonal; a false one that lies on a missed object of another class, surest first,
    is paired with it; what is left belongs to the background."""
    kinds: Mapping[str, int]
    """How many false detections there are of each of ``KINDS``."""
    missed: int
    """Objects that no detection found."""


def mistakes_of(
    detections: Detections,
    truths: Truths,
    pairs: Overlaps,
    best: Best,
    outcome: Outcome,
    class_count: int,
    *,
    iou_threshold: float,
    score_threshold: float = 0.0,
) -> Mistakes:
    """Sort out the mistakes of detections of at least ``score_threshold``.

    Args:
        pairs: all overlaps of ``NEAR_IOU`` or more, whatever the class.
        best: the object that each detection speaks of.
        outcome: at ``iou_threshold``, by falling score.
    """
    sure = detections.score >= score_threshold
    true, false = outcome.true & sure, outcome.false & sure
    found = np.zeros(len(truths.label), dtype=bool)
    found[best.truth[true]] = True
    missed = ~found & ~truths.ignore
    confusion = np.zeros((class_count + 1, class_count + 1), dtype=np.int64)
    np.add.at(confusion, (detections.label[true], detections.label[true]), 1)

    paired = _confused(detections, truths, pairs, false, missed, iou_threshold)
    confused = paired >= 0
    np.add.at(confusion, (truths.label[paired[confused]], detections.label[confused]), 1)
    np.add.at(confusion[class_count], detections.label[false & ~confused], 1)
    missed_by_all = missed.copy()
    missed_by_all[paired[confused]] = False
    np.add.at(confusion[:, class_count], truths.label[missed_by_all], 1)
    return Mistakes(
        confusion, _kinds(detections, truths, pairs, best, false, iou_threshold), int(missed.sum())
    )


def _confused(
    detections: Detections, truths: Truths, pairs: Overlaps, false: Bools, missed: Bools, iou_threshold: float
) -> Ints:
    """Of every detection the missed object of another class that it is paired with, -1 for none, (D,)."""
    usable = (pairs.iou >= iou_threshold) & false[pairs.detection] & missed[pairs.truth]
    usable &= detections.label[pairs.detection] != truths.label[pairs.truth]
    d, t, iou = pairs.detection[usable], pairs.truth[usable], pairs.iou[usable]
    order = np.lexsort((t, -iou, d, -detections.score[d]))
    return kernels.pair_off(d[order], t[order], len(detections.label), len(truths.label))


def _kinds(
    detections: Detections, truths: Truths, pairs: Overlaps, best: Best, false: Bools, iou_threshold: float
) -> dict[str, int]:
    regular = ~truths.ignore[pairs.truth]
    same = detections.label[pairs.detection] == truths.label[pairs.truth]

    def most(which: Bools) -> Floats:
        values = np.zeros(len(detections.label))
        np.maximum.at(values, pairs.detection[which], pairs.iou[which])
        return values

    own, other = most(regular & same), most(regular & ~same)
    # A detection whose best object is difficult and does not excuse it lies on nothing that counts.
    kinds = {
        "duplicate": own >= iou_threshold,
        "class": other >= iou_threshold,
        "localisation": own >= NEAR_IOU,
        "both": other >= NEAR_IOU,
        "background": np.ones(len(own), dtype=bool),
    }
    counts = {}
    left = false.copy()
    for kind, which in kinds.items():
        counts[kind] = int((left & which).sum())
        left &= ~which
    return {kind: counts[kind] for kind in KINDS}
