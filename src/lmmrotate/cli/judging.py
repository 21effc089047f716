"""Predict, evaluate and report in one go, for scripts that run the whole path."""

from __future__ import annotations

from pathlib import Path

from lmmrotate.data.manifest import Manifest
from lmmrotate.data.predictions import read_predictions
from lmmrotate.evaluation.evaluate import evaluate
from lmmrotate.evaluation.results import Evaluation
from lmmrotate.inference.batch import predict_to_file
from lmmrotate.inference.predictor import Predictor
from lmmrotate.inference.sources import FileSource
from lmmrotate.report.html import write_report


def judge(
    predictor: Predictor, manifest: Manifest, stem: Path, title: str, *, max_images: int = 24
) -> Evaluation:
    """Score ``predictor`` on a manifest; writes ``stem`` + ``.jsonl`` and ``.html``."""
    output = stem.with_suffix(".jsonl")
    images = [(record.image, FileSource(manifest.image_path(record))) for record in manifest.records]
    predict_to_file(predictor, images, output, batch_size=16)
    predictions = read_predictions(output)
    evaluation = evaluate(manifest, predictions)
    write_report(
        stem.with_suffix(".html"), evaluation, manifest, predictions, max_images=max_images, title=title
    )
    return evaluation
