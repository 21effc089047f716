"""DIOR-R (and the many tools that write its ``robndbox`` of corners): Pascal VOC with four corners.

::

    <object><type>robndbox</type><name>golffield</name><difficult>0</difficult>
      <robndbox><x_left_top>133</x_left_top><y_left_top>237</y_left_top> …
      </robndbox><angle>0</angle></object>

Corners in pixels, left top, right top, right bottom, left bottom as seen in the box's own frame; the angle is
not read, as the corners say everything. Format: https://gcheng-nwpu.github.io/#Datasets
"""

from __future__ import annotations

from collections.abc import Iterator

from lmmrotate.data.formats.base import Format
from lmmrotate.data.formats.xml_objects import xml_reader, xml_writer
from lmmrotate.data.formats.xml_tree import Element, flag_of, number_of, tag
from lmmrotate.data.manifest import Manifest
from lmmrotate.data.records import ImageRecord

_CORNERS = ("left_top", "right_top", "right_bottom", "left_bottom")


def read_object(element: Element) -> tuple[str, list[float], int]:
    """Name, corners and difficulty of an ``<object>``."""
    quad = [number_of(element, "robndbox", f"{axis}_{corner}") for corner in _CORNERS for axis in "xy"]
    return element.text_of("name"), quad, flag_of(element, "difficult")


def _lines(manifest: Manifest, record: ImageRecord) -> Iterator[str]:
    yield from voc_head(manifest, record)
    for quad, label, flag in zip(record.quads, record.labels, record.difficult, strict=True):
        yield f"<object><type>robndbox</type>{tag('name', label)}{tag('difficult', flag)}<robndbox>"
        for corner, (x, y) in zip(_CORNERS, quad.tolist(), strict=True):
            yield tag(f"x_{corner}", round(x, 3)) + tag(f"y_{corner}", round(y, 3))
        yield "</robndbox></object>"
    yield "</annotation>"


def voc_head(manifest: Manifest, record: ImageRecord) -> Iterator[str]:
    """How a Pascal VOC file begins."""
    yield "<annotation>"
    yield tag("filename", record.image) + "<source>" + tag("database", manifest.dataset) + "</source>"
    yield f"<size>{tag('width', record.width)}{tag('height', record.height)}<depth>3</depth></size>"


FORMAT = Format("dior", xml_reader("object", read_object), xml_writer(_lines, lambda record: {}))
