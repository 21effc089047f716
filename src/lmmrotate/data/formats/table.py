"""CSV tables, one object a line, as DeepForest, RetinaNet tools and spreadsheets have them.

::

    image_path,xmin,ymin,xmax,ymax,label
    OSBS_029.tif,203,67,227,90,Tree

Upright corners in pixels; where the columns x1, y1 … x4, y4 exist, they are the four corners and the upright
ones are not read. The image may also be called ``image``, ``filename`` or ``file_name``, the label ``class``
or ``name``; a column ``difficult`` is the difficulty, other columns are passed over. A line with an image
alone is an image without objects. Format: https://deepforest.readthedocs.io (annotation files)
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from lmmrotate.data.formats.base import ConversionReport, Format, WriteReport
from lmmrotate.data.formats.json_files import image_under
from lmmrotate.data.formats.objects import Bad, FieldError, Found, read_listed, read_text
from lmmrotate.data.images import find_images
from lmmrotate.data.jsonl import write_text_atomic
from lmmrotate.data.manifest import Manifest
from lmmrotate.errors import DataError

_IMAGE = ("image_path", "image", "filename", "file_name")
_LABEL = ("label", "class", "name")
_UPRIGHT = ("xmin", "ymin", "xmax", "ymax")
_CORNERS = ("x1", "y1", "x2", "y2", "x3", "y3", "x4", "y4")

_Row = dict[str, str]


def read_file(
    image_folder: Path, annotations: Path | None, **options: Any
) -> tuple[Manifest, ConversionReport]:
    """Read the images that a table names (see ``formats.base.Reader``, ``formats.objects.read_listed``).

    Raises:
        DataError: as ``read_listed``; also for a table without a column for image, label or corners.
    """
    if annotations is None:
        return read_listed(
            image_folder, {path.name: lambda wh: () for path in find_images([image_folder])}, **options
        )
    reader = csv.DictReader(io.StringIO(read_text(annotations)), restval="", strict=True)
    columns = tuple(reader.fieldnames or ())
    image, label = (_column(names, columns, annotations) for names in (_IMAGE, _LABEL))
    corners = _CORNERS if set(_CORNERS) <= set(columns) else _UPRIGHT
    if not set(corners) <= set(columns):
        raise DataError(
            f"{annotations}:1: expected columns {', '.join(_UPRIGHT)}, or {', '.join(_CORNERS)}; "
            f"found {', '.join(columns)}"
        )
    by_image: dict[str, list[tuple[str, _Row]]] = {}
    try:
        for row in reader:
            where = f"{annotations}:{reader.line_num}"
            if "\n" in (row[label] or ""):
                raise DataError(f"{where}: a label must be one line: a quotation mark is not closed above")
            rows = by_image.setdefault(image_under(row, image, where), [])
            if any(row[column] for column in (*corners, label)):
                rows.append((where, row))
    except csv.Error as error:
        raise DataError(f"{annotations}:{reader.line_num}: not CSV that can be read: {error}") from error
    listed = {name: partial(_objects, rows, label, corners) for name, rows in by_image.items()}
    return read_listed(image_folder, listed, **options)


def _column(names: Sequence[str], columns: Sequence[str], path: Path) -> str:
    for name in names:
        if name in columns:
            return name
    raise DataError(f"{path}:1: expected a column {' or '.join(names)}, found {', '.join(columns) or 'none'}")


def _objects(
    rows: Sequence[tuple[str, _Row]], label: str, corners: Sequence[str], wh: tuple[int, int]
) -> Iterator[Found | Bad]:
    for where, row in rows:
        try:
            numbers = [_number(row, column) for column in corners]
            difficult = int(_number(row, "difficult")) if row.get("difficult") else 0
            if corners == _UPRIGHT:
                numbers = _upright(*numbers)
        except FieldError as error:
            yield Bad(where, error.reason, error.details)
        else:
            yield Found(where, row[label].strip(), numbers, difficult)


def _number(row: _Row, column: str) -> float:
    try:
        value = float(row[column])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise FieldError("not a number", f"{column} must be a finite number, found {row[column]!r}")
    return value


def _upright(x0: float, y0: float, x1: float, y1: float) -> list[float]:
    if x1 <= x0 or y1 <= y0:
        found = f"{x0:g} {y0:g} {x1:g} {y1:g}"
        raise FieldError("corners swapped", f"xmax and ymax must be above xmin and ymin, found {found}")
    return [x0, y0, x1, y0, x1, y1, x0, y1]


def write_file(manifest: Manifest, out: Path) -> WriteReport:
    """Write all columns, coordinates to a thousandth of a pixel."""
    buffer = io.StringIO()
    table = csv.writer(buffer, lineterminator="\n")
    table.writerow([_IMAGE[0], *_UPRIGHT, _LABEL[0], *_CORNERS, "difficult"])
    for record in manifest.records:
        if not record.labels:
            table.writerow([record.image, *[""] * (len(_UPRIGHT) + 1 + len(_CORNERS) + 1)])
        for quad, label, difficult in zip(record.quads, record.labels, record.difficult, strict=True):
            box = [round(float(v), 3) for v in (*quad.min(axis=0), *quad.max(axis=0))]
            corners = [round(float(v), 3) for v in quad.reshape(8)]
            table.writerow([record.image, *box, label, *corners, difficult])
    write_text_atomic(out, [buffer.getvalue()])
    return WriteReport(out, len(manifest.records), sum(len(record.labels) for record in manifest.records))


FORMAT = Format("csv", read_file, write_file, layout="file")
