"""Annotation formats on disk: one module each, reader and writer side by side."""

from __future__ import annotations

from collections.abc import Mapping

from lmmrotate.data.formats import coco, dior, dota, fair1m, geojson, hrsc, own, rolabelimg, table, yolo_obb
from lmmrotate.data.formats.base import Format
from lmmrotate.errors import ConfigError

FORMATS: dict[str, Format] = {
    module.FORMAT.name: module.FORMAT
    for module in (own, dota, dior, fair1m, hrsc, rolabelimg, coco, yolo_obb, geojson, table)
}
"""By name. ``answer_files.answer_formats`` adds those that need a codec."""


def annotation_format(name: str, formats: Mapping[str, Format] = FORMATS) -> Format:
    """Look a format up.

    Raises:
        ConfigError: if there is none of this name; the message lists the formats.
    """
    if name not in formats:
        raise ConfigError(f"unknown annotation format {name!r}; known: {', '.join(formats)}")
    return formats[name]
