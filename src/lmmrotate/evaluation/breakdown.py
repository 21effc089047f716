"""The same metrics over part of the data: small or large objects, empty or crowded images, few boxes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lmmrotate.evaluation.average_precision import ap_11, curves_of
from lmmrotate.evaluation.matching import Best, Detections, Outcome, Ranking, Truths, judge
from lmmrotate.evaluation.sweeps import mean_of
from lmmrotate.geometry.quads import quad_areas

SIZES = (("small", 0.0, 32.0), ("medium", 32.0, 96.0), ("large", 96.0, float("inf")))
"""By the root of the area, pixels: COCO's ranges (https://cocodataset.org/#detection-eval)."""

DENSITIES = (("1 to 10", 1, 10), ("11 to 50", 11, 50), ("more than 50", 51, None))
"""By how many objects count in the image."""

BOXES_AN_IMAGE = (1, 10, 100, 300)


@dataclass(frozen=True)
class Part:
    """Metrics over some of the objects or images."""

    name: str
    objects: int
    map_11: float
    recall: float
    """Of all objects together; NaN without any."""


def by_size(
    detections: Detections,
    truths: Truths,
    ranking: Ranking,
    best: Best,
    *,
    iou_threshold: float,
    rounded_steps: bool,
) -> tuple[Part, ...]:
    """Metrics by object size. As in COCO, objects of other sizes are difficult, and false detections of
    other sizes do not count."""
    sides, found_sides = np.sqrt(quad_areas(truths.quads)), np.sqrt(quad_areas(detections.quads))
    parts = []
    for name, low, high in SIZES:
        others = truths.ignore | (sides < low) | (sides >= high)
        some = Truths(truths.image, truths.label, truths.quads, others)
        outcome = judge(ranking, some, best, iou_threshold)
        own = (found_sides >= low) & (found_sides < high)
        outcome = Outcome(outcome.true, outcome.false & own)
        parts.append(_part(name, ranking, some, outcome, rounded_steps))
    return tuple(parts)


def by_density(
    detections: Detections, truths: Truths, ranking: Ranking, outcome: Outcome, *, rounded_steps: bool
) -> tuple[Part, ...]:
    """Metrics by how many objects an image has; what is found in images without any is in none."""
    images = 1 + int(max(truths.image.max(initial=-1), detections.image.max(initial=-1)))
    counts = np.bincount(truths.image[~truths.ignore], minlength=images)
    parts = []
    for name, low, high in DENSITIES:
        chosen = (counts >= low) & (counts <= (high or np.inf))
        some = Truths(truths.image, truths.label, truths.quads, truths.ignore | ~chosen[truths.image])
        mine = chosen[detections.image]
        of_some = Outcome(outcome.true & mine, outcome.false & mine)
        parts.append(_part(name, ranking, some, of_some, rounded_steps))
    return tuple(parts)


def recall_by_boxes(
    detections: Detections, truths: Truths, best: Best, iou_threshold: float
) -> dict[int, float]:
    """Recall of all objects together with only the K surest detections of every image."""
    order = np.lexsort((-detections.score, detections.image))
    image = detections.image[order]
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order)) - np.searchsorted(image, image)
    objects = int((~truths.ignore).sum())
    recalls = {}
    for boxes in BOXES_AN_IMAGE:
        hit = (place < boxes) & (best.truth >= 0) & (best.iou >= iou_threshold)
        found = np.unique(best.truth[hit])
        recalls[boxes] = float((~truths.ignore[found]).sum() / objects) if objects else float("nan")
    return recalls


def _part(name: str, ranking: Ranking, truths: Truths, outcome: Outcome, rounded_steps: bool) -> Part:
    objects = np.bincount(truths.label[~truths.ignore], minlength=len(ranking.starts) - 1)
    curves = curves_of(outcome, ranking, objects)
    aps = np.array([ap_11(curve, rounded_steps=rounded_steps) for curve in curves])
    total = int(objects.sum())
    recall = float(outcome.true.sum() / total) if total else float("nan")
    return Part(name, total, float(mean_of(aps, objects > 0)), recall)
