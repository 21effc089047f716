"""Results as JSON: COCO's list of detections with rotated boxes, and lists by image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from lmmrotate.data.formats.coco_shapes import read_corners
from lmmrotate.data.formats.json_files import as_object, read_json
from lmmrotate.data.formats.objects import Bad
from lmmrotate.data.jsonl import get, get_number
from lmmrotate.data.manifest import Manifest
from lmmrotate.data.predictions import Predictions
from lmmrotate.errors import DataError
from lmmrotate.evaluation.foreign.joining import Joiner, among

Row = tuple[str, dict[str, Any]]
"""Where a detection stands, and what it says."""

_IMAGE_KEYS = ("image", "image_path", "image_name", "file_name")
_ROW_KEYS = ("detections", "predictions", "annotations")
_CLASS_KEYS = ("label", "class", "class_name")
_BOX_KEYS = {"poly": 8, "polygon": 8, "rbox": 5, "obb": 5}  # corners first: an angle is often rounded more
_PLAIN = {int, float}  # bool is neither


def read_json_results(path: Path, manifest: Manifest) -> Predictions:
    """Whichever of the two forms below the file has.

    Raises:
        DataError: naming file and entry.
    """
    content = read_json(path)
    rows = content.get("annotations") if isinstance(content, dict) else content
    first = rows[0] if isinstance(rows, list) and rows else None
    flat = rows == [] or (isinstance(first, dict) and "image_id" in first)
    return (_from_coco if flat else _from_images)(content, path, manifest)


def read_coco(path: Path, manifest: Manifest) -> Predictions:
    """A list of ``{"image_id", "category_id", "score", …}`` (https://cocodataset.org/#format-results).

    The box is ``poly`` (four corners), ``rbox`` (cx cy w h angle in radians, positive from x to y),
    ``segmentation`` (polygons, as ``data.formats.coco`` reads them) or ``bbox`` (five numbers as ``rbox``,
    four as x y w h), the first there is. This is also what Ultralytics writes with ``save_json=True``.

    An image goes by ``file_name``, else by ``image_id``: a name, or a number, which is either what the
    image's name says (Ultralytics: 7 for 0007.png) or its place in the manifest from 1 (``lmmrotate convert
    --to coco``). ``category_id`` is the place in the class list from 1, or from 0 if a 0 occurs.

    Raises:
        DataError: naming file and entry; also for numbers of images that can be read in both ways.
    """
    return _from_coco(read_json(path), path, manifest)


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
    return _from_images(read_json(path), path, manifest)


def _from_coco(content: Any, path: Path, manifest: Manifest) -> Predictions:
    joiner = Joiner(manifest, path)
    values = content.get("annotations") if isinstance(content, dict) else content
    if not isinstance(values, list):
        raise DataError(f"{path}: expected a list of detections, found a {type(values).__name__}")
    rows = [(f"{path}: [{i}]", as_object(value, f"{path}: [{i}]")) for i, value in enumerate(values)]
    first = 0 if any(row.get("category_id") == 0 for _, row in rows) else 1
    by_image: dict[int, list[Row]] = {}
    for row, image in zip(rows, _images_of(rows, joiner), strict=True):
        by_image.setdefault(image, []).append(row)
    for image, some in by_image.items():
        _add(joiner, image, some, first)
    return joiner.predictions()


def _images_of(rows: Sequence[Row], joiner: Joiner) -> Iterator[int]:
    """The image of every detection."""
    numbers = {row["image_id"]: where for where, row in reversed(rows) if _is_numbered(row)}
    of_number = _numbered_images(numbers, joiner)
    for where, row in rows:
        if _is_numbered(row):
            yield of_number[row["image_id"]]
        else:
            named = "file_name" in row
            name = get(row, "file_name", str, where) if named else get(row, "image_id", (int, str), where)
            yield joiner.image(name, where)


def _is_numbered(row: dict[str, Any]) -> bool:
    return "file_name" not in row and type(row.get("image_id")) is int


def _numbered_images(numbers: dict[int, str], joiner: Joiner) -> dict[int, int]:
    """What numbers of images mean, each given with a place where it stands."""
    records = joiner.manifest.records
    places = {number: [number - 1] for number in range(1, len(records) + 1)}
    named: dict[int, list[int]] = {}
    for image, record in enumerate(records):
        stem = PurePosixPath(record.image).stem
        if stem.isdecimal():
            named.setdefault(int(stem), []).append(image)
    readings = [reading for reading in (named, places) if numbers.keys() <= reading.keys()]
    if not readings:
        number = min(numbers, key=lambda n: (n in named) + (n in places))
        raise DataError(
            f"{numbers[number]}: image_id must be a name, the number in an image's name, "
            f"or 1…{len(records)}, found {number}"
        )
    for number, where in numbers.items():
        images = {image for reading in readings for image in reading[number]}
        if len(images) > 1:
            names = ", ".join(records[image].image for image in sorted(images)[:3])
            raise DataError(
                f"{where}: image_id {number} may be any of several images by name or place: {names}; "
                "give the name as file_name or image_id"
            )
    return {number: readings[0][number][0] for number in numbers}


def _from_images(content: Any, path: Path, manifest: Manifest) -> Predictions:
    joiner = Joiner(manifest, path)
    for name, values, where in _images(content, path):
        rows = [(f"{where}[{i}]", as_object(value, f"{where}[{i}]")) for i, value in enumerate(values)]
        _add(joiner, joiner.image(name, where), rows, 0)
    return joiner.predictions()


def _images(content: Any, path: Path) -> Iterator[tuple[str, list[Any], str]]:
    if isinstance(content, dict):
        named = [{"image": name, "detections": rows} for name, rows in content.items()]
        lists = (content.get(key) for key in ("results", "images"))
        content = next((rows for rows in lists if isinstance(rows, list)), named)
    if not isinstance(content, list):
        raise DataError(f"{path}: expected a list of images, found a {type(content).__name__}")
    for i, value in enumerate(content):
        where = f"{path}: [{i}]"
        row = as_object(value, where)
        name = next((row[key] for key in _IMAGE_KEYS if key in row), None)
        rows = next((row[key] for key in _ROW_KEYS if key in row), None)
        if not isinstance(name, str) or not isinstance(rows, list):
            raise DataError(f"{where}: expected 'image' and a list of 'detections', found {', '.join(row)}")
        yield name, rows, where


def _add(joiner: Joiner, image: int, rows: Sequence[Row], first: int) -> None:
    """Detections of an image; ``first`` is the number of the first class."""
    if not rows:
        joiner.add(image, np.empty((0, 5)), [], [], lambda i: str(joiner.path))
    boxes = [_box(row, where) for where, row in rows]
    for _, run in groupby(range(len(rows)), key=lambda i: len(boxes[i])):
        some = list(run)
        joiner.add(
            image,
            np.array([boxes[i] for i in some], dtype=np.float64),
            [_label(joiner, rows[i][1], first, rows[i][0]) for i in some],
            [_score(rows[i][1], rows[i][0]) for i in some],
            among(lambda i: rows[i][0], some),
        )


def _label(joiner: Joiner, row: dict[str, Any], first: int, where: str) -> int:
    name = next((row[key] for key in _CLASS_KEYS if isinstance(row.get(key), str)), None)
    if name is not None:
        return joiner.label(name, where)
    number = next((row[key] for key in ("category_id", *_CLASS_KEYS) if type(row.get(key)) is int), None)
    if number is None:
        raise DataError(f"{where}: expected a class ('label' or 'category_id'), found {', '.join(row)}")
    last = first + len(joiner.manifest.classes) - 1
    if not first <= number <= last:
        raise DataError(f"{where}: category_id must lie in {first}…{last}, found {number}")
    return int(number - first)


def _score(row: dict[str, Any], where: str) -> float:
    return get_number(row, "confidence" if "score" not in row and "confidence" in row else "score", where)


def _box(row: dict[str, Any], where: str) -> list[float]:
    """The five numbers of a detection's rbox, or the eight of its corners."""
    for key, count in _BOX_KEYS.items():
        if key in row:
            return _numbers(row[key], (count,), key, where)
    if row.get("segmentation"):
        corners = read_corners(where, {"segmentation": row["segmentation"]})
        if isinstance(corners, Bad):
            raise DataError(f"{where}: {corners.details}")
        return corners
    if "bbox" not in row:
        raise DataError(
            f"{where}: expected poly, rbox, segmentation or bbox, found {', '.join(row) or 'nothing'}"
        )
    box = _numbers(row["bbox"], (4, 5), "bbox", where)
    if len(box) == 5:
        return box
    x, y, w, h = box
    return [x + w / 2, y + h / 2, w, h, 0.0]


def _numbers(value: Any, counts: tuple[int, ...], key: str, where: str) -> list[float]:
    flat: list[Any] = value if isinstance(value, list) else []
    if any(isinstance(item, list) for item in flat):  # corners as pairs
        flat = [number for item in flat for number in (item if isinstance(item, list) else [item])]
    if len(flat) in counts and _PLAIN.issuperset(map(type, flat)):
        try:
            return [float(number) for number in flat]
        except OverflowError:  # a whole number of 400 digits
            pass
    wanted = " or ".join(map(str, counts))
    raise DataError(f"{where}: {key!r} must be {wanted} numbers, found {value!r}"[:300])
