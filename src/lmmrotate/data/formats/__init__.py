"""Annotation formats on disk: one module each, reader and writer side by side."""

from __future__ import annotations

from lmmrotate.data.formats import dota
from lmmrotate.data.formats.base import Format
from lmmrotate.errors import ConfigError

FORMATS: dict[str, Format] = {found.name: found for found in (dota.FORMAT,)}


def annotation_format(name: str) -> Format:
    """Look a format up.

    Raises:
        ConfigError: if there is none of this name; the message lists the formats.
    """
    if name not in FORMATS:
        raise ConfigError(f"unknown annotation format {name!r}; known: {', '.join(FORMATS)}")
    return FORMATS[name]
