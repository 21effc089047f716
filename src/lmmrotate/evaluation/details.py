"""Everything that is worth knowing beyond the headline numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lmmrotate.evaluation.average_precision import ap_11, ap_area, curves_of
from lmmrotate.evaluation.bootstrap import Draws, draw
from lmmrotate.evaluation.breakdown import Part, by_density, by_size, recall_by_boxes
from lmmrotate.evaluation.calibration import Calibration, calibration_of
from lmmrotate.evaluation.f1 import published_mf1
from lmmrotate.evaluation.matching import (
    Best,
    Bools,
    Detections,
    Ints,
    Outcome,
    Overlaps,
    Ranking,
    Truths,
    excusing,
    judge,
)
from lmmrotate.evaluation.mistakes import Mistakes, mistakes_of
from lmmrotate.evaluation.protocols import Protocol
from lmmrotate.evaluation.sweeps import SHUFFLES, EvenScores, Sweep, even_aps, mean_of, score_sweep

COCO_IOUS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))


@dataclass(frozen=True, eq=False)
class AtIou:
    """Means over the classes at one IoU threshold."""

    iou_threshold: float
    map_11: float
    map_area: float


@dataclass(frozen=True, eq=False)
class Details:
    """What ``score_tables`` adds when asked for all."""

    by_iou: tuple[AtIou, ...]
    """At ``COCO_IOUS`` and those that were asked for, rising."""
    sweep: Sweep
    even_scores: EvenScores
    mistakes: Mistakes
    sizes: tuple[Part, ...]
    densities: tuple[Part, ...]
    recall_by_boxes: Mapping[int, float]
    calibration: Calibration
    draws: Draws | None

    @property
    def map_50_95(self) -> float:
        """COCO's mean of mAP over IoU 0.5, 0.55, …, 0.95, from the area under the curve."""
        return float(np.mean([at.map_area for at in self.by_iou if at.iou_threshold in COCO_IOUS]))


def details_of(
    detections: Detections,
    truths: Truths,
    pairs: Overlaps,
    best: Best,
    rankings: tuple[Ranking, Ranking],
    outcomes: tuple[Outcome, Outcome],
    image_count: int,
    protocol: Protocol,
    *,
    iou_threshold: float,
    score_threshold: float,
    ious: Sequence[float],
    resamples: int,
) -> Details:
    """Compute them.

    Args:
        pairs: all overlaps of ``mistakes.NEAR_IOU`` or more.
        best: the object that each detection speaks of.
        rankings: by falling score, and without scores.
        outcomes: at ``iou_threshold``, by each.
        ious: further thresholds for ``Details.by_iou``.
        resamples: of the bootstrap; 0 leaves it out.
    """
    (ranking, even), (outcome, _) = rankings, outcomes
    class_count = len(ranking.starts) - 1
    counted = ~truths.ignore
    objects = np.bincount(truths.label[counted], minlength=class_count)
    excuse = excusing(truths, forget_lone_difficult=protocol.forget_lone_difficult)
    rounded = protocol.rounded_steps
    sweep = score_sweep(
        detections,
        truths,
        even,
        best,
        outcome,
        excuse,
        objects,
        iou_threshold=iou_threshold,
        thresholds=np.array(protocol.score_thresholds),
        rounded_steps=rounded,
        kept=protocol.keeps,
        map_of_nothing=protocol.map_of_nothing,
    )
    if protocol.published_f1:
        f1 = [
            published_mf1(detections, truths, class_count, iou_threshold, threshold, pairs)
            for threshold in protocol.score_thresholds
        ]
        sweep = replace(sweep, mf1=np.array(f1))
    shuffled = even_aps(
        even,
        truths,
        best,
        excuse,
        objects,
        iou_threshold=iou_threshold,
        rounded_steps=rounded,
        seeds=np.arange(SHUFFLES),
    )
    maps_nc = mean_of(shuffled, objects > 0, protocol.map_of_nothing)
    return Details(
        by_iou=tuple(
            _at_iou(ranking, truths, best, excuse, objects, protocol, threshold)
            for threshold in sorted({*COCO_IOUS, *ious})
        ),
        sweep=sweep,
        even_scores=EvenScores(float(maps_nc.mean()), float(maps_nc.std()), SHUFFLES),
        mistakes=mistakes_of(
            detections,
            truths,
            pairs,
            best,
            outcome,
            class_count,
            iou_threshold=iou_threshold,
            score_threshold=score_threshold,
        ),
        sizes=by_size(detections, truths, ranking, best, iou_threshold=iou_threshold, rounded_steps=rounded),
        densities=by_density(detections, truths, ranking, outcome, rounded_steps=rounded),
        recall_by_boxes=recall_by_boxes(detections, truths, best, iou_threshold),
        calibration=calibration_of(outcome, detections.score),
        draws=draw(
            detections,
            truths,
            rankings,
            outcomes,
            image_count,
            score_threshold=score_threshold,
            best_threshold=sweep.best_mf1()[1],
            rounded_steps=rounded,
            resamples=resamples,
        )
        if resamples
        else None,
    )


def _at_iou(
    ranking: Ranking,
    truths: Truths,
    best: Best,
    excuse: Bools,
    objects: Ints,
    protocol: Protocol,
    threshold: float,
) -> AtIou:
    outcome = judge(ranking, truths, best, protocol.least_iou(threshold), excuse)
    curves = curves_of(outcome, ranking, objects)
    present = objects > 0
    aps = np.array([ap_11(curve, rounded_steps=protocol.rounded_steps) for curve in curves])
    areas = np.array([ap_area(curve) for curve in curves])
    means = (float(mean_of(values, present, protocol.map_of_nothing)) for values in (aps, areas))
    return AtIou(threshold, *means)
