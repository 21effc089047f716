"""What the XML formats share: a folder of files, an element an object."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lmmrotate.data.formats.base import ConversionReport, Reader, Writer, WriteReport
from lmmrotate.data.formats.objects import Bad, Found, label_files, read_pairs
from lmmrotate.data.formats.xml_tree import Element, FieldError, read_xml
from lmmrotate.data.jsonl import write_text_atomic
from lmmrotate.data.manifest import Manifest
from lmmrotate.data.records import ImageRecord
from lmmrotate.geometry.quads import Quads, min_area_quads
from lmmrotate.geometry.rboxes import quads_to_rboxes, rboxes_to_quads

ReadObject = Callable[[Element], tuple[str, list[float], int]]
"""From an object's element to its name, corners x1 y1 … x4 y4 and difficulty; raises FieldError."""
WriteFile = Callable[[Manifest, ImageRecord], Iterable[str]]
"""The lines of one file."""

LARGEST_ANGLE_RAD = 6.3
SHAPE_LOST = "shape of quads that are no rectangles"


def xml_reader(object_tag: str, read_object: ReadObject) -> Reader:
    """A reader of files ``NAME.xml`` in which every object is an element ``object_tag``."""

    def parse(path: Path, wh: tuple[int, int]) -> Iterator[Found | Bad]:
        for element in read_xml(path).all(object_tag):
            where = f"{path}:{element.line}"
            try:
                name, quad, difficult = read_object(element)
            except FieldError as error:
                yield Bad(where, error.reason, error.details)
            else:
                yield Found(where, name, quad, difficult)

    def read(
        image_folder: Path, annotations: Path | None, **options: Any
    ) -> tuple[Manifest, ConversionReport]:
        return read_pairs(image_folder, annotations, ".xml", parse, **options)

    return read


def xml_writer(lines: WriteFile, lost: Callable[[ImageRecord], dict[str, int]]) -> Writer:
    """A writer of files ``NAME.xml``; ``lost`` counts what they cannot hold of an image."""
    return partial(_write, lines, lost)


def _write(
    lines: WriteFile, lost: Callable[[ImageRecord], dict[str, int]], manifest: Manifest, out: Path
) -> WriteReport:
    losses: dict[str, int] = {}
    for record, path in label_files(manifest, out, ".xml"):
        write_text_atomic(path, (f"{line}\n" for line in lines(manifest, record)))
        for what, count in lost(record).items():
            if count:
                losses[what] = losses.get(what, 0) + count
    objects = sum(len(record.labels) for record in manifest.records)
    return WriteReport(out, len(manifest.records), objects, losses)


def corners_of_rbox(cx: float, cy: float, w: float, h: float, angle_rad: float) -> list[float]:
    """Corners x1 y1 … x4 y4 of a rotated box.

    Raises:
        FieldError: if a side is not above 0, or the angle must be in degrees.
    """
    if abs(angle_rad) > LARGEST_ANGLE_RAD:
        raise FieldError(
            "angle in degrees",
            f"the angle must be in radians, at most a full turn, found {angle_rad:g}: degrees?",
        )
    if w <= 0 or h <= 0:
        raise FieldError("zero area", f"width and height must be above 0, found {w:g} x {h:g}")
    return [float(value) for value in rboxes_to_quads(np.array([[cx, cy, w, h, angle_rad]])).reshape(8)]


def rboxes_of(record: ImageRecord) -> list[list[float]]:
    """cx, cy, w, h, angle of every object; of those that are no rectangles, of the smallest around them."""
    rounded: list[list[float]] = [
        [*(round(v, 4) for v in row[:4]), round(row[4], 6)] for row in quads_to_rboxes(record.quads).tolist()
    ]
    return rounded


def no_rectangles(quads: Quads) -> int:
    """How many quads differ from the smallest rectangle around them by more than half a pixel."""
    if not len(quads):
        return 0
    rectangles = min_area_quads(quads)
    distance = np.linalg.norm(quads[:, :, None] - rectangles[:, None], axis=3).min(axis=2)
    return int((distance.max(axis=1) > 0.5).sum())
