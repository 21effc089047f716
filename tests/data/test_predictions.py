import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmmrotate.data.predictions import Predictions, PredictionsHeader, prediction_line, read_predictions
from lmmrotate.data.records import Prediction
from lmmrotate.errors import DataError, Problem
from lmmrotate.geometry.quads import as_quads

HEADER = {
    "kind": "lmmrotate-predictions",
    "schema_version": 1,
    "model": "m",
    "codec": "loc_tokens",
    "classes": ["plane", "ship"],
    "settings": {"beams": 3},
}
DETECTION = {"label": "ship", "quad": [0, 0, 10, 0, 10, 5, 0, 5], "score": 0.5}
ROW = {"image": "P1.png", "width": 64, "height": 32, "text": "ship…", "detections": [DETECTION]}


def write(path: Path, *lines: object) -> Path:
    path.write_text("".join(x if isinstance(x, str) else json.dumps(x) + "\n" for x in lines), "utf-8")
    return path


def test_reads_the_documented_form(tmp_path: Path) -> None:
    problems = [{"kind": "incomplete_box", "text": "<loc_3>"}]
    full = {**ROW, "image": "P2.png", "problems": problems, "truncated": True, "seconds": 0.25}
    predictions = read_predictions(write(tmp_path / "p.jsonl", HEADER, ROW, full))
    first, second = predictions.images
    assert predictions.header == PredictionsHeader(("plane", "ship"), "m", "loc_tokens", {"beams": 3})
    assert (first.labels, first.scores, first.problems, first.truncated) == (("ship",), (0.5,), (), False)
    assert second.problems == (Problem("incomplete_box", "<loc_3>"),)
    assert (second.truncated, second.seconds) == (True, 0.25)


PREDICTIONS = st.builds(
    lambda quads, scores, text, problems, truncated, seconds: Prediction(
        "images/a.png",
        10,
        20,
        text,
        as_quads(quads[: len(scores)]),
        ("ship",) * min(len(quads), len(scores)),
        tuple(scores[: len(quads)]),
        tuple(problems),
        truncated,
        seconds,
    ),
    st.lists(st.lists(st.integers(-999, 999).map(float), min_size=8, max_size=8), max_size=3),
    st.lists(st.floats(0, 1), max_size=3),
    st.text() | st.just("half a pair: \ud83d"),  # models write bytes that make no character
    st.lists(st.builds(Problem, st.text(), st.text()), max_size=2),
    st.booleans(),
    st.floats(0, 1e4).map(lambda v: round(v, 6)),
)


@given(prediction=PREDICTIONS)
def test_round_trip(prediction: Prediction, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("predictions") / "p.jsonl"
    Predictions(PredictionsHeader(("ship",), "m"), (prediction,)).write(path)
    again = read_predictions(path)
    assert again.header == PredictionsHeader(("ship",), "m")
    (image,) = again.images
    assert image.quads.tolist() == prediction.quads.tolist()
    for name in ("image", "width", "height", "text", "labels", "scores", "problems", "truncated", "seconds"):
        assert getattr(image, name) == getattr(prediction, name)
    assert prediction_line(image) == prediction_line(prediction)


def test_numpy_scores_are_written_as_numbers(tmp_path: Path) -> None:
    quads = as_quads([[0, 0, 9, 0, 9, 9, 0, 9]])
    scores = tuple(np.array([0.5], np.float32))
    line = prediction_line(Prediction("a.png", 9, 9, quads=quads, labels=("ship",), scores=scores))
    assert json.loads(line)["detections"][0]["score"] == 0.5


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"image": None}, "'image' must be str"),
        ({"detections": None}, "'detections' must be list"),
        ({"detections": [{**DETECTION, "score": 1.5}]}, r"'score' must lie in \[0, 1\], found 1.5"),
        ({"detections": [{**DETECTION, "score": -0.1}]}, "'score' must lie in"),
        ({"detections": [{**DETECTION, "score": "high"}]}, "'score' must be int or float"),
        ({"detections": [{**DETECTION, "label": "barge"}]}, "unknown class 'barge'"),
        ({"detections": [{"label": "ship", "quad": DETECTION["quad"]}]}, "'score' is missing"),
        ({"text": None}, "'text' must be str"),
        ({"problems": 3}, "'problems' must be list"),
        ({"problems": ["x"]}, "'problems' must be a list of objects"),
        ({"problems": [{"kind": "x"}]}, "'text' is missing"),
        ({"truncated": "false"}, "'truncated' must be bool"),
        ({"seconds": "fast"}, "'seconds' must be int or float"),
        ({"seconds": 10**400}, "'seconds' must be finite"),
        ({"width": -1}, "width and height must be at least 1"),
        ({"image": "P0.png"}, "stands already on line 2"),
    ],
)
def test_bad_lines_are_named(values: dict[str, object], message: str, tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", HEADER, {**ROW, "image": "P0.png"}, {**ROW, **values})
    with pytest.raises(DataError, match=r"p\.jsonl:3: .*" + message):
        read_predictions(path)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({**HEADER, "kind": "lmmrotate-manifest"}, "expected 'lmmrotate-predictions'"),
        ({**HEADER, "settings": 3}, "'settings' must be dict"),
        ({**HEADER, "codec": None}, "'codec' must be str"),
    ],
)
def test_bad_headers_are_named(header: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"p\.jsonl:1: .*" + message):
        read_predictions(write(tmp_path / "p.jsonl", header, ROW))


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match=r"a\.png: 0 quads, 1 labels, 0 scores"):
        Prediction("a.png", 1, 1, labels=("ship",))
