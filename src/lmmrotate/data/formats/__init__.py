"""Annotation formats on disk: one module each, reader and writer side by side."""

from __future__ import annotations

from lmmrotate.data.formats import dota
from lmmrotate.data.formats.base import Reader
from lmmrotate.errors import ConfigError

READERS: dict[str, Reader] = {"dota": dota.read_folder}
"""Format name (``DatasetSpec.annotation_format``): its reader."""


def reader(name: str) -> Reader:
    """The reader of a format.

    Raises:
        ConfigError: if there is none; the message lists the formats that can be read.
    """
    if name not in READERS:
        raise ConfigError(f"no reader for the annotation format {name!r}; known: {', '.join(READERS)}")
    return READERS[name]
