"""Which images a report shows, and their pictures as text for HTML."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass

from PIL import Image

from lmmrotate.data.images import read_image
from lmmrotate.data.manifest import Manifest
from lmmrotate.data.predictions import Predictions
from lmmrotate.data.records import ImageRecord, Prediction
from lmmrotate.evaluation.results import Evaluation
from lmmrotate.report.draw import draw_comparison
from lmmrotate.report.matches import ImageMatch, match_images
from lmmrotate.report.palette import RGB

_QUALITIES = (88, 78, 66, 52)  # of JPEG


@dataclass(frozen=True, eq=False)
class Scored:
    """One image and how well it was read."""

    record: ImageRecord
    prediction: Prediction
    match: ImageMatch


def score_images(evaluation: Evaluation, manifest: Manifest, predictions: Predictions) -> list[Scored]:
    """Every image of the manifest, matched on its own; one without a prediction counts as empty."""
    by_image = {p.image: p for p in predictions.images}
    found = [by_image.get(r.image) or Prediction(r.image, r.width, r.height) for r in manifest.records]
    matches = match_images(manifest.records, found, evaluation.iou_threshold, evaluation.score_threshold)
    return [Scored(*parts) for parts in zip(manifest.records, found, matches, strict=True)]


def choose_images(scored: list[Scored], number: int) -> dict[str, list[Scored]]:
    """At most ``number`` images: a third "worst", a third "typical", a third "best", by the image's F1.

    Typical are those closest to the median. Where F1 is equal, more errors make an image worse and more
    correct boxes make it better; then the path decides. An image with no object and no box has no F1 and
    comes only after all others, as typical. Every image appears once.
    """
    rated = sorted(
        (s for s in scored if not math.isnan(s.match.f1)),
        key=lambda s: (s.match.f1, -s.match.errors, int(s.match.correct.sum()), s.record.image),
    )
    number = max(number, 0)
    third = min(math.ceil(number / 3), math.ceil(len(rated) / 3))
    worst = rated[:third]
    best = rated[::-1][: min(third, number - third, len(rated) - third)]
    middle = rated[len(worst) : len(rated) - len(best)]
    if middle:
        median = rated[len(rated) // 2].match.f1
        middle.sort(key=lambda s: (abs(s.match.f1 - median), -len(s.record.labels), s.record.image))
    blank = [s for s in scored if math.isnan(s.match.f1)]
    typical = [*middle, *blank][: number - len(worst) - len(best)]
    return {"worst": worst, "typical": typical, "best": best}


def picture(
    item: Scored, manifest: Manifest, evaluation: Evaluation, colours: Mapping[str, RGB]
) -> Image.Image:
    """Ground truth beside predictions, without a title.

    Raises:
        DataError: if the image cannot be read.
    """
    return draw_comparison(
        read_image(manifest.image_path(item.record)),
        item.record,
        item.prediction,
        colours=colours,
        iou_threshold=evaluation.iou_threshold,
        score_threshold=evaluation.score_threshold,
        title="",
    )


def data_uri(image: Image.Image, most_bytes: int) -> str:
    """``data:image/jpeg;base64,…``; the quality falls until the JPEG has ``most_bytes`` or the last step."""
    data = b""
    for quality in _QUALITIES:
        buffer = io.BytesIO()
        # Full colour resolution (subsampling 0): box lines are thin and coloured.
        image.save(buffer, "JPEG", quality=quality, subsampling=0)
        data = buffer.getvalue()
        if len(data) <= most_bytes:
            break
    return "data:image/jpeg;base64," + base64.b64encode(data).decode("ascii")
