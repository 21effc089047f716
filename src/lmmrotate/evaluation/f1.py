"""F1: the corrected definition, and the published one with its quirks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lmmrotate.evaluation.matching import Detections, Truths, pairs_of
from lmmrotate.geometry.overlap import iou_pairs


def precision_recall_f1(true: int, false: int, objects: int) -> tuple[float, float, float]:
    """Of one class, from pooled counts: true and false detections, and objects to be found.

    Precision is NaN without detections, recall without objects; F1 = 2 TP / (2 TP + FP + FN) is 0 where
    nothing was found.
    """
    precision = true / (true + false) if true + false else float("nan")
    recall = true / objects if objects else float("nan")
    total = true + false + objects
    return precision, recall, 2 * true / total if total else float("nan")


@dataclass(frozen=True, eq=False)
class PublishedF1:
    """What the published ``f1_metric`` computes."""

    confusion: npt.NDArray[np.int64]
    """(K + 1, K + 1): rows are object classes, columns detection classes, background last."""
    average_precision: float
    """Mean precision over the K + 1 columns. Not an AP."""
    average_recall: float
    f1: float
    """Harmonic mean of the two; NaN where both are 0."""


def published_f1(
    detections: Detections, truths: Truths, class_count: int, iou_threshold: float, score_threshold: float
) -> PublishedF1:
    """F1 as the published code defines it.

    Its quirks: every object that a detection overlaps enough counts, whatever its class, so that
    duplicates are all true and one detection may count twice; background is one of the classes that the
    means run over, so that perfect detection of two classes scores 2/3; difficult objects do not exist;
    a detection of class ``class_count`` counts as background.

    Raises:
        IndexError: if a detection's class is beyond that, as in the published code.
    """
    if len(detections.label) and detections.label.max() > class_count:
        raise IndexError(f"detection of class {detections.label.max()}, but only {class_count} are known")
    # Scores are float32 tensors there, and so is the threshold they meet.
    detections = detections.select(detections.score.astype(np.float32) >= np.float32(score_threshold))
    regular = np.flatnonzero(~truths.ignore)
    regular = regular[np.argsort(truths.image[regular], kind="stable")]
    images = truths.image[regular]
    starts = np.searchsorted(images, detections.image, side="left")
    counts = np.searchsorted(images, detections.image, side="right") - starts
    detection, place = pairs_of(starts, counts)
    truth = regular[place]
    hit = iou_pairs(detections.quads[detection], truths.quads[truth]) >= iou_threshold
    detection, truth = detection[hit], truth[hit]

    confusion = np.zeros((class_count + 1, class_count + 1), dtype=np.int64)
    np.add.at(confusion, (truths.label[truth], detections.label[detection]), 1)
    unmatched = np.setdiff1d(np.arange(len(detections.label)), detection)
    np.add.at(confusion[class_count], detections.label[unmatched], 1)
    found = truth[truths.label[truth] == detections.label[detection]]
    missed = np.setdiff1d(regular, found)
    np.add.at(confusion[:, class_count], truths.label[missed], 1)

    right = np.diag(confusion)
    precision = _mean_ratio(right, confusion.sum(axis=0))
    recall = _mean_ratio(right, confusion.sum(axis=1))
    total = precision + recall
    return PublishedF1(
        confusion, precision, recall, 2 * precision * recall / total if total else float("nan")
    )


def _mean_ratio(part: npt.NDArray[np.int64], whole: npt.NDArray[np.int64]) -> float:
    return float(np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0).mean())
