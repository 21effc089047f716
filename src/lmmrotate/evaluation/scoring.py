"""Scoring boxes that are in tables: the numbers themselves, by any protocol."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from lmmrotate.errors import ConfigError
from lmmrotate.evaluation.average_precision import Curve, ap_11, ap_area, curves_of
from lmmrotate.evaluation.details import details_of
from lmmrotate.evaluation.f1 import precision_recall_f1, published_mf1
from lmmrotate.evaluation.matching import (
    Bools,
    Detections,
    Ints,
    Outcome,
    Truths,
    best_truths,
    excusing,
    judge,
    overlaps,
    ranked,
    unranked,
)
from lmmrotate.evaluation.mistakes import NEAR_IOU
from lmmrotate.evaluation.protocols import protocol_named
from lmmrotate.evaluation.results import ClassResult, Evaluation


def score_tables(
    detections: Detections,
    truths: Truths,
    classes: Sequence[str],
    *,
    images: int,
    iou_threshold: float = 0.5,
    score_threshold: float = 0.0,
    protocol: str = "corrected",
    details: bool = False,
    ious: Sequence[float] = (),
    resamples: int = 0,
) -> Evaluation:
    """Score detections against objects; quads are taken as they are.

    Args:
        classes: names; a label is an index of them.
        images: how many images there are, also those without a row.
        iou_threshold: IoU from which on a detection has found an object, in (0, 1].
        score_threshold: detections below it do not count in precision, recall and F1.
        protocol: one of ``protocols.PROTOCOLS``.
        details: also compute ``Evaluation.details``.
        ious: further IoU thresholds for their mAP, beside COCO's.
        resamples: draws for their confidence intervals; 0 leaves these out.

    Raises:
        ConfigError: for an unknown protocol or a threshold out of range.
        ValueError: if a label is no index of ``classes``, or a score is NaN.
    """
    for threshold in (iou_threshold, *ious):
        check_settings(threshold, score_threshold, protocol)
    rules = protocol_named(protocol)
    labels = np.concatenate([detections.label, truths.label])
    if len(labels) and not 0 <= labels.min() <= labels.max() < len(classes):
        raise ValueError(
            f"labels must lie in 0…{len(classes) - 1}, found {labels.min()} to {labels.max()}; "
            f"classes: {', '.join(classes)}"
        )
    if np.isnan(detections.score).any():
        raise ValueError("scores contain NaN")
    least_iou = rules.least_iou(iou_threshold)
    pairs = overlaps(detections, truths, least_iou=min(NEAR_IOU, iou_threshold, *ious))
    best = best_truths(detections, truths, pairs, regular_first=rules.regular_first)
    sure = detections.score >= score_threshold
    excuse = excusing(truths, forget_lone_difficult=rules.forget_lone_difficult)
    objects = np.bincount(truths.label[~truths.ignore], minlength=len(classes))
    rankings = ranked(detections, len(classes)), unranked(detections, len(classes))
    outcome, even = (judge(ranking, truths, best, least_iou, excuse) for ranking in rankings)
    curves = curves_of(outcome, rankings[0], objects)
    even_curves = curves_of(even, rankings[1], objects)
    results = [
        _class_result(name, rows, outcome, sure, curve, even_curve, rules.rounded_steps)
        for name, rows, curve, even_curve in zip(
            classes, rankings[0].of_classes(), curves, even_curves, strict=True
        )
    ]
    present = [result for result in results if result.objects]
    without = rules.map_of_nothing
    return Evaluation(
        protocol=protocol,
        iou_threshold=iou_threshold,
        score_threshold=score_threshold,
        images=images,
        missing_images=0,
        map_11=_mean((result.ap_11 for result in present), without),
        map_area=_mean((result.ap_area for result in present), without),
        map_nc=_mean((result.ap_nc for result in present), without),
        mf1=published_mf1(detections, truths, len(classes), iou_threshold, score_threshold, pairs)
        if rules.published_f1
        else _mean((result.f1 for result in present), without),
        classes=tuple(results),
        details=details_of(
            detections,
            truths,
            pairs,
            best,
            rankings,
            (outcome, even),
            images,
            rules,
            iou_threshold=least_iou,
            score_threshold=score_threshold,
            ious=ious,
            resamples=resamples,
        )
        if details
        else None,
    )


def check_settings(iou_threshold: float, score_threshold: float, protocol: str) -> None:
    """Refuse what no evaluation can be asked for.

    Raises:
        ConfigError: saying what is valid.
    """
    protocol_named(protocol)
    if not 0 < iou_threshold <= 1 or not 0 <= score_threshold <= 1:
        raise ConfigError(
            f"iou_threshold must lie in (0, 1] and score_threshold in [0, 1], "
            f"got {iou_threshold} and {score_threshold}"
        )


def _class_result(
    name: str, rows: Ints, outcome: Outcome, sure: Bools, curve: Curve, even_curve: Curve, rounded: bool
) -> ClassResult:
    # Thresholding after the matching is the same as before it: a surer detection never loses its object.
    true = int((outcome.true & sure)[rows].sum())
    false = int((outcome.false & sure)[rows].sum())
    precision, recall, f1 = precision_recall_f1(true, false, curve.objects)
    return ClassResult(
        label=name,
        objects=curve.objects,
        detections=len(rows),
        true_positives=true,
        false_positives=false,
        ap_11=ap_11(curve, rounded_steps=rounded),
        ap_area=ap_area(curve),
        ap_nc=ap_11(even_curve, rounded_steps=rounded),
        precision=precision,
        recall=recall,
        f1=f1,
        curve_recall=curve.recall,
        curve_precision=curve.precision,
    )


def _mean(values: Iterable[float], of_none: float) -> float:
    some = list(values)
    return float(np.mean(some)) if some else of_none
