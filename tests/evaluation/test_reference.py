"""AP, F1 and mAP_nc against a slow and obvious reference: shapely, and loops over detections and objects."""

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from lmmrotate.evaluation.matching import Detections, Truths
from lmmrotate.evaluation.scoring import score_tables
from lmmrotate.geometry.rboxes import rboxes_to_quads

CLASSES = ("plane", "ship")


def tables(seed: int) -> tuple[Detections, Truths]:
    """Crowded images: objects, detections near them, some of another class, some doubled."""
    random = np.random.default_rng(seed)
    objects = int(random.integers(0, 15))
    boxes = np.column_stack(
        [
            random.uniform(0, 90, (objects, 2)),
            random.uniform(10, 40, (objects, 2)),
            random.uniform(-2, 2, objects),
        ]
    )
    image, label = random.integers(0, 3, objects), random.integers(0, 2, objects)
    copies = random.integers(0, objects, int(random.integers(0, 25))) if objects else np.zeros(0, int)
    near = boxes[copies] + random.normal(0, [3, 3, 2, 2, 0.1], (len(copies), 5))
    near[:, 2:4] = np.maximum(near[:, 2:4], 2)
    labels = np.where(random.random(len(copies)) < 0.8, label[copies], 1 - label[copies])
    score = random.permutation(len(copies)) / max(1, len(copies))
    return (
        Detections(image[copies], labels, rboxes_to_quads(near), score),
        Truths(image, label, rboxes_to_quads(boxes), random.random(objects) < 0.2),
    )


def reference(
    detections: Detections, truths: Truths, label: int, iou_threshold: float, protocol: str, ranked: bool
) -> tuple[float, float, float]:
    """11-point AP, AP by area and F1 of one class."""
    found = [shapely.Polygon(q) for q in detections.quads]
    objects = [shapely.Polygon(q) for q in truths.quads]
    rows = [d for d in range(len(found)) if detections.label[d] == label]
    if ranked:
        rows.sort(key=lambda d: -detections.score[d])
    taken: set[int] = set()
    outcomes = []
    for d in rows:
        best, most = None, 0.0
        for t in range(len(objects)):
            if truths.image[t] == detections.image[d] and truths.label[t] == label:
                iou = found[d].intersection(objects[t]).area / found[d].union(objects[t]).area
                if iou > most:
                    best, most = t, iou
        enough = most > iou_threshold if protocol == "dota" else most >= iou_threshold
        if best is None or not enough:
            outcomes.append(False)
        elif truths.ignore[best]:
            here = truths.image == truths.image[best]
            if protocol == "lmmrotate" and truths.ignore[here].all():
                outcomes.append(False)  # such an image's difficult objects are forgotten
        else:
            outcomes.append(best not in taken)
            taken.add(best)
    count = int((~truths.ignore & (truths.label == label)).sum())
    if not count:
        return np.nan, np.nan, 0.0 if outcomes else np.nan
    points = []  # (objects found, precision) after each detection
    right = 0
    for place, outcome in enumerate(outcomes, start=1):
        right += outcome
        points.append((right, right / place))
    steps = [k / 10 for k in range(11)] if protocol == "corrected" else np.arange(0, 1 + 1e-3, 0.1).tolist()
    exact = protocol == "corrected"
    best_at = [
        max((p for r, p in points if (r * 10 >= k * count if exact else r / count >= step)), default=0.0)
        for k, step in enumerate(steps)
    ]
    area = 0.0
    for number in range(1, right + 1):
        area += max(p for r, p in points if r >= number) / count
    return float(np.mean(best_at)), area, 2 * right / (len(outcomes) + count)


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    iou=st.sampled_from([0.3, 0.5, 0.75]),
    protocol=st.sampled_from(["corrected", "lmmrotate", "dota"]),
)
def test_classes_and_means(seed: int, iou: float, protocol: str) -> None:
    detections, truths = tables(seed)
    evaluation = score_tables(detections, truths, CLASSES, images=3, iou_threshold=iou, protocol=protocol)
    expected = []
    for label, found in enumerate(evaluation.classes):
        ap_11, area, f1 = reference(detections, truths, label, iou, protocol, ranked=True)
        ap_nc, _, _ = reference(detections, truths, label, iou, protocol, ranked=False)
        assert (found.ap_11, found.ap_area, found.ap_nc, found.f1) == pytest.approx(
            (ap_11, area, ap_nc, f1), nan_ok=True
        )
        if found.objects:
            expected.append((ap_11, area, ap_nc))
    if expected:
        means = (evaluation.map_11, evaluation.map_area, evaluation.map_nc)
        assert means == pytest.approx(tuple(np.mean(expected, axis=0)))
