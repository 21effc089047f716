"""The numbers of one evaluation, as plain data that the reports and ``--json`` show."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from lmmrotate.evaluation.breakdown import Part
from lmmrotate.evaluation.details import Details


@dataclass(frozen=True, eq=False)
class ClassResult:
    """One class at one IoU threshold."""

    label: str
    objects: int
    """Ground-truth objects that count (difficult ones do not)."""
    detections: int
    """Detections of this class in the file."""
    true_positives: int
    false_positives: int
    ap_11: float
    """11-point AP, detections ranked by score; NaN where the class has no object."""
    ap_area: float
    """Area under the precision envelope."""
    ap_nc: float
    """11-point AP with every score set to 1 (stable order)."""
    precision: float
    recall: float
    f1: float
    curve_recall: npt.NDArray[np.float64]
    """(D,) recall after each counted detection, ranked by score."""
    curve_precision: npt.NDArray[np.float64]
    """(D,) precision at the same places."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What ``evaluate`` found. Fractions in [0, 1]; means run over the classes that have objects."""

    protocol: str
    iou_threshold: float
    score_threshold: float
    """Detections below it do not count in precision, recall and F1 (AP uses all)."""
    images: int
    missing_images: int
    """Images of the manifest without a line in the predictions; counted as empty answers."""
    map_11: float
    map_area: float
    map_nc: float
    mf1: float
    classes: tuple[ClassResult, ...]
    problems: Mapping[str, int] = field(default_factory=dict)
    """How often each kind of unread output occurred."""
    truncated: int = 0
    """Answers that hit the token limit."""
    seconds_per_image: float = 0.0
    """Mean time the model took for an image, from the predictions file; 0 where it is unknown."""
    details: Details | None = None
    """Everything else, where it was asked for."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values (NaN becomes None), without the curves."""
        return {
            "protocol": self.protocol,
            "iou_threshold": self.iou_threshold,
            "score_threshold": self.score_threshold,
            "images": self.images,
            "missing_images": self.missing_images,
            "mAP": _number(self.map_11),
            "mAP_area": _number(self.map_area),
            "mAP_nc": _number(self.map_nc),
            "mF1": _number(self.mf1),
            **_details_json(self),
            "problems": dict(self.problems),
            "truncated": self.truncated,
            "seconds_per_image": self.seconds_per_image,
            "classes": [_class_json(c) for c in self.classes],
        }

    def to_csv(self) -> str:
        """A line for every class and, without a label, one for all: sums of counts, means of the rest.

        Each with the protocol and the thresholds; NaN is empty.
        """
        settings = {
            "protocol": self.protocol,
            "iou_threshold": self.iou_threshold,
            "score_threshold": self.score_threshold,
        }
        counts = ("objects", "detections", "true_positives", "false_positives")
        means = {"AP": self.map_11, "AP_area": self.map_area, "AP_nc": self.map_nc, "F1": self.mf1}
        everything = {
            "label": "",
            **{name: sum(getattr(c, name) for c in self.classes) for name in counts},
            **{name: _number(value) for name, value in means.items()},
        }
        columns = ["label", *counts, "AP", "AP_area", "AP_nc", "precision", "recall", "F1"]
        buffer = io.StringIO()
        table = csv.DictWriter(buffer, [*settings, *columns], lineterminator="\n")
        table.writeheader()
        for row in (*map(_class_json, self.classes), everything):
            table.writerow({**settings, **row})
        return buffer.getvalue()


def _class_json(c: ClassResult) -> dict[str, Any]:
    return {
        "label": c.label,
        "objects": c.objects,
        "detections": c.detections,
        "true_positives": c.true_positives,
        "false_positives": c.false_positives,
        "AP": _number(c.ap_11),
        "AP_area": _number(c.ap_area),
        "AP_nc": _number(c.ap_nc),
        "precision": _number(c.precision),
        "recall": _number(c.recall),
        "F1": _number(c.f1),
    }


def _details_json(evaluation: Evaluation) -> dict[str, Any]:
    details = evaluation.details
    if details is None:
        return {}
    sweep, mistakes, calibration = details.sweep, details.mistakes, details.calibration

    def best(value: float, threshold: float) -> dict[str, Any]:
        return {"value": _number(value), "score_threshold": _number(threshold)}

    def parts(some: Sequence[Part]) -> list[dict[str, Any]]:
        return [
            {"name": p.name, "objects": p.objects, "mAP": _number(p.map_11), "recall": _number(p.recall)}
            for p in some
        ]

    return {
        "mAP_area_50_95": _number(details.map_50_95),
        "by_iou": [
            {"iou_threshold": at.iou_threshold, "mAP": _number(at.map_11), "mAP_area": _number(at.map_area)}
            for at in details.by_iou
        ],
        "best_mF1": best(*sweep.best_mf1()),
        "best_mAP_nc": best(*sweep.best_map_nc()),
        "mAP_nc_of_random_orders": {
            "mean": _number(details.even_scores.mean),
            "spread": _number(details.even_scores.spread),
            "orders": details.even_scores.orders,
        },
        "intervals_95": {
            name: [_number(value) for value in details.draws.interval(name)] for name in details.draws.metrics
        }
        if details.draws
        else None,
        "sweep": {
            "score_thresholds": sweep.thresholds.tolist(),
            "mF1": [_number(value) for value in sweep.mf1],
            "mAP_nc": [_number(value) for value in sweep.map_nc],
        },
        "confusion": {
            "classes": [*(c.label for c in evaluation.classes), "background"],
            "rows_are_objects": mistakes.confusion.tolist(),
        },
        "false_detections": dict(mistakes.kinds),
        "missed_objects": mistakes.missed,
        "by_size": parts(details.sizes),
        "by_density": parts(details.densities),
        "recall_by_boxes_an_image": {str(k): _number(v) for k, v in details.recall_by_boxes.items()},
        "calibration": {
            "ece": _number(calibration.ece),
            "detections": calibration.counts.tolist(),
            "score": [_number(value) for value in calibration.score],
            "right": [_number(value) for value in calibration.right],
        },
    }


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
