"""COCO files: one JSON with ``images``, ``annotations`` and ``categories``.

::

    {"images": [{"id": 1, "file_name": "P0001.png", "width": 1024, "height": 1024}],
     "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[x1, y1, …, x4, y4]],
                      "bbox": [x, y, w, h], "area": 5000.0, "iscrowd": 0}],
     "categories": [{"id": 1, "name": "plane"}]}

COCO itself has no oriented boxes. Where an object has several shapes, the first of these is taken:

1. ``segmentation``, one polygon of four corners: the quad, in the file's corner order;
2. ``segmentation`` of another kind, that is a polygon of three or more than four corners, or several polygons
   of one object: the smallest rectangle around all points. It stands for the object and counts as read, not
   as left out, though the outline itself is gone;
3. ``rbox`` [cx, cy, w, h, angle], pixels and radians, positive from x to y: what this package writes;
4. ``bbox`` [x, y, w, h], top left corner and size: an upright quad, clockwise from the top left.

``difficult`` and ``ignore`` (not of COCO, but common) are the difficulty. Regions of many objects
(``iscrowd``) and run-length masks cannot be used. Format: https://cocodataset.org/#format-data
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lmmrotate.data.formats.base import ConversionReport, Format, WriteReport
from lmmrotate.data.formats.coco_shapes import read_corners, written_shapes
from lmmrotate.data.formats.json_files import as_object, image_under, read_json
from lmmrotate.data.formats.objects import Bad, Found, about, read_listed
from lmmrotate.data.images import find_images
from lmmrotate.data.jsonl import dump_line, get, write_text_atomic
from lmmrotate.data.manifest import Manifest
from lmmrotate.errors import DataError

_BIGGEST_FLAG = 10**9


@dataclass
class _Image:
    """An image of the file, and the objects that belong to it."""

    name: str
    stated_wh: tuple[Any, Any]
    """As the file says; None or 0 where it does not."""
    objects: list[Found | Bad] = field(default_factory=list)

    def of_size(self, wh: tuple[int, int]) -> Iterable[Found | Bad]:
        return about(self.name, self.stated_wh, wh, self.objects)


def read_file(
    image_folder: Path,
    annotations: Path | None,
    *,
    classes: Sequence[str] | None = None,
    left_out: Sequence[str] = (),
    **options: Any,
) -> tuple[Manifest, ConversionReport]:
    """Read the images that a COCO file lists (see ``formats.base.Reader``, ``formats.objects.read_listed``).

    Without ``classes`` the class list is that of ``categories``, in the file's order.
    """
    if annotations is None:
        listed = {path.name: _Image(path.name, (None, None)) for path in find_images([image_folder])}
        strays: list[Bad] = []
    else:
        data = as_object(read_json(annotations), str(annotations))
        categories = _categories(annotations, get(data, "categories", list, str(annotations)))
        by_id = _images(annotations, get(data, "images", list, str(annotations)))
        strays = _share_out(annotations, get(data, "annotations", list, str(annotations)), by_id, categories)
        listed = {image.name: image for image in by_id.values()}
        if classes is None:
            classes = tuple(dict.fromkeys(n for n in categories.values() if n not in left_out))
    return read_listed(
        image_folder,
        {name: image.of_size for name, image in listed.items()},
        classes=classes,
        left_out=left_out,
        strays=strays,
        **options,
    )


def _id(row: dict[str, Any], key: str, where: str) -> int | str:
    found: int | str = get(row, key, (int, str), where)  # COCO has numbers; some tools write file names
    return found


def _categories(path: Path, rows: list[Any]) -> dict[int | str, str]:
    names: dict[int | str, str] = {}
    for index, value in enumerate(rows):
        where = f"{path}: categories[{index}]"
        row = as_object(value, where)
        number, name = _id(row, "id", where), str(get(row, "name", str, where))
        if not name or number in names:
            fault = f"id {number!r} stands there already" if name else "'name' is empty"
            raise DataError(f"{where}: {fault}; every category needs an id of its own and a name")
        names[number] = name
    return names


def _images(path: Path, rows: list[Any]) -> dict[int | str, _Image]:
    images: dict[int | str, _Image] = {}
    seen: set[str] = set()
    for index, value in enumerate(rows):
        where = f"{path}: images[{index}]"
        row = as_object(value, where)
        number = _id(row, "id", where)
        name = image_under(row, "file_name", where)
        if number in images or name in seen:
            raise DataError(f"{where}: image {name!r} or its id {number!r} stands there already")
        images[number] = _Image(name, (row.get("width"), row.get("height")))
        seen.add(name)
    return images


def _share_out(
    path: Path, rows: list[Any], images: dict[int | str, _Image], categories: dict[int | str, str]
) -> list[Bad]:
    """Hand every annotation to its image; those without one are returned."""
    strays = []
    for index, row in enumerate(rows):
        where = f"{path}: annotations[{index}]"
        number = row.get("image_id") if isinstance(row, dict) else None
        if not isinstance(number, (int, str)) or number not in images:
            details = f"expected an object with the 'image_id' of a listed image, found image_id {number!r}"
            strays.append(Bad(where, "no such image", details))
        else:
            images[number].objects.append(_object(where, row, categories))
    return strays


def _object(where: str, row: dict[str, Any], categories: dict[int | str, str]) -> Found | Bad:
    number = row.get("category_id")
    if not isinstance(number, (int, str)) or number not in categories:
        valid = ", ".join(map(repr, categories)) or "none"
        return Bad(where, "unknown category", f"unknown category_id {number!r}; valid: {valid}")
    if isinstance(row.get("segmentation"), dict) or row.get("iscrowd") not in (None, 0):
        details = "a crowd (iscrowd) or run-length mask is no single object with corners; use a polygon"
        return Bad(where, "crowd or RLE", details)
    difficult = row.get("difficult") or row.get("ignore") or 0
    if not isinstance(difficult, int) or difficult > _BIGGEST_FLAG:
        details = f"'difficult' or 'ignore' must be a whole number, found {difficult!r}"
        return Bad(where, "unreadable difficulty", details)
    corners = read_corners(where, row)
    return corners if isinstance(corners, Bad) else Found(where, categories[number], corners, int(difficult))


def write_file(manifest: Manifest, out: Path) -> WriteReport:
    """Write one file; coordinates to a thousandth of a pixel, ids from 1 in the manifest's order."""
    ids = {name: number for number, name in enumerate(manifest.classes, start=1)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, record in enumerate(manifest.records, start=1):
        size = {"width": record.width, "height": record.height}
        images.append({"id": image_id, "file_name": record.image, **size})
        shapes = written_shapes(record.quads)
        for shape, label, difficult in zip(shapes, record.labels, record.difficult, strict=True):
            owner = {"id": len(annotations) + 1, "image_id": image_id, "category_id": ids[label]}
            annotations.append({**owner, **shape, "iscrowd": 0, "difficult": difficult})
    content = {
        "info": {"description": f"{manifest.dataset} {manifest.split}".strip()},
        "images": images,
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for name, number in ids.items()],
    }
    write_text_atomic(out, [dump_line(content)])
    return WriteReport(out, len(images), len(annotations))


FORMAT = Format("coco", read_file, write_file, layout="file", has_sizes=True)
