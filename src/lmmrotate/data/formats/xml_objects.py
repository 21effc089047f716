"""What the XML formats share: a folder of files, an element an object."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from lmmrotate.data.formats.base import ConversionReport, Reader, Writer, WriteReport
from lmmrotate.data.formats.objects import Bad, FieldError, Found, about, label_files, read_pairs
from lmmrotate.data.formats.xml_tree import Element, read_xml
from lmmrotate.data.jsonl import write_text_atomic
from lmmrotate.data.manifest import Manifest
from lmmrotate.data.records import ImageRecord

ReadObject = Callable[[Element], tuple[str, list[float], int]]
"""From an object's element to its name, corners x1 y1 … x4 y4 and difficulty; raises FieldError."""
WriteFile = Callable[[Manifest, ImageRecord], Iterable[str]]
"""The lines of one file."""


def xml_reader(object_tag: str, read_object: ReadObject) -> Reader:
    """A reader of files ``NAME.xml`` in which every object is an element ``object_tag``."""

    def parse(path: Path, wh: tuple[int, int]) -> Iterator[Found | Bad]:
        root = read_xml(path)
        return about(path.stem, stated_size(root), wh, objects(path, root))

    def objects(path: Path, root: Element) -> Iterator[Found | Bad]:
        for element in root.all(object_tag):
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


def stated_size(root: Element) -> tuple[int, int] | tuple[None, None]:
    """(width, height) of the image as its file says, in the way of Pascal VOC or HRSC2016; or two None."""
    for path in (("size", "width"), ("size", "height")), (("Img_SizeWidth",), ("Img_SizeHeight",)):
        width, height = (root.text_of(*names) for names in path)
        if width.isdecimal() and height.isdecimal():
            return int(width), int(height)
    return None, None


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
