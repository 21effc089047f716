"""Scoring a predictions file against a manifest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from lmmrotate.data.manifest import Manifest
from lmmrotate.data.predictions import Predictions
from lmmrotate.data.records import ImageRecord, Prediction
from lmmrotate.errors import DataError
from lmmrotate.evaluation.matching import Detections, Ints, Truths
from lmmrotate.evaluation.protocols import protocol_named
from lmmrotate.evaluation.results import Evaluation
from lmmrotate.evaluation.scoring import check_settings, score_tables
from lmmrotate.geometry.quads import Quads, min_area_quads


def evaluate(
    manifest: Manifest,
    predictions: Predictions,
    *,
    iou_threshold: float = 0.5,
    score_threshold: float = 0.0,
    protocol: str = "corrected",
    ious: Sequence[float] = (),
    resamples: int = 0,
) -> Evaluation:
    """Score predictions.

    Images are joined by name. Quads that are not rectangles become their smallest enclosing rectangle
    first, objects and detections alike. Images of the manifest without predictions count as empty answers.
    Detections of equal score rank by the manifest's order of images, within an image by the answer's.

    Args:
        iou_threshold: IoU from which on a detection has found an object, in (0, 1].
        score_threshold: detections below it do not count in precision, recall and F1.
        protocol: "corrected", or "lmmrotate" or "dota" for the published code's numbers; see ``protocols``.
        ious: further IoU thresholds for mAP, beside COCO's.
        resamples: draws for confidence intervals; 0 leaves them out.

    Raises:
        ConfigError: for an unknown protocol or a threshold out of range.
        DataError: if predictions name an image that the manifest does not have, name one twice, give one
            another size, or find a class that the manifest does not list.
    """
    check_settings(iou_threshold, score_threshold, protocol)
    by_image = _joined(manifest, predictions)
    found = [by_image.get(record.image) for record in manifest.records]
    known = [prediction for prediction in found if prediction is not None]
    rectangles = protocol_named(protocol).rectangles
    numbers = score_tables(
        detections_of(found, manifest.classes, rectangles),
        truths_of(manifest.records, manifest.classes, rectangles),
        manifest.classes,
        images=len(manifest.records),
        iou_threshold=iou_threshold,
        score_threshold=score_threshold,
        protocol=protocol,
        details=True,
        ious=ious,
        resamples=resamples,
    )
    return replace(
        numbers,
        missing_images=len(found) - len(known),
        problems=dict(Counter(p.kind for image in known for p in image.problems).most_common()),
        truncated=sum(image.truncated for image in known),
        seconds_per_image=float(np.mean([image.seconds for image in known])) if known else 0.0,
    )


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
    """Detections as one table, in the order of ``images`` (None: nothing was predicted)."""
    index = {name: number for number, name in enumerate(classes)}
    known = [p for p in images if p is not None]
    return Detections(
        image=_images([len(p.labels) if p is not None else 0 for p in images]),
        label=np.array([index[label] for p in known for label in p.labels], dtype=np.int64),
        quads=rectangles(_all([p.quads for p in known])),
        score=np.array([score for p in known for score in p.scores], dtype=np.float64),
    )


def _images(counts: Sequence[int]) -> Ints:
    """The index of the image for every box."""
    return np.repeat(np.arange(len(counts), dtype=np.int64), np.asarray(counts, dtype=np.int64))


def _all(quads: Sequence[Quads]) -> Quads:
    return np.concatenate(quads) if quads else np.empty((0, 4, 2))


def _joined(manifest: Manifest, predictions: Predictions) -> dict[str, Prediction]:
    """The prediction of every image that has one."""
    records = {record.image: record for record in manifest.records}
    strange = [p.image for p in predictions.images if p.image not in records]
    if strange:
        raise DataError(
            f"predictions name {len(strange)} of {len(predictions.images)} images that the manifest does "
            f"not have: {_some(strange)}; it has, for example, {_some(list(records)) or 'no image at all'} "
            "(predict with --manifest to have the manifest's names)"
        )
    twice = [image for image, count in Counter(p.image for p in predictions.images).items() if count > 1]
    if twice:
        raise DataError(f"{len(twice)} images have more than one prediction: {_some(twice)}")
    for prediction in predictions.images:
        record = records[prediction.image]
        if (prediction.width, prediction.height) != record.wh:
            raise DataError(
                f"{prediction.image}: predicted at {prediction.width} x {prediction.height} px, but the "
                f"manifest says {record.width} x {record.height}: coordinates would not fit"
            )
    labels = {label for prediction in predictions.images for label in prediction.labels}
    unknown = sorted(labels - set(manifest.classes))
    if unknown:
        raise DataError(
            f"{len(unknown)} predicted classes are not in the manifest's class list: {_some(unknown)}; "
            f"it has: {', '.join(manifest.classes)}"
        )
    return {p.image: p for p in predictions.images}


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
