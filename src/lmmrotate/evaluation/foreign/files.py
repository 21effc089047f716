"""The files of a folder or of a zip, which may come from strangers."""

from __future__ import annotations

import io
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from lmmrotate.errors import DataError

MOST_BYTES = 4_000_000_000
"""Of all files in an archive, unpacked: forty million boxes as text."""

# What a zip raises that is damaged, encrypted (RuntimeError) or packed in a way not known here.
_DAMAGED = (
    OSError,
    EOFError,
    ValueError,
    RuntimeError,
    NotImplementedError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
)


def names_of(path: Path) -> list[str]:
    """Names of the files in a folder, or in a zip at any depth, without their folders.

    Raises:
        DataError: if it can be read as neither.
    """
    if path.is_dir():
        return sorted(file.name for file in path.iterdir() if file.is_file())
    with _opened(path) as archive:
        return [PurePosixPath(name).name for name in archive.namelist()]


def files_of(path: Path, pattern: str) -> Iterator[tuple[str, str, bytes]]:
    """The files of a folder or zip with such names: where each is, its name without ending, its content.

    A zip is read in memory; the folders in its names are passed over, whatever they are.

    Raises:
        DataError: if there is none, or one cannot be read; for a zip larger than ``MOST_BYTES`` unpacked.
    """
    if not any(fnmatchcase(name, pattern) for name in names_of(path)):
        raise DataError(f"{path}: no {pattern} in it")
    if path.is_dir():
        for file in sorted(path.glob(pattern)):
            try:
                yield str(file), file.stem, file.read_bytes()
            except OSError as error:
                raise DataError(f"{file}: cannot be read: {error.strerror or error}") from error
        return
    with _opened(path) as archive:
        entries = [e for e in archive.infolist() if fnmatchcase(PurePosixPath(e.filename).name, pattern)]
        if sum(entry.file_size for entry in entries) > MOST_BYTES:
            raise DataError(f"{path}: holds more than {MOST_BYTES:,} bytes")
        for entry in entries:
            # Reading stops at the size that the archive states.
            yield f"{path}: {entry.filename}", PurePosixPath(entry.filename).stem, archive.read(entry)


def text_of(content: bytes, where: str) -> str:
    """UTF-8 text, with or without byte-order mark, its lines ended by ``\\n``.

    Raises:
        DataError: naming ``where``.
    """
    try:
        return io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig").read()
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: cannot be read as UTF-8 text: {error}") from error


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except _DAMAGED as error:
        raise DataError(f"{path}: cannot be read as a zip: {str(error) or type(error).__name__}") from error
