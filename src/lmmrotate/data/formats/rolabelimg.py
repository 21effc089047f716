"""roLabelImg: Pascal VOC with rotated boxes, upright ones among them.

::

    <object><type>robndbox</type><name>ship</name><difficult>0</difficult>
      <robndbox><cx>60.0</cx><cy>40.0</cy><w>50.0</w><h>20.0</h><angle>0.785398</angle></robndbox></object>
    <object><type>bndbox</type><name>ship</name>
      <bndbox><xmin>10</xmin><ymin>10</ymin><xmax>30</xmax><ymax>20</ymax></bndbox></object>

Centre, width and height in pixels; the angle, of w, in radians, clockwise on screen, from 0 to below pi.
Format: https://github.com/cgvict/roLabelImg
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from lmmrotate.data.formats.base import Format
from lmmrotate.data.formats.dior import voc_head
from lmmrotate.data.formats.objects import FieldError
from lmmrotate.data.formats.rbox_fields import SHAPE_LOST, corners_of_rbox, no_rectangles, rboxes_of
from lmmrotate.data.formats.xml_objects import xml_reader, xml_writer
from lmmrotate.data.formats.xml_tree import Element, flag_of, number_of, tag
from lmmrotate.data.manifest import Manifest
from lmmrotate.data.records import ImageRecord

_NUMBERS = ("cx", "cy", "w", "h", "angle")


def read_object(element: Element) -> tuple[str, list[float], int]:
    """Name, corners and difficulty of an ``<object>``."""
    name, difficult = element.text_of("name"), flag_of(element, "difficult")
    if element.first("robndbox"):
        return name, corners_of_rbox(*(number_of(element, "robndbox", key) for key in _NUMBERS)), difficult
    x0, y0, x1, y1 = (number_of(element, "bndbox", key) for key in ("xmin", "ymin", "xmax", "ymax"))
    if x1 <= x0 or y1 <= y0:
        raise FieldError(
            "corners swapped", f"xmax and ymax must be above xmin and ymin, found {x0:g} {y0:g} {x1:g} {y1:g}"
        )
    return name, [x0, y0, x1, y0, x1, y1, x0, y1], difficult


def _lines(manifest: Manifest, record: ImageRecord) -> Iterator[str]:
    yield from voc_head(manifest, record)
    for (*box, angle), label, flag in zip(rboxes_of(record), record.labels, record.difficult, strict=True):
        yield f"<object><type>robndbox</type>{tag('name', label)}{tag('difficult', flag)}<robndbox>"
        yield "".join(map(tag, _NUMBERS, [*box, round(angle % math.pi, 6)]))
        yield "</robndbox></object>"
    yield "</annotation>"


FORMAT = Format(
    "rolabelimg",
    xml_reader("object", read_object),
    xml_writer(_lines, lambda record: {SHAPE_LOST: no_rectangles(record.quads)}),
)
