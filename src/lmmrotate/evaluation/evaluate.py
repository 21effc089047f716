"""Scoring predictions against a manifest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from lmmrotate.data.manifest import Manifest
from lmmrotate.data.predictions import Predictions
from lmmrotate.data.records import ImageRecord, Prediction
from lmmrotate.errors import ConfigError, DataError
from lmmrotate.evaluation.average_precision import Curve, ap_11, ap_area, curve_of
from lmmrotate.evaluation.f1 import precision_recall_f1, published_f1
from lmmrotate.evaluation.matching import Detections, Truths, best_truths, judge
from lmmrotate.evaluation.results import ClassResult, Evaluation
from lmmrotate.geometry.quads import Quads, min_area_quads
from lmmrotate.geometry.rboxes import quads_to_rboxes_opencv, rboxes_to_quads

PROTOCOLS = ("corrected", "lmmrotate")


def evaluate(
    manifest: Manifest,
    predictions: Predictions,
    *,
    iou_threshold: float = 0.5,
    score_threshold: float = 0.0,
    protocol: str = "corrected",
) -> Evaluation:
    """Score predictions.

    Quads that are not rectangles become their smallest enclosing rectangle first, objects and detections
    alike. Images of the manifest without predictions count as empty answers.

    Args:
        iou_threshold: IoU from which on a detection has found an object, in (0, 1].
        score_threshold: detections below it do not count in precision, recall and F1.
        protocol: "corrected", or "lmmrotate" for the published code's numbers: mmrotate's
            ``eval_rbbox_map`` with stable order of ties, and the published ``f1_metric`` for mF1.

    Raises:
        ConfigError: for an unknown protocol or a threshold out of range.
        DataError: if predictions name an image that the manifest does not have, give it another size, or
            find a class that it does not list.
    """
    if protocol not in PROTOCOLS:
        raise ConfigError(f"protocol is {protocol!r}; valid: {', '.join(PROTOCOLS)}")
    if not 0 < iou_threshold <= 1 or not 0 <= score_threshold <= 1:
        raise ConfigError(
            f"iou_threshold must lie in (0, 1] and score_threshold in [0, 1], "
            f"got {iou_threshold} and {score_threshold}"
        )
    by_image = _joined(manifest, predictions)
    found = [by_image.get(record.image) for record in manifest.records]
    rectangles = _published_rectangles if protocol == "lmmrotate" else min_area_quads
    truths = truths_of(manifest.records, manifest.classes, rectangles)
    detections = detections_of(found, manifest.classes, rectangles)
    classes, published = score(
        detections,
        truths,
        manifest.classes,
        iou_threshold=iou_threshold,
        score_threshold=score_threshold,
        protocol=protocol,
    )
    present = [c for c in classes if c.objects]
    known = [p for p in found if p is not None]
    return Evaluation(
        protocol=protocol,
        iou_threshold=iou_threshold,
        score_threshold=score_threshold,
        images=len(manifest.records),
        missing_images=len(found) - len(known),
        map_11=_mean([c.ap_11 for c in present]),
        map_area=_mean([c.ap_area for c in present]),
        map_nc=_mean([c.ap_nc for c in present]),
        mf1=published if published is not None else _mean([c.f1 for c in present]),
        classes=classes,
        problems=dict(Counter(p.kind for image in known for p in image.problems).most_common()),
        truncated=sum(image.truncated for image in known),
        seconds_per_image=_mean([image.seconds for image in known]) if known else 0.0,
    )


def score(
    detections: Detections,
    truths: Truths,
    names: Sequence[str],
    *,
    iou_threshold: float,
    score_threshold: float,
    protocol: str,
) -> tuple[tuple[ClassResult, ...], float | None]:
    """Results of every class, and the published F1 where the protocol has it."""
    published = protocol == "lmmrotate"
    best = best_truths(detections, truths)
    outcome = judge(detections, truths, best, iou_threshold, forget_lone_difficult=published)
    even = detections.with_scores(1.0)
    even_outcome = judge(even, truths, best, iou_threshold, forget_lone_difficult=published)
    classes = []
    for label, name in enumerate(names):
        rows = detections.label == label
        objects = int(((truths.label == label) & ~truths.ignore).sum())
        curve = curve_of(outcome, detections.score, rows, objects)
        even_curve = curve_of(even_outcome, even.score, rows, objects)
        sure = rows & (detections.score >= score_threshold)
        true, false = int((outcome.true & sure).sum()), int((outcome.false & sure).sum())
        classes.append(_class_result(name, int(rows.sum()), curve, even_curve, true, false, published))
    if not published:
        return tuple(classes), None
    return tuple(classes), _published_mf1(detections, truths, len(names), iou_threshold, score_threshold)


def _class_result(
    name: str, detections: int, curve: Curve, even_curve: Curve, true: int, false: int, published: bool
) -> ClassResult:
    precision, recall, f1 = precision_recall_f1(true, false, curve.objects)
    return ClassResult(
        label=name,
        objects=curve.objects,
        detections=detections,
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
    detections: Detections, truths: Truths, class_count: int, iou_threshold: float, score_threshold: float
) -> float:
    """The published code guesses the number of classes from the objects; where that makes it fail on a
    detection of a later class, the class list's length is used instead."""
    regular = truths.label[~truths.ignore]
    guess = int(regular.max()) + 1 if len(regular) else 0
    if len(detections.label) and detections.label.max() > guess:
        guess = class_count
    return published_f1(detections, truths, guess, iou_threshold, score_threshold).f1


def truths_of(
    records: Sequence[ImageRecord],
    classes: Sequence[str],
    rectangles: Callable[[Quads], Quads] = min_area_quads,
) -> Truths:
    """The objects of a manifest as one table; ``rectangles`` makes any quad a rectangle."""
    index = {name: number for number, name in enumerate(classes)}
    return Truths(
        image=_images([len(r.labels) for r in records]),
        label=np.array([index[label] for r in records for label in r.labels], dtype=np.int64),
        quads=rectangles(_all([r.quads for r in records])),
        ignore=np.array([flag != 0 for r in records for flag in r.difficult], dtype=bool),
    )


def detections_of(
    images: Sequence[Prediction | None],
    classes: Sequence[str],
    rectangles: Callable[[Quads], Quads] = min_area_quads,
) -> Detections:
    """Detections as one table, in the order of ``images``."""
    index = {name: number for number, name in enumerate(classes)}
    known = [(number, p) for number, p in enumerate(images) if p is not None]
    return Detections(
        image=np.array([number for number, p in known for _ in p.labels], dtype=np.int64),
        label=np.array([index[label] for _, p in known for label in p.labels], dtype=np.int64),
        quads=rectangles(_all([p.quads for _, p in known])),
        score=np.array([value for _, p in known for value in p.scores], dtype=np.float64),
    )


def _images(counts: Sequence[int]) -> np.ndarray:
    return np.repeat(np.arange(len(counts), dtype=np.int64), np.asarray(counts, dtype=np.int64))


def _all(quads: Sequence[Quads]) -> Quads:
    return np.concatenate(quads) if quads else np.empty((0, 4, 2))


def _published_rectangles(quads: Quads) -> Quads:
    """Where a quad has two smallest rectangles, the one that OpenCV's rounding picks."""
    return rboxes_to_quads(quads_to_rboxes_opencv(quads))


def _joined(manifest: Manifest, predictions: Predictions) -> dict[str, Prediction]:
    records = {record.image: record for record in manifest.records}
    strange = [p.image for p in predictions.images if p.image not in records]
    if strange:
        raise DataError(
            f"predictions name {len(strange)} images that the manifest does not have: "
            f"{', '.join(strange[:3])}{', …' if len(strange) > 3 else ''}; it has, for example, "
            f"{next(iter(records), 'no image at all')}"
        )
    classes = set(manifest.classes)
    for prediction in predictions.images:
        record = records[prediction.image]
        if (prediction.width, prediction.height) != record.wh:
            raise DataError(
                f"{prediction.image}: predicted at {prediction.width} x {prediction.height} px, but the "
                f"manifest says {record.width} x {record.height}: coordinates would not fit"
            )
        unknown = sorted(set(prediction.labels) - classes)
        if unknown:
            raise DataError(
                f"{prediction.image}: predicted class {', '.join(unknown)} is not in the manifest's "
                f"class list: {', '.join(manifest.classes)}"
            )
    return {p.image: p for p in predictions.images}


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")
