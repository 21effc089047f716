"""Results as text: DOTA Task 1 (a file a class) and YOLO-OBB (a file an image)."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lmmrotate.data.manifest import Manifest
from lmmrotate.data.predictions import Predictions
from lmmrotate.errors import DataError
from lmmrotate.evaluation.foreign.files import files_of, text_of
from lmmrotate.evaluation.foreign.joining import Joiner, Place, among

_PREFIX = "Task1_"
_TASK1 = np.dtype([("image", object), ("numbers", np.float64, 9)])
_YOLO = np.dtype([("numbers", np.float64, 10)])


def read_dota_task1(path: Path, manifest: Manifest) -> Predictions:
    """A folder, or a zip, of ``Task1_CLASS.txt`` with lines ``image score x1 y1 … x4 y4``, pixels.

    Format: https://captain-whu.github.io/DOTA/tasks.html. Classes without a file have no detections.

    Raises:
        DataError: naming file and line.
    """
    joiner = Joiner(manifest, path)
    for where, name, content in files_of(path, f"{_PREFIX}*.txt"):
        label = joiner.label(name.removeprefix(_PREFIX), where)
        rows, place = _table(text_of(content, where), _TASK1, "image, score and eight coordinates", where)
        known: dict[str, int] = {}
        for i, image in enumerate(rows["image"]):
            if image not in known:
                known[image] = joiner.image(image, place(i))
        of_image = np.fromiter(map(known.__getitem__, rows["image"]), dtype=np.int64, count=len(rows))
        order = np.argsort(of_image, kind="stable")
        for part in np.split(order, np.flatnonzero(np.diff(of_image[order])) + 1):
            if len(part):
                scores, corners = np.split(rows["numbers"][part], [1], axis=1)
                labels = np.full(len(part), label)
                joiner.add(int(of_image[part[0]]), corners, labels, scores[:, 0], among(place, part))
    return joiner.predictions()


def read_yolo_obb(path: Path, manifest: Manifest) -> Predictions:
    """A folder, or a zip, of ``NAME.txt`` with lines ``class x1 y1 … x4 y4 confidence``.

    Coordinates are shares of the image's width and height, classes numbers from 0. This is what Ultralytics
    writes with ``save_txt=True save_conf=True`` (``Results.save_txt``,
    https://docs.ultralytics.com/reference/engine/results/).

    Raises:
        DataError: naming file and line, also for lines without confidence.
    """
    joiner = Joiner(manifest, path)
    expected = "class, eight coordinates and a confidence (save_conf=True)"
    for where, name, content in files_of(path, "*.txt"):
        image = joiner.image(name, where)
        rows, place = _table(text_of(content, where), _YOLO, expected, where)
        values = rows["numbers"]
        boxes = values[:, 1:9] * np.tile(manifest.records[image].wh, 4)
        joiner.add(image, boxes, values[:, 0], values[:, 9], place)
    return joiner.predictions()


def _table(text: str, row: np.dtype[Any], expected: str, where: str) -> tuple[npt.NDArray[Any], Place]:
    """The lines of a table with blanks between its fields, and where each stands.

    Args:
        text: the table.
        row: a line's fields.
        expected: the same in words.
        where: the name of the table.

    Raises:
        DataError: naming the first line that is none such.
    """
    lines = [number for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    if not lines:
        return np.empty(0, row), lambda i: where
    try:
        rows = np.loadtxt(io.StringIO(text), row, comments=None, ndmin=1)
    except ValueError as error:
        raise DataError(_fault(text, row, expected, where) or f"{where}: {error}") from error
    return rows, lambda i: f"{where}:{lines[i]}"


def _fault(text: str, row: np.dtype[Any], expected: str, where: str) -> str | None:
    """What is wrong with the first line that is no such row."""
    count = row["numbers"].shape[0]
    wanted = count + len(row.names or ()) - 1
    for number, line in enumerate(text.split("\n"), start=1):
        items = line.split()
        if items and len(items) != wanted:
            return f"{where}:{number}: expected {expected}, found {len(items)} fields"
        for item in items[-count:]:
            try:
                float(item)
            except ValueError:
                return f"{where}:{number}: expected a number, found {item!r}"
    return None
