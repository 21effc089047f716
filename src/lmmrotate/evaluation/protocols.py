"""The rules of scoring, by name.

The published code is mmrotate's ``eval_rbbox_map`` and LMMRotate's ``f1_metric`` ("lmmrotate"), and
DOTA_devkit's ``voc_eval`` of Task 1 ("dota"):

===================== ========================= ============================== =========================
.                     corrected                 lmmrotate                      dota
===================== ========================= ============================== =========================
a match               IoU >= threshold          IoU >= threshold               IoU > threshold
quads                 smallest rectangles       OpenCV's smallest rectangles   as they are
difficult objects     excuse detections         not in an image without a      excuse detections
                                                regular object
best of equal IoUs    a regular object first    a regular object first         the first in the file
steps of 11-point AP  recall >= 0, 1/10, …, 1   0.3, 0.6 and 0.7 rounded up    0.3, 0.6, 0.7 rounded up
mAP without objects   NaN                       0                              NaN
mF1                   mean of the classes' F1   ``published_f1``               mean of the classes' F1
===================== ========================= ============================== =========================

Under all of them, equal scores rank in the order of the rows (the published code leaves them to numpy's
unstable sort), and the precision, recall and F1 of a single class come from one-to-one matches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from lmmrotate.errors import ConfigError
from lmmrotate.evaluation.matching import Bools, Floats
from lmmrotate.geometry.quads import Quads, min_area_quads
from lmmrotate.geometry.rboxes import quads_to_rboxes_opencv, rboxes_to_quads


@dataclass(frozen=True, eq=False)
class Protocol:
    """One set of rules."""

    name: str
    rectangles: Callable[[Quads], Quads] = min_area_quads
    """What becomes of quads (N, 4, 2), objects and detections alike."""
    strict: bool = False
    """A match needs more than the threshold, not just as much."""
    regular_first: bool = True
    """Of two objects that a detection overlaps alike, it speaks of the one that is not difficult."""
    forget_lone_difficult: bool = False
    """Difficult objects of an image without any regular object do not excuse detections."""
    rounded_steps: bool = False
    """See ``average_precision.ap_11``."""
    published_f1: bool = False
    """See ``f1.published_f1``."""
    above_threshold: bool = False
    """A sweep's mAP_nc takes detections whose score, as float32, is above the threshold, not just as much."""
    map_of_nothing: float = float("nan")
    """The mean over no class at all."""
    score_thresholds: tuple[float, ...] = tuple(percent / 100 for percent in range(100))
    """Of a sweep, rising."""

    def keeps(self, scores: Floats, threshold: float) -> Bools:
        """Which scores (D,) mAP_nc takes at a threshold of the sweep."""
        if self.above_threshold:
            return np.asarray(scores.astype(np.float32) > np.float32(threshold))
        return np.asarray(scores >= threshold)

    def least_iou(self, threshold: float) -> float:
        """The smallest IoU that is a match at this threshold."""
        return float(np.nextafter(threshold, 2)) if self.strict else threshold


def _opencv_rectangles(quads: Quads) -> Quads:
    """Where a quad has two smallest rectangles, the one that OpenCV's rounding picks."""
    return rboxes_to_quads(quads_to_rboxes_opencv(quads))


def _as_they_are(quads: Quads) -> Quads:
    return quads


PROTOCOLS: Mapping[str, Protocol] = {
    "corrected": Protocol("corrected"),
    "lmmrotate": Protocol(
        "lmmrotate",
        rectangles=_opencv_rectangles,
        forget_lone_difficult=True,
        rounded_steps=True,
        published_f1=True,
        above_threshold=True,
        map_of_nothing=0.0,
        # Those of the published F1 (tenths) and of its sweep of mAP_nc.
        score_thresholds=(0.0, 0.1, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9),
    ),
    "dota": Protocol("dota", rectangles=_as_they_are, strict=True, regular_first=False, rounded_steps=True),
}


def protocol_named(name: str) -> Protocol:
    """Look rules up.

    Raises:
        ConfigError: listing the names there are.
    """
    if name not in PROTOCOLS:
        raise ConfigError(f"protocol is {name!r}; valid: {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]
