"""Which boxes of one image are right, wrong or missing: what pictures show and the gallery ranks by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt

from lmmrotate.data.records import ImageRecord, Prediction
from lmmrotate.evaluation.evaluate import detections_of, truths_of
from lmmrotate.evaluation.matching import best_truths, judge, ranked

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class ImageMatch:
    """The boxes of one image after matching at one IoU threshold."""

    found: Mask
    """(N,) objects that a detection of their class covers."""
    difficult: Mask
    """(N,) objects that do not count."""
    kept: Mask
    """(D,) detections at or above the score threshold; the three below are parts of it."""
    correct: Mask
    """(D,)"""
    wrong: Mask
    """(D,) no object there, another class, or a second box on the same object."""
    ignored: Mask
    """(D,) on a difficult object: neither right nor wrong."""

    @property
    def missed(self) -> Mask:
        """(N,) objects that count and were not found."""
        return ~self.found & ~self.difficult

    @property
    def errors(self) -> int:
        """False positives and missed objects."""
        return int(self.wrong.sum() + self.missed.sum())

    @property
    def f1(self) -> float:
        """F1 over all classes together; NaN for an empty image on which nothing was found."""
        correct = int(self.correct.sum())
        total = 2 * correct + self.errors
        return 2 * correct / total if total else float("nan")


def match_image(
    record: ImageRecord, prediction: Prediction, iou_threshold: float = 0.5, score_threshold: float = 0.0
) -> ImageMatch:
    """``match_images`` of a single image."""
    return match_images([record], [prediction], iou_threshold, score_threshold)[0]


def match_images(
    records: Sequence[ImageRecord],
    predictions: Sequence[Prediction],
    iou_threshold: float = 0.5,
    score_threshold: float = 0.0,
) -> list[ImageMatch]:
    """Match the detections of every image to its objects, by the evaluation's corrected protocol.

    Args:
        predictions: as many as ``records``, in the same order.
    """
    labels = [image.labels for image in records] + [image.labels for image in predictions]
    classes = sorted(set(chain.from_iterable(labels)))
    truths, detections = truths_of(records, classes), detections_of(predictions, classes)
    best = best_truths(detections, truths)
    outcome = judge(ranked(detections, len(classes)), truths, best, iou_threshold)
    kept = detections.score >= score_threshold
    correct, wrong = outcome.true & kept, outcome.false & kept
    ignored = kept & ~correct & ~wrong
    found = np.zeros(len(truths.label), dtype=bool)
    found[best.truth[correct]] = True

    matches: list[ImageMatch] = []
    t = d = 0
    for record, prediction in zip(records, predictions, strict=True):
        of_truth, of_detection = slice(t, t + len(record.labels)), slice(d, d + len(prediction.labels))
        t, d = of_truth.stop, of_detection.stop
        matches.append(
            ImageMatch(
                found=found[of_truth],
                difficult=truths.ignore[of_truth],
                kept=kept[of_detection],
                correct=correct[of_detection],
                wrong=wrong[of_detection],
                ignored=ignored[of_detection],
            )
        )
    return matches
