"""predictions.jsonl: what a model found, as one plain file that can be scored again at any time.

The first line is a header, every further line one image::

    {"kind": "lmmrotate-predictions", "schema_version": 1,
     "model": "…", "codec": "loc_tokens", "classes": ["plane", …], "settings": {…}}
    {"image": "images/P0001.png", "width": 1024, "height": 1024, "text": "plane<loc_12>…",
     "detections": [{"label": "plane", "quad": [x1, …, y4], "score": 0.93}],
     "problems": [{"kind": "incomplete_box", "text": "<loc_3>"}], "truncated": false, "seconds": 0.12}

``seconds`` may be missing; ``predict`` notes the time of all images in a hidden file beside this one, so that
the same finds make the same file.

``image`` is the name that the manifest gives the image, or any other path. It tells images apart; nothing
opens a file by a name from here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lmmrotate.data.jsonl import (
    dump_line,
    get,
    get_classes,
    get_label,
    get_number,
    get_quads,
    get_size,
    quad_numbers,
    read_jsonl,
    read_note,
    write_text_atomic,
)
from lmmrotate.data.records import Prediction
from lmmrotate.errors import DataError, Problem

KIND = "lmmrotate-predictions"
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class PredictionsHeader:
    """Where predictions come from."""

    classes: tuple[str, ...]
    model: str = ""
    """Fingerprint of the weights and settings, or the name of a foreign detector."""
    codec: str = ""
    """Name of the codec that read the answers; empty for detectors that do not write."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Decoding settings, for the record; ``parameters`` and ``trained_seconds`` of the model, if known."""

    def line(self) -> str:
        return dump_line(
            {
                "kind": KIND,
                "schema_version": SCHEMA_VERSION,
                "model": self.model,
                "codec": self.codec,
                "classes": list(self.classes),
                "settings": dict(self.settings),
            }
        )


@dataclass(frozen=True, eq=False)
class Predictions:
    """A whole predictions file."""

    header: PredictionsHeader
    images: tuple[Prediction, ...]

    def write(self, path: Path) -> None:
        """Write the file atomically."""
        write_text_atomic(path, self._lines())

    def _lines(self) -> Iterator[str]:
        yield self.header.line()
        for prediction in self.images:
            yield prediction_line(prediction)


def prediction_line(prediction: Prediction) -> str:
    """One line of the file, newline included."""
    seconds = {"seconds": round(prediction.seconds, 6)} if prediction.seconds else {}
    return dump_line(
        {
            "image": prediction.image,
            "width": prediction.width,
            "height": prediction.height,
            "text": prediction.text,
            "detections": [
                {"label": label, "quad": quad_numbers(quad), "score": float(score)}
                for label, quad, score in zip(
                    prediction.labels, prediction.quads, prediction.scores, strict=True
                )
            ],
            "problems": [{"kind": p.kind, "text": p.text} for p in prediction.problems],
            "truncated": prediction.truncated,
        }
        | seconds
    )


def read_predictions(path: Path) -> Predictions:
    """Read a predictions file.

    Raises:
        DataError: naming file and line, for anything that does not follow the schema.
    """
    raw, rows = read_jsonl(path, KIND, SCHEMA_VERSION)
    header = PredictionsHeader(
        classes=get_classes(raw, path),
        model=get(raw, "model", str, f"{path}:1"),
        codec=get(raw, "codec", str, f"{path}:1"),
        settings=get(raw, "settings", dict, f"{path}:1") if "settings" in raw else {},
    )
    images: list[Prediction] = []
    first_line: dict[str, int] = {}
    for number, row in rows:
        prediction = parse_prediction(row, header.classes, f"{path}:{number}")
        if prediction.image in first_line:
            raise DataError(
                f"{path}:{number}: image {prediction.image!r} stands already "
                f"on line {first_line[prediction.image]}"
            )
        first_line[prediction.image] = number
        images.append(prediction)
    return Predictions(header, tuple(_timed(images, path)))


def write_timing(path: Path, images: int, seconds: float) -> None:
    """Note beside a predictions file how long its images took in all: two runs that find the same write the
    same file, but never take the same time."""
    body = {"images": images, "seconds": round(seconds, 6)}
    write_text_atomic(_timing_path(path), [dump_line(body)])


def _timing_path(path: Path) -> Path:
    return path.with_name(f".{path.name}.timing.json")


def _timed(images: list[Prediction], path: Path) -> list[Prediction]:
    """The predictions with the mean of the note beside their file, where there is one for as many."""
    note = read_note(_timing_path(path))
    if not isinstance(note, dict) or note.get("images") != len(images) or any(p.seconds for p in images):
        return images
    seconds = note.get("seconds")
    if not isinstance(seconds, (int, float)) or not images:
        return images
    return [replace(prediction, seconds=seconds / len(images)) for prediction in images]


def parse_prediction(row: Mapping[str, Any], classes: tuple[str, ...], where: str) -> Prediction:
    """One row of the file; errors start with ``where``."""
    width, height = get_size(row, where)
    detections = get(row, "detections", list, where)
    quads = get_quads(detections, where)
    return Prediction(
        image=get(row, "image", str, where),
        width=width,
        height=height,
        text=get(row, "text", str, where) if "text" in row else "",
        quads=quads,
        labels=tuple(get_label(d, classes, where) for d in detections),
        scores=tuple(_score(d, where) for d in detections),
        problems=_problems(row, where),
        truncated=get(row, "truncated", bool, where) if "truncated" in row else False,
        seconds=get_number(row, "seconds", where) if "seconds" in row else 0.0,
    )


def _problems(row: Mapping[str, Any], where: str) -> tuple[Problem, ...]:
    values = get(row, "problems", list, where) if "problems" in row else []
    if not all(isinstance(value, dict) for value in values):
        raise DataError(f"{where}: 'problems' must be a list of objects, found {values!r}")
    return tuple(Problem(get(p, "kind", str, where), get(p, "text", str, where)) for p in values)


def _score(detection: Mapping[str, Any], where: str) -> float:
    score = get_number(detection, "score", where)
    if not 0 <= score <= 1:
        raise DataError(f"{where}: 'score' must lie in [0, 1], found {score}")
    return score
