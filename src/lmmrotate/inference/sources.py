"""Where the pictures that are predicted come from."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from PIL import Image

from lmmrotate.data.images import read_image
from lmmrotate.data.rasters import Raster, open_raster


class ImageSource(Protocol):
    """A picture that is read when its turn comes; can be sent to other processes."""

    @property
    def path(self) -> Path:
        """The file that it is from."""
        ...

    @property
    def skips_blank(self) -> bool:
        """Whether a picture of one colour shows nothing, and is not worth asking about."""
        ...

    def read(self) -> Image.Image:
        """The picture, RGB.

        Raises:
            DataError: if it cannot be read.
        """
        ...


@dataclass(frozen=True)
class FileSource:
    """An image file."""

    path: Path

    skips_blank = False

    def read(self) -> Image.Image:
        return read_image(self.path, still=True)


class _Held(threading.local):
    """The raster that a thread reads tiles of."""

    key: tuple[Path, tuple[int, ...]] | None = None
    raster: Raster | None = None
    stack: ExitStack | None = None


_HELD = _Held()


def held_raster(path: Path, bands: tuple[int, ...]) -> Raster:
    """A raster, which stays open until this thread asks for another one or releases it: opening is dear,
    above all where the percentiles of its samples have to be found.

    Raises:
        ConfigError, DataError: as ``open_raster``.
    """
    if _HELD.raster is None or _HELD.key != (path, bands):
        release_raster()
        _HELD.stack = ExitStack()
        _HELD.raster = _HELD.stack.enter_context(open_raster(path, bands))
        _HELD.key = (path, bands)
    return _HELD.raster


def release_raster() -> None:
    """Close what this thread holds."""
    if _HELD.stack is not None:
        _HELD.stack.close()
    _HELD.key = _HELD.raster = _HELD.stack = None
