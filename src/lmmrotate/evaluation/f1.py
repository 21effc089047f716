"""F1: the corrected definition, and the published one with its quirks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lmmrotate.evaluation.matching import Detections, Overlaps, Truths, overlaps


def precision_recall_f1(true: int, false: int, objects: int) -> tuple[float, float, float]:
    """Of one class, from pooled counts: true and false detections, and objects to be found.

    Precision is NaN without detections, recall without objects; F1 = 2 TP / (2 TP + FP + FN) is 0 where
    nothing was found, and NaN where there was nothing to find and nothing found.
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
    """Mean recall over the K + 1 rows."""
    f1: float
    """Harmonic mean of the two; NaN where both are 0."""


def guessed_class_count(truths: Truths) -> int:
    """How many classes the published code believes there are: the largest label of an object, plus 1."""
    return int(truths.label[~truths.ignore].max(initial=-1)) + 1


def published_f1(
    detections: Detections,
    truths: Truths,
    class_count: int,
    *,
    iou_threshold: float,
    score_threshold: float,
    pairs: Overlaps | None = None,
) -> PublishedF1:
    """F1 as the published code defines it (without its own NMS, with which it fails).

    Its quirks: every object that a detection overlaps enough counts, whatever its class, so that
    duplicates are all true and one detection may count twice; background is one of the classes that the
    means run over, so that perfect detection of two classes scores 2/3; difficult objects do not exist;
    a detection of class ``class_count`` counts as background.

    Args:
        class_count: K; the published code takes ``guessed_class_count``.
        iou_threshold: above 0.
        pairs: their overlaps, where they are known already.

    Raises:
        IndexError: if a detection's class is beyond ``class_count``, as in the published code.
    """
    # Scores are float32 tensors there, and so is the threshold they meet.
    kept = detections.score.astype(np.float32) >= np.float32(score_threshold)
    highest = detections.label[kept].max(initial=-1)
    if highest > class_count:
        raise IndexError(f"detection of class {highest}, but only {class_count} are known")
    pairs = pairs or overlaps(detections, truths)
    hit = (pairs.iou >= iou_threshold) & kept[pairs.detection] & ~truths.ignore[pairs.truth]
    detection, truth = pairs.detection[hit], pairs.truth[hit]
    right = truths.label[truth] == detections.label[detection]
    unmatched, missed = kept.copy(), ~truths.ignore
    unmatched[detection] = False
    missed[truth[right]] = False

    confusion = np.zeros((class_count + 1, class_count + 1), dtype=np.int64)
    np.add.at(confusion, (truths.label[truth], detections.label[detection]), 1)
    np.add.at(confusion[class_count], detections.label[unmatched], 1)
    np.add.at(confusion[:, class_count], truths.label[missed], 1)
    precision = _mean_ratio(np.diag(confusion), confusion.sum(axis=0))
    recall = _mean_ratio(np.diag(confusion), confusion.sum(axis=1))
    total = precision + recall
    f1 = 2 * precision * recall / total if total else float("nan")
    return PublishedF1(confusion, precision, recall, f1)


def published_mf1(
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


def _mean_ratio(part: npt.NDArray[np.int64], whole: npt.NDArray[np.int64]) -> float:
    return float(np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0).mean())
