"""Results as text: DOTA Task 1 (a file a class) and YOLO-OBB (a file an image)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np

from lmmrotate.data.formats.objects import read_text
from lmmrotate.data.manifest import Manifest
from lmmrotate.data.predictions import Predictions
from lmmrotate.errors import DataError
from lmmrotate.evaluation.foreign.archives import members
from lmmrotate.evaluation.foreign.joining import Joiner, fields_of_lines, numbers
from lmmrotate.geometry.quads import as_quads

_PREFIX = "Task1_"


def read_dota_task1(path: Path, manifest: Manifest) -> Predictions:
    """A folder, or a zip, of ``Task1_CLASS.txt`` with lines ``image score x1 y1 … x4 y4``, pixels.

    Format: https://captain-whu.github.io/DOTA/tasks.html. Classes without a file have no detections.

    Raises:
        DataError: naming file and line.
    """
    joiner = Joiner(manifest, path)
    for where, name, text in _texts(path):
        label = joiner.label(PurePosixPath(name).stem.removeprefix(_PREFIX), where)
        items = fields_of_lines(text, 10, "image, score and eight coordinates", where)
        images = items[::10]
        values = numbers((item for i, item in enumerate(items) if i % 10), where).reshape(-1, 9)
        known = {image: joiner.image(image, where) for image in set(images)}
        of_image = np.array([known[image] for image in images], dtype=np.int64)
        order = np.argsort(of_image, kind="stable")
        for rows in np.split(order, np.flatnonzero(np.diff(of_image[order])) + 1):
            if len(rows):
                quads = as_finite_quads(values[rows, 1:], where)
                joiner.add(int(of_image[rows[0]]), quads, np.full(len(rows), label), values[rows, 0], where)
    return joiner.predictions()


def read_yolo_obb(path: Path, manifest: Manifest) -> Predictions:
    """A folder of ``NAME.txt`` with lines ``class x1 y1 … x4 y4 confidence``, shares of width and height.

    What Ultralytics writes with ``save_txt=True save_conf=True``; classes are numbers from 0.

    Raises:
        DataError: naming file and line, also for lines without confidence.
    """
    joiner = Joiner(manifest, path)
    expected = "class, eight coordinates and a confidence (save_conf=True)"
    for file in sorted(path.glob("*.txt")):
        image = joiner.image(file.stem, str(file))
        items = fields_of_lines(read_text(file), 10, expected, str(file))
        values = numbers(items, str(file)).reshape(-1, 10)
        quads = as_finite_quads(values[:, 1:9], str(file)) * manifest.records[image].wh
        joiner.add(image, quads, values[:, 0], values[:, 9], str(file))
    return joiner.predictions()


def as_finite_quads(values: np.ndarray, where: str) -> np.ndarray:
    """``as_quads`` whose complaint is about a file."""
    try:
        return as_quads(values)
    except ValueError as error:
        raise DataError(f"{where}: {error}") from error


def _texts(path: Path) -> Iterator[tuple[str, str, str]]:
    """Where each file of a class is, its name and its content."""
    if path.is_dir():
        for file in sorted(path.glob(f"{_PREFIX}*.txt")):
            yield str(file), file.name, read_text(file)
        return
    for name, content in members(path, ".txt"):
        if PurePosixPath(name).name.startswith(_PREFIX):
            try:
                text = content.decode("utf-8-sig")
            except UnicodeDecodeError as error:
                raise DataError(f"{path}: {name}: cannot be read as UTF-8 text: {error}") from error
            yield f"{path}: {name}", name, text
