"""manifest.jsonl: a data set as one plain file.

The first line is a header, every further line one image::

    {"kind": "lmmrotate-manifest", "schema_version": 1,
     "dataset": "dota_v1", "split": "trainval", "classes": ["plane", …]}
    {"image": "images/P0001.png", "width": 1024, "height": 1024,
     "objects": [{"label": "plane", "quad": [x1, y1, …, y4], "difficult": 0}], "scene": null}

Image paths are relative to the image folder, which is the manifest's own folder unless the user says
otherwise. Absolute paths and ``..`` are refused, so that a manifest from elsewhere reads nothing
outside that folder.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmmrotate.data.jsonl import (
    dump_line,
    get,
    get_classes,
    get_image,
    get_label,
    get_number,
    get_quads,
    get_size,
    quad_numbers,
    read_jsonl,
    write_text_atomic,
)
from lmmrotate.data.records import ImageRecord, SceneRef
from lmmrotate.errors import DataError

KIND = "lmmrotate-manifest"
SCHEMA_VERSION = 1


@dataclass(frozen=True, eq=False)
class Manifest:
    """A data set: its classes and its images, in the file's order."""

    dataset: str
    split: str
    classes: tuple[str, ...]
    records: tuple[ImageRecord, ...]
    image_folder: Path = Path()
    """What image paths are relative to; not written to the file."""

    def image_path(self, record: ImageRecord) -> Path:
        return self.image_folder / record.image

    def require_images(self) -> None:
        """Make sure that every image is there.

        Raises:
            DataError: naming the first that is not, and how to say where images are.
        """
        require_images([record.image for record in self.records], self.image_folder)

    def fingerprint(self) -> str:
        """SHA-256 of what would be written: the same data gives the same value on any machine."""
        digest = hashlib.sha256()
        for line in self._lines():
            digest.update(line.encode())
        return digest.hexdigest()

    def write(self, path: Path) -> None:
        """Write the file atomically."""
        write_text_atomic(path, self._lines())

    def _lines(self) -> Iterator[str]:
        yield header_line(self.dataset, self.split, self.classes)
        for record in self.records:
            yield dump_line(_row(record))


def require_images(images: Collection[str], image_folder: Path) -> None:
    """Make sure that every image of a manifest is there (see ``Manifest.require_images``)."""
    missing = [image for image in images if not (image_folder / image).is_file()]
    if missing:
        raise DataError(
            f"{image_folder / missing[0]}: no such file ({len(missing)} of {len(images)} images of the "
            f"manifest are missing); images are looked for under {image_folder or '.'}, and image_folder "
            "names another folder"
        )


def header_line(dataset: str, split: str, classes: Sequence[str]) -> str:
    """The first line of a manifest, with its newline."""
    return dump_line(
        {
            "kind": KIND,
            "schema_version": SCHEMA_VERSION,
            "dataset": dataset,
            "split": split,
            "classes": list(classes),
        }
    )


def _row(record: ImageRecord) -> dict[str, Any]:
    scene = record.scene
    return {
        "image": record.image,
        "width": record.width,
        "height": record.height,
        "objects": [
            {"label": label, "quad": quad_numbers(quad), "difficult": difficult}
            for label, quad, difficult in zip(record.labels, record.quads, record.difficult, strict=True)
        ],
        "scene": scene and {"name": scene.name, "x": scene.x, "y": scene.y, "scale": scene.scale},
    }


def read_manifest(path: Path, image_folder: Path | None = None) -> Manifest:
    """Read a manifest; image paths are taken relative to ``image_folder`` (default: its own folder).

    Raises:
        DataError: naming file and line, for anything that does not follow the schema.
    """
    header, rows = read_jsonl(path, KIND, SCHEMA_VERSION)
    classes = get_classes(header, path)
    records: list[ImageRecord] = []
    first_line: dict[str, int] = {}
    for number, row in rows:
        record = parse_record(row, classes, f"{path}:{number}")
        if record.image in first_line:
            raise DataError(
                f"{path}:{number}: image {record.image!r} stands already on line {first_line[record.image]}"
            )
        first_line[record.image] = number
        records.append(record)
    return Manifest(
        dataset=get(header, "dataset", str, f"{path}:1"),
        split=get(header, "split", str, f"{path}:1"),
        classes=classes,
        records=tuple(records),
        image_folder=image_folder or path.parent,
    )


def parse_record(row: dict[str, Any], classes: tuple[str, ...], where: str) -> ImageRecord:
    """One image of a manifest from its line.

    Raises:
        DataError: naming ``where``, for what does not follow the schema.
    """
    width, height = get_size(row, where)
    objects = get(row, "objects", list, where)
    quads = get_quads(objects, where)
    return ImageRecord(
        image=get_image(row, where),
        width=width,
        height=height,
        quads=quads,
        labels=tuple(get_label(o, classes, where) for o in objects),
        difficult=tuple(get(o, "difficult", int, where) if "difficult" in o else 0 for o in objects),
        scene=_scene(row.get("scene"), where),
    )


def _scene(value: Any, where: str) -> SceneRef | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise DataError(f"{where}: 'scene' must be an object or null, found {value!r}")
    scale = get_number(value, "scale", where)
    if scale <= 0:
        raise DataError(f"{where}: the scene's 'scale' must be above 0, found {scale}")
    return SceneRef(
        name=get(value, "name", str, where),
        x=get(value, "x", int, where),
        y=get(value, "y", int, where),
        scale=scale,
    )
