"""Manifests too large for memory: records are read from the file when they are asked for."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from lmmrotate.data.jsonl import get, get_classes, parse_line, read_jsonl
from lmmrotate.data.manifest import KIND, SCHEMA_VERSION, header_line, parse_record
from lmmrotate.data.records import ImageRecord
from lmmrotate.errors import DataError

_CHUNK = 1 << 24  # bytes
_AHEAD = 1 << 16  # bytes read at once where many lines are read


@dataclass(frozen=True, eq=False)
class ManifestFile(Sequence[ImageRecord]):
    """A manifest on disk, or some of its images: 16 bytes of memory an image.

    Indexing reads one line; iterating reads them in order. Unlike ``read_manifest`` it does not notice two
    lines of one image, and a faulty line only when it is read. No file is held open, so it can be copied into
    other processes.
    """

    path: Path
    dataset: str
    split: str
    classes: tuple[str, ...]
    image_folder: Path
    starts: npt.NDArray[np.int64]
    """(N,) where the lines begin, in bytes."""
    lines: npt.NDArray[np.int64]
    """(N,) their numbers, from 1."""
    stamp: tuple[int, int]
    """Size in bytes and time of change of the file that ``starts`` is about."""

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, index: int) -> ImageRecord:  # type: ignore[override]
        """Record number ``index``.

        Raises:
            DataError: naming file and line, for a line that does not follow the schema; or naming the file,
                if it has changed since it was opened.
        """
        with _open(self.path, self.stamp) as file:
            file.seek(int(self.starts[index]))
            return self._parse(file.readline(), int(self.lines[index]))

    def __iter__(self) -> Iterator[ImageRecord]:
        for line, number in zip(self._raw_lines(), self.lines.tolist(), strict=True):
            yield self._parse(line, number)

    def image_path(self, record: ImageRecord) -> Path:
        return self.image_folder / record.image

    def select(self, keep: Callable[[ImageRecord], bool]) -> ManifestFile:
        """The images for which ``keep`` is true; every record is read once."""
        return self.take(np.fromiter((keep(record) for record in self), dtype=np.bool_, count=len(self)))

    def sample(self, count: int, seed: int) -> ManifestFile:
        """``count`` images drawn at random, in the file's order; all of them if there are no more."""
        if count >= len(self):
            return self
        drawn = np.random.default_rng(seed).choice(len(self), count, replace=False, shuffle=False)
        return self.take(np.sort(drawn))

    def take(self, which: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> ManifestFile:
        """The images at these indices, or under this boolean mask (N,)."""
        return replace(self, starts=self.starts[which], lines=self.lines[which])

    def fingerprint(self) -> str:
        """SHA-256 of the lines as they stand: ``Manifest.fingerprint`` if lmmrotate wrote the file."""
        digest = hashlib.sha256(header_line(self.dataset, self.split, self.classes).encode())
        for line in self._raw_lines():
            digest.update(line)
        return digest.hexdigest()

    def _raw_lines(self) -> Iterator[bytes]:
        with _open(self.path, self.stamp, _AHEAD) as file:
            place = 0
            for start in self.starts.tolist():
                if start != place:
                    file.seek(start)
                line = file.readline()
                place = start + len(line)
                yield line

    def _parse(self, line: bytes, number: int) -> ImageRecord:
        where = f"{self.path}:{number}"
        return parse_record(parse_line(line, where), self.classes, where)


def open_manifest(path: Path, image_folder: Path | None = None) -> ManifestFile:
    """Open a manifest; its lines are found, not yet read.

    Raises:
        DataError: naming file and line, if it is missing or its header does not follow the schema.
    """
    header, _ = read_jsonl(path, KIND, SCHEMA_VERSION)
    with _open(path) as file:
        stamp = _stamp(file)
        starts, lines = _line_starts(file)
    return ManifestFile(
        path,
        get(header, "dataset", str, f"{path}:1"),
        get(header, "split", str, f"{path}:1"),
        get_classes(header, path),
        image_folder or path.parent,
        starts[1:],  # the header
        lines[1:],
        stamp,
    )


def _open(path: Path, stamp: tuple[int, int] | None = None, buffering: int = -1) -> BinaryIO:
    """The file, if it still is the one with this stamp."""
    try:
        file = path.open("rb", buffering)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    if stamp not in (None, _stamp(file)):
        file.close()
        raise DataError(f"{path}: has changed since it was opened; what was begun with it cannot go on")
    return file


def _stamp(file: BinaryIO) -> tuple[int, int]:
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns


def _line_starts(file: BinaryIO) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Where every line that is not blank begins, and its number from 1."""
    ends = [np.array([-1])]
    size = 0
    while chunk := file.read(_CHUNK):
        ends.append(np.flatnonzero(np.frombuffer(chunk, np.uint8) == ord("\n")) + size)
        size += len(chunk)
    starts = np.concatenate(ends) + 1
    lengths = np.diff(starts, append=size + 1) - 1
    filled = np.flatnonzero(lengths > 1)  # a line of one byte is blank, or the \r of a blank one
    return starts[filled], filled + 1
