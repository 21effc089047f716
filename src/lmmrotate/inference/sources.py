"""Where the pictures that are predicted come from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from PIL import Image

from lmmrotate.data.images import read_image


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
        return read_image(self.path)
