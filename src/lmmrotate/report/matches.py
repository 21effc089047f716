"""Which boxes of one image are right, wrong or missing: what pictures show and the gallery ranks by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lmmrotate.data.records import ImageRecord, Prediction
from lmmrotate.geometry.overlap import iou_matrix

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
    """Match the detections of one image to its objects, class by class, best score first.

    Each detection takes the object of its class with the highest IoU among those still free, at
    ``iou_threshold`` or above; failing that, a difficult object excuses it. The numbers of an
    evaluation come from ``lmmrotate.evaluation``; this is the view of a single image.
    """
    truth_labels, labels = np.array(record.labels, dtype=object), np.array(prediction.labels, dtype=object)
    scores = np.array(prediction.scores, dtype=np.float64)
    difficult = np.array(record.difficult, dtype=np.int64) != 0
    kept = scores >= score_threshold
    found, correct, ignored = (
        np.zeros(len(difficult), bool),
        np.zeros(len(kept), bool),
        np.zeros(len(kept), bool),
    )

    same = labels[:, None] == truth_labels[None, :]  # (D, N)
    iou = np.where(same, iou_matrix(prediction.quads, record.quads), 0.0)
    close = (iou >= iou_threshold) & same
    for d in np.argsort(-scores, kind="stable"):
        if not kept[d]:
            continue
        free = close[d] & ~found & ~difficult
        if free.any():
            best = int(np.where(free, iou[d], -1.0).argmax())
            found[best] = correct[d] = True
        elif (close[d] & difficult).any():
            ignored[d] = True
    return ImageMatch(found, difficult, kept, correct, kept & ~correct & ~ignored, ignored)
