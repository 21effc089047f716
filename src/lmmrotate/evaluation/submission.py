"""Detections of scenes as the archives that evaluation servers take.

DOTA Task 1 (https://captain-whu.github.io/DOTA/tasks.html): a zip with ``Task1_CLASS.txt`` for every class,
lines ``image score x1 y1 x2 y2 x3 y3 x4 y4``. FAIR1M (https://www.gaofen-challenge.com): a zip with one XML
an image, in the folder ``test/``.

The published code writes scores with two decimals (DOTA) and four (FAIR1M), so that many boxes tie which the
model told apart; AP then depends on the server's sort. By default nine digits are written, as many as tell
all float32 numbers apart.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from xml.sax.saxutils import escape

from lmmrotate.data.detection_files import shortest, stems, task1_lines, task1_name
from lmmrotate.data.jsonl import replacing
from lmmrotate.data.predictions import Predictions
from lmmrotate.data.records import Prediction
from lmmrotate.errors import ConfigError

FORMATS = ("dota", "fair1m")
PUBLISHED_DIGITS = {"dota": 2, "fair1m": 4}

_EARLIEST = (1980, 1, 1, 0, 0, 0)  # the same input gives the same bytes


def write_submission(
    predictions: Predictions, out: Path, kind: str, *, score_digits: int | None = None
) -> list[str]:
    """Write a zip, whole or not at all.

    Args:
        predictions: of scenes; images are called by their names without folder and ending.
        out: the file.
        kind: one of ``FORMATS``.
        score_digits: decimals of scores; default: nine significant digits.

    Returns:
        The names of the files in it.

    Raises:
        ConfigError: for an unknown kind.
        DataError: for two images of one name, or a class name that is no file name.
    """
    if kind not in FORMATS:
        raise ConfigError(f"submission format is {kind!r}; valid: {', '.join(FORMATS)}")
    images = stems(predictions)
    if kind == "dota":
        files = _dota_files(images, predictions.header.classes, score_digits)
    else:
        files = _fair1m_files(images, predictions.header.classes, score_digits)
    names = []
    with replacing(out) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files:
            entry = zipfile.ZipInfo(name, _EARLIEST)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, text)
            names.append(name)
    return names


def _dota_files(
    images: Mapping[str, Prediction], classes: tuple[str, ...], digits: int | None
) -> Iterator[tuple[str, str]]:
    # As Python rounds and shows a number: 1.0, 0.9, 0.88.
    score = shortest if digits is None else lambda value: str(round(value, digits))
    for label in classes:
        yield task1_name(label), "".join(task1_lines(images, label, score))


def _fair1m_files(
    images: Mapping[str, Prediction], classes: tuple[str, ...], digits: int | None
) -> Iterator[tuple[str, str]]:
    score: Callable[[float], str] = shortest if digits is None else lambda value: f"{value:.{digits}f}"
    for stem, prediction in images.items():
        objects = []
        for name in classes:
            for i in _of_class(prediction, name):
                corners = [f"{x:.2f},{y:.2f}" for x, y in prediction.quads[i].tolist()]
                points = "".join(f"<point>{corner}</point>" for corner in [*corners, corners[0]])
                objects.append(
                    f"<object><possibleresult><name>{escape(name)}</name>"
                    f"<probability>{score(prediction.scores[i])}</probability></possibleresult>"
                    f"<points>{points}</points></object>"
                )
        yield f"test/{stem}.xml", f"<annotation><objects>{''.join(objects)}</objects></annotation>"


def _of_class(prediction: Prediction, name: str) -> list[int]:
    return [i for i, label in enumerate(prediction.labels) if label == name]
