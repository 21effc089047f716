"""HRSC2016: ships as rotated boxes.

::

    <HRSC_Object><Class_ID>100000013</Class_ID><difficult>0</difficult>
      <mbox_cx>341.2</mbox_cx><mbox_cy>443.3</mbox_cy><mbox_w>778.4</mbox_w><mbox_h>178.3</mbox_h>
      <mbox_ang>-1.12</mbox_ang></HRSC_Object>

Centre and sides in pixels; the angle, of mbox_w, in radians, clockwise on screen (a file's ``header_x`` and
``header_y``, the ship's bow, lie at that end or the opposite one). The class numbers stand for 31 kinds of
ships; as the published system does, every object is read as "ship".
Format: Liu et al., "A high resolution optical satellite image dataset for ship recognition", ICPRAM 2017.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lmmrotate.data.formats.base import Format, WriteReport
from lmmrotate.data.formats.rbox_fields import SHAPE_LOST, corners_of_rbox, no_rectangles, rboxes_of
from lmmrotate.data.formats.xml_objects import xml_reader, xml_writer
from lmmrotate.data.formats.xml_tree import Element, flag_of, number_of, tag
from lmmrotate.data.manifest import Manifest
from lmmrotate.data.records import ImageRecord
from lmmrotate.errors import DataError

SHIP = "ship"
_ANY_SHIP = "100000001"
_NUMBERS = ("mbox_cx", "mbox_cy", "mbox_w", "mbox_h", "mbox_ang")


def read_object(element: Element) -> tuple[str, list[float], int]:
    """Name, corners and difficulty of an ``<HRSC_Object>``."""
    return (
        SHIP,
        corners_of_rbox(*(number_of(element, key) for key in _NUMBERS)),
        flag_of(element, "difficult"),
    )


def _lines(manifest: Manifest, record: ImageRecord) -> Iterator[str]:
    path = Path(record.image)
    yield "<HRSC_Image>" + tag("Img_FileName", path.stem) + tag("Img_FileFmt", path.suffix.lstrip("."))
    yield tag("Img_SizeWidth", record.width) + tag("Img_SizeHeight", record.height) + "<HRSC_Objects>"
    for box, flag in zip(rboxes_of(record), record.difficult, strict=True):
        head = "<HRSC_Object>" + tag("Class_ID", _ANY_SHIP) + tag("difficult", flag)
        yield head + "".join(map(tag, _NUMBERS, box)) + "</HRSC_Object>"
    yield "</HRSC_Objects></HRSC_Image>"


_write_any = xml_writer(_lines, lambda record: {SHAPE_LOST: no_rectangles(record.quads)})


def write_folder(manifest: Manifest, out: Path) -> WriteReport:
    """Write ``out/NAME.xml`` for every image.

    Raises:
        DataError: for a class other than "ship", which would be read as one.
    """
    for record in manifest.records:
        for label in record.labels:
            if label != SHIP:
                raise DataError(f"{record.image}: HRSC2016 files hold ships only, found {label!r}")
    return _write_any(manifest, out)


FORMAT = Format("hrsc", xml_reader("HRSC_Object", read_object), write_folder)
