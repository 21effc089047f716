"""Results as JSON: COCO's list of detections with rotated boxes, and lists by image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lmmrotate.data.formats.json_files import as_object, read_json
from lmmrotate.data.manifest import Manifest
from lmmrotate.data.predictions import Predictions
from lmmrotate.errors import DataError
from lmmrotate.evaluation.foreign.joining import Floats, Joiner
from lmmrotate.geometry.quads import Quads, min_area_quads
from lmmrotate.geometry.rboxes import rboxes_to_quads

_IMAGE_KEYS = ("image", "image_path", "image_name", "file_name")


def read_coco(path: Path, manifest: Manifest) -> Predictions:
    """A list of ``{"image_id", "category_id", "score", …}`` (https://cocodataset.org/#format-results).

    The box is ``rbox`` (cx cy w h angle in radians), ``poly`` (four corners), ``segmentation`` (polygons, of
    which the smallest rectangle is taken unless it is one of four corners) or ``bbox`` (five numbers as
    ``rbox``, four as x y w h), the first there is. An image goes by ``file_name``, else by ``image_id``: a
    name, a name that is a number (Ultralytics), or else the place in the manifest, from 1, as ``lmmrotate
    convert --to coco`` numbers them. ``category_id`` is the place in the class list from 1, or from 0 if a 0
    occurs.

    Raises:
        DataError: naming file and entry.
    """
    joiner = Joiner(manifest, path)
    content = read_json(path)
    rows = content.get("annotations") if isinstance(content, dict) else content
    if not isinstance(rows, list):
        raise DataError(f"{path}: expected a list of detections, found a {type(rows).__name__}")
    objects = [as_object(row, f"{path}: [{i}]") for i, row in enumerate(rows)]
    first = 0 if any(row.get("category_id") == 0 for row in objects) else 1
    by_image: dict[int, list[int]] = {}
    for i, row in enumerate(objects):
        by_image.setdefault(_image(joiner, row, f"{path}: [{i}]"), []).append(i)
    for image, places in by_image.items():
        _add(joiner, image, [(f"{path}: [{i}]", objects[i]) for i in places], first)
    return joiner.predictions()


def read_by_image(path: Path, manifest: Manifest) -> Predictions:
    """Detections by image, as oriented-det writes them, and many scripts.

    oriented-det (https://github.com/DL4EO/oriented-det, ``predictions.json``)::

        {"metadata": {…}, "results": [{"image_name": "P1.png", "image_path": …, "predictions": [
          {"bbox": [cx, cy, w, h, angle in radians], "score": 0.9, "class_name": "ship", "label": 1}]}]}

    Others: a list ``[{"image": name, "detections": [{"label", "score", "obb": […]}]}]``, or an object
    ``{name: [detection, …]}``. The image may also be ``file_name``, the label ``class``, ``class_name``
    or (a number from 0) ``category_id``, the score ``confidence``; the box may be any that ``read_coco``
    takes, or ``polygon`` of four corners.

    Raises:
        DataError: naming file and entry.
    """
    joiner = Joiner(manifest, path)
    for name, rows, where in _images(path):
        objects = [(f"{where}[{i}]", as_object(row, f"{where}[{i}]")) for i, row in enumerate(rows)]
        _add(joiner, joiner.image(name, where), objects, 0)
    return joiner.predictions()


def _images(path: Path) -> Iterator[tuple[str, list[Any], str]]:
    content = read_json(path)
    for key in ("results", "images"):
        if isinstance(content, dict) and isinstance(content.get(key), list):
            content = content[key]
    if isinstance(content, dict):
        content = [{"image": name, "detections": rows} for name, rows in content.items()]
    if not isinstance(content, list):
        raise DataError(f"{path}: expected a list of images, found a {type(content).__name__}")
    for i, value in enumerate(content):
        where = f"{path}: [{i}]"
        row = as_object(value, where)
        name = next((row[key] for key in _IMAGE_KEYS if key in row), None)
        rows = next((row[key] for key in ("detections", "predictions", "annotations") if key in row), None)
        if not isinstance(name, str) or not isinstance(rows, list):
            raise DataError(f"{where}: expected 'image' and a list of 'detections', found {', '.join(row)}")
        yield name, rows, where


def _image(joiner: Joiner, row: dict[str, Any], where: str) -> int:
    name, number = row.get("file_name"), row.get("image_id")
    if isinstance(name, str) or isinstance(number, str):
        return joiner.image(str(name or number), where)
    if isinstance(number, int) and not isinstance(number, bool):
        if joiner.has_image(str(number)):
            return joiner.image(str(number), where)
        if 1 <= number <= len(joiner.manifest.records):
            return number - 1
    raise DataError(
        f"{where}: image_id must be a name, or 1…{len(joiner.manifest.records)}, found {number!r}"
    )


def _add(joiner: Joiner, image: int, rows: Sequence[tuple[str, dict[str, Any]]], first: int) -> None:
    quads = [_quad(row, where) for where, row in rows]
    labels = [_label(joiner, row, first, where) for where, row in rows]
    scores = [_score(row, where) for where, row in rows]
    where = rows[0][0] if rows else str(joiner.path)
    joiner.add(image, np.stack(quads) if quads else np.empty((0, 4, 2)), labels, scores, where)


def _label(joiner: Joiner, row: dict[str, Any], first: int, where: str) -> int:
    number = row.get("category_id")
    for key in ("label", "class", "class_name"):
        value = row.get(key)
        if isinstance(value, str):
            return joiner.label(value, where)
        number = value if number is None else number
    if not isinstance(number, int) or isinstance(number, bool):
        raise DataError(f"{where}: expected a class ('label' or 'category_id'), found {', '.join(row)}")
    count = len(joiner.manifest.classes)
    if not first <= number < count + first:
        raise DataError(f"{where}: category_id must lie in {first}…{count + first - 1}, found {number}")
    return number - first


def _score(row: dict[str, Any], where: str) -> float:
    score = row.get("score", row.get("confidence"))
    if not isinstance(score, (int, float)) or isinstance(score, bool):
        raise DataError(f"{where}: 'score' must be a number, found {score!r}")
    return float(score)


def _quad(row: dict[str, Any], where: str) -> Quads:
    """The box of a detection, (4, 2)."""
    for key in ("rbox", "obb"):
        if key in row:
            return _rbox(_numbers(row[key], (5,), key, where))
    for key in ("poly", "polygon"):
        if key in row:
            return _numbers(row[key], (8,), key, where).reshape(4, 2)
    if row.get("segmentation"):
        parts = row["segmentation"]
        parts = parts if isinstance(parts, list) and isinstance(parts[0], list) else [parts]
        rings = [_numbers(part, None, "segmentation", where) for part in parts]
        points = np.concatenate(rings).reshape(-1, 2)
        return points if len(points) == 4 else min_area_quads(points[None])[0]
    if "bbox" not in row:
        raise DataError(f"{where}: expected rbox, poly, segmentation or bbox, found {', '.join(row)}")
    box = _numbers(row["bbox"], (4, 5), "bbox", where)
    if len(box) == 5:
        return _rbox(box)
    x, y, w, h = box
    return _rbox(np.array([x + w / 2, y + h / 2, w, h, 0.0]))


def _rbox(numbers: Floats) -> Quads:
    quad: Quads = rboxes_to_quads(numbers[None])[0]
    return quad


def _numbers(value: Any, lengths: tuple[int, ...] | None, key: str, where: str) -> Floats:
    flat = (
        [n for item in value for n in (item if isinstance(item, list) else [item])]
        if isinstance(value, list)
        else []
    )
    plain = all(isinstance(n, (int, float)) and not isinstance(n, bool) for n in flat)
    fits = len(flat) in lengths if lengths else len(flat) >= 6 and len(flat) % 2 == 0
    if not plain or not fits:
        wanted = " or ".join(map(str, lengths)) if lengths else "three points or more, as"
        raise DataError(f"{where}: {key!r} must be {wanted} numbers, found {value!r}"[:300])
    array = np.array(flat, dtype=np.float64)
    if not np.isfinite(array).all():
        raise DataError(f"{where}: {key!r} holds a number that is not finite")
    return array
