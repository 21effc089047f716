"""FAIR1M: XML with five points an object, the first again as the last.

::

    <object><coordinate>pixel</coordinate><type>rectangle</type><description>None</description>
      <possibleresult><name>Boeing737</name></possibleresult>
      <points><point>10.0,20.0</point> … five in all</points></object>

Corners in pixels, in the file's order. There is no difficulty.
Format: Sun et al., "FAIR1M", https://arxiv.org/abs/2103.05569
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from lmmrotate.data.formats.base import Format
from lmmrotate.data.formats.objects import FieldError
from lmmrotate.data.formats.xml_objects import xml_reader, xml_writer
from lmmrotate.data.formats.xml_tree import Element, tag
from lmmrotate.data.manifest import Manifest
from lmmrotate.data.records import ImageRecord


def read_object(element: Element) -> tuple[str, list[float], int]:
    """Name and corners of an ``<object>``; difficulty 0."""
    points = [_point(point.text) for point in element.all("point")]
    if len(points) == 5 and points[0] == points[4]:
        points.pop()
    if len(points) != 4:
        raise FieldError(
            "not four corners",
            f"expected four corners, the first perhaps again as the fifth, found {len(points)}",
        )
    return element.text_of("possibleresult", "name"), [value for point in points for value in point], 0


def _point(text: str) -> tuple[float, float]:
    try:
        x, y = (float(item) for item in text.split(","))
    except ValueError:
        x = y = math.nan
    if not (math.isfinite(x) and math.isfinite(y)):
        raise FieldError("not a number", f"<point> must be x,y in pixels, found {text.strip()!r}")
    return x, y


def _lines(manifest: Manifest, record: ImageRecord) -> Iterator[str]:
    yield f"<annotation><source>{tag('filename', record.image)}{tag('origin', manifest.dataset)}</source>"
    yield f"<size>{tag('width', record.width)}{tag('height', record.height)}<depth>3</depth></size><objects>"
    for quad, label in zip(record.quads, record.labels, strict=True):
        yield "<object><coordinate>pixel</coordinate><type>rectangle</type><description>None</description>"
        yield f"<possibleresult>{tag('name', label)}</possibleresult><points>"
        yield "".join(tag("point", f"{x:.3f},{y:.3f}") for x, y in [*quad.tolist(), quad[0].tolist()])
        yield "</points></object>"
    yield "</objects></annotation>"


FORMAT = Format(
    "fair1m",
    xml_reader("object", read_object),
    xml_writer(_lines, lambda record: {"difficulty": sum(flag != 0 for flag in record.difficult)}),
)
