import numpy as np
import pytest

from lmmrotate.data.manifest import Manifest
from lmmrotate.data.predictions import Predictions
from lmmrotate.data.records import ImageRecord, Prediction
from lmmrotate.evaluation.evaluate import evaluate
from lmmrotate.geometry.quads import as_quads
from lmmrotate.report.matches import match_image, match_images


def squares(*corners: tuple[float, float]) -> np.ndarray:
    return as_quads([[x, y, x + 10, y, x + 10, y + 10, x, y + 10] for x, y in corners])


def test_right_wrong_missed_and_ignored() -> None:
    record = ImageRecord(
        "a",
        100,
        100,
        squares((0, 0), (20, 0), (40, 0), (60, 0)),
        ("ship", "ship", "plane", "ship"),
        (0, 0, 0, 1),
    )
    prediction = Prediction(
        "a",
        100,
        100,
        "",
        squares((1, 0), (0, 0), (40, 0), (60, 1), (90, 90)),
        ("ship", "ship", "ship", "ship", "ship"),
        (0.8, 0.9, 0.7, 0.6, 0.05),
    )
    match = match_image(record, prediction, score_threshold=0.1)
    assert match.correct.tolist() == [False, True, False, False, False]  # the better score takes the object
    assert match.wrong.tolist() == [True, False, True, False, False]  # a second box, another class
    assert match.ignored.tolist() == [False, False, False, True, False]
    assert match.missed.tolist() == [False, True, True, False]
    assert match.kept.tolist() == [True, True, True, True, False]
    assert match.f1 == pytest.approx(2 / (2 + 2 + 2))


def test_empty_images() -> None:
    nothing = match_image(ImageRecord("a", 9, 9), Prediction("a", 9, 9))
    assert np.isnan(nothing.f1)
    record = ImageRecord("a", 99, 99, squares((0, 0)), ("ship",), (0,))
    assert match_image(record, Prediction("a", 99, 99)).f1 == 0


def test_images_together_as_one_by_one(manifest: Manifest, predictions: Predictions) -> None:
    records = manifest.records[:3]
    together = match_images(records, predictions.images)
    for record, prediction, match in zip(records, predictions.images, together, strict=True):
        alone = match_image(record, prediction)
        for field in ("found", "difficult", "kept", "correct", "wrong", "ignored"):
            assert getattr(alone, field).tolist() == getattr(match, field).tolist()


@pytest.mark.parametrize("score_threshold", [0.0, 0.65])
def test_the_sum_over_images_is_the_evaluation(
    manifest: Manifest, predictions: Predictions, score_threshold: float
) -> None:
    evaluation = evaluate(manifest, predictions, score_threshold=score_threshold)
    matches = match_images(manifest.records[:3], predictions.images, score_threshold=score_threshold)
    assert sum(c.true_positives for c in evaluation.classes) == sum(m.correct.sum() for m in matches)
    assert sum(c.false_positives for c in evaluation.classes) == sum(m.wrong.sum() for m in matches)
