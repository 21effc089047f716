"""Reading zip files from strangers."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from lmmrotate.errors import DataError

MOST_BYTES = 4_000_000_000
"""Of all files in an archive, unpacked: twenty million boxes as text."""


def members(path: Path, suffix: str) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the files in a zip that end in ``suffix``; nothing is written to disk.

    Raises:
        DataError: if it is no zip, damaged, encrypted, or larger than ``MOST_BYTES`` unpacked.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [entry for entry in archive.infolist() if entry.filename.endswith(suffix)]
            if sum(entry.file_size for entry in entries) > MOST_BYTES:
                raise DataError(f"{path}: holds more than {MOST_BYTES:,} bytes")
            for entry in entries:
                # Reading stops at the size that the archive states.
                yield entry.filename, archive.read(entry)
    except (OSError, zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError) as error:
        raise DataError(f"{path}: cannot be read as a zip: {error}") from error
