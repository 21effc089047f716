"""Scoring boxes that are in tables: the numbers themselves, by either protocol."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from lmmrotate.errors import ConfigError
from lmmrotate.evaluation.average_precision import Curve, ap_11, ap_area, curve_of
from lmmrotate.evaluation.f1 import guessed_class_count, precision_recall_f1, published_f1
from lmmrotate.evaluation.matching import (
    Bools,
    Detections,
    Outcome,
    Overlaps,
    Truths,
    best_truths,
    judge,
    overlaps,
)
from lmmrotate.evaluation.results import ClassResult, Evaluation

PROTOCOLS = ("corrected", "lmmrotate")


def score_tables(
    detections: Detections,
    truths: Truths,
    classes: Sequence[str],
    *,
    images: int,
    iou_threshold: float = 0.5,
    score_threshold: float = 0.0,
    protocol: str = "corrected",
) -> Evaluation:
    """Score detections against objects; quads are taken as they are, so they must be convex.

    The protocols differ in four things; the published code is mmrotate's ``eval_rbbox_map`` and LMMRotate's
    ``f1_metric``:

    ===================== ========================= ==========================================
    .                     corrected                 lmmrotate
    ===================== ========================= ==========================================
    difficult objects     excuse detections         not in an image without a regular object
    steps of 11-point AP  recall >= 0, 1/10, …, 1   0.3, 0.6 and 0.7 rounded up (``ap_11``)
    mAP without objects   NaN                       0
    mF1                   mean of the classes' F1   ``published_f1``
    ===================== ========================= ==========================================

    Under both, equal scores rank in the order of the rows (the published code leaves them to numpy's
    unstable sort), and the precision, recall and F1 of a single class come from one-to-one matches.

    Args:
        classes: names; a label is an index of them.
        images: how many images there are, also those without a row.
        iou_threshold: IoU from which on a detection has found an object, in (0, 1].
        score_threshold: detections below it do not count in precision, recall and F1.
        protocol: one of ``PROTOCOLS``.

    Raises:
        ConfigError: for an unknown protocol or a threshold out of range.
        ValueError: if a label is no index of ``classes``.
    """
    check_settings(iou_threshold, score_threshold, protocol)
    labels = np.concatenate([detections.label, truths.label])
    if len(labels) and not 0 <= labels.min() <= labels.max() < len(classes):
        raise ValueError(
            f"labels must lie in 0…{len(classes) - 1}, found {labels.min()} to {labels.max()}; "
            f"classes: {', '.join(classes)}"
        )
    published = protocol == "lmmrotate"
    pairs = overlaps(detections, truths)
    best = best_truths(detections, truths, pairs)
    sure = detections.score >= score_threshold
    even = detections.with_scores(1.0)
    outcome, even_outcome = (
        judge(some, truths, best, iou_threshold, forget_lone_difficult=published)
        for some in (detections, even)
    )
    results = []
    for label, name in enumerate(classes):
        rows = detections.label == label
        objects = int(((truths.label == label) & ~truths.ignore).sum())
        curve = curve_of(outcome, detections.score, rows, objects)
        even_curve = curve_of(even_outcome, even.score, rows, objects)
        results.append(_class_result(name, rows, outcome, sure, curve, even_curve, published))
    present = [result for result in results if result.objects]
    without = 0.0 if published else float("nan")
    return Evaluation(
        protocol=protocol,
        iou_threshold=iou_threshold,
        score_threshold=score_threshold,
        images=images,
        missing_images=0,
        map_11=_mean((result.ap_11 for result in present), without),
        map_area=_mean((result.ap_area for result in present), without),
        map_nc=_mean((result.ap_nc for result in present), without),
        mf1=_published_mf1(detections, truths, len(classes), iou_threshold, score_threshold, pairs)
        if published
        else _mean((result.f1 for result in present), without),
        classes=tuple(results),
    )


def check_settings(iou_threshold: float, score_threshold: float, protocol: str) -> None:
    """Refuse what no evaluation can be asked for.

    Raises:
        ConfigError: saying what is valid.
    """
    if protocol not in PROTOCOLS:
        raise ConfigError(f"protocol is {protocol!r}; valid: {', '.join(PROTOCOLS)}")
    if not 0 < iou_threshold <= 1 or not 0 <= score_threshold <= 1:
        raise ConfigError(
            f"iou_threshold must lie in (0, 1] and score_threshold in [0, 1], "
            f"got {iou_threshold} and {score_threshold}"
        )


def _class_result(
    name: str, rows: Bools, outcome: Outcome, sure: Bools, curve: Curve, even_curve: Curve, published: bool
) -> ClassResult:
    # Thresholding after the matching is the same as before it: a surer detection never loses its object.
    true = int((outcome.true & sure & rows).sum())
    false = int((outcome.false & sure & rows).sum())
    precision, recall, f1 = precision_recall_f1(true, false, curve.objects)
    return ClassResult(
        label=name,
        objects=curve.objects,
        detections=int(rows.sum()),
        true_positives=true,
        false_positives=false,
        ap_11=ap_11(curve, rounded_steps=published),
        ap_area=ap_area(curve),
        ap_nc=ap_11(even_curve, rounded_steps=published),
        precision=precision,
        recall=recall,
        f1=f1,
        curve_recall=curve.recall,
        curve_precision=curve.precision,
    )


def _published_mf1(
    detections: Detections,
    truths: Truths,
    class_count: int,
    iou_threshold: float,
    score_threshold: float,
    pairs: Overlaps,
) -> float:
    """With the published guess of the number of classes; ``class_count`` where that ends in an IndexError."""

    def f1(count: int) -> float:
        return published_f1(
            detections,
            truths,
            count,
            iou_threshold=iou_threshold,
            score_threshold=score_threshold,
            pairs=pairs,
        ).f1

    try:
        return f1(guessed_class_count(truths))
    except IndexError:
        return f1(class_count)


def _mean(values: Iterable[float], of_none: float) -> float:
    some = list(values)
    return float(np.mean(some)) if some else of_none
