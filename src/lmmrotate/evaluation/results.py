"""The numbers of one evaluation, as plain data that the reports and ``--json`` show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt


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
            "problems": dict(self.problems),
            "truncated": self.truncated,
            "seconds_per_image": self.seconds_per_image,
            "classes": [
                {
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
                for c in self.classes
            ],
        }


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
