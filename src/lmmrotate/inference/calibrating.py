"""Choosing the formula for scores, and fitting their calibration, on images with known objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from lmmrotate.codec.base import Decoded
from lmmrotate.data.images import read_image
from lmmrotate.data.manifest import Manifest
from lmmrotate.data.predictions import Predictions, PredictionsHeader
from lmmrotate.data.progress import progress_bar
from lmmrotate.data.records import Prediction
from lmmrotate.errors import ConfigError
from lmmrotate.evaluation.evaluate import detections_of, evaluate, truths_of
from lmmrotate.evaluation.matching import best_truths, judge, ranked
from lmmrotate.evaluation.results import Evaluation
from lmmrotate.inference.calibration import Method, ScoreCalibration, fit_curve
from lmmrotate.inference.decoding import DecodingOptions
from lmmrotate.inference.predictor import DEFAULT, Predictor
from lmmrotate.inference.scores import FORMULAS, Evidence

Floats = npt.NDArray[np.float64]
IOU = 0.5
"""From which on a box counts as right."""


@dataclass(frozen=True, eq=False)
class Sample:
    """What a model found in the images of a manifest, before scores."""

    manifest: Manifest
    found: tuple[tuple[Decoded, Evidence], ...]
    """One an image, in the manifest's order."""

    def part(self, start: int, step: int) -> Sample:
        """Every ``step``-th image from ``start`` on."""
        chosen = replace(self.manifest, records=self.manifest.records[start::step])
        return Sample(chosen, self.found[start::step])

    def values(self, formula: str) -> list[Floats]:
        """The formula's values for the boxes of every image."""
        return [FORMULAS[formula](evidence) for _, evidence in self.found]

    def predictions(self, scores: Sequence[Floats]) -> Predictions:
        """The boxes with scores (N,) an image."""
        images = tuple(
            Prediction(
                record.image,
                *record.wh,
                quads=decoded.quads,
                labels=decoded.labels,
                scores=tuple(np.clip(some, 0, 1).tolist()),
            )
            for record, (decoded, _), some in zip(self.manifest.records, self.found, scores, strict=True)
        )
        return Predictions(PredictionsHeader(self.manifest.classes), images)

    def judged(self, scores: Sequence[Floats]) -> Evaluation:
        return evaluate(self.manifest, self.predictions(scores), iou_threshold=IOU)


def take_sample(
    predictor: Predictor,
    manifest: Manifest,
    *,
    batch_size: int = 8,
    options: DecodingOptions = DEFAULT,
    progress: bool = False,
) -> Sample:
    """Let the model write about every image of a manifest.

    Raises:
        ConfigError: if the manifest's classes are not the model's.
        DataError: naming the first image that cannot be read.
    """
    if set(manifest.classes) != set(predictor.classes):
        raise ConfigError(
            f"calibration: the manifest's classes are {', '.join(manifest.classes)}; "
            f"the model's are {', '.join(predictor.classes)}"
        )
    found: list[tuple[Decoded, Evidence]] = []
    records = manifest.records
    with progress_bar("images", progress) as bar:
        task = bar.add_task("predicting", total=len(records))
        for start in range(0, len(records), batch_size):
            some = records[start : start + batch_size]
            found += predictor.evidence([read_image(manifest.image_path(r)) for r in some], options)
            bar.advance(task, len(some))
    return Sample(manifest, tuple(found))


def judged_formulas(sample: Sample) -> dict[str, Evaluation]:
    """What every formula is worth, by name, the best first: with the largest mAP by the area under the curve,
    which tells more ranks apart than 11 points."""
    found = {name: sample.judged(sample.values(name)) for name in FORMULAS}
    return dict(sorted(found.items(), key=lambda item: -item[1].map_area))


def fit(sample: Sample, formula: str, method: Method) -> ScoreCalibration:
    """The calibration of a formula on a sample.

    Raises:
        ConfigError: for an unknown formula or method, or if all boxes are right or none is.
    """
    if formula not in FORMULAS:
        raise ConfigError(f"formula is {formula!r}; valid: {', '.join(FORMULAS)}")
    values = sample.values(formula)
    right, counted = _right(sample, values)
    x, y = fit_curve(np.concatenate([*values, np.empty(0)])[counted], right[counted], method)
    manifest = sample.manifest
    fitted_on = {
        "dataset": manifest.dataset,
        "split": manifest.split,
        "images": len(manifest.records),
        "boxes": int(counted.sum()),
        "fingerprint": manifest.fingerprint(),
    }
    return ScoreCalibration(formula, method, tuple(x.tolist()), tuple(y.tolist()), fitted_on)


def cross_fitted(sample: Sample, formula: str, method: Method) -> Evaluation:
    """How calibrated scores do on images that they were not fitted on: each half's from the other half."""
    scores: list[Floats] = [np.empty(0)] * len(sample.found)
    for half in (0, 1):
        curve = fit(sample.part(1 - half, 2), formula, method)
        scores[half::2] = [curve.apply(values) for values in sample.part(half, 2).values(formula)]
    return sample.judged(scores)


def _right(sample: Sample, scores: Sequence[Floats]) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """For all boxes (N,), whether each is right, and whether it counts (not on difficult objects)."""
    detections = detections_of(sample.predictions(scores).images, sample.manifest.classes)
    truths = truths_of(sample.manifest.records, sample.manifest.classes)
    ranking = ranked(detections, len(sample.manifest.classes))
    outcome = judge(ranking, truths, best_truths(detections, truths), IOU)
    return outcome.true, outcome.true | outcome.false
